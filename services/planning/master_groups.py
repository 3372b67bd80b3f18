"""Sets of the catalogue, sorted into what becomes one master each. Sets never mix, nor do groups within a set."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, cached_property
from typing import Any, NamedTuple, overload

from calibration.frames import FrameKind, GroupKey
from calibration.grouping import cooled_to, group, temperature_clusters, temperature_labels
from services.catalogue.catalogue import Catalogue
from services.catalogue.frames import Member, SetFrames, Sums
from services.catalogue.rows import Flag, FrameRow, Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterGroup:
    """The frames of one set that are combined.

    Attributes
    ----------
    product : FrameKind
        What it becomes: the biases of min_exposure also become a dark.
    key : GroupKey
        Of the master.
    rows : sequence of FrameRow
        The oldest first; read from the catalogue when more than the first is asked for.
    temperature_c : float or None
        Label of the sensor's temperature, for flats too (their key has none).
    """

    product: FrameKind
    key: GroupKey
    rows: Sequence[FrameRow]
    temperature_c: float | None = None

    @property
    def members(self) -> Sequence[Member] | Sequence[FrameRow]:
        """What planning needs of the frames, without reading them."""
        return self.rows.members if isinstance(self.rows, _Unread) else self.rows

    @property
    def even(self) -> Sums | None:
        """What frames of one exposure are together; None where they differ, or have been read."""
        return self.rows.sums if isinstance(self.rows, _Unread) and self.rows.sums.has_one_exposure else None

    @property
    def exposures_us(self) -> Collection[int | None]:
        """The exposures of its frames, each once."""
        if self.even is not None:
            return (self.rows[0].exposure_us,)
        return dict.fromkeys(member.exposure_us for member in self.members)

    def only(self, places: Sequence[int]) -> "MasterGroup":
        """Return the group with some of its frames."""
        if len(places) == len(self.rows):
            return self
        return replace(self, rows=tuple(self.rows[i] for i in places))

    @property
    def taken_as(self) -> FrameKind:
        """What the frames are: biases, also where they become a dark."""
        return self.rows[0].kind if self.rows else self.product

    @property
    def own(self) -> bool:
        """Whether nightcal took the frames: exposures are exact, and the wanted number is known."""
        looked_at = (self.rows[0],) if isinstance(self.rows, _Unread) else self.rows  # a set has one origin
        return all(row.origin is Origin.OWN for row in looked_at)

    @property
    def exposure_us(self) -> int | None:
        """Exposure of the key; a flat's median exposure."""
        if self.product is not FrameKind.FLAT:
            return self.key.exposure_us
        if self.even is not None:
            return self.rows[0].exposure_us
        times = sorted(member.exposure_us for member in self.members if member.exposure_us is not None)
        return times[len(times) // 2] if times else None

    def temperature_at(self, exposure_us: int | None) -> float | None:
        """Return the mean temperature of the sensor in the frames of one exposure, to 0.1 degrees.

        A camera without a set-point grows warmer from one exposure to the next, and each has darks of its own. Cooled
        frames have their set-point, as their darks do: readings that jitter about it do not make the dark of another
        night the better one.
        """
        if self.even is not None:
            mean_c = self.even.mean_ccd_temp_c
            return self.temperature_c if mean_c is None or self.rows[0].set_temp_c is not None else round(mean_c, 1)
        frames = [each for each in self.members if each.exposure_us == exposure_us and each.ccd_temp_c is not None]
        set_points = sorted(label for each in frames if (label := cooled_to(each)) is not None)
        if frames and len(set_points) == len(frames):
            return set_points[len(frames) // 2]
        return round(sum(each.ccd_temp_c or 0.0 for each in frames) / len(frames), 1) if frames else self.temperature_c

    @property
    def started(self) -> datetime | None:
        """Start of the first frame."""
        first = self.rows[0].date_obs  # frames without a time come before those with one
        return first or min((row.date_obs for row in self.rows if row.date_obs is not None), default=None)

    @property
    def pixels(self) -> Sequence[str]:
        """The hash of the pixels of each frame, in any order."""
        if isinstance(self.rows, _Unread):
            return self.rows.sums.pixels.split("\n")
        return [row.pixel_sha256 for row in self.rows]

    def recipe(self, parts: dict[str, Any]) -> str:
        """Return the hash of the inputs' pixels and of what else the master's pixels depend on."""
        record = {"kind": str(self.product), "inputs": sorted(self.pixels), **parts}
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:32]


class _Unread(Sequence[FrameRow]):
    """The frames of a set of which the first is known; the others are read when they are asked for."""

    def __init__(self, catalogue: Catalogue, frames: SetFrames, members: "_Members") -> None:
        self.sums = frames.sums
        self._catalogue = catalogue
        self._first = frames.first
        self._members = members

    def __len__(self) -> int:
        return self.sums.n

    @property
    def members(self) -> Sequence[Member]:
        """What planning needs of the frames; read when it is first asked for."""
        return self._members.of(str(self._first.set_id))

    @overload
    def __getitem__(self, index: int) -> FrameRow: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[FrameRow]: ...

    def __getitem__(self, index: int | slice) -> FrameRow | Sequence[FrameRow]:
        return self._first if index == 0 else self._rows[index]

    @cached_property
    def _rows(self) -> list[FrameRow]:
        first = self._first
        return _of_one_night(self._catalogue.frames(kind=first.kind, set_id=first.set_id, flag=Flag.OK))


class _Members:
    """What planning needs of the frames of some sets, read when it is first asked for; of others one by one.

    `likely` are sets whose frames planning looks at: of another program, and flats that differ.
    """

    def __init__(self, catalogue: Catalogue, kind: FrameKind, frames: Iterable[SetFrames]) -> None:
        self._catalogue, self._kind = catalogue, kind
        self._likely = [
            str(each.first.set_id)
            for each in frames
            if each.first.origin is not Origin.OWN or (kind is FrameKind.FLAT and not each.sums.has_one_exposure)
        ]

    def of(self, set_id: str) -> Sequence[Member]:
        """Return the members of a set."""
        known = self._known.get(set_id)
        return self._catalogue.members(self._kind, (set_id,)).get(set_id, ()) if known is None else known

    @cached_property
    def _known(self) -> dict[str, tuple[Member, ...]]:
        return self._catalogue.members(self._kind, self._likely)


def master_groups(catalogue: Catalogue, kind: FrameKind, sets: Collection[str] | None = None) -> list[MasterGroup]:
    """Return what the usable frames of a kind become, in a fixed order; `sets`: only those of these sets.

    A set whose frames are alike is one group: its frames are not read for that.
    """
    found, mixed, sets_there = [], [], catalogue.set_frames(kind, sets)
    members = _Members(catalogue, kind, sets_there)
    for frames in sets_there:
        whole = _whole(catalogue, frames, members)
        if whole is None:
            mixed.append(str(frames.first.set_id))
        else:
            found.append(whole)
    for set_id in mixed:
        found += _sorted_out(kind, catalogue.frames(kind=kind, flag=Flag.OK, set_id=set_id))
    if sets is None:
        nights: defaultdict[str | None, list[FrameRow]] = defaultdict(list)
        for row in catalogue.frames(kind=kind, flag=Flag.OK, set_id=None):
            nights[row.night].append(row)
        found += (each for rows in nights.values() for each in _sorted_out(kind, rows))
    words = cache(str)  # of thousands of groups few keys differ
    return sorted(found, key=lambda g: (str(g.started), words(g.key)))


def _sorted_out(kind: FrameKind, rows: list[FrameRow]) -> Iterator[MasterGroup]:
    """Yield the groups among the frames of one set."""
    for key, members in group(_of_one_night(rows), FrameRow.header).items():
        yield MasterGroup(product=kind, key=key, rows=tuple(members), temperature_c=_temperature(key, members))


def _whole(catalogue: Catalogue, frames: SetFrames, members: _Members) -> MasterGroup | None:
    """Return a set as one group where its frames are alike and equally warm; else None.

    All are cooled to the set-point if the coldest and the warmest are; all others are one cluster if these two are.
    """
    first = frames.first
    labels = _labels(first.set_temp_c, frames.coldest_c, frames.warmest_c)
    if not frames.is_alike or len(labels) > 1:
        return None
    (label,) = labels
    key = first.key(label if first.kind is not FrameKind.FLAT else None)
    return MasterGroup(product=first.kind, key=key, rows=_Unread(catalogue, frames, members), temperature_c=label)


def _labels(set_c: float | None, coldest_c: float | None, warmest_c: float | None) -> set[float | None]:
    """Return the labels of the coldest and the warmest frame of a set: one where all its frames are equally warm.

    With a set-point they are two also where one of both frames is not cooled to it.
    """
    if set_c is not None:
        ends = {cooled_to(_Warmth(each, set_c)) for each in (coldest_c, warmest_c)}
        return ends if None not in ends else {None, set_c}
    if coldest_c is None or warmest_c is None:
        return {None}
    return set(temperature_clusters((coldest_c, warmest_c)))


class _Warmth(NamedTuple):
    ccd_temp_c: float | None
    set_temp_c: float | None


def _of_one_night(rows: list[FrameRow]) -> list[FrameRow]:
    """Give a set of ours the night of its first frame: flats taken across noon are one set all the same."""
    if any(row.origin is not Origin.OWN or row.set_id is None for row in rows):
        return rows
    first = min(rows, key=lambda row: str(row.date_obs))
    return [replace(row, night=first.night) for row in rows]


def as_dark(biases: MasterGroup) -> MasterGroup:
    """Return the biases of min_exposure as the dark of that time, which the guide's programs look for."""
    return replace(biases, product=FrameKind.DARK, key=replace(biases.key, kind=FrameKind.DARK))


def _temperature(key: GroupKey, rows: Sequence[FrameRow]) -> float | None:
    """Return the label of a group's temperature as a dark taken with it would have it."""
    if key.kind is not FrameKind.FLAT:
        return key.temperature_c
    labels = temperature_labels([replace(row.header(), kind=FrameKind.DARK) for row in rows])
    known = sorted(label for label in labels if label is not None)
    return known[len(known) // 2] if known else None
