"""Drives the cooler: down on a ramp until the sensor is really stable, up on a ramp before it is switched off.

What the readings mean is in `services.capture.thermal`; here is the waiting, the commanding and the policy.
"""

import threading
from dataclasses import dataclass, replace

import structlog

from calibration.errors import GroupCode
from drivers.base import Camera, CameraState
from drivers.clock import Clock, Deadline
from drivers.errors import NotOffered, Refused
from services.capture import thermal
from services.capture.failures import GroupFailed
from services.capture.recovery import Recovery
from services.capture.thermal import History, Reading
from services.config.models import Cooling, CoolingPolicy
from services.events import EventName, Events
from services.observatory import Interlock

log = structlog.get_logger(__name__)

TICK_S = 5.0
RAISE_BY_C = 5.0
RAISES = 3
REMEMBERED_S = 1800.0
"""How long a set-point that could not be reached is not tried again."""

WARM_UP_LIMIT_S = 1800.0


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
        Why not stable (cooler_limit, sensor_stuck, cooler_lost).
    """

    wanted_c: float
    set_c: float
    ccd_c: float | None
    stable: bool
    code: str | None = None


@dataclass(frozen=True, slots=True)
class _Failure:
    code: GroupCode
    detail: str
    at_s: float


class Thermostat:
    """Keeps one camera at the temperature that is asked for.

    Parameters
    ----------
    camera, clock, events, interlock, recovery
    cooling : Cooling or None
        None, `mode: off` and `enable_cooling: false` leave the cooler as found.
    skip : bool
        As if `cooling` were None (`--skip-cooling`).
    """

    def __init__(
        self,
        *,
        camera: Camera,
        clock: Clock,
        events: Events,
        interlock: Interlock,
        recovery: Recovery,
        cooling: Cooling | None,
        skip: bool = False,
    ) -> None:
        self._camera = camera
        self._clock = clock
        self._events = events
        self._interlock = interlock
        self._recovery = recovery
        self._cooling = cooling or Cooling()
        self.active = cooling is not None and cooling.mode != "off" and cooling.enable_cooling and not skip
        self.history = History()
        self._held: Cooled | None = None
        self._failures: dict[float, _Failure] = {}
        self._power_lost = False
        self._told_s: float | None = None
        self._found: CameraState | None = None

    def note_found(self, state: CameraState) -> None:
        """Remember how the cooler was before anything was done to it."""
        self._found = state

    def look(self) -> CameraState:
        """Read the camera's state afresh into the history."""
        state = self._recovery.call(self._camera.state)
        self._remember(state)
        return state

    def ensure(self, wanted_c: float | None, policy: CoolingPolicy) -> Cooled | None:
        """Bring the sensor to `wanted_c` and hold it there; None when the cooler is left as found.

        Raises
        ------
        GroupFailed
            cooler_limit, sensor_stuck or cooler_lost, when the policy is to stop; also for `mode: required` without a
            cooler.
        RunStopped
        """
        if wanted_c is None or not self.active:
            return None
        if not self._camera.info.can_set_temperature:
            if self._cooling.mode == "required":
                raise GroupFailed(GroupCode.COOLER_LIMIT, "the camera has no cooler with a set-point")
            return None
        if self._held is not None and self._held.wanted_c == wanted_c and self._holds(self._held):
            return self._held
        self._held = self._reach(wanted_c, policy)
        return self._held

    def lost(self) -> None:
        """Forget what was held: the camera was away and may have been switched off."""
        self._held = None
        self.history.clear()

    # --- holding ----------------------------------------------------------------------------------------------------

    def _holds(self, held: Cooled) -> bool:
        if not held.stable:
            return True
        reading = self._remember(self._recovery.call(self._camera.state))
        if thermal.has_lost_power(self.history):
            self._power_lost = True  # cooling is begun once more; what then fails, fails for this
            log.warning("cooling.power_lost", ccd_temp_c=reading.ccd_c, cooler_power_pct=reading.power_pct)
            return False
        return reading.ccd_c is not None and abs(reading.ccd_c - held.set_c) <= self._cooling.frame_tolerance

    # --- reaching ---------------------------------------------------------------------------------------------------

    def _reach(self, wanted_c: float, policy: CoolingPolicy) -> Cooled:
        raises = RAISES if policy is CoolingPolicy.RAISE_SETPOINT else 0
        failure = None
        for step in range(raises + 1):
            set_c = wanted_c + step * RAISE_BY_C
            failure = self._known_failure(set_c) or self._approach(set_c)
            if failure is not None and self._power_lost:
                failure = replace(failure, code=GroupCode.COOLER_LOST)
            if failure is None:
                self._power_lost = False
                return self._outcome(wanted_c, set_c, stable=self._cooling.wait_for_cooling)
            self._failures[set_c] = failure
            if failure.code is not GroupCode.COOLER_LIMIT:
                break
        if failure is not None and policy is not CoolingPolicy.CONTINUE_MARKED:
            raise GroupFailed(failure.code, failure.detail)
        code = None if failure is None else failure.code.value
        return self._outcome(wanted_c, wanted_c, stable=False, code=code)

    def _known_failure(self, set_c: float) -> _Failure | None:
        known = self._failures.get(set_c)
        recent = known is not None and self._clock.monotonic() - known.at_s < REMEMBERED_S
        return known if recent else None

    def _outcome(self, wanted_c: float, set_c: float, *, stable: bool, code: str | None = None) -> Cooled:
        last = self.history.last
        return Cooled(
            wanted_c=wanted_c, set_c=set_c, ccd_c=None if last is None else last.ccd_c, stable=stable, code=code
        )

    def _approach(self, target_c: float) -> _Failure | None:
        """Ramp to `target_c` and wait for stability; return what went wrong, None for success."""
        self.history.clear()
        started_s = self._clock.monotonic()
        deadline = Deadline(self._clock, self._cooling.cooling_timeout, real_s=5.0)
        try:
            ramp = self._begin(target_c)
            while (failure := self._fault(ramp, started_s, deadline)) is None:
                if ramp.set_c == target_c and self._is_stable(target_c):
                    self._tell_stable(target_c, started_s)
                    return None
                self._advance(ramp)
                self._sleep(TICK_S)
                self._tell(self._remember(self._recovery.call(self._camera.state)), target_c)
        except (Refused, NotOffered) as error:
            failure = self._failure(GroupCode.COOLER_LIMIT, f"the camera refuses {target_c:.1f} °C: {error.detail}")
        last = self.history.last
        ccd_c = None if last is None else last.ccd_c
        self._events.emit(EventName.COOLING_STALLED, ccd_temp_c=ccd_c, target_c=target_c, code=failure.code.value)
        log.warning("cooling.stalled", code=failure.code.value, detail=failure.detail)
        return failure

    def _begin(self, target_c: float) -> "_Ramp":
        reading = self._remember(self._recovery.call(self._camera.state))
        waits = self._cooling.wait_for_cooling
        start_c = reading.ccd_c if waits and reading.plausible and reading.ccd_c is not None else target_c
        ramp = _Ramp(set_c=start_c, target_c=target_c, at_s=self._clock.monotonic())
        self._command(start_c)
        return ramp

    def _advance(self, ramp: "_Ramp") -> None:
        now_s = self._clock.monotonic()
        last = self.history.last
        cooling_down = last is None or last.ccd_c is None or ramp.target_c <= last.ccd_c
        rate = self._cooling.ramp_rate if cooling_down else self._cooling.warmup_rate
        wanted_c = thermal.next_setpoint(
            ramp.set_c, ramp.target_c, rate_c_per_min=rate, elapsed_s=max(now_s - ramp.at_s, TICK_S)
        )
        ramp.at_s = now_s
        if wanted_c != ramp.set_c:
            ramp.set_c = wanted_c
            self._recovery.call(lambda: self._camera.set_temperature(wanted_c))

    def _fault(self, ramp: "_Ramp", started_s: float, deadline: Deadline) -> _Failure | None:
        last, tolerance_c = self.history.last, self._cooling.stabilization_tolerance
        shown = "" if last is None or last.ccd_c is None else f" at {last.ccd_c:.1f} °C"
        if thermal.is_implausible(self.history) or thermal.is_stuck(self.history):
            return self._failure(GroupCode.SENSOR_STUCK, f"the temperature reading is stuck or implausible{shown}")
        if last is not None and last.cooler_on is False and not self._switched_on_again(ramp):
            return self._failure(GroupCode.COOLER_LOST, f"the cooler switched itself off{shown}")
        if thermal.is_stalled(self.history, target_c=ramp.set_c, tolerance_c=tolerance_c, since_s=started_s):
            return self._failure(GroupCode.COOLER_LIMIT, f"the cooler is at its limit{shown}, wanted {ramp.target_c}")
        if deadline.over:
            detail = f"not stable at {ramp.target_c:.1f} °C within {deadline.seconds:.0f} s{shown}"
            return self._failure(GroupCode.COOLER_LIMIT, detail)
        return None

    def _switched_on_again(self, ramp: "_Ramp") -> bool:
        """Switch a cooler on that is off though told to be on: once."""
        if ramp.switched_on:
            return False
        ramp.switched_on = True
        self._command(ramp.set_c)
        self._remember(self._recovery.call(self._camera.state))
        return True

    def _is_stable(self, target_c: float) -> bool:
        cooling = self._cooling
        return not cooling.wait_for_cooling or thermal.is_stable(
            self.history,
            target_c=target_c,
            tolerance_c=cooling.stabilization_tolerance,
            dwell_s=cooling.stable_time,
        )

    def _tell_stable(self, target_c: float, started_s: float) -> None:
        last = self.history.last
        ccd_c, seconds = None if last is None else last.ccd_c, self._clock.monotonic() - started_s
        if self._cooling.wait_for_cooling:
            self._events.emit(EventName.COOLING_STABLE, ccd_temp_c=ccd_c, target_c=target_c, seconds=seconds)
            log.info("cooling.stable", ccd_temp_c=ccd_c, target_c=target_c, seconds=round(seconds))

    # --- ending -----------------------------------------------------------------------------------------------------

    def end(self, hurry: threading.Event | None = None) -> None:
        """Leave the cooler as it was found, or warm up and switch it off when the configuration says so."""
        if not self.active or not self._camera.info.can_set_temperature:
            return
        if self._cooling.warmup_at_end:
            self.warm_up(hurry)
        elif self._found is not None and self._found.cooler_on is False:
            self._camera.set_cooler(False)
        elif self._found is not None and self._found.set_temperature_c is not None:
            self._camera.set_temperature(self._found.set_temperature_c)

    def warm_up(self, hurry: threading.Event | None = None) -> None:
        """Raise the set-point slowly, then switch the cooler off; `hurry` ends the waiting, never the switching off."""
        cooling, final_c = self._cooling, self._cooling.warmup_final_temp
        reading = self._remember(self._camera.state())
        self.history.clear()
        if reading.plausible and reading.ccd_c is not None and reading.cooler_on is not False:
            ramp = _Ramp(set_c=min(reading.ccd_c, final_c), target_c=final_c, at_s=self._clock.monotonic())
            started_s = ramp.at_s
            while ramp.at_s - started_s < WARM_UP_LIMIT_S:
                self._camera.set_temperature(ramp.set_c)
                if self._clock.sleep(cooling.warmup_check_interval_s, hurry):
                    break
                self._tell(self._remember(self._camera.state()), final_c)
                now_s = self._clock.monotonic()
                if now_s - started_s >= cooling.warmup_min_duration_s and thermal.is_warm(
                    self.history, final_c=final_c, set_c=ramp.set_c, above=cooling.warmup_consecutive_above
                ):
                    break
                ramp.set_c = thermal.next_setpoint(
                    ramp.set_c, final_c, rate_c_per_min=cooling.warmup_rate, elapsed_s=now_s - ramp.at_s
                )
                ramp.at_s = now_s
        self._camera.set_cooler(False)
        log.info("cooling.off")

    # --- small things -----------------------------------------------------------------------------------------------

    def _command(self, set_c: float) -> None:
        self._recovery.call(lambda: self._camera.set_temperature(set_c))
        self._recovery.call(lambda: self._camera.set_cooler(True))

    def _remember(self, state: CameraState) -> Reading:
        reading = Reading(
            at_s=self._clock.monotonic(),
            ccd_c=state.ccd_temperature_c,
            set_c=state.set_temperature_c,
            power_pct=state.cooler_power_pct,
            cooler_on=state.cooler_on,
        )
        self.history.add(reading)
        return reading

    def _tell(self, reading: Reading, target_c: float) -> None:
        if self._told_s is not None and reading.at_s - self._told_s < self._cooling.status_interval:
            return
        self._told_s = reading.at_s
        self._events.emit(
            EventName.COOLING_CHANGED,
            ccd_temp_c=reading.ccd_c,
            set_point_c=reading.set_c,
            target_c=target_c,
            cooler_power_pct=reading.power_pct,
        )

    def _sleep(self, seconds: float) -> None:
        if self._clock.sleep(seconds, self._interlock.wake):
            self._interlock.check()

    def _failure(self, code: GroupCode, detail: str) -> _Failure:
        return _Failure(code=code, detail=detail, at_s=self._clock.monotonic())


@dataclass(slots=True)
class _Ramp:
    """Where a moving set-point is."""

    set_c: float
    target_c: float
    at_s: float
    switched_on: bool = False
