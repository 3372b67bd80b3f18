"""The catalogue through kills and power cuts at every step, and on shares that offer it no shared memory."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits as astropy_fits

from calibration.frames import Frame, FrameHeader, FrameKind
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import Flag, FrameRow
from services.errors import RunCode, StorageError
from services.files.fits import write_frame
from services.files.layout import Layout
from services.indexing.index import adopt, index_folder, open_catalogue, rebuild
from tests.support.small_journal import write_small_journal

AT = datetime(2026, 1, 1, 18, tzinfo=UTC)
RUN = "20260101T180000-abcd"
SHAPE = (4, 5)


def header(number: int) -> FrameHeader:
    return FrameHeader(
        kind=FrameKind.DARK, shape=SHAPE, exposure_us=1_000_000, date_obs=AT + timedelta(seconds=number), set_id="s",
        run_id=RUN, frame_no=number, instrument="Camera",
    )  # fmt: skip


def take(layout: Layout, number: int) -> FrameRow:
    pixels = np.random.default_rng(number).integers(0, 65536, SHAPE, dtype=np.uint16)
    stored = write_frame(layout.frame_path(header(number), wheel=False), Frame(header=header(number), pixels=pixels))
    return FrameRow.of(
        header(number), path=layout.relative(stored.path), pixel_sha256=stored.pixel_sha256, size=stored.size,
        mtime_ns=stored.mtime_ns,
    )  # fmt: skip


def a_root(root: Path) -> Layout:
    """Write frames, one of them marked bad, one of another program, and a journal with what else is known."""
    layout = Layout(root)
    write_small_journal(layout, RUN, AT)
    rows = [take(layout, number) for number in (1, 2, 3)]
    (root / "others").mkdir()
    other = astropy_fits.PrimaryHDU(np.arange(20, dtype=np.uint16).reshape(SHAPE))
    other.header.update({"IMAGETYP": "DARK", "EXPTIME": 1.0, "DATE-OBS": "2025-02-03T04:05:06"})
    other.writeto(root / "others" / "dark.fits")
    with open_catalogue(layout) as catalogue:
        catalogue.set_flag(Flag.BAD, paths=[rows[1].path])
        index_folder(catalogue, root / "others", layout=layout)
    return layout


def contents(catalogue: Catalogue) -> dict[str, object]:
    return {
        "frames": {row.path: str(row.flag) for row in catalogue.frames()},
        "refusals": len(catalogue.refusals()),
        "runs": [(run.run_id, run.exit_code) for run in catalogue.runs()],
        "facts": [(fact.name, fact.value) for fact in catalogue.facts()],
    }


class Moments:
    """What a kill would leave of a root before each statement that a connection runs, and at the end."""

    def __init__(self, layout: Layout, folder: Path) -> None:
        self._layout = layout
        self._folder = folder
        self.left: list[Layout] = []

    def watch(self, catalogue: Catalogue, act: Callable[[], object]) -> None:
        catalogue._base.set_trace_callback(self.keep)
        act()
        catalogue._base.set_trace_callback(None)
        self.keep()

    def keep(self, _statement: str = "") -> None:
        copy = self._folder / str(len(self.left))
        shutil.copytree(self._layout.root, copy, ignore=shutil.ignore_patterns("*-shm"))  # gone with the process
        self.left.append(Layout(copy))


def test_a_rebuild_that_is_killed_at_any_statement_loses_no_mark_and_no_journal(tmp_path: Path) -> None:
    layout = a_root(tmp_path / "root")
    moments = Moments(layout, tmp_path / "left")
    with open_catalogue(layout) as catalogue:
        before = contents(catalogue)
        moments.watch(catalogue, lambda: rebuild(catalogue, layout))
        assert contents(catalogue) == before
    assert before["frames"]["others/dark.fits"] == "ok"
    assert list(before["frames"].values()).count("bad") == 1
    assert len(moments.left) > 10
    for left in moments.left:
        with open_catalogue(left) as catalogue:
            adopt(catalogue, left)
            assert contents(catalogue) == before


def test_a_first_reading_that_is_killed_at_any_statement_is_done_again(tmp_path: Path) -> None:
    layout = a_root(tmp_path / "root")
    with open_catalogue(layout) as catalogue:
        rebuild(catalogue, layout)
        before = contents(catalogue)
    for path in layout.hidden.glob("catalogue*"):
        path.unlink()
    moments = Moments(layout, tmp_path / "left")
    with Catalogue(layout.catalogue) as catalogue:
        moments.watch(catalogue, lambda: rebuild(catalogue, layout))
    for left in moments.left:
        with open_catalogue(left) as catalogue:
            found = contents(catalogue)
        assert found["facts"] == before["facts"]
        assert found["refusals"] == before["refusals"]
        assert found["runs"] == before["runs"]
        assert len(found["frames"]) == 3


def test_a_frame_that_was_touched_keeps_its_mark_though_its_reading_is_killed(tmp_path: Path) -> None:
    layout = a_root(tmp_path / "root")
    moments = Moments(layout, tmp_path / "left")
    with open_catalogue(layout) as catalogue:
        before = contents(catalogue)
        for row in catalogue.frames(origin="own"):
            layout.absolute(row.path).touch()
        moments.watch(catalogue, lambda: adopt(catalogue, layout))
    for left in moments.left:
        with open_catalogue(left) as catalogue:
            adopt(catalogue, left)
            assert contents(catalogue) == before


def filled(layout: Layout, count: int) -> bytes:
    """Record frames one by one; return the database as it was when each of them was in the write-ahead log only."""
    base = Catalogue(layout.catalogue)
    base._base.execute("PRAGMA wal_autocheckpoint = 0")
    plain = layout.catalogue.read_bytes()
    rows = [
        FrameRow.of(header(number), path=f"darks/{number}.fits", pixel_sha256=str(number), size=1, mtime_ns=1)
        for number in range(count)
    ]
    for row in rows:
        base.add_frame(row)
    log = layout.catalogue.with_name("catalogue.sqlite-wal").read_bytes()
    base._base.execute("PRAGMA wal_checkpoint(FULL)")
    full = layout.catalogue.read_bytes()
    base.close()
    layout.hidden.joinpath("log").write_bytes(log)
    layout.hidden.joinpath("full").write_bytes(full)
    return plain


def reopened(folder: Path, database: bytes, log: bytes) -> list[int]:
    """Return the numbers of the frames that a database and its log hold after a power cut."""
    layout = Layout(folder)
    layout.hidden.mkdir(parents=True)
    layout.catalogue.write_bytes(database)
    layout.catalogue.with_name("catalogue.sqlite-wal").write_bytes(log)
    with closing(Catalogue(layout.catalogue)) as catalogue:
        catalogue.check()
        found = [row.frame_no for row in catalogue.frames()]
    shutil.rmtree(folder)
    return found


def test_a_power_cut_within_a_checkpoint_loses_no_row(tmp_path: Path) -> None:
    layout, dice = Layout(tmp_path / "root"), random.Random(7)
    plain = filled(layout, 60)
    log, full = (layout.hidden.joinpath(name).read_bytes() for name in ("log", "full"))
    assert len(full) > len(plain)
    sectors = range(0, len(full), 512)
    for number in range(30):  # a checkpoint writes pages in any order, sectors of them reach the disk or do not
        share = dice.random()
        mixed = bytearray(plain.ljust(len(full), b"\0"))
        for at in sectors:
            if dice.random() < share:
                mixed[at : at + 512] = full[at : at + 512]
        end = dice.choice([len(full), max(len(plain), 512 * dice.randrange(1, len(sectors)))])
        assert reopened(tmp_path / str(number), bytes(mixed[:end]), log) == list(range(60))


def test_a_log_that_was_cut_anywhere_holds_every_row_before_the_cut_and_no_half_one(tmp_path: Path) -> None:
    layout, dice = Layout(tmp_path / "root"), random.Random(8)
    plain = filled(layout, 60)
    log = layout.hidden.joinpath("log").read_bytes()
    cuts = sorted(dice.randrange(len(log)) for _ in range(30))
    held = [reopened(tmp_path / str(n), plain, log[:cut]) for n, cut in enumerate(cuts)]
    torn = [reopened(tmp_path / f"torn{n}", plain, log[:cut] + bytes(4096)) for n, cut in enumerate(cuts)]
    assert held == [list(range(len(found))) for found in held]
    assert held == sorted(held)
    assert torn == held
    assert len(held[-1]) > 50


def test_a_log_whose_database_was_moved_aside_before_a_kill_is_not_taken_for_the_new_ones(tmp_path: Path) -> None:
    layout = a_root(tmp_path / "root")
    moments = Moments(layout, tmp_path / "left")
    with open_catalogue(layout) as catalogue:
        rebuild(catalogue, layout)
        before = contents(catalogue)
        catalogue.add_frame(FrameRow.of(header(9), path="gone.fits", pixel_sha256="9", size=1, mtime_ns=1))
        moments.keep()
    (left,) = moments.left
    left.catalogue.unlink()
    assert left.catalogue.with_name("catalogue.sqlite-wal").stat().st_size > 0
    with open_catalogue(left) as catalogue:
        catalogue.check()
        assert contents(catalogue)["runs"] == before["runs"]
        assert "gone.fits" not in contents(catalogue)["frames"]


def test_a_share_without_shared_memory_keeps_its_catalogue_without_a_log(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.catalogue.with_name("catalogue.sqlite-shm").mkdir(parents=True)  # SQLite cannot map it, as on such shares
    rows = [take(layout, number) for number in (1, 2)]
    with open_catalogue(layout) as catalogue:
        assert contents(catalogue)["frames"] == {row.path: "ok" for row in rows}
        with Catalogue(layout.catalogue, read_only=True) as reading:
            assert contents(reading) == contents(catalogue)
        catalogue.set_flag(Flag.BAD, paths=[rows[0].path])
    assert not layout.catalogue.with_name("catalogue.sqlite-wal").exists()
    with Catalogue(layout.catalogue, read_only=True) as reading:
        assert contents(reading)["frames"] == {rows[0].path: "bad", rows[1].path: "ok"}


def test_a_root_that_moves_to_such_a_share_takes_its_catalogue_along(tmp_path: Path) -> None:
    layout = a_root(tmp_path / "root")
    moments = Moments(layout, tmp_path / "share")
    with open_catalogue(layout) as catalogue:
        catalogue.set_flag(Flag.BAD, set_id="s")  # in the log only
        before = contents(catalogue)
        moments.keep()
    (moved,) = moments.left
    moved.catalogue.with_name("catalogue.sqlite-shm").mkdir()
    with open_catalogue(moved) as catalogue:
        assert contents(catalogue) == before


def test_a_catalogue_that_cannot_be_written_at_all_is_named(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.catalogue.mkdir(parents=True)
    with pytest.raises(StorageError, match=r"catalogue\.sqlite") as caught:
        open_catalogue(layout)
    assert caught.value.code is RunCode.WRITE_FAILED


def test_a_change_within_another_is_a_part_of_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with open_catalogue(layout) as catalogue:
        row = take(layout, 1)
        with suppress(ZeroDivisionError), catalogue.at_once():
            catalogue.add_frame(row)
            assert catalogue.frames() == [row]
            raise ZeroDivisionError
        assert catalogue.frames() == []
        with catalogue.at_once():
            catalogue.add_frame(row)
            with closing(sqlite3.connect(layout.catalogue)) as other:
                assert other.execute("SELECT count(*) FROM frames").fetchone() == (0,)
        assert catalogue.frames() == [row]


@pytest.mark.parametrize("is_followed", [False, True])
def test_a_change_that_a_full_disk_has_undone_fails_though_its_first_error_was_swallowed(
    tmp_path: Path, *, is_followed: bool
) -> None:
    """What followed was committed alone, and the end of the whole then told of a damaged catalogue."""
    layout = Layout(tmp_path)
    with open_catalogue(layout) as catalogue:
        catalogue.add_frame(first := take(layout, 1))
        pages = catalogue._base.execute("PRAGMA page_count").fetchone()[0]
        catalogue._base.execute("PRAGMA cache_size = 1")
        catalogue._base.execute(f"PRAGMA max_page_count = {pages + 1}")
        many = [replace(first, path=f"{number}_{'x' * 500}.fits") for number in range(200)]
        with pytest.raises(StorageError) as caught, catalogue.at_once():  # noqa: PT012 - what a careless caller does
            with pytest.raises(StorageError):
                catalogue.add_frames(many)
            assert not catalogue._base.in_transaction
            if is_followed:
                with suppress(StorageError):
                    catalogue.set_flag(Flag.BAD, paths=[first.path])
        assert caught.value.code is RunCode.DISK_FULL
        assert catalogue.frames() == [first], "nothing of it was kept"
        catalogue.set_flag(Flag.BAD, paths=[first.path])
        assert [row.flag for row in catalogue.frames()] == [Flag.BAD]
