"""Biases of a detector of which every number is known, and their model by the pure functions."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.models.bias import Basis, BiasModel, Parameters, parameters_of
from calibration.models.choosing import Choice, Sample, choose, excess_of
from calibration.models.levels import Levels, fit_levels, level_of, levels_of, reference_of
from calibration.models.linear import Fit, fit_groups
from calibration.models.means import Groups, group_mean, recipe_for, stacked

NOISE_ADU, STEP_ADU = 24.0, 16
SIGMA_ADU = float(np.hypot(NOISE_ADU, STEP_ADU / 12**0.5))
"""Noise of a sample with its rounding."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Biases:
    """Frames in sessions of several temperatures; `curve` is that of the quadratic or, with `doubling_c`, of the other.

    The truth of pixel p is ``a + b d + c g(d)`` with d the temperature less the mean one.
    """

    frames: NDArray[np.uint16]
    temperature_c: NDArray[np.float64]
    label_c: NDArray[np.float64]
    group: NDArray[np.intp]
    session: NDArray[np.intp]
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    c: NDArray[np.float64]
    reference_c: float
    doubling_c: float | None

    def truth(self, celsius: float) -> NDArray[np.float64]:
        """Return the bias at a temperature, without the offset of a session."""
        d = celsius - self.reference_c
        curve = d**2 if self.doubling_c is None else 2 ** (d / self.doubling_c) - 1 - d * np.log(2) / self.doubling_c
        return np.asarray(self.a + self.b * d + self.c * curve)

    def slope(self, celsius: float) -> NDArray[np.float64]:
        """Return the slope of the truth."""
        return (self.truth(celsius + 0.01) - self.truth(celsius - 0.01)) / 0.02


def made_biases(
    seed: int,
    *,
    temperatures: tuple[float, ...] = (-10.0, -5.0, 0.0, 10.0, 20.0),
    n: int = 4,
    sessions: int = 2,
    curve: float = 0.0,
    doubling_c: float | None = None,
    shape: tuple[int, int] = (8, 8),
) -> Biases:
    """Make biases in steps of 16 ADU: n frames for each session and temperature."""
    rng = np.random.default_rng(seed)
    a, b = 1024 + 30 * rng.standard_normal(shape), 1.6 + 0.3 * rng.standard_normal(shape)
    c = curve * (1 + 0.3 * rng.standard_normal(shape))
    label = np.tile(np.repeat(temperatures, n), sessions)
    session = np.repeat(np.arange(sessions), n * len(temperatures))
    offsets = 3.0 * rng.standard_normal(sessions)
    made = Biases(
        frames=np.zeros((0, *shape), np.uint16),
        temperature_c=label + 0.05 * rng.standard_normal(label.size),
        label_c=label,
        group=np.repeat(np.arange(sessions * len(temperatures)), n),
        session=session,
        a=a,
        b=b,
        c=c,
        reference_c=float(np.mean(temperatures)),
        doubling_c=doubling_c,
    )
    common = (offsets - offsets.mean())[session] + 1.6 * rng.standard_normal(label.size)
    levels = np.array([made.truth(t) for t in made.temperature_c]) + common[:, None, None]
    values = np.rint((levels + NOISE_ADU * rng.standard_normal(levels.shape)) / STEP_ADU) * STEP_ADU
    return replace(made, frames=np.clip(values, 0, 65520).astype(np.uint16))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Modelled:
    """What was made of biases."""

    choice: Choice
    model: BiasModel
    fit: Fit
    parameters: Parameters


def modelled(made: Biases, basis: Basis | None = None) -> Modelled:
    """Fit a model as the command does, of the family that is chosen or of another one."""
    samples = made.frames.reshape(len(made.frames), -1).astype(np.float64)
    reference = reference_of(samples[:: max(1, len(samples) // 16)])
    level = np.array([level_of(sample, reference) for sample in samples])
    levels = levels_of(made.temperature_c, level, made.label_c, made.group, made.session)
    groups = groups_of(made, level)
    sample = _sample(levels, groups)
    choice = choose(sample) if basis is None else Choice(basis=basis, holdout=(), reason="")
    basis = choice.basis
    design = basis.design(levels.temperature_c)
    model = BiasModel(
        basis=basis,
        coldest_c=float(made.label_c.min()),
        warmest_c=float(made.label_c.max()),
        level=fit_levels(design, levels),
        excess=excess_of(basis, sample),
    )
    fit = fit_groups(design, levels.frames, groups, usual_variance=SIGMA_ADU**2)
    return Modelled(choice=choice, model=model, fit=fit, parameters=parameters_of(model, fit))


def groups_of(made: Biases, level: NDArray[np.float64]) -> Groups:
    """Return the means of the groups, each frame less its level."""
    means = []
    for number in range(int(made.group.max()) + 1):
        at = made.group == number
        recipe = recipe_for(int(at.sum()), noise_adu=SIGMA_ADU, step_adu=STEP_ADU)
        means.append(group_mean(made.frames[at], level[at], recipe))
    return stacked(means)


def _sample(levels: Levels, groups: Groups) -> Sample:
    flat = Groups(
        mean=groups.mean.reshape(len(groups.mean), -1),
        count=groups.count.reshape(len(groups.count), -1),
        squares=groups.squares.ravel(),
        freedom=groups.freedom.ravel(),
    )
    return Sample(
        temperature_c=levels.temperature_c, frames=levels.frames, label_c=levels.label_c, groups=flat, levels=levels
    )
