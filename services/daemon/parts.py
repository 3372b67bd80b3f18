"""What the loop of the daemon works with: the records that pass between its parts, and what each part can do.

`Mind` decides, `Hands` act; the loop alone changes the state of the daemon. Both are protocols, so that a simulated
year can put a fake run in the place of real hands.
"""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from services.daemon.machine import Hold, Why
from services.daemon.orders import Answer, Order, OrderName, Refused
from services.daemon.state_file import Remembered
from services.events.records import GroupFinished
from services.observatory.in_use import LeftBehind

SCHEDULE = "the schedule"
"""Who begins a run that nobody ordered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a child ended, after how many real seconds.

    `died`: it was gone before it could say how the run ended. `taken`: frames that it has stored, as far as was heard.
    """

    run_id: str | None
    exit_code: int
    code: str | None = None
    detail: str = ""
    died: bool = False
    seconds: float = 0.0
    taken: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Secured:
    """The devices were made safe after a death, as far as they could: what was done, and what was left.

    `refused` says who has the devices by now, where nothing was touched.
    """

    run_id: str | None = None
    done: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """What a child is to do.

    Attributes
    ----------
    items : tuple of str
        Keys of the items to take; empty for one that only builds masters.
    by : str
        Who begins it.
    until : datetime, optional
        When its window closes.
    holds_cooler : bool
        The cooler goes on after it: more is due at this temperature.
    anew : frozenset of str
        Those of the items of which a new set is taken although a complete one is young enough.
    resume_within_h : float or None
        Hours in which the run continues begun sets; None: as configured.
    windows : frozenset of str
        Names of the open windows that take any of the items.
    set_temp_c : float or None
        The temperature at which it works; None: as found.
    seconds : float
        About how long it takes, cooling included.
    detail : str
        What is taken, in words.
    """

    items: tuple[str, ...] = ()
    by: str = SCHEDULE
    until: datetime | None = None
    holds_cooler: bool = False
    anew: frozenset[str] = frozenset()
    resume_within_h: float | None = None
    windows: frozenset[str] = frozenset()
    set_temp_c: float | None = None
    seconds: float = 0.0
    detail: str = ""

    @property
    def builds_only(self) -> bool:
        """Whether it only builds masters, of frames that are there."""
        return not self.items


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """Why nothing is begun now, as a code and in words, and until when as far as that is known."""

    reason: str
    detail: str = ""
    until: datetime | None = None

    @classmethod
    def while_held(cls, hold: Hold) -> "Nothing":
        """Return that nothing is begun because somebody has held the daemon."""
        by = f" by {hold.by}" if hold.by else ""
        return cls(reason="held" if hold.why is Why.PAUSED else "yielded", detail=f"{hold.why}{by}", until=hold.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What the mind sees at one moment.

    Attributes
    ----------
    choice : Begin or Nothing
        What the schedule would begin.
    plan : str
        Fingerprint of the plan.
    due, known : frozenset of str
        Keys of the items that are due, and of all that are wanted.
    obstacles : tuple of Refused
        What no order overrules.
    closing : mapping
        Names of the windows that are open now, and when each of them closes.
    to_build : frozenset of str
        Keys of the items whose frames are there, and whose master is not, flats with what may give them a dark;
        `masters` where any may be better by now.
    complete : frozenset of str
        Keys of the items of which a complete set serves: whoever orders one of them wants a new one.
    stale : mapping
        Keys of the items whose master is too old, and in words how old it is.
    is_camera_away : bool
        The camera does not answer.
    left_behind : LeftBehind or None
        What another program of ours has left that was killed at work in the folder since the last look.
    """

    choice: Begin | Nothing
    plan: str = ""
    due: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()
    obstacles: tuple[Refused, ...] = ()
    closing: Mapping[str, datetime] = field(default_factory=dict)
    to_build: frozenset[str] = frozenset()
    complete: frozenset[str] = frozenset()
    stale: Mapping[str, str] = field(default_factory=dict)
    is_camera_away: bool = False
    left_behind: LeftBehind | None = None


class Child(Protocol):
    """A child process at work."""

    def order(self, name: OrderName) -> None:
        """Pass an order on; never waits."""
        ...


class Hands(Protocol):
    """What the loop does to the world; everything here returns at once, and what comes of it arrives as a message."""

    def begin(self, what: Begin) -> Child:
        """Start a child for a run."""
        ...

    def secure(self, run_id: str | None, left: LeftBehind | None = None) -> None:
        """Make the devices safe, and close the row of a run that died; `Secured` arrives.

        Without a run it brings a cooler that is held for the next run to where it was found. With what a run of an
        earlier daemon may have `left`, nothing is touched that somebody else uses by now.
        """
        ...

    def of_masters(self, order: Order, child: Child | None) -> "Future[Answer]":
        """Have an order on masters carried out: by the child that holds the root's lock, or by one of its own."""
        ...


class Mind(Protocol):
    """What decides: programmes, catalogue, windows and conditions, asked at one moment."""

    def look(self, now: datetime, state: Remembered) -> Outlook:
        """Return what is due now and what would be begun."""
        ...

    def learn(
        self,
        ended: Ended,
        items: tuple[str, ...],
        outcomes: tuple[GroupFinished, ...],
        state: Remembered,
        now: datetime,
    ) -> Remembered:
        """Return what is remembered after a run for some items: which failed, and which can be had again."""
        ...

    def forget(self, items: frozenset[str], state: Remembered, now: datetime) -> Remembered:
        """Return what is remembered when items that failed are tried again at once; all where none is named."""
        ...

    def reload(self) -> str:
        """Read the configuration again; return what is wrong with it, in words, and keep the one before it then."""
        ...
