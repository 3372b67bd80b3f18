"""Commands of ours started as processes, without the seconds of imports that each would begin with.

Where the system can fork, a process that has imported everything forks for each command (`tests.support.stem`); what is
forked is a process like any other: it can be waited for, signalled and killed, and holds its locks alone. Tests of the
start itself, of what is imported, and of variables that are read at the start use `subprocess`.
"""

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

from tests.support import stem

READ_AT_THE_START = ("NUMBA", "PYTHON", "LANG", "LC_", "OMP_", "OPENBLAS_")
"""Variables that numba, Python and the C library read before a command is known: other ones need a plain start."""


def start(command: list[str], **options: Any) -> "subprocess.Popen[Any]":
    """Start `python SCRIPT ...` or `python -m MODULE ...`, as `subprocess.Popen` does."""
    assert command[0] == sys.executable
    assert command[1] == "-m" or not command[1].startswith("-")
    can_fork = sys.platform != "win32" and _at_start(options.get("env") or os.environ) == _at_start(_stem().environment)
    return (_Forked if can_fork else subprocess.Popen)(command, **options)


def run(command: list[str], *, timeout: float = 100.0, **options: Any) -> "subprocess.CompletedProcess[Any]":
    """Start a command and wait for its end, as `subprocess.run` does; by default its text is captured."""
    captured = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with start(command, **(captured | options)) as process:
        try:
            said = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, *said)


def _at_start(environment: Any) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_THE_START)}


class _Stem:
    """The process that forks, one for each process of tests."""

    def __init__(self) -> None:
        self.environment = dict(os.environ)
        self._lock = threading.Lock()
        self._control, its_end = socket.socketpair()
        with its_end:
            command = [sys.executable, stem.__file__, str(its_end.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[its_end.fileno()], stdin=subprocess.DEVNULL)
        atexit.register(self._close)

    def start(self, order: dict[str, Any], files: list[int]) -> tuple[socket.socket, int]:
        """Return where it will be said how the program ended, and the program's number."""
        ours, its_end = socket.socketpair()
        data = json.dumps(order).encode()
        with self._lock, its_end:
            socket.send_fds(self._control, [stem.number(len(data))], [its_end.fileno(), *files])
            self._control.sendall(data)
        return ours, stem.read_number(ours.recv(8, socket.MSG_WAITALL))

    def _close(self) -> None:
        self._control.close()
        self._process.wait()


@cache
def _stem() -> _Stem:
    return _Stem()


class _Forked(subprocess.Popen):
    """A process that is no child of this one, but is told about as if it were."""

    def _execute_child(self, args: Any, *rest: Any) -> None:
        # by position: executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell, ...
        cwd, env = rest[4], rest[5]
        stdin, to_stdin, from_stdout, stdout, from_stderr, stderr = rest[9:15]
        order = {
            "words": args[1:],
            "folder": str(Path(cwd or ".").resolve()),
            "environment": dict(os.environ if env is None else env),
            "new_session": rest[20],
        }
        files = [own if own != -1 else inherited for inherited, own in enumerate((stdin, stdout, stderr))]
        try:
            self._ended, self.pid = _stem().start(order, files)
        finally:
            self._close_pipe_fds(stdin, to_stdin, from_stdout, stdout, from_stderr, stderr)
        self._child_created = True

    def _internal_poll(self, _deadstate: Any = None, **_: Any) -> int | None:
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid == self.pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if wait_flags & os.WNOHANG and not select.select([self._ended], [], [], 0)[0]:
            return 0, 0
        told = self._ended.recv(8, socket.MSG_WAITALL)
        self._ended.close()
        return self.pid, stem.read_number(told)
