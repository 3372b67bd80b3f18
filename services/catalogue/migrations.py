"""The versions of the catalogue's tables, and the steps from each to the next.

`PRAGMA user_version` counts the steps that a file has had. A new catalogue takes all of them, an older one those that
it lacks, in one transaction: a kill leaves the old version or the new one, whole. A step that was released is never
changed again; a new one is added below it.
"""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from services.catalogue.plain import parse_time, time_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step: its statements, then what SQL cannot say."""

    statements: tuple[str, ...]
    fill: Callable[[sqlite3.Connection], None] | None = None


_FIRST = (
    """CREATE TABLE frames (
    path TEXT PRIMARY KEY, pixel_sha256 TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    kind TEXT NOT NULL, camera TEXT NOT NULL, height INTEGER NOT NULL, width INTEGER NOT NULL,
    bin_x INTEGER NOT NULL, bin_y INTEGER NOT NULL, origin_x INTEGER NOT NULL, origin_y INTEGER NOT NULL,
    gain INTEGER, offset INTEGER, readout_mode TEXT, row_order TEXT, bayer_pattern TEXT,
    exposure_us INTEGER, filter TEXT, source TEXT, rotator_angle_deg REAL, instrument TEXT, camera_id TEXT,
    simulated INTEGER NOT NULL, set_id TEXT, run_id TEXT, frame_no INTEGER, night TEXT, date_obs TEXT,
    reported_exposure_us INTEGER, ccd_temp_c REAL, set_temp_c REAL, level_adu REAL, sigma_adu REAL,
    saturated_fraction REAL, saturation_adu REAL, egain_e_adu REAL, step_adu INTEGER, panel_brightness INTEGER,
    flag TEXT NOT NULL, origin TEXT NOT NULL)""",
    "CREATE INDEX frames_by_set ON frames (set_id)",
    "CREATE INDEX frames_by_kind ON frames (kind, date_obs)",
    """CREATE TABLE refusals (
    run_id TEXT NOT NULL, at TEXT NOT NULL, kind TEXT NOT NULL, codes TEXT NOT NULL, set_id TEXT, filter TEXT,
    exposure_us INTEGER, level_adu REAL, path TEXT, verdicts TEXT NOT NULL)""",
    "CREATE INDEX refusals_by_run ON refusals (run_id)",
    """CREATE TABLE masters (
    path TEXT PRIMARY KEY, kind TEXT NOT NULL, filter TEXT, exposure_us INTEGER, recipe TEXT NOT NULL,
    status TEXT NOT NULL, built_at TEXT NOT NULL, record TEXT NOT NULL)""",
    "CREATE INDEX masters_by_recipe ON masters (recipe)",
    """CREATE TABLE master_inputs (
    master TEXT NOT NULL REFERENCES masters (path) ON DELETE CASCADE, pixel_sha256 TEXT NOT NULL)""",
    "CREATE INDEX inputs_by_master ON master_inputs (master)",
    "CREATE INDEX inputs_by_hash ON master_inputs (pixel_sha256)",
    """CREATE TABLE runs (
    run_id TEXT PRIMARY KEY, started_at TEXT NOT NULL, finished_at TEXT, exit_code INTEGER, code TEXT,
    detail TEXT NOT NULL, steps TEXT NOT NULL, software TEXT)""",
    """CREATE TABLE detector_facts (camera TEXT NOT NULL, name TEXT NOT NULL, value REAL NOT NULL, at TEXT NOT NULL,
    settings TEXT NOT NULL)""",
)

_FACTS = (
    "origin", "camera_id", "instrument", "simulated", "height", "width", "bin_x", "bin_y", "origin_x", "origin_y",
    "gain", "offset", "readout_mode", "row_order", "set_temp_c", "ccd_temp_c IS NULL",
    "CASE kind WHEN 'FLAT' THEN filter ELSE exposure_us END",
    "CASE kind WHEN 'FLAT' THEN source END",
    "CASE kind WHEN 'FLAT' THEN rotator_angle_deg END",
    "CASE WHEN kind = 'FLAT' AND origin = 'foreign' THEN night END",
)  # fmt: skip
"""What the frames of a set must share to be one group, the temperature aside, which Python decides by its limits."""


def _set_totals(facts: tuple[str, ...]) -> str:
    """Return the statement of the view that sums up each set; it is alike where its frames share the facts."""
    shared = " || ',' || ".join(f"quote({fact})" for fact in facts)
    return f"""CREATE VIEW set_totals AS
    SELECT set_id, kind, count(*) FILTER (WHERE flag = 'ok') AS in_set, max(frame_no) AS last_no,
        min(date_obs) FILTER (WHERE flag = 'ok') AS oldest, max(date_obs) FILTER (WHERE flag = 'ok') AS newest,
        avg(level_adu) FILTER (WHERE flag = 'ok') AS mean_level_adu,
        min(ccd_temp_c) FILTER (WHERE flag = 'ok') AS coldest_c,
        max(ccd_temp_c) FILTER (WHERE flag = 'ok') AS warmest_c,
        min({shared}) FILTER (WHERE flag = 'ok') IS max({shared}) FILTER (WHERE flag = 'ok') AS is_alike,
        (SELECT path FROM frames AS first
         WHERE first.set_id = frames.set_id AND first.kind = frames.kind AND first.flag = 'ok'
         ORDER BY date_obs, frame_no, path LIMIT 1) AS first_path
    FROM frames WHERE set_id IS NOT NULL GROUP BY set_id, kind"""  # noqa: S608 - our own columns


def _refreshed(row: str) -> str:
    """Return the statements of a trigger that make the set of a frame anew, from the frames that it has now."""
    of_it = f"WHERE set_id = {row}.set_id AND kind = {row}.kind"
    return f"DELETE FROM sets {of_it}; INSERT INTO sets SELECT * FROM set_totals {of_it};"  # noqa: S608


def _listed(row: str) -> str:
    """Return the statement of a trigger that puts the set of a frame on the list of those that have changed."""
    is_set = f"WHERE {row}.set_id IS NOT NULL"
    return f"INSERT INTO stale_sets SELECT {row}.set_id, {row}.kind {is_set} ON CONFLICT DO NOTHING;"


_UNLESS_HELD = "DELETE FROM stale_sets WHERE NOT EXISTS (SELECT 1 FROM stale_sets WHERE set_id IS NULL);"

_SETS = (
    "DROP INDEX frames_by_set",
    "CREATE INDEX frames_by_set ON frames (set_id, kind, date_obs)",
    "CREATE INDEX frames_by_flag ON frames (flag) WHERE flag != 'ok'",
    "CREATE INDEX frames_by_origin ON frames (origin, simulated, date_obs)",
    "CREATE INDEX frames_by_run ON frames (run_id)",
    "CREATE INDEX frames_by_hash ON frames (pixel_sha256)",
    "CREATE INDEX refusals_by_set ON refusals (set_id)",
    _set_totals(_FACTS),
    """CREATE TABLE sets (
    set_id TEXT NOT NULL, kind TEXT NOT NULL, in_set INTEGER NOT NULL, last_no INTEGER, oldest TEXT, newest TEXT,
    mean_level_adu REAL, coldest_c REAL, warmest_c REAL, is_alike INTEGER NOT NULL, first_path TEXT,
    PRIMARY KEY (set_id, kind)) WITHOUT ROWID""",
    "INSERT INTO sets SELECT * FROM set_totals",
    "CREATE TABLE stale_sets (set_id TEXT, kind TEXT, UNIQUE (set_id, kind))",
    f"CREATE TRIGGER set_changed AFTER DELETE ON stale_sets BEGIN {_refreshed('OLD')} END",
    f"CREATE TRIGGER frame_added AFTER INSERT ON frames BEGIN {_listed('NEW')} {_UNLESS_HELD} END",
    f"CREATE TRIGGER frame_removed AFTER DELETE ON frames BEGIN {_listed('OLD')} {_UNLESS_HELD} END",
    f"CREATE TRIGGER frame_changed AFTER UPDATE ON frames BEGIN {_listed('OLD')} {_listed('NEW')} {_UNLESS_HELD} END",
    "ALTER TABLE masters ADD COLUMN camera TEXT",
    "ALTER TABLE masters ADD COLUMN valid_from TEXT",
    "ALTER TABLE masters ADD COLUMN valid_until TEXT",
    "CREATE INDEX masters_by_validity ON masters (kind, valid_from, valid_until)",
)
"""A set that leaves the list `stale_sets` is made anew. That happens with each change of a frame, unless a row without
a set holds the list: whoever changes thousands of frames of one set makes it anew once, and not thousands of times."""


_STATES = (
    "ALTER TABLE frames ADD COLUMN calibrated TEXT",
    "ALTER TABLE frames ADD COLUMN pedestal_adu REAL",
    "ALTER TABLE frames ADD COLUMN unread TEXT",
    "ALTER TABLE frames ADD COLUMN read_as TEXT",
    "DROP VIEW set_totals",
    _set_totals((*_FACTS, "bayer_pattern", "CASE WHEN gain IS NULL THEN egain_e_adu END", "calibrated",
                 "pedestal_adu", "unread")),
    "DELETE FROM sets",
    "INSERT INTO sets SELECT * FROM set_totals",
)  # fmt: skip
"""What another program has done to a frame, settings that are not understood, and by which rules it was read. Frames
that differ in these, in their colour mosaic or in their e-/ADU are not alike."""


_MARKS = (
    "CREATE TABLE marks (pixel_sha256 TEXT PRIMARY KEY, path TEXT NOT NULL, reason TEXT NOT NULL, at TEXT)",
    "INSERT OR IGNORE INTO marks SELECT pixel_sha256, path, '', NULL FROM frames WHERE flag != 'ok'",
    "ALTER TABLE runs ADD COLUMN campaign TEXT",
    "ALTER TABLE runs ADD COLUMN early INTEGER",
)
"""Frames that were rejected, by their pixels, so that a frame that is moved or comes back is still rejected; and which
runs together take everything anew."""

_MODELS = (
    """CREATE TABLE models (
    path TEXT PRIMARY KEY, kind TEXT NOT NULL, camera TEXT NOT NULL, recipe TEXT NOT NULL, fitted_at TEXT NOT NULL,
    record TEXT NOT NULL)""",
    """CREATE TABLE model_inputs (
    model TEXT NOT NULL REFERENCES models (path) ON DELETE CASCADE, pixel_sha256 TEXT NOT NULL)""",
    "CREATE INDEX model_inputs_by_model ON model_inputs (model)",
)
"""Models of the detector, and the frames that they were made of."""


def _fill_validity(base: sqlite3.Connection) -> None:
    """Write what the records of masters say into their new columns; a record that is none is found by the check."""
    for path, text in base.execute("SELECT path, record FROM masters").fetchall():
        try:
            record = json.loads(text)
            times = [time_text(parse_time(record.get(name))) for name in ("valid_from", "valid_until")]
            values = (str(record["key"]["camera"]), *times, path)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError):
            continue
        base.execute("UPDATE masters SET camera = ?, valid_from = ?, valid_until = ? WHERE path = ?", values)


MIGRATIONS = (
    Migration(statements=_FIRST),
    Migration(statements=_SETS, fill=_fill_validity),
    Migration(statements=_STATES),
    Migration(statements=_MARKS),
    Migration(statements=_MODELS),
)
VERSION = len(MIGRATIONS)
"""Of the tables that this nightcal reads and writes (`user_version`)."""

_TABLES_QUERY = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"


def migrate(base: sqlite3.Connection, version: int) -> None:
    """Take the steps that a database of a version lacks; the caller holds the transaction."""
    for number, migration in enumerate(MIGRATIONS[version:], version + 1):
        for statement in migration.statements:
            base.execute(statement)
        if migration.fill is not None:
            migration.fill(base)
        base.execute(f"PRAGMA user_version = {number}")


def tables_of(base: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Return all tables, indexes, views and triggers of a database, with the text that made them."""
    return [tuple(row) for row in base.execute(_TABLES_QUERY)]


@cache
def own_tables() -> list[tuple[str, str, str]]:
    """Return what `tables_of` finds in a catalogue of ours."""
    base = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(base, 0)
        return tables_of(base)
    finally:
        base.close()
