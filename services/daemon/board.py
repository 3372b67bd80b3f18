"""The board: what the daemon does, knows and will do, as one frozen snapshot, and the same as JSON.

The snapshot is replaced whole by the thread of the loop. Whoever asks, from whatever thread, gets bytes that were made
once, so that a hundred clients cost no more than one.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from services.daemon.machine import Activity, Hold
from services.daemon.state_file import LastRun
from services.events.decoder import plain
from services.events.records import members
from services.events.sentences import title
from services.workflow.snapshot import Snapshot as RunSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockNow:
    """The clock of the daemon: its time, and how much faster than the world's it runs."""

    utc: datetime
    rate: float = 1.0
    simulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeNow:
    """Whether what is due is begun by the schedule: `automatic`, or `held` by somebody."""

    name: str = "automatic"
    why: str = ""
    by: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @classmethod
    def of(cls, hold: Hold | None) -> "ModeNow":
        """Return the mode under a hold."""
        if hold is None:
            return cls()
        return cls(name="held", why=str(hold.why), by=hold.by, since=hold.since, until=hold.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityNow:
    """What the daemon does; while it is idle, why, as a code and in words, and until when as far as that is known."""

    name: Activity = Activity.IDLE
    reason: str = ""
    detail: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNow:
    """The run at work. Frames are counted over all its sets; `remaining_s` is an estimate."""

    run_id: str | None
    by: str
    since: datetime
    items: tuple[str, ...] = ()
    step: str | None = None
    set: str = ""
    frame: int = 0
    frames: int = 0
    done: int = 0
    wanted: int = 0
    remaining_s: float | None = None
    waiting: str = ""
    ccd_temp_c: float | None = None
    set_temp_c: float | None = None
    cooler_power_pct: float | None = None
    last_path: str | None = None
    last_level_adu: float | None = None
    warnings: tuple[tuple[str, str], ...] = ()

    def heard(self, seen: RunSnapshot) -> "RunNow":
        """Return what the run's events say of it."""
        shared = ("step", "frame", "frames", "done", "wanted", "remaining_s", "waiting", "ccd_temp_c", "set_temp_c")
        more = ("cooler_power_pct", "last_path", "last_level_adu", "warnings")
        found = {name: getattr(seen, name) for name in (*shared, *more)}
        return replace(self, run_id=seen.run_id, set="" if seen.group is None else title(seen.group), **found)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowNow:
    """A window: whether it is open, until or from when, and what is taken in it."""

    name: str
    open: bool
    opens_at: datetime | None = None
    closes_at: datetime | None = None
    takes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a device said last, when, and how long before the snapshot; `problem` says in words why it says nothing."""

    value: Any = None
    at: datetime | None = None
    problem: str = ""
    age_s: float | None = None

    def seen(self, at: datetime) -> "Reading":
        """Return it with its age at a moment."""
        return self if self.at is None else replace(self, age_s=max(0.0, (at - self.at).total_seconds()))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanNow:
    """The plan in numbers: wanted masters by what serves, and what is due with its cost."""

    fingerprint: str = ""
    at: datetime | None = None
    fresh: int = 0
    ageing: int = 0
    stale: int = 0
    none: int = 0
    due: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    suspect: tuple[str, ...] = ()
    frames: int = 0
    seconds: float = 0.0
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Something that somebody should look at, and since when."""

    code: str
    detail: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All of the daemon at one moment; the members are those of `/api/state`.

    `seq`, the number of the snapshot, grows with each of them while the daemon runs.
    """

    seq: int = 0
    at: datetime
    version: str = ""
    root: str = ""
    uptime_s: float = 0.0
    clock: ClockNow
    mode: ModeNow = ModeNow()
    activity: ActivityNow = ActivityNow()
    run: RunNow | None = None
    last_run: LastRun | None = None
    devices: Mapping[str, Reading] = field(default_factory=dict)
    windows: tuple[WindowNow, ...] = ()
    plan: PlanNow = PlanNow()
    disk: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[Warned, ...] = ()

    def numbered(self, seq: int) -> "Seen":
        """Return it with its number, and with the age of each reading."""
        devices = {name: reading.seen(self.at) for name, reading in self.devices.items()}
        return replace(self, seq=seq, devices=devices)

    def as_json(self) -> bytes:
        """Return the members as JSON."""
        return json.dumps(plain(members(self))).encode()


class Board:
    """The present snapshot; `show` is called by one thread, everything else by any."""

    def __init__(self, first: Seen) -> None:
        self._start = secrets.token_hex(4)
        self._now = _with_bytes(first.numbered(1))

    @property
    def seq(self) -> int:
        """The number of the snapshot: it grows with every change."""
        return self.seen.seq

    @property
    def tag(self) -> str:
        """What names this snapshot, and no other one: numbers begin anew with each start of the daemon."""
        return f"{self._start}-{self.seq}"

    @property
    def seen(self) -> Seen:
        """The snapshot."""
        return self._now[0]

    def state(self) -> bytes:
        """Return the snapshot as JSON; no work is done for it."""
        return self._now[1]

    def show(self, seen: Seen) -> None:
        """Replace the snapshot."""
        self._now = _with_bytes(seen.numbered(self.seq + 1))


def _with_bytes(seen: Seen) -> tuple[Seen, bytes]:
    return seen, seen.as_json()
