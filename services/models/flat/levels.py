"""The level of a flat: what it is divided by, measured on its pixels."""

import numpy as np
from numpy.typing import NDArray

from calibration.clipping import ENOUGH, clip_values
from calibration.models.flat.model import Level, Norm, level_of
from calibration.stats import central_part
from services.bands import Band, Source, bands_of, read_rows, rows_for
from services.models.sampling import place_of

_MEMORY_MB = 64.0
_NEAR_ROWS = 32


def measured_level(source: Source, norm: Norm) -> Level:
    """Return the level of a flat without its dark; errors as `calibration.models.flat.model.level_of`."""
    centre = _centre(source)
    mean, largest, pixels = float("nan"), float("nan"), int(np.isfinite(centre).sum())
    if norm is not Norm.ROBUST:
        mean, largest, pixels = _whole(source)
    return level_of(norm, centre, noise=_noise(source), mean=mean, largest=largest, pixels=pixels)


def _centre(source: Source) -> NDArray[np.floating]:
    """Return pixels of the central 25 % of a frame: all of a small one, a sample of a large one."""
    (top, bottom, _), (left, right, _) = central_part(source.location.shape)
    if (bottom - top) * (right - left) > ENOUGH:
        return place_of(source.location.shape).read(source)
    return read_rows(source, Band(start=top, stop=bottom))[:, left:right].ravel()


def _noise(source: Source) -> float:
    """Return the scatter of pixels about those of their colour beside them, in the middle of a frame."""
    height, width = source.location.shape
    rows = read_rows(source, Band(start=height * 3 // 8, stop=height * 3 // 8 + min(_NEAR_ROWS, height // 2) + 1))
    part = rows[:, width // 4 : width - width // 4]
    return float(clip_values(part[:, 2:] - part[:, :-2]).sigma / np.sqrt(2))


def _whole(source: Source) -> tuple[float, float, int]:
    """Return mean, maximum and number of the pixels of a frame that are finite."""
    height, width = source.location.shape
    total, largest, pixels = 0.0, -np.inf, 0
    for band in bands_of(height, rows_for(memory_mb=_MEMORY_MB, frames=4, columns=width, workers=1)):
        rows = read_rows(source, band)
        known = rows[np.isfinite(rows)]
        total += float(known.sum(dtype=np.float64))
        largest = max(largest, float(known.max(initial=-np.inf)))
        pixels += known.size
    return total / max(pixels, 1), largest, pixels
