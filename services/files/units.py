"""What a FITS file is made of: its header and data units, found without trusting the file.

Plain and gzipped files are read here, block by block and card by card, because astropy warns and guesses where we want
an error, and its warnings cannot be caught safely in threads; tile-compressed and scaled images go through astropy once
their header was found believable. Everything wrong ends in `Unreadable`, but a card that cannot be understood costs
itself only. No more is allocated, and nothing skipped, than the file can hold.
"""

import gzip
import math
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy.io import fits

from calibration.frames import Pixels
from services.errors import RunCode, StorageError
from services.files.cards import BLOCK, padded

STORED = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
"""BITPIX to the type of the stored values."""

MAX_PIXELS = 1 << 29
"""No camera has more; a size beyond it is a lie."""

_LONGEST_HEADER = 400  # blocks; more is no header but a file that lost its END
_LONGEST_TEXT = 10_000  # characters of one value and its continuations
_MOST_UNITS = 1000
_MOST_AXES = 999  # FITS 4.0, 4.4.1.1
_MOST_COLUMNS = 999  # FITS 4.0, 7.3.1
_MOST_PACKED = 1100  # deflate makes 1032 bytes of one, Rice's code 205
_MOST_UNPACKED = 1 << 31


class Unreadable(StorageError):
    """A file is no FITS image that we can read: truncated, damaged, or something else."""

    code = RunCode.READ_FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One header and data unit of an uncompressed file."""

    cards: Mapping[str, object]
    offset: int
    size: int

    def whole(self, keyword: str, default: int = 0) -> int:
        """Return a card's number as a whole one; the default when it is missing or no number."""
        return int(number(self, keyword, default))

    @property
    def bitpix(self) -> int:
        """BITPIX, 0 when it is missing."""
        return self.whole("BITPIX")

    @property
    def axes(self) -> list[int]:
        """NAXIS1, NAXIS2 and so on."""
        return [self.whole(f"NAXIS{n + 1}") for n in range(self.whole("NAXIS"))]

    @property
    def tiled_axes(self) -> list[int]:
        """ZNAXIS1 and so on: the axes of a tile-compressed image."""
        return [self.whole(f"ZNAXIS{n + 1}") for n in range(min(self.whole("ZNAXIS"), _MOST_AXES))]

    @property
    def compressed(self) -> bool:
        """Whether it is a table that holds a tile-compressed image."""
        return self.cards.get("ZIMAGE") is True

    @property
    def is_image(self) -> bool:
        """Whether it holds an image of two or more axes."""
        kind = str(self.cards.get("XTENSION", "IMAGE")).strip()
        return kind == "IMAGE" and len(self.axes) >= 2 and all(self.axes)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.axes[1], self.axes[0]


def number(unit: Unit, keyword: str, default: float) -> float:
    """Return a card's finite number; the default when it is missing or no number."""
    value = unit.cards.get(keyword, default)
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return default
    return found if math.isfinite(found) else default


def image_unit(path: Path) -> Unit:
    """Return the first unit with an image, checked for completeness (of a gzipped file: for plausibility).

    Raises
    ------
    Unreadable
        The file is missing, truncated, damaged, no FITS file, or holds no image of one plane.
    """
    room = _room(path)
    for unit in _units(path, room):
        if not (unit.compressed or unit.is_image):
            continue
        _check_shape(unit, path)
        there = room - unit.offset
        if there < unit.size:
            raise Unreadable(f"{path}: truncated, {max(0, there)} of {unit.size} bytes of pixels are there")
        return unit
    raise Unreadable(f"{path}: holds no image")


def _check_shape(unit: Unit, path: Path) -> None:
    """Refuse images that are none of ours, or that no camera makes."""
    axes, bitpix = (unit.tiled_axes, unit.whole("ZBITPIX")) if unit.compressed else (unit.axes, unit.bitpix)
    if len(axes) < 2 or any(axis != 1 for axis in axes[2:]):
        raise Unreadable(f"{path}: an image of {len(axes)} axes {axes[:9]}; one plane is expected")
    if bitpix not in STORED:
        raise Unreadable(f"{path}: BITPIX = {bitpix} is none of {sorted(STORED)}")
    if not 0 < axes[0] * axes[1] <= MAX_PIXELS or min(axes) < 1:
        raise Unreadable(f"{path}: no camera makes images of {axes[0]} x {axes[1]} pixels")
    if not unit.compressed:
        return
    if not 0 < unit.whole("TFIELDS") <= _MOST_COLUMNS:
        raise Unreadable(f"{path}: a table of {unit.whole('TFIELDS')} columns")
    tiles = [unit.whole(f"ZTILE{n + 1}", axes[0] if n == 0 else 1) for n in range(len(axes))]
    if any(not 1 <= tile <= axis for tile, axis in zip(tiles, axes, strict=True)):
        raise Unreadable(f"{path}: tiles of {tiles[:9]} pixels do not fit an image of {axes[:9]}")
    if axes[0] * axes[1] * abs(bitpix) // 8 > _MOST_PACKED * unit.size:
        raise Unreadable(f"{path}: {unit.size} bytes cannot hold {axes[0]} x {axes[1]} pixels")


def _units(path: Path, room: int) -> Iterator[Unit]:
    """Yield the units of a file that can hold `room` bytes."""
    with opened(path) as file:
        offset = 0
        for _ in range(_MOST_UNITS):
            found = _read_block(file, path, first=offset == 0)
            if found is None:
                return
            cards, length = found
            unit = Unit(cards=cards, offset=offset + length, size=_data_size(cards, path))
            yield unit
            offset = unit.offset + padded(unit.size)
            if offset >= room:
                return
            file.seek(offset)


def _room(path: Path) -> int:
    """Return how many bytes a file holds, or could hold when it is unpacked."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}") from error
    return min(size * _MOST_PACKED, _MOST_UNPACKED) if is_gzipped(path) else size


def _data_size(cards: Mapping[str, object], path: Path) -> int:
    """Return how many bytes of data a header announces."""
    unit = Unit(cards=cards, offset=0, size=0)
    if not 0 <= unit.whole("NAXIS") <= _MOST_AXES:
        raise Unreadable(f"{path}: NAXIS = {unit.whole('NAXIS')} is not from 0 to {_MOST_AXES}")
    values = math.prod(unit.axes) if unit.axes else 0
    size = abs(unit.bitpix) // 8 * unit.whole("GCOUNT", 1) * (unit.whole("PCOUNT") + values)
    if size < 0 or any(axis < 0 for axis in unit.axes):
        raise Unreadable(f"{path}: a header announces less than no data")
    return size


def _read_block(file: BinaryIO, path: Path, *, first: bool) -> tuple[dict[str, object], int] | None:
    """Return the cards of the header at the file's position and its length in bytes; None where the file ends."""
    text = bytearray()
    for _ in range(_LONGEST_HEADER):
        block = file.read(BLOCK)
        if first and not text and not block.startswith(b"SIMPLE  ="):
            raise Unreadable(f"{path}: no FITS file")
        if not block and not text:
            return None
        text += block
        if any(block[i : i + 8] == b"END     " or block[i : i + 4] == b"END\0" for i in range(0, len(block), 80)):
            return _parse(text), len(text)
        if len(block) < BLOCK:
            break
    raise Unreadable(f"{path}: its header has no end")


def _parse(block: bytearray) -> dict[str, object]:
    """Return the cards that can be understood, the first of each keyword; others cost themselves only."""
    text = block.decode("latin-1").translate(_PRINTABLE)
    cards: dict[str, object] = {}
    last = ""
    for start in range(0, len(text) - 79, 80):
        keyword, written = _split(text[start : start + 80])
        if keyword == "END":
            break
        if keyword == "CONTINUE":
            before, more = cards.get(last), _value(written)
            goes_on = isinstance(before, str) and before.endswith("&") and len(before) < _LONGEST_TEXT
            if goes_on and isinstance(before, str) and isinstance(more, str):
                cards[last] = before[:-1] + more
        elif written and keyword not in cards:
            cards[keyword] = _value(written)
            last = keyword
    return {keyword: value for keyword, value in cards.items() if value is not None}


def _split(card: str) -> tuple[str, str]:
    """Return a card's keyword and what is written behind its value indicator."""
    if card.startswith("HIERARCH ") and "=" in card:
        keyword, _, written = card[9:].partition("=")
        return keyword.strip().upper(), written
    keyword = card[:8].strip().upper()
    if keyword == "CONTINUE" or card[8:9] == "=":
        return keyword, card[9:] if card[8:9] == "=" else card[8:]
    return keyword, ""


def _value(written: str) -> str | bool | int | float | None:
    match = _VALUE.fullmatch(written)
    if match is None or (match["text"] is None and match["word"] is None):
        return None
    if match["text"] is not None:
        return match["text"].replace("''", "'").rstrip()
    word = match["word"]
    if word in {"T", "F"}:
        return word == "T"
    for read in (int, float):
        try:
            return read(word.upper().replace("D", "E"))
        except ValueError:
            continue
    return word


_PRINTABLE = dict.fromkeys([*range(32), *range(127, 256)], " ")  # some programs pad headers with NULs
_VALUE = re.compile(r"\s*(?:'(?P<text>(?:[^']|'')*)'|(?P<word>[^'/\s](?:[^/]*[^/\s])?))?\s*(?:/.*)?")


def decoded_image(path: Path) -> tuple[dict[str, object], Pixels]:
    """Read through astropy what it alone can: tile-compressed and scaled images, which `image_unit` has let pass."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(path, memmap=False) as units:
                for unit in units:
                    if isinstance(unit, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU) and unit.data is not None:
                        data = np.squeeze(np.asarray(unit.data))
                        native = data.astype(data.dtype.newbyteorder("="), copy=False)
                        if native.ndim == 2:
                            return _parse(bytearray(unit.header.tostring().encode("latin-1"))), native
    except Exception as error:
        raise Unreadable(f"{path}: {error}") from error
    raise Unreadable(f"{path}: holds no image of one plane")


def is_gzipped(path: Path) -> bool:
    """Return whether the name says that the whole file is compressed."""
    return path.suffix.lower() == ".gz"


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, unpacked; one that cannot be opened or unpacked is `Unreadable`."""
    if path.exists() and not path.is_file():
        raise Unreadable(f"{path}: is no file")  # opening a pipe would wait for ever
    try:
        with gzip.open(path) if is_gzipped(path) else path.open("rb") as file:
            yield file  # type: ignore[misc]
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(f"{path}: {getattr(error, 'strerror', None) or error}") from error
