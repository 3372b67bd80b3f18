"""A thermoelectric cooler: a sensor with a time constant, a firmware loop, a limit, and readings in steps.

dT/dt = (T_ambient - T)/tau - (max_delta/tau)·power, with power from a PI loop around a set-point that the firmware
ramps; its damping decides how far it overshoots. The plant is stepped lazily up to the time asked for, so it costs
nothing while nobody looks; a copy of it predicts the temperature of an exposure that has just started.
"""

import copy
import math

from drivers.simulator.params import CoolerParameters

_STEP_S = 0.5
_RIPPLE_PERIOD_S = 97.0
NIGHT_H = 12.0
"""For so long the surroundings drift; then they stay as they are: an observatory may be served for days."""


class Cooler:
    """The plant and its firmware. Times are seconds since the observatory's start; not thread safe by itself.

    Parameters
    ----------
    params : CoolerParameters
    """

    def __init__(self, params: CoolerParameters) -> None:
        self._p = params
        self._t = 0.0
        self._plant_c = self.ambient_c(0.0) + (0.0 if params.can_set else params.self_heating_c)
        self._reference_c = self._plant_c
        self._integral = 0.0
        self._power = 0.0
        self._on = False
        self._powered = True
        self.set_point_c = 0.0

    @property
    def on(self) -> bool:
        """Whether it was switched on."""
        return self._on

    def ambient_c(self, t_s: float) -> float:
        """Return the temperature of the surroundings."""
        return self._p.ambient_c + self._p.ambient_drift_c_per_hour * min(t_s / 3600, NIGHT_H)

    def switch(self, t_s: float, *, on: bool) -> None:
        """Switch it; the firmware's ramp starts at the present temperature."""
        self._advance(t_s)
        if on and not self._on:
            self._reference_c, self._integral = self._plant_c, 0.0
        self._on = on

    def aim(self, t_s: float, celsius: float) -> None:
        """Set the set-point."""
        self._advance(t_s)
        self.set_point_c = celsius

    def supply(self, t_s: float, *, powered: bool) -> None:
        """Connect or cut the supply of the cooler itself, which the firmware does not notice."""
        if powered != self._powered:
            self._advance(t_s)
            self._powered = powered

    def warm(self, t_s: float, celsius: float) -> None:
        """Heat the sensor from outside, at once."""
        self._advance(t_s)
        self._plant_c += celsius

    def temperature_c(self, t_s: float) -> float:
        """Return the true temperature of the sensor."""
        self._advance(t_s)
        regulated = self._on and self._powered and 0 < self._power < 1
        ripple = self._p.ripple_c * math.sin(2 * math.pi * t_s / _RIPPLE_PERIOD_S) if regulated else 0.0
        return self._plant_c + ripple

    def reading_c(self, t_s: float) -> float:
        """Return CCDTemperature: the temperature in the steps of its sensor."""
        true_c, step = self.temperature_c(t_s), self._p.reading_step_c
        return round(round(true_c / step) * step, 6) if step else true_c

    def power_pct(self, t_s: float) -> float:
        """Return CoolerPower as the firmware believes it, in whole per cent."""
        self._advance(t_s)
        return float(round(100 * self._power))

    def mean_temperature_c(self, start_s: float, end_s: float) -> float:
        """Return the mean true temperature between two moments, `end_s` possibly in the future."""
        plant = copy.copy(self)
        span = end_s - start_s
        samples = [plant.temperature_c(max(plant._t, start_s + span * k / 8)) for k in range(9)]  # noqa: SLF001
        return sum(samples) / len(samples)

    def _advance(self, t_s: float) -> None:
        if t_s - self._t > 86_400:  # nobody looked for a day: only the last hours matter
            self._t = t_s - 7200
        while self._t < t_s - 1e-9:
            step = min(_STEP_S, t_s - self._t)
            self._t += step
            self._control(step)
            self._heat(step)

    def _control(self, step_s: float) -> None:
        if not self._on:
            self._power = 0.0
            return
        reach = self._p.ramp_c_per_min / 60 * step_s
        self._reference_c += max(-reach, min(reach, self.set_point_c - self._reference_c))
        rate, decay = self._p.max_delta_c / self._p.tau_s, 1 / self._p.tau_s
        omega = 1 / self._p.response_s
        error = self._plant_c - self._reference_c
        wanted = (2 * self._p.damping * omega - decay) / rate * error + self._integral
        self._power = max(0.0, min(1.0, wanted))
        if self._power == wanted or (wanted > 1) != (error > 0):  # do not wind up against a limit
            self._integral += omega**2 / rate * error * step_s

    def _heat(self, step_s: float) -> None:
        p, power = self._p, self._power if self._powered else 0.0
        warm = self.ambient_c(self._t) + (0.0 if p.can_set else p.self_heating_c)
        rest = warm - p.max_delta_c * power
        self._plant_c = rest + (self._plant_c - rest) * math.exp(-step_s / p.tau_s)
