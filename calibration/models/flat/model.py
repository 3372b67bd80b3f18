"""The normalised flat of each pixel against temperature and exposure: ``A + B (T - Tref) + C (t - tref)``.

Normalised flats of one temperature and exposure are a group, fitted pixel by pixel (`linear`). What the frames do not
vary in has no term: of one temperature no B, of one exposure no C, and no C where exposure and temperature change
together. Whether B and C are more than noise is tested over all pixels at once (`significance`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from calibration.clipping import clip_values
from calibration.models.linear import Fit, evaluated, pairs
from calibration.models.means import Planes

_EDGE_C, _EDGE_S, _EDGE_PART = 0.5, 0.01, 0.02
"""So far beyond the temperatures and exposures of the frames (seconds, or part of them) a prediction is inside."""

_APART_C, _APART_PART = 0.5, 0.02
"""Temperatures and exposures that differ by less are one."""

_LEAST_SIGNAL = 3.0
"""A flat is brighter than its dark by so many times its noise at least."""

_LEAST_PART = 0.5
"""So much of the centre of a flat has values that can be used."""

_COLLINEAR = 0.999


class Norm(StrEnum):
    """What a flat is divided by: its brightest pixel, its mean, or the clipped mean of its central 25 %."""

    MAX = "max"
    MEAN = "mean"
    ROBUST = "robust"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What a flat is divided by, in ADU, its relative 1σ error from the noise of the pixels, and how it was chosen."""

    value: float
    relative_sigma: float
    norm: Norm = Norm.ROBUST

    def rise(self, pixels: int) -> float:
        """Return by how much noise raises it at most, relative: the largest of so many pixels is so many sigmas up."""
        return self.relative_sigma * float(stats.norm.isf(1 / max(pixels, 2))) if self.norm is Norm.MAX else 0.0


def level_of(
    norm: Norm, centre: NDArray[np.floating], *, noise: float, mean: float, largest: float, pixels: int
) -> Level:
    """Return the level of a flat without its dark.

    Parameters
    ----------
    norm : Norm
    centre : ndarray
        Pixels of its central 25 %; those that are not finite do not count.
    noise : float
        By how much pixels side by side differ (a standard deviation): what the level does not know.
    mean, largest : float
        Of all its pixels.
    pixels : int
        That are finite.

    Raises
    ------
    ValueError
        There is no light in it.
    """
    clipped, known = clip_values(centre), int(np.isfinite(centre).sum())
    chosen = {Norm.MAX: (largest, 1), Norm.MEAN: (mean, pixels), Norm.ROBUST: (clipped.mean, known)}
    level, number = chosen[norm]  # one pixel stands for the frame at its largest, with the scatter of one
    if not known or not pixels or not np.isfinite(level):
        raise ValueError("it has no pixels that are finite")
    if known < _LEAST_PART * np.size(centre):
        raise ValueError(f"{100 - 100 * known / np.size(centre):.0f} % of its centre are saturated or have no value")
    if not level > max(_LEAST_SIGNAL * np.nan_to_num(noise), 0.0):
        raise ValueError(f"its level above the dark is {level:.1f} ADU, its noise {noise:.1f} ADU: no light is in it")
    return Level(value=float(level), relative_sigma=float(noise / level / np.sqrt(number)), norm=norm)


class Term(StrEnum):
    """A term of the model: its letter is that of its plane."""

    A = "A"
    B = "B"
    C = "C"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatModel:
    """What holds for all pixels of a flat model.

    Attributes
    ----------
    terms : tuple of Term
    reference_c, reference_s : float
        Tref and tref.
    coldest_c, warmest_c, shortest_s, longest_s : float
        What was measured.
    excess : float
        Factor of all variances of the parameters, at least 1.
    common : tuple of tuples of float
        Covariance that the errors of the frames' levels add, in all pixels alike.
    """

    terms: tuple[Term, ...]
    reference_c: float
    reference_s: float
    coldest_c: float
    warmest_c: float
    shortest_s: float
    longest_s: float
    excess: float = 1.0
    common: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def from_plain(cls, said: Mapping[str, Any]) -> "FlatModel":
        """Return the model of plain values, as of `dataclasses.asdict`; it may hold more than that.

        Raises
        ------
        ValueError, KeyError, TypeError
            The values are no flat model's.
        """
        values = {field.name: said[field.name] for field in fields(cls)}
        terms, common = tuple(Term(term) for term in values["terms"]), tuple(map(tuple, values["common"]))
        return cls(**{**values, "terms": terms, "common": common})

    def design(
        self, temperatures_c: Sequence[float] | NDArray[np.float64], exposures_s: Sequence[float] | NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the regressors of the terms, shape (K, p)."""
        d = np.asarray(temperatures_c, np.float64) - self.reference_c
        e = np.asarray(exposures_s, np.float64) - self.reference_s
        columns = {Term.A: np.ones_like(d), Term.B: d, Term.C: e}
        return np.stack([columns[term] for term in self.terms], axis=1)

    def holds_at(self, temperature_c: float, exposure_s: float) -> bool:
        """Whether a prediction is one within the temperatures and exposures that were measured."""
        edge = max(_EDGE_S, _EDGE_PART * self.longest_s)
        warm = self.coldest_c - _EDGE_C <= temperature_c <= self.warmest_c + _EDGE_C
        return warm and self.shortest_s - edge <= exposure_s <= self.longest_s + edge

    def knows(self, temperature_c: float, exposure_s: float) -> bool:
        """Whether an error can be given: the model has a slope for each of the two that leaves the range."""
        inside_t = self.coldest_c - _EDGE_C <= temperature_c <= self.warmest_c + _EDGE_C
        edge = max(_EDGE_S, _EDGE_PART * self.longest_s)
        inside_e = self.shortest_s - edge <= exposure_s <= self.longest_s + edge
        return (inside_t or Term.B in self.terms) and (inside_e or Term.C in self.terms)


def terms_for(
    temperatures_c: NDArray[np.float64], exposures_s: NDArray[np.float64]
) -> tuple[tuple[Term, ...], tuple[str, ...]]:
    """Return the terms that groups of these temperatures and exposures can show, and why not the others."""
    warm = float(np.ptp(temperatures_c)) > _APART_C
    long = float(np.ptp(exposures_s)) > max(_EDGE_S, _APART_PART * float(exposures_s.max()))
    notes = []
    if not warm:
        notes.append("the flats have one temperature: nothing shows how they change with it (no B)")
    if not long:
        notes.append("the flats have one exposure: nothing shows how they change with it (no C)")
    if (
        warm
        and long
        and (len(temperatures_c) < 3 or abs(float(np.corrcoef(temperatures_c, exposures_s)[0, 1])) > _COLLINEAR)
    ):
        long = False
        notes.append("temperature and exposure change together: what belongs to which cannot be known; all is in B")
    terms = (Term.A, *((Term.B,) if warm else ()), *((Term.C,) if long else ()))
    return terms, tuple(notes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlatParameters:
    """Parameters of all pixels of a band and their covariance (`calibration.models.linear.pairs`)."""

    theta: Planes
    covariance: Planes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlatPrediction:
    """A flat that was not measured: mean and 1σ error, of float32, and whether it is inside of what was measured.

    The error is NaN outside of it in a direction in which the model has no slope.
    """

    mean: NDArray[np.float32]
    sigma: NDArray[np.float32]
    inside: bool


def parameters_of(model: FlatModel, fit: Fit) -> FlatParameters:
    """Return the parameters of a band with the errors that all pixels have in common added."""
    more = (1,) * (fit.theta.ndim - 1)
    common = np.array([model.common[i][j] if model.common else 0.0 for i, j in pairs(len(model.terms))])
    return FlatParameters(theta=fit.theta, covariance=fit.covariance * model.excess + common.reshape(-1, *more))


def predict(model: FlatModel, parameters: FlatParameters, temperature_c: float, exposure_s: float) -> FlatPrediction:
    """Return the normalised flat of a band at a temperature (°C) and an exposure (s)."""
    mean, variance = evaluated(model.design([temperature_c], [exposure_s])[0], parameters.theta, parameters.covariance)
    if not model.knows(temperature_c, exposure_s):
        variance = np.full_like(variance, np.nan)
    return FlatPrediction(
        mean=mean.astype(np.float32),
        sigma=np.sqrt(variance).astype(np.float32),
        inside=model.holds_at(temperature_c, exposure_s),
    )
