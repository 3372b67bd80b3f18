"""What each master is good for among all others: which one is valid at which time, and why the others are not.

Every master claims the time from its first frame on, a flat from the noon before. At each moment the best of the
masters of one group that claim it is valid (`_rank`), among equals the latest; so never two are. From an invalidation
on nothing holds that was taken before, and what was taken after it does not reach back beyond it. A master that is
suspect or rejected claims nothing: the one before it serves on.

All this follows from the masters themselves, in whatever order they came: it is derived anew after every change. Files
are never moved or renamed, the sidecar and the catalogue say it, and what a master is for itself (`MasterRow.base`)
stays beside it and comes back when the reason goes.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import NamedTuple

from calibration.frames import FrameKind
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
        Only these: with all others of their groups, and with their inputs. By default all of the catalogue.

    Raises
    ------
    StorageError
        A sidecar or the catalogue cannot be written.
    """
    catalogue = place.catalogue
    with catalogue.at_once():  # nobody else changes a master between what is read here and what is written
        before = catalogue.masters() if rows is None else list(rows)
        changed = [new for old, new in zip(before, standing(before, catalogue.marks()), strict=True) if new != old]
        for row in changed:
            restate_sidecar(place.layout, row, disk=place.disk)
        for row in changed:
            catalogue.add_master(row)
    return changed


def standing(rows: Sequence[MasterRow], marks: Iterable[Mark]) -> list[MasterRow]:
    """Return masters, in the same order, with the status and the validity that they have among one another.

    Parameters
    ----------
    rows : sequence of MasterRow
        With all others of their groups, and with their inputs.
    marks : iterable of Mark
        Rejected frames.
    """
    spoilt = _spoilt(rows, {mark.pixel_sha256: mark for mark in marks})
    found = {row.path: _silent(row, spoilt.get(row.path, "")) for row in rows}
    for group in _groups(rows):
        claims = [row for row in group if row.base in USABLE and row.path not in spoilt]
        contained = _contained(claims)
        for row, other in contained.values():
            found[row.path] = replace(_ended(row, row.valid_from, f"replaced by {_name(other)}"), contained=True)
        whole = (row for row in claims if row.path not in contained)
        found |= {row.path: row for row in _in_time(whole, _epochs(group))}
    return [found[row.path] for row in rows]


def _groups(rows: Iterable[MasterRow]) -> Iterator[list[MasterRow]]:
    """Yield the masters of each group; keys of older versions lack the mosaic and the gain in e-/ADU: they fit any."""
    shelves: defaultdict[Hashable, list[MasterRow]] = defaultdict(list)
    for row in rows:
        shelves[row.shelf].append(row)
    for shelf in shelves.values():
        if all(len({value for row in shelf if (value := getattr(row.key, name)) is not None}) < 2 for name in _LATER):
            yield shelf
            continue
        parts: defaultdict[Hashable, list[MasterRow]] = defaultdict(list)
        for row in shelf:
            parts[tuple(getattr(row.key, name) for name in _LATER)].append(row)
        yield from parts.values()


_LATER = ("egain_e_adu", "bayer_pattern")


def _rank(row: MasterRow) -> int:
    """Return how good a master is for itself: a better one serves on while worse ones come.

    2: certified. 1: complete, of frames of our own, and nothing speaks against it. 0: else. A flat belongs to its own
    night, with the dust of that night: it gives way to the next one that is not doubted, complete or not, unless that
    one waits for somebody to certify it.
    """
    base, doubted = row.base, bool(findings_of(row.statistics))
    if base is MasterStatus.CERTIFIED:
        return 2
    if row.kind is FrameKind.FLAT and not doubted:
        return 1 if awaits(row) else 2
    return int(base is MasterStatus.BUILT and not doubted and bool(row.statistics.get("own", True)))


def is_reference(row: MasterRow) -> bool:
    """Whether a master is good enough for later ones to be compared with it: nothing worse may take its place."""
    return _rank(row) > 0 and row.base is not MasterStatus.PARTIAL


def awaits(row: MasterRow) -> bool:
    """Whether a master is like the one before it, and `serve.certify: by_hand` leaves it to somebody to certify it."""
    return row.base is MasterStatus.BUILT and bool(row.statistics.get("compared_with"))


def _contained(claims: Sequence[MasterRow]) -> dict[str, tuple[MasterRow, MasterRow]]:
    """Return the masters of which another one has all frames, and more or a later recipe, with that one, by path.

    One that is certified gives way only to one that is.
    """
    with_frame: defaultdict[str, list[MasterRow]] = defaultdict(list)
    asked = {row.inputs[0] for row in claims if row.inputs}
    for row in claims:
        for sha in asked.intersection(row.inputs):
            with_frame[sha].append(row)
    found = {}
    for row in claims:
        inputs, certified = frozenset(row.inputs), row.base is MasterStatus.CERTIFIED
        others = [
            other
            for other in (with_frame[row.inputs[0]] if row.inputs else ())
            if (not certified or other.base is MasterStatus.CERTIFIED)
            and (inputs < frozenset(other.inputs) or (inputs == frozenset(other.inputs) and _came(row) < _came(other)))
        ]
        if others:
            found[row.path] = row, max(others, key=lambda other: (len(other.inputs), _came(other)))
    return found


def _came(row: MasterRow) -> tuple[datetime, str]:
    return row.built_at, row.path


def _epochs(group: Iterable[MasterRow]) -> list[tuple[datetime, str]]:
    """Return the times from which on nothing holds that was there before, with the reasons."""
    said = {(each.since, each.reason) for row in group for each in row.invalid if each.since is not None}
    return sorted(said)


class _Claim(NamedTuple):
    """A master's claim; the greatest of those that have begun is valid."""

    rank: int
    start: datetime
    complete: bool
    built_at: datetime
    path: str


def _in_time(rows: Iterable[MasterRow], epochs: Sequence[tuple[datetime, str]]) -> Iterator[MasterRow]:
    """Yield masters with the time for which each is the valid one."""
    known = [(row, start) for row in rows if (start := row.begins or row.valid_from) is not None]
    ends = [*epochs, (datetime.max.replace(tzinfo=UTC), "")]
    begin = datetime.min.replace(tzinfo=UTC)
    for end, reason in ends:
        best: _Claim | None = None
        claims = {
            _Claim(_rank(row), max(start, begin), row.base is not MasterStatus.PARTIAL, row.built_at, row.path): row
            for row, start in known
            if begin <= row.first < end
        }
        for claim in sorted(claims, key=lambda c: (c.start, c)):
            if best is not None and claim < best:
                yield _waiting(_from(claims[claim], claim.start), claims[best])
                continue
            if best is not None:
                yield _ended(_from(claims[best], best.start), claim.start, f"replaced by {_name(claims[claim])}")
            best = claim
        if best is not None:
            why = f"invalidated from {end:%Y-%m-%d %H:%M} UTC on{f': {reason}' if reason else ''}"
            row = _from(claims[best], best.start)
            yield _ended(row, end, why) if end != ends[-1][0] else _itself(row)
        begin = end


def _from(row: MasterRow, start: datetime) -> MasterRow:
    return replace(row, valid_from=start)


def _waiting(row: MasterRow, better: MasterRow) -> MasterRow:
    """Return a master that is usable, while a better one serves for all of its time."""
    return replace(_itself(row), valid_until=row.valid_from, detail=f"{_name(better)} serves")


def _ended(row: MasterRow, until: datetime | None, detail: str) -> MasterRow:
    return replace(_itself(row), status=MasterStatus.SUPERSEDED, stood_as=row.base, detail=detail, valid_until=until)


def _itself(row: MasterRow) -> MasterRow:
    return replace(row, status=row.base, stood_as=None, detail="", valid_until=None, contained=False)


def _silent(row: MasterRow, spoilt: str) -> MasterRow:
    """Return a master as it is without a claim to any time; `spoilt`: why it is suspect, if it is."""
    base, row = row.base, replace(row, valid_from=row.begins or row.valid_from)
    if base is MasterStatus.BAD:
        detail = "rejected" + (f": {row.bad.reason}" if row.bad is not None and row.bad.reason else "")
        return replace(_itself(row), detail=detail, valid_until=row.valid_from)
    if spoilt:
        return replace(
            _itself(row), status=MasterStatus.SUSPECT, stood_as=base, detail=spoilt, valid_until=row.valid_from
        )
    if base is MasterStatus.SUSPECT:
        return replace(_itself(row), detail=unlike(row), valid_until=row.valid_from)
    return _itself(row)


def unlike(row: MasterRow) -> str:
    """Return in words why a master is suspect, by comparison with the certified one before it and by itself."""
    from services.events.sentences import finding

    others = (str(row.statistics.get(name) or "") for name in ("compared_with", "modelled_by"))
    other = next((PurePosixPath(each).name for each in others if each), "")
    found = "; ".join(map(finding, findings_of(row.statistics)))
    return ": ".join(part for part in (f"unlike {other}" if other else "", found) if part)


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
            spoilt[row.path] = f"made with {some(map(_named, marks))}"
        elif darks:
            spoilt[row.path] = f"its dark is suspect: {some(PurePosixPath(path).name for path in darks)}"
        elif row.status is MasterStatus.SUSPECT and row.stood_as is not None and not looked_at.issuperset(row.darks):
            spoilt[row.path] = row.detail
    return spoilt


def _named(mark: Mark) -> str:
    return f"{PurePosixPath(mark.path).name} (rejected{f': {mark.reason}' if mark.reason else ''})"


def _name(row: MasterRow) -> str:
    return PurePosixPath(row.path).name
