"""A master flat taken apart: vignetting times illumination times dust times the gains of the pixels (PRNU).

The smooth parts and the dust are found on a binned image, whatever the size of the sensor. They are then worked out for
each band, and the gains are what is left of it: the product of the four planes is the flat again, to the rounding of
float32. Vignetting is 1 on its axis, the illumination carries the level, dust is 1 where there is none, and gains are
about 1.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.masters.background import box_medians
from calibration.models.flat.dust import Shadow, clear_of_dust, dust_at, find_dust, shade
from calibration.models.flat.shapes import Radial, Shape, half_diagonal, middle
from calibration.models.flat.smooth import Cells, Smooth, fit_smooth

_ROUNDS = 3
"""Smooth parts are fitted, dust is found, and the smooth parts are fitted without it, so many times in all."""

_CLEAR = 0.1
"""Cells that dust darkens by more than this part of their scatter take no part in the smooth fit."""

_WORSE = 1.1
"""Dust without which the smooth parts fit worse by this factor is none, and the round before counts."""

_LEAST_CLEAR = 0.5
"""Where dust covers more of the frame, what is under it takes part in the smooth fit all the same."""

_CELLS = 2400
"""Most cells along the longer side of the image on which dust is looked for."""

_COARSE = 256
"""Most cells along the longer side of the image that the smooth parts are fitted to."""


def cell_of(shape: tuple[int, int], *, most: int = _CELLS) -> int:
    """Return the size in pixels of the cells of a frame of this shape."""
    return max(1, -(-max(shape) // most))


def medians(rows: NDArray[np.floating], size: int) -> NDArray[np.float32]:
    """Return the medians of the cells of some rows, a multiple of `size` of them, shape (rows // size, x // size)."""
    if size == 1:
        return np.asarray(rows, np.float32)
    wide = rows.shape[1] // size * size
    strips = np.asarray(rows[:, :wide], np.float32).reshape(-1, size, wide)
    found = [box_medians(strip, size) for strip in strips]
    return np.stack(found) if found else np.empty((0, wide // size), np.float32)


Colours = NDArray[np.float64]
"""Levels of the colours of a 2 x 2 mosaic relative to their mean, shape (2, 2)."""


def colours_of(rows: NDArray[np.floating]) -> Colours:
    """Return the levels of the colours of a mosaic, from rows of a flat that begin with an even one."""
    found = np.array([[np.nanmedian(rows[y::2, x::2]) for x in (0, 1)] for y in (0, 1)], np.float64)
    return np.asarray(found / found.mean())


def _pattern(colours: Colours, start: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the levels of the colours at the pixels of a band."""
    y, x = np.arange(start, start + shape[0]) % 2, np.arange(shape[1]) % 2
    return np.asarray(colours[y[:, None], x[None, :]])


def levelled(rows: NDArray[np.floating], start: int, colours: Colours | None) -> NDArray[np.floating]:
    """Return a band with its colours brought to one level; as it is where there is no mosaic."""
    if colours is None:
        return rows
    return np.asarray(rows / _pattern(colours, start, (rows.shape[0], rows.shape[1])), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Factors:
    """What a flat is made of beside the gains of its pixels; `colours` of a mosaic belong to the illumination."""

    smooth: Smooth
    dust: tuple[Shadow, ...]
    shape: tuple[int, int]
    colours: Colours | None = None


def factorise(cells: Cells, given: Shape | None = None, *, vignetting: bool = True) -> Factors:
    """Find the smooth parts and the dust of a flat.

    Parameters
    ----------
    cells : Cells
        The flat, in cells of `cell_of` its shape.
    given : Radial, Cos4 or Mapped, optional
        Vignetting that is known; else it is fitted.
    vignetting : bool
        False: there is none, or it was taken off before; only the illumination is fitted.

    Raises
    ------
    ValueError
        The flat holds too little light.
    """
    known = given if given is not None or vignetting else _none(cells.shape)
    coarse = _coarser(cells, cell_of(cells.values.shape, most=_COARSE))
    usable = np.ones(coarse.values.shape, np.bool_)
    smooth, dust = fit_smooth(coarse, known, usable), tuple[Shadow, ...]()
    for _ in range(_ROUNDS - 1):
        found = find_dust(replace(cells, values=cells.values / smooth.product(cells.y, cells.x)))
        if not found:
            dust = ()
            break
        clear = clear_of_dust(found, coarse, _CLEAR * smooth.scatter)
        usable = clear if clear.mean() > _LEAST_CLEAR else usable
        again = fit_smooth(replace(coarse, values=coarse.values / shade(found, coarse)), known, usable)
        if again.scatter > _WORSE * smooth.scatter:
            break
        smooth, dust = again, found
    return Factors(smooth=smooth, dust=dust, shape=cells.shape)


def _none(shape: tuple[int, int]) -> Shape:
    return Radial(centre=middle(shape), radius_px=half_diagonal(shape))


def _coarser(cells: Cells, by: int) -> Cells:
    if by == 1:
        return cells
    high = cells.values.shape[0] // by * by
    values = medians(cells.values[:high], by).astype(np.float64)
    return Cells(values=values, size=cells.size * by, shape=cells.shape)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FactorPlanes:
    """The four factors of a band and their 1σ errors, as they are stored: their product is the flat again."""

    planes: dict[str, NDArray[np.float32]]

    @property
    def product(self) -> NDArray[np.float32]:
        """Vignetting times illumination times dust times gains, each rounded as the planes are."""
        v, i, d, p = (self.planes[name].astype(np.float64) for name in NAMES)
        return np.asarray(v * i * d * p, np.float32)


NAMES = ("VIGNETTE", "ILLUM", "DUST", "PRNU")
"""Names of the planes; those of their errors are followed by `_SIGMA`."""


def factor_band(factors: Factors, start: int, flat: NDArray[np.floating], sigma: NDArray[np.floating]) -> FactorPlanes:
    """Take a band of rows of a flat apart.

    Parameters
    ----------
    factors : Factors
    start : int
        Its first row.
    flat, sigma : ndarray, shape (rows, x)
        The flat and its 1σ error (NaN: not known).
    """
    rows, width = flat.shape
    y, x = np.arange(start, start + rows, dtype=np.float64)[:, None], np.arange(width, dtype=np.float64)[None, :]
    smooth = factors.smooth.planes(y, x)
    dust, dust_sigma = dust_at(factors.dust, (start, start + rows), width)
    light = 1.0 if factors.colours is None else _pattern(factors.colours, start, (rows, width))
    parts = (smooth.vignetting, smooth.illumination * light, dust)
    stored = [each.astype(np.float32) for each in parts]
    under = stored[0].astype(np.float64) * stored[1] * stored[2]
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = flat / under
        relative = np.sqrt((sigma / flat) ** 2 + smooth.relative_sigma**2 + (dust_sigma / dust) ** 2)
        gain_errors = np.abs(gains) * relative
    found = dict(zip(NAMES, [*stored, gains.astype(np.float32)], strict=True))
    errors = (smooth.vignetting_sigma, smooth.illumination_sigma * light, dust_sigma, gain_errors)
    found |= {f"{name}_SIGMA": each.astype(np.float32) for name, each in zip(NAMES, errors, strict=True)}
    return FactorPlanes(planes=found)
