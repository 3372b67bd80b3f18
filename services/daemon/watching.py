"""The threads that read the surroundings: one for each device, with a driver object and sockets of its own.

A server that hangs delays neither the reading of another device nor the end of the daemon. The camera is only looked
at, and not at all while a run of ours is at work; roof and mount are connected where they are not, and never
disconnected. What was read is `readings`, and what follows from it is for `services.daemon.conditions` to say.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from drivers.alpaca.discovery import configured_devices
from drivers.alpaca.endpoint import Endpoint
from drivers.alpaca.onlooker import Onlooker
from drivers.clock import Clock, Deadline
from services.catalogue.catalogue import Catalogue
from services.config.devices import Device, Dome, SafetyMonitor, Telescope
from services.config.models import Config
from services.config.serve import Kind
from services.daemon.board import Reading as Shown
from services.daemon.conditions import (
    Block,
    CameraUse,
    Reading,
    Readings,
    Reason,
    blocked,
    forbidding,
    is_mended,
    seen_unsafe,
    with_safety,
    with_troubles,
)
from services.daemon.orders import RefusalCode, Refused
from services.daemon.pace import APART_S, POLL_S
from services.daemon.probes import LEAST_REAL_POLL_S, Asked, Probe
from services.daemon.readings_shown import shown
from services.daemon.windows import OpenWindow
from services.files.disk import REAL_DISK
from services.observatory import network
from services.observatory.in_use import in_use
from services.observatory.remembered import CoolerMemory
from services.words import some

log = structlog.get_logger(__name__)

END_S = 1.5
"""Real seconds that the end waits for all threads together; one whose call still hangs ends with the program."""
_AT_WORK = "a run of nightcal is at work: the camera is not asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What is watched, and where.

    Attributes
    ----------
    config : Config
    root : Path
        Whose disk is watched.
    catalogue : Path
        What remembers the cooler.
    server : Endpoint or None
        Of a simulated observatory that is served beside the daemon; None: the servers of the configuration.
    """

    config: Config
    root: Path
    catalogue: Path
    server: Endpoint | None = None

    def home(self) -> Endpoint:
        """Return where the camera is; raises `DriverError`, `ServiceError`."""
        return network.camera_endpoint(self.config.camera) if self.server is None else self.server

    def endpoint(self, section: Device, name: str) -> Endpoint:
        """Return where an accessory is; the camera's server is only looked for where its section names none."""
        if self.server is None and section.host is not None and section.port is not None:
            return network.endpoint_of(section, network.home(self.config.camera), name)
        return network.endpoint_of(section, self.home(), name)


def completed(watched: Watched) -> Watched:
    """Return what is watched with the sections of a simulated observatory that its file does not mention."""
    if watched.server is None:
        return watched
    kinds = {each.type for each in configured_devices(watched.server.host, watched.server.port)}
    sections: dict[str, Device] = {
        "safety_monitor": SafetyMonitor(),
        "dome": Dome(),
        "telescope": Telescope(),
    }
    found = {
        name: section
        for name, section in sections.items()
        if getattr(watched.config, name) is None and name.replace("_", "") in kinds
    }
    return replace(watched, config=watched.config.model_copy(update=found))


class Watching:
    """Reads the surroundings until it is closed, and says what they allow: `services.daemon.mind.Surroundings`.

    Parameters
    ----------
    watched : Watched
    clock : Clock
    on_change : callable
        Called, from any thread, when a device says something else than before.
    unsafe_at : datetime, optional
        When it was last unsafe before this start: it must be safe for as long as if there had been none.
    """

    def __init__(
        self,
        watched: Watched,
        clock: Clock,
        *,
        on_change: Callable[[], object] = lambda: None,
        unsafe_at: datetime | None = None,
    ) -> None:
        self._watched = watched
        self._clock = clock
        self._on_change = on_change
        self._since = clock.now()
        rate = float(getattr(clock, "rate", 1.0))
        least_age_s = 0.0 if rate <= 1 else rate * (Deadline.LEAST_REAL_S + LEAST_REAL_POLL_S)
        self._readings = Readings(unsafe_at=unsafe_at, least_age_s=least_age_s)
        self._lock = threading.Lock()
        self._asked: list[Asked[Any, Any]] = []
        self._probes: list[Probe] = []
        self._named: list[str] = []
        self.cooler_held_at: datetime | None = None
        """When a cooler that is held for a next run was last known to be ours; set by the loop."""
        self.run_is_at_work = False
        """Whether a run of ours owns the camera; set by the loop."""

    @property
    def unsafe_at(self) -> datetime | None:
        """When it was last unsafe, or nobody knew."""
        return self._readings.unsafe_at

    def note_unsafe(self, now: datetime) -> None:
        """Note that a run has ended because it was not safe."""
        with self._lock:
            self._readings = seen_unsafe(self._readings, now)

    def start(self) -> None:
        """Begin to read; what is not there yet is read as soon as it answers."""
        config, clock = self._watched.config, self._clock
        safety, dome, telescope = config.safety_monitor, config.dome, config.telescope
        if safety is not None and safety.enabled:
            make = partial(self._made, network.safety_monitor, safety, "safety_monitor")
            # A run asks it every `poll` itself; here it only says whether one may begin.
            self._watch("safety", make, lambda device: device.is_safe())
        if dome is not None and dome.enabled:
            self._watch("dome", partial(self._made, network.dome, dome, "dome"), lambda device: device.state())
        if telescope is not None and telescope.enabled:
            make = partial(self._made, network.telescope, telescope, "telescope")
            self._watch("telescope", make, lambda device: device.state())
        self._watch("camera", lambda: network.onlooker(self._watched.home(), clock), self._look_at_camera)
        self._probe("free_bytes", self._free_bytes)

    def close(self) -> None:
        """End the threads, within two seconds whatever hangs; nothing is disconnected."""
        for probe in self._probes:
            probe.stop()
        for asked in self._asked:
            asked.close()
        end_s = self._clock.real() + END_S
        for probe in self._probes:
            probe.join(max(0.0, end_s - self._clock.real()))
        self._probes, self._asked, self._named = [], [], []

    def use(self, watched: Watched) -> None:
        """Watch what another configuration names, if that has changed; what is known of safety is kept."""
        before, self._watched = self._watched, watched
        if all(getattr(before.config, name) == getattr(watched.config, name) for name in _SECTIONS):
            return
        self.close()
        with self._lock:
            known = self._readings
            self._readings = Readings(unsafe_at=known.unsafe_at, least_age_s=known.least_age_s)
        self._since = self._clock.now()
        self.start()

    @property
    def config(self) -> Config:
        """The configuration, with the sections of the devices that there are."""
        return self._watched.config

    @property
    def readings(self) -> Readings:
        """What is known now."""
        with self._lock:
            return self._readings

    def shown(self) -> dict[str, Shown]:
        """Return the readings as the board shows them, by the name of the device."""
        found = self.readings
        return {name: shown(name, getattr(found, name)) for name in self._named}

    # --- what they allow --------------------------------------------------------------------------------------------

    def obstacles(self, now: datetime) -> tuple[Refused, ...]:
        """Return what no order overrules: it is unsafe, or the camera is used by somebody else."""
        blocks = (each for each in self._blocks(now) if each.reason in _REFUSED)
        return tuple(Refused(_REFUSED[each.reason], each.detail, until=each.until) for each in blocks)

    def unmet(self, window: OpenWindow, now: datetime) -> str:
        """Return in words why a window takes nothing now, for what it needs or what is always needed; "" else."""
        blocks = self._conditions(window, now)
        return "" if self._left(window, blocks) else some(dict.fromkeys(each.detail for each in blocks))

    def takes(self, window: OpenWindow, now: datetime) -> tuple[Kind, ...]:
        """Return what a window takes now: no darks by day under an open roof."""
        return self._left(window, self._conditions(window, now))

    def is_camera_away(self) -> bool:
        """Return whether the camera does not answer."""
        return bool(self.readings.camera.problem)

    def is_mended(self, code: str, at: datetime, now: datetime) -> bool:
        """Return whether what failed for this cause at a moment may be tried again: the trouble is seen to be over."""
        return is_mended(self.readings, self._watched.config, now, code=code, at=at)

    def stands_c(self) -> float | None:
        """Return None: a camera that is disconnected says nothing of its cooler."""
        return None

    def _left(self, window: OpenWindow, blocks: tuple[Block, ...]) -> tuple[Kind, ...]:
        return tuple(kind for kind in window.takes if not any(forbidding(blocks, kind)))

    def _conditions(self, window: OpenWindow, now: datetime) -> tuple[Block, ...]:
        return tuple(each for each in self._blocks(now, window.needs) if each.reason is Reason.CONDITIONS)

    def _blocks(self, now: datetime, needs: tuple[str, ...] = ()) -> tuple[Block, ...]:
        return blocked(self.readings, needs, self._watched.config, now=now)

    # --- reading ----------------------------------------------------------------------------------------------------

    def _made(self, make: Callable[[Endpoint, Clock], Any], section: Device, name: str) -> Any:
        return make(self._watched.endpoint(section, name), self._clock)

    def _watch(
        self,
        name: str,
        make: Callable[[], Any],
        read: Callable[[Any], Any],
    ) -> None:
        asked = Asked(make, read)
        self._named.append(name)
        self._asked.append(asked)
        self._probe(name, asked)

    def _probe(self, name: str, ask: Callable[[], Any]) -> None:
        after_s, take = APART_S * len(self._probes), partial(self._put, name)
        self._probes.append(Probe(name, ask, every_s=POLL_S, after_s=after_s, clock=self._clock, take=take))

    def _put(self, name: str, reading: Reading[Any]) -> None:
        with self._lock:
            before = getattr(self._readings, name)
            changed: dict[str, Any] = {name: reading}
            if name == "safety":
                now = self._clock.now()
                self._readings = with_safety(self._readings, reading, self._watched.config, now=now, since=self._since)
            else:
                self._readings = replace(self._readings, **changed)
            self._readings = with_troubles(self._readings, self._watched.config, self._clock.now())
        if name != "free_bytes" and (before.value, before.problem) != (reading.value, reading.problem):
            self._on_change()

    def _look_at_camera(self, onlooker: Onlooker) -> CameraUse:
        if self.run_is_at_work:
            return CameraUse(ours=_AT_WORK)
        stays = self._watched.config.camera.release == "leave"
        return CameraUse(by_others=in_use(onlooker, stays_connected=stays, is_left_on=self._is_left_on))

    def _is_left_on(self, camera: str) -> bool:
        if not self._watched.catalogue.is_file():
            return False
        with Catalogue(self._watched.catalogue, read_only=True) as catalogue:
            return CoolerMemory(catalogue, camera, self._clock, held_at=self.cooler_held_at).is_left_on()

    def _free_bytes(self) -> int:
        return REAL_DISK.free_bytes(self._watched.root)


_SECTIONS = ("camera", "safety_monitor", "dome", "telescope")
_REFUSED = {Reason.UNSAFE: RefusalCode.UNSAFE, Reason.CAMERA_IN_USE: RefusalCode.CAMERA_IN_USE}
