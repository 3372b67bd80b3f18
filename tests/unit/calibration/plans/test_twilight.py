"""Sky flats: each frame its own exposure, and an end when the sky has gone where no exposure follows."""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from calibration.errors import GroupCode
from calibration.frames import Cover, GroupOutcome, GroupStatus, Purpose
from calibration.plans.detector import Detector, SaturationSource
from calibration.plans.settings import ExposureState, FlatSettings
from calibration.plans.twilight import SkyPoint, sky_exposure_s, sky_slope, twilight_plan
from tests.benchmarks.flat_lamps import BEGIN, Light, Sensor, SmallCamera, drive

DETECTOR = Detector(
    bias_adu=500,
    read_sigma_adu=3,
    saturation_adu=65_535,
    saturation_source=SaturationSource.MEASURED,
    exposure_min_us=100,
)


@dataclass(frozen=True, kw_only=True)
class Sky(Light):
    """Light that grows as e^(s t)."""

    slope_per_s: float = -math.log(2) / 180
    controlled: bool = False

    def collected_s(self, start_s: float, exposure_s: float, brightness: int) -> float:
        s = self.slope_per_s
        return (math.exp(s * (start_s + exposure_s)) - math.exp(s * start_s)) / s


def sky_flats(sky: Sky, *, dawn: bool = False, have: int = 0, **changes: Any) -> tuple[GroupOutcome, SmallCamera]:
    camera = SmallCamera(sensor=Sensor(), light=sky, seed=8)
    plan = twilight_plan(
        FlatSettings(**changes), DETECTOR, ExposureState(), filter="B", dawn=dawn, have=have, set_id="t"
    )
    return drive(plan, camera), camera


def test_at_dusk_exposures_grow_and_levels_stay() -> None:
    outcome, camera = sky_flats(Sky(needed_s=0.5), num_flats=30)
    assert (outcome.status, outcome.accepted) == (GroupStatus.COMPLETE, 30)
    frames = [r for r in camera.taken if r.request.purpose is Purpose.KEEP]
    times = [r.request.exposure_us for r in frames]
    assert times == sorted(times)
    assert times[-1] > 1.1 * times[0]
    assert all(r.stats.level_adu - 500 == pytest.approx(0.5 * 65_035, rel=0.12) for r in frames)
    assert {r.cover for r in camera.requests} == {Cover.OPEN}
    assert {r.panel_brightness for r in camera.requests} == {None}


def test_at_dawn_exposures_shrink() -> None:
    outcome, camera = sky_flats(Sky(needed_s=4.0, slope_per_s=math.log(2) / 120), dawn=True, num_flats=20)
    assert outcome.status is GroupStatus.COMPLETE
    times = [r.exposure_us for r in camera.requests if r.purpose is Purpose.KEEP]
    assert times[-1] < 0.8 * times[0]


def test_a_sky_still_too_bright_at_dusk_is_waited_for() -> None:
    outcome, camera = sky_flats(Sky(needed_s=0.0005), num_flats=5)
    assert outcome.status is GroupStatus.COMPLETE
    assert sum(r.wait_s for r in camera.requests) > 60


def test_a_sky_still_too_dim_at_dawn_is_waited_for() -> None:
    outcome, _ = sky_flats(Sky(needed_s=40.0, slope_per_s=math.log(2) / 180), dawn=True, num_flats=5)
    assert outcome.status is GroupStatus.COMPLETE


def test_dusk_that_has_gone_ends_as_too_dim_with_what_there_is() -> None:
    outcome, _ = sky_flats(Sky(needed_s=2.0, slope_per_s=-math.log(2) / 60), num_flats=100)
    assert (outcome.status, outcome.code) == (GroupStatus.PARTIAL, GroupCode.TOO_DIM)
    assert 10 < outcome.accepted < 100


def test_dawn_that_has_come_ends_as_too_bright() -> None:
    outcome, _ = sky_flats(Sky(needed_s=0.01, slope_per_s=math.log(2) / 60), dawn=True, num_flats=1000)
    assert (outcome.status, outcome.code) == (GroupStatus.PARTIAL, GroupCode.TOO_BRIGHT)


@pytest.mark.parametrize("dawn", [False, True])
def test_a_sky_that_never_comes_is_not_waited_for_for_ever(dawn: bool) -> None:
    outcome, camera = sky_flats(Sky(needed_s=1e9 if dawn else 1e-9, slope_per_s=1e-12), dawn=dawn)
    assert (outcome.status, outcome.code) == (GroupStatus.FAILED, GroupCode.NO_CONVERGENCE)
    assert len(camera.requests) < 80


def test_a_resumed_set_takes_what_is_missing() -> None:
    outcome, camera = sky_flats(Sky(needed_s=0.5), num_flats=30, have=28)
    assert outcome.accepted == 30
    assert sum(r.purpose is Purpose.KEEP for r in camera.requests) == 2


def test_the_exposure_collects_what_is_wanted() -> None:
    for slope in (-0.01, 0.01):
        t = sky_exposure_s(1000.0, 200.0, slope)
        assert 200.0 * math.expm1(slope * t) / slope == pytest.approx(1000.0)
    assert sky_exposure_s(1000.0, 200.0, 0.0) == 5.0
    assert sky_exposure_s(1000.0, 200.0, -0.3) == math.inf


def test_the_slope_is_learnt_from_the_last_frames() -> None:
    points = [
        SkyPoint(mid_at=BEGIN + timedelta(seconds=20 * i), rate_adu_s=5000 * math.exp(-0.004 * 20 * i))
        for i in range(4)
    ]
    assert sky_slope(points, -0.001) == pytest.approx(-0.004)
    assert sky_slope(points[:1], -0.001) == -0.001
