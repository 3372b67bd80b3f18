"""The calls that differ between systems, and their twins, on the system the tests run on."""

import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drivers.clock import ManualClock
from services import platform

DATA = bytes(range(256)) * 64


@pytest.fixture
def handle(tmp_path: Path):
    number = os.open(tmp_path / "x", os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0))
    platform.pwrite(number, DATA, 0)
    yield number
    os.close(number)


def test_positioned_reads_and_writes_share_no_position(handle: int) -> None:
    def there_and_back(n: int) -> bool:
        platform.pwrite(handle, bytes([n]) * 64, n * 64)
        return platform.pread(handle, 64, n * 64) == bytes([n]) * 64

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(there_and_back, range(200)))


def test_the_twins_for_systems_without_positioned_calls_do_the_same(handle: int) -> None:
    def there_and_back(n: int) -> bool:
        platform.seek_write(handle, memoryview(bytes([n]) * 64), n * 64)
        buffer = bytearray(64)
        platform.seek_read(handle, memoryview(buffer), n * 64)
        return buffer == bytes([n]) * 64

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(there_and_back, range(200)))


def test_reads_are_short_only_at_the_end(handle: int) -> None:
    assert platform.pread(handle, 100, len(DATA) - 10) == DATA[-10:]
    assert platform.pread(handle, 100, len(DATA) + 5) == b""
    buffer = bytearray(32)
    assert platform.pread_into(handle, memoryview(buffer)[:16], 256) == 16
    assert buffer == bytes(range(16)) + bytes(16)
    platform.read_ahead(handle, 0, 1 << 20)
    platform.write_behind(handle)


def test_a_rename_refuses_to_replace(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("new")
    target.write_text("old")
    with pytest.raises(FileExistsError):
        platform.rename_no_replace(source, target)
    assert (source.read_text(), target.read_text()) == ("new", "old")
    target.unlink()
    platform.rename_no_replace(source, target)
    assert target.read_text() == "new"
    assert not source.exists()
    with pytest.raises(FileNotFoundError):
        platform.rename_no_replace(source, target)


def test_file_systems_without_hard_links_are_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(target))

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("new")
    target.write_text("old")
    with pytest.raises(FileExistsError):
        platform.rename_no_replace(source, target)
    target.unlink()
    platform.rename_no_replace(source, target)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


class Held:
    """A file's name that another program on Windows holds for a while."""

    def __init__(self, times: int, winerror: int) -> None:
        self.error = OSError(13, "held")
        self.error.winerror = winerror  # type: ignore[attr-defined, unused-ignore]
        self.times, self.tries = times, 0

    def __call__(self) -> None:
        self.tries += 1
        if self.tries <= self.times:
            raise self.error


@pytest.mark.parametrize("winerror", [5, 32])
def test_a_file_that_a_virus_scanner_holds_for_a_second_does_not_end_the_night(winerror: int) -> None:
    clock, held = ManualClock(), Held(6, winerror)
    platform.patiently(held, clock)
    assert held.tries == 7
    assert clock.monotonic() < 1.0


@pytest.mark.parametrize(("winerror", "waited_s"), [(32, 1.98), (183, 0.0), (112, 0.0)])
def test_a_file_that_stays_held_or_fails_otherwise_is_an_error(winerror: int, waited_s: float) -> None:
    clock = ManualClock()
    with pytest.raises(OSError, match="held"):
        platform.patiently(Held(1000, winerror), clock)
    assert clock.monotonic() == pytest.approx(waited_s)


def test_small_calls_do_no_harm(tmp_path: Path) -> None:
    platform.fsync_folder(tmp_path)
    assert platform.raise_open_file_limit(64) >= 64
    assert platform.boot_id() == platform.boot_id()
    assert platform.free_files(tmp_path) != 0
    assert platform.machine_folder().is_dir()


def test_users_and_services_with_temporary_folders_of_their_own_meet_at_one_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = set()
    for user in ("one", "other"):
        (tmp_path / user).mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / user))
        found.add(platform.machine_folder())
    assert len(found) == 1
    (folder,) = found
    assert folder.is_dir()
    assert os.access(folder, os.W_OK)
    if not platform.WINDOWS:
        assert folder.stat().st_mode & 0o777 == 0o777


def test_where_nothing_of_the_machine_can_be_written_the_temporary_folder_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nightcal-locks").touch()  # no folder can be made there
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(platform, "_machine_folders", lambda: (tmp_path / "missing", tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    assert platform.machine_folder() == tmp_path / "temporary" / "nightcal-locks"


def test_a_missing_folder_cannot_be_made_durable(tmp_path: Path) -> None:
    if not platform.WINDOWS:
        with pytest.raises(FileNotFoundError):
            platform.fsync_folder(tmp_path / "none")


@pytest.mark.skipif(sys.platform != "linux", reason="others have no number to read")
def test_the_priority_of_one_thread_is_lowered_and_no_other() -> None:
    def lowered() -> int:
        platform.lower_priority()
        return os.nice(0)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lowered).result() >= min(19, os.nice(0) + 10)
    assert os.nice(0) == os.nice(0) < 19


def test_compiled_kernels_are_kept_elsewhere_when_the_package_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(os, "access", lambda *_: True)
    platform.prepare_numba_cache(tmp_path / "cache")
    assert "NUMBA_CACHE_DIR" not in os.environ
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).is_relative_to(tmp_path))
    platform.prepare_numba_cache(tmp_path / "cache")
    assert os.environ["NUMBA_CACHE_DIR"] == str(tmp_path / "cache")
    assert (tmp_path / "cache").is_dir()
    platform.prepare_numba_cache(tmp_path / "other")
    assert os.environ["NUMBA_CACHE_DIR"] == str(tmp_path / "cache"), "a setting that is there stands"


def test_kernels_of_a_service_without_a_home_are_kept_for_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "below"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "file" / "below"))
    (tmp_path / "file").touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    platform.prepare_numba_cache()
    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    assert folder.is_dir()
    folder.rmdir()
