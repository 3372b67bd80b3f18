"""The rows of a large frame that are enough to judge it, read without the others."""

from pathlib import Path

import numpy as np

from calibration.frames import Pixels
from calibration.stats import spread_rows
from services.bands import Band, Source, held_open, read_rows
from services.files.fits import pixel_location, read_pixels


def read_spread(path: Path) -> Pixels:
    """Return `calibration.stats.spread_rows` of a frame: of a small one all pixels; a packed one is read whole for it.

    Raises
    ------
    Unreadable
        As for `services.files.fits.read_pixels`.
    """
    location = pixel_location(path)
    if location is None:
        pixels = read_pixels(path)
        return pixels[spread_rows((pixels.shape[0], pixels.shape[1]))]
    rows = spread_rows(location.shape)
    if len(rows) == location.shape[0]:
        return read_pixels(path)
    with held_open((Source(path=path, location=location),)) as (source,):
        return np.concatenate([read_rows(source, Band(start=int(row), stop=int(row) + 2)) for row in rows[::2]])
