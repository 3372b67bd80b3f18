"""How a user stops a run: once, and the devices are left in a known state; twice, and nobody waits for a slow one."""

import threading
from collections.abc import Callable


class Stop(threading.Event):
    """The event that ends all waiting, and who asked for that.

    Parameters
    ----------
    acknowledge : callable, optional
        Called when the user asks for the first time, from a signal handler: work that cannot be interrupted may go on
        for a while, and nobody is to think that the key was not heard.

    A run's own reasons (bad weather) set the event as well and take it back; what a user asked for is not taken back.

    Attributes
    ----------
    hurry : threading.Event
        Set when the user asks again: warming up is cut short.
    """

    def __init__(self, acknowledge: Callable[[], object] | None = None) -> None:
        super().__init__()
        self._acknowledge = acknowledge
        self.hurry = threading.Event()
        self._asked = False

    @property
    def asked(self) -> bool:
        """Whether a user asked."""
        return self._asked

    def ask(self) -> None:
        """Stop, or hurry up with it; from any thread and from a signal handler."""
        again, self._asked = self._asked, True
        if again:
            self.hurry.set()
        self.set()
        if not again and self._acknowledge is not None:
            self._acknowledge()
