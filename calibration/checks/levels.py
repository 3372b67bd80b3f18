"""Checks of what the frame shows: level, pedestal, noise, and a lamp that drifts."""

import numpy as np

from calibration.checks.evidence import DARK_CURRENT_PER_C, Evidence, beyond
from calibration.errors import FrameCode
from calibration.frames import FrameKind, FrameResult, FrameStats, Verdict


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

    Within a set the level wanders by a few ADU with temperature and time, and the dark signal by some percent.
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
    level = e.reference.stats.level_adu
    limit = max(10.0, 3.0 * e.stats.step_adu, 0.1 * abs(level))
    return beyond(FrameCode.PEDESTAL_OFF, abs(e.stats.level_adu - level), limit, f"ADU from the set's {level:.1f}")


def noise_off(e: Evidence) -> Verdict | None:
    """Refuse a noise that the gain of this set does not have.

    Three measures: the difference from the previous frame against the plan's expectation and against the reference's
    own pair, and the noise within the frame against the reference's, which a gain that is 10 % off changes by as much
    unless a fixed pattern hides it.
    """
    return _noise_planned(e) or _noise_of_pair(e) or _noise_within(e)


def _noise_planned(e: Evidence) -> Verdict | None:
    limits = e.request.limits
    if e.pair_sigma_adu is None or not limits.noise_adu or limits.noise_tolerance is None:
        return None
    off = abs(e.pair_sigma_adu / limits.noise_adu - 1)
    return beyond(FrameCode.NOISE_OFF, off, limits.noise_tolerance, f"relative to {limits.noise_adu:.2f} ADU")


def _noise_of_pair(e: Evidence) -> Verdict | None:
    """Judge temporal noise: a gain that changed between two frames shows by half, so the limit is tight."""
    usual = e.reference.pair_sigma_adu if e.reference is not None else None
    if e.pair_sigma_adu is None or not usual or not e.is_dark:
        return None
    limit = 0.035 + 5 / np.sqrt(_samples(e))
    if e.request.kind is FrameKind.DARK:
        limit += 0.5 * DARK_CURRENT_PER_C * e.temperature_change_c  # shot noise of the dark current
    return beyond(
        FrameCode.NOISE_OFF, abs(e.pair_sigma_adu / usual - 1), limit, f"relative to the set's {usual:.2f} ADU"
    )


def _noise_within(e: Evidence) -> Verdict | None:
    if e.reference is None or e.is_sky:
        return None
    low, high = _noise_range(e, e.reference)
    ratio = _analogue_noise(e.stats) / _analogue_noise(e.reference.stats)
    below = beyond(FrameCode.NOISE_OFF, ratio, low, "of the set's noise", over=False)
    return below or beyond(FrameCode.NOISE_OFF, ratio, high, "of the set's noise")


def _samples(e: Evidence) -> float:
    """Return the number of pixels the noise is measured on."""
    return max(1.0, e.frame.pixels.size / (16 if e.frame.header.bayer_pattern else 4))


def _analogue_noise(stats: FrameStats) -> float:
    """Return the noise before quantisation (Sheppard): the part that follows the gain on a coarse sensor."""
    return float(np.sqrt(max(stats.sigma_adu**2 - stats.step_adu**2 / 12, (0.2 * stats.step_adu) ** 2)))


def _noise_range(e: Evidence, reference: FrameResult) -> tuple[float, float]:
    """Return the least and the greatest healthy ratio of a frame's noise to the reference's.

    Darks: the pattern of the dark current follows the temperature. Flats: shot noise goes with the square root of the
    signal, structure with the signal itself.
    """
    margin = 0.04 + 5 / np.sqrt(_samples(e))
    if e.request.kind is FrameKind.DARK:
        margin += 0.01 + DARK_CURRENT_PER_C * e.temperature_change_c
    if e.is_dark:
        return 1 - margin, 1 + margin
    signal = _signal_ratio(e, reference)
    return min(signal, np.sqrt(signal)) * (1 - margin), max(signal, np.sqrt(signal)) * (1 + margin)


def _signal_ratio(e: Evidence, reference: FrameResult) -> float:
    pedestal = e.request.limits.pedestal_adu or 0.0
    wanted = reference.stats.level_adu - pedestal
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
    off = abs(_signal_ratio(e, e.reference) / longer - 1)
    return beyond(FrameCode.LAMP_DRIFT, off, 0.01, "relative to the set's first flat", refuses=False)
