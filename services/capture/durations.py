"""Which exposures the camera makes, where it makes others than it is asked for and says so itself.

Single-lens reflex cameras expose in thirds of a stop, old cameras in tenths of a second. Another exposure that three
frames report alike is what the camera does: it is adopted, and frames are labelled and matched with their darks by it.
A constant excess of some milliseconds is what drivers add that measure by the clock on the wall: it is let be. Reports
that scatter are left to the checks, which refuse the frames.
"""

from collections.abc import Sequence

import structlog

from calibration.checks.integrity import OVERHEAD_US, is_as_asked
from calibration.errors import FrameCode
from calibration.frames import CaptureRequest, FrameKind, Purpose
from services.capture.failures import GroupFailed

log = structlog.get_logger(__name__)

REPRODUCED = 3
"""Frames that must report the same before it is believed."""
SAME_OVERHEAD_US = 5_000
KEPT_WITHIN, TESTED_WITHIN = 2.0, 10.0
"""Factors between exposure made and asked for: beyond them a frame, or a test frame, is not what was meant by it."""


class Durations:
    """What one camera makes of the exposures it is asked for."""

    def __init__(self) -> None:
        self._made_us: dict[int, int] = {}
        self._asked_us: dict[int, int] = {}
        self._excess_us: dict[int, int] = {}

    def made_us(self, wanted_us: int) -> int:
        """Return the exposure that the camera makes when it is asked for this one, as far as that is known."""
        return self._made_us.get(wanted_us, wanted_us)

    def asked_us(self, made_us: int) -> int:
        """Return what to ask the camera for, so that it makes this exposure."""
        return self._asked_us.get(made_us, made_us)

    def doubts(self, request: CaptureRequest, reports_us: Sequence[int | None]) -> bool:
        """Whether another frame should show if the camera makes another exposure than a request's.

        Parameters
        ----------
        request : CaptureRequest
        reports_us : sequence of int or None
            What the camera reported of the frames so far; None where it says nothing.
        """
        known = [report for report in reports_us if report]
        if len(known) < len(reports_us) or request.exposure_us in self._excess_us or not _is_judged(request):
            return False
        return len(known) < REPRODUCED and self._are_other(request.exposure_us, known)

    def adopted(self, request: CaptureRequest, reports_us: Sequence[int | None]) -> int:
        """Return the exposure of a request as the camera makes it.

        Raises
        ------
        GroupFailed
            `exposure_mismatch`: it makes one that cannot have been meant.
        """
        wanted_us, known = request.exposure_us, [report for report in reports_us if report]
        if len(known) < REPRODUCED or not self._are_other(wanted_us, known):
            if known:
                self._excess_us.setdefault(wanted_us, known[-1] - wanted_us)
            return wanted_us
        made_us = _rounded(sorted(known)[len(known) // 2])
        factor = max(made_us / max(1, wanted_us), wanted_us / made_us)
        if factor > (KEPT_WITHIN if request.purpose is Purpose.KEEP else TESTED_WITHIN):
            detail = f"the camera exposes {made_us / 1e6:g} s each time it is asked for {wanted_us / 1e6:g} s"
            raise GroupFailed(FrameCode.EXPOSURE_MISMATCH, detail)
        log.info("exposure.adopted", wanted_us=wanted_us, made_us=made_us)
        self._made_us[wanted_us] = made_us
        self._asked_us.setdefault(made_us, self.asked_us(wanted_us))
        return made_us

    def _are_other(self, wanted_us: int, reports_us: Sequence[int]) -> bool:
        """Whether all reports agree on one exposure that is not the one wanted."""
        if any(is_as_asked(wanted_us, report, overhead_us=0) for report in reports_us):
            return False
        if not all(is_as_asked(reports_us[0], report, overhead_us=0) for report in reports_us):
            return False
        return not self._is_overhead(reports_us[0] - wanted_us)

    def _is_overhead(self, excess_us: int) -> bool:
        """Whether an excess may be a constant one: like another that was seen, or the first."""
        known = self._excess_us.values()
        alike = not known or any(abs(excess_us - other) <= SAME_OVERHEAD_US for other in known)
        return 0 < excess_us <= OVERHEAD_US and alike


def _is_judged(request: CaptureRequest) -> bool:
    """Whether the exposure of a request matters: of the short darks that measure the pedestal it does not."""
    return request.purpose is Purpose.KEEP or (request.kind is FrameKind.FLAT and request.purpose is Purpose.TEST)


def _rounded(exposure_us: int) -> int:
    """Return an exposure in three digits, so that it is the same from night to night."""
    return max(1, round(float(f"{exposure_us:.3g}")))
