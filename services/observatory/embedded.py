"""The simulated observatory: a real Alpaca server on a free loopback port, with a clock that it shares.

It is this process's own (`embed`), or that of another one that goes on after this one (`elsewhere`).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from drivers.alpaca.transport import Endpoint
from drivers.clock import Clock, ScaledClock, SystemClock
from drivers.errors import DeviceLost
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.params import ObservatoryParameters
from drivers.simulator.server import AlpacaServer
from services.config.devices import Dome, FilterWheel, FlatPanel, SafetyMonitor, Telescope
from services.config.models import Config, LoadedConfig
from services.config.simulation import parameters_of
from services.observatory import network

HOST = "127.0.0.1"
AFTER_NEWEST = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A running simulated observatory.

    Attributes
    ----------
    config : Config
        With the sections of the devices that the simulated observatory has.
    clock : ScaledClock
        Shared with the server.
    truth : SimulatedObservatory
        Knows what the frames are made of.
    server : AlpacaServer
    """

    config: Config
    clock: ScaledClock
    truth: SimulatedObservatory
    server: AlpacaServer

    @property
    def host(self) -> str:
        """Loopback."""
        return HOST

    @property
    def port(self) -> int:
        """The port that the server got."""
        return self.server.port

    def stop(self) -> None:
        """End the server and the threads that render."""
        self.server.stop()
        self.truth.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A simulated observatory of another process; members as those of `Embedded`, but nobody here ends it."""

    config: Config
    clock: Clock
    host: str
    port: int

    def stop(self) -> None:
        """Leave it as it is."""


def elsewhere(loaded: LoadedConfig, host: str, port: int) -> Elsewhere:
    """Connect to the simulated observatory of a configuration that another process serves.

    Raises
    ------
    ConfigInvalid
        The observatory's own file cannot be used.
    DeviceLost
        It does not answer, or does not say which time it has.
    """
    parameters = parameters_of(loaded.config.camera.simulator, loaded)
    clock = network.remote_clock(Endpoint(host=host, port=port))
    if clock is None:
        raise DeviceLost(
            device="camera", detail=f"the simulated observatory at {host}:{port} does not say which time it has"
        )
    return Elsewhere(config=with_devices(loaded.config, parameters), clock=clock, host=host, port=port)


def embed(loaded: LoadedConfig, newest_obs: datetime | None) -> Embedded:
    """Start the simulated observatory of a configuration.

    Parameters
    ----------
    loaded : LoadedConfig
    newest_obs : datetime, optional
        The simulated night begins a minute after it, or now, whatever is later: no time occurs twice.

    Raises
    ------
    ConfigInvalid
        The observatory's own file cannot be used.
    """
    section = loaded.config.camera.simulator
    parameters = parameters_of(section, loaded)
    clock = ScaledClock(rate=section.rate, start=start_of(SystemClock().now(), newest_obs))
    truth = SimulatedObservatory(parameters, clock)
    server = AlpacaServer(truth, host=HOST, port=0)
    try:
        server.start()
    except BaseException:
        truth.close()
        raise
    return Embedded(config=with_devices(loaded.config, parameters), clock=clock, truth=truth, server=server)


def start_of(now: datetime, newest_obs: datetime | None) -> datetime:
    """Return when the simulated night begins."""
    return now if newest_obs is None else max(now, newest_obs + AFTER_NEWEST)


def with_devices(config: Config, parameters: ObservatoryParameters) -> Config:
    """Return the configuration with the simulated devices that its file does not mention; `enabled: false` stays.

    A wheel is added only where filters are named: without one, flats lie in one folder, as the guide shows them.
    """
    found: dict[str, object] = {}
    programmes = (each.flats for each in config.programmes)
    named = bool(config.flat_capture.filters) or any(flats is not None and flats.filters for flats in programmes)
    named |= config.darkness.startswith("filter:")
    if named and config.filter_wheel is None and parameters.wheel is not None:
        opaque = tuple(f.name for f in parameters.wheel.filters if f.throughput == 0)
        found["filter_wheel"] = FilterWheel(opaque=opaque)
    if config.flat_panel is None and parameters.panel is not None:
        found["flat_panel"] = FlatPanel()
    if config.safety_monitor is None and parameters.safety is not None:
        found["safety_monitor"] = SafetyMonitor()
    if config.dome is None and parameters.dome is not None:
        found["dome"] = Dome()
    if config.telescope is None and parameters.telescope is not None:
        found["telescope"] = Telescope()
    return config.model_copy(update=found)
