"""Which single pixels of a master are flagged: hot, dead or noisy ones, and what a flat inherits from its dark."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.clipping import clip_values
from calibration.combine.recipe import BandPlanes, MaskBit, NoiseModel
from calibration.frames import FrameKind
from calibration.masters.background import Each, Smooth, background
from calibration.masters.sketch import Sketch, Values, thinned

U16 = NDArray[np.uint16]

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
        hot_adu=HOT_SIGMAS * clip_values(thinned(residual(sketch, smooth), sketch.shape)).sigma,
        noise_limit=1.5 + float(scatter),
        samples=samples,
        factor=factor,
        gain_e_adu=None if noise is None else noise.gain_e_adu,
    )


def residual(sketch: Sketch, smooth: Smooth) -> Values:
    """Return what is left of the sketch of a master without its background."""
    step = sketch.stride
    return lambda first, stop: sketch.mean(first, stop) - smooth.rows(first * step, stop * step, step)


def flag_rows(rows: BandPlanes, start: int, limits: Thresholds) -> U16:
    """Return the mask of some rows with HOT, DEAD and NOISY added.

    Parameters
    ----------
    rows : BandPlanes
        Planes of a master, flats before their normalisation.
    start : int
        First row.
    limits : Thresholds
    """
    from calibration.masters.plane_kernels import FlagLimits, flag_pixels  # numba takes 0.2 s to import

    flat, judged = limits.kind is FrameKind.FLAT, limits.samples > 2
    numbers = FlagLimits(
        sure=np.float32(SURE),
        hot_factor=np.float32(FLAT_HOT if flat else 1.0),
        dead_factor=np.float32(FLAT_DEAD if flat else 1.0),
        hot_offset=np.float32(0.0 if flat else limits.hot_adu),
        noise=np.float32((limits.noise_limit * limits.factor) ** 2 if judged else np.inf),
        shot=np.float32(0.0 if limits.gain_e_adu is None else 1.0 / limits.gain_e_adu),
        hot_judged=flat or limits.gain_e_adu is not None,
    )
    stop = start + len(rows.mean)
    smooth, noise = limits.background.rows(start, stop), limits.noise.rows(start, stop)
    mask = rows.mask.copy()
    flag_pixels(rows.mean, rows.sigma, rows.count, smooth, noise, numbers, mask)
    return mask


def inherit(mask: U16, dark_mask: NDArray[np.unsignedinteger[Any]]) -> U16:
    """Return a flat's mask with what its dark says of the same pixels: those flags, and INHERITED beside them.

    Masks of older masters have one byte a pixel.
    """
    passed = dark_mask & np.uint16(MaskBit.HOT | MaskBit.NOISY | MaskBit.SATURATED | MaskBit.NO_DATA)
    return np.asarray(mask | passed | np.where(passed, np.uint16(MaskBit.INHERITED), np.uint16(0)), np.uint16)
