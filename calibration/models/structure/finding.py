"""Pixels in which one flat (or dark) differs from another by more than noise explains.

The difference, without its smooth part, is held against its noise at matched scales: single pixels, and Gaussians of
1, 2, 4, … pixels, so that a faint shadow of many pixels is found where none of its pixels is. Pixels that a fine scale
has claimed take no part in the coarser ones: so wings are found, and nothing is smeared. Coarse scales work on cells
of 2, 4, … pixels: of a frame of 61 megapixels the finest scale alone needs all pixels, and is worked on in bands of
rows with `HALO` rows above and below.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from calibration.clipping import clip_values

Planes = NDArray[np.float64]
F32 = NDArray[np.float32]

CLAIMED = 4.0
"""Standard deviations from which on a pixel is a candidate; whether it is significant is decided over all of them."""

HALO = 5
"""Rows beyond a band that its finest scales look at."""

_REACH = 4
_AT_ONCE = 1_000_000
"""Cells that are smoothed at once, and that show a scatter."""


_LEAST_SIDE = 12
"""Cells along the shorter side of the coarsest grid: a coarser structure looks like a change of the lamp."""

_KERNEL = np.exp(-0.5 * np.arange(-_REACH, _REACH + 1) ** 2)
_LINE_NEAR = np.array([1, 1, 1, 0, 0, 0, 1, 1, 1], np.float64) / 6
"""What a line is compared with: three lines on both sides, not those beside it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """Weighted sums over cells of an image: `signal` of value / variance, `weight` of 1 / variance."""

    signal: F32
    weight: F32

    @property
    def z(self) -> F32:
        """Mean of each cell over its uncertainty; 0 where nothing is known."""
        return np.asarray(self.signal / np.sqrt(np.where(self.weight > 0, self.weight, np.inf)), np.float32)

    def smoothed(self) -> F32:
        """Return the significance of a Gaussian of one cell, matched by the weights."""
        height, width = self.signal.shape
        found, rows = np.empty((height, width), np.float32), max(64, _AT_ONCE // max(width, 1))
        for first in range(0, height, rows):
            above, stop = max(0, first - _REACH), min(height, first + rows)
            part = slice(above, min(height, stop + _REACH))
            found[first:stop] = _smoothed(self.signal[part], self.weight[part])[first - above : stop - above]
        return found

    def middle(self) -> "Grid":
        """Return the rows in the middle that are enough to see a scatter."""
        height, width = self.signal.shape
        rows = min(height, max(64, _AT_ONCE // max(width, 1)))
        part = slice((height - rows) // 2, (height - rows) // 2 + rows)
        return Grid(signal=self.signal[part], weight=self.weight[part])

    def less(self, claimed: NDArray[np.bool_]) -> "Grid":
        """Return the grid without some cells."""
        return Grid(signal=np.where(claimed, 0, self.signal), weight=np.where(claimed, 0, self.weight))

    def halved(self) -> "Grid":
        """Return the sums over cells of 2 x 2; a row or column that is left over goes to the last cell."""
        return Grid(signal=_halved(self.signal), weight=_halved(self.weight))


def _smoothed(signal: F32, weight: F32) -> F32:
    there = weight > 0
    for axis in (0, 1):
        signal = ndimage.correlate1d(signal, _KERNEL, axis=axis, mode="constant")
        weight = ndimage.correlate1d(weight, _KERNEL**2, axis=axis, mode="constant")
    return np.where(there, signal / np.sqrt(np.where(weight > 0, weight, np.inf)), 0).astype(np.float32)


def _halved(plane: F32) -> F32:
    height, width = plane.shape[0] // 2 * 2, plane.shape[1] // 2 * 2
    cells = plane[:height, :width].reshape(height // 2, 2, width // 2, 2)
    found: F32 = cells.sum(axis=(1, 3), dtype=np.float32)
    if plane.shape[0] > height:
        last = plane[height, :width].reshape(-1, 2).sum(axis=1)
        found[-1] += last
    if plane.shape[1] > width:
        column = plane[:height, width].reshape(-1, 2).sum(axis=1)
        found[:, -1] += column
    if plane.shape[0] > height and plane.shape[1] > width:
        found[-1, -1] += plane[height, width]
    return found


def grid_of(z: Planes, sigma: Planes) -> Grid:
    """Return the finest grid of a difference: z its value over its sigma, as a normal value."""
    usable = np.isfinite(z) & (sigma > 0) & np.isfinite(sigma)
    safe = np.where(usable, sigma, 1.0)
    return Grid(
        signal=np.where(usable, z / safe, 0).astype(np.float32), weight=np.where(usable, safe**-2, 0).astype(np.float32)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Robust scatter of significances at the scales of a grid: of its cells, and of Gaussians; 1 where noise is all."""

    cells: float = 1.0
    smoothed: float = 1.0


def spread_of(grid: Grid, *, known: bool = True) -> Spread:
    """Return the scatter of a grid's significances.

    Parameters
    ----------
    grid : Grid
    known : bool
        Whether the scale of the noise is known: then a scatter below 1 counts as 1.
    """
    grid = grid.middle()
    there = grid.weight > 0
    found = [clip_values(plane[there]).sigma for plane in (grid.z, grid.smoothed())]
    least = 1.0 if known else 1e-12
    cells, smoothed = (max(each, least) if np.isfinite(each) else 1.0 for each in found)
    return Spread(cells=cells, smoothed=smoothed)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Claims:
    """Candidates of a grid.

    Attributes
    ----------
    z : ndarray of float32, shape (y, x)
        Significance of cells that were claimed, with its sign; 0: not claimed.
    rest : Grid
        Without them.
    tests : int
        Cells and scales that were looked at.
    """

    z: F32
    rest: Grid
    tests: int


def claims_of(grid: Grid, spread: Spread, *, cells: bool = True) -> Claims:
    """Return the candidates of a grid: single cells, then Gaussians of one cell on what is left.

    Parameters
    ----------
    grid : Grid
    spread : Spread
    cells : bool
        Whether single cells are looked at.
    """
    found, tests = np.zeros(grid.signal.shape, np.float32), 0
    if cells:
        z = grid.z / np.float32(spread.cells)
        tests += int(np.count_nonzero(grid.weight))
        found = np.where(np.abs(z) >= CLAIMED, z, 0).astype(np.float32)
        grid = grid.less(found != 0)
    z = grid.smoothed() / np.float32(spread.smoothed)
    tests += int(np.count_nonzero(grid.weight))
    wide = np.abs(z) >= CLAIMED
    return Claims(z=np.where(wide, z, found), rest=grid.less(wide), tests=tests)


def coarse_claims(grid: Grid, *, known: bool = True) -> Iterator[tuple[int, Claims]]:
    """Yield the candidates at 2, 4, … pixels, each with the side of its cells.

    Parameters
    ----------
    grid : Grid
        Of cells of 2 x 2 pixels, without what was claimed before.
    known : bool
        As for `spread_of`.
    """
    side = 2
    while min(grid.signal.shape) >= _LEAST_SIDE:
        claims = claims_of(grid, spread_of(grid, known=known), cells=False)
        yield side, claims
        grid, side = claims.rest.halved(), 2 * side


def paint(z: F32, side: int, coarse: F32) -> None:
    """Put the candidates of coarse cells into a plane of candidates, where there is none."""
    for y, x in zip(*np.nonzero(coarse), strict=True):
        part = z[_span(y, side, coarse.shape[0], z.shape[0]), _span(x, side, coarse.shape[1], z.shape[1])]
        part[part == 0] = coarse[y, x]


def _span(cell: int, side: int, cells: int, length: int) -> slice:
    return slice(cell * side, length if cell == cells - 1 else (cell + 1) * side)


def line_claims(signal: Planes, weight: Planes, *, known: bool = True) -> Planes:
    """Return the significance of whole lines (columns or rows) against those near them; 0: no candidate.

    Parameters
    ----------
    signal, weight : ndarray, shape (n,)
        Sums of a grid along each line, without what was claimed before.
    known : bool
        As for `spread_of`.
    """
    there = weight > 0
    if there.sum() < 4 * _LINE_NEAR.size:
        return np.zeros(signal.size)
    mean = np.where(there, signal / np.where(there, weight, 1), np.nan)
    variance = np.where(there, 1 / np.where(there, weight, 1), np.nan)
    near = ndimage.correlate1d(np.nan_to_num(mean), _LINE_NEAR, mode="reflect")
    error = np.sqrt(variance + ndimage.correlate1d(np.nan_to_num(variance), _LINE_NEAR**2, mode="reflect"))
    z = np.nan_to_num((mean - near) / error)
    z /= max(clip_values(z[there]).sigma, 1.0 if known else 1e-12)
    return np.where(np.abs(z) >= CLAIMED, z, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidates:
    """All candidates of a difference.

    Attributes
    ----------
    z : ndarray of float32, shape (y, x)
        0: none.
    columns, rows : ndarray
        Significance of whole lines; 0: none.
    tests : int
    """

    z: F32
    columns: Planes
    rows: Planes
    tests: int


def candidates(z: Planes, sigma: Planes, *, known: bool = True) -> Candidates:
    """Return the candidates of a difference that is in memory as a whole.

    Parameters
    ----------
    z, sigma : ndarray, shape (y, x)
        Value over its uncertainty, as a normal value, and the uncertainty; the smooth part is taken out.
    known : bool
        As for `spread_of`.
    """
    grid = grid_of(z, sigma)
    fine = claims_of(grid, spread_of(grid, known=known))
    return candidates_of(fine.z, fine.rest.halved(), lines_of(fine.rest), fine.tests, known=known)


Lines = tuple[Planes, Planes, Planes, Planes]


def lines_of(grid: Grid) -> Lines:
    """Return the sums of a grid along lines: signal and weight of the columns, then of the rows."""
    signal, weight = (plane.astype(np.float64) for plane in (grid.signal, grid.weight))
    return signal.sum(axis=0), weight.sum(axis=0), signal.sum(axis=1), weight.sum(axis=1)


def candidates_of(z: F32, halved: Grid, lines: Lines, tests: int, *, known: bool = True) -> Candidates:
    """Return all candidates, given those of the finest scales and what they left.

    Parameters
    ----------
    z : ndarray of float32, shape (y, x)
        Candidates of the finest grid; those of the others are added to it.
    halved : Grid
        What they left, in cells of 2 x 2.
    lines : tuple of ndarray
        Sums of what they left, as from `lines_of`.
    tests : int
        Looked at so far.
    known : bool
        As for `spread_of`.
    """
    for side, claims in coarse_claims(halved, known=known):
        paint(z, side, claims.z)
        tests += claims.tests
    columns, rows = line_claims(*lines[:2], known=known), line_claims(*lines[2:], known=known)
    return Candidates(z=z, columns=columns, rows=rows, tests=tests + columns.size + rows.size)
