"""The photo-response non-uniformity of a sensor: how much the gains of its pixels differ, by pixel, row and column.

It is measured on what is left of a flat without vignetting, illumination and dust, band after band. The noise that the
flat itself has left is taken off, and the variance is split as EMVA 1288 release 4.0 (8.3) does: the means of rows
scatter by the rows' own part and by what single pixels leave of theirs in a mean, and so do those of columns.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.clipping import clip_values, untruncated
from calibration.models.flat.shapes import Plane

_SIGMAS = 5.0
"""Pixels farther from the middle take no part: dead and hot ones say nothing of the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The values that count, from a sample of the plane."""

    low: float
    high: float

    @property
    def reach(self) -> float:
        """Half of their range."""
        return (self.high - self.low) / 2


def limits_of(sample: NDArray[np.floating]) -> Limits:
    """Return the limits for a plane from a sample of it: five standard deviations about the median."""
    centre = clip_values(sample)
    away = _SIGMAS * centre.sigma if centre.sigma > 0 else 1e-6
    return Limits(low=centre.median - away, high=centre.median + away)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prnu:
    """Standard deviations of the gains of pixels relative to their mean, free of the noise of the flat.

    Attributes
    ----------
    total, pixel, row, column : float
        NaN where the noise of the flat is not known; 0 where no more than noise is seen.
    total_sigma, pixel_sigma, row_sigma, column_sigma : float
        1σ errors; an upper limit where the value is 0.
    temporal : float
        Relative noise that was taken off.
    pixels, left_out : int
        Pixels that count, and those farther from the middle than five standard deviations.
    """

    total: float
    pixel: float
    row: float
    column: float
    total_sigma: float
    pixel_sigma: float
    row_sigma: float
    column_sigma: float
    temporal: float
    pixels: int
    left_out: int


class PrnuSums:
    """Sums over the bands of a plane of relative gains; the order of the bands does not matter."""

    def __init__(self, limits: Limits, shape: tuple[int, int]) -> None:
        self._limits = limits
        self._rows, self._columns = np.zeros((2, shape[0])), np.zeros((2, shape[1]))
        self._squares, self._noise, self._noisy, self._out = 0.0, 0.0, 0, 0

    def add(self, start: int, gains: NDArray[np.floating], sigma: NDArray[np.floating]) -> None:
        """Add a band of rows.

        Parameters
        ----------
        start : int
            Its first row.
        gains, sigma : ndarray, shape (rows, x)
            Gains relative to their mean, and the noise in them; NaN where it is not known.
        """
        there = np.isfinite(gains)
        inside = there & (gains >= self._limits.low) & (gains <= self._limits.high)
        away = np.where(inside, gains - 1.0, 0.0).astype(np.float64)
        stop = start + len(gains)
        self._rows[:, start:stop] += inside.sum(axis=1), away.sum(axis=1)
        self._columns += inside.sum(axis=0), away.sum(axis=0)
        self._squares += float((away**2).sum())
        known = inside & np.isfinite(sigma)
        self._noise += float((np.where(known, sigma, 0.0).astype(np.float64) ** 2).sum())
        self._noisy += int(known.sum())
        self._out += int((there & ~inside).sum())

    def result(self, fitted: int = 0) -> Prnu:
        """Return what the bands show together; `fitted` parameters were taken from the same pixels."""
        n = float(self._rows[0].sum())
        if n < 4:
            return _nothing(int(n), self._out)
        mean = float(self._rows[1].sum() / n)
        raw = max(self._squares / n - mean**2, 0.0) * n / max(n - 1 - fitted, 1)
        widened = untruncated(float(np.sqrt(raw)), self._limits.reach) ** 2
        temporal = self._noise / self._noisy if self._noisy else float("nan")
        rows, columns = _variance(self._rows, mean), _variance(self._columns, mean)
        wide, high = n / max(rows[1], 1), n / max(columns[1], 1)  # pixels of a mean
        share = 1 - 1 / high - 1 / wide
        white = max(widened - rows[0] - columns[0], 0.0) / share if share > 0 else widened
        parts = {
            "total": (widened - temporal, white * np.sqrt(2 / n), rows, columns),
            "pixel": (white - temporal, white * np.sqrt(2 / n), (0.0, 2.0), (0.0, 2.0)),
            "row": (rows[0] - white / wide, 0.0, rows, (0.0, 2.0)),
            "column": (columns[0] - white / high, 0.0, (0.0, 2.0), columns),
        }
        values = {name: _root(*each) for name, each in parts.items()}
        return Prnu(
            **{name: value for name, (value, _) in values.items()},
            **{f"{name}_sigma": sigma for name, (_, sigma) in values.items()},
            temporal=float(np.sqrt(temporal)),
            pixels=int(n),
            left_out=self._out,
        )


def _variance(sums: Plane, mean: float) -> tuple[float, float]:
    """Return the variance of the means of lines, and their number."""
    lines = sums[:, sums[0] > 0]
    number = lines.shape[1]
    if number < 2:
        return 0.0, float(max(number, 2))
    return float(((lines[1] / lines[0] - mean) ** 2).sum() / (number - 1)), float(number)


def _root(variance: float, own: float, *lines: tuple[float, float]) -> tuple[float, float]:
    """Return a standard deviation and its error, from a variance and the errors of its parts."""
    error = float(np.sqrt(own**2 + sum(2 * part**2 / max(number - 1, 1) for part, number in lines)))
    if not np.isfinite(variance):
        return float("nan"), float("nan")
    value = float(np.sqrt(max(variance, 0.0)))
    return value, error / (2 * value) if value**2 > error else float(np.sqrt(error))


def _nothing(pixels: int, left_out: int) -> Prnu:
    nan = float("nan")
    return Prnu(
        total=nan, pixel=nan, row=nan, column=nan, total_sigma=nan, pixel_sigma=nan, row_sigma=nan, column_sigma=nan,
        temporal=nan, pixels=pixels, left_out=left_out,
    )  # fmt: skip
