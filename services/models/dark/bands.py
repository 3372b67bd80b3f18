"""The parameters of a dark model for each pixel: band after band, from the frames into the growing files."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.models.dark.fit import DarkFit, Pedestal, Taken, fit_darks
from calibration.models.dark.model import DarkModel, Law, Noise, Parameters, predict
from calibration.models.dark.ties import Levels
from calibration.models.linear import pairs
from calibration.models.means import GroupMean, Groups, Planes, group_mean, stacked
from services.bands import Band, Source, read_band
from services.files.planes import PlanesFile
from services.models.banding import fit_in_bands
from services.models.bias import fit as bias_fit
from services.models.dark.bias import Bias
from services.models.dark.plan import Grouped, recipe_of
from services.models.gathering import Progress

_OF_A_GROUP = 10
"""Values of 8 bytes that are held for a pixel and a group."""

_OF_A_PIXEL = 60


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Darks:
    """What the means of the darks of a band need; frozen and picklable, so that any executor can work on it.

    Attributes
    ----------
    sources : tuple of Source
        The darks of all groups, one group after the other.
    sizes : tuple of int
        Darks of each group.
    drifts_adu : ndarray, shape (n,)
    taken : Taken
    bias : Bias
    levels : Levels
        Of the groups, beside those of their bias.
    noise : Noise
        Of a sample, by which few frames are clipped.
    step_adu, saturation_adu : float
    """

    sources: tuple[Source, ...]
    sizes: tuple[int, ...]
    drifts_adu: NDArray[np.float64]
    taken: Taken
    bias: Bias
    levels: Levels
    noise: Noise
    step_adu: float
    saturation_adu: float

    @property
    def pedestal(self) -> Pedestal:
        """What the errors of the bias and of the levels add to the darks."""
        return self.bias.pedestal.with_levels(self.levels, self.taken, self.noise)

    @property
    def every(self) -> tuple[Source, ...]:
        """The darks, then the biases."""
        return self.sources if self.bias.work is None else (*self.sources, *self.bias.work.sources)

    def of(self, every: tuple[Source, ...]) -> "Darks":
        """Return the same with the sources of `every`, as they are held open."""
        count, biases = len(self.sources), self.bias.work
        if biases is None:
            return replace(self, sources=every)
        bias = replace(self.bias, work=replace(biases, sources=every[count:]))
        return replace(self, sources=every[:count], bias=bias)

    @property
    def of_groups(self) -> tuple[int, ...]:
        """Frames of each group, of biases too."""
        return self.sizes if self.bias.work is None else (*self.sizes, *self.bias.work.sizes)

    @property
    def held(self) -> int:
        """Values of 8 bytes that are held for a pixel beside the frames of a group."""
        return _OF_A_GROUP * len(self.of_groups) + _OF_A_PIXEL


def darks_of(grouped: Grouped, noise: Noise) -> Darks:
    """Return what the bands of some darks need."""
    order = [i for group in grouped.groups for i in group]
    return Darks(
        sources=tuple(grouped.sources[i] for i in order),
        sizes=tuple(map(len, grouped.groups)),
        drifts_adu=grouped.drifts_adu[order],
        taken=grouped.taken,
        bias=replace(grouped.bias, unused={}, inputs=()),
        levels=grouped.levels,
        noise=noise,
        step_adu=grouped.step_adu,
        saturation_adu=grouped.saturation_adu,
    )


def means_of(darks: Darks, band: Band) -> Groups:
    """Return the means of the groups of a band, less their bias and their levels, in ADU."""
    groups = stacked([_mean(darks, number, band) for number in range(len(darks.sizes))])
    if darks.bias.work is None:
        return groups
    levels = darks.bias.level_adu.reshape(-1, 1, 1)
    bias = darks.bias.planes(bias_fit.means_of(darks.bias.work, band))
    return replace(groups, mean=groups.mean + levels - bias)


def _mean(darks: Darks, number: int, band: Band) -> GroupMean:
    start = sum(darks.sizes[:number])
    part = slice(start, start + darks.sizes[number])
    frames = read_band(darks.sources[part], band)
    recipe = recipe_of(darks.noise, len(frames), darks.step_adu)
    levels = darks.drifts_adu[part] + (darks.bias.level_adu[number] + darks.levels.value_adu[number])
    return group_mean(frames, levels, recipe, saturation_adu=darks.saturation_adu)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """Darks of one temperature and exposure: what they are called, their mean temperature, and how many they are."""

    label_c: float
    temperature_c: float
    exposure_s: float
    frames: int

    def groups(self, taken: Taken) -> NDArray[np.bool_]:
        """Return which groups are theirs."""
        return np.asarray((taken.label_c == self.label_c) & (taken.exposure_s == self.exposure_s))


def shots_of(taken: Taken) -> tuple[Shot, ...]:
    """Return the temperatures and exposures of groups, in their order."""
    found = []
    for exposure_s, label_c in sorted({(e, t) for e, t in zip(taken.exposure_s, taken.label_c, strict=True)}):
        of = (taken.label_c == label_c) & (taken.exposure_s == exposure_s)
        frames = taken.frames[of]
        found.append(
            Shot(
                label_c=float(label_c),
                temperature_c=float(np.average(taken.temperature_c[of], weights=frames)),
                exposure_s=float(exposure_s),
                frames=int(frames.sum()),
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """The mean of the darks of one temperature and exposure in a band, in ADU above the bias, its error, and its count.

    NaN where no sample is left, or some are saturated.
    """

    mean: Planes
    sigma: Planes
    count: NDArray[np.uint32]


def measured(shot: Shot, taken: Taken, groups: Groups, model: DarkModel, factor: Planes) -> Measured:
    """Return the mean of all darks of one temperature and exposure.

    Parameters
    ----------
    shot : Shot
    taken : Taken
        Of K groups.
    groups : Groups
        Means of a band, less the bias.
    model : DarkModel
        Whose noise gives the error.
    factor : ndarray
        Of each pixel's noise.
    """
    of = shot.groups(taken)
    count = groups.count[of].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (np.nan_to_num(groups.mean[of]) * count).sum(axis=0) / count.sum(axis=0)
        variance = (model.noise.read_adu2 + model.noise.per_adu * np.maximum(mean, 0.0)) * factor
        cut = (groups.count[of] < taken.frames[of].reshape(-1, 1, 1)) & (mean + 5 * np.sqrt(variance) > model.limit_adu)
        mean = np.where(cut.any(axis=0), np.nan, mean)  # a mean of what is not saturated would be too low
        return Measured(
            mean=mean, sigma=np.sqrt(variance / count.sum(axis=0)), count=count.sum(axis=0).astype(np.uint32)
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """What a band of a model needs."""

    darks: Darks
    model: DarkModel
    shots: tuple[Shot, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Modelled:
    """A band of a model: planes by their names, and the darks of each temperature and exposure."""

    planes: Mapping[str, NDArray[Any]]
    parameters: Parameters
    shots: tuple[Measured, ...]


def model_band(work: Work, band: Band) -> Modelled:
    """Read and fit one band: the `work` of `map_bands`."""
    groups, taken = means_of(work.darks, band), work.darks.taken
    fit = fit_darks(work.model, taken, work.darks.pedestal, groups)
    factor = np.where(np.isfinite(fit.factor), fit.factor, 1.0)
    if work.darks.bias.work is None:
        groups = replace(groups, mean=groups.mean - constant(work.model, fit.parameters, taken, groups))
    return Modelled(
        planes=planes_of(work.model, fit, groups),
        parameters=fit.parameters,
        shots=tuple(measured(shot, taken, groups, work.model, factor) for shot in work.shots),
    )


def constant(model: DarkModel, parameters: Parameters, taken: Taken, groups: Groups) -> Planes:
    """Return what darks without biases have beside the dark that a model predicts for them: the bias of each pixel."""
    count, rest = groups.count.astype(np.float64), np.zeros_like(groups.mean)
    for number, (celsius, seconds) in enumerate(zip(taken.temperature_c, taken.exposure_s, strict=True)):
        rest[number] = groups.mean[number] - predict(model, parameters, float(celsius), float(seconds)).mean
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((np.nan_to_num(rest) * count).sum(axis=0) / count.sum(axis=0))


def planes_of(model: DarkModel, fit: DarkFit, groups: Groups) -> dict[str, NDArray[Any]]:
    """Return the planes of a fit by their names."""
    planes: dict[str, NDArray[Any]] = dict(zip(model.law.names, fit.parameters.theta, strict=True))
    planes |= dict(zip(covariance_names(model.law), fit.parameters.covariance, strict=True))
    return planes | {
        "NOISE": np.sqrt(fit.factor * model.noise.read_adu2),
        "CHI2": fit.chi_square,
        "COUNT": groups.count.sum(axis=0),
        "MASK": fit.mask,
    }


def covariance_names(law: Law) -> list[str]:
    """Return the names of the planes of a covariance, as `pairs` orders them."""
    return [f"COV_{law.names[i]}_{law.names[j]}" for i, j in pairs(law.size)]


def fit_bands(
    work: Work,
    model: PlanesFile,
    masks: Sequence[PlanesFile | None],
    *,
    memory_mb: float = 256.0,
    executor: Executor | None = None,
    progress: Progress = lambda *_: None,
) -> None:
    """Fit a model band by band into its files; the memory does not depend on the number of frames.

    Parameters
    ----------
    work : Work
    model : PlanesFile
    masks : sequence of PlanesFile or None
        For the darks of each temperature and exposure; None: they are not written.
    memory_mb : float
        For the bands that are worked on at once.
    executor : Executor, optional
        Threads of our own by default; processes give the same planes.
    progress : callable
    """

    def take(band: Band, done: Modelled) -> None:
        for name, plane in done.planes.items():
            model.write(name, band.start, plane)
        for shot, file, found in zip(work.shots, masks, done.shots, strict=True):
            if file is not None:
                file.write("MEAN", band.start, found.mean / shot.exposure_s)
                file.write("SIGMA", band.start, found.sigma / shot.exposure_s)
                file.write("COUNT", band.start, found.count)

    darks = work.darks
    fit_in_bands(
        darks.every,
        lambda every: replace(work, darks=darks.of(every)),
        model_band,
        take,
        sizes=darks.of_groups,
        held=darks.held,
        memory_mb=memory_mb,
        executor=executor,
        progress=progress,
    )
