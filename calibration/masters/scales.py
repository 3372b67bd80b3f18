"""What flats are multiplied with and divided by, and the uncertainty that their darks add.

Masters keep the pedestal (BIASSUB F): a dark is subtracted from a frame as it stands, a bias never with it.
"""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from calibration.clipping import clip_values
from calibration.combine.recipe import MaskBit
from calibration.errors import CombineError
from calibration.masters.sketch import F32, Sketch, blocks, gathered


class Normalisation(StrEnum):
    """What a flat is divided by; all robust, so that no defect moves it."""

    MEAN = "mean"
    MEDIAN = "median"
    MAX = "max"


def flat_scales(levels_adu: Sequence[float], dark_levels_adu: Sequence[float]) -> F32:
    """Return the factor of each flat: mean net level of the set over its own net level.

    Parameters
    ----------
    levels_adu : sequence of float
        Level of each flat (`FrameStats.level_adu`), pedestal included.
    dark_levels_adu : sequence of float
        Level of the dark that is subtracted from each, in the same region.

    Raises
    ------
    CombineError
        A flat is not brighter than its dark.
    """
    net = np.asarray(levels_adu, np.float64) - np.asarray(dark_levels_adu, np.float64)
    if net.size == 0 or not np.all(net > 0):
        raise CombineError("a flat is not brighter than its dark: it cannot be scaled")
    return np.asarray(net.mean() / net, np.float32)


def worth_combining(net_levels_adu: Sequence[float], *, least: int) -> tuple[int, ...]:
    """Return which flats give the least noise together: the brightest so many, for all weigh the same once scaled.

    The relative variance of a flat is that of its photons, ``1 / net``. As many flats with less than a third of the
    light add more noise than they take away.

    Parameters
    ----------
    net_levels_adu : sequence of float
        Level of each flat above its dark.
    least : int
        At least so many.

    Returns
    -------
    tuple of int
        Their places, ascending.
    """
    net = np.maximum(np.asarray(net_levels_adu, np.float64), 1e-9)
    brightest = np.argsort(-net, kind="stable")
    variances = np.cumsum(1.0 / net[brightest]) / np.arange(1, net.size + 1) ** 2
    first = min(max(least, 1), net.size)
    number = first + int(np.argmin(variances[first - 1 :]))
    return tuple(sorted(int(i) for i in brightest[:number]))


def all_worth_combining(least_adu: float, most_adu: float) -> bool:
    """Return whether `worth_combining` keeps all flats of net levels in this range, however many there are.

    The sum of ``1 / net`` of k flats is at least ``k / most``, so that one more flat lowers the variance if its own
    ``1 / net`` is below ``(2 + 1 / k) / most``. It is at most ``1 / least``.
    """
    return 0 < most_adu <= 2 * least_adu


def with_dark(sigma: F32, dark_sigmas: Sequence[F32], shares: Sequence[float]) -> F32:
    """Return the uncertainty of a flat with that of its darks in quadrature.

    A dark's error is the same in every flat it is subtracted from, so it does not average out. `shares` are the
    (scaled) fractions of the flats each dark served.
    """
    variance = sigma.astype(np.float64) ** 2
    for dark, share in zip(dark_sigmas, shares, strict=True):
        variance += (share * np.nan_to_num(dark.astype(np.float64))) ** 2
    return np.sqrt(variance).astype(np.float32)


def normalisation_factor(sketch: Sketch, how: Normalisation) -> float:
    """Return what a flat is divided by (FLATNORM), from its good pixels.

    `mean` is the mean within 5 standard deviations of the median, `median` the median, `max` the 99.9th percentile:
    it stands for the brightest part, where the maximum would stand for a hot pixel.

    Raises
    ------
    CombineError
        There is no light in it.
    """

    def usable(first: int, stop: int) -> F32:
        bad = sketch.read("mask", first, stop) & (MaskBit.NO_DATA | MaskBit.SATURATED)
        good: F32 = sketch.mean(first, stop)[bad == 0]
        return good

    good = gathered(usable, sketch.shape)
    if good.size == 0:
        raise CombineError("a flat without good pixels cannot be normalised")
    if how is Normalisation.MAX:
        factor = float(np.percentile(good, 99.9, overwrite_input=True))
    elif how is Normalisation.MEDIAN:
        factor = float(np.median(good, overwrite_input=True))
    else:
        factor = _inner_mean(good)
    if not factor > 0:
        raise CombineError(f"a flat of level {factor:.1f} ADU cannot be normalised")
    return factor


def _inner_mean(values: F32) -> float:
    """Return the mean of what is within 5 standard deviations of the median."""
    centre = clip_values(values, sigmas=5.0)
    total, number = 0.0, 0
    for first, stop in blocks(values.size, 1 << 17):
        part = values[first:stop]
        inner = part[np.abs(part - centre.median) <= 5 * centre.sigma]
        total += float(inner.sum(dtype=np.float64))
        number += inner.size
    return total / number if number else float("nan")
