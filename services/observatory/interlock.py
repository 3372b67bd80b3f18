"""The one place that says whether work may go on, and why not.

Two events end waits: `Interlock.wake` ends every one of them, an exposure included, and is given to the camera;
`Interlock.edge` ends every wait that is not a frame, and is given to all others. The reason stands here. Where the
run has none of its own, the order that came from outside is the reason: a signal, Ctrl-C, a request to pause.
"""

import threading

from drivers.alpaca.allowance import Allowance
from services.errors import RunCode, RunStopped
from services.stopping import Stop


class Interlock:
    """Stops a run from any thread; the first reason given is the one that is reported.

    Parameters
    ----------
    wake : Stop, optional
        What another thread stops the run with; without one the interlock makes its own.

    Attributes
    ----------
    allowance : Allowance
        How long calls to devices may still wait when the run is being ended.
    """

    def __init__(self, wake: Stop | None = None) -> None:
        self.wake = Stop() if wake is None else wake
        self.allowance = Allowance(self.wake)
        self._lock = threading.Lock()
        self._code: RunCode | None = None
        self._detail = ""

    def trip(self, code: RunCode, detail: str, *, at_edge: bool = False) -> None:
        """Stop the run: at once, or with `at_edge` when the frame being taken is finished."""
        with self._lock:
            if self._code is None:
                self._code, self._detail = code, detail
        self.wake.halt(at_edge=at_edge)

    def stop_now(self) -> None:
        """End all waiting, after `trip(…, at_edge=True)` gave a frame the time to finish."""
        self.wake.halt(at_edge=False)

    def release(self) -> None:
        """Take back what was set here and not from outside, once the devices are left.

        The events also stop work that needs no device (masters), which bad weather is no reason to stop.
        """
        self.wake.withdraw()

    @property
    def edge(self) -> threading.Event:
        """Set when every wait that is not a frame must end."""
        return self.wake.edge

    @property
    def hurry(self) -> threading.Event:
        """Set when the user asks a second time."""
        return self.wake.hurry

    @property
    def code(self) -> RunCode | None:
        """Why the run must stop, None while it may go on."""
        with self._lock:
            if self._code is not None:
                return self._code
        order = self.wake.order
        return None if order is None else RunCode(order.code)

    @property
    def unsafe(self) -> bool:
        """Whether the reason is one of safety: then nothing is opened or lit."""
        return self.code in {RunCode.UNSAFE, RunCode.SAFETY_STALE}

    @property
    def holds_cooler(self) -> bool:
        """Whether who ended the run wants the cooler to go on; bad weather is no such wish."""
        order = self.wake.order
        return order is not None and order.hold_cooler and not self.unsafe

    def check(self) -> None:
        """Raise `RunStopped` when work must end at once, a frame included."""
        if self.wake.is_set():
            raise self._stopped()

    def check_edge(self) -> None:
        """Raise `RunStopped` when work must end now that no frame is being taken."""
        if self.edge.is_set():
            raise self._stopped()

    def _stopped(self) -> RunStopped:
        code = self.code or RunCode.INTERRUPTED
        return RunStopped(self._detail, code=code)
