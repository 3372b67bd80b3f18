"""Compiling the fast loops in a child process, so that a run that must end never waits for the compiler.

What is compiled is kept on disk; only the first run on a machine, and the first after an update, compiles at all. The
child works while the camera cools: first the few loops that frames need, then the many that masters need. Whoever needs
a loop before it is compiled waits for it, and the wait can be ended: the child is then killed. A run loads what was
compiled in about two seconds.
"""

import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version as version_of
from pathlib import Path
from typing import IO, Any

import structlog

from services.workflow.warm_up import Need, fit_models, warm_up

log = structlog.get_logger(__name__)

COMPILING_S = {Need.FRAMES: 15.0, Need.MASTERS: 180.0}
"""Real seconds within which most computers have compiled; fast ones need a third of it."""
LOADING_S = 2.0
"""Real seconds that loading takes what was compiled before."""
_LOADING_AT_MOST_S = 20.0
"""Real seconds that the end of a run waits for one loop that is being loaded, on a machine that is busy with others."""
_MOMENT_S = 0.2
"""Real seconds after which a wait asks again whether it shall end."""

_OUT_OF_REACH: dict[str, Any] = {
    "start_new_session": True,
    "creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
}
"""A Ctrl-C goes to every process of the terminal's group. The child must not die by it before the run has ended: the
run would take that for a failure, and begin to compile by itself, which nothing can end."""

_TAIL_BYTES = 2000
"""Of what a child that failed has written, what is logged."""

_ROOT = Path(__file__).resolve().parents[2]
_IN_CHILD = """\
import sys; sys.path[:] = {path!r}
from services.platform import lower_priority; lower_priority()
from services.workflow.compiling import compile_all; compile_all()
"""


def compile_all(announce: Callable[[str], object] | None = None) -> None:
    """Compile every loop, or load what was compiled before, in this process, and note what is done.

    `announce` as for `warm_up`.
    """
    for need in Need:
        warm_up(need, announce=announce)
        note = _note(need)
        if note is not None:
            with suppress(OSError):  # then it is compiled, or loaded, once more the next time
                note.touch()
    if announce is not None:
        announce("fitting models")
    fit_models()


def child_command() -> list[str]:
    """Return the command that compiles everything in a process of its own, with the modules that this one finds."""
    return [sys.executable, "-c", _IN_CHILD.format(path=[str(_ROOT), *sys.path])]


def is_compiled() -> bool:
    """Return whether everything was compiled on this machine by these versions; wrong at worst after a deletion."""
    note = _note(Need.MASTERS)
    return note is not None and note.is_file()


class Loops:
    """The fast loops of one run: compiled by a child process if need be, then loaded, both beside the run.

    Parameters
    ----------
    command : sequence of str, optional
        What compiles in a child process (tests give others); an empty one compiles in this process.
    """

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self._command = command
        self._over = threading.Event()
        self._ready = {need: threading.Event() for need in Need}
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._work, name="nightcal-loops", daemon=True)

    def start(self) -> None:
        """Begin to compile or to load, if nobody has, and return."""
        if not self._thread.ident:
            self._thread.start()

    def wait(
        self,
        need: Need,
        check: Callable[[], object],
        announce: Callable[[float, float], object] = lambda _wait_s, _passed_s: None,
    ) -> None:
        """Wait until the loops can be used without compiling them, or until it is known that nothing compiles them.

        Parameters
        ----------
        need : Need
        check : callable
            Asked several times a second; raises when the wait shall end.
        announce : callable, optional
            Called when it takes longer than loading, and again each time that the expected time has passed, with the
            real seconds to be expected and those that have passed.
        """
        self.start()
        passed_s, next_s = 0.0, LOADING_S
        while not self._waited(need, check, next_s):
            passed_s, next_s = passed_s + next_s, COMPILING_S[need]
            announce(next_s, passed_s)

    def close(self) -> None:
        """End the child, if it still works; what it has compiled so far is kept.

        Loops that are being loaded are waited for: a program that ends while a thread is inside LLVM ends by a crash.
        """
        self._over.set()
        with self._lock:
            if self._child is not None:
                self._child.kill()
        if self._ready[Need.MASTERS].is_set():  # nothing is compiled any more
            self._thread.join(_LOADING_AT_MOST_S)

    def _waited(self, need: Need, check: Callable[[], object], seconds: float) -> bool:
        ready = self._ready[need]
        for _ in range(round(seconds / _MOMENT_S)):
            check()
            if ready.wait(_MOMENT_S):
                return True
        return False

    # --- on the thread ----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            if (self._command is None and is_compiled()) or self._compile():
                self._allow(*Need)
            for need in Need:
                warm_up(need, self._over)
                self._allow(need)
        except Exception:  # it shows again where a loop is needed
            log.exception("loops.failed")
        finally:
            self._allow(*Need)

    def _allow(self, *needs: Need) -> None:
        for need in needs:
            self._ready[need].set()

    def _compile(self) -> bool:
        """Let a child compile; return whether it did."""
        command = child_command() if self._command is None else self._command
        if _folder() is None or not command:
            detail = "no folder can be written for compiled loops: this run compiles its own"
            log.warning("loops.not_kept", detail=detail)
            return False
        with tempfile.TemporaryFile() as said:
            with self._lock:
                if self._over.is_set():
                    return False
                try:
                    self._child = _started(command, said)
                except OSError as error:
                    log.warning("loops.no_child", detail=f"{error}: this run compiles its own")
                    return False
            code = self._followed(self._child)
            if code != 0 and not self._over.is_set():
                said.seek(max(0, said.tell() - _TAIL_BYTES))
                log.warning("loops.child_failed", exit_code=code, detail=said.read().decode("utf-8", "replace"))
        return code == 0

    def _followed(self, child: "subprocess.Popen[bytes]") -> int:
        """Wait for the end of a child; allow frames as soon as it has noted that their loops are compiled."""
        note = _note(Need.FRAMES)
        while True:
            try:
                return child.wait(timeout=_MOMENT_S)
            except subprocess.TimeoutExpired:
                if note is not None and note.is_file():
                    self._allow(Need.FRAMES)


def _started(command: Sequence[str], said: IO[bytes]) -> "subprocess.Popen[bytes]":
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=said, **_OUT_OF_REACH)  # noqa: S603 - our own


def _folder() -> Path | None:
    """Return the folder in which compiled loops are kept; None where none can be written."""
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or _ROOT / "calibration" / "__pycache__")
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return folder if os.access(folder, os.W_OK) else None


def _note(need: Need) -> Path | None:
    """Return the file that says that loops are compiled; its name changes when they must be compiled anew."""
    folder = _folder()
    if folder is None:
        return None
    sources = sorted(
        p for room in ("calibration", "services") for p in (_ROOT / room).rglob("*.py") if "kernels" in str(p)
    )
    facts = [(str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in sources]
    versions = (sys.version, version_of("numba"), version_of("llvmlite"), socket.gethostname())
    return folder / f"compiled-{need}-{hashlib.sha256(repr((versions, facts)).encode()).hexdigest()[:16]}"
