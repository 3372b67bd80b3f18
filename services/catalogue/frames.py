"""Frames and their sets: what a run subtracts from what is wanted, and what masters are made of."""

import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from calibration.frames import FrameKind
from services.catalogue.database import Database
from services.catalogue.plain import parse_time, time_text
from services.catalogue.rows import Flag, FrameRow, Mark, Origin, SetRow
from services.catalogue.tables import stored, where_of

FRAME_COLUMNS = tuple(f.name for f in fields(FrameRow))
_NAMES = ", ".join(FRAME_COLUMNS)
_INSERT = (
    f"INSERT INTO frames ({_NAMES}) VALUES ({', '.join('?' * len(FRAME_COLUMNS))}) "  # noqa: S608 - our own record
    f"ON CONFLICT (path) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in FRAME_COLUMNS)}"
)
_SETS = f"""
    SELECT {", ".join(f"frames.{name}" for name in FRAME_COLUMNS)}, in_set, last_no, oldest, newest, mean_level_adu,
        coalesce(rejected, 0), warmest_c, coldest_c
    FROM sets JOIN frames ON frames.path = sets.first_path
    LEFT JOIN (SELECT set_id AS of_set, kind AS of_kind, count(*) AS rejected FROM frames WHERE flag != 'ok'
               GROUP BY set_id, kind) ON of_set = sets.set_id AND of_kind = sets.kind"""  # noqa: S608 - our own columns

_SET_FRAMES = f"""
    SELECT sets.set_id, is_alike, coldest_c, warmest_c, {", ".join(f"frames.{name}" for name in FRAME_COLUMNS)}
    FROM sets JOIN frames ON frames.path = sets.first_path"""  # noqa: S608 - our own columns

_SUMS = """
    SELECT set_id, count(*), group_concat(pixel_sha256, char(10)),
        min(exposure_us) IS max(exposure_us) AND count(exposure_us) IN (0, count(*)),
        count(level_adu), min(level_adu), max(level_adu), avg(level_adu), avg(ccd_temp_c)
    FROM frames{} AND flag = 'ok' AND set_id IS NOT NULL GROUP BY set_id"""

_MARK = "INSERT OR REPLACE INTO marks SELECT pixel_sha256, path, ?, ? FROM frames WHERE {} = ?"
_UNMARK = "DELETE FROM marks WHERE pixel_sha256 IN (SELECT pixel_sha256 FROM frames WHERE {} = ?)"
_KEEP_MARK = """INSERT OR IGNORE INTO marks
    VALUES (?, ?, coalesce((SELECT reason FROM marks WHERE path = ? LIMIT 1), ''), NULL)"""


class Member(NamedTuple):
    """A usable frame of a set, as far as planning needs it; a tuple, for thousands of them are read at once."""

    pixel_sha256: str
    exposure_us: int | None
    level_adu: float | None
    sigma_adu: float | None
    step_adu: int | None
    ccd_temp_c: float | None
    set_temp_c: float | None


class Sums(NamedTuple):
    """What the usable frames of a set are together, so that nobody looks at each: `levels` of them have a level.

    `pixels` are the hashes of their pixels, one a line; `has_one_exposure` is 0 or 1.
    """

    n: int
    pixels: str
    has_one_exposure: int
    levels: int
    least_level_adu: float | None
    most_level_adu: float | None
    mean_level_adu: float | None
    mean_ccd_temp_c: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFrames:
    """The usable frames of one set, without reading them all.

    Attributes
    ----------
    first : FrameRow
        The oldest.
    sums : Sums
    is_alike : bool
        All frames share what makes a group, but for the temperature, which lies between `coldest_c` and `warmest_c`.
    """

    first: FrameRow
    sums: Sums
    is_alike: bool
    coldest_c: float | None
    warmest_c: float | None


class FrameTable(Database):
    """The tables `frames` and `sets`; triggers keep the sets up to date in the transaction that changes a frame."""

    def add_frame(self, row: FrameRow) -> None:
        """Record a frame that is on disk; a row of the same path is replaced."""
        self.add_frames((row,))

    def add_frames(self, rows: Iterable[FrameRow]) -> None:
        """Record many frames in one transaction; those whose pixels were rejected are bad."""
        rejected = {mark.pixel_sha256 for mark in self.marks()}
        found = [replace(row, flag=Flag.BAD) if row.pixel_sha256 in rejected else row for row in rows]
        new = [(row.pixel_sha256, row.path, row.path) for row in found if row.flag is Flag.BAD]
        values = [_values(row) for row in found]
        with self._sets_at_end():
            self._write_many(_INSERT, values)
            self._write_many(_KEEP_MARK, new)

    def frames(self, **filters: Any) -> list[FrameRow]:
        """Return the frames whose columns equal the filters, the oldest first.

        Parameters
        ----------
        **filters
            Names of `FrameRow` fields. A value of None matches only missing ones; a list, tuple or set any of its
            members. `flag` is not filtered unless given.

        Raises
        ------
        TypeError
            A filter names no column.
        """
        where, values = where_of(filters, FRAME_COLUMNS)
        query = f"SELECT {_NAMES} FROM frames{where} ORDER BY date_obs, set_id, frame_no, path"  # noqa: S608
        records = self._read(query, values)
        with self._understood():
            return [frame_of(tuple(record)) for record in records]

    def frame(self, path: str) -> FrameRow | None:
        """Return the row of a path."""
        found = self.frames(path=path)
        return found[0] if found else None

    def known_paths(self) -> set[str]:
        """Return the path of every frame's file."""
        return {path for (path,) in self._read("SELECT path FROM frames")}

    def known_files(self) -> dict[str, tuple[int, int]]:
        """Return size and time (ns) of every frame's file by its path, by which it is known to be still the same."""
        records = self._read("SELECT path, size, mtime_ns FROM frames")
        return {path: (size, mtime_ns) for path, size, mtime_ns in records}

    def read_otherwise(self, read_as: str) -> set[str]:
        """Return the paths of foreign frames whose headers were understood by other rules than these."""
        query = "SELECT path FROM frames WHERE origin = 'foreign' AND read_as IS NOT ?"
        return {path for (path,) in self._read(query, [read_as])}

    def remove_frames(self, paths: Iterable[str]) -> None:
        """Forget frames (their files are gone)."""
        with self._sets_at_end():
            self._write_many("DELETE FROM frames WHERE path = ?", [(path,) for path in paths])

    def move_frame(self, path: str, row: FrameRow) -> None:
        """Let a frame's row follow its file to another path, in one transaction."""
        with self.at_once():
            self.remove_frames((path,))
            self.add_frame(row)

    def set_flag(
        self,
        flag: Flag | str,
        *,
        paths: Iterable[str] = (),
        pixels: Iterable[str] = (),
        set_id: str | None = None,
        reason: str = "",
        at: datetime | None = None,
    ) -> int:
        """Mark frames as `ok` or `bad`, by path, by the hash of their pixels, or a whole set; return how many."""
        mark, count, pixels = Flag(flag), 0, tuple(pixels)
        named = {"path": paths, "pixel_sha256": pixels, "set_id": () if set_id is None else (set_id,)}
        with self._sets_at_end():
            for column, values in named.items():
                chosen = [(value,) for value in values]
                if mark is Flag.BAD:
                    self._write_many(_MARK.format(column), [(reason, time_text(at), *each) for each in chosen])
                else:
                    self._write_many(_UNMARK.format(column), chosen)
                query = f"UPDATE frames SET flag = ? WHERE {column} = ?"  # noqa: S608 - our own columns
                count += self._write_many(query, [(str(mark), *each) for each in chosen])
            if mark is Flag.OK:
                self._write_many("DELETE FROM marks WHERE pixel_sha256 = ?", [(sha,) for sha in pixels])
        return count

    def marks(self) -> list[Mark]:
        """Return the frames that were rejected, in the order in which that was done."""
        records = self._read("SELECT pixel_sha256, path, reason, at FROM marks ORDER BY at, path")
        with self._understood():
            return [Mark(sha, path, reason, parse_time(at)) for sha, path, reason, at in records]

    def put_mark(self, mark: Mark) -> None:
        """Reject the frames with these pixels, those to come as well."""
        values = (mark.pixel_sha256, mark.path, mark.reason, time_text(mark.at))
        with self._sets_at_end():
            self._write_many("INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?)", [values])
            self.set_flag(Flag.BAD, pixels=(mark.pixel_sha256,), reason=mark.reason, at=mark.at)

    def sets(self, kind: FrameKind | None = None, *, since: datetime | None = None, **filters: Any) -> list[SetRow]:
        """Return the sets with frames that are not marked bad, the newest first.

        Parameters
        ----------
        kind : FrameKind, optional
            Only these.
        since : datetime, optional
            Only those whose oldest frame was taken then or later.
        **filters
            As for `frames`, of the first frame of a set.
        """
        named = {f"frames.{name}": wanted for name, wanted in filters.items()}
        named |= {} if kind is None else {"sets.kind": kind}
        where, values = where_of(named, ("sets.kind", *(f"frames.{name}" for name in FRAME_COLUMNS)))
        if since is not None:
            where, values = f"{where or ' WHERE true'} AND oldest >= ?", [*values, time_text(since)]
        records = self._read(f"{_SETS}{where} ORDER BY newest DESC, frames.date_obs, sets.set_id", values)
        with self._understood():
            return [_set(tuple(record)) for record in records]

    def set_frames(self, kind: FrameKind, sets: Collection[str] | None = None) -> list[SetFrames]:
        """Return the usable frames of each set of a kind, or of those of them that are named."""
        filters = {"kind": kind} | ({} if sets is None else {"set_id": tuple(sets)})
        where, values = where_of(filters, ("kind", "set_id"))
        named = {f"sets.{name}": wanted for name, wanted in filters.items()}
        where_sets, values_sets = where_of(named, ("sets.kind", "sets.set_id"))
        with self._lock:
            of_sets = {set_id: Sums(*sums) for set_id, *sums in self._read(_SUMS.format(where), values)}
            sets_there = self._read(f"{_SET_FRAMES}{where_sets}", values_sets)
        with self._understood():
            return [
                SetFrames(
                    first=_first(tuple(first)),
                    sums=of_sets[set_id],
                    is_alike=bool(is_alike),
                    coldest_c=coldest_c,
                    warmest_c=warmest_c,
                )
                for set_id, is_alike, coldest_c, warmest_c, *first in sets_there
            ]

    def members(self, kind: FrameKind, sets: Collection[str]) -> dict[str, tuple[Member, ...]]:
        """Return the usable frames of sets, the oldest first, by the name of the set."""
        query = f"""
            SELECT set_id, {", ".join(Member._fields)} FROM frames
            WHERE kind = ? AND flag = 'ok' AND set_id IN (SELECT value FROM json_each(?))
            ORDER BY set_id, date_obs, frame_no, path"""  # noqa: S608 - our own columns
        records = self._read(query, (str(kind), json.dumps(sorted(sets))))
        return {
            set_id: tuple(Member._make(record[1:]) for record in of_set)
            for set_id, of_set in groupby(records, itemgetter(0))
        }

    def filters_of_flats(self) -> tuple[str | None, ...]:
        """Return the filters of our own sets of flats, in the order in which they were first used."""
        query = """SELECT filter FROM sets JOIN frames ON frames.path = sets.first_path
            WHERE sets.kind = 'FLAT' AND origin = 'own' GROUP BY filter ORDER BY min(newest)"""
        return tuple(name for (name,) in self._read(query))

    @property
    def has_frames(self) -> bool:
        """Whether there are frames at all."""
        return bool(self._read("SELECT EXISTS(SELECT 1 FROM frames)")[0][0])

    def newest_date_obs(self, **filters: Any) -> datetime | None:
        """Return the latest start of the frames that pass the filters (a simulated clock starts after it)."""
        newest = self.newest(**filters)
        return None if newest is None else newest.date_obs

    def newest(self, **filters: Any) -> FrameRow | None:
        """Return the frame of the latest start that passes the filters."""
        where, values = where_of(filters, FRAME_COLUMNS)
        known = f"{where or ' WHERE true'} AND date_obs IS NOT NULL"
        found = self._read(f"SELECT {_NAMES} FROM frames{known} ORDER BY date_obs DESC LIMIT 1", values)  # noqa: S608
        with self._understood():
            return frame_of(tuple(found[0])) if found else None

    @contextmanager
    def _sets_at_end(self) -> Iterator[None]:
        """Change frames in one transaction; at its end each of their sets is made anew once, not with every frame."""
        with self._change as base:
            base.execute("INSERT INTO stale_sets VALUES (NULL, NULL)")
            try:
                yield
            finally:
                if base.in_transaction:
                    base.execute("DELETE FROM stale_sets")


def _values(row: FrameRow) -> tuple[Any, ...]:
    return tuple(stored(getattr(row, name)) for name in FRAME_COLUMNS)


def frame_of(record: tuple[Any, ...]) -> FrameRow:
    """Return the row of a record of the table, its columns as `FRAME_COLUMNS` names them."""
    values = dict(zip(FRAME_COLUMNS, record, strict=True))
    values |= {
        "kind": FrameKind(values["kind"]),
        "flag": Flag(values["flag"]),
        "origin": Origin(values["origin"]),
        "simulated": bool(values["simulated"]),
        "date_obs": parse_time(values["date_obs"]),
    }
    return FrameRow(**values)


_first = lru_cache(maxsize=1 << 13)(frame_of)
"""The first frames of sets are asked for again and again, and few of them change."""


@lru_cache(maxsize=1 << 13)
def _set(record: tuple[Any, ...]) -> SetRow:
    *of_first, in_set, last_no, oldest, newest, mean_level_adu, rejected, warmest_c, coldest_c = record
    first = _first(tuple(of_first))
    return SetRow(
        set_id=str(first.set_id),
        key=first.key(),
        count=in_set,
        oldest=parse_time(oldest),
        newest=parse_time(newest),
        exposure_us=first.exposure_us,
        panel_brightness=first.panel_brightness,
        filter=first.filter,
        level_adu=first.level_adu,
        mean_level_adu=mean_level_adu,
        set_temp_c=first.set_temp_c,
        ccd_temp_c=first.ccd_temp_c,
        night=first.night,
        origin=first.origin,
        next_frame_no=1 + (last_no or 0),
        rejected=rejected,
        warmest_c=warmest_c,
        coldest_c=coldest_c,
    )
