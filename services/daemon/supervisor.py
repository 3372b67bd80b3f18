"""Starts the children of the daemon, and makes the devices safe when one of them has died.

The small secure process does that; one that hangs or dies itself has a time limit and is started again, later and
later.
"""

import json
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog

from services.daemon.children import ChildProcess, Gone, Start
from services.daemon.later import or_else
from services.daemon.limits import Limits
from services.daemon.messages import WorkKind, WorkRequest, said_line
from services.daemon.orders import Answer, Order
from services.daemon.parts import Secured
from services.daemon.worker_child import Listeners, Worker

log = structlog.get_logger(__name__)

SECURE = "services.daemon.secure"


@dataclass(slots=True, kw_only=True)
class _Attempt:
    """What one secure process has said so far."""

    done: list[str] = field(default_factory=list)
    said: dict[str, Any] | None = None
    first: threading.Event = field(default_factory=threading.Event)

    def hear(self, line: str) -> None:
        """Take a line."""
        try:
            found = json.loads(line)
        except ValueError:
            return
        if isinstance(found, dict) and isinstance(found.get("done"), str):
            self.done.append(found["done"])
            self.first.set()
        elif isinstance(found, dict) and isinstance(found.get("secured"), dict):
            self.said = found["secured"]
            self.first.set()


class Supervisor:
    """Starts children, one worker at a time.

    Parameters
    ----------
    listeners : Listeners
        Who hears of them.
    logs : Path
        Folder for what they print.
    limits : callable
        Returns how long a child that begins now is waited for.
    start : callable
        Starts a process, as `subprocess.Popen` does.
    """

    def __init__(
        self,
        listeners: Listeners,
        *,
        logs: Path,
        limits: Callable[[], Limits] = Limits,
        start: Start = subprocess.Popen,
    ) -> None:
        self._listeners = listeners
        self._limits = limits
        self._start = start
        self._log_path = logs / "worker.log"
        self._is_closed = threading.Event()

    def begin(self, request: WorkRequest) -> Worker:
        """Start a worker; its events and its end are announced, also where the system starts no process."""
        return self._worker(request, self._listeners)

    def of_masters(self, order: Order, request: WorkRequest, worker: Worker | None) -> "Future[Answer]":
        """Have an order on masters carried out by the worker that holds the root's lock, or else a short one."""
        if worker is None:
            return self._by_short_one(order, request)
        # done twice, an order has the same result
        return or_else(worker.of_masters(order), worker.has_left, lambda: self._by_short_one(order, request))

    def _by_short_one(self, order: Order, request: WorkRequest) -> "Future[Answer]":
        unheard = Listeners(event=lambda _: None, ended=lambda _: None, secured=lambda _: None)
        short = self._worker(replace(request, kind=WorkKind.ORDERS), unheard)
        answer = short.of_masters(order)
        short.close()
        return answer

    def secure(self, request: WorkRequest, run_id: str | None) -> None:
        """Make the devices safe, and close the rows of runs that were killed; what came of it is announced."""
        work = threading.Thread(target=self._secure, args=(request, run_id), name="nightcal-securing", daemon=True)
        work.start()

    def close(self) -> None:
        """Try nothing again any more."""
        self._is_closed.set()

    def _worker(self, request: WorkRequest, listeners: Listeners) -> Worker:
        return Worker(request, listeners, limits=self._limits(), start=self._start, log_path=self._log_path)

    def _secure(self, request: WorkRequest, run_id: str | None) -> None:
        done: dict[str, None] = {}
        why, limits = "", self._limits()
        for pause_s in limits.secure_pauses_s:
            if self._is_closed.wait(pause_s):
                break
            attempt, why = self._attempt(request, limits)
            done |= dict.fromkeys(attempt.done)
            if attempt.said is not None:
                done |= dict.fromkeys(map(str, attempt.said.get("done", ())))
                left = tuple(str(word) for word in attempt.said.get("left", ()))
                refused = str(attempt.said.get("refused") or "")
                self._listeners.secured(Secured(run_id=run_id, done=tuple(done), left=left, refused=refused))
                return
            log.error("secure.failed", detail=why)
        left_so = f"the devices could not be made safe ({why or 'the daemon ends'}): go and see"
        self._listeners.secured(Secured(run_id=run_id, done=tuple(done), left=(left_so,)))

    def _attempt(self, request: WorkRequest, limits: Limits) -> tuple[_Attempt, str]:
        """Run one secure process within its time; return what it said, and why it is not all."""
        attempt, over = _Attempt(), threading.Event()
        ends: list[Gone] = []

        def gone(how_gone: Gone) -> None:
            ends.append(how_gone)
            attempt.first.set()
            over.set()

        child = ChildProcess(SECURE, log_path=self._log_path, hear=attempt.hear, gone=gone, start=self._start)
        child.say(said_line(request))
        child.close()
        if not (attempt.first.wait(limits.secure_silent_s) and over.wait(limits.secure_s)):
            child.kill()
            child.wait(10)
            return attempt, "the secure process did not end in time"
        return attempt, f"the secure process ended with {ends[0].exit_code}; {ends[0].last_words}"
