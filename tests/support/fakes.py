"""Devices for tests: implementations of the protocols of `drivers.base` on any clock, with faults by script.

Not mocks: a camera exposes, a cooler has a time constant, a cover moves. What a test wants to go wrong it puts into the
lists of the device (`expose_errors`, `connect_errors` …), one entry a call.
"""

import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np

from calibration.frames import Pixels
from drivers.base import (
    CalibratorStatus,
    CameraInfo,
    CameraSettings,
    CameraState,
    CameraStates,
    CoverStatus,
    Exposure,
    ExposureRequest,
    PanelInfo,
    PanelState,
    SensorType,
    SettingMode,
)
from drivers.clock import Clock
from drivers.errors import Cancelled, DeviceLost, ExposureFailed, FilterFailed, Refused
from tests.support.fake_plant import Plant

INFO = CameraInfo(
    name="Fake camera",
    unique_id="fake-1",
    description="a camera for tests",
    interface_version=4,
    sensor_name="FAKE1",
    sensor_type=SensorType.MONOCHROME,
    bayer_offset_x=None,
    bayer_offset_y=None,
    camera_x_size=96,
    camera_y_size=64,
    pixel_size_x_um=3.76,
    pixel_size_y_um=3.76,
    max_bin_x=4,
    max_bin_y=4,
    can_asymmetric_bin=False,
    exposure_min_s=0.001,
    exposure_max_s=3600.0,
    exposure_resolution_s=0.001,
    max_adu=65535,
    electrons_per_adu=0.33,
    full_well_capacity_e=51_000.0,
    has_shutter=False,
    can_abort=True,
    can_stop=False,
    can_set_temperature=True,
    can_get_cooler_power=True,
    has_temperature=True,
    gain_mode=SettingMode.VALUE,
    gain_min=0,
    gain_max=100,
    gains=(),
    offset_mode=SettingMode.VALUE,
    offset_min=0,
    offset_max=255,
    offsets=(),
    readout_modes=("Photographic", "High gain"),
    supported_actions=(),
)


@dataclass
class Scene:
    """What falls on the fake sensor: `rate_adu_s` at full brightness, through the filter in the beam."""

    rate_adu_s: float = 10_000.0
    throughput: Callable[[], float] = lambda: 1.0
    brightness: Callable[[], float] = lambda: 0.0


class FakeCamera:
    """A camera with a plant for a cooler and noise that never repeats."""

    def __init__(
        self, clock: Clock, *, info: CameraInfo = INFO, scene: Scene | None = None, plant: Plant | None = None
    ) -> None:
        self._clock = clock
        # a camera is locked by its id for the whole machine, and other workers have one, too
        self._info = replace(info, unique_id=info.unique_id and f"{info.unique_id}-{os.getpid()}")
        self._scene = scene or Scene()
        self.plant = plant or Plant(clock)
        self._rng = np.random.default_rng(7)
        self._settings = _full_frame(CameraSettings(readout_mode=0, gain=26, offset=25), info)
        self.connected = False
        self.activity = CameraStates.IDLE
        self.calls: list[str] = []
        self.exposed: list[ExposureRequest] = []
        self.expose_errors: deque[Exception | None] = deque()
        self.connect_errors: deque[Exception | None] = deque()
        self.state_errors: deque[Exception | None] = deque()
        self.pixels_of: deque[Callable[[Pixels], Pixels]] = deque()
        self.slipped_in: deque[float | None] = deque()
        """Seconds of another program's exposures, whose images come instead of ours; None: ours comes."""
        self.frozen_c: float | None = None
        self.on_expose: Callable[[], None] = lambda: None
        self.makes_s: Callable[[float], float] = lambda asked_s: asked_s
        """The exposure that it makes, in seconds, and reports, of the one that it is asked for."""

    @property
    def info(self) -> CameraInfo:
        """What it says of itself."""
        return self._info

    def connect(self) -> None:
        self.calls.append("connect")
        _raise_next(self.connect_errors)
        self.connected = True

    def disconnect(self) -> None:
        self.calls.append("disconnect")
        self.connected = False

    def close(self) -> None:
        self.calls.append("close")

    def apply(self, wanted: CameraSettings) -> CameraSettings:
        self.calls.append("apply")
        if wanted.gain is not None and wanted.gain > (self._info.gain_max or 0):
            raise Refused(device=self._info.name, detail=f"gain {wanted.gain} is out of range", number=0x401)
        changes = {n: v for n in CameraSettings.__slots__ if (v := getattr(wanted, n)) is not None}
        merged = replace(self._settings, **changes)
        self._settings = merged if wanted.num_x is not None else _full_frame(merged, self._info)
        return self._settings

    def settings(self) -> CameraSettings:
        self.calls.append("settings")
        return self._settings

    def change_behind_our_back(self, **changes: int) -> None:
        """Another program sets something."""
        self._settings = replace(self._settings, **changes)

    def expose(self, request: ExposureRequest, wake: threading.Event | None = None) -> Exposure:
        self.calls.append("expose")
        _raise_next(self.expose_errors)
        self.on_expose()
        begin_c, started = self._reading(), self._clock.now()
        start_s = self._clock.monotonic()
        self.exposed.append(request)
        self.activity = CameraStates.EXPOSING
        if self._clock.sleep(self.makes_s(request.duration_s), wake):
            self.activity = CameraStates.IDLE
            raise Cancelled(device=self._info.name, detail="told to stop")
        self.activity = CameraStates.IDLE
        theirs_s = self.slipped_in.popleft() if self.slipped_in else None
        seen = replace(request, duration_s=self.makes_s(request.duration_s) if theirs_s is None else theirs_s)
        pixels = self._pixels(seen)
        if self.pixels_of:
            pixels = self.pixels_of.popleft()(pixels)
        return Exposure(
            pixels=pixels,
            started_at=started,
            ended_at=started + timedelta(seconds=request.duration_s),
            reported_start=started,
            reported_duration_s=seen.duration_s,
            returned_after_s=self._clock.monotonic() - start_s,
            download_s=0.1,
            temperature_begin_c=begin_c,
            temperature_end_c=self._reading(),
            wire_type="uint16",
        )

    def abort(self) -> None:
        self.calls.append("abort")
        self.activity = CameraStates.IDLE

    def state(self) -> CameraState:
        _raise_next(self.state_errors)
        reading_c = self._reading()
        cooled = self._info.can_set_temperature
        return CameraState(
            activity=self.activity,
            image_ready=self.activity is CameraStates.IDLE,
            ccd_temperature_c=reading_c,
            set_temperature_c=self.plant.set_c if cooled else None,
            cooler_on=self.plant.on if cooled else None,
            cooler_power_pct=self.plant.power_pct if self._info.can_get_cooler_power else None,
        )

    def set_temperature(self, celsius: float) -> None:
        self.calls.append(f"set_temperature {celsius:.2f}")
        self.plant.run()
        self.plant.set_c = celsius

    def set_cooler(self, on: bool) -> None:
        self.calls.append(f"set_cooler {on}")
        self.plant.run()
        self.plant.on = on

    def _reading(self) -> float | None:
        if not self._info.has_temperature:
            return None
        reading_c = self.plant.reading_c()
        return reading_c if self.frozen_c is None else self.frozen_c

    def _pixels(self, request: ExposureRequest) -> Pixels:
        settings = self._settings
        shape = (settings.num_y or 0, settings.num_x or 0)
        level = 300.0 + 8 * (settings.offset or 0) + 0.02 * request.duration_s
        light = self._scene.rate_adu_s * self._scene.brightness() * self._scene.throughput() * request.duration_s
        signal = self._rng.normal(level + light, np.sqrt(25.0 + light / 3), shape)
        return np.clip(np.rint(signal), 0, 65535).astype(np.uint16)


class FakeWheel:
    """A filter wheel that can stick."""

    def __init__(self, clock: Clock, names: tuple[str, ...] = ("L", "Ha", "Dark")) -> None:
        self._clock = clock
        self._names = self.labels = names
        self._position = 0
        self.moves: list[str] = []
        self.errors: deque[Exception | None] = deque()
        self.stuck = False
        self.connected = False

    @property
    def names(self) -> tuple[str, ...]:
        """Filter names."""
        return self._names

    def connect(self) -> None:
        self.connected = True

    def disconnect(self) -> None:
        self.connected = False

    def close(self) -> None:
        pass

    def position(self) -> int | None:
        return self._position

    def current(self) -> str | None:
        _raise_next(self.errors)
        return self._names[self._position]

    def select(self, name: str, wake: threading.Event | None = None) -> str:
        if self.stuck:
            raise FilterFailed(device="fake wheel", detail=f"did not reach {name}")
        self.moves.append(name)
        self._position = self._names.index(name)
        _pass(self._clock, 2.0, wake)
        return name


class FakePanel:
    """A flip-flat; both threads' driver objects share one of these as they would share one device."""

    def __init__(self, clock: Clock, *, has_cover: bool = True, has_calibrator: bool = True) -> None:
        self._clock = clock
        self._info = PanelInfo(
            name="Fake panel",
            unique_id="panel-1",
            has_cover=has_cover,
            has_calibrator=has_calibrator,
            max_brightness=255 if has_calibrator else 0,
        )
        self.cover = CoverStatus.OPEN if has_cover else CoverStatus.NOT_PRESENT
        self.calibrator = CalibratorStatus.OFF if has_calibrator else CalibratorStatus.NOT_PRESENT
        self.brightness = 0
        self.calls: list[str] = []
        self.errors: deque[Exception | None] = deque()
        self.connect_errors: deque[Exception | None] = deque()
        self.stays_lit = False
        self.off_reads = CalibratorStatus.OFF

    @property
    def info(self) -> PanelInfo:
        """What it has."""
        return self._info

    def connect(self) -> None:
        self.calls.append("connect")
        _raise_next(self.connect_errors)

    def disconnect(self) -> None:
        self.calls.append("disconnect")

    def close(self) -> None:
        self.calls.append("close")

    def state(self) -> PanelState:
        _raise_next(self.errors)
        return PanelState(cover=self.cover, calibrator=self.calibrator, brightness=self.brightness)

    def calibrator_on(self, brightness: int, wake: threading.Event | None = None) -> None:
        self.calls.append(f"on {brightness}")
        self.calibrator, self.brightness = CalibratorStatus.READY, brightness
        _pass(self._clock, 1.0, wake)

    def calibrator_off(self, wake: threading.Event | None = None) -> None:
        self.calls.append("off")
        if not self.stays_lit:
            self.calibrator, self.brightness = self.off_reads, 0

    def open_cover(self, wake: threading.Event | None = None) -> None:
        self.calls.append("open")
        self.cover = CoverStatus.OPEN
        _pass(self._clock, 5.0, wake)

    def close_cover(self, wake: threading.Event | None = None) -> None:
        self.calls.append("close cover")
        self.cover = CoverStatus.CLOSED
        _pass(self._clock, 5.0, wake)


class FakeSafety:
    """A safety monitor that says what a test tells it, or does not answer."""

    def __init__(self) -> None:
        self.safe = True
        self.silent = False
        self.connects = 0

    def connect(self) -> None:
        self.connects += 1
        if self.silent:
            raise DeviceLost(device="fake safety", detail="no answer")

    def disconnect(self) -> None:
        pass

    def close(self) -> None:
        pass

    def is_safe(self) -> bool:
        if self.silent:
            raise DeviceLost(device="fake safety", detail="no answer")
        return self.safe


def failed() -> ExposureFailed:
    """Return the error of an exposure that failed."""
    return ExposureFailed(device="Fake camera", detail="the camera is in its error state")


def lost(detail: str = "connection refused") -> DeviceLost:
    """Return the error of a device that does not answer."""
    return DeviceLost(device="Fake camera", detail=detail)


def _pass(clock: Clock, seconds: float, wake: threading.Event | None) -> None:
    """Wait for a device that goes on with what it was told; raises when the wait is ended."""
    if clock.sleep(seconds, wake):
        raise Cancelled(device="fake", detail="told to stop")


def _raise_next(errors: deque[Exception | None]) -> None:
    if errors and (error := errors.popleft()) is not None:
        raise error


def _full_frame(settings: CameraSettings, info: CameraInfo) -> CameraSettings:
    bin_x, bin_y = settings.bin_x or 1, settings.bin_y or 1
    return replace(
        settings,
        bin_x=bin_x,
        bin_y=bin_y,
        start_x=0,
        start_y=0,
        num_x=info.camera_x_size // bin_x,
        num_y=info.camera_y_size // bin_y,
    )
