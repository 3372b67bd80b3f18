"""Darks of a detector of which every number is known: the means of groups, as a band of a model gets them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.models.dark.fit import Taken
from calibration.models.dark.model import BOLTZMANN_EV_K, ZERO_C_K, Noise
from calibration.models.means import GroupMean, group_mean
from services.models.dark.plan import recipe_of

GAIN_ADU_E, READ_E, STEP_ADU, BIAS_ADU = 4.0, 6.0, 16, 1024.0
NOISE = Noise(read_adu2=(GAIN_ADU_E * READ_E) ** 2 + STEP_ADU**2 / 12, per_adu=GAIN_ADU_E)
SATURATED_ADU = 65000.0
TEMPERATURES_C = (-10.0, -5.0, 0.0, 5.0, 10.0, 20.0)
EXPOSURES_S = (1.0, 5.0, 20.0)

Rate = Callable[[float], NDArray[np.float64]]
"""Dark rate in electrons per second at a temperature."""


def arrhenius(rng: np.random.Generator, pixels: int, *, scatter_ev: float = 0.0, hot: int = 6) -> Rate:
    """Return the rates of pixels whose activation energy falls with their level; the first ones are hot."""
    at_0 = 4.0 * np.exp(0.35 * rng.standard_normal(pixels))
    at_0[:hot] *= rng.uniform(30, 120, hot)
    energy = np.clip(0.75 - 0.05 * np.log(at_0 / 4.0), 0.45, 0.85) + scatter_ev * rng.standard_normal(pixels)

    def rate(celsius: float) -> NDArray[np.float64]:
        inverse = 1 / (celsius + ZERO_C_K) - 1 / ZERO_C_K
        return np.asarray(at_0 * np.exp(-energy / BOLTZMANN_EV_K * inverse))

    return rate


def energies(rate: Rate, celsius: float) -> NDArray[np.float64]:
    """Return the activation energies of rates at a temperature, in electron volts."""
    step = 0.5
    inverse = 1 / (celsius + step + ZERO_C_K) - 1 / (celsius - step + ZERO_C_K)
    return np.asarray(-BOLTZMANN_EV_K * np.log(rate(celsius + step) / rate(celsius - step)) / inverse)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Darks:
    """Groups of darks: means less a bias that is known exactly, of the even and of the odd frames and of all."""

    taken: Taken
    first: list[GroupMean]
    second: list[GroupMean | None]
    whole: list[GroupMean]
    rate: Rate

    def truth(self, celsius: float, seconds: float) -> NDArray[np.float64]:
        """Return the dark signal in ADU."""
        return self.rate(celsius) * (seconds * GAIN_ADU_E)


def made_darks(
    rng: np.random.Generator,
    rate: Rate,
    *,
    n: int = 4,
    temperatures: tuple[float, ...] = TEMPERATURES_C,
    exposures: tuple[float, ...] = EXPOSURES_S,
    glow: Callable[[float], NDArray[np.float64]] | None = None,
) -> Darks:
    """Make n frames of each temperature and exposure, in steps of 16 ADU; `glow` in electrons by the exposure."""
    at = [(t, e) for t in temperatures for e in exposures]
    parts: list[list[GroupMean | None]] = [[], [], []]
    for celsius, seconds in at:
        mean = rate(celsius) * seconds + (0.0 if glow is None else glow(seconds))
        electrons = rng.poisson(mean, (n, len(mean))) + READ_E * rng.standard_normal((n, len(mean)))
        steps = np.clip(np.rint((BIAS_ADU + GAIN_ADU_E * electrons) / STEP_ADU), 0, 4095)
        frames = (steps * STEP_ADU).astype(np.uint16)[:, None]
        for part, some in zip(parts, (frames[::2], frames[1::2], frames), strict=True):
            part.append(_mean(some) if len(some) else None)
    first, second, whole = parts
    label, exposure = np.array(at).T
    taken = Taken(temperature_c=label, exposure_s=exposure, frames=np.full(len(at), float(n)), label_c=label)
    return Darks(
        taken=taken,
        first=[each for each in first if each is not None],
        second=second,
        whole=[each for each in whole if each is not None],
        rate=rate,
    )


def lifted(made: Darks, levels_adu: NDArray[np.float64]) -> Darks:
    """Return darks of which each group has a level of its own beside that of its bias."""

    def raised(means: Sequence[GroupMean]) -> list[GroupMean]:
        return [replace(each, mean=each.mean + level) for each, level in zip(means, levels_adu, strict=True)]

    second = [each for each in made.second if each is not None]
    return replace(
        made,
        first=raised(made.first),
        second=[*raised(second)] if len(second) == len(made.second) else made.second,
        whole=raised(made.whole),
    )


def _mean(frames: NDArray[np.uint16]) -> GroupMean:
    recipe = recipe_of(NOISE, len(frames), STEP_ADU)
    found = group_mean(frames, np.full(len(frames), BIAS_ADU), recipe, saturation_adu=SATURATED_ADU)
    return replace(found, mean=found.mean[0], squares=found.squares[0], count=found.count[0])
