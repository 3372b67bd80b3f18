"""The one thread that measures, judges, writes and catalogues frames while the camera takes the next one.

Its queue is short, so that a slow disk slows the camera down instead of filling the memory. A failure to write ends
the run: the ticket of the frame raises it, and every later one. Whoever waits for the disk hears a stop all the same.
Refused frames are kept for inspection, in bounds.
"""

import queue
import threading
from collections.abc import Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import structlog

from calibration.frames import Frame, FrameResult, Pixels, Purpose, Verdict
from drivers.clock import Clock, Deadline, SystemClock
from services.capture.acquisition import Taken, Words, to_frame, with_stats
from services.capture.examination import Examined, Seen, examine
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import FrameRow, RefusalRow
from services.config.models import Storage
from services.errors import RunCode, StorageError
from services.events.bus import Events
from services.events.records import Finding, FrameRefused, FrameStored, StorageLow, WarningRaised, members
from services.files.disk import Disk
from services.files.fits import write_frame
from services.files.layout import Layout
from services.observatory import Interlock
from services.words import size

log = structlog.get_logger(__name__)

SLICE_S = 0.1
"""Real seconds between two looks at the interlock while a disk is waited for."""
CLOSE_S = 120.0
"""Real seconds at most that the end of a run waits for the disk: one that hangs must not keep devices from theirs."""
LOW_FACTOR = 2
"""`storage.low` is told from this multiple of the floor on."""

Ticket = Future[FrameResult]
"""Redeemed for the result of one frame; raises what went wrong with writing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    taken: Taken
    first: bool
    wanted: int
    ticket: Ticket
    submitted_s: float


class Writer:
    """Turns exposures into stored frames on a thread of its own.

    Parameters
    ----------
    layout, catalogue, disk, events, clock, words
    interlock : Interlock
        A stop ends every wait for the disk.
    storage : Storage
        Floor of free space, how many frames may wait, and how many refused ones are kept.
    wheel : bool
        Whether flats get a folder a filter.
    """

    def __init__(
        self,
        *,
        layout: Layout,
        catalogue: Catalogue,
        disk: Disk,
        events: Events,
        clock: Clock,
        words: Words,
        interlock: Interlock,
        storage: Storage,
        wheel: bool,
    ) -> None:
        self._layout = layout
        self._catalogue = catalogue
        self._disk = disk
        self._events = events
        self._clock = clock
        self._words = words
        self._interlock = interlock
        self._storage = storage
        self._wheel = wheel
        self._queue: queue.Queue[_Job | None] = queue.Queue(storage.frames_in_flight)
        self._thread = threading.Thread(target=self._work, name="nightcal-writer", daemon=True)
        self._failure: BaseException | None = None
        self._previous: Seen | None = None
        self._references: dict[str, FrameResult] = {}
        self._numbers: dict[str, int] = {}
        self._told_low = False
        self._doubted: set[tuple[str | None, str]] = set()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, taken: Taken, *, first: bool, wanted: int) -> Ticket:
        """Hand over an exposure; waits while the queue is full. Raises `RunStopped` when the run is to end meanwhile.

        Parameters
        ----------
        taken : Taken
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
            detail = f"{self._queue.qsize()} frames are still not written after {CLOSE_S:.0f} s: the disk hangs"
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
        path = None
        if keep:
            path = self._keep(frame, examined, job) if examined.accepted else self._refuse(frame, examined, job)
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

    def _refer_to(self, set_id: str, result: FrameResult) -> None:
        """Keep the first good frame of a set for comparison, with the noise of its first good pair."""
        known = self._references.setdefault(set_id, result)
        if known.pair_sigma_adu is None and result.pair_sigma_adu is not None:
            self._references[set_id] = replace(known, pair_sigma_adu=result.pair_sigma_adu)

    def _keep(self, frame: Frame, examined: Examined, job: _Job) -> PurePath:
        self._check_space(frame.pixels)
        target = self._layout.frame_path(frame.header, wheel=self._wheel)
        digest = examined.stats.pixel_sha256 if frame.pixels.dtype == np.uint16 else None  # else of other bytes
        stored = write_frame(target, frame, self._disk, pixel_sha256=digest)
        row = FrameRow.of(
            frame.header,
            path=self._layout.relative(stored.path),
            pixel_sha256=stored.pixel_sha256,
            size=stored.size,
            mtime_ns=stored.mtime_ns,
            stats=examined.stats,
        )
        self._catalogue.add_frame(row)
        header, set_id = frame.header, job.taken.request.set_id
        if set_id is not None and header.frame_no is not None:
            self._numbers[set_id] = header.frame_no
        self._events.emit(
            FrameStored(
                path=row.path,
                set_id=set_id,
                kind=header.kind,
                filter=header.filter,
                exposure_us=header.exposure_us,
                level_adu=examined.stats.level_adu,
                sigma_adu=examined.stats.sigma_adu,
                ccd_temp_c=header.ccd_temp_c,
                set_temp_c=header.set_temp_c,
                cooler_power_pct=header.cooler_power_pct,
                frame_no=header.frame_no,
                wanted=job.wanted,
                seconds=self._since(job),
                doubts=_findings(examined.verdicts),
            )
        )
        self._tell_doubts(row, examined.verdicts)
        return PurePath(row.path)

    def _tell_doubts(self, row: FrameRow, doubts: tuple[Verdict, ...]) -> None:
        """Warn of a doubt that did not cost the frame, of each code once a set; all are with the frames' events."""
        for doubt in doubts:
            code = str(doubt.code)
            if (row.set_id, code) in self._doubted:
                continue
            self._doubted.add((row.set_id, code))
            detail = f"{row.path}: {doubt.measured:.3g} {doubt.detail}, limit {doubt.limit:.3g}"
            self._events.emit(WarningRaised(code=code, detail=detail))
            log.warning("frame.doubted", code=code, detail=detail)

    def _refuse(self, frame: Frame, examined: Examined, job: _Job) -> PurePath | None:
        path = self._keep_refused(frame)
        header, level_adu = frame.header, examined.stats.level_adu
        refusing = [v for v in examined.verdicts if v.refuses]
        codes = tuple(str(v.code) for v in refusing)
        found = _findings(refusing)
        shared: dict[str, Any] = {
            "path": path,
            "set_id": job.taken.request.set_id,
            "kind": header.kind,
            "filter": header.filter,
            "exposure_us": header.exposure_us,
            "level_adu": level_adu,
        }
        at = header.date_obs or self._clock.now()
        verdicts = tuple(members(each) for each in found)
        row = RefusalRow(run_id=self._events.run_id, at=at, codes=codes, verdicts=verdicts, **shared)
        self._catalogue.add_refusal(row)
        self._events.emit(FrameRefused(codes=codes, verdicts=found, **shared))
        log.info("frame.refused", codes=codes, level_adu=round(level_adu, 1))
        return None if path is None else PurePath(path)

    def _keep_refused(self, frame: Frame) -> str | None:
        """Keep a refused frame while there is room for it; its loss is no failure."""
        room = self._storage.keep_refused > 0 and not self._is_low(frame.pixels, LOW_FACTOR)
        if not room:
            return None
        try:
            self._forget_oldest_refused()
            stored = write_frame(self._layout.refused_path(frame.header), frame, self._disk)
        except StorageError as error:
            log.warning("frame.refused_not_kept", detail=error.detail)
            return None
        return self._layout.relative(stored.path)

    def _forget_oldest_refused(self) -> None:
        kept = sorted(self._layout.refused.glob("*/*.fits"), key=lambda path: (path.parent.name, path.name))
        for path in kept[: max(0, len(kept) - self._storage.keep_refused + 1)]:
            self._disk.remove(path)

    def _check_space(self, pixels: Pixels) -> None:
        if self._is_low(pixels, 1):
            free, floor_mb = self._free_bytes(), self._storage.min_free_mb
            room = f"{size(free)} free below {self._layout.root}, a frame takes {size(pixels.nbytes)}"
            detail = f"{room}, {size(1e6 * floor_mb)} to be left free (storage.min_free_mb)"
            self._events.emit(StorageLow(free_mb=free / 1e6, floor_mb=floor_mb))
            raise StorageError(detail, code=RunCode.DISK_FULL)
        if not self._told_low and self._is_low(pixels, LOW_FACTOR):
            self._told_low = True
            floor_mb = self._storage.min_free_mb
            self._events.emit(StorageLow(free_mb=self._free_bytes() / 1e6, floor_mb=floor_mb))

    def _is_low(self, pixels: Pixels, factor: int) -> bool:
        return self._free_bytes() - pixels.nbytes < factor * self._storage.min_free_mb * 1_000_000

    def _free_bytes(self) -> int:
        return self._disk.free_bytes(Path(self._layout.root))

    def _since(self, job: _Job) -> float:
        """Return the seconds since the start of a job's exposure, whatever the wall clock did meanwhile."""
        exposure, waited_s = job.taken.exposure, self._clock.monotonic() - job.submitted_s
        return exposure.returned_after_s + waited_s


def _findings(verdicts: Iterable[Verdict]) -> tuple[Finding, ...]:
    """Return verdicts as events tell them."""
    return tuple(Finding(code=str(v.code), measured=v.measured, limit=v.limit, detail=v.detail) for v in verdicts)
