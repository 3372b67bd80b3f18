"""What an order does in each state of the daemon: the table of orders, as pure functions.

=============  ==========================  =========================  ==========================
order          idle                        a run is at work           held
=============  ==========================  =========================  ==========================
run            starts; ignores windows,    refused: busy              starts, and stays held
               never safety
pause          held                        ends after the frame,      nothing changes
                                           held
resume         refused: not_held           refused: not_held          automatic
cancel, abort  refused: nothing_runs       ends after the frame, or   as idle
                                           now; its window is over
yield          held until then             ends after the frame,      held for the longer time
                                           held until then
retry          tried again at once         noted                      noted
=============  ==========================  =========================  ==========================

An order that names another run than the one at work is refused (`other_run`), a run of another plan than the present
one too (`plan_changed`). Orders on masters are always passed on to the writer of the catalogue.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import AwareDatetime

from services.daemon.orders import Order, OrderName, RefusalCode, Refused
from services.words import both_clocks, length, some

DEFAULT_YIELD = timedelta(hours=12)
"""How long the camera is left alone where nobody says for how long: a night."""


class Activity(StrEnum):
    """What the daemon does."""

    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    FINISHING = "finishing"
    STOPPING = "stopping"
    SECURING = "securing"


class Why(StrEnum):
    """Why nothing is begun by the schedule."""

    PAUSED = "paused"
    YIELDED = "yielded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """An order that nothing is begun by the schedule; it survives a restart.

    Attributes
    ----------
    why : Why
    by : str
        Who ordered it.
    since : datetime
    until : datetime, optional
        When it ends by itself; None for a pause, which is ended by `resume`.
    """

    why: Why
    by: str
    since: AwareDatetime
    until: AwareDatetime | None = None

    def is_over(self, now: datetime) -> bool:
        """Whether it has ended by itself."""
        return self.until is not None and now >= self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The state in which an order is heard.

    Attributes
    ----------
    activity : Activity
    hold : Hold or None
    run_id : str or None
        The run at work, once it has said its name.
    run_since : datetime or None
    run_by : str
        Who or what began it.
    plan : str
        Fingerprint of the present plan.
    due, known : frozenset of str
        Keys of the items that are due, and of all that are wanted.
    obstacles : tuple of Refused
        What no order overrules at present: it is unsafe, somebody uses the camera or the folder.
    is_ending : bool
        The daemon itself ends.
    """

    activity: Activity = Activity.IDLE
    hold: Hold | None = None
    run_id: str | None = None
    run_since: datetime | None = None
    run_by: str = ""
    plan: str = ""
    due: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()
    obstacles: tuple[Refused, ...] = ()
    is_ending: bool = False

    @property
    def is_idle(self) -> bool:
        """Whether no run is at work."""
        return self.activity is Activity.IDLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows from an order.

    Attributes
    ----------
    detail : str
        The answer, as a sentence.
    hold : Hold or None
        The hold from now on.
    worker : OrderName or None
        What the worker is ordered.
    activity : Activity or None
        The activity from now on.
    start : frozenset of str or None
        Begin a run that takes these items.
    ends_window : bool
        The schedule begins nothing more in the windows of the run that is ended.
    retry : frozenset of str or None
        Items whose failures are forgotten.
    """

    detail: str
    hold: Hold | None = None
    worker: OrderName | None = None
    activity: Activity | None = None
    start: frozenset[str] | None = None
    ends_window: bool = False
    retry: frozenset[str] | None = None


def decide(order: Order, standing: Standing, now: datetime) -> Decision:
    """Return what follows from an order; not for those on masters and for `reload`, which change no state.

    Raises
    ------
    Refused
        It cannot be done now.
    """
    if standing.is_ending:
        raise Refused(RefusalCode.ENDING, "the daemon is ending")
    if order.run_id is not None and order.run_id != standing.run_id:
        at_work = "no run" if standing.run_id is None else f"run {standing.run_id}"
        raise Refused(RefusalCode.OTHER_RUN, f"run {order.run_id} is not at work, {at_work} is")
    return _DECIDE[order.order](order, standing, now)


def _run(order: Order, standing: Standing, _now: datetime) -> Decision:
    if not standing.is_idle:
        raise Refused(RefusalCode.BUSY, _busy(standing))
    if order.plan is not None and order.plan != standing.plan:
        raise Refused(RefusalCode.PLAN_CHANGED, f"the plan is {standing.plan} now, not {order.plan}")
    if strange := sorted(set(order.items) - standing.known):
        raise Refused(RefusalCode.UNKNOWN_ITEM, f"no programme wants {some(strange)}")
    for obstacle in standing.obstacles:
        raise obstacle
    items = frozenset(order.items) or standing.due
    if not items:
        raise Refused(RefusalCode.NOTHING_DUE, "nothing is due")
    return Decision(detail="the run begins", hold=standing.hold, activity=Activity.STARTING, start=items)


def _pause(order: Order, standing: Standing, now: datetime) -> Decision:
    if standing.hold is not None and standing.hold.why is Why.PAUSED and standing.is_idle:
        return Decision(detail=f"it was paused before: {_held(standing.hold)}", hold=standing.hold)
    hold = Hold(why=Why.PAUSED, by=order.by, since=now)
    if standing.is_idle:
        return Decision(detail="paused: nothing is begun before it is resumed", hold=hold)
    detail = "paused: the run ends after this frame, its sets are continued when it is resumed"
    return _ended(Decision(detail=detail, hold=hold), order.order, standing)


def _resume(_order: Order, standing: Standing, _now: datetime) -> Decision:
    if standing.hold is None:
        raise Refused(RefusalCode.NOT_HELD, "nothing is held")
    return Decision(detail="resumed: what is due is begun when windows and conditions allow it")


def _yield(order: Order, standing: Standing, now: datetime) -> Decision:
    left = DEFAULT_YIELD if order.for_s is None else timedelta(seconds=order.for_s)
    hold = Hold(why=Why.YIELDED, by=order.by, since=now, until=now + left)
    before = standing.hold
    if before is not None and (before.until is None or (hold.until is not None and before.until >= hold.until)):
        hold = before  # the longer of the two; a pause has no end
    until = "until it is resumed" if hold.until is None else f"for {length(left.total_seconds())}"
    if hold is not before and hold.until is not None:
        until = f"until {both_clocks(hold.until, '%Y-%m-%d %H:%M')}"
    if standing.is_idle:
        return Decision(detail=f"the camera is yours {until}", hold=hold)
    detail = f"the run ends with this frame, then the camera is yours {until}"
    return _ended(Decision(detail=detail, hold=hold), order.order, standing)


def _end(order: Order, standing: Standing, _now: datetime) -> Decision:
    if standing.is_idle or standing.activity is Activity.SECURING:
        raise Refused(RefusalCode.NOTHING_RUNS, "no run is at work")
    now = "now" if order.order is OrderName.ABORT else "after this frame"
    detail = f"the run ends {now}; what is due is begun in another window"
    return _ended(Decision(detail=detail, hold=standing.hold, ends_window=True), order.order, standing)


def _retry(order: Order, standing: Standing, _now: datetime) -> Decision:
    if strange := sorted(set(order.items) - standing.known):
        raise Refused(RefusalCode.UNKNOWN_ITEM, f"no programme wants {some(strange)}")
    named = some(sorted(order.items)) if order.items else "everything that failed"
    return Decision(
        detail=f"{named} is tried again when windows and conditions allow it",
        hold=standing.hold,
        retry=frozenset(order.items),
    )


def _ended(decision: Decision, order: OrderName, standing: Standing) -> Decision:
    """Return a decision that ends the run at work; one that is being stopped does not go on by a weaker order."""
    if standing.activity is Activity.SECURING:
        return decision
    now = order is OrderName.ABORT or standing.activity is Activity.STOPPING
    return replace(decision, worker=order, activity=Activity.STOPPING if now else Activity.FINISHING)


def _busy(standing: Standing) -> str:
    since = "" if standing.run_since is None else f" since {both_clocks(standing.run_since, '%Y-%m-%d %H:%M:%S')}"
    by = f", begun by {standing.run_by}" if standing.run_by else ""
    named = "a run" if standing.run_id is None else f"run {standing.run_id}"
    return f"{named} is at work{since}{by}"


def _held(hold: Hold) -> str:
    by = f" by {hold.by}" if hold.by else ""
    return f"held{by} since {both_clocks(hold.since, '%Y-%m-%d %H:%M:%S')}"


def after_hold(hold: Hold | None, now: datetime) -> Hold | None:
    """Return the hold that is in force now."""
    return None if hold is None or hold.is_over(now) else hold


_DECIDE = {
    OrderName.RUN: _run,
    OrderName.PAUSE: _pause,
    OrderName.RESUME: _resume,
    OrderName.YIELD: _yield,
    OrderName.CANCEL: _end,
    OrderName.ABORT: _end,
    OrderName.RETRY: _retry,
}
