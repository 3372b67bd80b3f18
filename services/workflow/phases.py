"""Dark or lit: the site's hooks, the prompts and the step events come where a run goes from one to the other."""

from collections.abc import Sequence

from drivers.base import PanelInfo
from services.config.models import Config
from services.errors import RunCode, RunStopped
from services.events.records import StepFinished, StepStarted
from services.planning.request import Step
from services.workflow.context import RunContext
from services.workflow.hooks import call_hook


class Phases:
    """Knows which phase a run is in; `enter` does nothing while it stays the same.

    Nothing is asked and no hook is called for a phase in which nothing is taken.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._now: Step | None = None
        self._answered: set[Step] = set()
        self._begun = False

    def ask_before(self, coming: Sequence[Step]) -> None:
        """Ask all that can be answered now in one question, before the camera is cooled and people go to bed.

        Asked again is only before a phase that needs somebody's hands when others have gone before it.

        Parameters
        ----------
        coming : sequence of Step
            The phases in which something will be taken, in their order.

        Raises
        ------
        RunStopped
            The user said no.
        """
        if self._context.ask is None or not coming:
            return
        later = dict.fromkeys(phase for phase in coming[1:] if self._needs_hands(phase))
        answered = dict.fromkeys(phase for phase in coming if phase is coming[0] or phase not in later)
        texts = [self._to_do(phase) for phase in answered]
        if later:
            texts.append(f"You will be asked again before the {' and the '.join(later)}.")
        self._put("\n".join(texts), coming[0])
        self._answered = set(answered)

    def enter(self, phase: Step) -> None:
        """Go to a phase.

        Raises
        ------
        RunStopped
            The user said no, or a hook with `on_failure: stop` failed.
        """
        if phase is self._now:
            return
        self.leave()
        self._ask(phase)
        self._begun = True
        call_hook(self._context.config.hooks, f"before_{phase}", self._context.events)
        self._context.events.emit(StepStarted(step=phase))
        self._now = phase

    def _ask(self, phase: Step) -> None:
        if self._context.ask is None:
            return
        if phase not in self._answered or (self._begun and self._needs_hands(phase)):
            self._put(self._to_do(phase), phase)

    def _put(self, text: str, before: Step) -> None:
        self._context.events.caught_up()  # earlier messages are shown above the question
        if self._context.ask is not None and not self._context.ask(text):
            raise RunStopped(f"declined before the {before}", code=RunCode.INTERRUPTED)

    def _to_do(self, phase: Step) -> str:
        to_do = to_do_for_darks if phase is Step.DARKS else to_do_for_flats
        return to_do(self._context.config, self._context.session.panel_info, self._context.opaque)

    def _needs_hands(self, phase: Step) -> bool:
        panel, config = self._context.session.panel_info, self._context.config
        return darks_need_hands(config, panel) if phase is Step.DARKS else flats_need_hands(config, panel)

    def leave(self) -> None:
        """End the phase, if there is one."""
        if self._now is None:
            return
        phase, self._now = self._now, None
        self._context.events.emit(StepFinished(step=phase))
        call_hook(self._context.config.hooks, f"after_{phase}", self._context.events)


def darks_need_hands(config: Config, panel: PanelInfo | None) -> bool:
    """Whether somebody has to make it dark when darks follow flats: no cover, filter, shutter or hook does it."""
    by_hand = config.darkness in {"roof", "manual"} or (config.darkness == "cover" and not (panel and panel.has_cover))
    return by_hand and config.hooks.before_darks is None


def flats_need_hands(config: Config, panel: PanelInfo | None) -> bool:
    """Whether somebody has to bring light to the telescope when flats follow darks: no flip-flat and no hook does."""
    if config.hooks.before_flats is not None:
        return False
    lit = panel is not None and panel.has_calibrator and config.flat_capture.source != "sky"
    closed = config.flat_panel is not None and config.flat_panel.cover_for_flats == "closed"
    return not (lit and panel is not None and panel.has_cover and closed)


def to_do_for_darks(config: Config, panel: PanelInfo | None, opaque: Sequence[str]) -> str:
    """Return what somebody at the telescope is asked before biases and darks; what moves by itself is not theirs."""
    moved = panel is not None and panel.has_cover
    theirs = {"roof": "close the roof", "manual": "make it dark", "cover": None if moved else "close the cover"}
    first = theirs.get(config.darkness)
    itself = ["the cover closes"] if moved else []
    itself += [f"the wheel turns to {opaque[0]}"] if opaque else []
    asked = f"{first} and switch all lights off" if first else "switch all lights off"
    aside = f" ({' and '.join(itself)} by itself)" if itself else ""
    return f"Darks and biases come next: {asked}{aside}."


def to_do_for_flats(config: Config, panel: PanelInfo | None, _opaque: Sequence[str]) -> str:
    """Return what somebody at the telescope is asked before flats."""
    if config.flat_capture.source == "sky":
        return "Flats come next: point the telescope at the twilight sky, away from bright stars."
    if panel is None or not panel.has_calibrator:
        return "Flats come next: put the flat panel on the telescope and switch it on."
    if panel.has_cover and config.flat_panel is not None and config.flat_panel.cover_for_flats == "closed":
        return f"Flats come next: nothing stands in the way of {panel.name} (it closes and lights up by itself)?"
    return f"Flats come next: point the telescope at {panel.name}, or put it on (it lights up by itself)."
