"""An Alpaca camera: settings that are read back, exposures that are started once, waited for and fetched.

What real cameras do is in the rules below: ImageReady may never come or raise, CameraState may be the only one to tell
of a failure, a start may be carried out although its answer was lost. Retakes and reconnections are not done here; the
errors say enough for whoever does them.
"""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from drivers.alpaca.camera_info import read_info, refreshed, with_sensor_type
from drivers.alpaca.camera_settings import Settings
from drivers.alpaca.camera_status import Progress, Status
from drivers.alpaca.download import Download
from drivers.alpaca.identity import Identity
from drivers.alpaca.imagebytes import Image
from drivers.alpaca.pacing import Pace
from drivers.alpaca.transport import CameraWire, Endpoint, Timeouts
from drivers.alpaca.values import number, text
from drivers.base import (
    CameraInfo,
    CameraSettings,
    CameraState,
    CameraStates,
    Exposure,
    ExposureRequest,
    SensorType,
    SettingMode,
)
from drivers.clock import Clock, Deadline
from drivers.errors import (
    CameraBusy,
    Cancelled,
    DeviceLost,
    DriverError,
    ExposureFailed,
    ExposureStalled,
    Refused,
    SettingRefused,
)

_AT_WORK = (CameraStates.WAITING, CameraStates.EXPOSING, CameraStates.READING, CameraStates.DOWNLOAD)

log = structlog.get_logger(__name__)


class AlpacaCamera:
    """A `drivers.base.Camera` over Alpaca: ICameraV4, and V3 and older.

    Parameters
    ----------
    endpoint : Endpoint
    clock : Clock
        The observatory's; sockets use real time all the same.
    timeouts : Timeouts, optional
    gain_mode : SettingMode, optional
        For cameras that answer as if they took their gain by value and by index.
    sensor_type : SensorType, optional
        For drivers that tell a wrong one, or none: monochrome counts in any case, a mosaic only where the camera tells
        of none.
    client_id : int, optional
        Alpaca's ClientID; random when None.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Clock,
        *,
        timeouts: Timeouts | None = None,
        gain_mode: SettingMode | None = None,
        sensor_type: SensorType | None = None,
        client_id: int | None = None,
    ) -> None:
        self._clock = clock
        self._times = timeouts or Timeouts()
        self._gain_mode = gain_mode
        self._sensor_type = sensor_type
        self._wire = CameraWire(endpoint, clock, timeouts=self._times, client_id=client_id)
        self._label = self._wire.label
        self._identity = Identity(self._label)
        self._settings = Settings(self._wire)
        self._status = Status(self._wire)
        self._download = Download(self._wire)
        self._pace = Pace(clock)
        self._info: CameraInfo | None = None
        self._download_s = 0.0
        self._under_way = False  # an exposure of ours whose end was not seen

    @property
    def info(self) -> CameraInfo:
        """What the camera said of itself; raises `Refused` before `connect`."""
        if self._info is None:
            raise Refused(device=self._label, detail="it was not connected yet")
        return self._info

    # --- connecting -------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect and read `info`.

        Raises
        ------
        DeviceLost, DeviceMissing
        WrongDevice
            Name, sensor, size or UniqueID differ from those of the first connection.
        """
        self._wire.open()
        info = read_info(self._wire, unique_id=self._wire.unique_id(), gain_mode=self._gain_mode)
        self._identity.check(
            name=info.name,
            sensor_name=info.sensor_name,
            size=(info.camera_x_size, info.camera_y_size),
            unique_id=info.unique_id,
        )
        self._info = with_sensor_type(info, self._sensor_type)
        self._settings.begin(info)

    def disconnect(self) -> None:
        """Tell the device that we are done, and close; never raises for a device that is gone."""
        self._wire.leave()

    def close(self) -> None:
        """Close the socket, from any thread: a blocked call, and every later one until `connect`, is `DeviceLost`."""
        self._wire.line.close()

    # --- settings ---------------------------------------------------------------------------------------------------

    def apply(self, wanted: CameraSettings) -> CameraSettings:
        """Set in the order ReadoutMode, bin, ROI, gain, offset; read back; set once more what differs.

        A ROI that is not named becomes the full frame of the binning. `info` then tells ElectronsPerADU,
        FullWellCapacity and MaxADU of these settings.

        Raises
        ------
        SettingRefused
            The camera refuses a value, has no such setting, or reads back another value twice.
        DeviceLost
        """
        found = self._settings.apply(wanted)
        self._info = refreshed(self.info, self._wire)
        return found

    def settings(self) -> CameraSettings:
        """Read all settings back."""
        return self._settings.read()

    def readout_mode(self, wanted: int | str) -> int:
        """Return the number of a readout mode given by number or name; raises `SettingRefused` naming all modes."""
        modes = self.info.readout_modes
        folded = [mode.casefold() for mode in modes]
        if isinstance(wanted, str) and wanted.strip().casefold() in folded:
            return folded.index(wanted.strip().casefold())
        if isinstance(wanted, int) and 0 <= wanted < max(1, len(modes)):
            return wanted
        shown = ", ".join(f"{place} {mode!r}" for place, mode in enumerate(modes)) or "none"
        raise SettingRefused(device=self._label, detail=f"it has no readout mode {wanted!r}; it has: {shown}")

    def action(self, name: str, parameters: str = "") -> str:
        """Call an ASCOM Action of `info.supported_actions`; raises `Refused`."""
        return self._wire.action(name, parameters)

    # --- exposing ---------------------------------------------------------------------------------------------------

    def expose(self, request: ExposureRequest, wake: threading.Event | None = None) -> Exposure:
        """Start an exposure, wait for it, fetch it. StartExposure is never sent twice.

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
        num_x, num_y = self._settings.size()
        begin_c = self._status.temperature(self.info)
        sent_s = self._clock.monotonic()
        started_at = self._start(request)
        self._download.prepare(num_x=num_x, num_y=num_y)
        ready = self._wait(sent_s, request.duration_s, wake)
        self._under_way = False
        returned_after_s = self._clock.monotonic() - sent_s
        end_c = ready.ccd_temperature_c
        if end_c is None:
            end_c = self._status.temperature(self.info)
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

    def abort(self) -> None:
        """Abort what runs, or stop it, or wait for Idle; raises `ExposureStalled` when none of it helps."""
        steps = [self._wire.AbortExposure] * self.info.can_abort + [self._wire.StopExposure] * self.info.can_stop
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

    # --- temperature and state --------------------------------------------------------------------------------------

    def state(self) -> CameraState:
        """Read the changing members afresh: never an old value. Raises `DeviceLost` rather than guess."""
        return self._status.full(self.info)

    def set_temperature(self, celsius: float) -> None:
        """Set the set-point; raises `Refused` when the camera cannot, or the value is out of its range."""
        self._wire.SetCCDTemperature = float(celsius)

    def set_cooler(self, on: bool) -> None:  # noqa: FBT001 - the ASCOM property is a boolean
        """Switch the cooler; raises `Refused` when the camera has none."""
        self._wire.CoolerOn = on

    # --- inside -----------------------------------------------------------------------------------------------------

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
        """Raise what a refused start means, when CameraState tells."""
        activity = self._status.activity()
        if activity in _AT_WORK and self._under_way:
            detail = f"it is still {activity.name.lower()} for us, and cannot be aborted"
            raise ExposureStalled(device=self._label, detail=detail, number=error.number) from error
        if activity in _AT_WORK:
            detail = f"it is {activity.name.lower()}, and not for us"
            raise CameraBusy(device=self._label, detail=detail, number=error.number) from error
        if activity is CameraStates.ERROR:
            raise ExposureFailed(device=self._label, detail=error.detail, number=error.number) from error

    def _wait(self, sent_s: float, duration_s: float, wake: threading.Event | None) -> Progress:
        patience_s = max(self._times.exposure_s, 3 * self._download_s)
        real_s = max(self._times.real_s, 3 * self._download_s)
        deadline = Deadline(self._clock, duration_s + patience_s, real_s=real_s)
        while True:
            if self._pace.until(sent_s + duration_s, wake):
                self._cancel()
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

    def _cancel(self) -> None:
        try:
            self.abort()
        except DriverError as error:
            raise Cancelled(device=self._label, detail=f"stopped; the abort failed: {error.detail}") from error
        raise Cancelled(device=self._label, detail="stopped; the exposure was aborted")


def _instant(value: Any) -> datetime:
    """Return LastExposureStartTime, in UTC by definition."""
    found = datetime.fromisoformat(text(value))
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
