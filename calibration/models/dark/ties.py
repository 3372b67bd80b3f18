"""How far the levels of groups of frames wander: variance components, as the groups themselves show them.

The level of a group, what all its pixels have in common beside their dark and bias, is o. Before the groups are looked
at it is normal with the covariance ``known + sum_j v_j D_j``, where D_j is 1 for groups that share something, as a
session or the biases that were taken off. What the groups say is a normal likelihood with the precision matrix M and
``pull = M @ o_hat``; M may be singular, as where one exposure of each temperature cannot be separated from a dark. The
variances v are those of greatest restricted likelihood (Patterson and Thompson 1971; Harville, J. Am. Stat. Assoc. 72,
320, 1977), found by his fixed-point iteration, which keeps them positive.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

_ROUNDS = 300
_CLOSE = 1e-3
_NOTHING = 1e-9
"""ADU² that are no wandering."""

_SURE = 4.0
"""Natural logarithm of the likelihood's ratio from which on levels wander, and then share something: a chance of 1 in
400 for one variance more."""


_FEWEST = 3.0
"""Degrees of freedom of levels at least; with 2 errors have no variance."""


_FAR, _OWN, _PART = 8.0, 0.05, 0.2
"""Robust standard deviations of pixels that take part in a level; parts of a signal by which the prediction of one
pixel, and of all pixels, may be off."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ties:
    """What is known of the levels of K groups before the groups are looked at.

    Attributes
    ----------
    known_adu2 : ndarray, shape (K, K)
        Covariance of the levels as it is known from elsewhere, in ADU².
    shared : tuple of ndarrays of int, shape (K,)
        Of each thing that groups may share, its number for each group.
    """

    known_adu2: F64
    shared: tuple[NDArray[np.intp], ...]

    @classmethod
    def among(cls, *things: NDArray[Any]) -> "Ties":
        """Return those of groups that may have levels of their own, and share some things, each of shape (K,)."""
        k = len(things[0])
        shared = (np.unique(each, return_inverse=True)[1] for each in things)
        return cls(known_adu2=np.zeros((k, k)), shared=(np.arange(k), *shared))

    def part(self, at: NDArray[np.bool_]) -> "Ties":
        """Return those of some of the groups."""
        return Ties(known_adu2=self.known_adu2[np.ix_(at, at)], shared=tuple(each[at] for each in self.shared))

    @property
    def matrices(self) -> list[F64]:
        """Return D of each thing that is shared in a way of its own."""
        found: list[F64] = []
        for each in self.shared:
            matrix = (each[:, None] == each).astype(np.float64)
            if not any(np.array_equal(matrix, other) for other in found):
                found.append(matrix)
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Said:
    """What groups say of their levels: the precision matrix, shape (K, K) in 1/ADU², and ``M @ o_hat``, shape (K,)."""

    precision: F64
    pull: F64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Levels:
    """The levels of K groups.

    Attributes
    ----------
    value_adu : ndarray, shape (K,)
        The best values, 0 where nothing shows that levels wander.
    covariance_adu2 : ndarray, shape (K, K)
        Of their errors.
    before_adu2 : ndarray, shape (K, K)
        Their covariance before the groups were looked at: how far levels wander.
    """

    value_adu: F64
    covariance_adu2: F64
    before_adu2: F64

    @classmethod
    def none(cls, k: int) -> "Levels":
        """Return those of k groups whose levels are those of their bias."""
        return cls(value_adu=np.zeros(k), covariance_adu2=np.zeros((k, k)), before_adu2=np.zeros((k, k)))

    @property
    def sigma_adu(self) -> F64:
        """The 1σ errors, shape (K,)."""
        return np.asarray(np.sqrt(np.maximum(np.diag(self.covariance_adu2), 0.0)))

    @property
    def wander_adu(self) -> F64:
        """How far each level is expected to lie from 0, 1σ, shape (K,)."""
        return np.asarray(np.sqrt(np.diag(self.before_adu2)))

    def part(self, at: NDArray[np.bool_ | np.intp]) -> "Levels":
        """Return those of some of the groups, which may be the same ones twice."""
        both = np.ix_(at, at)
        return replace(
            self,
            value_adu=self.value_adu[at],
            covariance_adu2=self.covariance_adu2[both],
            before_adu2=self.before_adu2[both],
        )

    def root(self, least_adu: float) -> F64:
        """Return what the errors have in common, shape (K, r), ``root @ root.T`` the covariance but for little.

        Parameters
        ----------
        least_adu : float
            Errors below it do not count.
        """
        values, vectors = np.linalg.eigh(self.covariance_adu2)
        count = values > max(least_adu**2, 1e-5 * float(values.max(initial=0.0)))
        return np.asarray(vectors[:, count] * np.sqrt(values[count]))


def before_of(ties: Ties, said: Said, most_adu2: float = np.inf) -> F64:
    """Return the covariance of levels before the groups were looked at, as ties and groups show it.

    What is known from elsewhere alone, unless the groups surely show that their levels wander more; `most_adu2` is the
    largest variance of a level.
    """
    rest, used, best = ties.matrices, list[F64](), ties.known_adu2
    while rest:
        tried = [_likeliest(ties, [*used, each], said, most_adu2) for each in (rest if used else rest[:1])]
        gains = [_evidence(each, said) - _evidence(best, said) for each in tried]
        number = int(np.argmax(gains))
        if gains[number] < _SURE:
            break
        best, used = tried[number], [*used, rest.pop(number)]
    return best


def _likeliest(ties: Ties, matrices: list[F64], said: Said, most_adu2: float) -> F64:
    """Return the covariance of levels with the variances of greatest restricted likelihood of some matrices."""
    start = max(float(np.square(_solved(said)).mean()), _NOTHING)
    variances = np.full(len(matrices), start / len(matrices))
    for _ in range(_ROUNDS):
        before = _sum(ties, matrices, variances)
        inner = np.linalg.inv(np.eye(len(before)) + before @ said.precision)
        rest = said.pull - said.precision @ (inner @ (before @ said.pull))
        outer = said.precision @ inner
        ratio = np.array([(rest @ each @ rest) / max(float((outer * each).sum()), 1e-300) for each in matrices])
        after = np.maximum(variances * np.clip(ratio, 0.05, 20.0), _NOTHING)
        after = np.maximum(after * min(1.0, most_adu2 / float(after.sum())), _NOTHING)
        done = np.abs(after - variances) <= _CLOSE * variances + _NOTHING
        variances = after
        if done.all():
            break
    return _sum(ties, matrices, np.where(variances > 2 * _NOTHING, variances, 0.0))


def levels_of(before_adu2: F64, said: Said) -> Levels:
    """Return the levels of groups from their covariance beforehand and what they say.

    Their errors are widened, as those of Student's distribution, for the few levels that show how far they wander.
    """
    inner = np.linalg.inv(np.eye(len(before_adu2)) + before_adu2 @ said.precision)
    covariance = inner @ before_adu2
    freedom = max(float(len(inner) - np.trace(inner)), _FEWEST)
    return Levels(
        value_adu=covariance @ said.pull,
        covariance_adu2=(covariance + covariance.T) / 2 * freedom / (freedom - 2),
        before_adu2=before_adu2,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Left:
    """What a prediction leaves of the pixels of a group, the predicted signal, and the variance of what is left.

    Each of shape (n,), in ADU and ADU².
    """

    rest: F64
    signal: F64
    variance: F64


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The level of one group and its 1σ error, in ADU."""

    value_adu: float
    sigma_adu: float


def level_left(left: Left, wander_adu: float) -> Level:
    """Return the level of a group whose dark was predicted, from what is left.

    Parameters
    ----------
    left : Left
    wander_adu : float
        How far levels wander, 1σ.
    """
    if not wander_adu > 0:
        return Level(value_adu=0.0, sigma_adu=0.0)
    precision, pull = said_left(left)
    variance = 1 / (precision + wander_adu**-2)
    return Level(value_adu=variance * pull, sigma_adu=variance**0.5)


def said_left(left: Left) -> tuple[float, float]:
    """Return what the pixels of a group say of its level: the precision in 1/ADU², and that times the level.

    The level is what is left where no dark is. A part of the signal may be left too, and is no level; the faintest
    pixels show it best. Pixels that are far off take no part.
    """
    if left.rest.size == 0:
        return 0.0, 0.0
    off = left.rest / np.sqrt(left.variance)
    away = np.abs(off - np.median(off))
    at = away <= _FAR * 1.4826 * np.median(away) + 1e-9
    rest, signal = left.rest[at], left.signal[at]
    weight = 1 / (left.variance[at] + (_OWN * signal) ** 2)
    part = (weight @ signal) / (weight @ signal**2 + _PART**-2)
    return float(weight.sum() - part * (weight @ signal)), float(weight @ rest - part * (weight @ (signal * rest)))


def _sum(ties: Ties, matrices: list[F64], variances: F64) -> F64:
    return ties.known_adu2 + np.tensordot(variances, np.stack(matrices), axes=1)


def _solved(said: Said) -> F64:
    """Return the levels that the groups say, without what they do not show."""
    return np.asarray(np.linalg.pinv(said.precision, rcond=1e-6, hermitian=True) @ said.pull)


def _evidence(before: F64, said: Said) -> float:
    """Return the logarithm of the likelihood of what the groups say, but for a constant."""
    whole = np.eye(len(before)) + before @ said.precision
    mean = np.linalg.solve(whole, before @ said.pull)
    return float(0.5 * said.pull @ mean - 0.5 * np.linalg.slogdet(whole)[1])
