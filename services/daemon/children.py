"""Child processes of the daemon as it sees them: one reads what they say, nobody waits for what they hear.

A child has a group of its own, and is killed with all that it has started. Whatever it does - floods its pipe, writes
half a line, hears nothing, never ends - costs the daemon no more than the thread that reads it.
"""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import structlog

from services import processes
from services.daemon.lines import lines_of

log = structlog.get_logger(__name__)

Start = Callable[..., "subprocess.Popen[bytes]"]
"""`subprocess.Popen`, or what does the same."""

NOT_STARTED = 71
"""The exit code of a child that never was."""
_ENDS_WITHIN_S = 20.0
_LAST_WORDS_BYTES = 2000
_LOG_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """How a child ended: its exit code (negative: the signal that killed it), and the last line that it printed."""

    exit_code: int
    last_words: str = ""


_PROGRAM = Path(__file__).resolve().parents[2]


def _environment() -> dict[str, str] | None:
    """Return the environment of a child; None for our own.

    A clone that is not installed is found by the folder that the program is called in. A daemon is called in the folder
    of its frames, so that its children are given the place of the clone.
    """
    if _PROGRAM.name in {"site-packages", "dist-packages"} or Path.cwd() == _PROGRAM:
        return None
    before = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(_PROGRAM), *([before] if before else [])))}


class ChildProcess:
    """A child that runs `python -m MODULE`.

    Parameters
    ----------
    module : str
    log_path : Path
        What it prints is appended there.
    hear : callable
        Is given each line of its standard output, on a thread of its own.
    gone : callable
        Called on that thread, once, when the child has ended and said all that it had to say.
    start : callable
        Starts the process.
    """

    def __init__(
        self,
        module: str,
        *,
        log_path: Path,
        hear: Callable[[str], None],
        gone: Callable[[Gone], None] = lambda _: None,
        start: Start = subprocess.Popen,
    ) -> None:
        self._hear = hear
        self._gone = gone
        self._orders: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._log_path = log_path
        self._log_from = 0
        self._over = threading.Event()
        try:
            self._process = self._started(start, [sys.executable, "-m", module])
        except OSError as error:  # no memory, or no process more: announced as a death
            log.error("child.not_started", module=module, detail=str(error))  # noqa: TRY400 - foreseen
            self._over.set()
            why = Gone(exit_code=NOT_STARTED, last_words=str(error))
            after(0.0, lambda: gone(why))
            return
        pipes = {"heard": (self._read, self._process.stdout), "said": (self._write, self._process.stdin)}
        for name, (work, pipe) in pipes.items():
            threading.Thread(target=work, args=(pipe,), name=f"nightcal-child-{name}", daemon=True).start()

    def _started(self, start: Start, command: list[str]) -> "subprocess.Popen[bytes]":
        with _log_file(self._log_path) as errors:
            self._log_from = errors.tell()
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
            return start(command, bufsize=0, env=_environment(), **pipes, **processes.own_group())

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def say(self, line: str) -> None:
        """Let the child hear a line; never waits."""
        self._orders.put(line)

    def close(self) -> None:
        """End what it hears: it has to end by itself."""
        self._orders.put(None)

    def kill(self) -> None:
        """Kill it, with all that it has started."""
        if not self._over.is_set():
            processes.kill_group(self._process)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is over; return whether it is."""
        return self._over.wait(timeout_s)

    def _read(self, pipe: IO[bytes]) -> None:
        for line in lines_of(pipe.fileno()):
            try:
                self._hear(line)
            except Exception:
                log.exception("child.line_failed")
        try:
            exit_code = self._process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:  # it has closed its pipe, and does not end
            processes.kill_group(self._process)
            exit_code = self._process.wait()
        if exit_code < 0:
            processes.kill_group(self._process)  # what it had started, such as a compiler
        self._over.set()
        self.close()
        pipe.close()
        self._gone(Gone(exit_code=exit_code, last_words=self._last_words()))

    def _write(self, pipe: IO[bytes]) -> None:
        with suppress(OSError), pipe:  # a child that is gone hears nothing
            while (line := self._orders.get()) is not None:
                data = memoryview(line.encode() + b"\n")
                while data:
                    data = data[os.write(pipe.fileno(), data) :]

    def _last_words(self) -> str:
        with suppress(OSError), self._log_path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_from, end - _LAST_WORDS_BYTES))
            lines = file.read().decode("utf-8", "replace").split("\n")
            return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")
        return ""


def _log_file(path: Path) -> IO[Any]:
    """Open what a child prints to; a disk that takes no file costs these lines only."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = "wb" if path.exists() and path.stat().st_size > _LOG_BYTES else "ab"
        return path.open(mode)
    except OSError as error:
        log.warning("child.no_log", path=str(path), detail=str(error))
        return open(os.devnull, "wb")  # noqa: PTH123 - a device


def how(gone: Gone) -> str:
    """Return in words how a worker ended that did not say how its run ended."""
    if gone.exit_code == NOT_STARTED:
        return f"the worker was not started: {gone.last_words}"
    last = f"; it printed last: {gone.last_words}" if gone.last_words else ""
    if gone.exit_code >= 0:
        return f"the worker ended with exit code {gone.exit_code}, and did not say why{last}"
    why = " (the system does that when memory runs out)" if gone.exit_code == _KILL else ""
    return f"the worker was killed by signal {-gone.exit_code}{why}{last}"


_KILL = -9


def after(seconds: float, act: Callable[[], object]) -> threading.Timer:
    """Do something after so many real seconds unless the timer is cancelled."""
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()
    return timer
