"""Location and scale of values without their outliers: clipping, and the correction for what clipping removes.

Frames are clipped by exact counts of their values (`clip_distribution`), the sampled planes of a master by the values
themselves (`clip_values`).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLIP = 3.0
"""Clipping threshold of levels and noise, in sigma."""

ENOUGH = 250_000
"""Values that give a median or a standard deviation to 0.2 % of a standard deviation."""

_ITERATIONS = 20
_ROBUST_ITERATIONS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """The values that occur and how often.

    Attributes
    ----------
    values : ndarray of float64, shape (n,)
        Distinct values, ascending.
    counts : ndarray of int64, shape (n,)
        Pixels of each.
    """

    values: NDArray[np.float64]
    counts: NDArray[np.int64]

    def total(self) -> int:
        """Return the number of pixels counted."""
        return int(self.counts.sum())

    def mean(self) -> float:
        """Return the mean, NaN of nothing."""
        return float(self.values @ self.counts / self.counts.sum()) if self.values.size else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clipped:
    """Location and scale of a distribution after clipping: median, mean and corrected sigma."""

    median: float
    mean: float
    sigma: float


def clip_distribution(values: Distribution, *, step: int = 1, sigmas: float = CLIP) -> Clipped:
    """Clip a distribution about its median until nothing changes.

    The median is interpolated within its bin, so that frames of little noise are not held to whole ADU. The bounds lie
    half a step farther out than `sigmas` says: on coarse data the neighbouring value is noise, not an outlier.

    Parameters
    ----------
    values : Distribution
        What to clip.
    step : int
        Distance of neighbouring values in ADU.
    sigmas : float
        Threshold.

    Returns
    -------
    Clipped
        Sigma is corrected for the truncation of a normal distribution; NaN everywhere for an empty one.
    """
    if not values.values.size:
        return Clipped(median=float("nan"), mean=float("nan"), sigma=float("nan"))
    v, c = values.values, values.counts
    low, high = 0, v.size
    for _ in range(_ITERATIONS):
        n = c[low:high].sum()
        median = _interpolated_median(v[low:high], c[low:high], step)
        mean = v[low:high] @ c[low:high] / n
        sigma = float(np.sqrt(max(0.0, (v[low:high] - mean) ** 2 @ c[low:high] / n)))
        reach = sigmas * sigma + step / 2
        bounds = int(np.searchsorted(v, median - reach)), int(np.searchsorted(v, median + reach, side="right"))
        bounds = max(low, bounds[0]), min(high, bounds[1])
        if bounds == (low, high):
            break
        low, high = bounds
    return Clipped(median=float(median), mean=float(mean), sigma=untruncated(sigma, reach))


def clip_values(values: NDArray[np.floating], *, sigmas: float = CLIP) -> Clipped:
    """Clip values by robust standard deviations about their median until nothing changes.

    Of many values every m-th is used (m is odd, so that the same column is not met again and again).

    Parameters
    ----------
    values : ndarray
        Of any shape; values that are not finite are left out.
    sigmas : float
        Threshold.

    Returns
    -------
    Clipped
        Sigma is corrected for the truncation of a normal distribution; NaN everywhere where no value is finite.
    """
    flat = np.asarray(values).ravel()
    x = flat[:: (flat.size // ENOUGH) | 1].astype(np.float64)
    x = x[np.isfinite(x)]
    if x.size == 0:
        return Clipped(median=float("nan"), mean=float("nan"), sigma=float("nan"))
    for _ in range(_ROBUST_ITERATIONS):
        low, centre, high = np.percentile(x, [15.865, 50.0, 84.135])
        reach = sigmas * max((high - low) / 2, 1e-12)
        keep = np.abs(x - centre) <= reach
        if keep.all():
            break
        x = x[keep]
    return Clipped(median=float(np.median(x)), mean=float(x.mean()), sigma=untruncated(float(x.std()), reach))


def untruncated(sigma: float, reach: float) -> float:
    """Return the sigma of a normal distribution whose part within +-`reach` of its centre has `sigma`."""
    if sigma <= 0:
        return 0.0
    true = sigma
    for _ in range(5):
        c = reach / true
        if c > 8:
            break
        density = math.exp(-(c**2) / 2) / math.sqrt(2 * math.pi)
        true = sigma / math.sqrt(1 - 2 * c * density / math.erf(c / math.sqrt(2)))
    return true


def _interpolated_median(values: NDArray[np.float64], counts: NDArray[np.int64], step: int) -> float:
    below = np.cumsum(counts)
    half = below[-1] / 2
    at = int(np.searchsorted(below, half))
    if values.size == 1 or step <= 0:
        return float(values[at])
    inside = (half - (below[at] - counts[at])) / counts[at]
    return float(values[at] + step * (inside - 0.5))
