"""How dark a dark frame must be: limits from the pedestal, the dark current, and the last good master.

A leak that is constant grows with the exposure just as the dark current does, so two exposures alone never separate
them. What does: no sensor makes more than a poor one at its temperature, none makes more than in the set before, the
pedestal has its own gradient, and from the second night on the last master shows what is usual.
"""

from collections.abc import Iterable
from dataclasses import replace
from statistics import median

from calibration.frames import DarkSeen, FrameResult, FrameStats, Limits
from calibration.plans.settings import Darkness

LINEARITY = 0.25
"""Relative departure allowed from dark current in proportion to exposure, and from the last master."""
USUAL_ADU = 5.0
"""Difference from the last master that is always allowed."""
POOR_ADU_S, POOR_DOUBLING_C, WARM_C = 20.0, 6.0, 30.0
"""A poor sensor's dark current at 0 °C, and in how many degrees it doubles; the temperature where none is known."""
RATE_REACH = 4
"""A dark gives the rate of exposures up to so many times its own: the error of its level grows as much."""
DOUBLING_C = 5.0
"""Sensors double their dark current in this many degrees, or more."""


def poor_rate_adu_s(temperature_c: float | None) -> float:
    """Return the most dark current that is believed of any sensor."""
    return POOR_ADU_S * 2 ** ((WARM_C if temperature_c is None else temperature_c) / POOR_DOUBLING_C)


def dark_rate(bias_adu: float, darks: Iterable[tuple[int, float]], *, exposure_us: int = 0) -> float | None:
    """Return the dark current in ADU/s measured by earlier darks; None where none is long enough.

    Parameters
    ----------
    bias_adu : float
    darks : iterable of (exposure_us, level_adu)
        Those of at least a second count.
    exposure_us : int
        What the rate is for: darks of less than a quarter of it say too little.
    """
    least_us = max(1_000_000, exposure_us // RATE_REACH)
    rates = [(level_adu - bias_adu) / (us / 1e6) for us, level_adu in darks if us >= least_us]
    return max(0.0, median(rates)) if rates else None


def dark_limits(limits: Limits, darkness: Darkness, exposure_us: int, temperature_c: float | None) -> Limits:
    """Return limits that a frame of this exposure keeps in the dark; what the caller set already stays.

    Parameters
    ----------
    limits : Limits
    darkness : Darkness
    exposure_us : int
    temperature_c : float or None
        Of the sensor.
    """
    believed_adu = poor_rate_adu_s(temperature_c) * exposure_us / 1e6
    limits = replace(limits, gradient_adu=_gradient(limits, darkness, believed_adu), bias_adu=darkness.bias_adu)
    if darkness.bias_adu is None:
        return limits
    tolerance, signal = darkness.bias_tolerance_adu, (darkness.rate_adu_s or 0.0) * exposure_us / 1e6
    if limits.light_adu is None:
        limits = replace(limits, light_adu=_light(darkness, darkness.bias_adu, believed_adu))
    if limits.pedestal_adu is not None:
        return limits
    if darkness.rate_adu_s is None:
        tolerance += believed_adu  # no dark current is known: the frame may be anything from none to that
    return replace(
        limits, pedestal_adu=darkness.bias_adu + signal, pedestal_tolerance_adu=tolerance + LINEARITY * signal
    )


def bias_limits(limits: Limits, darkness: Darkness) -> Limits:
    """Return limits that a bias keeps in the dark: the gradient of the last master."""
    return replace(limits, gradient_adu=_gradient(limits, darkness, 0.0))


def learnt(darkness: Darkness, stats: FrameStats, exposure_us: int, temperature_c: float | None) -> Darkness:
    """Return what a short dark teaches of the dark current; one that is lit itself teaches that none is expected."""
    limits = dark_limits(Limits(), darkness, exposure_us, temperature_c)
    lit = limits.light_adu is not None and stats.level_adu > limits.light_adu
    lit = lit or (limits.gradient_adu is not None and stats.gradient_adu > limits.gradient_adu)
    rate = 0.0 if lit else _rate(darkness, stats, exposure_us)
    seen = darkness.darkest
    if seen is not None and (ceiling := ceiling_adu_s(seen, temperature_c)) is not None and rate > ceiling:
        rate = seen.rate_adu_s
    # levels are whole steps of the converter: four times their rounding is no departure from linearity
    tolerance = darkness.bias_tolerance_adu + 2 * stats.step_adu
    return replace(darkness, rate_adu_s=rate, bias_tolerance_adu=tolerance)


def darkest(darkness: Darkness, results: Iterable[FrameResult]) -> DarkSeen | None:
    """Return the dark current of the frame that bounds it best: a good one here, or what was seen before."""
    here = (_seen(darkness, r) for r in results if r.accepted and r.request.exposure_us > 0)
    known = [seen for seen in (darkness.darkest, *here) if seen is not None]
    return min(known, key=_most_adu_s, default=None) if darkness.bias_adu is not None else None


def ceiling_adu_s(seen: DarkSeen, temperature_c: float | None) -> float | None:
    """Return the most dark current that fits a frame seen before; None where the temperatures are not known."""
    if seen.ccd_temp_c is None or temperature_c is None:
        return None
    warmer_c = max(0.0, temperature_c - seen.ccd_temp_c)
    return float((1 + LINEARITY) * _most_adu_s(seen) * 2 ** (warmer_c / DOUBLING_C))


def _seen(darkness: Darkness, result: FrameResult) -> DarkSeen:
    exposure_us = result.request.exposure_us
    rate = _rate(darkness, result.stats, exposure_us)
    return DarkSeen(rate_adu_s=rate, exposure_us=exposure_us, ccd_temp_c=result.header.ccd_temp_c)


def _most_adu_s(seen: DarkSeen) -> float:
    """Return the most that a rate may be in truth: a level wanders by some ADU, which is much in a short exposure."""
    return seen.rate_adu_s + USUAL_ADU / (seen.exposure_us / 1e6)


def _rate(darkness: Darkness, stats: FrameStats, exposure_us: int) -> float:
    return max(0.0, stats.level_adu - (darkness.bias_adu or 0.0)) / (exposure_us / 1e6)


def _light(darkness: Darkness, bias_adu: float, believed_adu: float) -> float:
    """Return the level above which a frame is lit."""
    earlier = darkness.earlier
    if earlier is not None and earlier.signal_adu is not None:
        return bias_adu + USUAL_ADU + (1 + LINEARITY) * max(0.0, earlier.signal_adu)
    return bias_adu + darkness.bias_tolerance_adu + believed_adu


def _gradient(limits: Limits, darkness: Darkness, believed_adu: float) -> float | None:
    """Return the gradient allowed: the last master's, else the pedestal's own and a poor sensor's glow."""
    if limits.gradient_adu is not None:
        return limits.gradient_adu
    if darkness.earlier is not None:
        return USUAL_ADU + (1 + LINEARITY) * darkness.earlier.gradient_adu
    if darkness.bias_gradient_adu is None:
        return None
    return darkness.bias_gradient_adu + darkness.bias_tolerance_adu + believed_adu / 2
