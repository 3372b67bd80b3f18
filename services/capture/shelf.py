"""Where a judged frame goes: its folder and the catalogue or, refused, the bounded number kept for inspection."""

from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import Any

import numpy as np
import structlog

from calibration.frames import CaptureRequest, Frame, Pixels, Verdict
from drivers.clock import Clock
from services.capture.examination import Examined
from services.catalogue.rows import FrameRow, RefusalRow
from services.config.models import Storage
from services.errors import RunCode, StorageError
from services.events.bus import Events
from services.events.findings import Finding
from services.events.records import FrameRefused, FrameStored, StorageLow, WarningRaised, members
from services.files.fits import write_frame
from services.root import Place
from services.words import size

log = structlog.get_logger(__name__)

LOW_FACTOR = 2
"""`storage.low` is emitted when less than this multiple of the floor is free."""

Apart = Callable[[CaptureRequest], str]
"""Returns by what sets with the settings of a request are named; "" where the run has one state alone."""


class Shelf:
    """Stores frames; used by the writer's thread alone.

    Parameters
    ----------
    place : Place
    events, clock
    storage : Storage
        Floor of free space, and how many refused frames are kept.
    filters : tuple of str or None
        The filters of the wheel: flats then get one folder for each of them. None without a wheel.
    apart : Apart
    """

    def __init__(
        self,
        place: Place,
        *,
        events: Events,
        clock: Clock,
        storage: Storage,
        filters: tuple[str, ...] | None,
        apart: Apart,
    ) -> None:
        self._layout = place.layout
        self._catalogue = place.catalogue
        self._disk = place.disk
        self._events = events
        self._clock = clock
        self._storage = storage
        self._filters = filters
        self._apart = apart
        self._said_low = False
        self._doubted: set[tuple[str | None, str]] = set()

    def keep(
        self, frame: Frame, examined: Examined, *, request: CaptureRequest, wanted: int, seconds: float
    ) -> PurePath:
        """Write a good frame into its folder and the catalogue, and emit its event.

        Parameters
        ----------
        frame : Frame
        examined : Examined
        request : CaptureRequest
            That it was taken for.
        wanted : int
            Frames that its set will hold.
        seconds : float
            Since the start of its exposure.

        Raises
        ------
        StorageError
            There is no room, or the disk fails.
        """
        self._check_space(frame.pixels)
        target = self._layout.frame_path(frame.header, wheel=self._filters is not None, filters=self._filters or ())
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
        header = frame.header
        self._events.emit(
            FrameStored(
                path=row.path,
                set_id=header.set_id,
                kind=header.kind,
                filter=header.filter,
                exposure_us=header.exposure_us,
                level_adu=examined.stats.level_adu,
                sigma_adu=examined.stats.sigma_adu,
                ccd_temp_c=header.ccd_temp_c,
                set_temp_c=header.set_temp_c,
                cooler_power_pct=header.cooler_power_pct,
                frame_no=header.frame_no,
                apart=self._apart(request),
                wanted=wanted,
                seconds=seconds,
                doubts=_findings(examined.verdicts),
            )
        )
        self._warn_of_doubts(row, examined.verdicts)
        return PurePath(row.path)

    def _warn_of_doubts(self, row: FrameRow, doubts: tuple[Verdict, ...]) -> None:
        """Warn of a doubt that did not cost the frame, of each code once a set; all are with the frames' events."""
        for doubt in doubts:
            code = str(doubt.code)
            if (row.set_id, code) in self._doubted:
                continue
            self._doubted.add((row.set_id, code))
            detail = f"{row.path}: {doubt.measured:.3g} {doubt.detail}, limit {doubt.limit:.3g}"
            self._events.emit(WarningRaised(code=code, detail=detail))

    def refuse(self, frame: Frame, examined: Examined, request: CaptureRequest) -> PurePath | None:
        """Catalogue a refused frame, emit its event, and keep it for inspection while there is room; return where."""
        path = self._keep_refused(frame)
        header, level_adu = frame.header, examined.stats.level_adu
        refusing = [v for v in examined.verdicts if v.refuses]
        codes = tuple(str(v.code) for v in refusing)
        found = _findings(refusing)
        shared: dict[str, Any] = {
            "path": path,
            "set_id": header.set_id,
            "kind": header.kind,
            "filter": header.filter,
            "exposure_us": header.exposure_us,
            "level_adu": level_adu,
        }
        at = header.date_obs or self._clock.now()
        verdicts = tuple(members(each) for each in found)
        row = RefusalRow(run_id=self._events.run_id, at=at, codes=codes, verdicts=verdicts, **shared)
        self._catalogue.add_refusal(row)
        self._events.emit(FrameRefused(codes=codes, verdicts=found, apart=self._apart(request), **shared))
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
        if not self._said_low and self._is_low(pixels, LOW_FACTOR):
            self._said_low = True
            floor_mb = self._storage.min_free_mb
            self._events.emit(StorageLow(free_mb=self._free_bytes() / 1e6, floor_mb=floor_mb))

    def _is_low(self, pixels: Pixels, factor: int) -> bool:
        return self._free_bytes() - pixels.nbytes < factor * self._storage.min_free_mb * 1_000_000

    def _free_bytes(self) -> int:
        return self._disk.free_bytes(self._layout.root)


def _findings(verdicts: Iterable[Verdict]) -> tuple[Finding, ...]:
    """Return verdicts as the findings of an event."""
    return tuple(Finding(code=str(v.code), measured=v.measured, limit=v.limit, detail=v.detail) for v in verdicts)
