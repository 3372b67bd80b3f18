"""A dome and a mount are read over real sockets; nothing is ever sent to them but the order to connect."""

import ast
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import pytest

import drivers.alpaca.surroundings as module
from drivers.alpaca.discovery import configured_devices
from drivers.alpaca.surroundings import AlpacaDome, AlpacaTelescope
from drivers.alpaca.transport import DomeWire, Endpoint, TelescopeWire, Timeouts
from drivers.clock import ManualClock
from drivers.errors import DeviceLost, DeviceMissing, DriverError
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.faults import DeviceKind, FaultKind, FaultScript
from drivers.simulator.params import (
    DomeParameters,
    ObservatoryParameters,
    SceneParameters,
    SkyParameters,
    SpanParameters,
    TelescopeParameters,
)
from drivers.simulator.presets import from_mapping, preset
from drivers.simulator.server import AlpacaServer
from drivers.surroundings import DomeState, ShutterStatus, TelescopeState

OPEN: list[Any] = []
QUICK = Timeouts(open_s=2.0, read_s=1.0, poll_s=1.0, put_s=2.0, connect_s=2.0, real_s=0.2)


@contextmanager
def served(params: ObservatoryParameters) -> Iterator[tuple[SimulatedObservatory, Endpoint, ManualClock]]:
    clock = ManualClock()
    with SimulatedObservatory(params, clock) as observatory, AlpacaServer(observatory) as server:
        yield observatory, Endpoint(server.host, server.port), clock
        while OPEN:
            OPEN.pop().close()


D = TypeVar("D", AlpacaDome, AlpacaTelescope)


def made(kind: type[D], there: Endpoint, clock: ManualClock) -> D:
    device = kind(there, clock, timeouts=QUICK)
    OPEN.append(device)
    return device


def another(there: Endpoint, clock: ManualClock) -> DomeWire:
    """Return the dome as an imaging program has it: what may move it."""
    wire = DomeWire(there, clock)
    OPEN.append(wire.line)
    return wire


def small(**changes: object) -> ObservatoryParameters:
    return replace(preset("qhy600m", width=24, height=16), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["qhy600m", "old"])
def test_roof_and_mount_are_read_by_new_interfaces_and_by_old(name: str) -> None:
    with served(preset(name, width=24, height=16)) as (_, there, clock):
        dome, mount = made(AlpacaDome, there, clock), made(AlpacaTelescope, there, clock)
        dome.connect()
        mount.connect()
        assert dome.state() == DomeState(shutter=ShutterStatus.CLOSED, at_park=None)  # a roof has no park position
        assert mount.state() == TelescopeState(at_park=True, tracking=False, altitude_deg=0.0)


def test_a_roof_opens_and_closes_by_its_script_and_lets_the_sky_in() -> None:
    dome_parameters = DomeParameters(open=(SpanParameters(from_s=100, to_s=200),), moves_s=30)
    with served(small(dome=dome_parameters, scene=SceneParameters(sky=SkyParameters()), panel=None)) as (
        observatory,
        there,
        clock,
    ):
        dome = made(AlpacaDome, there, clock)
        dome.connect()
        seen = []
        light = observatory.world.scene.light_e
        for _ in range(8):
            seen.append(
                (round(clock.monotonic()), dome.state().shutter, light(clock.monotonic(), clock.monotonic() + 1) > 0)
            )
            clock.advance(35)
    roof = [(s.name if s is not None else "", sky) for _, s, sky in seen]
    assert roof[:3] == [("CLOSED", False)] * 3
    assert roof[3:5] == [("OPENING", True), ("OPEN", True)]
    assert [state for state, _ in roof[5:]] == ["OPEN", "CLOSING", "CLOSED"]


def test_a_mount_works_and_parks_by_its_script() -> None:
    with served(small(telescope=TelescopeParameters(at_work=(SpanParameters(from_s=10, to_s=20),)))) as (
        _,
        there,
        clock,
    ):
        mount = made(AlpacaTelescope, there, clock)
        mount.connect()
        before = mount.state()
        clock.advance(12)
        at_work = mount.state()
        clock.advance(20)
        assert before == mount.state() == TelescopeState(at_park=True, tracking=False, altitude_deg=0.0)
        assert at_work == TelescopeState(at_park=False, tracking=True, altitude_deg=60.0)


def test_what_a_device_does_not_offer_is_none() -> None:
    no_park = TelescopeParameters(can_park=False)
    with served(small(dome=DomeParameters(has_shutter=False), telescope=no_park)) as (_, there, clock):
        dome, mount = made(AlpacaDome, there, clock), made(AlpacaTelescope, there, clock)
        dome.connect()
        mount.connect()
        assert dome.state() == DomeState(shutter=None, at_park=None)
        assert mount.state().at_park is False


def test_an_observer_who_opens_the_roof_is_seen() -> None:
    with served(small()) as (_, there, clock):
        dome, theirs = made(AlpacaDome, there, clock), another(there, clock)
        dome.connect()
        theirs.OpenShutter()
        assert dome.state().shutter is ShutterStatus.OPENING
        clock.advance(31)
        assert dome.state().shutter is ShutterStatus.OPEN
        theirs.CloseShutter()
        theirs.AbortSlew()
        assert dome.state().shutter is ShutterStatus.ERROR


def test_it_connects_only_what_is_not_connected_and_never_disconnects() -> None:
    with served(small()) as (observatory, there, clock):
        dome, theirs = made(AlpacaDome, there, clock), another(there, clock)
        assert observatory.dome is not None
        theirs.open()
        orders: list[str] = []
        observatory.dome.writers = {
            name: replace(member, call=lambda *_, name=name: orders.append(name))
            for name, member in observatory.dome.writers.items()
        }
        dome.connect()
        dome.state()
        dome.disconnect()
        assert orders == []
        assert theirs.ask("Connected", bool)


@pytest.mark.parametrize(
    ("kind", "error"), [(FaultKind.DROP, DeviceLost), (FaultKind.HTTP_500, DeviceLost), (FaultKind.GARBLED, DeviceLost)]
)
def test_a_server_that_fails_is_an_error_and_never_an_old_answer(kind: FaultKind, error: type[DriverError]) -> None:
    faults = (FaultScript(kind=kind, device=DeviceKind.DOME, at_s=10, for_s=10),)
    with served(small(faults=faults)) as (_, there, clock):
        dome = made(AlpacaDome, there, clock)
        dome.connect()
        clock.advance(10)
        with pytest.raises(error):
            dome.state()
        clock.advance(10)
        assert dome.state().shutter is ShutterStatus.CLOSED


def test_a_device_that_is_not_there_is_missing() -> None:
    with served(small(dome=None)) as (_, there, clock), pytest.raises(DeviceMissing):
        made(AlpacaDome, there, clock).connect()


def test_roof_and_mount_are_listed_by_the_server_and_found_without_its_list() -> None:
    for name in ("qhy600m", "old"):  # the old one has no management API
        with served(preset(name, width=24, height=16)) as (_, there, _clock):
            kinds = {device.type for device in configured_devices(there.host, there.port)}
            assert {"dome", "telescope"} <= kinds


def test_a_script_of_a_yaml_is_read_with_its_places() -> None:
    made = from_mapping({"dome": {"open": [{"from_s": 0, "to_s": 60}]}, "telescope": None})
    assert made.dome is not None
    assert made.dome.open == (SpanParameters(from_s=0.0, to_s=60.0),)
    assert made.telescope is None
    with pytest.raises(ValueError, match=r"dome: open must be in order"):
        from_mapping({"dome": {"open": [{"from_s": 0, "to_s": 60}, {"from_s": 70, "to_s": 80}]}})


def test_nothing_of_the_source_can_move_a_dome_or_a_mount() -> None:
    """The drivers name no member but those that they read, and send nothing."""
    tree = ast.parse(inspect.getsource(module))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    movers = {
        name
        for wire in (DomeWire, TelescopeWire)
        for name in dir(wire)
        if name.startswith(("Slew", "Sync", "Park", "Unpark", "Open", "Close", "Find", "Move", "Pulse", "Set", "Abort"))
    }
    assert len(movers) > 15
    assert not (names | words) & movers
    assert not names & {"_put", "put", "action", "leave"}
    assert "Tracking" not in {
        target.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Attribute)
    }
