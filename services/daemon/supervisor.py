"""Starts the children of the daemon, passes orders on to them, and answers for it when one of them dies.

A worker that ends without having said how its run ended has died, whatever killed it. Then the small secure process
makes the devices safe; one that hangs or dies itself has a time limit and is started again, later and later.
"""

import json
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog

from drivers.clock import SystemClock
from services.daemon.children import ChildProcess, Gone, Start, after, how
from services.daemon.later import or_else, refused
from services.daemon.messages import (
    END_WORDS,
    EndWord,
    OrderAnswer,
    OrderOnMasters,
    Served,
    WorkKind,
    WorkRequest,
    heard_of,
    said_line,
)
from services.daemon.orders import Answer, Order, OrderName, RefusalCode, Refused
from services.daemon.parts import Ended, Secured
from services.errors import Exit, RunCode
from services.events.records import Event, RunFinished
from services.planning.request import RunResult

log = structlog.get_logger(__name__)

WORKER, SECURE, OBSERVATORY = (f"services.daemon.{name}" for name in ("worker", "secure", "observatory"))

CODES = {"unknown_master": RefusalCode.UNKNOWN_MASTER, "unknown_frame": RefusalCode.UNKNOWN_MASTER}
"""How refusals of the writer are called by the daemon; all others are orders that cannot be carried out so."""
_INVALID = {"not_possible", "nothing_meant", "usage"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Real seconds of patience; every one of them is longer than an orderly way takes.

    Attributes
    ----------
    abort_s, hurry_s, finish_s : float
        For the end of a run that was ordered to end now (its sensor is warmed up), to hurry, or to end after its frame.
    answer_s : float
        For an answer to an order on masters.
    secure_silent_s, secure_s : float
        For the first device that is safe, and for all of them (the sensor is warmed up).
    secure_pauses_s : tuple of float
        Before each attempt to make the devices safe.
    """

    abort_s: float = 3600.0
    hurry_s: float = 180.0
    finish_s: float = 7200.0
    answer_s: float = 60.0
    secure_silent_s: float = 200.0
    secure_s: float = 3600.0
    secure_pauses_s: tuple[float, ...] = (0.0, 2.0, 10.0, 60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """Who hears of the children, each on a thread of a child."""

    event: Callable[[Event], None]
    ended: Callable[[Ended], None]
    secured: Callable[[Secured], None]


class Worker:
    """A worker at work: passes orders on, and is done when its end was announced.

    Parameters
    ----------
    request : WorkRequest
    listeners : Listeners
    limits : Limits
    start : callable
        Starts the process.
    log_path : Path
    """

    def __init__(
        self, request: WorkRequest, listeners: Listeners, *, limits: Limits, start: Start, log_path: Path
    ) -> None:
        self._listeners = listeners
        self._limits = limits
        self._since_s = SystemClock().monotonic()
        self._run_id: str | None = None
        self._result: RunResult | None = None
        self._answers: dict[int, tuple[Order, Future[Answer]]] = {}
        self._lock = threading.Lock()
        self._is_gone = False
        self._numbers = 0
        self._timer: threading.Timer | None = None
        self._patience_s, self._finish_s = (limits.abort_s, limits.hurry_s), limits.finish_s
        self._aborts = 0
        self._child = ChildProcess(WORKER, log_path=log_path, hear=self._hear, gone=self._end, start=start)
        self._child.say(said_line(request))

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._child.pid

    def order(self, name: OrderName) -> None:
        """Pass an order to end on; never waits. A second `abort` hurries; what never ends is killed."""
        word = END_WORDS[name]
        if word is EndWord.ABORT:
            self._aborts += 1
            if self._aborts <= len(self._patience_s):  # no order grants it more time than the one before
                self._limit(self._patience_s[self._aborts - 1])
        elif not self._aborts:
            self._limit(self._finish_s)
        self._child.say(said_line(word))

    def of_masters(self, order: Order) -> "Future[Answer]":
        """Have an order on masters carried out; the future raises `Refused` where it is not."""
        answer: Future[Answer] = Future()
        with self._lock:
            self._numbers += 1
            number = self._numbers
            if not self._is_gone:
                self._answers[number] = order, answer
        if number not in self._answers:
            return refused(answer, RefusalCode.NOT_ANSWERED, "the worker has ended meanwhile")
        self._child.say(said_line(OrderOnMasters(id=number, order=order)))
        detail = f"the worker has not answered within {self._limits.answer_s:.0f} s"
        after(self._limits.answer_s, lambda: self._drop(number, detail))
        return answer

    def close(self) -> None:
        """End what it hears: a worker ends then as if the daemon were gone, one for orders when all are answered."""
        self._child.close()

    def has_left(self, error: BaseException) -> bool:
        """Return whether it has ended, and by that left an order without an answer."""
        return self._is_gone and isinstance(error, Refused) and error.code is RefusalCode.NOT_ANSWERED

    def kill(self) -> None:
        """Kill it, whatever it does."""
        self._child.kill()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it has ended; return whether it has."""
        return self._child.wait(timeout_s)

    def _limit(self, seconds: float) -> None:
        if self._is_gone:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = after(seconds, self._too_long)

    def _too_long(self) -> None:
        log.error("worker.never_ends")
        self._child.kill()

    def _hear(self, line: str) -> None:
        heard = heard_of(line)
        if isinstance(heard, Event):
            self._run_id = heard.run_id or self._run_id
            self._result = _finished(heard) or self._result
            self._listeners.event(heard)
        elif isinstance(heard, OrderAnswer):
            self._answered(heard)
        elif heard is not None:
            self._result = heard

    def _answered(self, heard: OrderAnswer) -> None:
        with self._lock:
            order, answer = self._answers.pop(heard.id, (None, None))
        if order is None or answer is None:
            return
        if heard.ok:
            with suppress(InvalidStateError):
                answer.set_result(Answer(order=order.order, detail=heard.detail))
            return
        code = RefusalCode.NOT_POSSIBLE if heard.code in _INVALID else RefusalCode.ORDER_FAILED
        if heard.code == RunCode.CAMERA_BUSY:
            code = RefusalCode.ROOT_IN_USE
        refused(answer, CODES.get(heard.code, code), heard.detail)

    def _drop(self, number: int, detail: str) -> None:
        with self._lock:
            _, answer = self._answers.pop(number, (None, None))
        if answer is not None:
            refused(answer, RefusalCode.NOT_ANSWERED, detail)

    def _end(self, gone: Gone) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._is_gone = True
            left = list(self._answers)
        for number in left:
            self._drop(number, "the worker ended before it answered")
        self._listeners.ended(_ended(gone, self._result, self._run_id, SystemClock().monotonic() - self._since_s))


def _ended(gone: Gone, result: RunResult | None, run_id: str | None, seconds: float) -> Ended:
    """Return how a worker ended: as it has said, else it has died."""
    if result is not None:
        return Ended(
            run_id=result.run_id or run_id,
            exit_code=result.exit_code,
            code=result.code,
            detail=result.detail,
            seconds=seconds,
        )
    detail = how(gone)
    return Ended(
        run_id=run_id, exit_code=Exit.SOME_FAILED, code=RunCode.WORKER_DIED, detail=detail, died=True, seconds=seconds
    )


def _finished(event: Event) -> RunResult | None:
    """Return how a run ended, of its last event: its devices are left, and a death after that changes nothing."""
    end = event.what
    if not isinstance(end, RunFinished) or end.exit_code is None:
        return None
    return RunResult(run_id=event.run_id, exit_code=end.exit_code, code=end.code, detail=end.detail)


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
    limits : Limits
    start : callable
        Starts a process, as `subprocess.Popen` does.
    """

    def __init__(
        self, listeners: Listeners, *, logs: Path, limits: Limits | None = None, start: Start = subprocess.Popen
    ) -> None:
        self._listeners = listeners
        self._limits = limits or Limits()
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
        return Worker(request, listeners, limits=self._limits, start=self._start, log_path=self._log_path)

    def _secure(self, request: WorkRequest, run_id: str | None) -> None:
        done: dict[str, None] = {}
        why = ""
        for pause_s in self._limits.secure_pauses_s:
            if self._is_closed.wait(pause_s):
                break
            attempt, why = self._attempt(request)
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

    def _attempt(self, request: WorkRequest) -> tuple[_Attempt, str]:
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
        if not (attempt.first.wait(self._limits.secure_silent_s) and over.wait(self._limits.secure_s)):
            child.kill()
            child.wait(10)
            return attempt, "the secure process did not end in time"
        return attempt, f"the secure process ended with {ends[0].exit_code}; {ends[0].last_words}"


class ObservatoryChild:
    """The simulated observatory of the daemon, a child that outlives workers.

    Parameters
    ----------
    request : WorkRequest
        Names the configuration.
    logs : Path
    start : callable
    timeout_s : float
        Real seconds for its start.

    Raises
    ------
    OSError
        It did not start, in words.

    Attributes
    ----------
    served : Served
        Where it listens: for the requests of workers.
    utc, rate : str, float
        Its clock when it began: moment and seconds in a real one.
    """

    def __init__(
        self, request: WorkRequest, *, logs: Path, start: Start = subprocess.Popen, timeout_s: float = 60.0
    ) -> None:
        said: list[dict[str, Any]] = []
        begun = threading.Event()

        def hear(line: str) -> None:
            said.append(json.loads(line))
            begun.set()

        self._child = ChildProcess(
            OBSERVATORY, log_path=logs / "observatory.log", hear=hear, gone=lambda _: begun.set(), start=start
        )
        self._child.say(said_line(request))
        if not begun.wait(timeout_s) or not said or "port" not in said[0]:
            self._child.kill()
            detail = said[0].get("detail", "") if said else "it said nothing"
            raise OSError(f"the simulated observatory did not start: {detail}")
        self.served = Served(host=said[0]["host"], port=said[0]["port"])
        self.utc, self.rate = str(said[0]["utc"]), float(said[0]["rate"])

    def close(self) -> None:
        """End it."""
        self._child.close()
        if not self._child.wait(10):
            self._child.kill()
