"""Flats of a detector of which every number is known: vignetting, dust, gains of the pixels, temperature, exposure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHAPE, CENTRE = (48, 64), (26.0, 29.0)
K1, K2 = -0.25, 0.02
GRAIN = (0.12, 12.0, 50.0, 2.5 * np.sqrt(2 * np.log(2)))
"""Attenuation, row, column and radius at half depth of the grain of dust."""

PRNU, NOISE = 0.01, 0.001
Plane = NDArray[np.float64]


def grid(shape: tuple[int, int] = SHAPE) -> tuple[Plane, Plane]:
    """Return rows (y, 1) and columns (1, x)."""
    return np.arange(shape[0], dtype=np.float64)[:, None], np.arange(shape[1], dtype=np.float64)[None, :]


def vignetting(shape: tuple[int, int] = SHAPE, centre: tuple[float, float] = CENTRE) -> Plane:
    """Return 1 - 0.25 r² + 0.02 r⁴, r in half diagonals."""
    y, x = grid(shape)
    square = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / np.hypot(shape[0] / 2, shape[1] / 2) ** 2
    return 1 + K1 * square + K2 * square**2


def dust(shape: tuple[int, int] = SHAPE) -> Plane:
    """Return one grain."""
    y, x = grid(shape)
    depth, row, column, radius = GRAIN
    return 1 - depth * np.exp(-np.log(2) * ((y - row) ** 2 + (x - column) ** 2) / radius**2)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flat:
    """A normalised master flat and its truth."""

    values: Plane
    sigma: Plane
    vignetting: Plane
    dust: Plane
    gains: Plane


def made_flat(seed: int, *, light: Plane | float = 1.0) -> Flat:
    """Make a flat; `light` is the illumination."""
    rng = np.random.default_rng(seed)
    gains = 1 + PRNU * rng.standard_normal(SHAPE)
    truth = vignetting() * dust() * gains * light
    return Flat(
        values=truth * (1 + NOISE * rng.standard_normal(SHAPE)),
        sigma=NOISE * truth,
        vignetting=vignetting(),
        dust=dust(),
        gains=gains,
    )
