"""Failures 21 to 25 of an unattended night: weather, disk, kills, other programs, clocks; and sets that stay partial.

A disk that is full while masters, reports or the journal are written: `test_disk_full.py`. Kills at random moments, two
runs in one folder: `test_kill_and_resume.py`. Two runs on one camera: `test_capture_on_simulator.py`.
"""

import errno
import functools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from astropy.io import fits

from calibration.frames import FrameKind
from drivers.alpaca.line import Endpoint, Timeouts
from drivers.alpaca.safety_monitor import AlpacaSafetyMonitor
from drivers.alpaca.transport import CameraWire
from drivers.base import CalibratorStatus, CameraStates, CoverStatus
from drivers.clock import ScaledClock, SystemClock
from drivers.simulator.faults import DeviceKind, FaultKind
from services.capture.runner import CLOCK_JUMP_S
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import MasterStatus
from services.config import load
from services.errors import RunCode, ServiceError
from services.events.records import Event, ExposureAborted, FrameStored
from services.files.disk import Disk, Stream
from services.observatory import network
from services.planning.request import DarkTimes, RunOptions, Step
from services.root import layout_of
from services.stopping import Stop
from services.workflow.job import Job
from tests.support import started
from tests.support.failing_disks import FullDisk
from tests.support.served_night import FRAMES, FRAMES_ONLY, Ended, ServedNight, fault, hurry, served_night
from tests.support.small_night import SCRIPT, Night

WALL_PANEL = {"on_cover": False}
"""A panel on the dome's wall: it is seen with the cover open."""
OPEN = {"cover_for_flats": "open", "open_by_day": True}
IN_FLATS = 1 + FRAMES + 20
"""An exposure within the first series of flats."""


# --- 21: unsafe ------------------------------------------------------------------------------------------------------


class Watched:
    """What a run's devices and events were, by real seconds, while it lasted.

    Seconds in which the machine lets none of us run are not counted: `lasted` leaves out the gaps between two looks.
    """

    LOOK_S = 0.02

    def __init__(self, night: ServedNight) -> None:
        self.night = night
        self.events: list[tuple[float, Event]] = []
        self.devices: list[tuple[float, float, CalibratorStatus, CoverStatus]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watched":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def hear(self, event: Event) -> None:
        self.events.append((time.monotonic(), event))

    def when(self, name: str) -> float:
        return next(at for at, event in self.events if event.name == name)

    def at_clock(self, seconds: float) -> float:
        """Return the real second at which the observatory's clock passed a time."""
        return next(at for at, t_s, _, _ in self.devices if t_s >= seconds)

    def lasted(self, begin: float, end: float) -> float:
        """Return the seconds from `begin` to `end` in which this process was given time to run."""
        looks = [begin, *(at for at, *_ in self.devices if begin < at < end), end]
        return sum(min(after - before, 3 * self.LOOK_S) for before, after in pairwise(looks))

    def _look(self) -> None:
        while not self._stop.wait(self.LOOK_S):
            self.devices.append(
                (time.monotonic(), self.night.observatory.world.t_s(), self.night.lamp, self.night.cover)
            )


def test_21_unsafe_is_acted_on_within_five_seconds_while_the_camera_hangs_for_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    rate = 20.0
    unsafe_at_s: list[float] = []
    with served_night(tmp_path, rate=rate, panel=WALL_PANEL) as night, Watched(night) as seen:

        def hear(event: Event) -> None:
            seen.hear(event)
            if isinstance(event.what, FrameStored) and not unsafe_at_s:
                now_s = night.observatory.world.t_s()
                unsafe_at_s.append(now_s + 5)
                hangs = fault(FaultKind.STALL, device=DeviceKind.CAMERA, at_s=now_s, value=60.0)
                night.break_now(hangs, fault(FaultKind.UNSAFE, at_s=now_s + 5))
            if isinstance(event.what, ExposureAborted):  # measured: what is asked from now on is answered
                night.break_now(fault(FaultKind.UNSAFE))

        ended = night.run(
            steps=(Step.FLATS,),
            hear=hear,
            flat_panel=OPEN,
            flat_capture={"num_flats": 500, "filters": ["L"]},
            # two real seconds between two readings, as in a night that is not hurried
            safety_monitor={"poll": 2.0 * rate, "stale_after": 10.0 * rate},
        )
    begun = seen.at_clock(unsafe_at_s[0])
    lit = [lamp for at, _, lamp, _ in seen.devices if at < begun][-1]
    assert lit is CalibratorStatus.READY
    dark = next(at for at, _, lamp, _ in seen.devices if at > begun and lamp is CalibratorStatus.OFF)
    closing = next(at for at, _, _, cover in seen.devices if at > begun and cover is not CoverStatus.OPEN)
    aborted = seen.when(ExposureAborted.name)
    for end in (dark, closing, aborted):
        assert seen.lasted(begun, end) < 5.0
    assert night.cover is CoverStatus.CLOSED
    assert (ended.exit_code, ended.result.code) == (4, "unsafe")
    ended.assert_told("unsafe")
    assert ended.said("exposure.aborted", done=False)  # attempted, and told that nobody answered
    assert ended.said("cover.changed", cover="closed")


def test_21_exposure_is_aborted_where_the_camera_answers(tmp_path: Path) -> None:
    with served_night(tmp_path, rate=20.0) as night:

        def rain(event: Event) -> None:
            if isinstance(event.what, FrameStored):
                night.break_now(fault(FaultKind.UNSAFE))

        dark = {"num_darks": 2, "science_exposure_time": 60.0, "flat_exposure_time": 60.0}
        ended = night.run(steps=(Step.DARKS,), hear=rain, dark_capture=dark)
        assert night.activity is CameraStates.IDLE
    assert ended.exit_code == 4
    assert ended.said("exposure.aborted", done=True)


def test_21_unsafe_from_the_beginning_moves_nothing(tmp_path: Path) -> None:
    with served_night(tmp_path, fault(FaultKind.UNSAFE), panel=WALL_PANEL) as night:
        ended = night.run(flat_panel=OPEN)
        assert not night.exposures
        assert night.cover is CoverStatus.CLOSED
        assert not night.cooler_on
        assert night.connected == []  # what stays connected is another program's to whoever looks
    assert (ended.exit_code, ended.result.code) == (4, "unsafe")
    ended.assert_told("unsafe")
    assert not ended.said("group.started")


def test_21_unsafe_from_the_beginning_leaves_an_exposure_that_runs_already(tmp_path: Path) -> None:
    with served_night(tmp_path, fault(FaultKind.UNSAFE), rate=10.0) as night:
        theirs = CameraWire(Endpoint("127.0.0.1", night.server.port), night.observatory.clock)
        theirs.open()
        theirs.StartExposure(3600.0, True)
        theirs.line.close()
        ended = night.run()
        assert (ended.exit_code, ended.result.code) == (4, "unsafe")
        assert not ended.said("exposure.aborted")
        assert night.activity is CameraStates.EXPOSING


def test_21_cover_that_opens_while_it_gets_unsafe_is_closed_again(tmp_path: Path) -> None:
    slow = {**WALL_PANEL, "cover_s": 400.0}
    with served_night(tmp_path, rate=200.0, panel=slow) as night, Watched(night) as seen:

        def rain() -> None:
            while night.cover is not CoverStatus.MOVING:
                time.sleep(0.005)
            night.break_now(fault(FaultKind.UNSAFE))

        weather = threading.Thread(target=rain)
        weather.start()
        ended = night.run(steps=(Step.FLATS,), flat_panel={**OPEN, "timeout": 1000.0}, hear=seen.hear)
        weather.join()
    assert CoverStatus.OPEN not in {cover for _, _, _, cover in seen.devices}
    assert night.cover is CoverStatus.CLOSED
    assert (ended.exit_code, ended.result.code) == (4, "unsafe")
    assert not any(r.conditions.light_e > 1 for r in night.observatory.records())


def test_21_monitor_that_does_not_answer_is_unsafe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = functools.partial(AlpacaSafetyMonitor, timeouts=Timeouts(poll_s=0.3, read_s=0.3))
    monkeypatch.setattr(network, "AlpacaSafetyMonitor", quick)
    silent = fault(FaultKind.SAFETY_HANG, after_exposures=IN_FLATS)
    with served_night(tmp_path, silent, rate=100.0) as night:
        ended = night.run(flat_capture={"num_flats": 500})
        assert (night.lamp, night.cover) == (CalibratorStatus.OFF, CoverStatus.CLOSED)
    assert (ended.exit_code, ended.result.code) == (4, "safety_stale")
    ended.assert_told("safety_stale")


def test_21_frame_in_flight_is_finished_where_the_observer_says_so(tmp_path: Path) -> None:
    with served_night(tmp_path, rate=100.0) as night:

        def rain(event: Event) -> None:
            if isinstance(event.what, FrameStored) and event.what.frame_no == 2:
                night.break_now(fault(FaultKind.UNSAFE))

        dark = {"num_darks": 4, "science_exposure_time": 40.0, "flat_exposure_time": 40.0}
        options = {"dark_times": DarkTimes.SCIENCE}
        ended = night.run(
            steps=(Step.DARKS,),
            hear=rain,
            options=options,
            dark_capture=dark,
            safety_monitor={"on_unsafe": "finish_frame"},
        )
        assert len(night.headers()) == 3  # the one in flight when it got unsafe was kept
    assert (ended.exit_code, ended.result.code) == (4, "unsafe")


def test_21_masters_of_what_there_is_are_built_and_the_next_run_goes_on(tmp_path: Path) -> None:
    with served_night(tmp_path, fault(FaultKind.UNSAFE, after_exposures=IN_FLATS)) as night:
        ended = night.run()
        assert ended.exit_code == 4
        assert ended.said("master.built", kind="BIAS")
        kept = {h["DATE-OBS"] for h in night.headers()}
        night.break_now()
        again = night.run()
        assert again.exit_code == 0
        assert kept < {h["DATE-OBS"] for h in night.headers()}
        assert set(again.groups().values()) == {"complete"}


# --- 22: disk --------------------------------------------------------------------------------------------------------


FRAME_BYTES = 160 * 120 * 2 + 8640
ROOM = (20_000, FRAME_BYTES + 10_000, 5 * FRAME_BYTES + 40_000)


def assert_whole(night: Night) -> None:
    """Nothing half written is there, every frame with a name is readable and catalogued, every master has its files."""
    assert not list(night.root.rglob("*.part"))
    layout = layout_of(load(night.config))
    with Catalogue(layout.catalogue) as catalogue:
        assert {layout.absolute(row.path) for row in catalogue.frames()} == set(night.frames())
    masters = sorted((night.root / "master_frames").glob("*.fits"))
    for path in [*night.frames(), *masters]:
        with fits.open(path, checksum=True) as units:
            assert units[0].data is not None
    for path in masters:
        assert path.with_suffix(".json").is_file()
        assert (path.parent / "planes" / path.name).is_file()


def run_with(night: Night, disk: Disk, steps: tuple[Step, ...]) -> tuple[int, str | None]:
    """Run, and return exit code and cause as the command line has them."""
    try:
        ended = Job(load(night.config), RunOptions(steps=steps), disk=disk).run()
    except ServiceError as error:  # there was no room to begin
        return error.exit, error.code
    return ended.exit_code, ended.code


def test_22_disk_full_at_any_byte_of_capture_ends_with_5_and_the_rest_is_taken_later(night: Night) -> None:
    night.write({"storage": {"min_free_mb": 0}, "dark_capture": {"flat_exposure_time": 2.0}})
    kept = 0
    for room in ROOM:
        assert run_with(night, FullDisk(room), (Step.DARKS,)) == (5, "disk_full"), room
        assert_whole(night)
        before, kept = kept, len(night.frames())
        assert 0 <= room // FRAME_BYTES - (kept - before) <= 1  # the journal takes some room, too
    assert kept >= 4
    assert run_with(night, Disk(), (Step.DARKS,)) == (0, None)
    assert set(night.counts().values()) == {6}
    assert_whole(night)


def test_22_capture_stops_above_the_floor_and_the_report_says_so(night: Night) -> None:
    night.write({"storage": {"min_free_mb": 1}})
    assert run_with(night, FullDisk(1_000_000 + 10 * FRAME_BYTES), (Step.DARKS,)) == (5, "disk_full")
    report = night.report()
    assert (report["run"]["exit_code"], report["run"]["code"]) == (5, "disk_full")
    low = [w for w in report["warnings"] if w["name"] == "storage.low"]
    assert low[0]["needed_mb"] == pytest.approx(3 * 6 * FRAME_BYTES / 1e6)  # told before the first frame was taken
    assert len(low) > 1
    assert 8 <= len(night.frames()) <= 10


def test_22_no_room_for_one_frame_is_refused_before_anything_cools_or_moves(night: Night) -> None:
    night.write({"storage": {"min_free_mb": 1}})
    assert run_with(night, FullDisk(1_000_000), (Step.DARKS,)) == (5, "disk_full")
    report = night.report()
    assert "1 MB to be left free (storage.min_free_mb)" in report["run"]["detail"]
    assert next(w for w in report["warnings"] if w["name"] == "storage.low")["floor_mb"] == 1
    assert {group["status"] for group in report["groups"]} == {"not_reached"}
    assert run_with(night, FullDisk(1_000_000 + 100 * FRAME_BYTES), (Step.DARKS,)) == (0, None)
    assert run_with(night, FullDisk(1_000_000), (Step.DARKS,)) == (0, None), "nothing is to be taken"


class FewFiles(Disk):
    """A disk that holds only so many more files, as one without free inodes does."""

    def __init__(self, files: int) -> None:
        self.files = files

    def free_files(self, folder: Path) -> int:
        return self.files


@pytest.mark.parametrize("disk", [FullDisk(1_000_000 + 10 * FRAME_BYTES), FewFiles(9)], ids=["bytes", "files"])
def test_22_a_run_names_the_frame_at_which_the_room_ends_and_can_be_told_to_take_none(night: Night, disk: Disk) -> None:
    night.write({"storage": {"min_free_mb": 1}, "dark_capture": {"flat_exposure_time": 2.0}})
    asked = RunOptions(steps=(Step.DARKS,), require_space=True)
    ended = Job(load(night.config), asked, disk=disk).run()
    assert (ended.exit_code, ended.code) == (5, "disk_full")
    assert "it ends at dark 2 s (5.0 °C), frame 4 of 6" in ended.detail
    assert night.frames() == []
    (low,) = [w for w in night.report()["warnings"] if w["name"] == "storage.low"]
    assert low["detail"] in ended.detail


class TornDisk(Disk):
    """A disk that fails at its nth file, as a dying or disconnected one does."""

    def __init__(self, files: int) -> None:
        self.files = files

    def create(self, path: Path) -> Stream:
        self.files -= path.suffix == ".part"
        if self.files < 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().create(path)


@pytest.mark.parametrize("files", [0, 8])
def test_22_disk_that_fails_ends_with_5_and_its_own_code(night: Night, files: int) -> None:
    assert run_with(night, TornDisk(files), (Step.DARKS,)) == (5, "write_failed")
    assert len(night.frames()) == files
    assert_whole(night)
    assert run_with(night, Disk(), (Step.DARKS,)) == (0, None)


# --- 23: killed ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_23_killed_with_the_lamp_on_leaves_locks_free_and_the_next_run_makes_it_dark_first(tmp_path: Path) -> None:
    with served_night(tmp_path, rate=200.0) as night:
        config = tmp_path / "config_calibration_frames.yaml"
        config.write_text(yaml.safe_dump(night._document({})), encoding="utf-8")
        command = [sys.executable, str(SCRIPT), "--config", str(config), "--no-confirm"]
        killed = started.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "flats").rglob("flat_*.fits"))) < 2:
            assert time.monotonic() < deadline
            assert killed.poll() is None
            time.sleep(0.01)
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        assert night.lamp is CalibratorStatus.READY
        leftover = tmp_path / "flats" / "L" / ".flat_20260101_000000_001.fits.part"
        leftover.write_bytes(b"SIMPLE  =")
        lit = len(night.observatory.records())
        kept = {p.name for p in (tmp_path / "flats").rglob("flat_*.fits")}
        ended = night.run(steps=FRAMES_ONLY)
        assert ended.exit_code == 0
        assert not leftover.exists()
        assert kept <= {p.name for p in (tmp_path / "flats").rglob("flat_*.fits")}
        assert len(night.headers("flat_*")) == 2 * FRAMES
        # the biases are there; the pedestal measured first is dark, though the lamp was found on
        first = [r for r in night.observatory.records()[lit:] if r.conditions.exposure_s < 0.01]
        assert first
        assert all(r.conditions.light_e < 1 for r in first)
        assert (night.lamp, night.activity) == (CalibratorStatus.OFF, CameraStates.IDLE)
    with Catalogue(tmp_path / ".nightcal" / "catalogue.sqlite") as catalogue:
        ended_by = {row.exit_code: row.code for row in catalogue.runs() if row.finished_at is not None}
        assert ended_by == {0: None, 1: "worker_died"}


# --- 24: another program on the camera -------------------------------------------------------------------------------


@contextmanager
def other_program(night: ServedNight) -> Iterator[CameraWire]:
    """Give another client's connection to the camera."""
    other = CameraWire(Endpoint("127.0.0.1", night.server.port), SystemClock(), client_id=4711)
    try:
        yield other
    finally:
        other.line.close()


def meddling(night: ServedNight, act: Callable[[CameraWire], None], frames: set[int]) -> Callable[[Event], None]:
    """Give a listener that lets another client do something to the camera after some of the frames."""
    stored = [0]

    def hear(event: Event) -> None:
        stored[0] += isinstance(event.what, FrameStored)
        if isinstance(event.what, FrameStored) and stored[0] in frames:
            with other_program(night) as other:
                act(other)

    return hear


def set_gain(camera: CameraWire) -> None:
    camera.Gain = 100


def connected(night: ServedNight) -> bool:
    return bool(night._read("camera", "connected"))


@pytest.mark.parametrize("named", [None, 26])
def test_24_gain_that_another_program_changed_is_told_and_put_back(tmp_path: Path, named: int | None) -> None:
    with served_night(tmp_path) as night:
        section = {} if named is None else {"camera": {"alpaca": {"gain": named}}}
        ended = night.run(steps=FRAMES_ONLY, hear=meddling(night, set_gain, {8}), **section)
        assert ended.exit_code == 0
        assert {h["GAIN"] for h in night.headers()} == {26}
        levels = [h["DATAMED"] for h in night.headers("dark_*")]
    assert max(levels) - min(levels) < 10
    assert "gain is 100, we left 26" in ended.said("warning.raised", code="foreign_client")[0]["detail"]
    ended.assert_told("foreign_client")


def test_24_camera_that_another_program_keeps_changing_is_left_to_it(tmp_path: Path) -> None:
    with served_night(tmp_path) as night:
        ended = night.run(hear=meddling(night, set_gain, set(range(2, 100, 4))))
        assert connected(night)  # they still use it
    assert (ended.exit_code, ended.result.code) == (3, "camera_busy")
    ended.assert_told("camera_busy")
    assert len(ended.said("warning.raised", code="foreign_client")) == 2
    assert (night.lamp, night.cover) == (CalibratorStatus.OFF, CoverStatus.CLOSED)


def test_24_single_exposure_of_another_program_is_waited_for(tmp_path: Path) -> None:
    with served_night(tmp_path, fault(FaultKind.FOREIGN_EXPOSURE, after_exposures=9, count=1, value=240.0)) as night:
        ended = night.run(steps=FRAMES_ONLY, flat_capture={"filters": ["L"]})
        assert ended.exit_code == 0
        assert len(night.headers()) == 4 * FRAMES
        assert 240.0 not in {h["EXPTIME"] for h in night.headers()}
    ended.assert_told("foreign_client")


def test_24_camera_that_another_program_exposes_with_is_left_to_it(tmp_path: Path) -> None:
    with served_night(tmp_path, fault(FaultKind.FOREIGN_EXPOSURE, after_exposures=9, count=1, value=5e4)) as night:
        ended = night.run()
        assert night.activity is CameraStates.EXPOSING  # theirs was not aborted
        assert connected(night)
    assert (ended.exit_code, ended.result.code) == (3, "camera_busy")
    ended.assert_told("camera_busy")


def test_24_camera_found_in_use_is_left_alone(tmp_path: Path) -> None:
    with served_night(tmp_path, rate=200.0) as night:
        with other_program(night) as other:
            other.open()
            other.StartExposure(3600.0, False)
        ended = night.run(cooling={"target_temperature": 0.0})
        assert night.activity is CameraStates.EXPOSING
        assert connected(night)
        assert not night.cooler_on
    assert (ended.exit_code, ended.result.code) == (3, "camera_busy")
    ended.assert_told("camera_busy")


# --- 25: clocks ------------------------------------------------------------------------------------------------------


class Jumping(ScaledClock):
    """A clock whose wall time jumps, as a time service or a user makes it; its other scale does not."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.mark.parametrize("seconds", [3600.0, -3600.0, -86_400.0])
def test_25_clock_that_jumps_is_told_and_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(network, "ScaledClock", Jumping)
    monkeypatch.setattr(Jumping, "ahead", timedelta())

    def jump(event: Event) -> None:
        if isinstance(event.what, FrameStored) and event.what.kind == "FLAT":
            Jumping.ahead = timedelta(seconds=seconds)

    with served_night(tmp_path) as night:
        ended = night.run(steps=FRAMES_ONLY, hear=jump, flat_capture={"filters": ["L"]})
        assert ended.exit_code == 0
        assert len(night.headers()) == 4 * FRAMES
        assert set(ended.groups().values()) == {"complete"}
    (warned,) = ended.said("warning.raised", code="clock_jump")
    found = re.fullmatch(r"the clock jumped by ([-+][0-9.]+) s", warned["detail"])
    assert found is not None, warned
    # the two clocks are read one after the other, which takes seconds at this rate, and fewer than a jump
    assert float(found[1]) == pytest.approx(seconds, abs=CLOCK_JUMP_S)
    ended.assert_told("clock_jump")
    assert all(0 < e["seconds"] < 3000 for e in ended.said("frame.stored"))
    at = [datetime.fromisoformat(e["at"]) for e in ended.journal]
    backwards = [b - a for a, b in pairwise(at) if b < a]
    assert len(backwards) == (1 if seconds < 0 else 0)


def test_25_clock_before_the_programs_own_year_is_told(tmp_path: Path) -> None:
    with served_night(tmp_path, start=datetime(2001, 1, 1, 12, 0, tzinfo=UTC)) as night:
        ended = night.run(steps=(Step.DARKS,))
        assert ended.exit_code == 0
        assert {h["DATE-OBS"][:4] for h in night.headers()} == {"2001"}
    (warned,) = ended.said("warning.raised", code="clock_jump")
    assert "2001-01-01" in warned["detail"]
    ended.assert_told("clock_jump")


def test_25_no_sun_is_asked_of_a_clock_that_cannot_be_right(tmp_path: Path) -> None:
    site = {"latitude": 50.0, "longitude": 10.0}
    midnight = datetime(2001, 1, 1, 0, 0, tzinfo=UTC)
    with served_night(tmp_path, start=midnight, panel=WALL_PANEL) as night:
        refused = night.run(site=site, options={"until": "sunrise"})
        assert not night.exposures
        assert (refused.exit_code, refused.result.code) == (2, "usage")
        assert "clock" in refused.result.detail
        ended = night.run(site=site, steps=(Step.FLATS,), flat_panel={"cover_for_flats": "open"})
        assert ended.groups() == {"flat L": "panel_not_ready", "flat Ha": "panel_not_ready"}
        assert night.cover is CoverStatus.CLOSED
        allowed = night.run(site=site, steps=(Step.FLATS,), flat_panel=OPEN)
        assert allowed.exit_code == 0


@pytest.fixture
def far_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A zone with half hours and summer time."""
    if not hasattr(time, "tzset"):
        pytest.skip("Windows takes its zone from the registry")
    monkeypatch.setenv("TZ", "America/St_Johns")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("start", [datetime(2026, 3, 8, 5, 25, tzinfo=UTC), datetime(2026, 11, 1, 4, 25, tzinfo=UTC)])
def test_25_files_are_in_utc_through_the_change_to_summer_time_and_back(
    tmp_path: Path, far_zone: None, start: datetime
) -> None:
    with served_night(tmp_path, start=start) as night:
        ended = night.run(steps=(Step.DARKS,))
        assert ended.exit_code == 0
        headers = night.headers()
    times = [datetime.fromisoformat(h["DATE-OBS"]).replace(tzinfo=UTC) for h in headers]
    assert all(start < at < start + timedelta(hours=3) for at in times)
    assert {h["TIMESYS"] for h in headers} == {"UTC"}
    names = {p.name.split("_")[1] for p in (tmp_path / "darks").rglob("*.fits")}
    assert names <= {f"{at:%Y%m%d}" for at in times}
    assert not ended.said("warning.raised", code="clock_jump")


# --- everything anew -------------------------------------------------------------------------------------------------


def test_fresh_that_was_interrupted_goes_on_with_what_it_opened_and_then_begins_anew(tmp_path: Path) -> None:
    with served_night(tmp_path, rate=100.0) as night:
        darks = {"num_darks": 5, "flat_exposure_time": 2.0, "science_exposure_time": 3.0, "exposure_factors": 1.0}

        def run(*, stop_after: int = 1000, fresh: bool = True) -> tuple[int, int]:
            """Return the exit code of a run, and how many frames it has taken."""
            before, stored = len(night.headers()), 0

            def interrupt(event: Event) -> None:
                nonlocal stored
                if isinstance(event.what, FrameStored):
                    stored += 1
                    if stored == stop_after:
                        night.wake.after_frame(RunCode.INTERRUPTED)

            night.wake = Stop()
            ended = night.run(steps=(Step.DARKS,), hear=interrupt, options={"fresh": fresh}, dark_capture=darks)
            return ended.exit_code, len(night.headers()) - before

        assert run(fresh=False) == (0, 15)
        code, taken = run(stop_after=7)
        assert code == 130
        assert 7 <= taken < 10
        assert run() == (0, 15 - taken)
        assert run(fresh=False) == (0, 0)
        assert run() == (0, 15)


# --- partial sets ----------------------------------------------------------------------------------------------------


def masters_of(ended: Ended, kind: str) -> list[dict[str, Any]]:
    return ended.said("master.built", kind=kind)


def test_partial_sets_make_masters_that_say_so_until_the_set_is_complete(tmp_path: Path) -> None:
    with served_night(tmp_path, fault(FaultKind.UNSAFE, after_exposures=12), rate=100.0) as night:
        many = {"num_darks": 40, "flat_exposure_time": 2.0}
        ended = night.run(steps=(Step.DARKS, Step.MASTERS), dark_capture=many)
        assert ended.exit_code == 4
        (bias,) = masters_of(ended, "BIAS")
        taken = len(night.headers())
        assert 5 <= taken < 40
        assert (bias["status"], bias["n"]) == ("partial", taken)
        assert fits.getheader(tmp_path / bias["path"])["NCOMBINE"] == taken
        assert '"partial"' in (tmp_path / bias["path"]).with_suffix(".json").read_text(encoding="utf-8")
        ended.assert_told("partial")
        night.break_now()
        again = night.run(steps=(Step.DARKS, Step.MASTERS), dark_capture=many)
        assert again.exit_code == 0
        (whole,) = masters_of(again, "BIAS")
        assert (whole["status"], whole["n"]) == ("certified", 40)
    with Catalogue(tmp_path / ".nightcal" / "catalogue.sqlite") as catalogue:
        status = {row.path: row.status for row in catalogue.masters(kind=FrameKind.BIAS)}
    assert status == {bias["path"]: MasterStatus.SUPERSEDED, whole["path"]: MasterStatus.CERTIFIED}


def test_too_few_frames_make_no_master(tmp_path: Path) -> None:
    with served_night(tmp_path, rate=5.0) as night:

        def rain(event: Event) -> None:
            if isinstance(event.what, FrameStored):
                night.break_now(fault(FaultKind.UNSAFE))

        ended = night.run(steps=(Step.DARKS, Step.MASTERS), hear=rain, dark_capture={"num_darks": 40})
        assert 1 <= len(night.headers()) < 5
    assert {m["code"] for m in ended.said("master.refused")} == {"too_few_frames"}
    ended.assert_told("too_few_frames")
    assert all("of 40 wanted by dark_capture.num_darks" in m["detail"] for m in ended.said("master.refused"))
    assert not list((tmp_path / "master_frames").rglob("*.fits"))
