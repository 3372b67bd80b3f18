"""The parameters of a flat model for each pixel: band after band, from normalised flats into the growing files."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.models.flat.model import FlatModel, FlatParameters, Term, parameters_of
from calibration.models.flat.noise import Shared, in_units_of_noise
from calibration.models.flat.significance import Significance, SignificanceSums
from calibration.models.left_out import leave_out
from calibration.models.linear import fit_groups, flags_of, pairs
from calibration.models.means import GroupMean, Groups, group_mean, recipe_for, stacked
from services.bands import Band, Source, read_band, read_rows
from services.files.planes import PlanesFile
from services.models.banding import fit_in_bands
from services.models.flat.plan import FlatPlan
from services.models.gathering import Progress

_OF_A_GROUP, _OF_A_PIXEL = 6, 60
"""Values of 8 bytes that are held for a pixel and a group, and for a pixel."""

_FAR = 5.0
"""In sigmas: a bad pixel counts as no more in the rms of all pulls."""

Label = tuple[float, float]
"""What temperature (°C) and exposure (s) of a group are called."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlatWork:
    """What a band needs; frozen and picklable, so that any executor can work on it.

    Attributes
    ----------
    sources : tuple of Source
        The frames of all groups, one group after the other.
    sizes : tuple of int
        Frames of each group.
    labels : tuple of (float, float)
        Of each group.
    relative_noise : ndarray, shape (K,)
        Of a sample of each group, relative to `noise`.
    design : ndarray, shape (K, p)
        Over the relative noise.
    shared : Shared
    model : FlatModel
    noise, step : float
    darks : tuple of Source
        Errors of the darks.
    dark_shares : ndarray, shape (darks, K)
    """

    sources: tuple[Source, ...]
    sizes: tuple[int, ...]
    labels: tuple[Label, ...]
    relative_noise: NDArray[np.float64]
    design: NDArray[np.float64]
    shared: Shared
    model: FlatModel
    noise: float
    step: float
    darks: tuple[Source, ...]
    dark_shares: NDArray[np.float64]


def work_of(plan: FlatPlan) -> FlatWork:
    """Return what the bands of a plan need."""
    relative, order = np.array(plan.relative_noise), [i for group in plan.groups for i in group]
    return FlatWork(
        sources=tuple(plan.frames[i].source for i in order),
        sizes=tuple(map(len, plan.groups)),
        labels=plan.labels,
        relative_noise=relative,
        design=plan.model.design(plan.temperature_c, plan.exposure_s) / relative[:, None],
        shared=replace(plan.shared, factors=plan.shared.factors[order]),
        model=plan.model,
        noise=plan.noise,
        step=plan.step,
        darks=plan.darks,
        dark_shares=np.array(plan.dark_shares).reshape(len(plan.darks), len(plan.groups)),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldFlat:
    """Temperature and exposure in a band: the mean of their frames, and that predicted from all others (NaN: by none).

    Arrays have the shape (rows, x); `sigma` is what their difference is expected to be.
    """

    measured: NDArray[np.float64]
    predicted: NDArray[np.float64]
    sigma: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlatBand:
    """A band of a model: its parameters, planes by their names, degrees of freedom, and each group held out."""

    parameters: FlatParameters
    planes: Mapping[str, NDArray[Any]]
    freedom: NDArray[np.float64]
    held: Mapping[Label, HeldFlat]


def covariance_names(terms: Sequence[Term]) -> list[str]:
    """Return the names of the planes of a covariance: `COV_AB` is that of A and B."""
    return [f"COV_{terms[i]}{terms[j]}" for i, j in pairs(len(terms))]


def flat_band(work: FlatWork, band: Band) -> FlatBand:
    """Read and fit one band: the `work` of `map_bands`."""
    groups = stacked([_mean(work, number, band) for number in range(len(work.sizes))])
    weights, terms = np.array(work.sizes, np.float64), work.model.terms
    fit = fit_groups(work.design, weights, groups, usual_variance=work.noise**2)
    parameters = parameters_of(work.model, fit)
    parameters = replace(parameters, covariance=parameters.covariance + _of_darks(work, band))
    planes: dict[str, NDArray[Any]] = dict(zip(terms, parameters.theta, strict=True))
    planes |= dict(zip(covariance_names(terms), parameters.covariance, strict=True))
    planes |= {
        "NOISE": np.sqrt(fit.variance),
        "CHI2": fit.chi_square,
        "COUNT": groups.count.sum(axis=0),
        "MASK": flags_of(fit, len(weights)),
    }
    held = {label: _held(work, groups, fit.variance, label) for label in dict.fromkeys(work.labels)}
    return FlatBand(parameters=parameters, planes=planes, freedom=fit.freedom, held=held)


def _mean(work: FlatWork, number: int, band: Band) -> GroupMean:
    start = sum(work.sizes[:number])
    stop = start + work.sizes[number]
    frames = read_band(work.sources[start:stop], band) * work.shared.factors[start:stop, None, None].astype(np.float32)
    relative = float(work.relative_noise[number])
    recipe = recipe_for(len(frames), noise_adu=work.noise * relative, step_adu=work.step)
    return in_units_of_noise(group_mean(frames, np.zeros(len(frames)), recipe), relative)


def _of_darks(work: FlatWork, band: Band) -> NDArray[np.float64]:
    """Return the covariance of the parameters that the errors of the darks make; it does not average out."""
    p, weights = len(work.model.terms), np.array(work.sizes, np.float64)
    root = np.sqrt(weights)
    projector = np.linalg.pinv(work.design * root[:, None]) * root
    total = np.zeros((p * (p + 1) // 2, band.rows, work.sources[0].location.shape[1]))
    for source, share in zip(work.darks, work.dark_shares, strict=True):
        moved = projector @ (share / work.relative_noise)
        variance = np.nan_to_num(read_rows(source, band).astype(np.float64)) ** 2
        total += np.array([moved[i] * moved[j] for i, j in pairs(p)])[:, None, None] * variance
    return total


def _held(work: FlatWork, groups: Groups, variance: NDArray[np.float64], label: Label) -> HeldFlat:
    block, weights = np.array([each == label for each in work.labels]), np.array(work.sizes, np.float64)
    share = weights[block] / work.relative_noise[block] ** 2
    share *= work.relative_noise[block] / share.sum()  # of what is in units of the noise
    groups = replace(groups, mean=groups.mean / _factors(work)[:, None, None])  # levels with their errors
    measured = np.tensordot(share, groups.mean[block], axes=1)
    if block.all():  # no others
        nothing = np.full_like(measured, np.nan)
        return HeldFlat(measured=measured, predicted=nothing, sigma=nothing)
    left = leave_out(work.design, weights, groups.mean, block)
    spread = float(share @ left.covariance @ share)
    return HeldFlat(
        measured=measured,
        predicted=measured - np.tensordot(share, left.errors, axes=1),
        sigma=np.sqrt((variance * work.model.excess + work.shared.variance) * spread),
    )


def _factors(work: FlatWork) -> NDArray[np.float64]:
    """Return by how much the mean of each group was raised to its expected level."""
    starts = np.concatenate([[0], np.cumsum(work.sizes)[:-1]])
    found: NDArray[np.float64] = np.add.reduceat(work.shared.factors, starts) / np.array(work.sizes)
    return found


class FlatSums:
    """Sums over all pixels: errors of the groups that were left out, and the significance of each term."""

    def __init__(self, work: FlatWork) -> None:
        self._terms, self._common = work.model.terms, np.diagonal(work.shared.covariance)
        self._held: dict[Label, NDArray[np.float64]] = {}
        self._terms_sums = {
            term: SignificanceSums(term, about=about, common=float(common), freedom=work.shared.freedom)
            for term, about, common in zip(self._terms, work.shared.slopes, self._common, strict=True)
            if term is not Term.A
        }

    def add(self, done: FlatBand) -> None:
        """Add a band."""
        places = {(i, j): number for number, (i, j) in enumerate(pairs(len(self._terms)))}
        for number, term in enumerate(self._terms):
            if term in self._terms_sums:
                variance = done.parameters.covariance[places[number, number]] - self._common[number]
                self._terms_sums[term].add(done.parameters.theta[number], variance, done.freedom)
        for label, held in done.held.items():
            error = held.measured - held.predicted
            known = np.isfinite(error)
            error, real, sigma = error[known], held.measured[known], held.sigma[known]
            with np.errstate(divide="ignore", invalid="ignore"):
                pull = np.nan_to_num(error / sigma, posinf=0.0, neginf=0.0)
                relative = np.abs(error) / np.maximum(np.abs(real), 1e-8)
            whole = held.measured[np.isfinite(held.measured)]
            terms = [error.size, error.sum(), np.abs(error).sum(), (error**2).sum(), relative.sum()]
            terms += [np.minimum(pull**2, _FAR**2).sum(), whole.size, whole.sum()]
            self._held[label] = self._held.get(label, np.zeros(8)) + np.array(terms, np.float64)

    def rows(self) -> list[dict[str, float]]:
        """Return a row for each group that was left out: errors relative to the level, `mape_pct` in percent."""
        found = []
        for (celsius, seconds), sums in sorted(self._held.items()):
            n, total, absolute, squares, relative, pulls, pixels, level = sums
            held = n or np.nan
            found.append({
                "temperature_c": celsius,
                "exposure_s": seconds,
                "pixels": n,
                "bias": total / held,
                "mae": absolute / held,
                "rms": float(np.sqrt(squares / held)),
                "mape_pct": 100 * relative / held,
                "pull_rms": float(np.sqrt(pulls / held)),
                "mean": level / (pixels or np.nan),
            })  # fmt: skip
        return found

    def significance(self) -> list[Significance]:
        """Return what the terms but A are worth."""
        return [sums.result() for sums in self._terms_sums.values()]


def fit_bands(
    work: FlatWork,
    model: PlanesFile | None,
    maps: Mapping[Term, PlanesFile],
    evaluation: Mapping[Label, PlanesFile],
    *,
    memory_mb: float = 256.0,
    executor: Executor | None = None,
    progress: Progress = lambda *_: None,
) -> FlatSums:
    """Fit a model band by band into its files; the memory does not depend on the number of frames.

    Parameters
    ----------
    work : FlatWork
    model : PlanesFile, optional
        None where only the groups that were left out are wanted.
    maps : mapping of Term to PlanesFile
    evaluation : mapping of (float, float) to PlanesFile
        Planes MEAN (predicted from the others) and DIFF of each group.
    memory_mb : float
        For the bands that are worked on at once.
    executor : Executor, optional
        Threads of our own by default; processes give the same planes.
    progress : callable
    """
    sums = FlatSums(work)

    def take(band: Band, done: FlatBand) -> None:
        sums.add(done)
        if model is not None:
            for name, plane in done.planes.items():
                model.write(name, band.start, plane)
        for term, file in maps.items():
            file.write("MEAN", band.start, done.planes[term])
        for label, file in evaluation.items():
            file.write("MEAN", band.start, done.held[label].predicted)
            file.write("DIFF", band.start, done.held[label].measured - done.held[label].predicted)

    fit_in_bands(
        work.sources,
        lambda sources: replace(work, sources=sources),
        flat_band,
        take,
        sizes=work.sizes,
        held=_OF_A_GROUP * len(work.sizes) + _OF_A_PIXEL,
        memory_mb=memory_mb,
        executor=executor,
        progress=progress,
    )
    return sums
