"""The bus of a run: the engine speaks, listeners (log, progress, report, metrics) hear.

An event is appended to the run's `events/{run_id}.jsonl` at once, by the thread that emits it. Other listeners run on
one dispatcher thread behind a bounded queue; one that fails is logged and never reaches the run.
"""

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import structlog

from drivers.clock import Clock
from services.errors import storage_error
from services.events.journal import JournalFile
from services.events.records import Event, Record, Waiting

log = structlog.get_logger(__name__)

WORTH_SAYING_S = 30.0
"""A longer wait is announced by an event."""

Listener = Callable[[Event], None]


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
        open_journal: Callable[[Path], JournalFile] = JournalFile,
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

    def emit(self, what: Record) -> Event:
        """Record an event and hand it to the listeners; a full queue drops it for them, never for the journal.

        Raises
        ------
        StorageError
            The journal cannot be written: `disk_full` or `write_failed`, once. Later events go to the listeners only,
            so that a run can still say why it ended.
        """
        with self._lock:
            self._seq += 1
            event = Event(run_id=self.run_id, seq=self._seq, at=self._clock.now(), what=what)
            failure = self._record(event)
        if self._thread is not None:
            try:
                self._queue.put_nowait(event)
            except queue.Full:
                log.warning("events.dropped", event_name=event.name)
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

    def announce_wait(self, wait_s: float, why: str, *, at_most: bool = False) -> None:
        """Announce the reason and the end of a wait that is longer than `WORTH_TELLING_S`."""
        if wait_s > WORTH_SAYING_S:
            until = self._clock.now() + timedelta(seconds=wait_s)
            until = until.replace(microsecond=0)
            self.emit(Waiting(wait_s=wait_s, until=until, at_most=at_most, detail=why))

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
