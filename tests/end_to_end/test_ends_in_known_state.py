"""On every way out the exposure is aborted, the lamp off, the cover closed, the cooler as found or as configured."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drivers.base import CalibratorStatus, CameraStates, CoverStatus
from drivers.simulator.faults import FaultKind
from services.config import load
from services.events.devices import CoolingChanged, CoverChanged, FilterChanged
from services.events.records import Event, FlatExposureAdjusted, FrameStored, MasterBuilt, StepFinished, Waiting
from services.planning.request import RunOptions, Step
from services.stopping import Stop
from services.workflow import compiling
from services.workflow.job import Job
from tests.support import started
from tests.support.failing_disks import FullDisk
from tests.support.places import ROOT
from tests.support.served_night import FRAMES_ONLY, ServedNight, fault, hurry, served_night

SCRIPT = ROOT / "calibration" / "calibration_workflow.py"
COOLED: dict[str, Any] = {"cooling": {"target_temperature": 5.0}}
OPEN_AND_COOLED: dict[str, Any] = {
    "cooling": {"target_temperature": 5.0, "warmup_at_end": True},
    "flat_panel": {"cover_for_flats": "open", "open_by_day": True},
}
LONG: dict[str, Any] = {"dark_capture": {"science_exposure_time": 60.0, "exposure_factors": [1.0]}}


def assert_left_well(night: ServedNight, *, cooler_on: bool = False, set_point_c: float = 0.0) -> None:
    assert night.activity is CameraStates.IDLE
    assert night.lamp is CalibratorStatus.OFF
    assert night.cover is CoverStatus.CLOSED
    assert (night.cooler_on, night.set_point_c) == (cooler_on, set_point_c)
    assert [d.name for d in night.observatory.devices() if d.read("connected")] == []


def when(name: str, act: Callable[[], object], **data: object) -> Callable[[Event], None]:
    """Return a listener that acts on the first event of a name that holds these data."""
    done = threading.Event()

    def hear(event: Event) -> None:
        held = all(getattr(event.what, key, None) == value for key, value in data.items())
        if event.name == name and held and not done.is_set():
            done.set()
            act()

    return hear


# --- done, failed ----------------------------------------------------------------------------------------------------


def test_done(tmp_path: Path) -> None:
    with served_night(tmp_path) as night:
        assert night.run(**COOLED).exit_code == 0
        assert_left_well(night)


def test_done_with_a_cooler_that_was_on(tmp_path: Path) -> None:
    with served_night(tmp_path) as night:
        camera = night.observatory.camera
        for member, value in (("Connected", "true"), ("SetCCDTemperature", "12"), ("CoolerOn", "true")):
            camera.write(member.lower(), {member: value})
        assert night.run(steps=(Step.DARKS,), **COOLED).exit_code == 0
        assert_left_well(night, cooler_on=True, set_point_c=12.0)


def test_done_with_warming_up(tmp_path: Path) -> None:
    with served_night(tmp_path) as night:
        ended = night.run(steps=(Step.DARKS,), cooling={"target_temperature": 0.0, "warmup_at_end": True})
        assert ended.exit_code == 0
        assert_left_well(night, set_point_c=15.0)
    rising = [(datetime.fromisoformat(e["at"]), e["ccd_temp_c"]) for e in ended.said("cooling.changed", target_c=15.0)]
    (first, low_c), (last, high_c) = rising[0], rising[-1]
    minutes = (last - first).total_seconds() / 60
    assert 8 < high_c - low_c < 17
    assert (high_c - low_c) / minutes < 3.0, "2 °C a minute, and what overshoots"


def test_done_and_left_connected_for_other_programs(tmp_path: Path) -> None:
    with served_night(tmp_path) as night:
        assert night.run(steps=(Step.DARKS,), camera={"release": "leave"}).exit_code == 0
        assert night.observatory.camera.read("connected")
        assert (night.lamp, night.cover) == (CalibratorStatus.OFF, CoverStatus.CLOSED)


@pytest.mark.parametrize(
    "trouble",
    [
        fault(FaultKind.EXPOSURE_ERROR, after_exposures=15),
        fault(FaultKind.BLACK_FRAME, after_exposures=10),
        fault(FaultKind.TEMPERATURE_NAN, after_exposures=10),
    ],
    ids=lambda f: f.kind.value,
)
def test_groups_failed(tmp_path: Path, trouble: Any) -> None:
    with served_night(tmp_path, trouble) as night:
        assert night.run(steps=FRAMES_ONLY, **COOLED).exit_code == 1
        assert_left_well(night)


def test_disk_full_while_the_lamp_is_on(tmp_path: Path) -> None:
    with served_night(tmp_path) as night:
        night.run(steps=(), **COOLED)  # writes the configuration
        loaded = load(tmp_path / "config_calibration_frames.yaml")
        result = Job(loaded, RunOptions(steps=(Step.FLATS,)), disk=FullDisk(150_000)).run()
        assert (result.exit_code, result.code) == (5, "disk_full")
        assert_left_well(night)


def test_bug_in_the_middle_of_the_flats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from services.capture import writer

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    with served_night(tmp_path) as night:
        monkeypatch.setattr(writer, "examine", broken)
        ended = night.run(steps=(Step.FLATS,), **COOLED)
        assert_left_well(night)
    assert ended.exit_code == 1
    ended.assert_told("internal_error")


# --- stopped ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (CoolingChanged.name, {}),
        (CoverChanged.name, {}),
        (FlatExposureAdjusted.name, {"filter": "L"}),
        (FrameStored.name, {"kind": "FLAT"}),
        (FilterChanged.name, {"filter": "Ha"}),
        (FrameStored.name, {"kind": "DARK"}),
        (MasterBuilt.name, {}),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(map(str, value.values())),
)
def test_cancelled_at_any_moment(tmp_path: Path, name: str, data: dict[str, object]) -> None:
    with served_night(tmp_path) as night:
        ended = night.run(hear=when(name, night.wake.set, **data), **COOLED)
        assert_left_well(night)
    if name != MasterBuilt.name:  # the last one may be the one
        assert (ended.exit_code, ended.result.code) == (130, "interrupted")


@pytest.mark.parametrize("order", ["ask", "paused"])
@pytest.mark.parametrize("need", list(compiling.Need))
def test_ended_while_the_loops_are_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, need: compiling.Need, order: str
) -> None:
    """The child never ends by itself: a run that waited for it would never end, on whatever machine.

    Frames need their own loops only, and are taken when those are compiled; masters then wait for the rest.
    """
    forever = [sys.executable, "-c", "import threading; threading.Event().wait()"]
    monkeypatch.setattr(compiling, "_note", lambda of: tmp_path / f"compiled-{of}")
    monkeypatch.setattr(compiling, "child_command", lambda: forever)
    monkeypatch.setattr(compiling, "LOADING_S", 0.2)
    if need is compiling.Need.MASTERS:
        (tmp_path / f"compiled-{compiling.Need.FRAMES}").touch()
    asked_s: list[float] = []
    with served_night(tmp_path) as night:

        def stop() -> None:
            asked_s.append(time.monotonic())
            night.wake.ask() if order == "ask" else night.wake.after_frame(order)

        why = f"the fast loops for {need} are compiled, once on this machine; in real time, also when rehearsing"
        ended = night.run(hear=when(Waiting.name, stop, detail=why), **COOLED)
        print(f"ended {time.monotonic() - asked_s[0]:.2f} s after it was asked to")
        assert_left_well(night)
        assert bool(night.exposures) == (need is compiling.Need.MASTERS)
    expected = (130, "interrupted") if order == "ask" else (0, "paused")
    assert (ended.exit_code, ended.result.code) == expected


def test_cancelled_within_an_exposure_and_with_the_cover_open(tmp_path: Path) -> None:
    panel = {"on_cover": False}
    with served_night(tmp_path, rate=100.0, panel=panel) as night:
        seen: list[tuple[CoverStatus, CameraStates]] = []

        def stop() -> None:
            deadline = time.monotonic() + 60
            while night.activity is not CameraStates.EXPOSING and time.monotonic() < deadline:
                time.sleep(0.01)
            seen.append((night.cover, night.activity))
            night.wake.set()

        begun_s = time.monotonic()
        ended = night.run(
            steps=(Step.FLATS,),
            hear=when(FlatExposureAdjusted.name, stop),
            flat_panel={"cover_for_flats": "open", "brightness": 1, "open_by_day": True},
            flat_capture={"min_exposure": 100.0, "max_exposure": 200.0},
        )
        assert time.monotonic() - begun_s < 60
        assert seen == [(CoverStatus.OPEN, CameraStates.EXPOSING)]
        assert_left_well(night)
    assert ended.result.code == "interrupted"


def test_cancelled_with_warming_up_is_warmed_up_all_the_same(tmp_path: Path) -> None:
    with served_night(tmp_path) as night:
        ended = night.run(
            steps=(Step.DARKS,),
            hear=when(FrameStored.name, night.wake.set),
            cooling={"target_temperature": 0.0, "warmup_at_end": True},
        )
        assert_left_well(night, set_point_c=15.0)
    assert ended.result.code == "interrupted"
    assert ended.said("cooling.changed", target_c=15.0)[-1]["ccd_temp_c"] > 12


def test_second_ctrl_c_cuts_the_warming_short(tmp_path: Path) -> None:
    with served_night(tmp_path) as night:
        night.wake = stop = Stop()
        first = when(FrameStored.name, stop.ask)
        second = when(CoolingChanged.name, stop.ask, target_c=15.0)
        ended = night.run(
            steps=(Step.DARKS,),
            hear=lambda event: (first(event), second(event)),
            cooling={"target_temperature": 0.0, "warmup_at_end": True},
        )
        assert (night.cooler_on, night.activity) == (False, CameraStates.IDLE)
    assert ended.exit_code == 130
    assert ended.said("cooling.changed", target_c=15.0)[-1]["ccd_temp_c"] < 8
    (told,) = ended.said("run.ending")
    assert told["code"] == "interrupted"
    assert 300 < told["warming_s"] < 600


@contextmanager
def running(night: ServedNight, step: str, is_reached: Callable[[], bool]) -> Iterator[subprocess.Popen[bytes]]:
    """Start the workflow as a process of its own, and wait until it has reached something."""
    command = [sys.executable, str(SCRIPT), "--config", str(night.root / "config_calibration_frames.yaml")]
    with started.start(
        [*command, "--no-confirm", step],
        cwd=night.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "NO_COLOR": "1"},
    ) as program:
        try:
            deadline = time.monotonic() + 60
            while not is_reached():
                assert time.monotonic() < deadline
                assert program.poll() is None, program.communicate()[0].decode()
                time.sleep(0.02)
            yield program
        finally:
            program.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM; Ctrl-Break takes the same road")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_within_an_exposure(tmp_path: Path, number: signal.Signals) -> None:
    with served_night(tmp_path, rate=20.0) as night:
        night.run(steps=(), **LONG)  # writes the configuration

        def exposing() -> bool:
            return bool(night.exposures) and night.activity is CameraStates.EXPOSING

        with running(night, "--darks-only", exposing) as program:
            program.send_signal(number)
            said = program.communicate(timeout=60)[0].decode()
        assert program.returncode == 130, said
        assert_left_well(night)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM; Ctrl-Break takes the same road")
def test_signals_that_go_on_coming_do_not_cut_short_how_the_devices_are_left(tmp_path: Path) -> None:
    """A third Ctrl-C broke the closing of the cover off: it stayed open under an open roof."""
    with served_night(tmp_path, rate=20.0) as night:
        night.run(steps=(), **OPEN_AND_COOLED)  # writes the configuration

        def lit_and_cooled() -> bool:
            return night.lamp is CalibratorStatus.READY and night.cover is CoverStatus.OPEN and night.cooler_on

        with running(night, "--flats-only", lit_and_cooled) as program:
            deadline = time.monotonic() + 60
            numbers = itertools.cycle((signal.SIGINT, signal.SIGINT, signal.SIGTERM))
            while program.poll() is None:
                assert time.monotonic() < deadline
                program.send_signal(next(numbers))
                time.sleep(0.03)
            said = program.communicate(timeout=60)[0].decode()
        assert program.returncode == 130, said
        assert_left_well(night, set_point_c=night.set_point_c)
    assert said.count("stopping ...") == said.count("nothing is warmed up any more") == 1
    assert "the devices are being left safe, and nothing cuts that short" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("on_unsafe", ["finish_frame", "abort"])
def test_unsafe_with_warming_up_is_warmed_up_to_its_end(tmp_path: Path, on_unsafe: str) -> None:
    with served_night(tmp_path) as night:
        ended = night.run(
            steps=(Step.DARKS,),
            hear=when(FrameStored.name, lambda: night.break_now(fault(FaultKind.UNSAFE))),
            cooling={"target_temperature": 0.0, "warmup_at_end": True},
            safety_monitor={"on_unsafe": on_unsafe},
        )
        assert_left_well(night, set_point_c=15.0)
    assert (ended.exit_code, ended.result.code) == (4, "unsafe")
    assert not ended.said("warning.raised", code="left_unsafe")
    assert ended.said("cooling.changed", target_c=15.0)[-1]["ccd_temp_c"] > 12


def test_unsafe_while_warming_up_does_not_keep_the_cooler_on(tmp_path: Path) -> None:
    with served_night(tmp_path) as night:
        ended = night.run(
            steps=(Step.DARKS,),
            hear=when(CoolingChanged.name, lambda: night.break_now(fault(FaultKind.UNSAFE)), target_c=15.0),
            cooling={"target_temperature": 0.0, "warmup_at_end": True},
        )
        assert_left_well(night, set_point_c=15.0)
    assert ended.said("cooling.changed", target_c=15.0)[-1]["ccd_temp_c"] > 12


def test_server_that_is_away_for_ten_minutes_at_the_end_is_waited_for(tmp_path: Path) -> None:
    with served_night(tmp_path, safety=None) as night:
        night.run(steps=(), **COOLED)

        def go_away() -> None:
            night.break_now(fault(FaultKind.DROP, at_s=night.observatory.world.t_s(), for_s=600.0))

        ended = night.run(
            steps=(Step.FLATS,),
            hear=when(StepFinished.name, go_away, step="flats"),
            flat_capture={"filters": ["L"]},
            **COOLED,
        )
        assert_left_well(night)
    assert ended.exit_code == 0
    assert ended.said("device.restored")


@pytest.mark.parametrize("found_on", [False, True])
def test_cooler_that_a_killed_run_switched_on_is_left_as_that_run_found_it(tmp_path: Path, found_on: bool) -> None:
    with served_night(tmp_path, rate=300.0) as night:
        camera = night.observatory.camera
        if found_on:
            for member, value in (("Connected", "true"), ("SetCCDTemperature", "12"), ("CoolerOn", "true")):
                camera.write(member.lower(), {member: value})
        night.run(steps=(), **COOLED)  # writes the configuration
        command = [sys.executable, str(SCRIPT), "--config", str(tmp_path / "config_calibration_frames.yaml")]
        with started.start([*command, "--darks-only"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as killed:
            deadline = time.monotonic() + 60
            while not night.exposures and time.monotonic() < deadline:
                time.sleep(0.02)
            killed.kill()
        assert night.cooler_on
        assert night.run(steps=(Step.DARKS,), **COOLED).exit_code == 0
        assert_left_well(night, cooler_on=found_on, set_point_c=12.0 if found_on else 0.0)


def test_unsafe_with_the_cover_open(tmp_path: Path) -> None:
    bad = fault(FaultKind.UNSAFE, after_exposures=12)
    with served_night(tmp_path, bad, panel={"on_cover": False}) as night:
        ended = night.run(flat_panel={"cover_for_flats": "open", "open_by_day": True}, **COOLED)
        assert_left_well(night)
    assert (ended.exit_code, ended.result.code) == (4, "unsafe")


# --- failures while ending -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "member"),
    [
        ("covercalibrator", "calibratoroff"),
        ("covercalibrator", "closecover"),
        ("covercalibrator", None),
        ("camera", "abortexposure"),
        ("camera", "cooleron"),
        ("filterwheel", None),
    ],
)
def test_failures_while_ending_are_told_and_never_hide_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, member: str | None
) -> None:
    hurry(monkeypatch)
    with served_night(tmp_path, rate=300.0) as night:

        def stop() -> None:
            night.break_now(fault(FaultKind.HTTP_500, device=device, member=member))
            night.wake.set()

        hear = when(FrameStored.name, stop, kind="FLAT")
        ended = night.run(steps=(Step.FLATS,), hear=hear, **COOLED)
        if device != "covercalibrator":
            assert (night.lamp, night.cover) == (CalibratorStatus.OFF, CoverStatus.CLOSED)
        elif member is not None:
            assert night.cover is CoverStatus.CLOSED
            assert (night.lamp is CalibratorStatus.OFF) == (member != "calibratoroff")
        assert night.activity is CameraStates.IDLE
        if member != "cooleron":
            assert not night.cooler_on
    assert (ended.exit_code, ended.result.code) == (130, "interrupted")
    ended.assert_told("interrupted")
    if device != "filterwheel" and member != "abortexposure":  # the wheel stays, and there may be nothing to abort
        ended.assert_told("ending_failed" if member == "closecover" else "left_unsafe")  # it is closed already


@pytest.mark.usefixtures("soon_over")
def test_server_that_is_gone_is_the_cause_and_not_what_could_not_be_ended(tmp_path: Path) -> None:
    with served_night(tmp_path, safety=None) as night:
        ended = night.run(hear=when(FrameStored.name, night.server.stop, kind="FLAT"), **COOLED)
        assert night.lamp is CalibratorStatus.READY, "nobody could reach it"
    assert (ended.exit_code, ended.result.code) == (3, "device_lost")
    assert "15 min" in ended.result.detail
    told = " ".join(e["detail"] for e in ended.said("warning.raised", code="left_unsafe"))
    gone = f"nothing at 127.0.0.1:{night.server.port} answers any more: camera, flat panel, cooler"
    assert gone in told
    assert gone in ended.result.detail


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (fault(FaultKind.PANEL_STAYS_ON, after_exposures=14), "flat panel: the lamp is still on"),
        (fault(FaultKind.COVER_STUCK, after_exposures=12), "flat panel: the cover is not closed, it reads error"),
    ],
    ids=["lamp", "cover"],
)
@pytest.mark.usefixtures("soon_over")
def test_a_lamp_or_cover_that_is_left_unsafe_is_no_run_that_is_all_done(
    tmp_path: Path, trouble: Any, words: str
) -> None:
    with served_night(tmp_path, trouble, panel={"on_cover": words.endswith("on")}) as night:
        opened: dict[str, Any] = {} if words.endswith("on") else {"cover_for_flats": "open", "open_by_day": True}
        ended = night.run(steps=(Step.FLATS,), flat_panel=opened, flat_capture={"filters": ["L"]})
    assert set(ended.groups().values()) == {"complete"}, "the frames themselves are good"
    assert (ended.exit_code, ended.result.code) == (3, "left_unsafe")
    assert words in ended.result.detail
    assert any(words in e["detail"] for e in ended.report["warnings"])
    assert ended.result.report_html is not None
    page = ended.result.report_html.read_text(encoding="utf-8")
    assert "Finished, but a device could not be left in a known state" in page
    assert words in page


# --- covers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hour", "opened"), [(12, False), (0, True)])
def test_cover_is_not_opened_by_day(tmp_path: Path, hour: int, opened: bool) -> None:
    start = datetime(2030, 6, 21, hour, tzinfo=UTC)
    with served_night(tmp_path, start=start, panel={"on_cover": False}) as night:
        ended = night.run(
            steps=(Step.FLATS,),
            flat_panel={"cover_for_flats": "open"},
            site={"latitude": 50.0, "longitude": 0.0},
        )
        assert_left_well(night)
    assert bool(ended.said("cover.changed", cover="open")) == opened
    assert ended.exit_code == (0 if opened else 1)
    if not opened:
        assert set(ended.groups().values()) == {"panel_not_ready"}
        ended.assert_told("panel_not_ready")
