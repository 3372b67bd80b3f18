"""Whether a worker is alive and its work moves, by what is heard of it, and how long that is waited for."""

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.config import loads
from services.config.models import Config
from services.daemon.life import show_life, sign_of_life
from services.daemon.limits import Limits, limits_of, longest_exposure_s
from services.daemon.messages import Alive, heard_line, heard_of
from services.daemon.vigil import Vigil
from services.events.records import DevicesLeft, Event, Record, Waiting

HOUR_S = 3600.0
LIMITS = Limits(silent_s=300.0, still_s=1800.0, eventless_s=HOUR_S)


def event(what: Record | None = None) -> Event:
    return Event(run_id="r", seq=1, at=datetime(2026, 3, 1, tzinfo=UTC), what=what or DevicesLeft())


def watched(seconds: float, *, moves: bool, says: bool = False, takes_frames: bool = True, first: Any = None) -> str:
    """Return what is missing first in a time in which a sign of life comes every ten seconds."""
    vigil = Vigil.begun(0.0)
    if first is not None:
        vigil = vigil.heard(first, 0.0)
    for step in range(1, round(seconds / 10) + 1):
        at_s = 10.0 * step
        vigil = vigil.heard(Alive(moved=step if moves else 7), at_s).looked(at_s)
        if says and step % 100 == 0:
            vigil = vigil.heard(event(), at_s)
        if why := vigil.missing(at_s, LIMITS, takes_frames=takes_frames):
            return why
    return ""


def test_a_long_frame_a_slow_cooling_and_a_long_build_are_waited_for() -> None:
    assert watched(1200.0, moves=True) == ""  # one exposure of 20 min: nothing is said
    assert watched(10 * HOUR_S, moves=True, says=True) == ""
    assert watched(10 * HOUR_S, moves=True, takes_frames=False) == ""  # a master of a thousand frames


def test_work_that_does_not_move_and_a_run_that_says_nothing_are_noticed() -> None:
    assert watched(2 * HOUR_S, moves=False) == "its work did not move for 30 min"
    assert watched(2 * HOUR_S, moves=True) == "its run said nothing for 1 h 00 min"


def test_a_wait_that_is_announced_may_last() -> None:
    waits = event(Waiting(wait_s=5000.0, until=None, at_most=False, detail="the sky gets darker"))
    assert watched(6000.0, moves=False, first=waits) == ""
    assert watched(9000.0, moves=False, first=waits) == "its work did not move for 30 min"


def test_one_that_is_frozen_is_noticed_within_minutes() -> None:
    vigil = Vigil.begun(0.0).heard(Alive(moved=1), 100.0)
    assert vigil.missing(400.0, LIMITS, takes_frames=True) == ""
    assert vigil.missing(401.0, LIMITS, takes_frames=True) == "it gave no sign of life for 5 min"
    assert vigil.heard(None, 300.0).missing(600.0, LIMITS, takes_frames=True) == ""  # what a library prints is life


def test_a_computer_that_was_suspended_proves_nothing() -> None:
    vigil = Vigil.begun(0.0).heard(Alive(moved=1), 10.0).looked(10.0)
    assert vigil.looked(8 * HOUR_S).missing(8 * HOUR_S, LIMITS, takes_frames=True) == ""


def test_a_sign_of_life_travels_as_a_line() -> None:
    assert heard_of(heard_line(Alive(moved=3))) == Alive(moved=3)


def test_a_sign_of_life_comes_at_once_and_changes_while_work_is_done() -> None:
    said: list[Alive] = []
    come = threading.Event()

    def say(alive: Alive) -> None:
        said.append(alive)
        if len(said) == 3:
            come.set()

    end = show_life(say, every_s=0.0)
    assert come.wait(60)
    end()
    before = sign_of_life()
    while sign_of_life() == before:
        sum(range(1000))


def config(tmp_path: Path, text: str) -> Config:
    return loads(f"camera: {{alpaca: {{host: h}}}}\n{text}", tmp_path / "c.yaml").config


@pytest.mark.parametrize(
    ("text", "longest_s"),
    [
        ("", 20.0),
        ("dark_capture: {science_exposure_time: 300, exposure_factors: [1.0, 4.0], max_exposure: 600}", 300.0),
        ("programmes: [{name: n, darks: {exposures: [60, 14400]}}, {name: m, bias: {}}]", 14400.0),
        ("flat_capture: {max_exposure: 90}", 90.0),
    ],
)
def test_the_longest_exposure_of_a_configuration_is_found(tmp_path: Path, text: str, longest_s: float) -> None:
    assert longest_exposure_s(config(tmp_path, text)) == longest_s


def test_the_end_of_a_run_is_waited_for_as_long_as_it_may_take(tmp_path: Path) -> None:
    plain = limits_of(config(tmp_path, ""))
    assert plain.abort_s < plain.finish_s < 1200
    warm = limits_of(config(tmp_path, "cooling: {target_temperature: -10, warmup_at_end: true}"))
    assert warm.abort_s == plain.abort_s + 1800
    long = limits_of(config(tmp_path, "programmes: [{name: n, darks: {exposures: [14400]}}]"))
    assert long.finish_s == long.abort_s + 14400
    assert long.eventless_s > 2 * 14400
    hooked = limits_of(config(tmp_path, "hooks: {after_run: {command: [a], timeout: 7200}}"))
    assert hooked.abort_s == plain.abort_s + 7200
    assert hooked.still_s == plain.still_s + 7200
