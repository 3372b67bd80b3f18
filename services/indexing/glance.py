"""One pass over the pixels of a foreign frame: their identity, their level and their noise, read once, piece by piece.

The pieces stay in the processor's cache between being read, turned into this machine's byte order, hashed and sampled,
and a frame is never in memory as a whole. Several frames can be read at once: hashing needs no interpreter.
"""

import hashlib
import threading
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from calibration.stats import Glance, glance, sample_of
from services.files.fits import pixel_location, pixels_of
from services.files.pixels import UNSIGNED, PixelLocation
from services.files.units import Unit, Unreadable, opened

_PIECE_BYTES = 1 << 20
_decoding = threading.Lock()
"""Compressed images are decoded by astropy, one at a time: it changes how the whole process treats warnings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Glanced:
    """What one pass over a frame's pixels found.

    Attributes
    ----------
    pixel_sha256 : str
        As `pixel_hash` gives it.
    seen : Glance
        Level, noise and step.
    is_normalised : bool
        The values are floats that nowhere leave 0 to 1, which no converter gives.
    """

    pixel_sha256: str
    seen: Glance
    is_normalised: bool = False


def glance_at(path: Path, unit: Unit, *, bayer: bool) -> Glanced:
    """Read the pixels of a file once.

    Parameters
    ----------
    path : Path
    unit : Unit
        Its image, as `image_unit` found it.
    bayer : bool
        Whether the sensor has a colour mosaic.

    Raises
    ------
    Unreadable
        The file is missing, truncated or damaged.
    """
    location = pixel_location(path)
    if location is None:
        with _decoding if unit.compressed else nullcontext():
            pixels = pixels_of(path, unit)
        return _glanced([(0, pixels)], (pixels.shape[0], pixels.shape[1]), bayer=bayer)
    with opened(path) as file:
        file.seek(location.offset)
        return _glanced(_pieces(file, location, path), location.shape, bayer=bayer)


def _glanced(pieces: Iterable[tuple[int, NDArray[Any]]], shape: tuple[int, int], *, bayer: bool) -> Glanced:
    """Return what is found in pieces of a frame, each with its first row, from the top."""
    digest = hashlib.sha256()
    rows, columns = sample_of(shape)
    sample: list[NDArray[Any]] = []
    low, high = np.inf, -np.inf
    for first, values in pieces:
        little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
        digest.update(little.view(np.uint8).data)
        chosen = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + len(values))] - first
        sample.append(values[chosen, slice(*columns)])
        if values.dtype.kind == "f" and np.isfinite(values).any():
            low, high = min(low, float(np.nanmin(values))), max(high, float(np.nanmax(values)))
    seen = glance(np.concatenate(sample), bayer=bayer)
    return Glanced(pixel_sha256=digest.hexdigest(), seen=seen, is_normalised=0 <= low < high <= 1)


def _pieces(file: BinaryIO, location: PixelLocation, path: Path) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the first row and the values of each piece, little-endian, in a buffer that the next one overwrites."""
    height, width = location.shape
    at_once = min(height, max(1, _PIECE_BYTES // location.row_bytes))
    stored = np.empty((at_once, width), location.dtype)
    unsigned = UNSIGNED.get((location.bitpix, location.bzero))
    values = np.empty(stored.shape, location.dtype.newbyteorder("<"))
    shown = values if unsigned is None else values.view(np.dtype(unsigned).newbyteorder("<"))
    bits = values.view(np.dtype(f"<u{values.dtype.itemsize}"))
    for first in range(0, height, at_once):
        count = min(at_once, height - first)
        _fill(file, stored[:count].view(np.uint8).data.cast("B"), path)
        np.copyto(values[:count], stored[:count])
        if unsigned is not None:
            bits[:count] ^= bits.dtype.type(1 << (8 * bits.dtype.itemsize - 1))
        yield first, shown[:count]


def _fill(file: BinaryIO, view: memoryview, path: Path) -> None:
    done = 0
    while done < len(view):
        got = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not got:
            raise Unreadable(f"{path}: truncated, {len(view) - done} bytes of pixels are missing")
        done += got
