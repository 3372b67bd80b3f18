"""What a master's header says beyond that of a frame: how many, how combined, what was subtracted, how it came out."""

from collections.abc import Mapping
from dataclasses import dataclass

from calibration.keywords import values
from calibration.keywords.table import Keyword, integer_row, number_row, text_row

PERCENTILES = (0, 5, 16, 50, 84, 95, 100)
"""Percentiles written in a master's header, PCT000 to PCT100 (those of Rubin's cp_pipe)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterInfo:
    """What is known of a master besides the header of its frames; None is not written.

    Attributes
    ----------
    n_combined, n_rejected : int
        Frames combined, and pixel values rejected in all of them.
    combine_method, reject_method : str
        As in the configuration.
    reject_sigma : float
        Threshold of the rejection.
    temp_min_c, temp_max_c : float
        Range of the sensor's temperature over the frames.
    percentiles_adu : tuple of float
        Of MEAN, at `PERCENTILES`; empty when not known.
    read_noise_adu, read_noise_error_adu : float
        Temporal noise of a pixel before it was rounded, from all pairs of frames that follow one another, and the 1σ
        error of that, ADU (RDNOISE, RDNERR; EGAIN makes electrons of them).
    egain_error_e_adu : float
        The 1σ error of EGAIN where that was measured with flats (EGAINERR); None where the frames state it.
    level_wander_adu, level_error_adu : float
        How much the level wanders from frame to frame, and the error of the master's level that follows from it, which
        all pixels share; SIGMA does not hold it.
    recipe : str
        Hash of inputs and settings.
    bias_subtracted : bool
        False: the master keeps the pedestal.
    flat_dark : str
        How the darks of a flat were found: `matched`, `bias` or `model`.
    dark_file, dark_sha256 : str
        The dark subtracted from a flat, and the SHA-256 of its pixels (which leaves no room for a comment).
    dark_model, dark_model_id : str
        The model whose predicted signal was subtracted with them.
    dark_model_newest : str
        When the newest dark of that model was taken, UTC.
    dark_signal_adu, dark_error_adu : float
        That signal and its error, of a typical pixel.
    flat_norm : float
        Level in ADU by which a flat was divided.
    flat_level_adu : float
        Median level of its frames above the dark.
    sigma_correction : float
        Truncation factor contained in SIGMA.
    degrees_of_freedom : float
        Of SIGMA, of a typical pixel: samples kept, less one. SIGMA is known to 1 in √(2 × this).
    calibration_status : str
        CALSTAT: letters B, D, F of what has been applied.
    """

    n_combined: int
    n_rejected: int | None = None
    combine_method: str | None = None
    reject_method: str | None = None
    reject_sigma: float | None = None
    temp_min_c: float | None = None
    temp_max_c: float | None = None
    percentiles_adu: tuple[float, ...] = ()
    read_noise_adu: float | None = None
    read_noise_error_adu: float | None = None
    egain_error_e_adu: float | None = None
    level_wander_adu: float | None = None
    level_error_adu: float | None = None
    recipe: str | None = None
    bias_subtracted: bool | None = None
    flat_dark: str | None = None
    dark_file: str | None = None
    dark_model: str | None = None
    dark_model_id: str | None = None
    dark_model_newest: str | None = None
    dark_signal_adu: float | None = None
    dark_error_adu: float | None = None
    dark_sha256: str | None = None
    flat_norm: float | None = None
    flat_level_adu: float | None = None
    sigma_correction: float | None = None
    degrees_of_freedom: float | None = None
    calibration_status: str | None = None


MASTER_KEYWORDS: tuple[Keyword, ...] = (
    integer_row("n_combined", "NCOMBINE", "frames combined", "NSOURCE", "N_FILES"),
    integer_row("n_rejected", "NREJECT", "pixel values rejected"),
    text_row("combine_method", "COMBMETH", "how the frames were combined"),
    text_row("reject_method", "REJMETH", "how outliers were rejected"),
    number_row("reject_sigma", "REJSIGMA", "[sigma] threshold of the rejection"),
    number_row("temp_min_c", "TEMPMIN", "[deg C] coldest frame", "TMIN"),
    number_row("temp_max_c", "TEMPMAX", "[deg C] warmest frame", "TMAX"),
    number_row("read_noise_adu", "RDNOISE", "[adu] noise of a pixel from pairs of frames"),
    number_row("read_noise_error_adu", "RDNERR", "[adu] 1 sigma error of RDNOISE"),
    number_row("egain_error_e_adu", "EGAINERR", "[electron/adu] 1 sigma of a measured EGAIN"),
    number_row("level_wander_adu", "LVLSTD", "[adu] wander of the level between frames"),
    number_row("level_error_adu", "LVLERR", "[adu] 1 sigma of the level, of all pixels alike"),
    text_row("recipe", "RECIPE", "hash of inputs and settings"),
    Keyword(
        field="bias_subtracted", keyword="BIASSUB", comment="whether the pedestal was subtracted", read=values.flag
    ),
    text_row("flat_dark", "FLATDARK", "how the flat's dark was found"),
    text_row("dark_file", "DARKFILE", "dark subtracted"),
    text_row("dark_sha256", "DARKSHA", ""),
    text_row("dark_model", "DARKMODL", "model that the dark signal is predicted by"),
    text_row("dark_model_id", "DARKMID", "identity of that model"),
    text_row("dark_model_newest", "DARKMDAT", "newest dark of that model (UTC)"),
    number_row("dark_signal_adu", "DARKMSIG", "[adu] predicted dark signal, typical pixel"),
    number_row("dark_error_adu", "DARKMERR", "[adu] its error, typical pixel"),
    number_row("flat_norm", "FLATNORM", "[adu] level the flat was divided by"),
    number_row("flat_level_adu", "FLATLVL", "[adu] median level above the dark"),
    number_row("sigma_correction", "SIGCORR", "truncation factor contained in SIGMA"),
    number_row("degrees_of_freedom", "SIGDOF", "degrees of freedom of SIGMA, typical pixel"),
    text_row("calibration_status", "CALSTAT", "calibrations applied"),
)
"""Every field of `MasterInfo` but the percentiles."""


def percentile_keyword(percentile: int) -> str:
    """Return the keyword of a percentile: PCT016."""
    return f"PCT{percentile:03d}"


def read_percentiles(cards: Mapping[str, object]) -> tuple[float, ...]:
    """Return the percentiles of a master's header; empty unless all are there."""
    found = [values.number(cards.get(percentile_keyword(p))) for p in PERCENTILES]
    known = tuple(value for value in found if value is not None)
    return known if len(known) == len(PERCENTILES) else ()
