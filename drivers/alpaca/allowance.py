"""How long a run that is being ended still waits for answers: a moment for each call, some seconds for all together."""

import math
import threading

ONE_CALL_S = 4.0
"""Real seconds for the answer to one call; a device that needed longer before gets twice what it needed."""
LAST_CALLS_S = 1.0
"""Real seconds for each call when nothing is left: every order is sent all the same."""
ALL_CALLS_S = 12.0
"""Real seconds that all calls together may wait for answers that do not come."""


class Allowance:
    """Shared by all connections of a run. What refuses connections costs nothing: only waiting counts.

    Parameters
    ----------
    hasty : threading.Event, optional
        While it is set, no call waits longer than `ONE_CALL_S`.
    """

    def __init__(self, hasty: threading.Event | None = None) -> None:
        self._hasty = hasty or threading.Event()
        self._left_s = math.inf

    def begin(self) -> None:
        """Count from now on: the devices are being left."""
        self._left_s = ALL_CALLS_S

    @property
    def limited(self) -> bool:
        """Whether calls wait for a moment only, and none is repeated."""
        return self._hasty.is_set() or self._left_s < math.inf

    @property
    def used_up(self) -> bool:
        """Whether so much time was lost to a silent server that none of its devices is worth another attempt."""
        return self._left_s <= 0

    def of_call(self, wanted_s: float, usual_s: float = 0.0) -> float:
        """Return how many real seconds a call may wait that would wait `wanted_s`, and needed `usual_s` before."""
        if not self.limited:
            return wanted_s
        return min(wanted_s, LAST_CALLS_S if self.used_up else max(ONE_CALL_S, 2 * usual_s))

    def pauses(self, usual_s: tuple[float, ...]) -> tuple[float, ...]:
        """Return the pauses between the attempts to read: none while the run is being ended."""
        return () if self.limited else usual_s

    def spend(self, seconds: float, *, connected: bool) -> None:
        """Take in that a call waited so long in vain: for its answer, or for its connection.

        A host that starts again is waited for at the end of a run that nobody stopped: its cooler may be on.
        """
        if connected or self._hasty.is_set():
            self._left_s -= seconds
