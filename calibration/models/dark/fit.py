"""A dark model in a band: the parameters of each pixel from the means of groups of equal darks."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.models.dark import problem as numbers
from calibration.models.dark.kernels import SHRINKING, fit_pixels
from calibration.models.dark.model import DarkBit, DarkModel, Family, Law, Noise, Parameters, rates_of
from calibration.models.dark.relation import Relation
from calibration.models.dark.ties import Levels
from calibration.models.limits import misfit_limits
from calibration.models.means import Groups, Planes

SHAPES = {True: (0.02, 0.4), False: (0.05, 1.6)}
"""Limits of the shape of one pixel: of the exponential families in 1/°C, of the others in eV."""

_SMALL = 0.1
"""Of the noise of a group's mean, errors of its level that do not count."""

_LOOSE = 1 / 4
"""Inverse degrees of freedom of Student's distribution of the shapes: hot pixels may have other energies."""

_SURE = 5.0
"""Of its own standard deviations that the rate of a hot pixel lies above the threshold's half."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taken:
    """How the K groups of darks were taken.

    Attributes
    ----------
    temperature_c, exposure_s, frames : ndarray, shape (K,)
        Mean temperature of the sensor in degrees Celsius, exposure in seconds and number of frames.
    label_c : ndarray, shape (K,)
        The same for all groups of one temperature.
    """

    temperature_c: NDArray[np.float64]
    exposure_s: NDArray[np.float64]
    frames: NDArray[np.float64]
    label_c: NDArray[np.float64]

    def part(self, at: NDArray[np.bool_]) -> "Taken":
        """Return some of the groups."""
        return Taken(
            temperature_c=self.temperature_c[at],
            exposure_s=self.exposure_s[at],
            frames=self.frames[at],
            label_c=self.label_c[at],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pedestal:
    """What the darks still have of the bias: ``design @ u`` of each pixel, and ``levels @ v`` of all of them.

    Where a bias was taken off, u is its error, which groups have in common: it is fitted along, so that it takes part
    in the errors of the parameters as it is, and darks of several exposures correct it. v is the error of the groups'
    levels (`calibration.models.dark.offsets`): no pixel can correct it, and it only takes part in the errors.

    Attributes
    ----------
    design : ndarray, shape (K, q)
    inverse : ndarray, shape (q, q)
        Inverse covariance of u for a variance of 1 ADU² of a sample; zeros where nothing is known of it.
    levels : ndarray, shape (K, r)
        In ADU, v of the covariance 1.
    """

    design: NDArray[np.float64]
    inverse: NDArray[np.float64]
    levels: NDArray[np.float64]

    def variance(self, k: int) -> float:
        """Return that of the bias that was taken off a group, for 1 ADU² of a sample; 0 where it is not known."""
        return float(self.design[k] @ np.linalg.inv(self.inverse) @ self.design[k]) if self.known else 0.0

    @property
    def known(self) -> bool:
        """Whether a bias was taken off."""
        return bool(self.inverse.any())

    @classmethod
    def of(cls, design: NDArray[np.float64], inverse: NDArray[np.float64]) -> "Pedestal":
        """Return one whose groups have levels without error."""
        return cls(design=design, inverse=inverse, levels=np.zeros((len(design), 0)))

    @classmethod
    def of_model(cls, design: NDArray[np.float64], covariance: NDArray[np.float64]) -> "Pedestal":
        """Return that of a bias model: its functions at the groups' temperatures, and its covariance for 1 ADU²."""
        return cls.of(design, np.asarray(np.linalg.inv(covariance)))

    @classmethod
    def of_masters(cls, which: NDArray[np.intp], frames: NDArray[np.float64]) -> "Pedestal":
        """Return that of master biases: the number of the one that each group had taken off, and frames of each."""
        design = (which[:, None] == np.arange(len(frames))).astype(np.float64)
        return cls.of(design, np.diag(frames.astype(np.float64)))

    @classmethod
    def free(cls, k: int) -> "Pedestal":
        """Return that of k groups of which no bias was taken off: a constant of each pixel."""
        return cls.of(np.ones((k, 1)), np.zeros((1, 1)))

    @classmethod
    def none(cls, k: int) -> "Pedestal":
        """Return that of k groups of which a bias without error was taken off."""
        return cls.of(np.zeros((k, 0)), np.zeros((0, 0)))

    def with_levels(self, levels: Levels, taken: Taken, noise: Noise) -> "Pedestal":
        """Return it with the errors of the levels that were taken off the groups, but for what noise hides."""
        least_adu = _SMALL * float(np.sqrt(noise.read_adu2 / taken.frames.max()))
        return replace(self, levels=levels.root(least_adu))

    def part(self, at: NDArray[np.bool_]) -> "Pedestal":
        """Return that of some of the groups."""
        return Pedestal(design=self.design[at], inverse=self.inverse, levels=self.levels[at])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DarkFit:
    """A dark model, fitted to each pixel of a band.

    Attributes
    ----------
    parameters : Parameters
    by_levels : ndarray, shape (p (p + 1) / 2, ...)
        The part of their covariance that is the error of the groups' levels: the same for all pixels.
    factor, freedom : ndarray, shape (...)
        Variance of the pixel's samples over that of the noise model, and its degrees of freedom.
    chi_square : ndarray, shape (...)
        Scatter of the means about the model over what that within the groups lets expect: reduced, 1 where the model is
        right; NaN where there are no more groups than parameters.
    over : ndarray, shape (...)
        Its degrees of freedom: groups that count, and what is known beforehand, beyond the parameters.
    groups : ndarray of uint16, shape (...)
        Groups that count.
    mask : ndarray of uint16, shape (...)
        Of `DarkBit`.
    """

    parameters: Parameters
    by_levels: Planes
    factor: Planes
    freedom: Planes
    chi_square: Planes
    over: Planes
    groups: NDArray[np.uint16]
    mask: NDArray[np.uint16]


def fit_darks(model: DarkModel, taken: Taken, pedestal: Pedestal, groups: Groups) -> DarkFit:
    """Fit a dark model to each pixel.

    Parameters
    ----------
    model : DarkModel
    taken : Taken
        Of K groups.
    pedestal : Pedestal
        Of the same.
    groups : Groups
        Their means, of shape (K, ...), less the bias where one is known.

    Raises
    ------
    ValueError
        Taken, pedestal and groups are not of the same number.
    """
    k, shape = len(taken.frames), groups.squares.shape
    if len(groups.mean) != k or len(pedestal.design) != k:
        raise ValueError(f"{len(groups.mean)} means of {k} groups of darks with {len(pedestal.design)} pedestals")
    law, n, q = model.law, groups.squares.size, pedestal.design.shape[1]
    problem, informed = _problem(model, taken, pedestal)
    measured = numbers.Measured(
        means=np.ascontiguousarray(groups.mean.reshape(k, n), np.float64),
        number=np.ascontiguousarray(groups.count.reshape(k, n)),
        scatter=np.stack([groups.squares.reshape(-1), groups.freedom.reshape(-1)]),
        informed=float(informed),
    )
    found = numbers.Fitted(
        theta=np.full((law.size, n), np.nan),
        covariance=np.full((law.size * (law.size + 1) // 2, n), np.nan),
        by_levels=np.full((law.size * (law.size + 1) // 2, n), np.nan),
        stats=np.full((numbers.STATS, n), np.nan),
    )
    fit_pixels(problem, numbers.desk_for(k, law.size + q, pedestal.levels.shape[1]), measured, found)
    over = np.maximum(found.stats[numbers.USED] + informed - law.size - q, 0.0)
    return _shaped(_judged(model, found, over, k), shape)


def _problem(model: DarkModel, taken: Taken, pedestal: Pedestal) -> tuple[numbers.Problem, int]:
    """Return the fit in numbers, and the number of parameters of which something is known beforehand."""
    law, q = model.law, pedestal.design.shape[1]
    dark = law.columns(taken.temperature_c, taken.exposure_s)
    relation = law.relation or Relation(coefficients=(0.0, 0.0, 0.0))
    known = law.family.has_shape and (relation.scatter > 0 or any(relation.covariance))
    least, most = SHAPES[law.family in {Family.EXPONENTIAL, Family.POWER}]
    problem = numbers.Problem(
        times=law.times(taken.exposure_s),
        places=law.places(taken.temperature_c),
        columns=np.ascontiguousarray(np.concatenate([dark, pedestal.design], axis=1)),
        dark=dark.shape[1],
        first=2 if law.family.has_shape else 0,
        prior=np.ascontiguousarray(pedestal.inverse, np.float64),
        levels=np.ascontiguousarray(pedestal.levels, np.float64),
        c0=float(relation.coefficients[0]),
        c1=float(relation.coefficients[1]),
        c2=float(relation.coefficients[2]),
        low=float(relation.low),
        high=float(relation.high),
        known=known,
        scatter=float(relation.scatter**2),
        common=relation.matrix,
        loose=_LOOSE if law.family is Family.SHRUNK else 0.0,
        least=least,
        most=most,
        read=float(model.noise.read_adu2),
        per_adu=float(model.noise.per_adu),
        limit=float(model.limit_adu),
    )
    return problem, (q if pedestal.known else 0) + int(known)


def loosened(law: Law, rate: Planes, off: Planes) -> Planes:
    """Return the weights of how far shapes are off from those that the law's relation lets expect, as the fit has them.

    Where pixels may be unlike all others, one that surely is has little weight.
    """
    if law.relation is None:
        raise ValueError(f"the {law.family.value} law has no shapes")
    variance, loose = (
        law.relation.scatter**2 + law.relation.common(rate),
        _LOOSE if law.family is Family.SHRUNK else 0.0,
    )
    return np.asarray((1 + loose) / (variance + loose * off**2))


def _judged(model: DarkModel, fitted: numbers.Fitted, over: Planes, k: int) -> DarkFit:
    """Return what the numbers of the loop mean."""
    theta, found = fitted.theta, fitted.stats
    wide, some = np.nan_to_num(found[numbers.FREEDOM]), SHRINKING
    within = np.nan_to_num(found[numbers.PHI]) * wide + some
    freedom = wide + over + some
    factor = (within + np.nan_to_num(found[numbers.CHI])) / freedom
    with np.errstate(divide="ignore", invalid="ignore"):
        chi_square = np.where(over > 0, found[numbers.CHI] / over / (within / (wide + some)), np.nan)
    missing = ~np.isfinite(theta[0])
    state = np.where(missing, 0, found[numbers.STATE]).astype(np.int64)
    factor[missing] = np.nan
    covariance = fitted.covariance * (factor * model.excess) + fitted.by_levels
    parameters = Parameters(theta=theta, covariance=covariance)
    mask = np.where(missing, DarkBit.NO_DATA, 0) | np.where(state & 2, DarkBit.SATURATED, 0)
    mask |= np.where((found[numbers.USED] + (state & 1) < k) & ((state & 2) == 0), DarkBit.LOW_COUNT, 0)
    mask |= np.where(state & 1, DarkBit.OUTLIER, 0) | np.where(_hot(model, parameters), DarkBit.HOT, 0)
    mask |= np.where(np.nan_to_num(chi_square) > misfit_limits(over, wide + some), DarkBit.MISFIT, 0)
    return DarkFit(
        parameters=parameters,
        by_levels=fitted.by_levels,
        factor=factor,
        freedom=freedom,
        chi_square=chi_square,
        over=over,
        groups=np.nan_to_num(found[numbers.USED]).astype(np.uint16),
        mask=mask.astype(np.uint16),
    )


def _hot(model: DarkModel, fitted: Parameters) -> NDArray[np.bool_]:
    rate = rates_of(model.law, fitted.theta)
    variance = fitted.covariance[0]
    if model.law.family is Family.TWO_COMPONENT:
        variance = variance + 2 * fitted.covariance[1] + fitted.covariance[model.law.size]
    sure = rate - _SURE * np.sqrt(np.maximum(variance, 0.0)) > 0.5 * model.hot_above
    return np.asarray((rate > model.hot_above) & sure)


def _shaped(fit: DarkFit, shape: tuple[int, ...]) -> DarkFit:
    return DarkFit(
        parameters=Parameters(
            theta=fit.parameters.theta.reshape(len(fit.parameters.theta), *shape),
            covariance=fit.parameters.covariance.reshape(len(fit.parameters.covariance), *shape),
        ),
        by_levels=fit.by_levels.reshape(len(fit.by_levels), *shape),
        factor=fit.factor.reshape(shape),
        freedom=fit.freedom.reshape(shape),
        chi_square=fit.chi_square.reshape(shape),
        over=fit.over.reshape(shape),
        groups=fit.groups.reshape(shape),
        mask=fit.mask.reshape(shape),
    )
