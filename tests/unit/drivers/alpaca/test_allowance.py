"""Calls while a run is being ended: a moment each, some seconds together, and every order is sent."""

import threading
import time
from collections.abc import Iterator

import pytest

from drivers.alpaca import allowance
from drivers.alpaca.allowance import Allowance
from drivers.alpaca.cover_calibrator import AlpacaCoverCalibrator
from drivers.alpaca.line import Endpoint, Line, TimedOut
from drivers.alpaca.transport import CameraWire
from drivers.base import CoverStatus
from drivers.clock import SystemClock
from drivers.errors import DeviceLost
from tests.support.scripted_alpaca import ScriptedAlpaca, Trick

SOON_S = 20.0
"""Far less than the 120 s of a movement, and enough for a machine under load."""


@pytest.fixture
def server() -> Iterator[ScriptedAlpaca]:
    with ScriptedAlpaca() as running:
        yield running


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("ALL_CALLS_S", 1.0), ("ONE_CALL_S", 0.4), ("LAST_CALLS_S", 0.05)):
        monkeypatch.setattr(allowance, name, seconds)


def at(server: ScriptedAlpaca, shared: Allowance) -> Endpoint:
    return Endpoint("127.0.0.1", server.port, allowance=shared)


def test_nothing_is_limited_before_the_end_and_all_of_it_after() -> None:
    shared = Allowance()
    shared.spend(0.0, 1000.0, connected=True)
    assert shared.of_call(120.0) == 120.0
    assert not shared.limited
    shared.begin()
    assert (shared.of_call(120.0), shared.of_call(0.1), shared.of_call(120.0, usual_s=3.0)) == (0.4, 0.1, 6.0)
    assert not shared.is_pressed()
    shared.spend(1000.0, 1000.9, connected=True)
    shared.spend(1000.9, 1060.9, connected=False)  # a host that starts again is waited for
    assert shared.is_pressed()
    assert not shared.used_up
    shared.spend(1000.9, 1001.1, connected=True)
    assert shared.used_up
    assert shared.of_call(120.0, usual_s=3.0) == 0.05


def test_an_answer_that_fails_to_come_now_and_then_is_forgiven() -> None:
    shared = Allowance()
    shared.begin()
    for minute in range(15):
        shared.spend(60.0 * minute, 60.0 * minute + 0.4, connected=True)
        assert not shared.used_up
    shared.spend(840.4, 841.2, connected=True)
    assert shared.used_up


def test_a_host_that_is_off_counts_when_the_run_was_stopped() -> None:
    hasty = threading.Event()
    shared = Allowance(hasty)
    hasty.set()
    shared.spend(0.0, 1.1, connected=False)
    shared.begin()
    assert shared.used_up


def test_a_movement_that_hangs_is_let_go_of_when_the_run_is_stopped_meanwhile(server: ScriptedAlpaca) -> None:
    hasty = threading.Event()
    device = server.add("covercalibrator", opencover=lambda _: hasty.set() or server.release.wait(60))
    device["interfaceversion"] = 2
    line = Line(at(server, Allowance(hasty)), device="panel", clock=SystemClock(), open_s=5)
    begun_s = time.monotonic()
    with pytest.raises(TimedOut):
        line.put("/api/v1/covercalibrator/0/opencover", {}, total_s=120.0)
    assert time.monotonic() - begun_s < SOON_S
    server.release.set()


def test_a_silent_server_costs_all_connections_together_no_more_than_the_allowance(server: ScriptedAlpaca) -> None:
    server.add("camera", numx=1, interfaceversion=3)
    shared = Allowance()
    shared.begin()
    server.tricks["numx"].extend([Trick("stall", 60)] * 12)
    begun_s = time.monotonic()
    for _ in range(12):
        wire = CameraWire(at(server, shared), SystemClock())
        with pytest.raises(DeviceLost):  # none is asked again
            _ = wire.NumX
        wire.line.close()
    assert time.monotonic() - begun_s < SOON_S
    assert shared.used_up
    assert len(server.sent("GET", "numx")) == 12, "each call was made all the same"


def test_a_cover_whose_driver_answers_when_it_is_closed_is_closed(server: ScriptedAlpaca) -> None:
    state = [int(CoverStatus.OPEN)]
    readings = iter([CoverStatus.MOVING] * 3)

    def close(_: object) -> None:
        state[0] = -1
        server.release.wait(60)

    def reads(_: object) -> int:
        return int(next(readings, CoverStatus.CLOSED)) if state[0] < 0 else state[0]

    server.add(
        "covercalibrator",
        interfaceversion=1, connected=False, name="Slow", coverstate=reads, calibratorstate=0, closecover=close,
    )  # fmt: skip
    shared = Allowance()
    panel = AlpacaCoverCalibrator(at(server, shared), SystemClock())
    panel.connect()
    shared.begin()
    panel.close_cover()
    assert panel.state().cover is CoverStatus.CLOSED
    server.release.set()
    panel.close()


def test_a_device_that_has_answered_its_movements_late_keeps_that_time(server: ScriptedAlpaca) -> None:
    server.add("covercalibrator", interfaceversion=1, closecover=None)
    shared = Allowance()
    line = Line(at(server, shared), device="panel", clock=SystemClock(), open_s=5)
    line.usual_s = 30.0
    shared.begin()
    server.tricks["closecover"].append(Trick("stall", 0.8))
    assert line.put("/api/v1/covercalibrator/0/closecover", {}, total_s=120.0).status == 200
    line.close()
