"""The noise of darks by their signal, the pixels that are hot, and the shape that a rate lets expect."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from calibration.models.dark.model import Noise
from calibration.models.means import Planes

_LEAST = 30
"""Pixels that a class needs."""

_FULL = 5.0
"""Standard deviations below saturation from where on samples may be cut off."""

_RARE = 1e-4
"""Chance of a variance that is no noise."""

_PAIR = 2
_STILL = 0.04
"""Of the variance without signal, the squared range of equal samples that shows that they are saturated."""

_BRIGHT = 50.0
"""Of the noise without signal, what a saturated pixel is brighter than the middle of all."""

_FEW, _MOST_OF_THEM = 4, 0.75
"""Pixels that show saturation at least, and their share of the brightest ones: a few may have been hit, or jump."""

_WELL_KNOWN, _OF_MEDIANS = 1e-2, 5.4
"""Squared relative error of the noise of biases, and that of a variance by the median deviation, times the pixels."""

_HOT = 5.0
"""Times the bright half's width, in its own or in logarithmic units, that a hot pixel lies above the middle."""


def noise_from(
    stacks: Sequence[NDArray[np.uint16 | np.float32]],
    levels_adu: Sequence[float | Planes],
    *,
    saturation_adu: float = np.inf,
    usual_adu2: float = np.nan,
) -> Noise:
    """Return how the variance of a sample grows with its dark signal.

    Parameters
    ----------
    stacks : sequence of ndarray, shape (n, pixels)
        The frames of each group on a sample of pixels, in ADU as they were stored.
    levels_adu : sequence of float or ndarray, shape (pixels,)
        Bias of each group.
    saturation_adu : float
        Groups of a pixel with a sample near it are left out.
    usual_adu2 : float
        Variance without signal where no group has two frames.
    """
    usable = [
        (stack.astype(np.float64), level) for stack, level in zip(stacks, levels_adu, strict=True) if len(stack) > 1
    ]
    if not usable:
        return Noise(read_adu2=usual_adu2)
    signals = np.stack([stack.mean(axis=0) - level for stack, level in usable])
    variances = np.stack([stack.var(axis=0, ddof=1) for stack, _ in usable])
    highest = np.stack([stack.max(axis=0) for stack, _ in usable])
    good = np.isfinite(signals) & (highest + _FULL * np.sqrt(variances) < saturation_adu)
    points = list[tuple[float, float, float]]()
    for some in _ranked(np.nan_to_num(signals).sum(axis=0)):
        for (stack, _), signal, variance, known in zip(usable, signals, variances, good, strict=True):
            at = some[known[some]]
            if at.size >= _LEAST:
                over = len(stack) - 1.0
                points.append((float(signal[at].mean()), _usual(variance[at], over), 2 / (over * at.size)))
    return _line(np.array(points)) if points else Noise(read_adu2=usual_adu2)


def still_from(stacks: Sequence[NDArray[np.uint16 | np.float32]], read_adu2: float) -> float:
    """Return the least value of pixels that are bright and do not scatter: they are saturated, and no brighter ones do.

    Of frames less a bias every saturated pixel has a value of its own; what they have in common is that equal frames
    show it again and again. Infinite where no such pixels are.

    Parameters
    ----------
    stacks : sequence of ndarray, shape (n, pixels)
        The frames of each group on a sample of pixels, in ADU as they were stored.
    read_adu2 : float
        Variance of a sample without signal.
    """
    usable = [stack.astype(np.float64) for stack in stacks if len(stack) > _PAIR]
    if not usable or not read_adu2 > 0:
        return float("inf")
    values = np.concatenate([stack.min(axis=0) for stack in usable])
    still = np.concatenate([np.ptp(stack, axis=0) ** 2 < _STILL * read_adu2 for stack in usable])
    there = np.isfinite(values)
    if there.sum() < _FEW:
        return float("inf")
    bright = np.median(values[there]) + _BRIGHT * read_adu2**0.5  # coarse steps make faint ones equal
    known = there & (np.nan_to_num(values) > bright)
    order = np.argsort(-values[known])
    values, still = values[known][order], still[known][order]
    share = np.cumsum(still) / np.arange(1, len(still) + 1)
    at = np.flatnonzero((share >= _MOST_OF_THEM) & still)
    if not at.size or at[-1] + 1 < _FEW:
        return float("inf")
    return float(values[: at[-1] + 1][still[: at[-1] + 1]].min())


def noise_of_pairs(
    means: Sequence[Planes],
    label_c: Sequence[float],
    exposure_s: Sequence[float],
    *,
    read_adu2: float,
    limit_adu: float = np.inf,
) -> Noise:
    """Return how the variance of a sample grows with its signal where no two frames were taken alike.

    Of two exposures at one temperature the longer less as many times the shorter as it is longer is noise alone, where
    the dark is proportional to time.

    Parameters
    ----------
    means : sequence of ndarray, shape (pixels,)
        One frame of each group on a sample of pixels, above the bias.
    label_c, exposure_s : sequence of float
        Of each group.
    read_adu2 : float
        Variance without signal, as biases show it.
    limit_adu : float
        Signal from which on a pixel is saturated.
    """
    groups = sorted(zip(label_c, exposure_s, means, strict=True), key=lambda each: each[:2])
    points = [(0.0, read_adu2, _WELL_KNOWN)]
    for (cold, short, first), (label, long, second) in pairwise(groups):
        if cold != label or not 0 < short < long:
            continue
        ratio = long / short
        off, scale = second - ratio * first, 1 + ratio**2
        known = np.isfinite(off) & (second + _FULL * np.sqrt(np.maximum(second, read_adu2)) < limit_adu)
        for some in _ranked(np.where(known, second, -np.inf)):
            at = some[known[some]]
            if at.size >= _LEAST:
                apart = 1.4826 * float(np.median(np.abs(off[at] - np.median(off[at]))))
                signal = float(second[at].mean()) * (1 + ratio) / scale
                points.append((signal, apart**2 / scale, _OF_MEDIANS / at.size))
    slope = _line(np.array(points)).per_adu
    return Noise(read_adu2=read_adu2, per_adu=slope)


def _ranked(brightness: Planes) -> list[NDArray[np.intp]]:
    """Return the pixels in classes of rising brightness, the last ones small: their signal shows the noise best.

    The brightness is that of all groups together, so that the noise of one hardly decides on its class.
    """
    order, n = np.argsort(brightness), len(brightness)
    parts = [n // 2**i for i in range(12) if n // 2**i >= _LEAST]
    edges = [0, *(n - part for part in parts[1:]), n]
    return [order[i:j] for i, j in pairwise(edges)]


def _line(points: Planes) -> Noise:
    """Fit a line to points of signal, variance and its squared relative error, weighted by the errors of the line."""
    x, y, relative = points.T
    level, slope = float(np.average(y, weights=1 / relative)), 0.0
    if len(x) < 3 or np.ptp(x) <= 0 or not (y > 0).all():
        return Noise(read_adu2=level)
    for _ in range(4):
        weight = 1 / (np.sqrt(relative) * np.maximum(level + slope * x, 0.1 * y))
        slope, level = map(float, np.polyfit(x, y, 1, w=weight))
    return Noise(read_adu2=level, per_adu=slope) if slope > 0 < level else Noise(read_adu2=float(np.median(y)))


def _usual(variance: Planes, freedom: float) -> float:
    """Return the mean of variances without those that hardly ever occur.

    No median: of few frames the variances of rounded values have steps of their own.
    """
    limit = float(stats.chi2.isf(_RARE, freedom)) / freedom
    usual = float(variance.mean())
    for _ in range(8):
        usual = float(variance[variance <= limit * usual].mean())
    return usual


def hot_limit(rates: Planes) -> float:
    """Return the rate above which a pixel is hot: far on the bright side of the distribution.

    The bright half of the crowd has the shape of a normal or of a log-normal distribution; the farther limit is taken.
    Infinite where nothing can be known.
    """
    known = rates[np.isfinite(rates)]
    if known.size < _LEAST:
        return float("inf")
    middle, above = np.quantile(known, [0.5, stats.norm.cdf(1.0)])
    if not above > middle:
        return float("inf")
    limit = middle + _HOT * (above - middle)
    if middle > 0:
        limit = max(limit, middle * (above / middle) ** _HOT)
    return float(limit)
