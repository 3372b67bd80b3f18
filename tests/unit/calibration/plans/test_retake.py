"""What refused frames of a dark set are suspected of, and when a set has had its refusals."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from calibration.errors import FrameCode, GroupCode
from calibration.frames import CaptureRequest, FrameHeader, FrameKind, FrameResult, FrameStats, Limits, Purpose, Verdict
from calibration.plans.retake import SeriesTaken, given_up, suspicion, take, take_first
from calibration.plans.settings import Plan

STATS = FrameStats(
    level_adu=500.0,
    mean_adu=500.0,
    sigma_adu=3.0,
    min_adu=480.0,
    max_adu=520.0,
    saturated_fraction=0.0,
    zero_fraction=0.0,
    step_adu=1,
    gradient_adu=1.0,
    mid_at=datetime(2026, 1, 15, tzinfo=UTC),
    pixel_sha256="",
)
PEDESTAL = Limits(pedestal_adu=500.0, pedestal_tolerance_adu=10.0)


def asked(kind: FrameKind = FrameKind.BIAS, limits: Limits = PEDESTAL, count: int = 40) -> CaptureRequest:
    return CaptureRequest(kind=kind, purpose=Purpose.KEEP, exposure_us=1_000, count=count, limits=limits)


def frame(request: CaptureRequest, *codes: str, level: float = 540.0) -> FrameResult:
    header = FrameHeader(kind=request.kind, shape=(100, 100), exposure_us=request.exposure_us)
    verdicts = tuple(Verdict(code=code, refuses=True, measured=40.0, limit=10.0) for code in codes)
    return FrameResult(request=request, header=header, stats=replace(STATS, level_adu=level), verdicts=verdicts)


def drive(plan: Plan[SeriesTaken], *codes: str, level: float = 540.0) -> tuple[SeriesTaken, int]:
    """Return how a plan ends whose every frame is refused for `codes`, and how many frames that took."""
    frames, answer = 0, None
    while True:
        try:
            request = next(plan) if answer is None else plan.send(answer)
        except StopIteration as end:
            return end.value, frames
        count = 1 if request.limits.stop_early else request.count
        answer = tuple(frame(request, *codes, level=level) for _ in range(count))
        frames += count


@pytest.mark.parametrize(
    ("kind", "codes", "level", "expected"),
    [
        (FrameKind.BIAS, {FrameCode.PEDESTAL_OFF}, 540.0, GroupCode.SETTING_REFUSED),
        (FrameKind.BIAS, {FrameCode.PEDESTAL_OFF}, 460.0, GroupCode.SETTING_REFUSED),
        (FrameKind.BIAS, {FrameCode.PEDESTAL_OFF, FrameCode.LIGHT_LEAK}, 540.0, GroupCode.NOT_DARK),
        (FrameKind.BIAS, {FrameCode.PEDESTAL_OFF, FrameCode.CONSTANT}, 65535.0, GroupCode.NOT_DARK),
        (FrameKind.DARK, {FrameCode.PEDESTAL_OFF}, 540.0, GroupCode.NOT_DARK),
        (FrameKind.DARK, {FrameCode.PEDESTAL_OFF}, 460.0, GroupCode.SETTING_REFUSED),
        (FrameKind.DARK, {FrameCode.CONSTANT}, 0.0, None),
        (FrameKind.DARK, {FrameCode.TEMPERATURE_OFF}, 500.0, None),
    ],
)
def test_light_makes_brighter_and_a_wrong_gain_moves_the_pedestal_either_way(
    kind: FrameKind, codes: set[str], level: float, expected: GroupCode | None
) -> None:
    assert suspicion(frame(asked(kind), *codes, level=level)) == expected


def test_a_jump_within_a_set_without_a_known_pedestal_is_light() -> None:
    assert suspicion(frame(asked(limits=Limits()), FrameCode.PEDESTAL_OFF)) is GroupCode.NOT_DARK


def test_a_pedestal_that_is_off_costs_three_frames() -> None:
    taken, frames = drive(take_first(asked()), FrameCode.PEDESTAL_OFF)
    assert (taken.code, frames) == (GroupCode.SETTING_REFUSED, 3)


def test_a_sensor_off_its_set_point_in_a_fifth_of_the_frames_ends_the_set() -> None:
    taken, frames = drive(take(asked(limits=Limits(stop_early=True)), 40), FrameCode.TEMPERATURE_OFF)
    assert (taken.code, frames) == (GroupCode.TOO_MANY_REFUSED, 9)
    taken, frames = drive(take(asked(limits=Limits(stop_early=True)), 40), FrameCode.NOISE_OFF)
    assert (taken.code, frames) == (GroupCode.TOO_MANY_REFUSED, 21)


def test_a_small_set_may_lose_three_frames_of_either_sort() -> None:
    request = asked(count=6)
    warm = tuple(frame(request, FrameCode.TEMPERATURE_OFF) for _ in range(4))
    assert not given_up(warm[:3], 3, 6)
    assert given_up(warm, 4, 6)
