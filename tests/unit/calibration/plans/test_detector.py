"""The detector as plans measure it: pedestal, read noise, saturation that nobody can lie about, gain."""

from dataclasses import replace

import pytest

from calibration.errors import CalibrationError
from calibration.frames import Purpose
from calibration.plans.detector import (
    CameraFacts,
    Detector,
    SaturatingLight,
    SaturationSource,
    full_scale,
    measure_detector,
)
from calibration.plans.settings import Darkness, ExposureState
from tests.benchmarks.flat_lamps import LampKind, Light, Sensor, SmallCamera, drive


def measured(camera: SmallCamera, **facts: object) -> Detector:
    told = replace(camera.facts, **facts)  # type: ignore[arg-type]
    return drive(measure_detector(ExposureState(), told, Darkness(), lamp=camera.lamp), camera)


@pytest.mark.parametrize("max_adu", [255, 4095, 65535])
@pytest.mark.parametrize("bayer", [False, True])
@pytest.mark.parametrize("needed_s", [0.003, 0.3, 8.0])
def test_the_measured_saturation_does_not_care_what_maxadu_says(max_adu: int, bayer: bool, needed_s: float) -> None:
    sensor = Sensor(bits=14, shift=2, bias_adu=200, well=0.7, max_adu=max_adu, bayer=bayer, k_adu_e=0.4)
    found = measured(SmallCamera(sensor=sensor, light=Light(needed_s=needed_s), seed=4))
    assert found.saturation_source is SaturationSource.MEASURED
    assert found.saturation_adu == pytest.approx(4 * sensor.clip_adu, rel=0.01)
    assert found.max_adu_wrong == (max_adu != 4 * sensor.clip_adu)
    assert found.step_adu == 4


def test_pedestal_read_noise_and_gain_are_recovered() -> None:
    sensor = Sensor(bias_adu=812.0, read_adu=3.4, k_adu_e=1.7)
    found = measured(SmallCamera(sensor=sensor, light=Light(needed_s=0.5), seed=7))
    assert found.bias_adu == pytest.approx(812.0, abs=0.5)
    assert found.read_sigma_adu == pytest.approx(3.4, rel=0.1)
    assert found.k_adu_e == pytest.approx(1.7, rel=0.1)


def test_a_lamp_that_gives_no_light_is_looked_at_once_more_and_otherwise() -> None:
    camera = SmallCamera(sensor=Sensor(), light=Light(needed_s=1e9, max_brightness=200), seed=3)
    light = SaturatingLight(brightness=200, filter="L", other_filter="R", max_exposure_us=2_000_000)
    found = drive(measure_detector(ExposureState(), camera.facts, Darkness(), lamp=light), camera)
    assert found.darkest is not None
    assert found.darkest.filters == ("L", "R")
    assert (camera.requests[-1].filter, camera.requests[-1].panel_brightness) == ("R", 199)
    assert found.darkest.level_adu == pytest.approx(found.bias_adu, abs=3)


def test_light_that_is_only_dim_is_light() -> None:
    found = measured(SmallCamera(sensor=Sensor(), light=Light(needed_s=600.0, max_brightness=200), seed=3))
    assert found.darkest is None


@pytest.mark.parametrize(("bits", "needed_s"), [(18, 0.3), (18, 0.02), (20, 0.3), (12, 0.3), (10, 0.3), (8, 0.3)])
def test_a_sensor_that_saturates_sees_light_whatever_its_bits(bits: int, needed_s: float) -> None:
    sensor = Sensor(bits=bits, bias_adu=20, read_adu=2.0, k_adu_e=0.4, max_adu=2**bits - 1)
    found = measured(SmallCamera(sensor=sensor, light=Light(needed_s=needed_s), seed=5))
    assert found.darkest is None
    assert found.saturation_adu == pytest.approx(sensor.clip_adu, rel=0.01)


def test_without_light_three_short_frames_are_all() -> None:
    camera = SmallCamera(sensor=Sensor(), light=Light(), seed=1)
    told = CameraFacts(exposure_min_us=100, exposure_max_us=10**9, max_adu=65535, shortest_us=200_000)
    found = drive(measure_detector(ExposureState(gain=5), told, Darkness(filter="Dark")), camera)
    assert [(r.exposure_us, r.count, r.filter, r.gain, r.purpose) for r in camera.requests] == [
        (200_000, 3, "Dark", 5, Purpose.TEST)
    ]
    assert (found.saturation_adu, found.saturation_source, found.k_adu_e) == (65535, SaturationSource.MAXADU, None)


def test_maxadu_below_what_was_seen_is_not_believed() -> None:
    camera = SmallCamera(sensor=Sensor(bias_adu=500), light=Light(), seed=1)
    told = CameraFacts(exposure_min_us=100, exposure_max_us=10**9, max_adu=255)
    found = drive(measure_detector(ExposureState(), told, Darkness()), camera)
    assert (found.saturation_adu, found.saturation_source) == (65535, SaturationSource.BITS)


def test_a_configured_saturation_wins() -> None:
    found = measured(SmallCamera(sensor=Sensor(), light=Light(), seed=1), saturation_adu=50_000.0)
    assert (found.saturation_adu, found.saturation_source) == (50_000.0, SaturationSource.CONFIGURED)


def test_a_dead_lamp_measures_no_saturation() -> None:
    found = measured(SmallCamera(sensor=Sensor(), light=Light(needed_s=1e9), seed=1))
    assert found.saturation_source is SaturationSource.MAXADU


def test_a_lamp_too_dim_to_saturate_ends_at_its_longest_exposure() -> None:
    camera = SmallCamera(sensor=Sensor(), light=Light(needed_s=100.0), seed=1)
    found = measured(camera)
    assert found.saturation_source is SaturationSource.MAXADU
    assert max(r.exposure_us for r in camera.requests) == 60_000_000
    assert len(camera.taken) <= 12


@pytest.mark.parametrize("needed_s", [1.0, 2.0, 4.0])
def test_a_chopped_lamp_that_falls_behind_its_exposure_is_not_taken_for_saturation(needed_s: float) -> None:
    light = Light(kind=LampKind.PWM, needed_s=needed_s, max_brightness=4, period_s=1 / 7)
    camera = SmallCamera(sensor=Sensor(), light=light, seed=3)
    for longest_us in (60_000_000, 100_000):  # the longest cannot be confirmed by a longer one
        lamp = replace(camera.lamp, brightness=1, max_exposure_us=longest_us)
        found = drive(measure_detector(ExposureState(), camera.facts, Darkness(), lamp=lamp), camera)
        assert found.saturation_adu == pytest.approx(65535, rel=1e-4)


def test_no_frame_at_all_is_an_error() -> None:
    plan = measure_detector(ExposureState(), CameraFacts(exposure_min_us=100, exposure_max_us=10**9), Darkness())
    next(plan)
    plan.send(())
    with pytest.raises(CalibrationError, match="no frame of 100 µs came back"):
        plan.send(())


def test_full_scale_follows_bits_and_shift() -> None:
    assert full_scale(step_adu=16, seen_adu=60_000) == 65_520
    assert full_scale(step_adu=1, seen_adu=3000, bit_depth=12) == 4095
    assert full_scale(step_adu=16, seen_adu=30_000, bit_depth=12) == 65_520
    assert full_scale(step_adu=1, seen_adu=5000, bit_depth=12) == 65_535
    assert full_scale(step_adu=1, seen_adu=100_000) == 2**32 - 1


def test_one_pixel_above_maxadu_proves_it_wrong() -> None:
    told = Detector(
        bias_adu=100, read_sigma_adu=3, saturation_adu=4095, saturation_source=SaturationSource.MAXADU, max_adu=4095
    )
    assert told.having_seen(4095) is told
    assert told.having_seen(4096).saturation_adu == 65_535
    sure = told.clipped_at(3000.0)
    assert sure.having_seen(3100.0) is sure


def test_a_clip_at_65535_of_a_camera_with_steps_of_16_is_taken_in_once() -> None:
    told = Detector(
        bias_adu=100,
        read_sigma_adu=3,
        saturation_adu=65_520,
        saturation_source=SaturationSource.MAXADU,
        step_adu=16,
        max_adu=65_520,
    )
    seen = told.having_seen(65_535)
    assert seen.saturation_adu == 65_535
    assert seen.having_seen(65_535) is seen
