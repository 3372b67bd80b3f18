"""Cooling against a plant: real stability, limits, stuck sensors, lost power, ramps."""

import threading
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

from calibration.errors import GroupCode
from drivers.clock import ManualClock
from drivers.errors import Refused
from services.capture.cooler import Cooler
from services.capture.cooling import Thermostat
from services.capture.failures import GroupFailed, UntilReached
from services.capture.recovery import Recovery
from services.config.devices import Cooling, CoolingPolicy
from services.errors import RunCode, RunStopped
from services.events.bus import Events
from services.events.devices import CoolingStable, CoolingStalled, DeviceGone, DeviceRestored
from services.events.records import Event, Record, WarningRaised
from services.observatory import Interlock
from tests.support.fake_plant import Plant
from tests.support.fakes import INFO, FakeCamera, lost


class Rig:
    """A thermostat on a fake camera, with what it emitted."""

    def __init__(
        self,
        *,
        cooling: Cooling | None = None,
        plant: dict | None = None,
        info=INFO,
        active: bool = True,
        until_s: float | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.plant = Plant(self.clock, **(plant or {}))
        self.camera = FakeCamera(self.clock, plant=self.plant, info=info)
        self.events = Events(run_id="r", clock=self.clock)
        self.heard: list[Event] = []
        self._listen()
        self.interlock = Interlock()
        recovery = Recovery(camera=self.camera, clock=self.clock, events=self.events, interlock=self.interlock)
        settings = cooling or Cooling()
        cooler = Cooler(
            camera=self.camera,
            clock=self.clock,
            events=self.events,
            interlock=self.interlock,
            recovery=recovery,
            settings=settings,
            until=None if until_s is None else self.clock.now() + timedelta(seconds=until_s),
        )
        self.thermostat = Thermostat(cooler, active=active)

    def _listen(self) -> None:
        emit = self.events.emit

        def hear(what: Record) -> Event:
            event = emit(what)
            self.heard.append(event)
            return event

        self.events.emit = hear  # type: ignore[method-assign]

    def names(self) -> list[str]:
        return [event.name for event in self.heard]

    def lose_power(self) -> pytest.ExceptionInfo[GroupFailed]:
        """Cut the cooler's supply; return the failure of the next set of darks."""
        self.plant.supplied = False
        for _ in range(30):
            self.clock.sleep(10.0)
            self.thermostat.look()
        with pytest.raises(GroupFailed) as caught:
            self.thermostat.ensure(-10.0, CoolingPolicy.STOP)
        return caught

    def set_points(self) -> list[float]:
        return [float(c.split()[1]) for c in self.camera.calls if c.startswith("set_temperature")]


def test_a_stable_sensor_stays_within_half_a_degree_for_the_next_twenty_minutes() -> None:
    rig = Rig()
    cooled = rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    assert cooled is not None
    assert cooled.stable
    assert cooled.set_c == -10.0
    readings = []
    for _ in range(240):
        rig.clock.sleep(5.0)
        readings.append(rig.plant.reading_c())
    assert max(readings) - min(readings) <= 0.4
    assert abs(np.mean(readings) + 10.0) < 0.2
    assert CoolingStable.name in rig.names()


def test_the_ramp_never_falls_faster_than_configured() -> None:
    rig = Rig(cooling=Cooling(ramp_rate=3.0))
    seen: list[tuple[float, float]] = []
    command = rig.camera.set_temperature

    def noted(celsius: float) -> None:
        seen.append((rig.clock.monotonic(), celsius))
        command(celsius)

    rig.camera.set_temperature = noted  # type: ignore[method-assign]
    rig.thermostat.ensure(-5.0, CoolingPolicy.STOP)
    steps = [(b[0] - a[0], a[1] - b[1]) for a, b in pairwise(seen)]
    assert seen[0][1] == pytest.approx(18.0, abs=0.1)
    assert seen[-1][1] == -5.0
    assert max(step for _, step in steps) <= 1.0
    duration_min = (seen[-1][0] - seen[0][0]) / 60
    assert (seen[0][1] - seen[-1][1]) / duration_min <= 3.1


def test_an_overshooting_loop_is_not_called_stable_while_it_swings() -> None:
    rig = Rig(plant={"gain": 30.0, "integral_s": 8.0, "tau_s": 150.0})
    cooled = rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    assert cooled is not None
    readings = [rig.plant.reading_c() for _ in range(240) if rig.clock.sleep(5.0) is False]
    assert max(readings) - min(readings) <= 0.6


def test_a_set_point_beyond_the_cooler_ends_as_cooler_limit_well_before_the_time_out() -> None:
    rig = Rig(plant={"max_delta_c": 20.0}, cooling=Cooling(cooling_timeout=3600.0))
    with pytest.raises(GroupFailed) as caught:
        rig.thermostat.ensure(-20.0, CoolingPolicy.STOP)
    assert caught.value.code == GroupCode.COOLER_LIMIT
    assert rig.clock.monotonic() < 1500
    assert CoolingStalled.name in rig.names()


@pytest.mark.parametrize("stable_time", [0.2, 2.0, 8.0, 11.0])
@pytest.mark.parametrize("step_c", [0.0, 0.1, 0.4])
def test_a_sensor_can_be_seen_to_hold_for_some_seconds(stable_time: float, step_c: float) -> None:
    """Three looks belong to it, and with one every five seconds none of less than ten ever held."""
    rig = Rig(cooling=Cooling(stable_time=stable_time), plant={"step_c": step_c})
    cooled = rig.thermostat.ensure(14.0, CoolingPolicy.STOP)
    assert cooled is not None
    assert cooled.stable


def test_a_sensor_at_its_set_point_that_is_not_steady_in_time_is_no_limit_of_the_cooler() -> None:
    rig = Rig(cooling=Cooling(stable_time=400.0, cooling_timeout=300.0))
    with pytest.raises(GroupFailed) as caught:
        rig.thermostat.ensure(10.0, CoolingPolicy.RAISE_SETPOINT)
    assert caught.value.code == GroupCode.NOT_STEADY
    assert caught.value.detail == "not steady for 400 s within 300 s at 10.0 °C"
    assert rig.set_points()[-1] == 10.0, "a warmer one would be no steadier"


@pytest.mark.parametrize("step_c", [0.0, 0.1, 0.5])
def test_a_cooler_that_is_found_at_its_limit_is_no_stuck_sensor(step_c: float) -> None:
    """Its reading stands while our ramp goes on, and so does its power: a set-point it cannot follow says nothing."""
    rig = Rig(plant={"max_delta_c": 20.0, "step_c": step_c})
    rig.plant.on, rig.plant.set_c = True, -20.0  # an earlier run has left it so
    rig.clock.sleep(900.0)
    with pytest.raises(GroupFailed) as caught:
        rig.thermostat.ensure(-20.0, CoolingPolicy.STOP)
    assert caught.value.code == GroupCode.COOLER_LIMIT


def test_a_set_point_reached_at_full_power_only_is_the_coolers_limit() -> None:
    rig = Rig(plant={"max_delta_c": 28.0}, cooling=Cooling(cooling_timeout=1800.0))
    with pytest.raises(GroupFailed) as caught:
        rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    assert caught.value.code == GroupCode.COOLER_LIMIT


@pytest.mark.parametrize("step_c", [0.0, 0.1, 0.5])
def test_a_sensor_that_stays_colder_than_its_set_point_asks_for_a_colder_one(step_c: float) -> None:
    """On a cold night the cooler is off at 0 %: neither a warmer set-point nor more power brings the sensor there."""
    rig = Rig(plant={"ambient_c": 4.0, "step_c": step_c}, cooling=Cooling(cooling_timeout=1200.0))
    with pytest.raises(GroupFailed) as caught:
        rig.thermostat.ensure(10.0, CoolingPolicy.RAISE_SETPOINT)
    assert caught.value.code == GroupCode.COOLER_LIMIT
    assert "the cooler does not heat; choose a colder set-point" in caught.value.detail
    assert max(rig.set_points()) == 10.0, "a warmer one is no nearer"


def test_a_sensor_that_stays_warmer_than_its_set_point_is_not_said_to_be_too_cold() -> None:
    rig = Rig(plant={"max_delta_c": 20.0})
    with pytest.raises(GroupFailed) as caught:
        rig.thermostat.ensure(-20.0, CoolingPolicy.STOP)
    assert "heat" not in caught.value.detail


def test_a_set_point_that_failed_is_not_waited_for_again_at_once() -> None:
    rig = Rig(plant={"max_delta_c": 20.0})
    for _ in range(2):
        with pytest.raises(GroupFailed):
            rig.thermostat.ensure(-20.0, CoolingPolicy.STOP)
        after_s = rig.clock.monotonic()
    with pytest.raises(GroupFailed):
        rig.thermostat.ensure(-20.0, CoolingPolicy.STOP)
    assert rig.clock.monotonic() == after_s


def test_flats_go_on_marked_when_the_temperature_cannot_be_had() -> None:
    rig = Rig(plant={"max_delta_c": 20.0})
    cooled = rig.thermostat.ensure(-20.0, CoolingPolicy.CONTINUE_MARKED)
    assert cooled is not None
    assert not cooled.stable
    assert cooled.code == GroupCode.COOLER_LIMIT
    assert cooled.ccd_c is not None
    assert cooled.ccd_c > -5
    assert rig.set_points()[-1] == -20.0, "what is wanted, not where the ramp happened to be"


def test_darks_are_not_taken_at_the_temperature_that_flats_went_on_with() -> None:
    rig = Rig(plant={"max_delta_c": 20.0})
    for _ in range(2):
        marked = rig.thermostat.ensure(-20.0, CoolingPolicy.CONTINUE_MARKED)
        assert marked is not None
        assert marked.code == GroupCode.COOLER_LIMIT
        with pytest.raises(GroupFailed) as caught:
            rig.thermostat.ensure(-20.0, CoolingPolicy.STOP)
        assert caught.value.code == GroupCode.COOLER_LIMIT
    assert rig.names().count(CoolingStalled.name) == 1


def test_raising_the_set_point_ends_at_one_that_is_reachable() -> None:
    rig = Rig(plant={"max_delta_c": 30.0})
    cooled = rig.thermostat.ensure(-20.0, CoolingPolicy.RAISE_SETPOINT)
    assert cooled is not None
    assert cooled.stable
    assert cooled.wanted_c == -20.0
    assert cooled.set_c == -10.0


def test_a_frozen_reading_is_sensor_stuck_and_not_waited_for_for_ever() -> None:
    rig = Rig()
    rig.camera.frozen_c = 18.0
    with pytest.raises(GroupFailed) as caught:
        rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    assert caught.value.code == GroupCode.SENSOR_STUCK
    assert rig.clock.monotonic() < 400


@pytest.mark.parametrize("nonsense", [-273.0, -300.0, float("nan"), 200.0])
def test_minus_three_hundred_degrees_is_no_temperature(nonsense: float) -> None:
    rig = Rig()
    rig.camera.frozen_c = nonsense
    with pytest.raises(GroupFailed) as caught:
        rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    assert caught.value.code == GroupCode.SENSOR_STUCK
    assert rig.clock.monotonic() < 200


def test_a_healthy_sensor_with_steps_of_0_4_degrees_becomes_stable() -> None:
    rig = Rig(plant={"step_c": 0.4})
    cooled = rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    assert cooled is not None
    assert cooled.stable


def test_a_camera_that_tells_no_power_still_becomes_stable() -> None:
    rig = Rig(info=replace(INFO, can_get_cooler_power=False))
    cooled = rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    assert cooled is not None
    assert cooled.stable


def test_a_cooler_whose_supply_failed_is_cooled_again_and_then_given_up() -> None:
    rig = Rig()
    rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    caught = rig.lose_power()
    assert caught.value.code == GroupCode.COOLER_LOST
    assert rig.heard[-1].what.code == GroupCode.COOLER_LOST


def test_a_supply_that_fails_while_cooling_is_given_up_after_minutes_not_at_the_time_out() -> None:
    rig = Rig(cooling=Cooling(cooling_timeout=7200.0), plant={"tau_s": 900.0})
    rig.thermostat.ensure(-5.0, CoolingPolicy.STOP)
    rig.plant.supplied = False
    begun_s = rig.clock.monotonic()
    with pytest.raises(GroupFailed) as caught:
        rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    assert caught.value.code == GroupCode.COOLER_LOST
    assert rig.clock.monotonic() - begun_s < 900.0


def test_a_cooler_that_switched_itself_off_is_switched_on_again_once() -> None:
    rig = Rig()
    rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    rig.plant.on = False
    rig.clock.sleep(300.0)
    cooled = rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    assert cooled is not None
    assert cooled.stable
    assert rig.plant.on


def test_the_same_temperature_is_not_waited_for_twice() -> None:
    rig = Rig()
    rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    before_s = rig.clock.monotonic()
    rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    assert rig.clock.monotonic() == before_s


def test_going_warmer_follows_the_slower_ramp_up() -> None:
    rig = Rig(cooling=Cooling(ramp_rate=20.0, warmup_rate=2.0))
    rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    before_s = rig.clock.monotonic()
    rig.thermostat.ensure(-4.0, CoolingPolicy.STOP)
    assert rig.clock.monotonic() - before_s > 180


def test_a_camera_without_a_cooler_is_left_alone_unless_cooling_is_required() -> None:
    info = replace(INFO, can_set_temperature=False)
    assert Rig(info=info).thermostat.ensure(-10.0, CoolingPolicy.STOP) is None
    with pytest.raises(GroupFailed):
        Rig(info=info, cooling=Cooling(mode="required")).thermostat.ensure(-10.0, CoolingPolicy.CONTINUE_MARKED)


def test_a_cooler_that_is_to_be_left_as_found_gets_no_command() -> None:
    rig = Rig(active=False)
    assert rig.thermostat.ensure(-10.0, CoolingPolicy.STOP) is None
    rig.thermostat.end()
    assert rig.camera.calls == []


def test_without_waiting_the_set_point_is_sent_at_once() -> None:
    rig = Rig(cooling=Cooling(wait_for_cooling=False))
    cooled = rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    assert cooled is not None
    assert not cooled.stable
    assert rig.plant.set_c == -10.0
    assert rig.clock.monotonic() < 10


def test_a_refused_set_point_is_the_coolers_limit() -> None:
    from drivers.errors import Refused

    rig = Rig()
    command = rig.camera.set_temperature

    def refuse(celsius: float) -> None:
        if celsius < 0:
            raise Refused(device="Fake camera", detail="below its range", number=0x401)
        command(celsius)

    rig.camera.set_temperature = refuse  # type: ignore[method-assign]
    with pytest.raises(GroupFailed) as caught:
        rig.thermostat.ensure(-60.0, CoolingPolicy.STOP)
    assert caught.value.code == GroupCode.COOLER_LIMIT


def test_a_camera_lost_while_cooling_is_waited_for_and_cooled_on() -> None:
    rig = Rig()
    rig.camera.state_errors.extend([None] * 20 + [lost()])
    rig.camera.connect_errors.extend([lost(), lost(), None])
    cooled = rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    assert cooled is not None
    assert cooled.stable
    assert rig.names().count(DeviceGone.name) == 1
    assert rig.names().count(DeviceRestored.name) == 1


def test_a_stop_ends_the_cooling() -> None:
    rig = Rig()
    rig.interlock.trip(RunCode.UNSAFE, "rain")
    with pytest.raises(RunStopped) as caught:
        rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    assert caught.value.code is RunCode.UNSAFE


def test_cooling_ends_when_the_time_of_until_comes() -> None:
    """`--until` was looked at between exposures only: a run cooled on for half an hour after it."""
    rig = Rig(until_s=60.0)
    begun = rig.clock.now()
    with pytest.raises(UntilReached):
        rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    assert rig.clock.now() - begun < timedelta(seconds=75)


def test_warming_up_is_slow_and_ends_with_the_cooler_off() -> None:
    rig = Rig(cooling=Cooling(warmup_at_end=True, warmup_rate=2.0, warmup_final_temp=10.0))
    rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    before_s, before_c = rig.clock.monotonic(), rig.plant.reading_c()
    rig.thermostat.end()
    minutes = (rig.clock.monotonic() - before_s) / 60
    assert not rig.plant.on
    assert rig.plant.reading_c() >= 9.5
    assert (rig.plant.reading_c() - before_c) / minutes <= 2.3


def test_warming_up_in_a_cold_dome_ends_though_it_never_gets_warm() -> None:
    rig = Rig(plant={"ambient_c": 2.0}, cooling=Cooling(warmup_at_end=True, warmup_final_temp=15.0))
    rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    before_s = rig.clock.monotonic()
    rig.thermostat.end()
    assert not rig.plant.on
    assert rig.clock.monotonic() - before_s < 1200


def test_a_second_ctrl_c_cuts_the_warming_short_but_switches_the_cooler_off() -> None:
    rig = Rig(cooling=Cooling(warmup_at_end=True))
    rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    hurry = threading.Event()
    hurry.set()
    before_s = rig.clock.monotonic()
    rig.thermostat.end(hurry)
    assert not rig.plant.on
    assert rig.clock.monotonic() == before_s


def test_a_cooler_that_does_not_go_off_is_no_cooler_that_was_left_off() -> None:
    rig = Rig()
    rig.thermostat.note_found(rig.camera.state())
    rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    rig.camera.set_cooler = lambda on: None  # type: ignore[method-assign]
    with pytest.raises(Refused, match="reads on"):
        rig.thermostat.end()


def _no_switch(rig: Rig, *, refuses: bool) -> None:
    """Let the cooler run whenever it has a set-point, as cameras do that cool whenever they have power."""
    rig.plant.on = True

    def stay(on: bool) -> None:
        if refuses:
            raise Refused(device="Fake camera", detail="CoolerOn is not implemented", number=0x400)

    rig.camera.set_cooler = stay  # type: ignore[method-assign]


@pytest.mark.parametrize("refuses", [True, False], ids=["refuses both ways", "accepts and reads on"])
def test_a_cooler_without_a_switch_is_a_note_once_the_sensor_is_warm(refuses: bool) -> None:
    rig = Rig(cooling=Cooling(warmup_at_end=True, warmup_final_temp=10.0))
    _no_switch(rig, refuses=refuses)
    cooled = rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    assert cooled is not None
    assert cooled.stable
    rig.thermostat.end()
    assert rig.plant.reading_c() >= 9.5
    noted = [event.what.code for event in rig.heard if isinstance(event.what, WarningRaised)]
    assert noted == [RunCode.DEVICE_LIMITED]


def test_a_cooler_without_a_switch_that_is_still_cold_was_not_left_well() -> None:
    rig = Rig(cooling=Cooling(warmup_at_end=True))
    _no_switch(rig, refuses=True)
    rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    hurry = threading.Event()
    hurry.set()
    with pytest.raises(Refused):
        rig.thermostat.end(hurry)


@pytest.mark.parametrize(("found_on", "found_c"), [(False, 18.0), (True, 5.0)])
def test_the_cooler_is_left_as_found(found_on: bool, found_c: float) -> None:
    rig = Rig()
    rig.plant.on, rig.plant.set_c = found_on, found_c
    rig.thermostat.note_found(rig.camera.state())
    rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    rig.thermostat.end()
    assert rig.plant.on is found_on
    if found_on:
        assert rig.plant.set_c == found_c


# --- coolers that take other set-points, or read their temperature otherwise ------------------------------------------


def taking(rig: Rig, takes) -> None:
    """Let the camera keep what `takes` makes of a set-point; None refuses it."""
    command = rig.camera.set_temperature

    def picky(celsius: float) -> None:
        taken_c = takes(celsius)
        if taken_c is None:
            raise Refused(device="fake", detail=f"{celsius:g} does not suit me", number=0x401)
        command(taken_c)

    rig.camera.set_temperature = picky  # type: ignore[method-assign]


def whole(celsius: float) -> float | None:
    return celsius if float(celsius).is_integer() else None


@pytest.mark.parametrize(
    ("takes", "wanted_c", "set_c"),
    [
        (whole, -4.0, -4.0), (whole, -4.6, -5.0),  # whole degrees alone
        (lambda c: c if c in (-4.0, 3.5) else None, -4.0, -4.0),  # no step on the way at all
        (round, -4.4, -4.0), (lambda c: round(2 * c) / 2, -4.2, -4.0),  # rounded without a word
        (lambda c: c + 0.02, -4.0, -4.0),  # its own arithmetic
    ],
)  # fmt: skip
def test_a_set_point_is_what_the_camera_makes_of_it(takes, wanted_c: float, set_c: float) -> None:
    rig = Rig(cooling=Cooling(stable_time=30.0))
    taking(rig, takes)
    cooled = rig.thermostat.ensure(wanted_c, CoolingPolicy.STOP)
    assert cooled is not None
    assert (cooled.stable, cooled.set_c) == (True, set_c)
    told = [e.what.detail for e in rig.heard if isinstance(e.what, WarningRaised)]
    rounded = f"the camera makes a set-point of {set_c:g} °C out of {wanted_c:g} °C"
    assert told == ([] if set_c == wanted_c else [rounded])
    assert rig.thermostat.ensure(wanted_c, CoolingPolicy.STOP) is cooled  # it is held


def test_a_set_point_that_is_refused_in_every_form_is_named() -> None:
    rig = Rig()
    taking(rig, lambda c: c if c > 0 else None)
    with pytest.raises(GroupFailed, match=r"refuses the set-point -4[.]5 °C: -4 does not suit me"):
        rig.thermostat.ensure(-4.5, CoolingPolicy.STOP)


def test_a_sensor_that_reads_with_pictures_alone_is_not_stuck() -> None:
    rig = Rig(cooling=Cooling(ramp_rate=30.0, stable_time=5.0, cooling_timeout=200.0), plant={"tau_s": 20.0})
    rig.camera.frozen_c = 18.0
    rig.camera.on_expose = lambda: setattr(rig.camera, "frozen_c", rig.plant.reading_c())
    cooled = rig.thermostat.ensure(8.0, CoolingPolicy.STOP)
    assert cooled is not None
    assert cooled.stable
    assert cooled.ccd_c == pytest.approx(8.0, abs=0.4)
    assert all(not asked.light and asked.duration_s <= 0.001 for asked in rig.camera.exposed)


def test_a_stuck_sensor_gets_an_exposure_first_and_a_reading_that_moves_lifts_the_ban() -> None:
    rig = Rig(cooling=Cooling(stable_time=30.0))
    rig.camera.frozen_c = 18.0
    with pytest.raises(GroupFailed) as caught:
        rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    assert caught.value.code == GroupCode.SENSOR_STUCK
    assert rig.camera.exposed
    begun = rig.clock.monotonic()
    with pytest.raises(GroupFailed):
        rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    assert rig.clock.monotonic() == begun  # it is not tried again in vain
    rig.camera.frozen_c = None
    cooled = rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    assert cooled is not None
    assert cooled.stable


def test_a_time_out_shorter_than_our_own_ramp_is_said_at_once() -> None:
    rig = Rig(cooling=Cooling(cooling_timeout=120.0, ramp_rate=5.0))
    with pytest.raises(GroupFailed) as caught:
        rig.thermostat.ensure(-10.0, CoolingPolicy.STOP)
    assert caught.value.code == GroupCode.NOT_STEADY
    told = r"cooling_timeout \(120 s\) is shorter than the ramp from 18.0 to -10.0 °C, which takes 332 s at 5 °C/min"
    caught.match(told)
    assert rig.clock.monotonic() < 1
    assert rig.camera.calls == []


def test_a_time_out_that_is_too_short_after_a_loss_of_power_is_not_the_first_cause() -> None:
    """A sensor that was found cold lost its cooler; only then the ramp was longer than the time for it."""
    rig = Rig(cooling=Cooling(cooling_timeout=240.0))
    rig.plant.on, rig.plant.set_c = True, -10.0  # another program has cooled it
    rig.clock.sleep(900.0)
    assert rig.thermostat.ensure(-10.0, CoolingPolicy.STOP).stable  # type: ignore[union-attr]
    caught = rig.lose_power()
    assert caught.value.code == GroupCode.COOLER_LOST
    caught.match(
        r"the cooler had lost its power, and after that cooling_timeout \(240 s\) is shorter than the ramp from "
    )


def test_warming_up_ends_with_the_cooler_off_though_set_points_are_refused() -> None:
    rig = Rig(cooling=Cooling(stable_time=30.0, warmup_at_end=True))
    rig.thermostat.ensure(5.0, CoolingPolicy.STOP)
    taking(rig, lambda _: None)
    rig.thermostat.end()
    assert rig.plant.on is False
