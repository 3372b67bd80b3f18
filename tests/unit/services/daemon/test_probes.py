"""When a probe asks."""

import queue

import pytest

from drivers.clock import ManualClock
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
