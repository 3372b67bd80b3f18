"""What is known of an observatory before a night, and without asking a device."""

from dataclasses import dataclass

from calibration.frames import us
from services.config.models import LoadedConfig
from services.config.simulation import parameters_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreknown:
    """Filters that pass light and the frame's size in pixels; empty and None where only the devices know.

    `shortest_us` and `step_us` are those of the camera's exposures, as far as they are known. `problems` say in words
    why devices that were asked have not said it.
    """

    filters: tuple[str, ...] = ()
    pixels: int | None = None
    shortest_us: int = 0
    step_us: int = 1
    problems: tuple[str, ...] = ()


def known_without_devices(loaded: LoadedConfig) -> Foreknown:
    """Return what is known from the configuration, or from the parameters of a simulated observatory."""
    camera = loaded.config.camera
    if camera.is_simulator:
        parameters = parameters_of(camera.simulator, loaded)
        wheel = loaded.config.filter_wheel
        names = () if parameters.wheel is None or wheel is None or not wheel.enabled else parameters.wheel.filters
        bins = camera.simulator.bin_xy
        return Foreknown(
            filters=tuple(f.name for f in names if f.throughput > 0),
            pixels=(parameters.camera.width // bins[0]) * (parameters.camera.height // bins[1]),
            shortest_us=us(parameters.camera.exposure_min_s),
            step_us=max(1, us(parameters.camera.exposure_resolution_s)),
        )
    if camera.sensor_width and camera.sensor_height and camera.pixel_size:
        return Foreknown(pixels=round(camera.sensor_width * camera.sensor_height / (camera.pixel_size / 1000) ** 2))
    return Foreknown()
