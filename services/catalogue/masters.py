"""Masters and what they were made of."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from services.catalogue.database import Database
from services.catalogue.plain import parse_time, time_text
from services.catalogue.rows import USABLE, KnownMaster, MasterRow, MasterStatus, SetRow
from services.catalogue.tables import where_of
from services.events.records import json_value

_FILTERS = ("path", "kind", "camera", "filter", "exposure_us", "recipe", "status")


class Spent(NamedTuple):
    """Sets that serve no run any more: their master was rejected or invalidated, or all older frames of their kind."""

    sets: frozenset[tuple[str, str]]
    since: Mapping[str, datetime]

    def holds(self, row: SetRow) -> bool:
        """Return whether a set is one of them."""
        epoch = self.since.get(row.key.kind)
        is_older = epoch is not None and row.oldest is not None and row.oldest < epoch
        return is_older or (str(row.key.kind), row.set_id) in self.sets


class MasterTable(Database):
    """The tables `masters` and `master_inputs`."""

    def add_master(self, row: MasterRow) -> None:
        """Record a master that is on disk; a row of the same path is replaced."""
        values = (
            row.path, str(row.kind), row.key.filter, row.exposure_us, row.recipe, str(row.status),
            time_text(row.built_at), json.dumps({**row.to_dict(), "inputs": []}, default=json_value), row.key.camera,
            time_text(row.valid_from), time_text(row.valid_until),
        )  # fmt: skip
        with self.at_once() as base:
            base.execute("DELETE FROM masters WHERE path = ?", (row.path,))
            base.execute("INSERT INTO masters VALUES (?,?,?,?,?,?,?,?,?,?,?)", values)
            base.executemany("INSERT INTO master_inputs VALUES (?,?)", [(row.path, sha) for sha in row.inputs])

    def masters(self, *, at: datetime | None = None, with_inputs: bool = True, **filters: Any) -> list[MasterRow]:
        """Return masters, the newest first.

        Parameters
        ----------
        at : datetime, optional
            Only those that are valid then: from `valid_from` until just before `valid_until`.
        with_inputs : bool
            False leaves `inputs` empty: those of all masters are as many as there are frames.
        **filters
            Path, kind, camera, filter, exposure_us, recipe, status; values as for `frames`.
        """
        where, values = where_of(filters, _FILTERS)
        if at is not None:
            now = "(valid_from IS NULL OR valid_from <= ?) AND (valid_until IS NULL OR valid_until > ?)"
            where = f"{where} AND {now}" if where else f" WHERE {now}"
            values += [time_text(at)] * 2
        query = f"SELECT path, status, record FROM masters{where} ORDER BY built_at DESC, path"  # noqa: S608
        of_them = f"FROM master_inputs WHERE master IN (SELECT path FROM masters{where})"  # noqa: S608
        query_inputs = f"SELECT master, group_concat(pixel_sha256, char(10)) {of_them} GROUP BY master"
        with self._lock:  # a master that is added in between would have no inputs
            records = self._read(query, values)
            of_masters = self._read(query_inputs, values) if with_inputs else []
        with self._understood():
            inputs = {path: pixels.split("\n") for path, pixels in of_masters}
            return [
                MasterRow.from_dict(
                    {**json.loads(r["record"]), "status": r["status"], "inputs": inputs.get(r["path"], [])}
                )
                for r in records
            ]

    def known_masters(self) -> dict[str, KnownMaster]:
        """Return all masters by path, the newest first, without reading what they are."""
        of_file = "json_extract(record, '$.size'), json_extract(record, '$.mtime_ns')"
        usable = ", ".join(f"'{status}'" for status in USABLE)
        whole = "valid_from IS NOT valid_until OR json_extract(record, '$.contained') = 0"
        ended = f"status = '{MasterStatus.SUPERSEDED}' AND valid_until IS NOT NULL AND ({whole})"
        open_ = f"status = '{MasterStatus.SUSPECT}' AND json_extract(record, '$.stood_as') IS NULL"
        old = "json_type(record, '$.statistics.compared_with') IS NULL"  # nobody else certified masters then
        said = f"json_extract(record, '$.certified') IS NOT NULL OR {old}"
        chosen = f"status = '{MasterStatus.CERTIFIED}' AND ({said})"
        fields = f"path, recipe, status, {of_file}, status IN ({usable}) OR ({ended}) OR ({open_}), {chosen}"
        records = self._read(f"SELECT {fields} FROM masters ORDER BY built_at DESC, path")  # noqa: S608
        return {record[0]: KnownMaster(*record) for record in records}

    def spent(self) -> Spent:
        """Return the sets of frames that no run is to count on: what `reject` and `invalidate` say of their masters."""
        is_invalid = "json_extract(record, '$.invalid[0]') NOT NULL"
        said = self._read(f"SELECT json_extract(record, '$.invalid') FROM masters WHERE {is_invalid}")  # noqa: S608
        ended = f"status = '{MasterStatus.BAD}' OR {is_invalid}"
        masters = f"(SELECT path, kind FROM masters WHERE {ended})"  # noqa: S608
        frames = "CROSS JOIN master_inputs ON master = ended.path CROSS JOIN frames USING (pixel_sha256)"
        of_kind = "WHERE frames.kind = ended.kind"  # not that of the dark that biases are as well
        query = f"SELECT DISTINCT ended.kind, set_id FROM {masters} AS ended {frames} {of_kind}"  # noqa: S608
        sets = frozenset((kind, set_id) for kind, set_id in self._read(query) if set_id is not None)
        since: dict[str, datetime] = {}
        with self._understood():
            for each in (word for (text,) in said for word in json.loads(text or "[]")):
                epoch = parse_time(each.get("since"))
                if each.get("kind") is not None and epoch is not None:
                    since[each["kind"]] = max(epoch, since.get(each["kind"], epoch))
        return Spent(sets, since)

    def remove_masters(self, paths: Iterable[str]) -> None:
        """Forget masters (their files are gone)."""
        self._write_many("DELETE FROM masters WHERE path = ?", [(path,) for path in paths])
