"""The truth of a simulated sensor: what an ideal, infinite stack of its frames would give, and which pixels are bad."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.simulator.sensor import Conditions, Floats, Sensor


class Truth:
    """The truth under the settings of one moment (gain, offset, readout mode, binning, subframe, session).

    Parameters
    ----------
    sensor : Sensor
    settings : Conditions
        Its time, light and temperature are replaced by what is asked for.
    """

    def __init__(self, sensor: Sensor, settings: Conditions) -> None:
        self._sensor = sensor
        self._settings = replace(settings, extra_adu=0.0)

    def bias(self, *, temperature_c: float, exposure_s: float = 0.0) -> Floats:
        """Return the ideal bias in ADU, pedestal included, shape (num_y, num_x)."""
        return self.dark(temperature_c=temperature_c, exposure_s=exposure_s)

    def dark(self, *, temperature_c: float, exposure_s: float) -> Floats:
        """Return the ideal dark in ADU, pedestal included, shape (num_y, num_x)."""
        return self._sensor.expected(self._at(temperature_c, exposure_s))

    def flat(self, *, filter_name: str | None, light_e: float | None = None) -> Floats:
        """Return the ideal flat, pedestal and dark taken off, divided by its mean; shape (num_y, num_x).

        Parameters
        ----------
        filter_name : str or None
            Whose dust is seen.
        light_e : float, optional
            Light on a pixel of response 1: the non-linearity depends on it. Default: half way to saturation.
        """
        s = self._settings
        top_e = min(s.full_well_e, (s.saturation_adu - s.pedestal_adu) * s.e_per_adu)
        dark = self._at(0.0, 0.0)
        lit = replace(dark, light_e=0.5 * top_e if light_e is None else light_e, filter=filter_name)
        flat = self._sensor.expected(lit) - self._sensor.expected(dark)
        return np.asarray(flat / flat.mean(dtype=np.float64), np.float32)

    def frame(self, conditions: Conditions) -> Floats:
        """Return the mean of frames like one that was taken (see `ExposureRecord`), in ADU, pedestal included."""
        return self._sensor.expected(replace(conditions, extra_adu=0.0))

    def dark_rate(self, *, temperature_c: float) -> Floats:
        """Return the dark current in e-/s, shape (height, width) of the whole sensor."""
        return self._sensor.dark_rate(temperature_c)

    def hot(self) -> NDArray[np.bool_]:
        """Return the mask of hot pixels, shape (height, width)."""
        return self._sensor.mask(self._sensor.maps.hot)

    def telegraph(self) -> NDArray[np.bool_]:
        """Return the mask of telegraph pixels, shape (height, width)."""
        return self._sensor.mask(self._sensor.maps.telegraph)

    def read_noise_e(self) -> Floats:
        """Return the read noise in electrons, shape (height, width)."""
        return self._sensor.read_noise_e(self._settings.read_noise_e)

    def export(
        self, *, temperature_c: float, exposure_s: float, filters: tuple[str | None, ...], names: tuple[str, ...] | None
    ) -> dict[str, NDArray[Any]]:
        """Return named maps; `names` None: all of them. Flats are named "flat" or "flat:<filter>"."""
        makers: dict[str, Callable[[], NDArray[Any]]] = {
            "bias": lambda: self.bias(temperature_c=temperature_c),
            "dark": lambda: self.dark(temperature_c=temperature_c, exposure_s=exposure_s),
            "dark_rate_e_s": lambda: self.dark_rate(temperature_c=temperature_c),
            "read_noise_e": self.read_noise_e,
            "hot": self.hot,
            "telegraph": self.telegraph,
        }
        for f in filters:
            makers["flat" if f is None else f"flat:{f}"] = lambda f=f: self.flat(filter_name=f)  # type: ignore[misc]
        return {name: makers[name]() for name in (names or makers)}

    def _at(self, temperature_c: float, exposure_s: float) -> Conditions:
        return replace(self._settings, temperature_c=temperature_c, exposure_s=exposure_s, light_e=0.0, leak_e=0.0)
