"""Servers for the contract suites: one observatory each, with what it cannot do written down."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from drivers.alpaca.camera import AlpacaCamera
from drivers.alpaca.line import Endpoint
from drivers.clock import Clock, ScaledClock, SystemClock
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.params import ObservatoryParameters
from drivers.simulator.presets import preset
from drivers.simulator.server import AlpacaServer
from tests.support.alpaca_peer import running_peer

RATE = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A server with its clock, and the promises of the protocol that it is known to break."""

    name: str
    endpoint: Endpoint
    clock: Clock
    keeps_gain: bool = True
    repeats_no_noise: bool = True


def simulated(params: ObservatoryParameters, stack: ExitStack, name: str) -> Bench:
    clock = ScaledClock(rate=RATE, start=datetime(2026, 3, 1, 20, tzinfo=UTC))
    observatory = stack.enter_context(SimulatedObservatory(params, clock))
    server = stack.enter_context(AlpacaServer(observatory))
    return Bench(name=name, endpoint=Endpoint("127.0.0.1", server.port), clock=clock)


def peer(stack: ExitStack) -> Bench:
    """Return the third party's server: its gain becomes one more than told, its images come from a cache."""
    endpoint = Endpoint("127.0.0.1", stack.enter_context(running_peer()))
    clock = SystemClock()
    return Bench(name="alpaca-simulators", endpoint=endpoint, clock=clock, keeps_gain=False, repeats_no_noise=False)


def observatories() -> dict[str, ObservatoryParameters]:
    size = {"width": 96, "height": 64}
    return {
        "ICameraV4": preset("qhy600m", **size),
        "ICameraV3": preset("old", **size),
        "json": preset("json", **size),
        "index gain": preset("index_gain", **size),
    }


PEER = pytest.param("peer", marks=[pytest.mark.peer, pytest.mark.timeout(600)])  # its first run installs the package


@pytest.fixture(scope="module", params=[*observatories(), PEER])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with ExitStack() as stack:
        name = request.param
        yield peer(stack) if name == "peer" else simulated(observatories()[name], stack, name)


@pytest.fixture
def camera(bench: Bench) -> Iterator[AlpacaCamera]:
    camera = AlpacaCamera(bench.endpoint, bench.clock)
    camera.connect()
    yield camera
    camera.close()
