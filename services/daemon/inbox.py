"""Messages for one thread: what other threads want done there, in their order."""

import threading
from collections import deque
from collections.abc import Callable

from drivers.clock import Clock

Message = Callable[[], object]


class Inbox:
    """Messages for one thread, in their order, from any other thread."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._wake = threading.Event()

    def put(self, message: Message) -> None:
        """Add a message; not from a signal handler, which may interrupt the receiving thread in `take`."""
        self._messages.append(message)
        self._wake.set()

    def take(self, clock: Clock, at_most_s: float) -> list[Message]:
        """Return the messages that are there, waiting for the first so many seconds of the clock at most."""
        if not self._messages:
            clock.sleep(at_most_s, self._wake)
        self._wake.clear()
        taken: list[Message] = []
        while self._messages:
            taken.append(self._messages.popleft())
        return taken
