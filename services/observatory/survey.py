"""What the devices say of themselves, for plans before a night: asked briefly, and left as they are found."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from calibration.keywords.filters import distinct_names
from drivers.alpaca.transport import CameraWire, Endpoint, FilterWheelWire, Timeouts, Wire
from drivers.alpaca.values import flag, texts, whole
from drivers.clock import SystemClock
from drivers.errors import DriverError
from services.config.models import Config
from services.errors import ServiceError
from services.observatory import network
from services.observatory.composition import opaque_filters

_W = TypeVar("_W", bound=Wire)

_BRIEF = Timeouts(open_s=2.0, read_s=3.0, poll_s=3.0, put_s=5.0, connect_s=20.0)
"""Whoever answers at all may connect for a while: wheels seek their first position when they do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What the devices have said.

    Attributes
    ----------
    pixels : int or None
        Of a full frame at the binning of the configuration.
    filters : tuple of str
        Positions of the wheel that pass light.
    problems : tuple of str
        Why something is not known, in words.
    """

    pixels: int | None = None
    filters: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def survey(config: Config) -> Survey:
    """Ask the camera for its size and the wheel for its filters; nothing is set, moved, cooled or exposed.

    A device that is not connected is connected for that, and disconnected again. One that does not answer within a few
    seconds is named in `problems`.
    """
    pixels: int | None = None
    filters: tuple[str, ...] = ()
    problems: list[str] = []
    there = network.home(config.camera)
    try:
        there = network.camera_endpoint(config.camera)
        pixels = _pixels(config, there)
    except (DriverError, ServiceError) as error:
        problems.append(_words(config, there, "camera", error))
    wheel = config.filter_wheel
    if wheel is not None and wheel.enabled:
        at = network.endpoint_of(wheel, there, "filter_wheel")
        try:
            if problems and at.address == there.address:  # who did not answer for the camera is not waited for again
                return Survey(problems=tuple(problems))
            filters = _filters(config, at)
        except (DriverError, ServiceError) as error:
            problems.append(_words(config, there, "filter wheel", error))
    return Survey(pixels=pixels, filters=filters, problems=tuple(problems))


def _words(config: Config, there: Endpoint, device: str, error: DriverError | ServiceError) -> str:
    """Return why a device has said nothing, in the words in which a run says it."""
    return str(network.explained(config, there, device, error) if isinstance(error, DriverError) else error)


def _pixels(config: Config, there: Endpoint) -> int:
    bin_x, bin_y = config.camera.active.bin_xy
    with _connected(CameraWire(there, SystemClock(), timeouts=_BRIEF, retries=False)) as camera:
        return (camera.ask("CameraXSize", whole) // bin_x) * (camera.ask("CameraYSize", whole) // bin_y)


def _filters(config: Config, there: Endpoint) -> tuple[str, ...]:
    with _connected(FilterWheelWire(there, SystemClock(), timeouts=_BRIEF, retries=False)) as wheel:
        names = distinct_names(wheel.ask("Names", texts))
    return tuple(name for name in names if name not in opaque_filters(config))


@contextmanager
def _connected(wire: _W) -> Iterator[_W]:
    """Connect a device that is not, and leave it as it was."""
    try:
        if wire.ask("Connected", flag):
            yield wire
            return
        try:
            wire.open()
            yield wire
        finally:
            wire.leave()
    finally:
        wire.line.close()
