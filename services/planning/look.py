"""A look at what a configuration wants and at what exists of it, without touching a device.

What only the devices know (the wheel's filters, the sensor's size) is taken from the configuration, the simulated
observatory's parameters or the newest sets of the catalogue; whoever looks may hand in a question to the devices, which
is asked where none of these knows.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property

from calibration.errors import CalibrationError
from calibration.frames import FrameKind
from calibration.plans.dark import DarkUse, PlannedTimes
from calibration.plans.sequence import WantedSet
from drivers.clock import SystemClock
from services.catalogue.catalogue import Catalogue
from services.catalogue.history import EXPOSURE_MADE, EXPOSURE_STEP, LISTED, NO_SENSOR_C, SENSOR_C, SHORTEST
from services.catalogue.masters import Spent
from services.catalogue.rows import FactRow, Origin, SetRow
from services.config.models import Config, LoadedConfig
from services.observatory.named import with_numbers
from services.planning.campaign import campaign_of
from services.planning.foreknown import Foreknown, known_without_devices
from services.planning.having import having, requirement_of, too_old_before
from services.planning.item import asked_for
from services.planning.request import RunOptions, Step
from services.planning.room import PlannedSet
from services.planning.wanted import (
    State,
    dark_sets,
    dark_times,
    exposures_made,
    flat_sets,
    follow_flats,
    served_flats,
    states,
)
from services.planning.wishes import Wish, joined


class FilterSource(StrEnum):
    """Where the names of the filters are taken from while no wheel is connected."""

    CONFIGURATION = "the configuration"
    SIMULATOR = "the simulated observatory"
    LAST_FLATS = "the last flats"
    WHEEL = "the filter wheel"
    NO_WHEEL = "no wheel"
    UNKNOWN = "unknown"


SENSOR_KNOWN = timedelta(hours=2)
"""So long the temperature holds that was read of a sensor which nothing cools."""


class Look:
    """One look into the catalogue, for the sets of a run.

    Parameters
    ----------
    loaded : LoadedConfig
    catalogue : Catalogue
    options : RunOptions
    ask : callable
        Asks the devices for what nothing else knows, at most once; by default they are left alone.
    now : datetime, optional
        The present, for whoever has a clock of its own.
    """

    def __init__(
        self,
        loaded: LoadedConfig,
        catalogue: Catalogue,
        options: RunOptions,
        ask: Callable[[], Foreknown] = Foreknown,
        *,
        now: datetime | None = None,
    ) -> None:
        self._now = now
        self._config = _with_known_numbers(loaded.config, catalogue)
        self._catalogue = catalogue
        self._options = options
        self._foreknown = known_without_devices(loaded)
        self._ask = ask
        self.dropped: list[str] = []
        self.assumed = False

    @cached_property
    def _states(self) -> tuple[State, ...]:
        return tuple(states(self._config, skip_cooling=self._options.skip_cooling))

    @cached_property
    def _made(self) -> dict[int, int]:
        """What the camera has made of exposures."""
        return exposures_made(self._catalogue.facts(name=EXPOSURE_MADE))

    @cached_property
    def serving(self) -> list[SetRow]:
        """Our own sets that may serve: with `--fresh` only the ones that an interrupted run has opened for this."""
        since = min(too_old_before(self.now, state.config.reuse) for state in self._states)
        sets = self._catalogue.sets(origin=Origin.OWN, since=since)
        if not self._options.fresh:
            return sets
        fresh = campaign_of("", self._catalogue.runs(), now=self.now, reuse=self._config.reuse)
        return [each for each in sets if fresh.opened(each.set_id)]

    @cached_property
    def spent(self) -> Spent:
        """The sets that are there and not to be counted on: their masters were rejected or invalidated."""
        return self._catalogue.spent()

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
    def sensor(self) -> FactRow | None:
        """What a run has read, not long ago, of the temperature of a sensor that nothing cools; None: nobody has."""
        found = (fact for name in (SENSOR_C, NO_SENSOR_C) for fact in self._catalogue.facts(name=name)[:1])
        newest = max(found, key=lambda fact: fact.at, default=None)
        return newest if newest is not None and abs(self.now - newest.at) <= SENSOR_KNOWN else None

    @property
    def knows_filters(self) -> bool:
        """Whether the filters that flats are taken in are known."""
        return self.filters[1] is not FilterSource.UNKNOWN

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

    def obstacle(self, wish: Wish) -> str:
        """Return in words why nobody can ask for a wanted set by name; "" where one can."""
        wanted, camera = wish.wanted, wish.config.camera.active
        names = [f"{name} {value!r}" for name in ("gain", "offset") if isinstance(value := getattr(camera, name), str)]
        if names:
            return f"the number of {names[0]} is not known yet: give the number, or run `nightcal run` once"
        if wanted.kind is FrameKind.FLAT and wanted.filter is None and not self.knows_filters:
            return "the wheel's filters are not known yet: name them in `filters`, or run `nightcal run` once"
        return ""

    def planned_sets(self) -> Iterator[PlannedSet]:
        """Yield the sets in the order in which they would be taken, and what exists of each."""
        asked = ((state, wanted) for state, wanted in self.wanted_sets() if self._is_asked(state, wanted))
        for wish in joined(asked).values():
            yield self._planned(wish)

    def _is_asked(self, state: State, wanted: WantedSet) -> bool:
        """Whether a set is among those that a run is asked for, or a dark of flats that are."""
        options = self._options
        if (Step.FLATS if wanted.kind is FrameKind.FLAT else Step.DARKS) not in options.steps:
            return False
        followed: Collection[int] = ()
        if options.only is not None and DarkUse.FLAT in wanted.why and follow_flats(state.config, options):
            followed = self._exposures_of(state.config, asked_for(self._flats(state), options.only))
        return bool(asked_for((wanted,), options.only, followed_us=followed))

    def wanted_sets(self) -> Iterator[tuple[State, WantedSet]]:
        """Yield what every state wants, in the order in which it would be taken: biases, flats, darks."""
        steps, which = self._options.steps, self._options.dark_times
        if not any(step.takes_frames for step in steps):
            return
        for state in self._states:
            config = state.config
            flats = self._flats(state)
            exposures_us = self._exposures_of(config, flats)
            served = served_flats(config, state, exposures_us, steps, which)
            times = self._times(config, served.times_us)
            darks = dark_sets(config, state, times, which, self._made)
            if Step.DARKS in steps:
                self.dropped += map(str, times.clipped)
                self.assumed |= served.is_assumed
            yield from ((state, each) for each in darks if each.kind is FrameKind.BIAS)
            yield from ((state, each) for each in flats)
            yield from ((state, each) for each in darks if each.kind is not FrameKind.BIAS)

    @cached_property
    def _exposures_us(self) -> tuple[int, int]:
        """The camera's shortest exposure and the step of its exposures, as far as they are known: as it said last."""
        known, facts = self._foreknown, self._catalogue.facts
        shortest, step = (next((int(f.value) for f in facts(name=name)), 0) for name in (SHORTEST, EXPOSURE_STEP))
        return known.shortest_us or shortest, known.step_us if known.shortest_us else max(1, step)

    def _times(self, config: Config, flats_us: Iterable[int]) -> PlannedTimes:
        minimum_us, resolution_us = self._exposures_us
        flats = tuple(flats_us)
        try:
            return dark_times(config, flats, minimum_us=minimum_us, resolution_us=resolution_us)
        except CalibrationError:  # a science time below what the camera can do: the run says so
            return dark_times(config, flats)

    def _flats(self, state: State) -> tuple[WantedSet, ...]:
        """Return the flats of a state, in the filters that its programme wants."""
        return flat_sets(state.config, state, state.config.flat_capture.filters or self.filters[0])

    def _planned(self, wish: Wish) -> PlannedSet:
        wanted = wish.wanted
        found = having(
            requirement_of(wish.config, wanted),
            wanted.count,
            (each for each in self.serving if each.key.kind is wanted.kind and not self.spent.holds(each)),
            now=self.now,
            reuse=wish.reuse,
        )
        return PlannedSet(wanted=wanted, there=found, reuse=wish.reuse)

    @cached_property
    def now(self) -> datetime:
        """The present; a simulated night goes on after its last frame."""
        if self._now is not None:
            return self._now
        newest = self._catalogue.newest_date_obs(origin=Origin.OWN, simulated=True)
        return max(filter(None, (SystemClock().now(), newest)))

    def _exposures_of(self, config: Config, flats: Iterable[WantedSet]) -> set[int]:
        """Return the exposures of those of a programme's flats that exist."""
        there = (self._planned(Wish(config=config, wanted=wanted, reuse=config.reuse)).there for wanted in flats)
        ids = [each.row.set_id for each in there if each.row is not None]
        frames = self._catalogue.frames(set_id=ids) if ids else []
        return {row.exposure_us for row in frames if row.exposure_us is not None}


def _with_known_numbers(config: Config, catalogue: Catalogue) -> Config:
    """Return a configuration with numbers for the gains and offsets that it names, as the camera listed them last."""
    for fact in catalogue.facts(name=LISTED)[:1]:
        lists = {name: [str(each) for each in fact.settings.get(name, ())] for name in ("gains", "offsets")}
        return with_numbers(config, gains=lists["gains"], offsets=lists["offsets"])
    return config
