"""How a flat (or dark) differs from a reference, and what of it is common to all pixels: the light of the lamp.

The smooth part of a ratio is that of the lamp: a polynomial of the third degree over the frame.
"""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from calibration.clipping import clip_values

Planes = NDArray[np.float64]

_DEGREE = 3
_CELLS = 24
"""Cells along the shorter side that the smooth part is seen in."""

_REJECTED = 3.5
_ROUNDS = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Difference:
    """How a frame differs from a reference, in a band or as a whole.

    Attributes
    ----------
    value : ndarray, shape (rows, x)
        Of flats new / reference - 1, of darks new - reference; NaN: not known.
    sigma : ndarray, shape (rows, x)
        What it is uncertain by: the noise of both.
    relative : bool
        Whether it is a ratio.
    """

    value: Planes
    sigma: Planes
    relative: bool = True


_DARKEST = 0.02
"""Response of a pixel of the reference below which a ratio says nothing."""


def difference(new: Planes, sigma: Planes, old: Planes, old_sigma: Planes, *, relative: bool = True) -> Difference:
    """Return how a mean differs from that of the reference.

    Parameters
    ----------
    new, sigma, old, old_sigma : ndarray, shape (rows, x)
        Means and their uncertainties; of flats relative to the light.
    relative : bool
        True for flats.
    """
    both = np.hypot(sigma, old_sigma)
    if not relative:
        return Difference(value=new - old, sigma=both, relative=False)
    light = np.where(old > _DARKEST, old, np.nan)
    return Difference(value=new / light - 1, sigma=both / light)


def additive_sigma(old: Planes, light: float, exposure: float = 1.0) -> Planes:
    """Return by how much a ratio may differ from 1 because something stays in both frames that is no light.

    Of frames that are not reduced, a hot pixel keeps its charge when the lamp becomes brighter by the factor `light`:
    its ratio falls, and nothing has changed; with a longer exposure its charge grows. What is no light is at most what
    the pixel has more than those beside it, and each part of that may grow with the exposure or stay.

    Parameters
    ----------
    old : ndarray, shape (rows, x)
        The reference, relative to its light.
    light : float
        Level of the new frame over that of the reference.
    exposure : float
        Exposure of the new frame over that of the reference.
    """
    padded = np.pad(old, 1, mode="reflect") if min(old.shape) > 1 else np.pad(old, 1, mode="edge")
    beside = np.stack([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]])
    beside.sort(axis=0)
    middle = (beside[1] + beside[2]) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.clip((old - middle) / old, 0.0, 1.0)
    return np.asarray(np.nan_to_num(share) * max(abs(1 / light - 1), abs(exposure / light - 1)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drift:
    """The smooth part of a difference: Legendre coefficients over the frame, and what is left of the cells.

    Attributes
    ----------
    coefficients : ndarray, shape (d + 1, d + 1)
    shape : tuple of int
        Rows and columns of the frame.
    """

    coefficients: Planes
    shape: tuple[int, int]

    def at(self, first: int, stop: int) -> Planes:
        """Return it in the rows first..stop-1 of the frame."""
        y = (np.arange(first, stop) + 0.5) / self.shape[0] * 2 - 1
        x = (np.arange(self.shape[1]) + 0.5) / self.shape[1] * 2 - 1
        return np.asarray(legendre.leggrid2d(y, x, self.coefficients))

    @property
    def range(self) -> float:
        """Largest less smallest value over the frame, without the level."""
        grid = np.linspace(-1, 1, 33)
        return float(np.ptp(legendre.leggrid2d(grid, grid, self.coefficients)))

    @property
    def level(self) -> float:
        """Mean over the frame."""
        return float(self.coefficients[0, 0])


def cell_side(shape: tuple[int, int]) -> int:
    """Return the side of the cells in which the smooth part of a difference is seen."""
    return max(1, min(shape) // _CELLS)


def cells_of(value: Planes, side: int) -> Planes:
    """Return the medians of cells of side x side pixels of a band; what is left over on two edges is left out."""
    height, width = value.shape[0] // side, value.shape[1] // side
    blocks = value[: height * side, : width * side].reshape(height, side, width, side)
    with np.errstate(all="ignore"):
        flat = blocks.transpose(0, 2, 1, 3).reshape(height, width, side * side)
        known = np.isfinite(flat).any(axis=-1)
        found = np.full((height, width), np.nan)
        found[known] = np.nanmedian(flat[known], axis=-1)
    return found


def drift_of(cells: Planes, shape: tuple[int, int]) -> Drift:
    """Fit the smooth part of a difference to its cells; cells that stand out take no part.

    Parameters
    ----------
    cells : ndarray, shape (rows, columns)
        As from `cells_of` for the whole frame, with the side `cell_side`.
    shape : tuple of int
        Of the frame.
    """
    side = cell_side(shape)
    y = ((np.arange(cells.shape[0]) + 0.5) * side) / shape[0] * 2 - 1
    x = ((np.arange(cells.shape[1]) + 0.5) * side) / shape[1] * 2 - 1
    powers = [(i, j) for i in range(_DEGREE + 1) for j in range(_DEGREE + 1 - i)]
    rows, columns = legendre.legvander(y, _DEGREE), legendre.legvander(x, _DEGREE)
    design = np.stack([np.outer(rows[:, i], columns[:, j]).ravel() for i, j in powers], axis=1)
    values = cells.ravel()
    keep = np.isfinite(values)
    theta: Planes = np.zeros(len(powers))
    for _ in range(_ROUNDS):
        if keep.sum() < 2 * len(powers):
            theta = np.zeros(len(powers))
            theta[0] = float(np.median(values[np.isfinite(values)])) if np.isfinite(values).any() else 0.0
            break
        theta = np.asarray(np.linalg.lstsq(design[keep], values[keep], rcond=None)[0], np.float64)
        rest = values - design @ theta
        spread = clip_values(rest[keep])
        again = np.isfinite(values) & (np.abs(rest - spread.median) <= _REJECTED * max(spread.sigma, 1e-12))
        if np.array_equal(again, keep):
            break
        keep = again
    coefficients = np.zeros((_DEGREE + 1, _DEGREE + 1))
    for (i, j), each in zip(powers, theta, strict=True):
        coefficients[i, j] = each
    return Drift(coefficients=coefficients, shape=shape)


def without(found: Difference, drift: Drift, first: int = 0) -> Difference:
    """Return a difference without its smooth part; its first row is the row `first` of the frame."""
    smooth = drift.at(first, first + len(found.value))
    if not found.relative:
        return Difference(value=found.value - smooth, sigma=found.sigma, relative=False)
    return Difference(value=(1 + found.value) / (1 + smooth) - 1, sigma=found.sigma / (1 + smooth))
