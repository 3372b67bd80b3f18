"""Failures 1 to 8 of an unattended night: a camera that hangs, fails, vanishes, or sends what is no frame."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from drivers.alpaca.cover_calibrator import AlpacaCoverCalibrator
from drivers.alpaca.filter_wheel import AlpacaFilterWheel
from drivers.alpaca.line import Endpoint
from drivers.base import CameraStates
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.faults import FaultKind
from drivers.simulator.presets import from_mapping
from services.events.devices import DeviceGone
from services.events.records import Event, FrameStored
from services.planning.request import DarkTimes, Step
from tests.support.served_night import FRAMES, FRAMES_ONLY, QUICK, Ended, ServedNight, fault, hurry, served_night

BIASES = 1 + FRAMES
"""Exposures until the last bias: the first after connecting is thrown away."""
IN_L = BIASES + 15
"""An exposure of the flats through L, whose search takes three, the detector's measurement ten before it."""


def all_complete(ended: Ended) -> bool:
    return set(ended.groups().values()) == {"complete"}


def assert_only_l_failed(night: ServedNight, ended: Ended, code: str) -> None:
    """Flats through L, and the darks and the master that only they need, are lost; everything else is there."""
    groups = ended.groups()
    assert groups.pop("flat L") == code
    assert {"bias", "flat Ha", "dark 2.000"} <= set(groups)
    assert set(groups.values()) == {"complete"}
    assert ended.exit_code == 1
    assert ended.result.code is None
    ended.assert_told(code)
    kinds = [name.split()[1:3] for name in night.masters()]
    assert ["FLAT", "Ha"] in kinds
    assert ["FLAT", "L"] not in kinds


def assert_whole(night: ServedNight) -> None:
    """Every set has its frames, every master all of them."""
    assert len(night.headers("flat_*")) == 2 * FRAMES
    assert all(header["NCOMBINE"] == FRAMES for header in night.masters().values())


@contextmanager
def on_frame(number: int, act: Callable[[], None]) -> Iterator[Callable[[Event], None]]:
    """Give a listener that does something when so many frames are stored, on a thread of its own."""
    seen, threads = [0], []

    def hear(event: Event) -> None:
        seen[0] += isinstance(event.what, FrameStored)
        if seen[0] == number and isinstance(event.what, FrameStored):
            threads.append(threading.Thread(target=act))
            threads[0].start()

    yield hear
    assert threads, f"{number} frames were never stored"
    threads[0].join()


# --- 1: ImageReady never true ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ways_out", [{}, {"can_abort": False}, {"can_abort": False, "can_stop": False}])
def test_1_image_never_ready_is_aborted_reconnected_and_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ways_out: dict[str, bool]
) -> None:
    hurry(monkeypatch)
    stuck = fault(FaultKind.NEVER_READY, after_exposures=4, count=1)
    with served_night(tmp_path, stuck, camera=ways_out) as night:
        ended = night.run(steps=(Step.DARKS, Step.MASTERS), camera={"alpaca": {"gain": 60}})
        assert all_complete(ended)
        assert ended.exit_code == 0
        assert {header["NCOMBINE"] for header in night.masters().values()} == {FRAMES}
        assert night.activity is CameraStates.IDLE
        # thrown away after connecting and after reconnecting; the settings were applied again
        biases = [seconds for seconds in night.exposures if seconds == 0.001]
        assert len(biases) == 1 + FRAMES + 1
    assert {h["GAIN"] for h in night.headers()} == {60}
    (lost,) = ended.said("device.lost", device="camera")
    assert "no image 60 s after" in lost["detail"]
    assert len(ended.said("device.restored", device="camera")) == 1
    assert lost["code"] == "device_lost"
    ended.assert_told("device_lost")


def test_1_image_never_ready_three_times_loses_its_group_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    with served_night(tmp_path, fault(FaultKind.NEVER_READY, after_exposures=IN_L, count=3)) as night:
        ended = night.run()
        assert_only_l_failed(night, ended, "device_lost")
    assert len(ended.said("device.restored")) == 3  # the last time for the next group's sake


# --- 2: ImageReady or CameraState say that the exposure failed -------------------------------------------------------


@pytest.mark.parametrize("version", [3, 4])
def test_2_failed_exposure_is_a_failure_at_once_and_taken_again(tmp_path: Path, version: int) -> None:
    broken = fault(FaultKind.EXPOSURE_ERROR, after_exposures=4, count=1)
    with served_night(tmp_path, broken, rate=200.0, camera={"interface_version": version}) as night:
        ended = night.run(steps=(Step.DARKS,))
        assert all_complete(ended)
    (lost,) = ended.said("device.lost")
    assert "no image" not in lost["detail"]  # which a time-out would say
    ended.assert_told("device_lost")


def test_2_exposures_that_go_on_failing_lose_their_group_only(tmp_path: Path) -> None:
    with served_night(tmp_path, fault(FaultKind.EXPOSURE_ERROR, after_exposures=IN_L, count=3)) as night:
        ended = night.run()
        assert_only_l_failed(night, ended, "device_lost")
        assert night.activity is CameraStates.IDLE


# --- 3: the server is gone -------------------------------------------------------------------------------------------


def test_3_rebooted_server_is_waited_for_and_everything_taken(tmp_path: Path) -> None:
    with served_night(tmp_path, safety=None) as night:

        def reboot() -> None:
            night.server.stop()
            for device in night.observatory.devices():
                device.write("connected", {"Connected": "false"})
            time.sleep(0.3)  # five minutes of the night
            night.server.start()

        with on_frame(FRAMES + 2, reboot) as hear:
            ended = night.run(hear=hear)
        assert all_complete(ended)
        assert_whole(night)
    assert ended.exit_code == 0
    assert len(ended.said("device.lost", device="camera")) == 1
    assert len(ended.said("device.restored", device="camera")) == 1
    ended.assert_told("device_lost")


@pytest.mark.usefixtures("soon_over")
def test_3_server_that_stays_away_ends_the_run_and_the_next_run_goes_on(tmp_path: Path) -> None:
    with served_night(tmp_path, safety=None) as night:
        with on_frame(FRAMES + 2, night.server.stop) as hear:
            ended = night.run(hear=hear)
        assert ended.exit_code == 3
        assert ended.result.code == "device_lost"
        assert "15 min" in ended.result.detail
        ended.assert_told("device_lost")
        kept = len(night.headers())
        assert kept >= FRAMES + 2
        night.server.start()
        assert night.run().exit_code == 0
        assert_whole(night)
    numbers = [h["SETID"] for h in night.headers("bias_*")]
    assert len(numbers) == FRAMES
    assert len(set(numbers)) == 1, "biases that were there are not taken again"


def test_3_other_camera_in_its_place_is_not_used(tmp_path: Path) -> None:
    stranger = from_mapping({"seed": 2, "camera": {"width": 200, "height": 120, "name": "Another camera"}})
    with served_night(tmp_path, safety=None) as night, SimulatedObservatory(stranger, night.observatory.clock) as other:

        def swap() -> None:
            night.server.stop()
            night.server.observatory = other
            night.server.start()

        with on_frame(FRAMES + 2, swap) as hear:
            ended = night.run(hear=hear)
        assert other.records() == ()
    assert ended.exit_code == 3
    assert ended.result.code == "wrong_device"
    ended.assert_told("wrong_device")


# --- 4: the download stalls ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stall",
    [
        fault(FaultKind.STALL, device="camera", member="imagearray", after_exposures=4, count=1),
        fault(FaultKind.IMAGE_SLOW, after_exposures=4, count=1),
        fault(FaultKind.IMAGE_SLOW, after_exposures=4, count=1, value=0.05),
        fault(FaultKind.IMAGE_TRUNCATED, after_exposures=4, count=1),
    ],
    ids=["no first byte", "stops", "trickles", "breaks off"],
)
def test_4_stalled_download_ends_by_its_own_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stall: Any
) -> None:
    hurry(monkeypatch)
    with served_night(tmp_path, stall) as night:
        begun_s = time.monotonic()
        ended = night.run(steps=(Step.DARKS,))
        assert time.monotonic() - begun_s < 40.0  # a driver that is not hurried waits a minute
        assert all_complete(ended)
    assert ended.exit_code == 0
    (lost,) = ended.said("device.lost")
    assert "image" in lost["detail"]
    ended.assert_told("device_lost")


def test_4_stalled_download_leaves_other_devices_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch, replace(QUICK, image_first_s=5.0, image_s=6.0))
    stall = fault(FaultKind.STALL, device="camera", member="imagearray", after_exposures=4, count=1)
    over, answered = threading.Event(), threading.Event()
    with served_night(tmp_path, stall) as night:

        def watch() -> None:
            at = Endpoint("127.0.0.1", night.server.port)
            wheel = AlpacaFilterWheel(at, night.observatory.clock)
            panel = AlpacaCoverCalibrator(at, night.observatory.clock)
            wheel.connect()
            panel.connect()
            while not over.wait(0.02):
                stalled = night.observatory.world.faults.happened(FaultKind.STALL)
                wheel.position()
                panel.state()
                if stalled and not over.is_set():
                    answered.set()
            wheel.close()
            panel.close()

        def hear(event: Event) -> None:
            if isinstance(event.what, FrameStored) and not watcher.is_alive():
                watcher.start()
            elif isinstance(event.what, DeviceGone):
                over.set()

        watcher = threading.Thread(target=watch)
        ended = night.run(steps=(Step.DARKS,), hear=hear)
        watcher.join()
    assert all_complete(ended)
    assert answered.is_set(), "both devices answer between the beginning of the stall and its end"


# --- 5: other formats ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "camera"),
    [
        ((), {"image_bytes": False}),
        ((fault(FaultKind.IMAGE_JSON, after_exposures=3, count=20),), {}),
        ((), {"transmission": "shrink"}),
        ((), {"transmission": "int32"}),
    ],
    ids=["JSON", "JSON now and then", "dtype by content", "int32"],
)
def test_5_images_of_any_format_give_the_same_files(tmp_path: Path, faults: tuple[Any, ...], camera: Any) -> None:
    with served_night(tmp_path, *faults, camera=camera) as night:
        ended = night.run(steps=FRAMES_ONLY, flat_capture={"filters": ["L"]})
        assert all_complete(ended)
        assert ended.exit_code == 0
        assert len(night.headers("flat_*")) == FRAMES
        records = set(night.exposures)
    assert {(h["BITPIX"], h["BZERO"], h["NAXIS1"], h["NAXIS2"]) for h in night.headers()} == {(16, 32768, 160, 120)}
    assert {h["EXPTIME"] for h in night.headers()} <= records
    for path in (tmp_path / "darks").rglob("*.fits"):
        assert fits.getdata(path).std() > 1


@pytest.mark.parametrize("kind", [FaultKind.IMAGE_COLOUR, FaultKind.IMAGE_LYING_HEADER, FaultKind.IMAGE_SHORT])
def test_5_colour_images_and_wrong_sizes_are_refused_and_lose_their_group_only(tmp_path: Path, kind: FaultKind) -> None:
    with served_night(tmp_path, fault(kind, after_exposures=IN_L, count=3)) as night:
        ended = night.run()
        assert_only_l_failed(night, ended, "bad_image")
    (group,) = ended.said("group.finished", code="bad_image")
    assert "3 exposures failed" in group["detail"]


# --- 6: too fast, or the frame before again --------------------------------------------------------------------------


def test_6_frame_that_comes_faster_than_its_exposure_is_refused(tmp_path: Path) -> None:
    early = fault(FaultKind.TOO_FAST, after_exposures=2, count=1)
    with served_night(tmp_path, early, rate=40.0) as night:  # the driver looks once a real second
        ended = night.run(
            steps=(Step.DARKS,),
            options={"dark_times": DarkTimes.SCIENCE},
            dark_capture={"science_exposure_time": 50.0, "num_darks": 2},
        )
        assert all_complete(ended)
    (refused,) = ended.said("frame.refused")
    assert "too_fast" in refused["codes"]
    assert ended.report["groups"][-1]["refusals"]["too_fast"] == 1
    ended.assert_told("too_fast")


def test_6_old_frames_in_a_row_are_refused_and_the_camera_reconnected(tmp_path: Path) -> None:
    with served_night(tmp_path, fault(FaultKind.DUPLICATE_FRAME, after_exposures=3, count=4)) as night:
        ended = night.run(steps=(Step.DARKS,), dark_capture={"num_darks": 10})
        assert all_complete(ended)
        assert 2 <= night.refused() <= 4, "one or two are on their way when two are known"
    assert ended.exit_code == 0
    assert {tuple(e["codes"]) for e in ended.said("frame.refused")} == {("duplicate_frame",)}
    (lost,) = ended.said("device.lost")
    assert "old frames in a row" in lost["detail"]
    assert len(ended.said("device.restored")) == 1
    ended.assert_told("duplicate_frame")
    pixels = [fits.getdata(p).tobytes() for p in sorted((tmp_path / "darks").rglob("*.fits"))]
    assert len(set(pixels)) == len(pixels)


# --- 7: constant and partial frames ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (FaultKind.BLACK_FRAME, "constant"),
        (FaultKind.CONSTANT_FRAME, "constant"),
        (FaultKind.HALF_SATURATED, "partial"),
    ],
)
def test_7_damaged_frames_are_refused_for_their_damage_and_the_camera_reconnected(
    tmp_path: Path, kind: FaultKind, code: str
) -> None:
    with served_night(tmp_path, fault(kind, after_exposures=4, count=5)) as night:
        ended = night.run(steps=(Step.DARKS, Step.MASTERS), dark_capture={"num_darks": 10})
        assert all_complete(ended)
        assert {h["NCOMBINE"] for h in night.masters().values()} == {10}
    assert ended.exit_code == 0
    assert {tuple(e["codes"]) for e in ended.said("frame.refused")} == {(code,)}
    assert 3 <= night.refused() <= 5, "one or two are on their way when three are known"
    (lost,) = ended.said("device.lost")
    assert "switch the camera off and on" in lost["detail"]
    ended.assert_told(code)
    (bias,) = (tmp_path / "master_frames").glob("master_bias_*.fits")
    assert np.abs(np.median(fits.getdata(bias), axis=1) - 541).max() < 10, "no half or black frame in it"


def test_7_camera_that_sends_only_black_fails_its_groups_and_keeps_what_was_good(tmp_path: Path) -> None:
    with served_night(tmp_path, fault(FaultKind.BLACK_FRAME, after_exposures=BIASES)) as night:
        ended = night.run()
    groups = ended.groups()
    assert groups.pop("bias") == "complete"
    assert set(groups.values()) <= {"too_many_refused", "too_dim", "no_frames"}, groups
    assert "not_dark" not in groups.values(), "black is not bright"
    assert ended.exit_code == 1
    assert [name.split()[1] for name in night.masters()] == ["BIAS", "DARK"]
    ended.assert_told("constant")


@pytest.mark.parametrize(("value", "losses"), [(1000.0, 0), (0.0, 1)])
def test_7_camera_without_noise_is_called_so_and_costs_a_frame_a_group(
    tmp_path: Path, value: float, losses: int
) -> None:
    """A simulator has no ill link; zeros may come from one, which is tried once."""
    with served_night(tmp_path, fault(FaultKind.CONSTANT_FRAME, value=value)) as night:
        ended = night.run(steps=(Step.DARKS,), dark_capture={"num_darks": 10})
        assert len(ended.said("device.lost")) == losses
    assert set(ended.groups().values()) == {"constant"}
    assert sum("all pixels have one value" in e["detail"] for e in ended.said("group.finished")) == 1
    assert len(ended.said("frame.refused")) <= 3 + losses + len(ended.groups())
    assert ended.exit_code == 1
    ended.assert_told("constant")


# --- 8: the first frame differs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [(Step.DARKS,), (Step.FLATS,)])
def test_8_first_frame_after_power_up_and_after_a_loss_is_thrown_away(tmp_path: Path, steps: tuple[Step, ...]) -> None:
    lost = fault(FaultKind.DISCONNECTED, device="camera", member="imagearray", after_exposures=BIASES + 3, count=1)
    with served_night(tmp_path, lost, camera={"detector": {"first_frame_adu": 60.0}}) as night:
        ended = night.run(steps=steps)
        assert all_complete(ended)
        first = [r for r in night.observatory.records() if r.conditions.extra_adu > 0]
    assert len(first) == 2
    assert ended.said("frame.refused") == []
    levels: dict[str, list[float]] = {}
    for header in night.headers():
        levels.setdefault(header["SETID"], []).append(header["DATAMED"])
    spread = 10 if steps == (Step.DARKS,) else 400
    assert all(np.ptp(values) < spread for values in levels.values()), levels


def test_8_first_frame_after_a_change_of_mode_is_thrown_away(tmp_path: Path) -> None:
    with served_night(tmp_path, camera={"detector": {"first_frame_adu": 15.0}}) as night:
        for mode in ("Photographic", "Extended fullwell"):
            ended = night.run(steps=(Step.DARKS,), camera={"alpaca": {"readout_mode": mode}})
            assert all_complete(ended)
        # each run connects anew; the second one's change of mode comes before its first frame
        assert sum(r.conditions.extra_adu > 0 for r in night.observatory.records()) == 2
    for mode in ("Photographic", "Extended fullwell"):
        levels = [h["DATAMED"] for h in night.headers("bias_*") if h["READOUTM"] == mode]
        assert len(levels) == FRAMES
        assert np.ptp(levels) < 5
