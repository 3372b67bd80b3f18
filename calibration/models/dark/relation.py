"""The shape that the rate of a pixel's dark lets expect, and its errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.models.shapes import Planes, pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """The shape that a pixel of a rate is expected to have: ``c0 + c1 x + c2 x²``, x = ln(rate) within two limits.

    Attributes
    ----------
    coefficients : tuple of 3 floats
    low, high : float
        Of x, with the rate in ADU/s at the reference temperature; beyond them the shape is that at the limit.
    scatter : float
        Standard deviation of the pixels' shapes about it.
    covariance : tuple of 6 floats
        Of the coefficients, as `pairs` orders it: an error that all pixels of a rate have in common.
    """

    coefficients: tuple[float, float, float]
    low: float = 0.0
    high: float = 0.0
    scatter: float = 0.0
    covariance: tuple[float, ...] = (0.0,) * 6

    def at(self, rate: Planes) -> Planes:
        """Return the shapes that are expected of rates."""
        x = self._place(rate)
        c0, c1, c2 = self.coefficients
        return np.asarray(c0 + c1 * x + c2 * x**2)

    def slope(self, rate: Planes) -> Planes:
        """Return the derivative of what is expected by the rate."""
        x, (_, c1, c2) = self._place(rate), self.coefficients
        within = (np.log(np.maximum(rate, np.exp(self.low))) < self.high) & (rate > np.exp(self.low))
        return np.asarray(np.where(within, (c1 + 2 * c2 * x) / np.exp(x), 0.0))

    def common(self, rate: Planes) -> Planes:
        """Return the variance of what is expected of rates, by the errors of the coefficients."""
        powers = self.powers(rate)
        return np.asarray(np.einsum("i...,ij,j...->...", powers, self.matrix, powers))

    def powers(self, rate: Planes) -> Planes:
        """Return the derivatives of what is expected of rates by the coefficients, shape (3, ...)."""
        return self._place(rate) ** np.arange(3).reshape(3, *(1,) * np.ndim(rate))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The covariance of the coefficients, shape (3, 3)."""
        found = np.zeros((3, 3))
        for (i, j), value in zip(pairs(3), self.covariance, strict=True):
            found[i, j] = found[j, i] = value
        return found

    def _place(self, rate: Planes) -> Planes:
        return np.asarray(np.log(np.clip(rate, np.exp(self.low), np.exp(self.high))))

    @classmethod
    def from_plain(cls, said: Mapping[str, Any]) -> "Relation":
        """Return the relation of plain values, as of `dataclasses.asdict`."""
        numbers = {name: tuple(said[name]) for name in ("coefficients", "covariance") if name in said}
        return cls(**{**said, **numbers})
