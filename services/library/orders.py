"""Orders on masters and frames: certify, reject, invalidate, and the taking back of each.

One writer, whoever gives the order: the command line under the root's lock, or a run that holds it. What is said of a
master is written into its sidecar first, then into the catalogue; then all masters are brought up to date.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from calibration.frames import FrameKind
from services.catalogue.plain import parse_time, plain
from services.catalogue.rows import FrameRow, MasterRow, MasterStatus, Origin
from services.catalogue.said import Said
from services.catalogue.typed import check_types
from services.errors import StorageError
from services.indexing.checksums import check_pixels
from services.indexing.sidecar import restate_sidecar
from services.library.rejecting import mark_frames
from services.library.standing import settle
from services.root import Place
from services.words import some


class MasterWord(StrEnum):
    """What is ordered; the second, fourth and sixth take the one before back."""

    CERTIFY = "certify"
    UNCERTIFY = "uncertify"
    REJECT = "reject"
    UNREJECT = "unreject"
    INVALIDATE = "invalidate"
    REVALIDATE = "revalidate"


class OrderCode(StrEnum):
    """Why an order on masters is refused."""

    UNKNOWN_MASTER = "unknown_master"
    UNKNOWN_FRAME = "unknown_frame"
    NOT_POSSIBLE = "not_possible"
    NOTHING_MEANT = "nothing_meant"


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterOrder:
    """An order on masters or frames, as a command, the API or a worker's input gives it.

    Attributes
    ----------
    order : MasterWord
    masters : tuple of str
        File names, paths, or patterns such as `master_dark_*`, which mean the masters that serve.
    frames : tuple of str
        Paths of frames as the catalogue has them, for `reject` and `unreject`.
    kind : FrameKind, optional
        All masters of a kind, for `invalidate` and `revalidate`.
    since : datetime, optional
        From when on older masters hold no more; by default from the moment of the order.
    reason, by : str
        Why, and who says it.
    """

    order: MasterWord
    masters: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    kind: FrameKind | None = None
    since: datetime | None = None
    reason: str = ""
    by: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; `from_dict` gives the order back."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "MasterOrder":
        """Return the order of plain JSON values; members that are not its own are ignored.

        Raises
        ------
        KeyError, ValueError, TypeError
            The values are no order on masters.
        """
        known = {f.name: record[f.name] for f in fields(cls) if record.get(f.name) is not None}
        known["order"] = MasterWord(record["order"])
        known["since"] = parse_time(known.get("since"))
        if "kind" in known:
            known["kind"] = FrameKind(known["kind"])
        for name in ("masters", "frames"):
            known[name] = tuple(known.get(name, ()))
        order = cls(**known)
        check_types(order)
        return order


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of an order: `code` and `detail` say why it was refused; nothing is changed then.

    `masters` are those that were meant, as they are now, `changed` all whose status or validity is another one.
    """

    ok: bool
    code: str = ""
    detail: str = ""
    masters: tuple[MasterRow, ...] = ()
    changed: tuple[MasterRow, ...] = ()


class _Refused(Exception):
    def __init__(self, code: OrderCode, detail: str) -> None:
        self.code, self.detail = code, detail
        super().__init__(detail)


def obey(place: Place, order: MasterOrder, *, at: datetime) -> Answer:
    """Carry out an order on masters or frames, whole or not at all.

    Parameters
    ----------
    place : Place
        Under the root's lock.
    order : MasterOrder
    at : datetime
        The moment of the order.

    Raises
    ------
    StorageError
        Something cannot be written, or a master that is to be certified is damaged.
    """
    if not (order.masters or order.frames or order.kind):
        return Answer(ok=False, code=OrderCode.NOTHING_MEANT, detail=f"{order.order}: no master and no frame is named")
    newest = place.catalogue.newest_date_obs(origin=Origin.OWN, simulated=True)
    at = max(filter(None, (at, newest)))  # a simulated night is ahead of the computer's clock
    try:
        with place.catalogue.at_once():
            before = {row.path: row for row in place.catalogue.masters()}
            frames = _frames(place, order)
            said = _SAYS[order.order](place, order, before, at)
            with _taken_back(place, [before[row.path] for row in said]):
                for row in said:
                    restate_sidecar(place.layout, row, disk=place.disk)
                for row in said:
                    place.catalogue.add_master(row)
                settle(place)
            if frames:  # last: their journal, once written, is not taken back
                rejected = order.order is MasterWord.REJECT
                mark_frames(place, frames, rejected=rejected, reason=order.reason, at=at)
            after = {row.path: row for row in place.catalogue.masters()}
    except _Refused as refused:
        return Answer(ok=False, code=refused.code, detail=refused.detail)
    changed = tuple(row for path, row in after.items() if _stands(row) != _stands(before.get(path)))
    return Answer(ok=True, masters=tuple(after[row.path] for row in said), changed=changed)


def _stands(row: MasterRow | None) -> object:
    return None if row is None else (row.status, row.valid_until, row.detail)


@contextmanager
def _taken_back(place: Place, rows: Iterable[MasterRow]) -> Iterator[None]:
    """Write the sidecars of masters as they were where something fails: the catalogue takes its changes back, too."""
    try:
        yield
    except BaseException:
        for row in rows:
            with suppress(StorageError):
                restate_sidecar(place.layout, row, disk=place.disk)
        raise


def _frames(place: Place, order: MasterOrder) -> list[FrameRow]:
    """Return the frames that an order means."""
    if order.frames and order.order not in (MasterWord.REJECT, MasterWord.UNREJECT):
        raise _Refused(OrderCode.NOT_POSSIBLE, f"{some(order.frames)}: frames are rejected and unrejected, no more")
    rows = {path: place.catalogue.frame(path) for path in order.frames}
    if unknown := [path for path, row in rows.items() if row is None]:
        raise _Refused(OrderCode.UNKNOWN_FRAME, f"there is no frame {some(unknown)}")
    return [row for row in rows.values() if row is not None]


_Masters = Mapping[str, MasterRow]


def _certify(place: Place, order: MasterOrder, rows: _Masters, at: datetime) -> list[MasterRow]:
    chosen = _chosen(place, order, rows)
    for row in chosen:
        if row.bad is not None or (row.status is MasterStatus.SUSPECT and row.base is not MasterStatus.SUSPECT):
            raise _Refused(OrderCode.NOT_POSSIBLE, f"{_name(row)} cannot be certified ({row.status}: {row.detail})")
    for row in chosen:  # none is certified unless all are as they were written
        check_pixels(replace(row, size=None), place.layout.absolute(row.path))  # read, however unchanged it looks
    said = Said(at=at, by=order.by, reason=order.reason)
    return [replace(row, judged=row.judged or row.base, certified=said) for row in chosen]


def _uncertify(place: Place, order: MasterOrder, rows: _Masters, _at: datetime) -> list[MasterRow]:
    found = []
    for row in _chosen(place, order, rows):
        if row.certified is not None:
            found.append(replace(row, certified=None))
        elif row.base is MasterStatus.CERTIFIED and "compared_with" not in row.statistics:  # by an older version
            found.append(replace(row, judged=MasterStatus.BUILT, status=MasterStatus.BUILT, stood_as=None))
        else:
            why = "its own check certified it: reject it" if row.base is MasterStatus.CERTIFIED else "nobody did"
            raise _Refused(OrderCode.NOT_POSSIBLE, f"nobody has certified {_name(row)}: {why}")
    return found


def _reject(place: Place, order: MasterOrder, rows: _Masters, at: datetime) -> list[MasterRow]:
    said = Said(at=at, by=order.by, reason=order.reason)
    return [replace(row, judged=row.judged or row.base, bad=said) for row in _chosen(place, order, rows)]


def _unreject(place: Place, order: MasterOrder, rows: _Masters, _at: datetime) -> list[MasterRow]:
    chosen = _chosen(place, order, rows)
    for row in chosen:
        if row.bad is None:
            raise _Refused(OrderCode.NOT_POSSIBLE, f"{_name(row)} is not rejected")
    return [replace(row, bad=None) for row in chosen]


def _invalidate(place: Place, order: MasterOrder, rows: _Masters, at: datetime) -> list[MasterRow]:
    since = order.since or at
    if since > at:
        raise _Refused(OrderCode.NOT_POSSIBLE, f"{since:%Y-%m-%d %H:%M} UTC is yet to come: say it when it has come")
    said = Said(at=at, by=order.by, reason=order.reason, since=since, kind=order.kind)
    chosen = _chosen(place, order, rows)
    older = [row for row in chosen if row.first < since]
    if not older or (order.kind is None and len(older) < len(chosen)):
        newer = next((_name(row) for row in chosen if row not in older), "")
        detail = f"{newer} was taken after {since:%Y-%m-%d %H:%M} UTC: reject it, if it is bad"
        raise _Refused(OrderCode.NOTHING_MEANT, detail if newer else "there is no master that it concerns")
    if order.kind is None:  # those before it end as well
        shelves = {row.shelf for row in older}
        older = [r for r in rows.values() if r.shelf in shelves and r.first < since]
    return [replace(row, invalid=(*row.invalid, said)) for row in older]


def _revalidate(place: Place, order: MasterOrder, rows: _Masters, _at: datetime) -> list[MasterRow]:
    """Take back the last invalidation of the masters that are meant, or the one from a given time on."""
    chosen = _chosen(place, order, rows)
    said = {each for row in chosen for each in row.invalid}
    said = {each for each in said if each.kind is order.kind and order.since in (None, each.since)}
    if not said:
        raise _Refused(OrderCode.NOT_POSSIBLE, "nobody has invalidated that")
    last = max(said, key=lambda each: [0.0 if t is None else t.timestamp() for t in (each.at, each.since)])
    return [
        replace(row, invalid=tuple(each for each in row.invalid if each != last))
        for row in rows.values()
        if last in row.invalid
    ]


_SAYS: Mapping[MasterWord, Callable[[Place, MasterOrder, _Masters, datetime], list[MasterRow]]] = {
    MasterWord.CERTIFY: _certify,
    MasterWord.UNCERTIFY: _uncertify,
    MasterWord.REJECT: _reject,
    MasterWord.UNREJECT: _unreject,
    MasterWord.INVALIDATE: _invalidate,
    MasterWord.REVALIDATE: _revalidate,
}


def _chosen(place: Place, order: MasterOrder, rows: _Masters) -> list[MasterRow]:
    """Return the masters that an order means.

    Those of a kind: all of them; with biases also the dark that is made of the same frames.
    """
    if order.kind is not None:
        of_kind = [row for row in rows.values() if row.kind is order.kind]
        frames = {sha for row in of_kind for sha in row.inputs} if order.kind is FrameKind.BIAS else set()
        return [*of_kind, *(row for row in rows.values() if row not in of_kind and frames.intersection(row.inputs))]
    there = {_name(row): row for row in rows.values() if place.layout.absolute(row.path).is_file()}
    return _distinct(row for name in order.masters for row in _named(name, there, place))


def _named(wanted: str, there: Mapping[str, MasterRow], place: Place) -> Sequence[MasterRow]:
    """Return the masters that a name or a pattern means; a sidecar means its master: `master_*` of a shell names both.

    A name means that master, whatever it is; a pattern those that serve.
    """
    path = Path(wanted)
    pattern = path.with_suffix(".fits").name if path.suffix == ".json" else path.name
    if pattern in there:
        return [there[pattern]]
    found = [row for name, row in sorted(there.items()) if fnmatch(name, pattern) and row.may_serve]
    if not found:
        detail = f"there is no master {wanted} that may serve below {place.root}"
        raise _Refused(OrderCode.UNKNOWN_MASTER, detail)
    return [row for row in found if row.status is not MasterStatus.SUPERSEDED] or found


def _distinct(rows: Iterable[MasterRow]) -> list[MasterRow]:
    return list({row.path: row for row in rows}.values())


def _name(row: MasterRow) -> str:
    return PurePosixPath(row.path).name
