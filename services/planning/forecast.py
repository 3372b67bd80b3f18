"""What a run would do, as plain data: sets and frames to take, masters to build, time and room on the disk.

No lock is taken. What only the devices know (the wheel's filters, the sensor's size) is taken from the configuration,
the simulated observatory's parameters or the newest sets of the catalogue; whoever calls may hand in a question to the
devices, which is asked where none of these knows.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from calibration.errors import GroupCode
from calibration.frames import FrameKind
from calibration.plans.sequence import Estimate, WantedSet
from drivers.clock import SystemClock
from services.catalogue.catalogue import Catalogue
from services.catalogue.database import uncollected
from services.catalogue.history import EXPOSURE_MADE
from services.catalogue.rows import FrameRow, Origin, SetRow
from services.config.models import Config, LoadedConfig
from services.planning.alike import CardsOf
from services.planning.campaign import campaign_of
from services.planning.foreknown import Foreknown, known_without_devices
from services.planning.having import having, requirement_of, too_old_before
from services.planning.master_plan import MasterPlan, Whole
from services.planning.master_settings import MasterSettings
from services.planning.outlook import PlannedMaster, planned_masters
from services.planning.request import RunOptions, Step
from services.planning.room import PlannedSet, Room, Sizes, needed, room_of, upkeep, with_flat_darks
from services.planning.wanted import (
    dark_sets,
    dark_times,
    exposures_made,
    flat_sets,
    follow_flats,
    served_flats,
    states,
)
from services.root import Place


class FilterSource(StrEnum):
    """Where the names of the filters are taken from while no wheel is connected."""

    CONFIGURATION = "the configuration"
    SIMULATOR = "the simulated observatory"
    LAST_FLATS = "the last flats"
    WHEEL = "the filter wheel"
    NO_WHEEL = "no wheel"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a run would do.

    Attributes
    ----------
    steps : tuple of Step
    sets : tuple of PlannedSet
        In the order in which they would be taken; empty when the run takes no frames.
    cost : Estimate
        Of the frames to take.
    masters : tuple of PlannedMaster
        Of the frames that exist; empty when the run builds none.
    refused : tuple of PlannedMaster
        Groups of the frames that exist that become no master, whatever frames are taken.
    filters_from : FilterSource
    frame_pixels : int or None
        Pixels of a frame; None while only the camera knows.
    more_darks : tuple of int
        Sets of flats whose exposures will be found, and frames of each dark set that comes on top; (0, 0) for none.
    dropped : tuple of str
        Factors of the science times that lead outside the range of exposures: no darks are taken for them.
    assumed : bool
        Whether darks are taken for flats of which nobody knows the exposure.
    room : Room
    upkeep : tuple of str
        What ages cost that are shorter than the usual ones, in words.
    total : Estimate
        Of the frames to take, the darks on top and the masters among them.
    has_frames : bool
        Whether there are any at all; asked only where no master can be built.
    problems : tuple of str
        Why devices that were asked have not said what they are.
    """

    steps: tuple[Step, ...]
    sets: tuple[PlannedSet, ...]
    cost: Estimate
    masters: tuple[PlannedMaster, ...]
    refused: tuple[PlannedMaster, ...] = ()
    filters_from: FilterSource
    frame_pixels: int | None
    more_darks: tuple[int, int]
    dropped: tuple[str, ...]
    assumed: bool = False
    room: Room
    upkeep: tuple[str, ...] = ()
    total: Estimate
    has_frames: bool = True
    problems: tuple[str, ...] = ()

    @property
    def captures(self) -> bool:
        """Whether the run takes frames at all."""
        return any(step.takes_frames for step in self.steps)


def no_cards(_row: FrameRow) -> None:
    """Look at no header."""


@uncollected()
def forecast(
    loaded: LoadedConfig,
    place: Place,
    options: RunOptions,
    *,
    is_whole: Whole,
    cards_of: CardsOf = no_cards,
    ask: Callable[[], Foreknown] = Foreknown,
) -> Forecast:
    """Return what a run would do.

    Parameters
    ----------
    loaded : LoadedConfig
    place : Place
        Its catalogue is read.
    options : RunOptions
    is_whole : callable
        Asked about a master whose file has changed since it was written.
    cards_of : callable
        Reads the headers of another program's frames of which no master exists; by default nobody looks at them.
    ask : callable
        Asks the devices, at most once, for what nothing else knows; by default they are left alone.

    Raises
    ------
    StorageError
        The catalogue cannot be read.
    """
    config = loaded.config
    look = _Look(loaded, place.catalogue, options, ask)
    sets = tuple(look.planned_sets())
    plan = MasterPlan(MasterSettings.of(config), place, is_whole=is_whole)
    masters = tuple(planned_masters(plan, cards_of)) if Step.MASTERS in options.steps else ()
    filters_from, pixels = look.filters[1], look.frame_pixels
    sizes = None if pixels is None else Sizes(pixels=pixels, masters=Step.MASTERS in options.steps)
    new_flats = sum(each.wanted.kind is FrameKind.FLAT and not each.there.count for each in sets)
    more = new_flats > 0 and follow_flats(config, options.steps, options.dark_times)
    more_darks = config.dark_capture.num_darks if more else 0
    foreseen = tuple(with_flat_darks(sets, more_darks))
    room = room_of(place, config, foreseen, sizes, now=look.now)
    return Forecast(
        steps=options.steps,
        sets=sets,
        cost=needed(sets, sizes, config),
        masters=tuple(each for each in masters if each.refused is None),
        refused=tuple(each for each in masters if each.refused is not None and not _comes(each, sets)),
        filters_from=filters_from,
        frame_pixels=pixels,
        dropped=tuple(dict.fromkeys(look.dropped)),
        assumed=look.assumed,
        more_darks=(new_flats, more_darks) if more else (0, 0),
        room=room,
        upkeep=tuple(upkeep(sets, sizes, config.reuse)),
        total=replace(needed(foreseen, sizes, config), bytes=room.needed_bytes),
        has_frames=bool(masters) or place.catalogue.has_frames,
        problems=look.problems,
    )


def _comes(each: PlannedMaster, sets: Iterable[PlannedSet]) -> bool:
    """Whether the frames to take complete a group, or bring the darks that its flats lack."""
    first, taken = each.group.rows[0], [planned for planned in sets if planned.lacking]
    is_continued = any(planned.there.row is not None and planned.there.row.set_id == first.set_id for planned in taken)
    lacks_dark = each.refused is not None and each.refused.code == GroupCode.NO_MATCHING_DARK
    return is_continued or (lacks_dark and any(planned.wanted.kind is not FrameKind.FLAT for planned in taken))


class _Look:
    """One look into the catalogue, for the sets of a run."""

    def __init__(
        self, loaded: LoadedConfig, catalogue: Catalogue, options: RunOptions, ask: Callable[[], Foreknown]
    ) -> None:
        self._config = loaded.config
        self._catalogue = catalogue
        self._options = options
        self._foreknown = known_without_devices(loaded)
        self._ask = ask
        self.dropped: list[str] = []
        self.assumed = False

    @cached_property
    def _made(self) -> dict[int, int]:
        """What the camera has made of exposures."""
        return exposures_made(self._catalogue.facts(name=EXPOSURE_MADE))

    @cached_property
    def _serving(self) -> list[SetRow]:
        """Our own sets that may serve: with `--fresh` only the ones that an interrupted run has opened for this."""
        reuse = self._config.reuse
        sets = self._catalogue.sets(origin=Origin.OWN, since=too_old_before(self.now, reuse))
        if not self._options.fresh:
            return sets
        fresh = campaign_of("", self._catalogue.runs(), now=self.now, reuse=reuse)
        return [each for each in sets if fresh.opened(each.set_id)]

    @cached_property
    def _asked(self) -> Foreknown:
        """What the devices say; asked only when it is needed, and for frames."""
        return self._ask() if any(step.takes_frames for step in self._options.steps) else Foreknown()

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the devices have not said what they were asked for."""
        return self._asked.problems if "_asked" in self.__dict__ else ()

    @property
    def frame_pixels(self) -> int | None:
        """Pixels of a frame, where they are known."""
        if self._foreknown.pixels:
            return self._foreknown.pixels
        newest = self._catalogue.newest(origin=Origin.OWN)
        return self._asked.pixels if newest is None else newest.height * newest.width

    @cached_property
    def filters(self) -> tuple[tuple[str | None, ...], FilterSource]:
        """Filters that flats are taken in, (None,) without a wheel, and how they are known."""
        config = self._config
        if config.flat_capture.filters:
            return config.flat_capture.filters, FilterSource.CONFIGURATION
        if self._foreknown.filters:
            return self._foreknown.filters, FilterSource.SIMULATOR
        if seen := self._catalogue.filters_of_flats():
            return seen, FilterSource.LAST_FLATS
        wheel = config.filter_wheel
        if wheel is None or not wheel.enabled:
            return (None,), FilterSource.NO_WHEEL
        return self._asked.filters or (None,), FilterSource.WHEEL if self._asked.filters else FilterSource.UNKNOWN

    def planned_sets(self) -> Iterator[PlannedSet]:
        """Yield the sets in the order in which they would be taken."""
        steps = self._options.steps
        if not any(step.takes_frames for step in steps):
            return
        for state in states(self._config, skip_cooling=self._options.skip_cooling):
            config = state.config
            flats = [self._planned(config, wanted) for wanted in flat_sets(config, state, self._filters_of(config))]
            which, known = self._options.dark_times, self._foreknown
            served = served_flats(config, state, self._exposures_of(flats), steps, which)
            times = dark_times(config, served.times_us, minimum_us=known.shortest_us, resolution_us=known.step_us)
            darks = [self._planned(config, w) for w in dark_sets(config, state, times, which, self._made)]
            if Step.DARKS in steps:
                self.dropped += map(str, times.clipped)
                self.assumed |= served.is_assumed
                yield from (d for d in darks if d.wanted.kind is FrameKind.BIAS)
            if Step.FLATS in steps:
                yield from flats
            if Step.DARKS in steps:
                yield from (d for d in darks if d.wanted.kind is not FrameKind.BIAS)

    def _filters_of(self, config: Config) -> tuple[str | None, ...]:
        """Return the filters that a programme's flats are taken in."""
        return config.flat_capture.filters or self.filters[0]

    def _planned(self, config: Config, wanted: WantedSet) -> PlannedSet:
        found = having(
            requirement_of(config, wanted),
            wanted.count,
            (each for each in self._serving if each.key.kind is wanted.kind),
            now=self.now,
            reuse=config.reuse,
        )
        return PlannedSet(wanted=wanted, there=found)

    @cached_property
    def now(self) -> datetime:
        """The present; a simulated night goes on after its last frame."""
        newest = self._catalogue.newest_date_obs(origin=Origin.OWN, simulated=True)
        return max(filter(None, (SystemClock().now(), newest)))

    def _exposures_of(self, flats: Iterable[PlannedSet]) -> set[int]:
        """Return the exposures of the flats that exist."""
        ids = [each.there.row.set_id for each in flats if each.there.row is not None]
        frames = self._catalogue.frames(set_id=ids) if ids else []
        return {row.exposure_us for row in frames if row.exposure_us is not None}
