"""Dark or lit: the site's hooks, the prompts and the step events stand where a run goes from one to the other."""

from enum import StrEnum

from services.errors import RunCode, RunStopped
from services.events import EventName
from services.workflow.context import RunContext
from services.workflow.hooks import call_hook

PROMPTS = {
    "darks": "Darks and biases come next: close the cover and switch all lights off.",
    "flats": "Flats come next: point the telescope at the flat panel, or put the panel on the telescope.",
}


class Phase(StrEnum):
    """What the telescope must be ready for."""

    DARKS = "darks"
    FLATS = "flats"


class Phases:
    """Knows which phase a run is in; `enter` does nothing while it stays the same.

    Nothing is asked and no hook is called for a phase in which nothing is taken.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._now: Phase | None = None

    def enter(self, phase: Phase) -> None:
        """Go to a phase.

        Raises
        ------
        RunStopped
            The user said no, or a hook with `on_failure: stop` failed.
        """
        if phase is self._now:
            return
        self.leave()
        ask = self._context.options.ask
        if ask is not None and not ask(PROMPTS[phase]):
            raise RunStopped(f"declined before the {phase}", code=RunCode.INTERRUPTED)
        call_hook(self._context.config.hooks, f"before_{phase}", self._context.events)
        self._context.events.emit(EventName.STEP_STARTED, step=phase)
        self._now = phase

    def leave(self) -> None:
        """End the phase, if there is one."""
        if self._now is None:
            return
        phase, self._now = self._now, None
        self._context.events.emit(EventName.STEP_FINISHED, step=phase)
        call_hook(self._context.config.hooks, f"after_{phase}", self._context.events)
