"""What the loop of the dark models shares with its caller: the problem, the measured groups, memory and results."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

STATS = 5
PHI, FREEDOM, CHI, USED, STATE = range(STATS)
"""What is returned of each pixel beside its parameters: scatter within its groups over that of the noise model, and its
degrees of freedom; squared deviations from the model over the noise model; groups that count; and 1 where one is left
out as an outlier plus 2 where one is saturated."""


class Problem(NamedTuple):
    """What all pixels have in common.

    A signal is ``theta[0] * times * exp(theta[1] * places)``, where `first` is 2 and not 0, and the sum of the first
    `dark` of the `columns`; the other columns are the pedestal, of the inverse covariance `prior` in units of the
    noise. What all pixels have in common is ``levels @ v`` ADU, v of the covariance 1. c0 to `high` are the relation of
    rate and shape, `known` whether it counts, `scatter` the variance of the shapes about it, `common` (3, 3) the
    covariance of its coefficients, `loose` the inverse degrees of freedom of Student's distribution about it (0: a
    normal one), `least` and `most` the limits of a shape; then the noise model, and saturation.
    """

    times: F64
    places: F64
    columns: F64
    dark: int
    first: int
    prior: F64
    levels: F64
    c0: float
    c1: float
    c2: float
    low: float
    high: float
    known: bool
    scatter: float
    common: F64
    loose: float
    least: float
    most: float
    read: float
    per_adu: float
    limit: float


class Desk(NamedTuple):
    """The working memory of one pixel: its groups, its parameters (the best ones aside) and its normal equations."""

    mean: F64
    counts: F64
    used: F64
    variance: F64
    theta: F64
    best: F64
    row: F64
    step: F64
    scale: F64
    normal: F64
    shared: F64
    stats: F64


def desk_for(k: int, p: int, r: int) -> Desk:
    """Return memory for k groups, p parameters and r terms that all pixels have in common."""
    return Desk._make([*np.zeros((4, k)), *np.zeros((5, p)), np.zeros((p, p)), np.zeros((r, p)), np.zeros(STATS)])


class Measured(NamedTuple):
    """The groups of n pixels.

    `means` and `number` (of samples) have the shape (K, n), NaN and 0 where a pixel has no sample; `scatter`, of shape
    (2, n), has the squared deviations within the groups and their degrees of freedom. Of `informed` parameters
    something is known beforehand.
    """

    means: F64
    number: NDArray[np.uint16]
    scatter: F64
    informed: float


class Fitted(NamedTuple):
    """Parameters without the pedestal (p, n), their covariance for the noise model (p (p + 1) / 2, n), (STATS, n).

    `by_levels` has the shape of the covariance: that of what all pixels have in common.
    """

    theta: F64
    covariance: F64
    by_levels: F64
    stats: F64
