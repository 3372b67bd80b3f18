"""FITS header blocks and checksums, below `fits` and `planes`.

Texts longer than a line are formatted by astropy; the sums are the convention's (FITS 4.0, section 4.4.2.7 and appendix
J), taken piece by piece so that a frame is never in memory twice.
"""

import math
import re
import sys
from collections.abc import Iterable
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from calibration.keywords import Card
from calibration.keywords.table import CardValue

BLOCK = 2880
_CARD = 80
_COMMENTARY = {"HISTORY", "COMMENT", ""}
_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}")
_ALL_ONES = 0xFFFFFFFF
_LARGE = 1 << 16
_PUNCTUATION = frozenset([*range(0x3A, 0x41), *range(0x5B, 0x61)])


def padded(size: int) -> int:
    """Return a size rounded up to whole FITS blocks of 2880 bytes."""
    return -(-size // BLOCK) * BLOCK


def image_cards(shape: tuple[int, int], bitpix: int, bzero: int, *, extension: str | None = None) -> list[Card]:
    """Return the structural cards of a 2-d image: primary, or an extension of the given name."""
    first = (
        Card("SIMPLE", value=True, comment="conforms to the FITS standard")
        if extension is None
        else Card("XTENSION", "IMAGE", "image extension")
    )
    cards = [
        first,
        Card("BITPIX", bitpix, "bits per value"),
        Card("NAXIS", 2, "number of axes"),
        Card("NAXIS1", shape[1], "width in pixels"),
        Card("NAXIS2", shape[0], "height in pixels"),
    ]
    if extension is None:
        cards.append(Card("EXTEND", value=True, comment="extensions may follow"))
    else:
        cards.append(Card("PCOUNT", 0, "no parameters"))
        cards.append(Card("GCOUNT", 1, "one group"))
        cards.append(Card("EXTNAME", extension, "name of this extension"))
    if bzero:
        cards.append(Card("BSCALE", 1, "value = BZERO + BSCALE * stored"))
        cards.append(Card("BZERO", bzero, "offset of unsigned integers"))
    return cards


def header_block(cards: Iterable[Card], *, datasum: int | None = None, size: int = 0) -> bytes:
    """Return a whole header, padded to blocks.

    Parameters
    ----------
    cards : iterable of Card
        In order, without END, CHECKSUM and DATASUM. Values that FITS cannot hold (None, NaN, infinity) are left out.
    datasum : int, optional
        Sum of the data that follow; DATASUM and CHECKSUM are written for it.
    size : int
        Least size in bytes, whole blocks, filled with blank cards before END: room that was kept for later cards.
    """
    text = "".join(_formatted(c.keyword, _plain(c.value), c.comment) for c in cards if _storable(c.value))
    if datasum is None:
        return _block(text, size)
    text += _card_text("DATASUM", str(datasum), "checksum of the data")
    total = add_sums(sum_of(_block(text + _checksum("0" * 16), size)), datasum)
    return _block(text + _checksum(encode_sum(total)), size)


def _checksum(value: str) -> str:
    return _card_text("CHECKSUM", value, "checksum of header and data")


def _card_text(keyword: str, value: CardValue, comment: str = "") -> str:
    """Return a card in the fixed format (FITS 4.0, 4.2); what is no line of that is left to astropy."""
    if keyword in _COMMENTARY and isinstance(value, str):
        room = _CARD - 8
        pieces = [value[i : i + room] for i in range(0, len(value), room)] or [""]
        return "".join(f"{keyword:8}{piece}".ljust(_CARD) for piece in pieces)
    comment = comment.rstrip()
    line = f"{keyword:8}= {_written(value)}{' / ' if comment else ''}{comment}"
    if len(line) <= _CARD and _KEYWORD.fullmatch(keyword):
        return line.ljust(_CARD)
    from astropy.io import fits  # 0.3 s to import, and 16 MB: few cards need it

    return str(fits.Card(keyword, value, comment))


def _written(value: CardValue) -> str:
    """Return a value as its card has it: numbers end in column 30, and digits for which there is no room are cut."""
    match value:
        case bool():
            return f"{'T' if value else 'F':>20}"
        case int():
            return f"{value:>20d}"
        case float():
            digits, e, power = str(value).upper().partition("E")
            return f"{digits[: 20 - len(e + power)] + e + power:>20}"
        case str() if value:
            quoted = "'{:8}'".format(value.replace("'", "''"))
            return f"{quoted:20}"
    return "''"


def _block(text: str, size: int) -> bytes:
    text = text.ljust(size - _CARD) + "END".ljust(_CARD)
    return text.ljust(padded(len(text))).encode("ascii")


def sum_of(data: bytes | bytearray | memoryview, start: int = 0) -> int:
    """Return the ones' complement 32-bit sum of big-endian data, continuing from `start`.

    A length that is no multiple of 4 counts as padded with zeros, so only the last piece may have one.
    """
    raw = np.frombuffer(memoryview(data).toreadonly().cast("B"), dtype=np.uint8)
    whole = len(raw) & ~3
    total = start + _sum_words(raw[:whole])
    if whole < len(raw):
        total += int.from_bytes(raw[whole:].tobytes().ljust(4, b"\0"), "big")
    return _fold(total)


def _sum_words(raw: NDArray[np.uint8]) -> int:
    if len(raw) < _LARGE or sys.byteorder != "little":
        return int(raw.view(">u4").sum(dtype=np.uint64))
    from services.files.byte_kernels import sum_words  # numba takes 0.2 s to import: only who writes images pays

    return int(sum_words(raw.view(np.uint32)))


def add_sums(a: int, b: int) -> int:
    """Return the ones' complement sum of two sums."""
    return _fold(a + b)


def encode_sum(total: int) -> str:
    """Return the 16 characters of CHECKSUM that bring a header and data unit of this sum to all ones.

    Each byte of the complement is spread over four printable characters, whose pairs are moved apart until none is
    punctuation; the text is turned by one place because it starts in the last byte of a word (appendix J).
    """
    value = _ALL_ONES - total
    out = bytearray(16)
    for place in range(4):
        quotient, remainder = divmod((value >> (24 - 8 * place)) & 0xFF, 4)
        letters = [quotient + 0x30] * 4
        letters[0] += remainder
        while any(letter in _PUNCTUATION for letter in letters):
            for pair, other in product((0, 2), _PUNCTUATION):
                if letters[pair] == other or letters[pair + 1] == other:
                    letters[pair] += 1
                    letters[pair + 1] -= 1
        out[place::4] = bytes(letters)
    return (out[-1:] + out[:-1]).decode("ascii")


def _fold(total: int) -> int:
    while total > _ALL_ONES:
        total = (total & _ALL_ONES) + (total >> 32)
    return total


def _storable(value: object) -> bool:
    return value is not None and not (isinstance(value, float | np.floating) and not math.isfinite(value))


def _plain(value: CardValue) -> CardValue:
    """Return Python's own value, and zero for a negative zero, which it equals."""
    value = value.item() if isinstance(value, np.generic) else value
    return value + 0.0 if isinstance(value, float) else value


@lru_cache(maxsize=1024, typed=True)
def _formatted(keyword: str, value: CardValue, comment: str) -> str:
    """Return a card as text, kept: most cards of a night are those of the frame before."""
    if isinstance(value, str):
        value = _ascii(value)
    if keyword in _COMMENTARY:
        return _card_text(keyword, value)
    keyword = keyword if len(keyword) <= 8 else f"HIERARCH {keyword}"
    room = _CARD - max(10, len(keyword) + 3) - len(" / ") - _width(value)
    comment = _ascii(comment or "")
    return _card_text(keyword, value, comment[: max(0, room)] if room < len(comment) else comment)


def _width(value: object) -> int:
    """Return how many characters a value takes in its card, at most those of a whole line."""
    if isinstance(value, str):
        return min(70, max(20, 2 + max(8, len(value.replace("'", "''")))))
    return 20


def _ascii(text: str) -> str:
    """Return text as FITS allows it: printable ASCII, anything else as `?`."""
    return "".join(c if " " <= c <= "~" else "?" for c in text.replace("\n", " "))
