"""Whether it is dark at all, before many darks are taken, and the pedestal of earlier nights."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.errors import GroupCode
from calibration.frames import Verdict


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
    temperature_c: float | None = None,
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
        Dark current expected. Unknown: what a poor sensor makes at this temperature is allowed.
    temperature_c : float, optional
        Of the sensor.
    noise_adu : float
        Noise of one pixel, which widens the limits of sensors that are coarse.

    Returns
    -------
    Verdict or None
        With `GroupCode.NOT_DARK`; None when nothing speaks against darkness.
    """
    seconds = first.exposure_us / 1e6
    signal = first.level_adu - bias_adu
    rate = _poor_sensor_adu_s(temperature_c) if expected_dark_adu_s is None else 3.0 * max(0.0, expected_dark_adu_s)
    expected = rate * seconds
    slack = max(10.0, noise_adu)  # the pedestal itself moves by some ADU with the exposure
    if signal > expected + slack:
        return _not_dark(signal, expected + slack, "ADU above the bias")
    gradient = first.gradient_adu - bias_gradient_adu
    glow = slack + 0.5 * expected
    if gradient > glow:
        return _not_dark(gradient, glow, "ADU of gradient above the bias")
    return None if second is None else _unsteady(first, second, bias_adu=bias_adu, slack=slack)


def _poor_sensor_adu_s(temperature_c: float | None) -> float:
    """Return the most dark current that is believed: 4 ADU/s at 0 degrees, doubling every 6; 20 where T is unknown."""
    return 20.0 if temperature_c is None else 4.0 * 2 ** (temperature_c / 6)


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
