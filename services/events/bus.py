"""Typed events of a run: the engine speaks, listeners (log, progress, report, metrics) hear.

An event is appended to the run's `events/{run_id}.jsonl` at once, by the thread that emits it. Other listeners run on
one dispatcher thread behind a bounded queue; one that fails is logged and never reaches the run.
"""

import json
import os
import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import structlog

from drivers.clock import Clock
from services.errors import storage_error

log = structlog.get_logger(__name__)

WORTH_TELLING_S = 30.0
"""A wait that is longer is told."""


class EventName(StrEnum):
    """All events there are (CONTRACTS 10)."""

    RUN_STARTED = "run.started"
    RUN_FINISHED = "run.finished"
    RUN_ENDING = "run.ending"
    DEVICES_LEFT = "devices.left"
    STEP_STARTED = "step.started"
    STEP_FINISHED = "step.finished"
    GROUP_STARTED = "group.started"
    GROUP_FINISHED = "group.finished"
    FRAME_STORED = "frame.stored"
    FRAME_REFUSED = "frame.refused"
    EXPOSURE_ABORTED = "exposure.aborted"
    FLAT_EXPOSURE_ADJUSTED = "flat.exposure_adjusted"
    FLAT_SETTLED = "flat.settled"
    COOLING_CHANGED = "cooling.changed"
    COOLING_STABLE = "cooling.stable"
    COOLING_STALLED = "cooling.stalled"
    DEVICE_CONNECTED = "device.connected"
    DEVICE_LOST = "device.lost"
    DEVICE_RESTORED = "device.restored"
    FILTER_CHANGED = "filter.changed"
    PANEL_CHANGED = "panel.changed"
    COVER_CHANGED = "cover.changed"
    SAFETY_SAFE = "safety.safe"
    SAFETY_UNSAFE = "safety.unsafe"
    SAFETY_STALE = "safety.stale"
    DETECTOR_MEASURED = "detector.measured"
    MASTER_STARTED = "master.started"
    MASTER_BUILT = "master.built"
    MASTER_REFUSED = "master.refused"
    WAITING = "waiting"
    STORAGE_LOW = "storage.low"
    WARNING_RAISED = "warning.raised"
    PROGRESS = "progress"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened. `data` holds plain JSON values whose names carry their units."""

    name: EventName
    run_id: str
    seq: int
    at: datetime
    data: Mapping[str, Any]

    def to_json(self) -> str:
        """Return the event as one line of JSON."""
        record = {"name": self.name, "run_id": self.run_id, "seq": self.seq, "at": self.at.isoformat(), **self.data}
        return json.dumps(record, default=json_value, allow_nan=True)


def json_value(value: object) -> object:
    """Return what JSON does not know as what it does: numbers of numpy as numbers, anything else as text."""
    item = getattr(value, "item", None)
    return item() if callable(item) and getattr(value, "ndim", 1) == 0 else str(value)


Listener = Callable[[Event], None]


class JournalFile(Protocol):
    """A text file that lines are appended to."""

    def write(self, text: str, /) -> object:
        """Append; raises `OSError`."""
        ...

    def close(self) -> None:
        """Make it durable and let go; raises `OSError`."""
        ...


class _Appending:
    """A file of the system, opened to append. A line is with the system when `write` returns: a kill loses none."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def write(self, text: str, /) -> None:
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        while data:
            data = data[self._file.write(data) :]

    def close(self) -> None:
        with self._file:
            if not self._file.closed:
                os.fsync(self._file.fileno())


def append_to(path: Path) -> JournalFile:
    """Open a file to append lines; its folder is made. Raises `OSError`."""
    return _Appending(path)


class Events:
    """The bus of one run.

    Parameters
    ----------
    run_id : str
        Written in each event.
    clock : Clock
        Gives the time of each event.
    journal : Path, optional
        The run's jsonl file; None keeps no journal (dry runs, tests).
    open_journal : callable
        Opens it: `append` of the disk that a run writes to.

    Raises
    ------
    StorageError
        The journal cannot be opened.
    """

    _CAPACITY = 10_000

    def __init__(
        self,
        *,
        run_id: str,
        clock: Clock,
        journal: Path | None = None,
        open_journal: Callable[[Path], JournalFile] = append_to,
    ) -> None:
        self.run_id = run_id
        self._clock = clock
        self._seq = 0
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._queue: queue.Queue[Event | threading.Event | None] = queue.Queue(self._CAPACITY)
        self._thread: threading.Thread | None = None
        self._file: JournalFile | None = None
        if journal is not None:
            try:
                self._file = open_journal(journal)
            except OSError as error:
                raise storage_error(journal, error) from error

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with each later event, on the dispatcher thread."""
        self._listeners.append(listener)
        if self._thread is None:
            self._thread = threading.Thread(target=self._dispatch, name="nightcal-events", daemon=True)
            self._thread.start()

    def emit(self, name: EventName, **data: Any) -> Event:
        """Record an event and hand it to the listeners; a full queue drops it for them, never for the journal.

        Raises
        ------
        StorageError
            The journal cannot be written: `disk_full` or `write_failed`, once. Later events go to the listeners only,
            so that a run can still say why it ended.
        """
        with self._lock:
            self._seq += 1
            event = Event(name=name, run_id=self.run_id, seq=self._seq, at=self._clock.now(), data=data)
            failure = self._record(event)
        if self._thread is not None:
            try:
                self._queue.put_nowait(event)
            except queue.Full:
                log.warning("events.dropped", event_name=name)
        if failure is not None:
            raise storage_error(f"the journal of run {self.run_id}", failure) from failure
        return event

    def _record(self, event: Event) -> OSError | None:
        if self._file is None:
            return None
        try:
            self._file.write(event.to_json() + "\n")
        except OSError as error:
            with suppress(OSError):
                self._file.close()
            self._file = None
            return error
        return None

    def tell_wait(self, wait_s: float, why: str, *, at_most: bool = False) -> None:
        """Tell what is waited for and until when, if it takes long enough for anybody to wonder (`WORTH_TELLING_S`)."""
        if wait_s > WORTH_TELLING_S:
            until = self._clock.now() + timedelta(seconds=wait_s)
            self.emit(
                EventName.WAITING,
                wait_s=wait_s,
                until=until.isoformat(timespec="seconds"),
                at_most=at_most,
                detail=why,
            )

    def caught_up(self, timeout_s: float = 2.0) -> bool:
        """Wait until the listeners have heard what was said so far; return whether they have within `timeout_s`."""
        if self._thread is None:
            return True
        mark = threading.Event()
        with suppress(queue.Full):
            self._queue.put_nowait(mark)
            return mark.wait(timeout_s)
        return False

    def close(self) -> None:
        """Let the listeners hear what was said, then end."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout=10)
            self._thread = None
        with self._lock:
            file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:  # the run has ended; its journal is with the system all the same
                log.warning("events.not_synced", detail=str(error))

    def _dispatch(self) -> None:
        while (event := self._queue.get()) is not None:
            if isinstance(event, threading.Event):
                event.set()
                continue
            for listener in self._listeners:
                try:
                    listener(event)
                except Exception:
                    log.exception("events.listener_failed", event_name=event.name)
