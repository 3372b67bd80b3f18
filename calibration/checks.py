"""What is thought of a frame as it lands: one small function a check, values in, verdicts out.

`judge` runs them all. A frame is held against the request's limits, against the frame the camera returned just before
(`PreviousFrame`: stale buffers, temporal noise) and against a good frame of the same set (`reference`, best the first
accepted one: leaks, gain and lamp that change within a set). What is not known switches its checks off. Limits are
set where healthy frames do not fall: each says why. Nothing here decides what happens next.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.errors import FrameCode, GroupCode
from calibration.frames import CaptureRequest, Frame, FrameKind, FrameResult, FrameStats, Purpose, Verdict
from calibration.stats import GRID

DARK_KINDS = frozenset({FrameKind.BIAS, FrameKind.DARK})

DARK_CURRENT_PER_C = 0.12
"""Relative change of the dark current in one degree (it doubles in about 6 degrees)."""


ROW_NOISE = 0.3
"""Noise that all pixels of a row share, relative to that of a pixel: as much as ordinary CMOS sensors have."""


def _contrasts() -> NDArray[np.float64]:
    """Weights of nine regions, in reading order: what a leak changes and a shift of the whole level does not."""
    table = np.zeros((9, GRID, GRID))
    for i in range(6):  # each band's left and right against its middle: free of row noise
        table[i, i // 2, 2 * (i % 2)], table[i, i // 2, 1] = 1, -1
    table[6, 0], table[6, 1] = 1 / 3, -1 / 3  # top and bottom against the middle
    table[7, 2], table[7, 1] = 1 / 3, -1 / 3
    table[8] = 1 / 8  # all around against the centre
    table[8, 1, 1] = -1
    return table.reshape(9, GRID * GRID)


CONTRASTS = _contrasts()
"""Shape (contrast, region)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousFrame:
    """The frame the camera returned just before, whatever it was for.

    Attributes
    ----------
    stats : FrameStats
        What was measured on it.
    difference_sigma_adu : float or None
        `stats.difference_sigma` of this frame and that one; None when their kind or exposure differ.
    identical_rows : float
        Fraction of rows that repeat it pixel for pixel (`stats.compare`).
    """

    stats: FrameStats
    difference_sigma_adu: float | None = None
    identical_rows: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that the checks look at. `reference` is a good frame of the same set, None for the first."""

    frame: Frame
    stats: FrameStats
    request: CaptureRequest
    returned_after_s: float | None
    previous: PreviousFrame | None
    reference: FrameResult | None
    expected_shape: tuple[int, int] | None

    @property
    def is_dark(self) -> bool:
        """Whether no light is wanted on the frame."""
        return self.request.kind in DARK_KINDS

    @property
    def baseline(self) -> FrameStats | None:
        """The best frame to tell lasting defects of the sensor by: the reference, else the previous frame."""
        if self.reference is not None:
            return self.reference.stats
        return self.previous.stats if self.previous is not None else None


def judge(
    frame: Frame,
    stats: FrameStats,
    *,
    request: CaptureRequest,
    returned_after_s: float | None = None,
    previous: PreviousFrame | None = None,
    reference: FrameResult | None = None,
    expected_shape: tuple[int, int] | None = None,
) -> tuple[Verdict, ...]:
    """Judge one frame.

    Parameters
    ----------
    frame : Frame
        The frame as it will be written; its header holds what the device reported.
    stats : FrameStats
        `stats.measure` of its pixels.
    request : CaptureRequest
        What was asked for, with its limits.
    returned_after_s : float, optional
        Clock seconds from the start of the exposure to the image.
    previous : PreviousFrame, optional
        The frame returned just before.
    reference : FrameResult, optional
        A good frame of the same set, best the first accepted one.
    expected_shape : tuple of int, optional
        Rows and columns of the region that was set.

    Returns
    -------
    tuple of Verdict
        Empty when nothing was found. A verdict with `refuses` False is a doubt that does not cost the frame.
    """
    evidence = Evidence(
        frame=frame,
        stats=stats,
        request=request,
        returned_after_s=returned_after_s,
        previous=previous,
        reference=reference,
        expected_shape=expected_shape,
    )
    size = _size_changed(evidence)
    if size is not None:
        return (size,)  # nothing else can be compared
    return tuple(verdict for check in CHECKS if (verdict := check(evidence)) is not None)


def _verdict(
    code: FrameCode, measured: float, limit: float, detail: str = "", *, refuses: bool = True, over: bool = True
) -> Verdict | None:
    """Return the verdict if `measured` is beyond `limit` (above it, or below it when not `over`)."""
    beyond = measured > limit if over else measured < limit
    if not beyond:
        return None
    return Verdict(code=code, refuses=refuses, measured=float(measured), limit=float(limit), detail=detail)


def _size_changed(e: Evidence) -> Verdict | None:
    """Refuse another size than asked for: a client or a driver moved the region or the binning."""
    shape = e.frame.pixels.shape
    if e.expected_shape is None or shape == e.expected_shape:
        return None
    detail = f"{shape} instead of {e.expected_shape}"
    expected = e.expected_shape[0] * e.expected_shape[1]
    return Verdict(
        code=FrameCode.SIZE_CHANGED, refuses=True, measured=float(np.prod(shape)), limit=float(expected), detail=detail
    )


def _constant(e: Evidence) -> Verdict | None:
    """Refuse a frame of one value. A saturated test flat is one too, but tells the search what it needs to know."""
    if e.stats.sigma_adu > 0:
        return None
    search = e.request.kind is FrameKind.FLAT and e.request.purpose is not Purpose.KEEP and e.stats.level_adu > 0
    return Verdict(
        code=FrameCode.CONSTANT,
        refuses=not search,
        measured=e.stats.sigma_adu,
        limit=0.0,
        detail=f"all pixels at {e.stats.level_adu:g} ADU",
    )


def _partial(e: Evidence) -> Verdict | None:
    """Refuse a frame of which a part is missing, stale, or of another exposure.

    Constant rows and rows repeated from the previous frame do not occur in noise. A step between neighbouring bands
    of more than a quarter of the level is no vignetting; two read-out taps may have one, always.
    """
    if e.stats.sigma_adu == 0:
        return None
    rows = e.frame.pixels.shape[0]
    constant = _verdict(FrameCode.PARTIAL, e.stats.constant_rows / rows, 0.01, "rows of a single value")
    if constant is not None:
        return constant
    if e.previous is not None and e.previous.identical_rows <= 0.9:
        stale = _verdict(FrameCode.PARTIAL, e.previous.identical_rows, 0.01, "rows repeated from the frame before")
        if stale is not None:
            return stale
    lasting = 0.0 if e.reference is None else 1.5 * e.reference.stats.jump_adu
    limit = max(0.25 * abs(e.stats.level_adu), 10.0 + 3.0 * e.stats.step_adu, lasting)
    return _verdict(FrameCode.PARTIAL, e.stats.jump_adu, limit, "step between neighbouring lines, ADU")


def _duplicate(e: Evidence) -> Verdict | None:
    """Refuse the previous frame sent again."""
    if e.previous is None:
        return None
    same = e.stats.pixel_sha256 == e.previous.stats.pixel_sha256 and e.stats.sigma_adu > 0
    repeated = 1.0 if same else e.previous.identical_rows
    return _verdict(FrameCode.DUPLICATE_FRAME, repeated, 0.9, "part of the rows equal to the frame before")


def _too_fast(e: Evidence) -> Verdict | None:
    """Refuse an image that was there before its exposure can have ended; below 20 ms no clock can tell."""
    if e.returned_after_s is None or e.request.exposure_us < 20_000:
        return None
    limit = 0.95 * e.request.exposure_us / 1e6 - 0.005
    return _verdict(FrameCode.TOO_FAST, e.returned_after_s, limit, "seconds to the image", over=False)


def _saturated_lines(e: Evidence) -> Verdict | None:
    """Find rows and columns that are mostly saturated, or a few rows of one value, in a frame that is not.

    A sensor's own bad lines are in every frame: only more than the baseline has refuses. Without one it is a doubt.
    """
    if e.stats.saturated_fraction > 0.5 or e.stats.sigma_adu == 0:
        return None
    lines = max(e.stats.saturated_lines, e.stats.constant_rows)
    known = e.baseline
    lasting = 0 if known is None else max(known.saturated_lines, known.constant_rows)
    return _verdict(FrameCode.SATURATED_LINES, lines, lasting, "lines", refuses=known is not None)


def _level_off(e: Evidence) -> Verdict | None:
    """Refuse a level or a saturated fraction outside what the plan allows."""
    limits = e.request.limits
    if limits.max_saturated_fraction is not None:
        saturated = _verdict(
            FrameCode.LEVEL_OFF, e.stats.saturated_fraction, limits.max_saturated_fraction, "saturated fraction"
        )
        if saturated is not None:
            return saturated
    if limits.level_adu is None or limits.level_tolerance_adu is None:
        return None
    off = abs(e.stats.level_adu - limits.level_adu)
    return _verdict(FrameCode.LEVEL_OFF, off, limits.level_tolerance_adu, f"ADU from {limits.level_adu:.0f}")


def _pedestal_off(e: Evidence) -> Verdict | None:
    """Refuse a dark frame whose level is not the expected one, or not that of the others of its set.

    Within a set the level wanders by a few ADU with temperature and time, and the dark signal by some percent.
    """
    if not e.is_dark:
        return None
    limits = e.request.limits
    if limits.pedestal_adu is not None and limits.pedestal_tolerance_adu is not None:
        off = abs(e.stats.level_adu - limits.pedestal_adu)
        expected = _verdict(
            FrameCode.PEDESTAL_OFF, off, limits.pedestal_tolerance_adu, f"ADU from {limits.pedestal_adu:.1f}"
        )
        if expected is not None:
            return expected
    if e.reference is None:
        return None
    level = e.reference.stats.level_adu
    limit = max(10.0, 3.0 * e.stats.step_adu, 0.1 * abs(level))
    return _verdict(FrameCode.PEDESTAL_OFF, abs(e.stats.level_adu - level), limit, f"ADU from the set's {level:.1f}")


def _noise_off(e: Evidence) -> Verdict | None:
    """Refuse a noise that the gain of this set does not have.

    Two measures: the difference from the previous frame against the plan's expectation, and the noise within the
    frame against the reference, which a gain that is 10 % off changes by nearly as much.
    """
    limits = e.request.limits
    pair = e.previous.difference_sigma_adu if e.previous is not None else None
    if pair is not None and limits.noise_adu and limits.noise_tolerance is not None:
        off = abs(pair / limits.noise_adu - 1)
        difference = _verdict(
            FrameCode.NOISE_OFF, off, limits.noise_tolerance, f"relative to {limits.noise_adu:.2f} ADU"
        )
        if difference is not None:
            return difference
    if e.reference is None:
        return None
    low, high = _noise_range(e, e.reference)
    ratio = _analogue_noise(e.stats) / _analogue_noise(e.reference.stats)
    below = _verdict(FrameCode.NOISE_OFF, ratio, low, "of the set's noise", over=False)
    return below or _verdict(FrameCode.NOISE_OFF, ratio, high, "of the set's noise")


def _analogue_noise(stats: FrameStats) -> float:
    """Return the noise before quantisation (Sheppard): the part that follows the gain on a coarse sensor."""
    return float(np.sqrt(max(stats.sigma_adu**2 - stats.step_adu**2 / 12, (0.2 * stats.step_adu) ** 2)))


def _noise_range(e: Evidence, reference: FrameResult) -> tuple[float, float]:
    """Return the least and the greatest healthy ratio of a frame's noise to the reference's.

    Darks: the pattern of the dark current follows the temperature. Flats: shot noise goes with the square root of the
    signal, structure with the signal itself.
    """
    samples = max(1.0, e.frame.pixels.size / (16 if e.frame.header.bayer_pattern else 4))
    margin = 0.04 + 5 / np.sqrt(samples)
    if e.request.kind is FrameKind.DARK:
        margin += 0.01 + DARK_CURRENT_PER_C * _temperature_change(e, reference)
    if e.is_dark:
        return 1 - margin, 1 + margin
    signal = _signal_ratio(e, reference)
    return min(signal, np.sqrt(signal)) * (1 - margin), max(signal, np.sqrt(signal)) * (1 + margin)


def _signal_ratio(e: Evidence, reference: FrameResult) -> float:
    pedestal = e.request.limits.pedestal_adu or 0.0
    wanted = reference.stats.level_adu - pedestal
    return max(0.0, e.stats.level_adu - pedestal) / wanted if wanted > 0 else 1.0


def _temperature_change(e: Evidence, reference: FrameResult) -> float:
    now, then = e.frame.header.ccd_temp_c, reference.header.ccd_temp_c
    return abs(now - then) if now is not None and then is not None else 0.0


def _light_leak(e: Evidence) -> Verdict | None:
    """Refuse a dark frame with a gradient that its set does not have.

    The change of the nine regions' levels since the reference is seen through contrasts (`CONTRASTS`); a leak of
    3 ADU from centre to edge shows in them as 1.3 ADU.
    """
    if not e.is_dark:
        return None
    limits = e.request.limits
    if limits.gradient_adu is not None:
        absolute = _verdict(FrameCode.LIGHT_LEAK, e.stats.gradient_adu, limits.gradient_adu, "gradient, ADU")
        if absolute is not None:
            return absolute
    if e.reference is None or len(e.reference.stats.region_adu) != len(e.stats.region_adu) or not e.stats.region_adu:
        return None
    contrasts = np.abs(CONTRASTS @ (np.array(e.stats.region_adu) - np.array(e.reference.stats.region_adu)))
    allowed = _leak_limits(e, e.reference)
    worst = int(np.argmax(contrasts / allowed))
    return _verdict(FrameCode.LIGHT_LEAK, float(contrasts[worst]), float(allowed[worst]), "gradient gained, ADU")


def _leak_limits(e: Evidence, reference: FrameResult) -> NDArray[np.float64]:
    """Return the limit of each contrast: 1 ADU, 5 sigma of pixel and row noise in both frames, or changes of glow."""
    height, width = e.frame.pixels.shape
    pixel = (CONTRASTS**2).sum(axis=1) * GRID**2 / (height * width)
    row = (CONTRASTS.reshape(-1, GRID, GRID).sum(axis=2) ** 2).sum(axis=1) * ROW_NOISE**2 * GRID / height
    statistical = 5 * e.stats.sigma_adu * np.sqrt(2 * (pixel + row))
    glow = 0.0
    if e.request.kind is FrameKind.DARK:  # follows the temperature
        glow = (0.03 + DARK_CURRENT_PER_C * _temperature_change(e, reference)) * reference.stats.gradient_adu
    return np.asarray(np.maximum(max(1.0, glow), statistical), dtype=np.float64)


def _temperature_off(e: Evidence) -> Verdict | None:
    """Refuse a frame of which the beginning, the end or the mean is not at the temperature asked for."""
    wanted, tolerance = e.request.set_temp_c, e.request.limits.temperature_tolerance_c
    header = e.frame.header
    readings = [t for t in (header.temp_begin_c, header.temp_end_c, header.ccd_temp_c) if t is not None]
    if wanted is None or tolerance is None or not readings:
        return None
    off = max(abs(t - wanted) for t in readings)
    return _verdict(FrameCode.TEMPERATURE_OFF, off, tolerance + 1e-6, f"degrees from {wanted:g}")


def _exposure_mismatch(e: Evidence) -> Verdict | None:
    """Refuse an exposure that the camera itself reports as another than asked for: > 2 % and > 2 ms."""
    reported = e.frame.header.reported_exposure_us
    if reported is None:
        return None
    limit = max(2_000.0, 0.02 * e.request.exposure_us)
    return _verdict(FrameCode.EXPOSURE_MISMATCH, abs(reported - e.request.exposure_us), limit, "microseconds")


def _lamp_drift(e: Evidence) -> Verdict | None:
    """Doubt a panel flat whose signal is more than 1 % from the reference's.

    It costs no frame, since flats are scaled before they are combined; `level_off` refuses what is out of tolerance.
    """
    if e.request.kind is not FrameKind.FLAT or e.request.panel_brightness is None or e.reference is None:
        return None
    off = abs(_signal_ratio(e, e.reference) - 1)
    return _verdict(FrameCode.LAMP_DRIFT, off, 0.01, "relative to the set's first flat", refuses=False)


CHECKS: tuple[Callable[[Evidence], Verdict | None], ...] = (
    _constant,
    _partial,
    _duplicate,
    _too_fast,
    _saturated_lines,
    _level_off,
    _pedestal_off,
    _noise_off,
    _light_leak,
    _temperature_off,
    _exposure_mismatch,
    _lamp_drift,
)
"""In the order in which verdicts are reported; `size_changed` goes before them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DarkSample:
    """Exposure, level and gradient of one frame that should be dark."""

    exposure_us: int
    level_adu: float
    gradient_adu: float


def judge_darkness(
    first: DarkSample,
    second: DarkSample | None = None,
    *,
    bias_adu: float,
    bias_gradient_adu: float = 0.0,
    expected_dark_adu_s: float | None = None,
    noise_adu: float = 0.0,
) -> Verdict | None:
    """Judge whether it is dark, by the first dark of an exposure time (CONTRACTS 3).

    Parameters
    ----------
    first, second : DarkSample
        The frame, and one of a clearly different exposure (a bias will do when it is not the `bias_adu` itself).
    bias_adu, bias_gradient_adu : float
        Level and gradient of the bias with the same settings.
    expected_dark_adu_s : float, optional
        Dark current expected at this temperature. Unknown: 20 ADU/s is allowed, more than a warm sensor makes.
    noise_adu : float
        Noise of one pixel, which widens the limits of sensors that are coarse.

    Returns
    -------
    Verdict or None
        With `GroupCode.NOT_DARK`; None when nothing speaks against darkness.
    """
    seconds = first.exposure_us / 1e6
    signal = first.level_adu - bias_adu
    expected = (20.0 if expected_dark_adu_s is None else 3.0 * max(0.0, expected_dark_adu_s)) * seconds
    slack = max(10.0, noise_adu)  # the pedestal itself moves by some ADU with the exposure
    if signal > expected + slack:
        return _not_dark(signal, expected + slack, "ADU above the bias")
    gradient = first.gradient_adu - bias_gradient_adu
    glow = slack + 0.5 * expected
    if gradient > glow:
        return _not_dark(gradient, glow, "ADU of gradient above the bias")
    return None if second is None else _unsteady(first, second, bias_adu=bias_adu, slack=slack)


def _unsteady(first: DarkSample, second: DarkSample, *, bias_adu: float, slack: float) -> Verdict | None:
    """Refuse a signal that is not proportional to the exposure: a lamp or the sky, not the sensor."""
    ratio = second.exposure_us / first.exposure_us
    predicted = (first.level_adu - bias_adu) * ratio
    off = abs(second.level_adu - bias_adu - predicted)
    limit = 0.2 * abs(predicted) + slack * max(1.0, ratio)
    return _not_dark(off, limit, "ADU from a signal proportional to the exposure") if off > limit else None


def _not_dark(measured: float, limit: float, detail: str) -> Verdict:
    return Verdict(code=GroupCode.NOT_DARK, refuses=True, measured=measured, limit=limit, detail=detail)


def pedestal_limits(nights_adu: Sequence[float]) -> tuple[float, float] | None:
    """Return expected pedestal and tolerance from the levels of earlier nights, one value a night.

    The tolerance is max(10 ADU, 5 x scatter between nights); None below two earlier nights, so that the third is the
    first to be judged.
    """
    if len(nights_adu) < 2:
        return None
    scatter = float(np.std(nights_adu, ddof=1))
    return float(np.median(nights_adu)), max(10.0, 5 * scatter)
