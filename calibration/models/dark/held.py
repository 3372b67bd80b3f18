"""How a family of darks predicts a temperature from the others, at every level of the dark, and how well it must."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.models.dark.fit import DarkFit
from calibration.models.dark.model import Family, Law, by_relation, predict, rates_of
from calibration.models.dark.relations import DarkSample, bins_of, learned
from calibration.models.dark.ties import Left, level_left
from calibration.models.linear import excess_of_squares
from calibration.models.means import Planes

SEEN = 3.0
"""Errors of its own that the signal of a bin is above 0 where its error counts."""

_NORMAL = 0.4549
"""Median of the squares of normal values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DarkHeld:
    """How a family predicts a temperature from the others, at a level of the dark.

    Attributes
    ----------
    family : Family
    glow : bool
        Whether the family has a glow too.
    temperature_c : float
        The one left out.
    bin, pixels : int
        Number of the bin, from faint to bright, and its pixels.
    level_adu : float
        Their mean signal in the longest exposure in which they are not saturated.
    error, sigma : float
        Predicted over measured sum less 1, and its 1σ error: by the noise of the measured ones, and by that of the
        prediction, also by what its pixels have in common.
    noise : float
        The part of sigma that is the noise of what was measured, and the error of levels that wander.
    misfit : float
        Median squared error of a pixel over that by the noise of what was measured.
    inside : bool
        Whether the temperatures that were used lie on both sides.
    """

    family: Family
    glow: bool
    temperature_c: float
    bin: int
    pixels: int
    level_adu: float
    error: float
    sigma: float
    noise: float
    misfit: float
    inside: bool

    @property
    def counts(self) -> bool:
        """Whether the frames show a dark signal in this bin."""
        return bool(abs(self.noise) * SEEN <= 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Bin:
    """The pixels of a bin: measured signal, the predicted one, and the variances of both.

    `common` is the variance of the predicted sum by the error of what all pixels have in common, `levels` the variance
    of a pixel of which the root is the same for all: by the levels of groups.
    """

    measured: Planes
    predicted: Planes
    noise: Planes
    own: Planes
    levels: Planes
    common: float


def held_out(law: Law, sample: DarkSample) -> tuple[DarkHeld, ...]:
    """Predict each temperature from the others, both ways round of the halves.

    Parameters
    ----------
    law : Law
        What its relation is, is learned anew from the other temperatures.
    sample : DarkSample
    """
    labels = np.unique(sample.taken.label_c)
    rows = list[DarkHeld]()
    for label in labels:
        inside = bool(labels[0] < label < labels[-1])
        parts = [_predicted(law, each, float(label)) for each in (sample, sample.swapped()) if _has_both(each)]
        if not parts:
            parts = [_predicted(law, replace(sample, halves=(sample.whole, sample.whole)), float(label))]
        for number in range(max(len(part) for part in parts)):
            some = _joined([part[number] for part in parts if number < len(part)])
            if some.measured.size:
                rows.append(_row(law, some, float(label), number, inside=inside))
    return tuple(rows)


def _has_both(sample: DarkSample) -> bool:
    return all((half.count > 0).any() for half in sample.halves)


def _joined(bins: Sequence[_Bin]) -> _Bin:
    names = ("measured", "predicted", "noise", "own", "levels")
    values = {name: np.concatenate([getattr(each, name) for each in bins]) for name in names}
    return _Bin(**values, common=sum(each.common for each in bins))


def _predicted(law: Law, sample: DarkSample, label: float) -> list[_Bin]:
    """Return the bins of a temperature left out, in the longest exposure in which a pixel is not saturated."""
    others = sample.without(label)
    fitted = learned(others, law)
    model = replace(sample.model, law=fitted)
    chosen = sample.fitted(fitted, sample.halves[0])
    own = others.fitted(fitted, others.halves[1])
    measured, predicted, noise, variance, levels = np.full((5, *own.factor.shape), np.nan)
    bare = replace(own.parameters, covariance=own.parameters.covariance - own.by_levels)
    by_levels, wander = replace(own.parameters, covariance=own.by_levels), sample.levels.wander_adu
    shared = np.zeros((3, *own.factor.shape))
    groups, taken, pedestal, excess = sample.halves[1], sample.taken, sample.pedestal, excess_of(own)
    for k in np.argsort(taken.exposure_s):
        if taken.label_c[k] != label:
            continue
        mean, count = groups.mean[k] + sample.levels.value_adu[k], groups.count[k].astype(np.float64)
        celsius, seconds = float(taken.temperature_c[k]), float(taken.exposure_s[k])
        found = predict(model, bare, celsius, seconds)
        by_signal = model.noise.read_adu2 + model.noise.per_adu * np.maximum(found.mean, 0.0)
        with np.errstate(invalid="ignore"):
            good = (count > 0) & np.isfinite(mean) & (found.mean + 5 * np.sqrt(by_signal) < model.limit_adu)
            good &= mean + 5 * np.sqrt(by_signal) < model.limit_adu
        at = np.flatnonzero(good)
        of_bias = model.noise.read_adu2 * pedestal.variance(int(k))
        signal = found.mean[at].astype(np.float64)
        noise[at] = (by_signal / np.maximum(count, 1))[at] + of_bias
        level = level_left(Left(rest=mean[at] - signal, signal=signal, variance=noise[at]), float(wander[k]))
        measured[at], predicted[at] = mean[at] - level.value_adu, signal
        shift = predict(model, by_levels, celsius, seconds).sigma[at].astype(np.float64)
        levels[at] = shift**2 + level.sigma_adu**2
        variance[at] = excess * found.sigma[at].astype(np.float64) ** 2
        shared[:, at] = by_relation(fitted, bare, celsius, seconds)[:, at]
    known = np.isfinite(np.stack([measured, predicted, noise, variance, levels])).all(axis=0)
    bins = [members[known[members]] for members in bins_of(rates_of(fitted, chosen.parameters.theta))]
    errors = np.zeros((3, 3)) if fitted.relation is None else fitted.relation.matrix
    return [
        _Bin(
            measured=measured[members],
            predicted=predicted[members],
            noise=noise[members],
            levels=levels[members],
            own=variance[members] - np.einsum("in,ij,jn->n", shared[:, members], errors, shared[:, members]),
            common=float(shared[:, members].sum(axis=1) @ errors @ shared[:, members].sum(axis=1)),
        )
        for members in bins
    ]


def _row(law: Law, some: _Bin, label: float, number: int, *, inside: bool) -> DarkHeld:
    off = (some.measured - some.predicted) / np.sqrt(some.noise + some.levels)
    usual = np.abs(off - np.median(off)) <= 8 * 1.4826 * np.median(np.abs(off - np.median(off))) + 1e-9
    total, noise = float(some.measured[usual].sum()), _noise_of(some, usual)
    every = max(noise + float(some.own[usual].sum()) + some.common, noise)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = float(np.divide(some.predicted[usual].sum() - total, total))
    return DarkHeld(
        family=law.family,
        glow=law.glow_s is not None,
        temperature_c=label,
        bin=number,
        pixels=int(some.measured.size),
        level_adu=float(some.measured.mean()),
        error=error,
        sigma=float(np.sqrt(every)) / total if total > 0 else float("inf"),
        noise=float(np.sqrt(noise)) / total if total > 0 else float("inf"),
        misfit=float(np.median(off**2)) / _NORMAL,
        inside=inside,
    )


def _noise_of(some: _Bin, usual: NDArray[np.bool_]) -> float:
    """Return the variance of the measured sum of some pixels."""
    return float(some.noise[usual].sum()) + float(np.sqrt(some.levels[usual]).sum()) ** 2


def excess_of(fit: DarkFit) -> float:
    """Return how much more the groups scatter about the model than noise explains, at least 1."""
    return excess_of_squares(fit.chi_square, fit.over, fit.freedom - fit.over)
