"""Keeps the sensor at the temperature that is asked for, and decides what follows when it cannot be had."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import structlog

from calibration.errors import GroupCode
from drivers.base import CameraState
from drivers.errors import Refused
from services.capture import thermal
from services.capture.approach import WARM_UP_LIMIT_S, Approach, Stall, warm_up
from services.capture.cooler import Cooler
from services.capture.failures import GroupFailed
from services.capture.recovery import quietly
from services.capture.thermal import believed_c
from services.config.devices import CoolingPolicy

log = structlog.get_logger(__name__)

RAISE_BY_C = 5.0
RAISES = 3
REMEMBERED_S = 1800.0
"""How long a set-point that could not be reached is not tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooled:
    """What came of cooling.

    Attributes
    ----------
    wanted_c : float
        The temperature asked for.
    set_c : float
        The set-point now in force: differs from `wanted_c` after `raise_setpoint`.
    ccd_c : float or None
        The last reading.
    stable : bool
        Whether frames may be held to the tolerance; False for frames taken all the same, marked by what they measured.
    code : str or None
        Why not stable (cooler_limit, not_steady, sensor_stuck, cooler_lost).
    """

    wanted_c: float
    set_c: float
    ccd_c: float | None
    stable: bool
    code: str | None = None


class Thermostat:
    """Holds one camera at the temperature that is asked for.

    Parameters
    ----------
    cooler : Cooler
    active : bool
        False leaves the cooler as found: no `cooling` section, `mode: off`, `enable_cooling: false`, `--skip-cooling`.
    """

    def __init__(self, cooler: Cooler, *, active: bool) -> None:
        self._cooler = cooler
        self._settings = cooler.settings
        self._active = active
        self._held: Cooled | None = None
        self._stalls: dict[float, Stall] = {}
        self._power_lost = False
        self._found: CameraState | None = None

    def note_found(self, state: CameraState) -> None:
        """Remember how the cooler was before anything was done to it."""
        self._found = state

    @property
    def is_ours(self) -> bool:
        """Whether the cooler is ever touched."""
        return self._active and self._cooler.can_be_set

    @property
    def found_on(self) -> bool:
        """Whether the cooler is to be left on, as it was found."""
        found = self._found
        return found is not None and found.cooler_on is not False and not self._settings.warmup_at_end

    @property
    def warming_s(self) -> float | None:
        """About how long warming up at the end will take, s; None when the sensor is not warmed up."""
        last = self._cooler.history.last
        if not (self._active and self._cooler.can_be_set and self._settings.warmup_at_end) or last is None:
            return None
        if last.ccd_c is None or last.cooler_on is False:
            return 0.0
        degrees = max(0.0, self._settings.warmup_final_temp - last.ccd_c)
        seconds = max(60 * degrees / self._settings.warmup_rate, self._settings.warmup_min_duration_s)
        return min(seconds, WARM_UP_LIMIT_S)

    def refused(self, wanted_c: Sequence[float]) -> Iterator[str]:
        """Yield, in words, which of these set-points the camera refuses; the one that it had is set again.

        No member of ASCOM says how far a set-point may go: it is tried, before the cooler is on.
        """
        if self._active and self._settings.mode == "required" and not self._cooler.can_be_set:
            yield "the camera has no set-point, and cooling is required (`mode: if_available` goes on without it)"
        if not self.is_ours or self._found is None or self._found.cooler_on is not False:
            return
        try:
            for celsius in sorted(set(wanted_c)):
                try:
                    self._cooler.set_point(celsius)
                except Refused as error:
                    yield f"the camera refuses {celsius:g} °C: {error.detail}"
        finally:
            if (before_c := self._found.set_temperature_c) is not None:
                quietly("set-point", lambda: self._cooler.set_point(before_c))

    def look(self) -> CameraState:
        """Read the camera's state afresh."""
        return self._cooler.state()

    def reaching_s(self, wanted_c: float | None) -> float:
        """Return about how long it takes at least until the sensor holds a temperature, s."""
        settings, held = self._settings, self._held
        if wanted_c is None or not (self.is_ours and settings.wait_for_cooling):
            return 0.0
        if held is not None and held.wanted_c == wanted_c:
            return 0.0
        ccd_c = believed_c(self.look().ccd_temperature_c)
        ramp_s = 0.0 if ccd_c is None else 60.0 * abs(ccd_c - wanted_c) / settings.ramp_rate
        return min(ramp_s + settings.stable_time, settings.cooling_timeout)

    def ensure(self, wanted_c: float | None, policy: CoolingPolicy) -> Cooled | None:
        """Bring the sensor to `wanted_c` and hold it there; None when the cooler is left as found.

        Raises
        ------
        GroupFailed
            cooler_limit, not_steady, sensor_stuck or cooler_lost, when the policy is to stop; also for `mode: required`
            without a cooler.
        RunStopped, DriverError
            The run is to stop, or the camera is gone.
        """
        if wanted_c is None or not self._active:
            return None
        if not self._cooler.can_be_set:
            if self._settings.mode == "required":
                raise GroupFailed(GroupCode.COOLER_LIMIT, "the camera has no cooler with a set-point")
            return None
        if self._held is None or self._held.wanted_c != wanted_c or not self._holds(self._held, policy):
            self._held = None
            self._held = self._reach(wanted_c, policy)
        return self._held

    def lost(self) -> None:
        """Forget what was held: the camera was away and may have been switched off."""
        self._held = None
        self._cooler.history.clear()

    def end(self, hurry: threading.Event | None = None) -> None:
        """Leave the cooler as it was found, or warm up and switch it off when the configuration says so.

        Parameters
        ----------
        hurry : threading.Event, optional
            Set: the warming up is cut short.
        """
        if not self.is_ours:
            return
        found = self._found
        if self._settings.warmup_at_end:
            warm_up(self._cooler, hurry)
        elif found is not None:
            set_c = found.set_temperature_c
            if found.cooler_on is not False:
                if set_c is not None:
                    self._cooler.set_point(set_c)
                return
            if set_c is not None:
                quietly("set-point", lambda: self._cooler.set_point(set_c))
            self._cooler.switch_off()  # last: some drivers switch it on with a new set-point

    # --- inside -----------------------------------------------------------------------------------------------------

    def _holds(self, held: Cooled, policy: CoolingPolicy) -> bool:
        if not held.stable:
            # what flats went on with, marked, is not good enough for darks that are to stop
            return held.code is None or policy is CoolingPolicy.CONTINUE_MARKED
        reading = self._cooler.read()
        if thermal.has_lost_power(self._cooler.history):
            self._power_lost = True  # cooling is begun once more; what then fails, fails for this
            log.warning("cooling.power_lost", ccd_temp_c=reading.ccd_c, cooler_power_pct=reading.power_pct)
            return False
        return reading.ccd_c is not None and abs(reading.ccd_c - held.set_c) <= self._settings.frame_tolerance

    def _reach(self, wanted_c: float, policy: CoolingPolicy) -> Cooled:
        stall = None
        for step in range(1 + (RAISES if policy is CoolingPolicy.RAISE_SETPOINT else 0)):
            set_c = wanted_c + step * RAISE_BY_C
            stall, reached_c = self._known_stall(set_c), set_c
            if stall is None:
                stall, reached_c = self._approach(set_c)
            if stall is None:
                return self._outcome(wanted_c, reached_c)
            self._stalls[set_c] = stall
            if stall.code is not GroupCode.COOLER_LIMIT or stall.too_cold:
                break
        if stall is not None and policy is not CoolingPolicy.CONTINUE_MARKED:
            raise GroupFailed(stall.code, stall.detail)
        return self._outcome(wanted_c, wanted_c, stall)

    def _approach(self, set_c: float) -> tuple[Stall | None, float]:
        """Go to a set-point; return why it was not reached, and what the camera made of it."""
        approach = Approach(self._cooler, set_c, after_loss=self._power_lost)
        stall = approach.run()
        self._power_lost = self._power_lost and stall is not None
        return stall, approach.target_c

    def _known_stall(self, set_c: float) -> Stall | None:
        """Return why a set-point was not reached of late; a stuck reading that has moved since is forgiven."""
        known = self._stalls.get(set_c)
        if known is None or self._cooler.clock.monotonic() - known.at_s >= REMEMBERED_S:
            return None
        if known.code is not GroupCode.SENSOR_STUCK:
            return known
        now = self._cooler.read()
        return None if now.plausible and now.ccd_c != known.ccd_c else known

    def _outcome(self, wanted_c: float, set_c: float, stall: Stall | None = None) -> Cooled:
        last = self._cooler.history.last
        return Cooled(
            wanted_c=wanted_c,
            set_c=set_c,
            ccd_c=None if last is None else last.ccd_c,
            stable=stall is None and self._settings.wait_for_cooling,
            code=None if stall is None else stall.code.value,
        )
