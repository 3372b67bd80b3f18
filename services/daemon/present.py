"""The present state of the daemon: what it remembers and what it does; every change is said once, and kept."""

from collections.abc import Callable
from datetime import datetime

from drivers.clock import Clock
from services.daemon.board import ActivityNow
from services.daemon.machine import Activity
from services.daemon.parts import Nothing
from services.daemon.state_file import Remembered
from services.events.records import Record
from services.events.serving import ActivityChanged, ModeChanged
from services.words import both_clocks


class Present:
    """What the daemon remembers and does; changed by the thread of the loop alone.

    Parameters
    ----------
    clock : Clock
    state : Remembered
        What was remembered of the time before.
    keep : callable
        Makes what is remembered durable; called whenever it changes. It must not raise.
    say : callable
        Writes an event of the daemon's own into its journal, and lets everybody hear it.

    Attributes
    ----------
    state : Remembered
    activity : ActivityNow
    """

    def __init__(
        self, clock: Clock, state: Remembered, *, keep: Callable[[Remembered], None], say: Callable[[Record], None]
    ) -> None:
        self.state = state
        self.activity = ActivityNow(name=Activity.IDLE, reason="starting", since=clock.now())
        self.say = say
        self._clock = clock
        self._keep = keep

    @property
    def is_idle(self) -> bool:
        """Whether no child is at work."""
        return self.activity.name is Activity.IDLE

    def remember(self, state: Remembered) -> None:
        """Change what is remembered; a new hold, or the end of one, is said."""
        before, self.state = self.state, state
        if state == before:
            return
        self._keep(state)
        if (hold := state.hold) == before.hold:
            return
        if hold is None:
            self.say(ModeChanged(mode="automatic"))
        else:
            self.say(ModeChanged(mode="held", why=hold.why, by=hold.by, until=hold.until))

    def become(self, name: Activity, why: Nothing | None = None) -> None:
        """Change what the daemon does; the same activity for the same reason is not said again."""
        why, before = why or Nothing(reason=""), self.activity
        same = (before.name, before.reason) == (name, why.reason)
        since = before.since if same else self._clock.now()
        self.activity = ActivityNow(name=name, reason=why.reason, detail=why.detail, since=since, until=why.until)
        if not same:
            self.say(ActivityChanged(activity=name, reason=why.reason, detail=why.detail, until=why.until))

    def wait(self, until: datetime) -> None:
        """Do nothing for the reason of before, and say from when on something may be begun."""
        was = self.activity
        if was.until is None:
            begins = f"nothing is begun before {both_clocks(until, '%Y-%m-%d %H:%M')}"
            detail = "; ".join(filter(None, (was.detail, begins)))
            self.idle(Nothing(reason=was.reason, detail=detail, until=until))

    def idle(self, why: Nothing) -> None:
        """Do nothing, and say why."""
        self.become(Activity.IDLE, why)
