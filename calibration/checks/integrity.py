"""Checks of the frame as data: its size, missing or repeated parts, lines, and whether it can be of this exposure."""

import numpy as np

from calibration.checks.evidence import Evidence, beyond
from calibration.errors import FrameCode
from calibration.frames import FrameKind, Purpose, Verdict

OVERHEAD_US = 20_000
"""Drivers that measure an exposure by the clock on the wall report it longer by up to so much."""


def size_changed(e: Evidence) -> Verdict | None:
    """Refuse another size than asked for: a client or a driver moved the region or the binning."""
    shape = e.frame.pixels.shape
    if e.expected_shape is None or shape == e.expected_shape:
        return None
    detail = f"{shape} instead of {e.expected_shape}"
    expected = e.expected_shape[0] * e.expected_shape[1]
    return Verdict(
        code=FrameCode.SIZE_CHANGED, refuses=True, measured=float(np.prod(shape)), limit=float(expected), detail=detail
    )


def constant(e: Evidence) -> Verdict | None:
    """Refuse a frame of one value, or of which all but the edge is at the end of the converter.

    A saturated test flat is one too, but gives the search what it needs. Noise of 0 says nothing: a quiet
    sensor with coarse steps has nearly all pixels of a bias at one value.
    """
    if e.stats.max_adu > e.stats.min_adu and not e.is_flooded:
        return None
    search = e.request.kind is FrameKind.FLAT and e.request.purpose is not Purpose.KEEP and e.stats.level_adu > 0
    return Verdict(
        code=FrameCode.CONSTANT,
        refuses=not search,
        measured=e.stats.sigma_adu,
        limit=0.0,
        detail=f"all pixels at {e.stats.level_adu:g} ADU",
    )


def partial(e: Evidence) -> Verdict | None:
    """Refuse a frame of which a part is missing, stale, or of another exposure.

    Constant rows and rows repeated from the previous frame do not occur in noise. A step between neighbouring bands
    of more than a quarter of the level is no vignetting; two read-out taps may have one, always.
    """
    if e.stats.sigma_adu == 0:
        return None
    rows = e.frame.pixels.shape[0]
    empty = beyond(FrameCode.PARTIAL, e.stats.constant_rows / rows, 0.01, "rows of a single value")
    if empty is not None:
        return empty
    if e.previous is not None and e.previous.identical_rows <= 0.9:
        stale = beyond(FrameCode.PARTIAL, e.previous.identical_rows, 0.01, "rows repeated from the frame before")
        if stale is not None:
            return stale
    lasting = 0.0 if e.reference is None else 1.5 * e.reference.stats.jump_adu
    limit = max(0.25 * abs(e.stats.level_adu), 10.0 + 3.0 * e.stats.step_adu, lasting)
    return beyond(FrameCode.PARTIAL, e.stats.jump_adu, limit, "step between neighbouring lines, ADU")


def duplicate(e: Evidence) -> Verdict | None:
    """Refuse the previous frame sent again."""
    if e.previous is None:
        return None
    same = e.stats.pixel_sha256 == e.previous.stats.pixel_sha256 and e.stats.sigma_adu > 0
    repeated = 1.0 if same else e.previous.identical_rows
    return beyond(FrameCode.DUPLICATE_FRAME, repeated, 0.9, "part of the rows equal to the frame before")


def too_fast(e: Evidence) -> Verdict | None:
    """Refuse an image that was there before its exposure can have ended; below 20 ms no clock is good enough."""
    if e.returned_after_s is None or e.request.exposure_us < 20_000:
        return None
    limit = 0.95 * e.request.exposure_us / 1e6 - 0.005
    return beyond(FrameCode.TOO_FAST, e.returned_after_s, limit, "seconds to the image", over=False)


def saturated_lines(e: Evidence) -> Verdict | None:
    """Find rows and columns that are mostly saturated, or a few rows of one value, in a frame that is not.

    A sensor's own bad lines are in every frame: only more than the baseline has refuses. Without one it is a doubt.
    """
    if e.stats.saturated_fraction > 0.5 or e.stats.sigma_adu == 0:
        return None
    lines = max(e.stats.saturated_lines, e.stats.constant_rows)
    known = e.baseline
    lasting = 0 if known is None else max(known.saturated_lines, known.constant_rows)
    return beyond(FrameCode.SATURATED_LINES, lines, lasting, "lines", refuses=known is not None)


def temperature_off(e: Evidence) -> Verdict | None:
    """Refuse a frame of which the beginning, the end or the mean is not at the temperature asked for, or not known."""
    wanted, tolerance = e.request.set_temp_c, e.request.limits.temperature_tolerance_c
    header = e.frame.header
    readings = [t for t in (header.temp_begin_c, header.temp_end_c, header.ccd_temp_c) if t is not None]
    if wanted is None or tolerance is None:
        return None
    if not readings:
        detail = f"no reading that can be a temperature, wanted {wanted:g}"
        return Verdict(code=FrameCode.TEMPERATURE_OFF, refuses=True, measured=0.0, limit=tolerance, detail=detail)
    off = max(abs(t - wanted) for t in readings)
    return beyond(FrameCode.TEMPERATURE_OFF, off, tolerance + 1e-6, f"degrees from {wanted:g}")


def exposure_mismatch(e: Evidence) -> Verdict | None:
    """Refuse an exposure that the camera itself reports as another than the header's: see `is_as_asked`."""
    header = e.frame.header
    wanted = e.request.exposure_us if header.exposure_us is None else header.exposure_us  # quantised by the camera
    reported = header.reported_exposure_us
    if reported is None or is_as_asked(wanted, reported):
        return None
    detail = f"microseconds from {wanted}"
    return beyond(FrameCode.EXPOSURE_MISMATCH, abs(reported - wanted), _tolerance_us(wanted), detail)


def is_as_asked(wanted_us: int, reported_us: int, *, overhead_us: int = OVERHEAD_US) -> bool:
    """Return whether a reported exposure is the one wanted: within 2 % or 2 ms, or longer by what drivers add."""
    off_us, tolerance_us = reported_us - wanted_us, _tolerance_us(wanted_us)
    return -tolerance_us <= off_us <= max(tolerance_us, overhead_us)


def _tolerance_us(wanted_us: int) -> float:
    return max(2_000.0, 0.02 * wanted_us)
