"""The mind of the daemon: programmes, catalogue, windows and conditions, asked at one moment.

It decides nothing that a restart could not decide anew: the plan is compared with the catalogue again whenever that, or
the configuration or the time, has changed it.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import structlog

from calibration.frames import FrameKind, GroupStatus
from drivers.clock import SystemClock
from services.catalogue.catalogue import Catalogue
from services.config.models import LoadedConfig
from services.config.serve import Kind, Serve
from services.daemon.aftermath import run_left_behind
from services.daemon.ended_windows import not_over
from services.daemon.failures import Failures, failed, failures_as_json, failures_from, recovered, tried_again
from services.daemon.openings import making_room, opens_next, why_closed, windows_open
from services.daemon.orders import RefusalCode, Refused
from services.daemon.parts import Begin, Ended, Nothing, Outlook
from services.daemon.reconciler import TAKEN_AS, Pace, by_order_only, choose, continued_in, title, windows_in
from services.daemon.state_file import Remembered
from services.daemon.windows import OpenWindow, served
from services.errors import RunCode, ServiceError
from services.events.records import GroupFinished
from services.files.locks import RootLock
from services.observatory.in_use import LeftBehind
from services.planning.upkeep import plan_of
from services.planning.wanted_master import Failure, Plan, Serves
from services.root import Place, layout_of
from services.version import is_credible
from services.words import some

log = structlog.get_logger(__name__)

NO_FAILURE = frozenset(
    {RunCode.CANCELLED, RunCode.PAUSED, RunCode.YIELDED, RunCode.INTERRUPTED, RunCode.UNSAFE, RunCode.SAFETY_STALE,
     RunCode.CAMERA_BUSY}
)  # fmt: skip
"""Codes of runs that ended for a reason that is none of the items': they are due as before."""
ALL_MASTERS = "masters"
"""Stands among the keys of items for the masters step as a whole."""
_UNSAFE = frozenset({RunCode.UNSAFE, RunCode.SAFETY_STALE})
_LONGEST = timedelta(minutes=10)
"""So old a plan is at most, whatever has not changed."""
_SHARE = 50.0
"""A plan takes at most one part in so many of the time: where a catalogue is huge, it is compared less often."""


class Surroundings(Protocol):
    """What the conditions say at one moment."""

    def obstacles(self, now: datetime) -> tuple[Refused, ...]:
        """Return what no order overrules: it is unsafe, or the camera is used by somebody else."""
        ...

    def unmet(self, window: OpenWindow, now: datetime) -> str:
        """Return in words what a window needs and is not so; "" where all is."""
        ...

    def takes(self, window: OpenWindow, now: datetime) -> tuple[Kind, ...]:
        """Return what a window takes now: by day no darks under a roof that is not closed."""
        ...

    def note_unsafe(self, now: datetime) -> None:
        """Note that a run has ended because it was not safe, whether anybody else has seen that or not."""
        ...

    def is_camera_away(self) -> bool:
        """Return whether the camera does not answer."""
        ...

    def is_mended(self, code: str, at: datetime, now: datetime) -> bool:
        """Return whether what failed for this cause at a moment may be tried again: the trouble is seen to be over."""
        ...

    def stands_c(self) -> float | None:
        """Return the temperature at which the cooler holds the sensor; None where it is off or unknown."""
        ...


class Calm:
    """Surroundings in which nothing is asked: no safety monitor, no dome, no telescope, no other client."""

    def obstacles(self, _now: datetime) -> tuple[Refused, ...]:
        """Return nothing."""
        return ()

    def unmet(self, _window: OpenWindow, _now: datetime) -> str:
        """Return that all is as it must be."""
        return ""

    def takes(self, window: OpenWindow, _now: datetime) -> tuple[Kind, ...]:
        """Return all that it takes."""
        return window.takes

    def note_unsafe(self, _now: datetime) -> None:
        """Note nothing."""

    def is_camera_away(self) -> bool:
        """Return that nothing is known of that."""
        return False

    def is_mended(self, _code: str, _at: datetime, _now: datetime) -> bool:
        """Return that nothing is seen of it."""
        return False

    def stands_c(self) -> float | None:
        """Return that nothing is known."""
        return None


@dataclass(frozen=True, slots=True)
class _Known:
    """A plan, and of what it was made: it holds while all of that is the same."""

    plan: Plan
    of: object
    changes_at: datetime
    models: str


class Mind:
    """Decides what is due and what is begun; called by the thread of the loop alone, but for `plan` and `loaded`.

    Parameters
    ----------
    loaded : LoadedConfig
        With its programmes.
    read : callable
        Reads the configuration again; raises `ServiceError` where it cannot be used.
    surroundings : Surroundings

    Attributes
    ----------
    loaded : LoadedConfig
        In force.
    plan : Plan or None
        The last comparison.
    """

    def __init__(
        self, loaded: LoadedConfig, *, read: Callable[[], LoadedConfig], surroundings: Surroundings | None = None
    ) -> None:
        self.loaded = loaded
        self.plan: Plan | None = None
        self.windows: tuple[OpenWindow, ...] = ()
        self._read = read
        self._surroundings = surroundings or Calm()
        self._known: _Known | None = None
        self._not_before_s = 0.0
        self._was_in_use = False
        self._continued_until = continued_in(loaded.config)

    def look(self, now: datetime, state: Remembered) -> Outlook:
        """Return what is due now and what would be begun."""
        plan = self._planned(now, state)
        self.plan = plan
        self.windows = windows = windows_open(self.loaded.config, now)
        obstacles = (*self._surroundings.obstacles(now), *_root_in_use(layout_of(self.loaded).root))
        models = "" if self._known is None else self._known.models
        building = _to_build(plan, self.loaded.config.serve, models, due=state.masters_due)
        return Outlook(
            choice=self._choice(plan, now, obstacles, state, builds=bool(building)),
            plan=plan.fingerprint,
            due=frozenset(each.key for each in plan.masters if each.is_due or each.by_order_only),
            known=frozenset(each.key for each in plan.masters),
            obstacles=obstacles,
            closing={each.name: each.closes_at for each in windows},
            to_build=frozenset() if _is_in_use(obstacles) else building,
            complete=frozenset(each.key for each in plan.masters if each.set_id is not None and not each.have),
            stale={each.key: each.serves_why for each in plan.masters if each.serves is Serves.STALE},
            is_camera_away=self._surroundings.is_camera_away(),
            left_behind=self._left_behind(now, state, in_use=_is_in_use(obstacles)),
        )

    def _left_behind(self, now: datetime, state: Remembered, *, in_use: bool) -> LeftBehind | None:
        """Return what a program that was at work in the folder has left when it was killed; our own runs are known."""
        was_in_use, self._was_in_use = self._was_in_use, in_use
        left = run_left_behind(layout_of(self.loaded), now) if was_in_use and not in_use else None
        is_known = left is not None and state.last_run is not None and left.run_id == state.last_run.run_id
        return None if is_known else left

    def learn(
        self,
        ended: Ended,
        items: tuple[str, ...],
        outcomes: tuple[GroupFinished, ...],
        state: Remembered,
        now: datetime,
    ) -> Remembered:
        """Return what is remembered after a run: which items failed, and which can be had again.

        What it has taken is seen at the next look, however long comparing takes: nothing is to be taken twice.
        """
        self._known = None
        state = replace(state, masters_due=_masters_due(ended, items, outcomes, before=state.masters_due))
        if ended.code in _UNSAFE:
            self._surroundings.note_unsafe(now)
        failures = failures_from(state.failures)
        last = {each.item: each for each in outcomes if not each.there}
        had = {key for key, each in last.items() if each.code is None}
        had |= {each.item for each in outcomes if each.there}
        spared = ended.code is None or ended.code in NO_FAILURE
        if ended.code is None and not ended.taken and not any(each.accepted and not each.there for each in outcomes):
            # what the plan finds due and a run does not take would be begun again at once, and for ever; but whether
            # there is one of the temperature that a sensor happens to have, only a run can see
            had &= _as_they_come(self.plan)
            spared, ended = False, replace(ended, code=RunCode.NOTHING_TAKEN, detail=ended.detail)
        failures = recovered(failures, had)
        for key in dict.fromkeys((*items, *last)):
            each = last.get(key)
            if each is not None and each.code is not None and each.code not in NO_FAILURE:
                failures = failed(failures, key, now, code=each.code, detail=each.detail)
            elif key in items and key not in had and not spared:
                failures = failed(failures, key, now, code=ended.code or "", detail=ended.detail)
        return replace(state, failures=failures_as_json(failures))

    def forget(self, items: Collection[str], state: Remembered, now: datetime) -> Remembered:
        """Return what is remembered when items that failed are tried again at once; all where none is named."""
        return replace(
            state,
            failures=failures_as_json(tried_again(failures_from(state.failures), items, now)),
            windows_over={},
        )

    def reload(self) -> str:
        """Read the configuration again; return what is wrong with it, in words, and keep the one before it then."""
        try:
            self.loaded = self._read()
        except ServiceError as error:
            return error.detail
        self._known = None
        self._continued_until = continued_in(self.loaded.config)
        return ""

    def _choice(
        self,
        plan: Plan,
        now: datetime,
        obstacles: tuple[Refused, ...],
        state: Remembered,
        *,
        builds: bool,
    ) -> Begin | Nothing:
        config = self.loaded.config
        if not is_credible(now):
            return Nothing(reason="clock_not_credible", detail=f"the computer's clock says {now:%Y-%m-%d}")
        if not any(each.lacks_frames for each in plan.masters):
            return _no_frames_due(plan, obstacles if builds else ())
        if obstacles:
            return Nothing(reason=obstacles[0].code, detail=obstacles[0].detail, until=obstacles[0].until)
        windows = not_over(self.windows, state.windows_over, now)
        over = {each.name: state.windows_over[each.name] for each in self.windows if each not in windows}
        if why := why_closed(config, now, windows=windows, over=over):
            return why
        unmet = {each.name: self._surroundings.unmet(each, now) for each in windows}
        usable = [replace(each, takes=self._surroundings.takes(each, now)) for each in windows if not unmet[each.name]]
        wanted = {TAKEN_AS[each.kind] for each in plan.masters if each.lacks_frames}
        hindered = [
            f"{each.name}: {unmet[each.name]}" for each in windows if unmet[each.name] and wanted & {*each.takes}
        ]
        opens = opens_next(config, now)
        stands_c = state.held_c if state.cooler_held else self._surroundings.stands_c()
        pace = Pace(costs=plan.costs, stands_c=stands_c)
        choice = choose(
            plan.masters,
            now=now,
            windows=usable,
            pace=pace,
            opens_next=None if opens is None else opens.opens_at,
            windows_of=windows_in(served(config)),
        )
        if isinstance(choice, Begin):
            return making_room(choice, config, now, masters=plan.masters, usable=usable)
        is_hindered = hindered and (_is_outside(choice) or not usable)
        return Nothing(reason="conditions", detail=some(hindered)) if is_hindered else choice

    def _planned(self, now: datetime, state: Remembered) -> Plan:
        """Return the plan, compared anew where something has changed since the last time."""
        layout = layout_of(self.loaded)
        failures = _waiting(state, self._surroundings, now)
        of = (id(self.loaded), _stamp(layout.catalogue), repr(failures))
        known, began_s = self._known, SystemClock().monotonic()
        if known is not None and known.plan.at <= now < known.changes_at:
            same_but_files = known.of == of or (known.of[::2] == of[::2] and began_s < self._not_before_s)  # type: ignore[index]
            if same_but_files:
                return known.plan
        with Catalogue(layout.catalogue, read_only=True) as catalogue:
            plan = plan_of(
                self.loaded,
                Place(layout=layout, catalogue=catalogue),
                now=now,
                failures=failures,
                continued_until=self._continued_until,
                by_order_only=by_order_only(served(self.loaded.config)),
            )
            models = _dark_models(catalogue) if self.loaded.config.master_frames.flat_dark == "model" else ""
        took_s = SystemClock().monotonic() - began_s
        self._not_before_s = SystemClock().monotonic() + _SHARE * took_s
        self._known = _Known(plan, of, _changes_at(plan, now), models)
        return plan


def _waiting(state: Remembered, surroundings: Surroundings, now: datetime) -> Failures:
    """Return the failures that are not tried again yet; they are known until what failed can be had."""

    def waits(failure: Failure) -> bool:
        return failure.at is None or not surroundings.is_mended(failure.code, failure.at, now)

    return {key: each for key, each in failures_from(state.failures).items() if waits(each)}


def _dark_models(catalogue: Catalogue) -> str:
    """Return what identifies the models that flats without a dark may use."""
    return " ".join(sorted(row.identity for row in catalogue.valid_models(kind="dark")))


def _to_build(plan: Plan, serve: Serve, models: str, *, due: bool) -> frozenset[str]:
    """Return the items whose masters follow their sets, where `serve.after_sets` says that they do.

    Flats have the `models` that may give them a dark beside their names: with other models they are tried again.
    `ALL_MASTERS` is among them where these steps are `due`: that of masters alone knows which masters that serve are
    built anew, because their sets have grown, or because their flats have darks of their own by now.
    """
    if not serve.after_sets:
        return frozenset()
    lacking = plan.masters if "masters" in serve.after_sets else ()
    found = (
        f"{each.key} {models}".strip() if each.kind is FrameKind.FLAT else each.key for each in lacking if each.to_build
    )
    return frozenset(found) | ({ALL_MASTERS} if due else set())


def _masters_due(ended: Ended, items: Collection[str], outcomes: Collection[GroupFinished], *, before: bool) -> bool:
    """Whether masters are to be built after a run: of frames when it has completed a set, until the step has ended."""
    if items:
        return before or any(each.status is GroupStatus.COMPLETE and not each.there for each in outcomes)
    return before and (ended.code is not None or ended.died)


def _as_they_come(plan: Plan | None) -> set[str]:
    """Return the items that are wanted of whatever temperature the sensor has."""
    return set() if plan is None else {each.key for each in plan.masters if each.as_it_comes}


def _root_in_use(root: Path) -> tuple[Refused, ...]:
    """Return that another program is at work in the folder, and which one; the lock is not taken for that."""
    holder = RootLock(root).holder()
    return (Refused(RefusalCode.ROOT_IN_USE, f"{root} is in use by {holder}"),) if holder else ()


def _is_in_use(obstacles: Collection[Refused]) -> bool:
    """Whether another program is at work in the folder."""
    return any(each.code is RefusalCode.ROOT_IN_USE for each in obstacles)


def _no_frames_due(plan: Plan, obstacles: Collection[Refused]) -> Nothing:
    """Return why nothing is done where no frames are to be taken; masters are only hindered by who has the folder."""
    if in_use := next((each for each in obstacles if _is_in_use((each,))), None):
        return Nothing(reason=in_use.code, detail=in_use.detail)
    if waiting := [title(each) for each in plan.masters if each.by_order_only]:
        return Nothing(reason="nothing_due", detail=f"no window takes {some(waiting)}: by order only")
    return Nothing(reason="nothing_due", detail="all that is wanted is there, and young enough")


def _is_outside(choice: Begin | Nothing) -> bool:
    return isinstance(choice, Nothing) and choice.reason == "outside_windows"


def _changes_at(plan: Plan, now: datetime) -> datetime:
    """Return when time alone changes a plan: something ages, is too old, or may be tried again."""
    moments = [at for each in plan.masters for at in (each.ageing_at, each.stale_at, each.again_at) if at is not None]
    return min((now + _LONGEST, *(at for at in moments if at > now)))


def _stamp(path: Path) -> tuple[Any, ...]:
    """Return what changes whenever the catalogue does: size and time of its file and of its log."""
    found: list[Any] = []
    for each in (path, path.with_name(f"{path.name}-wal")):
        try:
            status = each.stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_size, status.st_mtime_ns))
    return tuple(found)
