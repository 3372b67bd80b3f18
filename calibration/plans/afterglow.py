"""Charge that bright flats left in the sensor: waited for, and looked at until it no longer fades."""

from dataclasses import replace

from calibration.frames import CaptureRequest, Purpose
from calibration.plans.settings import Plan

FADING_ADU = 0.5
"""A median that falls by more from one frame to the next is no dark yet."""
FRAMES = 30
"""Frames thrown away at most; a tail that is longer must be waited for (`persistence_wait`)."""


def wait_until_faded(request: CaptureRequest, exposure_us: int) -> Plan[float | None]:
    """Throw frames away while their level falls.

    Parameters
    ----------
    request : CaptureRequest
        Of the darks to come; its `wait_s` is waited before the first frame only.
    exposure_us : int
        Of the frames that are looked at.

    Returns
    -------
    float or None
        None when the level stands; else by how much (ADU) it still fell at the end.
    """
    request = replace(request, purpose=Purpose.TEST, exposure_us=exposure_us, count=1)
    before: float | None = None
    fell = 0.0
    for _ in range(FRAMES):
        results = yield request
        request = replace(request, wait_s=0.0)
        if not results:
            continue
        level = results[-1].stats.level_adu
        if before is not None:
            fell = before - level
            if fell <= FADING_ADU:
                return None
        before = level
    return fell
