"""How much a pixel differs from its neighbours: the grain of a master, which neither a pattern nor a glow inflates.

A pixel is compared with the two pixels that are two away from it, on either side, in each of four directions. Whatever
changes slowly over the frame is the same in all three; rows, columns or stripes that differ from one another are the
same along one direction at least. Two away are pixels of the same colour of a mosaic, and beyond the halo of a bright
pixel.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from calibration.clipping import ENOUGH, clip_values
from calibration.masters.sketch import F32, Sketch

REACH = 2
"""Pixels from a pixel to the neighbours that it is compared with."""

FARTHEST = 3 * REACH
"""No row's neighbours are farther than this many rows from it."""

DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Steps (y, x) to a neighbour: along the row, along the column, along both diagonals."""

PAIR_SHARE = 1.5
"""Variance of a pixel less the mean of two others, in variances of a pixel."""


def around(start: int, stop: int, height: int) -> tuple[int, int]:
    """Return the first row, and the one behind the last, that the neighbours of rows start..stop-1 of a master lie in.

    At an end of the master the neighbours are two and four rows inside.
    """
    return max(0, min(start - REACH, height - FARTHEST)), min(height, max(stop + REACH, FARTHEST))


def grain(sketch: Sketch, *, relative: bool) -> tuple[tuple[float, ...], float]:
    """Return the spread of a master's pixels about their neighbours, as standard deviations of a single pixel.

    Parameters
    ----------
    sketch : Sketch
    relative : bool
        Relative to the level (of flats), else in ADU.

    Returns
    -------
    fixed : tuple of float
        For each of `DIRECTIONS`: the part that is not noise, so that more frames do not lower it.
    least : float
        The spread with its noise, in the direction in which it is least.
    """
    height, width = sketch.height, sketch.shape[1]
    none = (0.0,) * len(DIRECTIONS)
    if height <= 2 * REACH or width <= 2 * REACH:
        return none, float("nan")
    different: list[list[NDArray[np.floating]]] = [[] for _ in DIRECTIONS]
    noise = []
    for i, rows in _some_rows(sketch):
        here = rows[REACH, REACH:-REACH]
        unit = here if relative else np.ones_like(here)
        noise.append(sketch.sigma(i, i + 1)[0, REACH:-REACH] / unit)
        for found, (y, x) in zip(different, DIRECTIONS, strict=True):
            before, after = (rows[REACH + k * y, REACH + k * x : width - REACH + k * x] for k in (-REACH, REACH))
            found.append((here - (before + after) / 2) / unit)
    spreads = [clip_values(np.concatenate(found)).sigma ** 2 / PAIR_SHARE for found in different]
    typical = clip_values(np.concatenate(noise)).median
    noisy = typical**2 if np.isfinite(typical) else 0.0
    return tuple(float(max(spread - noisy, 0.0) ** 0.5) for spread in spreads), float(min(spreads) ** 0.5)


def _some_rows(sketch: Sketch) -> Iterator[tuple[int, F32]]:
    """Yield rows of a sketch, enough for a spread, each with the rows of the master around it."""
    first, stop = -(-REACH // sketch.stride), (sketch.height - REACH - 1) // sketch.stride + 1
    step = max(1, 4 * sketch.shape[0] * sketch.shape[1] // ENOUGH)  # a spread to half a percent
    for i in range(first, stop, step):
        y = i * sketch.stride
        yield i, np.asarray(sketch.rows(y - REACH, y + REACH + 1), np.float32)
