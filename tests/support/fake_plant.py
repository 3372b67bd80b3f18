"""A cooled sensor for tests: heat flow, a control loop, readings in steps."""

import numpy as np

from drivers.clock import Clock


class Plant:
    """A cooled sensor: first-order heat flow, a PI loop in its firmware, readings in steps.

    Parameters
    ----------
    clock : Clock
    ambient_c, max_delta_c : float
        Equilibrium at no power, and how far below it full power gets.
    tau_s : float
        Time constant.
    gain, integral_s : float
        Of the loop: power in % per degree, and its integral time.
    step_c : float
        Readings are multiples of it.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        ambient_c: float = 18.0,
        max_delta_c: float = 40.0,
        tau_s: float = 60.0,
        gain: float = 20.0,
        integral_s: float = 60.0,
        step_c: float = 0.1,
    ) -> None:
        self._clock = clock
        self._at_s = clock.monotonic()
        self.ambient_c = ambient_c
        self.max_delta_c = max_delta_c
        self._tau_s = tau_s
        self._gain = gain
        self._integral_s = integral_s
        self._step_c = step_c
        self.celsius = ambient_c
        self.set_c = ambient_c
        self.power_pct = 0.0
        self.on = False
        self.supplied = True
        """False: the cooler's own supply failed, though it is on and says full power."""
        self._integral = 0.0

    def run(self) -> None:
        """Let the sensor's temperature follow the time that has passed."""
        now_s = self._clock.monotonic()
        while self._at_s < now_s:
            dt_s = min(1.0, now_s - self._at_s)
            self._at_s += dt_s
            error_c = self.celsius - self.set_c
            wanted = self._gain * (error_c + self._integral)
            self.power_pct = float(np.clip(wanted, 0, 100)) if self.on else 0.0
            if 0 < wanted < 100:
                self._integral += error_c * dt_s / self._integral_s
            cooled = self.max_delta_c * self.power_pct / 100 if self.supplied else 0.0
            self.celsius += (self.ambient_c - cooled - self.celsius) * dt_s / self._tau_s

    def reading_c(self) -> float:
        """Return the temperature as the camera tells it."""
        self.run()
        return round(round(self.celsius / self._step_c) * self._step_c, 6) if self._step_c else self.celsius
