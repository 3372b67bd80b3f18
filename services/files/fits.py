"""FITS frames: written whole or not at all, read from any camera's dialect, located for raw reads of row bands.

Frames are plain uncompressed images, uint16 as int16 with BZERO 32768. What stands in a header is decided by
`calibration.keywords`. Foreign files may be compressed, have their image in an extension, or be broken: broken ones
raise `Unreadable`, never anything else.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from calibration.errors import HeaderError
from calibration.frames import Frame, FrameHeader, Pixels
from calibration.keywords import NO_ALIASES, Aliases, Card, from_cards, to_cards
from services.files.cards import add_sums, header_block, image_cards, padded
from services.files.disk import REAL_DISK, Disk, Growing, atomic
from services.files.pixels import (
    UNSIGNED,
    PixelLocation,
    decode,
    encode_summed,
    encoding,
    pixel_hash,
    scaled_values,
    values_of,
)
from services.files.planes import FitsTable, Plane, PlanesFile, Stored, create_planes, stored_as
from services.files.units import Unit, Unreadable, decoded_image, image_unit, is_packed, number, opened

__all__ = [
    "FITS_SUFFIXES", "FitsTable", "PixelLocation", "Plane", "PlanesFile", "Stored", "Unreadable", "create_planes",
    "decode", "pixel_hash", "pixel_location", "pixels_of", "read_cards", "read_frame", "read_header", "read_pixels",
    "understood", "write_frame",
]  # fmt: skip

FITS_SUFFIXES = tuple(ending + packed for ending in (".fits", ".fit", ".fts") for packed in ("", ".gz", ".bz2", ".fz"))
"""Endings of files that may be frames, in lower case."""

_PIECE = 1 << 21  # pixels encoded at a time: the piece stays in the processor's cache between its passes
_READ_BYTES = 1 << 24


def write_frame(
    path: Path,
    frame: Frame,
    disk: Disk = REAL_DISK,
    *,
    pixel_sha256: str | None = None,
    more: Sequence[Card] = (),
) -> Stored:
    """Write a frame atomically, with CHECKSUM and DATASUM.

    Parameters
    ----------
    path : Path
        The final name; refused when it is there.
    frame : Frame
        Pixels of shape (y, x): uint8, int16, uint16, int32, uint32, float32 or float64.
    disk : Disk
        Where to write.
    pixel_sha256 : str, optional
        `pixel_hash` of the pixels when it is known already (FrameStats).
    more : sequence of Card
        Cards that follow those of the header; one whose keyword is there already is left out.

    Raises
    ------
    StorageError
        `disk_full` or `write_failed`; nothing is left behind.
    """
    pixels = np.ascontiguousarray(frame.pixels)
    bitpix, bzero = encoding(pixels.dtype)
    cards = [*image_cards((pixels.shape[0], pixels.shape[1]), bitpix, bzero), *to_cards(frame.header)]
    taken = {card.keyword for card in cards}
    cards += [card for card in more if card.keyword not in taken]
    offset = len(header_block(cards, datasum=0))
    with atomic(path, disk) as stream:
        datasum = _write_pixels(stream, pixels.reshape(-1), offset)
        stream.write_at(header_block(cards, datasum=datasum), 0)
    return replace(stored_as(path, pixel_sha256 or pixel_hash(pixels)), data_sum=datasum)


def _write_pixels(stream: Growing, flat: NDArray[Any], offset: int) -> int:
    buffer = np.empty(min(_PIECE, flat.size), flat.dtype.newbyteorder("="))
    total = 0
    for start in range(0, flat.size, _PIECE):
        stored, part = encode_summed(flat[start : start + _PIECE], buffer)
        total = add_sums(total, part)
        stream.write_at(stored.data, offset + start * flat.itemsize)
    stream.write_at(bytes(padded(flat.nbytes) - flat.nbytes), offset + flat.nbytes)
    return total


def read_header(path: Path, *, hint: PurePath | None = None, aliases: Aliases = NO_ALIASES) -> FrameHeader:
    """Return what a FITS file says of its frame, in any dialect that `calibration.keywords` knows.

    Parameters
    ----------
    path : Path
    hint : PurePath, optional
        The part of the path that may say what the header does not; by default the whole path.
    aliases : mapping
        Keywords that the user has named: keyword to field.

    Raises
    ------
    Unreadable
        The file is missing, truncated, damaged or holds no 2-d image.
    HeaderError
        The header lacks or contradicts what is needed (a `CalibrationError`).
    """
    return understood(image_unit(path), path if hint is None else hint, aliases)


def understood(unit: Unit, hint: PurePath, aliases: Aliases = NO_ALIASES) -> FrameHeader:
    """Return what the header of an image says; parameters and errors as those of `read_header`."""
    try:
        return from_cards(unit.facts, shape=unit.shape, path_hint=hint, aliases=aliases)
    except (ValueError, TypeError, OverflowError) as error:  # a value nobody foresaw must not end a night
        raise HeaderError(keyword=hint.name, found=str(error), wanted="a header of a frame") from error


def read_cards(path: Path) -> dict[str, object]:
    """Return what the header of a file's frame says: keyword to value, without the structural ones.

    Cards of the primary header are among them when the image is in an extension.
    """
    return image_unit(path).facts


def read_frame(path: Path) -> Frame:
    """Return a frame with its pixels; errors as `read_header`."""
    return Frame(header=read_header(path), pixels=read_pixels(path))


def read_pixels(path: Path) -> Pixels:
    """Return the pixels of a file's image, shape (y, x), whatever its header says of the frame.

    Raises
    ------
    Unreadable
        As for `read_header`.
    """
    return pixels_of(path, image_unit(path))


def pixels_of(path: Path, unit: Unit) -> Pixels:
    """Return the pixels of a unit that `image_unit` found; as `read_pixels`."""
    location = _location(unit)
    if location is not None:
        return values_of(_stored(path, unit, location), location)
    if unit.compressed:
        stored = decoded_image(path, unit)
    else:
        location = PixelLocation(offset=unit.offset, bitpix=unit.bitpix, bzero=0, shape=unit.shape)
        stored = values_of(_stored(path, unit, location), location)
    scale, zero = number(unit, "BSCALE", 1.0), number(unit, "BZERO", 0.0)
    return scaled_values(stored, bscale=scale, bzero=zero, blank=unit.blank)


def _stored(path: Path, unit: Unit, location: PixelLocation) -> NDArray[Any]:
    stored = np.empty(location.shape, location.dtype)
    with opened(path) as file:
        file.seek(unit.offset)
        _fill(file, stored.data.cast("B"), path)
    return stored


def _fill(file: BinaryIO, view: memoryview, path: Path) -> None:
    """Fill `view` piece by piece: memory that is not written to is not taken yet."""
    done = 0
    while done < len(view):
        got = file.readinto(view[done : done + _READ_BYTES])  # type: ignore[attr-defined]
        if not got:
            raise Unreadable(f"{path}: truncated, {done} of {len(view)} bytes of pixels are there")
        done += got


def pixel_location(path: Path) -> PixelLocation | None:
    """Return where a file's pixels lie for raw reads, or None when they must be decoded.

    Those are compressed and scaled images, and integers of which one stands for undefined pixels (BLANK).

    Raises
    ------
    Unreadable
        The file is missing, truncated, damaged or holds no 2-d image.
    """
    unit = image_unit(path)
    return None if is_packed(path) else _location(unit)


def _location(unit: Unit) -> PixelLocation | None:
    scale, zero = number(unit, "BSCALE", 1.0), number(unit, "BZERO", 0.0)
    known = zero == 0 or (unit.bitpix, int(zero)) in UNSIGNED
    if unit.compressed or unit.blank is not None or scale != 1 or not known or zero != int(zero):
        return None
    return PixelLocation(offset=unit.offset, bitpix=unit.bitpix, bzero=int(zero), shape=unit.shape)
