"""A worker as the daemon sees it: orders are passed on to it, what it says is heard, and one that hangs is killed.

It has died when it ends without having said how its run ended, whatever killed it.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from drivers.clock import SystemClock
from services.daemon.children import ChildProcess, Gone, Start, after, how
from services.daemon.later import refused
from services.daemon.limits import Limits
from services.daemon.messages import (
    END_WORDS,
    EndWord,
    OrderAnswer,
    OrderOnMasters,
    WorkKind,
    WorkRequest,
    heard_of,
    said_line,
)
from services.daemon.orders import Answer, Order, OrderName, RefusalCode, Refused
from services.daemon.parts import Ended, Secured
from services.daemon.vigil import Vigil
from services.errors import Exit, RunCode
from services.events.records import Event, FrameStored, RunFinished
from services.planning.request import RunResult
from services.words import length

log = structlog.get_logger(__name__)

MODULE = "services.daemon.worker"
CODES = {"unknown_master": RefusalCode.UNKNOWN_MASTER, "unknown_frame": RefusalCode.UNKNOWN_MASTER}
"""How refusals of the writer are called by the daemon; all others are orders that cannot be carried out so."""
_INVALID = {"not_possible", "nothing_meant", "usage"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """Who hears of the children, each on a thread of a child."""

    event: Callable[[Event], None]
    ended: Callable[[Ended], None]
    secured: Callable[[Secured], None]


class Worker:
    """A worker at work: passes orders on, and is done when its end was announced; one that hangs is killed.

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
        self._taken = 0
        self._result: RunResult | None = None
        self._answers: dict[int, tuple[Order, Future[Answer]]] = {}
        self._lock = threading.Lock()
        self._is_gone = False
        self._numbers = 0
        self._timer: threading.Timer | None = None
        self._patience_s, self._finish_s = (limits.abort_s, limits.hurry_s), limits.finish_s
        self._aborts = 0
        self._takes_frames = request.kind is WorkKind.RUN
        self._is_short = request.kind is WorkKind.ORDERS
        self._vigil = Vigil.begun(self._since_s)
        self._killed_for = ""
        self._child = ChildProcess(MODULE, log_path=log_path, hear=self._hear, gone=self._end, start=start)
        self._child.say(said_line(request))
        self._look_in()

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
        wait_s = self._limits.short_s if self._is_short else self._limits.answer_s
        after(wait_s, lambda: self._answer_late(number, wait_s))
        return answer

    def _answer_late(self, number: int, wait_s: float) -> None:
        """Answer for a worker that has not; one that does nothing else is killed."""
        if number not in self._answers:
            return
        late = f"not answered within {wait_s:.0f} s"
        if self._is_short:
            self._kill(f"it has {late}")
            self._drop(number, f"the process that was to carry it out has {late}, and was killed")
        else:
            self._drop(number, f"the worker has {late}")

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
        self._timer = after(seconds, lambda: self._kill(f"it did not end within {length(seconds)} of the order to end"))

    def _kill(self, why: str) -> None:
        if self._is_gone:
            return
        log.error("worker.killed", detail=why)
        self._killed_for = self._killed_for or why
        self._child.kill()

    def _look_in(self) -> None:
        """Look after a while, and again and again until it has ended, whether it is alive and its work moves."""
        after(self._limits.look_s, self._look)

    def _look(self) -> None:
        if self._is_gone:
            return
        now_s = SystemClock().monotonic()
        with self._lock:
            self._vigil = vigil = self._vigil.looked(now_s)
        if why := vigil.missing(now_s, self._limits, takes_frames=self._takes_frames):
            self._kill(why)
        else:
            self._look_in()

    def _hear(self, line: str) -> None:
        heard = heard_of(line)
        with self._lock:
            self._vigil = self._vigil.heard(heard, SystemClock().monotonic())
        if isinstance(heard, Event):
            self._run_id = heard.run_id or self._run_id
            self._result = _finished(heard) or self._result
            self._taken += isinstance(heard.what, FrameStored)
            self._listeners.event(heard)
        elif isinstance(heard, OrderAnswer):
            self._answered(heard)
        elif isinstance(heard, RunResult):
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
        seconds = SystemClock().monotonic() - self._since_s
        ended = _ended(gone, self._result, self._run_id, seconds, self._killed_for)
        self._listeners.ended(replace(ended, taken=self._taken))


def _ended(gone: Gone, result: RunResult | None, run_id: str | None, seconds: float, killed_for: str) -> Ended:
    """Return how a worker ended: as it has said, else it has died."""
    if result is not None:
        return Ended(
            run_id=result.run_id or run_id,
            exit_code=result.exit_code,
            code=result.code,
            detail=result.detail,
            seconds=seconds,
        )
    detail = f"{killed_for}: it was killed" if killed_for else how(gone)
    return Ended(
        run_id=run_id, exit_code=Exit.SOME_FAILED, code=RunCode.WORKER_DIED, detail=detail, died=True, seconds=seconds
    )


def _finished(event: Event) -> RunResult | None:
    """Return how a run ended, of its last event: its devices are left, and a death after that changes nothing."""
    end = event.what
    if not isinstance(end, RunFinished) or end.exit_code is None:
        return None
    return RunResult(run_id=event.run_id, exit_code=end.exit_code, code=end.code, detail=end.detail)
