"""Smooth background of a master (glow, vignetting), the reference for judging single pixels."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.masters.sketch import F32, Sketch, Values, thinned

CELL = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Places (y, x) of the colours in a cell of a mosaic."""

Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""`map`, or one that works on several at once (`Executor.map`)."""


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
        from calibration.masters.plane_kernels import lines_between  # numba takes 0.2 s to import

        place = np.interp(y, self.centres_y, np.arange(len(self.centres_y)))
        low = np.minimum(place.astype(np.int64), max(0, len(self.centres_y) - 2))
        return lines_between(self.columns, low, (place - low).astype(np.float32))


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


def background(
    sketch: Sketch, values: Values | None = None, *, box: int = 64, mosaic: bool = False, each: Each = map
) -> Smooth:
    """Return the background of a master in boxes of about `box` pixels (smaller ones for small images).

    Parameters
    ----------
    sketch : Sketch
    values : callable, optional
        Rows of the sketch of something else of the master than MEAN.
    box : int
    mosaic : bool
        Each colour has a background of its own.
    each : callable
        Works on the strips of boxes.
    """
    plane = sketch.mean if values is None else values
    side = max(8, min(box, sketch.height // 4, sketch.shape[1] // 4))
    if not mosaic or min(sketch.shape) < 2:
        return _background(plane, sketch.shape, side, side, first=0, stride=sketch.stride, each=each)
    stride = 2 * sketch.stride
    parts = (
        _background(cell(plane, y, x), size, side, side // 2, first=y * sketch.stride, stride=stride, each=each)
        for (y, x), size in zip(CELL, cell_shapes(sketch.shape), strict=True)
    )
    return MosaicBackground(planes=tuple(parts))


def cell(values: Values, y: int, x: int) -> Values:
    """Return the rows of one colour of a mosaic: every second row from y on, every second column from x on."""
    return lambda first, stop: values(2 * first + y, 2 * stop - 1 + y)[::2, x::2]


def cell_shapes(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return rows and columns of each colour of a mosaic of this shape, in the order of `CELL`."""
    return [(len(range(y, shape[0], 2)), len(range(x, shape[1], 2))) for y, x in CELL]


def levelled(values: Values, shape: tuple[int, int]) -> Values:
    """Return an image of a colour mosaic with its planes brought to one median: what is left are shadows and shape."""
    sizes = cell_shapes(shape)
    medians = [float(np.nanmedian(thinned(cell(values, y, x), size))) for (y, x), size in zip(CELL, sizes, strict=True)]
    factors = [np.float32(max(medians) / median if median > 0 else 1.0) for median in medians]

    def rows(first: int, stop: int) -> F32:
        found = np.array(values(first, stop), np.float32)
        for (y, x), factor in zip(CELL, factors, strict=True):
            found[(y - first) % 2 :: 2, x::2] *= factor
        return found

    return rows


def _background(
    plane: Values, shape: tuple[int, int], high: int, wide: int, *, first: int, stride: int, each: Each
) -> Background:
    """Return the background of a plane that holds rows first, first + stride … of an image.

    Boxes are about `high` rows of the image and `wide` columns of the plane.
    """
    rows, width = shape
    high, wide = max(1, high // stride), min(wide, width)
    number_y, number_x = max(1, rows // high), max(1, width // wide)
    high, wide = rows // number_y, width // number_x
    strip = partial(_strip, plane, high=high, wide=wide, number=number_x)
    boxes = np.stack(list(each(strip, range(number_y))))
    boxes[~np.isfinite(boxes)] = np.nanmedian(boxes) if np.isfinite(boxes).any() else 0.0
    centres_x = (np.arange(number_x) + 0.5) * wide - 0.5
    columns = np.stack([np.interp(np.arange(width), centres_x, row) for row in boxes]).astype(np.float32)
    centres_y = ((np.arange(number_y, dtype=np.float64) + 0.5) * high - 0.5) * stride + first
    return Background(boxes=boxes, columns=columns, centres_y=centres_y)


def _strip(plane: Values, i: int, *, high: int, wide: int, number: int) -> F32:
    return box_medians(plane(i * high, (i + 1) * high)[:, : number * wide], wide)


def box_medians(strip: F32, wide: int) -> F32:
    """Return the medians of the boxes of one strip, `wide` columns each; NaN where a box holds nothing."""
    boxes = strip.reshape(len(strip), -1, wide).swapaxes(0, 1).reshape(strip.shape[1] // wide, -1)
    if np.isfinite(boxes).all():
        ordered, half = np.sort(boxes, axis=1), boxes.shape[1] // 2  # half the time of numpy.median
        return np.asarray((ordered[:, half - 1 + boxes.shape[1] % 2] + ordered[:, half]) / 2, np.float32)
    found = [np.median(good) if (good := box[np.isfinite(box)]).size else np.nan for box in boxes]
    return np.asarray(found, np.float32)


def large_scale(image: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return a polynomial of the 4th degree in x and y through an image: what vignetting and gradients look like.

    Each power is made orthogonal to the lower ones along its axis; then the best coefficients are plain products. They
    are small: the threads of a matrix library would use ten times the processor's time, waiting for one another.
    """
    y, x = (np.linalg.qr(np.vander(np.linspace(-1, 1, size), 5, increasing=True))[0] for size in image.shape)
    found = np.einsum("ix,xj->ij", np.einsum("yi,yx->ix", y, image), x)
    found[np.add.outer(np.arange(found.shape[0]), np.arange(found.shape[1])) > 4] = 0.0
    return np.asarray(np.einsum("yi,ix->yx", y, np.einsum("ij,xj->ix", found, x)), np.float64)
