"""What `config_calibration_frames.yaml` may say: one frozen model a section, defaults as the user's guide has them.

Names of keys are the guide's. Functions get the section they need, never the whole `Config`. Unknown keys are errors;
sections of the guide's program that nightcal does not use are accepted whole (`IGNORED_SECTIONS`) and named by
`nightcal config check`. Conditions between keys stand in `rules`, older spellings in `spellings`.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.config.access import Access, Section
from services.config.values import (
    Address,
    Binning,
    Celsius,
    Darkness,
    Days,
    FilterName,
    Flag,
    Folder,
    Fraction,
    HeaderAliases,
    OneOrMany,
    Port,
    Positive,
    Real,
    Seconds,
    Setting,
    Text,
    Whole,
)

IGNORED_SECTIONS = ("telescope", "mount", "frame_processing", "overlay", "plate_solve", "logging")
"""Sections of the guide's program that are accepted whole and not used."""

NOT_USED = "accepted from the guide's program, not used here"
"""Description of single keys that are accepted and not used."""


class DarkCapture(Section):
    """`dark_capture`: biases and darks."""

    num_darks: Whole = Field(40, ge=1, le=10_000, description="frames per exposure time, biases included")
    flat_exposure_time: Positive | None = Field(None, description="s; null: the times the flats used")
    science_exposure_time: Annotated[tuple[Positive, ...], OneOrMany, Field(min_length=1)] = Field(
        (5.0,), description="s; one time or a list"
    )
    min_exposure: Seconds = Field(0.001, description="s; exposure of the bias frames")
    max_exposure: Positive = Field(60.0, description="s; factors that lead beyond it are dropped, by name")
    exposure_factors: Annotated[tuple[Positive, ...], OneOrMany] = Field(
        (0.5, 1.0, 2.0, 4.0), description="darks are taken at these multiples of the science time"
    )
    output_dir: Folder = Field("darks", description="folder below the root")
    persistence_wait: Seconds = Field(300.0, description="s to wait after flats before darks are taken")


class FlatCapture(Section):
    """`flat_capture`: flats with automatic exposure."""

    target_count_rate: Fraction = Field(0.5, description="level wanted, as a fraction from pedestal to saturation")
    count_tolerance: Fraction = Field(0.1, description="relative to the target")
    num_flats: Whole = Field(40, ge=1, le=10_000, description="frames per filter")
    min_exposure: Seconds = Field(0.001, description="s")
    max_exposure: Positive = Field(10.0, description="s")
    exposure_step_factor: Real = Field(
        1.5, gt=1, le=100, description="step of the exposure while nothing is known of the light"
    )
    max_adjustment_attempts: Whole = Field(10, ge=1, le=100, description="test frames at most, per filter")
    output_dir: Folder = Field("flats", description="folder below the root")
    start_exposure: Positive | None = Field(None, description="s; null: the geometric middle of the window")
    min_flats: Whole = Field(10, ge=1, le=10_000, description="a sky flat set becomes a master from this many on")
    temperatures: Annotated[tuple[Celsius, ...], OneOrMany] = Field(
        (), description="°C; empty: the first of `temperatures`"
    )
    filters: Annotated[tuple[FilterName, ...], OneOrMany] = Field(
        (), description="names; empty: every filter of the wheel that is not opaque"
    )
    source: Literal["panel", "sky"] = Field("panel", description="where the light comes from")
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

    output_dir: Folder = Field("master_frames", description="folder below the root")
    rejection_method: RejectionMethod = Field(RejectionMethod.SIGMA_CLIP, description="how outliers are left out")
    sigma_threshold: Positive = Field(3.0, le=100, description="limit of the clipping, in sigma")
    normalization_method: Literal["mean", "median", "max"] = Field(
        "mean", description="what of a flat becomes 1; all three robust"
    )
    quality_control: Flag = Field(True, description="measure each master and say `ok` or `suspect`")
    save_individual_masters: Flag = Field(True, description="write the planes (sigma, count, mask) beside each master")
    create_master_bias: Flag = Field(True, description="build the bias")
    create_master_darks: Flag = Field(True, description="build the darks")
    create_master_flats: Flag = Field(True, description="build the flats")
    flat_dark: Literal["matched", "bias"] = Field("matched", description="what is subtracted from a flat")
    memory_mb: Whole = Field(256, ge=16, le=1_000_000, description="for bands of frames in memory")
    enable_calibration: Flag = Field(True, description=NOT_USED)
    auto_load_masters: Flag = Field(True, description=NOT_USED)
    calibration_tolerance: Positive = Field(0.1, description=NOT_USED)


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


class Camera(Section):
    """`video` or `camera`."""

    camera_type: Literal["alpaca", "ascom", "simulator"] = Field("alpaca", description="how the camera is reached")
    video_enabled: Flag = Field(True, description=NOT_USED)
    sensor_width: Positive | None = Field(None, description="mm")
    sensor_height: Positive | None = Field(None, description="mm")
    pixel_size: Positive | None = Field(None, description="µm; used when the camera does not tell")
    type: Literal["mono", "color"] | None = Field(
        None, description="null: as the camera says; color: RGGB where it tells no pattern of its own"
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

    poll: Positive = Field(2.0, description="s between readings")
    stale_after: Positive = Field(10.0, description="s without an answer count as unsafe")
    on_unsafe: Literal["abort", "finish_frame"] = Field("abort", description="what becomes of the frame in flight")


class Hook(Section):
    """One command or URL to call at a moment of a run."""

    command: Annotated[tuple[Text, ...], OneOrMany] | None = Field(
        None, description="program and arguments, as a list; no shell"
    )
    url: Address | None = Field(None, description="called with GET")
    timeout: Positive = Field(60.0, description="s")
    on_failure: Literal["continue", "stop"] = Field("continue", description="what becomes of the run")

    @model_validator(mode="after")
    def _one_of(self) -> "Hook":
        if (self.command is None) == (self.url is None):
            raise ValueError("a hook needs either `command` or `url`")
        return self


class Hooks(Section):
    """`hooks`: the mount, the roof and the lights are the site's."""

    before_run: Hook | None = Field(None, description="before any device is touched")
    after_run: Hook | None = Field(None, description="at the very end: it is given exit code, summary and report")
    before_flats: Hook | None = Field(None, description="light on, telescope to the panel")
    after_flats: Hook | None = Field(None, description="light off")
    before_darks: Hook | None = Field(None, description="roof shut, lights off")
    after_darks: Hook | None = Field(None, description="when the last dark is stored")


AGE_DAYS = {"bias": 90.0, "dark": 60.0, "flat": 0.75}
"""How old the sets of each kind may be and still serve, where a configuration states nothing else."""


class Reuse(Section):
    """`reuse`: how old a set may be and still serve, in hours; days by default."""

    bias_hours: Positive = Field(24 * AGE_DAYS["bias"], description="hours; by default 90 days")
    dark_hours: Positive = Field(24 * AGE_DAYS["dark"], description="hours; by default 60 days")
    flat_hours: Positive = Field(24 * AGE_DAYS["flat"], description="hours; by default those of one night")
    resume_within_hours: Positive = Field(18.0, description="an incomplete set is continued when younger than this")


class Storage(Section):
    """`storage`."""

    root: Text | None = Field(None, description="where everything is written; null: the folder of this file")
    keep_refused: Whole = Field(200, ge=0, description="refused frames kept for inspection")
    keep_raw: Literal["forever", "until_certified"] | Days = Field(
        "forever",
        description="how long frames stay as taken once a master has them; then `nightcal library archive` packs them",
    )
    min_free_mb: Whole = Field(2000, ge=0, description="MB of free space below which a run stops")
    frames_in_flight: Whole = Field(
        2, ge=1, le=64, description="frames in memory that wait to be checked and written; more ride out a slow disk"
    )


class Site(Section):
    """`site`: for sun and night."""

    latitude: Annotated[Real, Field(ge=-90, le=90)] = Field(description="degrees, north positive")
    longitude: Annotated[Real, Field(ge=-180, le=180)] = Field(description="degrees, east positive")
    elevation: Real = Field(0.0, description="m")


class Observatory(Section):
    """`observatory`: words for the headers."""

    telescope: Text | None = Field(None, description="TELESCOP")
    focal_length: Positive | None = Field(None, description="mm; FOCALLEN")


class Config(Section):
    """The whole file, after `video`/`camera` and other older spellings were joined by the loader."""

    dark_capture: DarkCapture = Field(DarkCapture(), description="biases and darks")
    flat_capture: FlatCapture = Field(FlatCapture(), description="flats with automatic exposure")
    master_frames: MasterFrames = Field(MasterFrames(), description="combining")
    camera: Camera = Field(Camera(), description="the camera; also spelled `video`")
    cooling: Cooling | None = Field(None, description="absent: the cooler is left as found")
    filter_wheel: FilterWheel | None = Field(None, description="absent: there is none")
    flat_panel: FlatPanel | None = Field(None, description="a panel, a cover or both; absent: there is none")
    safety_monitor: SafetyMonitor | None = Field(None, description="absent: there is none")
    darkness: Darkness = Field("cover", description="what makes it dark")
    temperatures: Annotated[tuple[Celsius, ...], OneOrMany] = Field(
        (), description="°C at which darks and biases are taken; empty: the cooling section's"
    )
    gains: Annotated[tuple[Setting, ...], OneOrMany] = Field(
        (), description="gains to cover; empty: the camera section's"
    )
    reuse: Reuse = Field(Reuse(), description="how old a set may be and still serve")
    hooks: Hooks = Field(Hooks(), description="calls to the mount, the roof and the lights")
    storage: Storage = Field(Storage(), description="where files go")
    site: Site | None = Field(None, description="where the telescope stands")
    observatory: Observatory = Field(Observatory(), description="words for the headers")
    header_aliases: HeaderAliases = Field({}, description="what keywords in frames of other programs stand for")


class LoadedConfig(BaseModel):
    """A configuration with where it came from.

    Attributes
    ----------
    config : Config
    path : Path
        The YAML file; relative paths in it start at its folder.
    notes : tuple of str
        What `config check` should print: sections that are not used, older spellings.
    capture_notes : tuple of str
        The same, of what concerns only who takes frames.
    """

    model_config = ConfigDict(frozen=True)

    config: Config
    path: Path
    notes: tuple[str, ...] = ()
    capture_notes: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        """The folder below which everything is written, absolute."""
        folder = self.path.absolute().parent
        return folder if self.config.storage.root is None else folder / Path(self.config.storage.root).expanduser()
