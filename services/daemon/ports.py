"""What the daemon's API is built on: four protocols, so that it knows neither loop nor worker nor catalogue."""

from collections.abc import Callable, Sequence
from typing import Protocol

from services.daemon.orders import Answer, Order


class BoardPort(Protocol):
    """The one frozen snapshot of the daemon, ready to be sent."""

    @property
    def tag(self) -> str:
        """What names this snapshot, and no other one, of this start of the daemon or an earlier one."""
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

    def take(self) -> Sequence[LinePort]:
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


class Picture(Protocol):
    """A picture, ready to be sent."""

    @property
    def media_type(self) -> str:
        """For example `image/jpeg`."""
        ...

    @property
    def data(self) -> bytes:
        """The bytes of its file."""
        ...


class PicturesPort(Protocol):
    """Where pictures of frames and masters come from: made before, or now. Called in a thread that may wait."""

    def preview(self, path: str, *, red: bool = False) -> Picture | None:
        """Return the small picture of a frame, which the catalogue knows by this path; None where there is none.

        `red`: in shades of red alone, for eyes that are used to the dark.
        """
        ...

    def of_master(
        self, path: str, view: str, *, level: int, x: int, y: int, other: str | None, red: bool = False
    ) -> Picture | None:
        """Return a tile of a master, which the catalogue knows by this path; None where there is none.

        Parameters
        ----------
        path : str
        view : str
            `mean`, `sigma`, `count`, `mask`, or with another master `difference` or `ratio`.
        level : int
            0 is full resolution; each further one has half as many pixels along each side.
        x, y : int
            Column and row of the tile.
        other : str, optional
            Path of the other master.
        red : bool
            In shades of red alone.
        """
        ...
