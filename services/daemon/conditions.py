"""Whether conditions allow work: what the devices said last, and the pure rules that judge it.

`services.daemon.watching` reads the devices. Everything here is pure: the same readings at the same moment give the
same answer, so that a restart, a clock that jumps and a device that comes back need no rules of their own. What a
device cannot say, or has not said for too long, is said in words and allows nothing that depends on it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, TypeVar

from drivers.surroundings import DomeState, ShutterStatus, TelescopeState
from services.config.models import Config
from services.config.moments import sun_below_deg
from services.config.serve import Kind
from services.daemon.pace import POLL_S
from services.errors import RunCode
from services.observatory.sun import sun_altitude_deg
from services.version import is_credible
from services.words import lasting, size

V = TypeVar("V")

OLDEST_S = 3 * POLL_S
"""A reading of roof, mount, camera or disk that is older says nothing any more."""
DARK_KINDS: tuple[Kind, ...] = ("bias", "darks")


class Reason(StrEnum):
    """Why the daemon begins nothing."""

    CLOCK_NOT_CREDIBLE = "clock_not_credible"
    UNSAFE = "unsafe"
    CAMERA_IN_USE = "camera_in_use"
    CONDITIONS = "conditions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Generic[V]):
    """What one device said last.

    Attributes
    ----------
    value : V or None
        None before the first answer.
    at : datetime or None
        When it was said.
    problem : str
        Why the last question had no answer, in words; "" when it had one.
    """

    value: V | None = None
    at: datetime | None = None
    problem: str = ""

    def is_fresh(self, now: datetime, oldest_s: float) -> bool:
        """Whether it was said within a time; what comes from the future was said before the clock was set."""
        return self.at is not None and abs((now - self.at).total_seconds()) <= oldest_s

    def silent(self, who: str, now: datetime) -> str:
        """Return in words that a device says nothing: it was not asked yet, or does not answer."""
        if self.at is None and not self.problem:
            return f"{who} has not been asked yet"
        return f"{who} does not answer: {self.missing(now)}"

    def missing(self, now: datetime) -> str:
        """Return in words for how long it has said nothing, and why."""
        if self.at is None:
            age = "it has said nothing yet"
        else:
            age = f"its last answer is {lasting(max(0.0, (now - self.at).total_seconds()))} old"
        return f"{age} ({self.problem})" if self.problem else age


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraUse:
    """Whose the camera is, in words: `by_others` who uses it besides us, as far as it shows; `ours` what we do."""

    by_others: str = ""
    ours: str = ""


class Trouble(StrEnum):
    """What can fail a run, and shows from outside as well: so it is known when it is over."""

    CAMERA_AWAY = "camera_away"
    DISK_FULL = "disk_full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What is known of the surroundings at one moment.

    Attributes
    ----------
    safety : Reading of bool
    unsafe_at : datetime or None
        When it was last unsafe, or nobody knew; None: never, as far as this daemon knows.
    dome : Reading of DomeState
    telescope : Reading of TelescopeState
    camera : Reading of CameraUse
    free_bytes : Reading of int
        On the disk of the root.
    least_age_s : float
        Seconds of the clock that any reading may be old: on a fast clock a question takes hours.
    troubles : mapping
        When what can fail a run was last seen from outside: the camera away, the disk full.
    """

    safety: Reading[bool] = field(default_factory=Reading)
    unsafe_at: datetime | None = None
    dome: Reading[DomeState] = field(default_factory=Reading)
    telescope: Reading[TelescopeState] = field(default_factory=Reading)
    camera: Reading[CameraUse] = field(default_factory=Reading)
    free_bytes: Reading[int] = field(default_factory=Reading)
    least_age_s: float = 0.0
    troubles: Mapping[Trouble, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Why nothing is begun.

    Attributes
    ----------
    reason : Reason
    detail : str
        In words.
    until : datetime or None
        When it ends by itself, where that is known.
    kinds : tuple of str
        What it forbids; empty: everything.
    """

    reason: Reason
    detail: str
    until: datetime | None = None
    kinds: tuple[Kind, ...] = ()


def blocked(readings: Readings, needs: Sequence[str], config: Config, *, now: datetime) -> tuple[Block, ...]:
    """Return what forbids work now; nothing where all is well.

    Parameters
    ----------
    readings : Readings
    needs : sequence of str
        What the window needs, beside what is always needed; an order ignores windows and has none.
    config : Config
        With the sections of the devices that there are.
    now : datetime
        Aware.
    """
    if not is_credible(now):
        return (Block(reason=Reason.CLOCK_NOT_CREDIBLE, detail=f"the clock says {now:%Y-%m-%d}, which cannot be"),)
    always = (unsafe(readings, config, now), _in_use(readings, now), _full(readings, config, now))
    conditions = (_need(need, readings, config, now) for need in needs)
    return tuple(block for block in (*always, *conditions, _by_day(readings, config, now)) if block is not None)


# --- safety -----------------------------------------------------------------------------------------------------------


def with_safety(readings: Readings, said: Reading[bool], config: Config, *, now: datetime, since: datetime) -> Readings:
    """Return the readings after a question to the safety monitor.

    Parameters
    ----------
    said : Reading of bool
        The answer; where there was none, the last one with the problem.
    now : datetime
    since : datetime
        When the watch began: before the monitor has had time to answer once, nobody calls it unsafe.
    """
    stale_s = _stale_s(readings, config)
    before, unsafe_at = readings.safety, readings.unsafe_at
    if said.value is not True and said.is_fresh(now, stale_s):
        unsafe_at = now
    elif before.at is None and not said.problem:
        pass  # the first answer
    elif before.at is None:
        unsafe_at = now if abs((now - since).total_seconds()) > stale_s else unsafe_at
    elif not before.is_fresh(now, stale_s):  # nobody knew in between: stale is unsafe
        unsafe_at = now
    if unsafe_at is not None and unsafe_at > now:  # the clock was set back
        unsafe_at = now
    return replace(readings, safety=said, unsafe_at=unsafe_at)


def seen_unsafe(readings: Readings, now: datetime) -> Readings:
    """Return the readings after a run has ended because it was not safe: a gust that only the run has seen counts."""
    return replace(readings, unsafe_at=now)


def unsafe(readings: Readings, config: Config, now: datetime) -> Block | None:
    """Return why it is not safe; None where it is, or where no safety monitor is configured.

    Before the first answer nothing is begun, but nobody calls it unsafe.
    """
    settings, said = config.safety_monitor, readings.safety
    if settings is None or not settings.enabled:
        return None
    if said.at is None and not said.problem:
        return Block(reason=Reason.CONDITIONS, detail=said.silent("the safety monitor", now))
    if not said.is_fresh(now, _stale_s(readings, config)):
        return Block(reason=Reason.UNSAFE, detail=said.silent("the safety monitor", now))
    if said.value is not True:
        return Block(reason=Reason.UNSAFE, detail="the safety monitor says unsafe")
    wait = timedelta(seconds=config.serve.resume_after_unsafe)
    if readings.unsafe_at is None or now >= readings.unsafe_at + wait:
        return None
    until = min(readings.unsafe_at, now) + wait
    detail = f"it is safe again; work goes on when it has been safe for {lasting(wait.total_seconds())}"
    return Block(reason=Reason.UNSAFE, detail=detail, until=until)


def _stale_s(readings: Readings, config: Config) -> float:
    """Return how old what the monitor has said may be: the time to the next question, and that without an answer."""
    settings = config.safety_monitor
    return max(readings.least_age_s, 0.0 if settings is None else POLL_S + settings.stale_after)


# --- camera and disk --------------------------------------------------------------------------------------------------


def _in_use(readings: Readings, now: datetime) -> Block | None:
    """Return who uses the camera. A camera that does not answer is no obstacle: a run finds out, and says why."""
    use = readings.camera
    if use.at is None and not use.problem:
        return Block(reason=Reason.CONDITIONS, detail="nobody has looked yet whether another program uses the camera")
    if use.value is None or not use.value.by_others or not use.is_fresh(now, _oldest_s(readings)):
        return None
    return Block(reason=Reason.CAMERA_IN_USE, detail=f"the camera is not ours now: {use.value.by_others}")


def _full(readings: Readings, config: Config, now: datetime) -> Block | None:
    free, floor_mb = readings.free_bytes, config.storage.min_free_mb
    if free.value is None or not free.is_fresh(now, _oldest_s(readings)) or free.value >= floor_mb * 1_000_000:
        return None
    detail = f"the disk has {size(free.value)} free, and storage.min_free_mb keeps {size(floor_mb * 1_000_000)} free"
    return Block(reason=Reason.CONDITIONS, detail=f"{detail}: make room")


# --- troubles that fail a run -----------------------------------------------------------------------------------------

_CAMERA_AWAY = (RunCode.DEVICE_LOST, RunCode.DEVICE_MISSING, RunCode.ACCESS_DENIED, RunCode.LOGIN_REFUSED)
_FAILED_BY = {**dict.fromkeys(_CAMERA_AWAY, Trouble.CAMERA_AWAY), RunCode.DISK_FULL: Trouble.DISK_FULL}


def with_troubles(readings: Readings, config: Config, now: datetime) -> Readings:
    """Return the readings with the moment at which each trouble was seen, where one is seen now."""
    seen = dict.fromkeys(_troubles(readings, config, now), now)
    return replace(readings, troubles={**readings.troubles, **seen}) if seen else readings


def is_mended(readings: Readings, config: Config, now: datetime, *, code: str, at: datetime) -> bool:
    """Whether what failed for this cause at a moment may be tried again: it was seen after that, and is over."""
    trouble = _FAILED_BY.get(RunCode(code)) if code in set(RunCode) else None
    seen_at = None if trouble is None else readings.troubles.get(trouble)
    if trouble is None or seen_at is None or not at <= seen_at <= now:
        return False
    if trouble is Trouble.CAMERA_AWAY and (readings.camera.value is None or readings.camera.value.ours):
        return False  # it is not asked while a run is at work
    return trouble not in _troubles(readings, config, now)


def _troubles(readings: Readings, config: Config, now: datetime) -> Iterator[Trouble]:
    if readings.camera.problem:
        yield Trouble.CAMERA_AWAY
    if _full(readings, config, now) is not None:
        yield Trouble.DISK_FULL


# --- what windows need ------------------------------------------------------------------------------------------------


def _need(need: str, readings: Readings, config: Config, now: datetime) -> Block | None:
    """Return why a need of a window is not met, None where it is."""
    degrees = sun_below_deg(need)
    detail = _NEEDS[need](readings, now) if degrees is None else _sun_not_below(degrees, config, now)
    return Block(reason=Reason.CONDITIONS, detail=f"{need}: {detail}") if detail else None


def _roof(wanted: ShutterStatus) -> Callable[[Readings, datetime], str]:
    def judge(readings: Readings, now: datetime) -> str:
        reading = readings.dome
        if reading.value is None or not reading.is_fresh(now, _oldest_s(readings)):
            return reading.silent("the dome", now)
        shutter = reading.value.shutter
        if shutter is None:
            return "the dome does not say whether its shutter is open"
        return "" if shutter is wanted else f"the roof is {_SHUTTER[shutter]}"

    return judge


_SHUTTER = {
    ShutterStatus.OPEN: "open",
    ShutterStatus.CLOSED: "closed",
    ShutterStatus.OPENING: "opening",
    ShutterStatus.CLOSING: "closing",
    ShutterStatus.ERROR: "in error: its shutter stopped on the way",
}


def _mount(
    what: Callable[[TelescopeState], bool | None], *, wanted: bool, otherwise: str, member: str
) -> Callable[[Readings, datetime], str]:
    def judge(readings: Readings, now: datetime) -> str:
        reading = readings.telescope
        if reading.value is None or not reading.is_fresh(now, _oldest_s(readings)):
            return reading.silent("the mount", now)
        found = what(reading.value)
        if found is None:
            return f"the mount does not say whether {member}"
        return "" if found is wanted else f"the mount {otherwise}{_pointing(reading.value)}"

    return judge


def _pointing(state: TelescopeState) -> str:
    return "" if state.altitude_deg is None else f", it points {state.altitude_deg:.0f}° high"


_NEEDS: dict[str, Callable[[Readings, datetime], str]] = {
    "roof_closed": _roof(ShutterStatus.CLOSED),
    "roof_open": _roof(ShutterStatus.OPEN),
    "parked": _mount(lambda at: at.at_park, wanted=True, otherwise="is not parked", member="it is parked"),
    "not_tracking": _mount(lambda at: at.tracking, wanted=False, otherwise="is tracking", member="it tracks"),
}


def _sun_not_below(degrees: float, config: Config, now: datetime) -> str:
    altitude = _sun_deg(config, now)
    if altitude is None:
        return "without a `site` section nobody knows where the sun stands"
    return "" if altitude < degrees else f"the sun is at {altitude:.1f}°"


def _by_day(readings: Readings, config: Config, now: datetime) -> Block | None:
    """Return why the day is too bright for biases and darks, where a dome says whether the roof is closed.

    Without a dome `darkness` decides, and the judge of the first dark.
    """
    altitude = _sun_deg(config, now)
    dome = config.dome
    if dome is None or not dome.enabled or (altitude is not None and altitude <= 0):
        return None
    detail = _NEEDS["roof_closed"](readings, now)
    if not detail:
        return None
    sun = "nobody knows whether it is day (there is no `site` section)" if altitude is None else "the sun is up"
    return Block(reason=Reason.CONDITIONS, detail=f"no darks while {sun}: {detail}", kinds=DARK_KINDS)


def _sun_deg(config: Config, now: datetime) -> float | None:
    site = config.site
    if site is None:
        return None
    return sun_altitude_deg(now, latitude_deg=site.latitude, longitude_deg=site.longitude)


def _oldest_s(readings: Readings) -> float:
    return max(readings.least_age_s, OLDEST_S)


def forbidding(blocks: Sequence[Block], kind: Kind) -> Iterator[Block]:
    """Yield the blocks that forbid a kind of frames."""
    yield from (block for block in blocks if not block.kinds or kind in block.kinds)
