"""A year of the daemon in seconds: its own loop, mind, windows and ladder of failures; runs only cost their minutes.

The world has weather, an observer who takes the camera on clear nights, a camera that fails for days, workers that die,
restarts, and a computer whose clock jumps. The catalogue is a real one, filled with rows; there are no pixels.
"""

import random
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from calibration.frames import FrameKind, GroupStatus
from calibration.grouping import night_label
from drivers.clock import ManualClock
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import FrameRow, MasterRow, MasterStatus
from services.config import loads
from services.config.moments import zone
from services.config.serve import Kind
from services.daemon.ended_windows import not_over
from services.daemon.loop import Loop
from services.daemon.mind import Calm, Mind
from services.daemon.orders import Answer, Order, OrderName, RefusalCode, Refused
from services.daemon.parts import SCHEDULE, Begin, Child, Ended, Secured
from services.daemon.present import Present
from services.daemon.reconciler import TAKEN_AS
from services.daemon.state_file import Remembered, read_state, write_state
from services.daemon.windows import OpenWindow, open_now
from services.events.records import Event, GroupFinished, Record
from services.library.standing import standing
from services.observatory.in_use import LeftBehind
from services.planning.programmes import programmed
from services.planning.wanted_master import Serves, WantedMaster
from services.root import layout_of
from services.version import is_credible

TEXT = """
camera: {camera_type: alpaca, alpaca: {host: nobody.invalid}}
cooling: {target_temperature: -10.0}
filter_wheel: {device_id: 0}
dome: {device_id: 0}
site: {latitude: 52.5, longitude: 13.4}
darkness: cover
programmes:
  - {name: broad, gain: 26, temperatures: [-10.0], bias: {frames: 6, max_age_days: 30},
     darks: {exposures: [60, 3600], frames: 8, max_age_days: 20}, flats: {filters: [L, R], frames: 5, max_age_days: 7}}
  - {name: narrow, gain: 56, temperatures: [-10.0, -20.0],
     darks: {exposures: [300], frames: 5, max_age_days: 25}, flats: {filters: [Ha], frames: 5, max_age_days: 14}}
serve:
  timezone: Europe/Berlin
  blackout: [2026-03-25/2026-03-26, 2026-12-24/2026-12-26]
  windows:
    - {name: midday, cron: "0 10 * * *", hours: 6, takes: [bias, darks], needs: [roof_closed]}
    - {name: night, cron: "30 2 * * *", hours: 1, takes: [bias]}
    - {name: evening, sun: [8.0, -1.0], half: evening, takes: [flats, darks]}
"""
COOLING_S, READOUT_S, FLAT_S = 900.0, 2.0, 2.239
MOST_IDLE_S = 6 * 3600.0


class JumpingClock(ManualClock):
    """A clock on which the daemon's waits last as long as nothing happens in the world; its wall clock may be wrong."""

    def __init__(self, start: datetime) -> None:
        super().__init__(start)
        self.wrong_by = timedelta()
        self.world: World | None = None

    def now(self) -> datetime:
        """Return what the computer believes."""
        return self.true + self.wrong_by

    @property
    def true(self) -> datetime:
        """The time as it is."""
        return super().now()

    def sleep(self, seconds: float, wake: object = None) -> bool:
        """Let the world go on until something happens in it, and at least for so many seconds."""
        if self.world is None:
            self.advance(seconds)
        else:
            self.advance(max(1.0, self.world.pause_s()))
            self.world.happen()
        return False


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which something is so."""

    begin: datetime
    end: datetime

    def holds(self, at: datetime) -> bool:
        return self.begin <= at < self.end


@dataclass(slots=True, kw_only=True)
class FakeRun:
    """A run that costs its minutes: the frames that it will have taken, and how it ends."""

    run_id: str
    what: Begin
    began_at: datetime
    frames: list[tuple[WantedMaster, FrameRow, datetime]]
    ends_at: datetime
    ended: Ended
    orders: list[OrderName] = field(default_factory=list)

    def order(self, name: OrderName) -> None:
        """Hear an order: it ends after the frame, or at once."""
        self.orders.append(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A frame that was taken: when the computer believed that it began and ended, and by whose order."""

    row: FrameRow
    ended_at: datetime
    by: str

    @property
    def kind(self) -> FrameKind:
        return self.row.kind


class World(Calm):
    """Everything around the decisions of the daemon: devices, weather, people, and hands that only count minutes.

    Parameters
    ----------
    folder : Path
    days : int
    seed : int
    start : datetime
    """

    def __init__(self, folder: Path, *, days: int, seed: int, start: datetime) -> None:
        self.rng = random.Random(seed)
        self.start, self.end = start, start + timedelta(days=days)
        self.clock = JumpingClock(start)
        self.loaded = programmed(loads(TEXT, folder / "c.yaml"))
        self.layout = layout_of(self.loaded)
        self.catalogue = Catalogue(self.layout.catalogue)
        self.state_path = folder / "serve.json"
        self.said: list[tuple[datetime, Record]] = []
        self.taken: list[Taken] = []
        self.runs = self.restarts = 0
        self.run: FakeRun | None = None
        self.cooler_c: float | None = None
        self.overdue: dict[str, float] = {}
        self._stretch_s: dict[str, float] = {}
        self.longest_overdue: dict[str, float] = {}
        self._measured_at = start
        self._usable: set[str] = set()
        self._plan_of_the_world()
        self._wake_up()
        self.clock.world = self

    # --- what is to come --------------------------------------------------------------------------------------------

    def _plan_of_the_world(self) -> None:
        days = (self.end - self.start).days
        nights = [self.start + timedelta(days=n) for n in range(days + 1)]
        midnight = [at.replace(hour=0, minute=0, second=0, microsecond=0) for at in nights]
        self.rain = [
            Span(at + timedelta(hours=begin), at + timedelta(hours=begin + self.rng.uniform(0.5, 6)))
            for at in midnight
            if self.rng.random() < 0.25
            for begin in [self.rng.uniform(0, 20)]
        ]
        self.rain += [Span(midnight[n], midnight[n] + timedelta(days=3)) for n in range(40, days, 90)]
        self.observing = [
            Span(at + timedelta(hours=20), at + timedelta(hours=28)) for at in midnight if self.rng.random() < 0.6
        ]
        self.broken = [Span(midnight[n], midnight[n] + timedelta(days=7)) for n in range(14, days, 200)]
        events = [(span.begin - timedelta(minutes=10), self._yield) for span in self.observing[::2]]
        events += [(at + timedelta(hours=self.rng.uniform(0, 24)), self._restart) for at in midnight[3::5]]
        events += [(at + timedelta(hours=11, minutes=20), self._cancel) for at in midnight[9::23]]
        events += [(at + timedelta(hours=7, minutes=5), self._order_flats) for at in midnight[6::9]]
        events += [(at + timedelta(hours=9), self._retry) for at in midnight[16::40]]
        wrong = [(5, timedelta(days=1)), (11, timedelta(hours=-3)), (19, datetime(1970, 1, 1, tzinfo=UTC))]
        for day, by in [(day + 60 * n, by) for day, by in wrong for n in range(1 + days // 60)]:
            if day < days:
                at = midnight[day] + timedelta(hours=11)
                off = by if isinstance(by, timedelta) else by - at
                events += [(at, lambda off=off: self._jump(off)), (at + timedelta(hours=2), lambda: self._jump(None))]
        self.events = sorted(events, key=lambda each: each[0])

    def _yield(self) -> None:
        self._order(Order(order=OrderName.YIELD, for_s=8 * 3600.0 + 600, by="the observer"))

    def _cancel(self) -> None:
        self._order(Order(order=OrderName.CANCEL, by="somebody"))

    def _order_flats(self) -> None:
        known = self.mind.plan.masters if self.mind.plan is not None else ()
        flats = [each.key for each in known if each.kind is FrameKind.FLAT]
        self._order(Order(order=OrderName.RUN, items=tuple(flats[:1]), by="somebody"))

    def _retry(self) -> None:
        self._order(Order(order=OrderName.RETRY, by="somebody"))

    def _order(self, order: Order) -> None:
        self.loop.give(order)  # answered when the loop comes to it

    def _jump(self, off: timedelta | None) -> None:
        self.clock.wrong_by = timedelta() if off is None else off

    def _restart(self) -> None:
        """End the daemon with its run, and start it again: what it knew comes back from its file alone."""
        self.restarts += 1
        self.loop.is_ending = True  # nothing is begun any more
        if self.run is not None:
            self._finish(self.clock.true, Ended(run_id=self.run.run_id, exit_code=130, code="interrupted"))
            self.loop.step()
        self._wake_up()

    def _wake_up(self) -> None:
        state, problem = read_state(self.state_path)
        assert not problem
        self.mind = Mind(self.loaded, read=lambda: self.loaded, surroundings=self)
        present = Present(self.clock, state, keep=self._keep, say=self._say)
        self.loop = Loop(clock=self.clock, mind=self.mind, hands=self, present=present, show=lambda _loop: None)

    def _keep(self, state: Remembered) -> None:
        write_state(self.state_path, state)

    def _say(self, record: Record) -> None:
        self.said.append((self.clock.true, record))

    # --- time -------------------------------------------------------------------------------------------------------

    def live(self) -> None:
        """Let the daemon work until the end."""
        while self.clock.true < self.end:
            self.loop.step()
        self.catalogue.close()

    def pause_s(self) -> float:
        """Return for how long nothing happens that the daemon would have to see."""
        moments = [at for at, _ in self.events[:1]]
        if self.run is not None:
            moments.append(self.run.ends_at)
        until = self.loop.present.activity.until
        idle_s = 1800.0
        if self.run is None and until is not None and self.loop.present.activity.reason == "outside_windows":
            idle_s = min(MOST_IDLE_S, max(60.0, (until - self.clock.now()).total_seconds()))
        moments += [each.closes_at - self.clock.wrong_by for each in self._windows(self.clock.now())]
        left_s = min(((at - self.clock.true).total_seconds() for at in moments), default=idle_s)
        return min(left_s, idle_s)

    def happen(self) -> None:
        """Let happen what is due in the world."""
        self._measure()
        while self.events and self.events[0][0] <= self.clock.true:
            self.events.pop(0)[1]()
        run = self.run
        if run is None:
            return
        if run.orders:
            codes = {OrderName.CANCEL: "cancelled", OrderName.YIELD: "yielded", OrderName.ABORT: "interrupted"}
            self._finish(self.clock.true, Ended(run_id=run.run_id, exit_code=0, code=codes[run.orders[0]]))
        elif any(span.holds(self.clock.true) for span in self.rain) and run.what.items:
            self._finish(self.clock.true, Ended(run_id=run.run_id, exit_code=4, code="unsafe"))
        elif self.clock.true >= run.ends_at:
            self._finish(run.ends_at, run.ended)

    def _measure(self) -> None:
        """Add up how long windows whose minutes suffice were open while something was too old or missing.

        A stretch in which not one frame of an item could end, cooling included, does not suffice.
        """
        passed_s, takes = (self.clock.true - self._measured_at).total_seconds(), self._usable
        self._measured_at, self._usable = self.clock.true, self._usable_for()
        for each in self.mind.plan.masters if self.mind.plan is not None else ():
            if each.serves in {Serves.FRESH, Serves.AGEING}:
                self.overdue.pop(each.key, None)
                self._stretch_s.pop(each.key, None)
            elif TAKEN_AS[each.kind] in takes and each.is_due:
                self._stretch_s[each.key] = self._stretch_s.get(each.key, 0.0) + passed_s
            if TAKEN_AS[each.kind] not in self._usable:
                self._add_stretch(each)

    def _add_stretch(self, each: WantedMaster) -> None:
        stretch_s = self._stretch_s.pop(each.key, 0.0)
        exposure_s = FLAT_S if each.wanted.exposure_us is None else each.wanted.exposure_us / 1e6
        if stretch_s >= exposure_s + READOUT_S + COOLING_S:
            self.overdue[each.key] = self.overdue.get(each.key, 0.0) + stretch_s
            longest = self.longest_overdue.get(each.key, 0.0)
            self.longest_overdue[each.key] = max(longest, self.overdue[each.key])

    def _usable_for(self) -> set[str]:
        """Return for which kinds windows are open now in which nothing hinders the daemon."""
        now, state = self.clock.true, self.loop.present.state
        hindered = bool(self.obstacles(now)) or state.hold is not None or self.clock.wrong_by != timedelta()
        if hindered or any(span.holds(now) for span in self.broken):
            return set()
        windows = not_over(self._windows(now), state.windows_over, now)
        return {kind for each in windows if not self.unmet(each, now) for kind in each.takes}

    def _windows(self, at: datetime) -> tuple[OpenWindow, ...]:
        serve = self.loaded.config.serve
        return open_now(at, serve, self.loaded.config.site, zone(serve.timezone))

    # --- surroundings -----------------------------------------------------------------------------------------------

    def obstacles(self, _now: datetime) -> tuple[Refused, ...]:
        """Return what no order overrules: rain, and the observer."""
        at = self.clock.true
        if any(span.holds(at) for span in self.rain):
            return (Refused(RefusalCode.UNSAFE, "it rains"),)
        if any(span.holds(at) for span in self.observing):
            return (Refused(RefusalCode.CAMERA_IN_USE, "the observer uses the camera"),)
        return ()

    def unmet(self, window: OpenWindow, _now: datetime) -> str:
        """Return that the roof is open, where it is, and must not be."""
        is_open = any(span.holds(self.clock.true) for span in self.observing)
        return "the roof is open" if is_open and "roof_closed" in window.needs else ""

    def takes(self, window: OpenWindow, _now: datetime) -> tuple[Kind, ...]:
        """Return all that a window takes."""
        return window.takes

    def stands_c(self) -> float | None:
        """Return where the cooler stands."""
        return self.cooler_c

    # --- hands ------------------------------------------------------------------------------------------------------

    def begin(self, what: Begin) -> Child:
        """Begin a run that costs its minutes, or the building of masters."""
        self.runs += 1
        now, run_id = self.clock.true, f"r{self.runs:05d}"
        assert self.run is None, "a run is at work"
        ended, frames = Ended(run_id=run_id, exit_code=0), []
        at = now
        if what.builds_only:
            at += timedelta(minutes=2)
        elif any(span.holds(now) for span in self.broken):
            at, ended = now + timedelta(minutes=1), Ended(run_id=run_id, exit_code=3, code="device_lost")
        else:
            frames = list(self._frames(what, run_id, now))
            at = max((end for *_, end in frames), default=now + timedelta(minutes=1))
            if self.rng.random() < 0.03:
                at = now + (at - now) * self.rng.random()
                ended = Ended(run_id=run_id, exit_code=-9, code="worker_died", died=True)
        self.run = FakeRun(run_id=run_id, what=what, began_at=now, frames=frames, ends_at=at, ended=ended)
        return self.run

    def _frames(self, what: Begin, run_id: str, now: datetime) -> Iterator[tuple[WantedMaster, FrameRow, datetime]]:
        """Yield the frames that a run takes, with their ends; none that would end after its window."""
        assert self.mind.plan is not None
        wanted = {each.key: each for each in self.mind.plan.masters}
        at = now + timedelta(seconds=10)
        for key in what.items:
            each = wanted[key]
            if each.wanted.set_temp_c != self.cooler_c:
                at += timedelta(seconds=COOLING_S)
                self.cooler_c = each.wanted.set_temp_c
            have, set_id = (each.have, each.set_id) if each.have else (0, None)
            exposure_s = FLAT_S if each.wanted.exposure_us is None else each.wanted.exposure_us / 1e6
            for number in range(have + 1, each.wanted.count + 1):
                end = at + timedelta(seconds=exposure_s + READOUT_S)
                if what.until is not None and end + self.clock.wrong_by > what.until:
                    break
                yield each, self._row(each, run_id, set_id or f"{run_id}-{key}", number, at, exposure_s), end
                at = end

    def _row(
        self, each: WantedMaster, run_id: str, set_id: str, number: int, at: datetime, exposure_s: float
    ) -> FrameRow:
        believed = at + self.clock.wrong_by
        is_flat = each.kind is FrameKind.FLAT
        name = f"{set_id}-{number}"
        return FrameRow(
            path=f"{name}.fits", pixel_sha256=name, size=1, mtime_ns=1, kind=each.kind, camera="QHY", height=10,
            width=10, gain=each.wanted.gain, exposure_us=round(exposure_s * 1e6), filter=each.wanted.filter,
            source="panel" if is_flat else None, instrument="QHY", set_id=set_id, run_id=run_id, frame_no=number,
            night=night_label(believed), date_obs=believed, set_temp_c=each.wanted.set_temp_c,
            ccd_temp_c=each.wanted.set_temp_c,
        )  # fmt: skip

    def _finish(self, at: datetime, ended: Ended) -> None:
        """End the run: what it has taken by then is in the catalogue, and it says what is complete."""
        run, self.run = self.run, None
        assert run is not None
        if run.what.builds_only and ended.code is None:
            self._build()
        there = [(each, row, end) for each, row, end in run.frames if end <= at]
        if (
            at < run.ends_at or ended.died
        ):  # minutes in which a frame was begun that weather or death took do not suffice
            torn_s = (at - max((end for *_, end in there), default=run.began_at)).total_seconds()
            self.overdue = {key: max(0.0, seconds - torn_s) for key, seconds in self.overdue.items()}
        self.catalogue.add_frames([row for _, row, _ in there])
        self.taken += [Taken(row=row, ended_at=_ended(row), by=run.what.by) for _, row, _ in there]
        complete = {each.key: each for each, row, _ in there if row.frame_no == each.wanted.count}
        for number, each in enumerate(complete.values()):
            what = GroupFinished(
                set_id=None, kind=each.kind, filter=each.wanted.filter, exposure_us=None, item=each.key,
                status=GroupStatus.COMPLETE, accepted=each.wanted.count,
            )  # fmt: skip
            self.loop.heard(Event(run_id=run.run_id, seq=number, at=self.clock.now(), what=what))
        if not run.what.holds_cooler:
            self.cooler_c = None
        self.loop.ended(replace(ended, taken=len(there)))

    def _build(self) -> None:
        """Build the master of each complete set that has none, and let all masters have their places."""
        rows = self.catalogue.masters()
        known = {row.recipe for row in rows}
        counts = {each.key: each.wanted.count for each in (self.mind.plan.masters if self.mind.plan else ())}
        for each in self.catalogue.sets():
            if each.set_id in known or each.count < counts.get(each.set_id.partition("-")[2], 10_000):
                continue
            frames = self.catalogue.frames(set_id=each.set_id)
            first = frames[0]
            valid_from = first.date_obs
            if first.kind is FrameKind.FLAT:
                valid_from = datetime.fromisoformat(f"{first.night}T12:00:00+00:00")
            rows.append(
                MasterRow(
                    path=f"master-{each.set_id}",
                    recipe=each.set_id,
                    n=len(frames),
                    status=MasterStatus.CERTIFIED,
                    key=first.key(None if first.kind is FrameKind.FLAT else first.set_temp_c),
                    built_at=self.clock.now(),
                    exposure_us=first.exposure_us,
                    valid_from=valid_from,
                    night=first.night,
                    inputs=tuple(frame.pixel_sha256 for frame in frames),
                )
            )
        before = {row.path: row for row in self.catalogue.masters()}
        for row in standing(rows, ()):
            if before.get(row.path) != row:
                self.catalogue.add_master(row)

    def secure(self, run_id: str | None, left: LeftBehind | None = None) -> None:
        """Make the devices safe."""
        self.cooler_c = None
        self.loop.secured(Secured(run_id=run_id))

    def of_masters(self, _order: Order, _child: Child | None) -> Future[Answer]:
        """Return nothing: nobody gives such orders here."""
        raise AssertionError


def _ended(row: FrameRow) -> datetime:
    """Return when a frame ended by the clock by which it began: that may be set right meanwhile."""
    assert row.date_obs is not None
    return row.date_obs + timedelta(seconds=(row.exposure_us or 0) / 1e6 + READOUT_S)


def outside_of_windows(world: World) -> list[Taken]:
    """Return the frames that the schedule took although no window was open for them, as the computer believed."""
    found = []
    for each in world.taken:
        takes = TAKEN_AS[each.kind]
        begun = each.row.date_obs
        assert begun is not None
        assert is_credible(begun)
        windows = world._windows(begun)
        if each.by == SCHEDULE and not any(takes in w.takes and each.ended_at <= w.closes_at for w in windows):
            found.append(each)
    return found


def taken_twice(world: World) -> list[str]:
    """Return the sets that were begun by the schedule while a complete one was young, or one could be continued."""
    begun: dict[str, list[list[Taken]]] = {}
    sets: dict[str, list[Taken]] = {}
    for each in world.taken:
        sets.setdefault(str(each.row.set_id), []).append(each)
    for set_id, frames in sets.items():
        begun.setdefault(set_id.partition("-")[2], []).append(frames)
    assert world.mind.plan is not None
    wanted = {each.key: each for each in world.mind.plan.masters}
    found = []
    for key, of_item in begun.items():
        for old, new in pairwise(of_item):
            first, later = old[0].row.date_obs, new[0].row.date_obs
            assert first is not None
            assert later is not None
            is_complete = len(old) >= wanted[key].wanted.count
            continued_until = world.mind._continued_until(first, wanted[key].wanted)
            until = first + 0.8 * timedelta(days=wanted[key].max_age_days) if is_complete else continued_until
            if new[0].by == SCHEDULE and until is not None and later < until:
                found.append(f"{key}: {first} ({len(old)} frames), again {later}")
    return found
