"""The clock everything is given. Nothing else calls `time` or `datetime.now`.

`SystemClock` is the world's; `ScaledClock` runs `rate` times faster (rehearsals on the simulated observatory);
`ManualClock` moves only when somebody sleeps on it or advances it (tests). `Deadline` and `retry` are the only time-out
and the only back-off. Sockets are not waited for here: they use real time.
"""

import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """Time as an observatory sees it."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some moment; never runs backwards, whatever happens to the wall clock."""
        ...

    def real(self) -> float:
        """Return real (unscaled) monotonic seconds, for deadlines that slow computing must not trip."""
        ...

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> bool:
        """Wait; return True when `wake` was set before the time was over."""
        ...


class SystemClock:
    """The world's time."""

    def now(self) -> datetime:
        """Return the system's time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the system's monotonic seconds."""
        return time.monotonic()

    def real(self) -> float:
        """Return the system's monotonic seconds."""
        return time.monotonic()

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> bool:
        """Sleep in real time."""
        return _real_sleep(seconds, wake)


class ScaledClock:
    """Time that runs `rate` times faster than the world's, from `start` on.

    Parameters
    ----------
    rate : float
        Simulated seconds in a real one.
    start : datetime
        The simulated time at creation, aware.
    """

    def __init__(self, *, rate: float, start: datetime) -> None:
        if rate <= 0 or start.tzinfo is None:
            raise ValueError(f"a clock needs a positive rate and an aware start, not {rate!r}, {start!r}")
        self.rate = rate
        self.start = start
        self._origin = time.monotonic()

    def now(self) -> datetime:
        """Return the scaled time in UTC."""
        return self.start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Return scaled seconds since creation."""
        return (time.monotonic() - self._origin) * self.rate

    def real(self) -> float:
        """Return the system's monotonic seconds."""
        return time.monotonic()

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> bool:
        """Sleep `seconds` of scaled time."""
        return _real_sleep(seconds / self.rate, wake)


class ManualClock:
    """A clock that stands still until somebody sleeps on it or calls `advance`; safe to share between threads."""

    def __init__(self, start: datetime | None = None) -> None:
        self._start = start or datetime(2026, 1, 1, 18, 0, tzinfo=UTC)
        self._elapsed_s = 0.0
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the start plus all that was slept."""
        return self._start + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        """Return the seconds slept so far."""
        return self._elapsed_s

    def real(self) -> float:
        """Return the seconds slept so far: here no other time exists."""
        return self._elapsed_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self._elapsed_s += max(0.0, seconds)

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> bool:
        """Let the time pass at once, unless `wake` is set already."""
        if wake is not None and wake.is_set():
            return True
        self.advance(seconds)
        return False


class Deadline:
    """A time-out on a clock: over only when `seconds` of it *and* `real_s` of real time have passed.

    The second condition keeps a fast clock from calling slow rendering a stall.
    """

    LEAST_REAL_S = 5.0
    """Real seconds that every wait on a device lasts at least; tests of waits that end in vain have less."""

    def __init__(self, clock: Clock, seconds: float, *, real_s: float = 0.0) -> None:
        self._clock = clock
        self.seconds = seconds
        self._end = clock.monotonic() + seconds
        self._real_end = clock.real() + real_s

    @property
    def over(self) -> bool:
        """Whether the time has passed."""
        return self._clock.monotonic() >= self._end and self._clock.real() >= self._real_end

    @property
    def left_s(self) -> float:
        """Seconds left on the clock, at least 0."""
        return max(0.0, self._end - self._clock.monotonic())


def retry(
    clock: Clock,
    call: Callable[[], T],
    *,
    delays_s: Iterable[float],
    on: type[Exception] | tuple[type[Exception], ...],
    wake: threading.Event | None = None,
    unless: Callable[[], bool] = lambda: False,
) -> T:
    """Call until it succeeds, waiting `delays_s` between the attempts; the last failure is raised.

    Only for calls that may be repeated without harm. A set `wake` ends the waiting and raises the last failure, as does
    `unless`, which is asked after each failure.
    """
    for delay_s in delays_s:
        try:
            return call()
        except on:
            if unless() or clock.sleep(delay_s, wake):
                raise
    return call()


def _real_sleep(seconds: float, wake: threading.Event | None) -> bool:
    if wake is not None:
        return wake.wait(max(0.0, seconds))
    if seconds > 0:
        time.sleep(seconds)
    return False
