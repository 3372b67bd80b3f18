"""One exposure after another: started once, waited for, fetched.

What real cameras do is in the rules below. ImageReady may never come or may raise, CameraState may be the only one to
report a failure, or be missing, and a start may be carried out although its answer was lost. When an image is believed
is in `awaiting`; one that equals the image before is asked for again a moment later.
"""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import structlog

from drivers.alpaca.awaiting import AT_WORK, Awaiting, Ready, word_of
from drivers.alpaca.camera_status import Status
from drivers.alpaca.download import Download
from drivers.alpaca.imagebytes import Image, as_unsigned, mark_of
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

ALWAYS_REPEATS = 3
"""After so many exposures with the image before it is of no use to ask such a camera again."""

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
        self._awaiting = Awaiting(wire, status, self._pace)
        self._download_s = 0.0
        self._ours = False  # whatever the camera does is for us: since our start it was not seen idle
        self._mark = b""  # of the image that came last
        self._repeated = 0  # so many exposures in a row ended with the image before, however often it was asked for
        self._warned = False

    def expose(
        self, request: ExposureRequest, info: CameraInfo, size: tuple[int, int], wake: threading.Event | None = None
    ) -> Exposure:
        """Start an exposure, wait for it, fetch it. A start that may have been carried out is never sent again.

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
            `wake` was set; the exposure was aborted, or its image given up. Or the image would come after `until`.
        BadImage, DeviceLost, Refused
        """
        if wake is not None and wake.is_set():
            raise Cancelled(device=self._label, detail="stopped before an exposure")
        begin_c = self._status.temperature(info)
        sent_s = self._clock.monotonic()
        started_at = self._start(request, wake)
        self._download.prepare(num_x=size[0], num_y=size[1])
        ready = self._awaiting.image(sent_s, request.duration_s, download_s=self._download_s, wake=wake)
        if ready is None:
            self._cancel(info)
        end_c = ready.progress.ccd_temperature_c
        if end_c is None:
            end_c = self._status.temperature(info)
        image, ready = self._new_image(request, info, size, ready, wake)
        if ready.progress.activity in (CameraStates.IDLE, None):
            self.seen_idle()
        return Exposure(
            pixels=image.pixels,
            started_at=started_at,
            ended_at=started_at + timedelta(seconds=request.duration_s),
            reported_start=self._wire.offered("LastExposureStartTime", _instant),
            reported_duration_s=self._wire.offered("LastExposureDuration", number),
            returned_after_s=ready.since_s - sent_s,
            download_s=self._download_s,
            temperature_begin_c=begin_c,
            temperature_end_c=end_c,
            wire_type=image.wire_type,
        )

    def seen_idle(self) -> None:
        """Note that the camera has nothing to do: what it does next without us is somebody else's."""
        self._ours = False

    def abort(self, info: CameraInfo) -> None:
        """Abort what runs, or stop it, or wait for Idle; raises `ExposureStalled` when none of it helps."""
        steps = [self._wire.AbortExposure] * info.can_abort + [self._wire.StopExposure] * info.can_stop
        for step in steps:
            try:
                step()
                break
            except Refused as error:  # usual while an image is read out: the next step, or patience, ends that
                log.debug("abort.refused", device=self._label, detail=str(error))
        self._until_idle("after an abort")

    def _until_idle(self, when: str, wake: threading.Event | None = None) -> None:
        """Wait until the camera is idle; raises `ExposureStalled` when it does not become so."""
        deadline = Deadline(self._clock, self._times.idle_s, real_s=self._times.real_s)
        while (activity := self._status.activity()) not in (CameraStates.IDLE, None):
            if deadline.over:
                detail = f"it is still {word_of(activity)} for us {self._times.idle_s:g} s {when}"
                raise ExposureStalled(device=self._label, detail=detail)
            if self._pace.rest(0.2, wake):
                raise Cancelled(device=self._label, detail="stopped before an exposure")
        self.seen_idle()

    def _start(self, request: ExposureRequest, wake: threading.Event | None) -> datetime:
        """Send StartExposure; return when the exposure began, by our clock."""
        try:
            return self._send_start(request)
        except Refused as error:
            if not self._judge_refusal(error):
                raise
        self._until_idle("after its image was ready", wake)
        try:
            return self._send_start(request)
        except Refused as error:
            self._judge_refusal(error)
            raise

    def _send_start(self, request: ExposureRequest) -> datetime:
        sent_s, sent_at = self._clock.monotonic(), self._clock.now()
        try:
            self._wire.StartExposure(float(request.duration_s), request.light)
        except DeviceLost as error:
            if self._wire.line.closed.is_set() or self._status.activity() not in AT_WORK:
                raise
            log.warning("exposure.start_unanswered", device=self._label, detail=error.detail)
            self._ours = True
            return sent_at
        self._ours = True
        # A driver that answers only when the exposure is over began when it was asked
        whole_exposure = self._clock.monotonic() - sent_s >= request.duration_s
        return sent_at if whole_exposure else self._clock.now()

    def _judge_refusal(self, error: Refused) -> bool:
        """Raise the error that explains a refused start, when CameraState shows it; return whether it works for us."""
        activity = self._status.activity()
        if activity is CameraStates.ERROR:
            raise ExposureFailed(device=self._label, detail=error.detail, number=error.number) from error
        if activity in AT_WORK and not self._ours:
            detail = f"it is {word_of(activity)}, and not for us"
            raise CameraBusy(device=self._label, detail=detail, number=error.number) from error
        return activity in AT_WORK

    def _new_image(
        self,
        request: ExposureRequest,
        info: CameraInfo,
        size: tuple[int, int],
        ready: Ready,
        wake: threading.Event | None,
    ) -> tuple[Image, Ready]:
        """Fetch the image; one that is the image before is asked for again a moment later.

        Returns the image, and how the camera stood before it was fetched; when no other image came, before it was
        fetched first, so that a camera that is ready too early is called so.
        """
        first = ready
        again = self._awaiting.another(request.duration_s, stale_s=self._stale_s)
        while True:
            image = self._unsigned(self._fetch(request, size, wake), info)
            repeats = mark_of(image.pixels) == self._mark
            later = again.ready(wake) if repeats else None
            if wake is not None and wake.is_set():
                self._cancel(info)
            if later is None:
                self._mark = mark_of(image.pixels)
                self._repeated = self._repeated + 1 if repeats else 0
                return image, first if repeats else ready
            ready = later

    @property
    def _stale_s(self) -> float:
        """How long another image is waited for: two saturated ones may be equal, more are a habit."""
        return self._times.stale_s if self._repeated < ALWAYS_REPEATS else 0.0

    def _fetch(self, request: ExposureRequest, size: tuple[int, int], wake: threading.Event | None) -> Image:
        before_s = self._clock.real()
        try:
            image = self._download.fetch(num_x=size[0], num_y=size[1], wake=wake, until=request.until)
        except ExposureStalled as error:
            if wake is None or not wake.is_set():
                raise
            raise Cancelled(device=self._label, detail="stopped; the image was not waited for") from error
        self._download_s = self._clock.real() - before_s
        return image

    def _unsigned(self, image: Image, info: CameraInfo) -> Image:
        pixels = as_unsigned(image.pixels, info.max_adu)
        if pixels is image.pixels:
            return image
        if not self._warned:
            self._warned = True
            log.warning("image.negative_values_read_as_unsigned", device=self._label, wire_type=image.wire_type)
        return replace(image, pixels=pixels)

    def _cancel(self, info: CameraInfo) -> NoReturn:
        try:
            self.abort(info)
        except DriverError as error:
            raise Cancelled(device=self._label, detail=f"stopped; the abort failed: {error.detail}") from error
        raise Cancelled(device=self._label, detail="stopped; the exposure was aborted")


def _instant(value: Any) -> datetime:
    """Return LastExposureStartTime, in UTC by definition."""
    found = datetime.fromisoformat(text(value))
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
