"""Everybody hears what is said; nobody who is slow, gone or late keeps whoever says it waiting."""

import pytest

from services.daemon.hub import Hub, Line, Subscription


def _line(seq: int) -> Line:
    return Line("r1", seq, f'{{"seq": {seq}}}')


def _awake() -> None:
    return None


def test_every_listener_hears_every_line_in_its_order() -> None:
    hub = Hub()
    first, second = hub.subscribe(_awake), hub.subscribe(_awake)
    for seq in range(5):
        hub.publish(_line(seq))
    assert [line.seq for line in first.take()] == [line.seq for line in second.take()] == list(range(5))
    assert first.take() == []


def test_a_listener_is_woken_for_each_line_and_at_the_end() -> None:
    hub, woken = Hub(), []
    hub.subscribe(lambda: woken.append(1))
    hub.publish(_line(1))
    hub.close()
    assert len(woken) == 2


def test_who_is_too_slow_is_dropped_and_keeps_nobody_else_waiting() -> None:
    hub = Hub(limit=3)
    slow, quick = hub.subscribe(_awake), hub.subscribe(_awake)
    heard: list[int] = []
    for seq in range(6):
        hub.publish(_line(seq))
        heard += [line.seq for line in quick.take()]
    assert heard == list(range(6))
    assert [line.seq for line in slow.take()] == [0, 1, 2]  # what waited is still there: its last number is the id
    assert slow.is_over
    assert not quick.is_over


def test_a_listener_that_left_hears_no_more() -> None:
    hub = Hub()
    gone = hub.subscribe(_awake)
    gone.close()
    hub.publish(_line(1))
    assert gone.is_over
    assert gone.take() == []


def test_what_was_said_before_the_end_can_still_be_taken() -> None:
    hub = Hub()
    listener = hub.subscribe(_awake)
    hub.publish(_line(1))
    hub.close()
    assert not listener.is_over
    assert [line.seq for line in listener.take()] == [1]
    assert listener.is_over


@pytest.mark.parametrize("publishes", [True, False])
def test_who_comes_after_the_end_is_told_so_at_once(publishes: bool) -> None:
    hub, woken = Hub(), []
    hub.close()
    late: Subscription = hub.subscribe(lambda: woken.append(1))
    if publishes:
        hub.publish(_line(1))
    assert late.is_over
    assert woken == [1]
