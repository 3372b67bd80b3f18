"""Which exposures and brightnesses a flat may use, and which of them comes nearest to a wanted dose.

Dose is exposure x brightness^gamma, so that a level is proportional to it: exactly in the exposure, and as nearly in
the brightness as the panel's exponent gamma is known. With a lamp whose brightness is fixed, dose is the exposure.
"""

import math
from dataclasses import dataclass, field

from calibration.plans.detector import Detector
from calibration.plans.ladder import middle, rungs, tidy
from calibration.plans.settings import FlatSettings, PanelSettings

SHORTEST_DIMMED_US = 200_000
"""With a dimmable panel no flat is shorter as long as the panel can be dimmed (shutters, lamp periods, drivers)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Exposure and brightness of a flat; brightness None is no lamp of ours."""

    exposure_us: int
    brightness: int | None = None

    def dose(self, gamma: float) -> float:
        """Return exposure x brightness^gamma."""
        return self.exposure_us * _light(self.brightness, gamma)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The settings a search may use.

    Attributes
    ----------
    low_us, high_us, resolution_us : int
        Exposures allowed by user and camera; the limits are multiples of the resolution.
    window_us : (int, int)
        Preferred exposures where brightness adjusts.
    brightness : int, optional
        Of a fixed lamp.
    max_brightness : int
        Of an adjustable lamp; 0 for a fixed one.
    fine : float
        Relative miss of the level that choosing from the ladder may cost.
    made_us : dict of int to int
        Exposures that the camera makes instead of those it is asked for, as far as test frames have shown.
    """

    low_us: int
    high_us: int
    resolution_us: int
    window_us: tuple[int, int]
    brightness: int | None
    max_brightness: int
    fine: float
    made_us: dict[int, int] = field(default_factory=dict)

    def learn(self, asked_us: int, made_us: int) -> None:
        """Take in which exposure the camera makes when it is asked for one."""
        if made_us != asked_us:
            self.made_us[asked_us] = made_us

    def start(self, exposure_us: int | None, brightness: int | None) -> Setting:
        """Return where to begin: at what is given, else in the geometric middle."""
        if not self.max_brightness:
            guess = exposure_us or middle(self.low_us, self.high_us)
            return Setting(exposure_us=self._keep(guess), brightness=self.brightness)
        guess = exposure_us or middle(*self.window_us)
        return Setting(
            exposure_us=min(self._ladder(), key=lambda t: abs(math.log(t / guess)), default=self._keep(guess)),
            brightness=min(brightness or round(math.sqrt(self.max_brightness)), self.max_brightness),
        )

    def nearest(self, dose: float, gamma: float) -> Setting:
        """Return the setting that comes nearest to a dose, from the ladder and the window where they allow."""
        if not self.max_brightness:
            return Setting(
                exposure_us=self._keep(dose / float(self.brightness or 1) ** gamma), brightness=self.brightness
            )
        ladder = self._ladder()
        inside = tuple(t for t in ladder if self.window_us[0] <= t <= self.window_us[1])
        quick = tuple(t for t in ladder if t >= SHORTEST_DIMMED_US)
        for times in (inside, quick):
            options = [self._dimmed(t, dose, gamma) for t in times]
            fitting = [s for s in options if abs(math.log(s.dose(gamma) / dose)) <= self.fine]
            if fitting:
                return min(fitting, key=self._from_window)
        return self._exact(dose, gamma)

    def shortest(self, setting: Setting) -> bool:
        """Whether no less light is possible."""
        return setting.exposure_us <= self.low_us and (not self.max_brightness or setting.brightness == 1)

    def longest(self, setting: Setting) -> bool:
        """Whether no more light is possible."""
        full = not self.max_brightness or setting.brightness == self.max_brightness
        return full and setting.exposure_us >= self.high_us

    def _exact(self, dose: float, gamma: float) -> Setting:
        """Off the ladder: the exposure for the brightness that brings it nearest to the window."""
        wanted = min(max(middle(*self.window_us), self.low_us), self.high_us)
        brightness = self._dimmed(round(wanted), dose, gamma).brightness
        return Setting(exposure_us=self._keep(dose / _light(brightness, gamma)), brightness=brightness)

    def _dimmed(self, exposure_us: int, dose: float, gamma: float) -> Setting:
        wanted = (dose / exposure_us) ** (1 / gamma)
        return Setting(exposure_us=exposure_us, brightness=round(min(max(wanted, 1), self.max_brightness)))

    def _from_window(self, setting: Setting) -> float:
        return abs(math.log(setting.exposure_us / middle(*self.window_us)))

    def _ladder(self) -> tuple[int, ...]:
        steps = rungs(self.low_us, self.high_us, self.resolution_us)
        return tuple(dict.fromkeys(self.made_us.get(t, t) for t in steps)) if self.made_us else steps

    def _keep(self, exposure_us: float) -> int:
        kept = min(max(tidy(exposure_us, self.resolution_us), self.low_us), self.high_us)
        return self.made_us.get(kept, kept)


def reach_of(settings: FlatSettings, detector: Detector, panel: PanelSettings | None) -> Reach:
    """Return what user, camera and panel allow together."""
    step = max(1, detector.exposure_resolution_us)
    low_us = -(-max(settings.min_exposure_us, detector.exposure_min_us) // step) * step
    high_us = max(low_us, min(settings.max_exposure_us, detector.exposure_max_us) // step * step)
    window = (min(max(settings.window_us[0], low_us), high_us), min(max(settings.window_us[1], low_us), high_us))
    adjustable = panel is not None and panel.adjustable
    fixed = None
    if panel is not None and panel.max_brightness > 0:
        fixed = panel.brightness or panel.max_brightness
    return Reach(
        low_us=low_us,
        high_us=high_us,
        resolution_us=step,
        window_us=window,
        brightness=None if adjustable else fixed,
        max_brightness=panel.max_brightness if panel is not None and adjustable else 0,
        fine=settings.count_tolerance / 4,
    )


def _light(brightness: int | None, gamma: float) -> float:
    return math.exp(gamma * math.log(brightness or 1))
