"""Whole files or none: on a full disk, after a power cut at every step, beside a file that is there."""

from pathlib import Path

import pytest

from services.errors import Exit, RunCode, StorageError
from services.files.disk import REAL_DISK, Growing, atomic, write_text
from tests.support.failing_disks import FullDisk, RecordingDisk

CONTENT = bytes(range(256)) * 40


def write(path: Path, disk: RecordingDisk | FullDisk) -> None:
    with atomic(path, disk) as file:
        file.write_at(CONTENT[5000:], 5000)
        file.write_at(CONTENT[:5000], 0)


def test_a_file_is_there_with_its_contents_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.fits"
    write(path, RecordingDisk())
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("names_kept", [True, False])
def test_a_power_cut_at_any_step_leaves_the_whole_file_or_none(tmp_path: Path, names_kept: bool) -> None:
    disk = RecordingDisk()
    path = tmp_path / "x.fits"
    write(path, disk)
    seen = set()
    for steps in range(len(disk.steps) + 1):
        left = disk.after_power_cut(steps, names_kept=names_kept)
        assert left.get(path, CONTENT) == CONTENT, f"after {disk.steps[:steps]}"
        assert all(p == path or (p.name.startswith(".") and p.name.endswith(".part")) for p in left)
        seen.add(path in left)
    assert seen == {True, False}
    assert disk.after_power_cut(len(disk.steps), names_kept=False) == {path: CONTENT}


def test_without_fsync_the_recording_disk_would_lose_the_file(tmp_path: Path) -> None:
    disk = RecordingDisk()
    part, path = tmp_path / "part", tmp_path / "final"
    stream = disk.create(part)
    stream.write_at(CONTENT, 0)
    stream.close()
    disk.rename_no_replace(part, path)
    disk.fsync_folder(tmp_path)
    assert disk.after_power_cut(len(disk.steps), names_kept=True) == {path: b""}


@pytest.mark.parametrize("room_bytes", [0, 1, 4999, len(CONTENT) - 1])
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path, room_bytes: int) -> None:
    path = tmp_path / "x.fits"
    with pytest.raises(StorageError, match="No space left") as caught:
        write(path, FullDisk(room_bytes))
    assert caught.value.code is RunCode.DISK_FULL
    assert caught.value.exit == Exit.STORAGE
    assert str(path) in caught.value.detail
    assert not list(tmp_path.iterdir())


def test_a_disk_with_just_enough_room_serves_and_one_made_free_serves_again(tmp_path: Path) -> None:
    disk = FullDisk(len(CONTENT))
    write(tmp_path / "first", disk)
    assert disk.free_bytes(tmp_path) == 0
    with pytest.raises(StorageError):
        write(tmp_path / "second", disk)
    disk.free(len(CONTENT))
    write(tmp_path / "second", disk)
    assert (tmp_path / "second").read_bytes() == CONTENT


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(b"precious")
    with pytest.raises(StorageError, match=r"x\.fits") as caught:
        write(path, RecordingDisk())
    assert caught.value.code is RunCode.WRITE_FAILED
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_must_be_current_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_text(path, "old")
    with pytest.raises(StorageError):
        write_text(path, "new")
    write_text(path, "new µ", replace=True)
    assert path.read_text(encoding="utf-8") == "new µ"


def test_an_error_of_the_caller_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with atomic(tmp_path / "x") as file:
            file.write_at(b"half", 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_a_leftover_of_an_earlier_crash_does_not_stand_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".x.fits.part").write_bytes(b"half of an older frame, longer than the new one")
    write(tmp_path / "x.fits", RecordingDisk())
    assert (tmp_path / "x.fits").read_bytes() == CONTENT


def test_a_folder_that_is_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "darks").write_text("no folder")
    with pytest.raises(StorageError) as caught:
        write(tmp_path / "darks" / "exp_1.000s" / "x.fits", RecordingDisk())
    assert caught.value.code is RunCode.WRITE_FAILED


def test_what_was_written_can_be_read_back_before_the_end(tmp_path: Path) -> None:
    file = Growing(tmp_path / "x")
    file.write_at(b"abcdef", 10)
    assert file.read_at(6, 10) == b"abcdef"
    assert file.read_at(100, 12) == b"cdef"
    file.abort()
    file.abort()
    assert not list(tmp_path.iterdir())


def test_free_space_is_that_of_the_nearest_folder(tmp_path: Path) -> None:
    assert REAL_DISK.free_bytes(tmp_path / "not" / "yet") > 0
