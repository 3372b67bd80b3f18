"""The journal of the daemon itself, `events/serve.jsonl`: what it says is written at once, then heard by everybody."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from drivers.clock import Clock
from services.daemon.hub import Hub, Line
from services.events.decoder import decode
from services.events.journal import JournalFile
from services.events.records import Event, Record
from services.events.serving import SERVE

log = structlog.get_logger(__name__)

_TAIL_BYTES = 1 << 16


class OwnJournal:
    """Where the daemon says what it does. Its numbers go on over restarts, so that no two events share one.

    A disk that fails costs lines, never the daemon: each later event tries again, and listeners hear all of them.

    Listeners hear what was said at `publish`, which is called when the board shows it, too: whoever hears that a run
    has ended, and asks how, is not answered with the state before.

    Parameters
    ----------
    path : Path
    clock : Clock
    hub : Hub
    open_journal : callable
        Opens the file: `append` of a disk.
    """

    def __init__(
        self, path: Path, clock: Clock, hub: Hub, *, open_journal: Callable[[Path], JournalFile] = JournalFile
    ) -> None:
        self._path = path
        self._clock = clock
        self._hub = hub
        self._open = open_journal
        self._file: JournalFile | None = None
        self._unheard: list[Line] = []
        self._seq = last_seq(path)
        self.problem = ""
        """What is wrong with the file, in words; "" while nothing is."""

    def say(self, what: Record) -> Event:
        """Write an event and return it; by the thread of the loop alone, as `publish`."""
        self._seq += 1
        event = Event(run_id=SERVE, seq=self._seq, at=self._clock.now(), what=what)
        try:
            self._file = self._file or self._open(self._path)
            self._file.write(event.to_json() + "\n")
            self.problem = ""
        except OSError as error:
            if not self.problem:
                log.warning("serve.journal_failed", detail=str(error))
            self.problem = f"{self._path}: {error.strerror or error}"
            self.close()
        self._unheard.append(Line.of(event))
        return event

    def publish(self) -> None:
        """Let everybody hear what was said since the last call."""
        lines, self._unheard = self._unheard, []
        for line in lines:
            self._hub.publish(line)

    def close(self) -> None:
        """Make what is written durable and let go of the file; it is opened again when something is said."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()


def last_seq(path: Path) -> int:
    """Return the number of the last event of a journal; 0 where there is none. Only the end of the file is read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().decode("utf-8", errors="replace").split("\n")
    except OSError:
        return 0
    return max((event.seq for line in lines if (event := decode(line)) is not None), default=0)
