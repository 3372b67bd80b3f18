"""Threads that ask devices again and again: a server that hangs delays no other one, and not the end of the daemon."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

import structlog

from drivers.alpaca.replies import NOT_CONNECTED
from drivers.clock import Clock
from drivers.errors import DeviceLost, DriverError
from services.daemon.conditions import Reading
from services.daemon.pace import AGAIN, AGAIN_S, to_next_s
from services.errors import ServiceError

log = structlog.get_logger(__name__)

LEAST_REAL_POLL_S = 0.2
"""On a fast clock no server is asked more often than this."""


class _Connectable(Protocol):
    """A driver object that is only read."""

    def connect(self) -> None:
        """Connect."""
        ...

    def close(self) -> None:
        """Close the sockets, from any thread."""
        ...

    def hang_up(self) -> None:
        """Close the connection until the next call."""
        ...


D = TypeVar("D", bound=_Connectable)
V = TypeVar("V")


class Asked(Generic[D, V]):
    """A driver object that is made, connected and, after a failure, connected again when it is asked."""

    def __init__(self, make: Callable[[], D], read: Callable[[D], V]) -> None:
        self._make = make
        self._read = read
        self._device: D | None = None
        self._connected = False

    def __call__(self) -> V:
        """Return what the device says now; raises `DriverError`, `ServiceError`."""
        if self._device is None:
            self._device = self._make()
        try:
            return self._asked(self._device)
        except Exception:
            self._connected = False
            raise
        finally:
            self._device.hang_up()

    def _asked(self, device: D) -> V:
        """Ask; one that was disconnected meanwhile, as each run of ours does at its end, is asked once more."""
        if self._connected:
            try:
                return self._read(device)
            except DeviceLost as error:
                if error.number != NOT_CONNECTED:
                    raise
        device.connect()
        self._connected = True
        return self._read(device)

    def close(self) -> None:
        """End a call that hangs, from any thread."""
        if self._device is not None:
            self._device.close()


class Probe:
    """A thread that asks one device again and again until it is stopped.

    It asks `after_s` after each multiple of the period on its clock. Where many have a time of their own, one asks when
    the one before has its answer: threads that wake at once take the interpreter from each other again and again.
    """

    def __init__(
        self,
        name: str,
        ask: Callable[[], V],
        *,
        every_s: float,
        after_s: float = 0.0,
        clock: Clock,
        take: Callable[[Reading[V]], None],
    ) -> None:
        self._ask: Callable[[], Any] = ask
        self._every_s = every_s
        self._after_s = after_s
        self._clock = clock
        self._take: Callable[[Reading[Any]], None] = take
        self._stop = threading.Event()
        self._last: Reading[Any] = Reading()
        self._heard_s = clock.monotonic()
        self._thread = threading.Thread(target=self._work, name=f"nightcal-watches-{name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask nothing more."""
        self._stop.set()

    def join(self, seconds: float) -> None:
        """Wait for the thread."""
        self._thread.join(seconds)

    def _work(self) -> None:
        while not self._stop.is_set():
            began_s = self._clock.real()
            self._look()
            self._clock.sleep(self._wait_s(), self._stop)
            self._stop.wait(max(0.0, LEAST_REAL_POLL_S - (self._clock.real() - began_s)))

    def _wait_s(self) -> float:
        """Return the seconds to the next question: one that had no answer is asked again before the answer is old."""
        now_s = self._clock.monotonic()
        if self._last.problem and now_s - self._heard_s < self._every_s + AGAIN * AGAIN_S:
            return AGAIN_S
        return to_next_s(now_s, after_s=self._after_s, every_s=self._every_s)

    def _look(self) -> None:
        try:
            self._last = Reading(value=self._ask(), at=self._clock.now())
            self._heard_s = self._clock.monotonic()
        except (DriverError, ServiceError, OSError) as error:
            detail = error.detail if isinstance(error, ServiceError) else str(error)
            self._last = replace(self._last, problem=detail)
        except Exception as error:
            log.exception("conditions.failed")
            self._last = replace(self._last, problem=f"nightcal itself failed: {error}")
        if not self._stop.is_set():
            self._take(self._last)
