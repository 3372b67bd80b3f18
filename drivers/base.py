"""What a device is to the rest of the house: four protocols and the records they exchange, in ASCOM words.

Implementations: `drivers.alpaca` (the wire). Arrays are `[y, x]`; ASCOM's `[x][y]` is turned once, in
`drivers.alpaca.imagebytes`. One driver object belongs to one thread; a second thread takes a second object.
Every waiting call takes `wake`, an event whose setting ends the wait with `Cancelled`.
"""

import threading
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Protocol

from numpy.typing import NDArray


class CameraStates(IntEnum):
    """ICamera.CameraState."""

    IDLE = 0
    WAITING = 1
    EXPOSING = 2
    READING = 3
    DOWNLOAD = 4
    ERROR = 5


class SensorType(IntEnum):
    """ICamera.SensorType."""

    MONOCHROME = 0
    COLOR = 1
    RGGB = 2
    CMYG = 3
    CMYG2 = 4
    LRGB = 5


class SettingMode(StrEnum):
    """How a camera takes its gain or offset: not at all, as a value, as an index in a list, or both.

    Where a camera offers both, the configuration must decide.
    """

    NONE = "none"
    VALUE = "value"
    INDEX = "index"
    BOTH = "both"


class CoverStatus(IntEnum):
    """ICoverCalibrator.CoverState."""

    NOT_PRESENT = 0
    CLOSED = 1
    MOVING = 2
    OPEN = 3
    UNKNOWN = 4
    ERROR = 5


class CalibratorStatus(IntEnum):
    """ICoverCalibrator.CalibratorState."""

    NOT_PRESENT = 0
    OFF = 1
    NOT_READY = 2
    READY = 3
    UNKNOWN = 4
    ERROR = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraInfo:
    """What a camera says of itself after connecting and after each `apply`; None where it does not offer the member."""

    name: str
    unique_id: str | None
    description: str
    interface_version: int
    sensor_name: str | None
    sensor_type: SensorType | None
    bayer_offset_x: int | None
    bayer_offset_y: int | None
    camera_x_size: int
    camera_y_size: int
    pixel_size_x_um: float | None
    pixel_size_y_um: float | None
    max_bin_x: int
    max_bin_y: int
    can_asymmetric_bin: bool
    exposure_min_s: float
    exposure_max_s: float
    exposure_resolution_s: float
    max_adu: int | None
    electrons_per_adu: float | None
    full_well_capacity_e: float | None
    has_shutter: bool
    can_abort: bool
    can_stop: bool
    can_set_temperature: bool
    can_get_cooler_power: bool
    has_temperature: bool
    gain_mode: SettingMode
    gain_min: int | None
    gain_max: int | None
    gains: tuple[str, ...]
    offset_mode: SettingMode
    offset_min: int | None
    offset_max: int | None
    offsets: tuple[str, ...]
    readout_modes: tuple[str, ...]
    supported_actions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSettings:
    """Settings as wanted (None: leave as found) or as read back (None: not offered)."""

    readout_mode: int | None = None
    bin_x: int | None = None
    bin_y: int | None = None
    start_x: int | None = None
    start_y: int | None = None
    num_x: int | None = None
    num_y: int | None = None
    gain: int | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraState:
    """One reading of a camera's changing members; None where not offered or not answered this time."""

    activity: CameraStates | None
    image_ready: bool | None
    ccd_temperature_c: float | None
    set_temperature_c: float | None
    cooler_on: bool | None
    cooler_power_pct: float | None

    @property
    def at_work(self) -> bool:
        """Whether an exposure is under way, ours or another program's."""
        return self.activity not in {None, CameraStates.IDLE, CameraStates.ERROR}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureRequest:
    """`light` False for biases and darks: a camera with a shutter keeps it closed.

    After `until` the image is of no use: a download that would end later is given up (`Cancelled`).
    """

    duration_s: float
    light: bool
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What a camera returned.

    Attributes
    ----------
    pixels : ndarray of uint16 or int32, shape (y, x)
        Values in ADU. uint16 whenever every value fits.
    started_at, ended_at : datetime
        By our clock: when the start was accepted, and `started_at` plus the duration.
    reported_start : datetime or None
        LastExposureStartTime, when offered and readable.
    reported_duration_s : float or None
        LastExposureDuration, when offered.
    returned_after_s : float
        Clock seconds from the start until ImageReady was true for good: shorter than the duration proves a stale frame.
    download_s : float
        Real seconds the transfer took.
    temperature_begin_c, temperature_end_c : float or None
        CCDTemperature before and after.
    wire_type : str
        Transmission type ("uint16", "int32", "json").
    """

    pixels: NDArray[Any]
    started_at: datetime
    ended_at: datetime
    reported_start: datetime | None
    reported_duration_s: float | None
    returned_after_s: float
    download_s: float
    temperature_begin_c: float | None
    temperature_end_c: float | None
    wire_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelInfo:
    """What a cover calibrator has. `max_brightness` is 1 for an on/off panel, 0 without a calibrator."""

    name: str
    unique_id: str | None
    has_cover: bool
    has_calibrator: bool
    max_brightness: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelState:
    """One reading of a cover calibrator; brightness None when not offered."""

    cover: CoverStatus
    calibrator: CalibratorStatus
    brightness: int | None

    @property
    def never_off(self) -> bool:
        """Whether it reads Ready at brightness 0: panels whose driver knows brightness alone are off then."""
        return self.calibrator is CalibratorStatus.READY and self.brightness == 0

    @property
    def lit(self) -> bool:
        """Whether the lamp is on, or may be."""
        return self.calibrator not in {CalibratorStatus.OFF, CalibratorStatus.NOT_PRESENT} and not self.never_off


class Camera(Protocol):
    """A camera. `info` is filled by `connect`."""

    @property
    def info(self) -> CameraInfo:
        """What the camera said of itself; raises `Refused` before `connect`."""
        ...

    def connect(self) -> None:
        """Connect and read `info`; raises `DeviceLost`, `DeviceMissing`, or `WrongDevice` when it changed identity."""
        ...

    def disconnect(self) -> None:
        """Disconnect from the device; never raises for a device that is gone."""
        ...

    def close(self) -> None:
        """Close the sockets, from any thread; a blocked call then fails with `DeviceLost`."""
        ...

    def apply(self, wanted: CameraSettings) -> CameraSettings:
        """Set in the order ReadoutMode, bin, ROI, gain, offset; return what was read back.

        A difference is set once more; still different raises `SettingRefused`. A ROI that is not named becomes the
        full frame of the binning, or what the camera makes of it. What of `info` depends on the settings (`max_adu`,
        `electrons_per_adu`, `full_well_capacity_e`) is afterwards that of these.
        """
        ...

    def settings(self) -> CameraSettings:
        """Read all settings back."""
        ...

    def expose(self, request: ExposureRequest, wake: threading.Event | None = None) -> Exposure:
        """Start an exposure, wait for it, fetch it. StartExposure is never sent twice.

        Raises
        ------
        ExposureFailed, ExposureStalled, BadImage, DeviceLost, Refused, Cancelled
        SizeRefused
            The next `apply` sets another size, which the camera may have.
        """
        ...

    def abort(self) -> None:
        """Abort what runs, or stop it, or wait for Idle; raises `ExposureStalled` when none of it helps."""
        ...

    def state(self) -> CameraState:
        """Read the changing members afresh: never an old value."""
        ...

    def set_temperature(self, celsius: float) -> None:
        """Set the set-point."""
        ...

    def set_cooler(self, on: bool) -> None:  # noqa: FBT001 - the ASCOM property is a boolean
        """Switch the cooler."""
        ...


class FilterWheel(Protocol):
    """A filter wheel."""

    @property
    def names(self) -> tuple[str, ...]:
        """What the filters are called, in order of position: no two are equal."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Names as the wheel's driver has them, in order of position: some may be equal, or empty."""
        ...

    def connect(self) -> None:
        """Connect and read the names."""
        ...

    def disconnect(self) -> None:
        """Disconnect from the device."""
        ...

    def close(self) -> None:
        """Close the sockets, from any thread."""
        ...

    def position(self) -> int | None:
        """Return the position, None while it moves."""
        ...

    def current(self) -> str | None:
        """Return the name of the filter in the beam, read back, None while it moves."""
        ...

    def select(self, name: str, wake: threading.Event | None = None) -> str:
        """Move, wait, settle, read back; return the name read back.

        Raises `FilterFailed`, `DeviceLost` or `Cancelled`.
        """
        ...


class CoverCalibrator(Protocol):
    """A flat panel, a dust cover, or both."""

    @property
    def info(self) -> PanelInfo:
        """What it has."""
        ...

    def connect(self) -> None:
        """Connect and read `info`."""
        ...

    def disconnect(self) -> None:
        """Disconnect from the device."""
        ...

    def close(self) -> None:
        """Close the sockets, from any thread."""
        ...

    def state(self) -> PanelState:
        """Read the state afresh."""
        ...

    def calibrator_on(self, brightness: int, wake: threading.Event | None = None) -> None:
        """Light it and wait for Ready. Raises `PanelFailed`, `DeviceLost`, `Cancelled`."""
        ...

    def calibrator_off(self, wake: threading.Event | None = None) -> None:
        """Switch it off and wait for Off, or for Ready at brightness 0."""
        ...

    def open_cover(self, wake: threading.Event | None = None) -> None:
        """Open and wait for Open."""
        ...

    def close_cover(self, wake: threading.Event | None = None) -> None:
        """Close and wait for Closed."""
        ...


class SafetyMonitor(Protocol):
    """Something that says whether it is safe."""

    def connect(self) -> None:
        """Connect."""
        ...

    def disconnect(self) -> None:
        """Disconnect from the device."""
        ...

    def close(self) -> None:
        """Close the sockets, from any thread."""
        ...

    def is_safe(self) -> bool:
        """Read IsSafe afresh; raises `DeviceLost` rather than answer from memory."""
        ...
