"""The text of a FITS header as cards: what can be understood of it, whatever program wrote it.

Cards are read here and not by astropy, which warns and guesses where we want an error, and which blanks letters outside
ASCII. A card that cannot be understood costs itself only. Text is UTF-8 where it can be, else Latin-1, so that texts of
different bytes stay different.
"""

import re
from functools import lru_cache

COMMENTARY = ("HISTORY", "COMMENT")
"""Keywords of cards that hold a line of text each; their lines are kept together, one below the other."""

CARD_BYTES = 80
_LONGEST_TEXT = 10_000  # characters of one value and its continuations
_MOST_LINES = 2000  # of commentary; PixInsight writes hundreds
_BLANKS = dict.fromkeys([*range(32), 127], " ")  # some programs pad headers with NULs
_VALUE = re.compile(r"\s*(?:'(?P<text>(?:[^']|'')*)'|(?P<word>[^'/\s](?:[^/]*[^/\s])?))?\s*(?:/.*)?")


def parse(block: bytes | bytearray) -> dict[str, object]:
    """Return the cards of a header that can be understood, the first of each keyword; commentary as lines of text."""
    cards: dict[str, object] = {}
    lines: dict[str, list[str]] = {keyword: [] for keyword in COMMENTARY}
    last = ""
    whole = bytes(block)
    for start in range(0, len(whole) - CARD_BYTES + 1, CARD_BYTES):
        keyword, line, value = _card(whole[start : start + CARD_BYTES])
        if keyword == "END":
            break
        if keyword in lines:
            if line and len(lines[keyword]) < _MOST_LINES:
                lines[keyword].append(line)
        elif keyword == "CONTINUE":
            before = cards.get(last)
            goes_on = isinstance(before, str) and before.endswith("&") and len(before) < _LONGEST_TEXT
            if goes_on and isinstance(before, str) and isinstance(value, str):
                cards[last] = before[:-1] + value
        elif line and keyword not in cards:
            cards[keyword] = value
            last = keyword
    cards |= {keyword: "\n".join(found) for keyword, found in lines.items() if found}
    return {keyword: value for keyword, value in cards.items() if value is not None}


@lru_cache(maxsize=4096)
def _card(card: bytes) -> tuple[str, str, str | bool | int | float | None]:
    """Return a card's keyword, what is written in it and the value of that, kept: most cards of a night are equal."""
    text = _decoded(card)
    keyword, written = _split(text)
    if keyword in COMMENTARY:
        return keyword, text[8:].strip(), None
    return keyword, written, _value(written) if written else None


def _decoded(card: bytes) -> str:
    try:
        text = card.decode("utf-8")
    except UnicodeDecodeError:
        text = card.decode("latin-1")
    return text.translate(_BLANKS)


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
