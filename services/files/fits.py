"""FITS frames: written whole or not at all, read from any camera's dialect, located for raw reads of row bands.

Frames are plain uncompressed images, uint16 as int16 with BZERO 32768. What stands in a header is decided by
`calibration.keywords`. Foreign files may be compressed, have their image in an extension, or be broken: broken ones
raise `Unreadable`, never anything else.
"""

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from calibration.errors import HeaderError
from calibration.frames import Frame, FrameHeader, Pixels
from calibration.keywords import from_cards, to_cards
from services.files.cards import add_sums, header_block, image_cards, padded
from services.files.disk import REAL_DISK, Disk, Growing, atomic
from services.files.pixels import UNSIGNED, PixelLocation, decode, encode_summed, encoding, pixel_hash, values_of
from services.files.planes import FitsTable, Plane, PlanesFile, Stored, create_planes, stored_as
from services.files.units import Unit, Unreadable, decoded_image, image_unit, is_gzipped, number, opened

__all__ = [
    "FITS_SUFFIXES", "FitsTable", "PixelLocation", "Plane", "PlanesFile", "Stored", "Unreadable", "create_planes",
    "decode", "pixel_hash", "pixel_location", "read_cards", "read_frame", "read_header", "read_pixels", "write_frame",
]  # fmt: skip

FITS_SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fits.fz")
"""Endings of files that may be frames, in lower case."""

_PIECE = 1 << 21  # pixels encoded at a time: the piece stays in the processor's cache between its passes
_READ_BYTES = 1 << 24
_STRUCTURE = {
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "EXTEND", "PCOUNT", "GCOUNT", "BSCALE",
    "BZERO", "CHECKSUM", "DATASUM", "END", "COMMENT", "HISTORY", "", "CONTINUE",
}  # fmt: skip


def write_frame(path: Path, frame: Frame, disk: Disk = REAL_DISK, *, pixel_sha256: str | None = None) -> Stored:
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

    Raises
    ------
    StorageError
        `disk_full` or `write_failed`; nothing is left behind.
    """
    pixels = np.ascontiguousarray(frame.pixels)
    bitpix, bzero = encoding(pixels.dtype)
    cards = [*image_cards((pixels.shape[0], pixels.shape[1]), bitpix, bzero), *to_cards(frame.header)]
    offset = len(header_block(cards, datasum=0))
    with atomic(path, disk) as stream:
        datasum = _write_pixels(stream, pixels.reshape(-1), offset)
        stream.write_at(header_block(cards, datasum=datasum), 0)
    return stored_as(path, pixel_sha256 or pixel_hash(pixels))


def _write_pixels(stream: Growing, flat: NDArray[Any], offset: int) -> int:
    buffer = np.empty(min(_PIECE, flat.size), flat.dtype.newbyteorder("="))
    total = 0
    for start in range(0, flat.size, _PIECE):
        stored, part = encode_summed(flat[start : start + _PIECE], buffer)
        total = add_sums(total, part)
        stream.write_at(stored.data, offset + start * flat.itemsize)
    stream.write_at(bytes(padded(flat.nbytes) - flat.nbytes), offset + flat.nbytes)
    return total


def read_header(path: Path) -> FrameHeader:
    """Return what a FITS file says of its frame, in any dialect that `calibration.keywords` knows.

    Raises
    ------
    Unreadable
        The file is missing, truncated, damaged or holds no 2-d image.
    HeaderError
        The header lacks or contradicts what is needed (a `CalibrationError`).
    """
    cards, shape = _read_cards(path)
    return _understood(cards, shape, path)


def read_cards(path: Path) -> dict[str, object]:
    """Return the header of a file's image as it stands: keyword to value, without the structural ones."""
    return _read_cards(path)[0]


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
    location = _location(image_unit(path))
    if location is None:
        return decoded_image(path)[1]
    stored = np.empty(location.shape, location.dtype)
    with opened(path) as file:
        file.seek(location.offset)
        _fill(file, stored.data.cast("B"), path)
    return values_of(stored, location)


def _fill(file: BinaryIO, view: memoryview, path: Path) -> None:
    """Fill `view` piece by piece: memory that is not written to is not taken yet."""
    done = 0
    while done < len(view):
        got = file.readinto(view[done : done + _READ_BYTES])  # type: ignore[attr-defined]
        if not got:
            raise Unreadable(f"{path}: truncated, {done} of {len(view)} bytes of pixels are there")
        done += got


def pixel_location(path: Path) -> PixelLocation | None:
    """Return where a file's pixels lie for raw reads, or None when they must be decoded (compressed, scaled).

    Raises
    ------
    Unreadable
        The file is missing, truncated, damaged or holds no 2-d image.
    """
    unit = image_unit(path)
    return None if is_gzipped(path) else _location(unit)


def _location(unit: Unit) -> PixelLocation | None:
    scale, zero = number(unit, "BSCALE", 1.0), number(unit, "BZERO", 0.0)
    known = zero == 0 or (unit.bitpix, int(zero)) in UNSIGNED
    if unit.compressed or scale != 1 or not known or zero != int(zero):
        return None
    return PixelLocation(offset=unit.offset, bitpix=unit.bitpix, bzero=int(zero), shape=unit.shape)


def _read_cards(path: Path) -> tuple[dict[str, object], tuple[int, int]]:
    unit = image_unit(path)
    if unit.compressed:
        cards, pixels = decoded_image(path)
        shape = pixels.shape[0], pixels.shape[1]
    else:
        cards, shape = dict(unit.cards), unit.shape
    return {k: v for k, v in cards.items() if k not in _STRUCTURE}, shape


def _understood(cards: dict[str, object], shape: tuple[int, int], path: Path) -> FrameHeader:
    try:
        return from_cards(cards, shape=shape, path_hint=path)
    except (ValueError, TypeError, OverflowError) as error:  # a value nobody foresaw must not end a night
        raise HeaderError(keyword=path.name, found=str(error), wanted="a header of a frame") from error
