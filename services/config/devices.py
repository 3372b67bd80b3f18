"""The devices' sections: the camera with its cooler, the accessories beside it, and what is only read."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from services.config.access import NOT_USED, Access, Section
from services.config.values import (
    Binning,
    Celsius,
    FilterName,
    Flag,
    OneOrMany,
    Port,
    Positive,
    Seconds,
    Setting,
    Text,
    Whole,
)


class CoolingPolicy(StrEnum):
    """What to do when the set-point cannot be reached."""

    STOP = "stop"
    CONTINUE_MARKED = "continue_marked"
    RAISE_SETPOINT = "raise_setpoint"


class Cooling(Section):
    """`cooling`, also accepted inside `camera`: the keys of the guide's program and the numbers of the ramp."""

    mode: Literal["required", "if_available", "off"] = Field(
        "if_available", description="required: without a cooler the run stops"
    )
    enable_cooling: Flag = Field(True, description="false: the cooler is left as found")
    target_temperature: Celsius | None = Field(None, description="°C; null: the first of `temperatures`")
    wait_for_cooling: Flag = Field(True, description="false: start at once, frames are judged by what they measured")
    cooling_timeout: Positive = Field(1800.0, description="s")
    ramp_rate: Positive = Field(5.0, le=30, description="°C per minute down")
    stabilization_tolerance: Positive = Field(0.3, description="°C around the set-point that count as stable")
    stable_time: Positive = Field(120.0, description="s that temperature must hold")
    frame_tolerance: Positive = Field(
        0.5,
        le=0.5,
        description="°C from the set-point at both ends of a frame; beyond 0.5 it counts as another temperature",
    )
    on_dark_failure: CoolingPolicy = Field(CoolingPolicy.STOP, description="when the set-point is not reached: darks")
    on_flat_failure: CoolingPolicy = Field(
        CoolingPolicy.CONTINUE_MARKED, description="when the set-point is not reached: flats"
    )
    warmup_at_end: Flag = Field(False, description="false: the cooler is left as found")
    warmup_rate: Positive = Field(2.0, le=30, description="°C per minute up")
    warmup_final_temp: Celsius = Field(15.0, description="°C at which the cooler is switched off")
    status_interval: Positive = Field(30.0, description="s between two lines in the log")
    warmup_min_duration_s: Seconds = Field(60.0, description="s that warming up takes at least")
    warmup_consecutive_above: Whole = Field(3, ge=1, description="readings above the final temperature that end it")
    warmup_check_interval_s: Positive = Field(5.0, description="s between those readings")


class CameraSettingsSection(Section):
    """How a camera is set: the part that `alpaca`, `ascom` and `simulator` share."""

    gain: Setting | None = Field(None, description="number, or name in the camera's list; null: left as found")
    offset: Setting | None = Field(None, description="number, or name in the camera's list; null: left as found")
    gain_mode: Literal["auto", "value", "index"] = Field(
        "auto", description="what `gain` counts, for cameras that offer both"
    )
    readout_mode: Setting | None = Field(None, description="number or name; null: left as found")
    binning: Binning | None = Field(None, description="one number, or [x, y]; null: 1")

    @property
    def bin_xy(self) -> tuple[int, int]:
        """Binning as (x, y)."""
        return self.binning if isinstance(self.binning, tuple) else (self.binning or 1, self.binning or 1)


class AlpacaCamera(CameraSettingsSection, Access):
    """`alpaca` or `ascom` inside the camera section: where the camera is and how it is set."""

    host: Text | None = Field(
        "localhost", description="name or address of the Alpaca server; null: found by discovery, whatever its port"
    )
    port: Port = Field(11111, description="of the Alpaca server")
    device_id: Whole = Field(0, ge=0, description="device number on the server")
    camera_name: Text | None = Field(None, description="find it by this name instead of its device number")
    discovery_port: Port = Field(32227, description="UDP port of Alpaca discovery")
    ascom_driver: Text | None = Field(None, description="ProgID, for the record: the camera is reached over Alpaca")
    filter_wheel_driver: Text | None = Field(None, description="ProgID, for the record: see `filter_wheel`")
    exposure_time: Positive | None = Field(None, description=NOT_USED)


class SimulatorCamera(CameraSettingsSection):
    """`simulator` inside the camera section: the embedded simulated observatory."""

    config: Text | None = Field(None, description="YAML of an observatory, as for `nightcal simulate --config`")
    rate: Positive = Field(60.0, le=10_000, description="simulated seconds in a real one")
    seed: Whole = Field(1, ge=0, description="another seed is another camera")
    width: Whole = Field(1197, ge=16, le=20_000, description="px; 9576 for the full QHY600M")
    height: Whole = Field(798, ge=16, le=20_000, description="px; 6388 for the full QHY600M")
    filters: Annotated[tuple[FilterName, ...], OneOrMany] = Field(
        (), description="names that its wheel has beside L, R, G, B, Ha, OIII and SII"
    )


class Camera(Section):
    """`video` or `camera`."""

    camera_type: Literal["alpaca", "ascom", "simulator"] = Field("alpaca", description="how the camera is reached")
    video_enabled: Flag = Field(True, description=NOT_USED)
    sensor_width: Positive | None = Field(None, description="mm")
    sensor_height: Positive | None = Field(None, description="mm")
    pixel_size: Positive | None = Field(None, description="µm; used when the camera does not say it")
    type: Literal["mono", "color"] | None = Field(
        None, description="null: as the camera says; color: RGGB where it has no pattern of its own"
    )
    release: Literal["disconnect", "leave"] = Field(
        "disconnect", description="leave: devices shared with other programs stay connected at the end"
    )
    bit_depth: Whole | None = Field(None, ge=8, le=32, description="null: as the camera says")
    cooling: Cooling | None = Field(None, description="as the section `cooling`, which may stand here")
    alpaca: AlpacaCamera = Field(AlpacaCamera(), description="a camera on an Alpaca server")
    ascom: AlpacaCamera = Field(AlpacaCamera(), description="an ASCOM camera behind ASCOM Remote")
    simulator: SimulatorCamera = Field(SimulatorCamera(), description="the simulated observatory")
    opencv: dict[str, Any] | None = Field(None, description=NOT_USED)

    @property
    def active(self) -> AlpacaCamera | SimulatorCamera:
        """The section that `camera_type` names."""
        if self.camera_type == "simulator":
            return self.simulator
        return self.ascom if self.camera_type == "ascom" else self.alpaca

    @property
    def is_simulator(self) -> bool:
        """Whether the embedded simulated observatory is asked for."""
        return self.camera_type == "simulator"


class Device(Access):
    """Where an accessory is; host and port default to the camera's."""

    enabled: Flag = Field(True, description="false: as if the section were not there")
    host: Text | None = Field(None, description="null: the camera's")
    port: Port | None = Field(None, description="null: the camera's")
    device_id: Whole = Field(0, ge=0, description="device number on the server")


class FilterWheel(Device):
    """`filter_wheel`."""

    opaque: Annotated[tuple[FilterName, ...], OneOrMany] = Field(
        (), description="names of positions that are dark; never used for flats"
    )
    settle: Seconds = Field(1.5, description="s after a move")
    timeout: Positive = Field(120.0, description="s for a move")


class FlatPanel(Device):
    """`flat_panel`: a cover calibrator."""

    brightness: Whole | None = Field(None, ge=1, description="null: found together with the exposure")
    cover_for_flats: Literal["leave", "open", "closed"] = Field(
        "closed", description="a flip-flat shines with its cover closed"
    )
    warmup: Seconds = Field(0.0, description="s after switching on, beside the measured settling")
    settle_timeout: Seconds = Field(120.0, description="s the lamp may take to settle")
    timeout: Positive = Field(120.0, description="s for the panel or the cover to get ready")
    open_by_day: Flag = Field(False, description="allow a cover to be opened while the sun is up")


class SafetyMonitor(Device):
    """`safety_monitor`."""

    poll: Positive = Field(2.0, description="s between readings in a run")
    stale_after: Positive = Field(10.0, description="s without an answer count as unsafe")
    on_unsafe: Literal["abort", "finish_frame"] = Field("abort", description="what becomes of the frame in flight")


class Dome(Device):
    """`dome`: only read (ShutterStatus, AtPark); the hooks move it."""


class Telescope(Device):
    """`telescope`: the mount, only read (AtPark, Tracking, Altitude); the hooks move it.

    The guide's program has a section of the same name: its keys may stand here, and without `device_id` it is that one.
    """

    focal_length: Positive | None = Field(None, description=NOT_USED)
    aperture: Positive | None = Field(None, description=NOT_USED)
    type: Text | None = Field(None, description=NOT_USED)
    focal_ratio: Positive | None = Field(None, description=NOT_USED)
