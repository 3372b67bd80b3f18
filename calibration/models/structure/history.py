"""The history of a structure: when it came and went, and how it follows time and temperature."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Values = NDArray[np.float64]

_CLEAR = 0.6
"""Contrast of the reference over a change, from which on the change may be something of the reference that went."""

_RANK = 1e-6
_CERTAIN = 1e-12
_MOST_EDGES = 2


class Course(StrEnum):
    """How the strength of a structure went on: all at once, little by little, or neither."""

    STEP = "step"
    TREND = "trend"
    STEADY = "steady"


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """When a structure came and went.

    Attributes
    ----------
    course : Course
    edges : tuple of int
        Numbers of the epochs, in the order of time, at which its strength became another one.
    levels : tuple of float
        Its strengths before, between and after the edges.
    born, gone : int or None
        The first epoch in which it is there, and the first one in which it is no more; None: not seen. Of a structure
        that comes back, its last birth.
    darker : bool
        Whether the frame is darker where it is there.
    """

    course: Course
    edges: tuple[int, ...]
    levels: tuple[float, ...]
    born: int | None
    gone: int | None
    darker: bool


def history_of(strength: Values, sigma: Values, *, contrast: float = 0.0) -> History:
    """Return when a structure came and went, from its strengths.

    Piecewise constant strengths of up to two edges and a straight line compete by their Bayesian information.

    Parameters
    ----------
    strength, sigma : ndarray, shape (n,)
        Of each epoch in the order of time, relative to the reference, and its uncertainty.
    contrast : float
        Of the reference itself there: how much brighter it is than its surroundings. It decides whether a change is
        something that came, or something that went.
    """
    use = np.flatnonzero(np.isfinite(strength) & (sigma > 0))
    y, s = strength[use], sigma[use]
    n = y.size
    best: float = np.inf
    chosen: tuple[int, ...] = ()
    pieces = _Pieces.of(y, s)
    for number in range(min(_MOST_EDGES, max(n - 1, 0)) + 1):
        chi, edges = pieces.best(number)
        information = chi + (2 * number + 1) * np.log(max(n, 2))
        if information < best:
            best, chosen = information, edges
    levels = tuple(_mean(part, error) for part, error in zip(np.split(y, chosen), np.split(s, chosen), strict=True))
    course = Course.STEP if chosen else Course.STEADY
    if n > 3 and _line_chi(np.arange(n, dtype=np.float64), y, s) + 2 * np.log(n) < best:
        course = Course.TREND
    return _said(course, tuple(int(use[i]) for i in chosen), levels, contrast)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pieces:
    """Weighted sums of strengths up to each epoch, from which the chi-square of any piece follows at once."""

    weight: Values
    first: Values
    second: Values

    @classmethod
    def of(cls, y: Values, s: Values) -> "_Pieces":
        """Return those of strengths and their uncertainties, shape (n,)."""
        w, y = s**-2.0, y - (_mean(y, s) if y.size else 0.0)  # centred, so that the sums lose no digits
        sums = (np.concatenate([[0.0], np.cumsum(each)]) for each in (w, w * y, w * y * y))
        return cls(**dict(zip(("weight", "first", "second"), sums, strict=True)))

    def best(self, edges: int) -> tuple[float, tuple[int, ...]]:
        """Return the least chi-square of pieces with so many edges between them, 0 to 2, and where those are."""
        n = self.weight.size - 1
        if edges == 0:
            return float(self._chi(np.intp(0), np.intp(n))), ()
        first = np.arange(1, n)
        if edges == 1:
            chi = self._chi(np.intp(0), first) + self._chi(first, np.intp(n))
            return float(chi.min()), (int(first[chi.argmin()]),)
        a, b = (first[each] for each in np.triu_indices(n - 1, 1))
        chi = self._chi(np.intp(0), a) + self._chi(a, b) + self._chi(b, np.intp(n))
        at = int(chi.argmin())
        return float(chi[at]), (int(a[at]), int(b[at]))

    def _chi(self, start: NDArray[np.intp] | np.intp, end: NDArray[np.intp] | np.intp) -> Values:
        weight = self.weight[end] - self.weight[start]
        first = self.first[end] - self.first[start]
        squares = self.second[end] - self.second[start] - first**2 / np.where(weight > 0, weight, 1.0)
        return np.asarray(np.maximum(squares, 0.0))


def _mean(y: Values, s: Values) -> float:
    return float(np.average(y, weights=s**-2)) if y.size else float("nan")


def _line_chi(x: Values, y: Values, s: Values) -> float:
    design = np.stack([np.ones(x.size), x], axis=1) / s[:, None]
    theta = np.linalg.lstsq(design, y / s, rcond=None)[0]
    return float(((y / s - design @ theta) ** 2).sum())


def _said(course: Course, edges: tuple[int, ...], levels: tuple[float, ...], contrast: float) -> History:
    """Say which of the levels are those with the structure: those farther from the level of the surroundings."""
    counts = abs(contrast) >= _CLEAR * np.ptp(levels)  # a brighter or darker pixel is no structure of the reference
    away = np.array(levels) + (contrast if counts else 0.0)
    strongest = int(np.argmax(np.abs(away)))
    weakest = int(np.argmin(np.abs(away)))
    there = np.abs(away - away[weakest]) >= np.abs(away - away[strongest])
    if len(levels) == 1:
        there = np.ones(1, np.bool_)
    born = gone = None
    for number, edge in enumerate(edges):
        if there[number + 1] and not there[number]:
            born, gone = edge, None
        if there[number] and not there[number + 1]:
            gone = edge
    darker = bool(away[strongest] < (away[weakest] if len(levels) > 1 else 0))
    return History(course=course, edges=edges, levels=levels, born=born, gone=gone, darker=darker)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A straight line through the strengths of a structure: its slope, with uncertainty and significance.

    Attributes
    ----------
    slope, sigma : float
        Per unit of what it is against; NaN where the epochs do not show it.
    p : float
        Chance that a structure without a slope shows one as large.
    """

    slope: float = float("nan")
    sigma: float = float("nan")
    p: float = float("nan")


def trends_of(strength: Values, sigma: Values, against: Sequence[Values]) -> list[Trend]:
    """Fit the strengths of a structure against several quantities at once, e.g. time and temperature.

    Quantities that do not vary, or that the epochs do not tell from those before them, have no trend. Where the
    strengths scatter by more than their uncertainties, those of the slopes are widened by as much.

    Parameters
    ----------
    strength, sigma : ndarray, shape (n,)
        Of each epoch, and its uncertainty.
    against : sequence of ndarray, shape (n,)
    """
    use = np.isfinite(strength) & (sigma > 0)
    for each in against:
        use &= np.isfinite(each) | ~np.isfinite(each).any()
    y, s = strength[use], sigma[use]
    columns, named = [np.ones(y.size)], list[int]()
    for number, each in enumerate(against):
        x = each[use]
        if x.size < 2 or not np.isfinite(x).all() or np.ptp(x) == 0:
            continue
        trial = [*columns, (x - x.mean()) / np.ptp(x)]
        if len(trial) <= x.size and np.linalg.svd(np.stack(trial), compute_uv=False)[-1] > _RANK * np.sqrt(x.size):
            columns, named = trial, [*named, number]
    found = [Trend() for _ in against]
    if not named:
        return found
    design = np.stack(columns, axis=1) / s[:, None]
    inverse = np.linalg.pinv(design.T @ design)
    theta = inverse @ design.T @ (y / s)
    dof = y.size - len(columns)
    chi = float(((y / s - design @ theta) ** 2).sum())
    widened = max(1.0, chi / dof) if dof else 1.0
    for place, number in enumerate(named, 1):
        scale = float(np.ptp(against[number][use]))
        slope, error = theta[place] / scale, float(np.sqrt(inverse[place, place] * widened)) / scale
        p = _chance(abs(theta[place]) / float(np.sqrt(inverse[place, place])), chi, dof)
        found[number] = Trend(slope=float(slope), sigma=error, p=p)
    return found


def _chance(pull: float, chi: float, dof: int) -> float:
    """Return the chance of a slope of so many of its sigmas: by the noise as stated, or by the scatter, if larger."""
    stated = float(2 * stats.norm.sf(pull))
    if not dof:
        return stated
    return max(stated, float(2 * stats.t.sf(pull / np.sqrt(max(chi / dof, _CERTAIN)), dof)))


def adjusted(p: Sequence[float]) -> list[float]:
    """Return significances corrected for their number (Benjamini & Hochberg 1995); NaN stays NaN."""
    values = np.array(p, np.float64)
    known = np.isfinite(values)
    if known.any():
        values[known] = stats.false_discovery_control(values[known])
    return [float(each) for each in values]
