"""What each master is good for, after a frame of it was rejected or a better master has taken its place.

Files are never moved or renamed: the sidecar and the catalogue say it. Nothing is lost by that: the status a master had
stays beside the new one, and comes back when the reason goes.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import itemgetter
from pathlib import PurePosixPath

from calibration.frames import FrameKind, GroupKey
from services.catalogue.rows import USABLE, Mark, MasterRow, MasterStatus
from services.events.findings import findings_of
from services.indexing.sidecar import restate_sidecar
from services.root import Place
from services.words import some


def settle(place: Place, rows: Iterable[MasterRow] | None = None) -> list[MasterRow]:
    """Bring the status of masters up to date, in sidecars and catalogue; return those that changed.

    Parameters
    ----------
    place : Place
    rows : iterable of MasterRow, optional
        Only these: with all others of their keys, and with their inputs. By default all of the catalogue.

    Raises
    ------
    StorageError
        A sidecar or the catalogue cannot be written.
    """
    catalogue = place.catalogue
    before = catalogue.masters() if rows is None else list(rows)
    changed = [new for old, new in zip(before, standing(before, catalogue.marks()), strict=True) if new != old]
    for row in changed:
        restate_sidecar(place.layout, row, disk=place.disk)
    with catalogue.at_once():
        for row in changed:
            catalogue.add_master(row)
    return changed


def standing(rows: Sequence[MasterRow], marks: Iterable[Mark]) -> list[MasterRow]:
    """Return masters, in the same order, with the status that they have among one another.

    Parameters
    ----------
    rows : sequence of MasterRow
        With all others of their keys, and with their inputs.
    marks : iterable of Mark
        Rejected frames.
    """
    rejected = {mark.pixel_sha256: mark for mark in marks}
    spoilt = _spoilt(rows, rejected)
    asked = frozenset(row.inputs[0] for row in rows if row.inputs)
    shelves: defaultdict[GroupKey, _Shelf] = defaultdict(_Shelf)
    for row in rows:
        if _base(row) in USABLE and row.path not in spoilt:
            shelves[row.shelf].put(row, asked)
    for shelf in shelves.values():
        shelf.later.sort(key=itemgetter(0))
    return [_stands(row, spoilt.get(row.path, ""), shelves[row.shelf]) for row in rows]


@dataclass(frozen=True, slots=True)
class _Shelf:
    """The usable masters of one group, which may take the place of one another.

    Attributes
    ----------
    with_frame : mapping
        Those made with a frame, by the hash of its pixels.
    later : list
        Those of our own frames that are certified, or complete and not suspect, with the moment of their first frame.
    """

    with_frame: defaultdict[str, list[MasterRow]] = field(default_factory=lambda: defaultdict(list))
    later: list[tuple[datetime, MasterRow]] = field(default_factory=list)

    def put(self, row: MasterRow, asked: frozenset[str]) -> None:
        """Put a master on the shelf; `asked`: the frames by which it may be looked for."""
        for sha in asked.intersection(row.inputs):
            self.with_frame[sha].append(row)
        if row.valid_from is not None and _is_own(row) and _is_good(row):
            self.later.append((row.valid_from, row))


def _is_good(row: MasterRow) -> bool:
    base = _base(row)
    return base is MasterStatus.CERTIFIED or (base is MasterStatus.BUILT and not findings_of(row.statistics))


def _stands(row: MasterRow, spoilt: str, shelf: _Shelf) -> MasterRow:
    base = _base(row)
    if base not in USABLE:
        return row
    if spoilt:
        return replace(row, status=MasterStatus.SUSPECT, stood_as=base, detail=spoilt, valid_until=None)
    if better := next(_better(row, shelf), None):
        until, other = better
        detail = f"replaced by {PurePosixPath(other.path).name}"
        return replace(row, status=MasterStatus.SUPERSEDED, stood_as=base, detail=detail, valid_until=until)
    if row.stood_as is None:
        return row
    return replace(row, status=base, stood_as=None, detail="", valid_until=None)


def _better(row: MasterRow, shelf: _Shelf) -> Iterator[tuple[datetime | None, MasterRow]]:
    """Yield the masters that a master gives way to, and until when it holds (its own beginning: never), in that order.

    One that is certified gives way only to one that is. The others give way to a later one that has all their frames,
    and, where nightcal took the frames, to one of a later set that is complete and not suspect.
    """
    inputs = frozenset(row.inputs)
    certified = _base(row) is MasterStatus.CERTIFIED

    def may_replace(other: MasterRow) -> bool:
        is_certain = not certified or _base(other) is MasterStatus.CERTIFIED
        return is_certain and other.path != row.path and _are_one(row, other)

    for other in shelf.with_frame.get(row.inputs[0], ()) if row.inputs else ():
        has = frozenset(other.inputs)
        is_later = (row.built_at, row.path) < (other.built_at, other.path)
        if inputs <= has and (inputs < has or is_later) and may_replace(other):
            yield row.valid_from, other
    if row.valid_from is None or not _is_own(row):
        return
    for taken, other in shelf.later[bisect_right(shelf.later, row.valid_from, key=itemgetter(0)) :]:
        if may_replace(other) and not inputs.issuperset(other.inputs):
            yield taken, other


def _is_own(row: MasterRow) -> bool:
    """Whether nightcal took the frames of a master."""
    return bool(row.statistics.get("own", True))


def _spoilt(rows: Sequence[MasterRow], rejected: Mapping[str, Mark]) -> dict[str, str]:
    """Return why masters are suspect, by their paths: they, or the darks of flats, are made with rejected frames."""
    spoilt: dict[str, str] = {}
    if not rejected:
        return spoilt
    looked_at = {row.path for row in rows}
    for row in sorted(rows, key=lambda each: each.kind is FrameKind.FLAT):  # their darks come before
        marks = [rejected[sha] for sha in row.inputs if sha in rejected]
        darks = [path for path in row.darks if path in spoilt]
        if marks:
            spoilt[row.path] = f"made with {some(map(_told, marks))}"
        elif darks:
            spoilt[row.path] = f"its dark is suspect: {some(PurePosixPath(path).name for path in darks)}"
        elif row.status is MasterStatus.SUSPECT and not looked_at.issuperset(row.darks):
            spoilt[row.path] = row.detail
    return spoilt


def _told(mark: Mark) -> str:
    return f"{PurePosixPath(mark.path).name} (rejected{f': {mark.reason}' if mark.reason else ''})"


def _base(row: MasterRow) -> MasterStatus:
    """Return the status of a master for itself."""
    return row.stood_as or row.status


def _are_one(a: MasterRow, b: MasterRow) -> bool:
    """Whether masters of one shelf are of one group: keys of older ones lack the mosaic and the gain in e-/ADU."""
    pairs = (a.key.egain_e_adu, b.key.egain_e_adu), (a.key.bayer_pattern, b.key.bayer_pattern)
    return all(None in pair or pair[0] == pair[1] for pair in pairs)
