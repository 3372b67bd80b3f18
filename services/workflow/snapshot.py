"""What a run is doing, as one frozen record that any thread may ask for; made from the run's events alone."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from calibration.plans.sequence import Costs, WantedSet, estimate
from services.events.devices import CoolingChanged, CoolingStable, DeviceGone
from services.events.records import (
    Event,
    FrameSet,
    FrameStored,
    GroupFinished,
    GroupStarted,
    MasterBuilt,
    Record,
    RunEnding,
    RunFinished,
    RunProgress,
    RunStarted,
    StepFinished,
    StepStarted,
    Waiting,
    WarningRaised,
)
from services.events.sentences import sentence

_COSTS = Costs(frame_bytes=0)
_NO_SET: dict[str, Any] = {"group": None, "frame": 0, "frames": 0}


class RunState(StrEnum):
    """How far a run is."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDING = "ending"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetProgress:
    """One wanted set: what is wanted, how many frames it has, and whether it has ended, complete or not."""

    wanted: WantedSet
    have: int
    over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A run at one moment.

    Attributes
    ----------
    state : RunState
    at : datetime or None
        Time of the last event, by the run's clock.
    step : str or None
        `flats`, `darks` or `masters`.
    group : WantedSet or None
        The set that is being taken.
    frame, frames : int
        Frames that this set has, and how many are wanted; numbers of frames may be higher, for none is given twice.
    sets : tuple of SetProgress
        All sets that are known to be wanted; darks for new flats become known when the flats are taken.
    ccd_temp_c, set_temp_c, cooler_power_pct : float or None
        As last measured.
    last_path, last_level_adu
        The last frame that was stored.
    warnings : tuple of (str, str)
        Code and detail of each warning so far.
    waiting : str
        What the run waits for, "" while it does not.
    code : str or None
        Of a finished run: the first cause that stopped it.
    """

    run_id: str
    state: RunState = RunState.WAITING
    at: datetime | None = None
    step: str | None = None
    group: WantedSet | None = None
    frame: int = 0
    frames: int = 0
    sets: tuple[SetProgress, ...] = ()
    ccd_temp_c: float | None = None
    set_temp_c: float | None = None
    cooler_power_pct: float | None = None
    last_path: str | None = None
    last_level_adu: float | None = None
    warnings: tuple[tuple[str, str], ...] = ()
    waiting: str = ""
    code: str | None = None

    @property
    def done(self) -> int:
        """Frames that are there, of all sets."""
        return sum(min(each.have, each.wanted.count) for each in self.sets)

    @property
    def wanted(self) -> int:
        """Frames that are wanted, of all sets."""
        return sum(each.wanted.count for each in self.sets)

    @property
    def remaining_s(self) -> float:
        """Seconds that the frames still to be taken need: an estimate."""
        lacking = [(each.wanted, each.wanted.count - each.have) for each in self.sets if not each.over]
        return estimate((replace(wanted, count=n) for wanted, n in lacking if n > 0), _COSTS).seconds


def advance(snapshot: Snapshot, event: Event) -> Snapshot:
    """Return the snapshot after an event."""
    waiting = snapshot.waiting if isinstance(event.what, _BESIDE_A_WAIT) else ""
    return _changed(replace(snapshot, at=event.at, waiting=waiting), event.what)


def _changed(now: Snapshot, what: Record) -> Snapshot:
    change: dict[str, Any] = {}
    match what:
        case RunStarted() | StepStarted():
            change = {"state": RunState.RUNNING, "step": getattr(what, "step", None)}
        case StepFinished():
            change = {"step": None}
        case RunEnding():
            change = {"state": RunState.ENDING, **_NO_SET}
        case RunFinished():
            change = {"state": RunState.FINISHED, "step": None, "code": what.code, **_NO_SET}
        case Waiting():
            change = {"waiting": what.detail}
        case DeviceGone():
            change = {"waiting": sentence(what) or ""}
        case WarningRaised():
            change = {"warnings": (*now.warnings, (str(what.code), what.detail))}
        case CoolingStable():
            change = {"ccd_temp_c": what.ccd_temp_c}
        case CoolingChanged():
            change = {"set_temp_c": what.set_point_c, "ccd_temp_c": what.ccd_temp_c}
            change["cooler_power_pct"] = what.cooler_power_pct
    return _of_sets(replace(now, **change), what)


def _of_sets(now: Snapshot, what: Record) -> Snapshot:
    match what:
        case RunProgress() if what.sets is not None:
            return replace(now, sets=tuple(SetProgress(wanted=_set_of(each), have=each.have) for each in what.sets))
        case RunProgress():
            gone = {_key(_set_of(each)) for each in what.dropped}
            return replace(now, sets=tuple(each for each in now.sets if _key(each.wanted) not in gone))
        case GroupStarted():
            group = _set_of(what)
            begun = replace(now, group=group, frame=what.have, frames=group.count)
            return _counted(begun, SetProgress(wanted=group, have=what.have))
        case FrameStored():
            return _stored(now, what)
        case GroupFinished() if now.group is not None and not what.there:
            ended = replace(now, **_NO_SET)
            return _counted(ended, SetProgress(wanted=now.group, have=what.accepted or 0, over=True))
        case _:
            return now


def _stored(now: Snapshot, what: FrameStored) -> Snapshot:
    have = now.frame + 1
    seen = replace(
        now,
        frame=have,
        ccd_temp_c=what.ccd_temp_c,
        set_temp_c=what.set_temp_c,
        cooler_power_pct=what.cooler_power_pct,
        last_path=what.path,
        last_level_adu=what.level_adu,
    )
    return seen if now.group is None else _counted(seen, SetProgress(wanted=now.group, have=have))


def _counted(now: Snapshot, progress: SetProgress) -> Snapshot:
    """Put the progress of a set in the place of what was known of it, or behind all others."""
    key = _key(progress.wanted)
    if all(_key(each.wanted) != key for each in now.sets):
        return replace(now, sets=(*now.sets, progress))
    return replace(now, sets=tuple(progress if _key(each.wanted) == key else each for each in now.sets))


def _set_of(named: FrameSet | GroupStarted) -> WantedSet:
    if named.kind is None:
        raise ValueError("a run names the kind of each set")
    return WantedSet(
        kind=named.kind,
        count=named.wanted or 0,
        why=named.why,
        filter=named.filter,
        exposure_us=named.exposure_us,
        gain=named.gain,
        set_temp_c=named.set_temp_c,
    )


def _key(wanted: WantedSet) -> tuple[object, ...]:
    return wanted.kind, wanted.filter, wanted.exposure_us, wanted.gain, wanted.set_temp_c


_BESIDE_A_WAIT = (CoolingChanged, WarningRaised, MasterBuilt)
"""Events that may come while the run waits."""
