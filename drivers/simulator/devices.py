"""The simulated observatory: its devices, one world of time and light around them, and its truth."""

from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from drivers.clock import Clock
from drivers.simulator.accessories import SimulatedPanel, SimulatedSafety, SimulatedWheel
from drivers.simulator.camera import SimulatedCamera
from drivers.simulator.darkroom import Darkroom
from drivers.simulator.device import Device, World
from drivers.simulator.exposing import ExposureRecord
from drivers.simulator.params import ObservatoryParameters
from drivers.simulator.surroundings import SimulatedDome, SimulatedTelescope
from drivers.simulator.truth import Truth


class SimulatedObservatory:
    """A camera and, where the parameters have them, wheel, cover calibrator, safety monitor, roof and mount.

    A context manager; `close` ends its threads. The detector's maps are made in the background from the start.

    Parameters
    ----------
    params : ObservatoryParameters
    clock : Clock
        Drives everything: `ScaledClock` for rehearsals, `ManualClock` for tests, `SystemClock` for others' clients.
    place : str
        Where this observatory stands, in a word: observatories of one seed that run at the same time have devices of
        different UniqueIDs by it.
    """

    def __init__(self, params: ObservatoryParameters, clock: Clock, place: str = "") -> None:
        self.params = params
        self.clock = clock
        self.world = World(params, clock, place)
        self._darkroom = Darkroom(params)
        self.camera = SimulatedCamera(self.world, self._darkroom)
        self.wheel = None if params.wheel is None else SimulatedWheel(self.world, params.wheel)
        self.panel = None if params.panel is None else SimulatedPanel(self.world, params.panel)
        self.safety = None if params.safety is None else SimulatedSafety(self.world, params.safety)
        self.dome = None if params.dome is None else SimulatedDome(self.world, params.dome)
        self.telescope = None if params.telescope is None else SimulatedTelescope(self.world, params.telescope)

    def __enter__(self) -> "SimulatedObservatory":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the rendering threads."""
        self._darkroom.close()

    def devices(self) -> tuple[Device, ...]:
        """Return the devices that are there; each is number 0 of its kind."""
        candidates = (self.camera, self.wheel, self.panel, self.safety, self.dome, self.telescope)
        return tuple(d for d in candidates if d is not None)

    def records(self) -> tuple[ExposureRecord, ...]:
        """Return what every exposure really was, oldest first."""
        with self.world.lock:
            return tuple(self.camera.exposures.records)

    def truths(self) -> Truth:
        """Return the truth under the camera's present settings."""
        return Truth(self._darkroom.sensor, self.camera.conditions())

    def truth(
        self, *, temperature_c: float = -10.0, exposure_s: float = 1.0, names: tuple[str, ...] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Return the truth as maps by name, under the camera's present settings.

        Parameters
        ----------
        temperature_c, exposure_s : float
            Of "bias" and "dark" (ADU, pedestal included) and "dark_rate_e_s".
        names : tuple of str, optional
            Which maps; None: all, also "flat:<filter>" for every filter, normalised to mean 1 ("flat" without a
            wheel), "read_noise_e", and the masks "hot" and "telegraph".
        """
        wheel = self.params.wheel
        filters: tuple[str | None, ...] = (None,) if wheel is None else tuple(f.name for f in wheel.filters)
        return self.truths().export(temperature_c=temperature_c, exposure_s=exposure_s, filters=filters, names=names)
