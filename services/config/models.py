"""What `config_calibration_frames.yaml` may say: one frozen model a section, defaults as the user's guide has them.

Names of keys are the guide's. Functions get the section they need, never the whole `Config`. Unknown keys are errors;
sections of the guide's program that nightcal does not use are accepted whole (`IGNORED_SECTIONS`) and named by
`nightcal config check`.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Celsius = Annotated[float, Field(ge=-100, le=60)]

IGNORED_SECTIONS = ("telescope", "mount", "frame_processing", "overlay", "plate_solve", "logging")
"""Sections of the guide's program that are accepted whole and not used."""


class Section(BaseModel):
    """Base of all sections: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class DarkCapture(Section):
    """`dark_capture`: biases and darks."""

    num_darks: int = Field(40, ge=1, le=10_000, description="frames per exposure time, biases included")
    flat_exposure_time: Positive | None = Field(None, description="s; null: the times the flats used")
    science_exposure_time: tuple[Positive, ...] = Field((5.0,), description="s; one time or a list")
    min_exposure: Seconds = Field(0.001, description="s; exposure of the bias frames")
    max_exposure: Positive = Field(60.0, description="s; factors beyond it are dropped, by name")
    exposure_factors: tuple[Positive, ...] = Field((0.5, 1.0, 2.0, 4.0), description="of the science time")
    output_dir: str = "darks"
    persistence_wait: Seconds = Field(300.0, description="s to wait after flats before darks are taken")


class FlatCapture(Section):
    """`flat_capture`: flats with automatic exposure."""

    target_count_rate: Fraction = Field(0.5, description="level wanted, as a fraction from pedestal to saturation")
    count_tolerance: Fraction = Field(0.1, description="relative to the target")
    num_flats: int = Field(40, ge=1, le=10_000)
    min_exposure: Seconds = Field(0.001, description="s")
    max_exposure: Positive = Field(10.0, description="s")
    exposure_step_factor: Annotated[float, Field(gt=1, le=100)] = Field(
        1.5, description="blind bracketing factor while no rate is known"
    )
    max_adjustment_attempts: int = Field(10, ge=1, le=100)
    output_dir: str = "flats"
    start_exposure: Positive | None = Field(None, description="s; null: the geometric middle of the window")
    min_flats: int = Field(10, ge=1, description="a sky flat set becomes a master from this many on")
    temperatures: tuple[Celsius, ...] = Field((), description="°C; empty: the first of `temperatures`")
    filters: tuple[str, ...] = Field((), description="empty: every filter of the wheel that is not opaque")
    source: Literal["panel", "sky"] = "panel"
    saturation_adu: Positive | None = Field(None, description="ADU; null: measured, else MaxADU where it can be true")
    window: tuple[Positive, Positive] = Field((1.0, 5.0), description="s; preferred exposures where brightness adjusts")


class RejectionMethod(StrEnum):
    """How outliers are found when frames are combined."""

    SIGMA_CLIP = "sigma_clip"
    WINSORIZED = "winsorized"
    MAD = "mad"
    MINMAX = "minmax"
    MEDIAN = "median"
    NONE = "none"


class MasterFrames(Section):
    """`master_frames`: combining."""

    output_dir: str = "master_frames"
    rejection_method: RejectionMethod = RejectionMethod.SIGMA_CLIP
    sigma_threshold: Annotated[float, Field(gt=0, le=100)] = 3.0
    normalization_method: Literal["mean", "median", "max"] = "mean"
    quality_control: bool = True
    save_individual_masters: bool = Field(True, description="write the planes (sigma, count, mask) beside each master")
    create_master_bias: bool = True
    create_master_darks: bool = True
    create_master_flats: bool = True
    flat_dark: Literal["matched", "bias", "model"] = "matched"
    memory_mb: int = Field(256, ge=16, description="for bands of frames in memory")
    enable_calibration: bool = Field(True, description="accepted from the guide's program, not used here")
    auto_load_masters: bool = Field(True, description="accepted from the guide's program, not used here")
    calibration_tolerance: Positive = Field(0.1, description="accepted from the guide's program, not used here")


class CoolingPolicy(StrEnum):
    """What to do when the set-point cannot be reached."""

    STOP = "stop"
    CONTINUE_MARKED = "continue_marked"
    RAISE_SETPOINT = "raise_setpoint"


class Cooling(Section):
    """`cooling`, also accepted inside `camera`: the keys of the guide's program and the numbers of the ramp."""

    mode: Literal["required", "if_available", "off"] = "if_available"
    enable_cooling: bool = Field(True, description="false: the cooler is left as found")
    target_temperature: Celsius | None = Field(None, description="°C; null: the first of `temperatures`")
    wait_for_cooling: bool = True
    cooling_timeout: Positive = Field(1800.0, description="s")
    ramp_rate: Positive = Field(5.0, le=30, description="°C per minute down")
    stabilization_tolerance: Positive = Field(0.3, description="°C")
    stable_time: Positive = Field(120.0, description="s that temperature must hold")
    frame_tolerance: Positive = Field(0.5, description="°C from the set-point at both ends of a frame")
    on_dark_failure: CoolingPolicy = CoolingPolicy.STOP
    on_flat_failure: CoolingPolicy = CoolingPolicy.CONTINUE_MARKED
    warmup_at_end: bool = Field(False, description="false: the cooler is left as found")
    warmup_rate: Positive = Field(2.0, le=30, description="°C per minute up")
    warmup_final_temp: Celsius = 15.0
    status_interval: Positive = Field(30.0, description="s between two lines in the log")
    warmup_min_duration_s: Seconds = 60.0
    warmup_consecutive_above: int = Field(3, ge=1)
    warmup_check_interval_s: Positive = 5.0


class AlpacaCamera(Section):
    """`alpaca` or `ascom` inside the camera section: where the camera is and how it is set."""

    host: str = "localhost"
    port: int = Field(11111, ge=1, le=65535)
    device_id: int = Field(0, ge=0, description="device number on the server")
    camera_name: str | None = Field(None, description="find it by name through discovery instead of host and port")
    ascom_driver: str | None = Field(None, description="ProgID, for the record: the camera is reached over Alpaca")
    filter_wheel_driver: str | None = Field(None, description="ProgID, for the record: see `filter_wheel`")
    exposure_time: Positive | None = Field(None, description="s; accepted from the guide's program, not used here")
    gain: int | None = Field(None, description="null: left as found")
    offset: int | None = Field(None, description="null: left as found")
    gain_mode: Literal["auto", "value", "index"] = Field("auto", description="for cameras that offer both")
    readout_mode: int | str | None = Field(None, description="number or name; null: left as found")
    binning: int | tuple[int, int] | None = Field(None, description="null: 1")


class SimulatorCamera(Section):
    """`simulator` inside the camera section: the embedded simulated observatory."""

    config: str | None = Field(None, description="YAML of an observatory as for `nightcal simulate --config`")
    rate: Positive = Field(60.0, description="simulated seconds in a real one")
    seed: int = 1
    width: int = Field(1197, ge=16, le=20_000, description="px; 9576 for the full QHY600M")
    height: int = Field(798, ge=16, le=20_000, description="px; 6388 for the full QHY600M")
    gain: int | None = None
    offset: int | None = None
    readout_mode: int | str | None = None
    binning: int | tuple[int, int] | None = None


class Camera(Section):
    """`video` or `camera`."""

    camera_type: Literal["alpaca", "ascom", "simulator", "opencv"] = "alpaca"
    video_enabled: bool = Field(True, description="accepted from the guide's program, not used here")
    sensor_width: Positive | None = Field(None, description="mm")
    sensor_height: Positive | None = Field(None, description="mm")
    pixel_size: Positive | None = Field(None, description="µm; used when the camera does not tell")
    type: Literal["mono", "color"] | None = None
    bit_depth: int | None = Field(None, ge=8, le=32)
    cooling: Cooling | None = Field(None, description="as the section `cooling`, which may stand here")
    alpaca: AlpacaCamera = AlpacaCamera()
    ascom: AlpacaCamera = AlpacaCamera()
    simulator: SimulatorCamera = SimulatorCamera()
    opencv: dict[str, Any] | None = Field(None, description="accepted from the guide's program, not used here")


class Device(Section):
    """Where an accessory is; host and port default to the camera's."""

    enabled: bool = True
    host: str | None = None
    port: int | None = Field(None, ge=1, le=65535)
    device_id: int = Field(0, ge=0)


class FilterWheel(Device):
    """`filter_wheel`."""

    opaque: tuple[str, ...] = Field((), description="names of positions that are dark; never used for flats")
    settle: Seconds = Field(1.5, description="s after a move")
    timeout: Positive = 120.0


class FlatPanel(Device):
    """`flat_panel`: a cover calibrator."""

    brightness: int | None = Field(None, ge=1, description="null: found together with the exposure")
    cover_for_flats: Literal["leave", "open", "closed"] = Field(
        "closed", description="a flip-flat shines with its cover closed"
    )
    warmup: Seconds = Field(0.0, description="s after switching on, beside the measured settling")
    settle_timeout: Seconds = 120.0
    timeout: Positive = 120.0
    open_by_day: bool = Field(False, description="allow a cover to be opened while the sun is up")


class SafetyMonitor(Device):
    """`safety_monitor`."""

    poll: Positive = Field(2.0, description="s between readings")
    stale_after: Positive = Field(10.0, description="s without an answer are unsafe")
    on_unsafe: Literal["abort", "finish_frame"] = "abort"


class Hook(Section):
    """One command or URL to call at a moment of a run."""

    command: tuple[str, ...] | None = Field(None, description="program and arguments; no shell")
    url: str | None = Field(None, pattern=r"^https?://")
    timeout: Positive = 60.0
    on_failure: Literal["continue", "stop"] = "continue"

    @model_validator(mode="after")
    def _one_of(self) -> "Hook":
        if (self.command is None) == (self.url is None):
            raise ValueError("a hook needs either `command` or `url`")
        return self


class Hooks(Section):
    """`hooks`: the mount, the roof and the lights are the site's."""

    before_run: Hook | None = None
    after_run: Hook | None = None
    before_flats: Hook | None = None
    after_flats: Hook | None = None
    before_darks: Hook | None = None
    after_darks: Hook | None = None


class Reuse(Section):
    """`reuse`: how old a set may be and still serve (hours; one number for every kind, or one each)."""

    bias_hours: Positive = 18.0
    dark_hours: Positive = 18.0
    flat_hours: Positive = 18.0
    resume_within_hours: Positive = Field(18.0, description="an incomplete set is continued when younger than this")


class Storage(Section):
    """`storage`."""

    root: str | None = Field(None, description="null: the folder of this file")
    keep_refused: int = Field(200, ge=0, description="refused frames kept for inspection")
    min_free_mb: int = Field(2000, ge=0, description="stop above this floor of free space")


class Site(Section):
    """`site`: for sun and night."""

    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180, description="degrees, east positive")]
    elevation: float = 0.0


class Observatory(Section):
    """`observatory`: words for the headers."""

    telescope: str | None = None
    focal_length: Positive | None = Field(None, description="mm")


class Config(Section):
    """The whole file, after `video`/`camera` and other older spellings were joined by the loader."""

    dark_capture: DarkCapture = DarkCapture()
    flat_capture: FlatCapture = FlatCapture()
    master_frames: MasterFrames = MasterFrames()
    camera: Camera = Camera()
    cooling: Cooling | None = Field(None, description="absent: the cooler is left as found")
    filter_wheel: FilterWheel | None = None
    flat_panel: FlatPanel | None = None
    safety_monitor: SafetyMonitor | None = None
    darkness: str = Field(
        "cover",
        pattern=r"^(cover|shutter|roof|manual|none|filter:.+)$",
        description="what makes it dark: cover | filter:NAME | shutter | roof | manual | none",
    )
    temperatures: tuple[Celsius, ...] = Field((), description="°C at which darks and biases are taken")
    gains: tuple[int, ...] = Field((), description="gains to cover; empty: the camera section's")
    reuse: Reuse = Reuse()
    hooks: Hooks = Hooks()
    storage: Storage = Storage()
    site: Site | None = None
    observatory: Observatory = Observatory()


class LoadedConfig(BaseModel):
    """A configuration with where it came from.

    Attributes
    ----------
    config : Config
    path : Path
        The YAML file; relative paths in it start at its folder.
    notes : tuple of str
        What `config check` should tell: sections that are not used, older spellings.
    """

    model_config = ConfigDict(frozen=True)

    config: Config
    path: Path
    notes: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        """The folder below which everything is written."""
        folder = self.path.parent
        return folder if self.config.storage.root is None else folder / self.config.storage.root
