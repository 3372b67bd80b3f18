"""The simulated camera as an ASCOM device, on a clock that the test moves."""

import json
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from drivers.clock import ManualClock
from drivers.simulator.detector_parameters import DetectorParameters
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.errors import AscomError, BadRequest, ErrorNumber
from drivers.simulator.faults import FaultKind, FaultScript
from drivers.simulator.params import CameraParameters, CoolerParameters, PanelParameters, ReadoutModeParameters
from drivers.simulator.presets import preset

WIDTH, HEIGHT = 96, 64


@pytest.fixture
def open_observatory():
    opened = []

    def make(name="qhy600m", *, faults=(), camera=None, panel=None, connect=True):
        params = preset(name, width=WIDTH, height=HEIGHT)
        params = replace(params, faults=tuple(faults), camera=replace(params.camera, **(camera or {})))
        if panel is not None:
            params = replace(params, panel=panel)
        observatory = SimulatedObservatory(params, ManualClock())
        opened.append(observatory)
        for device in observatory.devices() if connect else ():
            device.write("connected", {"Connected": "true"})
        return observatory

    yield make
    for observatory in opened:
        observatory.close()


def start(observatory, seconds, *, light=False):
    observatory.camera.write("startexposure", {"Duration": str(seconds), "Light": str(light)})


def finish(observatory, seconds):
    """Let the exposure end and return its frame, as ImageArray would."""
    observatory.clock.advance(seconds + observatory.params.camera.download_s)
    rendering = observatory.camera.rendering()
    if rendering is not None:
        rendering.result(timeout=100)
    assert observatory.camera.read("imageready")
    return observatory.camera.image()


def expose(observatory, seconds, *, light=False):
    start(observatory, seconds, light=light)
    return finish(observatory, seconds)


def refused(call, *args):
    with pytest.raises(AscomError) as caught:
        call(*args)
    return caught.value.number


def put(observatory, name, value):
    observatory.camera.write(name.lower(), {name: str(value)})


def test_nothing_but_the_common_members_before_connecting(open_observatory):
    camera = open_observatory(connect=False).camera
    assert camera.read("name") == "Simulated QHY600M"
    assert camera.read("interfaceversion") == 4
    assert refused(camera.read, "binx") is ErrorNumber.NOT_CONNECTED
    assert refused(camera.write, "startexposure", {"Duration": "1", "Light": "true"}) is ErrorNumber.NOT_CONNECTED


def test_connect_takes_its_time_and_says_so(open_observatory):
    observatory = open_observatory(connect=False)
    camera = observatory.camera
    camera.write("connect", {})
    assert camera.read("connecting")
    assert not camera.read("connected")
    observatory.clock.advance(1.5)
    assert not camera.read("connecting")
    assert camera.read("connected")
    camera.write("disconnect", {})
    assert refused(camera.read, "binx") is ErrorNumber.NOT_CONNECTED


def test_version_three_knows_nothing_of_platform_seven(open_observatory):
    camera = open_observatory("old").camera
    for member in ("connecting", "devicestate"):
        with pytest.raises(BadRequest):
            camera.read(member)
    with pytest.raises(BadRequest):
        camera.write("connect", {})


def test_an_exposure_goes_through_its_states(open_observatory):
    observatory = open_observatory()
    camera = observatory.camera
    assert refused(camera.image) is ErrorNumber.INVALID_OPERATION
    assert refused(camera.read, "lastexposureduration") is ErrorNumber.INVALID_OPERATION
    assert camera.read("percentcompleted") == 0
    begun = observatory.clock.now()
    start(observatory, 10.0)
    assert (camera.read("camerastate"), camera.read("imageready")) == (2, False)
    assert refused(camera.write, "startexposure", {"Duration": "1", "Light": "true"}) is ErrorNumber.INVALID_OPERATION
    observatory.clock.advance(5.0)
    assert camera.read("percentcompleted") == 50
    observatory.clock.advance(5.1)
    assert camera.read("camerastate") == 3
    assert finish(observatory, 1.0).shape == (HEIGHT, WIDTH)
    assert camera.read("camerastate") == 0
    assert camera.read("lastexposureduration") == 10.0
    assert camera.read("lastexposurestarttime") == begun.replace(tzinfo=None).isoformat(timespec="microseconds")


def test_frames_never_repeat_even_when_the_clock_stands_still(open_observatory):
    observatory = open_observatory(camera={"download_s": 0.0})
    first, second = expose(observatory, 0.0), expose(observatory, 0.0)
    assert not np.array_equal(first, second)


def test_a_first_frame_differs_and_the_next_do_not(open_observatory):
    detector = DetectorParameters(first_frame_adu=50.0)
    observatory = open_observatory(camera={"detector": detector})
    levels = [float(np.median(expose(observatory, 0.001))) for _ in range(3)]
    assert levels[0] - levels[1] == pytest.approx(50, abs=2)
    assert levels[1] == pytest.approx(levels[2], abs=2)


@pytest.mark.parametrize(
    ("duration", "light", "allowed"),
    [(0.0, False, True), (0.00005, True, False), (-1, False, False), (9e9, False, False)],
)
def test_limits_of_the_exposure(open_observatory, duration, light, allowed):
    observatory = open_observatory()
    if allowed:
        assert expose(observatory, duration, light=light).shape == (HEIGHT, WIDTH)
    else:
        form = {"Duration": str(duration), "Light": str(light)}
        assert refused(observatory.camera.write, "startexposure", form) is ErrorNumber.INVALID_VALUE


def test_bad_bins_and_subframes_are_refused(open_observatory):
    observatory = open_observatory()
    camera = observatory.camera
    assert refused(put, observatory, "BinX", 5) is ErrorNumber.INVALID_VALUE
    assert refused(put, observatory, "BinY", 0) is ErrorNumber.INVALID_VALUE
    put(observatory, "BinX", 2)
    assert (camera.read("biny"), camera.read("numx")) == (2, WIDTH)  # symmetric only; NumX does not follow
    form = {"Duration": "1", "Light": "false"}
    assert refused(camera.write, "startexposure", form) is ErrorNumber.INVALID_VALUE
    put(observatory, "NumX", 20)
    put(observatory, "NumY", 10)
    put(observatory, "StartX", 28)
    assert expose(observatory, 1.0).shape == (10, 20)
    put(observatory, "StartX", 29)
    assert refused(camera.write, "startexposure", form) is ErrorNumber.INVALID_VALUE
    camera.write("connected", {"Connected": "false"})
    camera.write("connected", {"Connected": "true"})
    assert (camera.read("binx"), camera.read("numx"), camera.read("startx")) == (1, WIDTH, 0)


def test_abort_leaves_no_image_and_stop_leaves_a_short_one(open_observatory):
    observatory = open_observatory()
    camera = observatory.camera
    start(observatory, 100.0)
    observatory.clock.advance(1.0)
    camera.write("abortexposure", {})
    assert (camera.read("camerastate"), camera.read("imageready")) == (0, False)
    assert refused(camera.image) is ErrorNumber.INVALID_OPERATION
    start(observatory, 100.0)
    observatory.clock.advance(2.0)
    camera.write("stopexposure", {})
    finish(observatory, 0.0)
    assert camera.read("lastexposureduration") == pytest.approx(2.0)


def test_light_switched_off_halfway_is_half_the_light(open_observatory):
    observatory = open_observatory(panel=PanelParameters(warmup=0.0, flicker=0.0))
    observatory.panel.write("calibratoron", {"Brightness": "30"})
    observatory.clock.advance(5)
    whole = float(np.median(expose(observatory, 1.0, light=True))) - 554
    start(observatory, 1.0, light=True)
    observatory.clock.advance(0.5)
    observatory.panel.write("calibratoroff", {})
    half = float(np.median(finish(observatory, 0.5))) - 554
    assert half / whole == pytest.approx(0.5, abs=0.01)


def test_gain_by_value_index_both_and_not_at_all(open_observatory):
    def offers(name):
        camera = open_observatory(name).camera
        seen = []
        for member in ("gain", "gainmin", "gains"):
            with suppress(AscomError):
                camera.read(member)
                seen.append(member)
        return seen

    assert offers("qhy600m") == ["gain", "gainmin"]
    assert offers("index_gain") == ["gain", "gains"]
    assert offers("both_gain") == ["gain", "gainmin", "gains"]
    assert offers("ccd") == []
    observatory = open_observatory("index_gain")
    assert refused(put, observatory, "Gain", 26) is ErrorNumber.INVALID_VALUE
    put(observatory, "Gain", 3)
    assert observatory.camera.read("electronsperadu") == pytest.approx(0.8 * 10 ** (-100 / 120))


def test_gain_offset_and_mode_change_level_and_noise(open_observatory):
    observatory = open_observatory()
    expose(observatory, 0.001)

    def measured():
        expose(observatory, 0.001)
        a, b = (expose(observatory, 0.001).astype(float) for _ in range(2))
        return np.median(a), (a - b).std()

    base = measured()
    put(observatory, "Offset", 50)
    assert measured()[0] - base[0] == pytest.approx(25 * 8, abs=2)
    put(observatory, "Gain", 100)
    high = measured()
    assert high[0] - base[0] == pytest.approx(25 * 8 + 74 * 1.5, abs=3)
    assert high[1] > 1.5 * base[1]
    put(observatory, "ReadoutMode", 1)
    assert measured()[0] - high[0] == pytest.approx(60, abs=3)


def test_a_mode_may_reset_the_gain(open_observatory):
    observatory = open_observatory(camera={"mode_resets_gain": True})
    put(observatory, "Gain", 90)
    put(observatory, "ReadoutMode", 1)
    assert observatory.camera.read("gain") == 26


def test_colour_sensor_is_monochrome_when_binned(open_observatory):
    observatory = open_observatory("osc")
    assert (observatory.camera.read("sensortype"), observatory.camera.read("bayeroffsetx")) == (2, 0)
    put(observatory, "BinX", 2)
    assert observatory.camera.read("sensortype") == 0
    assert refused(open_observatory().camera.read, "bayeroffsetx") is ErrorNumber.NOT_IMPLEMENTED


def test_max_adu_lies_and_saturation_is_below_it(open_observatory):
    observatory = open_observatory("lying_maxadu")
    observatory.panel.write("calibratoron", {"Brightness": "255"})
    observatory.clock.advance(5)
    assert observatory.camera.read("maxadu") == 255
    assert expose(observatory, 5.0, light=True).max() == 52_000


def test_members_of_missing_parts_are_not_implemented(open_observatory):
    camera = open_observatory("uncooled").camera
    for member in ("coolerpower", "cooleron", "setccdtemperature", "fastreadout", "subexposureduration"):
        assert refused(camera.read, member) is ErrorNumber.NOT_IMPLEMENTED
    assert refused(camera.write, "cooleron", {"CoolerOn": "true"}) is ErrorNumber.NOT_IMPLEMENTED
    assert camera.read("ccdtemperature") == pytest.approx(22.0)
    names = {item["Name"] for item in camera.read("devicestate")}
    assert "CoolerPower" not in names
    assert {"CameraState", "CCDTemperature", "ImageReady", "TimeStamp"} <= names


def test_a_shutter_keeps_the_panels_light_out(open_observatory):
    observatory = open_observatory("ccd")
    observatory.panel.write("calibratoron", {"Brightness": "50"})
    observatory.clock.advance(5)
    lit, dark = (np.median(expose(observatory, 0.5, light=light)) for light in (True, False))
    assert lit > 10_000
    assert dark < 700


def test_cooling_reaches_the_set_point_and_the_dark_current_follows(open_observatory):
    observatory = open_observatory(camera={"cooler": CoolerParameters(ambient_drift_c_per_hour=0.0)})
    camera = observatory.camera
    warm = expose(observatory, 60.0)
    assert refused(put, observatory, "SetCCDTemperature", -200) is ErrorNumber.INVALID_VALUE
    put(observatory, "SetCCDTemperature", -10)
    put(observatory, "CoolerOn", "True")
    observatory.clock.advance(900)
    assert camera.read("ccdtemperature") == pytest.approx(-10, abs=0.11)
    assert 50 < camera.read("coolerpower") < 95
    assert np.median(warm) - np.median(expose(observatory, 60.0)) > 40


def test_records_tell_what_every_exposure_was(open_observatory):
    observatory = open_observatory()
    frame = expose(observatory, 30.0)
    (record,) = observatory.records()
    assert record.conditions.exposure_s == pytest.approx(30)
    assert not record.light
    residual = frame - observatory.truths().frame(record.conditions)
    assert abs(np.median(residual) - observatory.params.camera.detector.first_frame_adu) < 1


def test_truth_is_exported_by_name(open_observatory):
    observatory = open_observatory(camera={"detector": DetectorParameters(glow_e=0.0)})
    truth = observatory.truth(temperature_c=-5.0, exposure_s=20.0)
    assert {"bias", "dark", "dark_rate_e_s", "flat:Ha", "flat:L", "hot", "telegraph", "read_noise_e"} <= truth.keys()
    assert truth["flat:Ha"].mean() == pytest.approx(1.0, abs=1e-5)
    k = observatory.camera.read("electronsperadu")
    dim = ~truth["hot"]  # a hot pixel's charge is bent by the non-linearity
    np.testing.assert_allclose(
        (truth["dark"] - truth["bias"])[dim], 20 * truth["dark_rate_e_s"][dim] / k, rtol=0.01, atol=0.15
    )


def test_light_persists_and_fades(open_observatory):
    observatory = open_observatory(camera={"detector": DetectorParameters(persistence=0.01, first_frame_adu=0.0)})
    before = np.median(expose(observatory, 30.0))
    observatory.panel.write("calibratoron", {"Brightness": "255"})
    observatory.clock.advance(5)
    expose(observatory, 1.0, light=True)
    observatory.panel.write("calibratoroff", {})
    after = [np.median(expose(observatory, 30.0)) - before for _ in range(6)]
    assert after[0] > 100
    assert after[0] > after[1] > after[2]
    assert after[5] < 0.1 * after[0]


def test_a_session_is_a_night(open_observatory):
    first, second = open_observatory(), open_observatory()
    assert first.camera.conditions().pedestal_adu == second.camera.conditions().pedestal_adu


def test_the_clock_is_told(open_observatory):
    observatory = open_observatory()
    assert observatory.camera.read("supportedactions") == ["nightcal:clock"]
    told = json.loads(observatory.camera.write("action", {"Action": "nightcal:clock", "Parameters": ""}))
    assert told == {"utc": observatory.clock.now().isoformat(), "rate": 1.0}
    with pytest.raises(AscomError) as caught:
        observatory.camera.write("action", {"Action": "dance", "Parameters": ""})
    assert caught.value.number is ErrorNumber.ACTION_NOT_IMPLEMENTED


def test_readout_modes_are_checked(open_observatory):
    modes = (ReadoutModeParameters(name="only"),)
    observatory = open_observatory(camera={"readout_modes": modes})
    assert observatory.camera.read("readoutmodes") == ["only"]
    assert refused(put, observatory, "ReadoutMode", 1) is ErrorNumber.INVALID_VALUE


def test_not_connected_is_said_before_anything_else(open_observatory):
    camera = open_observatory(connect=False).camera
    assert refused(camera.image) is ErrorNumber.NOT_CONNECTED


# --- faults ---


def fault(kind, **where):
    return FaultScript(kind=kind, **where)


def test_exposure_ends_in_error_and_the_next_is_well(open_observatory):
    observatory = open_observatory(faults=[fault(FaultKind.EXPOSURE_ERROR, after_exposures=1, count=1)])
    expose(observatory, 1.0)
    start(observatory, 1.0)
    observatory.clock.advance(3)
    assert observatory.camera.read("camerastate") == 5
    assert refused(observatory.camera.read, "imageready") is ErrorNumber.DRIVER
    assert expose(observatory, 1.0).any()


def test_never_ready_until_aborted(open_observatory):
    observatory = open_observatory(faults=[fault(FaultKind.NEVER_READY, count=1)])
    start(observatory, 1.0)
    observatory.clock.advance(1000)
    assert (observatory.camera.read("camerastate"), observatory.camera.read("imageready")) == (2, False)
    observatory.camera.write("abortexposure", {})
    assert expose(observatory, 1.0).any()


def test_too_fast_returns_the_old_buffer(open_observatory):
    observatory = open_observatory(faults=[fault(FaultKind.TOO_FAST, after_exposures=1)])
    first = expose(observatory, 1.0)
    start(observatory, 60.0)
    assert observatory.camera.read("imageready")
    np.testing.assert_array_equal(observatory.camera.image(), first)


@pytest.mark.parametrize(
    ("kind", "looks"),
    [
        (FaultKind.DUPLICATE_FRAME, np.array_equal),
        (FaultKind.BLACK_FRAME, lambda f, _: not f.any()),
        (FaultKind.CONSTANT_FRAME, lambda f, _: f.min() == f.max() == 1000),
        (FaultKind.HALF_SATURATED, lambda f, _: f[HEIGHT // 2 :].min() == 65_535 > f[: HEIGHT // 2].max()),
        (FaultKind.SATURATED_ROW, lambda f, _: (f.min(1) == 65_535).sum() == 1),
    ],
)
def test_faulty_frames(open_observatory, kind, looks):
    observatory = open_observatory(faults=[fault(kind, after_exposures=1, count=1)])
    before = expose(observatory, 0.01)
    assert looks(expose(observatory, 0.01), before)
    assert not looks(expose(observatory, 0.01), before)


def test_a_device_that_forgets_its_connection(open_observatory):
    script = fault(FaultKind.DISCONNECTED, device="camera", member="imageready", after_exposures=1, count=1)
    observatory = open_observatory(faults=[script])
    expose(observatory, 1.0)
    start(observatory, 60.0)
    assert refused(observatory.camera.read, "imageready") is ErrorNumber.NOT_CONNECTED
    assert not observatory.camera.read("connected")
    observatory.camera.write("connected", {"Connected": "true"})
    assert observatory.camera.read("camerastate") == 0
    assert expose(observatory, 1.0).any()


def test_gain_that_does_not_stay(open_observatory):
    observatory = open_observatory(faults=[fault(FaultKind.WRONG_GAIN, value=7, count=1)])
    put(observatory, "Gain", 60)
    assert observatory.camera.read("gain") == 7
    put(observatory, "Gain", 60)
    assert observatory.camera.read("gain") == 60


def test_gain_that_only_reads_right(open_observatory):
    observatory = open_observatory(faults=[fault(FaultKind.HIDDEN_GAIN, value=100, count=1)])
    before = np.median(expose(observatory, 0.001))
    put(observatory, "Gain", 26)
    assert observatory.camera.read("gain") == 26
    assert np.median(expose(observatory, 0.001)) - before > 90


def test_temperatures_that_are_none(open_observatory):
    faults = [
        fault(FaultKind.TEMPERATURE_NAN, at_s=10, for_s=10),
        fault(FaultKind.TEMPERATURE_IMPLAUSIBLE, at_s=20, for_s=10, value=-300),
        fault(FaultKind.TEMPERATURE_FROZEN, at_s=30, for_s=300),
    ]
    observatory = open_observatory(faults=faults)
    camera, clock = observatory.camera, observatory.clock
    put(observatory, "SetCCDTemperature", -10)
    clock.advance(15)
    assert np.isnan(camera.read("ccdtemperature"))
    clock.advance(10)
    assert camera.read("ccdtemperature") == -300
    clock.advance(10)
    frozen = camera.read("ccdtemperature")
    put(observatory, "CoolerOn", "true")
    clock.advance(200)
    assert camera.read("ccdtemperature") == frozen
    clock.advance(200)
    assert camera.read("ccdtemperature") < frozen - 20


def test_cooler_without_power(open_observatory):
    observatory = open_observatory(faults=[fault(FaultKind.COOLER_POWER_LOSS, at_s=900, for_s=600)])
    camera, clock = observatory.camera, observatory.clock
    put(observatory, "SetCCDTemperature", -10)
    put(observatory, "CoolerOn", "true")
    clock.advance(899)
    assert camera.read("ccdtemperature") == pytest.approx(-10, abs=0.2)
    clock.advance(2)
    camera.read("coolerpower")
    clock.advance(300)
    assert camera.read("coolerpower") == 0
    assert camera.read("ccdtemperature") > -6


def test_light_leak_shows_in_darks(open_observatory):
    observatory = open_observatory(faults=[fault(FaultKind.LIGHT_LEAK, after_exposures=1, value=20)])
    before = np.median(expose(observatory, 10.0))
    frame = expose(observatory, 10.0)
    assert np.median(frame) - before == pytest.approx(200, rel=0.1)
    assert np.median(frame[:, -10:]) > np.median(frame[:, :10]) + 200


def test_faults_end_and_are_counted(open_observatory):
    scripts = [fault(FaultKind.BLACK_FRAME, after_exposures=1, count=2)]
    observatory = open_observatory(faults=scripts)
    black = [not expose(observatory, 0.01).any() for _ in range(5)]
    assert black == [False, True, True, False, False]


def test_parameters_of_the_camera_are_checked():
    with pytest.raises(ValueError, match="interface_version"):
        CameraParameters(interface_version=2)
