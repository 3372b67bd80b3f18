"""Small pictures and histograms of FITS images: means of blocks, read a strip at a time, whatever the image's size.

Of a large image only a part of the rows of each block is read (about six million pixels in all), which shows the same
picture. A picture is a JPEG between two percentiles; its numbers go with it, so that the page can say them.
"""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.bands import Band, Source, read_rows
from services.errors import StorageError
from services.files.fits import pixel_location, read_pixels
from services.reports.figures import Histogram

WIDEST = 360
"""Pixels of a picture's longer side, at most."""

_ENOUGH_PIXELS = 6_000_000
_ENOUGH_VALUES = 1_000_000
"""Values that give a histogram between far percentiles."""

_QUALITY = 80
_STRETCH = (0.3, 99.7)
_STRETCH_SIGMAS = 8.0
_REACH = (0.01, 99.99)
_REACH_SIGMAS = 15.0
_BINS = 64
_SMALLEST_SPECTRUM = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image made small: `jpeg` of shape (height, width), black at `low`, white at `high` (in the image's unit)."""

    jpeg: bytes
    width: int
    height: int
    low: float
    high: float
    histogram: Histogram

    @property
    def data_url(self) -> str:
        """The picture as a part of the page."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode("ascii")


class Album:
    """Pictures of one page: each made once, and no more of them when the page would get too large.

    Parameters
    ----------
    budget_bytes : int
        For all pictures together.
    """

    def __init__(self, budget_bytes: int = 1_800_000) -> None:
        self._left = budget_bytes
        self._made: dict[tuple[Path, str], Picture | None] = {}

    @property
    def full(self) -> bool:
        """Whether pictures were left out for their size."""
        return self._left < 0

    def picture(self, path: Path) -> Picture | None:
        """Return the picture of a file; None when it is gone or damaged, or the album is full."""
        return self._picture(path, picture_of)

    def spectrum(self, path: Path) -> Picture | None:
        """Return the spectrum of a file's image, as `picture`."""
        return self._picture(path, spectrum_of)

    def _picture(self, path: Path, make: "Callable[[Path], Picture | None]") -> Picture | None:
        place = path, make.__name__
        if place not in self._made and self._left >= 0:
            picture = make(path)
            self._left -= 0 if picture is None else len(picture.jpeg)
            self._made[place] = picture if self._left >= 0 else None
        return self._made.get(place)


def picture_of(path: Path) -> Picture | None:
    """Return the picture of a FITS file's image; None when it is gone, damaged or empty.

    A compressed image has to be read whole.
    """
    try:
        return _picture(_image(path))
    except (StorageError, OSError):
        return None


def spectrum_of(path: Path) -> Picture | None:
    """Return the spectrum of the middle of a FITS file's image; None as of `picture_of`, or when it is tiny.

    Grey is the logarithm of the amplitude. A pattern that repeats itself is a pair of bright dots: long waves are in
    the middle, waves of two pixels at the edge.
    """
    from calibration.masters.waves import SIDE, spectrum

    try:
        image = _image(path)
        high, wide = (min(SIDE, size) for size in image.shape)
        top, left = ((size - part) // 2 for size, part in zip(image.shape, (high, wide), strict=True))
        tile = image.read(Band(start=top, stop=top + high))[:, left : left + wide].astype(np.float32)
    except (StorageError, OSError):
        return None
    if min(high, wide) < _SMALLEST_SPECTRUM or not np.isfinite(tile).any():
        return None
    waves = spectrum(tile)
    side = -(-max(waves.shape) // WIDEST)
    blocks = waves[: high // side * side, : wide // side * side].reshape(high // side, side, wide // side, side)
    peaks = blocks.max(axis=(1, 3))  # a dot must not fade
    return _jpeg(peaks, float(np.median(peaks)), float(peaks.max()), waves.ravel())


def _image(path: Path) -> "_Strips":
    location = pixel_location(path)
    if location is None:
        return _Strips.of(read_pixels(path))
    return _Strips.at(Source(path=path, location=location))


@dataclass(frozen=True, slots=True)
class _Strips:
    """An image of a shape whose rows are read as they are needed; `whole`: its values are whole numbers."""

    shape: tuple[int, int]
    whole: bool
    read: Callable[[Band], NDArray[Any]]

    @classmethod
    def at(cls, source: Source) -> "_Strips":
        """Return the image of a file, of which rows are read one band at a time."""
        whole = not np.issubdtype(source.location.dtype, np.floating)
        return cls(source.location.shape, whole, lambda band: read_rows(source, band))

    @classmethod
    def of(cls, pixels: NDArray[Any]) -> "_Strips":
        """Return an image that is in memory as a whole: a compressed file was decoded for it."""
        whole = not np.issubdtype(pixels.dtype, np.floating)
        return cls((pixels.shape[0], pixels.shape[1]), whole, lambda band: pixels[band.start : band.stop])


def _picture(image: _Strips) -> Picture | None:
    small, sample = _read(image)
    known = sample[np.isfinite(sample)]
    if known.size == 0:
        return None
    shown = small[np.isfinite(small)]
    low, high = _within_reach(shown if shown.size else known, _STRETCH, _STRETCH_SIGMAS)
    return _jpeg(small, low, high, known, whole=image.whole)


def _jpeg(
    small: NDArray[np.float32], low: float, high: float, known: NDArray[np.float32], *, whole: bool = False
) -> Picture:
    scaled = (np.nan_to_num(small, nan=low) - low) / (high - low) if high > low else np.full(small.shape, 0.5)
    file = io.BytesIO()
    Image.fromarray((np.clip(scaled, 0, 1) * 255).round().astype(np.uint8)).save(file, "JPEG", quality=_QUALITY)
    return Picture(
        jpeg=file.getvalue(),
        width=small.shape[1],
        height=small.shape[0],
        low=low,
        high=high,
        histogram=_histogram(known, whole=whole),
    )


def _read(image: _Strips) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return means of blocks, shape (height, width), and about a million of the pixels that they are made of.

    Blocks have an even side, so that each holds as many pixels of every colour of a Bayer mosaic; so does the sample,
    which takes every m-th pixel, m being odd.
    """
    height, width = image.shape
    side = -(-max(height, width) // WIDEST)
    side += side % 2 if side > 1 else 0
    high, wide = max(1, height // side), max(1, width // side)
    rows = min(side, height, max(2, 2 * (_ENOUGH_PIXELS // (2 * width * high))))
    across = min(side, width)
    every = (high * rows * wide * across // _ENOUGH_VALUES) | 1
    small = np.empty((high, wide), np.float32)
    sample = []
    for i in range(high):
        strip = image.read(Band(start=i * side, stop=i * side + rows))[:, : wide * across].astype(np.float32)
        sample.append(strip.ravel()[::every].copy())
        small[i] = _mean(strip.reshape(rows, wide, across))
    return small, np.concatenate(sample)


def _mean(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of each block, shape (rows, n, across) to (n,), without pixels that are not known."""
    known = np.isfinite(blocks)
    number = known.sum(axis=(0, 2))
    total = np.where(known, blocks, 0).sum(axis=(0, 2), dtype=np.float64)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan).astype(np.float32)


def _histogram(values: NDArray[np.float32], *, whole: bool) -> Histogram:
    """Count values between far percentiles, but not so far that a few hot pixels squeeze all others into one bin.

    Bins of a camera's frame are whole steps, else they beat with them.
    """
    low, high = _within_reach(values, _REACH, _REACH_SIGMAS)
    margin = 0.04 * (high - low) or max(abs(low) * 1e-3, 0.5)
    low, high = low - margin, high + margin
    if whole:
        step = _step(values)
        wide = step * max(1, round((high - low) / _BINS / step))
        low = np.floor(low / step) * step - step / 2
        edges: NDArray[Any] = low + wide * np.arange(np.ceil((high - low) / wide) + 1)
    else:
        edges = np.linspace(low, high, _BINS + 1)
    counts = np.histogram(values, edges)[0]
    return Histogram(edges=tuple(float(e) for e in edges), counts=tuple(int(c) for c in counts))


def _within_reach(values: NDArray[np.float32], far: tuple[float, float], sigmas: float) -> tuple[float, float]:
    """Return two far percentiles, but none so far from the others that it is one of a few hot pixels."""
    low, below, centre, above, high = (float(v) for v in np.percentile(values, (far[0], 15.9, 50, 84.1, far[1])))
    reach = sigmas * (above - below) / 2
    return (max(low, centre - reach), min(high, centre + reach)) if reach > 0 else (low, high)


def _step(values: NDArray[np.float32]) -> int:
    """Return the step of a camera's numbers: 16 for 12 bits shifted up to 16."""
    few = values[:: max(1, values.size // 100_000)].astype(np.int64)
    return int(np.gcd.reduce(few - few[0])) or 1
