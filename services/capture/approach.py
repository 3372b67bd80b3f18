"""Ways to a temperature: down (or up) on a ramp until the sensor holds, and the slow warming before the cooler is off.

The set-point is moved in small steps, so that no sensor sees more than the configured degrees a minute. What the
readings mean is in `services.capture.thermal`; here is the waiting and the commanding.
"""

import threading
from contextlib import suppress
from dataclasses import dataclass

import structlog

from calibration.errors import GroupCode
from drivers.clock import Deadline
from drivers.errors import NotOffered, Refused
from services.capture import thermal
from services.capture.cooler import Cooler
from services.errors import RunCode

log = structlog.get_logger(__name__)

TICK_S = 5.0
SHORTEST_TICK_S = 0.5
LOOKS = 4
"""So often at least a sensor is looked at in the time that it is to hold."""
WARM_UP_LIMIT_S = 1800.0
READ_BACK_AFTER_S = 10.0
"""Drivers that ask the camera now and then report a new set-point a little late."""
TOO_COLD = ": the sensor stays colder than that, and the cooler does not heat; choose a colder set-point"
ROUNDED_FROM_C, ROUNDED_TO_C = 0.05, 1.0
"""What differs from the set-point by less is the same, by more no rounding of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """Why a temperature could not be had, when (monotonic seconds) that was known, and what the sensor read then.

    `too_cold`: it read less than was wanted, where no warmer set-point helps.
    """

    code: GroupCode
    detail: str
    at_s: float
    ccd_c: float | None = None
    too_cold: bool = False


class Approach:
    """One way to one temperature.

    Parameters
    ----------
    cooler : Cooler
    target_c : float
    after_loss : bool
        The cooler has just failed to hold: whatever keeps it from getting there now, it has lost its power.
    """

    def __init__(self, cooler: Cooler, target_c: float, *, after_loss: bool = False) -> None:
        self._cooler = cooler
        self._after_loss = after_loss
        self._settings = cooler.settings
        self._target_c = target_c
        self._started_s = cooler.clock.monotonic()
        self._deadline = Deadline(cooler.clock, self._settings.cooling_timeout, real_s=Deadline.LEAST_REAL_S)
        self._set_c = target_c
        self._moved_s = self._commanded_s = self._started_s
        self._switched_on_again = self._suspected = False

    @property
    def target_c(self) -> float:
        """The temperature that is gone to: the one wanted, or what the camera makes of it."""
        return self._target_c

    def run(self) -> Stall | None:
        """Go there and wait until the sensor holds; return why it does not, None for success.

        Raises
        ------
        RunStopped, DriverError
            The run is to stop, or the camera is gone.
        """
        self._cooler.history.clear()
        try:
            stall = self._go()
        except (Refused, NotOffered) as error:
            detail = f"the camera refuses the set-point {self._target_c:.1f} °C: {error.detail}"
            stall = self._stall(GroupCode.COOLER_LIMIT, detail)
        if stall is not None:
            self._stay(stall)
            self._cooler.announce_stalled(self._target_c, stall.code.value)
            log.warning("cooling.stalled", code=stall.code.value, detail=stall.detail)
        return stall

    def _go(self) -> Stall | None:
        if (stall := self._begin()) is not None:
            return stall
        while (stall := self._fault()) is None:
            if self._set_c == self._target_c:
                self._read_back(READ_BACK_AFTER_S)
                if self._holds():
                    self._read_back(0.0)
                    return None
            self._move()
            self._cooler.sleep(self._tick_s)
            self._cooler.announce(self._cooler.read(), self._target_c)
        return stall

    def _stay(self, stall: Stall) -> None:
        """Leave a cooler at its limit with the set-point that is wanted: one of the ramp would differ in each run."""
        if stall.code is GroupCode.COOLER_LIMIT and self._set_c != self._target_c:
            with suppress(Refused, NotOffered):
                self._command(self._target_c)

    def _begin(self) -> Stall | None:
        reading = self._cooler.read()
        if self._settings.wait_for_cooling and reading.plausible and reading.ccd_c is not None:
            if (stall := self._too_short(reading.ccd_c)) is not None:
                return stall
            self._set_c = reading.ccd_c
        self._command(self._set_c)
        self._cooler.switch(on=True)
        return None

    def _too_short(self, ccd_c: float) -> Stall | None:
        """Return that the time is not enough for our own ramp, where it is not: nothing else would be to blame."""
        settings, down = self._settings, self._target_c <= ccd_c
        rate = settings.ramp_rate if down else settings.warmup_rate
        gap_c = abs(self._target_c - ccd_c) - settings.stabilization_tolerance
        ramp_s = 60 * max(0.0, gap_c) / rate
        if ramp_s <= settings.cooling_timeout:
            return None
        detail = (
            f"cooling_timeout ({settings.cooling_timeout:g} s) is shorter than the ramp from {ccd_c:.1f} to "
            f"{self._target_c:.1f} °C, which takes {ramp_s:.0f} s at {rate:g} °C/min"
        )
        return self._stall(GroupCode.NOT_STEADY, detail)

    def _command(self, wanted_c: float) -> None:
        """Move the set-point; straight to the target where the camera refuses a step on the way."""
        try:
            taken_c = self._cooler.set_point(wanted_c)
        except (Refused, NotOffered):
            if wanted_c == self._target_c:
                raise
            wanted_c, taken_c = self._target_c, self._cooler.set_point(self._target_c)
        self._commanded_s = self._cooler.clock.monotonic()
        if wanted_c == self._target_c:
            self._adopt(taken_c)
        self._set_c = self._target_c if wanted_c == self._target_c else wanted_c

    def _read_back(self, after_s: float) -> None:
        """Adopt the set-point that the camera reads back after a while, where it has rounded the target."""
        last = self._cooler.history.newest
        rounded = last.set_c is not None and ROUNDED_FROM_C < abs(last.set_c - self._target_c) <= ROUNDED_TO_C
        if rounded and last.set_c is not None and last.at_s > self._commanded_s + after_s:
            self._adopt(last.set_c)
            self._set_c = self._target_c

    def _adopt(self, taken_c: float) -> None:
        if taken_c != self._target_c:
            detail = f"the camera makes a set-point of {taken_c:g} °C out of {self._target_c:g} °C"
            self._cooler.warn(RunCode.SETPOINT_ROUNDED, detail)
            self._target_c = taken_c

    @property
    def _tick_s(self) -> float:
        """Time to the next look: on the ramp a fixed one, at its end so short that `stable_time` holds some looks."""
        if self._set_c != self._target_c:
            return TICK_S
        return min(TICK_S, max(SHORTEST_TICK_S, self._settings.stable_time / LOOKS))

    def _move(self) -> None:
        """Move the set-point on."""
        now_s = self._cooler.clock.monotonic()
        ccd_c = self._cooler.history.newest.ccd_c
        down = ccd_c is None or self._target_c <= ccd_c
        rate = self._settings.ramp_rate if down else self._settings.warmup_rate
        elapsed_s = max(now_s - self._moved_s, TICK_S)
        wanted_c = thermal.next_setpoint(self._set_c, self._target_c, rate_c_per_min=rate, elapsed_s=elapsed_s)
        self._moved_s = now_s
        if wanted_c != self._set_c:
            self._command(wanted_c)

    def _holds(self) -> bool:
        settings, history = self._settings, self._cooler.history
        if not settings.wait_for_cooling:
            return True
        tolerance_c, dwell_s = settings.stabilization_tolerance, settings.stable_time
        if not thermal.is_stable(history, target_c=self._target_c, tolerance_c=tolerance_c, dwell_s=dwell_s):
            return False
        seconds = self._cooler.clock.monotonic() - self._started_s
        self._cooler.announce_stable(self._target_c, seconds)
        return True

    def _fault(self) -> Stall | None:
        history, target_c = self._cooler.history, self._target_c
        last = history.newest
        shown = "" if last.ccd_c is None else f" at {last.ccd_c:.1f} °C"
        if not self._suspected and thermal.is_stuck(history, thermal.SUSPECT_WINDOW_S):
            self._suspected = True
            self._cooler.moves_with_exposures()
        is_stuck = thermal.is_stuck(history) and not self._cooler.moves_with_exposures()
        if thermal.is_implausible(history) or is_stuck:
            said = f", it says {last.ccd_c:.1f}" if last.ccd_c is not None and not last.plausible else shown
            return self._stall(GroupCode.SENSOR_STUCK, f"the temperature reading is stuck or implausible{said}")
        if last.cooler_on is False and not self._switch_on_again():
            return self._stall(GroupCode.COOLER_LOST, f"the cooler switched itself off{shown}")
        cooled_s = self._cooler.clock.monotonic() - self._started_s
        if cooled_s >= thermal.LOST_WINDOW_S and thermal.has_lost_power(history):
            return self._stall(GroupCode.COOLER_LOST, f"the sensor warms{shown} though the cooler is on")
        tolerance_c = self._settings.stabilization_tolerance
        if thermal.is_stalled(history, target_c=self._set_c, tolerance_c=tolerance_c, since_s=self._started_s):
            return self._stall(GroupCode.COOLER_LIMIT, f"the cooler is at its limit{shown}, wanted {target_c:.1f} °C")
        return self._too_late(shown) if self._deadline.over else None

    def _too_late(self, shown: str) -> Stall:
        """Return why the time was not enough: a sensor that got there with power to spare is only not steady."""
        history, settings, within_s = self._cooler.history, self._settings, self._deadline.seconds
        if thermal.has_arrived(history, target_c=self._target_c, tolerance_c=settings.stabilization_tolerance):
            detail = f"not steady for {settings.stable_time:g} s within {within_s:.0f} s{shown}"
            return self._stall(GroupCode.NOT_STEADY, detail)
        detail = f"not stable at {self._target_c:.1f} °C within {within_s:.0f} s{shown}{self._too_cold()}"
        return self._stall(GroupCode.COOLER_LIMIT, detail)

    def _switch_on_again(self) -> bool:
        """Switch a cooler on again, once, that is off although it was switched on."""
        if self._switched_on_again:
            return False
        self._switched_on_again = True
        self._cooler.set_point(self._set_c)  # a camera that was without power has forgotten it
        self._cooler.switch(on=True)
        self._cooler.read()
        return True

    def _too_cold(self) -> str:
        below_c = self._target_c - self._settings.stabilization_tolerance
        return TOO_COLD if thermal.is_below(self._cooler.history, below_c) else ""

    def _stall(self, code: GroupCode, detail: str) -> Stall:
        if self._after_loss and code is not GroupCode.COOLER_LOST:  # the first cause comes first
            code, detail = GroupCode.COOLER_LOST, f"the cooler had lost its power, and after that {detail}"
        ccd_c, now_s = self._cooler.history.newest.ccd_c, self._cooler.clock.monotonic()
        return Stall(code=code, detail=detail, at_s=now_s, ccd_c=ccd_c, too_cold=bool(self._too_cold()))


def warm_up(cooler: Cooler, hurry: threading.Event | None = None) -> None:
    """Raise the set-point slowly, then switch the cooler off.

    Parameters
    ----------
    cooler : Cooler
    hurry : threading.Event, optional
        Ends the waiting, never the switching off.
    """
    reading = cooler.read()
    is_cooled = reading.plausible and reading.ccd_c is not None and reading.cooler_on is not False
    if is_cooled and _rise(cooler, reading.ccd_c or 0.0, hurry):
        cooler.switch_off_warm()
    else:
        cooler.switch_off()
    log.info("cooling.ended", stays_on=cooler.stays_on)


def _rise(cooler: Cooler, start_c: float, hurry: threading.Event | None) -> bool:
    """Raise the set-point to the end; return whether the sensor is as warm as it gets."""
    settings, final_c = cooler.settings, cooler.settings.warmup_final_temp
    set_c = min(start_c, final_c)
    started_s = moved_s = cooler.clock.monotonic()
    cooler.history.clear()
    while moved_s - started_s < WARM_UP_LIMIT_S:
        try:
            cooler.set_point(set_c)
        except (Refused, NotOffered) as error:  # then it is switched off as it is
            log.warning("warming.refused", set_c=set_c, detail=str(error))
            return False
        if cooler.clock.sleep(settings.warmup_check_interval_s, hurry):
            return False
        cooler.announce(cooler.read(), final_c)
        now_s = cooler.clock.monotonic()
        long_enough = now_s - started_s >= settings.warmup_min_duration_s
        above = settings.warmup_consecutive_above
        if long_enough and thermal.is_warm(cooler.history, final_c=final_c, set_c=set_c, above=above):
            return True
        rate, elapsed_s = settings.warmup_rate, now_s - moved_s
        set_c = thermal.next_setpoint(set_c, final_c, rate_c_per_min=rate, elapsed_s=elapsed_s)
        moved_s = now_s
    return False
