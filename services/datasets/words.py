"""How a page of a dataset names what it shows."""

from collections.abc import Sequence

from calibration.frames import FrameKind
from services.words import GAP, NONE, number
from services.words import exposure as shown_exposure

OPERATION = "Operation"
KINDS = {FrameKind.BIAS: "Bias", FrameKind.DARK: "Dark", FrameKind.FLAT: "Flat", FrameKind.LIGHT: OPERATION}
"""The sections of a dataset by the kind of their frames."""


def exposure(exposure_us: int | None) -> str:
    """Return an exposure: below a millisecond in microseconds, a dash where it is not known."""
    if exposure_us is not None and 0 < exposure_us < 1000:
        return number(exposure_us, 0, "µs")
    return shown_exposure(exposure_us)


def temperature(celsius: float | None, decimals: int = 1) -> str:
    """Return a temperature; a dash where it is not known."""
    return NONE if celsius is None else number(celsius + 0.0, decimals, "°C")


def pixels(shape: tuple[int, int]) -> str:
    """Return the size of an image, its width first."""
    return f"{shape[1]} × {shape[0]} pixels".replace(" ", GAP)


def of_kind(kind: FrameKind) -> str:
    """Return the kind of a frame in a sentence."""
    return KINDS[kind].lower()


def span(celsius: Sequence[float], decimals: int = 1) -> str:
    """Return from where to where temperatures go; a dash where none is known."""
    if not celsius:
        return NONE
    low, high = number(min(celsius) + 0.0, decimals), number(max(celsius) + 0.0, decimals)
    return f"{low}{GAP}°C" if low == high else f"{low} … {high}{GAP}°C"
