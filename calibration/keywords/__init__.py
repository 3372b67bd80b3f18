"""FITS keywords: `FrameHeader` and `MasterInfo` to cards and back, in our own and in every other dialect met.

No input or output: `services.files` makes files of cards. Cards are (keyword, value, comment); values are text,
whole numbers, numbers or logicals, keywords have at most eight characters, all of it is ASCII.
"""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from calibration.frames import FrameHeader, FrameKind
from calibration.keywords.kinds import KIND_KEYWORDS, is_of_other_use, kind_of, kind_of_path, kind_of_word
from calibration.keywords.letters import ascii_text
from calibration.keywords.master import MASTER_KEYWORDS, PERCENTILES, MasterInfo, percentile_keyword
from calibration.keywords.normal import NO_ALIASES, Aliases, Cards, normalised, with_aliases
from calibration.keywords.provenance import PedestalRule, is_master, master_evidence, pedestal_to_subtract
from calibration.keywords.reading import from_cards, master_from_cards, read_as, sensor_celsius
from calibration.keywords.table import ALIASES, FRAME_KEYWORDS, CardValue, Keyword
from calibration.keywords.values import to_mjd

__all__ = [
    "ALIASES",
    "FRAME_KEYWORDS",
    "KIND_KEYWORDS",
    "MASTER_KEYWORDS",
    "NO_ALIASES",
    "OF_THE_VALUES",
    "PERCENTILES",
    "Aliases",
    "Card",
    "CardValue",
    "Cards",
    "Keyword",
    "MasterInfo",
    "PedestalRule",
    "from_cards",
    "is_master",
    "is_of_other_use",
    "kind_of",
    "kind_of_path",
    "kind_of_word",
    "master_evidence",
    "master_from_cards",
    "normalised",
    "pedestal_to_subtract",
    "read_as",
    "sensor_celsius",
    "to_cards",
    "with_aliases",
]

OF_THE_VALUES = frozenset({"DATAMED", "DATASTD", "DATAMIN", "DATAMAX", *map(percentile_keyword, PERCENTILES)})
"""Keywords that say what the values of the image are, in its own unit."""

_EXTRA_COMMENTS = {"DATE": "UTC, when the file was made"}
_VALID = re.compile(r"[A-Z0-9_-]{1,8}")


class Card(NamedTuple):
    """One card of a FITS header."""

    keyword: str
    value: CardValue
    comment: str = ""


def to_cards(header: FrameHeader, master: MasterInfo | None = None) -> tuple[Card, ...]:
    """Return the cards of a frame, or of a master when `master` is given.

    Fields that are None or not finite have no card. Cards of `header.extra` follow, as far as a plain card can hold
    them and no field has their keyword. The values of a master flat have no unit: its BUNIT is empty, which FITS tools
    read as dimensionless (a missing one they refuse).
    """
    kind = header.kind.value if master is None else f"MASTER {header.kind.value}"
    cards = [Card("IMAGETYP", kind, "type of frame"), *_rows(FRAME_KEYWORDS, header)]
    if header.date_obs is not None:
        cards.append(Card("TIMESYS", "UTC", "time system of all dates"))
        cards.append(Card("MJD-OBS", to_mjd(header.date_obs), "[d] start of the exposure, UTC"))
    relative = master is not None and header.kind is FrameKind.FLAT
    unit, words = ("", "relative, 1 is the level it was divided by") if relative else ("adu", "unit of the values")
    cards.append(Card("BUNIT", unit, words))
    if master is not None:
        cards.extend(_rows(MASTER_KEYWORDS, master))
        for percentile, value in zip(PERCENTILES, master.percentiles_adu, strict=False):
            cards.append(Card(percentile_keyword(percentile), float(value), f"[adu] percentile {percentile}"))
    if relative:
        cards = [_relative(card) for card in cards]
    taken = {card.keyword for card in cards} | {spelling for row in FRAME_KEYWORDS for spelling in row.known_as}
    return tuple(_fitted(card) for card in (*cards, *_extra(header, taken)) if _holds(card.value))


def _relative(card: Card) -> Card:
    """Return a card about a normalised flat's values, which have no unit (BUNIT is empty, as for any pure number)."""
    of_values = card.keyword in OF_THE_VALUES
    return card._replace(comment=card.comment.removeprefix("[adu] ")) if of_values else card


def _rows(table: tuple[Keyword, ...], record: object) -> Iterable[Card]:
    for row in table:
        value = getattr(record, row.field)
        if value is None or (row.field == "simulated" and not value):
            continue
        for keyword in (row.keyword, *row.twins):
            yield Card(keyword, row.write(value), row.comment)


def _extra(header: FrameHeader, taken: set[str]) -> Iterable[Card]:
    for keyword, value in header.extra.items():
        if keyword in taken or not _VALID.fullmatch(keyword) or not isinstance(value, str | int | float | bool):
            continue
        yield Card(keyword, ascii_text(value) if isinstance(value, str) else value, _EXTRA_COMMENTS.get(keyword, ""))


def _fitted(card: Card) -> Card:
    """Cut the comment to what a line of 80 characters leaves."""
    size = len(card.value) + card.value.count("'") + 2 if isinstance(card.value, str) else 0
    return card._replace(comment=card.comment[: max(0, 80 - 10 - max(20, size) - 3)].rstrip())


def _holds(value: CardValue) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
