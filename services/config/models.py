"""What `config_calibration_frames.yaml` may say: one frozen model a section, defaults as the user's guide has them.

Names of keys are the guide's. Functions get the section they need, never the whole `Config`. Unknown keys are errors;
sections of the guide's program that nightcal does not use are accepted whole (`IGNORED_SECTIONS`) and named by
`nightcal config check`. Conditions between keys stand in `rules`, older spellings in `spellings`.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.config.access import NOT_USED, Section
from services.config.devices import Camera, Cooling, Dome, FilterWheel, FlatPanel, SafetyMonitor, Telescope
from services.config.programmes import Programme
from services.config.serve import Serve
from services.config.values import (
    Address,
    Celsius,
    Darkness,
    Days,
    FilterName,
    Flag,
    Folder,
    Fraction,
    HeaderAliases,
    OneOrMany,
    Positive,
    Real,
    Seconds,
    Setting,
    Text,
    Whole,
)

IGNORED_SECTIONS = ("telescope", "mount", "frame_processing", "overlay", "plate_solve", "logging")
"""Sections of the guide's program that are accepted whole and not used; `telescope` only without `device_id`."""


class DarkCapture(Section):
    """`dark_capture`: biases and darks."""

    num_darks: Whole = Field(40, ge=1, le=10_000, description="frames per exposure time, biases included")
    num_biases: Whole | None = Field(None, ge=1, le=10_000, description="bias frames; null: num_darks")
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

    @property
    def bias_count(self) -> int:
        """Frames of the bias set."""
        return self.num_darks if self.num_biases is None else self.num_biases


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
    flat_dark: Literal["matched", "bias", "model"] = Field("matched", description="what is subtracted from a flat")
    memory_mb: Whole = Field(256, ge=16, le=1_000_000, description="for bands of frames in memory")
    enable_calibration: Flag = Field(True, description=NOT_USED)
    auto_load_masters: Flag = Field(True, description=NOT_USED)
    calibration_tolerance: Positive = Field(0.1, description=NOT_USED)


ModelKindName = Literal["bias", "dark", "flat"]
MODEL_KINDS: tuple[ModelKindName, ...] = ("bias", "dark", "flat")
"""Of what models are made by default."""


class Models(Section):
    """`models`: what the detector does at temperatures that nobody measured; `auto` and `off` may stand alone."""

    fit: Literal["auto", "off"] = Field("auto", description="after masters, whatever the frames support; off: never")
    kinds: Annotated[tuple[ModelKindName, ...], OneOrMany] = Field(
        MODEL_KINDS, min_length=1, description="what is modelled"
    )
    max_error: Fraction = Field(
        0.001, description="of a flat's light: a dark that is predicted with a larger error is not used"
    )
    max_beyond: Annotated[Real, Field(ge=0, le=20)] = Field(
        0.0, description="°C beyond the temperatures that were measured at which a prediction is still used"
    )


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
    flat_hours: Positive | None = Field(
        None, description="hours; null: those of one night (18), with programmes and in `nightcal serve` 7 days"
    )
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
    models: Models = Field(
        Models(),
        description="models of the detector",
        json_schema_extra={"x-allowed": "auto, off, or a section of keys"},
    )
    camera: Camera = Field(Camera(), description="the camera; also spelled `video`")
    cooling: Cooling | None = Field(
        None,
        description="absent: the cooler is left as found",
        json_schema_extra={"x-allowed": "required, if_available, off, or a section of keys"},
    )
    filter_wheel: FilterWheel | None = Field(None, description="absent: there is none")
    flat_panel: FlatPanel | None = Field(None, description="a panel, a cover or both; absent: there is none")
    safety_monitor: SafetyMonitor | None = Field(None, description="absent: there is none")
    dome: Dome | None = Field(None, description="the roof, only read; absent: nobody knows whether it is open")
    telescope: Telescope | None = Field(None, description="the mount, only read; absent: nobody knows where it points")
    darkness: Darkness = Field("cover", description="what makes it dark")
    temperatures: Annotated[tuple[Celsius, ...], OneOrMany] = Field(
        (), description="°C at which darks and biases are taken; empty: the cooling section's"
    )
    gains: Annotated[tuple[Setting, ...], OneOrMany] = Field(
        (), description="gains to cover; empty: the camera section's"
    )
    programmes: tuple[Programme, ...] = Field((), description="which masters must exist; empty: those of this file")
    serve: Serve = Field(Serve(), description="`nightcal serve`: when it works, and who hears of it")
    reuse: Reuse = Field(
        Reuse(),
        description="how old a set may be and still serve",
        json_schema_extra={"x-allowed": "hours, or a section of keys"},
    )
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
    served : tuple of str and int, optional
        Host and port of a simulated observatory that goes on after the run; None: a simulated run has its own.
    """

    model_config = ConfigDict(frozen=True)

    config: Config
    path: Path
    notes: tuple[str, ...] = ()
    capture_notes: tuple[str, ...] = ()
    served: tuple[str, int] | None = None

    @property
    def root(self) -> Path:
        """The folder below which everything is written, absolute."""
        folder = self.path.absolute().parent
        return folder if self.config.storage.root is None else folder / Path(self.config.storage.root).expanduser()
