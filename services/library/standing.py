"""What each master is good for, after a frame of it was rejected or a better master has taken its place.

Files are never moved or renamed: the sidecar and the catalogue say it. Nothing is lost by that: the status a master had
stays beside the new one, and comes back when the reason goes.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath

from calibration.frames import FrameKind, GroupKey
from services.catalogue.rows import USABLE, Mark, MasterRow, MasterStatus
from services.events.records import findings_of
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
    shelves: defaultdict[GroupKey, list[_Other]] = defaultdict(list)
    for row in rows:
        if _base(row) in USABLE and row.path not in spoilt:
            shelves[row.shelf].append(_Other(row=row, inputs=frozenset(row.inputs), good=_is_good(row)))
    return [_stands(row, spoilt.get(row.path, ""), shelves[row.shelf]) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Other:
    """A master that may take the place of others: `good` when it is certified, or complete and not suspect."""

    row: MasterRow
    inputs: frozenset[str]
    good: bool


def _is_good(row: MasterRow) -> bool:
    base = _base(row)
    return base is MasterStatus.CERTIFIED or (base is MasterStatus.BUILT and not findings_of(row.statistics))


def _stands(row: MasterRow, spoilt: str, others: Sequence[_Other]) -> MasterRow:
    base = _base(row)
    if base not in USABLE:
        return row
    if spoilt:
        return replace(row, status=MasterStatus.SUSPECT, stood_as=base, detail=spoilt, valid_until=None)
    better = min(_better(row, others), key=lambda each: each.until or row.built_at, default=None)
    if better is not None:
        detail = f"replaced by {PurePosixPath(better.path).name}"
        return replace(row, status=MasterStatus.SUPERSEDED, stood_as=base, detail=detail, valid_until=better.until)
    if row.stood_as is None:
        return row
    return replace(row, status=base, stood_as=None, detail="", valid_until=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Better:
    """A master that takes the place of another, and until when the other one holds (its own beginning: never)."""

    path: str
    until: datetime | None


def _better(row: MasterRow, others: Iterable[_Other]) -> Iterator[_Better]:
    """Yield the masters of the same key that a master gives way to.

    One that is certified gives way only to one that is. The others give way to a later one that has all their frames,
    and, where nightcal took the frames, to one of a later set that is complete and not suspect.
    """
    inputs = frozenset(row.inputs)
    certified = _base(row) is MasterStatus.CERTIFIED
    for each in others:
        other, has = each.row, each.inputs
        if (
            other.path == row.path
            or (certified and _base(other) is not MasterStatus.CERTIFIED)
            or not _are_one(row, other)
        ):
            continue
        if inputs and inputs <= has and (inputs < has or (row.built_at, row.path) < (other.built_at, other.path)):
            yield _Better(path=other.path, until=row.valid_from)
        elif each.good and _is_newer(row, other) and not has <= inputs:
            yield _Better(path=other.path, until=other.valid_from)


def _is_newer(row: MasterRow, other: MasterRow) -> bool:
    """Whether another master is of a later set of ours."""
    if row.valid_from is None or other.valid_from is None or row.valid_from >= other.valid_from:
        return False
    return all(each.statistics.get("own", True) for each in (row, other))


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
