"""Devices, clock and interlock of one configuration.

`open_observatory` makes driver objects and, for `camera_type: simulator`, starts the simulated observatory as a real
Alpaca server on a free loopback port, with the clock that the server and we share. Nothing is connected here but for a
camera that is looked for by its name, and a remote simulator that is asked for its time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from drivers.base import Camera, CameraInfo, CoverCalibrator, FilterWheel, SafetyMonitor
from drivers.clock import Clock, SystemClock
from drivers.errors import DeviceLost, DeviceMissing, DriverError
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import Origin
from services.config.devices import Device
from services.config.models import Config, LoadedConfig
from services.observatory.interlock import Interlock
from services.observatory.login import check_logins
from services.observatory.named import with_numbers
from services.stopping import Stop

if TYPE_CHECKING:
    from drivers.alpaca.onlooker import Onlooker
    from drivers.alpaca.transport import Endpoint
    from services.observatory.embedded import Elsewhere, Embedded


@dataclass(slots=True, kw_only=True)
class Observatory:
    """What one configuration stands for; a context manager that ends the simulator and the sockets.

    Attributes
    ----------
    config : Config
        As loaded, with the sections of the simulated observatory's own devices filled in.
    clock : Clock
    camera : Camera
    wheel : FilterWheel or None
    panel : CoverCalibrator or None
    interlock : Interlock
    new_safety_monitor, new_panel : callable
        Make further driver objects for another thread; None where there is no such device.
    abort_exposure : callable
        Asks the camera to abort, from any thread and over a connection of its own; nothing for a camera handed in.
    onlooker : callable
        Returns what looks at the camera before it is connected; None for a camera handed in.
    unique_id : callable
        Asks the camera's server, without connecting the camera, for the UniqueID by which it is locked; None where the
        server does not report it. Raises `DriverError` when it does not answer.
    unused_devices : callable
        Returns, in words, the accessories on the camera's server that the configuration does not mention.
    passwords_shown : tuple of str
        Files of passwords that others may read, in words.
    server : str
        Where the camera is, in words.
    explain : callable
        Returns the cause of a failure to connect "camera", "filter wheel" or "flat panel".
    simulator : Embedded, Elsewhere or None
        The simulated observatory of this root, of this process or of one that goes on after it.
    owns_camera : bool
        False for a camera that was handed in: it is left connected to whoever did.
    is_simulated : bool
        Whether frames are to say so; known once the camera is connected.
    """

    config: Config
    clock: Clock
    camera: Camera
    interlock: Interlock
    wheel: FilterWheel | None = None
    panel: CoverCalibrator | None = None
    new_safety_monitor: Callable[[], SafetyMonitor | None] = field(default=lambda: None)
    new_panel: Callable[[], CoverCalibrator | None] = field(default=lambda: None)
    abort_exposure: Callable[[], None] = field(default=lambda: None)
    onlooker: Callable[[], "Onlooker | None"] = field(default=lambda: None)
    unique_id: Callable[[], str | None] = field(default=lambda: None)
    unused_devices: Callable[[], tuple[str, ...]] = field(default=lambda: ())
    passwords_shown: tuple[str, ...] = ()
    server: str = "the simulated observatory"
    explain: Callable[[str, DriverError], DriverError] = field(default=lambda _, error: error)
    simulator: "Embedded | Elsewhere | None" = None
    owns_camera: bool = True
    is_simulated: bool = False

    @property
    def opaque_filters(self) -> tuple[str, ...]:
        """Filter positions that are dark."""
        return opaque_filters(self.config)

    def note_camera(self, info: CameraInfo) -> None:
        """Learn from a connected camera whether its frames are simulated ones, and the numbers of settings by name.

        Raises
        ------
        DeviceLost
            It is a simulated one whose clock could not be asked for: all our waiting would be of another time.
        """
        from services.observatory.network import CLOCK_ACTION

        self.config = with_numbers(self.config, gains=info.gains, offsets=info.offsets)
        has_clock = CLOCK_ACTION in info.supported_actions
        self.is_simulated = self.simulator is not None or has_clock
        if has_clock and self.owns_camera and isinstance(self.clock, SystemClock):
            raise DeviceLost(
                device=info.name, detail="it is simulated, and its clock could not be asked for; run again"
            )

    def close(self) -> None:
        """Close the sockets and end the simulator."""
        camera = self.camera if self.owns_camera else None
        for device in (camera, self.wheel, self.panel):
            if device is not None:
                device.close()
        if self.simulator is not None:
            self.simulator.stop()

    def __enter__(self) -> Self:
        """Return itself: it is open already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        del kind, error, traceback
        self.close()


def newest_of(catalogue: Catalogue) -> datetime | None:
    """Return the last moment of the simulated nights of a catalogue: the next one begins after it."""
    ended = (row.finished_at for row in catalogue.runs())
    return max(filter(None, (catalogue.newest_date_obs(origin=Origin.OWN, simulated=True), *ended)), default=None)


def opaque_filters(config: Config) -> tuple[str, ...]:
    """Return the filter positions that are dark: those of the wheel's section and `darkness: filter:NAME`."""
    names = () if config.filter_wheel is None else config.filter_wheel.opaque
    by_darkness = config.darkness.removeprefix("filter:") if "filter:" in config.darkness else None
    return names if by_darkness is None or by_darkness in names else (by_darkness, *names)


def open_observatory(
    loaded: LoadedConfig,
    *,
    newest_obs: datetime | None = None,
    camera: Camera | None = None,
    wake: Stop | None = None,
) -> Observatory:
    """Open the observatory of a configuration.

    Parameters
    ----------
    loaded : LoadedConfig
    newest_obs : datetime, optional
        Newest DATE-OBS in the catalogue: a simulated night begins after it, so that no time occurs twice.
    camera : Camera, optional
        Use this camera instead of the configured one.
    wake : Stop, optional
        Ends all waiting when set (Ctrl-C, SIGTERM).

    Raises
    ------
    DeviceMissing
        A device is named that the configuration or the network does not have, or a name fits two.
    DeviceLost
        The server of a camera that is looked for by name does not answer.
    ConfigInvalid
        The file of a simulated observatory cannot be used, or a user or password that it names is not there.
    """
    interlock = Interlock(wake)
    if loaded.config.camera.is_simulator and camera is None:
        return _simulated(loaded, newest_obs, interlock)
    from services.observatory import network

    config = loaded.config
    shown = check_logins(config)
    _check_filters(config)
    if camera is not None:
        observatory = _with_accessories(
            config,
            SystemClock(),
            camera,
            interlock,
            replace(network.home(config.camera), allowance=interlock.allowance),
        )
        observatory.owns_camera = False
        observatory.passwords_shown, observatory.server = shown, network.home(config.camera).address
        return observatory
    endpoint = replace(network.camera_endpoint(config.camera), allowance=interlock.allowance)
    its_clock = network.remote_clock(endpoint)
    clock = its_clock or SystemClock()
    camera = network.camera(endpoint, clock, config.camera)
    observatory = _with_accessories(config, clock, camera, interlock, endpoint)
    observatory.passwords_shown, observatory.server = shown, endpoint.address
    observatory.explain = partial(network.explained, config, endpoint)
    observatory.abort_exposure = partial(network.abort_exposure, endpoint, clock)
    observatory.onlooker = partial(network.onlooker, endpoint, clock)
    observatory.unique_id = camera.read_unique_id
    observatory.unused_devices = partial(network.unused_devices, config, endpoint)
    observatory.is_simulated = its_clock is not None
    return observatory


def _simulated(loaded: LoadedConfig, newest_obs: datetime | None, interlock: Interlock) -> Observatory:
    from drivers.alpaca.transport import Endpoint
    from services.observatory import network
    from services.observatory.embedded import elsewhere, embed

    embedded = embed(loaded, newest_obs) if loaded.served is None else elsewhere(loaded, *loaded.served)
    try:
        _check_filters(embedded.config)
        endpoint = Endpoint(host=embedded.host, port=embedded.port, allowance=interlock.allowance)
        camera = network.camera(endpoint, embedded.clock, embedded.config.camera)
        observatory = _with_accessories(embedded.config, embedded.clock, camera, interlock, endpoint)
    except BaseException:
        embedded.stop()
        raise
    observatory.abort_exposure = partial(network.abort_exposure, endpoint, embedded.clock)
    observatory.onlooker = partial(network.onlooker, endpoint, embedded.clock)
    observatory.simulator = embedded
    observatory.is_simulated = True
    return observatory


def _with_accessories(
    config: Config, clock: Clock, camera: Camera, interlock: Interlock, home: "Endpoint"
) -> Observatory:
    from services.observatory import network

    wheel, panel, safety = (
        network.endpoint_of(section, home, name) if _is_used(section) else None
        for name in ("filter_wheel", "flat_panel", "safety_monitor")
        for section in (getattr(config, name),)
    )
    return Observatory(
        config=config,
        clock=clock,
        camera=camera,
        interlock=interlock,
        wheel=None if wheel is None else network.filter_wheel(wheel, clock, config.filter_wheel),
        panel=None if panel is None else network.panel(panel, clock, config.flat_panel),
        new_safety_monitor=lambda: None if safety is None else network.safety_monitor(safety, clock),
        new_panel=lambda: None if panel is None else network.panel(panel, clock, config.flat_panel),
    )


def _is_used(section: Device | None) -> bool:
    return section is not None and section.enabled


def _check_filters(config: Config) -> None:
    """Refuse a configuration that names filters without a wheel to select them."""
    if _is_used(config.filter_wheel):
        return
    named = list(config.flat_capture.filters)
    if config.darkness.startswith("filter:"):
        named.append(config.darkness.removeprefix("filter:"))
    if named:
        detail = f"filters are named ({', '.join(named)}), but there is no `filter_wheel` section to select them with"
        raise DeviceMissing(device="filter wheel", detail=detail)
