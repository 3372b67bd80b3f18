"""The child process of one run: `python -m services.daemon.worker`, around `services.workflow.job`.

A request and orders come in on standard input, events and signs of life go out on standard output, and last how the run
ended. The end of the input means that the daemon is gone: the run ends in order, by itself.
"""

import queue
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import structlog

from calibration.frames import FrameKind
from drivers.clock import SystemClock
from services.daemon.life import show_life
from services.daemon.lines import Speaker, claim_pipes, hear_terminate_only, lines_of
from services.daemon.messages import (
    EndWord,
    Heard,
    OrderAnswer,
    OrderOnMasters,
    WorkKind,
    WorkRequest,
    heard_line,
    said_of,
)
from services.daemon.orders import Order
from services.daemon.request import loaded_of
from services.errors import Exit, RunCode, ServiceError
from services.events.records import Event
from services.files.locks import RootLock
from services.indexing.index import open_catalogue
from services.library.orders import MasterOrder, obey
from services.library.publish import publish_as_configured
from services.planning.request import RunResult, Step
from services.platform import lower_priority_of_all
from services.reports.previews import Previews
from services.root import Place, layout_of
from services.signals import hear
from services.workflow.job import Job

log = structlog.get_logger(__name__)

NEARLY_S = 60.0
"""A frame of which so much remains is finished when the daemon is gone, or the camera is asked for; else given up."""

_KINDS = {"biases": FrameKind.BIAS, "darks": FrameKind.DARK, "flats": FrameKind.FLAT}


class Writer:
    """Carries out orders on masters, in a thread of its own, while this process holds the root's lock.

    Parameters
    ----------
    say : callable
        Is given the answers.
    obeyed : callable
        Is called when an order was carried out.
    """

    def __init__(self, say: Callable[[Heard], None], obeyed: Callable[[Place], object] = lambda _: None) -> None:
        self._say = say
        self._obeyed = obeyed
        self._orders: queue.SimpleQueue[OrderOnMasters | None] = queue.SimpleQueue()

    def put(self, order: OrderOnMasters) -> None:
        """Take an order; it is carried out when the root is open."""
        self._orders.put(order)

    def end(self) -> None:
        """Let no more orders come."""
        self._orders.put(None)

    @contextmanager
    def beside(self, place: Place) -> Iterator[None]:
        """Carry orders out on an open root until the end of the block, then those that have come by then."""
        thread = threading.Thread(target=self.work, args=(place,), name="nightcal-orders", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.end()
            thread.join()

    def work(self, place: Place) -> None:
        """Carry out orders on an open root until there come no more."""
        while (order := self._orders.get()) is not None:
            answer = _answer(place, order)
            self._obeyed(place)
            self._say(answer)

    def refuse(self, code: str, detail: str) -> None:
        """Answer what is left with a refusal."""
        with suppress(queue.Empty):
            while True:
                order = self._orders.get_nowait()
                if order is not None:
                    self._say(OrderAnswer(id=order.id, ok=False, code=code, detail=detail))


_AS_BEFORE = "it is noted; what serves is what served before"


def _answer(place: Place, asked: OrderOnMasters) -> OrderAnswer:
    try:
        done = obey(place, _of_masters(asked.order, place), at=SystemClock().now())
    except ServiceError as error:
        return OrderAnswer(id=asked.id, ok=False, code=error.code, detail=error.detail)
    except KeyError as error:
        detail = f"there is no kind {error} — allowed: {', '.join(_KINDS)}"
        return OrderAnswer(id=asked.id, ok=False, code=RunCode.USAGE, detail=detail)
    except Exception as error:  # a defect of ours must not end the run
        log.exception("worker.order_failed", order=asked.order.order)
        return OrderAnswer(
            id=asked.id, ok=False, code=RunCode.INTERNAL_ERROR, detail=f"{type(error).__name__}: {error}"
        )
    changed = ", ".join(f"{row.path}: {row.status}" for row in done.changed[:20])
    return OrderAnswer(id=asked.id, ok=done.ok, code=done.code, detail=done.detail or changed or _AS_BEFORE)


def _of_masters(order: Order, place: Place) -> MasterOrder:
    """Return an order as the library takes it: names of frames that the catalogue knows, all others mean masters."""
    frames = tuple(name for name in order.names if place.catalogue.frame(name) is not None)
    said: dict[str, Any] = {
        "order": order.order,
        "masters": [name for name in order.names if name not in frames],
        "frames": frames,
        "kind": None if order.kind is None else _KINDS[order.kind],
        "since": None if order.since is None else order.since.isoformat(),
        "reason": order.reason,
        "by": order.by,
    }
    return MasterOrder.from_dict(said)


class Worker:
    """One request, carried out.

    Parameters
    ----------
    request : WorkRequest
    speaker : Speaker
    """

    def __init__(self, request: WorkRequest, speaker: Speaker) -> None:
        self._speaker = speaker
        self._loaded = loaded_of(request)
        self._writer = Writer(self._say, self._publish)
        self._request = request
        self._job: Job | None = None
        self._aborts = 0
        if request.kind is WorkKind.ORDERS:
            return
        after_sets = replace(request.options, steps=tuple(map(Step, self._loaded.config.serve.after_sets)))
        self._previews = Previews(layout_of(self._loaded))
        self._job = Job(
            self._loaded,
            request.options if request.kind is WorkKind.RUN else after_sets,
            listeners=(self._say, self._previews.hear),
            beside=self._writer.beside,
        )

    def run(self) -> RunResult:
        """Do what is asked; return how it ended."""
        if self._job is None:
            return self._obey_orders()
        if self._request.kind is WorkKind.MASTERS:
            lower_priority_of_all()
        try:
            return self._job.run()
        finally:
            self._previews.close()
            self._writer.refuse(RunCode.CAMERA_BUSY, "the run has ended meanwhile: give the order again")

    def hear(self, lines: Iterator[str]) -> None:
        """Obey what the daemon says until it is gone; then end in order."""
        for line in lines:
            try:
                said = said_of(line)
            except ValueError as error:
                log.warning("worker.not_understood", detail=str(error))
                continue
            if isinstance(said, OrderOnMasters):
                self._writer.put(said)
            elif isinstance(said, EndWord):
                self.end(said)
        self._writer.end()
        if self._job is not None:
            _lost(self._job, self._request.kind)

    def end(self, word: EndWord) -> None:
        """End the run as ordered."""
        if self._job is None:
            return
        self._aborts += word is EndWord.ABORT
        _ENDS[EndWord.HURRY if self._aborts > 1 else word](self._job)

    def terminate(self) -> None:
        """End the run now, in order: SIGTERM."""
        if self._job is not None:
            self._job.end_now(RunCode.INTERRUPTED)

    def _obey_orders(self) -> RunResult:
        layout = layout_of(self._loaded)
        try:
            with RootLock(layout.root), open_catalogue(layout) as catalogue:
                self._writer.work(Place(layout=layout, catalogue=catalogue))
        except ServiceError as error:
            self._writer.refuse(error.code, error.detail)
            raise
        return RunResult(run_id="", exit_code=Exit.DONE, code=None, detail="")

    def _publish(self, place: Place) -> None:
        for detail in publish_as_configured(place, self._loaded.config).problems:
            log.warning("worker.not_published", detail=detail)

    def _say(self, message: Heard) -> None:
        self._speaker.say(heard_line(message), must=not isinstance(message, Event))


_ENDS: Mapping[EndWord, Callable[[Job], None]] = {
    EndWord.CANCEL: lambda job: job.end_after_frame(RunCode.CANCELLED),
    EndWord.PAUSE: lambda job: job.end_after_frame(RunCode.PAUSED, hold_cooler=True),
    EndWord.YIELD: lambda job: job.end_after_frame(RunCode.YIELDED, at_most_s=NEARLY_S),
    EndWord.ABORT: lambda job: job.end_now(RunCode.CANCELLED),
    EndWord.HURRY: lambda job: job.hurry(),
}


def _lost(job: Job, kind: WorkKind) -> None:
    if kind is WorkKind.MASTERS:
        job.end_now(RunCode.INTERRUPTED)
    else:
        job.end_after_frame(RunCode.INTERRUPTED, at_most_s=NEARLY_S)


def main() -> int:
    """Take a request, carry it out, say how it ended; return the exit code."""
    source, sink = claim_pipes()
    hear_terminate_only()
    speaker, lines = Speaker(sink), lines_of(source)
    end = show_life(lambda alive: speaker.say(heard_line(alive)))
    result = _carried_out(lines, speaker)
    end()
    speaker.say(heard_line(result), must=True)
    speaker.close()
    return result.exit_code


def _carried_out(lines: Iterator[str], speaker: Speaker) -> RunResult:
    try:
        request = said_of(next(lines, ""))
        if not isinstance(request, WorkRequest):
            return _failed(RunCode.USAGE, "the first line is no request", Exit.CONFIG)
        worker = Worker(request, speaker)
        hear({"SIGTERM": worker.terminate})
        threading.Thread(target=worker.hear, args=(lines,), name="nightcal-hearing", daemon=True).start()
        return worker.run()
    except ServiceError as error:
        return _failed(error.code, error.detail, error.exit)
    except ValueError as error:
        return _failed(RunCode.USAGE, str(error), Exit.CONFIG)
    except Exception as error:
        log.exception("worker.defect")
        return _failed(RunCode.INTERNAL_ERROR, f"{type(error).__name__}: {error}", Exit.SOME_FAILED)


def _failed(code: str, detail: str, exit_code: int) -> RunResult:
    return RunResult(run_id="", exit_code=exit_code, code=str(code), detail=detail)


if __name__ == "__main__":
    sys.exit(main())
