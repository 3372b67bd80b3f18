"""What the daemon remembers comes back after its end; a damaged file costs what it held, and says so."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.daemon.machine import Hold, Why
from services.daemon.state_file import LastRun, Remembered, read_state, write_state
from services.errors import StorageError
from tests.support.failing_disks import FullDisk

NOW = datetime(2026, 3, 1, 20, tzinfo=UTC)
ALL = Remembered(
    hold=Hold(why=Why.YIELDED, by="N.I.N.A.", since=NOW, until=NOW + timedelta(hours=8)),
    windows_over={"midday": NOW + timedelta(hours=2)},
    failures={"dark_60s": {"code": "not_dark", "again_at": "2026-03-01T21:00:00+00:00", "tries": 2}},
    last_run=LastRun(run_id="r1", finished_at=NOW, exit_code=1, code="worker_died", detail="killed"),
    stale=frozenset({"dark_60s"}),
    cooler_held=True,
    held_c=-10.0,
    unsafe_at=NOW,
)


def test_everything_comes_back(tmp_path: Path) -> None:
    path = tmp_path / ".nightcal" / "serve.json"
    write_state(path, ALL)
    assert read_state(path) == (ALL, "")
    write_state(path, Remembered())
    assert read_state(path) == (Remembered(), "")


def test_no_file_is_a_first_start(tmp_path: Path) -> None:
    assert read_state(tmp_path / "serve.json") == (Remembered(), "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"state": 3}',
        '{"state": {"hold": "for ever"}}',
        "\x00" * 99,
        '{"state": {"unsafe_at": "2026-03-01T20:00:00"}}',
        '{"state": {"windows_over": {"day": "2026-03-01T20:00:00"}}}',
        '{"state": {"hold": {"why": "paused", "by": "", "since": "2026-03-01T20:00:00"}}}',
        '{"state": {"hold": {"why": "yielded", "by": "", "since": "2026-03-01T20:00Z", "until": "2026-03-02T20:00"}}}',
    ],
)
def test_a_damaged_file_is_named_and_forgotten(tmp_path: Path, text: str) -> None:
    path = tmp_path / "serve.json"
    path.write_text(text, encoding="utf-8")
    state, wrong = read_state(path)
    assert state == Remembered()
    assert str(path) in wrong


def test_what_a_later_version_adds_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "serve.json"
    write_state(path, ALL)
    path.write_text(path.read_text(encoding="utf-8").replace('"hold"', '"added": 1, "hold"', 1), encoding="utf-8")
    assert read_state(path) == (ALL, "")


def test_a_full_disk_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "serve.json"
    write_state(path, ALL)
    with pytest.raises(StorageError):
        write_state(path, Remembered(), FullDisk(0))
    assert read_state(path) == (ALL, "")
