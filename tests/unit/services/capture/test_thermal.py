"""What readings mean, one history at a time."""

import math

import pytest

from services.capture import thermal
from services.capture.thermal import History, Reading


def history(points: list[tuple[float, float | None]], **rest: float) -> History:
    made = History()
    for at_s, ccd_c in points:
        made.add(Reading(at_s=at_s, ccd_c=ccd_c, **rest))
    return made


def held(celsius: float, *, until_s: float = 300.0, every_s: float = 5.0) -> list[tuple[float, float | None]]:
    return [(k * every_s, celsius) for k in range(int(until_s / every_s) + 1)]


def test_the_resolution_is_learnt_from_the_smallest_change() -> None:
    assert history([(0, 1.0), (5, 1.8), (10, 1.4), (15, 1.4)]).step_c == pytest.approx(0.4)
    assert history(held(-10.0)).step_c == 0.0


def test_a_window_that_is_not_whole_yet_is_empty() -> None:
    short = history(held(-10.0, until_s=60))
    assert short.window(120, whole=True) == ()
    assert len(short.window(120)) == 13


def test_the_ramp_moves_by_at_most_a_degree_and_stops_at_the_target() -> None:
    assert thermal.next_setpoint(10.0, -10.0, rate_c_per_min=6.0, elapsed_s=5.0) == pytest.approx(9.5)
    assert thermal.next_setpoint(10.0, -10.0, rate_c_per_min=30.0, elapsed_s=60.0) == pytest.approx(9.0)
    assert thermal.next_setpoint(-9.9, -10.0, rate_c_per_min=6.0, elapsed_s=5.0) == -10.0
    assert thermal.next_setpoint(-10.0, 0.0, rate_c_per_min=6.0, elapsed_s=5.0) == pytest.approx(-9.5)


def test_slope_is_a_least_squares_line_per_minute() -> None:
    falling = [Reading(at_s=10.0 * k, ccd_c=20 - 0.1 * k) for k in range(13)]
    assert thermal.slope_c_per_min(falling) == pytest.approx(-0.6)
    assert thermal.slope_c_per_min(falling[:1]) == 0.0


def test_one_sample_within_tolerance_is_not_stable() -> None:
    assert not thermal.is_stable(history([(0, -10.0)]), target_c=-10.0, tolerance_c=0.3, dwell_s=120)
    assert thermal.is_stable(history(held(-10.1)), target_c=-10.0, tolerance_c=0.3, dwell_s=120)


def test_a_slow_drift_within_the_tolerance_is_not_stable() -> None:
    drifting = history([(5.0 * k, -9.75 - 0.02 * k) for k in range(25)])
    assert abs(drifting.last.ccd_c + 10.0) < 0.3  # type: ignore[union-attr, operator]
    assert not thermal.is_stable(drifting, target_c=-10.0, tolerance_c=0.3, dwell_s=120)


def test_a_cooler_near_full_power_is_not_stable() -> None:
    made = History()
    for k in range(61):
        made.add(Reading(at_s=5.0 * k, ccd_c=-10.0, power_pct=60.0 if k < 30 else 98.0))
    assert not thermal.is_stable(made, target_c=-10.0, tolerance_c=0.3, dwell_s=120)


def test_a_power_that_never_moves_says_nothing() -> None:
    assert thermal.is_stable(history(held(-10.0), power_pct=0.0), target_c=-10.0, tolerance_c=0.3, dwell_s=120)
    assert thermal.is_stable(history(held(-10.0), power_pct=100.0), target_c=-10.0, tolerance_c=0.3, dwell_s=120)


def test_a_regulated_sensor_with_coarse_steps_is_healthy() -> None:
    toggling = history([(5.0 * k, -10.0 if k % 20 else -9.6) for k in range(120)], set_c=-10.0, power_pct=55.0)
    assert not thermal.is_stuck(toggling)
    constant = history(held(-10.0, until_s=400), set_c=-10.0, power_pct=55.0)
    assert not thermal.is_stuck(constant)


def test_a_reading_that_stands_while_the_set_point_moves_is_stuck() -> None:
    made = History()
    for k in range(41):
        made.add(Reading(at_s=5.0 * k, ccd_c=18.0, set_c=18.0 - 0.1 * k))
    assert thermal.is_stuck(made)


def test_a_cooler_that_arrives_at_its_set_point_lowers_its_power_and_is_healthy() -> None:
    for reading_c, stuck in ((5.2, False), (9.0, True)):
        made = history([(0.0, reading_c + 0.4)])  # a sensor of coarse steps
        for k in range(1, 41):
            made.add(Reading(at_s=5.0 * k, ccd_c=reading_c, set_c=5.0, power_pct=max(34.0, 70.0 - k)))
        assert thermal.is_stuck(made) is stuck


def test_what_is_no_temperature_is_not_believed() -> None:
    assert [thermal.believed_c(c) for c in (-10.0, None, float("nan"), -273.0, -300.0, 99.0)] == [-10.0] + [None] * 5


def test_a_stall_needs_full_power_and_five_minutes() -> None:
    at_limit = history(held(-5.0, until_s=400), power_pct=100.0)
    assert thermal.is_stalled(at_limit, target_c=-20.0, tolerance_c=0.3, since_s=0.0)
    assert not thermal.is_stalled(at_limit, target_c=-20.0, tolerance_c=0.3, since_s=200.0)
    assert not thermal.is_stalled(
        history(held(-5.0, until_s=400), power_pct=70.0), target_c=-20.0, tolerance_c=0.3, since_s=0
    )


@pytest.mark.parametrize("celsius", [None, math.nan, math.inf, -273.15, 85.0])
def test_implausible_readings(celsius: float | None) -> None:
    assert thermal.is_implausible(history([(5.0 * k, celsius) for k in range(13)]))
    assert not thermal.is_implausible(history([(5.0 * k, celsius) for k in range(3)]))


def test_a_warming_sensor_at_full_power_has_lost_its_cooler() -> None:
    warming = history([(30.0 * k, -10.0 + 0.3 * k) for k in range(10)], set_c=-10.0, power_pct=100.0)
    assert thermal.has_lost_power(warming)
    regulated = history([(30.0 * k, -10.0 + 0.02 * k) for k in range(10)], set_c=-10.0, power_pct=60.0)
    assert not thermal.has_lost_power(regulated)
