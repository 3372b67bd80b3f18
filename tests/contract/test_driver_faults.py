"""The drivers against the simulated observatory's scripted faults: each becomes its error, in time, and passes."""

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from drivers.alpaca.camera import AlpacaCamera
from drivers.alpaca.cover_calibrator import AlpacaCoverCalibrator
from drivers.alpaca.filter_wheel import AlpacaFilterWheel
from drivers.alpaca.line import Endpoint, Timeouts
from drivers.alpaca.safety_monitor import AlpacaSafetyMonitor
from drivers.base import CalibratorStatus, CameraSettings, CoverStatus, ExposureRequest
from drivers.clock import ScaledClock
from drivers.errors import (
    BadImage,
    DeviceLost,
    DriverError,
    ExposureFailed,
    ExposureStalled,
    FilterFailed,
    PanelFailed,
    SettingRefused,
)
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.faults import DeviceKind, FaultKind, FaultScript
from drivers.simulator.presets import preset
from drivers.simulator.server import AlpacaServer

QUICK = Timeouts(read_s=0.5, poll_s=0.5, put_s=0.5, image_first_s=1, image_stall_s=0.5, image_s=2, real_s=0.2)
DARK = ExposureRequest(duration_s=0.5, light=False)


class Site:
    """A simulated observatory on the wire with its clock, 200 times as fast as ours."""

    def __init__(self, stack: ExitStack, base: str, *faults: FaultScript) -> None:
        params = replace(preset(base, width=64, height=48), faults=faults)
        self.clock = ScaledClock(rate=200, start=datetime(2026, 3, 1, 20, tzinfo=UTC))
        observatory = stack.enter_context(SimulatedObservatory(params, self.clock))
        self.endpoint = Endpoint("127.0.0.1", stack.enter_context(AlpacaServer(observatory)).port)
        self._stack = stack

    def camera(self) -> AlpacaCamera:
        camera = AlpacaCamera(self.endpoint, self.clock, timeouts=QUICK)
        self._stack.callback(camera.close)
        camera.connect()
        return camera


@contextlib.contextmanager
def site(kind: FaultKind, base: str = "qhy600m", **how: object) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(stack, base, FaultScript(kind=kind, **how))  # type: ignore[arg-type]


@pytest.mark.parametrize("base", ["qhy600m", "old"])
@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (FaultKind.EXPOSURE_ERROR, ExposureFailed),
        (FaultKind.NEVER_READY, ExposureStalled),
        (FaultKind.IMAGE_TRUNCATED, DeviceLost),
        (FaultKind.IMAGE_SHORT, DriverError),
        (FaultKind.IMAGE_LYING_HEADER, BadImage),
        (FaultKind.IMAGE_BAD_TYPE, BadImage),
    ],
)
def test_a_frame_that_goes_wrong_is_its_error_and_the_next_one_is_good(
    base: str, kind: FaultKind, error: type[DriverError]
) -> None:
    with site(kind, base, count=1) as there:
        camera = there.camera()
        before = time.monotonic()
        with pytest.raises(error):
            camera.expose(DARK)
        assert time.monotonic() - before < 20  # without these time-outs it is a minute
        camera.abort()
        assert camera.expose(DARK).pixels.shape == (48, 64)


@pytest.mark.parametrize(
    ("kind", "error"),
    [(FaultKind.STALL, ExposureStalled), (FaultKind.DROP, DeviceLost), (FaultKind.HTTP_500, DeviceLost)],
)
def test_a_download_that_goes_wrong(kind: FaultKind, error: type[DriverError]) -> None:
    with site(kind, device=DeviceKind.CAMERA, member="imagearray", count=1, value=2.0) as there:
        camera = there.camera()
        with pytest.raises(error):
            camera.expose(DARK)
        assert camera.expose(DARK).pixels.shape == (48, 64)


@pytest.mark.parametrize("kind", [FaultKind.DROP, FaultKind.HTTP_500])
def test_reads_that_fail_twice_are_survived(kind: FaultKind) -> None:
    with site(kind, device=DeviceKind.CAMERA, member="devicestate", count=2) as there:
        assert there.camera().expose(DARK).pixels.any()


@pytest.mark.parametrize("kind", [FaultKind.DROP, FaultKind.HTTP_500])
def test_a_server_that_stays_broken_is_lost(kind: FaultKind) -> None:
    with site(kind, device=DeviceKind.CAMERA, at_s=60) as there:
        camera = there.camera()
        there.clock.sleep(60)
        with pytest.raises(DeviceLost):
            camera.expose(DARK)


def test_a_stale_frame_is_returned_with_its_time() -> None:
    with site(FaultKind.TOO_FAST) as there:
        exposure = there.camera().expose(ExposureRequest(duration_s=600, light=False))
        assert exposure.returned_after_s < 600


def test_a_gain_that_does_not_take_is_refused() -> None:
    with site(FaultKind.WRONG_GAIN) as there:
        camera = there.camera()
        with pytest.raises(SettingRefused, match="Gain was set to 40 twice and reads back 0"):
            camera.apply(CameraSettings(gain=40))


def test_a_slow_wheel_is_waited_for_and_one_beside_its_place_fails() -> None:
    with site(FaultKind.SLOW_WHEEL, value=25.0) as there:
        wheel = AlpacaFilterWheel(there.endpoint, there.clock)
        wheel.connect()
        assert wheel.select("Ha") == "Ha"
        wheel.close()
    with site(FaultKind.WRONG_POSITION) as there:
        wheel = AlpacaFilterWheel(there.endpoint, there.clock, timeout_s=20, timeouts=QUICK)
        wheel.connect()
        with pytest.raises(FilterFailed):
            wheel.select("Ha")
        wheel.close()


@pytest.mark.parametrize("base", ["qhy600m", "old"])
def test_wheel_and_panel_do_as_told(base: str) -> None:
    with site(FaultKind.UNSAFE, base, at_s=1e9) as there:
        wheel = AlpacaFilterWheel(there.endpoint, there.clock)
        panel = AlpacaCoverCalibrator(there.endpoint, there.clock)
        wheel.connect()
        panel.connect()
        for name in reversed(wheel.names):
            assert wheel.select(name) == name == wheel.current()
        panel.open_cover()
        assert panel.state().cover is CoverStatus.OPEN
        panel.close_cover()
        panel.calibrator_on(17)
        state = panel.state()
        assert (state.cover, state.calibrator, state.brightness) == (CoverStatus.CLOSED, CalibratorStatus.READY, 17)
        panel.calibrator_off()
        assert panel.state().calibrator is CalibratorStatus.OFF
        wheel.disconnect()
        panel.disconnect()


@pytest.mark.parametrize("base", ["qhy600m", "old"])
@pytest.mark.parametrize("kind", [FaultKind.PANEL_NEVER_READY, FaultKind.PANEL_ERROR])
def test_a_panel_that_does_not_light_fails(base: str, kind: FaultKind) -> None:
    with site(kind, base) as there:
        panel = AlpacaCoverCalibrator(there.endpoint, there.clock, timeout_s=20, timeouts=QUICK)
        panel.connect()
        with pytest.raises(PanelFailed, match="is still not ready"):
            panel.calibrator_on(100)
        panel.close()


@pytest.mark.parametrize("base", ["qhy600m", "old"])
def test_a_cover_that_sticks_fails(base: str) -> None:
    with site(FaultKind.COVER_STUCK, base) as there:
        panel = AlpacaCoverCalibrator(there.endpoint, there.clock, timeout_s=20, timeouts=QUICK)
        panel.connect()
        goal = panel.open_cover if panel.state().cover is CoverStatus.CLOSED else panel.close_cover
        with pytest.raises(PanelFailed, match="cover error"):
            goal()
        panel.close()


def test_safety_is_told_and_a_monitor_that_hangs_is_lost_while_the_camera_goes_on() -> None:
    with site(FaultKind.SAFETY_HANG, at_s=100, value=3600.0) as there:
        safety = AlpacaSafetyMonitor(there.endpoint, there.clock, timeouts=replace(QUICK, poll_s=100, read_s=100))
        safety.connect()
        assert safety.is_safe() is True
        camera = there.camera()
        there.clock.sleep(100)
        seen: list[Exception] = []

        def ask() -> None:
            with contextlib.suppress(DriverError):
                seen.append(AssertionError(safety.is_safe()))

        asking = threading.Thread(target=ask)
        asking.start()
        camera.expose(DARK)
        assert asking.is_alive(), "the monitor's answer is still waited for"
        safety.close()
        asking.join(60)
        assert not asking.is_alive()
        assert not seen
        quick = AlpacaSafetyMonitor(there.endpoint, there.clock, timeouts=QUICK)
        with pytest.raises(DeviceLost):
            quick.is_safe()
        quick.close()
    with site(FaultKind.UNSAFE) as there:
        safety = AlpacaSafetyMonitor(there.endpoint, there.clock)
        safety.connect()
        assert safety.is_safe() is False
        safety.close()
