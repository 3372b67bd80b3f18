"""How a cooler was before the first of several sessions touched it: one that was killed leaves it to the next one."""

from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from drivers.base import CameraState
from drivers.clock import Clock
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import FactRow

log = structlog.get_logger(__name__)

FOUND, LEFT = "cooler_found", "cooler_left"
"""Facts: a session found the cooler on (1) or off (0); a session has left it as it should be."""

REMEMBERED = timedelta(days=1)
"""For so long a cooler that is on is taken for our own doing; later somebody else may have switched it on."""


class CoolerMemory:
    """What the catalogue knows of one camera's cooler.

    Parameters
    ----------
    catalogue : Catalogue
    camera : str
    clock : Clock
    held_at : datetime, optional
        When a daemon that holds the cooler for a next run last knew it to be so: a pause may last for weeks.
    """

    def __init__(self, catalogue: Catalogue, camera: str, clock: Clock, held_at: datetime | None = None) -> None:
        self._catalogue = catalogue
        self._camera = camera
        self._clock = clock
        self._held_at = held_at

    def before(self, state: CameraState) -> CameraState | None:
        """Return how the cooler was before a session that never came to its end left it on; None when none did."""
        first = self._unfinished()
        if first is None or not state.cooler_on:
            return None
        return replace(state, cooler_on=first.value > 0, set_temperature_c=first.settings.get("set_temp_c"))

    def is_left_on(self) -> bool:
        """Whether a session of ours has left the cooler on, or died before it could end it."""
        return self._unfinished() is not None

    def found(self, state: CameraState) -> CameraState:
        """Note how the cooler is found; return how it was before a session that never came to its end."""
        before = self.before(state)
        if before is not None:
            log.warning("cooler.left_on_by_an_earlier_run", ccd_temp_c=state.ccd_temperature_c)
            state = before
        if state.cooler_on is not None:
            self._note(FOUND, value=float(state.cooler_on), set_temp_c=state.set_temperature_c)
        return state

    def left(self) -> None:
        """Note that the cooler is as it should be."""
        self._note(LEFT, value=1.0)

    def _unfinished(self) -> FactRow | None:
        found, left = (next(iter(self._catalogue.facts(camera=self._camera, name=n)), None) for n in (FOUND, LEFT))
        if found is None or (left is not None and left.at >= found.at):
            return None
        last = found.at if self._held_at is None else max(found.at, self._held_at)
        return found if timedelta() <= self._clock.now() - last < REMEMBERED else None

    def _note(self, name: str, *, value: float, **settings: object) -> None:
        fact = FactRow(camera=self._camera, name=name, value=value, at=self._clock.now(), settings=settings)
        self._catalogue.add_fact(fact)


def is_any_left_on(catalogue: Catalogue, clock: Clock) -> bool:
    """Whether a session of ours has left the cooler of any camera on, or died before it could end it."""
    cameras = {fact.camera for fact in catalogue.facts(name=FOUND)}
    return any(CoolerMemory(catalogue, camera, clock).is_left_on() for camera in sorted(cameras))
