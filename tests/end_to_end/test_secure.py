"""`nightcal secure`: devices that a run left as they were when it was killed, or paused, are made safe."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from drivers.base import CalibratorStatus, CameraStates, CoverStatus
from drivers.simulator.faults import FaultKind
from services.capture.secure import secure
from services.catalogue.catalogue import Catalogue
from services.config import load
from services.events.records import FrameStored
from services.observatory.in_use import LeftBehind
from services.planning.request import Step
from services.root import layout_of
from tests.end_to_end.test_ends_in_known_state import COOLED, SCRIPT, when
from tests.support import started
from tests.support.served_night import ServedNight, fault, served_night

LIT: dict[str, Any] = {
    "flat_panel": {"cover_for_flats": "open", "brightness": 1, "open_by_day": True},
    "flat_capture": {"filters": ["L"], "min_exposure": 1800.0, "max_exposure": 3600.0},
    "cooling": {**COOLED["cooling"], "ramp_rate": 30.0, "stable_time": 20.0},
}
"""Flats of half an hour under an open cover: at 30 times the real time a minute to be killed in."""


@contextmanager
def lit_exposure(root: Path, *, found_on: bool = False) -> Iterator[tuple[ServedNight, "subprocess.Popen[bytes]"]]:
    """Give a served night whose run, in a process of its own, is within an exposure of the lamp."""
    with served_night(root, rate=30.0, panel={"on_cover": False}) as night:
        if found_on:
            for member, value in (("Connected", "true"), ("SetCCDTemperature", "12"), ("CoolerOn", "true")):
                night.observatory.camera.write(member.lower(), {member: value})
        night.run(steps=(), **LIT)  # writes the configuration
        command = [sys.executable, str(SCRIPT), "--config", str(config_of(night)), "--flats-only"]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with started.start(command, **quiet) as run:
            try:
                deadline = time.monotonic() + 90
                looks = 0
                while looks < 25:  # longer than the frame that is thrown away takes
                    lit = night.lamp is CalibratorStatus.READY and night.activity is CameraStates.EXPOSING
                    looks = looks + 1 if lit else 0
                    assert time.monotonic() < deadline
                    assert run.poll() is None
                    time.sleep(0.02)
                yield night, run
            finally:
                run.kill()


def config_of(night: ServedNight) -> Path:
    return night.root / "config_calibration_frames.yaml"


def kill(run: "subprocess.Popen[bytes]") -> None:
    run.kill()
    run.wait()


def assert_safe(night: ServedNight) -> None:
    assert night.lamp is CalibratorStatus.OFF
    assert night.cover is CoverStatus.CLOSED
    assert night.activity is CameraStates.IDLE


@pytest.mark.parametrize("found_on", [False, True])
def test_a_run_killed_within_an_exposure_of_the_lamp_is_made_safe(tmp_path: Path, found_on: bool) -> None:
    with lit_exposure(tmp_path, found_on=found_on) as (night, run):
        kill(run)
        assert (night.lamp, night.cover, night.cooler_on) == (CalibratorStatus.READY, CoverStatus.OPEN, True)
        secured = secure(load(config_of(night)))
        assert secured.well, secured
        assert_safe(night)
        assert (night.cooler_on, night.set_point_c) == (found_on, 12.0 if found_on else 0.0)
        cooler = "the cooler is as the run found it" if found_on else "cooler off"
        assert set(secured.done) == {"exposure aborted", "lamp off", "cover closed", cooler}
        again = secure(load(config_of(night)))
        assert again.well
        assert "no exposure was running" in again.done


def test_the_row_of_a_killed_run_is_open_until_its_devices_are_safe(tmp_path: Path) -> None:
    with lit_exposure(tmp_path) as (night, run):
        kill(run)
        path, open_at = layout_of(load(config_of(night))).catalogue, dict[str, bool]()

        def note(word: str) -> None:
            with Catalogue(path, read_only=True) as catalogue:
                open_at[word] = bool(catalogue.runs(finished_at=None))

        secured = secure(load(config_of(night)), say=note)
        assert open_at == dict.fromkeys(secured.done, True)
        note("over")
        assert not open_at["over"]


def test_what_somebody_uses_who_came_after_the_death_is_not_touched(tmp_path: Path) -> None:
    with lit_exposure(tmp_path) as (night, run):
        kill(run)
        now, day = night.observatory.clock.now(), timedelta(days=1)
        long_ago = LeftBehind(run_id="r0", exposing_until=now - day, connected_until=now - day)
        secured = secure(load(config_of(night)), left=long_ago)
        assert secured.refused == "the camera is not ours now: it exposes for another program"
        assert (secured.done, secured.left) == ((), ())
        assert (night.lamp, night.activity) == (CalibratorStatus.READY, CameraStates.EXPOSING)
        its_own = LeftBehind(run_id="r0", exposing_until=now + day, connected_until=now + day)
        assert secure(load(config_of(night)), left=its_own).well
        assert_safe(night)


def test_a_run_at_work_is_left_alone_and_named(tmp_path: Path) -> None:
    with lit_exposure(tmp_path) as (night, run):
        secured = secure(load(config_of(night)))
        assert not secured.well
        assert f"pid {run.pid}" in secured.refused
        assert secured.done == secured.left == ()
        assert (night.lamp, night.cover) == (CalibratorStatus.READY, CoverStatus.OPEN)
        assert run.poll() is None
        assert night.observatory.camera.read("connected")


def test_a_camera_that_hangs_keeps_neither_the_lamp_on_nor_the_caller_waiting(tmp_path: Path) -> None:
    with lit_exposure(tmp_path) as (night, run):
        kill(run)
        night.break_now(fault(FaultKind.STALL, device="camera", value=60.0))
        begun_s = time.monotonic()
        secured = secure(load(config_of(night)), limit_s=2.0)
        assert time.monotonic() - begun_s < 30
        assert (night.lamp, night.cover) == (CalibratorStatus.OFF, CoverStatus.CLOSED)
        assert {"lamp off", "cover closed"} <= set(secured.done)
        assert {word.split(":")[0] for word in secured.left} <= {"camera", "cooler"}
        assert secured.left


def test_a_disk_that_fails_keeps_no_lamp_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with lit_exposure(tmp_path) as (night, run):
        kill(run)
        loaded, is_file = load(config_of(night)), Path.is_file

        def failing(path: Path) -> bool:
            if path.name == "catalogue.sqlite":
                raise OSError(5, "Input/output error")
            return is_file(path)

        monkeypatch.setattr(Path, "is_file", failing)
        secured = secure(loaded)
        assert secured.refused == ""
        assert_safe(night)


def test_the_command_says_it_in_words_and_ends_with_0_or_3(tmp_path: Path) -> None:
    with lit_exposure(tmp_path) as (night, run):
        command = [sys.executable, "-m", "services.cli.main", "secure", "--config", str(config_of(night))]

        def say() -> "subprocess.CompletedProcess[str]":
            return started.run(command, cwd=SCRIPT.parents[1])

        refused = say()
        assert refused.returncode == 3
        assert "nothing was touched" in refused.stderr
        kill(run)
        done = say()
        assert done.returncode == 0, done.stderr
        assert "lamp off" in done.stdout
        assert_safe(night)


def test_a_run_that_was_paused_holds_its_cooler_and_the_next_leaves_it_as_the_first_found_it(tmp_path: Path) -> None:
    with served_night(tmp_path) as night:

        def pause() -> None:
            night.wake.after_frame("paused", hold_cooler=True)

        ended = night.run(steps=(Step.DARKS,), hear=when(FrameStored.name, pause), **COOLED)
        assert (ended.exit_code, ended.result.code) == (0, "paused")
        assert_safe(night)
        assert (night.cooler_on, night.set_point_c) == (True, 5.0)
        night.wake = type(night.wake)()
        assert night.run(steps=(Step.DARKS,), **COOLED).exit_code == 0
        assert (night.cooler_on, night.set_point_c) == (False, 0.0)


def test_a_cooler_that_a_paused_run_holds_is_ended_by_secure(tmp_path: Path) -> None:
    with served_night(tmp_path) as night:
        hold = when(FrameStored.name, lambda: night.wake.after_frame("paused", hold_cooler=True))
        night.run(steps=(Step.DARKS,), hear=hold, **COOLED)
        assert night.cooler_on
        assert secure(load(config_of(night))).well
        assert not night.cooler_on


def test_a_simulated_observatory_of_the_runs_own_needs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config_calibration_frames.yaml"
    path.write_text("camera: {camera_type: simulator}\n", encoding="utf-8")
    assert secure(load(path)).well
