"""Bias frames: the shortest exposure, in the dark, one to be judged, then all others at once."""

from dataclasses import replace

from calibration.frames import CaptureRequest, FrameKind, GroupOutcome, Limits, Purpose
from calibration.plans.darkness import bias_limits
from calibration.plans.retake import SeriesTaken, take, take_first
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
        With `earlier`, a gradient that the last master does not have refuses a frame.
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
    dark = {"filter": darkness.filter, "cover": darkness.cover, "limits": bias_limits(limits, darkness)}
    request = state.request(
        FrameKind.BIAS, Purpose.KEEP, exposure_us, count=count, wait_s=wait_s, set_id=set_id, **dark
    )
    if discard:
        yield replace(request, purpose=Purpose.DISCARD, count=discard)
        request = replace(request, wait_s=0.0)
    taken = yield from _judged(request, missing)
    kept = have + taken.accepted
    return outcome(kept, taken.refused, wanted=count, code=taken.code, exposure_us=exposure_us, detail=taken.reasons)


def _judged(request: CaptureRequest, missing: int) -> Plan[SeriesTaken]:
    first = yield from take_first(request)
    if first.code is not None or missing <= 1:
        return first
    rest = yield from take(replace(request, wait_s=0.0), missing - 1, refused=first.refused)
    return first.then(rest)
