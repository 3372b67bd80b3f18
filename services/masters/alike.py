"""Whether the frames of another program may be combined: cards that nobody understands, or levels, may divide them.

Unknown is not equal. Before a foreign group is combined, its cards and levels are looked through once. A group that
falls into parts is refused, and the message says what divides it.
"""

from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from calibration.errors import CalibrationError, GroupCode
from calibration.frames import FrameKind
from calibration.keywords import ALIASES, normalised
from calibration.series import two_levels
from calibration.unlike import Cards, Unlike, stated_facts, telling_cards
from services.catalogue.rows import FrameRow
from services.errors import StorageError
from services.files.fits import read_cards
from services.files.layout import Layout
from services.masters.refusal import GroupRefused
from services.planning.chosen import measured, without_odd
from services.planning.master_groups import MasterGroup
from services.words import count


def refuse_unlike(group: MasterGroup, layout: Layout, *, ignored: Collection[str] = ()) -> None:
    """Refuse a group of another program's frames that is not one; our own are judged as they land.

    Parameters
    ----------
    group : MasterGroup
    layout : Layout
    ignored : collection of str
        Keywords that do not matter (`header_aliases: {KEYWORD: ignore}`).

    Raises
    ------
    GroupRefused
        `unlike_frames`: a card, or two levels, divide the frames.
    """
    if group.own:
        return
    _refuse_unlike_cards(group, layout, ignored)
    _refuse_two_levels(without_odd(group).group)


def _refuse_unlike_cards(group: MasterGroup, layout: Layout, ignored: Collection[str]) -> None:
    cards = [found for row in group.rows if (found := _cards(row, layout)) is not None]
    stated = stated_facts(row.header() for row in group.rows)
    unlike = telling_cards(group.rows[0].kind, cards, stated=stated, measured=measured(group.rows), ignored=ignored)
    if not unlike:
        return
    names = ", ".join(f"{each.keyword}: {', '.join(f'{value} ({n})' for value, n in each.values)}" for each in unlike)
    raise GroupRefused(GroupCode.UNLIKE_FRAMES, f"these {_frames(group)} differ in {names}{_advice(unlike)}")


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


def _cards(row: FrameRow, layout: Layout) -> Cards | None:
    """Return the cards of a frame; None where it cannot be read, of which whoever reads its pixels speaks."""
    try:
        return normalised(read_cards(layout.absolute(row.path)))
    except (StorageError, CalibrationError, OSError):
        return None


def _refuse_two_levels(group: MasterGroup) -> None:
    """Refuse darks of two levels, and flats of two levels whose filter nobody states."""
    rows, seen = group.rows, measured(group.members)
    is_flat = rows[0].kind is FrameKind.FLAT
    if is_flat and (group.key.filter is not None or len({row.exposure_us for row in rows}) > 1):
        return
    parts = two_levels(rows[0].kind, seen)
    if parts is None:
        return
    shown = (
        f"{count(len(part), 'frame')} at {sorted(seen[i].level_adu for i in part)[len(part) // 2]:.0f} ADU "
        f"({PurePosixPath(rows[part[0]].path).name} …)"
        for part in parts
    )
    detail = f"the levels of these {_frames(group)} are two, and no card says why: {' and '.join(shown)}"
    raise GroupRefused(GroupCode.UNLIKE_FRAMES, detail)


def _frames(group: MasterGroup) -> str:
    nouns = {FrameKind.BIAS: "bias frame", FrameKind.DARK: "dark", FrameKind.FLAT: "flat"}
    return count(len(group.rows), nouns[group.rows[0].kind])
