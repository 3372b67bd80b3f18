"""The catalogue's tables, and how records become their rows and come back."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import fields
from datetime import datetime
from functools import cache
from typing import Any

from calibration.frames import FrameKind
from services.catalogue.rows import FactRow, Flag, FrameRow, Origin, RefusalRow, RunRow, SetRow, parse_time, time_text

VERSION = 1
"""Of the tables (`user_version`)."""

SCHEMA = """
CREATE TABLE frames (
    path TEXT PRIMARY KEY, pixel_sha256 TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    kind TEXT NOT NULL, camera TEXT NOT NULL, height INTEGER NOT NULL, width INTEGER NOT NULL,
    bin_x INTEGER NOT NULL, bin_y INTEGER NOT NULL, origin_x INTEGER NOT NULL, origin_y INTEGER NOT NULL,
    gain INTEGER, offset INTEGER, readout_mode TEXT, row_order TEXT, bayer_pattern TEXT,
    exposure_us INTEGER, filter TEXT, source TEXT, rotator_angle_deg REAL, instrument TEXT, camera_id TEXT,
    simulated INTEGER NOT NULL, set_id TEXT, run_id TEXT, frame_no INTEGER, night TEXT, date_obs TEXT,
    reported_exposure_us INTEGER, ccd_temp_c REAL, set_temp_c REAL, level_adu REAL, sigma_adu REAL,
    saturated_fraction REAL, saturation_adu REAL, egain_e_adu REAL, step_adu INTEGER, panel_brightness INTEGER,
    flag TEXT NOT NULL, origin TEXT NOT NULL);
CREATE INDEX frames_by_set ON frames (set_id);
CREATE INDEX frames_by_kind ON frames (kind, date_obs);
CREATE TABLE refusals (
    run_id TEXT NOT NULL, at TEXT NOT NULL, kind TEXT NOT NULL, codes TEXT NOT NULL, set_id TEXT, filter TEXT,
    exposure_us INTEGER, level_adu REAL, path TEXT, verdicts TEXT NOT NULL);
CREATE INDEX refusals_by_run ON refusals (run_id);
CREATE TABLE masters (
    path TEXT PRIMARY KEY, kind TEXT NOT NULL, filter TEXT, exposure_us INTEGER, recipe TEXT NOT NULL,
    status TEXT NOT NULL, built_at TEXT NOT NULL, record TEXT NOT NULL);
CREATE INDEX masters_by_recipe ON masters (recipe);
CREATE TABLE master_inputs (
    master TEXT NOT NULL REFERENCES masters (path) ON DELETE CASCADE, pixel_sha256 TEXT NOT NULL);
CREATE INDEX inputs_by_master ON master_inputs (master);
CREATE INDEX inputs_by_hash ON master_inputs (pixel_sha256);
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY, started_at TEXT NOT NULL, finished_at TEXT, exit_code INTEGER, code TEXT,
    detail TEXT NOT NULL, steps TEXT NOT NULL, software TEXT);
CREATE TABLE detector_facts (camera TEXT NOT NULL, name TEXT NOT NULL, value REAL NOT NULL, at TEXT NOT NULL,
    settings TEXT NOT NULL);
"""

FRAME_COLUMNS = tuple(f.name for f in fields(FrameRow))
INSERT_FRAME = (
    f"INSERT OR REPLACE INTO frames ({', '.join(FRAME_COLUMNS)}) "  # noqa: S608 - names of our own record
    f"VALUES ({', '.join('?' * len(FRAME_COLUMNS))})"
)


TABLES = ("frames", "refusals", "masters", "master_inputs", "runs", "detector_facts")
HOLDS_QUERY = f"SELECT EXISTS({' UNION ALL '.join(f'SELECT 1 FROM {table}' for table in TABLES)})"  # noqa: S608
"""Whether any table has a row."""

TABLES_QUERY = "SELECT type, name, sql FROM sqlite_master WHERE type != 'index' ORDER BY name"
_TYPES = {"INTEGER": ("integer",), "REAL": ("real", "integer"), "TEXT": ("text",)}


@cache
def own_tables() -> list[tuple[str, str, str]]:
    """Return what `TABLES_QUERY` finds in a catalogue of ours."""
    with closing(_empty()) as base:
        return base.execute(TABLES_QUERY).fetchall()


@cache
def mistyped_queries() -> tuple[str, ...]:
    """Return queries that find a row with a value that is not of its column's type: SQLite itself takes any."""
    with closing(_empty()) as base:
        return tuple(_mistyped(base, name) for _, name, _ in own_tables())


def _mistyped(base: sqlite3.Connection, table: str) -> str:
    wrong = []
    for _, column, kind, *_ in base.execute(f"PRAGMA table_info({table})"):
        allowed = ", ".join(f"'{name}'" for name in (*_TYPES[kind], "null"))
        wrong.append(f"typeof({column}) NOT IN ({allowed})")
    return f"SELECT 1 FROM {table} WHERE {' OR '.join(wrong)} LIMIT 1"  # noqa: S608 - names of our own schema


def _empty() -> sqlite3.Connection:
    base = sqlite3.connect(":memory:")
    base.executescript(SCHEMA)
    return base


def where_of(filters: Mapping[str, Any], columns: Sequence[str]) -> tuple[str, list[Any]]:
    """Return a WHERE clause and its values; `TypeError` names filters that are no columns."""
    unknown = set(filters) - set(columns)
    if unknown:
        raise TypeError(f"no such column: {', '.join(sorted(unknown))}")
    parts: list[str] = []
    values: list[Any] = []
    for name, wanted in filters.items():
        if wanted is None:
            parts.append(f"{name} IS NULL")
        elif isinstance(wanted, list | tuple | set | frozenset):
            parts.append(f"{name} IN ({', '.join('?' * len(wanted))})")
            values += [_stored(value) for value in wanted]
        else:
            parts.append(f"{name} = ?")
            values.append(_stored(wanted))
    return (f" WHERE {' AND '.join(parts)}" if parts else ""), values


def _stored(value: Any) -> Any:
    if isinstance(value, datetime):
        return time_text(value)
    return str(value) if isinstance(value, str) else value


def frame_values(row: FrameRow) -> tuple[Any, ...]:
    """Return a frame's values in the order of its columns."""
    return tuple(_stored(getattr(row, name)) for name in FRAME_COLUMNS)


def frame_row(record: sqlite3.Row) -> FrameRow:
    """Return the frame of a record."""
    values = {name: record[name] for name in FRAME_COLUMNS}
    values |= {
        "kind": FrameKind(values["kind"]),
        "flag": Flag(values["flag"]),
        "origin": Origin(values["origin"]),
        "simulated": bool(values["simulated"]),
        "date_obs": parse_time(values["date_obs"]),
    }
    return FrameRow(**values)


def refusal_row(record: sqlite3.Row) -> RefusalRow:
    """Return the refused frame of a record."""
    values = dict(record)
    values |= {
        "at": parse_time(values["at"]),
        "kind": FrameKind(values["kind"]),
        "codes": tuple(json.loads(values["codes"])),
        "verdicts": tuple(json.loads(values["verdicts"])),
    }
    return RefusalRow(**values)


def run_row(record: sqlite3.Row) -> RunRow:
    """Return the run of a record."""
    values = dict(record)
    values |= {name: parse_time(values[name]) for name in ("started_at", "finished_at")}
    return RunRow(**{**values, "steps": tuple(json.loads(values["steps"]))})


def fact_row(record: sqlite3.Row) -> FactRow:
    """Return the fact of a record."""
    return FactRow(**{**dict(record), "at": parse_time(record["at"]), "settings": json.loads(record["settings"])})


def sets_query(where: str) -> str:
    """Return the query of sets: their first good frame, and what all of them count to; the newest first.

    SQLite groups, so that the frames of years are not read to learn of a few sets.
    """
    return f"""
    WITH members AS (SELECT path, set_id, flag, date_obs, frame_no, level_adu FROM frames{where}),
    firsts AS (
        SELECT path, min(printf('%s %012d %s', date_obs, coalesce(frame_no, -1), path))
        FROM members WHERE flag = 'ok' AND set_id IS NOT NULL GROUP BY set_id),
    counts AS (
        SELECT set_id, sum(flag = 'ok') AS in_set, max(frame_no) AS last_no,
            min(date_obs) FILTER (WHERE flag = 'ok') AS oldest, max(date_obs) FILTER (WHERE flag = 'ok') AS newest,
            avg(level_adu) FILTER (WHERE flag = 'ok') AS mean_level_adu
        FROM members GROUP BY set_id)
    SELECT frames.*, in_set, last_no, oldest, newest, mean_level_adu
    FROM firsts JOIN frames USING (path) JOIN counts USING (set_id)
    ORDER BY newest DESC, date_obs, set_id"""  # noqa: S608 - of our own columns


def set_row(record: sqlite3.Row) -> SetRow:
    """Return the set of a record of `sets_query`."""
    first = frame_row(record)
    return SetRow(
        set_id=str(first.set_id),
        key=first.key(),
        count=record["in_set"],
        oldest=parse_time(record["oldest"]),
        newest=parse_time(record["newest"]),
        exposure_us=first.exposure_us,
        panel_brightness=first.panel_brightness,
        filter=first.filter,
        level_adu=first.level_adu,
        mean_level_adu=record["mean_level_adu"],
        set_temp_c=first.set_temp_c,
        ccd_temp_c=first.ccd_temp_c,
        night=first.night,
        origin=first.origin,
        next_frame_no=1 + (record["last_no"] or 0),
    )
