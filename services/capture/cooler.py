"""One camera's cooler as the rest of capture sees it: a history of readings, commands, and their events."""

from datetime import datetime

import structlog

from drivers.base import Camera, CameraState, ExposureRequest
from drivers.clock import Clock
from drivers.errors import Cancelled, DriverError, Refused
from services.capture.failures import UntilReached
from services.capture.recovery import Recovery
from services.capture.thermal import History, Reading, believed_c
from services.config.devices import Cooling
from services.errors import RunCode
from services.events.bus import Events
from services.events.devices import CoolingChanged, CoolingStable, CoolingStalled
from services.events.records import WarningRaised
from services.observatory import Interlock
from services.words import both_clocks

log = structlog.get_logger(__name__)

SHORT_S = 0.001
EXPOSE_EVERY_S = 10.0
_ATTEMPTS_TO_SWITCH_OFF = 2
_LOOKS = 3
"""Drivers that ask the camera once a second report its state a little late."""


class Cooler:
    """Reads and commands a cooler; a camera that is lost meanwhile is waited for.

    Parameters
    ----------
    camera, clock, events, interlock, recovery
    settings : Cooling
    until : datetime, optional
        Cooling is not waited for beyond it.
    """

    def __init__(
        self,
        *,
        camera: Camera,
        clock: Clock,
        events: Events,
        interlock: Interlock,
        recovery: Recovery,
        settings: Cooling,
        until: datetime | None = None,
    ) -> None:
        self._camera = camera
        self._events = events
        self._interlock = interlock
        self._recovery = recovery
        self._until = until
        self._announced_s: float | None = None
        self._whole_degrees = False
        self._with_exposures = False  # the reading changes only when an exposure is made
        self._exposed_s = 0.0
        self._warned: set[str] = set()
        self.clock = clock
        self.settings = settings
        self.history = History()
        self.stays_on = False
        """Whether it turned out to have no switch."""

    @property
    def can_be_set(self) -> bool:
        """Whether the camera has a set-point."""
        return self._camera.info.can_set_temperature

    def state(self) -> CameraState:
        """Read the camera's state afresh; its temperature goes into the history."""
        state = self._recovery.call(self._camera.state)
        self.history.add(
            Reading(
                at_s=self.clock.monotonic(),
                ccd_c=state.ccd_temperature_c,
                set_c=state.set_temperature_c,
                power_pct=state.cooler_power_pct,
                cooler_on=state.cooler_on,
            )
        )
        return state

    def read(self) -> Reading:
        """Read the temperature afresh; where it comes with pictures alone, after an exposure, every few seconds."""
        if self._with_exposures and self.clock.monotonic() - self._exposed_s >= EXPOSE_EVERY_S:
            self._expose()
        self.state()
        return self.history.newest

    def moves_with_exposures(self) -> bool:
        """Make an exposure, and return whether a reading that stood still has moved with it."""
        before = self.history.newest.ccd_c
        self._expose()
        after = self.read()
        moved = after.plausible and after.ccd_c != before
        if moved:
            self._with_exposures = True
            log.info("temperature.comes_with_exposures", before_c=before, after_c=after.ccd_c)
            self.history.forget()
            self.history.add(after)
        return moved

    def _expose(self) -> None:
        """Make the shortest exposure, and throw it away; one that fails is no matter here."""
        self._exposed_s = self.clock.monotonic()
        duration_s = max(self._camera.info.exposure_min_s, SHORT_S)
        try:
            self._camera.expose(ExposureRequest(duration_s=duration_s, light=False), self._interlock.wake)
        except Cancelled:
            self._interlock.check_edge()
            raise
        except DriverError as error:
            log.info("temperature.exposure_failed", detail=str(error))

    def set_point(self, celsius: float) -> float:
        """Move the set-point; return the one that is taken: a whole degree, where the camera refuses others.

        Raises
        ------
        Refused
            The camera takes neither.
        """
        taken_c = float(round(celsius)) if self._whole_degrees else celsius
        try:
            self._recovery.call(lambda: self._camera.set_temperature(taken_c))
        except Refused:
            if taken_c.is_integer():
                raise
            taken_c = float(round(celsius))
            self._recovery.call(lambda: self._camera.set_temperature(taken_c))
            self._whole_degrees = True
        return taken_c

    def warn(self, code: RunCode, detail: str) -> None:
        """Emit a warning, once."""
        if detail not in self._warned:
            self._warned.add(detail)
            self._events.emit(WarningRaised(code=code.value, detail=detail))

    def switch(self, *, on: bool) -> None:
        """Switch the cooler; raises `Refused` unless one that refuses to be switched on does not read off."""
        try:
            self._recovery.call(lambda: self._camera.set_cooler(on))
        except Refused:
            if not on or self.state().cooler_on is False:
                raise

    def switch_off(self) -> None:
        """Switch the cooler off, and see that it is; raises `Refused` when it goes on."""
        for _ in range(_ATTEMPTS_TO_SWITCH_OFF):
            self.switch(on=False)
            for _ in range(_LOOKS):
                if self.state().cooler_on is not True:
                    return
                self.clock.sleep(1.0)
        raise Refused(device="cooler", detail="it reads on after it was switched off")

    def switch_off_warm(self) -> None:
        """Switch the cooler of a warm sensor off; one that has no switch is no danger, and stays on with a note."""
        try:
            self.switch_off()
        except Refused as error:
            self.stays_on = True
            detail = f"the sensor is warm, its cooler cannot be switched off and stays on: {error.detail}"
            self._events.emit(WarningRaised(code=RunCode.DEVICE_LIMITED.value, detail=detail))

    def sleep(self, seconds: float) -> None:
        """Wait; raises `RunStopped` when the run is to stop, `UntilReached` when its time has come."""
        if self.clock.sleep(seconds, self._interlock.edge):
            self._interlock.check_edge()
        if self._until is not None and self.clock.now() >= self._until:
            raise UntilReached(f"the time given came while cooling ({both_clocks(self._until)})")

    def announce(self, reading: Reading, target_c: float) -> None:
        """Emit `cooling.changed`, but not more often than `status_interval`."""
        if self._announced_s is not None and reading.at_s - self._announced_s < self.settings.status_interval:
            return
        self._announced_s = reading.at_s
        self._events.emit(
            CoolingChanged(
                ccd_temp_c=believed_c(reading.ccd_c),
                set_point_c=reading.set_c,
                target_c=target_c,
                cooler_power_pct=reading.power_pct,
            )
        )

    def announce_stable(self, target_c: float, seconds: float) -> None:
        """Emit `cooling.stable`."""
        ccd_c = believed_c(self.history.newest.ccd_c)
        self._events.emit(CoolingStable(ccd_temp_c=ccd_c, target_c=target_c, seconds=seconds))

    def announce_stalled(self, target_c: float, code: str) -> None:
        """Emit `cooling.stalled`."""
        ccd_c = believed_c(self.history.newest.ccd_c)
        self._events.emit(CoolingStalled(ccd_temp_c=ccd_c, target_c=target_c, code=code))
