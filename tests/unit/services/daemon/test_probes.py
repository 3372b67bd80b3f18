"""When a probe asks."""

import queue

import pytest

from drivers.clock import ManualClock
from drivers.errors import DeviceLost
from services.daemon.conditions import Reading
from services.daemon.probes import Probe


@pytest.mark.parametrize(
    ("started_s", "every_s", "due_s"), [(3.5, 5.0, [3.5, 5.0, 10.0, 15.0]), (0.0, 2.5, [0.0, 2.5, 5.0, 7.5])]
)
def test_probes_that_began_apart_ask_together(started_s: float, every_s: float, due_s: list[float]) -> None:
    clock = ManualClock()
    clock.advance(started_s)
    answers: queue.Queue[Reading[float]] = queue.Queue()
    probe = Probe("test", clock.monotonic, every_s=every_s, clock=clock, take=answers.put)
    try:
        assert [answers.get(timeout=10).value for _ in due_s] == due_s
    finally:
        probe.stop()
        probe.join(10)


def test_what_does_not_answer_is_asked_again_soon_and_then_as_seldom_as_any_other() -> None:
    clock, asked = ManualClock(), queue.Queue[float]()

    def ask() -> None:
        asked.put(clock.monotonic())
        if 60 <= clock.monotonic() < 150:
            raise DeviceLost(device="safety", detail="nobody answers")

    probe = Probe("test", ask, every_s=30.0, clock=clock, take=lambda _: None)
    due_s = [0.0, 30.0, 60.0, 62.5, 65.0, 67.5, 70.0, 90.0, 120.0, 150.0, 180.0]
    try:
        assert [asked.get(timeout=10) for _ in due_s] == due_s
    finally:
        probe.stop()
        probe.join(10)
