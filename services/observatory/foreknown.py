"""What can be said of an observatory without touching a device: for plans that only look."""

from dataclasses import dataclass

from services.config.models import LoadedConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreknown:
    """Filters that pass light and the frame's size in pixels; empty and None where only the devices know."""

    filters: tuple[str, ...] = ()
    pixels: int | None = None


def known_without_devices(loaded: LoadedConfig) -> Foreknown:
    """Return what the configuration, or the parameters of a simulated observatory, tell."""
    camera = loaded.config.camera
    if camera.is_simulator:
        from services.observatory.embedded import parameters_of

        parameters = parameters_of(camera.simulator, loaded)
        wheel = loaded.config.filter_wheel
        names = () if parameters.wheel is None or wheel is None or not wheel.enabled else parameters.wheel.filters
        bins = camera.simulator.bin_xy
        return Foreknown(
            filters=tuple(f.name for f in names if f.throughput > 0),
            pixels=(parameters.camera.width // bins[0]) * (parameters.camera.height // bins[1]),
        )
    if camera.sensor_width and camera.sensor_height and camera.pixel_size:
        return Foreknown(pixels=round(camera.sensor_width * camera.sensor_height / (camera.pixel_size / 1000) ** 2))
    return Foreknown()
