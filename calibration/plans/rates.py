"""What the test frames of a flat search say of the lamp, and which setting they ask for next.

A frame whose level means something measures the rate; saturated and faint ones only bracket. Values above the assumed
saturation, or a level that stands still below it, correct the saturation before they are used.
"""

import math
from dataclasses import dataclass, replace

from calibration.frames import FrameResult
from calibration.plans.detector import Detector, SaturationSource
from calibration.plans.reach import Reach, Setting
from calibration.plans.settings import FlatSettings

SATURATED_FRACTION = 1e-3
"""A frame with more saturated pixels than this says nothing about the rate."""
FAINT_FRACTION = 2e-3
"""Less signal than this, of the full range, says nothing either: the pedestal is not known better."""
AGREEMENT = 0.02
"""Two frames of one setting confirm each other within this."""
UNSTEADY = 0.1
"""A rate that changes by more between two similar exposures speaks against the lamp (or the shutter)."""
STANDSTILL = 0.1
"""A level that answers a change of dose by less than this part of it is clipped."""
ENOUGH = 4
"""Frames that measured a rate, from which a steady lamp would have been found."""
TRUSTED = (SaturationSource.CONFIGURED, SaturationSource.MEASURED)
IDLE = 0.1
"""A panel whose light follows its brightness by a smaller exponent than this does not follow it at all."""
IDLE_STEP = math.log(1.5)
"""That is judged from steps at least as large."""
LARGEST_STEP = 10.0
"""One step never changes the dose by more than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One test frame as the search sees it. `signal_adu` is above the pedestal."""

    setting: Setting
    signal_adu: float
    max_adu: float
    saturated: bool
    faint: bool

    @property
    def is_measured(self) -> bool:
        """Whether its level measures the rate."""
        return not (self.saturated or self.faint)


def point_of(result: FrameResult, detector: Detector) -> Point:
    """Return what a frame says: signal, and whether it is saturated or too faint to measure a rate."""
    stats = result.stats
    signal = stats.level_adu - detector.bias_adu
    rows, columns = result.header.shape
    # the median of the central quarter of the frame: 1.25 sigma / sqrt n, and the rounding of the data's steps
    level_error = math.hypot(2.5 * stats.sigma_adu / math.sqrt(max(1, rows * columns)), stats.step_adu / math.sqrt(12))
    # its highest pixel shows a level at the clip also to a camera layer that counts saturation by another number
    return Point(
        setting=Setting(exposure_us=result.request.exposure_us, brightness=result.request.panel_brightness),
        signal_adu=signal,
        max_adu=stats.max_adu,
        saturated=stats.saturated_fraction > SATURATED_FRACTION or stats.level_adu >= 0.98 * detector.saturation_adu,
        faint=signal < max(5 * level_error, FAINT_FRACTION * detector.range_adu),
    )


class Rates:
    """What the test frames said so far, and the setting to try next.

    Parameters
    ----------
    settings : FlatSettings
    detector : Detector
    reach : Reach
    gamma : float
        The panel's exponent, as far as it is known.
    filter : str, optional
        What the frames look through.
    """

    def __init__(
        self,
        settings: FlatSettings,
        detector: Detector,
        reach: Reach,
        gamma: float = 1.0,
        filter: str | None = None,  # noqa: A002 — the word of `CaptureRequest`
    ) -> None:
        self._lamp = detector.lamp if detector.lamp is not None and detector.lamp.filter == filter else None
        self.settings = settings
        self.detector = detector
        self.reach = reach
        self.gamma = gamma
        self.contradictions = 0
        self._points: list[Point] = []
        self._measured = 0
        self._blind = settings.exposure_step_factor
        self.idle: tuple[int, int] | None = None
        """Two brightnesses of the panel that gave the same light: it has one brightness, whatever it is set to."""

    @property
    def target_adu(self) -> float:
        """The level wanted, above the pedestal."""
        return self.settings.target_count_rate * self.detector.range_adu

    def error(self, point: Point) -> float:
        """Return signal / target - 1."""
        return point.signal_adu / self.target_adu - 1

    def see(self, result: FrameResult) -> Point:
        """Take in a frame; a value above, or a clip below, the saturation assumed so far corrects it first."""
        seen = self.detector.having_seen(result.stats.max_adu)
        point = point_of(result, seen)
        if seen is not self.detector:
            # its saturated fraction was counted with the wrong number
            point = replace(point, saturated=result.stats.level_adu >= 0.98 * seen.saturation_adu)
            self._points = [p for p in self._points if not p.saturated]
            self.detector = seen
        if self._is_clip(point):
            self.detector = seen.clipped_at(result.stats.level_adu)
            self._points = [p for p in self._points if p.signal_adu < 0.98 * point.signal_adu]
            point = replace(point, saturated=True)
        self.contradictions += self._contradicts(point)
        self._points.append(point)
        self._measured += point.is_measured
        self._learn_gamma()
        return point

    @property
    def unsteady(self) -> bool:
        """Whether frames that found no level speak against the lamp: they contradict each other, or are enough.

        The first that measures the rate leads a steady lamp near its level, the second onto it, the third confirms it.
        """
        return self.contradictions >= 2 or self._measured >= ENOUGH

    def passed(self, tolerance: float) -> bool:
        """Whether doses nearer to each other than `tolerance` lie below and above the level.

        One of them would have met the level of a steady lamp.
        """
        low, high = self._bracket()
        return 0 < low < high < (1 + tolerance) * low

    def forget(self) -> None:
        """Drop everything but the last frame: the lamp has moved."""
        self._points = self._points[-1:]

    def next(self) -> Setting:
        """Return the setting to try after the last frame."""
        last = self._points[-1]
        dose = last.setting.dose(self.gamma)
        low, high = self._bracket()
        if last.is_measured:
            wanted = self._aimed(last)
        elif low and high:
            wanted = math.sqrt(low * high)
        else:
            wanted = dose / self._blind if last.saturated else dose * self._blind
            self._blind = min(self._blind**2, LARGEST_STEP)
        wanted = min(max(wanted, dose / LARGEST_STEP), dose * LARGEST_STEP)
        # a panel's exponent is an estimate: across brightnesses the rate is the better guide than the bracket
        if not self.reach.max_brightness and low and high and not low < wanted < high:
            wanted = math.sqrt(low * high)
        return self.reach.nearest(wanted, self.gamma)

    def _aimed(self, last: Point) -> float:
        """Return the dose for the target from the last rate, or the secant where that says nearly the same."""
        dose = last.setting.dose(self.gamma)
        proportional = dose * self.target_adu / last.signal_adu
        for other in reversed(self._points[:-1]):
            apart = last.setting.dose(self.gamma) / other.setting.dose(self.gamma)
            same_lamp = other.setting.brightness == last.setting.brightness
            if other.is_measured and same_lamp and abs(math.log(apart)) > AGREEMENT:
                slope = (last.signal_adu - other.signal_adu) / (dose - other.setting.dose(self.gamma))
                secant = dose + (self.target_adu - last.signal_adu) / slope if slope > 0 else 0.0
                return secant if 0.5 * proportional <= secant <= 2 * proportional else proportional
        return proportional

    def _bracket(self) -> tuple[float, float]:
        """Return the highest dose known below the target and the lowest above it; 0 where there is none."""
        below = [p.setting.dose(self.gamma) for p in self._points if not p.saturated and self.error(p) < 0]
        above = [p.setting.dose(self.gamma) for p in self._points if p.saturated or self.error(p) > 0]
        low, high = max(below, default=0.0), min(above, default=0.0)
        if low and high and low >= 0.99 * high:  # they contradict each other: the lamp has moved
            self.contradictions += 1
            self.forget()
            return 0.0, 0.0
        return low, high

    def _is_clip(self, point: Point) -> bool:
        """Whether the level stood still under another dose, at the top of its own histogram."""
        if point.saturated or point.faint or self.detector.saturation_source in TRUSTED:
            return False
        above = (point.max_adu - self.detector.bias_adu) / point.signal_adu - 1
        return any(self._stood_still(point, other, above) for other in self._points if other.is_measured)

    def _stood_still(self, point: Point, other: Point, above: float) -> bool:
        more = abs(point.setting.dose(self.gamma) / other.setting.dose(self.gamma) - 1)
        answered = abs(point.signal_adu / other.signal_adu - 1)
        # a small step proves less: then shot noise and vignetting must be cut off as well
        return more > 0.03 and answered < STANDSTILL * more and above < (0.15 if more > 0.2 else 0.03)

    def _contradicts(self, point: Point) -> bool:
        """Whether a frame departs from the last rate of the same lamp, at nearly the same exposure."""
        before = self._points[-1] if self._points else None
        if (
            before is None
            or not (point.is_measured and before.is_measured)
            or before.setting.brightness != point.setting.brightness
        ):
            return False
        longer = point.setting.exposure_us / before.setting.exposure_us
        return 0.5 <= longer <= 2 and abs(point.signal_adu / (longer * before.signal_adu) - 1) > UNSTEADY

    def _learn_gamma(self) -> None:
        """Estimate the panel's exponent from the rates at the last two brightnesses."""
        measured = [p for p in self._points if p.is_measured and p.setting.brightness]
        if not measured or self.idle is not None:
            return
        last, rest = measured[-1], measured[:-1]
        self._compare_with_lamp(last)
        b = last.setting.brightness or 1
        for other in reversed(rest):
            ratio = b / (other.setting.brightness or 1)
            if abs(math.log(ratio)) > 0.03:
                rates = last.signal_adu / last.setting.exposure_us, other.signal_adu / other.setting.exposure_us
                gamma = math.log(rates[0] / rates[1]) / math.log(ratio)
                if abs(gamma) < IDLE and abs(math.log(ratio)) > IDLE_STEP and self._knows_clip(last, other):
                    self._fix(other.setting.brightness or 1, b)
                else:
                    self.gamma = min(max(gamma, 0.3), 3.0)
                return

    def _compare_with_lamp(self, last: Point) -> None:
        """Compare with the light that was seen, at another brightness, when the detector was measured."""
        seen, here = self._lamp, last.setting.brightness or 1
        if seen is None or not self.reach.max_brightness or abs(math.log(here / seen.brightness)) < IDLE_STEP:
            return
        rate_adu_s = last.signal_adu / (last.setting.exposure_us / 1e6)
        if abs(math.log(rate_adu_s / seen.rate_adu_s) / math.log(here / seen.brightness)) < IDLE:
            self._fix(seen.brightness, here)

    def _knows_clip(self, one: Point, other: Point) -> bool:
        """Whether levels that stand still cannot be clipped: saturation was measured, or the exposures differ."""
        longer = one.setting.exposure_us / other.setting.exposure_us
        return self.detector.saturation_source in TRUSTED or abs(math.log(longer)) > IDLE_STEP

    def _fix(self, before: int, brightness: int) -> None:
        """Go on by the exposure alone."""
        self.idle = before, brightness
        self.reach = replace(self.reach, brightness=brightness, max_brightness=0)
        self.gamma = 0.0
