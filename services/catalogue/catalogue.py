"""The catalogue: an SQLite index of frames, refusals, masters, runs and facts. Headers are the truth, it is rebuilt.

One connection, one lock: the writer thread writes, any thread reads. Every change is on disk before the call returns
(WAL, synchronous FULL). A file written by a newer nightcal is refused; a damaged one is moved aside (`open_catalogue`).
"""

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from calibration.frames import FrameKind
from services.catalogue.database import CatalogueDamaged, Change, connect, trouble, unreadable
from services.catalogue.rows import (
    FactRow,
    Flag,
    FrameRow,
    MasterRow,
    MasterStatus,
    RefusalRow,
    RunRow,
    SetRow,
    parse_time,
    time_text,
)
from services.catalogue.tables import (
    FRAME_COLUMNS,
    HOLDS_QUERY,
    INSERT_FRAME,
    SCHEMA,
    TABLES,
    TABLES_QUERY,
    VERSION,
    fact_row,
    frame_row,
    frame_values,
    mistyped_queries,
    own_tables,
    refusal_row,
    run_row,
    set_row,
    sets_query,
    where_of,
)
from services.errors import RunCode, StorageError
from services.events.bus import json_value

__all__ = ["Catalogue", "CatalogueDamaged"]


class Catalogue:
    """The index of one root.

    Parameters
    ----------
    path : Path
        The SQLite file; made with its folder when it is missing.
    read_only : bool
        For commands that take no lock: nothing is made or changed, a missing file reads as an empty catalogue.

    Raises
    ------
    StorageError
        The file was written by a newer version, is damaged, or cannot be opened.

    Attributes
    ----------
    is_new : bool
        It holds nothing: what there is has to be read from the files (`open_catalogue`). So it is, too, when the first
        reading was interrupted.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self.is_new = False
        self._lock = threading.RLock()
        try:
            self._base = connect(path, read_only=read_only)
            self._base.row_factory = sqlite3.Row
            self._change = Change(self._base, self._lock, path)
        except sqlite3.Error as error:
            raise trouble(path, error) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._base.close()
            raise trouble(path, error) from error
        except UnicodeDecodeError as error:
            self._base.close()
            raise unreadable(path, error) from error
        except StorageError:
            self._base.close()
            raise

    def __enter__(self) -> "Catalogue":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check(self) -> None:
        """Look for damage that opening does not show.

        Raises
        ------
        CatalogueDamaged
            The file is damaged, or holds what we did not write.
        """
        found = self._read("PRAGMA quick_check(1)")[0][0]
        if found != "ok":
            raise self._damaged(found)
        if [tuple(row) for row in self._read(TABLES_QUERY)] != own_tables():
            raise self._damaged("its tables are not ours")
        for query in mistyped_queries():
            if self._read(query):
                raise self._damaged("a column holds values of another type")
        for read in (self.frames, self.refusals, self.masters, self.runs, self.facts):
            read()

    def close(self) -> None:
        """Let go of the file; harmless when done twice."""
        with self._lock:
            self._base.close()

    # --- frames -----------------------------------------------------------------------------------------------------

    def add_frame(self, row: FrameRow) -> None:
        """Record a frame that is on disk; a row of the same path is replaced."""
        self.add_frames((row,))

    def add_frames(self, rows: Iterable[FrameRow]) -> None:
        """Record many frames in one transaction."""
        self._write_many(INSERT_FRAME, [frame_values(row) for row in rows])

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
        query = f"SELECT * FROM frames{where} ORDER BY date_obs, set_id, frame_no, path"  # noqa: S608
        with self._understood():
            return [frame_row(record) for record in self._read(query, values)]

    def frame(self, path: str) -> FrameRow | None:
        """Return the row of a path."""
        found = self.frames(path=path)
        return found[0] if found else None

    def remove_frames(self, paths: Iterable[str]) -> None:
        """Forget frames (their files are gone)."""
        self._write_many("DELETE FROM frames WHERE path = ?", [(path,) for path in paths])

    def move_frame(self, path: str, row: FrameRow) -> None:
        """Let a frame's row follow its file to another path, in one transaction."""
        with self._changing() as base:
            base.execute("DELETE FROM frames WHERE path = ?", (path,))
            base.execute(INSERT_FRAME, frame_values(row))

    def set_flag(self, flag: Flag | str, *, paths: Iterable[str] = (), set_id: str | None = None) -> int:
        """Mark frames, or a whole set, as `ok` or `bad`; return how many rows that were."""
        mark = str(Flag(flag))
        count = self._write_many("UPDATE frames SET flag = ? WHERE path = ?", [(mark, path) for path in paths])
        if set_id is not None:
            count += self._write_many("UPDATE frames SET flag = ? WHERE set_id = ?", [(mark, set_id)])
        return count

    def sets(self, kind: FrameKind | None = None, **filters: Any) -> list[SetRow]:
        """Return the sets with frames that are not marked bad, the newest first.

        Parameters
        ----------
        kind : FrameKind, optional
            Only these.
        **filters
            As for `frames`.
        """
        where, values = where_of(filters | ({} if kind is None else {"kind": kind}), FRAME_COLUMNS)
        with self._understood():
            return [set_row(record) for record in self._read(sets_query(where), values)]

    def newest_date_obs(self, **filters: Any) -> datetime | None:
        """Return the latest start of the frames that pass the filters (a simulated clock starts after it)."""
        where, values = where_of(filters, FRAME_COLUMNS)
        with self._understood():
            return parse_time(self._read(f"SELECT max(date_obs) FROM frames{where}", values)[0][0])  # noqa: S608

    # --- refusals ---------------------------------------------------------------------------------------------------

    def add_refusal(self, row: RefusalRow) -> None:
        """Record a refused frame."""
        values = (
            row.run_id, time_text(row.at), str(row.kind), json.dumps(row.codes), row.set_id, row.filter,
            row.exposure_us, row.level_adu, row.path, json.dumps(row.verdicts, default=json_value),
        )  # fmt: skip
        self._write_many("INSERT INTO refusals VALUES (?,?,?,?,?,?,?,?,?,?)", [values])

    def refusals(self, run_id: str | None = None, *, set_id: str | None = None) -> list[RefusalRow]:
        """Return refused frames in the order they came, of all runs or one, of all sets or one."""
        filters = {k: v for k, v in (("run_id", run_id), ("set_id", set_id)) if v is not None}
        where, values = where_of(filters, ("run_id", "set_id"))
        with self._understood():
            return [refusal_row(r) for r in self._read(f"SELECT * FROM refusals{where} ORDER BY at, rowid", values)]  # noqa: S608

    # --- masters ----------------------------------------------------------------------------------------------------

    def add_master(self, row: MasterRow) -> None:
        """Record a master that is on disk; a row of the same path is replaced."""
        record = {**row.to_dict(), "inputs": []}
        values = (
            row.path, str(row.kind), row.key.filter, row.exposure_us, row.recipe, str(row.status),
            time_text(row.built_at), json.dumps(record, default=json_value),
        )  # fmt: skip
        with self._changing() as base:
            base.execute("DELETE FROM masters WHERE path = ?", (row.path,))
            base.execute("INSERT INTO masters VALUES (?,?,?,?,?,?,?,?)", values)
            base.executemany("INSERT INTO master_inputs VALUES (?,?)", [(row.path, sha) for sha in row.inputs])

    def masters(self, **filters: Any) -> list[MasterRow]:
        """Return masters, the newest first; filters on path, kind, filter, exposure_us, recipe, status."""
        where, values = where_of(filters, ("path", "kind", "filter", "exposure_us", "recipe", "status"))
        query = f"SELECT path, status, record FROM masters{where} ORDER BY built_at DESC, path"  # noqa: S608
        inputs: dict[str, list[str]] = {}
        of_them = f" WHERE master IN (SELECT path FROM masters{where})"  # noqa: S608
        query_inputs = f"SELECT master, pixel_sha256 FROM master_inputs{of_them} ORDER BY rowid"  # noqa: S608
        for path, sha in self._read(query_inputs, values):
            inputs.setdefault(path, []).append(sha)
        with self._understood():
            return [
                MasterRow.from_dict(
                    {**json.loads(r["record"]), "status": r["status"], "inputs": inputs.get(r["path"], [])}
                )
                for r in self._read(query, values)
            ]

    def set_master_status(self, path: str, status: MasterStatus) -> None:
        """Mark a master (its sidecar is the caller's)."""
        self._write_many("UPDATE masters SET status = ? WHERE path = ?", [(str(status), path)])

    def remove_masters(self, paths: Iterable[str]) -> None:
        """Forget masters (their files are gone)."""
        self._write_many("DELETE FROM masters WHERE path = ?", [(path,) for path in paths])

    # --- runs and facts ---------------------------------------------------------------------------------------------

    def start_run(self, row: RunRow) -> None:
        """Record the start of a run (or all of it, in a rebuild)."""
        values = (
            row.run_id, time_text(row.started_at), time_text(row.finished_at), row.exit_code, row.code, row.detail,
            json.dumps(row.steps), row.software,
        )  # fmt: skip
        self._write_many("INSERT OR REPLACE INTO runs VALUES (?,?,?,?,?,?,?,?)", [values])

    def finish_run(
        self, run_id: str, *, finished_at: datetime, exit_code: int, code: str | None = None, detail: str = ""
    ) -> None:
        """Record how a run ended."""
        query = "UPDATE runs SET finished_at = ?, exit_code = ?, code = ?, detail = ? WHERE run_id = ?"
        self._write_many(query, [(time_text(finished_at), exit_code, code, detail, run_id)])

    def runs(self) -> list[RunRow]:
        """Return all runs, the newest first."""
        with self._understood():
            return [
                run_row(record) for record in self._read("SELECT * FROM runs ORDER BY started_at DESC, run_id DESC")
            ]

    def add_fact(self, row: FactRow) -> None:
        """Record something measured about a detector."""
        values = (row.camera, row.name, row.value, time_text(row.at), json.dumps(row.settings, sort_keys=True))
        self._write_many("INSERT INTO detector_facts VALUES (?,?,?,?,?)", [values])

    def facts(
        self, *, camera: str | None = None, name: str | None = None, settings: Mapping[str, Any] | None = None
    ) -> list[FactRow]:
        """Return what was measured, the newest first, of one camera, name and settings when given."""
        filters = {k: v for k, v in (("camera", camera), ("name", name)) if v is not None}
        if settings is not None:
            filters["settings"] = json.dumps(settings, sort_keys=True)
        where, values = where_of(filters, ("camera", "name", "settings"))
        records = self._read(f"SELECT * FROM detector_facts{where} ORDER BY at DESC, rowid DESC", values)  # noqa: S608
        with self._understood():
            return [fact_row(record) for record in records]

    def at_once(self) -> Change:
        """Return a context whose changes reach the file together at its end; all or, after a kill, none of them."""
        return self._changing()

    def clear(self) -> None:
        """Forget everything."""
        with self._changing() as base:
            for table in TABLES:
                base.execute(f"DELETE FROM {table}")  # noqa: S608

    # --- SQLite -----------------------------------------------------------------------------------------------------

    def _damaged(self, what: object) -> CatalogueDamaged:
        return CatalogueDamaged(f"{self.path}: {what}", code=RunCode.READ_FAILED)

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Call rows that cannot be understood damage."""
        try:
            yield
        except (ValueError, TypeError, LookupError, RecursionError, OverflowError) as error:
            raise self._damaged(f"a row cannot be understood: {error}") from error

    def _prepare(self) -> None:
        version = self._base.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise StorageError(
                f"{self.path}: written by a newer nightcal (version {version}, this one knows {VERSION}); "
                "install that one, or move the file away and run `nightcal catalogue rebuild`",
                code=RunCode.READ_FAILED,
            )
        if version == 0:
            if self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise CatalogueDamaged(f"{self.path}: another program's database", code=RunCode.READ_FAILED)
            self._base.executescript(f"BEGIN;{SCHEMA}PRAGMA user_version = {VERSION};COMMIT;")
        self.is_new = not self._base.execute(HOLDS_QUERY).fetchone()[0]

    def _changing(self) -> Change:
        return self._change

    def _write_many(self, query: str, values: Sequence[Sequence[Any]]) -> int:
        if not values:
            return 0
        with self._changing() as base:
            return base.executemany(query, values).rowcount

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        try:
            with self._lock:
                return self._base.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise trouble(self.path, error) from error
        except UnicodeDecodeError as error:
            raise unreadable(self.path, error) from error
