"""The journal of a run: a file of lines that events are appended to, and the events that are read back from it."""

import os
from pathlib import Path
from typing import Protocol

from services.events.decoder import decode
from services.events.records import Event


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


def read_journal(path: Path) -> tuple[Event, ...]:
    """Return the events of a journal in their order; what a power cut or a hand damaged costs itself only.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    lines = path.read_bytes().decode("utf-8", errors="replace").split("\n")
    return tuple(event for line in lines if (event := decode(line)) is not None)
