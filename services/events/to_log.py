"""Events of a run as lines of the log."""

import structlog

from services.events.devices import CoolingChanged, CoolingStalled, DeviceGone, SafetyStale, SafetyUnsafe
from services.events.records import (
    Event,
    FrameRefused,
    MasterBuilt,
    MasterRefused,
    Record,
    RunProgress,
    RunStarted,
    WarningRaised,
    members,
)
from services.events.standings import MasterSuspect

log = structlog.get_logger(__name__)


class ToLog:
    """A listener that writes events to the log: at DEBUG what comes by the second, at WARNING what needs a look.

    The log's own time is always the real one. Events of a simulated night carry theirs, too, as `simulated_at`.
    """

    def __init__(self) -> None:
        self._simulated = False

    def __call__(self, event: Event) -> None:
        """Write an event."""
        if isinstance(event.what, RunStarted):
            self._simulated = event.what.simulated
        at = {"simulated_at": event.at.isoformat(timespec="seconds")} if self._simulated else {}
        getattr(log, _level(event.what))(event.name, run_id=event.run_id, **at, **members(event.what))


def _level(what: Record) -> str:
    match what:
        case RunProgress() | CoolingChanged():
            return "debug"
        case (
            WarningRaised() | DeviceGone() | FrameRefused() | MasterRefused() | MasterBuilt(doubts=(_, *_))
            | MasterSuspect() | CoolingStalled() | SafetyUnsafe() | SafetyStale()
        ):  # fmt: skip
            return "warning"
        case _:
            return "info"
