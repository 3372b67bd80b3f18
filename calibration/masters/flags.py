"""What makes a master of a stack: scale factors, normalisation, uncertainties, and the flags of single pixels.

Pure arithmetic on arrays. Combining itself is `calibration.combine`; what a master is worth is `master_quality`.
Masters keep the pedestal (BIASSUB F): a dark is subtracted from a frame as it stands, a bias never with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from calibration.combine import BandPlanes, MaskBit, NoiseModel
from calibration.errors import CombineError
from calibration.frames import FrameKind
from calibration.masters.background import Each, Smooth, background
from calibration.masters.sketch import F32, Sketch, Values, blocks, clipped, gathered, thinned

U8 = NDArray[np.uint8]


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
    centre, _, spread = clipped(values, k=5.0)
    total, number = 0.0, 0
    for first, stop in blocks(values.size, 1 << 17):
        part = values[first:stop]
        inner = part[np.abs(part - centre) <= 5 * spread]
        total += float(inner.sum(dtype=np.float64))
        number += inner.size
    return total / number if number else float("nan")


HOT_SIGMAS = 8.0
"""Height of the hot flag's threshold in robust standard deviations of the master about its background."""

SURE = 4.0
"""A pixel is flagged when it is beyond a threshold by this many of its own SIGMA: noise alone does not flag it."""

FLAT_HOT, FLAT_DEAD = 1.5, 0.5
"""Response relative to its surroundings beyond which a flat's pixel is no pixel."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Thresholds:
    """What flags the pixels of one master.

    Attributes
    ----------
    kind : FrameKind
    background : Background or MosaicBackground
        Of MEAN.
    noise : Background or MosaicBackground
        Of the standard deviation of a sample: glow and vignetting change it over the frame.
    hot_adu : float
        Biases and darks: excess over the background; flats: unused.
    noise_limit : float
        A pixel is NOISY beyond this multiple of the noise it should have.
    samples, factor : int, float
        Frames, and c of ``SIGMA = c s / √COUNT``.
    gain_e_adu : float, optional
        Gives the shot noise of hot pixels; without it they are not judged NOISY.
    """

    kind: FrameKind
    background: Smooth
    noise: Smooth
    hot_adu: float
    noise_limit: float
    samples: int
    factor: float
    gain_e_adu: float | None = None


def thresholds(
    kind: FrameKind,
    sketch: Sketch,
    *,
    samples: int,
    factor: float,
    noise: NoiseModel | None = None,
    mosaic: bool = False,
    each: Each = map,
) -> Thresholds:
    """Return what flags the pixels of a master of `samples` frames; those of a `mosaic` are held to their own colour.

    The hot threshold is 8 robust sigmas of the master about its background. The noise limit is 1.5 times the typical
    noise nearby plus 5 standard errors of a standard deviation of so few samples, ``1 / √(2 (n - 1))``.
    """
    smooth = background(sketch, mosaic=mosaic, each=each)
    scatter = 5.0 / np.sqrt(2.0 * max(samples - 1, 1))
    return Thresholds(
        kind=kind,
        background=smooth,
        noise=background(sketch, sketch.deviation(factor), mosaic=mosaic, each=each),
        hot_adu=HOT_SIGMAS * clipped(thinned(residual(sketch, smooth), sketch.shape))[2],
        noise_limit=1.5 + float(scatter),
        samples=samples,
        factor=factor,
        gain_e_adu=None if noise is None else noise.gain_e_adu,
    )


def residual(sketch: Sketch, smooth: Smooth) -> Values:
    """Return what is left of the sketch of a master without its background."""
    step = sketch.stride
    return lambda first, stop: sketch.mean(first, stop) - smooth.rows(first * step, stop * step, step)


class FlagLimits(NamedTuple):
    """`Thresholds` as numbers for the kernel.

    A pixel is hot when MEAN, less `sure` times its SIGMA, is above ``hot_factor background + hot_offset``, dead when
    as much below ``dead_factor background - hot_offset``, and noisy when ``SIGMA² COUNT`` is above `noise` times the
    variance expected of a sample: that of the background, and `shot` times the light above it.
    """

    sure: np.float32
    hot_factor: np.float32
    dead_factor: np.float32
    hot_offset: np.float32
    noise: np.float32
    shot: np.float32
    hot_judged: bool
    hot: np.uint8 = np.uint8(MaskBit.HOT)
    dead: np.uint8 = np.uint8(MaskBit.DEAD)
    noisy: np.uint8 = np.uint8(MaskBit.NOISY)


def flag_rows(rows: BandPlanes, start: int, limits: Thresholds) -> U8:
    """Return the mask of some rows with HOT, DEAD and NOISY added.

    Parameters
    ----------
    rows : BandPlanes
        Planes of a master, flats before their normalisation.
    start : int
        First row.
    limits : Thresholds
    """
    from calibration.kernels import flag_pixels  # numba takes 0.2 s to import: only who flags pays

    stop = start + len(rows.mean)
    smooth, noise = limits.background.rows(start, stop), limits.noise.rows(start, stop)
    mask = rows.mask.copy()
    flag_pixels(rows.mean, rows.sigma, rows.count, smooth, noise, _numbers(limits), mask)
    return mask


def _numbers(limits: Thresholds) -> FlagLimits:
    flat = limits.kind is FrameKind.FLAT
    judged = limits.samples > 2
    return FlagLimits(
        sure=np.float32(SURE),
        hot_factor=np.float32(FLAT_HOT if flat else 1.0),
        dead_factor=np.float32(FLAT_DEAD if flat else 1.0),
        hot_offset=np.float32(0.0 if flat else limits.hot_adu),
        noise=np.float32((limits.noise_limit * limits.factor) ** 2 if judged else np.inf),
        shot=np.float32(0.0 if limits.gain_e_adu is None else 1.0 / limits.gain_e_adu),
        hot_judged=flat or limits.gain_e_adu is not None,
    )


def inherit(mask: U8, dark_mask: U8) -> U8:
    """Return a flat's mask with what its dark says of the same pixels: those flags, and INHERITED beside them."""
    passed = dark_mask & np.uint8(MaskBit.HOT | MaskBit.NOISY | MaskBit.SATURATED | MaskBit.NO_DATA)
    return np.asarray(mask | passed | np.where(passed, np.uint8(MaskBit.INHERITED), np.uint8(0)), np.uint8)
