"""The one place that says whether work may go on, and why not.

Every waiting device call is given `Interlock.wake`. Setting that event ends the wait; the reason stands here. A set
event without a reason was set from outside: a signal, Ctrl-C, an ordered stop.
"""

import threading

from services.errors import RunCode, RunStopped
from services.stopping import Stop


class Interlock:
    """Stops a run from any thread; the first reason given is the one that is reported.

    Parameters
    ----------
    wake : threading.Event, optional
        The event that a signal handler sets (a `Stop`, where it may do so after us); without one the interlock makes
        its own.
    """

    def __init__(self, wake: threading.Event | None = None) -> None:
        self.wake = threading.Event() if wake is None else wake
        self._lock = threading.Lock()
        self._code: RunCode | None = None
        self._detail = ""
        self._at_edge = False
        self._ours = False

    def trip(self, code: RunCode, detail: str, *, at_edge: bool = False) -> None:
        """Stop the run: at once, or with `at_edge` when the frame being taken is finished."""
        with self._lock:
            if self._code is None:
                self._code, self._detail = code, detail
            self._at_edge = True
        if not at_edge:
            self.stop_now()

    def stop_now(self) -> None:
        """End all waiting, after `trip(…, at_edge=True)` gave a frame the time to finish."""
        with self._lock:
            if not self.wake.is_set():
                self._ours = True
                self.wake.set()

    def release(self) -> None:
        """Take back an event that was set here and not from outside, once the devices are left.

        The event also stops work that needs no device (masters), which bad weather is no reason to stop.
        """
        with self._lock:
            if self._ours:
                self._ours = False
                self.wake.clear()
                if isinstance(self.wake, Stop) and self.wake.asked:  # the user too, after we did
                    self.wake.set()

    @property
    def hurry(self) -> threading.Event | None:
        """Set when the user asks a second time, None where nobody can."""
        return self.wake.hurry if isinstance(self.wake, Stop) else None

    @property
    def code(self) -> RunCode | None:
        """Why the run must stop, None while it may go on."""
        with self._lock:
            if self._code is not None:
                return self._code
        return RunCode.INTERRUPTED if self.wake.is_set() else None

    @property
    def unsafe(self) -> bool:
        """Whether the reason is one of safety: then nothing is opened or lit."""
        return self.code in {RunCode.UNSAFE, RunCode.SAFETY_STALE}

    def check(self) -> None:
        """Raise `RunStopped` when work must end at once."""
        if self.wake.is_set():
            raise self._stopped()

    def check_edge(self) -> None:
        """Raise `RunStopped` when work must end now that no frame is being taken."""
        if self.wake.is_set() or self._at_edge:
            raise self._stopped()

    def _stopped(self) -> RunStopped:
        code = self.code or RunCode.INTERRUPTED
        return RunStopped(self._detail or "stopped from outside", code=code)
