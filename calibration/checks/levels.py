"""Checks of what the frame shows: level, pedestal, noise, and a lamp that drifts."""

from collections.abc import Sequence

import numpy as np

from calibration.checks.evidence import DARK_CURRENT_PER_C, Evidence, beyond
from calibration.errors import FrameCode
from calibration.frames import FrameKind, FrameStats, Verdict

COARSE = 0.45
"""Noise of fewer steps of the converter than this is not measured: where the pedestal lies between two steps counts."""
FADED = 0.85
"""Least part of a dark's noise that is left when its afterglow has faded."""


def level_off(e: Evidence) -> Verdict | None:
    """Refuse a level or a saturated fraction outside what the plan allows."""
    limits = e.request.limits
    if limits.max_saturated_fraction is not None:
        saturated = beyond(
            FrameCode.LEVEL_OFF, e.stats.saturated_fraction, limits.max_saturated_fraction, "saturated fraction"
        )
        if saturated is not None:
            return saturated
    if limits.level_adu is None or limits.level_tolerance_adu is None:
        return None
    off = abs(e.stats.level_adu - limits.level_adu)
    return beyond(FrameCode.LEVEL_OFF, off, limits.level_tolerance_adu, f"ADU from {limits.level_adu:.0f}")


def pedestal_off(e: Evidence) -> Verdict | None:
    """Refuse a dark frame whose level is not the expected one, or not that of the others of its set.

    Within a set the level wanders by a few ADU with time, and the dark signal follows the temperature.
    """
    if not e.is_dark:
        return None
    limits = e.request.limits
    if limits.pedestal_adu is not None and limits.pedestal_tolerance_adu is not None:
        off = abs(e.stats.level_adu - limits.pedestal_adu)
        expected = beyond(
            FrameCode.PEDESTAL_OFF, off, limits.pedestal_tolerance_adu, f"ADU from {limits.pedestal_adu:.1f}"
        )
        if expected is not None:
            return expected
    if e.reference is None:
        return None
    level, wander = _level_within(e, e.reference.stats.level_adu)
    limit = max(10.0, 3.0 * e.stats.step_adu, wander)
    return beyond(FrameCode.PEDESTAL_OFF, abs(e.stats.level_adu - level), limit, f"ADU from the set's {level:.1f}")


def _level_within(e: Evidence, level_adu: float) -> tuple[float, float]:
    """Return the level to be expected after the reference's, and how far it may wander.

    Sensors double their dark current in 5 to 8 degrees, and read them in steps of up to 0.4: both leave 5 %. Where the
    pedestal is not known, all of a dark may be dark current.
    """
    if e.request.kind is FrameKind.BIAS:
        return level_adu, 0.02 * abs(level_adu)
    dark = e.dark_signal_adu
    if dark is None:
        return level_adu, 0.1 * abs(level_adu)
    warmer = dark * (np.exp(DARK_CURRENT_PER_C * e.warmer_c) - 1)
    pedestal = abs(level_adu - dark)
    return level_adu + warmer, max(0.02 * pedestal, (0.05 + DARK_CURRENT_PER_C / 2 * e.temperature_change_c) * dark)


def noise_off(e: Evidence) -> Verdict | None:
    """Refuse a noise that the gain of this set does not have.

    Three measures: the difference from the previous frame against the plan's expectation and against the reference's
    own pair, and the noise within the frame against the reference's, which a gain that is 10 % off changes by as much
    unless a fixed pattern hides it. A fading afterglow takes its shot noise along: of a quiet sensor 0.3 electrons that
    are gone after some darks are a tenth of the noise. That falls little by little, a gain at once: a dark below the
    reference is refused only when it is off the good dark just before as well, or further down than glows fade.
    """
    return _noise_planned(e) or _noise_of_pair(e) or _noise_within(e)


def _noise_planned(e: Evidence) -> Verdict | None:
    limits = e.request.limits
    if e.pair_sigma_adu is None or not limits.noise_adu or limits.noise_tolerance is None:
        return None
    expected = limits.noise_adu * _shot_noise_ratio(e)
    off = abs(e.pair_sigma_adu / expected - 1)
    return beyond(FrameCode.NOISE_OFF, off, limits.noise_tolerance, f"relative to {expected:.2f} ADU")


def _shot_noise_ratio(e: Evidence) -> float:
    """Return by how much the shot noise of this flat and the one before differs from that of the level wanted."""
    limits = e.request.limits
    if e.is_dark or limits.level_adu is None or limits.pedestal_adu is None or e.previous is None:
        return 1.0
    wanted = limits.level_adu - limits.pedestal_adu
    signal = (e.stats.level_adu + e.previous.stats.level_adu) / 2 - limits.pedestal_adu
    return float(np.sqrt(signal / wanted)) if min(signal, wanted) > 0 else 1.0


def _noise_of_pair(e: Evidence) -> Verdict | None:
    """Judge temporal noise: a gain that changed between two frames shows by half, so the limit is tight."""
    usual = e.reference.pair_sigma_adu if e.reference is not None else None
    off = _pair_against(e, usual, e.warmer_c) if usual and e.is_dark else None
    if off is None or not _may_fade(off) or e.faded is None or not e.faded.pair_sigma_adu:
        return off
    return off if _pair_against(e, e.faded.pair_sigma_adu, e.warmer_than(e.faded.ccd_temp_c)) is not None else None


def _pair_against(e: Evidence, usual: float, warmer_c: float) -> Verdict | None:
    if e.pair_sigma_adu is None:
        return None
    now, then = (_analogue(sigma, e.stats.step_adu) for sigma in (e.pair_sigma_adu, usual))
    if then < COARSE * e.stats.step_adu:
        return None
    # what a coarse converter adds says nothing of the gain, but has its part in the scatter
    margin = 0.025 + 5 / np.sqrt(_samples(e)) * max(1.0, (usual / then) ** 2)
    warmer = 0.5 * DARK_CURRENT_PER_C * warmer_c * _dark_share(e, usual)  # shot noise of the dark current
    detail = f"of the set's {usual:.2f} ADU"
    below = beyond(FrameCode.NOISE_OFF, now / then, 1 - margin + min(0.0, warmer), detail, over=False)
    return below or beyond(FrameCode.NOISE_OFF, now / then, 1 + margin + max(0.0, warmer), detail)


def _noise_within(e: Evidence) -> Verdict | None:
    if e.reference is None or e.is_sky:
        return None
    off = _within_against(e, e.reference.stats, e.warmer_c)
    if off is None or not _may_fade(off) or e.faded is None:
        return off
    return off if _within_against(e, e.faded.stats, e.warmer_than(e.faded.ccd_temp_c)) is not None else None


def _within_against(e: Evidence, usual: FrameStats, warmer_c: float) -> Verdict | None:
    low, high = _noise_range(e, usual, warmer_c)
    then = _analogue(usual.sigma_adu, e.stats.step_adu)
    if then < COARSE * e.stats.step_adu:
        return None
    ratio = _analogue(e.stats.sigma_adu, e.stats.step_adu) / then
    below = beyond(FrameCode.NOISE_OFF, ratio, low, "of the set's noise", over=False)
    return below or beyond(FrameCode.NOISE_OFF, ratio, high, "of the set's noise")


def _may_fade(off: Verdict) -> bool:
    """Whether a noise is off as a fading afterglow leaves it: below the reference's, in which it glowed, and not far.

    The level does not show how far: the pedestal wanders by more than such a glow.
    """
    return FADED <= off.measured < off.limit


def _samples(e: Evidence) -> float:
    """Return the number of pixels the noise is measured on."""
    return max(1.0, e.frame.pixels.size / (16 if e.frame.header.bayer_pattern else 4))


def _analogue(sigma_adu: float, step_adu: int) -> float:
    """Return the noise before quantisation (Sheppard): the part that follows the gain on a coarse sensor."""
    return float(np.sqrt(max(sigma_adu**2 - step_adu**2 / 12, (0.2 * step_adu) ** 2)))


def _dark_share(e: Evidence, sigma_adu: float) -> float:
    """Return at most which part of a noise is from the dark current; all of a dark's where the pedestal is not known.

    Read noise is about an electron or more, so that shot noise of fewer ADU than it has is less than such a part of it;
    the pattern of the dark current is about as strong as itself.
    """
    if e.request.kind is not FrameKind.DARK:
        return 0.0
    dark = e.dark_signal_adu
    return 1.0 if dark is None or sigma_adu <= 0 else min(1.0, dark / sigma_adu)


def _noise_range(e: Evidence, usual: FrameStats, warmer_c: float) -> tuple[float, float]:
    """Return the least and the greatest healthy ratio of a frame's noise to that of a good one.

    Darks: the pattern of the dark current follows the temperature. Flats: shot noise goes with the square root of the
    signal, structure with the signal itself.
    """
    margin = 0.04 + 5 / np.sqrt(_samples(e))
    if e.is_dark:
        share = _dark_share(e, usual.sigma_adu / 2)
        warmer = DARK_CURRENT_PER_C * warmer_c * share
        margin += 0.01 * share
        return 1 - margin + min(0.0, warmer), 1 + margin + max(0.0, warmer)
    signal = _signal_ratio(e, usual)
    return min(signal, np.sqrt(signal)) * (1 - margin), max(signal, np.sqrt(signal)) * (1 + margin)


def _signal_ratio(e: Evidence, usual: FrameStats) -> float:
    pedestal = e.request.limits.pedestal_adu or 0.0
    wanted = usual.level_adu - pedestal
    return max(0.0, e.stats.level_adu - pedestal) / wanted if wanted > 0 else 1.0


def lamp_drift(e: Evidence) -> Verdict | None:
    """Doubt a panel flat whose signal per second is more than 1 % from the reference's.

    It costs no frame, since flats are scaled before they are combined; `level_off` refuses what is out of tolerance.
    """
    if e.request.kind is not FrameKind.FLAT or e.is_sky or e.reference is None:
        return None
    if e.request.panel_brightness != e.reference.request.panel_brightness:
        return None
    longer = e.request.exposure_us / e.reference.request.exposure_us
    off = abs(_signal_ratio(e, e.reference.stats) / longer - 1)
    return beyond(FrameCode.LAMP_DRIFT, off, 0.01, "relative to the set's first flat", refuses=False)


def pedestal_limits(nights_adu: Sequence[float], *, step_adu: int = 1) -> tuple[float, float] | None:
    """Return expected pedestal and tolerance from the levels of earlier nights, one value a night.

    The tolerance is max(10 ADU, 3 steps of the converter, 5 x scatter between nights): a median is a whole step on a
    coarse sensor. None below two earlier nights, so that the third is the first to be judged.
    """
    if len(nights_adu) < 2:
        return None
    scatter = float(np.std(nights_adu, ddof=1))
    return float(np.median(nights_adu)), max(10.0, 3.0 * step_adu, 5 * scatter)
