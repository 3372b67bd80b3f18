"""The settings file of an attempt: lines `KEY=value` or `KEY: value`, and the image format that they state."""

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass

from services.files.units import MAX_PIXELS

NAMES = ("configFile.txt", "config.txt")
"""Its names; the first that is there counts."""
LONGEST_KEYWORD = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFormat:
    """How the pixels of a raw file lie: `height` rows of `width` pixels, row after row, without a header.

    Attributes
    ----------
    height, width : int
        Pixels.
    bit_depth : int
        Bits of a count; more than 8 are stored in two bytes.
    big_endian : bool
        Whether the higher byte of a count comes first.
    """

    height: int
    width: int
    bit_depth: int = 16
    big_endian: bool = False

    @property
    def dtype(self) -> str:
        """The numpy type of a stored pixel."""
        if self.bit_depth <= 8:
            return "u1"
        return ">u2" if self.big_endian else "<u2"

    @property
    def bytes(self) -> int:
        """The size of a whole raw file."""
        return self.height * self.width * (1 if self.bit_depth <= 8 else 2)

    @property
    def packed_bytes(self) -> int | None:
        """The size of a file whose counts lie closer than whole bytes; None where they fill their bytes anyway."""
        return None if self.bit_depth in {8, 16} else -(-self.height * self.width * self.bit_depth // 8)


class NoFormat(Exception):
    """The settings do not say how large the image is."""


def decoded(data: bytes) -> str:
    """Return the text of a file of settings or of a log: UTF-8, or UTF-16 where its mark says so."""
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # "Unicode text" of spreadsheets
    return data.decode("utf-16" if is_wide else "utf-8-sig", errors="replace")


def parse_settings(text: str) -> dict[str, str]:
    """Return the settings of a file in their order: `=` parts before `:`, lines that are neither are passed over.

    Parameters
    ----------
    text : str
        With or without a byte order mark.
    """
    found: dict[str, str] = {}
    for line in text.removeprefix("\ufeff").splitlines():
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        for separator in ("=", ":"):
            key, is_there, value = stripped.partition(separator)
            if is_there and key.strip():
                found[key.strip()] = value.strip()
                break
    return found


def format_of(settings: Mapping[str, str], *, big_endian: bool = False) -> ImageFormat:
    """Return the image format that settings state, whatever the case of their keys.

    Raises
    ------
    NoFormat
        With the reason in words: no size is guessed.
    """
    folded = {key.casefold().replace(" ", "_"): value for key, value in settings.items()}
    height, width = (_whole(folded, name) for name in ("height", "width"))
    depth = _whole(folded, "bit_depth", 16)
    if depth > 16:
        raise NoFormat(f"BIT_DEPTH is {depth}, and at most 16 bits are understood")
    if height * width > MAX_PIXELS:
        raise NoFormat(f"no camera makes images of {width} x {height} pixels")
    return ImageFormat(height=height, width=width, bit_depth=depth, big_endian=big_endian)


def _whole(folded: Mapping[str, str], name: str, otherwise: int | None = None) -> int:
    written = folded.get(name)
    if written is None:
        if otherwise is not None:
            return otherwise
        raise NoFormat(f"the settings have no {name.upper()}")
    if not re.fullmatch(r"\d{1,6}", written) or int(written) == 0:
        raise NoFormat(f"{name.upper()} is {written!r}, which is no number of pixels or bits")
    return int(written)


def keyword_of(key: str) -> str:
    """Return the FITS keyword of a setting: capitals, digits and `_`, eight at most; "" where none is left."""
    return re.sub(r"[^A-Z0-9_]", "", key.upper().replace(" ", "_"))[:LONGEST_KEYWORD]
