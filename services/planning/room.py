"""Room on the disk: what sets and their masters take, at which frame it ends, and after how many nights it is full."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import ceil
from pathlib import Path

from calibration.frames import FrameKind
from calibration.plans.sequence import Costs, Estimate, WantedSet, estimate
from services.config.models import AGE_DAYS, Config, Reuse
from services.events.sentences import title
from services.planning.having import NOTHING, Having, Standing, age_of
from services.planning.item import settings_of
from services.root import Place
from services.words import celsius, count, length, size

BYTES_PER_PIXEL = 2
HEADER_BYTES = 8640
MASTER_BYTES_PER_PIXEL = 4 + 4 + 2 + 2
"""The mean, and the planes SIGMA, COUNT and MASK."""
MASTER_FILES = 3
FAR_NIGHTS = 3650
"""A disk that lasts longer than this is not said to become full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSet:
    """One set that a run would take, or finds complete, and what exists of it."""

    wanted: WantedSet
    there: Having
    reuse: Reuse = field(default_factory=Reuse)
    """How old it may be and still serve."""

    @property
    def lacking(self) -> int:
        """Frames still to take."""
        return 0 if self.there.standing is Standing.COMPLETE else max(0, self.wanted.count - self.there.count)

    @property
    def taken_at(self) -> datetime | None:
        """When it was begun, if it is complete and serves."""
        return None if self.lacking or self.there.row is None else self.there.row.oldest


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """What something takes, or what there is room for: bytes, and files (None: as many as one likes)."""

    bytes: int
    files: int | None = None

    def holds(self, needed: "Amount") -> bool:
        """Whether there is room for what is needed."""
        return needed.bytes <= self.bytes and (self.files is None or (needed.files or 0) <= self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What is written for a set: pixels of a frame, and the masters that are made of it."""

    pixels: int
    masters: bool = True

    @property
    def frame_bytes(self) -> int:
        """Size of a frame as it is stored."""
        return self.pixels * BYTES_PER_PIXEL + HEADER_BYTES

    def of(self, kind: FrameKind, frames: int) -> Amount:
        """Return what frames of one set and their masters take; biases are a dark of their exposure as well."""
        made = (2 if kind is FrameKind.BIAS else 1) if self.masters and frames else 0
        master_bytes = self.pixels * MASTER_BYTES_PER_PIXEL + MASTER_FILES * HEADER_BYTES
        return Amount(bytes=frames * self.frame_bytes + made * master_bytes, files=frames + made * MASTER_FILES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Room on the disk below a root.

    Attributes
    ----------
    root : Path
    free : Amount
    needed_bytes : int
        By the frames to take and their masters.
    floor_bytes : int
        To be left free.
    ends_at : str
        The frame for which there is no room any more, in words; "" where all fit.
    nights : int or None
        After so many nights the disk is full; None: not in years, or nobody knows how large a frame is.
    """

    root: Path
    free: Amount
    needed_bytes: int
    floor_bytes: int
    ends_at: str = ""
    nights: int | None = None

    @property
    def usable(self) -> Amount:
        """What may be written."""
        return Amount(bytes=self.free.bytes - self.floor_bytes, files=self.free.files)

    @property
    def words(self) -> str:
        """What is free, needed and to be left free."""
        usable = max(0, self.usable.bytes)
        close = f" ({size(usable)} of it to be used)" if usable < self.free.bytes / 10 else ""  # else both look alike
        parts = [f"{size(self.free.bytes)} free below {self.root}{close}"]
        parts += [f"{size(self.needed_bytes)} needed"] if self.needed_bytes else []
        parts += [f"{size(self.floor_bytes)} to be left free (storage.min_free_mb)"] if self.floor_bytes else []
        short = self.ends_at and self.free.files is not None and self.needed_bytes <= self.usable.bytes
        parts += [f"room for {count(self.free.files or 0, 'more file')}"] if short else []
        return ", ".join(parts)

    @property
    def outlook(self) -> str:
        """Where the room ends, or when the disk will be full; "" when neither is known."""
        if self.ends_at:
            return f"It will not suffice, the room ends at {self.ends_at}: make room first."
        return "" if self.nights is None else f"With such nights the disk is full in {count(self.nights, 'night')}."


def room_of(place: Place, config: Config, sets: Iterable[PlannedSet], sizes: Sizes | None, *, now: datetime) -> Room:
    """Return the room below a root, and how far it reaches for sets in the order in which they are taken."""
    planned = tuple(sets)
    room = Room(
        root=place.root,
        free=Amount(bytes=place.disk.free_bytes(place.root), files=place.disk.free_files(place.root)),
        needed_bytes=0 if sizes is None else sum(sizes.of(each.wanted.kind, each.lacking).bytes for each in planned),
        floor_bytes=1_000_000 * config.storage.min_free_mb,
    )
    if sizes is None:
        return room
    return replace(
        room,
        ends_at=end_of_room(planned, room.usable, sizes),
        nights=nights_until_full(planned, room.usable, sizes, now=now),
    )


def costs_of(sizes: Sizes | None) -> Costs:
    """Return what frames usually cost."""
    return Costs(frame_bytes=0 if sizes is None else sizes.frame_bytes)


def needed(sets: Iterable[PlannedSet], sizes: Sizes | None, config: Config, costs: Costs | None = None) -> Estimate:
    """Return what the frames to take cost: number, time and bytes, without their masters."""
    left = [replace(each.wanted, count=each.lacking) for each in sets if each.lacking]
    cost = estimate(left, costs or costs_of(sizes))
    kinds = [wanted.kind for wanted in left]
    fades = FrameKind.FLAT in kinds and FrameKind.DARK in kinds[kinds.index(FrameKind.FLAT) :]
    return replace(cost, seconds=cost.seconds + config.dark_capture.persistence_wait) if fades else cost


def as_taken(sets: Iterable[PlannedSet]) -> list[PlannedSet]:
    """Return sets in the order in which they are taken: state by state biases, flats, darks."""
    planned = list(sets)
    states = list(dict.fromkeys(settings_of(each.wanted) for each in planned))
    kinds = (FrameKind.BIAS, FrameKind.FLAT, FrameKind.DARK)
    return sorted(planned, key=lambda p: (states.index(settings_of(p.wanted)), kinds.index(p.wanted.kind)))


def with_flat_darks(sets: Iterable[PlannedSet], frames: int) -> Iterator[PlannedSet]:
    """Yield sets with those darks that flats of unknown exposures will need, at most; 0 frames: none.

    They are taken after the flats of their state, before its other darks.
    """
    later: list[PlannedSet] = []
    for each in sets:
        if each.wanted.kind is not FrameKind.FLAT:
            yield from later
            later = []
        elif frames and not each.there.count:
            wanted = replace(each.wanted, kind=FrameKind.DARK, count=frames, filter=None)
            later.append(PlannedSet(wanted=wanted, there=NOTHING))
        yield each
    yield from later


def end_of_room(sets: Iterable[PlannedSet], room: Amount, sizes: Sizes) -> str:
    """Return the frame (or the master) for which there is no room any more, in words; "" where everything fits.

    Parameters
    ----------
    sets : iterable of PlannedSet
        In the order in which they are taken.
    room : Amount
        That may be filled.
    sizes : Sizes
    """
    for each in sets:
        for taken in range(1, each.lacking + 1):
            frames = Sizes(pixels=sizes.pixels, masters=False).of(each.wanted.kind, taken)
            if not room.holds(frames):
                return f"{_named(each.wanted)}, frame {each.wanted.count - each.lacking + taken} of {each.wanted.count}"
        whole = sizes.of(each.wanted.kind, each.lacking)
        if not room.holds(whole):
            return f"the master of {_named(each.wanted)}"
        files = None if room.files is None else room.files - (whole.files or 0)
        room = Amount(bytes=room.bytes - whole.bytes, files=files)
    return ""


def _named(wanted: WantedSet) -> str:
    parts = [] if wanted.gain is None else [f"gain {wanted.gain}"]
    parts += [] if wanted.set_temp_c is None else [celsius(wanted.set_temp_c)]
    return f"{title(wanted)} ({', '.join(parts)})" if parts else title(wanted)


def nights_until_full(sets: Iterable[PlannedSet], room: Amount, sizes: Sizes, *, now: datetime) -> int | None:
    """Return in which night from now on the disk becomes full, when the same sets are wanted every night; 1: tonight.

    A set is taken again in the first night in which it is too old. None: not within years.
    """
    due = [
        (_first_night(each, now), nights_of(each.wanted.kind, each.reuse), sizes.of(each.wanted.kind, frames))
        for each in sets
        for frames in [each.lacking or each.wanted.count]
    ]
    left_bytes, left_files = room.bytes, room.files
    for night in range(FAR_NIGHTS if due else 0):
        tonight = [needed for first, period, needed in due if night >= first and (night - first) % period == 0]
        left_bytes -= sum(needed.bytes for needed in tonight)
        left_files = None if left_files is None else left_files - sum(needed.files or 0 for needed in tonight)
        if left_bytes < 0 or (left_files is not None and left_files < 0):
            return night + 1
    return None


def nights_of(kind: FrameKind, reuse: Reuse) -> int:
    """Return after how many nights a set of a kind is taken again."""
    return max(1, ceil(age_of(kind, reuse) / timedelta(days=1)))


def _first_night(each: PlannedSet, now: datetime) -> int:
    row = each.there.row
    if each.lacking or row is None or row.oldest is None:
        return 0
    return max(1, ceil((age_of(each.wanted.kind, each.reuse) - (now - row.oldest)) / timedelta(days=1)))


def upkeep(sets: Iterable[PlannedSet], sizes: Sizes | None) -> Iterator[str]:
    """Yield in words what ages cost that are shorter than the usual ones.

    Parameters
    ----------
    sets : iterable of PlannedSet
        All that the configuration wants.
    sizes : Sizes or None
        None: nobody knows how large a frame is.
    """
    planned = list(sets)
    for name, days in AGE_DAYS.items():
        kind = FrameKind(name.upper())
        usual, of_kind = max(1, ceil(days)), [each for each in planned if each.wanted.kind is kind]
        nights = min((nights_of(kind, each.reuse) for each in of_kind), default=usual)
        if nights >= usual:
            continue
        often = [each.wanted for each in of_kind if nights_of(kind, each.reuse) == nights]
        cost = estimate(often, Costs(frame_bytes=0 if sizes is None else sizes.frame_bytes, temperature_s=0.0))
        when = "every night" if nights == 1 else f"every {nights} nights"
        room = "size not known before the camera was seen" if sizes is None else size(cost.bytes)
        yield (
            f"{count(cost.frames, name)} {when}: {_minutes(cost.seconds)}, {room}; "
            f"without `{name}_hours` every {usual} days"
        )


def _minutes(length_s: float) -> str:
    return count(max(1, round(length_s / 60)), "minute") if length_s < 3570 else length(length_s)
