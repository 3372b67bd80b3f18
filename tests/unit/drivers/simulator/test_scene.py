"""Light: panel, filters, cover, twilight, integrated exactly."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from drivers.base import CoverStatus
from drivers.simulator.faults import FaultKind, Faults, FaultScript
from drivers.simulator.params import ObservatoryParameters, PanelParameters, SceneParameters, SkyParameters
from drivers.simulator.scene import Lamp, Scene, level_time_s, sky_rate_e_s, sun_altitude_deg

START = datetime(2026, 6, 21, 20, 0, tzinfo=UTC)


def scene(*, faults=(), **changes):
    return Scene(replace(ObservatoryParameters(), **changes), START, Faults(faults))


def test_panel_off_is_dark_and_on_is_proportional_to_brightness_and_time():
    made = scene(panel=PanelParameters(warmup=0.0))
    assert made.light_e(0.0, 100.0) == 0
    made.lamp.change(10.0, Lamp(brightness=51, lit_at_s=10.0))
    assert made.light_e(20.0, 22.0) == pytest.approx(250_000 * 51 / 255 * 2)


def test_switching_during_an_exposure_counts_only_the_lit_part():
    made = scene(panel=PanelParameters(warmup=0.0))
    made.lamp.change(10.0, Lamp(brightness=255, lit_at_s=10.0))
    made.lamp.change(10.4, Lamp())
    assert made.light_e(9.0, 11.0) == pytest.approx(250_000 * 0.4)


def test_a_wheel_on_its_way_lets_nothing_through():
    made = scene(panel=PanelParameters(warmup=0.0))
    made.lamp.change(0.0, Lamp(brightness=255, lit_at_s=0.0))
    made.filter.change(10.0, None)
    made.filter.announce(12.0, 4)
    assert made.light_e(10.0, 12.0) == 0
    assert made.light_e(9.0, 13.0) == pytest.approx(250_000 * (1 + 0.035))
    assert made.filter_name(11.0) is None
    assert made.filter_name(13.0) == "Ha"


def test_a_new_command_forgets_what_was_announced():
    made = scene()
    made.filter.change(1.0, None)
    made.filter.announce(5.0, 3)
    made.filter.change(2.0, None)
    made.filter.announce(9.0, 1)
    assert made.filter.at(6.0) is None
    assert made.filter.at(9.5) == 1


@pytest.mark.parametrize("on_cover", [True, False])
def test_a_flip_flat_shines_with_its_cover_closed_another_panel_with_it_open(on_cover):
    made = scene(panel=PanelParameters(on_cover=on_cover))
    made.lamp.change(0.0, Lamp(brightness=255, lit_at_s=0.0))
    seen = []
    for cover in (CoverStatus.CLOSED, CoverStatus.OPEN):
        made.cover.change(5.0, cover)
        seen.append(made.light_e(10.0, 11.0) > 0)
    assert seen == [on_cover, not on_cover]


@pytest.mark.parametrize("pwm_hz", [0.0, 7.0])
def test_lamp_integral_equals_the_sum_of_small_steps(pwm_hz):
    panel = PanelParameters(warmup=0.2, warmup_tau_s=3.0, pwm_hz=pwm_hz)
    a, b, level = 0.37, 1.93, 0.3
    t = np.linspace(a, b, 400_001)
    shine = np.where((t * pwm_hz) % 1 < level, 1.0, 0.0) if pwm_hz else np.full_like(t, level)
    direct = np.trapezoid(shine * (1 + 0.2 * np.exp(-t / 3.0)), t)
    assert level_time_s(panel, level, a, b, lit_at_s=0.0) == pytest.approx(direct, rel=0.02 if pwm_hz else 1e-5)


def test_a_chopped_lamp_is_unsteady_in_short_exposures_only():
    panel = PanelParameters(warmup=0.0, pwm_hz=100.0)
    rng = np.random.default_rng(5)

    def scatter(t):
        light = [level_time_s(panel, 0.2, s, s + t, lit_at_s=0.0) for s in rng.random(200) * 10]
        return np.std(light) / np.mean(light)

    assert scatter(0.0133) > 0.1
    assert scatter(2.003) < 2e-3


def test_a_drifting_lamp_fades():
    fault = FaultScript(kind=FaultKind.LAMP_DRIFT, at_s=60.0, value=-0.1)
    made = scene(panel=PanelParameters(warmup=0.0), faults=(fault,))
    made.lamp.change(0.0, Lamp(brightness=255, lit_at_s=0.0))
    light = [made.light_e(t, t + 1) / 250_000 for t in (30.0, 119.5, 179.5)]
    assert light == pytest.approx([1.0, 0.9, 0.8])


def test_a_lamp_of_another_level_and_its_drift_are_multiplied():
    faults = (
        FaultScript(kind=FaultKind.LAMP_LEVEL, at_s=100.0, value=0.25),
        FaultScript(kind=FaultKind.LAMP_DRIFT, at_s=60.0, value=-0.1),
    )
    made = scene(panel=PanelParameters(warmup=0.0), faults=faults)
    made.lamp.change(0.0, Lamp(brightness=255, lit_at_s=0.0))
    light = [made.light_e(t, t + 1) / 250_000 for t in (30.0, 119.5)]
    assert light == pytest.approx([1.0, 0.25 * 0.9])


def test_the_sky_falls_by_decades_and_only_an_open_cover_sees_it():
    made = scene(scene=SceneParameters(sky=SkyParameters()))
    assert made.light_e(0.0, 1.0) == 0
    made.cover.change(0.0, CoverStatus.OPEN)
    evening = [made.light_e(t, t + 1.0) for t in (0.0, 600.0, 1200.0)]
    assert evening[0] > 2 * evening[1] > 4 * evening[2] > 0
    assert sky_rate_e_s(SkyParameters(), START + timedelta(hours=3)) < 100


@pytest.mark.parametrize(
    ("at", "latitude", "altitude"),
    [
        (datetime(2026, 6, 21, 11, 22, tzinfo=UTC), 50.0, 90 - 50 + 23.44),
        (datetime(2026, 12, 21, 11, 18, tzinfo=UTC), 50.0, 90 - 50 - 23.44),
        (datetime(2026, 6, 21, 23, 22, tzinfo=UTC), 50.0, -(90 - 50 - 23.44)),
    ],
)
def test_the_sun_stands_where_the_seasons_put_it(at, latitude, altitude):
    assert sun_altitude_deg(at, latitude_deg=latitude, longitude_deg=10.0) == pytest.approx(altitude, abs=0.05)
