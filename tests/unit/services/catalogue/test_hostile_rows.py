"""A catalogue, sidecars and journals that somebody wrote into: read as far as they can be, never believed blindly."""

import json
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.frames import Frame, FrameHeader, FrameKind
from services.catalogue.catalogue import Catalogue, CatalogueDamaged
from services.catalogue.rows import FrameRow, MasterRow, Origin, RefusalRow
from services.errors import RunCode, StorageError
from services.events.decoder import KINDS
from services.files.fits import Plane, Unreadable, create_planes, write_frame
from services.files.layout import Layout, MasterName
from services.indexing.index import adopt, open_catalogue, rebuild
from services.indexing.sidecar import read_sidecar, write_sidecar
from tests.support.small_journal import write_small_journal

AT = datetime(2026, 1, 1, 18, tzinfo=UTC)
RUN = "20260101T180000-abcd"

TRIGGERS = ("frame_added", "frame_removed", "frame_changed", "set_changed")
WITHOUT_SETS = "; ".join(("DROP VIEW set_totals", *(f"DROP TRIGGER {name}" for name in TRIGGERS)))

few = partial(settings, deadline=3000, suppress_health_check=[HealthCheck.function_scoped_fixture])


def take(layout: Layout, number: int) -> FrameRow:
    header = FrameHeader(
        kind=FrameKind.DARK, shape=(4, 5), exposure_us=1_000_000, date_obs=AT + timedelta(seconds=number), set_id="s",
        run_id=RUN, frame_no=number, instrument="Camera", median_adu=500.0, std_adu=3.0, night="2026-01-01",
    )  # fmt: skip
    pixels = np.random.default_rng(number).integers(0, 65536, (4, 5), dtype=np.uint16)
    stored = write_frame(layout.frame_path(header, wheel=False), Frame(header=header, pixels=pixels))
    return FrameRow.of(
        header, path=layout.relative(stored.path), pixel_sha256=stored.pixel_sha256, size=stored.size,
        mtime_ns=stored.mtime_ns,
    )  # fmt: skip


def build(layout: Layout, row: FrameRow) -> MasterRow:
    path = layout.master_path(MasterName(kind=FrameKind.DARK, stamp=AT, exposure_us=1_000_000))
    master = MasterRow(
        path=layout.relative(path), key=row.key(), n=1, recipe="r", built_at=AT, inputs=(row.pixel_sha256,),
        statistics={"mean_adu": 1.5},
    )  # fmt: skip
    write_sidecar(layout, master)
    with create_planes(path, [Plane(name="MEAN")], (4, 5)) as file:
        file.finish()
    return master


def written(root: Path) -> Layout:
    """Write a small root: two frames, a master, a refusal, a run and what was measured, also in its journal."""
    layout = Layout(root)
    rows = [take(layout, 1), take(layout, 2)]
    write_small_journal(layout, RUN, AT)
    master = build(layout, rows[0])
    with open_catalogue(layout) as catalogue:
        catalogue.add_frames(rows)
        catalogue.add_master(master)
        adopt(catalogue, layout)
    return layout


def contents(catalogue: Catalogue) -> dict[str, Any]:
    """Return what every table holds."""
    return {
        "frames": [row.path for row in catalogue.frames()],
        "masters": [row.path for row in catalogue.masters()],
        "refusals": len(catalogue.refusals()),
        "runs": catalogue.runs(),
        "facts": {fact.name: fact.value for fact in catalogue.facts()},
    }


def change(layout: Layout, *statements: str) -> None:
    """Write into the catalogue with another program."""
    with closing(sqlite3.connect(layout.catalogue)) as base:
        base.executescript(";".join(statements))
        base.commit()


def test_a_catalogue_that_is_gone_comes_back_whole(tmp_path: Path) -> None:
    layout = written(tmp_path)
    with open_catalogue(layout) as catalogue:
        before = contents(catalogue)
    assert before["refusals"] == 1
    assert before["facts"] == {"bias_adu": 500.5}
    for empty in (False, True):
        for path in layout.hidden.glob("catalogue.sqlite*"):
            path.unlink()
        if empty:
            layout.catalogue.write_bytes(b"")
        with open_catalogue(layout) as catalogue:
            assert contents(catalogue) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE frames SET kind = 'SPAM'",
        "UPDATE frames SET flag = 'perhaps'",
        "UPDATE frames SET origin = ''",
        "UPDATE frames SET date_obs = 'yesterday'",
        "UPDATE frames SET date_obs = '0001-01-01T00:00:00+23:59'",
        "UPDATE frames SET size = 'many'",
        "UPDATE frames SET gain = x'00ff'",
        "UPDATE frames SET level_adu = 'NaN'",
        "UPDATE frames SET filter = CAST(x'fffe' AS TEXT)",
        "UPDATE frames SET path = CAST(path AS BLOB)",
        "UPDATE refusals SET codes = '{'",
        "UPDATE refusals SET codes = '[[[1]]'",
        "UPDATE refusals SET at = ''",
        "UPDATE refusals SET kind = 'NONE'",
        "UPDATE runs SET steps = '" + "[" * 20_000 + "'",
        "UPDATE runs SET started_at = '1'",
        "UPDATE detector_facts SET settings = 'x'",
        "UPDATE detector_facts SET value = 'x'",
        "UPDATE masters SET record = '[]'",
        "UPDATE masters SET record = 'null'",
        "UPDATE masters SET record = '" + "[" * 20_000 + "'",
        """UPDATE masters SET record = '{"key": {"kind": "DARK"}}'""",
        'UPDATE masters SET record = replace(record, \'"n": 1\', \'"n": "one"\')',
        "UPDATE masters SET record = replace(record, '\"n\": 1', '\"n\": 1e999')",
        "UPDATE masters SET status = 'golden'",
        f"{WITHOUT_SETS}; ALTER TABLE frames DROP COLUMN gain",
        "ALTER TABLE runs RENAME TO walks",
        "DROP TABLE masters",
        "CREATE TRIGGER spite AFTER INSERT ON frames BEGIN DELETE FROM frames; END",
        "CREATE VIEW frames_too AS SELECT * FROM frames",
        "DROP INDEX frames_by_set",
        "UPDATE sets SET in_set = in_set + 1",
        "UPDATE sets SET mean_level_adu = 7",
        "DELETE FROM sets",
        "INSERT INTO stale_sets VALUES (NULL, NULL)",
        "INSERT INTO stale_sets VALUES (NULL, NULL); UPDATE frames SET flag = 'bad'",
        "UPDATE sets SET first_path = 'nowhere'",
    ],
)
def test_rows_and_tables_that_are_not_ours_are_damage_and_everything_is_read_again(
    tmp_path: Path, statement: str
) -> None:
    layout = written(tmp_path)
    with open_catalogue(layout) as catalogue:
        before = contents(catalogue)
    change(layout, statement)
    with suppress(CatalogueDamaged), Catalogue(layout.catalogue, read_only=True) as catalogue:
        contents(catalogue)  # commands that only read say what is the matter
    with open_catalogue(layout) as catalogue:
        assert contents(catalogue) == before
    assert list(layout.hidden.glob("*.broken"))


def test_a_catalogue_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    layout = written(tmp_path)
    change(layout, "PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="newer"):
        open_catalogue(layout)
    assert not list(layout.hidden.glob("*.broken"))


def flipped(tmp_path: Path, data: st.DataObject) -> None:
    """Damage the file in a few places, cut it, and open it: it is whole, rebuilt, or refused by name."""
    layout = Layout(tmp_path)
    if not layout.catalogue.exists() or not layout.darks.exists():
        written(tmp_path)
        change(layout, "PRAGMA journal_mode = DELETE")
        (tmp_path / "whole").write_bytes(layout.catalogue.read_bytes())
    content = bytearray((tmp_path / "whole").read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.one_of(st.integers(0, 120), st.integers(0, len(content) - 1)))
        piece = data.draw(st.binary(min_size=1, max_size=40))
        content[at : at + len(piece)] = piece
    for path in layout.hidden.glob("catalogue*"):
        path.unlink()
    layout.catalogue.write_bytes(content[: data.draw(st.one_of(st.none(), st.integers(0, len(content))))])
    try:
        catalogue = open_catalogue(layout)
    except StorageError as error:
        if "newer" not in error.detail:
            raise
    else:
        with catalogue:
            adopt(catalogue, layout)
            assert {row.frame_no for row in catalogue.frames() if row.origin is Origin.OWN} <= {1, 2}
            contents(catalogue)


def test_damage_that_sqlite_quotes_in_a_message_that_is_no_text_is_mended(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    written(tmp_path)
    change(layout, "PRAGMA journal_mode = DELETE")
    content = layout.catalogue.read_bytes()
    layout.catalogue.write_bytes(content.replace(b"CREATE TABLE runs", b"CREATE TABL\x80 runs"))
    with open_catalogue(layout) as catalogue:
        assert len(catalogue.frames()) == 2
    assert list(layout.hidden.glob("*.broken"))


@given(st.data())
@few(max_examples=40)
def test_a_damaged_catalogue_is_opened_or_refused_by_name(tmp_path: Path, data: st.DataObject) -> None:
    flipped(tmp_path, data)


@pytest.mark.long
@pytest.mark.timeout(1800)
@given(st.data())
@few(max_examples=3000)
def test_many_damaged_catalogues_are_opened_or_refused_by_name(tmp_path: Path, data: st.DataObject) -> None:
    flipped(tmp_path, data)


# --- sidecars -------------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.just(10**30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
@few(max_examples=150)
def test_any_value_in_a_sidecar_is_taken_or_refused_and_never_ends_a_run(tmp_path: Path, data: st.DataObject) -> None:
    layout = Layout(tmp_path)
    first = next(iter(layout.masters.glob("*.json")), None) if layout.masters.exists() else None
    if first is None:
        written(tmp_path)
        (first,) = layout.masters.glob("*.json")
        (tmp_path / "whole.json").write_bytes(first.read_bytes())
    record = json.loads((tmp_path / "whole.json").read_text(encoding="utf-8"))
    place = data.draw(st.sampled_from([record, record["key"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(VALUES)
    first.write_text(json.dumps(record), encoding="utf-8")
    with Catalogue(tmp_path / "x" / f"{data.draw(st.integers(0, 10**9))}.sqlite") as catalogue:
        report = adopt(catalogue, layout)
        assert len(catalogue.masters()) + len(report.problems) == 1


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", '"x"', "{}", "[" * 50_000, '{"key": 1}', "\ufeff{}", "1" * 5000]
)
def test_what_is_no_sidecar_is_unreadable(tmp_path: Path, text: str) -> None:
    path = tmp_path / "master_dark.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Unreadable):
        read_sidecar(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Unreadable):
        read_sidecar(path)


# --- journals -------------------------------------------------------------------------------------------------------

MEMBERS = ["name", "at", "run_id", "steps", "software", "exit_code", "code", "detail", "kind", "codes", "verdicts",
           "set_id", "exposure_us", "level_adu", "path", "filter", "bias_adu", "gain", "camera", "seq"]  # fmt: skip
NAMES = st.sampled_from(list(KINDS)) | st.text(max_size=6)
EVENTS = st.fixed_dictionaries(
    {"name": NAMES, "at": st.just(AT.isoformat()) | VALUES, "run_id": st.just(RUN) | VALUES},
    optional=dict.fromkeys(MEMBERS[3:], VALUES) | {"kind": st.just("DARK") | VALUES},
)


@given(st.lists(EVENTS.map(json.dumps) | st.text(max_size=30), max_size=8))
@few(max_examples=150)
def test_any_journal_is_replayed_as_far_as_it_can_be_understood(tmp_path: Path, lines: list[str]) -> None:
    layout = Layout(tmp_path)
    journal = layout.events(RUN)
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass") + b'\n{"name": "run.st\xff')
    with Catalogue(tmp_path / "catalogue.sqlite") as catalogue:
        rebuild(catalogue, layout)
        contents(catalogue)
        catalogue.check()


def test_what_stands_after_damage_in_a_journal_is_still_taken(tmp_path: Path) -> None:
    layout = written(tmp_path)
    journal = layout.events(RUN)
    journal.write_bytes(b"\0" * 5000 + b"\n" + b"[" * 100_000 + b"\n" + journal.read_bytes())
    layout.catalogue.unlink()
    with open_catalogue(layout) as catalogue:
        (run,) = catalogue.runs()
        assert (run.run_id, run.exit_code) == (RUN, 0)


def test_a_full_disk_under_the_catalogue_is_called_so_and_nothing_is_half_written(tmp_path: Path) -> None:
    large = RefusalRow(run_id=RUN, at=AT, kind=FrameKind.DARK, codes=("constant",), path="x" * 3000)
    with Catalogue(tmp_path / "catalogue.sqlite") as catalogue:
        pages = catalogue._base.execute("PRAGMA page_count").fetchone()[0]
        catalogue._base.execute(f"PRAGMA max_page_count = {pages + 5}")
        for written in range(100):  # noqa: B007
            try:
                catalogue.add_refusal(large)
            except StorageError as error:
                failure = error
                break
        assert failure.code is RunCode.DISK_FULL
        assert len(catalogue.refusals()) == written > 0
        catalogue._base.execute("PRAGMA max_page_count = 10000")
        catalogue.add_refusal(large)
        catalogue.check()
        assert len(catalogue.refusals()) == written + 1
