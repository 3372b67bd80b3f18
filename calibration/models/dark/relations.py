"""What the shapes of pixels have in common: their relation to the rates, and the exponent of the exposure.

The pixels of a sample are put into bins by the rate that one half of the frames shows, and judged on the other half, so
that noise that made a pixel seem bright has no part in what is found. In a faint bin all pixels together have a shape;
in a bright one each pixel has its own, and their median is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from calibration.models.dark.exponent import best_exponent
from calibration.models.dark.fit import DarkFit, Pedestal, Taken, fit_darks
from calibration.models.dark.model import DarkModel, Family, Law, Parameters, rates_of
from calibration.models.dark.relation import Relation
from calibration.models.dark.scatter import scatter_of, variance_of
from calibration.models.dark.ties import Levels, Ties
from calibration.models.means import GroupMean, Groups, Planes, stacked
from calibration.models.shapes import pairs

USUAL = {True: (0.10, 0.03), False: (0.65, 0.12)}
"""Shape of a usual pixel and its scatter, of the exponential families in 1/°C and of the others in eV."""

_CROWDS = 8
_FEWEST = 5
"""Pixels of the smallest bin, but for the last one."""

_WIDE = 1.6
"""Largest rate over the smallest in a bin of more bright pixels: one of the crowd and of hot ones has no shape."""

_CLEAR = 0.02
"""Error of a pixel's shape, over a usual shape, up to which it is taken from the pixel itself."""

_SHOWN = 0.2
"""Largest error of an exponent that is used."""

_FREE = 10.0
"""Scatter of shapes that lets each group have its own."""

_FAR = 6.0
"""Robust standard deviations from the middle of a bin beyond which a pixel has no part in its mean."""

_RARE = 0.01
"""Chance of noise to make bins seem to be no curve."""

_FULL = 0.98
"""Part of the pixels of a bin that a group needs."""

_SURE = 4.0
"""Errors that the rate of a bin is above 0."""

_BELOW = 0.5
"""The farthest that a relation goes on below the faintest bin, in natural logarithms of the rate."""

_FLOOR = 0.004
"""Least error of a bin's shape and least scatter of the pixels' shapes, over a usual shape."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DarkSample:
    """The groups of darks on a sample of pixels.

    Attributes
    ----------
    taken : Taken
    pedestal : Pedestal
    whole : Groups
        Of shape (K, n).
    halves : tuple of Groups
        Of the even and of the odd frames of each group, without samples where there are none.
    model : DarkModel
        Domain, noise and saturation; of its law only the reference temperature.
    ties : Ties
        What is known of the levels of the groups.
    levels : Levels
        What was taken off the means.
    """

    taken: Taken
    pedestal: Pedestal
    whole: Groups
    halves: tuple[Groups, Groups]
    model: DarkModel
    ties: Ties
    levels: Levels

    def less(self, levels: Levels) -> "DarkSample":
        """Return the sample less the levels of its groups, whose errors become a part of its pedestal."""
        whole, first, second = (
            replace(each, mean=each.mean - levels.value_adu[:, None]) for each in (self.whole, *self.halves)
        )
        return replace(
            self,
            whole=whole,
            halves=(first, second),
            pedestal=self.pedestal.with_levels(levels, self.taken, self.model.noise),
            levels=levels,
        )

    def without(self, label_c: float) -> "DarkSample":
        """Return the sample without the groups of one temperature."""
        return self._of(self.taken.label_c != label_c)

    def _of(self, at: NDArray[np.bool_]) -> "DarkSample":
        first, second = self.halves
        return replace(
            self,
            taken=self.taken.part(at),
            pedestal=self.pedestal.part(at),
            ties=self.ties.part(at),
            levels=self.levels.part(at),
            whole=_groups_of(self.whole, at),
            halves=(_groups_of(first, at), _groups_of(second, at)),
        )

    def pixels(self, at: NDArray[np.intp]) -> "DarkSample":
        """Return the sample with some of its pixels."""
        first, second = (pixels_of(each, at) for each in self.halves)
        return replace(self, whole=pixels_of(self.whole, at), halves=(first, second))

    def swapped(self) -> "DarkSample":
        """Return the sample with the halves exchanged."""
        return replace(self, halves=self.halves[::-1])

    def fitted(self, law: Law, groups: Groups) -> DarkFit:
        """Return the fit of a law to some of its means."""
        return fit_darks(replace(self.model, law=law), self.taken, self.pedestal, groups)


def _groups_of(groups: Groups, at: NDArray[np.bool_]) -> Groups:
    """Return some groups; the scatter is that of all of them, whose mean is hardly another."""
    return replace(groups, mean=groups.mean[at], count=groups.count[at])


def pixels_of(groups: Groups, at: NDArray[np.intp]) -> Groups:
    """Return groups of some of their pixels."""
    return Groups(
        mean=groups.mean[:, at], count=groups.count[:, at], squares=groups.squares[at], freedom=groups.freedom[at]
    )


def merged(first: GroupMean | None, second: GroupMean | None) -> GroupMean:
    """Return the mean of a group from those of its halves."""
    if first is None or second is None:
        found = first if second is None else second
        if found is None:
            raise ValueError("a group without frames")
        return found
    n, m = first.count.astype(np.float64), second.count.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (np.nan_to_num(first.mean) * n + np.nan_to_num(second.mean) * m) / (n + m)
        between = np.where((n > 0) & (m > 0), (first.mean - second.mean) ** 2 * n * m / (n + m), 0.0)
    return GroupMean(mean=mean, squares=first.squares + second.squares + between, count=first.count + second.count)


def halved(groups: Sequence[GroupMean | None]) -> Groups:
    """Put the means of one half together, without samples where a group has none."""
    shape = next((each.mean.shape for each in groups if each is not None), (0,))
    nothing = GroupMean(mean=np.full(shape, np.nan), squares=np.zeros(shape), count=np.zeros(shape, np.uint16))
    return stacked([nothing if each is None else each for each in groups])


def usual_law(family: Family, reference_c: float, *, glow_s: float | None = None) -> Law:
    """Return a law of which nothing has been learned."""
    shape, scatter = USUAL[family in {Family.EXPONENTIAL, Family.POWER}]
    relation = Relation(coefficients=(shape, 0.0, 0.0), scatter=scatter) if family.has_shape else None
    return Law(family=family, reference_c=reference_c, relation=relation, glow_s=glow_s)


def bins_of(rates: Planes) -> list[NDArray[np.intp]]:
    """Return the pixels in bins of rising rate: equal crowds, and of the bright ones bins of about one rate each.

    The faintest crowd is cut again and again, so that a relation reaches the faintest pixels.
    """
    order = np.argsort(np.where(np.isfinite(rates), rates, -np.inf))
    order = order[np.isfinite(rates[order])]
    n = order.size
    crowds = max(1, min(_CROWDS, n // 50))
    faint = [n // crowds // 4**i for i in range(1, 12) if n // crowds // 4**i >= _FEWEST and crowds > 1]
    edges = [0, *faint[::-1], *(n * i // crowds for i in range(1, crowds))]
    found = [order[i:j] for i, j in pairwise(edges)]
    rest = order[n * (crowds - 1) // crowds :]
    while rest.size:
        lowest = float(rates[rest[0]])
        wide = int(np.searchsorted(rates[rest], lowest * _WIDE, side="right")) if lowest > 0 else rest.size
        number = max(wide, _FEWEST)
        found.append(rest[:number])
        rest = rest[number:]
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BinShapes:
    """Rates, shapes and the errors of the shapes in bins of rising rate.

    `part` of the scatter of the pixels' shapes is in a shape beside its error.
    """

    rate: Planes
    shape: Planes
    error: Planes
    part: Planes


def shapes_of(sample: DarkSample, law: Law) -> BinShapes:
    """Return the shapes of bins: chosen from the first half of the frames, measured on the second.

    Where all groups have one frame, both are done with it.
    """
    first, second = sample.halves
    if not (first.count.any() and second.count.any()):
        first = second = sample.whole
    usual = law.relation.coefficients[0] if law.relation is not None else 1.0
    chosen = sample.fitted(law, first)
    free = replace(law, relation=replace(law.relation, scatter=_FREE)) if law.relation is not None else law
    own = sample.fitted(free, second)
    found = list[tuple[float, float, float, float]]()
    bins = bins_of(rates_of(law, chosen.parameters.theta))
    together = sample.fitted(free, middles_of(second, bins)).parameters if bins else own.parameters
    for number, members in enumerate(bins):
        theta, error = own.parameters.theta[:, members], np.sqrt(own.parameters.covariance[law.size, members])
        if np.nanmedian(error) < _CLEAR * usual:
            spread = 1.4826 * float(np.nanmedian(np.abs(theta[1] - np.nanmedian(theta[1]))))
            of_all = 1.25 * max(spread, float(np.nanmedian(error))) / np.sqrt(members.size)
            found.append((float(np.nanmedian(theta[0])), float(np.nanmedian(theta[1])), of_all, 0.0))
        else:
            mean, *middle = _surely(together, number, law.size)
            found.append((mean * _wide(own.parameters, members), *middle, members.size**-0.5))
    rate, shape, error, part = np.array(found).reshape(-1, 4).T
    wide = USUAL[law.family in {Family.EXPONENTIAL, Family.POWER}][1]
    good = np.isfinite(rate) & np.isfinite(shape) & (error > 0) & (error < wide) & (rate > 0)
    return BinShapes(rate=rate[good], shape=shape[good], error=error[good], part=part[good])


def _surely(found: Parameters, number: int, size: int) -> tuple[float, float, float]:
    """Return the rate and the shape of the mean of a bin, NaN where its rate is not surely above 0."""
    rate, shape = found.theta[:2, number]
    errors = np.sqrt(found.covariance[[0, size], number])
    sure = rate > _SURE * errors[0]
    return (float(rate), float(shape), float(errors[1])) if sure else (np.nan, np.nan, np.nan)


def _wide(own: Parameters, members: NDArray[np.intp]) -> float:
    """Return by what the rate that the shape of the mean of a bin belongs to is above its mean rate.

    Of the mean of pixels each has a part as its rate: the shape is one of the brighter ones, of rates whose logarithm
    is above that of the mean by half of their variance.
    """
    rate, variance = own.theta[0, members], own.covariance[0, members]
    middle = np.nanmedian(rate)
    spread = (1.4826 * np.nanmedian(np.abs(rate - middle))) ** 2 - np.nanmedian(variance)
    return float(np.exp(np.clip(spread / middle**2, 0.0, _WIDE - 1) / 2)) if middle > 0 else 1.0


def middles_of(groups: Groups, bins: Sequence[NDArray[np.intp]]) -> Groups:
    """Return the means of the pixels of each bin as one pixel each (`middle_of`)."""
    means = [middle_of(groups, members) for members in bins]
    return Groups(
        mean=np.concatenate([each.mean for each in means], axis=1),
        count=np.concatenate([each.count for each in means], axis=1),
        squares=np.zeros(len(means)),
        freedom=np.zeros(len(means)),
    )


def middle_of(groups: Groups, members: NDArray[np.intp]) -> Groups:
    """Return the means of some pixels as one pixel.

    No medians: rates are not distributed evenly about their mean, and where noise hides that, the median is the mean.
    Only what lies far off has no part.
    """
    mean, count = groups.mean[:, members], groups.count[:, members]
    there = np.isfinite(mean) & (count > 0)
    full = there.mean(axis=1) > _FULL  # where many are saturated the mean is of others
    known = np.where(there, mean, np.nan)
    known[~full] = 0.0
    middle = np.nanmedian(known, axis=1, keepdims=True)
    spread = 1.4826 * np.nanmedian(np.abs(known - middle), axis=1, keepdims=True)
    there &= np.abs(np.nan_to_num(known) - middle) <= _FAR * spread
    worth = np.where(there, count, 0).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(there, np.nan_to_num(known) * count, 0.0).sum(axis=1) / worth
    return Groups(
        mean=np.where(full, value, np.nan)[:, None],
        count=np.where(full, np.minimum(worth, 65535), 0).astype(np.uint16)[:, None],
        squares=np.zeros(1),
        freedom=np.zeros(1),
    )


def learned(sample: DarkSample, law: Law) -> Law:
    """Return a law with the relation of rate and shape that a sample shows; the usual one where it shows none.

    Of POWER with the exponent of the exposure too, 1 where the sample shows none.
    """
    if law.relation is None:
        return law
    related = _related(sample, law, law.relation)
    if law.family is not Family.POWER:
        return related
    exponent, error = exponent_of(sample, related)
    return _related(sample, replace(law, exponent=exponent if error < _SHOWN else 1.0), law.relation)


def _related(sample: DarkSample, law: Law, usual_relation: Relation) -> Law:
    """Return a law with the relation that a sample shows, at the exponent of the law."""
    usual, _ = USUAL[law.family in {Family.EXPONENTIAL, Family.POWER}]
    bins = shapes_of(sample, law)
    if not len(bins.rate):
        return law
    if law.family in {Family.EXPONENTIAL, Family.POWER, Family.ARRHENIUS}:
        middle = float(np.average(bins.shape, weights=1 / (bins.error**2 + (_FLOOR * usual) ** 2)))
        relation = replace(usual_relation, coefficients=(middle, 0.0, 0.0))
        return replace(law, relation=relation)
    relation = _curve(bins, 0.0)
    if law.family is Family.MEYER_NELDEL:
        return replace(law, relation=relation)
    relation = _curve(bins, _scatter(sample, law, relation))
    return replace(law, relation=replace(relation, scatter=_scatter(sample, law, relation)))


def _curve(bins: BinShapes, scatter: float) -> Relation:
    """Return the curve of shapes against the logarithms of rates, with its errors; pixels scatter about it.

    Where the bins are no curve, as noise hardly ever makes them, what they lack is a scatter of all shapes. The curve
    goes on a little beyond the outermost bins, of which half of the pixels are fainter or brighter.
    """
    x, error = np.log(bins.rate), np.hypot(bins.error, bins.part * scatter)
    degree = min(2, max(0, (len(x) - 1) // 2)) if np.ptp(x) > 0.2 else 0
    powers = np.vander(x, degree + 1, increasing=True)

    def fitted(lacking: float) -> tuple[Planes, Planes, float]:
        weight = 1 / (error**2 + lacking)
        covariance = np.linalg.inv((powers.T * weight) @ powers)
        found = covariance @ (powers.T @ (weight * bins.shape))
        return found, covariance, float(weight @ (bins.shape - powers @ found) ** 2)

    freedom, lacking = len(x) - degree - 1, 0.0
    if freedom and fitted(0.0)[2] > stats.chi2.isf(_RARE, freedom):
        lacking = variance_of(lambda v: fitted(v)[2] - freedom, float(np.ptp(bins.shape)) ** 2)
    theta, errors, _ = fitted(lacking)
    coefficients, covariance = np.zeros(3), np.zeros((3, 3))
    coefficients[: degree + 1], covariance[: degree + 1, : degree + 1] = theta, errors
    c0, c1, c2 = map(float, coefficients)
    low, high = (x.min() - _beyond(np.sort(x)), x.max() + _beyond(-np.sort(-x))) if degree else (x.min(), x.max())
    return Relation(
        coefficients=(c0, c1, c2),
        low=float(low),
        high=float(high),
        scatter=float(np.sqrt(lacking)),
        covariance=tuple(float(covariance[i, j]) for i, j in pairs(3)),
    )


def _beyond(x: Planes) -> float:
    return min(abs(float(x[1] - x[0])), _BELOW)


def _scatter(sample: DarkSample, law: Law, relation: Relation) -> float:
    """Return the standard deviation of the shapes of clear pixels about the relation, without that of their errors.

    The errors are those of the noise of all pixels: of few frames the noise of a pixel itself is hardly known.
    """
    usual, _ = USUAL[law.family in {Family.EXPONENTIAL, Family.POWER}]
    free = replace(law, relation=replace(relation, scatter=_FREE))
    fit = sample.fitted(free, sample.whole)
    rate, shape = fit.parameters.theta[:2]
    noise = np.nanmean(fit.factor) / fit.factor
    of_rate, both, of_shape = fit.parameters.covariance[[0, 1, law.size]] * noise
    clear = np.isfinite(shape) & (np.sqrt(of_shape) < 4 * _CLEAR * usual) & (rate > 0)
    if clear.sum() < 2 * _FEWEST:
        return max(5 * _FLOOR * usual, relation.scatter)
    slope = relation.slope(rate)  # a rate that is too high lets expect another shape
    variance = of_shape - 2 * slope * both + slope**2 * of_rate + relation.common(rate)
    return float(np.sqrt(scatter_of((shape - relation.at(rate))[clear], np.sqrt(variance[clear]))))


def exponent_of(sample: DarkSample, law: Law) -> tuple[float, float]:
    """Return γ of the exposure that bins of a sample show together, and its error.

    NaN where they have one exposure, or the law has a glow, which would take its part.
    """
    one = len(np.unique(np.round(sample.taken.exposure_s, 6))) < 2
    if one or not law.family.has_shape or law.glow_s is not None or law.relation is None:
        return float("nan"), float("nan")
    law = replace(law, relation=replace(law.relation, scatter=_FREE))
    bins = bins_of(rates_of(law, sample.fitted(law, sample.whole).parameters.theta))
    if not bins:
        return float("nan"), float("nan")
    curves = middles_of(sample.whole, bins)

    def misfit(exponent: float) -> tuple[float, float]:
        fit = sample.fitted(replace(law, exponent=float(exponent)), curves)
        return float(np.nansum(fit.chi_square * fit.over)), float(fit.over.sum())

    return best_exponent(misfit)
