"""What the daemon remembers over its own end: holds, failures, and how the last run ended.

It is one small JSON file, replaced whole. Everything else is asked of the catalogue, the journals and the YAML. A file
that cannot be read costs what it held: a daemon that would not start for it would cost the night.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from services.daemon.machine import Hold
from services.files.disk import REAL_DISK, Disk, write_text
from services.observatory.remembered import REMEMBERED

log = structlog.get_logger(__name__)

VERSION = 1
HELD_TO = timedelta(hours=1)
"""How exactly it is kept when a cooler was last known to be held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """How a run ended: `code` is the first cause that stopped it, None when it reached its end."""

    run_id: str
    finished_at: AwareDatetime
    exit_code: int
    code: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What survives the end of the daemon.

    Attributes
    ----------
    hold : Hold or None
    windows_over : mapping
        Names of windows whose run was cancelled or aborted: the schedule begins nothing in them before these moments.
    failures : mapping
        The ladder of each item that failed, as plain JSON values.
    last_run : LastRun or None
    stale : frozenset of str
        Items whose master is too old, which has been said.
    cooler_held : bool
        The cooler of the last run goes on for the next one.
    held_c : float or None
        At which temperature, as far as that is known.
    held_at : datetime or None
        When it was last known to be ours, to an hour.
    unsafe_at : datetime or None
        When it was last unsafe, to a minute.
    left : tuple of str
        What the devices were left in that is not known to be safe, in words.
    masters_due : bool
        Sets were completed, and no masters step has reached its end since.
    """

    hold: Hold | None = None
    windows_over: Mapping[str, AwareDatetime] = field(default_factory=dict)
    failures: Mapping[str, Any] = field(default_factory=dict)
    last_run: LastRun | None = None
    stale: frozenset[str] = frozenset()
    cooler_held: bool = False
    held_c: float | None = None
    held_at: AwareDatetime | None = None
    unsafe_at: AwareDatetime | None = None
    left: tuple[str, ...] = ()
    masters_due: bool = False


_ADAPTER: TypeAdapter[Remembered] = TypeAdapter(Remembered)


def read_state(path: Path) -> tuple[Remembered, str]:
    """Return what the file remembers, and in words what is wrong with it; "" where nothing is, or there is no file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return _ADAPTER.validate_python(found.get("state") if isinstance(found, dict) else found), ""
    except FileNotFoundError:
        return Remembered(), ""
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is damaged"
        return Remembered(), f"{path}: {reason}: holds and failures before this start are forgotten"


def write_state(path: Path, state: Remembered, disk: Disk = REAL_DISK) -> None:
    """Replace the file.

    Raises
    ------
    StorageError
        It cannot be written: the file before it is still there.
    """
    text = json.dumps({"version": VERSION, "state": _ADAPTER.dump_python(state, mode="json")}, indent=1)
    write_text(path, f"{text}\n", disk, replace=True)


def with_cooler_held(state: Remembered, now: datetime) -> Remembered:
    """Return the state with the moment at which a cooler that is held was last known to be ours: now, while we serve.

    Nobody knows of one that no daemon has held for longer than `REMEMBERED`: who has had the camera since may cool it.
    """
    if not state.cooler_held:
        return state if state.held_at is None else replace(state, held_at=None)
    unknown = timedelta() if state.held_at is None else now - state.held_at
    if state.held_at is None or HELD_TO < abs(unknown) < REMEMBERED:
        return replace(state, held_at=now)
    return state
