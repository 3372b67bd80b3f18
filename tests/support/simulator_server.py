"""A simulated observatory of its own on the wire, for clients that behave badly."""

import contextlib
import logging
from collections.abc import Iterator

import pytest

from drivers.clock import ScaledClock, SystemClock
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.presets import from_mapping
from drivers.simulator.server import AlpacaServer

SOON_S = 60.0
"""Real seconds in which an honest client has its answer on a loaded machine, whatever others do."""


@contextlib.contextmanager
def serving(width: int = 60, height: int = 40) -> Iterator[AlpacaServer]:
    """Serve all devices of a small observatory until the end of the block."""
    clock = ScaledClock(rate=1000, start=SystemClock().now())
    parameters = from_mapping({"camera": {"width": width, "height": height}, "safety": {}})
    with SimulatedObservatory(parameters, clock) as observatory, AlpacaServer(observatory, discovery_port=0) as server:
        yield server


@pytest.fixture(autouse=True)
def no_tracebacks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a client does is no failure of the server's; used by each file that imports it."""
    with caplog.at_level(logging.ERROR):
        yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
