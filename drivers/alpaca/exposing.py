"""One exposure after another: started once, waited for, fetched.

What real cameras do is in the rules below: ImageReady may never come or may raise, CameraState may be the only one to
report a failure, and a start may be carried out although its answer was lost.
"""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from drivers.alpaca.camera_status import Progress, Status
from drivers.alpaca.download import Download
from drivers.alpaca.imagebytes import Image
from drivers.alpaca.pacing import Pace
from drivers.alpaca.transport import CameraWire
from drivers.alpaca.values import number, text
from drivers.base import CameraInfo, CameraStates, Exposure, ExposureRequest
from drivers.clock import Deadline
from drivers.errors import (
    CameraBusy,
    Cancelled,
    DeviceLost,
    DriverError,
    ExposureFailed,
    ExposureStalled,
    Refused,
)

_AT_WORK = (CameraStates.WAITING, CameraStates.EXPOSING, CameraStates.READING, CameraStates.DOWNLOAD)

log = structlog.get_logger(__name__)


class Exposing:
    """The exposures of one camera.

    Parameters
    ----------
    wire : CameraWire
    status : Status
    """

    def __init__(self, wire: CameraWire, status: Status) -> None:
        self._wire = wire
        self._status = status
        self._clock = wire.clock
        self._times = wire.timeouts
        self._label = wire.label
        self._download = Download(wire)
        self._pace = Pace(wire.clock)
        self._download_s = 0.0
        self._under_way = False  # an exposure of ours whose end was not seen

    def expose(
        self, request: ExposureRequest, info: CameraInfo, size: tuple[int, int], wake: threading.Event | None = None
    ) -> Exposure:
        """Start an exposure, wait for it, fetch it. StartExposure is never sent twice.

        Parameters
        ----------
        request : ExposureRequest
        info : CameraInfo
        size : (int, int)
            NumX and NumY that are set.
        wake : threading.Event, optional

        Raises
        ------
        ExposureFailed
            CameraState is Error, ImageReady raises, or an error comes instead of the image.
        ExposureStalled
            No image within the duration + max(60 s, 3 × the last download), or its transfer stalls.
        CameraBusy
            It exposes for somebody else.
        Cancelled
            `wake` was set; the exposure was aborted, or its image given up.
        BadImage, DeviceLost, Refused
        """
        if wake is not None and wake.is_set():
            raise Cancelled(device=self._label, detail="stopped before an exposure")
        num_x, num_y = size
        begin_c = self._status.temperature(info)
        sent_s = self._clock.monotonic()
        started_at = self._start(request)
        self._download.prepare(num_x=num_x, num_y=num_y)
        ready = self._wait(sent_s, request.duration_s, info, wake)
        self._under_way = False
        returned_after_s = self._clock.monotonic() - sent_s
        end_c = ready.ccd_temperature_c
        if end_c is None:
            end_c = self._status.temperature(info)
        before_s = self._clock.real()
        image = self._fetch(num_x, num_y, wake)
        self._download_s = self._clock.real() - before_s
        return Exposure(
            pixels=image.pixels,
            started_at=started_at,
            ended_at=started_at + timedelta(seconds=request.duration_s),
            reported_start=self._wire.offered("LastExposureStartTime", _instant),
            reported_duration_s=self._wire.offered("LastExposureDuration", number),
            returned_after_s=returned_after_s,
            download_s=self._download_s,
            temperature_begin_c=begin_c,
            temperature_end_c=end_c,
            wire_type=image.wire_type,
        )

    def abort(self, info: CameraInfo) -> None:
        """Abort what runs, or stop it, or wait for Idle; raises `ExposureStalled` when none of it helps."""
        steps = [self._wire.AbortExposure] * info.can_abort + [self._wire.StopExposure] * info.can_stop
        for step in steps:
            try:
                step()
                break
            except Refused as error:  # usual while an image is read out: the next step, or patience, ends that
                log.debug("abort.refused", device=self._label, detail=str(error))
        deadline = Deadline(self._clock, self._times.idle_s, real_s=self._times.real_s)
        while (activity := self._status.activity()) is not CameraStates.IDLE:
            if deadline.over:
                detail = f"it is still {activity.name.lower()} {self._times.idle_s:g} s after an abort"
                raise ExposureStalled(device=self._label, detail=detail)
            self._pace.rest(0.2)
        self._under_way = False

    def _start(self, request: ExposureRequest) -> datetime:
        """Send StartExposure, once; return when the exposure began, by our clock."""
        sent_s, sent_at = self._clock.monotonic(), self._clock.now()
        try:
            self._wire.StartExposure(float(request.duration_s), request.light)
        except Refused as error:
            self._judge_refusal(error)
            raise
        except DeviceLost as error:
            if self._wire.line.closed.is_set() or self._status.activity() not in _AT_WORK:
                raise
            log.warning("exposure.start_unanswered", device=self._label, detail=error.detail)
            self._under_way = True
            return sent_at
        self._under_way = True
        # A driver that answers only when the exposure is over began when it was asked
        whole_exposure = self._clock.monotonic() - sent_s >= request.duration_s
        return sent_at if whole_exposure else self._clock.now()

    def _judge_refusal(self, error: Refused) -> None:
        """Raise the error that explains a refused start, when CameraState shows it."""
        activity = self._status.activity()
        if activity in _AT_WORK and self._under_way:
            detail = f"it is still {activity.name.lower()} for us, and cannot be aborted"
            raise ExposureStalled(device=self._label, detail=detail, number=error.number) from error
        if activity in _AT_WORK:
            detail = f"it is {activity.name.lower()}, and not for us"
            raise CameraBusy(device=self._label, detail=detail, number=error.number) from error
        if activity is CameraStates.ERROR:
            raise ExposureFailed(device=self._label, detail=error.detail, number=error.number) from error

    def _wait(self, sent_s: float, duration_s: float, info: CameraInfo, wake: threading.Event | None) -> Progress:
        patience_s = max(self._times.exposure_s, 3 * self._download_s)
        real_s = max(self._times.real_s, 3 * self._download_s)
        deadline = Deadline(self._clock, duration_s + patience_s, real_s=real_s)
        while True:
            if self._pace.until(sent_s + duration_s, wake):
                self._cancel(info)
            progress = self._status.progress()
            if progress.activity is CameraStates.ERROR:
                raise ExposureFailed(device=self._label, detail="CameraState is Error")
            if progress.image_ready:
                return progress
            if deadline.over:
                detail = f"no image {patience_s:g} s after the end of an exposure of {duration_s:g} s"
                raise ExposureStalled(device=self._label, detail=f"{detail}; it is {progress.activity.name.lower()}")

    def _fetch(self, num_x: int, num_y: int, wake: threading.Event | None) -> Image:
        try:
            return self._download.fetch(num_x=num_x, num_y=num_y, wake=wake)
        except ExposureStalled as error:
            if wake is None or not wake.is_set():
                raise
            raise Cancelled(device=self._label, detail="stopped; the image was not waited for") from error

    def _cancel(self, info: CameraInfo) -> None:
        try:
            self.abort(info)
        except DriverError as error:
            raise Cancelled(device=self._label, detail=f"stopped; the abort failed: {error.detail}") from error
        raise Cancelled(device=self._label, detail="stopped; the exposure was aborted")


def _instant(value: Any) -> datetime:
    """Return LastExposureStartTime, in UTC by definition."""
    found = datetime.fromisoformat(text(value))
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
