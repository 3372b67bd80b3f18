"""Which family describes the dark: judged on temperatures that it has not seen, at every level of the dark.

Each temperature is left out in turn; what the pixels have in common and the pixels themselves are fitted to the others.
Bins of the level are chosen from one half of the frames, the model is fitted to the other half, and judged by the other
half of the temperature that was left out: noise that put a pixel into a bin has no part in its error.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from calibration.models.dark.fit import DarkFit, Pedestal, Taken
from calibration.models.dark.held import DarkHeld, excess_of, held_out
from calibration.models.dark.model import Common, DarkModel, Family, Law, Noise, rates_of
from calibration.models.dark.noise import hot_limit
from calibration.models.dark.offsets import settled, settled_alike
from calibration.models.dark.relations import DarkSample, exponent_of, halved, learned, merged, usual_law
from calibration.models.dark.ties import Levels, Ties
from calibration.models.means import GroupMean, stacked

PREFERENCE = (Family.SHRUNK, Family.MEYER_NELDEL, Family.ARRHENIUS, Family.EXPONENTIAL, Family.TWO_COMPONENT)
"""The families that are compared; of those that predict equally well the first is taken."""

_PIXELS = 12_000
_BRIGHTEST = 500
"""Of them, what is taken of the brightest pixels of a sample."""

_SURE = 2.5
"""Standard errors by which another family than the first must predict better."""

_BY_NOISE = 4.0
"""The squared error of the sum of a bin, in its own variances, that noise and the errors of the fit make easily."""

_CHANCE = 0.01
"""Of a pixel without glow to seem to have one."""

_GLOWS, _SHORTEST = 6, 0.01
"""Time constants of the glow that are tried, from the shortest exposure to the longest one: how many, and the shortest
in longest exposures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DarkChoice:
    """A model but for its pixels, the errors of all families, and in words why.

    Attributes
    ----------
    model : DarkModel
    levels : Levels
        Of the groups, beside their bias and their dark; `DarkSample.less` takes them off.
    holdout : tuple of DarkHeld
    exponent, exponent_error : float
        γ of the exposure that the sample shows, a diagnostic: 1 where dark is proportional to time; NaN where the
        frames have one exposure.
    reason : str
    """

    model: DarkModel
    levels: Levels
    holdout: tuple[DarkHeld, ...]
    exponent: float
    exponent_error: float
    reason: str


def sample_from(
    taken: Taken,
    pedestal: Pedestal,
    first: Sequence[GroupMean | None],
    second: Sequence[GroupMean | None],
    *,
    noise: Noise,
    limit_adu: float = np.inf,
    ties: Ties | None = None,
) -> DarkSample:
    """Return what a model is decided on.

    Parameters
    ----------
    taken : Taken
        Of K groups.
    pedestal : Pedestal
        Of the same.
    first, second : sequence of GroupMean
        Means of the even and of the odd frames of each group on a sample of pixels, less the bias, of any shape; None
        where a group has none.
    noise : Noise
    limit_adu : float
        Signal above the bias from which on a pixel is saturated.
    ties : Ties, optional
        What is known of the levels of the groups; by default each may have one of its own, and each temperature.
    """
    whole = [_flat(merged(one, other)) for one, other in zip(first, second, strict=True)]
    halves = [halved([None if each is None else _flat(each) for each in half]) for half in _evened(first, second)]
    shortest = 0.0 if pedestal.known or pedestal.design.shape[1] == 0 else float(taken.exposure_s.min())
    model = DarkModel(
        law=Law(family=Family.CONSTANT, reference_c=_reference(taken)),
        coldest_c=float(taken.label_c.min()),
        warmest_c=float(taken.label_c.max()),
        shortest_s=shortest,
        longest_s=float(taken.exposure_s.max()),
        noise=noise,
        limit_adu=limit_adu,
    )
    sample = DarkSample(
        taken=taken,
        pedestal=pedestal,
        whole=stacked(whole),
        halves=(halves[0], halves[1]),
        model=model,
        ties=Ties.among(taken.label_c) if ties is None else ties,
        levels=Levels.none(len(taken.frames)),
    )
    return _thinned(sample)


def _evened(first: Sequence[GroupMean | None], second: Sequence[GroupMean | None]) -> list[list[GroupMean | None]]:
    """Return both halves, where every other group that has frames in one only has them in the other one."""
    halves, other = (list[GroupMean | None](), list[GroupMean | None]()), False
    for pair in zip(first, second, strict=True):
        lone = None in pair
        for half, each in zip(halves, pair[::-1] if lone and other else pair, strict=True):
            half.append(each)
        other ^= lone
    return list(halves)


def _flat(mean: GroupMean) -> GroupMean:
    return GroupMean(mean=mean.mean.ravel(), squares=mean.squares.ravel(), count=mean.count.ravel())


def _reference(taken: Taken) -> float:
    """Return the temperature about which the frames show most of the dark, which doubles every 7 degrees or so."""
    weights = taken.frames * taken.exposure_s * np.exp2((taken.temperature_c - taken.temperature_c.max()) / 14)
    return float(np.average(taken.temperature_c, weights=weights if weights.any() else None))


def _thinned(sample: DarkSample) -> DarkSample:
    """Return the sample with the brightest and some of the other pixels."""
    n = sample.whole.squares.size
    if n <= _PIXELS:
        return sample
    with np.errstate(invalid="ignore"):
        brightness = np.nan_to_num(sample.whole.mean).sum(axis=0)
    order = np.argsort(brightness)
    rest = order[: n - _BRIGHTEST]
    some = rest[np.unique(np.linspace(0, rest.size - 1, _PIXELS - _BRIGHTEST).round().astype(int))]
    return sample.pixels(np.sort(np.concatenate([some, order[n - _BRIGHTEST :]])))


def choose(sample: DarkSample, families: Sequence[Family] | None = None) -> DarkChoice:
    """Choose the family of a model by the errors of temperatures left out, and learn what it holds for all pixels.

    Parameters
    ----------
    sample : DarkSample
    families : sequence of Family, optional
        The only ones that may be chosen; those of equal errors in this order.
    """
    labels, asked = np.unique(sample.taken.label_c), tuple(families or PREFERENCE)
    if len(labels) == 1:
        law = usual_law(Family.CONSTANT, sample.model.law.reference_c)
        alone = "the frames have one temperature: nothing shows how the dark depends on it"
        return _done(settled(sample, law).sample, law, (), alone)
    laws = {family: usual_law(family, sample.model.law.reference_c) for family in asked}
    samples = dict(zip(asked, settled_alike(sample, list(laws.values())), strict=True))
    tables = {family: held_out(law, samples[family]) for family, law in laws.items()}
    family, reason = _best(tables, asked, len(labels))
    law, less, rows = laws[family], samples[family], [row for table in tables.values() for row in table]
    found = _glow_of(less, law)
    if found is not None:
        glow, glowing = found
        plain, lit = settled_alike(sample, [law, glow])
        table, own = held_out(glow, lit), held_out(law, plain) if plain is not less else tables[family]
        rows += table
        wins = _better(table, own) or not _judged(own) or _glows((glow, lit), (law, plain), glowing)
        # where a family was asked for that is not right, a glow must not mend it
        if wins and (families is None or choose(sample).model.law.glow_s is not None):
            law, less, reason = glow, lit, f"{reason}; the dark is not proportional to time"
    return _done(less, law, tuple(rows), reason)


def _best(tables: dict[Family, tuple[DarkHeld, ...]], asked: Sequence[Family], labels: int) -> tuple[Family, str]:
    """Return the family that predicts best, the first of those that do so equally, and why."""
    if len(asked) == 1:
        return asked[0], "this family was asked for"
    if not any(_judged(table) for table in tables.values()):
        return asked[0], f"{labels} temperatures do not show which family is right"
    best = asked[0]
    for family in asked[1:]:
        if _better(tables[family], tables[best]):
            best = family
    reason = f"no other family predicts temperatures that were left out better than the {best} one"
    return best, reason


def _judged(table: Sequence[DarkHeld]) -> dict[tuple[float, int], float]:
    """Return what the rows that count say against a family: within the range, of bins that show a signal.

    The error of the sum of a bin is what all its pixels have in common, the misfit what each has of its own. Of large
    ones the logarithm is taken, of those that noise makes hardly anything: few bright pixels decide nothing alone.
    """
    return {
        (r.temperature_c, r.bin): float(np.log1p((r.error / r.noise) ** 2 / _BY_NOISE) + np.log1p(r.misfit))
        for r in table
        if r.inside and r.counts and np.isfinite(r.error) and np.isfinite(r.misfit) and r.noise != 0
    }


def _better(table: Sequence[DarkHeld], than: Sequence[DarkHeld]) -> bool:
    """Return whether a family predicts surely better than another one.

    Bins of the faint crowd and of a few bright pixels have one voice each: a family has to hold at every level.
    """
    one, other = _judged(table), _judged(than)
    gains = np.array([other[key] - one[key] for key in one.keys() & other.keys()])
    if gains.size == 0:
        return False
    if gains.size < 3:
        return bool(gains.mean() > 0.5)
    return bool(gains.mean() > _SURE * gains.std(ddof=1) / np.sqrt(gains.size) and gains.mean() > 0.01)


def _glows(glow: tuple[Law, DarkSample], plain: tuple[Law, DarkSample], glowing: NDArray[np.intp]) -> bool:
    """Return whether a glow predicts the pixels better that seem to have one: in a corner, they are few of each bin."""
    one, other = (held_out(law, sample.pixels(glowing)) for law, sample in (glow, plain))
    return _better(one, other)


def _glow_of(sample: DarkSample, law: Law) -> tuple[Law, NDArray[np.intp]] | None:
    """Return the law with a glow, of the time constant that fits best, and the pixels that seem to glow.

    None where no more pixels gain by it than by chance; and of POWER, which has an exponent in its place.
    """
    exposures = np.unique(np.round(sample.taken.exposure_s, 6))
    if law.family is Family.POWER or len(exposures) < 2 or (len(exposures) < 3 and sample.model.shortest_s != 0):
        return None
    plain = sample.fitted(learned(sample, law), sample.whole)
    found = list[tuple[float, tuple[Law, NDArray[np.intp]]]]()
    longest = float(exposures[-1])
    for seconds in np.geomspace(max(float(exposures[0]), _SHORTEST * longest), longest, _GLOWS):
        glow = replace(law, glow_s=round(float(seconds), 6))
        fit = sample.fitted(learned(sample, glow), sample.whole)
        theta, error = fit.parameters.theta[-1], np.sqrt(fit.parameters.covariance[-1])
        known = np.isfinite(theta) & np.isfinite(plain.parameters.theta[0]) & (error > 0)
        pull = theta[known] / error[known]
        real = 2 * stats.t.sf(np.abs(pull), fit.freedom[known]) < _CHANCE
        if real.sum() > 2 * _CHANCE * real.size + 4 * np.sqrt(_CHANCE * real.size):
            found.append((float(np.nanmedian(fit.chi_square[known][real])), (glow, np.flatnonzero(known)[real])))
    if not found:
        return None
    glow, glowing = min(found, key=lambda each: each[0])[1]
    return _timed(glow, learned(sample, glow), sample.pixels(glowing)), glowing


def _timed(glow: Law, known: Law, glowing: DarkSample) -> Law:
    """Return a glow with the time constant, near its own, that fits the glowing pixels best."""

    def misfit(logarithm: float) -> float:
        fit = glowing.fitted(replace(known, glow_s=float(np.exp(logarithm))), glowing.whole)
        shown = fit.chi_square[fit.chi_square > 0]
        return float(np.log(shown).mean()) if shown.size else 0.0

    near = np.log(glow.glow_s or 1.0) + np.array([-1.0, 1.0])
    found = optimize.minimize_scalar(misfit, bounds=tuple(near), method="bounded", options={"xatol": 0.02})
    return replace(glow, glow_s=round(float(np.exp(found.x)), 6))


def _done(sample: DarkSample, law: Law, rows: tuple[DarkHeld, ...], reason: str) -> DarkChoice:
    law = learned(sample, law)
    exponent, error = exponent_of(sample, law)
    fit = sample.fitted(law, sample.whole)
    model = replace(sample.model, law=law, hot_above=hot_limit(rates_of(law, fit.parameters.theta)))
    model = replace(model, excess=excess_of(fit), common=_common(fit) if sample.pedestal.levels.shape[1] else None)
    if law.family is Family.POWER:  # no proportion says what is below the shortest dark
        model = replace(model, shortest_s=float(sample.taken.exposure_s.min()))
    return DarkChoice(
        model=model, levels=sample.levels, holdout=rows, exponent=exponent, exponent_error=error, reason=reason
    )


def _common(fit: DarkFit) -> Common | None:
    """Return what a usual pixel has in common with all others; None where none was fitted."""
    known = np.isfinite(fit.by_levels).all(axis=0)
    if not known.any():
        return None
    theta, covariance = (np.median(each[:, known], axis=1) for each in (fit.parameters.theta, fit.by_levels))
    return Common(theta=tuple(map(float, theta)), covariance=tuple(map(float, covariance)))
