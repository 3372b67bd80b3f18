"""What the daemon's API is built on: four protocols, so that it knows neither loop nor worker nor catalogue."""

from collections.abc import Callable
from typing import Protocol

from services.daemon.orders import Answer, Order


class BoardPort(Protocol):
    """The one frozen snapshot of the daemon, ready to be sent."""

    @property
    def seq(self) -> int:
        """The number of the snapshot: it grows with every change."""
        ...

    def state(self) -> bytes:
        """Return the snapshot as JSON; no work is done for it."""
        ...


class DeskPort(Protocol):
    """Where orders are given."""

    def take(self, order: Order) -> Answer:
        """Do an order, from any thread.

        Raises
        ------
        Refused
            With the reason, as a code and in words.
        """
        ...


class LinePort(Protocol):
    """One event on its way to whoever listens: a line of a journal, and what identifies it there."""

    @property
    def run_id(self) -> str:
        """The run; `serve` for what the daemon says itself."""
        ...

    @property
    def seq(self) -> int:
        """Its number in that run."""
        ...

    @property
    def text(self) -> str:
        """The event as one line of JSON."""
        ...


class SubscriptionPort(Protocol):
    """What one listener has not heard yet."""

    @property
    def is_over(self) -> bool:
        """Whether nothing comes any more: the daemon ends, or the listener was too slow and is dropped."""
        ...

    def take(self) -> list[LinePort]:
        """Return what has come since the last call; never waits."""
        ...

    def close(self) -> None:
        """Hear no more."""
        ...


class EventsPort(Protocol):
    """Where events are heard as they come."""

    def subscribe(self, wake: Callable[[], object]) -> SubscriptionPort:
        """Return what begins to hear now; `wake` is called, from any thread, whenever there is something to take."""
        ...
