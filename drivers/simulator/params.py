"""What a simulated observatory is made of: frozen records with the numbers of a QHY600M, at any size of frame.

`presets` has ready-made observatories, and builds one from a plain mapping.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from drivers.base import SettingMode
from drivers.simulator.detector_parameters import DetectorParameters, require
from drivers.simulator.faults import FaultScript


class Transmission(StrEnum):
    """Element type of ImageBytes on the wire."""

    UINT16 = "uint16"
    INT32 = "int32"
    SHRINK = "shrink"
    """As .NET servers do: the smallest of Byte, Int16, UInt16 that holds the values of *this* frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingParameters:
    """Gain or offset: how the camera takes it.

    `values` are the gains (offsets) behind `names` in index mode; `default` is in the mode's units (an index there).
    """

    mode: SettingMode = SettingMode.VALUE
    minimum: int = 0
    maximum: int = 100
    default: int = 26
    names: tuple[str, ...] = ("0", "26", "60", "100")
    values: tuple[int, ...] = (0, 26, 60, 100)

    def __post_init__(self) -> None:
        require(self.minimum <= self.maximum, "minimum must not exceed maximum")
        require(len(self.names) == len(self.values) > 0, "names and values must be equally many")
        low, high = (0, len(self.values) - 1) if self.mode is SettingMode.INDEX else (self.minimum, self.maximum)
        require(low <= self.default <= high, f"default must be in {low}..{high}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutModeParameters:
    """One readout mode, relative to the detector's numbers."""

    name: str
    e_per_adu_factor: float = 1.0
    read_noise_factor: float = 1.0
    full_well_factor: float = 1.0
    pedestal_adu: float = 0.0

    def __post_init__(self) -> None:
        require(min(self.e_per_adu_factor, self.read_noise_factor, self.full_well_factor) > 0, "factors must be > 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoolerParameters:
    """A thermoelectric cooler and what surrounds it.

    Attributes
    ----------
    can_set, can_get_power, has_temperature : bool
        What the camera offers. Without `can_set` the sensor follows the surroundings.
    ambient_c, ambient_drift_c_per_hour, self_heating_c : float
        Of the camera's surroundings, which drift for half a day; how much warmer an uncooled sensor is.
    max_delta_c : float
        Below ambient, at full power.
    tau_s : float
        Thermal time constant of the sensor.
    response_s, damping : float
        Of the firmware's control loop; damping 0.3 overshoots by a third of the last step.
    ramp_c_per_min : float
        The firmware's own limit.
    ripple_c : float
        Amplitude of the slow oscillation that stays.
    reading_step_c : float
        Quantisation of CCDTemperature.
    set_point_min_c, set_point_max_c : float
        Set-points accepted.
    """

    can_set: bool = True
    can_get_power: bool = True
    has_temperature: bool = True
    ambient_c: float = 18.0
    ambient_drift_c_per_hour: float = -0.3
    self_heating_c: float = 4.0
    max_delta_c: float = 38.0
    tau_s: float = 150.0
    response_s: float = 12.0
    damping: float = 0.9
    ramp_c_per_min: float = 12.0
    ripple_c: float = 0.02
    reading_step_c: float = 0.1
    set_point_min_c: float = -80.0
    set_point_max_c: float = 40.0

    def __post_init__(self) -> None:
        positive = min(self.max_delta_c, self.tau_s, self.response_s, self.damping, self.ramp_c_per_min)
        require(positive > 0, "max_delta_c, tau_s, response_s, damping and ramp_c_per_min must be > 0")
        require(self.reading_step_c >= 0, "reading_step_c must be >= 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraParameters:
    """A camera: what it offers on the wire, and its detector and cooler.

    `reported_max_adu` and `reported_e_per_adu` are what MaxADU and ElectronsPerADU say where they lie (0: not
    implemented). `mode_resets_gain`: choosing a readout mode puts gain and offset back to their defaults.
    `image_bytes` False: JSON only. `download_s` passes between the end of an exposure and ImageReady.
    """

    name: str = "Simulated QHY600M"
    sensor_name: str = "IMX455"
    description: str = "nightcal simulated camera"
    interface_version: int = 4
    width: int = 1197
    height: int = 798
    pixel_size_um: float = 3.76
    colour: bool = False
    bayer_offset_x: int = 0
    bayer_offset_y: int = 0
    exposure_min_s: float = 1e-4
    exposure_max_s: float = 3600.0
    exposure_resolution_s: float = 1e-6
    connect_s: float = 1.0
    download_s: float = 0.5
    has_shutter: bool = False
    can_abort: bool = True
    can_stop: bool = True
    max_bin: int = 4
    can_asymmetric_bin: bool = False
    bin_sum: bool = False
    gain: SettingParameters = SettingParameters()
    offset: SettingParameters = SettingParameters(
        maximum=255, default=25, names=("low", "normal", "high"), values=(10, 25, 50)
    )
    readout_modes: tuple[ReadoutModeParameters, ...] = (
        ReadoutModeParameters(name="Photographic"),
        ReadoutModeParameters(
            name="Extended fullwell",
            e_per_adu_factor=1.5,
            read_noise_factor=1.6,
            full_well_factor=1.55,
            pedestal_adu=60.0,
        ),
    )
    mode_resets_gain: bool = False
    reported_max_adu: int | None = None
    reported_e_per_adu: float | None = None
    transmission: Transmission = Transmission.UINT16
    image_bytes: bool = True
    detector: DetectorParameters = field(default_factory=DetectorParameters)
    cooler: CoolerParameters = CoolerParameters()

    def __post_init__(self) -> None:
        require(self.interface_version in {3, 4}, "interface_version must be 3 or 4")
        require(16 <= self.width <= 20_000 and 16 <= self.height <= 20_000, "width and height must be in 16..20000")
        require(0 <= self.exposure_min_s < self.exposure_max_s, "exposure_min_s must be below exposure_max_s")
        require(1 <= self.max_bin <= 8, "max_bin must be in 1..8")
        require(len(self.readout_modes) > 0, "readout_modes must not be empty")
        require(self.bayer_offset_x in {0, 1} and self.bayer_offset_y in {0, 1}, "bayer offsets must be 0 or 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterParameters:
    """A filter: the fraction of the panel's and the sky's light that it passes. 0 is opaque."""

    name: str
    throughput: float = 1.0

    def __post_init__(self) -> None:
        require(0 <= self.throughput <= 1, "throughput must be in 0..1")


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelParameters:
    """A filter wheel. `homing_s` passes after connecting, `slot_s` for each position moved."""

    name: str = "Simulated filter wheel"
    interface_version: int = 3
    slot_s: float = 0.8
    homing_s: float = 2.0
    filters: tuple[FilterParameters, ...] = (
        FilterParameters(name="L"),
        FilterParameters(name="R", throughput=0.32),
        FilterParameters(name="G", throughput=0.35),
        FilterParameters(name="B", throughput=0.28),
        FilterParameters(name="Ha", throughput=0.035),
        FilterParameters(name="OIII", throughput=0.04),
        FilterParameters(name="SII", throughput=0.03),
    )

    def __post_init__(self) -> None:
        require(self.interface_version in {2, 3}, "interface_version must be 2 or 3")
        require(len(self.filters) > 0, "filters must not be empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelParameters:
    """A cover calibrator.

    Attributes
    ----------
    has_cover, has_calibrator : bool
    on_cover : bool
        The light sits on the cover (a flip-flat): it reaches the telescope when that is closed. Otherwise when open.
    on_closes_cover : bool
        CalibratorOn moves the cover to where the light is seen.
    max_brightness : int
        1: an on/off panel.
    light_e_s : float
        Light at full brightness on a central pixel without filter.
    ready_s, warmup, warmup_tau_s : float
        Until Ready; the excess of light when just switched on, and the time in which it goes.
    pwm_hz : float
        Frequency at which brightness is chopped; 0: none.
    flicker : float
        Random change of the light from exposure to exposure (sigma, relative).
    """

    name: str = "Simulated flat panel"
    interface_version: int = 2
    has_cover: bool = True
    has_calibrator: bool = True
    on_cover: bool = True
    on_closes_cover: bool = False
    max_brightness: int = 255
    light_e_s: float = 250_000.0
    ready_s: float = 2.0
    cover_s: float = 5.0
    warmup: float = 0.03
    warmup_tau_s: float = 20.0
    pwm_hz: float = 0.0
    flicker: float = 5e-4

    def __post_init__(self) -> None:
        require(self.interface_version in {1, 2}, "interface_version must be 1 or 2")
        require(self.max_brightness >= 1, "max_brightness must be >= 1")
        require(self.warmup_tau_s > 0 and self.warmup > -1, "warmup must be > -1, warmup_tau_s > 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyParameters:
    """A safety monitor; faults make it unsafe."""

    name: str = "Simulated safety monitor"
    interface_version: int = 3

    def __post_init__(self) -> None:
        require(self.interface_version in {2, 3}, "interface_version must be 2 or 3")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanParameters:
    """A stretch of time, in seconds since the start of the observatory."""

    from_s: float
    to_s: float

    def __post_init__(self) -> None:
        require(self.from_s < self.to_s, "from_s must be below to_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class DomeParameters:
    """A roof, which opens and closes by its script and by order.

    Attributes
    ----------
    has_shutter : bool
        Whether it says how its shutter is.
    open : tuple of SpanParameters or None
        When the script opens it; None: it is open where there is a sky, for ever.
    moves_s : float
        How long opening and closing take.
    """

    name: str = "Simulated roof"
    interface_version: int = 3
    has_shutter: bool = True
    open: tuple[SpanParameters, ...] | None = None
    moves_s: float = 30.0

    def __post_init__(self) -> None:
        require(self.interface_version in {2, 3}, "interface_version must be 2 or 3")
        spans = self.open or ()
        apart = all(a.to_s + self.moves_s <= b.from_s for a, b in pairwise(spans))
        require(apart, "open must be in order, with moves_s between one and the next")


@dataclass(frozen=True, slots=True, kw_only=True)
class TelescopeParameters:
    """A mount. `at_work`: when its script has it track; it is parked otherwise, at `park_altitude_deg`."""

    name: str = "Simulated mount"
    interface_version: int = 4
    can_park: bool = True
    at_work: tuple[SpanParameters, ...] = ()
    park_altitude_deg: float = 0.0
    work_altitude_deg: float = 60.0

    def __post_init__(self) -> None:
        require(self.interface_version in {3, 4}, "interface_version must be 3 or 4")


@dataclass(frozen=True, slots=True, kw_only=True)
class SkyParameters:
    """The sky over an open telescope. `day_e_s` is its light with the sun on the horizon, without filter, per pixel."""

    latitude_deg: float = 50.0
    longitude_deg: float = 10.0
    day_e_s: float = 2.0e6
    night_e_s: float = 1.0
    dex_per_degree: float = 0.42


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneParameters:
    """What falls on the sensor besides the panel: the sky (None: the roof is closed) and a light leak (e-/s)."""

    sky: SkyParameters | None = None
    leak_e_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservatoryParameters:
    """A whole observatory. `seed` makes its detector; the noise of a frame also depends on when it is taken."""

    camera: CameraParameters = CameraParameters()
    wheel: WheelParameters | None = WheelParameters()
    panel: PanelParameters | None = PanelParameters()
    safety: SafetyParameters | None = SafetyParameters()
    dome: DomeParameters | None = DomeParameters()
    telescope: TelescopeParameters | None = TelescopeParameters()
    scene: SceneParameters = SceneParameters()
    faults: tuple[FaultScript, ...] = field(default=())
    management: bool = True
    seed: int = 1

    def __post_init__(self) -> None:
        require(self.seed >= 0, "seed must be >= 0")
