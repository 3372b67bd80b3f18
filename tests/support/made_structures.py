"""Flats and darks of a detector of which every number is known, with structures that come and go, and what is found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from calibration.models.means import GroupMean, group_mean
from calibration.models.structure.differences import (
    additive_sigma,
    cell_side,
    cells_of,
    difference,
    drift_of,
    without,
)
from calibration.models.structure.finding import candidates
from calibration.models.structure.noise import NoiseLaw, as_normal, fit_law, pixel_noise, recipe_of
from calibration.models.structure.shapes import Structure, merged, significant, structures_of

Planes = NDArray[np.float64]
Change = Callable[[Planes, Planes], Planes]
"""By what a structure multiplies the light, given rows and columns of the pixels."""

STEP_ADU, GAIN, READ_NOISE_E, BIAS_ADU12 = 16, 0.25, 6.0, 64.0


def dust(y: float, x: float, depth: float, sigma: float) -> Change:
    """Return a grain that is out of focus: a disc with soft edges; a negative depth is a ghost."""
    return lambda rows, columns: 1 - depth * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))


def donut(y: float, x: float, depth: float, radius: float) -> Change:
    """Return the shadow of a grain with the hole of the secondary mirror."""

    def factor(rows: Planes, columns: Planes) -> Planes:
        r = np.hypot(rows - y, columns - x)
        return np.asarray(1 - depth * ((r <= radius) & (r >= 0.45 * radius)))

    return factor


def scratch(y: float, x: float, length: float, degrees: float, depth: float) -> Change:
    """Return a line of about two pixels."""

    def factor(rows: Planes, columns: Planes) -> Planes:
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        along, across = (columns - x) * c + (rows - y) * s, (rows - y) * c - (columns - x) * s
        return np.asarray(1 - depth * ((np.abs(along) <= length / 2) & (np.abs(across) <= 0.8)))

    return factor


def box(top: int, left: int, bottom: int, right: int, factor: float) -> Change:
    """Return a box of pixels: a dead pixel, a column."""

    def changed(rows: Planes, columns: Planes) -> Planes:
        inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
        return np.where(inside, factor, 1.0)

    return changed


class Sensor:
    """A small camera: what its pixels are is drawn once from a seed, noise with each frame."""

    def __init__(self, seed: int, shape: tuple[int, int] = (48, 64)) -> None:
        self._rng = np.random.default_rng(seed)
        self.shape = shape
        rng, (height, width) = self._rng, shape
        self.rows, self.columns = np.mgrid[:height, :width].astype(np.float64)
        radius = np.hypot(self.rows - height / 2 - 2, self.columns - width / 2 + 3) / np.hypot(height / 2, width / 2)
        self.flat = (1 - 0.25 * radius**2 + 0.02 * radius**4) * (1 + 0.01 * rng.standard_normal(shape))
        self.bias = BIAS_ADU12 + 1.5 * rng.standard_normal(shape)
        self.dark = np.exp(np.log(4.0) + 0.35 * rng.standard_normal(shape))
        self.dark.flat[rng.choice(self.dark.size, 12, replace=False)] *= rng.uniform(30, 120, 12)

    def frames(
        self,
        n: int,
        *,
        light: float = 450.0,
        exposure_s: float = 10.0,
        changes: Sequence[Change] = (),
        drift: float = 0.0,
    ) -> NDArray[np.uint16]:
        """Return flats of one epoch, or darks where there is no light; `drift` tilts the lamp by that part."""
        factor = np.ones(self.shape)
        for change in changes:
            factor = factor * change(self.rows, self.columns)
        factor = factor * (1 + drift * (self.columns / self.shape[1] - 0.5))
        electrons = self._rng.poisson((self.dark + light * self.flat * factor) * exposure_s, (n, *self.shape))
        noise = READ_NOISE_E * self._rng.standard_normal(electrons.shape)
        adu12 = np.rint(self.bias + GAIN * (electrons + noise))
        return (np.clip(adu12, 0, 4095) * STEP_ADU).astype(np.uint16)

    def darks(self, n: int, *, exposure_s: float = 10.0, more: Planes | float = 0.0) -> NDArray[np.uint16]:
        """Return darks of one epoch; `more` are electrons per second of each pixel."""
        electrons = self._rng.poisson((self.dark + more) * exposure_s, (n, *self.shape))
        noise = READ_NOISE_E * self._rng.standard_normal(electrons.shape)
        adu12 = np.rint(self.bias + GAIN * (electrons + noise))
        return (np.clip(adu12, 0, 4095) * STEP_ADU).astype(np.uint16)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Epoch:
    """The mean of the frames of an epoch, of flats relative to their light."""

    mean: GroupMean
    level_adu: float


def laws_of(series: Sequence[NDArray[np.uint16]], *, flat: bool = True) -> NoiseLaw:
    """Return the law of the noise, from neighbours in each epoch, of single frames from those of all epochs."""
    nets = [_net(frames, flat=flat) for frames in series]
    pairs = [(a, b) for frames in nets for a, b in pairwise(frames)]
    pairs = pairs or list(pairwise(np.concatenate(nets)))
    level = np.stack([(a + b) / 2 for a, b in pairs])
    squares = np.stack([(b * (a.mean() / b.mean() if flat else 1) - a) ** 2 / 2 for a, b in pairs])
    return fit_law(level, squares, np.ones(level.shape))


def _net(frames: NDArray[np.uint16], *, flat: bool) -> NDArray[np.float32]:
    return frames.astype(np.float32) - np.float32(BIAS_ADU12 * STEP_ADU if flat else 0)


def epoch_of(frames: NDArray[np.uint16], law: NoiseLaw, *, flat: bool = True) -> Epoch:
    """Return the mean of equal frames as the command makes it."""
    values = _net(frames, flat=flat)
    levels = np.median(values, axis=(1, 2))
    scale = levels if flat else np.ones(len(levels), np.float32)
    level = float(scale.mean())
    recipe = recipe_of(law, len(values), level_adu=level if flat else 1.0, step_adu=STEP_ADU)
    return Epoch(mean=group_mean(values / scale[:, None, None], np.zeros(len(values)), recipe), level_adu=level)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analysed:
    """What was found in a series, with the uncertainties of the epochs and the differences from the first one."""

    law: NoiseLaw
    structures: list[Structure]
    sigmas: list[Planes]
    values: list[Planes]


def analysed(series: Sequence[NDArray[np.uint16]], *, flat: bool = True) -> Analysed:
    """Compare each epoch with the first, as the command does."""
    law = laws_of(series, flat=flat)
    epochs = [epoch_of(frames, law, flat=flat) for frames in series]
    variances = [law.variance(e.mean.mean * e.level_adu) / e.level_adu**2 for e in epochs]
    chi = np.sum([e.mean.squares / v for e, v in zip(epochs, variances, strict=True)], axis=0)
    freedom = np.sum([np.maximum(e.mean.count - 1.0, 0) for e in epochs], axis=0)
    noise = pixel_noise(law, chi, freedom)
    sigmas = [np.sqrt(v * noise.factor / e.mean.count) for e, v in zip(epochs, variances, strict=True)]
    found: list[Structure] = []
    values, tests = [np.zeros(chi.shape)], 0
    for number, (epoch, sigma) in enumerate(zip(epochs[1:], sigmas[1:], strict=True), 1):
        old = epochs[0].mean.mean
        d = difference(epoch.mean.mean, sigma, old, sigmas[0], relative=flat)
        d = without(d, drift_of(cells_of(d.value, cell_side(chi.shape)), chi.shape))
        more = additive_sigma(old, epoch.level_adu / epochs[0].level_adu) if flat else np.zeros(chi.shape)
        error = np.hypot(d.sigma, more)
        seen = candidates(as_normal(d.value / error, noise.freedom), error, known=law.known)
        found += structures_of(seen, number)
        values.append(d.value)
        tests += seen.tests
    return Analysed(law=law, structures=significant(merged(found), tests), sigmas=sigmas, values=values)
