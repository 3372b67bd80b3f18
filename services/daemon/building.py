"""When masters are built: once their sets are complete, and again after a build that failed, less and less often."""

from dataclasses import replace

from services.daemon.machine import Activity, Standing
from services.daemon.orders import Order, OrderName
from services.daemon.parts import Begin, Ended, Nothing
from services.planning.request import Step

FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 3600.0
"""Before a build that failed is tried again, and before each one after many: a full disk is not filled with tries."""


class Building:
    """Which masters were tried to be built, and when those that failed are tried again; for the loop's thread alone.

    Attributes
    ----------
    ordered : Begin or None
        A run that was ordered while masters are built: it begins when they are done, and models make way for it.
    """

    def __init__(self) -> None:
        self.ordered: Begin | None = None
        self._tried: frozenset[str] = frozenset()
        self._failed = 0
        self._again_at_s = 0.0

    def is_due(self, to_build: frozenset[str], now_s: float) -> bool:
        """Return whether masters are to be built now; `now_s` is of a clock that only goes on."""
        is_again = self._failed > 0 and now_s >= self._again_at_s
        return bool(to_build if is_again else to_build - self._tried)

    def while_it_builds(self, order: Order, standing: Standing, what: Begin | None) -> Standing:
        """Return the state in which an order is heard; one to run is taken beside a build, whose end it waits for."""
        waits = what is not None and what.builds_only and self.ordered is None
        is_taken = waits and order.order is OrderName.RUN and standing.activity is not Activity.STOPPING
        return replace(standing, activity=Activity.IDLE) if is_taken else standing

    def begun(self, to_build: frozenset[str]) -> None:
        """Note that all of these are tried."""
        self._tried = to_build

    def try_all(self) -> None:
        """Try again all that was tried: frames have come, or what kept them from being built is over."""
        self._tried, self._failed = frozenset(), 0

    def ended(self, ended: Ended, now_s: float, *, is_ordered: bool, is_held: bool) -> None:
        """Learn from the end of a build; one that an order to pause has broken off goes on as soon as it may."""
        if ended.code is None:
            self._failed = 0
        elif is_held:
            self.try_all()
        elif not is_ordered:
            pause_s = min(FIRST_PAUSE_S * 2.0**self._failed, LONGEST_PAUSE_S)
            self._failed, self._again_at_s = self._failed + 1, now_s + pause_s


def makes_way(what: Begin, step: str | None, choice: Begin | Nothing) -> bool:
    """Return whether what is at work after the frames is ended for more frames: models are, masters are soon built."""
    return what.builds_only and step == Step.MODELS and isinstance(choice, Begin)
