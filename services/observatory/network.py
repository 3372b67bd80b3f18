"""Sections of the configuration turned into addresses, and addresses into Alpaca driver objects."""

import json
from dataclasses import replace
from datetime import datetime
from functools import partial

import structlog

from calibration.keywords.filters import distinct_names
from drivers.alpaca.camera import AlpacaCamera
from drivers.alpaca.cover_calibrator import AlpacaCoverCalibrator
from drivers.alpaca.discovery import DISCOVERY_PORT, ServerAddress, configured_devices, find_by_name
from drivers.alpaca.filter_wheel import AlpacaFilterWheel
from drivers.alpaca.onlooker import Onlooker
from drivers.alpaca.safety_monitor import AlpacaSafetyMonitor
from drivers.alpaca.surroundings import AlpacaDome, AlpacaTelescope
from drivers.alpaca.transport import CameraWire, Endpoint, Timeouts
from drivers.alpaca.values import texts
from drivers.base import SensorType, SettingMode
from drivers.clock import Clock, ScaledClock, SystemClock, retry
from drivers.errors import DeviceLost, DriverError, Refused
from services.config.devices import AlpacaCamera as CameraSection
from services.config.devices import Camera, Device, FilterWheel, FlatPanel
from services.config.models import Config
from services.errors import ServiceError
from services.observatory.login import login_of

log = structlog.get_logger(__name__)

_SENSORS = {None: None, "mono": SensorType.MONOCHROME, "color": SensorType.RGGB}
"""What `camera.type` says; a colour camera that reports its own pattern keeps it."""
_TYPES = {"camera": "camera", "filter wheel": "filterwheel", "flat panel": "covercalibrator"}
"""ASCOM's types of the devices, as in URLs."""
ABORT_TIMEOUTS = Timeouts(open_s=1.0, put_s=2.0)
"""Real seconds that an abort in an emergency waits for an answer."""

LOOK_TIMEOUTS = Timeouts(open_s=2.0, read_s=4.0, poll_s=4.0)
"""Real seconds in which something that is only looked at answers; it is asked again a moment later."""

CLOCK_ACTION = "nightcal:clock"
"""Listed among a camera's actions by simulated observatories only."""


def home(camera: Camera) -> Endpoint:
    """Return where the devices are that name no server: the one of the camera section."""
    section = camera.active
    if not isinstance(section, CameraSection):
        return Endpoint("localhost", 11111)
    login = login_of(section, f"camera.{camera.camera_type}")
    return Endpoint(section.host or "localhost", section.port, section.device_id, login=login)


def camera_endpoint(camera: Camera) -> Endpoint:
    """Return where the configured camera is; one that is named is looked for on its server, or through discovery.

    Raises
    ------
    DeviceMissing
        None of that name answers, or two do.
    DeviceLost
        The server that the section names does not answer.
    AccessDenied
        It wants a user and a password, or others than the section names.
    """
    section, there = camera.active, home(camera)
    if not isinstance(section, CameraSection):
        return there
    named = section.model_fields_set
    find = partial(find_by_name, section.camera_name, login=there.login, port=section.discovery_port)
    if section.host is None or (section.camera_name and not {"host", "port"} & named):
        numbered = section.camera_name is None and "device_id" in named
        return find(number=section.device_id if numbered else None)
    if section.camera_name is None:
        return there
    try:
        configured_devices(there.host, there.port, login=there.login)  # one that is away says so
        return find(servers=(ServerAddress(there.host, there.port),))
    except DriverError as error:
        raise _explained(error, there, "camera", camera) from None


def explained(config: Config, at_home: Endpoint, device: str, error: DriverError) -> DriverError:
    """Return why a device could not be connected, by its cause, and where one answers instead.

    Parameters
    ----------
    config : Config
    at_home : Endpoint
        Where the camera is.
    device : str
        "camera", "filter wheel" or "flat panel".
    error : DriverError
        What came of connecting it.
    """
    name = device.replace(" ", "_")
    where = at_home if device == "camera" else endpoint_of(getattr(config, name), at_home, name)
    return _explained(error, where, device, config.camera)


def _explained(error: DriverError, where: Endpoint, device: str, camera: Camera) -> DriverError:
    from drivers.alpaca.enquiry import explained as by_cause

    section = camera.active
    is_camera = device == "camera" and isinstance(section, CameraSection)
    return by_cause(
        error,
        where,
        device_type=_TYPES[device],
        section=f"camera.{camera.camera_type}" if is_camera else device.replace(" ", "_"),
        name=section.camera_name if isinstance(section, CameraSection) and is_camera else None,
        port=section.discovery_port if isinstance(section, CameraSection) else DISCOVERY_PORT,
    )


def endpoint_of(section: Device | None, at_home: Endpoint, name: str = "") -> Endpoint:
    """Return where an accessory is: where the camera is, and with its password, unless the section names another place.

    A password is never given to a server for which the configuration does not name it.
    """
    if section is None:
        return replace(at_home, device_number=0)
    host, port = section.host or at_home.host, section.port or at_home.port
    same = (host, port) == (at_home.host, at_home.port)
    login = login_of(section, name) or (at_home.login if same else None)
    return replace(at_home, host=host, port=port, device_number=section.device_id, login=login)


def camera(endpoint: Endpoint, clock: Clock, section: Camera) -> AlpacaCamera:
    """Return the camera at an address."""
    mode = getattr(section.active, "gain_mode", "auto")
    return AlpacaCamera(
        endpoint,
        clock,
        gain_mode=None if mode == "auto" else SettingMode(mode),
        sensor_type=_SENSORS[section.type],
    )


def unused_devices(config: Config, endpoint: Endpoint) -> tuple[str, ...]:
    """Return, in words, the accessories on the camera's server for which the configuration has no section at all.

    A server that cannot be asked has none: this is a hint, and no reason to stop.
    """
    sections = {"covercalibrator": "flat_panel", "filterwheel": "filter_wheel", "safetymonitor": "safety_monitor"}
    missing = {kind: name for kind, name in sections.items() if getattr(config, name) is None}
    if not missing:
        return ()
    try:
        devices = configured_devices(endpoint.host, endpoint.port, login=endpoint.login)
    except DriverError as error:
        log.debug("devices.not_listed", endpoint=endpoint.address, detail=str(error))
        return ()
    return tuple(
        f"{device.name} answers at {endpoint.host}:{endpoint.port}: to use it, `{missing[device.type]}: {{}}` is enough"
        for device in devices
        if device.type in missing
    )


def filter_wheel(endpoint: Endpoint, clock: Clock, section: FilterWheel | None) -> AlpacaFilterWheel:
    """Return the filter wheel at an address."""
    settings = section or FilterWheel()
    return AlpacaFilterWheel(
        endpoint, clock, settle_s=settings.settle, timeout_s=settings.timeout, naming=distinct_names
    )


def panel(endpoint: Endpoint, clock: Clock, section: FlatPanel | None) -> AlpacaCoverCalibrator:
    """Return the flat panel and cover at an address."""
    return AlpacaCoverCalibrator(endpoint, clock, timeout_s=(section or FlatPanel()).timeout)


def safety_monitor(endpoint: Endpoint, clock: Clock) -> AlpacaSafetyMonitor:
    """Return the safety monitor at an address."""
    return AlpacaSafetyMonitor(endpoint, clock)


def onlooker(endpoint: Endpoint, clock: Clock) -> Onlooker:
    """Return what looks at the camera at an address, and sends it nothing."""
    return Onlooker(endpoint, clock, timeouts=LOOK_TIMEOUTS)


def dome(endpoint: Endpoint, clock: Clock) -> AlpacaDome:
    """Return the dome or roof at an address, which is only read."""
    return AlpacaDome(endpoint, clock, timeouts=LOOK_TIMEOUTS)


def telescope(endpoint: Endpoint, clock: Clock) -> AlpacaTelescope:
    """Return the mount at an address, which is only read."""
    return AlpacaTelescope(endpoint, clock, timeouts=LOOK_TIMEOUTS)


def abort_exposure(endpoint: Endpoint, clock: Clock) -> None:
    """Abort, or stop, what a camera exposes, over a connection of its own and without waiting for what follows.

    Raises
    ------
    DriverError
        The camera refuses, or does not answer in time.
    """
    wire = CameraWire(endpoint, clock, timeouts=ABORT_TIMEOUTS, retries=False)
    try:
        wire.AbortExposure()
    except Refused:
        wire.StopExposure()
    finally:
        wire.line.close()


def clock_of_runs(camera: Camera) -> Clock | None:
    """Return the clock by which runs will go, asked as briefly as something that is only looked at; None: the system's.

    A camera that is looked for, and one that does not answer now, are taken for real ones.
    """
    if not isinstance(camera.active, CameraSection) or camera.active.host is None:
        return None
    try:
        return remote_clock(home(camera), LOOK_TIMEOUTS)
    except ServiceError as error:  # the password: said where it is needed
        log.debug("clock.not_asked", detail=error.detail)
        return None


def remote_clock(endpoint: Endpoint, timeouts: Timeouts | None = None) -> Clock | None:
    """Return the clock of a simulated observatory in another process, None for a real camera.

    It is asked for only where the camera lists the action. What cannot be asked now is reported by `connect`, or, where
    only this failed, by `Observatory.note_camera`.
    """
    wire = CameraWire(endpoint, SystemClock(), timeouts=timeouts or Timeouts(), retries=False)
    try:
        if CLOCK_ACTION not in (wire.offered("SupportedActions", texts) or ()):
            return None
        answered = retry(SystemClock(), lambda: wire.action(CLOCK_ACTION), delays_s=(0.2, 1.0), on=DeviceLost)
        return _clock_of(answered)
    except (DriverError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        log.debug("clock.not_known", endpoint=endpoint.address, detail=str(error))
        return None
    finally:
        wire.line.close()


def _clock_of(answer: str) -> ScaledClock:
    """Return the clock that a simulated observatory reports; raises `ValueError` for one that cannot be."""
    answered = json.loads(answer)
    rate, start = float(answered["rate"]), datetime.fromisoformat(answered["utc"])
    if not (0.001 <= rate <= 1e6 and 1970 <= start.year < 2200):
        raise ValueError(f"no clock goes {rate:g} times as fast from {start}")
    return ScaledClock(rate=rate, start=start)
