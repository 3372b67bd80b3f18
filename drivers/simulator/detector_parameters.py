"""The numbers of a detector: frozen parameters.

Defaults are facts of the IMX455 (dark 0.011 e-/s at -10 °C, warm pixels 0.02-0.05 %, read noise 1.4-3.5 e-,
telegraph noise in about 1 % of the pixels, gain 0.25-0.8 e-/ADU, full well 51 ke-).
"""

from dataclasses import dataclass


def require(true: bool, what: str) -> None:  # noqa: FBT001 - reads as an assertion
    """Raise `ValueError` saying `what` must hold, unless it does."""
    if not true:
        raise ValueError(what)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorParameters:
    """The physics of the sensor; ADU are those delivered (after a left shift).

    Attributes
    ----------
    bits, left_shift : int, bool
        Of the converter; shifted values are multiples of 2^(16 - bits).
    e_per_adu, gain_decade : float
        K at gain 0, and the units of gain that divide it by ten.
    full_well_e, saturation_adu : float, float or None
        Where charge ends, and where the driver clips when that is below the converter's range.
    nonlinearity : float
        Fraction of the signal that is missing at full well.
    read_noise_low_gain_e, read_noise_high_gain_e, read_noise_gain_scale, read_noise_spread
        Read noise at gain 0 and at high gain, the e-folding gain between, and the log-normal spread over the pixels.
    row_noise_adu, frame_noise_adu, session_offset_adu, first_frame_adu : float
        Common to a row of one frame, to a frame, to a night, and to the first frame after a change of mode.
    pedestal_adu, adu_per_offset, adu_per_gain : float
        Level = pedestal + offset x adu_per_offset + gain x adu_per_gain (+ the drift below).
    bias_pixel_adu, bias_column_adu, bias_row_adu, bias_gradient_adu : float
        Fixed pattern: sigma of pixels, columns, rows; peak to peak of the smooth part.
    drift_adu_per_c, drift_spread_adu_per_c : float
        Slope of the bias with temperature (at 0 °C), and its spread over the pixels.
    dark_diffusion_e_s, dark_depletion_e_s, dark_spread : float
        The two components of dark current at 20 °C (means), and the log-normal spread of the trap density.
    readout_dark_s : float
        Seconds of dark current that every readout adds.
    hot_fraction, hot_min_e_s, hot_max_e_s : float
        Hot pixels, their depletion dark current log-uniform between the limits, at 20 °C.
    telegraph_fraction, telegraph_e : float
        Pixels with random telegraph noise, and the mean of their jumps.
    glow_e, glow_tau_s : float
        Amplifier glow in the corner: its limit at long exposures, and its time.
    prnu, vignetting, illumination_gradient : float
        Sigma of the response; light lost in the corners; peak to peak of the linear gradient.
    dust, dust_depth : int, float
        Shadows on the window and on each filter, and their mean depth.
    colour_throughput : (float, float, float)
        Of red, green and blue pixels of a colour sensor.
    cosmic_rays_per_cm2_min, cosmic_ray_e : float
        Hits, and the mean charge of one.
    persistence, persistence_tau_s : float
        Fraction of the light that is trapped, and the time of its release.
    """

    bits: int = 16
    left_shift: bool = True
    e_per_adu: float = 0.8
    gain_decade: float = 120.0
    full_well_e: float = 51_000.0
    saturation_adu: float | None = None
    nonlinearity: float = 0.004
    read_noise_low_gain_e: float = 3.5
    read_noise_high_gain_e: float = 1.4
    read_noise_gain_scale: float = 25.0
    read_noise_spread: float = 0.12
    row_noise_adu: float = 0.2
    frame_noise_adu: float = 0.1
    session_offset_adu: float = 0.7
    first_frame_adu: float = 4.0
    pedestal_adu: float = 300.0
    adu_per_offset: float = 8.0
    adu_per_gain: float = 1.5
    bias_pixel_adu: float = 0.6
    bias_column_adu: float = 0.4
    bias_row_adu: float = 0.25
    bias_gradient_adu: float = 3.0
    drift_adu_per_c: float = 0.15
    drift_spread_adu_per_c: float = 0.006
    dark_diffusion_e_s: float = 0.8
    dark_depletion_e_s: float = 0.15
    dark_spread: float = 0.4
    readout_dark_s: float = 0.2
    hot_fraction: float = 5e-4
    hot_min_e_s: float = 3.0
    hot_max_e_s: float = 3000.0
    telegraph_fraction: float = 0.01
    telegraph_e: float = 3.0
    glow_e: float = 2.0
    glow_tau_s: float = 300.0
    prnu: float = 0.004
    vignetting: float = 0.18
    illumination_gradient: float = 0.02
    dust: int = 8
    dust_depth: float = 0.04
    colour_throughput: tuple[float, float, float] = (0.55, 1.0, 0.65)
    cosmic_rays_per_cm2_min: float = 1.5
    cosmic_ray_e: float = 1500.0
    persistence: float = 1e-4
    persistence_tau_s: float = 45.0

    def __post_init__(self) -> None:
        require(8 <= self.bits <= 16, "bits must be in 8..16")
        require(
            min(self.e_per_adu, self.gain_decade, self.full_well_e, self.read_noise_gain_scale) > 0,
            "e_per_adu, gain_decade, full_well_e and read_noise_gain_scale must be > 0",
        )
        require(min(self.glow_tau_s, self.persistence_tau_s) > 0, "time constants must be > 0")
        require(0 <= self.vignetting < 0.9, "vignetting must be in 0..0.9")
        require(0 < self.hot_min_e_s <= self.hot_max_e_s, "hot_min_e_s must be > 0 and <= hot_max_e_s")
        require(
            0 <= self.hot_fraction <= 0.2 and 0 <= self.telegraph_fraction <= 0.5,
            "hot_fraction must be in 0..0.2, telegraph_fraction in 0..0.5",
        )

    @property
    def step_adu(self) -> int:
        """The least difference of two values."""
        return 1 << (16 - self.bits) if self.left_shift else 1

    @property
    def full_scale_adu(self) -> int:
        """The largest value of the converter as delivered."""
        return ((1 << self.bits) - 1) * self.step_adu
