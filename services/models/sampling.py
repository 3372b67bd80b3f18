"""A sample of the pixels of every frame: their levels and noise, and what the family of a model is chosen by."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.clipping import clip_values
from calibration.models.levels import level_of, reference_of, unlike
from calibration.models.means import GroupMean, Groups, group_mean, recipe_for, stacked
from calibration.stats import sample_of
from services.bands import Band, Source, read_rows

_PIXELS = 1 << 16
"""Most pixels of a sample: the noise of a level is then 1/256 of that of a pixel."""

_RESTLESS = 0.25
"""Of the noise of a pixel, what the levels of a group may always scatter by."""

_PAIRS = 4
"""Pairs of neighbours of a group that show the noise."""

_REFERENCES = 16
"""Frames that the reference of the levels is the mean of."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """Where the sample of a frame lies: its rows, its columns and the step between them."""

    rows: tuple[int, ...]
    columns: tuple[int, int]
    step: int

    def read(self, source: Source) -> NDArray[np.float64]:
        """Return the sample of a frame, shape (pixels,)."""
        picked = [read_rows(source, band)[:, slice(*self.columns)] for band in self._bands()]
        return np.concatenate(picked).ravel()[:: self.step].astype(np.float64)

    def cells(self, side: int) -> NDArray[np.intp]:
        """Return the number of the cell that each pixel of a sample is in; `side` cells across what is sampled."""
        rows, (left, right) = np.array(self.rows), self.columns
        y = (rows - rows.min()) * side // max(int(np.ptp(rows)) + 1, 1)
        x = np.arange(right - left) * side // (right - left)
        return np.asarray((y[:, None] * side + x).ravel()[:: self.step])

    def _bands(self) -> Iterator[Band]:
        for row, after in zip(self.rows[::2], self.rows[1::2], strict=False):
            yield Band(start=row, stop=after + 1)
        if len(self.rows) % 2:
            yield Band(start=self.rows[-1], stop=self.rows[-1] + 1)


def place_of(shape: tuple[int, int]) -> Place:
    """Return where frames of a shape are sampled."""
    rows, (left, right, _) = sample_of(shape)
    pixels = len(rows) * (right - left)
    return Place(rows=tuple(map(int, rows)), columns=(left, right), step=(pixels // _PIXELS) | 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sampled:
    """What the samples show.

    Attributes
    ----------
    levels_adu : ndarray, shape (n,)
        Of each frame, NaN of one without a finite pixel.
    noise_adu : float
        Of a sample of a pixel: the middle of the groups that have two frames; NaN where none has.
    unlike : ndarray of bool, shape (n,)
        Frames whose level is not that of the others of their group.
    own_noise_adu : ndarray, shape (n,)
        The noise of the group of each frame; NaN of a frame alone.
    """

    levels_adu: NDArray[np.float64]
    noise_adu: float
    unlike: NDArray[np.bool_]
    own_noise_adu: NDArray[np.float64]

    def of(self, keep: NDArray[np.bool_]) -> "Sampled":
        """Return what is known of some of the frames."""
        return replace(
            self, levels_adu=self.levels_adu[keep], unlike=self.unlike[keep], own_noise_adu=self.own_noise_adu[keep]
        )


def sampled(sources: Sequence[Source], groups: Sequence[Sequence[int]], place: Place) -> Sampled:
    """Measure the levels of frames on their samples, and the noise from neighbours in a group.

    Parameters
    ----------
    sources : sequence of Source
        The frames.
    groups : sequence of sequences of int
        Numbers of the frames of each group.
    place : Place
    """
    some = np.unique(np.linspace(0, len(sources) - 1, min(len(sources), _REFERENCES)).round().astype(int))
    reference = reference_of(np.stack([place.read(sources[i]) for i in some]))
    levels, noises = np.full(len(sources), np.nan), [list[float]() for _ in groups]
    for members, own in zip(groups, noises, strict=True):
        before: NDArray[np.float64] | None = None
        for number, i in enumerate(members):
            sample = place.read(sources[i])
            levels[i] = level_of(sample, reference)
            if before is not None and number <= _PAIRS:
                own.append(float(clip_values(sample - before).sigma / np.sqrt(2)))
            before = sample
    noise = _middle([each for own in noises for each in own])
    odd, of_group = np.zeros(len(sources), np.bool_), np.full(len(sources), np.nan)
    for members, own in zip(groups, noises, strict=True):
        of_group[list(members)] = _middle(own)
        odd[list(members)] = unlike(levels[list(members)], noise_adu=_RESTLESS * np.nan_to_num(noise))
    return Sampled(levels_adu=levels, noise_adu=noise, unlike=odd, own_noise_adu=of_group)


def _middle(noises: Sequence[float]) -> float:
    known = [noise for noise in noises if np.isfinite(noise) and noise > 0]
    return float(np.median(known)) if known else float("nan")


def sample_groups(
    sources: Sequence[Source],
    groups: Sequence[Sequence[int]],
    levels_adu: NDArray[np.float64],
    place: Place,
    *,
    noise_adu: float,
    step_adu: float,
) -> Groups:
    """Return the means of groups of one noise on the sample, each frame less its level, shape (K, 1, pixels)."""
    return stacked(
        sample_means(sources, groups, levels_adu, place, noises_adu=[noise_adu] * len(groups), step_adu=step_adu)
    )


def sample_means(
    sources: Sequence[Source],
    groups: Sequence[Sequence[int]],
    levels_adu: NDArray[np.float64],
    place: Place,
    *,
    noises_adu: Sequence[float],
    step_adu: float,
) -> list[GroupMean]:
    """Return the mean of each group on the sample, shape (1, pixels); each group has a noise of its own."""
    means = []
    for members, noise in zip(groups, noises_adu, strict=True):
        frames = np.stack([place.read(sources[i]).astype(np.float32) for i in members])[:, None]
        recipe = recipe_for(len(members), noise_adu=noise, step_adu=step_adu)
        means.append(group_mean(frames, levels_adu[list(members)], recipe))
    return means
