"""How long to sleep between two polls: thought in real time, slept on the observatory's clock."""

import threading

from drivers.clock import Clock

_SHORTEST_S = 0.005  # a poll costs about a millisecond; more often would only keep the server busy
_LONGEST_OVERDUE_S = 0.04  # an image is seen at most this long after it became ready
_LONGEST_S = 1.0  # while an exposure runs, a failure is seen within a second
_PATIENT_AFTER_S, _PATIENT_S = 10.0, 0.25  # a slow readout is no reason for 25 polls a second


class Pace:
    """Sleeps that are fair to the server on a clock of any rate.

    Parameters
    ----------
    clock : Clock
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._origin = clock.monotonic(), clock.real()

    def rest(self, seconds: float, wake: threading.Event | None = None) -> bool:
        """Sleep `seconds` of the clock, at least 5 ms of real time; True when woken."""
        return self._clock.sleep(max(seconds, _SHORTEST_S * self._rate()), wake)

    def until(self, due_s: float, wake: threading.Event | None = None) -> bool:
        """Sleep a suitable part of what is left until `due_s` of `clock.monotonic()`, or beyond; True when woken."""
        rate = self._rate()
        left_s = (due_s - self._clock.monotonic()) / rate
        if left_s > 0:
            pause_s = min(left_s, _LONGEST_S)
        elif left_s > -_PATIENT_AFTER_S:
            pause_s = min(-left_s / 4, _LONGEST_OVERDUE_S)
        else:
            pause_s = _PATIENT_S
        return self._clock.sleep(max(pause_s, _SHORTEST_S) * rate, wake)

    def _rate(self) -> float:
        """Return clock seconds in a real one, as measured so far."""
        real_s = self._clock.real() - self._origin[1]
        return (self._clock.monotonic() - self._origin[0]) / real_s if real_s > 0.001 else 1.0
