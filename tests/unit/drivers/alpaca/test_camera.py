"""The Alpaca camera against a scripted server: settings, exposures, and every way in which they fail."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest

from drivers.alpaca.camera import AlpacaCamera
from drivers.alpaca.line import Endpoint
from drivers.alpaca.pacing import Pace
from drivers.base import CameraSettings, CameraStates, ExposureRequest, SensorType, SettingMode
from drivers.clock import ManualClock, ScaledClock, SystemClock
from drivers.errors import (
    BadImage,
    CameraBusy,
    Cancelled,
    DeviceLost,
    DriverError,
    ExposureFailed,
    ExposureStalled,
    Refused,
    SettingRefused,
    WrongDevice,
)
from tests.support.scripted_alpaca import QUICK, AlpacaFault, Raw, ScriptedAlpaca, ScriptedCamera, Trick, image_bytes

DARK = ExposureRequest(duration_s=0.02, light=False)
BYTES = "application/imagebytes"


@pytest.fixture
def server() -> Iterator[ScriptedAlpaca]:
    with ScriptedAlpaca() as running:
        yield running


@pytest.fixture(params=[3, 4])
def device(server: ScriptedAlpaca, request: pytest.FixtureRequest) -> ScriptedCamera:
    return ScriptedCamera(server, interface=request.param)


@pytest.fixture
def camera(device: ScriptedCamera) -> Iterator[AlpacaCamera]:
    camera = AlpacaCamera(device.server.endpoint(), SystemClock(), timeouts=QUICK)
    camera.connect()
    yield camera
    camera.close()


def connected(server: ScriptedAlpaca, *, gain_mode: SettingMode | None = None) -> AlpacaCamera:
    camera = AlpacaCamera(server.endpoint(), SystemClock(), timeouts=QUICK, gain_mode=gain_mode)
    camera.connect()
    return camera


# --- info ------------------------------------------------------------------------------------------------------------


def test_info_holds_what_the_camera_says(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    info = camera.info
    assert (info.name, info.sensor_name, info.sensor_type) == ("Scripted camera", "IMX0", SensorType.MONOCHROME)
    assert (info.camera_x_size, info.camera_y_size, info.interface_version) == (12, 8, device.interface)
    assert (info.gain_mode, info.gain_min, info.gain_max, info.gains) == (SettingMode.VALUE, 0, 100, ())
    assert info.readout_modes == ("Fast", "Low noise")
    assert info.electrons_per_adu is None
    assert info.has_temperature
    assert not info.has_shutter


def test_info_before_connecting_is_refused() -> None:
    with pytest.raises(Refused, match="not connected yet"):
        _ = AlpacaCamera(Endpoint("127.0.0.1", 9), ManualClock()).info


@pytest.mark.parametrize(
    ("members", "told", "mode"),
    [
        ({"gains": ["0", "26"]}, None, SettingMode.BOTH),
        ({"gains": ["0", "26"]}, SettingMode.INDEX, SettingMode.INDEX),
        ({"gains": ["0", "26"]}, SettingMode.VALUE, SettingMode.VALUE),
        ({"gains": ["0", "26"], "gainmin": AlpacaFault(1), "gainmax": AlpacaFault(1)}, None, SettingMode.INDEX),
        (
            {"gains": ["0"], "gainmin": AlpacaFault(0x400), "gainmax": AlpacaFault(0x400)},
            SettingMode.VALUE,
            SettingMode.INDEX,
        ),
        ({"gains": []}, SettingMode.INDEX, SettingMode.VALUE),
        ({"gainmin": AlpacaFault(0x400), "gainmax": AlpacaFault(0x400)}, None, SettingMode.NONE),
    ],
)
def test_the_gain_mode_follows_what_is_readable(
    server: ScriptedAlpaca, members: dict[str, object], told: SettingMode | None, mode: SettingMode
) -> None:
    ScriptedCamera(server, **members)
    camera = connected(server, gain_mode=told)
    assert camera.info.gain_mode is mode
    camera.close()


@pytest.mark.parametrize(
    ("reported", "told", "believed"),
    [
        (2, None, SensorType.RGGB),
        (2, SensorType.MONOCHROME, SensorType.MONOCHROME),
        (0, SensorType.RGGB, SensorType.RGGB),
        (AlpacaFault(0x400), SensorType.RGGB, SensorType.RGGB),
        (3, SensorType.RGGB, SensorType.CMYG),
        (0, None, SensorType.MONOCHROME),
    ],
)
def test_a_driver_that_tells_a_wrong_sensor_is_corrected_by_its_owner(
    server: ScriptedAlpaca, reported: object, told: SensorType | None, believed: SensorType
) -> None:
    ScriptedCamera(server, sensortype=reported)
    camera = AlpacaCamera(server.endpoint(), SystemClock(), timeouts=QUICK, sensor_type=told)
    camera.connect()
    assert camera.info.sensor_type is believed
    camera.close()


def test_a_camera_with_nothing_optional_connects(server: ScriptedAlpaca) -> None:
    device = ScriptedCamera(server)
    required = """name connected interfaceversion cameraxsize cameraysize maxbinx maxbiny binx biny numx numy startx
                  starty camerastate imageready imagearray startexposure"""
    for member in set(device.device.members) - set(required.split()):
        device.device[member] = AlpacaFault(0x400)
    camera = connected(server)
    exposure = camera.expose(DARK)
    assert exposure.pixels.shape == (8, 12)
    assert (exposure.reported_duration_s, exposure.reported_start, exposure.temperature_begin_c) == (None, None, None)
    assert camera.settings() == CameraSettings(bin_x=1, bin_y=1, start_x=0, start_y=0, num_x=12, num_y=8)
    state = camera.state()
    assert state.activity is CameraStates.IDLE
    assert (state.ccd_temperature_c, state.cooler_on, state.cooler_power_pct) == (None, None, None)
    camera.close()


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [("name", "Guider", "name"), ("sensorname", "IMX1", "sensor name"), ("cameraxsize", 14, "size")],
)
def test_another_camera_at_the_old_address_is_wrong(
    camera: AlpacaCamera, device: ScriptedCamera, member: str, value: object, words: str
) -> None:
    camera.close()
    camera.connect()
    device.device[member] = value
    with pytest.raises(WrongDevice, match=f"its {words} is"):
        camera.connect()


def test_another_unique_id_is_another_camera(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    row = {"DeviceName": "x", "DeviceType": "Camera", "DeviceNumber": 0}
    device.server.management = [row | {"UniqueID": "one"}]
    camera.connect()
    device.server.management = [row | {"UniqueID": "two"}]
    with pytest.raises(WrongDevice, match="unique id is 'two', it was 'one'"):
        camera.connect()


# --- settings --------------------------------------------------------------------------------------------------------


def test_settings_are_set_in_the_one_order_that_works(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    device.server.calls.clear()
    wanted = CameraSettings(readout_mode=1, bin_x=2, bin_y=2, start_x=1, start_y=2, num_x=4, num_y=2, gain=30, offset=7)
    assert camera.apply(wanted) == wanted
    puts = [call.member for call in device.server.calls if call.method == "PUT"]
    assert puts == [
        "readoutmode",
        "binx",
        "biny",
        "startx",
        "starty",
        "numx",
        "numy",
        "startx",
        "starty",
        "gain",
        "offset",
    ]


def test_a_roi_that_is_not_named_becomes_the_full_frame_of_the_binning(camera: AlpacaCamera) -> None:
    camera.apply(CameraSettings(start_x=3, start_y=3, num_x=2, num_y=2))
    found = camera.apply(CameraSettings(bin_x=2, bin_y=2))
    assert (found.start_x, found.start_y, found.num_x, found.num_y) == (0, 0, 6, 4)
    assert camera.expose(DARK).pixels.shape == (4, 6)


def test_settings_that_are_not_named_are_left_as_found(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    found = camera.apply(CameraSettings())
    assert (found.gain, found.offset, found.readout_mode) == (10, 5, 0)
    puts = {call.member for call in device.server.calls if call.method == "PUT"}
    assert not puts & {"gain", "offset", "readoutmode", "binx"}


def test_a_gain_that_a_readout_mode_resets_is_set_after_it(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    device.device["Gain"] = 0

    def mode(form: dict[str, str] | None) -> int:
        if form is not None:
            device.device["Gain"] = 0
        return 1

    device.device["ReadoutMode"] = mode
    assert camera.apply(CameraSettings(readout_mode=1, gain=30)).gain == 30


def test_a_setting_that_takes_at_the_second_try_is_taken(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    kept = [10]
    tries = iter([10, 30])
    device.device["Gain"] = lambda form: kept[0] if form is None else kept.__setitem__(0, next(tries))
    assert camera.apply(CameraSettings(gain=30)).gain == 30


def test_a_setting_that_reads_back_another_value_is_refused(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    device.device["Gain"] = lambda form: 11 if form is None else None
    with pytest.raises(SettingRefused, match="Gain was set to 30 twice and reads back 11"):
        camera.apply(CameraSettings(gain=30))
    assert len(device.server.sent("PUT", "gain")) == 2


@pytest.mark.parametrize(
    ("wanted", "member", "words"),
    [
        (CameraSettings(gain=900), "gain", "Gain 900 is refused.*it takes 0 to 100"),
        (CameraSettings(bin_x=9, bin_y=9), "binx", "BinX 9 is refused.*bins up to 2 x 2"),
        (CameraSettings(readout_mode=9), "readoutmode", "ReadoutMode 9 is refused.*Fast, Low noise"),
        (CameraSettings(num_x=900), "numx", "NumX 900 is refused"),
    ],
)
def test_a_value_the_camera_refuses_says_what_it_takes(
    camera: AlpacaCamera, device: ScriptedCamera, wanted: CameraSettings, member: str, words: str
) -> None:
    device.device[member] = lambda form: 1 if form is None else AlpacaFault(0x401, "out of range")
    with pytest.raises(SettingRefused, match=words) as caught:
        camera.apply(wanted)
    assert caught.value.number == 0x401


def test_a_gain_in_index_mode_names_the_list(server: ScriptedAlpaca) -> None:
    fault = AlpacaFault(0x400)
    device = ScriptedCamera(server, gains=["low", "high"], gainmin=fault, gainmax=fault)
    device.device["Gain"] = lambda form: 0 if form is None else AlpacaFault(0x401)
    camera = connected(server)
    with pytest.raises(SettingRefused, match="0 to 1: low, high"):
        camera.apply(CameraSettings(gain=7))
    camera.close()


def test_readout_modes_are_known_by_name(camera: AlpacaCamera) -> None:
    assert camera.readout_mode("low NOISE") == 1
    assert camera.readout_mode(0) == 0
    with pytest.raises(SettingRefused, match="0 'Fast', 1 'Low noise'"):
        camera.readout_mode("Extended")
    with pytest.raises(SettingRefused):
        camera.readout_mode(2)


# --- exposures -------------------------------------------------------------------------------------------------------


def test_an_exposure_is_fetched_with_y_first(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    exposure = camera.expose(DARK)
    np.testing.assert_array_equal(exposure.pixels, device.pixels)
    assert exposure.pixels.dtype == np.uint16
    assert exposure.wire_type == "uint16"
    assert exposure.returned_after_s >= 0.02
    assert exposure.reported_duration_s == 0.02
    assert exposure.reported_start == datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
    assert exposure.temperature_begin_c == exposure.temperature_end_c == 12.5
    assert (exposure.ended_at - exposure.started_at).total_seconds() == pytest.approx(0.02)
    start = device.server.sent("PUT", "startexposure")
    assert len(start) == 1
    assert start[0].fields["Light"] == "False"


def test_version_4_is_polled_with_one_call(server: ScriptedAlpaca) -> None:
    ScriptedCamera(server, interface=4)
    camera = connected(server)
    server.calls.clear()
    camera.expose(DARK)
    members = {call.member for call in server.calls}
    assert "devicestate" in members
    assert not members & {"camerastate", "imageready"}
    camera.close()


class Exact(ManualClock):
    """A clock that runs `rate` times faster than the real seconds, which pass only when somebody sleeps."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self._rate = rate

    def real(self) -> float:
        return self.monotonic() / self._rate


@pytest.mark.parametrize("rate", [1.0, 500.0])
def test_an_image_is_seen_within_50_ms(server: ScriptedAlpaca, rate: float) -> None:
    device, clock = ScriptedCamera(server), Exact(rate)
    device.rate = 1e6
    seen_after_s: list[float] = []

    def ready(_: object) -> bool:
        late_s = clock.real() - ready_s
        device.never_ready = late_s < 0
        if late_s >= 0:
            seen_after_s.append(late_s)
        return device._now() == 0

    device.device["ImageReady"] = ready
    camera = AlpacaCamera(server.endpoint(), clock)
    camera.connect()
    clock.sleep(rate)  # by which it knows the rate
    for more_s in (0.5, 0.513, 0.537):
        device.never_ready = True
        ready_s = clock.real() + more_s
        camera.expose(ExposureRequest(duration_s=0.1 * rate, light=False))
    assert len(seen_after_s) == 3
    assert max(seen_after_s) < 0.05
    assert len(server.sent("GET", "imageready")) < 3 * 40
    camera.close()


@pytest.mark.parametrize("rate", [1.0, 60.0, 2000.0])
def test_polls_are_at_least_5_ms_of_real_time_apart(rate: float) -> None:
    clock = Exact(rate)
    pace = Pace(clock)
    clock.sleep(0.01 * rate)
    for _ in range(10):
        before = clock.real()
        pace.until(clock.monotonic())
        between = clock.real()
        pace.rest(0.0)
        assert (between - before, clock.real() - between) == pytest.approx((0.005, 0.005))


def test_polls_are_no_closer_when_the_rate_is_only_measured() -> None:
    clock = ScaledClock(rate=2000.0, start=datetime(2026, 1, 1, tzinfo=UTC))
    pace = Pace(clock)
    clock.sleep(20.0)
    before = time.monotonic()
    for _ in range(10):
        pace.until(clock.monotonic())
    assert time.monotonic() - before > 0.04  # a loaded machine makes it more, a timer's step a little less


def test_error_state_ends_the_wait_at_once(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    device.fails_with = 0
    device.device["ImageReady"] = False
    device.device["DeviceState"] = AlpacaFault(0x400)
    before = time.monotonic()
    with pytest.raises(ExposureFailed, match="CameraState is Error"):
        camera.expose(DARK)
    assert time.monotonic() - before < 20  # not until the exposure is overdue


def test_image_ready_that_raises_ends_the_wait_at_once(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    device.fails_with = 0x500
    with pytest.raises(ExposureFailed, match="the shutter jammed") as caught:
        camera.expose(DARK)
    assert caught.value.number == 0x500
    assert not device.server.sent("GET", "imagearray")


def test_an_image_that_never_comes_is_a_stall(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    device.never_ready = True
    with pytest.raises(ExposureStalled, match="it is exposing"):
        camera.expose(DARK)
    camera.abort()
    device.never_ready = False
    assert camera.expose(DARK).pixels.shape == (8, 12)


def test_a_start_whose_answer_is_lost_is_not_sent_again(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    device.server.tricks["startexposure"].append(Trick("drop_after"))
    exposure = camera.expose(ExposureRequest(duration_s=0.2, light=False))
    np.testing.assert_array_equal(exposure.pixels, device.pixels)
    assert len(device.server.sent("PUT", "startexposure")) == 1


def test_a_start_that_never_arrived_is_lost(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    device.server.tricks["startexposure"].append(Trick("drop"))
    with pytest.raises(DeviceLost):
        camera.expose(DARK)
    assert not device.server.sent("PUT", "startexposure")


def test_a_driver_that_answers_when_the_exposure_is_over_began_when_asked(
    camera: AlpacaCamera, device: ScriptedCamera
) -> None:
    start = device._start

    def blocking(form: dict[str, str] | None) -> object:
        received.append(datetime.now(UTC))
        time.sleep(0.3)
        return start({"Duration": "0"}) if form else None

    received: list[datetime] = []
    device.device["StartExposure"] = blocking
    asked = datetime.now(UTC)
    exposure = camera.expose(ExposureRequest(duration_s=0.3, light=False))
    assert asked <= exposure.started_at <= received[0]
    assert exposure.returned_after_s >= 0.3


def test_somebody_elses_exposure_is_busy(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    device.state, device._due = 2, time.monotonic() + 60
    with pytest.raises(CameraBusy, match="it is exposing, and not for us"):
        camera.expose(DARK)


def test_an_exposure_of_ours_that_cannot_be_ended_is_a_stall_not_somebody_elses(server: ScriptedAlpaca) -> None:
    device = ScriptedCamera(server, canabortexposure=False, canstopexposure=False)
    camera = connected(server)
    device.never_ready = True
    for words in ("no image", "for us"):
        with pytest.raises(ExposureStalled, match=words):
            camera.expose(DARK)
    camera.close()


def test_a_camera_stuck_in_error_fails_the_exposure(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    device.state = 5
    device.device["StartExposure"] = lambda form: AlpacaFault(0x40C, "not idle")
    with pytest.raises(ExposureFailed, match="not idle"):
        camera.expose(DARK)


def test_a_refused_exposure_time_is_refused(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    device.device["StartExposure"] = lambda form: AlpacaFault(0x401, "too long")
    with pytest.raises(Refused, match="too long"):
        camera.expose(DARK)


def test_a_set_wake_aborts_the_exposure(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    wake = threading.Event()
    threading.Timer(0.2, wake.set).start()
    before = time.monotonic()
    with pytest.raises(Cancelled, match="was aborted"):
        camera.expose(ExposureRequest(duration_s=60, light=False), wake)
    assert time.monotonic() - before < 30  # the exposure lasts a minute
    assert device.server.sent("PUT", "abortexposure")
    with pytest.raises(Cancelled):  # and none is begun while it is set
        camera.expose(DARK, wake)
    assert len(device.server.sent("PUT", "startexposure")) == 1


def test_close_from_another_thread_ends_a_running_exposure(camera: AlpacaCamera) -> None:
    threading.Timer(0.2, camera.close).start()
    before = time.monotonic()
    with pytest.raises(DeviceLost, match="closed by us"):
        camera.expose(ExposureRequest(duration_s=60, light=False))
    assert time.monotonic() - before < 30  # the exposure lasts a minute
    camera.connect()
    camera.abort()


@pytest.mark.parametrize("seconds", [3.0])
def test_close_from_another_thread_ends_a_download(
    camera: AlpacaCamera, device: ScriptedCamera, seconds: float
) -> None:
    device.server.tricks["imagearray"].append(Trick("stall", seconds))
    threading.Timer(0.2, camera.close).start()
    with pytest.raises(DeviceLost, match="closed by us"):
        camera.expose(DARK)


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (Trick("stall", 5), ExposureStalled, "download"),
        (Trick("trickle"), ExposureStalled, "download"),
        (Trick("drop"), DeviceLost, "imagearray got no answer"),
        (Raw(b"boom", status=500), DeviceLost, "boom"),
        (Raw(b"bad", status=400), ExposureFailed, "bad"),
        (Raw(b"<html>", content_type="text/html"), BadImage, "text/html"),
        (Raw(b'{"ErrorNumber": 1035, "ErrorMessage": "gone"}'), ExposureFailed, "gone"),
        (Raw(b"", content_type=BYTES), BadImage, "within its header"),
        (Raw(image_bytes(np.ones((8, 12)))[:-50], content_type=BYTES), BadImage, "142 bytes .* announced for 192"),
        (Raw(image_bytes(np.ones((8, 12)))[:-50], content_type=BYTES, length=236), DeviceLost, "broke after"),
        (Raw(image_bytes(np.ones((8, 12))) + b"more", content_type=BYTES), BadImage, "196 bytes .* announced for 192"),
        (Raw(image_bytes(np.ones((8, 12)), x=12000, y=8000), content_type=BYTES), BadImage, "12000 x 8000"),
        (Raw(image_bytes(np.ones((6, 12))), content_type=BYTES), BadImage, "12 x 6 pixels, not 12 x 8"),
        (Raw(image_bytes(np.ones((8, 12)), 11), content_type=BYTES), BadImage, "element type 11"),
        (Raw(image_bytes(np.ones((8, 12)), rank=3, z=3), content_type=BYTES), BadImage, "rank 3"),
        (
            Raw(image_bytes(np.ones((8, 12)), error=0x40B)[:44] + b"no frame", content_type=BYTES),
            ExposureFailed,
            "no frame",
        ),
    ],
)
def test_what_comes_instead_of_an_image(
    camera: AlpacaCamera, device: ScriptedCamera, reply: Trick | Raw, error: type[DriverError], words: str
) -> None:
    device.server.tricks["imagearray"].append(reply)
    with pytest.raises(error, match=words):
        camera.expose(DARK)
    assert camera.expose(DARK).pixels.shape == (8, 12)  # the line is fit for the next one


def test_a_server_without_imagebytes_is_read_as_json(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    device.encode = lambda pixels: pixels.T.tolist()  # type: ignore[assignment,return-value]
    exposure = camera.expose(DARK)
    assert exposure.wire_type == "json"
    np.testing.assert_array_equal(exposure.pixels, device.pixels)


def test_types_that_change_from_frame_to_frame_become_one(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    kinds = set()
    for element in (8, 2, 1, 9):
        device.encode = lambda p, e=element: Raw(image_bytes(p, e), content_type=BYTES)
        exposure = camera.expose(DARK)
        kinds.add(exposure.wire_type)
        assert exposure.pixels.dtype == np.uint16
        np.testing.assert_array_equal(exposure.pixels, device.pixels)
    assert kinds == {"uint16", "int32", "int16", "uint32"}


def test_the_buffer_of_one_frame_does_not_shine_through_the_next(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    first = camera.expose(DARK).pixels
    kept = first.copy()
    device.encode = lambda p: Raw(image_bytes(p + 1000), content_type=BYTES)
    camera.expose(DARK)
    np.testing.assert_array_equal(first, kept)


# --- abort, temperature, state ---------------------------------------------------------------------------------------


def test_abort_that_is_refused_becomes_a_stop(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    device.state, device._due = 2, time.monotonic() + 60
    device.device["AbortExposure"] = lambda form: AlpacaFault(0x40B, "reading out")
    camera.abort()
    assert device.server.sent("PUT", "stopexposure")
    assert device.state == 0


def test_a_camera_that_can_neither_abort_nor_stop_is_waited_for(server: ScriptedAlpaca) -> None:
    device = ScriptedCamera(server, canabortexposure=False, canstopexposure=False)
    camera = connected(server)
    device.state, device._due = 2, time.monotonic() + 0.15
    camera.abort()
    assert not server.sent("PUT", "abortexposure")
    device.state, device._due = 2, time.monotonic() + 60
    with pytest.raises(ExposureStalled, match="still exposing"):
        camera.abort()
    camera.close()


def test_the_state_is_read_afresh_each_time(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    assert camera.state().ccd_temperature_c == 12.5
    device.device["CCDTemperature"] = -3.25
    camera.set_temperature(-10.0)
    camera.set_cooler(True)
    state = camera.state()
    assert (state.ccd_temperature_c, state.set_temperature_c, state.cooler_on) == (-3.25, -10.0, True)
    for _ in range(6):
        for member in ("devicestate", "ccdtemperature", "camerastate"):
            device.server.tricks[member].append(Trick("drop"))
    with pytest.raises(DeviceLost):
        camera.state()


def test_a_temperature_that_is_no_number_is_passed_on_as_such(camera: AlpacaCamera, device: ScriptedCamera) -> None:
    device.device["CCDTemperature"] = float("nan")
    assert np.isnan(camera.state().ccd_temperature_c or 0.0)


def test_a_cooler_that_is_none_refuses(server: ScriptedAlpaca) -> None:
    ScriptedCamera(server, cooleron=AlpacaFault(0x400), setccdtemperature=AlpacaFault(0x400))
    camera = connected(server)
    with pytest.raises(Refused):
        camera.set_cooler(True)
    with pytest.raises(Refused):
        camera.set_temperature(-10)
    camera.close()


def test_device_state_that_is_promised_and_missing_is_done_without(server: ScriptedAlpaca) -> None:
    device = ScriptedCamera(server, interface=4)
    device.device["DeviceState"] = AlpacaFault(0x400)
    camera = connected(server)
    assert camera.expose(DARK).temperature_end_c == 12.5
    assert len(server.sent("GET", "devicestate")) == 1
    camera.close()
