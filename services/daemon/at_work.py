"""The run at work, as its events show it."""

from dataclasses import dataclass, field, replace

from services.daemon.board import RunNow
from services.daemon.parts import Begin, Child
from services.errors import RunCode
from services.events.records import Event, GroupFinished, WarningRaised
from services.workflow.snapshot import Snapshot, advance


@dataclass(slots=True, kw_only=True)
class RunAtWork:
    """A child and what it was begun for; `outcomes` are those of its sets, `left` what it could not leave in order."""

    child: Child
    what: Begin
    now: RunNow
    seen: Snapshot
    outcomes: list[GroupFinished] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def hear(self, event: Event) -> None:
        """Take an event of the child."""
        self.seen = advance(replace(self.seen, run_id=event.run_id), event)
        self.now = self.now.heard(self.seen)
        if isinstance(event.what, GroupFinished):
            self.outcomes.append(event.what)
        elif isinstance(event.what, WarningRaised) and event.what.code == RunCode.LEFT_UNSAFE:
            self.left.append(event.what.detail)
