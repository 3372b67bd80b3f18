"""What can be wrong with frames and groups, as codes (docs/contracts.md, "Reason codes"), and this package's errors.

::

    CalibrationError            something asked of calibration cannot be done
    ├── HeaderError             a header lacks or contradicts what is needed
    └── CombineError            a stack of frames cannot be combined

A bad frame is not an error but a `Verdict` (see `calibration.frames`): the caller goes on with the next one.
"""

from enum import StrEnum


class FrameCode(StrEnum):
    """Why a frame is refused or doubted."""

    CONSTANT = "constant"
    PARTIAL = "partial"
    DUPLICATE_FRAME = "duplicate_frame"
    TOO_FAST = "too_fast"
    SATURATED_LINES = "saturated_lines"
    LEVEL_OFF = "level_off"
    PEDESTAL_OFF = "pedestal_off"
    NOISE_OFF = "noise_off"
    LIGHT_LEAK = "light_leak"
    TEMPERATURE_OFF = "temperature_off"
    EXPOSURE_MISMATCH = "exposure_mismatch"
    SIZE_CHANGED = "size_changed"
    LAMP_DRIFT = "lamp_drift"


class GroupCode(StrEnum):
    """Why a group of frames (or its master) is partial or failed."""

    TOO_BRIGHT = "too_bright"
    TOO_DIM = "too_dim"
    NO_LIGHT = "no_light"
    RESOLUTION = "resolution"
    NO_CONVERGENCE = "no_convergence"
    UNSTABLE_LAMP = "unstable_lamp"
    LAMP_CHANGED = "lamp_changed"
    PANEL_NOT_READY = "panel_not_ready"
    FILTER_FAILED = "filter_failed"
    SETTING_REFUSED = "setting_refused"
    NOT_DARK = "not_dark"
    COOLER_LIMIT = "cooler_limit"
    NOT_STEADY = "not_steady"
    SENSOR_STUCK = "sensor_stuck"
    COOLER_LOST = "cooler_lost"
    TOO_MANY_REFUSED = "too_many_refused"
    NO_MATCHING_DARK = "no_matching_dark"
    TOO_FEW_FRAMES = "too_few_frames"
    NO_FRAMES = "no_frames"
    UNLIKE_FRAMES = "unlike_frames"
    MASTER_DIFFERS = "master_differs"


class MasterCode(StrEnum):
    """How a master differs from the last certified one of its settings."""

    LEVEL_CHANGED = "level_changed"
    LEVEL_DRIFTED = "level_drifted"
    NOISE_CHANGED = "noise_changed"
    GAIN_CHANGED = "gain_changed"
    STRUCTURE_CHANGED = "structure_changed"
    GRADIENT_CHANGED = "gradient_changed"
    LIGHT_CHANGED = "light_changed"
    PIXELS_CHANGED = "pixels_changed"
    UNLIKE_PIXELS = "unlike_pixels"
    NEW_DUST = "new_dust"


class CalibrationError(Exception):
    """Root of this package's errors."""


class HeaderError(CalibrationError):
    """A header lacks or contradicts what is needed.

    Parameters
    ----------
    keyword : str
        The FITS keyword concerned.
    found : object
        What stands there (None when it is missing).
    wanted : str
        What would have been understood.
    """

    def __init__(self, *, keyword: str, found: object, wanted: str) -> None:
        self.keyword = keyword
        self.found = found
        self.wanted = wanted
        stated = f"{keyword} is missing" if found is None else f"{keyword} = {found!r}"
        super().__init__(f"{stated}: expected {wanted}")


class CombineError(CalibrationError):
    """A stack of frames cannot be combined as asked."""
