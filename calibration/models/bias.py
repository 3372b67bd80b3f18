"""The bias of each pixel against the temperature of the sensor.

The model of pixel p in frame k is ``a_p + b_p d + c_p g(d) + o_s + noise`` with d the temperature less a reference; o_s
is the offset that all pixels have in common in session s. The g(d) of the quadratic family is d², that of the
exponential one is ``2^(d/D) - 1 - d ln 2 / D`` (dark charge that doubles every D degrees), so that a and b are the bias
and its slope at the reference in every family. What all pixels of a frame have in common is taken off first, as the
level of the frame (`levels`); the rest is fitted pixel by pixel (`linear`), and the levels by themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.models.levels import LevelFit
from calibration.models.linear import Fit, evaluated, pairs
from calibration.models.means import Planes

_EDGE_C = 0.5
"""So far beyond the temperatures of the frames a prediction still counts as one inside their range."""


class Family(StrEnum):
    """How the bias depends on temperature; CONSTANT where the frames have one temperature."""

    CONSTANT = "constant"
    LINEAR = "linear"
    QUADRATIC = "quadratic"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """The functions of temperature that a family is a sum of; `doubling_c` of the exponential one only."""

    family: Family
    reference_c: float
    doubling_c: float | None = None

    @property
    def size(self) -> int:
        """Number of parameters."""
        return {Family.CONSTANT: 1, Family.LINEAR: 2}.get(self.family, 3)

    def design(self, temperatures_c: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the functions at each temperature, shape (K, p)."""
        d = np.asarray(temperatures_c, np.float64) - self.reference_c
        columns = [np.ones_like(d), d]
        if self.doubling_c is not None:
            columns.append(np.exp2(d / self.doubling_c) - 1 - d * np.log(2) / self.doubling_c)
        else:
            columns.append(d**2)
        return np.stack(columns[: self.size], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasModel:
    """What holds for all pixels of a bias model.

    Attributes
    ----------
    basis : Basis
    coldest_c, warmest_c : float
        Temperatures between which it was measured.
    level : LevelFit
        What all pixels have in common.
    excess : float
        Factor of all variances of the pixels' parameters: how much more the means of the groups scatter about the model
        than the noise of the frames explains, at least 1.
    """

    basis: Basis
    coldest_c: float
    warmest_c: float
    level: LevelFit
    excess: float = 1.0

    @classmethod
    def from_plain(cls, said: Mapping[str, Any]) -> "BiasModel":
        """Return the model of the plain values of its sidecar: `model` and `domain`.

        Raises
        ------
        ValueError, KeyError, TypeError
            The values are no bias model's.
        """
        model, level = said["model"], dict(said["model"]["level"])
        for name in ("session_sigma_adu", "frame_sigma_adu"):
            level[name] = float("nan") if level[name] is None else level[name]
        for name in ("theta", "offsets_adu"):
            level[name] = tuple(level[name])
        level["covariance"] = tuple(map(tuple, level["covariance"]))
        family = Family(model["family"])
        return cls(
            basis=Basis(family=family, reference_c=model["reference_c"], doubling_c=model["doubling_c"]),
            coldest_c=said["domain"]["coldest_c"],
            warmest_c=said["domain"]["warmest_c"],
            level=LevelFit(**level),
            excess=model["excess"],
        )

    def holds_at(self, temperature_c: float) -> bool:
        """Whether a prediction is one within the range that was measured."""
        return self.coldest_c - _EDGE_C <= temperature_c <= self.warmest_c + _EDGE_C


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parameters:
    """The parameters of all pixels of a band, level included.

    Attributes
    ----------
    theta : ndarray, shape (p, ...)
        a, b and c of the reference temperature, in ADU, ADU/°C and the unit of the third function.
    covariance : ndarray, shape (p (p + 1) / 2, ...)
        The upper triangle, row by row (`calibration.models.linear.pairs`). The part that the level adds is common to
        all pixels.
    """

    theta: Planes
    covariance: Planes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """A bias that was not measured.

    Attributes
    ----------
    mean, sigma : ndarray of float32, shape (...)
        In ADU. Sigma is the 1σ uncertainty of a session's mean bias: that of the parameters and the scatter of the
        sessions' offsets; NaN where nothing is known of how the bias changes with temperature.
    inside : bool
        Whether the temperature is in the range that was measured.
    """

    mean: NDArray[np.float32]
    sigma: NDArray[np.float32]
    inside: bool


def parameters_of(model: BiasModel, fit: Fit) -> Parameters:
    """Return the parameters of a band with those of the common level added."""
    more = (1,) * (fit.theta.ndim - 1)
    common = np.array([model.level.covariance[i][j] for i, j in pairs(model.basis.size)])
    return Parameters(
        theta=fit.theta + np.asarray(model.level.theta).reshape(-1, *more),
        covariance=fit.covariance * model.excess + common.reshape(-1, *more),
    )


def predict(model: BiasModel, parameters: Parameters, temperature_c: float) -> Prediction:
    """Return the bias of a band at a temperature.

    Parameters
    ----------
    model : BiasModel
    parameters : Parameters
        As from `parameters_of`, in any float type.
    temperature_c : float
        Temperature of the sensor in degrees Celsius.
    """
    row = model.basis.design([temperature_c])[0]
    mean, variance = evaluated(row, parameters.theta, parameters.covariance)
    variance = variance + np.nan_to_num(model.level.session_sigma_adu) ** 2
    inside = model.holds_at(temperature_c)
    if model.basis.family is Family.CONSTANT and not inside:
        variance = np.full_like(variance, np.nan)
    return Prediction(mean=mean.astype(np.float32), sigma=np.sqrt(variance).astype(np.float32), inside=inside)


def in_powers(model: BiasModel, theta: Planes) -> Planes:
    """Return parameters as the coefficients of ``a + b T [+ c T²]``, T in degrees Celsius.

    That is how earlier programs wrote them. Of the exponential family the third is that of ``2^(T / D)``.
    """
    reference, doubling = model.basis.reference_c, model.basis.doubling_c
    changed = theta.copy()
    if model.basis.size == 1:
        return changed
    if model.basis.family is Family.QUADRATIC:
        changed[0] += theta[2] * reference**2
        changed[1] -= 2 * theta[2] * reference
    elif doubling is not None:
        slope = theta[2] * np.log(2) / doubling
        changed[0] -= theta[2]
        changed[1] -= slope
        changed[2] *= np.exp2(-reference / doubling)
    changed[0] -= changed[1] * reference if doubling is not None else theta[1] * reference
    return changed
