"""Runs, the frames they refused, and what was measured of detectors."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from calibration.frames import FrameKind
from services.catalogue.database import Database
from services.catalogue.plain import parse_time, time_text
from services.catalogue.rows import FactRow, RefusalRow, RunRow
from services.catalogue.tables import where_of
from services.events.records import json_value

EXPOSURE_MADE = "exposure_made_us"
"""Name of the fact that a camera makes another exposure than the one that it is asked for (`asked_us`)."""

SHORTEST, EXPOSURE_STEP = "exposure_min_us", "exposure_step_us"
"""Names of the facts what the camera's shortest exposure is, and in which steps it exposes: plans ask for no others."""

SENSOR_C, NO_SENSOR_C = "sensor_c", "sensor_without_temperature"
"""Names of the facts how warm a sensor was that nothing cools, and that its camera does not say how warm it is."""

LISTED = "listed_settings"
"""Name of the fact which gains and offsets a camera lists by name: its settings are both lists."""


class HistoryTable(Database):
    """The tables `runs`, `refusals` and `detector_facts`."""

    def start_run(self, row: RunRow) -> None:
        """Record the start of a run (or all of it, in a rebuild)."""
        values = (
            row.run_id, time_text(row.started_at), time_text(row.finished_at), row.exit_code, row.code, row.detail,
            json.dumps(row.steps), row.software, row.campaign, row.early,
        )  # fmt: skip
        self._write_many("INSERT OR REPLACE INTO runs VALUES (?,?,?,?,?,?,?,?,?,?)", [values])

    def finish_run(
        self,
        run_id: str,
        *,
        finished_at: datetime,
        exit_code: int,
        code: str | None = None,
        detail: str = "",
        early: bool = False,
    ) -> None:
        """Record how a run ended."""
        query = "UPDATE runs SET finished_at = ?, exit_code = ?, code = ?, detail = ?, early = ? WHERE run_id = ?"
        self._write_many(query, [(time_text(finished_at), exit_code, code, detail, early, run_id)])

    def runs(self, **filters: Any) -> list[RunRow]:
        """Return runs, the newest first; filters on run_id and finished_at (None: it runs, or was killed)."""
        where, values = where_of(filters, ("run_id", "finished_at"))
        records = self._read(f"SELECT * FROM runs{where} ORDER BY started_at DESC, run_id DESC", values)  # noqa: S608
        with self._understood():
            return [_run(dict(record)) for record in records]

    def first_cooled(self, most: int) -> list[tuple[datetime, datetime | None]]:
        """Return when each of the last runs began, and its first cooled frame (None: none); the newest first."""
        query = """SELECT started_at, (SELECT min(date_obs) FROM frames
            WHERE frames.run_id = runs.run_id AND set_temp_c IS NOT NULL)
            FROM runs ORDER BY started_at DESC, run_id DESC LIMIT ?"""
        records = self._read(query, [most])
        with self._understood():
            return [(at, parse_time(first)) for began, first in records if (at := parse_time(began)) is not None]

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
        records = self._read(f"SELECT * FROM refusals{where} ORDER BY at, rowid", values)  # noqa: S608
        with self._understood():
            return [_refusal(dict(record)) for record in records]

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
            return [_fact(dict(record)) for record in records]


def _run(values: dict[str, Any]) -> RunRow:
    values |= {name: parse_time(values[name]) for name in ("started_at", "finished_at")}
    return RunRow(**{**values, "steps": tuple(json.loads(values["steps"])), "early": bool(values["early"])})


def _refusal(values: dict[str, Any]) -> RefusalRow:
    values |= {
        "at": parse_time(values["at"]),
        "kind": FrameKind(values["kind"]),
        "codes": tuple(json.loads(values["codes"])),
        "verdicts": tuple(json.loads(values["verdicts"])),
    }
    return RefusalRow(**values)


def _fact(values: dict[str, Any]) -> FactRow:
    return FactRow(**{**values, "at": parse_time(values["at"]), "settings": json.loads(values["settings"])})
