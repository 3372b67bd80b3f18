"""Whose doing it is that a cooler is on: remembered for a day, and for as long as a daemon holds it."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from drivers.base import CameraState, CameraStates
from drivers.clock import ManualClock
from services.catalogue.catalogue import Catalogue
from services.observatory.remembered import CoolerMemory

OFF = CameraState(
    activity=CameraStates.IDLE,
    image_ready=False,
    ccd_temperature_c=5.0,
    cooler_on=False,
    cooler_power_pct=None,
    set_temperature_c=5.0,
)
ON = replace(OFF, cooler_on=True, set_temperature_c=-10.0)


def test_a_cooler_that_was_left_on_is_ours_for_a_day_and_longer_while_it_is_held(tmp_path: Path) -> None:
    clock = ManualClock()
    with Catalogue(tmp_path / "catalogue.sqlite") as catalogue:
        CoolerMemory(catalogue, "QHY", clock).found(OFF)
        clock.advance(23 * 3600)
        assert CoolerMemory(catalogue, "QHY", clock).is_left_on()
        clock.advance(21 * 86_400)
        assert not CoolerMemory(catalogue, "QHY", clock).is_left_on()
        held = CoolerMemory(catalogue, "QHY", clock, clock.now() - timedelta(hours=20))
        assert held.is_left_on()
        assert held.before(ON) == replace(ON, cooler_on=False, set_temperature_c=5.0)  # as the first found it
        assert not CoolerMemory(catalogue, "QHY", clock, clock.now() - timedelta(hours=25)).is_left_on()
        held.left()
        assert not held.is_left_on()


def test_the_next_run_of_a_cooler_that_was_held_for_weeks_leaves_it_as_the_first_found_it(tmp_path: Path) -> None:
    clock = ManualClock()
    with Catalogue(tmp_path / "catalogue.sqlite") as catalogue:
        CoolerMemory(catalogue, "QHY", clock).found(OFF)
        clock.advance(21 * 86_400)
        state = CoolerMemory(catalogue, "QHY", clock, clock.now()).found(ON)
        assert (state.cooler_on, state.set_temperature_c) == (False, 5.0)
        assert CoolerMemory(catalogue, "QHY", clock).before(ON) is not None  # and that is remembered anew
