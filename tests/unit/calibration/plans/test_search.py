"""The flat search: it arrives, or it says why not; it never loops and never asks for what is not allowed."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.errors import FrameCode, GroupCode
from calibration.frames import CaptureRequest, FrameHeader, FrameKind, FrameResult, FrameStats, Purpose, Verdict
from calibration.plans.detector import Detector, LampSeen, SaturationSource
from calibration.plans.exposure_search import SearchFailed, Settled, search
from calibration.plans.reach import Setting
from calibration.plans.settings import BrightnessIdle, ExposureState, FlatSettings, FlatTask, LevelTried, PanelSettings
from tests.benchmarks.flat_lamps import BEGIN, LampKind, Light, Sensor, SmallCamera, drive


def known(camera: SmallCamera, **changes: Any) -> Detector:
    scale = 2**camera.sensor.shift
    told = {
        "bias_adu": camera.sensor.bias_adu * scale,
        "read_sigma_adu": camera.sensor.read_adu * scale,
        "saturation_adu": camera.sensor.clip_adu * scale,
        "saturation_source": SaturationSource.MEASURED,
        "step_adu": scale,
        "exposure_min_us": 100,
    }
    return Detector(**told | changes)


def task(camera: SmallCamera, **changes: Any) -> FlatTask:
    return FlatTask(settings=FlatSettings(**changes), state=ExposureState(gain=7), filter="R", panel=camera.panel)


def lamp(needed_s: float, **light: Any) -> SmallCamera:
    return SmallCamera(sensor=Sensor(), light=Light(needed_s=needed_s, **light), seed=11)


def found(camera: SmallCamera, detector: Detector | None = None, **changes: Any) -> Settled | SearchFailed:
    return drive(search(task(camera, **changes), detector or known(camera)), camera)


@pytest.mark.parametrize("needed_s", [0.003, 0.02, 0.1, 1.0, 8.0])
@pytest.mark.parametrize("brightness", [1, 255])
def test_it_arrives_within_ten_frames(needed_s: float, brightness: int) -> None:
    camera = lamp(needed_s, max_brightness=brightness)
    end = found(camera)
    assert isinstance(end, Settled)
    assert end.attempts == len(camera.requests) <= 10
    assert end.level_adu == pytest.approx(camera.sensor.true_target_adu(0.5), rel=0.05)


@pytest.mark.parametrize("needed_s", [0.02, 0.4, 3.0])
def test_a_panel_whose_brightness_changes_nothing_is_named_once_and_served_by_the_exposure(needed_s: float) -> None:
    camera = lamp(needed_s, max_brightness=255, gamma=0.0)
    rate = 0.5 * (camera.sensor.clip_adu - camera.sensor.bias_adu) / needed_s
    seen = LampSeen(filter="R", brightness=255, rate_adu_s=rate)
    said: list[object] = []
    wanted = replace(task(camera), notify=said.append)
    end = drive(search(wanted, known(camera, lamp=seen)), camera)
    assert isinstance(end, Settled)
    assert end.level_adu == pytest.approx(camera.sensor.true_target_adu(0.5), rel=0.05)
    assert sum(isinstance(each, BrightnessIdle) for each in said) == 1


@pytest.mark.parametrize("gamma", [0.4, 1.0, 2.2])
def test_a_panel_that_follows_its_brightness_is_not_called_idle(gamma: float) -> None:
    camera = lamp(0.4, max_brightness=255, gamma=gamma)
    rate = 0.5 * (camera.sensor.clip_adu - camera.sensor.bias_adu) / 0.4
    seen = LampSeen(filter="R", brightness=255, rate_adu_s=rate)
    said: list[object] = []
    drive(search(replace(task(camera), notify=said.append), known(camera, lamp=seen)), camera)
    assert not any(isinstance(each, BrightnessIdle) for each in said)


def test_a_settled_level_was_seen_twice() -> None:
    camera = lamp(1.0)
    end = found(camera)
    assert isinstance(end, Settled)
    last, before = camera.requests[-1], camera.requests[-2]
    assert (last.exposure_us, last.panel_brightness) == (before.exposure_us, before.panel_brightness)
    assert (last.filter, last.gain, last.kind, last.purpose) == ("R", 7, FrameKind.FLAT, Purpose.TEST)


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.8])
def test_the_target_is_a_fraction_from_pedestal_to_saturation(fraction: float) -> None:
    camera = SmallCamera(sensor=Sensor(bits=12, shift=4, bias_adu=200, k_adu_e=0.1), light=Light(needed_s=0.7), seed=3)
    end = found(camera, target_count_rate=fraction, count_tolerance=0.05)
    assert isinstance(end, Settled)
    pedestal = 200 * 16
    wanted = camera.sensor.true_target_adu(fraction)
    assert end.level_adu - pedestal == pytest.approx(wanted - pedestal, rel=0.026)


def test_a_dimmable_panel_gets_an_exposure_of_the_ladder_within_the_window() -> None:
    end = found(lamp(0.05, max_brightness=255))
    assert isinstance(end, Settled)
    assert 1_000_000 <= end.setting.exposure_us <= 5_012_000
    assert end.setting.exposure_us in {1_000_000, 1_122_000, 1_259_000, 1_413_000, 1_585_000, 1_778_000, 1_995_000} | {
        2_239_000,
        2_512_000,
        2_818_000,
        3_162_000,
        3_548_000,
        3_981_000,
        4_467_000,
    }


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.5])
def test_a_panel_that_is_not_proportional_is_learnt(gamma: float) -> None:
    assert isinstance(found(lamp(0.1, max_brightness=255, gamma=gamma)), Settled)


def test_too_bright_and_too_dim_are_said_by_name() -> None:
    for needed_s, code in ((1e-6, GroupCode.TOO_BRIGHT), (60.0, GroupCode.TOO_DIM), (1e9, GroupCode.TOO_DIM)):
        for brightness in (1, 255):
            end = found(lamp(needed_s, max_brightness=brightness))
            assert isinstance(end, SearchFailed)
            assert end.code is code
            assert "wanted 33018 ADU" in end.detail


def test_a_camera_of_coarse_steps_ends_as_resolution() -> None:
    camera = lamp(0.15)
    end = found(camera, known(camera, exposure_resolution_us=100_000, exposure_min_us=100_000))
    assert isinstance(end, SearchFailed)
    assert end.code is GroupCode.RESOLUTION


def test_a_level_within_the_whole_tolerance_does_where_nothing_nearer_can_be_set() -> None:
    camera = lamp(10.8)
    end = found(camera)  # 10 s is the longest: 7 % too dim
    assert isinstance(end, Settled)
    assert end.setting.exposure_us == 10_000_000


def test_a_flickering_lamp_is_called_unstable() -> None:
    camera = lamp(0.004, kind=LampKind.PWM, period_s=1 / 100)
    end = found(camera)
    assert isinstance(end, SearchFailed)
    assert end.code is GroupCode.UNSTABLE_LAMP
    last = camera.requests[-1]
    assert end.setting == Setting(exposure_us=last.exposure_us, brightness=last.panel_brightness), "not the next to try"
    assert f"at {last.exposure_us / 1e6:g} s at brightness {last.panel_brightness}, wanted" in end.detail


@pytest.mark.parametrize("told", [255, 4095, 65_535])
def test_a_saturation_assumed_wrongly_is_found_out(told: int) -> None:
    camera = SmallCamera(sensor=Sensor(bits=14, bias_adu=300, well=0.6, k_adu_e=0.4), light=Light(needed_s=0.2), seed=5)
    end = found(camera, known(camera, saturation_adu=told, saturation_source=SaturationSource.MAXADU))
    assert isinstance(end, Settled)
    if told != 4095:  # half of 4095 can be reached by this sensor: nothing speaks against it
        assert end.detector.saturation_source is SaturationSource.MEASURED
        assert end.level_adu == pytest.approx(camera.sensor.true_target_adu(0.5), rel=0.06)


def test_the_first_blind_step_is_the_users_factor_and_grows() -> None:
    camera = lamp(0.001)
    found(camera, start_exposure_us=10_000_000, exposure_step_factor=2.0)
    times = [r.exposure_us for r in camera.requests]
    assert times[:4] == [10_000_000, 5_000_000, 1_250_000, 125_000]


def test_a_search_that_starts_where_it_ends_takes_two_frames() -> None:
    camera = lamp(1.0)
    end = drive(search(task(camera), known(camera), start=Setting(exposure_us=1_000_000, brightness=1)), camera)
    assert isinstance(end, Settled)
    assert end.attempts == 2


def test_the_number_of_attempts_is_the_users() -> None:
    camera = lamp(0.003)
    end = found(camera, max_adjustment_attempts=3)
    assert isinstance(end, SearchFailed)
    assert (end.code, len(camera.requests)) == (GroupCode.NO_CONVERGENCE, 3)


def test_every_test_frame_is_told() -> None:
    told: list[LevelTried] = []
    camera = lamp(0.5)
    asked = FlatTask(
        settings=FlatSettings(),
        state=ExposureState(),
        filter="R",
        panel=camera.panel,
        notify=told.append,
    )
    drive(search(asked, known(camera)), camera)
    assert {type(seen) for seen in told} == {LevelTried}
    assert [seen.attempt for seen in told] == list(range(1, len(camera.requests) + 1))
    assert [seen.exposure_us for seen in told] == [r.exposure_us for r in camera.requests]


def test_an_old_buffer_sent_again_does_not_mislead_it() -> None:
    camera = lamp(0.5)
    honest = camera.answer
    answers = 0

    def sometimes_stale(request: CaptureRequest) -> tuple[FrameResult, ...]:
        nonlocal answers
        answers += 1
        results = honest(request)
        if answers != 2:
            return results
        stale = camera.taken[0]
        verdict = Verdict(code=FrameCode.DUPLICATE_FRAME, refuses=True, measured=1.0, limit=0.5)
        return (FrameResult(request=request, header=stale.header, stats=stale.stats, verdicts=(verdict,)),)

    camera.answer = sometimes_stale  # type: ignore[method-assign]
    end = found(camera)
    assert isinstance(end, Settled)
    assert camera.requests[1].exposure_us == camera.requests[2].exposure_us


@pytest.mark.parametrize("code", [FrameCode.DUPLICATE_FRAME, FrameCode.PARTIAL, FrameCode.TOO_FAST])
@pytest.mark.parametrize("first", [1, 3])
def test_a_camera_that_spoils_its_frames_is_blamed_and_not_the_search(code: FrameCode, first: int) -> None:
    camera = lamp(5.0)
    honest = camera.answer

    def spoilt(request: CaptureRequest) -> tuple[FrameResult, ...]:
        (result,) = honest(request)
        if len(camera.taken) < first:
            return (result,)
        return (replace(result, verdicts=(Verdict(code=code, refuses=True, measured=1.0, limit=0.5),)),)

    camera.answer = spoilt  # type: ignore[method-assign]
    end = found(camera, start_exposure_us=1_000)
    assert isinstance(end, SearchFailed)
    assert (end.code, end.detail) == (GroupCode.TOO_MANY_REFUSED, f"{11 - first} {code}")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-500, 70_000), st.floats(0, 1)), min_size=10, max_size=10),
    st.sampled_from([0, 1, 255]),
)
def test_whatever_comes_back_it_ends(levels: list[tuple[float, float]], brightness: int) -> None:
    panel = PanelSettings(max_brightness=brightness) if brightness else None
    asked = FlatTask(settings=FlatSettings(), state=ExposureState(), panel=panel)
    detector = Detector(
        bias_adu=500, read_sigma_adu=3, saturation_adu=60_000, saturation_source=SaturationSource.MAXADU, max_adu=60_000
    )
    asked_for: list[CaptureRequest] = []

    def answer(request: CaptureRequest) -> tuple[FrameResult, ...]:
        asked_for.append(request)
        assert 1000 <= request.exposure_us <= 10_000_000
        assert request.panel_brightness is None or 1 <= request.panel_brightness <= brightness
        return (nonsense(request, *levels[len(asked_for) - 1]),)

    camera = lamp(1.0)
    camera.answer = answer  # type: ignore[method-assign]
    end = drive(search(asked, detector), camera, at_most=11)
    assert isinstance(end, Settled | SearchFailed)
    assert end.attempts == len(asked_for) <= 10


def nonsense(request: CaptureRequest, level: float, saturated: float) -> FrameResult:
    stats = FrameStats(
        level_adu=level,
        mean_adu=level,
        sigma_adu=30.0,
        min_adu=level - 100,
        max_adu=level + 100,
        saturated_fraction=saturated if saturated > 0.5 else 0.0,
        zero_fraction=0.0,
        step_adu=1,
        gradient_adu=0.0,
        mid_at=BEGIN,
        pixel_sha256="",
    )
    return FrameResult(request=request, header=FrameHeader(kind=request.kind, shape=(48, 64)), stats=stats)
