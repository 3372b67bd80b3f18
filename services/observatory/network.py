"""Sections of the configuration turned into addresses, and addresses into Alpaca driver objects."""

import json
from datetime import datetime

import structlog

from calibration.keywords.filters import distinct_names
from drivers.alpaca.camera import AlpacaCamera
from drivers.alpaca.cover_calibrator import AlpacaCoverCalibrator
from drivers.alpaca.filter_wheel import AlpacaFilterWheel
from drivers.alpaca.safety_monitor import AlpacaSafetyMonitor
from drivers.alpaca.transport import CameraWire, Endpoint, Timeouts
from drivers.alpaca.values import texts
from drivers.base import SensorType, SettingMode
from drivers.clock import Clock, ScaledClock, SystemClock, retry
from drivers.errors import DeviceLost, DriverError, Refused
from services.config.models import AlpacaCamera as CameraSection
from services.config.models import Camera, Config, Device, FilterWheel, FlatPanel

log = structlog.get_logger(__name__)

_SENSORS = {None: None, "mono": SensorType.MONOCHROME, "color": SensorType.RGGB}
"""What `camera.type` says; a colour camera that reports its own pattern keeps it."""
ABORT_TIMEOUTS = Timeouts(open_s=1.0, put_s=2.0)
"""Real seconds that an abort in an emergency waits for an answer."""

CLOCK_ACTION = "nightcal:clock"
"""Listed among a camera's actions by simulated observatories only."""

Home = tuple[str, int]
"""Host and port where devices are that name none."""


def home(camera: Camera) -> Home:
    """Return host and port of a camera section."""
    section = camera.active
    return (section.host, section.port) if isinstance(section, CameraSection) else ("localhost", 11111)


def camera_endpoint(camera: Camera) -> Endpoint:
    """Return where the configured camera is; one that is named is looked for on its server, or through discovery.

    Raises
    ------
    DeviceMissing
        None of that name answers, or two do.
    DeviceLost
        The server that the section names does not answer.
    """
    section = camera.active
    host, port = home(camera)
    if isinstance(section, CameraSection) and section.camera_name:
        from drivers.alpaca.discovery import ServerAddress, configured_devices, find_by_name

        if not {"host", "port"} & section.model_fields_set:
            return find_by_name(section.camera_name, device_type="camera")
        configured_devices(host, port)  # a server that is away says so, rather than "no camera of that name"
        return find_by_name(section.camera_name, device_type="camera", servers=(ServerAddress(host, port),))
    number = section.device_id if isinstance(section, CameraSection) else 0
    return Endpoint(host=host, port=port, device_number=number)


def endpoint_of(section: Device | None, at_home: Home) -> Endpoint:
    """Return where an accessory is; host and port are the camera's where the section names none."""
    host, port = at_home
    if section is None:
        return Endpoint(host=host, port=port)
    return Endpoint(host=section.host or host, port=section.port or port, device_number=section.device_id)


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
    from drivers.alpaca.discovery import configured_devices

    sections = {"covercalibrator": "flat_panel", "filterwheel": "filter_wheel", "safetymonitor": "safety_monitor"}
    missing = {kind: name for kind, name in sections.items() if getattr(config, name) is None}
    if not missing:
        return ()
    try:
        devices = configured_devices(endpoint.host, endpoint.port)
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


def remote_clock(endpoint: Endpoint) -> Clock | None:
    """Return the clock of a simulated observatory in another process, None for a real camera.

    It is asked for only where the camera lists the action. What cannot be asked now is reported by `connect`, or, where
    only this failed, by `Observatory.note_camera`.
    """
    wire = CameraWire(endpoint, SystemClock(), timeouts=Timeouts(), retries=False)
    try:
        if CLOCK_ACTION not in (wire.offered("SupportedActions", texts) or ()):
            return None
        told = retry(SystemClock(), lambda: wire.action(CLOCK_ACTION), delays_s=(0.2, 1.0), on=DeviceLost)
        return _clock_of(told)
    except (DriverError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        log.debug("clock.not_told", endpoint=endpoint.address, detail=str(error))
        return None
    finally:
        wire.line.close()


def _clock_of(answer: str) -> ScaledClock:
    """Return the clock that a simulated observatory reports; raises `ValueError` for one that cannot be."""
    told = json.loads(answer)
    rate, start = float(told["rate"]), datetime.fromisoformat(told["utc"])
    if not (0.001 <= rate <= 1e6 and 1970 <= start.year < 2200):
        raise ValueError(f"no clock goes {rate:g} times as fast from {start}")
    return ScaledClock(rate=rate, start=start)
