"""One suite of behaviours for every camera: our simulator in its variants, and a third party's server."""

import threading
import time

import numpy as np
import pytest

from drivers.alpaca.camera import AlpacaCamera
from drivers.alpaca.line import Endpoint
from drivers.base import CameraSettings, CameraStates, ExposureRequest, SettingMode
from drivers.errors import Cancelled, DeviceLost, DeviceMissing, DriverError, Refused, SettingRefused
from tests.contract.conftest import Bench


def dark(seconds: float = 0.05) -> ExposureRequest:
    return ExposureRequest(duration_s=seconds, light=False)


def full_frame(camera: AlpacaCamera) -> tuple[int, int]:
    return camera.info.camera_y_size, camera.info.camera_x_size


def another_setting(mode: SettingMode, now: int | None) -> int:
    assert mode in (SettingMode.VALUE, SettingMode.INDEX)
    return 2 if now != 2 else 1


def test_info_is_complete_and_plausible(camera: AlpacaCamera) -> None:
    info = camera.info
    assert info.name
    assert info.sensor_name
    assert info.interface_version in (3, 4)
    assert min(info.camera_x_size, info.camera_y_size) >= 16
    assert 0 <= info.exposure_min_s < info.exposure_max_s
    assert info.has_temperature
    assert info.gain_mode in (SettingMode.VALUE, SettingMode.INDEX)
    assert (info.gain_mode is SettingMode.INDEX) == bool(info.gains)
    assert len(info.readout_modes) >= 2


def test_a_dark_is_a_full_frame_of_uint16_with_y_first(camera: AlpacaCamera) -> None:
    camera.apply(CameraSettings(bin_x=1, bin_y=1))
    exposure = camera.expose(dark())
    assert exposure.pixels.shape == full_frame(camera)
    assert exposure.pixels.dtype == np.uint16
    assert exposure.pixels.flags.c_contiguous
    assert 50 < exposure.pixels.mean() < 5000
    assert exposure.pixels.std() > 0.3
    assert exposure.started_at.utcoffset() is not None


@pytest.mark.parametrize("seconds", [0.01, 0.5, 2.0])
def test_times_are_those_asked_for(camera: AlpacaCamera, bench: Bench, seconds: float) -> None:
    before = bench.clock.now()
    exposure = camera.expose(dark(seconds))
    assert exposure.returned_after_s >= seconds
    assert exposure.reported_duration_s == pytest.approx(seconds, rel=0.02)
    assert before <= exposure.started_at
    assert (exposure.ended_at - exposure.started_at).total_seconds() == pytest.approx(seconds, abs=1e-5)
    assert exposure.ended_at <= bench.clock.now()
    assert exposure.temperature_begin_c == pytest.approx(exposure.temperature_end_c, abs=3)
    assert exposure.reported_start is not None


def test_binned_frames_have_their_size(camera: AlpacaCamera) -> None:
    height, width = full_frame(camera)
    found = camera.apply(CameraSettings(bin_x=2, bin_y=2))
    assert (found.bin_x, found.bin_y, found.num_x, found.num_y) == (2, 2, width // 2, height // 2)
    assert camera.expose(dark()).pixels.shape == (height // 2, width // 2)
    camera.apply(CameraSettings(bin_x=1, bin_y=1))


def test_subframes_have_their_size_and_end_with_the_next_apply(camera: AlpacaCamera) -> None:
    camera.apply(CameraSettings(bin_x=1, bin_y=1, start_x=4, start_y=8, num_x=20, num_y=12))
    assert camera.expose(dark()).pixels.shape == (12, 20)
    found = camera.apply(CameraSettings(bin_x=1, bin_y=1))
    assert (found.start_x, found.start_y) == (0, 0)
    assert camera.expose(dark()).pixels.shape == full_frame(camera)


def test_settings_read_as_applied(camera: AlpacaCamera) -> None:
    wanted = CameraSettings(readout_mode=1, bin_x=1, bin_y=1)
    found = camera.apply(wanted)
    assert found == camera.settings()
    assert found.readout_mode == 1
    assert camera.apply(CameraSettings(readout_mode=0)).readout_mode == 0


def test_gain_and_offset_are_kept_or_refused(camera: AlpacaCamera, bench: Bench) -> None:
    info, found = camera.info, camera.settings()
    offset = another_setting(info.offset_mode, found.offset)
    assert camera.apply(CameraSettings(offset=offset)).offset == offset
    gain = another_setting(info.gain_mode, found.gain)
    if bench.keeps_gain:
        assert camera.apply(CameraSettings(gain=gain)).gain == gain
    else:
        with pytest.raises(SettingRefused, match="twice and reads back"):
            camera.apply(CameraSettings(gain=gain))


@pytest.mark.parametrize(
    "wanted", [CameraSettings(gain=99_999), CameraSettings(offset=99_999), CameraSettings(readout_mode=77)]
)
def test_values_out_of_range_are_refused_with_what_is_allowed(camera: AlpacaCamera, wanted: CameraSettings) -> None:
    with pytest.raises(SettingRefused, match=r"99999 is refused.*it takes|77 is refused.*it has the modes"):
        camera.apply(wanted)
    assert camera.expose(dark()).pixels.shape == full_frame(camera)


def test_an_exposure_that_is_too_long_is_refused(camera: AlpacaCamera) -> None:
    with pytest.raises(Refused):
        camera.expose(dark(1e6))
    assert camera.expose(dark()).pixels.any()


def test_two_darks_differ(camera: AlpacaCamera, bench: Bench) -> None:
    if not bench.repeats_no_noise:
        pytest.skip(f"{bench.name} serves an image of equal settings again")
    first, second = camera.expose(dark()).pixels, camera.expose(dark()).pixels
    assert not np.array_equal(first, second)


def test_the_cooler_follows_its_set_point(camera: AlpacaCamera, bench: Bench) -> None:
    assert camera.info.can_set_temperature
    before = camera.state()
    assert before.ccd_temperature_c is not None
    goal = before.ccd_temperature_c - 5
    camera.set_temperature(goal)
    camera.set_cooler(True)
    for _ in range(200):
        state = camera.state()
        if state.ccd_temperature_c is not None and abs(state.ccd_temperature_c - goal) < 1:
            break
        bench.clock.sleep(1.0)
    assert state.ccd_temperature_c == pytest.approx(goal, abs=1)
    assert state.set_temperature_c == pytest.approx(goal, abs=0.1)
    assert state.cooler_on is True
    assert state.cooler_power_pct is not None
    camera.set_cooler(False)
    assert camera.state().cooler_on is False


def test_a_set_point_beyond_physics_is_refused(camera: AlpacaCamera) -> None:
    with pytest.raises(Refused):
        camera.set_temperature(-300.0)


def test_an_exposure_can_be_cancelled_and_the_next_one_taken(camera: AlpacaCamera) -> None:
    wake = threading.Event()
    threading.Timer(0.3, wake.set).start()
    before = time.monotonic()
    with pytest.raises(Cancelled):
        camera.expose(dark(600), wake)
    assert time.monotonic() - before < 20  # the exposure lasts 30 s and more
    assert camera.state().activity is CameraStates.IDLE
    assert camera.expose(dark()).pixels.shape == full_frame(camera)


def test_an_abort_of_nothing_is_no_error(camera: AlpacaCamera) -> None:
    camera.abort()
    camera.abort()
    assert camera.expose(dark()).pixels.any()


def test_close_from_another_thread_frees_the_camera_and_connect_brings_it_back(camera: AlpacaCamera) -> None:
    threading.Timer(0.3, camera.close).start()
    before = time.monotonic()
    with pytest.raises(DeviceLost):
        camera.expose(dark(600))
    assert time.monotonic() - before < 20  # the exposure lasts 30 s and more
    camera.connect()
    camera.abort()
    assert camera.expose(dark()).pixels.shape == full_frame(camera)


def test_a_camera_can_be_left_and_connected_again(camera: AlpacaCamera) -> None:
    camera.disconnect()
    with pytest.raises(DriverError):
        camera.state()
    camera.connect()
    assert camera.state().activity is CameraStates.IDLE


def test_a_device_number_that_is_not_there_is_missing(bench: Bench) -> None:
    nobody = AlpacaCamera(Endpoint(bench.endpoint.host, bench.endpoint.port, 7), bench.clock)
    with pytest.raises(DeviceMissing):
        nobody.connect()
    nobody.close()
