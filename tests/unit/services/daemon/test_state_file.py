"""What the daemon remembers comes back after its end; a damaged file costs what it held, and says so."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.daemon.machine import Hold, Why
from services.daemon.state_file import LastRun, Remembered, read_state, with_cooler_held, write_state
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
    held_at=NOW,
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


HOUR = timedelta(hours=1)


def test_a_cooler_that_a_pause_holds_for_weeks_stays_known_also_over_restarts(tmp_path: Path) -> None:
    state, now = Remembered(cooler_held=True), NOW
    for hour in range(24 * 21):
        now = NOW + hour * HOUR
        state = with_cooler_held(state, now)
        if hour % 24 == 0:
            write_state(tmp_path / "serve.json", state)
            state, _ = read_state(tmp_path / "serve.json")
            now += 5 * HOUR  # no daemon was there
            state = with_cooler_held(state, now)
    assert state.held_at is not None
    assert now - state.held_at <= HOUR


def test_a_cooler_that_no_daemon_has_held_for_a_day_is_nobodys_and_one_that_was_let_go_is_forgotten() -> None:
    held = Remembered(cooler_held=True, held_at=NOW)
    assert with_cooler_held(held, NOW + HOUR / 2) is held  # not each tick is written
    assert with_cooler_held(held, NOW + 25 * HOUR) is held
    assert with_cooler_held(Remembered(held_at=NOW), NOW) == Remembered()
