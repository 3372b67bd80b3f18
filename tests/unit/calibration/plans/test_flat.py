"""A filter's flats: search, settle, a constant series, and what happens when the lamp does not keep still."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.errors import FrameCode, GroupCode
from calibration.frames import (
    CaptureRequest,
    Cover,
    FrameHeader,
    FrameResult,
    FrameStats,
    GroupOutcome,
    GroupStatus,
    Limits,
    Purpose,
    Verdict,
)
from calibration.plans.detector import Detector, SaturationSource, measure_detector
from calibration.plans.flat import flat_plan
from calibration.plans.settings import (
    Darkness,
    ExposureState,
    FlatSetBegun,
    FlatSettings,
    LevelFound,
    LevelTried,
    PanelSettings,
    Plan,
    silent,
)
from tests.benchmarks.flat_lamps import BEGIN, LampKind, Light, Sensor, SmallCamera, drive

DETECTOR = Detector(
    bias_adu=500,
    read_sigma_adu=3,
    saturation_adu=65_535,
    saturation_source=SaturationSource.MEASURED,
    exposure_min_us=100,
)


def lamp(needed_s: float = 0.5, **light: Any) -> SmallCamera:
    return SmallCamera(sensor=Sensor(), light=Light(needed_s=needed_s, **light), seed=21)


def flats(camera: SmallCamera, *, have: FlatSetBegun | None = None, **changes: Any) -> Plan[GroupOutcome]:
    told = changes.pop("notify", silent)
    panel = changes.pop("panel", camera.panel)
    return flat_plan(
        FlatSettings(**changes),
        DETECTOR,
        ExposureState(gain=100, offset=30),
        filter="Ha",
        panel=panel,
        have=have,
        set_id="f1",
        notify=told,
    )


def kept(camera: SmallCamera) -> list[CaptureRequest]:
    return [r for r in camera.requests if r.purpose is Purpose.KEEP]


def test_a_steady_lamp_gives_forty_frames_of_one_exposure() -> None:
    camera = lamp()
    outcome = drive(flats(camera), camera)
    assert (outcome.status, outcome.code, outcome.accepted, outcome.refused) == (GroupStatus.COMPLETE, None, 40, 0)
    assert {r.exposure_us for r in kept(camera)} == {outcome.exposure_us}
    assert sum(r.count for r in kept(camera)) == 40


def test_one_frame_is_thrown_away_before_the_lamp_is_watched_and_the_series_begins() -> None:
    camera = lamp()
    drive(flats(camera), camera)
    purposes = [r.purpose for r in camera.requests]
    discarded = purposes.index(Purpose.DISCARD)
    assert set(purposes[:discarded]) == {Purpose.TEST}
    assert purposes[discarded + 1 :] == [Purpose.TEST] + [Purpose.KEEP] * 5
    assert camera.requests[discarded + 1].count == 3


def test_requests_carry_filter_state_cover_and_limits() -> None:
    camera = lamp()
    panel = PanelSettings(max_brightness=1, cover=Cover.CLOSED, warmup_s=20.0)
    drive(flats(camera, panel=panel, limits=Limits(temperature_tolerance_c=0.7)), camera)
    for request in camera.requests:
        assert (request.filter, request.gain, request.offset, request.cover) == ("Ha", 100, 30, Cover.CLOSED)
        assert (request.panel_brightness, request.set_id) == (1, "f1")
        assert request.limits.temperature_tolerance_c == 0.7
        assert request.limits.saturation_adu == 65_535
    assert [r.wait_s for r in camera.requests[:2]] == [20.0, 0.0]
    limits = kept(camera)[0].limits
    assert limits.level_adu == pytest.approx(500 + 0.5 * 65_035)
    assert limits.level_tolerance_adu == pytest.approx(0.05 * 65_035)
    assert limits.max_saturated_fraction == 1e-3
    assert limits.noise_adu is not None
    assert limits.stop_early


def test_a_warming_lamp_is_waited_for() -> None:
    camera = lamp(kind=LampKind.WARMING, amplitude=-0.2)
    outcome = drive(flats(camera), camera)
    assert (outcome.status, outcome.refused) == (GroupStatus.COMPLETE, 0)
    first = next(r for r in camera.taken if r.request.purpose is Purpose.KEEP)
    assert (first.stats.mid_at - camera.taken[0].stats.mid_at).total_seconds() > 40


def test_a_lamp_that_keeps_drifting_is_followed_and_every_frame_kept_is_in_tolerance() -> None:
    camera = lamp(kind=LampKind.WARMING, amplitude=2.0, tau_s=300.0)
    outcome = drive(flats(camera), camera)
    assert outcome.status is GroupStatus.COMPLETE
    assert len({r.exposure_us for r in kept(camera)}) > 1
    assert outcome.exposure_us == kept(camera)[-1].exposure_us
    assert any(r.wait_s == 30.0 for r in camera.requests)
    good = [r for r in camera.taken if r.request.purpose is Purpose.KEEP and r.accepted]
    assert len(good) == 40
    assert all(abs((r.stats.level_adu - 500) / (0.5 * 65_035) - 1) <= 0.1 for r in good)


def test_drift_that_brings_the_level_nearer_to_the_target_is_let_be() -> None:
    camera = lamp(kind=LampKind.WARMING, amplitude=0.045, tau_s=100.0)
    outcome = drive(flats(camera, start_exposure_us=500_000), camera)
    assert outcome.status is GroupStatus.COMPLETE
    assert not any(r.wait_s == 30.0 for r in camera.requests)


def failing(change: Callable[[FrameResult], FrameResult]) -> SmallCamera:
    """A camera whose kept frames are changed on their way to the plan."""
    camera = lamp()
    honest = camera.answer

    def answer(request: CaptureRequest) -> tuple[FrameResult, ...]:
        results = honest(request)
        return tuple(change(r) for r in results) if request.purpose is Purpose.KEEP else results

    camera.answer = answer  # type: ignore[method-assign]
    return camera


def refused(result: FrameResult, code: FrameCode) -> FrameResult:
    verdict = Verdict(code=code, refuses=True, measured=1.0, limit=0.0)
    return FrameResult(request=result.request, header=result.header, stats=result.stats, verdicts=(verdict,))


def test_frames_refused_for_other_reasons_do_not_blame_the_lamp() -> None:
    camera = failing(lambda r: refused(r, FrameCode.TEMPERATURE_OFF))
    outcome = drive(flats(camera), camera)
    assert (outcome.status, outcome.code) == (GroupStatus.FAILED, GroupCode.TOO_MANY_REFUSED)
    assert outcome.refused > 8, "a fifth, and what was on its way"
    assert "temperature_off" in outcome.detail
    assert {r.exposure_us for r in kept(camera)} == {outcome.exposure_us}


def test_a_lamp_out_of_tolerance_time_and_again_is_unstable() -> None:
    camera = failing(lambda r: refused(r, FrameCode.LEVEL_OFF))
    outcome = drive(flats(camera), camera)
    assert outcome.code is GroupCode.UNSTABLE_LAMP


@pytest.mark.parametrize(
    ("needed_s", "code"), [(1e-7, GroupCode.TOO_BRIGHT), (500.0, GroupCode.TOO_DIM), (1e9, GroupCode.TOO_DIM)]
)
def test_a_search_that_fails_ends_the_filter_by_name(needed_s: float, code: GroupCode) -> None:
    camera = lamp(needed_s)
    outcome = drive(flats(camera), camera)
    assert (outcome.status, outcome.code, outcome.accepted) == (GroupStatus.FAILED, code, 0)
    assert "wanted 33018 ADU" in outcome.detail
    assert not kept(camera)


def begun(**changes: Any) -> FlatSetBegun:
    wanted = {"exposure_us": 500_000, "panel_brightness": 1, "level_adu": 33_000.0, "accepted": 25}
    return FlatSetBegun(**wanted | changes)


def test_a_resumed_set_confirms_its_exposure_with_one_frame() -> None:
    camera = lamp()
    outcome = drive(flats(camera, have=begun()), camera)
    assert [(r.purpose, r.count) for r in camera.requests] == [
        (Purpose.TEST, 1),
        (Purpose.KEEP, 8),
        (Purpose.KEEP, 7),
    ]
    assert {r.exposure_us for r in camera.requests} == {500_000}
    assert (outcome.status, outcome.accepted) == (GroupStatus.COMPLETE, 40)


def test_a_cold_lamp_may_settle_before_a_resumed_set_is_abandoned() -> None:
    camera = lamp(kind=LampKind.WARMING, amplitude=-0.2, tau_s=30.0)
    outcome = drive(flats(camera, have=begun()), camera)
    assert (outcome.status, outcome.accepted) == (GroupStatus.COMPLETE, 40)
    assert camera.requests[1].purpose is Purpose.DISCARD


@pytest.mark.parametrize(("needed_s", "level"), [(0.4, 33_000.0), (0.5, 25_000.0)])
def test_another_lamp_than_the_set_was_begun_with_ends_it(needed_s: float, level: float) -> None:
    camera = lamp(needed_s)
    outcome = drive(flats(camera, have=begun(level_adu=level)), camera)
    assert (outcome.status, outcome.code, outcome.accepted) == (GroupStatus.PARTIAL, GroupCode.LAMP_CHANGED, 25)
    assert not kept(camera)


def test_a_complete_set_asks_for_nothing() -> None:
    camera = lamp()
    assert drive(flats(camera, have=begun(accepted=40)), camera).status is GroupStatus.COMPLETE
    assert not camera.requests


def test_what_was_found_is_told() -> None:
    told: list[LevelTried | LevelFound] = []
    camera = lamp(needed_s=0.05, max_brightness=255)
    outcome = drive(flats(camera, notify=told.append), camera)
    (settled,) = [seen for seen in told if isinstance(seen, LevelFound)]
    assert settled.exposure_us == outcome.exposure_us
    assert settled.panel_brightness == outcome.panel_brightness
    assert settled.level_adu == pytest.approx(33_018, rel=0.05)
    assert settled.filter == "Ha"
    assert settled.attempts == len(told) - 1


def test_another_number_another_target_another_tolerance() -> None:
    camera = lamp()
    outcome = drive(flats(camera, num_flats=7, target_count_rate=0.3, count_tolerance=0.04), camera)
    assert (outcome.status, outcome.accepted) == (GroupStatus.COMPLETE, 7)
    levels = [r.stats.level_adu for r in camera.taken if r.request.purpose is Purpose.KEEP]
    assert all(abs((level - 500) / (0.3 * 65_035) - 1) <= 0.04 for level in levels)


def test_a_wrong_gain_within_the_series_is_refused_by_its_noise() -> None:
    camera = lamp()
    honest, taken = camera.pixels, 0

    def other_gain(request: CaptureRequest) -> Any:
        nonlocal taken
        taken += request.purpose is Purpose.KEEP
        if not 5 < taken <= 8:
            return honest(request)
        noise = camera.rng.normal(0, 250, (48, 64))  # the level of the others, another noise
        return (honest(request) + noise).clip(0, 65_535).astype("uint16")

    camera.pixels = other_gain  # type: ignore[method-assign]
    outcome = drive(flats(camera), camera)
    assert outcome.status is GroupStatus.COMPLETE
    assert outcome.refused >= 2
    assert "noise_off" in outcome.detail


@settings(max_examples=100, deadline=None)
@given(levels=st.lists(st.floats(-100, 70_000), min_size=1, max_size=30), brightness=st.sampled_from([0, 1, 255]))
def test_whatever_the_levels_it_ends_with_a_name(levels: list[float], brightness: int) -> None:
    camera = lamp()
    count = 0

    def answer(request: CaptureRequest) -> tuple[FrameResult, ...]:
        nonlocal count
        results: tuple[FrameResult, ...] = ()
        for _ in range(request.count):
            count += 1
            results += (nonsense(request, levels[count % len(levels)]),)
        return results

    camera.answer = answer  # type: ignore[method-assign]
    panel = PanelSettings(max_brightness=brightness) if brightness else None
    outcome = drive(flats(camera, panel=panel), camera, at_most=400)
    assert outcome.status is GroupStatus.COMPLETE or outcome.code is not None


def nonsense(request: CaptureRequest, level: float) -> FrameResult:
    limits = request.limits
    off = limits.level_adu is not None and abs(level - limits.level_adu) > (limits.level_tolerance_adu or 0.0)
    stats = FrameStats(
        level_adu=level,
        mean_adu=level,
        sigma_adu=30.0,
        min_adu=level - 100,
        max_adu=level + 100,
        saturated_fraction=float(level > 65_000),
        zero_fraction=0.0,
        step_adu=1,
        gradient_adu=0.0,
        mid_at=BEGIN,
        pixel_sha256="",
    )
    verdicts = (Verdict(code=FrameCode.LEVEL_OFF, refuses=True, measured=level, limit=0.0),) if off else ()
    header = FrameHeader(kind=request.kind, shape=(48, 64))
    return FrameResult(request=request, header=header, stats=stats, verdicts=verdicts)


class Flickering(SmallCamera):
    """In front of a lamp whose light changes by a fifth from exposure to exposure."""

    def pixels(self, request: CaptureRequest) -> np.ndarray[Any, Any]:
        steady = self.light
        brighter = max(0.01, 1 + 0.2 * self.rng.standard_normal())
        self.light = replace(steady, needed_s=steady.needed_s / brighter)
        try:
            return super().pixels(request)
        finally:
            self.light = steady


@pytest.mark.parametrize("max_brightness", [1, 255])
def test_flicker_is_named_whatever_the_search_happens_to_see(max_brightness: int) -> None:
    codes = set()
    for seed in range(60, 80):
        light = Light(needed_s=10 ** np.random.default_rng(seed).uniform(-2.3, 0), max_brightness=max_brightness)
        camera = Flickering(sensor=Sensor(), light=light, seed=seed)
        detector = drive(measure_detector(ExposureState(), camera.facts, Darkness(), lamp=camera.lamp), camera)
        settings = FlatSettings(num_flats=6)
        plan = flat_plan(
            settings, detector, ExposureState(), filter="L", panel=camera.panel, have=None, set_id="f", notify=silent
        )
        codes.add(drive(plan, camera).code)
    assert codes == {GroupCode.UNSTABLE_LAMP}
