"""Whether the frames of another program may be combined: cards that nobody understands, or levels, may divide them.

Unknown is not equal. Before a foreign group is combined, its cards and levels are looked through once. Single frames
that do not belong are left out by name; a group that falls into parts is refused, and the message says what divides it.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from calibration.checks.series import Measured, odd_frames, two_levels
from calibration.errors import CalibrationError, FrameCode, GroupCode
from calibration.frames import FrameKind, Verdict
from calibration.keywords import normalised
from calibration.unlike import Cards, Unlike, stated_facts, telling_cards
from services.catalogue.rows import FrameRow
from services.errors import StorageError
from services.files.fits import read_cards
from services.files.layout import Layout
from services.masters.doubts import measured
from services.masters.refusal import GroupRefused, Warn
from services.planning.master_groups import MasterGroup
from services.words import count, some

_WORDS = {FrameCode.LEVEL_OFF: "level", FrameCode.NOISE_OFF: "noise"}


def alike(group: MasterGroup, layout: Layout, warn: Warn, *, ignored: Collection[str] = ()) -> MasterGroup:
    """Return a group of another program's frames without those that do not belong; our own are judged as they land.

    Parameters
    ----------
    group : MasterGroup
    layout : Layout
    warn : callable
        Called with the code and the words for the frames that are left out.
    ignored : collection of str
        Keywords that do not matter (`header_aliases: {KEYWORD: ignore}`).

    Raises
    ------
    GroupRefused
        `unlike_frames`: a card, or two levels, divide the frames.
    """
    if group.own:
        return group
    kind, seen = group.rows[0].kind, measured(group.rows)
    _refuse_unlike_cards(group, layout, ignored)
    odd = odd_frames(kind, seen)
    for code in _WORDS:
        _tell(group.rows, {i: verdict for i, verdict in odd.items() if verdict.code == code}, warn)
    kept = [i for i in range(len(group.rows)) if i not in odd]
    _refuse_two_levels(group, [group.rows[i] for i in kept], [seen[i] for i in kept] if seen else [])
    return replace(group, rows=tuple(group.rows[i] for i in kept)) if odd else group


def _tell(rows: Sequence[FrameRow], odd: dict[int, Verdict], warn: Warn) -> None:
    if not odd:
        return
    frames = [f"{rows[i].path} ({verdict.measured:.1f} ADU)" for i, verdict in sorted(odd.items())]
    code, usual = next((verdict.code, verdict.limit) for verdict in odd.values())
    word = _WORDS[FrameCode(code)]
    warn(code, f"left out of its master: {some(frames)}; the {word} of the others is {usual:.1f} ADU")


def _refuse_unlike_cards(group: MasterGroup, layout: Layout, ignored: Collection[str]) -> None:
    cards = [found for row in group.rows if (found := _cards(row, layout)) is not None]
    levels = [row.level_adu for row in group.rows if row.level_adu is not None]
    stated = stated_facts(row.header() for row in group.rows)
    unlike = telling_cards(group.rows[0].kind, cards, stated=stated, levels_adu=levels, ignored=ignored)
    if not unlike:
        return
    names = ", ".join(f"{each.keyword}: {', '.join(f'{value} ({n})' for value, n in each.values)}" for each in unlike)
    raise GroupRefused(GroupCode.UNLIKE_FRAMES, f"these {_frames(group)} differ in {names}{_advice(unlike)}")


def _advice(found: Sequence[Unlike]) -> str:
    """Return what the user can say of the first card: what it is, if its name says so, else that it does not matter."""
    first = next((each for each in found if each.means is not None), found[0])
    said = f"`header_aliases: {{{first.keyword}: {first.means or 'ignore'}}}`"
    return f"; say {said}" + (", or `ignore`" if first.means is not None else "") + " where it does not matter"


def _cards(row: FrameRow, layout: Layout) -> Cards | None:
    """Return the cards of a frame; None where it cannot be read, of which whoever reads its pixels speaks."""
    try:
        return normalised(read_cards(layout.absolute(row.path)))
    except (StorageError, CalibrationError, OSError):
        return None


def _refuse_two_levels(group: MasterGroup, rows: Sequence[FrameRow], seen: Sequence[Measured]) -> None:
    """Refuse darks of two levels, and flats of two levels whose filter nobody states."""
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
