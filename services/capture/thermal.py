"""What a cooler's readings mean: ramp, stability, stall, stuck or implausible sensor, lost power.

Pure functions over a history of readings; `services.capture.cooling` does the driving. The numbers are those of
the project's plant comparison: "one good sample" leaves a sensor drifting by 2 to 4 °C over the next twenty minutes,
dwell and slope together leave 0.2 to 0.4 °C.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.grouping import goes_with
from services.words import celsius

COLDEST_C, WARMEST_C = -100.0, 60.0
"""Readings outside are no temperatures: -273 and -300 are what drivers say when a sensor has failed."""

STALL_WINDOW_S = 120.0
STALL_GAIN_C = 0.5
STALL_GRACE_S = 300.0
STUCK_WINDOW_S = 180.0
SUSPECT_WINDOW_S = 45.0
"""A reading that stands still for so long gets an exposure, with which some cameras read their temperature."""
LOST_WINDOW_S = 300.0
SLOPE_C_PER_MIN = 0.1
COARSE_STEP_C = 0.1
FULL_POWER_PCT = 99.0
STABLE_POWER_PCT = 95.0


def believed_c(celsius: float | None) -> float | None:
    """Return a reading that can be a temperature; None for NaN, -273 and the like."""
    plausible = celsius is not None and math.isfinite(celsius) and COLDEST_C <= celsius <= WARMEST_C
    return celsius if plausible else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look at the cooler; None where the camera does not say.

    `at_s` is on the clock's monotonic scale.
    """

    at_s: float
    ccd_c: float | None
    set_c: float | None = None
    power_pct: float | None = None
    cooler_on: bool | None = None

    @property
    def plausible(self) -> bool:
        """Whether the temperature can be one."""
        return believed_c(self.ccd_c) is not None


class History:
    """Readings of the last quarter of an hour, and the resolution of the sensor learnt from all of them."""

    KEPT_S = 900.0

    def __init__(self) -> None:
        self._readings: deque[Reading] = deque()
        self._last_c: float | None = None
        self.step_c = 0.0
        """Smallest change ever seen, °C; 0 while none was seen."""

    def add(self, reading: Reading) -> None:
        """Take a reading in and forget those that are too old."""
        self._readings.append(reading)
        while reading.at_s - self._readings[0].at_s > self.KEPT_S:
            self._readings.popleft()
        if not reading.plausible or reading.ccd_c is None:
            return
        if self._last_c is not None and (change := abs(reading.ccd_c - self._last_c)) > 1e-3:
            self.step_c = min(self.step_c or change, change)
        self._last_c = reading.ccd_c

    def clear(self) -> None:
        """Forget the readings, keep the resolution."""
        self._readings.clear()

    def forget(self) -> None:
        """Forget the resolution as well: a reading that stood still has jumped."""
        self.clear()
        self._last_c, self.step_c = None, 0.0

    @property
    def last(self) -> Reading | None:
        """The newest reading."""
        return self._readings[-1] if self._readings else None

    @property
    def newest(self) -> Reading:
        """The newest reading; one that says nothing while there is none."""
        return self._readings[-1] if self._readings else Reading(at_s=0.0, ccd_c=None)

    def window(self, seconds: float, *, whole: bool = False, least: int = 1) -> tuple[Reading, ...]:
        """Return the readings of the last `seconds`, at least so many; with `whole` none when they reach less far."""
        if not self._readings:
            return ()
        start = self._readings[-1].at_s - seconds
        if whole and self._readings[0].at_s > start:
            return ()
        older = len(self._readings) - least
        return tuple(r for i, r in enumerate(self._readings) if r.at_s >= start or i >= older)


def next_setpoint(current_c: float, target_c: float, *, rate_c_per_min: float, elapsed_s: float) -> float:
    """Return the set-point after `elapsed_s` of a ramp, moved by at most 1 °C at a time (floats: no whole degrees)."""
    room = min(1.0, rate_c_per_min * elapsed_s / 60)
    return current_c + max(-room, min(room, target_c - current_c))


def slope_c_per_min(readings: Sequence[Reading]) -> float:
    """Return the least-squares slope of the temperature; 0 with fewer than two different times."""
    points = [(r.at_s, r.ccd_c) for r in readings if r.plausible and r.ccd_c is not None]
    if len(points) < 2:
        return 0.0
    at, celsius = np.array(points).T
    at = at - at.mean()
    spread = float(at @ at)
    return float(at @ (celsius - celsius.mean())) / spread * 60 if spread > 0 else 0.0


def is_stable(history: History, *, target_c: float, tolerance_c: float, dwell_s: float) -> bool:
    """Whether the sensor has held `target_c` for `dwell_s`, from either side, with power to spare.

    All must hold: every reading within the tolerance (never finer than the sensor's own step), |slope| at most
    0.1 °C/min, judged over at least 5 min when the step is coarser than 0.1 °C, and a mean power of at most 95 % over
    the last minute, where the power is reported and was seen to change.
    """
    dwell = history.window(dwell_s, whole=True, least=3)  # where a look takes longer, three of them are the dwell
    if len(dwell) < 3 or not all(_is_near(r, target_c, max(tolerance_c, history.step_c)) for r in dwell):
        return False
    slope_s = max(dwell_s, 300.0) if history.step_c > COARSE_STEP_C else dwell_s
    judged = history.window(slope_s, whole=True, least=3)
    if not judged:
        return False
    # One toggle between two codes of a coarse sensor is no drift: it may tilt the line by 1.5 steps over the window.
    quantum = 1.5 * history.step_c / (slope_s / 60)
    return abs(slope_c_per_min(judged)) <= max(SLOPE_C_PER_MIN, quantum) and _power_to_spare(history)


def has_arrived(history: History, *, target_c: float, tolerance_c: float) -> bool:
    """Whether the sensor is at `target_c` now, with power to spare."""
    return _is_near(history.newest, target_c, max(tolerance_c, history.step_c)) and _power_to_spare(history)


def _is_near(reading: Reading, target_c: float, allowed_c: float) -> bool:
    near = reading.ccd_c is not None and abs(reading.ccd_c - target_c) <= allowed_c + 1e-9
    return reading.plausible and near


def _power_to_spare(history: History) -> bool:
    powers = [r.power_pct for r in history.window(History.KEPT_S) if r.power_pct is not None]
    recent = [r.power_pct for r in history.window(60.0) if r.power_pct is not None]
    if not recent or max(powers) == min(powers):  # some cameras say 0 % for ever
        return True
    return float(np.mean(recent)) <= STABLE_POWER_PCT


def is_stalled(history: History, *, target_c: float, tolerance_c: float, since_s: float) -> bool:
    """Whether the cooler is at its limit: full power (or none reported) and hardly nearer than two minutes ago.

    `since_s` is when cooling began: the first five minutes are never called a stall.
    """
    readings = [r for r in history.window(STALL_WINDOW_S, whole=True) if r.plausible and r.ccd_c is not None]
    if len(readings) < 2 or readings[-1].at_s - since_s < STALL_GRACE_S:
        return False
    first, last = readings[0], readings[-1]
    if first.ccd_c is None or last.ccd_c is None:
        return False
    gap_c = abs(last.ccd_c - target_c)
    full = last.power_pct is None or last.power_pct >= FULL_POWER_PCT
    return gap_c > max(tolerance_c, history.step_c) and full and abs(first.ccd_c - target_c) - gap_c < STALL_GAIN_C


def is_stuck(history: History, within_s: float = STUCK_WINDOW_S) -> bool:
    """Whether the reading did not change while set-point (> 2 °C) or power (> 20 points) moved, over three minutes.

    A regulated sensor with coarse steps stays in one step for minutes and is healthy: nothing else moves then, but for
    the power of a cooler that has just arrived at its set-point. A cooler that goes on at full power cannot follow the
    set-point: it is at its limit, and its reading may well be right; so may that of a sensor that is colder than its
    set-point, while the cooler rests at 0 %.
    """
    readings = history.window(within_s, whole=True)
    celsius = [r.ccd_c for r in readings if r.plausible and r.ccd_c is not None]
    if len(celsius) < 3 or max(celsius) - min(celsius) > history.step_c + 1e-9:
        return False
    set_c = readings[-1].set_c
    arrived = set_c is not None and abs(celsius[-1] - set_c) <= history.step_c + 1e-9
    moved = _span([r.power_pct for r in readings]) > 20.0
    power_pct = readings[-1].power_pct
    if not moved and power_pct is not None and (power_pct >= FULL_POWER_PCT or _rests(power_pct, celsius[-1], set_c)):
        return False
    return (moved and not arrived) or _span([r.set_c for r in readings]) > 2.0


def is_below(history: History, celsius: float) -> bool:
    """Whether the sensor is colder than this now."""
    last = history.newest
    return last.plausible and last.ccd_c is not None and last.ccd_c < celsius


def _rests(power_pct: float, ccd_c: float, set_c: float | None) -> bool:
    """Whether a cooler has nothing to do, because the sensor is colder than its set-point."""
    return power_pct <= 0.0 and set_c is not None and ccd_c < set_c


def is_implausible(history: History) -> bool:
    """Whether a minute of readings, and at least three, held no temperature at all."""
    readings = history.window(60.0, whole=True)
    return len(readings) >= 3 and not any(r.plausible for r in readings)


def has_lost_power(history: History) -> bool:
    """Whether a cooler that should hold warms by more than 1 °C in five minutes at 0 or 100 %, or says it is off."""
    last = history.last
    if last is None or last.ccd_c is None or not last.plausible or last.set_c is None or last.ccd_c <= last.set_c + 1:
        return False
    if last.cooler_on is False:
        return True
    celsius = [r.ccd_c for r in history.window(LOST_WINDOW_S) if r.plausible and r.ccd_c is not None]
    rising = last.ccd_c - min(celsius) > 1.0
    return rising and last.power_pct is not None and not 0.5 < last.power_pct < 99.5


def is_warm(history: History, *, final_c: float, set_c: float, above: int) -> bool:
    """Whether warming up is over: `above` readings at or over `final_c`, or a sensor that no longer follows.

    A cold room never gets to `final_c`: less than 0.5 °C in a minute while the set-point is more than 1 °C ahead, or
    has arrived, is as warm as it gets.
    """
    newest = [r.ccd_c for r in history.window(History.KEPT_S) if r.plausible and r.ccd_c is not None][-above:]
    if len(newest) == above and min(newest) >= final_c:
        return True
    minute = [r.ccd_c for r in history.window(60.0, whole=True) if r.plausible and r.ccd_c is not None]
    ahead = set_c >= final_c or (bool(minute) and set_c - minute[-1] > 1.0)
    return len(minute) >= 2 and ahead and abs(minute[-1] - minute[0]) < STALL_GAIN_C


def _span(values: Sequence[float | None]) -> float:
    known = [v for v in values if v is not None]
    return max(known) - min(known) if known else 0.0


def drifted(now_c: float | None, seen_c: Sequence[float], span_c: float) -> str:
    """Return in words that a frame taken now would not be as warm as those of its set; "" where it would.

    Parameters
    ----------
    now_c : float or None
        The sensor's temperature; None where it is not known.
    seen_c : sequence of float
        Those of the set's frames.
    span_c : float
        How far they may lie apart.
    """
    if now_c is None or not seen_c or goes_with(now_c, min(seen_c), max(seen_c), span_c=span_c):
        return ""
    return (
        f"the sensor is at {celsius(now_c)}, the frames of this set are of {min(seen_c):.1f} to {celsius(max(seen_c))}"
    )
