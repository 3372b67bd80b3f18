"""Index and files brought together: after a crash, after hands in the folders, from nothing, from other programs."""

import errno
import json
import os
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits as astropy_fits

from calibration.frames import Frame, FrameHeader, FrameKind
from drivers.clock import ManualClock
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import Flag, FrameRow, MasterRow, MasterStatus, Origin, RunRow
from services.errors import RunCode, StorageError
from services.events.bus import Events
from services.events.devices import DetectorMeasured
from services.events.findings import Finding
from services.events.records import FrameRefused, RunFinished, RunStarted
from services.files import fits
from services.files.layout import Layout, MasterName
from services.indexing.index import adopt, index_folder, open_catalogue, rebuild
from services.indexing.sidecar import read_sidecar, write_sidecar

AT = datetime(2026, 1, 1, 18, tzinfo=UTC)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def catalogue(layout: Layout):
    with open_catalogue(layout) as opened:
        yield opened


def take(layout: Layout, number: int, *, kind: FrameKind = FrameKind.DARK, set_id: str | None = "set-1") -> FrameRow:
    """Write a frame as a run does and return its row, which is not yet in the catalogue."""
    header = FrameHeader(
        kind=kind, shape=(8, 9), exposure_us=1_000_000, date_obs=AT + timedelta(seconds=number), set_id=set_id,
        run_id="run-1", frame_no=number, instrument="Camera", median_adu=500.0, std_adu=3.0, night="2026-01-01",
    )  # fmt: skip
    pixels = np.random.default_rng(number).integers(0, 65536, (8, 9), dtype=np.uint16)
    stored = fits.write_frame(layout.frame_path(header, wheel=False), Frame(header=header, pixels=pixels))
    return FrameRow.of(
        header, path=layout.relative(stored.path), pixel_sha256=stored.pixel_sha256, size=stored.size,
        mtime_ns=stored.mtime_ns,
    )  # fmt: skip


def build(layout: Layout, row: FrameRow) -> MasterRow:
    name = MasterName(kind=FrameKind.DARK, stamp=AT, exposure_us=1_000_000)
    path = layout.master_path(name)
    master = MasterRow(
        path=layout.relative(path), key=row.key(), n=1, recipe="r", built_at=AT, exposure_us=1_000_000,
        inputs=(row.pixel_sha256,), status=MasterStatus.CERTIFIED, statistics={"mean_adu": 1.5},
    )  # fmt: skip
    write_sidecar(layout, master, verdicts=[{"code": "ok"}])
    with fits.create_planes(path, [fits.Plane(name="MEAN")], (8, 9)) as file:
        file.finish()
    return master


def test_a_frame_written_just_before_a_crash_gets_its_row(layout: Layout, catalogue: Catalogue) -> None:
    row = take(layout, 1)
    report = adopt(catalogue, layout)
    assert (report.adopted, report.problems) == (1, ())
    assert catalogue.frames() == [row]
    assert adopt(catalogue, layout).adopted == 0


def test_the_row_of_a_file_that_is_gone_goes(layout: Layout, catalogue: Catalogue) -> None:
    kept, gone = take(layout, 1), take(layout, 2)
    catalogue.add_frames([kept, gone])
    layout.absolute(gone.path).unlink()
    assert adopt(catalogue, layout).removed == 1
    assert catalogue.frames() == [kept]


def test_a_folder_that_may_not_be_read_stops_by_name_and_costs_no_row(
    layout: Layout, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = take(layout, 1)
    catalogue.add_frame(row)

    def denied(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", denied)
    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(StorageError, match="Permission denied"):
        adopt(catalogue, layout)
    assert [kept.path for kept in catalogue.frames()] == [row.path]


def test_a_file_changed_by_hand_is_read_again_and_its_mark_stays(layout: Layout, catalogue: Catalogue) -> None:
    row = take(layout, 1)
    catalogue.add_frame(row)
    catalogue.set_flag(Flag.BAD, paths=[row.path])
    with astropy_fits.open(layout.absolute(row.path), mode="update", checksum=True) as units:
        units[0].data[0, 0] ^= 1
        units[0].header["HISTORY"] = "edited " * 500
    assert adopt(catalogue, layout).adopted == 1
    (again,) = catalogue.frames()
    assert again.pixel_sha256 != row.pixel_sha256
    assert again.flag is Flag.BAD


def damage(path: Path, kept: int) -> None:
    """Cut a file, or overwrite the last of its pixels with zeros."""
    whole = path.read_bytes()
    path.write_bytes(whole[:kept] if kept < len(whole) else whole[:-2880] + bytes(2880))


@pytest.mark.parametrize("kept", [0, 3000, 10**9], ids=["emptied", "truncated", "zeroed"])
def test_a_damaged_frame_is_missing_instead_of_there(layout: Layout, catalogue: Catalogue, kept: int) -> None:
    rows = [take(layout, number) for number in (1, 2)]
    catalogue.add_frames(rows)
    damage(layout.absolute(rows[1].path), kept)
    for removed in (1, 0):  # nor does it come back
        report = adopt(catalogue, layout)
        assert (report.removed, [p.path for p in report.problems]) == (removed, [rows[1].path])
        assert catalogue.frames() == rows[:1]
        assert [s.count for s in catalogue.sets()] == [1]
        assert index_folder(catalogue, layout.darks, layout=layout).indexed == 0
        assert catalogue.frames() == rows[:1]


def test_a_copied_frame_is_counted_once(layout: Layout, catalogue: Catalogue) -> None:
    row = take(layout, 1)
    catalogue.add_frame(row)
    path = layout.absolute(row.path)
    copies = [path.with_name("a copy.fits"), path.with_name("z copy.fits")]
    for copy in copies:
        copy.write_bytes(path.read_bytes())
    for report in (adopt(catalogue, layout), index_folder(catalogue, layout.darks, layout=layout)):
        assert [(p.path, p.code) for p in report.problems] == [(layout.relative(c), "frame_copied") for c in copies]
        assert catalogue.frames() == [row]
    path.unlink()
    adopt(catalogue, layout)
    assert [row.path for row in catalogue.frames()] == [layout.relative(copies[0])]


def test_a_copy_beside_a_frame_that_was_changed_is_not_counted_twice(layout: Layout, catalogue: Catalogue) -> None:
    rows = [take(layout, 1), take(layout, 2)]
    catalogue.add_frames(rows)
    layout.absolute(rows[1].path).write_bytes(layout.absolute(rows[0].path).read_bytes())
    report = adopt(catalogue, layout)
    assert [p.code for p in report.problems] == ["frame_copied"]
    assert catalogue.frames() == rows[:1]


def test_only_our_own_parts_are_deleted(layout: Layout, catalogue: Catalogue, tmp_path: Path) -> None:
    row = take(layout, 1)
    folder = layout.absolute(row.path).parent
    ours = folder / ".dark_20260101_180002_002.fits.part"
    ours.write_bytes(b"half")
    foreign = [folder / "notes.part", folder / "x.fits.part", tmp_path / ".download.part", folder / ".hidden"]
    foreign += [folder / name for name in (".film.mkv.part", ".M31.fits.part", ".dark.fits.part", ".notes.json.part")]
    for path in foreign:
        path.write_bytes(b"not ours")
    assert adopt(catalogue, layout).parts_deleted == 1
    assert not ours.exists()
    assert all(path.exists() for path in foreign)


def test_a_broken_frame_keeps_no_other_out(layout: Layout, catalogue: Catalogue) -> None:
    rows = [take(layout, n) for n in (1, 2, 3)]
    broken = layout.absolute(rows[1].path)
    broken.write_bytes(broken.read_bytes()[:3000])
    report = adopt(catalogue, layout)
    assert [row.frame_no for row in catalogue.frames()] == [1, 3]
    assert [problem.path for problem in report.problems] == [rows[1].path]
    assert "truncated" in report.problems[0].reason


def test_foreign_frames_in_our_folders_are_not_taken_for_ours(layout: Layout, catalogue: Catalogue) -> None:
    take(layout, 1, set_id=None)
    report = adopt(catalogue, layout)
    assert (report.adopted, report.problems, catalogue.frames()) == (0, (), [])


def test_masters_come_back_from_their_sidecars(layout: Layout, catalogue: Catalogue) -> None:
    master = build(layout, take(layout, 1))
    assert adopt(catalogue, layout).masters == 1
    assert catalogue.masters() == [master]
    layout.absolute(master.path).unlink()
    assert adopt(catalogue, layout).removed == 1
    assert catalogue.masters() == []


def test_a_master_that_was_overwritten_is_told_and_does_not_serve(layout: Layout, catalogue: Catalogue) -> None:
    master = build(layout, take(layout, 1))
    adopt(catalogue, layout)
    path = layout.absolute(master.path)
    path.touch()
    assert adopt(catalogue, layout).problems == ()  # a new time alone is no damage
    path.write_bytes(path.read_bytes()[:-2880] + b"\1" * 2880)
    for removed in (1, 0):
        report = adopt(catalogue, layout)
        assert (report.removed, [p.path for p in report.problems]) == (removed, [master.path])
        assert catalogue.masters() == []


def test_a_damaged_sidecar_is_reported(layout: Layout, catalogue: Catalogue) -> None:
    master = build(layout, take(layout, 1))
    sidecar = layout.sidecar_path(layout.absolute(master.path))
    for content in ("{", "[]", "{}", '{"key": {"kind": "DARK"}}'):
        sidecar.write_text(content)
        with pytest.raises(fits.Unreadable, match="sidecar"):
            read_sidecar(sidecar)
        assert len(adopt(catalogue, layout).problems) == 1
    assert catalogue.masters() == []


def test_everything_comes_back_when_the_catalogue_is_lost(layout: Layout, catalogue: Catalogue) -> None:
    rows = [take(layout, n) for n in (1, 2, 3)]
    catalogue.add_frames(rows)
    catalogue.add_master(build(layout, rows[0]))
    catalogue.set_flag(Flag.BAD, paths=[rows[1].path])
    events = Events(run_id="run-1", clock=ManualClock(AT), journal=layout.events("run-1"))
    events.emit(RunStarted(steps=("flats", "darks"), software="nightcal 0.1"))
    events.emit(DetectorMeasured(bias_adu=500.5, saturation_adu=65535, gain=26, k_adu_e=None))
    refused = FrameRefused(
        path=None, set_id="set-1", kind=FrameKind.DARK, filter=None, exposure_us=5, level_adu=0.0, codes=("constant",),
        verdicts=(Finding(code="constant", measured=0.0, limit=1.0),),
    )  # fmt: skip
    events.emit(refused)
    events.emit(RunFinished(exit_code=1, code="not_dark", detail="leak"))
    events.close()
    with layout.events("run-1").open("a") as journal:
        journal.write('{"name": "run.finished", "run_id": "run-1", "at": "2026-')  # cut by a power cut
    report = rebuild(catalogue, layout)
    assert (report.adopted, report.masters) == (3, 1)
    assert [row.flag for row in catalogue.frames()] == [Flag.OK, Flag.BAD, Flag.OK]
    (run,) = catalogue.runs()
    assert (run.exit_code, run.code, run.steps, run.started_at) == (1, "not_dark", ("flats", "darks"), AT)
    (refusal,) = catalogue.refusals("run-1")
    assert (refusal.codes, refusal.kind, refusal.exposure_us) == (("constant",), FrameKind.DARK, 5)
    assert {fact.name: fact.value for fact in catalogue.facts()} == {"bias_adu": 500.5, "saturation_adu": 65535.0}
    assert catalogue.facts()[0].settings == {"gain": 26, "offset": None, "readout_mode": None, "binning": None}


@pytest.mark.parametrize("sign", ["journal", "frame", "nothing"])
def test_a_run_that_was_killed_is_closed_at_the_next_start(layout: Layout, catalogue: Catalogue, sign: str) -> None:
    catalogue.start_run(RunRow(run_id="run-0", started_at=AT - timedelta(days=1)))
    catalogue.finish_run("run-0", finished_at=AT, exit_code=0)
    catalogue.start_run(RunRow(run_id="run-1", started_at=AT, steps=("darks",)))
    if sign == "journal":
        events = Events(run_id="run-1", clock=ManualClock(AT + timedelta(hours=2)), journal=layout.events("run-1"))
        events.emit(RunStarted(steps=("darks",), software="nightcal 0.1"))
        events.close()
    if sign != "nothing":
        catalogue.add_frame(take(layout, 60))
    adopt(catalogue, layout)
    last = {"journal": timedelta(hours=2), "frame": timedelta(seconds=60), "nothing": timedelta(0)}[sign]
    killed, ended = catalogue.runs()
    assert (killed.run_id, killed.code, killed.exit_code) == ("run-1", RunCode.WORKER_DIED, 1)
    assert killed.finished_at == AT + last
    assert "killed or lost power" in killed.detail
    assert (ended.code, ended.finished_at, ended.exit_code) == (None, AT, 0)
    adopt(catalogue, layout)
    assert catalogue.runs() == [killed, ended]
    if sign == "journal":
        rebuild(catalogue, layout)
        (again,) = catalogue.runs()  # the other one has no journal
        assert (again.code, again.finished_at, again.detail) == (killed.code, killed.finished_at, killed.detail)


def test_a_run_whose_end_reached_its_journal_only_ended_as_that_says(layout: Layout, catalogue: Catalogue) -> None:
    catalogue.start_run(RunRow(run_id="run-1", started_at=AT))
    events = Events(run_id="run-1", clock=ManualClock(AT + timedelta(hours=2)), journal=layout.events("run-1"))
    events.emit(RunFinished(exit_code=5, code="disk_full", detail="no room"))
    events.close()
    adopt(catalogue, layout)
    (ended,) = catalogue.runs()
    assert (ended.code, ended.exit_code, ended.detail) == ("disk_full", 5, "no room")
    assert ended.finished_at == AT + timedelta(hours=2)


def test_a_damaged_catalogue_is_moved_aside_and_rebuilt(layout: Layout) -> None:
    row = take(layout, 1)
    with open_catalogue(layout) as first:
        adopt(first, layout)
    layout.catalogue.write_bytes(b"rubbish" * 1000)
    with open_catalogue(layout) as second:
        assert second.frames() == [row]
    aside = layout.catalogue.with_suffix(".broken")
    assert aside.read_bytes().startswith(b"rubbish")
    layout.catalogue.write_bytes(b"rubbish again" * 1000)
    with open_catalogue(layout) as third:
        assert third.frames() == [row]
    assert len(list(layout.hidden.glob("*.broken"))) == 2


def test_damage_inside_the_catalogue_is_found_when_it_is_opened(layout: Layout) -> None:
    rows = [take(layout, n) for n in range(1, 40)]
    with open_catalogue(layout) as first:
        first.add_frames(rows)
    raw = bytearray(layout.catalogue.read_bytes())
    for page in range(3 * 4096, len(raw), 4096):
        raw[page : page + 600] = b"\xa5" * 600
    layout.catalogue.write_bytes(raw)
    with open_catalogue(layout) as second:
        assert len(second.frames()) == 39
    assert layout.catalogue.with_suffix(".broken").exists()


def test_a_database_of_another_program_is_moved_aside(layout: Layout) -> None:
    layout.hidden.mkdir()
    with sqlite3.connect(layout.catalogue) as base:
        base.execute("CREATE TABLE frames (a)")
    base.close()
    with open_catalogue(layout) as opened:
        assert opened.frames() == []


# --- other programs' frames -------------------------------------------------------------------------------------------


def foreign(path: Path, kind: str, **cards: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = abs(hash(path.name)) % 2**32
    unit = astropy_fits.PrimaryHDU(np.random.default_rng(seed).integers(0, 4096, (8, 9), dtype=np.uint16))
    unit.header["IMAGETYP"] = kind
    unit.header.update({"INSTRUME": "ZWO ASI294", "EXPTIME": 5.0, "DATE-OBS": "2026-02-03T04:05:06"} | cards)
    unit.writeto(path)
    return path


def test_foreign_frames_become_sets_a_group_and_night(tmp_path: Path, layout: Layout, catalogue: Catalogue) -> None:
    folder = tmp_path / "elsewhere"
    for n in range(3):
        foreign(folder / f"d{n}.fits", "Dark Frame", **{"CCD-TEMP": -10.0 + 0.1 * n, "SET-TEMP": -10.0})
        foreign(folder / "deep" / f"e{n}.fit", "Dark Frame", **{"EXPTIME": 5.0003, "DATE-OBS": "2026-02-04T04:05:06"})
        foreign(folder / "deep" / f"b{n}.fts", "BIAS", EXPTIME=0.0)
    foreign(folder / "light.fits", "LIGHT")
    foreign(folder / "stack.fits", "MASTER DARK", NCOMBINE=20)
    foreign(folder / ".hidden.fits", "BIAS")
    foreign(folder / "cut.fits", "BIAS").write_bytes(b"SIMPLE  =                    T")
    foreign(folder / "what.fits", "nothing known")
    (folder / "notes.txt").write_text("dark")

    report = index_folder(catalogue, folder, layout=layout)
    assert report.indexed == 9
    assert sorted((Path(problem.path).name, problem.code) for problem in report.problems) == [
        ("cut.fits", "read_failed"),
        ("light.fits", "light_frame"),
        ("notes.txt", "other_file"),
        ("stack.fits", "foreign_master"),
        ("what.fits", "type_unknown"),
    ]
    rows = catalogue.frames(origin=Origin.FOREIGN)
    assert len(rows) == 9
    sets = catalogue.sets()
    assert sorted((s.key.kind.value, s.count, s.night) for s in sets) == [
        ("BIAS", 3, "2026-02-02"), ("DARK", 3, "2026-02-02"), ("DARK", 3, "2026-02-03"),
    ]  # fmt: skip
    assert all(row.path.startswith("elsewhere/") for row in rows)

    again = index_folder(catalogue, folder, layout=layout)
    assert (again.indexed, again.known) == (0, 9)
    assert {s.set_id for s in catalogue.sets()} == {s.set_id for s in sets}


def test_exposures_of_other_programs_differ_a_little_within_a_set(tmp_path: Path, catalogue: Catalogue) -> None:
    for n in range(3):
        foreign(tmp_path / "f" / f"d{n}.fits", "DARK", EXPTIME=5.0 + 0.0002 * n)
    index_folder(catalogue, tmp_path / "f")
    assert [s.count for s in catalogue.sets()] == [3]
    assert {row.path for row in catalogue.frames()} == {"f/d0.fits", "f/d1.fits", "f/d2.fits"}


def test_frames_outside_the_root_are_kept_by_their_whole_path(
    tmp_path_factory: pytest.TempPathFactory, layout: Layout, catalogue: Catalogue
) -> None:
    path = foreign(tmp_path_factory.mktemp("elsewhere") / "d.fits", "DARK")
    index_folder(catalogue, path.parent)
    (row,) = catalogue.frames()
    assert Path(row.path).is_absolute()
    assert layout.absolute(row.path) == path


def test_indexing_our_own_folders_does_not_make_our_frames_foreign(layout: Layout, catalogue: Catalogue) -> None:
    row = take(layout, 1)
    catalogue.add_frame(row)
    foreign(layout.darks / "bought.fits", "DARK")
    report = index_folder(catalogue, layout.root)
    assert (report.indexed, report.known) == (1, 1)
    assert catalogue.frame(row.path) == row


def test_the_longitude_decides_the_night(tmp_path: Path, catalogue: Catalogue) -> None:
    foreign(tmp_path / "f" / "d.fits", "DARK", **{"DATE-OBS": "2026-02-03T13:00:00"})
    index_folder(catalogue, tmp_path / "f", longitude_deg=-70.0)
    assert catalogue.frames()[0].night == "2026-02-02"


def test_a_rebuild_reads_foreign_frames_again_where_they_were(
    tmp_path_factory: pytest.TempPathFactory, layout: Layout, catalogue: Catalogue
) -> None:
    folder = tmp_path_factory.mktemp("elsewhere")
    kept, gone = foreign(folder / "d.fits", "DARK"), foreign(folder / "e.fits", "DARK")
    index_folder(catalogue, folder)
    before = catalogue.frame(kept.as_posix())
    gone.unlink()
    assert rebuild(catalogue, layout).adopted == 1
    assert catalogue.frames() == [before]


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path, catalogue: Catalogue) -> None:
    assert index_folder(catalogue, tmp_path / "none").indexed == 0


def test_a_foreign_file_that_is_gone_loses_its_row(tmp_path: Path, layout: Layout, catalogue: Catalogue) -> None:
    path = foreign(tmp_path / "f" / "d.fits", "DARK")
    index_folder(catalogue, tmp_path / "f", layout=layout)
    assert adopt(catalogue, layout).removed == 0
    path.unlink()
    assert adopt(catalogue, layout).removed == 1


def test_a_sidecar_is_json_that_a_human_can_read(layout: Layout) -> None:
    master = build(layout, take(layout, 1))
    record = json.loads(layout.sidecar_path(layout.absolute(master.path)).read_text(encoding="utf-8"))
    assert record["format"] == "nightcal master"
    assert record["status"] == "certified"
    assert record["verdicts"] == [{"code": "ok"}]
    assert record["key"]["exposure_us"] == 1_000_000
