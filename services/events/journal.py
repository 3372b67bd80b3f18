"""The journal of a run: a file of lines that events are appended to, and the events that are read back from it."""

import os
from pathlib import Path

from services.events.decoder import decode
from services.events.records import Event


class JournalFile:
    """A text file that whole lines are appended to; its folder is made. All methods raise `OSError`.

    A line is with the system when `write` returns: a kill loses none. `close` makes all of them durable. What a power
    cut or a full disk left of a line before is ended first, so that it does not take the next one with it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._is_torn = _is_torn(path)
        self._file = path.open("ab", buffering=0)

    def write(self, text: str) -> None:
        """Append."""
        data = memoryview(("\n" * self._is_torn + text).encode("utf-8", "backslashreplace"))
        self._is_torn = True
        while data:
            data = data[self._file.write(data) :]
        self._is_torn = not text.endswith("\n")

    def close(self) -> None:
        """Make it durable and let go; harmless when done twice."""
        with self._file:
            if not self._file.closed:
                os.fsync(self._file.fileno())


def _is_torn(path: Path) -> bool:
    """Whether a file ends within a line."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def read_journal(path: Path) -> tuple[Event, ...]:
    """Return the events of a journal in their order; what a power cut or a hand damaged costs itself only.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    lines = path.read_bytes().decode("utf-8", errors="replace").split("\n")
    return tuple(event for line in lines if (event := decode(line)) is not None)
