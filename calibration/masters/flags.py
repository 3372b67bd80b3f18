"""Which single pixels of a master are flagged: hot, dead, noisy, warm and dull ones, and what a flat inherits."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.combine.recipe import BandPlanes, MaskBit, NoiseModel
from calibration.frames import FrameKind
from calibration.masters.background import Each, Smooth, background
from calibration.masters.neighbours import PAIR_SHARE, grain
from calibration.masters.sketch import F32, Sketch, Values

U16 = NDArray[np.uint16]

HOT_SIGMAS = 8.0
"""Height of the hot flag's threshold in robust standard deviations of the master about its background."""

SURE = 4.0
"""A pixel is flagged when it is beyond a threshold by this many of its own SIGMA: noise alone does not flag it."""

STANDS_OUT = 3.7
"""A pixel stands out when it differs from both its neighbours on a line by this many standard deviations, of what a
pixel has less the mean of two others. One sound pixel in ten thousand does."""

LEAST_WARM_ADU, LEAST_DULL = 1.0, 0.05
"""Excess of a warm pixel, and missing part of the response of a dull one, below which neither is flagged."""

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
    grain : tuple of float
        Spread of the pixels about their neighbours, without noise, in each of `neighbours.DIRECTIONS`: in ADU, of flats
        relative to the level.
    noise_limit : float
        A pixel is NOISY beyond this multiple of the noise it should have.
    samples, factor : int, float
        Frames, and c of ``SIGMA = c s / √COUNT``.
    widening : float
        Noise of a sample over the s of what rejection leaves.
    gain_e_adu : float, optional
        Gives the shot noise of hot pixels; without it they are not judged NOISY.
    """

    kind: FrameKind
    background: Smooth
    noise: Smooth
    hot_adu: float
    grain: tuple[float, ...]
    noise_limit: float
    samples: int
    factor: float
    widening: float = 1.0
    gain_e_adu: float | None = None


def thresholds(
    kind: FrameKind,
    sketch: Sketch,
    *,
    samples: int,
    factor: float,
    widening: float = 1.0,
    noise: NoiseModel | None = None,
    mosaic: bool = False,
    each: Each = map,
) -> Thresholds:
    """Return what flags the pixels of a master of `samples` frames; those of a `mosaic` are held to their own colour.

    The hot threshold is 8 robust sigmas of the pixels about their neighbours. The noise limit is 1.5 times the typical
    noise nearby plus 5 standard errors of a standard deviation of so few samples, ``1 / √(2 (n - 1))``.
    """
    smooth = background(sketch, mosaic=mosaic, each=each)
    fixed, spread = grain(sketch, relative=kind is FrameKind.FLAT)
    scatter = 5.0 / np.sqrt(2.0 * max(samples - 1, 1))
    return Thresholds(
        kind=kind,
        background=smooth,
        noise=background(sketch, sketch.deviation(factor), mosaic=mosaic, each=each),
        hot_adu=max(HOT_SIGMAS * spread, LEAST_WARM_ADU),
        grain=fixed,
        noise_limit=1.5 + float(scatter),
        samples=samples,
        factor=factor,
        widening=widening,
        gain_e_adu=None if noise is None else noise.gain_e_adu,
    )


def residual(sketch: Sketch, smooth: Smooth) -> Values:
    """Return what is left of the sketch of a master without its background."""
    step = sketch.stride
    return lambda first, stop: sketch.mean(first, stop) - smooth.rows(first * step, stop * step, step)


def flag_rows(rows: BandPlanes, start: int, limits: Thresholds, around: tuple[F32, int] | None = None) -> U16:
    """Return the mask of some rows with HOT, DEAD, NOISY, WARM and LOW_RESPONSE added.

    Parameters
    ----------
    rows : BandPlanes
        Planes of a master, flats before their normalisation.
    start : int
        First row.
    limits : Thresholds
    around : tuple of ndarray and int, optional
        MEAN of these rows and of those around them (`neighbours.around`), and the first of all; without it these rows
        are the whole master.
    """
    from calibration.masters.plane_kernels import FlagLimits, flag_pixels  # numba takes 0.2 s to import

    flat, judged = limits.kind is FrameKind.FLAT, limits.samples > 2
    least, share = LEAST_DULL if flat else LEAST_WARM_ADU, STANDS_OUT**2 * PAIR_SHARE
    across, along, falling, rising = (np.float32(max(share * fixed**2, least**2)) for fixed in limits.grain)
    numbers = FlagLimits(
        flat=flat,
        sure=np.float32(SURE),
        hot_factor=np.float32(FLAT_HOT if flat else 1.0),
        dead_factor=np.float32(FLAT_DEAD if flat else 1.0),
        hot_offset=np.float32(0.0 if flat else limits.hot_adu),
        across=across,
        along=along,
        falling=falling,
        rising=rising,
        noise_share=np.float32(share * limits.factor**2 / max(limits.samples, 1)),
        noise=np.float32((limits.noise_limit * limits.factor) ** 2 if judged else np.inf),
        shot=np.float32(0.0 if limits.gain_e_adu is None else 1.0 / limits.gain_e_adu),
        hot_judged=flat or limits.gain_e_adu is not None,
    )
    stop = start + len(rows.mean)
    smooth, noise = limits.background.rows(start, stop), limits.noise.rows(start, stop)
    mask = rows.mask.astype(np.uint16)
    mean, first = around or (rows.mean, start)
    flag_pixels(mean, start - first, rows.sigma, rows.count, smooth, noise, numbers, mask)
    return mask


def inherit(mask: U16, dark_mask: NDArray[np.unsignedinteger[Any]]) -> U16:
    """Return a flat's mask with what its dark says of the same pixels: those flags, and INHERITED beside them.

    Masks of older masters have one byte a pixel.
    """
    passed = dark_mask & np.uint16(MaskBit.HOT | MaskBit.NOISY | MaskBit.SATURATED | MaskBit.NO_DATA)
    return np.asarray(mask | passed | np.where(passed, np.uint16(MaskBit.INHERITED), np.uint16(0)), np.uint16)
