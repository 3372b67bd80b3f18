"""Biases and darks: what is asked for, what is judged, when it is given up."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from calibration.errors import CalibrationError, FrameCode, GroupCode
from calibration.frames import (
    CaptureRequest,
    Cover,
    DarkSeen,
    FrameHeader,
    FrameKind,
    FrameResult,
    FrameStats,
    GroupOutcome,
    GroupStatus,
    Limits,
    Purpose,
    Verdict,
)
from calibration.plans.afterglow import FRAMES
from calibration.plans.bias import bias_plan
from calibration.plans.dark import DarkUse, dark_exposures, dark_plan
from calibration.plans.darkness import dark_rate, poor_rate_adu_s
from calibration.plans.settings import Darkness, Earlier, ExposureState, Plan

STATE = ExposureState(gain=100, offset=30, set_temp_c=-10.0)
COVERED = Darkness(bias_adu=500.0, rate_adu_s=0.1, bias_gradient_adu=1.0)
S = 1_000_000

Levels = Callable[[CaptureRequest], float]


def frame(request: CaptureRequest, level: float, gradient: float = 1.0, refused_for: str | None = None) -> FrameResult:
    """One frame, judged by the three limits that light breaks."""
    limits = request.limits
    codes = [refused_for] if refused_for else []
    if limits.pedestal_adu is not None and abs(level - limits.pedestal_adu) > (limits.pedestal_tolerance_adu or 0):
        codes.append(FrameCode.PEDESTAL_OFF)
    bright = limits.light_adu is not None and level > limits.light_adu
    if bright or (limits.gradient_adu is not None and gradient > limits.gradient_adu):
        codes.append(FrameCode.LIGHT_LEAK)
    stats = FrameStats(
        level_adu=level,
        mean_adu=level,
        sigma_adu=3.0,
        min_adu=level - 10,
        max_adu=level + 10,
        saturated_fraction=0.0,
        zero_fraction=0.0,
        step_adu=1,
        gradient_adu=gradient,
        mid_at=datetime(2026, 1, 15, tzinfo=UTC),
        pixel_sha256="",
    )
    header = FrameHeader(kind=request.kind, shape=(100, 100), exposure_us=request.exposure_us)
    verdicts = tuple(Verdict(code=c, refuses=True, measured=level, limit=0.0) for c in codes)
    return FrameResult(request=request, header=header, stats=stats, verdicts=verdicts)


def drive(
    plan: Plan[GroupOutcome], take: Callable[[CaptureRequest], FrameResult | None]
) -> tuple[GroupOutcome, list[CaptureRequest]]:
    """Ten lines of arithmetic instead of a camera."""
    asked: list[CaptureRequest] = []
    answer: tuple[FrameResult, ...] | None = None
    while True:
        try:
            asked.append(next(plan) if answer is None else plan.send(answer))
        except StopIteration as end:
            return end.value, asked
        assert len(asked) < 500
        answer = ()
        for _ in range(0 if asked[-1].purpose is Purpose.DISCARD else asked[-1].count):
            result = take(asked[-1])
            answer += () if result is None else (result,)
            if result is None or (asked[-1].limits.stop_early and not result.accepted):
                break


def physics(bias: float = 500.0, dark: float = 0.1, leak: float = 0.0) -> Callable[[CaptureRequest], FrameResult]:
    """A sensor with a dark current and, perhaps, light from one side."""

    def take(request: CaptureRequest) -> FrameResult:
        seconds = request.exposure_us / 1e6
        return frame(request, bias + (dark + leak) * seconds, gradient=1.0 + leak * seconds)

    return take


def bias(**changes: object) -> Plan[GroupOutcome]:
    wanted = {"exposure_us": 1000, "count": 40, "darkness": COVERED, "limits": Limits(), "set_id": "b"} | changes
    return bias_plan(STATE, **wanted)  # type: ignore[arg-type]


def dark(**changes: object) -> Plan[GroupOutcome]:
    wanted = {"exposure_us": 20 * S, "count": 40, "darkness": COVERED, "limits": Limits(), "set_id": "d"} | changes
    return dark_plan(STATE, **wanted)  # type: ignore[arg-type]


def test_biases_are_asked_for_at_once_after_one_that_is_thrown_away_and_one_that_is_judged() -> None:
    outcome, asked = drive(bias(), physics())
    assert [(r.purpose, r.count) for r in asked] == [(Purpose.DISCARD, 1), (Purpose.KEEP, 1), (Purpose.KEEP, 39)]
    assert outcome == GroupOutcome(status=GroupStatus.COMPLETE, accepted=40, refused=0, exposure_us=1000)


def test_every_request_carries_the_whole_state_and_the_dark() -> None:
    _, asked = drive(bias(darkness=Darkness(filter="Dark", cover=Cover.LEAVE)), physics())
    for request in asked:
        assert (request.gain, request.offset, request.set_temp_c) == (100, 30, -10.0)
        assert (request.filter, request.cover, request.panel_brightness) == ("Dark", Cover.LEAVE, None)
        assert (request.kind, request.set_id) == (FrameKind.BIAS, "b")


def test_a_resumed_set_takes_what_is_missing_and_a_complete_one_nothing() -> None:
    outcome, asked = drive(bias(have=33), physics())
    assert sum(r.count for r in asked if r.purpose is Purpose.KEEP) == 7
    assert outcome.accepted == 40
    outcome, asked = drive(bias(have=40), physics())
    assert not asked
    assert outcome.status is GroupStatus.COMPLETE


def test_refused_frames_are_asked_for_again() -> None:
    taken = 0

    def take(request: CaptureRequest) -> FrameResult:
        nonlocal taken
        taken += 1
        return frame(request, 500.0, refused_for=FrameCode.TEMPERATURE_OFF if taken in (5, 9, 41) else None)

    outcome, asked = drive(bias(), take)
    assert [r.count for r in asked if r.purpose is Purpose.KEEP] == [1, 39, 2, 1]
    assert (outcome.status, outcome.accepted, outcome.refused) == (GroupStatus.COMPLETE, 40, 3)
    assert outcome.detail == "3 temperature_off"


def test_a_set_is_given_up_after_half_its_frames_were_refused() -> None:
    outcome, asked = drive(bias(), lambda r: frame(r, 500.0, refused_for=FrameCode.PARTIAL))
    assert (outcome.status, outcome.code) == (GroupStatus.FAILED, GroupCode.TOO_MANY_REFUSED)
    assert sum(r.count for r in asked) <= 1 + 80


def test_a_camera_that_never_answers_is_not_asked_for_ever() -> None:
    outcome, asked = drive(bias(count=4, discard=0), lambda _: None)
    assert outcome.code is GroupCode.TOO_MANY_REFUSED
    assert len(asked) < 10


def test_darks_start_with_one_frame_and_then_ask_for_the_rest() -> None:
    outcome, asked = drive(dark(), physics())
    assert [(r.purpose, r.count) for r in asked] == [(Purpose.KEEP, 1), (Purpose.KEEP, 39)]
    assert (outcome.status, outcome.accepted) == (GroupStatus.COMPLETE, 40)


@pytest.mark.parametrize("rate", [0.1, None])
def test_an_open_cover_costs_three_frames_not_forty(rate: float | None) -> None:
    outcome, asked = drive(dark(darkness=replace(COVERED, rate_adu_s=rate)), physics(leak=200.0))
    assert outcome.status is GroupStatus.FAILED
    assert outcome.code is GroupCode.NOT_DARK
    assert sum(r.count for r in asked) == 4, "three, and a short one that tells light from a setting"


@pytest.mark.parametrize("after", [0, 9])
def test_another_gain_that_lifts_the_darks_is_no_light_leak(after: int) -> None:
    taken = 0

    def take(request: CaptureRequest) -> FrameResult:
        nonlocal taken
        taken += 1
        return physics(bias=500.0 if taken <= after else 580.0)(request)

    outcome, asked = drive(dark(), take)
    assert outcome.code is GroupCode.SETTING_REFUSED
    assert outcome.accepted == after
    assert "+80 ADU in a short exposure as well: gain or offset" in outcome.detail
    assert asked[-1].exposure_us == 20 * S // 16


def test_light_that_comes_during_the_first_two_exposures_is_not_linear_and_not_dark() -> None:
    unknown = Darkness(bias_adu=500.0)

    def take(request: CaptureRequest) -> FrameResult:
        return physics(dark=0.1 if request.purpose is Purpose.TEST else 30.0)(request)

    outcome, _ = drive(dark(darkness=unknown), take)
    assert outcome.code is GroupCode.NOT_DARK


def test_a_warm_sensor_of_unknown_dark_current_is_dark() -> None:
    unknown = Darkness(bias_adu=500.0, bias_gradient_adu=1.0)
    outcome, asked = drive(dark(darkness=unknown), physics(dark=0.9 * poor_rate_adu_s(-10.0)))
    assert outcome.status is GroupStatus.COMPLETE
    assert [(r.purpose, r.exposure_us, r.count) for r in asked] == [
        (Purpose.TEST, 5 * S, 1),
        (Purpose.KEEP, 20 * S, 1),
        (Purpose.KEEP, 20 * S, 39),
    ]


def test_a_constant_light_is_not_taken_for_dark_current_though_it_is_linear() -> None:
    unknown = Darkness(bias_adu=500.0)
    outcome, asked = drive(dark(darkness=unknown), physics(dark=1.5 * poor_rate_adu_s(-10.0)))
    assert outcome.code is GroupCode.NOT_DARK
    assert outcome.detail.startswith("2 ")
    assert FrameCode.LIGHT_LEAK in outcome.detail
    assert sum(r.count for r in asked) == 4, "three, and a short one that tells light from a setting"


def warm(take: Callable[[CaptureRequest], FrameResult], celsius: float) -> Callable[[CaptureRequest], FrameResult]:
    def taken(request: CaptureRequest) -> FrameResult:
        result = take(request)
        return replace(result, header=replace(result.header, ccd_temp_c=celsius))

    return taken


def test_light_that_spoilt_one_set_is_not_learnt_as_the_dark_current_of_the_next() -> None:
    """Of a sensor at 18 °C much is believed: the darks of 2 s that followed refused ones of 1 s were kept, lit."""
    unknown = Darkness(bias_adu=500.0, bias_gradient_adu=1.0)

    def switched_on(request: CaptureRequest) -> FrameResult:
        return physics(dark=5.0 + (50.0 if request.purpose is Purpose.KEEP else 0.0))(request)

    first, _ = drive(dark(exposure_us=S, darkness=unknown), warm(switched_on, 18.0))
    assert first.code is GroupCode.NOT_DARK
    lit = warm(physics(dark=55.0), 18.0)
    assert drive(dark(exposure_us=2 * S, darkness=unknown), lit)[0].status is GroupStatus.COMPLETE
    for celsius in (18.0, 19.0, 16.0):
        known = replace(unknown, darkest=first.darkest)
        second, _ = drive(dark(exposure_us=2 * S, darkness=known), warm(physics(dark=55.0), celsius))
        assert (second.code, second.accepted) == (GroupCode.NOT_DARK, 0)
        assert second.darkest == first.darkest, "the darkest stays the reference"


@pytest.mark.parametrize(("celsius", "rate"), [(18.0, 60.0), (17.0, 53.0), (20.0, 80.0), (24.0, 130.0)])
def test_a_sensor_as_warm_as_it_is_keeps_its_dark_current_from_set_to_set(celsius: float, rate: float) -> None:
    unknown = Darkness(bias_adu=500.0, bias_gradient_adu=1.0)
    first, _ = drive(dark(exposure_us=S, darkness=unknown), warm(physics(dark=60.0), 18.0))
    assert first.darkest == DarkSeen(rate_adu_s=60.0, exposure_us=S, ccd_temp_c=18.0)
    known = replace(unknown, darkest=first.darkest)
    second, _ = drive(dark(darkness=known), warm(physics(dark=rate), celsius))
    assert second.status is GroupStatus.COMPLETE


def test_light_from_one_side_is_seen_by_its_gradient_before_its_level() -> None:
    unknown = Darkness(bias_adu=500.0, bias_gradient_adu=1.0)
    leak = 0.8 * poor_rate_adu_s(-10.0)
    assert drive(dark(darkness=unknown), physics(dark=leak))[0].status is GroupStatus.COMPLETE
    assert drive(dark(darkness=unknown), physics(dark=0.0, leak=leak))[0].code is GroupCode.NOT_DARK


def test_a_warm_sensor_may_have_more_dark_current() -> None:
    def take(request: CaptureRequest) -> FrameResult:
        result = physics(dark=100.0)(request)
        return replace(result, header=replace(result.header, ccd_temp_c=20.0))

    warm = dark_plan(
        replace(STATE, set_temp_c=None),
        exposure_us=20 * S,
        count=3,
        darkness=Darkness(bias_adu=500.0),
        limits=Limits(),
        set_id="d",
    )
    assert drive(warm, take)[0].status is GroupStatus.COMPLETE


@pytest.mark.parametrize(("leak", "status"), [(0.0, GroupStatus.COMPLETE), (0.4, GroupStatus.FAILED)])
def test_a_leak_of_some_adu_is_seen_against_the_last_master(leak: float, status: GroupStatus) -> None:
    known = Darkness(bias_adu=500.0, rate_adu_s=0.1 + leak, earlier=Earlier(gradient_adu=1.0, signal_adu=2.0))
    outcome, asked = drive(dark(darkness=known), physics(leak=leak))
    assert outcome.status is status
    assert asked[0].limits.light_adu == 500.0 + 5.0 + 1.25 * 2.0
    assert asked[0].limits.gradient_adu == 5.0 + 1.25


def test_a_bias_with_a_gradient_that_the_last_master_lacks_costs_three_frames() -> None:
    known = replace(COVERED, earlier=Earlier(gradient_adu=3.0))
    assert drive(bias(darkness=known), physics())[0].status is GroupStatus.COMPLETE
    outcome, asked = drive(bias(darkness=known, discard=0), lambda r: frame(r, 500.0, gradient=10.0))
    assert (outcome.code, outcome.refused) == (GroupCode.NOT_DARK, 3)
    assert len(asked) == 3


def test_short_darks_need_no_second_exposure() -> None:
    _, asked = drive(dark(exposure_us=50_000, darkness=Darkness(bias_adu=500.0)), physics())
    assert [r.purpose for r in asked] == [Purpose.KEEP, Purpose.KEEP]


def test_light_switched_on_during_a_set_ends_it_as_not_dark() -> None:
    taken = 0

    def take(request: CaptureRequest) -> FrameResult:
        nonlocal taken
        taken += 1
        return physics(leak=0.0 if taken < 10 else 50.0)(request)

    outcome, _ = drive(dark(), take)
    assert (outcome.status, outcome.code) == (GroupStatus.PARTIAL, GroupCode.NOT_DARK)
    assert (outcome.accepted, outcome.refused) == (9, 3)


def test_a_first_frame_off_its_temperature_is_no_sign_of_light() -> None:
    taken = 0

    def take(request: CaptureRequest) -> FrameResult:
        nonlocal taken
        taken += 1
        return frame(request, 502.0, refused_for=FrameCode.TEMPERATURE_OFF if taken <= 4 else None)

    outcome, _ = drive(dark(), take)
    assert (outcome.status, outcome.refused) == (GroupStatus.COMPLETE, 4)


def test_without_a_known_pedestal_only_the_gradient_is_judged() -> None:
    unknown = Darkness(bias_gradient_adu=1.0)
    outcome, asked = drive(dark(darkness=unknown), physics(bias=777.0))
    assert outcome.status is GroupStatus.COMPLETE
    assert asked[0].limits.pedestal_adu is None
    assert drive(dark(darkness=unknown), physics(leak=5.0))[0].code is GroupCode.NOT_DARK


@pytest.mark.parametrize("rate", [0.1, None])
@pytest.mark.parametrize("fade_us", [None, 20 * S])
def test_the_waiting_after_flats_happens_once(rate: float | None, fade_us: int | None) -> None:
    darkness = replace(COVERED, rate_adu_s=rate)
    _, asked = drive(dark(wait_s=300.0, fade_us=fade_us, darkness=darkness), physics())
    assert [r.wait_s for r in asked] == [300.0] + [0.0] * (len(asked) - 1)
    _, asked = drive(dark(wait_s=300.0, darkness=darkness), physics(leak=200.0))
    assert sum(r.wait_s for r in asked) == 300.0
    _, asked = drive(bias(wait_s=300.0, discard=0), lambda r: frame(r, 500.0, refused_for=FrameCode.PARTIAL))
    assert asked[0].wait_s == 300.0


def test_frames_are_thrown_away_while_what_flats_left_behind_fades() -> None:
    glow = 8.0

    def take(request: CaptureRequest) -> FrameResult:
        nonlocal glow
        glow /= 2
        return frame(request, 502.0 + glow)

    outcome, asked = drive(dark(fade_us=20 * S), take)
    looked = [r for r in asked if r.purpose is Purpose.TEST]
    assert [r.exposure_us for r in looked] == [20 * S] * 4  # 4, 2, 1, 0.5 ADU
    assert asked[len(looked)].purpose is Purpose.KEEP
    assert outcome.status is GroupStatus.COMPLETE


def test_a_glow_that_does_not_end_is_no_dark() -> None:
    level = 900.0

    def take(request: CaptureRequest) -> FrameResult:
        nonlocal level
        level -= 2.0
        return frame(request, level)

    outcome, asked = drive(dark(fade_us=20 * S), take)
    assert (outcome.status, outcome.code) == (GroupStatus.FAILED, GroupCode.NOT_DARK)
    assert "2.0 ADU a frame" in outcome.detail
    assert len(asked) == FRAMES
    assert {r.purpose for r in asked} == {Purpose.TEST}


def test_dark_times_come_in_the_order_of_the_night_each_once() -> None:
    times = dark_exposures(1000, [2_239_000, 1_122_000, 5 * S], [5 * S], [0.5, 1.0, 2.0, 4.0], 60 * S)
    assert [(t.exposure_us, t.why) for t in times.times] == [
        (1000, (DarkUse.BIAS,)),
        (1_122_000, (DarkUse.FLAT,)),
        (2_239_000, (DarkUse.FLAT,)),
        (5 * S, (DarkUse.FLAT, DarkUse.SCIENCE)),
        (2_500_000, (DarkUse.FACTOR,)),
        (10 * S, (DarkUse.FACTOR,)),
        (20 * S, (DarkUse.FACTOR,)),
    ]


def test_factors_beyond_the_range_are_dropped_by_name() -> None:
    times = dark_exposures(1000, [], [20 * S], [0.5, 1.0, 4.0], 60 * S)
    assert [str(c) for c in times.clipped] == ["4 × 20 s = 80 s"]
    assert [t.exposure_us for t in times.times] == [1000, 20 * S, 10 * S]


def test_a_science_time_outside_the_range_is_an_error() -> None:
    with pytest.raises(CalibrationError, match=r"science_exposure_time 120 s .* 0\.001\.\.60 s"):
        dark_exposures(1000, [], [120 * S], [1.0], 60 * S)


def test_times_the_camera_cannot_tell_apart_are_one() -> None:
    times = dark_exposures(1000, [2_239_400], [2_240_000], [1.0], 60 * S, resolution_us=1000)
    assert [t.exposure_us for t in times.times] == [1000, 2_239_000, 2_240_000]
    times = dark_exposures(1000, [2_239_400], [2_240_000], [1.0], 60 * S, resolution_us=10_000)
    assert [t.exposure_us for t in times.times] == [10_000, 2_240_000]


def test_the_dark_current_is_told_by_earlier_darks_of_a_second_and_more() -> None:
    assert dark_rate(500.0, [(1000, 499.0), (5 * S, 501.0), (20 * S, 504.0)]) == pytest.approx(0.2)
    assert dark_rate(500.0, [(1000, 499.0)]) is None
    assert dark_rate(500.0, [(5 * S, 490.0)]) == 0.0


def test_a_dark_of_a_second_does_not_tell_the_rate_of_five_minutes() -> None:
    darks = [(1 * S, 501.0), (100 * S, 510.0)]  # one ADU of error in the first would be 300 in a long dark
    assert dark_rate(500.0, darks, exposure_us=300 * S) == pytest.approx(0.1)
    assert dark_rate(500.0, darks[:1], exposure_us=300 * S) is None
