"""Where events of the daemon and of its workers are heard as they come.

Whoever publishes is never kept waiting by whoever listens: each listener has a bounded queue of its own, and one that
is too slow is dropped. It can come back and ask the journals for what it missed.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from services.events.records import Event


@dataclass(frozen=True, slots=True)
class Line:
    """One event on its way: a line of a journal, and what identifies it there.

    Attributes
    ----------
    run_id : str
        The run; `serve` for what the daemon says itself.
    seq : int
    text : str
        One line of JSON, without its end.
    """

    run_id: str
    seq: int
    text: str

    @classmethod
    def of(cls, event: Event) -> "Line":
        """Return the line of an event."""
        return cls(event.run_id, event.seq, event.to_json())


class Subscription:
    """What one listener has not heard yet; made by `Hub.subscribe`.

    Parameters
    ----------
    wake : callable
        Called, from any thread, whenever there is something to take, and when it is over.
    forget : callable
        Takes this subscription out of the hub.
    limit : int
        So many lines wait at most; one more, and the listener is dropped.
    """

    def __init__(self, wake: Callable[[], object], forget: Callable[["Subscription"], None], limit: int) -> None:
        self._wake = wake
        self._forget = forget
        self._limit = limit
        self._lines: deque[Line] = deque()
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether nothing comes any more, once all that waits was taken."""
        return self._is_over and not self._lines

    def take(self) -> list[Line]:
        """Return what has come since the last call; never waits."""
        taken: list[Line] = []
        while self._lines:
            taken.append(self._lines.popleft())
        return taken

    def close(self) -> None:
        """Hear no more."""
        self._forget(self)
        self._is_over = True

    def put(self, line: Line) -> None:
        """Let the listener hear a line, or drop the listener: it will ask the journals for what it missed."""
        if self._is_over:
            return
        if len(self._lines) >= self._limit:
            self.end()
            return
        self._lines.append(line)
        self._wake()

    def end(self) -> None:
        """Say that nothing comes any more."""
        self._forget(self)
        self._is_over = True
        self._wake()


class Hub:
    """Hands every line to everybody who listens.

    Parameters
    ----------
    limit : int
        Lines that wait for one listener at most.
    """

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._listeners: set[Subscription] = set()
        self._is_closed = False

    def subscribe(self, wake: Callable[[], object]) -> Subscription:
        """Return what begins to hear now; parameters as for `Subscription`. After the end it is over at once."""
        subscription = Subscription(wake, self._forget, self._limit)
        with self._lock:
            closed = self._is_closed
            if not closed:
                self._listeners.add(subscription)
        if closed:
            subscription.end()
        return subscription

    def publish(self, line: Line) -> None:
        """Let everybody hear a line, in the order of the calls of each thread."""
        for subscription in self._present():
            subscription.put(line)

    def close(self) -> None:
        """End every subscription, so that no stream keeps the daemon from ending."""
        with self._lock:
            self._is_closed = True
        for subscription in self._present():
            subscription.end()

    def _present(self) -> tuple[Subscription, ...]:
        with self._lock:
            return tuple(self._listeners)

    def _forget(self, subscription: Subscription) -> None:
        with self._lock:
            self._listeners.discard(subscription)
