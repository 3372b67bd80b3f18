"""The cooler: ramp, overshoot, limit, quantised readings."""

import numpy as np
import pytest

from drivers.simulator.cooler import Cooler
from drivers.simulator.params import CoolerParameters


def cooled(params=None, target_c=-10.0, until_s=1200):
    cooler = Cooler(params or CoolerParameters())
    cooler.switch(0.0, on=True)
    cooler.aim(0.0, target_c)
    return cooler, np.array([cooler.temperature_c(float(t)) for t in range(until_s)])


def test_reaches_and_holds_the_set_point():
    cooler, track = cooled()
    assert abs(track[600:] + 10).max() < 0.1
    assert track.min() > -10.3
    assert 60 < cooler.power_pct(1200.0) < 85


def test_a_nervous_loop_overshoots():
    _, track = cooled(CoolerParameters(damping=0.25, response_s=30.0))
    assert -13 < track.min() < -10.6


def test_the_limit_is_below_ambient_at_full_power():
    params = CoolerParameters(max_delta_c=22.0, ambient_drift_c_per_hour=0.0)
    cooler, track = cooled(params)
    assert track[-1] == pytest.approx(18 - 22, abs=0.05)
    assert cooler.power_pct(1200.0) == 100


def test_leaving_the_limit_is_not_wound_up():
    cooler, _ = cooled(CoolerParameters(max_delta_c=22.0))
    cooler.aim(1200.0, 0.0)
    assert cooler.temperature_c(1500.0) == pytest.approx(0.0, abs=0.3)


def test_readings_come_in_steps():
    cooler = Cooler(CoolerParameters(reading_step_c=0.4))
    cooler.switch(0.0, on=True)
    cooler.aim(0.0, -10.0)
    readings = {cooler.reading_c(float(t)) for t in range(300)}
    assert all(abs(r / 0.4 - round(r / 0.4)) < 1e-6 for r in readings)


def test_firmware_limits_the_ramp():
    _, track = cooled(CoolerParameters(ramp_c_per_min=3.0), until_s=300)
    assert np.diff(track).min() > -3.5 / 60


def test_off_it_warms_towards_ambient():
    cooler, _ = cooled()
    cooler.switch(1200.0, on=False)
    assert cooler.temperature_c(2400.0) == pytest.approx(cooler.ambient_c(2400.0), abs=0.3)
    assert cooler.power_pct(2400.0) == 0


def test_without_supply_it_warms_though_the_firmware_pushes():
    cooler, _ = cooled()
    cooler.supply(1200.0, powered=False)
    assert cooler.temperature_c(1500.0) > -4
    assert cooler.power_pct(1500.0) == 100
    cooler.supply(1500.0, powered=True)
    assert cooler.temperature_c(2400.0) == pytest.approx(-10, abs=0.1)


def test_an_uncooled_sensor_follows_the_night():
    cooler = Cooler(CoolerParameters(can_set=False, ambient_drift_c_per_hour=-2.0))
    assert cooler.temperature_c(0.0) == pytest.approx(22.0)
    assert cooler.temperature_c(3600.0) == pytest.approx(20.0, abs=0.2)


def test_the_mean_of_an_exposure_to_come_is_what_comes():
    cooler = Cooler(CoolerParameters(ripple_c=0.0))
    cooler.switch(0.0, on=True)
    cooler.aim(0.0, -10.0)
    cooler.temperature_c(30.0)
    told = cooler.mean_temperature_c(30.0, 90.0)
    came = np.mean([cooler.temperature_c(30.0 + k * 60 / 8) for k in range(9)])
    assert told == pytest.approx(came, abs=0.02)


def test_nobody_looking_for_a_year_costs_nothing():
    cooler, _ = cooled(CoolerParameters(ambient_drift_c_per_hour=0.0))
    assert cooler.temperature_c(365 * 86_400.0) == pytest.approx(-10, abs=0.1)


def test_the_surroundings_drift_for_a_night_and_do_not_freeze_after_weeks():
    cooler = Cooler(CoolerParameters(ambient_c=18.0, ambient_drift_c_per_hour=-0.3))
    assert [cooler.ambient_c(3600.0 * hours) for hours in (0, 1, 12, 1000)] == pytest.approx([18, 17.7, 14.4, 14.4])
