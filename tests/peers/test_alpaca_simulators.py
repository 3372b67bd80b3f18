"""What only shows on a third party's server: light frames that fail, a gain that is not kept, no management API."""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from drivers.alpaca.camera import AlpacaCamera
from drivers.alpaca.cover_calibrator import AlpacaCoverCalibrator
from drivers.alpaca.discovery import ServerAddress, configured_devices, find_by_name
from drivers.alpaca.filter_wheel import AlpacaFilterWheel
from drivers.alpaca.line import Endpoint
from drivers.alpaca.safety_monitor import AlpacaSafetyMonitor
from drivers.base import CalibratorStatus, CameraSettings, CameraStates, CoverStatus, ExposureRequest, PanelState
from drivers.clock import SystemClock
from drivers.errors import ExposureFailed, SettingRefused
from tests.support.alpaca_peer import running_peer

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]  # its first run installs the package

DARK = ExposureRequest(duration_s=0.05, light=False)
LIGHT = ExposureRequest(duration_s=0.05, light=True)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running_peer() as port:
        yield port


@pytest.fixture
def camera(port: int) -> Iterator[AlpacaCamera]:
    camera = AlpacaCamera(Endpoint("127.0.0.1", port), SystemClock())
    camera.connect()
    yield camera
    camera.close()


def test_a_light_frame_that_fails_is_reported_not_waited_for(camera: AlpacaCamera) -> None:
    before = time.monotonic()
    with pytest.raises(ExposureFailed, match="CameraState is Error"):
        camera.expose(LIGHT)
    assert time.monotonic() - before < 20  # its patience with the star catalogue, not the 60 s of a stall
    with pytest.raises(ExposureFailed, match="not idle"):  # and it stays in error until it is told to stop
        camera.expose(DARK)
    camera.abort()
    assert camera.state().activity is CameraStates.IDLE
    assert camera.expose(DARK).pixels.shape == (1024, 1024)


def test_a_gain_that_becomes_another_one_is_refused(camera: AlpacaCamera) -> None:
    with pytest.raises(SettingRefused, match="Gain was set to 4 twice and reads back 5"):
        camera.apply(CameraSettings(gain=4))


def test_warmer_darks_are_brighter(camera: AlpacaCamera) -> None:
    camera.apply(CameraSettings(bin_x=4, bin_y=4))
    levels = []
    for celsius in (-30.0, 10.0):
        camera.set_temperature(celsius)
        camera.set_cooler(True)
        exposure = camera.expose(ExposureRequest(duration_s=1.0, light=False))
        assert exposure.temperature_end_c == pytest.approx(celsius)
        levels.append(float(np.mean(exposure.pixels)))
    assert levels[1] > levels[0]


def test_devices_are_found_without_a_management_api(port: int) -> None:
    devices = configured_devices("127.0.0.1", port)
    assert {device.type for device in devices} == {
        "camera",
        "filterwheel",
        "covercalibrator",
        "safetymonitor",
        "dome",
        "telescope",
    }
    assert find_by_name("simulator camera", servers=(ServerAddress("127.0.0.1", port),)) == Endpoint("127.0.0.1", port)


def test_its_wheel_panel_and_safety_monitor_are_understood(port: int) -> None:
    endpoint, clock = Endpoint("127.0.0.1", port), SystemClock()
    wheel = AlpacaFilterWheel(endpoint, clock, settle_s=0.05)
    wheel.connect()
    assert wheel.select(wheel.names[2]) == wheel.names[2]
    wheel.disconnect()
    panel = AlpacaCoverCalibrator(endpoint, clock)
    panel.connect()
    assert (panel.info.has_cover, panel.info.has_calibrator) == (True, False)
    panel.open_cover()
    assert panel.state().cover is CoverStatus.OPEN
    panel.calibrator_off()
    panel.close_cover()
    assert panel.state() == PanelState(
        cover=CoverStatus.CLOSED, calibrator=CalibratorStatus.NOT_PRESENT, brightness=None
    )
    panel.disconnect()
    safety = AlpacaSafetyMonitor(endpoint, clock)
    safety.connect()
    assert safety.is_safe() in (True, False)
    safety.disconnect()
