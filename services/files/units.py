"""What a FITS file is made of: its header and data units, found without trusting the file.

Files are read here, block by block, because astropy warns and guesses where we want an error, and its warnings cannot
be caught safely in threads; only tile-compressed images are unpacked by astropy, once their header was found
believable. Everything wrong ends in `Unreadable`. No more is allocated, and nothing skipped, than the file can hold.

A file may hold more than its frame. The frame is the one image that is neither a preview nor a companion (errors, data
quality); a file with two that could both be the frame is refused. What the primary header says holds for an image
in an extension too, as far as the extension does not say otherwise.
"""

import bz2
import gzip
import math
import re
import stat
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from calibration.frames import Pixels
from services.errors import RunCode, StorageError
from services.files.cards import BLOCK, padded
from services.files.parsing import CARD_BYTES, COMMENTARY, parse

STORED = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
"""BITPIX to the type of the stored values."""

MAX_PIXELS = 1 << 29
"""No camera has more; a size beyond it is a lie."""

_LONGEST_HEADER = 400  # blocks; more is no header but a file that lost its END
_MOST_UNITS = 1000
_MOST_AXES = 999  # FITS 4.0, 4.4.1.1
_MOST_COLUMNS = 999  # FITS 4.0, 7.3.1
_MOST_PACKED = 1100  # deflate makes 1032 bytes of one, Rice's code 205
_MOST_UNPACKED = 1 << 31


_PREVIEW = re.compile(r"thumb|preview|quick|browse|icon|jpe?g", re.IGNORECASE)
_COMPANION = re.compile(
    r"(?:err|error|errors|var|variance|uncert|uncertainty|sigma|rms|std|stddev|noise|ivar|dq|mask|masks|bpm|badpix"
    r"|flags?|quality|weights?|wht|wt|nsamp|samp|counts?|expmap|con|ctx|cov|sky|bkg|background|residuals?)(?:[_\d].*)?",
    re.IGNORECASE,
)
_SMALL = 4  # an image of a quarter of the largest one's pixels or fewer is its preview, whatever it is called

_STRUCTURE = re.compile(
    r"|SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|BLANK|CHECKSUM|DATASUM|END|CONTINUE"
)
_PACKING = re.compile(
    r"T(?:FIELDS|HEAP|(?:TYPE|FORM|UNIT|DIM|NULL|ZERO|SCAL|DISP)\d+)"
    r"|Z(?:IMAGE|SIMPLE|TENSION|BITPIX|NAXIS\d*|TILE\d+|CMPTYPE|NAME\d+|VAL\d+|QUANTIZ|DITHER0|BLANK|EXTEND|PCOUNT"
    r"|GCOUNT|HECKSUM|DATASUM|MASKCMP)"
)


class _Packer(NamedTuple):
    """A way in which whole files are packed: how to read one, and how many bytes one byte may become."""

    opens: Callable[[Path], Any]
    most: int


_PACKERS = {".gz": _Packer(gzip.open, _MOST_PACKED), ".bz2": _Packer(bz2.open, 50_000)}


class Unreadable(StorageError):
    """A file is no FITS image that we can read: truncated, damaged, or something else."""

    code = RunCode.READ_FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One header and data unit of an uncompressed file.

    Attributes
    ----------
    cards : mapping
        Of its own header, structural ones included.
    offset, size : int
        Bytes: where its data begin, and how many they are.
    index : int
        Its number in the file, from 0.
    inherited : mapping
        Cards of the primary header, for an image in an extension.
    beside : tuple of str
        Names of the other images in the file, which are not the frame.
    """

    cards: Mapping[str, object]
    offset: int
    size: int
    index: int = 0
    inherited: Mapping[str, object] = field(default_factory=dict)
    beside: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """EXTNAME, with EXTVER where there is one; else the unit's number."""
        name, version = str(self.cards.get("EXTNAME", "")).strip(), self.cards.get("EXTVER", 1)
        return f"{name or f'image {self.index}'}{'' if version == 1 else f',{version}'}"

    @property
    def facts(self) -> dict[str, object]:
        """Cards that say something of the frame, those of the primary header included; its own count first."""
        packed = self.compressed
        own = {keyword: value for keyword, value in self.cards.items() if not is_structure(keyword, packed=packed)}
        if not self.inherited:
            return own
        primary = {keyword: value for keyword, value in self.inherited.items() if not is_structure(keyword)}
        lines = {k: f"{primary[k]}\n{own[k]}" for k in COMMENTARY if k in primary and k in own}
        return primary | own | lines

    def whole(self, keyword: str, default: int = 0) -> int:
        """Return a card's number as a whole one; the default when it is missing or no number."""
        value = self.cards.get(keyword, default)
        return value if type(value) is int else int(number(self, keyword, default))

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
        axes = self.axes
        return kind == "IMAGE" and len(axes) >= 2 and all(axes)

    @property
    def image_axes(self) -> list[int]:
        """Axes of its image, compressed or not."""
        return self.tiled_axes if self.compressed else self.axes

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.image_axes[1], self.image_axes[0]

    @property
    def is_float(self) -> bool:
        """Whether the values of its image are stored as floats."""
        return (self.whole("ZBITPIX") if self.compressed else self.bitpix) < 0

    @property
    def blank(self) -> int | None:
        """The stored number that stands for an undefined pixel; None where there is none, or the values are floats."""
        written = self.cards.get("BLANK")
        return written if not self.is_float and isinstance(written, int) and not isinstance(written, bool) else None


def number(unit: Unit, keyword: str, default: float) -> float:
    """Return a card's finite number; the default when it is missing or no number."""
    value = unit.cards.get(keyword, default)
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return default
    return found if math.isfinite(found) else default


@lru_cache(maxsize=1024)
def is_structure(keyword: str, *, packed: bool = False) -> bool:
    """Return whether a card says how the file is built, not what the frame is; `packed`: of a tile-compressed image."""
    return _STRUCTURE.fullmatch(keyword) is not None or (packed and _PACKING.fullmatch(keyword) is not None)


def image_unit(path: Path) -> Unit:
    """Return the unit that holds the frame, checked for completeness (of a gzipped file: for plausibility).

    Raises
    ------
    Unreadable
        The file is missing, truncated, damaged, no FITS file, or holds no image of one plane; with the code
        `several_images` if more than one image could be the frame.
    """
    room = _room(path)
    primary: Mapping[str, object] = {}
    images: list[Unit] = []
    try:
        for unit in _units(path, room):
            primary = primary or unit.cards
            if unit.compressed or unit.is_image:
                images.append(unit)
    except Unreadable:
        if not images:  # else what follows the frame is damaged, which the frame need not be
            raise
    if not images:
        raise Unreadable(f"{path}: holds no image")
    unit = _frame_of(images, path)
    _check_shape(unit, path)
    there = room - unit.offset
    if there < unit.size:
        raise Unreadable(f"{path}: truncated, {max(0, there)} of {unit.size} bytes of pixels are there")
    beside = tuple(other.name for other in images if other is not unit)
    return replace(unit, inherited=primary if unit.index else {}, beside=beside)


def units_of(path: Path) -> Iterator[Unit]:
    """Yield the units of a file, whose data need not all be there.

    Raises
    ------
    Unreadable
        The file is missing, no FITS file, or a header is damaged.
    """
    yield from _units(path, _room(path))


def is_complete(path: Path) -> bool:
    """Whether an unpacked file has all the bytes that its headers announce, and nothing else."""
    try:
        room, end = _room(path), 0
        for unit in _units(path, room):
            end = unit.offset + padded(unit.size)
    except Unreadable:
        return False
    return end == room


def _frame_of(images: list[Unit], path: Path) -> Unit:
    """Return the image that is the frame: the only one that is neither a preview nor a companion of another."""
    if len(images) == 1:
        return images[0]
    able = [unit for unit in images if not _is_beside(unit)] or images
    largest = max(_area(unit) for unit in able)
    frames = [unit for unit in able if _area(unit) * _SMALL > largest]
    if len(frames) > 1:
        names = ", ".join(unit.name for unit in frames[:8])
        raise Unreadable(
            f"{path}: holds {len(frames)} images ({names}); nightcal combines one image of a file: "
            "write each amplifier or detector into files of its own, or join them first",
            code=RunCode.SEVERAL_IMAGES,
        )
    return frames[0]


def _is_beside(unit: Unit) -> bool:
    name = unit.name.partition(",")[0]
    return _PREVIEW.search(name) is not None or _COMPANION.fullmatch(name) is not None


def _area(unit: Unit) -> int:
    return math.prod(unit.image_axes[:2])


def _check_shape(unit: Unit, path: Path) -> None:
    """Refuse images that are none of ours, or that no camera makes."""
    axes, bitpix = unit.image_axes, unit.whole("ZBITPIX") if unit.compressed else unit.bitpix
    if len(axes) < 2:
        raise Unreadable(f"{path}: an image of {len(axes)} axes {axes[:9]}; one plane is expected")
    if any(axis != 1 for axis in axes[2:]):
        raise Unreadable(
            f"{path}: an image of {len(axes)} axes {axes[:9]}; one plane is expected: write each into a file",
            code=RunCode.SEVERAL_IMAGES,
        )
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
    """Yield the units of a file that can hold `room` bytes; what follows the last one in other forms is not looked at.

    A gzipped file must be unpacked up to where the next header may be, so that its primary header is asked first
    whether there are others.
    """
    with opened(path) as file:
        offset = 0
        for index in range(_MOST_UNITS):
            found = _read_block(file, path, first=offset == 0)
            if found is None:
                return
            cards, length = found
            unit = Unit(cards=cards, offset=offset + length, size=_data_size(cards, path), index=index)
            yield unit
            offset = unit.offset + padded(unit.size)
            is_alone = index == 0 and unit.is_image and cards.get("EXTEND") is not True
            if offset >= room or (is_alone and is_packed(path)):
                return
            file.seek(offset)


def _room(path: Path) -> int:
    """Return how many bytes a file holds, or could hold when it is unpacked."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}") from error
    packed = _PACKERS.get(path.suffix.lower())
    return size if packed is None else min(size * packed.most, _MOST_UNPACKED)


def _data_size(cards: Mapping[str, object], path: Path) -> int:
    """Return how many bytes of data a header announces."""
    unit = Unit(cards=cards, offset=0, size=0)
    if not 0 <= unit.whole("NAXIS") <= _MOST_AXES:
        raise Unreadable(f"{path}: NAXIS = {unit.whole('NAXIS')} is not from 0 to {_MOST_AXES}")
    axes = unit.axes
    values = math.prod(axes) if axes else 0
    size = abs(unit.bitpix) // 8 * unit.whole("GCOUNT", 1) * (unit.whole("PCOUNT") + values)
    if size < 0 or any(axis < 0 for axis in axes):
        raise Unreadable(f"{path}: a header announces less than no data")
    return size


def _read_block(file: BinaryIO, path: Path, *, first: bool) -> tuple[dict[str, object], int] | None:
    """Return the cards of the header at the file's position and its length in bytes; None where the file ends."""
    text = bytearray()
    for _ in range(_LONGEST_HEADER):
        block = file.read(BLOCK)
        if first and not text and not block.startswith(b"SIMPLE  ="):
            raise Unreadable(f"{path}: no FITS file")
        if not first and not text and not block.startswith(b"XTENSION="):
            return None
        text += block
        if _has_end(block):
            return parse(text), len(text)
        if len(block) < BLOCK:
            break
    raise Unreadable(f"{path}: its header has no end")


def _has_end(block: bytes) -> bool:
    """Whether one of a block's cards is the last one of its header."""
    at = block.find(b"END")
    while at >= 0 and not (at % CARD_BYTES == 0 and block[at : at + 8].startswith((b"END     ", b"END\0"))):
        at = block.find(b"END", at + 1)
    return at >= 0


def decoded_image(path: Path, unit: Unit) -> Pixels:
    """Return the stored values of a tile-compressed image, unpacked by astropy once its header was believed."""
    from astropy.io import fits  # 0.3 s to import: few files are packed

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(path, memmap=False, do_not_scale_image_data=True) as units:
                data = np.squeeze(np.asarray(units[unit.index].data))
    except Exception as error:
        raise Unreadable(f"{path}: {error}") from error
    if data.ndim != 2:
        raise Unreadable(f"{path}: holds no image of one plane")
    native: Pixels = data.astype(data.dtype.newbyteorder("="), copy=False)
    return native


def is_packed(path: Path) -> bool:
    """Return whether the name says that the whole file is compressed."""
    return path.suffix.lower() in _PACKERS


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, unpacked; one that cannot be opened or unpacked is `Unreadable`."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unreadable(f"{path}: is no file")  # opening a pipe would wait for ever
        with _PACKERS[path.suffix.lower()].opens(path) if is_packed(path) else path.open("rb") as file:
            yield file
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(f"{path}: {getattr(error, 'strerror', None) or error}") from error
