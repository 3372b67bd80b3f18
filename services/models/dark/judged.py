"""The levels of darks that a model is held against: taken off before they are judged, as those of its own darks."""

import numpy as np
from numpy.typing import NDArray

from calibration.models.dark.model import DarkModel, Parameters, Prediction, predict
from calibration.models.dark.relations import merged
from calibration.models.dark.ties import Left, Levels, Said, before_of, levels_of, said_left
from calibration.models.means import Planes, stacked
from services.models.dark.bands import constant
from services.models.dark.levels import ties_of
from services.models.dark.plan import Grouped, halves_of
from services.models.dark.read import Read
from services.models.sampling import place_of


def judged(darks: Grouped, read: Read) -> Levels:
    """Return the levels of groups of darks, as what a model leaves of their faint pixels shows them.

    They are 0 unless the groups surely show that levels wander.

    Parameters
    ----------
    darks : Grouped
    read : Read
        The model.
    """
    place, model, taken = place_of(darks.shape), read.model, darks.taken
    first, second = halves_of(darks, place, model.noise)
    groups = stacked([merged(one, other) for one, other in zip(first, second, strict=True)])
    theta, covariance = (np.stack([place.read(each) for each in some]) for some in (read.theta, read.covariance))
    parameters = Parameters(theta=theta, covariance=covariance)
    rests = groups.mean
    if darks.bias.work is None:
        rests = rests - constant(model, parameters, taken, groups)
    precision, pull = np.zeros(len(rests)), np.zeros(len(rests))
    for k, mean in enumerate(rests):
        found = predict(model, parameters, float(taken.temperature_c[k]), float(taken.exposure_s[k]))
        precision[k], pull[k] = said_left(_left(mean, groups.count[k], found, model))
    said = Said(precision=np.diag(precision), pull=pull)
    drift_adu2, read_adu2 = darks.drift_adu2, model.noise.read_adu2
    ties = ties_of(taken, darks.firsts, darks.bias, drift_adu2=drift_adu2, read_adu2=read_adu2)
    return levels_of(before_of(ties, said), said)


def _left(mean: Planes, count: NDArray[np.uint16], found: Prediction, model: DarkModel) -> Left:
    """Return what a prediction leaves of the pixels of a group that are not saturated."""
    signal = found.mean.astype(np.float64)
    variance = model.noise.read_adu2 + model.noise.per_adu * np.maximum(signal, 0.0)
    full = mean + 5 * np.sqrt(variance)
    at = np.isfinite(full) & np.isfinite(signal) & (count > 0) & (np.nan_to_num(full) < model.limit_adu)
    return Left(rest=mean[at] - signal[at], signal=signal[at], variance=variance[at] / count[at])
