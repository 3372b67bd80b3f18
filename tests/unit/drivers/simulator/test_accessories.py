"""Wheel, panel and safety monitor, on a clock that the test moves."""

from dataclasses import replace

import pytest

from drivers.clock import ManualClock
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.errors import AscomError, ErrorNumber
from drivers.simulator.faults import FaultKind, FaultScript
from drivers.simulator.params import PanelParameters
from drivers.simulator.presets import preset


@pytest.fixture
def open_observatory():
    opened = []

    def make(name="qhy600m", *, faults=(), panel=None):
        params = replace(preset(name, width=32, height=32), faults=tuple(faults))
        if panel is not None:
            params = replace(params, panel=panel)
        observatory = SimulatedObservatory(params, ManualClock())
        opened.append(observatory)
        for device in observatory.devices():
            device.write("connected", {"Connected": "true"})
        observatory.clock.advance(3)
        return observatory

    yield make
    for observatory in opened:
        observatory.close()


def refused(call, *args):
    with pytest.raises(AscomError) as caught:
        call(*args)
    return caught.value.number


def test_wheel_moves_the_short_way_round(open_observatory):
    observatory = open_observatory()
    wheel, clock = observatory.wheel, observatory.clock
    assert wheel.read("names")[4] == "Ha"
    assert len(wheel.read("focusoffsets")) == 7
    wheel.write("position", {"Position": "6"})
    assert wheel.read("position") == -1
    clock.advance(0.9)
    assert wheel.read("position") == 6
    assert refused(wheel.write, "position", {"Position": "7"}) is ErrorNumber.INVALID_VALUE
    assert refused(wheel.write, "position", {"Position": "-1"}) is ErrorNumber.INVALID_VALUE


def test_wheel_homes_after_connecting(open_observatory):
    observatory = open_observatory()
    observatory.wheel.write("connected", {"Connected": "false"})
    observatory.wheel.write("connected", {"Connected": "true"})
    assert observatory.wheel.read("position") == -1
    observatory.clock.advance(2.1)
    assert observatory.wheel.read("position") == 0


def test_a_slow_and_a_wrong_move(open_observatory):
    faults = [
        FaultScript(kind=FaultKind.SLOW_WHEEL, count=1, value=60),
        FaultScript(kind=FaultKind.WRONG_POSITION, at_s=70, count=1),
    ]
    observatory = open_observatory(faults=faults)
    wheel, clock = observatory.wheel, observatory.clock
    wheel.write("position", {"Position": "2"})
    clock.advance(60)
    assert wheel.read("position") == -1
    clock.advance(10)
    assert wheel.read("position") == 2
    wheel.write("position", {"Position": "4"})
    clock.advance(5)
    assert wheel.read("position") == 5


def test_a_wheel_that_slips_reads_another_position_once(open_observatory):
    fault = FaultScript(kind=FaultKind.WHEEL_SLIPS, at_s=60, count=1, value=2)
    observatory = open_observatory(faults=[fault])
    assert observatory.wheel.read("position") == 0
    observatory.clock.advance(60)
    assert [observatory.wheel.read("position") for _ in range(3)] == [2, 2, 2]


def test_a_panel_that_stays_on_takes_the_command_and_shines_on(open_observatory):
    fault = FaultScript(kind=FaultKind.PANEL_STAYS_ON, count=1)
    observatory = open_observatory(faults=[fault])
    panel, clock = observatory.panel, observatory.clock
    panel.write("calibratoron", {"Brightness": "40"})
    clock.advance(2.1)
    panel.write("calibratoroff", {})
    assert (panel.read("calibratorstate"), panel.read("brightness")) == (3, 40)
    panel.write("calibratoroff", {})
    assert (panel.read("calibratorstate"), panel.read("brightness")) == (1, 0)


def test_panel_warms_up_and_the_cover_takes_time(open_observatory):
    observatory = open_observatory()
    panel, clock = observatory.panel, observatory.clock
    assert (panel.read("coverstate"), panel.read("calibratorstate"), panel.read("maxbrightness")) == (1, 1, 255)
    panel.write("calibratoron", {"Brightness": "40"})
    assert (panel.read("calibratorstate"), panel.read("calibratorchanging")) == (2, True)
    clock.advance(2.1)
    assert (panel.read("calibratorstate"), panel.read("brightness")) == (3, 40)
    panel.write("opencover", {})
    assert (panel.read("coverstate"), panel.read("covermoving")) == (2, True)
    clock.advance(5.1)
    assert panel.read("coverstate") == 3
    panel.write("closecover", {})
    panel.write("haltcover", {})
    assert panel.read("coverstate") == 4
    panel.write("calibratoroff", {})
    assert (panel.read("calibratorstate"), panel.read("brightness")) == (1, 0)
    for brightness in ("-1", "256"):
        assert refused(panel.write, "calibratoron", {"Brightness": brightness}) is ErrorNumber.INVALID_VALUE


def test_parts_that_are_not_there(open_observatory):
    bare = open_observatory("no_cover").panel
    assert bare.read("coverstate") == 0
    for method in ("opencover", "closecover", "haltcover"):
        assert refused(bare.write, method, {}) is ErrorNumber.NOT_IMPLEMENTED
    dark = open_observatory("no_panel").panel
    assert dark.read("calibratorstate") == 0
    for member in ("brightness", "maxbrightness"):
        assert refused(dark.read, member) is ErrorNumber.NOT_IMPLEMENTED
    assert refused(dark.write, "calibratoron", {"Brightness": "1"}) is ErrorNumber.NOT_IMPLEMENTED


def test_switching_on_may_move_the_cover(open_observatory):
    panel = PanelParameters(on_cover=False, on_closes_cover=True)
    observatory = open_observatory(panel=panel)
    observatory.panel.write("calibratoron", {"Brightness": "1"})
    assert observatory.panel.read("coverstate") == 2
    observatory.clock.advance(6)
    assert observatory.panel.read("coverstate") == 3


@pytest.mark.parametrize(("kind", "state"), [(FaultKind.PANEL_NEVER_READY, 2), (FaultKind.PANEL_ERROR, 5)])
def test_panel_that_fails(open_observatory, kind, state):
    observatory = open_observatory(faults=[FaultScript(kind=kind)])
    observatory.panel.write("calibratoron", {"Brightness": "40"})
    observatory.clock.advance(600)
    assert observatory.panel.read("calibratorstate") == state
    observatory.panel.write("calibratoroff", {})
    assert observatory.panel.read("calibratorstate") == 1


def test_cover_that_sticks(open_observatory):
    observatory = open_observatory(faults=[FaultScript(kind=FaultKind.COVER_STUCK, count=1)])
    observatory.panel.write("opencover", {})
    observatory.clock.advance(6)
    assert observatory.panel.read("coverstate") == 5
    observatory.panel.write("closecover", {})
    observatory.clock.advance(6)
    assert observatory.panel.read("coverstate") == 1


def test_unsafe_from_a_moment_on_for_a_while(open_observatory):
    observatory = open_observatory(faults=[FaultScript(kind=FaultKind.UNSAFE, at_s=100, for_s=50)])
    seen = []
    for _ in range(4):
        seen.append(observatory.safety.read("issafe"))
        observatory.clock.advance(49)
    assert seen == [True, True, False, True]


def test_a_fault_of_one_device_leaves_the_others_alone(open_observatory):
    faults = open_observatory(
        faults=[FaultScript(kind=FaultKind.STALL, device="camera", member="imagearray", count=1)]
    ).world.faults
    assert faults.strikes(FaultKind.STALL, 5.0, device="safetymonitor", member="issafe") is None
    assert faults.strikes(FaultKind.STALL, 5.0, device="camera", member="binx") is None
    assert faults.strikes(FaultKind.STALL, 5.0, device="camera", member="imagearray") is not None
    assert faults.strikes(FaultKind.STALL, 5.0, device="camera", member="imagearray") is None
