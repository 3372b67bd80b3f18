"""The dark of each pixel against the temperature of the sensor and the exposure.

The dark signal of pixel p in a frame of temperature T and exposure t, in ADU above the bias, is
``t D_p(T) + g_p h(t)``. The rate D of the families of one term is ``R exp(s v(T))``, with the rate R at a reference
temperature and a shape s:

- EXPONENTIAL, v = T - T_ref, s in 1/°C: what earlier programs fitted;
- POWER, the same with t^γ in place of t, γ common to all pixels: their second one;
- ARRHENIUS, v = 1/(k T_ref) - 1/(k T), s the activation energy in eV, nearly the same for all pixels;
- MEYER_NELDEL, where the rate determines the energy: c0 + c1 ln R + c2 ln² R;
- SHRUNK, where the energy of each pixel scatters about that one by a standard deviation, and is the mean of both that
  its own frames let expect: of a bright pixel its own, of a faint one that of its level.

TWO_COMPONENT is ``A f_dif(T) + B f_dep(T)``, diffusion and depletion current, with the gap of silicon of Varshni
(1967): linear in its parameters. CONSTANT stands where the frames have one temperature. h(t) is the glow of the
amplifiers, ``1 - exp(-t / tau)``, only where the frames show that dark is not proportional to time.

Relation of energy and level: Widenhorn et al., Proc. SPIE 4669 (2002); components: Widenhorn et al. (2001), Janesick,
Scientific Charge-Coupled Devices (2001).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag, StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.models.dark.relation import Relation
from calibration.models.shapes import Planes, pairs

BOLTZMANN_EV_K = 8.617333262e-5
ZERO_C_K = 273.15

_EDGE_C = 0.5
"""So far beyond the temperatures of the frames a prediction still counts as one inside their range."""

_EDGE_S = 0.01
"""The same for exposures, as a part of the longest and of the shortest one."""

_NEGLIGIBLE = 0.05
"""Part of a variance that does not count."""


class Family(StrEnum):
    """How the dark depends on temperature; CONSTANT where the frames have one temperature."""

    CONSTANT = "constant"
    EXPONENTIAL = "exponential"
    POWER = "power"
    ARRHENIUS = "arrhenius"
    TWO_COMPONENT = "two_component"
    MEYER_NELDEL = "meyer_neldel"
    SHRUNK = "shrunk"

    @property
    def has_shape(self) -> bool:
        """Whether it is one term of a rate and a shape."""
        return self not in {Family.CONSTANT, Family.TWO_COMPONENT}


class DarkBit(IntFlag):
    """Bits of a dark model's MASK plane; those that masters and other models have too mean the same.

    HOT: on the bright side of the distribution of the rates. SATURATED: some group is left out because the pixel is
    saturated in it, or nearly. LOW_COUNT: some group has no sample. OUTLIER: one group is not what the others say, and
    is left out. MISFIT: the groups scatter about the model as noise never makes them.
    """

    HOT = 1
    SATURATED = 8
    LOW_COUNT = 16
    NO_DATA = 32
    OUTLIER = 1024
    MISFIT = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """A family with what it holds for all pixels.

    Attributes
    ----------
    family : Family
    reference_c : float
        Temperature of the rates.
    relation : Relation, optional
        Of the families that have a shape.
    exponent : float
        γ of the exposure: 1 in all families but POWER.
    glow_s : float, optional
        Time constant tau of the glow; None without one.
    """

    family: Family
    reference_c: float
    relation: Relation | None = None
    exponent: float = 1.0
    glow_s: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in their order."""
        terms = {Family.CONSTANT: ("RATE",), Family.TWO_COMPONENT: ("DIFFUSION", "DEPLETION")}
        return terms.get(self.family, ("RATE", "SHAPE")) + (() if self.glow_s is None else ("GLOW",))

    @property
    def units(self) -> tuple[str, ...]:
        """Units of the parameters; those of the rates are of the reference temperature."""
        shape = "1/deg C" if self.family in {Family.EXPONENTIAL, Family.POWER} else "eV"
        return tuple({"SHAPE": shape, "GLOW": "adu"}.get(name, "adu/s") for name in self.names)

    @property
    def size(self) -> int:
        """Number of parameters."""
        return len(self.names)

    def places(self, temperature_c: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return v at each temperature: the natural logarithm of the rate's change per unit of the shape."""
        if self.family in {Family.EXPONENTIAL, Family.POWER}:
            return temperature_c - self.reference_c
        return np.asarray((1 / (self.reference_c + ZERO_C_K) - 1 / (temperature_c + ZERO_C_K)) / BOLTZMANN_EV_K)

    def times(self, exposure_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what a rate is multiplied with: exposures, or a power of them."""
        return np.asarray(np.maximum(exposure_s, 0.0) ** self.exponent)

    def columns(self, temperature_c: NDArray[np.float64], exposure_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the parameters other than rate and shape are multiplied with, shape (K, number of them)."""
        found = []
        if self.family is Family.CONSTANT:
            found.append(self.times(exposure_s))
        if self.family is Family.TWO_COMPONENT:
            found += [exposure_s * each for each in components(temperature_c, self.reference_c)]
        if self.glow_s is not None:
            found.append(-np.expm1(-exposure_s / self.glow_s))
        return np.stack(found, axis=1) if found else np.zeros((len(exposure_s), 0))


def gap_ev(temperature_k: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return silicon's band gap by Varshni's formula, in eV."""
    t = np.asarray(temperature_k, np.float64)
    return np.asarray(1.1557 - 7.021e-4 * t**2 / (t + 1108))


def components(
    temperature_c: NDArray[np.float64] | float, reference_c: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return diffusion and depletion current relative to that at the reference: T³ exp(-Eg/kT), T^1.5 exp(-Eg/2kT)."""
    t, r = np.asarray(temperature_c, np.float64) + ZERO_C_K, reference_c + ZERO_C_K
    barrier = gap_ev(t) / (BOLTZMANN_EV_K * t) - gap_ev(r) / (BOLTZMANN_EV_K * r)
    return np.asarray((t / r) ** 3 * np.exp(-barrier)), np.asarray((t / r) ** 1.5 * np.exp(-barrier / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The variance of one sample, ``read_adu2 + per_adu S`` at a dark signal S, in ADU²."""

    read_adu2: float
    per_adu: float = 0.0

    def sigma_adu(self, signal_adu: float, gain_e_adu: float | None = None) -> float | None:
        """Return the standard deviation of a sample; None where the frames did not show how it grows with the signal.

        Parameters
        ----------
        signal_adu : float
        gain_e_adu : float, optional
            Where no growth was seen, it shows whether the shot noise of the signal is negligible.
        """
        signal = max(signal_adu, 0.0)
        if self.per_adu <= 0 and not (gain_e_adu and signal / gain_e_adu < _NEGLIGIBLE * self.read_adu2):
            return None
        return float(np.sqrt(self.read_adu2 + self.per_adu * signal))


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """The error that all pixels have in common, by the levels of the groups: parameters of a usual pixel, and theirs.

    The covariance of the parameters is an upper triangle, row by row.
    """

    theta: tuple[float, ...]
    covariance: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DarkModel:
    """What holds for all pixels of a dark model.

    Attributes
    ----------
    law : Law
    coldest_c, warmest_c : float
        Temperatures between which it was measured.
    shortest_s, longest_s : float
        Exposures between which it was measured; the shortest is 0 where a bias is taken off, which is a dark without
        exposure.
    noise : Noise
        Of a sample.
    hot_above : float
        Rate at the reference temperature, in ADU/s, above which a pixel is hot.
    limit_adu : float
        Signal above the bias from which on a pixel is saturated.
    excess : float
        Factor of all variances of the pixels' parameters: how much more the means of the groups scatter about the model
        than noise explains, at least 1.
    common : Common, optional
        None where levels do not wander.
    relative : float
        Part of the signal, common to all pixels, by which frames of one set differ where nothing shows which are right.
    """

    law: Law
    coldest_c: float
    warmest_c: float
    shortest_s: float
    longest_s: float
    noise: Noise
    hot_above: float = float("inf")
    limit_adu: float = float("inf")
    excess: float = 1.0
    common: Common | None = None
    relative: float = 0.0

    @classmethod
    def from_plain(cls, said: Mapping[str, Any]) -> "DarkModel":
        """Return the model of plain values, as of `dataclasses.asdict`; limits that are None are without end.

        Raises
        ------
        ValueError, KeyError, TypeError
            The values are no dark model's.
        """
        law = dict(said["law"])
        shape = law["relation"]
        relation = None if shape is None else Relation.from_plain(shape)
        made = Law(**{**law, "family": Family(law["family"]), "relation": relation})
        endless = {name: float("inf") if said[name] is None else said[name] for name in ("hot_above", "limit_adu")}
        common = said.get("common")
        shared = None if common is None else Common(**{name: tuple(values) for name, values in common.items()})
        return cls(**{**said, **endless, "law": made, "noise": Noise(**said["noise"]), "common": shared})

    def common_sigma_adu(self, temperature_c: float, exposure_s: float) -> float:
        """Return the part of the error of a prediction that all pixels have in common, 1σ in ADU."""
        if self.common is None:
            return 0.0
        mean, slopes = signal_of(self.law, np.array(self.common.theta), temperature_c, exposure_s)
        triangle = zip(pairs(self.law.size), self.common.covariance, strict=True)
        variance = sum(slopes[i] * slopes[j] * value * (1 if i == j else 2) for (i, j), value in triangle)
        return float(np.sqrt(np.maximum(variance, 0.0) + (self.relative * mean) ** 2))

    def has_measured(self, temperature_c: float) -> bool:
        """Whether a temperature is within those that were measured."""
        return self.coldest_c - _EDGE_C <= temperature_c <= self.warmest_c + _EDGE_C

    def holds_at(self, temperature_c: float, exposure_s: float) -> bool:
        """Whether a prediction is one within the temperatures and exposures that were measured."""
        return self.has_measured(temperature_c) and self.shortest_s * (1 - _EDGE_S) <= exposure_s <= self.longest_s * (
            1 + _EDGE_S
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parameters:
    """The parameters of all pixels of a band.

    Attributes
    ----------
    theta : ndarray, shape (p, ...)
        In the order and units of `Law.names` and `Law.units`; NaN where the frames determine none.
    covariance : ndarray, shape (p (p + 1) / 2, ...)
        The upper triangle, row by row (`calibration.models.linear.pairs`), with the error of the bias that was taken
        off, and `DarkModel.excess`.
    """

    theta: Planes
    covariance: Planes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """A dark that was not measured.

    Attributes
    ----------
    mean, sigma : ndarray of float32, shape (...)
        Signal above the bias in ADU and its 1σ uncertainty; negative means are not clipped. Sigma is NaN where nothing
        is known of how the dark changes with temperature.
    saturated : ndarray of bool, shape (...)
        Pixels that are saturated at this temperature and exposure: the mean is what they would collect.
    inside : bool
        Whether temperature and exposure are in the ranges that were measured.
    """

    mean: NDArray[np.float32]
    sigma: NDArray[np.float32]
    saturated: NDArray[np.bool_]
    inside: bool


def predict(model: DarkModel, parameters: Parameters, temperature_c: float, exposure_s: float) -> Prediction:
    """Return the dark signal of a band at a temperature and an exposure.

    Parameters
    ----------
    model : DarkModel
    parameters : Parameters
        In any float type.
    temperature_c : float
        Temperature of the sensor in degrees Celsius.
    exposure_s : float
        In seconds.

    Raises
    ------
    ValueError
        The exposure is negative, or one of both is not a number.
    """
    if not (np.isfinite(temperature_c) and np.isfinite(exposure_s) and exposure_s >= 0):
        raise ValueError(f"no dark of {exposure_s} s at {temperature_c} °C")
    mean, slopes = signal_of(model.law, np.asarray(parameters.theta, np.float64), temperature_c, exposure_s)
    variance = np.zeros_like(mean)
    for (i, j), plane in zip(pairs(model.law.size), parameters.covariance, strict=True):
        variance += slopes[i] * slopes[j] * plane * (1 if i == j else 2)
    variance = np.maximum(variance, 0.0) + (model.relative * mean) ** 2
    inside = model.holds_at(temperature_c, exposure_s)
    if (
        model.law.family is Family.CONSTANT
        and not model.coldest_c - _EDGE_C <= temperature_c <= model.warmest_c + _EDGE_C
    ):
        variance = np.full_like(variance, np.nan)
    return Prediction(
        mean=mean.astype(np.float32),
        sigma=np.sqrt(variance).astype(np.float32),
        saturated=np.asarray(mean >= model.limit_adu),
        inside=inside,
    )


def by_relation(law: Law, parameters: Parameters, temperature_c: float, exposure_s: float) -> Planes:
    """Return how the predicted signal of each pixel changes with the coefficients of the relation, shape (3, ...).

    As much as a pixel's own frames do not show its shape it follows the relation, and shares its error with all others.
    """
    theta, covariance = np.asarray(parameters.theta, np.float64), np.asarray(parameters.covariance, np.float64)
    relation, shape = law.relation, theta.shape[1:]
    if relation is None:
        return np.zeros((3, *shape))
    _, slopes = signal_of(law, theta, temperature_c, exposure_s)
    places = dict(zip(pairs(law.size), covariance, strict=True))
    slope = relation.slope(theta[0])
    drawn = sum(each * (places[min(1, i), max(1, i)] - slope * places[0, i]) for i, each in enumerate(slopes))
    return np.asarray(relation.powers(theta[0]) * drawn / (relation.scatter**2 + relation.common(theta[0])))


def signal_of(law: Law, theta: Planes, temperature_c: float, exposure_s: float) -> tuple[Planes, Sequence[Planes]]:
    """Return the signal of each pixel above the bias, in ADU, and its derivatives by the parameters.

    Parameters
    ----------
    law : Law
    theta : ndarray, shape (p, ...)
    temperature_c, exposure_s : float
    """
    at_c, at_s = np.array([temperature_c]), np.array([exposure_s])
    columns, slopes = law.columns(at_c, at_s)[0], list[Planes]()
    rest = theta
    mean = np.zeros(theta.shape[1:])
    if law.family.has_shape:
        factor = law.times(at_s)[0] * np.exp(theta[1] * law.places(at_c)[0])
        mean = mean + theta[0] * factor
        slopes += [factor, theta[0] * factor * law.places(at_c)[0]]
        rest = theta[2:]
    for column, plane in zip(columns, rest, strict=True):
        mean = mean + column * plane
        slopes.append(np.full_like(mean, column))
    return mean, slopes


def rates_of(law: Law, theta: Planes) -> Planes:
    """Return the rate of each pixel at the reference temperature, in ADU/s."""
    return np.asarray(theta[0] + theta[1] if law.family is Family.TWO_COMPONENT else theta[0])


def earlier_form(model: DarkModel, parameters: Parameters) -> tuple[Planes, Planes]:
    """Return A and B of ``A exp(B (T - T_min))``, T_min the coldest temperature, of EXPONENTIAL and POWER.

    That is how earlier programs wrote them.
    """
    a, b = parameters.theta[:2]
    return a * np.exp(b * (model.coldest_c - model.law.reference_c)), b
