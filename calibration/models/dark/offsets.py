"""The levels of groups of darks: what all pixels of a group have in common beside their dark and their bias.

The level of a camera wanders from session to session, and a bias that was taken at another time takes off another
level. The level of each group is fitted together with the darks of all pixels of a sample: a faint pixel shows it as
it is, a bright one hardly, and what the pixels' own rates and shapes could do in its place is taken out by elimination
(Schur complement), so that the errors say what the frames cannot separate: with one exposure at each temperature a
level from a dark that all pixels have.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.models.dark.fit import DarkFit, loosened
from calibration.models.dark.model import DarkBit, Law, signal_of
from calibration.models.dark.relations import DarkSample, learned
from calibration.models.dark.ties import F64, Levels, Said, before_of, levels_of

_ROUNDS = 8
_CLOSE = 0.1
"""Of its error, what a level may still move when the fit ends."""

_LEAST = 0.01
"""ADU that do not count."""

_MOST = 3.0
"""Mean squares of the levels that their variance is at most."""

_FEW = 0.1
"""Part of the pixels that may be left out because the model does not fit them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Settled:
    """A law that was learned together with the levels of the groups, and the sample less these levels."""

    law: Law
    sample: DarkSample

    @property
    def levels(self) -> Levels:
        """The levels."""
        return self.sample.levels


def settled(sample: DarkSample, law: Law, before_adu2: F64 | None = None, *, near: Levels | None = None) -> Settled:
    """Learn a law and the levels of the groups together.

    Parameters
    ----------
    sample : DarkSample
        With the levels in it.
    law : Law
        Of which nothing has been learned.
    before_adu2 : ndarray, shape (K, K), optional
        The covariance of the levels before the groups are looked at; by default what they show of it.
    near : Levels, optional
        Where the search begins.
    """
    levels = near or Levels.none(len(sample.taken.frames))
    for _ in range(_ROUNDS):
        less = sample.less(levels)
        known = learned(less, law)
        fit = less.fitted(known, less.whole)
        if not _usable(fit).any():
            break
        said, most_adu2 = _said(less, known, fit, levels.value_adu)
        before = before_of(sample.ties, said, most_adu2) if before_adu2 is None else before_adu2
        found = levels_of(before, said)
        far = np.abs(found.value_adu - levels.value_adu) > _CLOSE * found.sigma_adu + _LEAST
        levels = found
        if not far.any():
            break
    less = sample.less(levels)
    return Settled(law=learned(less, law), sample=less)


def settled_alike(sample: DarkSample, laws: Sequence[Law]) -> list[DarkSample]:
    """Return the sample less the levels that go with each law; none may wander more than any of them needs.

    A law that is wrong would make levels of what it does not fit.
    """
    alone = list[Settled]()
    for law in laws:
        alone.append(settled(sample, law))
        if np.array_equal(alone[-1].levels.before_adu2, sample.ties.known_adu2):
            break
    least = min((each.levels.before_adu2 for each in alone), key=np.trace)
    if not least.any():
        return [sample] * len(laws)
    near = [each.levels for each in alone] + [alone[-1].levels] * (len(laws) - len(alone))
    return [settled(sample, law, least, near=levels).sample for law, levels in zip(laws, near, strict=True)]


def _said(sample: DarkSample, law: Law, fit: DarkFit, levels_adu: F64) -> tuple[Said, float]:
    """Return what the groups say of their levels, at the parameters of a fit and these levels.

    With the largest variance that can be believed there: far from the solution what they say is wrong where they say
    little.
    """
    part, left = _normal(sample, law, fit)
    k = len(levels_adu)
    rest = np.linalg.pinv(part.precision[k:, k:], hermitian=True)
    across = part.precision[:k, k:] @ rest
    precision = part.precision[:k, :k] - across @ part.precision[k:, :k]
    pull = part.pull[:k] - across @ part.pull[k:]
    said = _without(Said(precision=precision, pull=pull), _usual(sample, law, fit))
    said = Said(precision=said.precision, pull=said.pull + said.precision @ levels_adu)
    return said, _MOST * float(np.mean((levels_adu + left) ** 2))


def _usual(sample: DarkSample, law: Law, fit: DarkFit) -> F64:
    """Return what each parameter of a usual pixel does to the groups, shape (K, p), and a constant where it is free.

    A dark that all pixels have in common looks like levels. Only how exactly pixels follow the law could separate the
    two, and no law of a sensor is as exact as that.
    """
    theta, taken = np.median(fit.parameters.theta[:, _usable(fit)], axis=1)[:, None], sample.taken
    rows = [
        [float(slope[0]) for slope in signal_of(law, theta, float(c), float(s))[1]]
        for c, s in zip(taken.temperature_c, taken.exposure_s, strict=True)
    ]
    free = sample.pedestal.design if not sample.pedestal.known else np.zeros((len(rows), 0))
    return np.concatenate([np.array(rows), free], axis=1)


def _without(said: Said, away: F64) -> Said:
    """Return what groups say of their levels where they say nothing of sums of columns, shape (K, m)."""
    scaled = away / np.maximum(np.sqrt(np.einsum("km,kl,lm->m", away, said.precision, away)), 1e-300)
    across = said.precision @ scaled
    rest = across @ np.linalg.pinv(scaled.T @ across, hermitian=True)
    precision = said.precision - rest @ across.T
    return Said(precision=(precision + precision.T) / 2, pull=said.pull - rest @ (scaled.T @ said.pull))


def _normal(sample: DarkSample, law: Law, fit: DarkFit) -> tuple[Said, F64]:
    """Return the normal equations of the levels and of the coefficients of the relation, without those of pixels.

    With what the fit leaves in each group, shape (K,), in ADU.
    """
    at = _usable(fit)
    factor, theta = fit.factor[at], fit.parameters.theta[:, at]
    k, q, n = len(sample.taken.frames), sample.pedestal.design.shape[1], int(at.sum())
    rows, weights, rests = _measured(sample, law, theta, at)
    weights /= factor
    normal = np.einsum("knp,kn,knr->npr", rows, weights, rows)
    read = sample.model.noise.read_adu2 * factor
    normal[:, law.size :, law.size :] += sample.pedestal.inverse / read[:, None, None]
    right = np.einsum("knp,kn,kn->np", rows, weights, rests)
    across = np.moveaxis(rows * weights[:, :, None], 0, 2)  # (n, p, K)
    own, own_right = np.diag(weights.sum(axis=1)), (weights * rests).sum(axis=1)
    shape = _expected(law, theta)
    if shape is not None:
        row = np.zeros((n, law.size + q))
        row[:, 0], row[:, 1] = shape.slope, -1.0
        normal += shape.weight[:, None, None] * row[:, :, None] * row[:, None, :]
        right += (shape.weight * -shape.off)[:, None] * row
        heavy = shape.weight[:, None] * shape.powers
        across = np.concatenate([across, row[:, :, None] * heavy[:, None, :]], axis=2)
        more = heavy.T @ shape.powers
        own = np.block([[own, np.zeros((k, len(more)))], [np.zeros((len(more), k)), more]])
        own_right = np.append(own_right, -heavy.T @ shape.off)
    left = (weights * rests).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-300)
    return _eliminated(normal, right, across, Said(precision=own, pull=own_right)), left


def _eliminated(normal: F64, right: F64, across: F64, own: Said) -> Said:
    """Return the normal equations of what is common without the parameters of n pixels (Schur complement)."""
    scale = 1 / np.sqrt(np.maximum(np.einsum("npp->np", normal), 1e-300))
    scaled = normal * scale[:, :, None] * scale[:, None, :]
    sides = np.concatenate([across, right[:, :, None]], axis=2) * scale[:, :, None]
    solved = np.linalg.solve(scaled + 1e-12 * np.eye(scaled.shape[1]), sides)
    taken = np.einsum("npi,npj->ij", sides[:, :, :-1], solved, optimize=True)
    return Said(precision=own.precision - taken[:, :-1], pull=own.pull - taken[:, -1])


def _usable(fit: DarkFit) -> NDArray[np.bool_]:
    """Return the pixels that a model was fitted to, without those that it does not fit, if they are few."""
    known = np.isfinite(fit.parameters.theta).all(axis=0) & np.isfinite(fit.factor)
    odd = known & ((fit.mask & (DarkBit.MISFIT | DarkBit.OUTLIER)) != 0)
    return known & ~odd if odd.sum() < _FEW * known.sum() else known


def _measured(sample: DarkSample, law: Law, theta: F64, at: NDArray[np.bool_]) -> tuple[F64, F64, F64]:
    """Return derivatives, shape (K, n, p + q), weights and what the fit leaves, shape (K, n), for the noise model."""
    taken, noise, design = sample.taken, sample.model.noise, sample.pedestal.design
    mean, count = sample.whole.mean[:, at], sample.whole.count[:, at].astype(np.float64)
    k, n = mean.shape
    rows = np.zeros((k, n, law.size + design.shape[1]))
    weights, rests = np.zeros((k, n)), np.zeros((k, n))
    for number in range(k):
        signal, slopes = signal_of(law, theta, float(taken.temperature_c[number]), float(taken.exposure_s[number]))
        rows[number] = np.stack([*slopes, *(np.full(n, each) for each in design[number])], axis=1)
        with np.errstate(invalid="ignore"):
            full = mean[number] + 5 * np.sqrt(noise.read_adu2 + noise.per_adu * np.maximum(mean[number], 0.0))
            good = (count[number] > 0) & np.isfinite(mean[number]) & (full < sample.model.limit_adu)
        weights[number] = np.where(good, count[number], 0.0) / (
            noise.read_adu2 + noise.per_adu * np.maximum(signal, 0.0)
        )
        rests[number] = np.where(good, np.nan_to_num(mean[number]) - signal, 0.0)
    return rows, weights, rests - _pedestals(sample, rows[:, :, law.size :], weights, rests)


def _pedestals(sample: DarkSample, design: F64, weights: F64, rests: F64) -> F64:
    """Return the error of the bias that what the dark leaves shows in each group, shape (K, n)."""
    if design.shape[2] == 0:
        return np.zeros(rests.shape)
    normal = np.einsum("knp,kn,knr->npr", design, weights, design)
    normal += sample.pedestal.inverse / sample.model.noise.read_adu2 + 1e-12 * np.eye(design.shape[2])
    found = np.linalg.solve(normal, np.einsum("knp,kn,kn->np", design, weights, rests)[:, :, None])[:, :, 0]
    return np.asarray(np.einsum("knp,np->kn", design, found))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Shape:
    """How far shapes are off from those that their rates let expect, and the derivatives of that."""

    off: F64
    slope: F64
    weight: F64
    powers: F64


def _expected(law: Law, theta: F64) -> _Shape | None:
    relation = law.relation
    if not law.family.has_shape or relation is None or not (relation.scatter > 0 or any(relation.covariance)):
        return None
    _, c1, c2 = relation.coefficients
    off = relation.at(theta[0]) - theta[1]
    number = 1 + (c1 != 0) + (c2 != 0)
    return _Shape(
        off=off,
        slope=relation.slope(theta[0]),
        weight=loosened(law, theta[0], off),
        powers=relation.powers(theta[0])[:number].T,
    )
