"""The means of groups of equal frames in a band of rows, and the scatter of their samples.

The engine of the masters makes them, so that cosmic hits take no part.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from calibration.combine.engine import combine_band
from calibration.combine.recipe import SMALL_N, NoiseModel, Recipe
from calibration.models.linear_kernels import Combined, as_group
from calibration.models.shapes import Planes as Planes  # noqa: PLC0414 - with the means that are made of them

_ALIKE = 0.05
"""Of the noise of a sample: levels that differ by no more are subtracted from the mean, not from each frame. A clipped
sample then moves it by less than 0.05 / n of that noise, and whole numbers are combined in half the time."""

_CLIP = 3.0
_CLIP_OF_FEW = 5.0
"""In standard deviations of the noise model: a pixel may be noisier than most, and is not to be clipped for it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupMean:
    """The mean of one group of equal frames in a band.

    Attributes
    ----------
    mean : ndarray, shape (rows, x)
        In ADU; NaN where no sample is left.
    squares : ndarray, shape (rows, x)
        Sum of the squared deviations of the samples from it, in ADU², as normal noise would give it without clipping.
    count : ndarray, shape (rows, x)
        Samples that were used.
    """

    mean: Planes
    squares: Planes
    count: NDArray[np.uint16]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Groups:
    """The means of K groups in a band.

    Attributes
    ----------
    mean, count : ndarray, shape (K, ...)
        In ADU, NaN where a group has no sample, and the number of samples.
    squares, freedom : ndarray, shape (...)
        Squared deviations of all samples from the means of their groups, in ADU², and their degrees of freedom.
    """

    mean: Planes
    count: NDArray[np.uint16]
    squares: Planes
    freedom: Planes


def recipe_for(
    n: int, *, noise_adu: float, step_adu: float, gain_e_adu: float = np.inf, pedestal_adu: float = 0.0
) -> Recipe:
    """Return how n equal frames become a mean: clipped by their own scatter, of few frames by the usual noise.

    That noise grows with the signal above a pedestal where a gain is given.
    """
    noise = None
    if np.isfinite(noise_adu):
        noise = NoiseModel(read_noise_adu=noise_adu, gain_e_adu=gain_e_adu, pedestal_adu=pedestal_adu)
    sigma = _CLIP if n >= SMALL_N else _CLIP_OF_FEW
    return Recipe(sigma=sigma, step_adu=step_adu, sample_adu=noise_adu if noise is not None else None, noise=noise)


def group_mean(
    frames: NDArray[np.uint16 | np.float32],
    levels_adu: NDArray[np.float64],
    recipe: Recipe,
    *,
    saturation_adu: float = np.inf,
) -> GroupMean:
    """Return the mean of equal frames in a band, each less its level.

    Parameters
    ----------
    frames : ndarray of uint16 or float32, shape (n, rows, x)
        In ADU; samples that are not finite do not exist.
    levels_adu : ndarray, shape (n,)
        What is subtracted from each frame: the offset that all its pixels have in common.
    recipe : Recipe
        As from `recipe_for`.
    saturation_adu : float
        Samples at or above it do not exist.
    """
    n, valid, common = len(frames), _usable(frames, saturation_adu), 0.0
    if n == 1:
        return _alone(frames[0], float(levels_adu[0]), None if valid is None else valid[0])
    if np.ptp(levels_adu) <= _ALIKE * (recipe.sample_adu or 0.0):
        common = float(levels_adu.mean())
        planes = combine_band(frames, _above(recipe, common), valid=valid)
    else:
        dark = np.broadcast_to(levels_adu.astype(np.float32)[:, None, None], frames.shape)
        planes = combine_band(frames, recipe, dark=dark, valid=valid)
    factor, widening = _factors(recipe, n)
    mean, squares = np.empty(planes.mean.shape), np.empty(planes.mean.shape)
    flat = Combined(planes.mean.ravel(), planes.sigma.ravel(), planes.count.ravel())
    as_group(flat, common, widening / factor, mean.reshape(-1), squares.reshape(-1))
    return GroupMean(mean=mean, squares=squares, count=planes.count)


def _above(recipe: Recipe, level_adu: float) -> Recipe:
    """Return the recipe of samples that still have a level, which is no signal and has no noise of its own."""
    if recipe.noise is None:
        return recipe
    pedestal_adu = recipe.noise.pedestal_adu + level_adu
    return replace(recipe, noise=replace(recipe.noise, pedestal_adu=pedestal_adu))


def _alone(frame: NDArray[np.uint16 | np.float32], level_adu: float, valid: NDArray[np.bool_] | None) -> GroupMean:
    """Return the mean of a group of one frame, which has no scatter."""
    mean = frame.astype(np.float64)
    mean -= level_adu
    usable = np.isfinite(mean) if valid is None else np.isfinite(mean) & valid
    mean[~usable] = np.nan
    return GroupMean(mean=mean, squares=np.zeros(mean.shape), count=usable.astype(np.uint16))


@lru_cache(maxsize=256)
def _factors(recipe: Recipe, n: int) -> tuple[float, float]:
    return recipe.factor_for(n), recipe.widening_for(n)


def _usable(frames: NDArray[np.uint16 | np.float32], saturation_adu: float) -> NDArray[np.bool_] | None:
    if not np.isfinite(saturation_adu):
        return None
    if frames.max(initial=0) < saturation_adu:
        return None  # a mask would cost as much as the frames; NaN are no samples without it
    usable: NDArray[np.bool_] = frames < saturation_adu
    return usable


def stacked(means: Sequence[GroupMean]) -> Groups:
    """Put the means of groups together."""
    count = np.stack([each.count for each in means])
    freedom = np.zeros(count.shape[1:])
    for each in count:
        freedom += np.maximum(each, 1)
    freedom -= len(count)
    squares = means[0].squares.copy()
    for each in means[1:]:
        squares += each.squares
    return Groups(mean=np.stack([each.mean for each in means]), count=count, squares=squares, freedom=freedom)
