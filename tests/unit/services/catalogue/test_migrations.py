"""A catalogue of an older version: upgraded where it lies, whatever happens meanwhile, and nothing of it is lost."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from calibration.frames import FrameKind
from services.catalogue import migrations
from services.catalogue.catalogue import Catalogue, CatalogueDamaged
from services.catalogue.migrations import MIGRATIONS, VERSION, migrate, own_tables, tables_of
from services.catalogue.rows import Flag, MasterStatus

AT = datetime(2026, 1, 1, 18, tzinfo=UTC)
TABLES = ("frames", "refusals", "masters", "master_inputs", "runs", "detector_facts")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a catalogue as version 1 left it: marks, masters, a killed run, frames of another program."""
    path = tmp_path / "catalogue.sqlite"
    with closing(sqlite3.connect(path)) as base:
        base.executescript((Path(__file__).parent / "version_1.sql").read_text(encoding="utf-8"))
        base.execute("PRAGMA journal_mode = WAL")
    return path


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as base:
        return int(base.execute("PRAGMA user_version").fetchone()[0])


def raw(path: Path) -> dict[str, list[Any]]:
    """Return every value that version 1 knew, as it is stored."""
    with closing(sqlite3.connect(path)) as base, closing(sqlite3.connect(":memory:")) as first:
        first.executescript((Path(__file__).parent / "version_1.sql").read_text(encoding="utf-8"))
        columns = {t: ", ".join(row[1] for row in first.execute(f"PRAGMA table_info({t})")) for t in TABLES}
        return {t: base.execute(f"SELECT {columns[t]} FROM {t}").fetchall() for t in TABLES}  # noqa: S608


def meaning(catalogue: Catalogue) -> dict[str, Any]:
    """Return what version 1 told of its rows."""
    return {
        "bad": sorted(row.path for row in catalogue.frames(flag=Flag.BAD)),
        "masters": {row.path: row.status for row in catalogue.masters()},
        "runs": {row.run_id: (row.code, row.finished_at) for row in catalogue.runs()},
        "refusals": [row.codes for row in catalogue.refusals()],
        "facts": sorted((fact.name, fact.value) for fact in catalogue.facts()),
        "sets": {s.set_id: (s.count, s.next_frame_no) for s in catalogue.sets()},
    }


def expected() -> dict[str, Any]:
    return {
        "bad": ["/archive/d3.fits", "darks/exp_1.000s/dark_20260101_182002_002.fits",
                "flats/L/flat_20260101_181001_001.fits"],
        "masters": {
            "master_frames/master_bias_20260101_190000.fits": MasterStatus.CERTIFIED,
            "master_frames/master_dark_20251202_190000.fits": MasterStatus.SUPERSEDED,
            "master_frames/master_dark_20260101_190000.fits": MasterStatus.BAD,
            "master_frames/master_flat_20260101_190000.fits": MasterStatus.BUILT,
        },
        "runs": {
            "20260101T175500-ab12": ("too_dim", AT + timedelta(hours=1)),
            "20260102T175500-cd34": (None, None),
        },
        "refusals": [("level_off",)],
        "facts": [("bias_adu", 500.5), ("k_adu_e", 1.25)],
        "sets": {
            "set_b": (5, 6), "set_d": (4, 6), "set_f": (4, 6), "foreign_dark_2025-12-31_0123456789": (2, 4),
        },
    }  # fmt: skip


def test_an_older_catalogue_is_upgraded_in_its_place_and_keeps_every_mark(old: Path) -> None:
    before = raw(old)
    with Catalogue(old) as catalogue:
        assert meaning(catalogue) == expected()
        catalogue.check()
        marks = catalogue.marks()
        assert sorted(mark.path for mark in marks) == expected()["bad"]
        assert {mark.reason for mark in marks} == {""}
        assert not any(run.campaign or run.early for run in catalogue.runs())
    assert version_of(old) == VERSION
    assert raw(old) == before
    with closing(sqlite3.connect(old)) as base:
        assert tables_of(base) == own_tables()


def test_a_rejected_frame_of_an_older_catalogue_that_goes_and_comes_back_is_still_rejected(old: Path) -> None:
    with Catalogue(old) as catalogue:
        (back,) = catalogue.frames(path=catalogue.marks()[0].path)
        catalogue.remove_frames([back.path])
        catalogue.add_frame(replace(back, flag=Flag.OK))
        assert meaning(catalogue) == expected()


@pytest.mark.parametrize("version", range(1, VERSION))
def test_a_catalogue_of_any_older_version_becomes_the_newest(
    old: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, closing(sqlite3.connect(old)) as base, base:
        patch.setattr(migrations, "MIGRATIONS", MIGRATIONS[:version])
        migrate(base, 1)
    assert version_of(old) == version
    with Catalogue(old, read_only=True) as catalogue:
        assert meaning(catalogue) == expected()
    with Catalogue(old) as catalogue:
        assert meaning(catalogue) == expected()
        catalogue.check()
    assert version_of(old) == VERSION


def test_a_reader_of_an_older_catalogue_gives_right_answers_and_changes_nothing(old: Path) -> None:
    before = old.read_bytes()
    with Catalogue(old, read_only=True) as catalogue:
        assert meaning(catalogue) == expected()
    assert old.read_bytes() == before
    assert version_of(old) == 1


def test_validity_is_half_open_and_found_by_sql_in_what_was_upgraded(old: Path) -> None:
    with Catalogue(old) as catalogue:
        ends = AT + timedelta(days=30)
        for at, count in ((AT - timedelta(days=40), 0), (AT, 1), (ends - timedelta(seconds=1), 1), (ends, 0)):
            assert len(catalogue.masters(kind=FrameKind.BIAS, at=at)) == count
        assert {row.status for row in catalogue.masters(kind=FrameKind.DARK, at=AT)} == {MasterStatus.BAD}


def test_an_upgrade_that_is_killed_at_any_statement_leaves_the_old_version_or_the_new_one_whole(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the disk holds before each statement of the upgrade is what a kill or a power cut leaves of it."""
    left: list[Path] = []

    def keep(_statement: str = "") -> None:
        folder = tmp_path / str(len(left))
        folder.mkdir()
        for path in tmp_path.glob("catalogue.sqlite*"):
            if not path.name.endswith("-shm"):  # gone with the process
                shutil.copy(path, folder / path.name)
        left.append(folder / old.name)

    class Watched(sqlite3.Connection):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            if args[0] == old:
                self.set_trace_callback(keep)
                self.execute("PRAGMA cache_size = 1")  # pages reach the log before the end

    connect = sqlite3.connect
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, **options, factory=Watched))
        catalogue = Catalogue(old)
        keep()
        catalogue.close()
    assert len(left) > 20
    versions = [version_of_copy(path) for path in left]
    assert versions == sorted(versions)
    assert set(versions) == {1, VERSION}
    for path in left:
        with Catalogue(path) as catalogue:
            catalogue.check()
            assert meaning(catalogue) == expected()


def version_of_copy(path: Path) -> int:
    """Return the version that the next start finds, from another copy: reading takes in the log."""
    folder = path.parent / "seen"
    folder.mkdir()
    for each in path.parent.glob("catalogue.sqlite*"):
        shutil.copy(each, folder / each.name)
    return version_of(folder / path.name)


@pytest.mark.parametrize(
    "statement",
    ["DROP TABLE masters", "CREATE TABLE sets (a)", "ALTER TABLE frames RENAME COLUMN gain TO gian",
     "CREATE TRIGGER spite AFTER INSERT ON frames BEGIN DELETE FROM frames; END"],
)  # fmt: skip
def test_tables_of_an_older_version_that_are_not_ours_are_damage_and_stay_as_they_are(
    old: Path, statement: str
) -> None:
    with closing(sqlite3.connect(old)) as base:
        base.execute(statement)
    for read_only in (True, False):
        with pytest.raises(CatalogueDamaged):
            Catalogue(old, read_only=read_only)
    assert version_of(old) == 1


def test_records_that_are_no_masters_do_not_keep_a_catalogue_from_its_upgrade(old: Path) -> None:
    with closing(sqlite3.connect(old)) as base, base:
        base.execute("UPDATE masters SET record = '[' WHERE status = 'built'")
    with Catalogue(old) as catalogue:
        assert version_of(old) == VERSION
        with pytest.raises(CatalogueDamaged):
            catalogue.check()


def test_sets_follow_every_change_of_their_frames_also_by_another_program(old: Path) -> None:
    with Catalogue(old) as catalogue:
        rows = catalogue.frames(set_id="set_d")
        catalogue.set_flag(Flag.OK, set_id="set_d")
        assert {s.set_id: s.count for s in catalogue.sets(FrameKind.DARK)}["set_d"] == 5
        catalogue.remove_frames([rows[0].path])
        (row,) = (s for s in catalogue.sets(FrameKind.DARK) if s.set_id == "set_d")
        assert (row.count, row.oldest, row.level_adu, row.mean_level_adu) == (4, rows[1].date_obs, 502.0, 503.5)
        catalogue.move_frame(rows[1].path, type(rows[1])(**{**asdict(rows[1]), "path": "packed", "set_id": "set_x"}))
        counts = {s.set_id: s.count for s in catalogue.sets(FrameKind.DARK)}
        assert (counts["set_d"], "set_x" in counts) == (3, False), "its frame is marked bad"
        with closing(sqlite3.connect(old)) as base, base:
            base.execute("UPDATE frames SET flag = 'bad' WHERE set_id = 'set_d'")
        assert "set_d" not in {s.set_id for s in catalogue.sets()}
        catalogue.check()
        catalogue.clear()
        assert catalogue.sets() == []
        assert catalogue.is_new
