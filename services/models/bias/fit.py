"""The parameters of a bias model for each pixel: band after band, from the frames into the growing files."""

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.models.bias import BiasModel, Parameters, in_powers, parameters_of, predict
from calibration.models.left_out import mix, shares_left_out
from calibration.models.linear import ModelBit, fit_groups, flags_of, pairs
from calibration.models.linear_kernels import held_sums
from calibration.models.means import GroupMean, Groups, group_mean, recipe_for, stacked
from services.bands import Band, Source, read_band, read_rows
from services.files.planes import PlanesFile
from services.models.banding import fit_in_bands
from services.models.bias.plan import Plan
from services.models.gathering import Progress

_OF_A_GROUP = 6
"""Values of 8 bytes that are held for a pixel and a group."""

_OF_A_PIXEL = 48
_FAR = 5.0
"""In sigmas: a hot pixel counts as no more in the rms of all pulls."""

LETTERS = "ABC"
"""Names of the planes of parameters."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """What a band needs; frozen and picklable, so that any executor can work on it.

    Attributes
    ----------
    sources : tuple of Source
        The frames of all groups, one group after the other.
    sizes : tuple of int
        Frames of each group.
    levels_adu : ndarray, shape (n,)
    temperature_c, label_c : ndarray, shape (K,)
        Of each group.
    model : BiasModel
    level_adu, level_errors_adu : mapping of float to float
        Mean level at each temperature, and measured minus predicted one where the temperature is left out.
    noise_adu, step_adu, saturation_adu : float
    hot : Source, optional
        A mask of hot pixels.
    """

    sources: tuple[Source, ...]
    sizes: tuple[int, ...]
    levels_adu: NDArray[np.float64]
    temperature_c: NDArray[np.float64]
    label_c: NDArray[np.float64]
    model: BiasModel
    level_adu: Mapping[float, float]
    level_errors_adu: Mapping[float, float]
    noise_adu: float
    step_adu: float
    saturation_adu: float
    hot: Source | None = None

    @property
    def labels_c(self) -> tuple[float, ...]:
        """The temperatures, rising."""
        return tuple(sorted(self.level_adu))


def work_of(plan: Plan, hot: Source | None = None) -> Work:
    """Return what the bands of a plan need."""
    order = [i for group in plan.groups for i in group]
    levels, at = plan.levels, plan.levels.label_c
    labels = [float(label) for label in np.unique(at)]
    family = plan.model.basis.family
    return Work(
        sources=tuple(plan.sources[i] for i in order),
        sizes=tuple(map(len, plan.groups)),
        levels_adu=plan.levels_adu[order],
        temperature_c=plan.group_temperature_c,
        label_c=plan.group_label_c,
        model=plan.model,
        level_adu={t: float(np.average(levels.level_adu[at == t], weights=levels.frames[at == t])) for t in labels},
        level_errors_adu={r.temperature_c: r.level_adu for r in plan.choice.holdout if r.family is family},
        noise_adu=plan.noise_adu,
        step_adu=plan.step_adu,
        saturation_adu=plan.saturation_adu,
        hot=hot,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Held:
    """A temperature in a band: the mean of its frames, and that predicted from the other temperatures (NaN: by none).

    Arrays have the shape (rows, x). The difference is expected to have the variance of a sample, times `widening`, by
    the noise of the pixels. It has no part in `level_adu`, the difference that all of them have in common.
    """

    measured: NDArray[np.float64]
    predicted: NDArray[np.float64]
    variance: NDArray[np.float64]
    widening: float
    level_adu: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Modelled:
    """A band of a model: planes by their names, a and b (and c) in powers of T, and each temperature held out."""

    planes: Mapping[str, NDArray[Any]]
    powers: NDArray[np.float64]
    parameters: Parameters
    held: Mapping[float, Held]


def model_band(work: Work, band: Band) -> Modelled:
    """Read and fit one band: the `work` of `map_bands`."""
    groups = means_of(work, band)
    design, weights = work.model.basis.design(work.temperature_c), np.array(work.sizes, np.float64)
    fit = fit_groups(design, weights, groups, usual_variance=work.noise_adu**2)
    parameters = parameters_of(work.model, fit)
    mask, powers = flags_of(fit, len(weights)), in_powers(work.model, parameters.theta)
    if work.hot is not None:
        hot = np.nan_to_num(read_rows(work.hot, band)) != 0
        mask = mask | np.where(hot, ModelBit.HOT, 0).astype(np.uint16)
        powers = np.where(hot, np.nan, powers)
    planes: dict[str, NDArray[Any]] = dict(zip(LETTERS, parameters.theta, strict=False))
    planes |= dict(zip(covariance_names(len(parameters.theta)), parameters.covariance, strict=True))
    planes |= {
        "NOISE": np.sqrt(fit.variance),
        "CHI2": fit.chi_square,
        "COUNT": groups.count.sum(axis=0),
        "MASK": mask,
    }
    held = _held(work, design, groups, fit.variance)
    return Modelled(planes=planes, powers=powers, parameters=parameters, held=held)


def covariance_names(p: int) -> list[str]:
    """Return the names of the planes of a covariance: `COV_AB` is that of A and B."""
    return [f"COV_{LETTERS[i]}{LETTERS[j]}" for i, j in pairs(p)]


def means_of(work: Work, band: Band) -> Groups:
    """Return the means of the groups in a band, each frame less its level."""
    return stacked([_mean(work, number, band) for number in range(len(work.sizes))])


def _mean(work: Work, number: int, band: Band) -> GroupMean:
    start = sum(work.sizes[:number])
    part = slice(start, start + work.sizes[number])
    frames = read_band(work.sources[part], band)
    recipe = recipe_for(len(frames), noise_adu=work.noise_adu, step_adu=work.step_adu)
    return group_mean(frames, work.levels_adu[part], recipe, saturation_adu=work.saturation_adu)


def _held(work: Work, design: NDArray[np.float64], groups: Groups, variance: NDArray[np.float64]) -> dict[float, Held]:
    """Return each temperature as it was measured, and as the others predict it."""
    weights, shares, widenings = np.array(work.sizes, np.float64), list[NDArray[np.float64]](), list[float]()
    for label in work.labels_c:
        block = work.label_c == label
        share = np.where(block, weights, 0.0) / weights[block].sum()
        left, covariance = shares_left_out(design, weights, block)
        shares += [share, share[block] @ left]
        widenings.append(work.model.excess * float(share[block] @ covariance @ share[block]))
    sums, held = mix(np.stack(shares), groups.mean), dict[float, Held]()
    for label, mean, error, widening in zip(work.labels_c, sums[::2], sums[1::2], widenings, strict=True):
        level = work.level_errors_adu.get(label, float("nan"))
        measured = np.add(mean, work.level_adu[label], out=mean)
        predicted = np.subtract(measured, error, out=error)
        predicted -= level
        held[label] = Held(
            measured=measured, predicted=predicted, variance=variance, widening=widening, level_adu=level
        )
    return held


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Targets:
    """The files that the bands go to; the maps that earlier programs had are `powers`, by their letters."""

    model: PlanesFile
    powers: Mapping[str, PlanesFile]
    masters: Mapping[float, PlanesFile]
    synthetic: Mapping[float, PlanesFile]
    evaluation: Mapping[float, PlanesFile]


class Evaluation:
    """Sums over all pixels of measured minus predicted, for each temperature that was left out."""

    def __init__(self) -> None:
        self._sums: dict[float, NDArray[np.float64]] = {}

    def add(self, held: Mapping[float, Held]) -> None:
        """Add a band."""
        for label, each in held.items():
            planes = (each.measured.ravel(), each.predicted.ravel(), each.variance.ravel())
            found = held_sums(*planes, (each.widening, each.level_adu, _FAR))
            self._sums[label] = self._sums.get(label, 0.0) + found

    def rows(self) -> list[dict[str, float]]:
        """Return a row for each temperature: errors in ADU, `mape_pct` in percent; NaN where nothing was predicted."""
        found = []
        for label, (n, total, absolute, squares, relative, pulls, pixels, level, power) in sorted(self._sums.items()):
            held, shown = n or np.nan, pixels or np.nan
            mean = level / shown
            found.append({
                "temperature_c": label,
                "pixels": n,
                "bias_adu": total / held,
                "mae_adu": absolute / held,
                "rms_adu": float(np.sqrt(squares / held)),
                "mape_pct": 100 * relative / held,
                "pull_rms": float(np.sqrt(pulls / held)),
                "mean_adu": mean,
                "std_adu": float(np.sqrt(max(power / shown - mean**2, 0.0))),
            })  # fmt: skip
        return found


def fit_bands(
    work: Work,
    targets: Targets,
    *,
    memory_mb: float = 256.0,
    executor: Executor | None = None,
    progress: Progress = lambda *_: None,
) -> Evaluation:
    """Fit a model band by band into its files; the memory does not depend on the number of frames.

    Parameters
    ----------
    work : Work
    targets : Targets
    memory_mb : float
        For the bands that are worked on at once.
    executor : Executor, optional
        Threads of our own by default; processes give the same planes.
    progress : callable
    """
    sums = Evaluation()

    def take(band: Band, done: Modelled) -> None:
        sums.add(done.held)
        _write(work.model, targets, band.start, done)

    fit_in_bands(
        work.sources,
        lambda sources: replace(work, sources=sources),
        model_band,
        take,
        sizes=work.sizes,
        held=_OF_A_GROUP * len(work.sizes) + _OF_A_PIXEL,
        memory_mb=memory_mb,
        executor=executor,
        progress=progress,
    )
    return sums


def _write(model: BiasModel, targets: Targets, y: int, done: Modelled) -> None:
    for name, plane in done.planes.items():
        targets.model.write(name, y, plane)
    for letter, plane in zip(LETTERS, done.powers, strict=False):
        targets.powers[letter].write("MEAN", y, plane)
    for label, held in done.held.items():
        targets.masters[label].write("MEAN", y, held.measured)
        if label in targets.evaluation:
            targets.evaluation[label].write("MEAN", y, held.predicted)
            targets.evaluation[label].write("DIFF", y, held.measured - held.predicted)
    for label, file in targets.synthetic.items():
        prediction = predict(model, done.parameters, label)
        file.write("MEAN", y, prediction.mean)
        file.write("SIGMA", y, prediction.sigma)
        file.write("MASK", y, done.planes["MASK"])
