"""How long a run that is being ended still waits for answers: a moment for each call, some seconds for all together."""

import math
import threading

ONE_CALL_S = 4.0
"""Real seconds for the answer to one call; a device that needed longer before gets twice what it needed."""
LAST_CALLS_S = 1.0
"""Real seconds for each call when nothing is left: every order is sent all the same."""
ALL_CALLS_S = 12.0
"""Real seconds that all calls together may wait for answers that do not come."""
REGAINED = 0.05
"""Part of the time without such a wait that is given back."""


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
        self._spent_at_s = -math.inf

    def begin(self) -> None:
        """Count from now on: the devices are being left."""
        self._left_s = min(self._left_s, ALL_CALLS_S)

    @property
    def limited(self) -> bool:
        """Whether calls wait for a moment only."""
        return self._hasty.is_set() or self._left_s < math.inf

    def is_pressed(self) -> bool:
        """Return whether a call has waited in vain of late, so that no read is worth another attempt."""
        return self.limited and self._left_s < ALL_CALLS_S

    @property
    def used_up(self) -> bool:
        """Whether so much time was lost to a silent server that none of its devices is worth another attempt."""
        return self._left_s <= 0

    def of_call(self, wanted_s: float, usual_s: float = 0.0) -> float:
        """Return how many real seconds a call may wait that would wait `wanted_s`, and needed `usual_s` before."""
        if not self.limited:
            return wanted_s
        return min(wanted_s, LAST_CALLS_S if self.used_up else max(ONE_CALL_S, 2 * usual_s))

    def spend(self, begun_s: float, ended_s: float, *, connected: bool) -> None:
        """Take in that a call waited in vain: for its answer, or for its connection. Times are real seconds.

        A host that starts again is waited for at the end of a run that nobody stopped: its cooler may be on. What was
        spent is regained slowly: warming up takes a quarter of an hour, and an answer may fail to come now and then.
        """
        if not self.limited or not (connected or self._hasty.is_set()):
            return
        regained_s = max(0.0, begun_s - self._spent_at_s) * REGAINED
        self._left_s = min(ALL_CALLS_S, self._left_s + regained_s) - (ended_s - begun_s)
        self._spent_at_s = ended_s
