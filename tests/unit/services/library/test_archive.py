"""Packing frames: which, without loss, and safe against kills, full disks and damage."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits as astropy_fits

from calibration.frames import Frame, FrameHeader, FrameKind
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import FrameRow, MasterRow, MasterStatus, Origin
from services.errors import RunCode, RunStopped, StorageError
from services.files.disk import Disk
from services.files.fits import read_frame, write_frame
from services.files.layout import Layout
from services.indexing.index import adopt, rebuild
from services.indexing.sidecar import write_sidecar
from services.library.archive import archive, due
from tests.support.failing_disks import FullDisk, RecordingDisk

NOW = datetime(2026, 2, 1, tzinfo=UTC)
TAKEN = NOW - timedelta(days=10)
FRAMES = 3


class Root:
    """A root with a set of darks, and a master row that says it was made of them."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout(folder)
        self.catalogue = Catalogue(self.layout.catalogue)
        rng = np.random.default_rng(5)
        self.pixels = [rng.normal(500, 8, (24, 40)).astype(np.uint16) for _ in range(FRAMES)]
        self.pixels[0][3, 4], self.pixels[0][5, 6] = 0, 65535
        for number, pixels in enumerate(self.pixels, 1):
            self.catalogue.add_frame(self.write(pixels, number))
        self.rows = self.catalogue.frames()
        self.master(MasterStatus.BUILT)

    def write(self, pixels: np.ndarray, number: int) -> FrameRow:
        header = FrameHeader(
            kind=FrameKind.DARK,
            shape=pixels.shape,
            exposure_us=5_000_000,
            date_obs=TAKEN + timedelta(seconds=number),
            set_id="set",
            frame_no=number,
            telescope='It\'s a "RC 14" / f8',
            extra={"HIERARCH LONG KEYWORD": "kept", "ODD": 1.5},
        )
        stored = write_frame(self.layout.frame_path(header, wheel=False), Frame(header=header, pixels=pixels))
        return FrameRow.of(
            header,
            path=self.layout.relative(stored.path),
            pixel_sha256=stored.pixel_sha256,
            size=stored.size,
            mtime_ns=stored.mtime_ns,
        )

    def master(self, status: MasterStatus, name: str = "dark") -> None:
        row = MasterRow(
            path=f"master_frames/master_{name}.fits",
            key=self.rows[0].key(),
            n=FRAMES,
            recipe="r",
            built_at=TAKEN,
            status=status,
            inputs=tuple(row.pixel_sha256 for row in self.rows),
        )
        self.catalogue.add_master(row)
        write_sidecar(self.layout, row, replace=True)
        astropy_fits.PrimaryHDU(np.ones((4, 5), np.float32)).writeto(self.layout.absolute(row.path), overwrite=True)

    def pack(self, keep: str | float = 0.0, disk: Disk | None = None) -> list[str]:
        rows = due(self.catalogue, keep, NOW)
        return [p.problem for p in archive(self.catalogue, self.layout, rows, disk=disk or Disk())]

    def suffixes(self) -> list[str]:
        return sorted("".join(p.suffixes[-2:]) for p in self.layout.darks.rglob("*") if p.is_file())

    def assert_whole(self) -> None:
        """Every frame has one row, its file is there, and holds what was taken."""
        found = self.catalogue.frames()
        assert [row.pixel_sha256 for row in found] == [row.pixel_sha256 for row in self.rows]
        for row, pixels in zip(found, self.pixels, strict=True):
            np.testing.assert_array_equal(read_frame(self.layout.absolute(row.path)).pixels, pixels)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    made = Root(tmp_path)
    yield made
    made.catalogue.close()


def test_frames_are_kept_as_long_as_the_configuration_says(root: Root) -> None:
    assert due(root.catalogue, "forever", NOW) == []
    assert due(root.catalogue, 11.0, NOW) == []
    assert len(due(root.catalogue, 9.0, NOW)) == FRAMES
    assert due(root.catalogue, "until_certified", NOW) == []
    root.master(MasterStatus.CERTIFIED)
    assert len(due(root.catalogue, "until_certified", NOW)) == FRAMES


def test_frames_without_a_good_master_and_those_of_others_are_never_packed(root: Root) -> None:
    root.catalogue.add_frame(replace(root.rows[0], path="other.fits", pixel_sha256="0" * 64))
    root.catalogue.add_frame(replace(root.rows[1], origin=Origin.FOREIGN))
    assert [row.path for row in due(root.catalogue, 0.0, NOW)] == [root.rows[0].path, root.rows[2].path]
    root.master(MasterStatus.BAD)
    assert due(root.catalogue, 0.0, NOW) == []


def test_frames_of_two_masters_are_kept_until_both_are_certified(root: Root) -> None:
    """Certifying the master of the shortest darks, made of the biases, packed the biases of an unseen master bias."""
    root.master(MasterStatus.CERTIFIED, "dark_0.001s")
    for status in (MasterStatus.BUILT, MasterStatus.PARTIAL, MasterStatus.BAD):
        root.master(status)
        assert due(root.catalogue, "until_certified", NOW) == []
    for status in (MasterStatus.SUPERSEDED, MasterStatus.CERTIFIED):
        root.master(status)
        assert len(due(root.catalogue, "until_certified", NOW)) == FRAMES


def test_a_packed_frame_is_the_frame(root: Root) -> None:
    before = [read_frame(root.layout.absolute(row.path)) for row in root.rows]
    cards = [astropy_fits.getheader(root.layout.absolute(row.path)) for row in root.rows]
    assert root.pack() == [""] * FRAMES
    assert root.suffixes() == [".fits.fz"] * FRAMES
    for old, head, row in zip(before, cards, root.catalogue.frames(), strict=True):
        path = root.layout.absolute(row.path)
        found = read_frame(path)
        np.testing.assert_array_equal(found.pixels, old.pixels)
        assert found.pixels.dtype == np.uint16
        assert found.header == old.header
        assert (row.size, row.mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)
        with astropy_fits.open(path, checksum=True) as units:
            for card in head.cards:
                if card.keyword not in {"SIMPLE", "EXTEND", "CHECKSUM", "DATASUM"}:
                    assert units[1].header[card.keyword] == card.value


def test_rows_follow_and_a_second_time_there_is_nothing_to_pack(root: Root) -> None:
    root.pack()
    assert due(root.catalogue, 0.0, NOW) == []
    report = adopt(root.catalogue, root.layout)
    assert (report.adopted, report.removed, report.problems) == (0, 0, ())
    rebuild(root.catalogue, root.layout)
    root.assert_whole()


def test_a_damaged_frame_is_told_and_left(root: Root) -> None:
    path = root.layout.absolute(root.rows[1].path)
    data = bytearray(path.read_bytes())
    data[-2000] ^= 1
    path.write_bytes(data)
    problems = root.pack()
    assert [bool(p) for p in problems] == [False, True, False]
    assert "not those that were taken" in problems[1]
    assert path.read_bytes() == data
    assert root.suffixes() == [".fits", ".fits.fz", ".fits.fz"]


def test_a_full_disk_leaves_the_frames_as_they_were(root: Root) -> None:
    with pytest.raises(StorageError) as failure:
        root.pack(disk=FullDisk(2000))
    assert failure.value.code is RunCode.DISK_FULL
    assert root.suffixes() == [".fits"] * FRAMES
    root.assert_whole()


def test_stopped_between_two_frames(root: Root) -> None:
    wake = threading.Event()
    packing = archive(root.catalogue, root.layout, due(root.catalogue, 0.0, NOW), wake=wake)
    next(packing)
    wake.set()
    with pytest.raises(RunStopped):
        next(packing)
    assert root.suffixes() == [".fits", ".fits", ".fits.fz"]
    root.assert_whole()


class Killed(BaseException):
    """The process is gone."""


class DyingDisk(Disk):
    """A disk whose process dies before its n-th rename, removal or folder sync."""

    def __init__(self, lives: int) -> None:
        self.lives = lives

    def _live(self) -> None:
        self.lives -= 1
        if self.lives < 0:
            raise Killed

    def rename_no_replace(self, source: Path, target: Path) -> None:
        self._live()
        super().rename_no_replace(source, target)

    def remove(self, path: Path) -> None:
        self._live()
        super().remove(path)

    def fsync_folder(self, folder: Path) -> None:
        self._live()
        super().fsync_folder(folder)


@pytest.mark.parametrize("lives", range(14))
def test_killed_at_any_step_every_frame_counts_once_and_the_next_time_finishes(root: Root, lives: int) -> None:
    with pytest.raises(Killed):
        root.pack(disk=DyingDisk(lives))
    adopt(root.catalogue, root.layout)
    root.assert_whole()
    rebuild(root.catalogue, root.layout)
    root.assert_whole()
    assert set(root.pack()) <= {""}
    root.assert_whole()
    assert root.suffixes() == [".fits.fz"] * FRAMES


def test_a_power_cut_at_any_moment_leaves_each_frame_whole(root: Root) -> None:
    disk = RecordingDisk()
    there = {root.layout.absolute(row.path) for row in root.rows}
    root.pack(disk=disk)
    whole = {p.with_name(p.name + ".fz"): p.with_name(p.name + ".fz").read_bytes() for p in there}
    for steps in range(len(disk.steps) + 1):
        removed = {s.path for s in disk.steps[:steps] if s.action == "remove"}
        for names_kept in (True, False):
            left = disk.after_power_cut(steps, names_kept=names_kept)
            for path in there & removed:
                packed = path.with_name(path.name + ".fz")
                assert left.get(packed) == whole[packed]
