"""The light of flats over time: a film that covers the frame evenly shows there alone, and so does the lamp."""

import numpy as np

from calibration.models.structure.history import Trend, trends_of
from services.models.structure.epochs import Plan
from services.words import lasting

_EPOCHS = 4
"""So few show no scatter about a trend."""

_SHORT = 2.0
"""Days below which a time is given in hours and minutes."""

_REAL = 0.01
_LEAST = 1e-3
"""Relative error of the light of an epoch at least: no lamp is steadier."""


def light_trend(plan: Plan) -> str:
    """Return in words that the light per second of flats rises or falls with time; empty where it is not seen to.

    Levels are compared where what is no light was taken off, or where all exposures are equal. Temperature is fitted at
    the same time.
    """
    exposures = np.array([epoch.exposure_s for epoch in plan.epochs])
    reduced = all(epoch.reduction is not None for epoch in plan.epochs)
    if len(plan.epochs) < _EPOCHS or not (exposures > 0).all() or not (reduced or np.ptp(exposures) == 0):
        return ""
    light = np.log(np.array([epoch.level_adu for epoch in plan.epochs]) / exposures)
    days = np.array([epoch.days for epoch in plan.epochs])
    celsius = np.array([epoch.celsius for epoch in plan.epochs])
    trend, _ = trends_of(light, np.full(light.size, _LEAST), [days, celsius])
    return _words(trend, float(np.nanmax(days) - np.nanmin(days)), reduced) if trend.p < _REAL else ""


def _lasting(days: float) -> str:
    return lasting(86400 * days) if days < _SHORT else f"{days:.0f} days"


def _words(trend: Trend, days: float, reduced: bool) -> str:  # noqa: FBT001
    percent, error = (100 * days * each for each in (trend.slope, trend.sigma))
    return (
        f"the light of the flats {'falls' if percent < 0 else 'rises'} by {abs(percent):.1f} ± {error:.1f} % in "
        f"{_lasting(days)}{'' if reduced else ', the bias included'}: a film that covers the frame evenly does so, but "
        "the lamp may, too; compare with a light that is known to be steady"
    )
