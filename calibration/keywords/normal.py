"""Cards of any program as one mapping: keywords in capitals, plain values, and what the user has named."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Protocol

from calibration.keywords import values
from calibration.keywords.table import ALIASES


class HasItems(Protocol):
    """Anything that lists its cards as `dict` does, a FITS header included."""

    def items(self) -> Iterable[tuple[str, Any]]:
        """Return pairs of keyword and value."""
        ...


Cards = HasItems | Iterable[tuple[Any, ...]]

Aliases = Mapping[str, str]
"""Keywords of another program, and what each stands for in the words of `ALIASES`."""

NO_ALIASES: Aliases = {}


def with_aliases(known: Mapping[str, object], aliases: Aliases) -> dict[str, object]:
    """Return cards in which what the user named stands under the keyword of its field."""
    renamed = {
        target: known[keyword.upper()]
        for keyword, field in aliases.items()
        if values.text(known.get(keyword.upper())) is not None
        for target in ALIASES[field]
    }
    return {**known, **renamed}


def normalised(cards: Cards) -> dict[str, object]:
    """Return cards by upper-case keyword, values as plain Python; the first of a repeated keyword counts.

    All lines of HISTORY and of COMMENT stand one below the other.
    """
    pairs = cards.items() if hasattr(cards, "items") else ((card[0], card[1]) for card in cards)
    found: dict[str, object] = {}
    for written, value in pairs:
        keyword = _upper(written)
        if keyword in {"HISTORY", "COMMENT"} and keyword in found:
            found[keyword] = f"{found[keyword]}\n{value}"
        found.setdefault(keyword, values.plain(value))
    return found


@lru_cache(maxsize=4096)
def _upper(written: object) -> str:
    return str(written).upper().removeprefix("HIERARCH ").strip()
