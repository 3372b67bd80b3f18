"""Frames of one set that have not one signal: the factor of each frame against its set, from a sample of pixels.

A change of gain, exposure or temperature between frames that were taken as equal ones multiplies their signal. The
factor is the slope of a robust straight line of a frame against the mean of its set, so that a level which drifts and
cosmic hits do not matter: least absolute deviations, then Huber's weights (Huber 1964). Its error follows from the
residuals themselves (White, Econometrica 48, 817, 1980).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

F64 = NDArray[np.float64]

_OWN = 0.05
"""Part of its signal that each pixel may scatter by of its own: no single pixel decides."""

_FAR, _UNLIKE = 6.0, 0.5
"""Errors, and part of its signal beside them, by which a sample may be off: beyond it is a cosmic hit."""

_HUBER, _ROUNDS = 1.5, 6

_WANDER = 0.012
"""Part of the signal that a set may wander by: 0.1 °C of the sensor."""

_PER_C = 0.12
"""Relative change of a dark signal per degree, at most, that the frames' own temperatures explain."""

_LEAST = 1.03
"""Ratio of two factors from which on it is said."""

_CHANCE = 1e-6
_SURE = 5.0
"""Errors by which the two parts of a set differ."""

_FEWEST = 20
"""Pixels that make a line."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """Two parts of a set of frames with unlike signal.

    Attributes
    ----------
    odd : ndarray of bool, shape (n,)
        The smaller part; of two equal ones that with more signal.
    ratio : float
        The signal of the odd part over that of the others.
    factors, errors : ndarray, shape (n,)
        Of each frame, against the mean of the set.
    """

    odd: NDArray[np.bool_]
    ratio: float
    factors: F64
    errors: F64

    @property
    def is_minority(self) -> bool:
        """Whether the odd part is fewer than a third: then the others are right."""
        return bool(3 * self.odd.sum() < len(self.odd))

    @property
    def scatter(self) -> float:
        """The relative error of the mean of the set, where nothing shows which part is right: half of what differs."""
        return abs(self.ratio - 1) / (self.ratio + 1)


def factors_of(signals: F64, *, read_adu2: float, per_adu: float) -> tuple[F64, F64]:
    """Return the factor of the signal of each frame against the mean of the frames, and its error.

    Parameters
    ----------
    signals : ndarray, shape (n, pixels)
        Samples less their bias in ADU; NaN where there is none.
    read_adu2, per_adu : float
        Variance of a sample, ``read_adu2 + per_adu S`` at a signal S.

    Returns
    -------
    factors, errors : ndarray, shape (n,)
        The error is infinite where nothing shows a factor.
    """
    known = np.isfinite(signals).all(axis=0)
    factors, errors = np.ones(len(signals)), np.full(len(signals), np.inf)
    if known.sum() < _FEWEST:
        return factors, errors
    frames = signals[:, known]
    usual = np.median(frames, axis=0)
    near = _FAR * np.sqrt(read_adu2 + per_adu * np.maximum(usual, 0.0)) + _UNLIKE * np.abs(usual)
    usual = np.where(np.abs(frames - usual) > near, usual, frames).mean(axis=0)
    turned = usual - np.median(usual)
    variance = read_adu2 + per_adu * np.maximum(usual, 0.0) + (_OWN * turned) ** 2
    if not turned.any() or not (variance > 0).all():
        return factors, errors
    for number, frame in enumerate(frames):
        factors[number], errors[number] = _line(turned, frame - np.median(frame), np.sqrt(variance))
    return factors, errors


def _line(x: F64, y: F64, sigma: F64) -> tuple[float, float]:
    """Return the slope of a robust straight line, and its error."""
    some = x != 0
    slope, offset = _middle(y[some] / x[some], np.abs(x / sigma)[some]), 0.0
    weight, turned, rest = np.ones(x.shape), x, y
    for _ in range(_ROUNDS):
        rest = (y - offset - slope * x) / sigma
        far = np.abs(rest) / max(1.4826 * float(np.median(np.abs(rest))), 1e-9)
        weight = np.minimum(1.0, _HUBER / np.maximum(far, _HUBER)) / sigma**2
        turned = x - np.average(x, weights=weight)
        slope = float((weight * turned * y).sum() / (weight * turned**2).sum())
        offset = float(np.average(y - slope * x, weights=weight))
    lever = weight * turned**2
    own = np.minimum(lever / lever.sum(), 0.9)
    off = weight * turned * (y - offset - slope * x) / (1 - own)
    return slope, float(np.sqrt((off**2).sum()) / lever.sum())


def _middle(values: F64, weights: F64) -> float:
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, below[-1] / 2)])


def parts_of(factors: F64, errors: F64, off_c: F64) -> Parts | None:
    """Return the two parts of a set whose signals differ by more than errors and 0.1 °C; None where all agree.

    Parameters
    ----------
    factors, errors : ndarray, shape (n,)
        As of `factors_of`.
    off_c : ndarray, shape (n,)
        Stated temperature of each frame less that of its set, in degrees.
    """
    if len(factors) < 2 or not np.isfinite(errors).all() or not (factors > 0).all():
        return None
    errors = np.sqrt(errors**2 + _WANDER**2 + (_PER_C * off_c) ** 2)
    weights = errors**-2
    about = np.average(factors, weights=weights)
    if stats.chi2.sf(float((weights * (factors - about) ** 2).sum()), len(factors) - 1) > _CHANCE:
        return None
    low, high = _split(factors)
    one, other = factors[low].mean(), factors[high].mean()
    error = np.hypot(*(np.sqrt((errors[part] ** 2).sum()) / len(part) for part in (low, high)))
    if other < _LEAST * one or other - one < _SURE * error:
        return None
    odd = np.zeros(len(factors), np.bool_)
    odd[high if len(high) <= len(low) else low] = True
    ratio = float(factors[odd].mean() / factors[~odd].mean())
    return Parts(odd=odd, ratio=ratio, factors=factors, errors=errors)


def _split(factors: F64) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the numbers of the frames of the two parts that scatter least, that of the lower factors first."""
    order = np.argsort(factors)
    return min(
        ((order[:k], order[k:]) for k in range(1, len(order))),
        key=lambda both: sum(float(factors[part].var()) * len(part) for part in both),
    )
