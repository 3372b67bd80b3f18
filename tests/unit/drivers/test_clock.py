"""Clocks: real, scaled, manual; deadlines and retries on any of them."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from drivers.clock import Clock, Deadline, ManualClock, ScaledClock, SystemClock, retry

AT = datetime(2026, 1, 1, 18, tzinfo=UTC)


def test_a_manual_clock_moves_when_somebody_sleeps() -> None:
    clock = ManualClock(AT)
    assert clock.sleep(90) is False
    assert clock.now() == AT + timedelta(seconds=90)
    assert clock.monotonic() == clock.real() == 90
    clock.advance(-5)
    assert clock.monotonic() == 90, "time does not run backwards"


def test_a_manual_clock_does_not_move_when_woken_before() -> None:
    clock, wake = ManualClock(AT), threading.Event()
    wake.set()
    assert clock.sleep(90, wake) is True
    assert clock.now() == AT


def test_a_manual_clock_counts_every_sleep_of_every_thread() -> None:
    clock = ManualClock(AT)
    threads = [threading.Thread(target=lambda: [clock.sleep(1) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.monotonic() == 2000


def test_a_scaled_clock_runs_faster() -> None:
    clock = ScaledClock(rate=1000, start=AT)
    before, real = clock.monotonic(), clock.real()
    assert clock.sleep(20) is False
    assert clock.monotonic() - before >= 20
    assert 0.02 <= clock.real() - real < 5
    assert clock.now() - AT >= timedelta(seconds=20)
    assert clock.now().tzinfo is UTC


@pytest.mark.parametrize(("rate", "start"), [(0, AT), (-1, AT), (1, datetime(2026, 1, 1))])  # noqa: DTZ001
def test_a_scaled_clock_needs_a_rate_and_an_aware_start(rate: float, start: datetime) -> None:
    with pytest.raises(ValueError, match="positive rate and an aware start"):
        ScaledClock(rate=rate, start=start)


@pytest.mark.parametrize("clock", [SystemClock(), ScaledClock(rate=2, start=AT)])
def test_a_set_wake_ends_a_sleep_at_once(clock: Clock) -> None:
    wake = threading.Event()
    wake.set()
    start = time.monotonic()
    assert clock.sleep(3600, wake) is True
    assert clock.sleep(0) is False
    assert clock.sleep(-1) is False
    assert clock.sleep(-1, threading.Event()) is False
    assert time.monotonic() - start < 60


def test_the_system_clock_is_utc_and_its_monotonic_is_real() -> None:
    clock = SystemClock()
    assert abs((clock.now() - datetime.now(UTC)).total_seconds()) < 60
    assert clock.monotonic() <= clock.real()


def test_a_deadline_is_over_when_its_time_has_passed() -> None:
    clock = ManualClock(AT)
    deadline = Deadline(clock, 30)
    assert not deadline.over
    assert deadline.left_s == 30
    clock.advance(29.5)
    assert deadline.left_s == pytest.approx(0.5)
    clock.advance(0.5)
    assert deadline.over
    clock.advance(100)
    assert deadline.left_s == 0


class FastClock(ManualClock):
    """A manual clock whose real time is its own."""

    real_s = 0.0

    def real(self) -> float:
        return self.real_s


def test_slow_computing_under_a_fast_clock_is_no_stall() -> None:
    clock = FastClock(AT)
    deadline = Deadline(clock, 30, real_s=5)
    clock.advance(1000)
    assert not deadline.over
    clock.real_s = 5.0
    assert deadline.over


def test_retry_waits_longer_each_time_and_returns_what_came() -> None:
    clock, calls = ManualClock(AT), []

    def call() -> str:
        calls.append(clock.monotonic())
        if len(calls) < 4:
            raise ConnectionError
        return "there"

    assert retry(clock, call, delays_s=(1, 2, 4, 8), on=ConnectionError) == "there"
    assert calls == [0, 1, 3, 7]


def test_the_last_failure_of_a_retry_is_raised() -> None:
    clock, calls = ManualClock(AT), []

    def call() -> None:
        calls.append(1)
        raise ConnectionError(f"attempt {len(calls)}")

    with pytest.raises(ConnectionError, match="attempt 3"):
        retry(clock, call, delays_s=(1, 1), on=ConnectionError)


def test_a_retry_does_not_catch_other_errors_and_ends_when_woken() -> None:
    def refuse() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        retry(ManualClock(AT), refuse, delays_s=(1, 1), on=ConnectionError)

    wake, calls = threading.Event(), []

    def drop() -> None:
        calls.append(1)
        wake.set()
        raise ConnectionError

    with pytest.raises(ConnectionError):
        retry(ManualClock(AT), drop, delays_s=(1, 1, 1), on=(ConnectionError, OSError), wake=wake)
    assert len(calls) == 1
