"""How a user stops a run: once, and the devices are left in a known state; twice, and nobody waits for a slow one."""

import threading


class Stop(threading.Event):
    """The event that ends all waiting, and who asked for that.

    A run's own reasons (bad weather) set the event as well and take it back; what a user asked for is not taken back.

    Attributes
    ----------
    hurry : threading.Event
        Set when the user asks again: warming up is cut short.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hurry = threading.Event()
        self._asked = False

    @property
    def asked(self) -> bool:
        """Whether a user asked."""
        return self._asked

    def ask(self) -> None:
        """Stop, or hurry up with it; from any thread and from a signal handler."""
        if self._asked:
            self.hurry.set()
        self._asked = True
        self.set()
