"""Epochs of frames that were taken together, what is taken off them, and which are compared: as data."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from calibration.clipping import clip_values
from calibration.frames import FrameKind
from calibration.models.structure.noise import NoiseLaw
from services.bands import Band, Source, read_rows
from services.datasets.survey import taken_at
from services.models.gathering import Member
from services.models.grouping import Condition, in_parts, together
from services.models.sampling import Place

_PAIR = 2
_MOST_EPOCHS = 120
"""More attempts than this are put together with their neighbours in time, where time matters."""


def time_of(member: Member) -> str:
    """Return when a frame was taken, ISO 8601, or the seconds of its camera's clock; empty: not known."""
    at_s, clock_s = taken_at(member.frame.header)
    if at_s is not None:
        return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds")
    return "" if clock_s is None else f"{clock_s:g} s"


def days_of(member: Member) -> float:
    """Return the same in days; NaN: not known."""
    at_s, clock_s = taken_at(member.frame.header)
    seconds = clock_s if at_s is None else at_s
    return float("nan") if seconds is None else seconds / 86400


def in_order(days: float) -> float:
    """Return a time as it is sorted: what is not known stands at the end."""
    return days if np.isfinite(days) else float("inf")


def epochs_of(members: Sequence[Member], condition: Condition) -> tuple[tuple[int, ...], ...]:
    """Return the numbers of the frames of each epoch: of one attempt, or of neighbours in time where there are many.

    Frames are never put together over the whole of time, as `groups_of` does: what changed would be lost.
    """
    attempts = together(members, condition)
    run = -(-len(attempts) // _MOST_EPOCHS)
    if run > 1:
        courses = defaultdict[Hashable, list[list[int]]](list)
        for each in sorted(attempts, key=lambda each: min(in_order(days_of(members[i])) for i in each)):
            courses[condition(members[each[0]])].append(each)
        attempts = [
            [number for i in part for number in course[i]]
            for course in courses.values()
            for part in np.array_split(np.arange(len(course)), max(-(-len(course) // run), min(len(course), 2)))
        ]
    return tuple(in_parts(attempts))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reduction:
    """What is taken off a flat: the bias, and the dark current of its exposure.

    `share` is the exposure of the flat over that of the darks; without biases the darks are taken off as they are.
    `lag_days` is how far from the flat the farthest of these frames was taken (NaN: not known), and `stepwise` whether
    frames without a date from several attempts are taken together.
    """

    biases: tuple[Source, ...]
    darks: tuple[Source, ...]
    share: float
    lag_days: float = float("nan")
    stepwise: bool = False

    def variance_adu2(self, place: Place) -> float:
        """Return what the noise of these frames adds to the variance of a pixel that is not hot; 0: not known."""
        frames = self.darks or self.biases
        if len(frames) < _PAIR:
            return 0.0
        first, second = (place.read(frame) for frame in frames[:_PAIR])
        return float(clip_values(second - first).sigma ** 2) / 2 / self.effective

    @property
    def effective(self) -> float:
        """Number of frames that a mean of as little noise has, over the square of the share."""
        n = len(self.darks or self.biases)
        return (n if n <= _PAIR else n - 1) / max(self.share, 1.0) ** 2

    def at(self, band: Band) -> NDArray[np.float32]:
        """Return it in a band."""
        return self._of([read_rows(each, band) for each in self.biases], [read_rows(each, band) for each in self.darks])

    def sample(self, place: Place) -> NDArray[np.float32]:
        """Return it on a sample of pixels."""
        return self._of([place.read(each) for each in self.biases], [place.read(each) for each in self.darks])

    def _of(self, biases: list[NDArray[np.generic]], darks: list[NDArray[np.generic]]) -> NDArray[np.float32]:
        if not biases:
            return _middle(darks)
        bias = _middle(biases)
        return bias + (_middle(darks) - bias) * np.float32(self.share) if darks else bias


def _middle(frames: list[NDArray[np.generic]]) -> NDArray[np.float32]:
    """Return the mean of frames, of three or more without the extremes, so that no cosmic hit stays."""
    stack = np.stack(frames).astype(np.float32)
    if len(stack) > _PAIR:
        stack.sort(axis=0)
        stack = stack[1:-1]
    return np.asarray(stack.mean(axis=0), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Epoch:
    """Frames that were taken together under one condition, or in neighbouring attempts where there are many.

    Attributes
    ----------
    name : str
        For files.
    members, sources : tuple
        The frames, and their pixels.
    label_c, celsius, exposure_s : float
    time : datetime or None
        Of its first frame.
    levels_adu : ndarray, shape (n,)
        Of each frame, less what is taken off.
    reduction : Reduction, optional
    off_variance_adu2 : float
        What the noise of what is taken off adds to the variance of a pixel that is not hot.
    """

    name: str
    members: tuple[Member, ...]
    sources: tuple[Source, ...]
    levels_adu: NDArray[np.float64]
    reduction: Reduction | None
    off_variance_adu2: float = 0.0

    @property
    def label_c(self) -> float:
        """What its temperature is called."""
        return self.members[0].label_c

    @property
    def exposure_s(self) -> float:
        """Of each of its frames."""
        return self.members[0].exposure_s

    @property
    def celsius(self) -> float:
        """Mean temperature."""
        return float(np.mean([member.temperature_c for member in self.members]))

    @property
    def time(self) -> str:
        """When its first frame was taken, ISO 8601; empty: not known."""
        return time_of(min(self.members, key=lambda member: in_order(days_of(member))))

    @property
    def attempts(self) -> int:
        """How often it was that its frames were taken."""
        return len({member.attempt for member in self.members})

    @property
    def days(self) -> float:
        """The same in days; NaN: not known."""
        return min(map(days_of, self.members), key=in_order)

    @property
    def level_adu(self) -> float:
        """Mean level of its frames."""
        return float(self.levels_adu.mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """An epoch and the reference that it is compared with, by their numbers."""

    new: int
    old: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """The epochs of one kind of frames in the order of time, and which are compared.

    Attributes
    ----------
    kind : FrameKind
    epochs : tuple of Epoch
    pairs : mapping of str to tuple of Pair
        By analysis.
    law : NoiseLaw
    step_adu, saturation_adu : float
    """

    kind: FrameKind
    epochs: tuple[Epoch, ...]
    pairs: dict[str, tuple[Pair, ...]]
    law: NoiseLaw
    step_adu: float
    saturation_adu: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.epochs[0].sources[0].location.shape

    @property
    def is_flat(self) -> bool:
        """Whether ratios are compared."""
        return self.kind is FrameKind.FLAT
