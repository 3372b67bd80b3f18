"""Exposure times and the settings that come nearest to a dose."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.plans.detector import Detector, SaturationSource
from calibration.plans.ladder import quantise, rung, rungs, tidy
from calibration.plans.reach import Reach, Setting, reach_of
from calibration.plans.settings import FlatSettings, PanelSettings


def reach(panel: PanelSettings | None, resolution_us: int = 1, **settings: object) -> Reach:
    detector = Detector(
        bias_adu=500,
        read_sigma_adu=3,
        saturation_adu=65_535,
        saturation_source=SaturationSource.MEASURED,
        exposure_min_us=100,
        exposure_resolution_us=resolution_us,
    )
    return reach_of(FlatSettings(**settings), detector, panel)  # type: ignore[arg-type]


def test_the_ladder_has_twenty_rungs_a_decade_in_whole_milliseconds() -> None:
    times = rungs(1_000_000, 10_000_000)
    assert times[:4] == (1_000_000, 1_122_000, 1_259_000, 1_413_000)
    assert len(times) == 21
    assert all(t % 1000 == 0 for t in rungs(100_000, 60_000_000))
    assert max(b / a for a, b in pairwise(times)) == pytest.approx(1.122, abs=0.002)


def test_coarse_cameras_get_each_time_once() -> None:
    assert rungs(1_000_000, 2_000_000, 500_000) == (1_000_000, 1_500_000, 2_000_000)
    assert rungs(5, 4) == ()


@given(st.floats(1, 1e9), st.integers(1, 100_000))
def test_tidy_times_are_near_and_can_be_kept(exposure_us: float, resolution_us: int) -> None:
    kept = tidy(exposure_us, resolution_us)
    assert kept % resolution_us == 0
    assert abs(kept - exposure_us) <= 0.0051 * exposure_us + resolution_us / 2 + 1 or kept == resolution_us


def test_quantised_times_are_never_nothing() -> None:
    assert quantise(0.2) == 1
    assert quantise(10, 1000) == 1000
    assert rung(0) == 1_000_000


def test_a_fixed_lamp_gets_the_exposure_itself() -> None:
    fixed = reach(PanelSettings(max_brightness=1))
    assert fixed.nearest(123_456, 1.0) == Setting(exposure_us=123_000, brightness=1)
    assert fixed.nearest(1.0, 1.0).exposure_us == 1000
    assert fixed.nearest(1e12, 1.0).exposure_us == 10_000_000
    assert reach(None).nearest(123_456, 1.0) == Setting(exposure_us=123_000)


def test_a_brightness_fixed_by_the_user_stays() -> None:
    fixed = reach(PanelSettings(max_brightness=255, brightness=80))
    assert fixed.nearest(80 * 123_456.0, 1.0) == Setting(exposure_us=123_000, brightness=80)


def test_a_cover_without_a_lamp_has_no_brightness() -> None:
    assert reach(PanelSettings(max_brightness=0)).start(None, None).brightness is None


@given(st.floats(2e5, 255e7), st.floats(0.5, 2.2))
def test_a_dimmable_panel_stays_on_the_ladder_within_the_fine_miss(light: float, gamma: float) -> None:
    dimmable = reach(PanelSettings(max_brightness=255))
    dose = 10 ** (math.log10(2e6) + (math.log10(light) - math.log10(2e5)) / 5 * (gamma * 2.4 + 0.6))
    setting = dimmable.nearest(dose, gamma)
    top = Setting(exposure_us=10_000_000, brightness=255).dose(gamma)
    if dose <= 0.9 * top:
        assert setting.dose(gamma) == pytest.approx(dose, rel=0.03)
        assert setting.exposure_us >= 200_000
    assert 1 <= (setting.brightness or 0) <= 255


def test_a_dimmable_panel_prefers_the_window_and_leaves_it_only_at_its_ends() -> None:
    dimmable = reach(PanelSettings(max_brightness=255))
    middle = dimmable.nearest(2_000_000.0 * 50, 1.0)
    assert middle.exposure_us in rungs(1_000_000, 5_000_000)
    bright = dimmable.nearest(50_000.0, 1.0)
    assert bright == Setting(exposure_us=50_000, brightness=1)
    assert dimmable.nearest(8_000_000.0 * 255, 1.0).exposure_us > 5_000_000
    assert dimmable.shortest(dimmable.nearest(1.0, 1.0))
    assert dimmable.longest(dimmable.nearest(1e15, 1.0))


@pytest.mark.parametrize("resolution_us", [1, 1000, 10_000, 3_000, 250_000])
@pytest.mark.parametrize("panel", [None, PanelSettings(max_brightness=1), PanelSettings(max_brightness=255)])
def test_nothing_outside_the_limits_is_ever_asked_for(resolution_us: int, panel: PanelSettings | None) -> None:
    allowed = reach(panel, resolution_us, min_exposure_us=4_500, max_exposure_us=9_990_000)
    low, high = -(-4_500 // resolution_us) * resolution_us, 9_990_000 // resolution_us * resolution_us
    for exponent in range(13):
        exposure_us = allowed.nearest(10.0**exponent, 1.0).exposure_us
        assert exposure_us % resolution_us == 0
        assert low <= exposure_us <= high
