"""A sketch of a master: every few rows of its planes, from which its global numbers are taken, a few rows at a time.

A master of 61 megapixels is hundreds of megabytes: its planes stay where they are kept, and are looked at in blocks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.clipping import ENOUGH, clip_values
from calibration.combine.recipe import BandPlanes

F32 = NDArray[np.float32]

SKETCH_PIXELS = 8_000_000
"""About this many pixels of a master are looked at for its global numbers."""

_BLOCK = 16
"""Rows looked at together: a block stays in the processor's cache between its passes."""

Values = Callable[[int, int], NDArray[Any]]
"""Gives rows first..stop-1 of a sketch, or of something that is made of it, shape (rows, x)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sketch:
    """Every `stride`-th row of a master's planes.

    Attributes
    ----------
    read : callable
        ``read(name, first, stop)`` gives rows first..stop-1 of the sketch of a plane (`mean`, `sigma`, `count`,
        `mask`), shape (rows, x).
    rows : callable
        Gives rows first..stop-1 of the master's MEAN itself, for what must see neighbours.
    shape : tuple of int
        Rows and columns of the sketch.
    stride : int
    height : int
        Rows of the whole master.
    """

    read: Callable[[str, int, int], NDArray[Any]]
    rows: "Values"
    shape: tuple[int, int]
    stride: int
    height: int

    @classmethod
    def of(cls, planes: BandPlanes, *, stride: int = 1) -> "Sketch":
        """Return the sketch of a master whose planes are in memory."""

        def read(name: str, first: int, stop: int) -> NDArray[Any]:
            rows: NDArray[Any] = getattr(planes, name)[::stride][first:stop]
            return rows

        height, width = planes.mean.shape
        shape = (len(range(0, height, stride)), width)
        return cls(read=read, rows=lambda a, b: planes.mean[a:b], shape=shape, stride=stride, height=height)

    def mean(self, first: int, stop: int) -> F32:
        """Return rows of MEAN."""
        return np.asarray(self.read("mean", first, stop), np.float32)

    def sigma(self, first: int, stop: int) -> F32:
        """Return rows of SIGMA."""
        return np.asarray(self.read("sigma", first, stop), np.float32)

    def deviation(self, factor: float) -> Values:
        """Return the standard deviations of the pixels' samples; `factor` as in `deviation`."""
        return lambda first, stop: deviation(self.sigma(first, stop), self.read("count", first, stop), factor)


def sketch_stride(shape: tuple[int, int]) -> int:
    """Return the stride with which a sketch of an image of this shape (y, x) is taken.

    It is odd, so that the rows of a sketch are alternately even and odd: all colours of a mosaic are in it.
    """
    return max(1, shape[0] * shape[1] // SKETCH_PIXELS) | 1


def deviation(sigma: F32, count: NDArray[np.uint16], factor: float) -> F32:
    """Return the standard deviation of a pixel's samples from its planes: ``s = SIGMA √COUNT / c``."""
    return np.asarray(sigma * np.sqrt(count.astype(np.float32)) / np.float32(factor), np.float32)


def blocks(rows: int, step: int = _BLOCK) -> Iterator[tuple[int, int]]:
    """Cut `rows` rows into blocks: first row and the row behind the last."""
    for first in range(0, rows, step):
        yield first, min(first + step, rows)


def thinned(
    values: Values, shape: tuple[int, int], *, top: int = 0, left: int = 0, number: int = ENOUGH
) -> NDArray[Any]:
    """Return about `number` values, evenly spread over `shape` rows and columns from (top, left) on.

    Every m-th row and column is taken; m is odd, so that both parities, all colours of a mosaic, are met.
    """
    rows, columns = shape
    down = int((rows * columns / number) ** 0.5) | 1
    right = int(rows * columns / (number * down)) | 1
    across = slice(left, left + columns, right)
    if down == 1:
        return values(top, top + rows)[:, across].flatten()
    parts = [values(y, y + 1)[0, across].copy() for y in range(top, top + rows, down)]
    return np.concatenate(parts)  # of copies: a view would keep the whole of its row


def gathered(pick: Values, shape: tuple[int, int]) -> F32:
    """Return in one array what `pick` chooses of each block of rows of a sketch of this shape."""
    found = np.empty(shape[0] * shape[1], np.float32)
    size = 0
    for first, stop in blocks(shape[0]):
        part = pick(first, stop).ravel()
        found[size : size + part.size] = part
        size += part.size
    return found[:size]


def central_level(values: Values, shape: tuple[int, int]) -> float:
    """Return the clipped median of the central 50 % x 50 %, the region of `FrameStats.level_adu`."""
    height, width = shape
    top, left = height // 4, width // 4
    return clip_values(thinned(values, (height - 2 * top, width - 2 * left), top=top, left=left)).median
