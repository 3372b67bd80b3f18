"""Sets of frames that contradict all others: which they are, and in what they differ.

The means of K groups are compared in classes of pixels: of equal brightness, and of cells of the frame. A set is left
out, the model of the caller is fitted to the rest, and predicts it. How a group differs is described by three numbers:
an offset that all pixels have in common, a factor, and a shape across the frame. A set contradicts the others where
one of them is far outside of what the rest scatters by, in an F test whose denominator is never below what models are
wrong by: Cook & Weisberg, Residuals and Influence in Regression (1982), mean shift outliers. Where leaving out other
frames would make the rest agree as well, nothing is decided.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from calibration.models.shapes import Planes

Mask = NDArray[np.bool_]

_CHANCE = 1e-5
"""Of a set of healthy frames to seem one that contradicts the others, in one test."""

_KNOWN = 6.0
"""Degrees of freedom that the stated errors count for, beside the scatter of the groups."""

_AS_WELL = 0.3
"""Of the largest ratio, from where on another set explains the contradiction as well."""

_PAIRED = 8
"""Sets that are tried in pairs where none alone makes the rest agree."""

_ROUNDS = 6

_GROSS = 9.0
"""Mean squared deviation in stated errors from where on groups contradict each other, though none can be named."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predicted:
    """What the groups that are kept make of all groups.

    Attributes
    ----------
    means, variances : ndarray, shape (K, B)
        In ADU and ADU²; NaN where they determine nothing.
    relative : ndarray, shape (K,)
        Error that all classes have in common, as a part of the signal.
    """

    means: Planes
    variances: Planes
    relative: Planes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Classes:
    """The means of K groups in B classes of pixels.

    Attributes
    ----------
    means, variances : ndarray, shape (K, B)
        In ADU and ADU²; NaN where a group has no samples.
    cells : ndarray of bool, shape (B,)
        Classes that are cells of the frame; the others are of equal brightness.
    level_variance : float
        Of what all pixels of a group have in common by noise, in ADU².
    """

    means: Planes
    variances: Planes
    cells: Mask
    level_variance: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Deviations:
    """How K groups differ from what the kept ones predict.

    Attributes
    ----------
    slope : ndarray, shape (K,)
        What the differences of the classes from their mean are multiplied by, less 1.
    offset_adu, factor, shape_adu : ndarray, shape (K,)
        What all pixels have more, by what their signal is multiplied, and the rms over the cells of the rest. The
        offset is that of pixels of the mean signal where both are asked for, see `about`.
    pulls : ndarray, shape (3, K)
        Root of the squared deviations over the stated errors, of each of them.
    about_adu : ndarray, shape (K,)
        Mean signal of the classes, about which the factor turns.
    alone : ndarray, shape (2, K)
        Sum of the squared deviations that are left by an offset alone, and by a factor alone, over their errors.
    """

    slope: Planes
    offset_adu: Planes
    factor: Planes
    shape_adu: Planes
    pulls: Planes
    level_errors: Planes
    about_adu: Planes
    alone: Planes


Predict = Callable[[Mask, float], Predicted]
"""Fit the groups of a mask of shape (K,), whose levels have a variance in ADU², and predict all."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdict:
    """What contradicts what.

    Attributes
    ----------
    sets : tuple of ndarray of bool, shape (K,)
        Sets that contradict all others.
    undecided : tuple of ndarray of bool, shape (K,)
        Sets each of which, left out, makes the rest agree: which of them are wrong is not known.
    deviations : Deviations
        Of all groups from what those that are in none of the `sets` predict.
    restless : bool
        Whether the groups contradict each other, and nothing shows which are right.
    """

    sets: tuple[Mask, ...]
    undecided: tuple[Mask, ...]
    deviations: Deviations
    restless: bool

    @property
    def kept(self) -> Mask:
        """The groups that take part in a fit, shape (K,)."""
        kept = np.ones(len(self.deviations.factor), np.bool_)
        for each in self.sets:
            kept &= ~each
        return kept


def deviations_of(classes: Classes, predicted: Predicted, level_variance: float = 0.0) -> Deviations:
    """Return how the groups differ from what is predicted for them; levels of groups have a variance of their own."""
    off, p = classes.means - predicted.means, predicted.means
    variance = classes.variances + predicted.variances
    known = np.isfinite(off) & np.isfinite(variance) & (variance > 0)
    weight = np.where(known, 1 / np.where(known, variance, 1.0), 0.0)
    bright = np.where(classes.cells, 0.0, weight)
    off, p = np.where(known, off, 0.0), np.where(known, p, 0.0)
    total = np.maximum(bright.sum(axis=1), 1e-300)
    about, offset = (bright * p).sum(axis=1) / total, (bright * off).sum(axis=1) / total
    turned = p - about[:, None]
    lever = np.maximum((bright * turned**2).sum(axis=1), 1e-300)
    slope = (bright * turned * off).sum(axis=1) / lever
    rest = off - offset[:, None] - slope[:, None] * turned
    cells = np.where(classes.cells, weight, 0.0)
    middle = (cells * rest).sum(axis=1) / np.maximum(cells.sum(axis=1), 1e-300)
    shape = np.where(cells > 0, rest - middle[:, None], 0.0)
    freedom = np.maximum((cells > 0).sum(axis=1) - 1, 1)
    one = (bright * p * off).sum(axis=1) / np.maximum((bright * p**2).sum(axis=1), 1e-300)
    level = 1 / total + (predicted.relative * about) ** 2 + level_variance
    pulls = np.stack([
        np.abs(offset) / np.sqrt(level),
        np.abs(slope) / np.sqrt(1 / lever + predicted.relative**2),
        np.sqrt((cells * shape**2).sum(axis=1) / freedom),
    ])  # fmt: skip
    return Deviations(
        slope=slope,
        offset_adu=offset,
        factor=1 + one,
        shape_adu=np.sqrt((np.where(cells > 0, shape, 0.0) ** 2).sum(axis=1) / freedom),
        level_errors=np.sqrt(level),
        pulls=np.where(known.any(axis=1), pulls, 0.0),
        about_adu=about,
        alone=np.stack(
            [
                (bright * (off - offset[:, None]) ** 2).sum(axis=1),
                (bright * (off - one[:, None] * p) ** 2).sum(axis=1),
            ]
        ),
    )


def contradictions(predict: Predict, classes: Classes, candidates: Sequence[Mask], parameters: int) -> Verdict:
    """Find the sets that contradict all others.

    Parameters
    ----------
    predict : callable
    classes : Classes
    candidates : sequence of ndarray of bool, shape (K,)
        Sets that may have something of their own: groups, folders, nights, temperatures.
    parameters : int
        Of the model, of one class: the groups that are kept must be more.
    """
    search = _Search(predict=predict, classes=classes, parameters=parameters)
    kept, found = np.ones(len(classes.means), np.bool_), list[Mask]()
    undecided: tuple[Mask, ...] = ()
    while True:
        usable = [each for each in candidates if each.any() and not (each & ~kept).any()]
        tried = [search.tried(each, kept) for each in usable]
        best = max(tried, key=lambda each: each.ratio, default=None)
        if best is None:
            break
        if best.ratio <= 1 and (best := search.paired(tried, kept)) is None:
            break
        rivals = [e for e in tried if e.ratio > max(1.0, _AS_WELL * best.ratio) and _is_other(e.out, best.out)]
        if rivals:
            undecided = (best.out, *(each.out for each in rivals))
            break
        if (~kept | best.out).sum() * 2 >= len(kept):
            undecided = (best.out,)
            break
        found.append(best.out)
        kept &= ~best.out
    deviations, _ = search.compared(kept)
    restless = bool(undecided) or float(np.mean(deviations.pulls[1, kept] ** 2)) > _GROSS
    return Verdict(sets=tuple(found), undecided=undecided, deviations=deviations, restless=restless)


def _is_other(one: Mask, than: Mask) -> bool:
    """Whether a set is neither a part of another one nor has it as a part."""
    return bool((one & ~than).any() and (than & ~one).any())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Tried:
    """A set that was left out: how far it is from the rest over what chance allows, and the scatter of the rest."""

    out: Mask
    ratio: float
    rest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    predict: Predict
    classes: Classes
    parameters: int

    def compared(self, rest: Mask) -> tuple[Deviations, float]:
        """Return how all groups differ from the rest, whose levels wander as they do, and how surely that is known.

        That are degrees of freedom: of what was known beforehand, and of the groups that show how levels wander.
        """
        least = wander = self.classes.level_variance
        freedom = int(rest.sum()) - self.parameters
        for _ in range(_ROUNDS):
            found = deviations_of(self.classes, self.predict(rest, wander), wander)
            more = float((found.offset_adu[rest] ** 2 - found.level_errors[rest] ** 2).sum() / max(freedom, 1))
            if abs(more) < 0.02 * wander or (more < 0 and wander == least):
                break
            wander = max(least, wander + more)
        shown = float((wander / found.level_errors[rest] ** 2).sum()) - self.parameters
        return found, _KNOWN * least / wander + max(shown, 0.5)

    def tried(self, out: Mask, kept: Mask) -> _Tried:
        """Leave a set out beside those that are no more kept."""
        rest = kept & ~out
        freedom, groups = int(rest.sum()) - self.parameters, int(out.sum())
        if freedom < 1:
            return _Tried(out=out, ratio=0.0, rest=np.inf)
        found, sure = self.compared(rest)
        pulls, trust = found.pulls**2, (sure, _KNOWN + freedom, _KNOWN + freedom)
        scatter = (_KNOWN + pulls[:, rest].sum(axis=1)) / (_KNOWN + freedom)
        cells = max(int(self.classes.cells.sum()) - 1, 1)
        limits = np.array([_limit(n * groups, m) for n, m in zip((1, 1, cells), trust, strict=True)])
        ratios = pulls[:, out].mean(axis=1) / np.maximum(scatter, 1.0) / limits
        return _Tried(out=out, ratio=float(ratios.max()), rest=float(np.log(np.maximum(scatter, 1.0)).sum()))

    def paired(self, tried: Sequence[_Tried], kept: Mask) -> _Tried | None:
        """Return a set without which another one is seen to contradict the rest, where both do; None without any."""
        some = sorted(tried, key=lambda each: each.rest)[:_PAIRED]
        best: _Tried | None = None
        for one, other in combinations(some, 2):
            if (one.out & other.out).any():
                continue
            first, second = self.tried(one.out, kept & ~other.out), self.tried(other.out, kept & ~one.out)
            if min(first.ratio, second.ratio) > max(1.0, 0.0 if best is None else best.ratio):
                best = min((first, second), key=lambda each: -each.ratio)
        return best


@lru_cache(maxsize=512)
def _limit(groups: int, freedom: float) -> float:
    return float(stats.f.isf(_CHANCE, groups, freedom))
