"""A share that goes away in the night: nothing is written into the empty folder that it leaves."""

from pathlib import Path

import pytest

from services.errors import RunCode, StorageError
from services.files import mounted
from services.files.disk import REAL_DISK, write_text
from services.files.mounted import MountedDisk


def test_writing_goes_on_while_the_folder_is_where_it_was(tmp_path: Path) -> None:
    disk = MountedDisk(REAL_DISK, tmp_path, tmp_path / "not there")
    write_text(tmp_path / "darks" / "a.txt", "a", disk)
    assert (tmp_path / "darks" / "a.txt").read_text() == "a"


def test_unmounted_share_ends_writing_instead_of_filling_the_mount_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = MountedDisk(REAL_DISK, tmp_path)
    there = tmp_path.stat().st_dev
    monkeypatch.setattr(mounted, "_device", lambda folder: there + 1)
    for path in (tmp_path / "a.txt", tmp_path / "darks" / "a.txt"):
        with pytest.raises(StorageError, match="unmounted") as raised:
            write_text(path, "a", disk)
        assert raised.value.code is RunCode.WRITE_FAILED
    assert list(tmp_path.iterdir()) == []


def test_folder_that_vanished_with_its_share_is_not_made_again(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    disk = MountedDisk(REAL_DISK, share)
    share.rmdir()
    with pytest.raises(StorageError, match="unmounted"):
        write_text(share / "darks" / "a.txt", "a", disk)
    assert not share.exists()
