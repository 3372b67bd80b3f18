"""How a run is stopped from outside: after the frame that is being taken, now, or now and in a hurry."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

INTERRUPTED = "interrupted"
"""The code of a stop for which nobody gave another one: a signal, Ctrl-C, `Stop.set()`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was ordered from outside.

    Attributes
    ----------
    code : str
        Why, as the run reports it: `interrupted`, `cancelled`, `paused`, `yielded`.
    at_once : bool
        Whether the frame that is being taken is given up.
    hold_cooler : bool
        Whether the cooler goes on holding its temperature after the run.
    at_most_s : float or None
        A frame of which more seconds are left is given up; None: every frame is waited for.
    """

    code: str
    at_once: bool
    hold_cooler: bool = False
    at_most_s: float | None = None

    def gives_up(self, left_s: float) -> bool:
        """Return whether a frame of which so much is left is given up."""
        return self.at_once or (self.at_most_s is not None and left_s > self.at_most_s)


def _nothing() -> float:
    """Return that nothing is left of a frame: none is being exposed."""
    return 0.0


class Stop(threading.Event):
    """Ends the waits of a run, from any thread; signals do it from one of their own (`services.signals`).

    The event itself ends everything, an exposure included. A run's own reasons (bad weather) set the events with `halt`
    and take them back with `withdraw`; what was ordered from outside is never taken back.

    Parameters
    ----------
    acknowledge : callable, optional
        Called with how often a user has asked, from the thread of signals: work that cannot be interrupted may go on
        for a while, and nobody is to think that the key was not heard.

    Attributes
    ----------
    edge : threading.Event
        Ends every wait that is not a frame (cooling, wheel, panel, fading, a lost device). Set whenever the event
        itself is set, and alone by an order to end after the frame.
    hurry : threading.Event
        Set when the user asks again: warming up is cut short.
    order : Order or None
        What was ordered from outside, None while nothing was.
    """

    def __init__(self, acknowledge: Callable[[int], object] | None = None) -> None:
        super().__init__()
        self._acknowledge = acknowledge
        self._asked, self._at_once = 0, False
        self._left_s: Callable[[], float] = _nothing
        self.order: Order | None = None
        self.edge = threading.Event()
        self.hurry = threading.Event()

    def after_frame(self, code: str, *, hold_cooler: bool = False, at_most_s: float | None = None) -> None:
        """Let the frame that is being taken finish and be stored; end every other wait, and then the run.

        Parameters
        ----------
        code : str
            The reason that the run reports.
        hold_cooler : bool
            Whether the cooler goes on holding its temperature, for the run that continues this one.
        at_most_s : float, optional
            A frame of which more seconds are left is given up: whoever waits for the camera cannot wait for it.
        """
        self._accept(Order(code=code, at_once=False, hold_cooler=hold_cooler, at_most_s=at_most_s))
        self._spare_or_give_up()

    @contextmanager
    def exposing(self, left_s: Callable[[], float]) -> Iterator[None]:
        """Know, while a frame is exposed, how many seconds of it are left."""
        self._left_s = left_s
        self._spare_or_give_up()  # an order may have come just before
        try:
            yield
        finally:
            self._left_s = _nothing

    def _spare_or_give_up(self) -> None:
        order = self.order
        if order is not None and order.gives_up(self._left_s()):
            self._at_once = True
            self.halt(at_edge=False)

    def now(self, code: str, *, hold_cooler: bool = False) -> None:
        """End the run now, the exposure included; parameters as for `after_frame`."""
        self._accept(Order(code=code, at_once=True, hold_cooler=hold_cooler))

    def ask(self) -> None:
        """Stop now, as a user who presses Ctrl-C wants it; asked again, hurry up with it; more is only answered."""
        self._asked += 1
        if self._asked > 1:
            self.hurry.set()
        self.now(INTERRUPTED)
        if self._acknowledge is not None:
            self._acknowledge(self._asked)

    def set(self) -> None:
        """Stop now, for a reason that nobody gives: an interruption."""
        self.now(INTERRUPTED)

    def halt(self, *, at_edge: bool) -> None:
        """End the waits for a reason of the run's own; with `at_edge` not that for a frame."""
        self.edge.set()
        if not at_edge:
            super().set()

    def withdraw(self) -> None:
        """Take back what `halt` did; what was ordered stays in force, also when it is ordered meanwhile."""
        self.clear()
        self.edge.clear()
        if self.order is not None:
            self.halt(at_edge=not self._at_once)

    def _accept(self, order: Order) -> None:
        """Take an order. The last one counts, but none takes back that the run ends at once.

        Threads call this at the same time, without a lock: the flag that is only ever set decides, whatever order
        another one gives in between.
        """
        self._at_once = self._at_once or order.at_once
        if order.at_once or not self._at_once:
            self.order = order
        self.halt(at_edge=not order.at_once)
