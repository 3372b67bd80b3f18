"""What makes a master of a stack: scale factors, normalisation, uncertainties, and the flags of single pixels.

Pure arithmetic on arrays. Combining itself is `calibration.combine`; what a master is worth is `master_quality`.
Masters keep the pedestal (BIASSUB F): a dark is subtracted from a frame as it stands, a bias never with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from calibration.clipping import untruncated
from calibration.combine import BandPlanes, MaskBit, NoiseModel
from calibration.errors import CombineError
from calibration.frames import FrameKind

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

SKETCH_PIXELS = 8_000_000
"""About this many pixels of a master are looked at for its global numbers."""


ENOUGH = 250_000
"""Values that give a median or a standard deviation well enough: to 0.2 % of a standard deviation."""


CELL = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Places (y, x) of the colours in a cell of a mosaic."""


class Normalisation(StrEnum):
    """What a flat is divided by; all robust, so that no defect moves it."""

    MEAN = "mean"
    MEDIAN = "median"
    MAX = "max"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sketch:
    """Every `stride`-th row of a master's planes, from which its global numbers are taken.

    Attributes
    ----------
    planes : BandPlanes
        Of those rows.
    stride : int
    height : int
        Rows of the whole master.
    """

    planes: BandPlanes
    stride: int
    height: int


def sketch_stride(shape: tuple[int, int]) -> int:
    """Return the stride with which a sketch of an image of this shape (y, x) is taken.

    It is odd, so that the rows of a sketch are alternately even and odd: all colours of a mosaic are in it.
    """
    return max(1, shape[0] * shape[1] // SKETCH_PIXELS) | 1


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


def central_level(values: NDArray[np.floating]) -> float:
    """Return the clipped median of the central 50 % x 50 %, the region of `FrameStats.level_adu`."""
    height, width = values.shape
    part = values[height // 4 : height - height // 4, width // 4 : width - width // 4]
    return clipped(part)[0]


def clipped(values: NDArray[np.floating], *, k: float = 3.0) -> tuple[float, float, float]:
    """Return median, mean and standard deviation after clipping by k robust sigmas about the median, until settled.

    What clipping takes from the standard deviation of Gaussian values is put back, as in `calibration.stats`. Of many
    values every m-th is looked at (m odd, so that no column is met again and again).
    """
    flat = np.asarray(values).ravel()
    x = flat[:: (flat.size // ENOUGH) | 1].astype(np.float64)
    x = x[np.isfinite(x)]
    if x.size == 0:
        return float("nan"), float("nan"), float("nan")
    for _ in range(10):
        low, centre, high = np.percentile(x, [15.865, 50.0, 84.135])
        reach = k * max((high - low) / 2, 1e-12)
        keep = np.abs(x - centre) <= reach
        if keep.all():
            break
        x = x[keep]
    return float(np.median(x)), float(x.mean()), untruncated(float(x.std()), reach)


def normalisation_factor(sketch: Sketch, how: Normalisation) -> float:
    """Return what a flat is divided by (FLATNORM), from its good pixels.

    `mean` is the mean within 5 standard deviations of the median, `median` the median, `max` the 99.9th percentile:
    it stands for the brightest part, where the maximum would stand for a hot pixel.

    Raises
    ------
    CombineError
        There is no light in it.
    """
    good = sketch.planes.mean[(sketch.planes.mask & (MaskBit.NO_DATA | MaskBit.SATURATED)) == 0]
    if good.size == 0:
        raise CombineError("a flat without good pixels cannot be normalised")
    if how is Normalisation.MAX:
        factor = float(np.percentile(good, 99.9))
    elif how is Normalisation.MEDIAN:
        factor = float(np.median(good))
    else:
        centre, _, spread = clipped(good, k=5.0)
        factor = float(good[np.abs(good - centre) <= 5 * spread].mean(dtype=np.float64))
    if not factor > 0:
        raise CombineError(f"a flat of level {factor:.1f} ADU cannot be normalised")
    return factor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Background:
    """The smooth part of a master: medians of boxes, joined by straight lines.

    Attributes
    ----------
    boxes : ndarray of float32, shape (my, mx)
        Median of each box.
    columns : ndarray of float32, shape (my, x)
        The same, interpolated along the rows of the image.
    centres_y : ndarray of float, shape (my,)
        Row of each box's centre.
    """

    boxes: F32
    columns: F32
    centres_y: NDArray[np.float64]

    def rows(self, start: int, stop: int, step: int = 1) -> F32:
        """Return the background of rows start, start + step … below stop, shape (rows, x)."""
        return self.at(np.arange(start, stop, step))

    def at(self, y: NDArray[np.int_]) -> F32:
        """Return the background of some rows, shape (rows, x)."""
        place = np.interp(y, self.centres_y, np.arange(len(self.centres_y)))
        low = np.minimum(place.astype(np.intp), max(0, len(self.centres_y) - 2))
        high = np.minimum(low + 1, len(self.centres_y) - 1)
        part = (place - low).astype(np.float32)[:, None]
        return np.asarray(self.columns[low] * (1 - part) + self.columns[high] * part, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MosaicBackground:
    """The smooth parts of the four planes of a 2 x 2 colour mosaic: each colour has surroundings of its own level.

    Attributes
    ----------
    planes : tuple of Background
        Of the pixels at (y, x) = (0, 0), (0, 1), (1, 0), (1, 1) of each cell; their rows are those of the whole image.
    """

    planes: tuple[Background, ...]

    @property
    def boxes(self) -> F32:
        """Median of each box of the brightest plane, shape (my, mx)."""
        return max(self.planes, key=lambda plane: float(np.median(plane.boxes))).boxes

    def rows(self, start: int, stop: int, step: int = 1) -> F32:
        """Return the background of rows start, start + step … below stop, shape (rows, x)."""
        y = np.arange(start, stop, step)
        found = np.empty((len(y), sum(plane.columns.shape[1] for plane in self.planes[:2])), np.float32)
        for (row, column), plane in zip(CELL, self.planes, strict=True):
            there = y % 2 == row
            found[there, column::2] = plane.at(y[there])
        return found


Smooth = Background | MosaicBackground


def background(sketch: Sketch, values: F32 | None = None, *, box: int = 64, mosaic: bool = False) -> Smooth:
    """Return the background of a master in boxes of about `box` pixels (smaller ones for small images).

    `values`, of the sketch's shape, are MEAN unless something else of the master is asked for. With `mosaic` each
    colour has its own.
    """
    plane = sketch.planes.mean if values is None else values
    side = max(8, min(box, sketch.height // 4, plane.shape[1] // 4))
    if not mosaic or min(plane.shape) < 2:
        return _background(plane, side, side, first=0, stride=sketch.stride)
    stride = 2 * sketch.stride
    parts = (_background(plane[y::2, x::2], side, side // 2, first=y * sketch.stride, stride=stride) for y, x in CELL)
    return MosaicBackground(planes=tuple(parts))


def _background(plane: F32, high: int, wide: int, *, first: int, stride: int) -> Background:
    """Return the background of a plane that holds rows first, first + stride … of an image.

    Boxes are about `high` rows of the image and `wide` columns of the plane.
    """
    rows, width = plane.shape
    high, wide = max(1, high // stride), min(wide, width)
    number_y, number_x = max(1, rows // high), max(1, width // wide)
    high, wide = rows // number_y, width // number_x
    boxes = np.stack([_medians(plane[i * high : (i + 1) * high, : number_x * wide], wide) for i in range(number_y)])
    boxes[~np.isfinite(boxes)] = np.nanmedian(boxes) if np.isfinite(boxes).any() else 0.0
    centres_x = (np.arange(number_x) + 0.5) * wide - 0.5
    columns = np.stack([np.interp(np.arange(width), centres_x, row) for row in boxes]).astype(np.float32)
    centres_y = ((np.arange(number_y) + 0.5) * high - 0.5) * stride + first
    return Background(boxes=boxes, columns=columns, centres_y=centres_y)


def levelled(values: F32) -> F32:
    """Return an image of a colour mosaic with its planes brought to one median: what is left are shadows and shape."""
    found = values.copy()
    medians = [float(np.nanmedian(values[y::2, x::2])) for y, x in CELL]
    for (y, x), median in zip(CELL, medians, strict=True):
        found[y::2, x::2] *= np.float32(max(medians) / median if median > 0 else 1.0)
    return found


def _medians(strip: F32, wide: int) -> F32:
    """Return the medians of the boxes of one strip; NaN where a box holds nothing."""
    boxes = strip.reshape(len(strip), -1, wide).swapaxes(0, 1).reshape(strip.shape[1] // wide, -1)
    if np.isfinite(boxes).all():
        return np.asarray(np.median(boxes, axis=1), np.float32)
    found = [np.median(good) if (good := box[np.isfinite(box)]).size else np.nan for box in boxes]
    return np.asarray(found, np.float32)


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
) -> Thresholds:
    """Return what flags the pixels of a master of `samples` frames; those of a `mosaic` are held to their own colour.

    The hot threshold is 8 robust sigmas of the master about its background. The noise limit is 1.5 times the typical
    noise nearby plus 5 standard errors of a standard deviation of so few samples, ``1 / √(2 (n - 1))``.
    """
    smooth = background(sketch, mosaic=mosaic)
    residual = sketch.planes.mean - smooth.rows(0, sketch.height, sketch.stride)
    scatter = 5.0 / np.sqrt(2.0 * max(samples - 1, 1))
    return Thresholds(
        kind=kind,
        background=smooth,
        noise=background(sketch, deviation(sketch.planes.sigma, sketch.planes.count, factor), mosaic=mosaic),
        hot_adu=HOT_SIGMAS * clipped(residual)[2],
        noise_limit=1.5 + float(scatter),
        samples=samples,
        factor=factor,
        gain_e_adu=None if noise is None else noise.gain_e_adu,
    )


def deviation(sigma: F32, count: NDArray[np.uint16], factor: float) -> F32:
    """Return the standard deviation of a pixel's samples from its planes: ``s = SIGMA √COUNT / c``."""
    return np.asarray(sigma * np.sqrt(count.astype(np.float32)) / np.float32(factor), np.float32)


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
    mean = rows.mean
    smooth = limits.background.rows(start, start + len(mean))
    known = np.nan_to_num(rows.sigma)  # a single frame has no sigma: its value is taken as it is
    if limits.kind is FrameKind.FLAT:
        hot = mean - SURE * known > FLAT_HOT * smooth
        dead = mean + SURE * known < FLAT_DEAD * smooth
    else:
        hot = mean - smooth - SURE * known > limits.hot_adu
        dead = mean - smooth + SURE * known < -limits.hot_adu
    flags = rows.mask.copy()
    flags[hot] |= np.uint8(MaskBit.HOT)
    flags[dead] |= np.uint8(MaskBit.DEAD)
    flags[_noisy(rows, start, mean - smooth, hot, limits)] |= np.uint8(MaskBit.NOISY)
    return flags


def _noisy(rows: BandPlanes, start: int, excess: F32, hot: NDArray[np.bool_], limits: Thresholds) -> NDArray[np.bool_]:
    s = deviation(rows.sigma, rows.count, limits.factor)
    variance = limits.noise.rows(start, start + len(s)) ** 2
    judged = np.isfinite(s) & (limits.samples > 2)
    if limits.gain_e_adu is not None:
        variance += np.maximum(excess, 0.0) / np.float32(limits.gain_e_adu)
    elif limits.kind is not FrameKind.FLAT:
        judged &= ~hot
    return np.asarray(judged & (s > limits.noise_limit * np.sqrt(variance)), np.bool_)


def inherit(mask: U8, dark_mask: U8) -> U8:
    """Return a flat's mask with what its dark says of the same pixels: those flags, and INHERITED beside them."""
    passed = dark_mask & np.uint8(MaskBit.HOT | MaskBit.NOISY | MaskBit.SATURATED | MaskBit.NO_DATA)
    return np.asarray(mask | passed | np.where(passed, np.uint8(MaskBit.INHERITED), np.uint8(0)), np.uint8)
