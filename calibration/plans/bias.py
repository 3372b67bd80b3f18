"""Bias frames: the shortest exposure, in the dark, all asked for at once."""

from calibration.frames import FrameKind, GroupOutcome, Limits, Purpose
from calibration.plans.retake import take
from calibration.plans.settings import Darkness, ExposureState, Plan, outcome


def bias_plan(
    state: ExposureState,
    *,
    exposure_us: int,
    count: int,
    have: int = 0,
    darkness: Darkness,
    limits: Limits,
    set_id: str,
    discard: int = 1,
    wait_s: float = 0.0,
) -> Plan[GroupOutcome]:
    """Take what is missing of a bias set.

    Parameters
    ----------
    state : ExposureState
    exposure_us : int
        The shortest exposure (`min_exposure`, or the camera's own minimum where that is longer).
    count, have : int
        Frames the set shall hold, and holds already.
    darkness : Darkness
    limits : Limits
    set_id : str
    discard : int
        Frames thrown away first: the first after a change of mode differs in many cameras.
    wait_s : float
        Waited before the first frame.

    Returns
    -------
    GroupOutcome
        `accepted` includes `have`; code `too_many_refused` or `not_dark` when given up.
    """
    missing = count - have
    if missing <= 0:
        return outcome(have, 0, wanted=count, exposure_us=exposure_us)
    dark = {"filter": darkness.filter, "cover": darkness.cover, "limits": limits, "set_id": set_id}
    if discard:
        yield state.request(FrameKind.BIAS, Purpose.DISCARD, exposure_us, count=discard, wait_s=wait_s, **dark)
    taken = yield from take(state.request(FrameKind.BIAS, Purpose.KEEP, exposure_us, count=count, **dark), missing)
    return outcome(
        have + taken.accepted,
        taken.refused,
        wanted=count,
        code=taken.code,
        exposure_us=exposure_us,
        detail=taken.reasons,
    )
