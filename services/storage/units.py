"""What a FITS file is made of: its header and data units, found without trusting the file.

Plain files are read here, block by block and card by card, because astropy warns and guesses where we want an error,
and its warnings cannot be caught safely in threads; compressed ones go through astropy. Everything wrong ends in
`Unreadable`, but a card that cannot be understood costs itself only.
"""

import os
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy.io import fits

from calibration.frames import Pixels
from services.errors import RunCode, StorageError
from services.storage.cards import BLOCK, padded

STORED = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
"""BITPIX to the type of the stored values."""

_LONGEST_HEADER = 400  # blocks; more is no header but a file that lost its END


class Unreadable(StorageError):
    """A file is no FITS image that we can read: truncated, damaged, or something else."""

    code = RunCode.READ_FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One header and data unit of an uncompressed file."""

    cards: Mapping[str, object]
    offset: int
    size: int

    @property
    def bitpix(self) -> int:
        """BITPIX, 0 when it is missing."""
        return int(number(self, "BITPIX", 0))

    @property
    def axes(self) -> list[int]:
        """NAXIS1, NAXIS2 and so on."""
        return [int(number(self, f"NAXIS{n + 1}", 0)) for n in range(int(number(self, "NAXIS", 0)))]

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
    """Return a card's number; the default when it is missing or no number."""
    value = unit.cards.get(keyword, default)
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return default


def image_unit(path: Path) -> Unit:
    """Return the first unit with an image, checked for completeness.

    Raises
    ------
    Unreadable
        The file is missing, truncated, damaged, no FITS file, or holds no image of one plane.
    """
    for unit in _units(path):
        if unit.compressed:
            return unit
        if not unit.is_image:
            continue
        if len(unit.axes) > 2 and any(axis != 1 for axis in unit.axes[2:]):
            raise Unreadable(f"{path}: an image of {len(unit.axes)} axes {unit.axes}; one plane is expected")
        if unit.bitpix not in STORED:
            raise Unreadable(f"{path}: BITPIX = {unit.bitpix} is none of {sorted(STORED)}")
        there = path.stat().st_size - unit.offset
        if there < unit.size:
            raise Unreadable(f"{path}: truncated, {max(0, there)} of {unit.size} bytes of pixels are there")
        return unit
    raise Unreadable(f"{path}: holds no image")


def _units(path: Path) -> Iterator[Unit]:
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        offset = 0
        while offset < size:
            file.seek(offset)
            cards, length = _read_block(file, path, first=offset == 0)
            unit = Unit(cards=cards, offset=offset + length, size=0)
            groups = number(unit, "GCOUNT", 1) * (number(unit, "PCOUNT", 0) + float(np.prod(unit.axes or [0])))
            data = int(groups) * abs(unit.bitpix) // 8
            yield Unit(cards=cards, offset=offset + length, size=data)
            offset += length + padded(data)


def _read_block(file: BinaryIO, path: Path, *, first: bool) -> tuple[dict[str, object], int]:
    """Return the cards of the header at the file's position and its length in bytes."""
    text = bytearray()
    for _ in range(_LONGEST_HEADER):
        block = file.read(BLOCK)
        if first and not text and not block.startswith(b"SIMPLE  ="):
            raise Unreadable(f"{path}: no FITS file")
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
            if isinstance(before, str) and before.endswith("&") and isinstance(more, str):
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


def compressed_image(path: Path) -> tuple[dict[str, object], Pixels]:
    """Read through astropy what it alone can: compressed and scaled images."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(path, memmap=False, lazy_load_hdus=False) as units:
                for unit in units:
                    if isinstance(unit, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU) and unit.data is not None:
                        data = np.squeeze(np.asarray(unit.data))
                        native = data.astype(data.dtype.newbyteorder("="), copy=False)
                        if native.ndim == 2:
                            return _parse(bytearray(unit.header.tostring().encode("latin-1"))), native
    except Exception as error:
        raise Unreadable(f"{path}: {error}") from error
    raise Unreadable(f"{path}: holds no image of one plane")


def is_compressed(path: Path) -> bool:
    """Return whether the name says that the whole file is compressed."""
    return path.suffix.lower() in {".gz", ".fz", ".bz2", ".z", ".xz"}


def opened(path: Path) -> BinaryIO:
    """Open a file for reading; one that cannot be opened is `Unreadable`."""
    try:
        return path.open("rb")
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}") from error
