"""Which family describes the bias: judged on temperatures that it has not seen.

Each temperature is left out in turn and predicted from the others, on a sample of pixels. The linear family stands
unless another one predicts better *and* the scatter of the frames shows that its third parameter is real. Over the
pixels medians are taken, so that a few hot pixels, whose dark charge is anything but linear, do not decide for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from calibration.models.bias import Basis, Family
from calibration.models.left_out import leave_out
from calibration.models.levels import Levels, fit_levels, with_offsets
from calibration.models.linear import excess_scatter, fit_groups
from calibration.models.means import Groups

DOUBLINGS_C = (4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0)
"""Degrees in which dark charge may double."""

_REAL = 0.005
"""Chance of an added parameter to seem real where there is none, by the pixels and by the levels."""

_RMS = 1.4826
"""Of normal values, their rms over the median of their absolute values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdout:
    """How a family predicts a temperature from the others.

    Attributes
    ----------
    family : Family
    temperature_c : float
        The one left out.
    frames : int
        Frames of that temperature.
    pattern_adu : float
        Robust rms over the pixels of measured minus predicted, without what all have in common.
    expected_adu : float
        What the noise of the frames lets expect of it.
    level_adu : float
        Measured minus predicted level; NaN where the other temperatures, or the offsets of sessions that they show,
        determine none.
    inside : bool
        Whether the temperatures that were used lie on both sides.
    """

    family: Family
    temperature_c: float
    frames: int
    pattern_adu: float
    expected_adu: float
    level_adu: float
    inside: bool

    @property
    def error_adu(self) -> float:
        """Pattern and level together."""
        return float(np.hypot(self.pattern_adu, self.level_adu))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The family that was chosen, the errors of all by temperature, and in words why."""

    basis: Basis
    holdout: tuple[Holdout, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """What a family is chosen by.

    Attributes
    ----------
    temperature_c, frames : ndarray, shape (K,)
        Mean temperature and number of frames of each group.
    label_c : ndarray, shape (K,)
        The same for all groups of one temperature.
    groups : Groups
        Their means on a sample of pixels, shape (K, pixels), each frame less its level.
    levels : Levels
    """

    temperature_c: NDArray[np.float64]
    frames: NDArray[np.float64]
    label_c: NDArray[np.float64]
    groups: Groups
    levels: Levels


def choose(sample: Sample) -> Choice:
    """Choose the family of a model by the errors of temperatures left out."""
    labels = np.unique(sample.label_c)
    reference = float(np.average(sample.temperature_c, weights=sample.frames))
    if len(labels) == 1:
        basis = Basis(family=Family.CONSTANT, reference_c=reference)
        return Choice(basis=basis, holdout=(), reason="the frames have one temperature: nothing shows a slope")
    linear = Basis(family=Family.LINEAR, reference_c=reference)
    if len(labels) == 2:
        reason = "the frames have two temperatures: a third one would show whether their slope is that of a line"
        return Choice(basis=linear, holdout=(), reason=reason)
    table = held_out(linear, sample)
    if len(labels) == 3:
        return Choice(basis=linear, holdout=table, reason="three temperatures show no more than a slope")
    quadratic = Basis(family=Family.QUADRATIC, reference_c=reference)
    others = [(quadratic, held_out(quadratic, sample)), _exponential(reference, sample)]
    better = [
        (basis, rows)
        for basis, rows in others
        if score(rows, table) < score(table, rows) and _is_real(basis, linear, sample)
    ]
    basis, _ = min(better, key=lambda each: score(each[1], table), default=(linear, table))
    rows = (*table, *(row for _, rows in others for row in rows))
    if basis is linear:
        reason = "no other family predicts temperatures that were left out better, beyond the noise"
    else:
        reason = f"the {basis.family} family predicts temperatures that were left out best"
    return Choice(basis=basis, holdout=rows, reason=reason)


def score(rows: Sequence[Holdout], beside: Sequence[Holdout] = ()) -> float:
    """Return the mean squared error over the temperatures within the range, infinite where one is not predicted.

    Levels count where both families that are compared predict one.

    The coldest and the warmest one are predicted from one side: such predictions are flagged when they are asked for,
    and their errors would hide a curvature that all predictions within the range have to follow.
    """
    unknown = {row.temperature_c for row in (*rows, *beside) if not np.isfinite(row.level_adu)}
    inside = [row for row in rows if row.inside]
    errors = np.array([r.pattern_adu**2 + (0.0 if r.temperature_c in unknown else r.level_adu**2) for r in inside])
    return float(errors.mean()) if np.isfinite(errors).all() else float("inf")


def _exponential(reference_c: float, sample: Sample) -> tuple[Basis, tuple[Holdout, ...]]:
    """Return the exponential family of the doubling that predicts best."""
    bases = [Basis(family=Family.EXPONENTIAL, reference_c=reference_c, doubling_c=each) for each in DOUBLINGS_C]
    return min(((basis, held_out(basis, sample)) for basis in bases), key=lambda each: score(each[1]))


def held_out(basis: Basis, sample: Sample) -> tuple[Holdout, ...]:
    """Predict each temperature from the others, which show the offsets of the sessions too."""
    fit = fit_groups(basis.design(sample.temperature_c), sample.frames, sample.groups)
    known = fit.variance[np.isfinite(fit.variance)]
    noise = float(np.sqrt(np.median(known))) if known.size else float("nan")
    labels = np.unique(sample.label_c)
    rows = []
    for label in labels:
        pattern, expected = _pattern_error(basis, sample, label)
        held = Holdout(
            family=basis.family,
            temperature_c=float(label),
            frames=int(sample.frames[sample.label_c == label].sum()),
            pattern_adu=pattern,
            expected_adu=noise * expected,
            level_adu=_level_error(basis, sample.levels, label),
            inside=bool(labels[0] < label < labels[-1]),
        )
        rows.append(held)
    return tuple(rows)


def _pattern_error(basis: Basis, sample: Sample, label: float) -> tuple[float, float]:
    """Return the robust rms of measured minus predicted means of a temperature, and that of a noise of 1 ADU."""
    block = sample.label_c == label
    left = leave_out(basis.design(sample.temperature_c), sample.frames, sample.groups.mean, block)
    weights = sample.frames[block] / sample.frames[block].sum()
    error = np.abs(weights @ left.errors)
    error = error[np.isfinite(error)]
    expected = float(np.sqrt(weights @ left.covariance @ weights))
    return (_RMS * float(np.median(error)) if error.size else float("nan")), expected


def _level_error(basis: Basis, levels: Levels, label: float) -> float:
    """Return measured minus predicted level of a temperature, NaN where the others show no offset of its sessions."""
    block, design = levels.label_c == label, basis.design(levels.temperature_c)
    known, full = np.ones_like(block), with_offsets(design, levels.session)
    if np.linalg.matrix_rank(full) < full.shape[1]:
        full = design  # no frames show offsets apart from the temperature
    else:
        known = np.isin(levels.session, levels.session[~block])
        full = with_offsets(design[known], np.unique(levels.session[known], return_inverse=True)[1])
    if not (block & known).any():
        return float("nan")
    left = leave_out(full, levels.frames[known], levels.level_adu[known], block[known])
    return float(np.average(left.errors, weights=levels.frames[block & known]))


def _is_real(basis: Basis, linear: Basis, sample: Sample) -> bool:
    """Return whether the frames show the third parameter: by more than half of the pixels, or by the levels."""
    return _real_in_pixels(basis, linear, sample) or _real_in_levels(basis, sample.levels)


def _real_in_pixels(basis: Basis, linear: Basis, sample: Sample) -> bool:
    """Return whether more pixels than half gain more by the parameter than half of them would by chance."""
    fits = [fit_groups(each.design(sample.temperature_c), sample.frames, sample.groups) for each in (linear, basis)]
    freedom = fits[1].freedom
    rests = [each.variance * each.freedom - sample.groups.squares for each in fits]
    known = (freedom > 0) & (fits[1].variance > 0) & ~fits[0].single & ~fits[1].single
    if not known.any():
        return False
    gain = (rests[0] - rests[1])[known] / fits[1].variance[known]
    by_chance = stats.f.median(1, freedom[known])
    return bool(stats.binomtest(int((gain > by_chance).sum()), gain.size, alternative="greater").pvalue < _REAL)


def _real_in_levels(basis: Basis, levels: Levels) -> bool:
    fit = fit_levels(basis.design(levels.temperature_c), levels)
    error = np.sqrt(fit.covariance[2][2])
    if fit.freedom <= 0 or not error > 0 or (not fit.separable):
        return False
    return bool(2 * stats.t.sf(abs(fit.theta[2]) / error, fit.freedom) < _REAL)


def excess_of(basis: Basis, sample: Sample) -> float:
    """Return how much more the means of the groups scatter about the model than noise explains, at least 1."""
    return excess_scatter(basis.design(sample.temperature_c), sample.frames, sample.groups)
