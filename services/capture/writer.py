"""The one thread that measures, judges, writes and catalogues frames while the camera takes the next one.

Its queue is short, so that a slow disk slows the camera down instead of filling the memory. A failure to write ends
the run: the ticket of the frame raises it, and every later one. Whoever waits for the disk hears a stop all the same.
Refused frames are kept for inspection, in bounds.
"""

import queue
import threading
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from pathlib import PurePath

import structlog

from calibration.frames import Frame, FrameResult, Purpose
from drivers.clock import Clock, Deadline, SystemClock
from services.capture.acquisition import TakenExposure, Words, to_frame, with_stats
from services.capture.examination import Examined, Seen, examine
from services.capture.shelf import Shelf
from services.catalogue.catalogue import Catalogue
from services.errors import RunCode, StorageError
from services.observatory import Interlock
from services.words import count

log = structlog.get_logger(__name__)

SLICE_S = 0.1
"""Real seconds between two looks at the interlock while a disk is waited for."""
CLOSE_S = 120.0
"""Real seconds at most that the end of a run waits for the disk: one that hangs must not keep devices from theirs."""
Ticket = Future[FrameResult]
"""Redeemed for the result of one frame; raises what went wrong with writing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    taken: TakenExposure
    first: bool
    wanted: int
    ticket: Ticket
    submitted_s: float


class Writer:
    """Turns exposures into stored frames on a thread of its own.

    Parameters
    ----------
    shelf : Shelf
        Where judged frames go.
    catalogue, clock, words
    interlock : Interlock
        A stop ends every wait for the disk.
    ahead : int
        Frames that may wait.
    """

    def __init__(
        self, shelf: Shelf, *, catalogue: Catalogue, clock: Clock, words: Words, interlock: Interlock, ahead: int
    ) -> None:
        self._shelf = shelf
        self._catalogue = catalogue
        self._clock = clock
        self._words = words
        self._interlock = interlock
        self._queue: queue.Queue[_Job | None] = queue.Queue(ahead)
        self._thread = threading.Thread(target=self._work, name="nightcal-writer", daemon=True)
        self._failure: BaseException | None = None
        self._previous: Seen | None = None
        self._references: dict[str, FrameResult] = {}
        self._numbers: dict[str, int] = {}

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, taken: TakenExposure, *, first: bool, wanted: int) -> Ticket:
        """Hand over an exposure; waits while the queue is full. Raises `RunStopped` when the run is to end meanwhile.

        Parameters
        ----------
        taken : TakenExposure
        first : bool
            Whether it is the first frame of its request: it is compared with none before it.
        wanted : int
            Frames the set will hold when this request is done, for the progress.
        """
        ticket: Ticket = Future()
        submitted_s = self._clock.monotonic()
        job = _Job(taken=taken, first=first, wanted=wanted, ticket=ticket, submitted_s=submitted_s)
        while not self._put(job):
            self._interlock.check()
        return ticket

    def result(self, ticket: Ticket) -> FrameResult:
        """Wait for the result of a frame; raises what went wrong with it, or `RunStopped` when the run is to end."""
        while not wait((ticket,), SLICE_S).done:
            self._interlock.check()
        return ticket.result()

    def check(self) -> None:
        """Raise what made the writer fail, when it has: nothing more can be stored."""
        if self._failure is not None:
            raise self._failure

    def held(self, set_id: str | None) -> int:
        """Return how many frames of a set were numbered so far, those of earlier runs included."""
        if set_id is None:
            return 0
        if set_id not in self._numbers:
            rows = self._catalogue.frames(set_id=set_id)
            self._numbers[set_id] = max((row.frame_no or 0 for row in rows), default=0)
        return self._numbers[set_id]

    def temperatures_c(self, set_id: str | None) -> list[float]:
        """Return the temperatures of the frames of a set that are stored, those of earlier runs included."""
        rows = [] if set_id is None else self._catalogue.frames(set_id=set_id)
        return [row.ccd_temp_c for row in rows if row.ccd_temp_c is not None]

    def close(self) -> None:
        """Write what is queued, then end the thread.

        Raises
        ------
        StorageError
            The disk hangs: `write_failed`.
        """
        deadline = Deadline(SystemClock(), CLOSE_S)
        while self._thread.is_alive() and not self._put(None):
            if deadline.over:
                break
        self._thread.join(deadline.left_s)
        if self._thread.is_alive():
            detail = f"{count(self._queue.qsize(), 'frame')} not written after {CLOSE_S:.0f} s: the disk hangs"
            raise StorageError(detail, code=RunCode.WRITE_FAILED)

    def _put(self, job: _Job | None) -> bool:
        try:
            self._queue.put(job, timeout=SLICE_S)
        except queue.Full:
            return False
        return True

    # --- on the thread ----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            if self._failure is not None:
                job.ticket.set_exception(self._failure)
                continue
            try:
                job.ticket.set_result(self._store(job))
            except Exception as error:
                log.exception("writer.failed")
                self._failure = error
                self._previous = None  # the pixels are not needed any more
                job.ticket.set_exception(error)

    def _store(self, job: _Job) -> FrameResult:
        request = job.taken.request
        frame = to_frame(job.taken, self._words)
        reference = self._references.get(request.set_id or "")
        examined = examine(frame, job.taken, previous=self._previous, first=job.first, reference=reference)
        keep = request.purpose is Purpose.KEEP
        number = self.held(request.set_id) + 1 if keep else None
        frame = Frame(header=with_stats(frame.header, examined.stats, number), pixels=frame.pixels)
        self._previous = Seen(frame=frame, request=request, examined=examined)
        path = self._put_away(frame, examined, job) if keep else None
        result = FrameResult(
            request=request,
            header=frame.header,
            stats=examined.stats,
            verdicts=examined.verdicts,
            path=path,
            pair_sigma_adu=examined.pair_sigma_adu,
        )
        if keep and examined.accepted and request.set_id is not None:
            self._refer_to(request.set_id, result)
        return result

    def _put_away(self, frame: Frame, examined: Examined, job: _Job) -> PurePath | None:
        if not examined.accepted:
            return self._shelf.refuse(frame, examined, job.taken.request)
        path = self._shelf.keep(frame, examined, request=job.taken.request, wanted=job.wanted, seconds=self._since(job))
        set_id, number = frame.header.set_id, frame.header.frame_no
        if set_id is not None and number is not None:
            self._numbers[set_id] = number
        return path

    def _refer_to(self, set_id: str, result: FrameResult) -> None:
        """Keep the first good frame of a set for comparison, with the noise of its first good pair."""
        known = self._references.setdefault(set_id, result)
        if known.pair_sigma_adu is None and result.pair_sigma_adu is not None:
            self._references[set_id] = replace(known, pair_sigma_adu=result.pair_sigma_adu)

    def _since(self, job: _Job) -> float:
        """Return the seconds since the start of a job's exposure, whatever the wall clock did meanwhile."""
        exposure, waited_s = job.taken.exposure, self._clock.monotonic() - job.submitted_s
        return exposure.returned_after_s + waited_s
