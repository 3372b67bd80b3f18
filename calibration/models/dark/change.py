"""Whether a detector's dark moved between two models of it: the typical pixel, with the error of that difference."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from calibration.models.dark.model import DarkModel, Noise, Parameters, by_relation, predict
from calibration.models.means import Planes

_OF_A_MEDIAN = float(np.sqrt(np.pi / 2))
"""Standard error of a median over that of a mean, of normal values."""

_ROBUST = 1.4826
"""Standard deviation of normal values over their median distance from the middle."""


class Known(NamedTuple):
    """A model with its pixels, and the standard error in ADU that the levels of whole frames give to all of them."""

    model: DarkModel
    parameters: Parameters
    level_adu: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The dark of a typical pixel by two models and the error of the difference, in ADU; NaN where nothing is known."""

    before_adu: float
    after_adu: float
    sigma_adu: float


def change_of(old: Known, new: Known, temperature_c: float, exposure_s: float) -> Change:
    """Return how the dark of a typical pixel at a temperature and an exposure changed.

    What changed is the median over the pixels of the difference of both predictions of a pixel: what pixels have of
    their own takes no part. Its error is that of a median, from the scatter of the differences, and what all pixels
    of a model have in common: the error of the relation of rate and energy, and of the levels of frames.

    Parameters
    ----------
    old, new : Known
        Of the same n pixels.
    temperature_c, exposure_s : float
        In degrees Celsius and seconds.
    """
    darks = [predict(each.model, each.parameters, temperature_c, exposure_s).mean.ravel() for each in (old, new)]
    before, after = (each.astype(np.float64) for each in darks)
    known = np.isfinite(before) & np.isfinite(after)
    if not known.any():
        return Change(before_adu=float("nan"), after_adu=float("nan"), sigma_adu=float("nan"))
    off = (after - before)[known]
    change = float(np.median(off))
    variance = (_OF_A_MEDIAN * _ROBUST * float(np.median(np.abs(off - change)))) ** 2 / off.size
    for each in (old, new):
        shared = by_relation(each.model.law, each.parameters, temperature_c, exposure_s).reshape(3, -1)[:, known]
        variance += each.level_adu**2 + _common(each, np.median(shared, axis=1))
    typical = float(np.median(before[known]))
    return Change(before_adu=typical, after_adu=typical + change, sigma_adu=float(np.sqrt(variance)))


def _common(known: Known, shared: Planes) -> float:
    relation = known.model.law.relation
    return 0.0 if relation is None else float(shared @ relation.matrix @ shared)


def level_error(
    noise: Noise, exposure_s: NDArray[np.float64], frames: NDArray[np.float64], drift_adu2: float, rate: float
) -> float:
    """Return the error of the dark of all pixels in the longest exposure, in ADU, by the levels of whole frames.

    The means of one temperature show a rate as their noise lets them: where the level of each is off, so is the rate.

    Parameters
    ----------
    noise : Noise
    exposure_s, frames : ndarray, shape (k,)
        Of the means of one temperature.
    drift_adu2 : float
        Variance of the levels of frames.
    rate : float
        Of a typical pixel at that temperature, in ADU/s.
    """
    variance = noise.read_adu2 + noise.per_adu * max(rate, 0.0) * exposure_s
    weight = frames * exposure_s / variance
    total = float(weight @ exposure_s)
    if not total > 0:
        return 0.0
    return float(exposure_s.max() * np.sqrt(drift_adu2 * (weight**2 / frames).sum()) / total)
