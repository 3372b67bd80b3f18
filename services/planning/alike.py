"""Whether the frames of another program may be combined: cards that nobody understands, or levels, may divide them.

Unknown is not equal. Before a foreign group is combined, its cards and levels are looked through once. A group that
falls into parts is refused, and the message says what divides it.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import PurePosixPath

from calibration.errors import GroupCode
from calibration.frames import FrameKind
from calibration.keywords import ALIASES
from calibration.series import two_levels
from calibration.unlike import Cards, Unlike, stated_facts, telling_cards
from services.catalogue.rows import FrameRow
from services.planning.chosen import Refused, measured, without_odd
from services.planning.master_groups import MasterGroup
from services.words import count

CardsOf = Callable[[FrameRow], Cards | None]
"""Reads the cards of a frame; None where it cannot be read, of which whoever reads its pixels speaks."""


def unlike(group: MasterGroup, cards_of: CardsOf, *, ignored: Collection[str] = ()) -> Refused | None:
    """Return why a group of another program's frames is not one; None where it is. Our own are judged as they land.

    Parameters
    ----------
    group : MasterGroup
    cards_of : callable
        Reads the header of a frame.
    ignored : collection of str
        Keywords that do not matter (`header_aliases: {KEYWORD: ignore}`).

    Returns
    -------
    Refused or None
        `unlike_frames`: a card, or two levels, divide the frames.
    """
    if group.own:
        return None
    return _unlike_cards(group, cards_of, ignored) or _two_levels(without_odd(group).group)


def _unlike_cards(group: MasterGroup, cards_of: CardsOf, ignored: Collection[str]) -> Refused | None:
    cards = [read for row in group.rows if (read := cards_of(row)) is not None]
    stated = stated_facts(row.header() for row in group.rows)
    found = telling_cards(group.rows[0].kind, cards, stated=stated, measured=measured(group.rows), ignored=ignored)
    if not found:
        return None
    names = ", ".join(f"{each.keyword}: {', '.join(f'{value} ({n})' for value, n in each.values)}" for each in found)
    detail = f"these {_frames(group)} differ in {names}{_advice(found)}"
    return Refused(code=GroupCode.UNLIKE_FRAMES, detail=detail)


def _advice(found: Sequence[Unlike]) -> str:
    """Return what the user can say: what the first card is, if its name says so, else that none of them matters."""
    first = next((each for each in found if each.means is not None), None)
    if first is not None:
        known = f"`header_aliases: {{{first.keyword}: {first.means}}}`"
        return f"; say {known}, or `{{{first.keyword}: ignore}}` where it does not matter"
    aliases = ", ".join(f"{each.keyword}: ignore" for each in found)
    facts = ", ".join(sorted(ALIASES.keys() - {"ignore", "kind", "night", "date"}))
    return (
        f"; say `header_aliases: {{{aliases}}}` where that does not matter, or what it is instead of `ignore` ({facts}"
        "); else take those of one kind out of the folder"
    )


def _two_levels(group: MasterGroup) -> Refused | None:
    """Refuse darks of two levels, and flats of two levels whose filter nobody states."""
    rows, seen = group.rows, measured(group.members)
    is_flat = rows[0].kind is FrameKind.FLAT
    if is_flat and (group.key.filter is not None or len({row.exposure_us for row in rows}) > 1):
        return None
    parts = two_levels(rows[0].kind, seen)
    if parts is None:
        return None
    shown = (
        f"{count(len(part), 'frame')} at {sorted(seen[i].level_adu for i in part)[len(part) // 2]:.0f} ADU "
        f"({PurePosixPath(rows[part[0]].path).name} …)"
        for part in parts
    )
    detail = f"the levels of these {_frames(group)} are two, and no card says why: {' and '.join(shown)}"
    return Refused(code=GroupCode.UNLIKE_FRAMES, detail=detail)


def _frames(group: MasterGroup) -> str:
    nouns = {FrameKind.BIAS: "bias frame", FrameKind.DARK: "dark", FrameKind.FLAT: "flat"}
    return count(len(group.rows), nouns[group.rows[0].kind])
