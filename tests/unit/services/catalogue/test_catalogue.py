"""The catalogue: what goes in comes out, from any thread, after a crash, and never from a newer version."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from calibration.frames import FrameHeader, FrameKind, GroupKey
from calibration.grouping import group_key
from services.catalogue.catalogue import Catalogue, CatalogueDamaged
from services.catalogue.plain import key_from_dict, key_to_dict
from services.catalogue.rows import FactRow, Flag, FrameRow, MasterRow, MasterStatus, Origin, RefusalRow, RunRow
from services.errors import Exit, RunCode, StorageError

AT = datetime(2026, 1, 1, 18, 0, 0, 123456, tzinfo=UTC)

ROW = FrameRow(
    path="darks/exp_1.000s/dark_20260101_180000_001.fits",
    pixel_sha256="ab" * 32,
    size=11520,
    mtime_ns=1_767_290_400_123_456_789,
    kind=FrameKind.DARK,
    camera="id-1|simulated",
    height=20,
    width=30,
    gain=26,
    offset=0,
    readout_mode="High Gain",
    row_order="TOP-DOWN",
    exposure_us=1_000_000,
    instrument="Camera",
    camera_id="id-1",
    simulated=True,
    set_id="set-1",
    run_id="run-1",
    frame_no=1,
    night="2026-01-01",
    date_obs=AT,
    ccd_temp_c=-9.9,
    set_temp_c=-10.0,
    level_adu=501.0,
    sigma_adu=3.5,
    saturated_fraction=0.0,
)
KEY = ROW.key()


def member(number: int, **changed: object) -> FrameRow:
    path = f"darks/{changed.get('set_id', 'set-1')}_{number:03d}.fits"
    return replace(ROW, path=path, frame_no=number, date_obs=AT + timedelta(seconds=number), **changed)


def master(path: str = "master_frames/m.fits", **changed: object) -> MasterRow:
    known = {"path": path, "key": KEY, "n": 40, "recipe": "r1", "built_at": AT, "exposure_us": 1_000_000}
    return MasterRow(**known | {"inputs": ("aa", "bb"), "statistics": {"mean_adu": 500.5}} | changed)


@pytest.fixture
def catalogue(tmp_path: Path):
    with Catalogue(tmp_path / ".nightcal" / "catalogue.sqlite") as opened:
        yield opened


def test_a_frame_comes_back_as_it_went_in(catalogue: Catalogue) -> None:
    catalogue.add_frame(ROW)
    assert catalogue.frames() == [ROW]
    assert catalogue.frame(ROW.path) == ROW
    assert catalogue.frame("elsewhere") is None
    bare = FrameRow(path="b", pixel_sha256="", size=0, mtime_ns=0, kind=FrameKind.BIAS, camera="", height=1, width=1)
    catalogue.add_frame(bare)
    assert catalogue.frame("b") == bare


def test_the_same_path_is_one_row(catalogue: Catalogue) -> None:
    catalogue.add_frame(ROW)
    catalogue.add_frame(replace(ROW, level_adu=9.0))
    assert [row.level_adu for row in catalogue.frames()] == [9.0]


def test_filters_tell_missing_from_zero(catalogue: Catalogue) -> None:
    catalogue.add_frames([member(1, offset=0), member(2, offset=None), member(3, offset=5)])
    assert [row.frame_no for row in catalogue.frames(offset=0)] == [1]
    assert [row.frame_no for row in catalogue.frames(offset=None)] == [2]
    assert [row.frame_no for row in catalogue.frames(offset=(0, 5), kind=FrameKind.DARK)] == [1, 3]
    assert catalogue.frames(offset=()) == []
    assert catalogue.frames(kind=FrameKind.FLAT) == []
    with pytest.raises(TypeError, match="no such column: gian"):
        catalogue.frames(gian=1)


def test_the_key_is_that_of_the_header(catalogue: Catalogue) -> None:
    header = FrameHeader(
        kind=FrameKind.FLAT, shape=(20, 30), exposure_us=5, filter="L", night="2026-01-01", source="panel", gain=0,
        instrument="Camera", simulated=True, row_order="TOP-DOWN", rotator_angle_deg=12.5, set_id="s", date_obs=AT,
    )  # fmt: skip
    row = FrameRow.of(header, path="f", pixel_sha256="x", size=1, mtime_ns=2)
    catalogue.add_frame(row)
    assert catalogue.frames()[0].key() == group_key(header)
    assert catalogue.frames()[0].header() == header
    assert KEY.temperature_c == -10.0
    assert ROW.key(temperature_c=3.0).temperature_c == 3.0


def test_the_set_of_a_foreign_frame_does_not_make_it_ours() -> None:
    assert replace(ROW, origin=Origin.FOREIGN).header().set_id is None
    assert ROW.header().set_id == "set-1"


def test_sets_are_what_a_run_subtracts(catalogue: Catalogue) -> None:
    catalogue.add_frames(member(n, level_adu=500.0 + n) for n in (3, 1, 2))
    catalogue.add_frames(member(n, set_id="set-2", kind=FrameKind.FLAT, filter="L") for n in range(10, 12))
    catalogue.set_flag(Flag.BAD, paths=[member(3).path])
    newest, oldest = catalogue.sets()
    assert (newest.set_id, newest.count, newest.filter) == ("set-2", 2, "L")
    assert (oldest.count, oldest.level_adu, oldest.mean_level_adu) == (2, 501.0, 501.5)
    assert (oldest.oldest, oldest.newest) == (AT + timedelta(seconds=1), AT + timedelta(seconds=2))
    assert (oldest.exposure_us, oldest.set_temp_c, oldest.key) == (1_000_000, -10.0, KEY)
    assert oldest.next_frame_no == 4, "a number once given, even to a bad frame, is not given again"
    assert [s.set_id for s in catalogue.sets(FrameKind.FLAT)] == ["set-2"]
    assert [s.set_id for s in catalogue.sets(FrameKind.DARK, gain=26)] == ["set-1"]
    assert catalogue.sets(FrameKind.DARK, gain=None) == []


def test_the_first_frame_of_a_set_stands_for_it_also_where_times_and_numbers_are_missing(catalogue: Catalogue) -> None:
    untimed = replace(ROW, set_id="u", date_obs=None, level_adu=None)
    catalogue.add_frames(replace(untimed, path=f"u{n}", frame_no=n, gain=n) for n in (2, 10))
    catalogue.add_frames(replace(member(n), date_obs=AT, gain=n, filter=str(n)) for n in (7, 2, 30))
    catalogue.add_frames(replace(member(n), set_id="n", frame_no=None, path=f"n{n}", gain=n) for n in (3, 2))
    catalogue.add_frame(replace(ROW, path="alone", set_id=None))
    catalogue.set_flag(Flag.BAD, set_id="u", paths=[member(2).path])
    catalogue.set_flag(Flag.OK, paths=["u10"])
    sets = {s.set_id: s for s in catalogue.sets()}
    assert list(sets) == ["n", "set-1", "u"]
    assert {name: (s.key.gain, s.count, s.next_frame_no) for name, s in sets.items()} == {
        "n": (2, 2, 1), "set-1": (7, 2, 31), "u": (10, 1, 11),
    }  # fmt: skip
    assert (sets["u"].newest, sets["u"].mean_level_adu) == (None, None)


def test_asking_for_sets_does_not_take_longer_with_every_frame_ever_taken(catalogue: Catalogue) -> None:
    catalogue.add_frames(replace(member(n), path=f"{n}", set_id=f"s{n // 40}") for n in range(12_000))
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    catalogue._base.set_progress_handler(step, 100)  # of SQLite's own instructions: a clock would measure the machine
    assert len(catalogue.frames()) == 12_000
    of_frames, steps = steps, 0
    assert len(catalogue.sets(FrameKind.DARK)) == 300
    assert steps < of_frames / 10


def test_a_set_of_thousands_of_frames_costs_no_more_for_each_of_them(catalogue: Catalogue) -> None:
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    def cost_of(count: int) -> int:
        nonlocal steps
        steps = 0
        rows = [replace(member(n), path=f"{count} {n}", pixel_sha256=f"{count} {n}", set_id=f"{count}")
                for n in range(count)]  # fmt: skip
        catalogue.add_frames(rows)
        catalogue.set_flag(Flag.BAD, pixels=[row.pixel_sha256 for row in rows[1:]])
        assert [s.count for s in catalogue.sets()] == [1]
        catalogue.remove_frames(row.path for row in rows)
        assert catalogue.sets() == []
        return steps

    catalogue._base.set_progress_handler(step, 100)  # of SQLite's own instructions: a clock would measure the machine
    few, many = cost_of(100), cost_of(2000)
    assert many < 40 * few, "20 times as many frames"


def test_sets_follow_their_frames_after_a_change_that_failed_halfway(catalogue: Catalogue) -> None:
    with catalogue.at_once():
        with pytest.raises(OverflowError):
            catalogue.add_frames((member(1), replace(member(2), size=1 << 70)))
        catalogue.add_frame(member(3))
        assert sum(s.count for s in catalogue.sets()) == len(catalogue.frames())
    catalogue.check()


def test_inputs_are_those_of_the_masters_that_were_asked_for(catalogue: Catalogue) -> None:
    catalogue.add_master(master("a", inputs=("1", "2"), recipe="r1"))
    catalogue.add_master(master("b", inputs=("3", "1"), recipe="r2"))
    assert [row.inputs for row in catalogue.masters(recipe="r2")] == [("3", "1")]
    assert {row.path: row.inputs for row in catalogue.masters()} == {"a": ("1", "2"), "b": ("3", "1")}


def test_a_whole_set_can_be_marked(catalogue: Catalogue) -> None:
    catalogue.add_frames(member(n) for n in range(3))
    assert catalogue.set_flag("bad", set_id="set-1") == 3
    assert catalogue.sets() == []
    with pytest.raises(ValueError, match="ugly"):
        catalogue.set_flag("ugly", set_id="set-1")


def test_refusals_runs_and_facts_come_back(catalogue: Catalogue) -> None:
    refusal = RefusalRow(
        run_id="run-1", at=AT, kind=FrameKind.FLAT, codes=("level_off", "lamp_drift"), filter="L",
        verdicts=({"code": "level_off", "measured": 1.0, "limit": 2.0},), level_adu=7.5,
    )  # fmt: skip
    catalogue.add_refusal(refusal)
    catalogue.add_refusal(replace(refusal, run_id="run-2"))
    assert catalogue.refusals("run-1") == [refusal]
    assert len(catalogue.refusals()) == 2

    run = RunRow(run_id="run-1", started_at=AT, steps=("flats", "darks"), software="nightcal 0.1")
    catalogue.start_run(run)
    assert catalogue.runs() == [run]
    catalogue.finish_run("run-1", finished_at=AT, exit_code=1, code="too_dim", detail="filter Ha")
    assert catalogue.runs() == [replace(run, finished_at=AT, exit_code=1, code="too_dim", detail="filter Ha")]

    fact = FactRow(camera="id-1", name="bias_adu", value=500.5, at=AT, settings={"gain": 26, "offset": None})
    catalogue.add_fact(fact)
    catalogue.add_fact(replace(fact, value=501.0, at=AT + timedelta(days=1)))
    same = catalogue.facts(camera="id-1", name="bias_adu", settings={"offset": None, "gain": 26})
    assert [f.value for f in same] == [501.0, 500.5]
    assert catalogue.facts(settings={"gain": 0}) == []


def test_masters_come_back_with_their_inputs(catalogue: Catalogue) -> None:
    row = master(valid_from=AT, valid_until=AT + timedelta(days=30), status=MasterStatus.PARTIAL)
    catalogue.add_master(row)
    catalogue.add_master(row)
    assert catalogue.masters() == [row]
    assert catalogue.masters(recipe="r1", kind=FrameKind.DARK) == [row]
    assert catalogue.masters(recipe="r2") == []
    catalogue.add_master(replace(row, status=MasterStatus.SUPERSEDED))
    assert catalogue.masters()[0].status is MasterStatus.SUPERSEDED
    catalogue.remove_masters([row.path])
    assert catalogue.masters() == []


def test_a_group_key_survives_json() -> None:
    flat = GroupKey(
        kind=FrameKind.FLAT, camera="c", shape=(1, 2), binning=(1, 1), origin=(0, 0), gain=None, offset=0,
        readout_mode=None, filter="Ha", night="2026-01-01", source="sky", rotator_angle_deg=1.5,
    )  # fmt: skip
    for key in (KEY, flat):
        assert key_from_dict(key_to_dict(key)) == key


def test_reading_the_catalogue_loads_nothing_that_is_heavy() -> None:
    """Dry run, pages and the daemon ask it; none of them opens a frame."""
    code = "import sys, services.catalogue.catalogue; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    names = {name.split(".")[0] for name in loaded.stdout.split()}
    assert not names & {"astropy", "numba", "scipy", "matplotlib", "photutils", "requests", "alpaca"}


def test_a_catalogue_that_was_closed_is_read_through_again_only_after_something_has_touched_it(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with Catalogue(path) as catalogue:
        assert not catalogue.is_as_closed
        catalogue.add_frame(ROW)
    with Catalogue(path) as catalogue:
        assert catalogue.is_as_closed
        catalogue.add_frame(member(2))
        shutil.copytree(tmp_path, tmp_path / "killed")
    with Catalogue(tmp_path / "killed" / "c.sqlite") as catalogue:
        assert not catalogue.is_as_closed
    with Catalogue(path) as catalogue:
        assert catalogue.is_as_closed
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with Catalogue(path) as catalogue:
        assert not catalogue.is_as_closed


def test_damage_that_was_met_while_reading_leaves_a_catalogue_that_is_read_through_again(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with Catalogue(path) as catalogue:
        catalogue.add_frame(ROW)
        catalogue._base.execute("UPDATE frames SET date_obs = 'yesterday'")
        with pytest.raises(CatalogueDamaged):
            catalogue.frames()
    with Catalogue(path) as catalogue:
        assert not catalogue.is_as_closed


def test_what_was_added_is_there_after_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    catalogue = Catalogue(path)
    catalogue.add_frame(ROW)
    with Catalogue(path, read_only=True) as reader:  # the writer never closed
        assert reader.frames() == [ROW]
    catalogue.close()


def test_a_failed_write_changes_nothing(catalogue: Catalogue) -> None:
    broken = replace(ROW, path="second", size=None)  # type: ignore[arg-type]
    with pytest.raises(StorageError, match=r"catalogue\.sqlite"):
        catalogue.add_frames([replace(ROW, path="first"), broken])
    assert catalogue.frames() == []
    catalogue.add_frame(ROW)
    assert len(catalogue.frames()) == 1


def test_one_writes_and_others_read(catalogue: Catalogue) -> None:
    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(len(catalogue.frames(set_id="set-1")))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for thread in readers:
        thread.start()
    for number in range(60):
        catalogue.add_frame(member(number))
    done.set()
    for thread in readers:
        thread.join()
    assert len(catalogue.frames()) == 60
    assert all(0 <= count <= 60 for count in seen)


def test_a_catalogue_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    Catalogue(path).close()
    base = sqlite3.connect(path)
    base.execute("PRAGMA user_version = 99")
    base.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="newer nightcal") as caught:
        Catalogue(path)
    assert caught.value.exit == Exit.STORAGE
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_catalogue_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.sqlite"
    path.write_bytes(content)
    with pytest.raises(CatalogueDamaged) as caught:
        Catalogue(path)
    assert caught.value.code is RunCode.READ_FAILED


def test_reading_makes_nothing(tmp_path: Path) -> None:
    with Catalogue(tmp_path / "none" / "c.sqlite", read_only=True) as reader:
        assert reader.frames() == []
        assert reader.sets() == []
        assert reader.newest_date_obs() is None
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="folders cannot be made read-only for this user")
def test_a_catalogue_beside_which_nothing_can_be_made_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "root"
    with Catalogue(folder / "catalogue.sqlite") as catalogue:
        catalogue.add_frame(member(1))
    folder.chmod(0o500)
    try:
        with Catalogue(folder / "catalogue.sqlite", read_only=True) as catalogue:
            assert len(catalogue.frames()) == 1
    finally:
        folder.chmod(0o700)


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    Catalogue(path).close()
    with Catalogue(path, read_only=True) as reader, pytest.raises(StorageError):
        reader.add_frame(ROW)


def test_the_newest_start_is_known(catalogue: Catalogue) -> None:
    catalogue.add_frames([member(5), member(9), member(2)])
    assert catalogue.newest_date_obs() == AT + timedelta(seconds=9)
    catalogue.clear()
    assert catalogue.newest_date_obs() is None
