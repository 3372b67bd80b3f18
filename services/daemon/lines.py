"""The ends of a worker's pipes: lines are read and written without ever keeping anybody waiting.

Standard output is kept for the protocol: whatever a library prints goes to standard error. A reader that is slow, or
gone, costs lines that the journal holds as well, and never the run its time.
"""

import io
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_PIECE = 1 << 16
LONGEST = 1 << 22
"""Bytes of the longest line; what is longer is no message."""


def lines_of(handle: int) -> Iterator[str]:
    """Yield the lines that come from a pipe, until its end; one that is torn by the end is left out."""
    held, is_too_long = bytearray(), False
    while piece := _read(handle):
        *whole, rest = piece.split(b"\n")
        for end in whole:
            held += end
            if not is_too_long and len(held) <= LONGEST:
                yield held.decode("utf-8", "replace")
            held, is_too_long = bytearray(), False
        held += rest
        if len(held) > LONGEST:
            held, is_too_long = bytearray(), True


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, _PIECE)
    except OSError:  # the other end was killed
        return b""


def claim_pipes() -> tuple[int, int]:
    """Return standard input and output of this process, which nobody else finds under their numbers any more.

    What it prints goes to standard error, as far as there is room for it; what reads finds nothing; and its children
    inherit neither pipe.
    """
    ours = os.dup(_STDIN), os.dup(_STDOUT)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
        os.dup2(nothing.fileno(), _STDIN)
    os.dup2(_STDERR, _STDOUT)
    errors = io.FileIO(_STDERR, "wb", closefd=False)
    sys.stdout = sys.stderr = _Lossy(errors, errors="backslashreplace", write_through=True)
    return ours


class _Lossy(io.TextIOWrapper):
    """A text file that loses what its disk has no room for: a line of a log must not end what makes devices safe."""

    def write(self, text: str, /) -> int:
        """Write, or lose the text."""
        with suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or lose what is left."""
        with suppress(OSError):
            super().flush()


def hear_terminate_only() -> None:
    """Ignore what a terminal sends: this process is asked over its pipe to end, or with SIGTERM."""
    for name in ("SIGINT", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


class Speaker:
    """Writes lines to a pipe from a thread of its own.

    Parameters
    ----------
    handle : int
    limit : int
        So many lines wait for a slow reader at most; what comes then is left out, but for lines that are `must`.
    """

    def __init__(self, handle: int, limit: int = 10_000) -> None:
        self._handle = handle
        self._limit = limit
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="nightcal-speaker", daemon=True)
        self._thread.start()

    def say(self, line: str, *, must: bool = False) -> None:
        """Let a line be written; never waits."""
        if must or self._lines.qsize() < self._limit:
            self._lines.put(line)

    def close(self, timeout_s: float = 10.0) -> None:
        """Let what waits be written, if the reader takes it in time."""
        self._lines.put(None)
        self._thread.join(timeout_s)

    def _work(self) -> None:
        with suppress(OSError):  # nobody reads any more
            while (line := self._lines.get()) is not None:
                data = memoryview(line.encode("utf-8", "replace") + b"\n")
                while data:
                    data = data[os.write(self._handle, data) :]
