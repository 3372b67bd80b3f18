"""Locks: one holder, named; free when the holder dies, however it dies."""

import errno
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drivers.clock import ManualClock
from services.errors import Exit, RunCode, StorageError
from services.files.locks import DeviceLock, ObservatoryLock, RootLock, ServeLock
from tests.support.places import ROOT

HOLD = """
import sys
from pathlib import Path
from services.files.locks import RootLock
with RootLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_in_the_same_folder_is_told_who_is_there(tmp_path: Path) -> None:
    with RootLock(tmp_path, ManualClock(datetime(2026, 1, 1, 18, tzinfo=UTC))):
        with pytest.raises(StorageError, match=f"pid {os.getpid()} on .*since 2026-01-01 18:00:00 UTC") as caught:
            RootLock(tmp_path).acquire()
        assert caught.value.code is RunCode.CAMERA_BUSY
        assert caught.value.exit == Exit.DEVICE
        assert str(tmp_path) in caught.value.detail
    with RootLock(tmp_path):
        pass


def test_a_lock_without_a_readable_record_still_locks(tmp_path: Path) -> None:
    record = tmp_path / ".nightcal" / "lock.json"
    with RootLock(tmp_path):
        for content in ("", "{", "[]", json.dumps({"pid": 1})):
            record.write_text(content)
            with pytest.raises(StorageError, match="another program"):
                RootLock(tmp_path).acquire()
    assert not record.exists()


def test_letting_go_twice_is_harmless(tmp_path: Path) -> None:
    lock = RootLock(tmp_path).acquire()
    lock.release()
    lock.release()


@pytest.mark.parametrize("end", ["kill", "terminate", "close"])
def test_the_lock_of_a_process_that_died_is_free(tmp_path: Path, end: str) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match=f"pid {holder.pid} "):
            RootLock(tmp_path).acquire()
        if end == "close":
            holder.stdin.close()
        else:
            getattr(holder, end)()
        holder.wait(timeout=100)
        with RootLock(tmp_path):
            record = json.loads((tmp_path / ".nightcal" / "lock.json").read_text())
            assert record["pid"] == os.getpid(), "the record of the dead is replaced"


def test_who_holds_a_lock_is_known_without_taking_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert RootLock(tmp_path).holder() == ""
    assert not list(tmp_path.iterdir())  # nothing is made for a question
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert f"(pid {holder.pid} on " in RootLock(tmp_path).holder()
        holder.kill()
        holder.wait(timeout=100)
    assert (tmp_path / ".nightcal" / "lock.json").exists()  # it is still named there
    monkeypatch.setattr(RootLock, "acquire", None)
    monkeypatch.setattr("services.files.locks.FileLock.acquire", None)
    assert RootLock(tmp_path).holder() == ""  # and the lock is not even tried


@pytest.mark.parametrize("changed", [{"boot": "another"}, {"pid": "x"}, {"pid": 0}])
def test_a_record_of_an_earlier_start_of_the_machine_names_nobody(tmp_path: Path, changed: dict[str, object]) -> None:
    with RootLock(tmp_path):
        record = tmp_path / ".nightcal" / "lock.json"
        record.write_text(json.dumps(json.loads(record.read_text()) | changed))
        assert RootLock(tmp_path).holder() == ""


@pytest.mark.parametrize("host", [None, "elsewhere"])
def test_a_record_of_a_living_process_or_another_machine_is_believed_only_while_the_lock_is_held(
    tmp_path: Path, host: str | None
) -> None:
    with RootLock(tmp_path):
        record = tmp_path / ".nightcal" / "lock.json"
        text = json.dumps(json.loads(record.read_text()) | ({} if host is None else {"host": host}))
        record.write_text(text)
        assert f"pid {os.getpid()}" in RootLock(tmp_path).holder()
    record.write_text(text)
    assert RootLock(tmp_path).holder() == ""


def test_a_run_of_the_daemon_is_named_as_what_it_is_and_waited_for(tmp_path: Path) -> None:
    with RootLock(tmp_path):
        record = tmp_path / ".nightcal" / "lock.json"
        record.write_text(json.dumps(json.loads(record.read_text()) | {"command": "worker.py"}))
        with pytest.raises(StorageError, match="is in use by a run of `nightcal serve`") as caught:
            RootLock(tmp_path).acquire()
        assert "wait for the end of the run" in caught.value.advice


def test_a_device_has_one_holder_whatever_its_id_looks_like(tmp_path: Path) -> None:
    first, second = "../../a b:c|" + "x" * 100, "../../a b:c|" + "x" * 99 + "y"
    with DeviceLock(first, name="camera 0 at host", folder=tmp_path):
        with pytest.raises(StorageError, match="the device camera 0 at host is in use by"):
            DeviceLock(first, name="camera 0 at host", folder=tmp_path).acquire()
        with DeviceLock(second, folder=tmp_path):
            pass
        assert all(path.parent == tmp_path for path in tmp_path.rglob("*"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / ".nightcal").write_text("a file")
    with pytest.raises(StorageError, match="nightcal") as caught:
        RootLock(tmp_path).acquire()
    assert caught.value.code is RunCode.WRITE_FAILED


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks files another way")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_share_that_knows_no_locks_is_named_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageError, match="knows no locks"):
        RootLock(tmp_path).acquire()


def test_a_second_daemon_is_told_who_serves_the_root_and_a_run_may_work_there(tmp_path: Path) -> None:
    with ServeLock(tmp_path), RootLock(tmp_path):
        with pytest.raises(StorageError, match=f"is served already by `.*` .pid {os.getpid()} on") as caught:
            ServeLock(tmp_path).acquire()
        assert caught.value.code is RunCode.CAMERA_BUSY
    with ServeLock(tmp_path):
        pass


def test_an_observatory_is_found_while_it_is_there(tmp_path: Path) -> None:
    assert ObservatoryLock(tmp_path).address() is None
    with ObservatoryLock(tmp_path, "127.0.0.1:4711"):
        assert ObservatoryLock(tmp_path).address() == ("127.0.0.1", 4711)
    (tmp_path / ".nightcal" / "observatory.lock.json").write_text('{"run": "127.0.0.1:4711"}', encoding="utf-8")
    assert ObservatoryLock(tmp_path).address() is None
