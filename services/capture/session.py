"""A session: devices connected, known, watched and, on every way out, left in a known state.

::

    with Session(observatory=…, events=…, layout=…, catalogue=…, disk=…) as session:
        outcome = session.run(bias_plan(…))

Ends in this order, whatever happened: the exposure aborted, the lamp off, the cover closed, the cooler as found or
warmed, what is queued written (meanwhile: a disk that hangs keeps no device waiting), the safety watch stopped, devices
released. What fails on the way is told (`services.capture.leaving`) and never hides the first cause.
"""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import structlog

from drivers.base import CameraInfo, CameraSettings, CameraStates, PanelInfo
from drivers.clock import Deadline, retry
from drivers.errors import CameraBusy, DeviceLost, DeviceMissing, DriverError
from services.capture.assembly import Assembly, Store
from services.capture.cooling import Cooled
from services.capture.leaving import (
    Leaving,
    Step,
    cooler_left,
    darken,
    end_exposure,
    exposure_left,
    light_left,
    light_words,
)
from services.capture.remembered import CoolerMemory
from services.capture.runner import Plan, Runner, quantised_us
from services.capture.safety import SafetyWatch
from services.capture.state import mode_number
from services.catalogue.catalogue import Catalogue
from services.errors import ConfigInvalid, RunCode
from services.events.bus import Events
from services.events.devices import DeviceConnected
from services.events.records import WarningRaised
from services.files.disk import REAL_DISK, Disk
from services.files.layout import Layout
from services.files.locks import DeviceLock
from services.observatory import Observatory
from services.observatory.sun import next_sunrise, sun_altitude_deg
from services.version import is_credible

log = structlog.get_logger(__name__)

R = TypeVar("R")

CONNECT_DELAYS_S = (1.0, 3.0)
"""At the start a device is asked three times: somebody stands by to be told."""

LEFTOVER_S = 120.0
"""An exposure found running may be what a killed run left; it is waited for so long beyond the longest dark."""


class Session:
    """Everything that is needed to take frames, for the length of a `with` block.

    Parameters
    ----------
    observatory : Observatory
    events : Events
    layout, catalogue, disk
        Where frames go.
    skip_cooling, skip_warmup : bool
        Leave the cooler as it is at the beginning, or at the end.
    until : datetime, optional
        No exposure is begun that would end after it.
    ready : callable
        Called before an exposure is begun; returns when frames can be measured, raises when the run must end first.

    Attributes
    ----------
    camera_info : CameraInfo
    panel_info : PanelInfo or None
    filters : tuple of str
        Names of the wheel's positions; empty without a wheel.
    settings : CameraSettings
        As found after connecting.
    left_unsafe : tuple of str
        After the end: what could not be left in a known state, in words.
    """

    camera_info: CameraInfo
    panel_info: PanelInfo | None
    filters: tuple[str, ...]
    settings: CameraSettings

    def __init__(
        self,
        *,
        observatory: Observatory,
        events: Events,
        layout: Layout,
        catalogue: Catalogue,
        disk: Disk = REAL_DISK,
        skip_cooling: bool = False,
        skip_warmup: bool = False,
        until: datetime | None = None,
        ready: Callable[[], object] = lambda: None,
    ) -> None:
        self._observatory = observatory
        self._config = observatory.config
        self._clock = observatory.clock
        self._interlock = observatory.interlock
        self._camera = observatory.camera
        self._events = events
        self._skip_warmup = skip_warmup
        self._until = until
        self._ready = ready
        self._hurry = observatory.interlock.hurry
        self._ends = ExitStack()
        self._leaving = Leaving(events, _server(observatory))
        self._shared = False
        store = Store(layout=layout, catalogue=catalogue, disk=disk)
        self._assembly = Assembly(observatory=observatory, events=events, store=store)
        self._recovery = self._assembly.recovery()
        self._thermostat = self._assembly.thermostat(self._recovery, skip=skip_cooling, until=until)
        self._runner: Runner | None = None
        self._warned_of_site = False
        self._watch: SafetyWatch | None = None
        self._memory: CoolerMemory | None = None
        self._catalogue = catalogue

    # --- use --------------------------------------------------------------------------------------------------------

    def run(self, plan: Plan[R]) -> R:
        """Drive a plan to its end; see `Runner.run` for what it raises."""
        if self._runner is None:
            raise RuntimeError("a session is used inside its `with` block")
        return self._runner.run(plan)

    def temperature_c(self) -> float | None:
        """Return the sensor's temperature, read afresh."""
        return self._thermostat.look().ccd_temperature_c

    def cool_for_darks(self, set_temp_c: float | None) -> Cooled | None:
        """Bring the sensor to a dark's temperature, or where the configuration allows it to another one.

        Returns
        -------
        Cooled or None
            None where the cooler is left as found.

        Raises
        ------
        GroupFailed
            The temperature cannot be had; see `Thermostat.ensure` for what else.
        """
        cooling = self._config.cooling
        return None if cooling is None else self._thermostat.ensure(set_temp_c, cooling.on_dark_failure)

    def quantise(self, exposure_us: int) -> int:
        """Return the nearest exposure that the camera keeps."""
        return quantised_us(exposure_us, self.camera_info)

    def sun_altitude(self) -> float | None:
        """Return the sun's altitude in degrees, None without a `site`."""
        site = self._config.site
        if site is None:
            return None
        return sun_altitude_deg(self._clock.now(), latitude_deg=site.latitude, longitude_deg=site.longitude)

    def sunrise(self) -> datetime | None:
        """Return the next sunrise, None without a `site` or within a polar day or night."""
        site = self._config.site
        if site is None:
            return None
        return next_sunrise(self._clock.now(), latitude_deg=site.latitude, longitude_deg=site.longitude)

    @property
    def left_unsafe(self) -> tuple[str, ...]:
        """What the end could not leave in a known state, in words; empty before."""
        return tuple(self._leaving.left)

    # --- beginning --------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Connect, learn, watch.

        Raises
        ------
        DriverError
            A device is lost, missing, wrong or in use.
        RunStopped
            It is not safe.
        ConfigInvalid
            The camera has no such readout mode.
        """
        try:
            self._begin()
        except BaseException as error:
            self._end(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the devices in a known state."""
        del kind, traceback
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        self._shared = isinstance(error, CameraBusy)
        if self._watch is not None:
            self._watch.spare_camera()
        self._recovery.end(self._hurry)
        if self._runner is not None:
            doing = light_words(self.panel_info, "switching the lamp off", "closing the cover")
            self._leaving.begin(self._interlock.code, self._warming_s(), doing)
        self._ends.close()

    def _begin(self) -> None:
        self._ends.callback(self._interlock.release)
        self._connect_camera()
        self._start_safety()
        self._connect_wheel()
        self._connect_panel()
        self._wait_for_leftovers()
        self._note_cooler()
        self.settings = self._camera.settings()
        writer = self._assembly.writer()
        writer.start()
        self._at_end("writer", writer.close)
        self._ends.callback(self._leave_devices)
        self._runner = self._assembly.runner(
            recovery=self._recovery,
            thermostat=self._thermostat,
            writer=writer,
            is_day=self._is_day,
            until=self._until,
            ready=self._ready,
        )

    def _is_day(self) -> bool:
        """Whether the sun is up, as far as anybody knows; a clock that cannot be right is no leave to open a cover."""
        altitude_deg = self.sun_altitude()
        if self._config.site is None and not self._warned_of_site:
            self._warned_of_site = True
            detail = "a cover is opened, and without `site` nobody knows whether the sun is up"
            self._events.emit(WarningRaised(code=RunCode.NO_SITE.value, detail=detail))
        return altitude_deg is not None and (altitude_deg > 0.0 or not is_credible(self._clock.now()))

    def _connect_camera(self) -> None:
        if self._observatory.owns_camera:
            self._at_end("camera sockets", self._camera.close)
        self._connect(self._camera.connect)
        self.camera_info = self._camera.info
        self._check_mode()
        self._observatory.note_camera(self.camera_info)
        self._lock_camera()
        if self._observatory.owns_camera:
            self._release_at_end("camera", self._disconnect_camera)
        self._tell_connected("camera", self.camera_info.name, self.camera_info.unique_id)

    def _check_mode(self) -> None:
        """Refuse a readout mode that the camera does not have before anything is taken: all sets want it."""
        named = self._config.camera.active.readout_mode
        try:
            if named is not None:
                mode_number(self.camera_info, named)
        except LookupError as error:
            raise ConfigInvalid(f"camera: readout_mode: {error}") from error

    def _connect(self, connect: Callable[[], None]) -> None:
        try:
            retry(self._clock, connect, delays_s=CONNECT_DELAYS_S, on=DeviceLost, wake=self._interlock.edge)
        except DriverError:
            self._interlock.check_edge()
            raise

    def _lock_camera(self) -> None:
        """Keep other runs on this machine off the camera; before this nothing was done that they would notice."""
        unique_id = self.camera_info.unique_id
        if unique_id is not None and self._observatory.simulator is None:
            lock = DeviceLock(unique_id, name=self.camera_info.name, clock=self._clock)
            lock.acquire()
            self._at_end("lock of the camera", lock.release)

    def _connect_wheel(self) -> None:
        wheel = self._observatory.wheel
        self.filters = ()
        if wheel is None:
            return
        self._at_end("filter wheel", wheel.close)
        self._connect(wheel.connect)
        self._release_at_end("filter wheel", wheel.disconnect)
        self.filters = wheel.names
        self._tell_connected("filter wheel", ", ".join(wheel.names), None)
        named = set(self._config.flat_capture.filters) | set(self._observatory.opaque_filters)
        if unknown := sorted(named - set(wheel.names)):
            detail = f"the wheel has no {', '.join(unknown)} (it has {', '.join(wheel.names)})"
            raise DeviceMissing(device="filter wheel", detail=detail)

    def _connect_panel(self) -> None:
        panel = self._observatory.panel
        self.panel_info = None
        if panel is None:
            return
        self._at_end("flat panel", panel.close)
        self._connect(panel.connect)
        self._release_at_end("flat panel", panel.disconnect)
        self.panel_info = panel.info
        self._tell_connected("flat panel", panel.info.name, panel.info.unique_id)

    def _start_safety(self) -> None:
        self._watch = watch = self._assembly.safety_watch()
        if watch is not None:
            self._at_end("safety watch", watch.stop)
            watch.start()

    def _wait_for_leftovers(self) -> None:
        """Wait for an exposure that runs already: a killed run's ends soon; another program's is not ours to end."""
        longest_s = LEFTOVER_S + self._config.dark_capture.max_exposure
        deadline = Deadline(self._clock, longest_s, real_s=5.0)
        state = self._camera.state()
        if state.at_work:
            self._events.tell_wait(longest_s, "an exposure that runs already ends", at_most=True)
        while state.at_work:
            if deadline.over:
                detail = f"it has been exposing for {longest_s:.0f} s, for another program"
                raise CameraBusy(device=self.camera_info.name, detail=detail)
            if self._clock.sleep(1.0, self._interlock.edge):
                self._interlock.check_edge()
            state = self._camera.state()
        if state.activity is CameraStates.ERROR:
            self._camera.abort()

    def _note_cooler(self) -> None:
        """Learn how the cooler is to be left; a run that was killed may have switched it on."""
        state = self._camera.state()
        if self._thermostat.is_ours:
            camera = self.camera_info.unique_id or self.camera_info.name
            self._memory = CoolerMemory(self._catalogue, camera, self._clock)
            state = self._memory.found(state)
        self._thermostat.note_found(state)

    def _tell_connected(self, device: str, name: str, unique_id: str | None) -> None:
        self._events.emit(DeviceConnected(device=device, device_name=name, unique_id=unique_id))
        log.info("device.connected", device=device, name=name)

    # --- ending -----------------------------------------------------------------------------------------------------

    def _at_end(self, what: str, act: Callable[[], object]) -> None:
        self._ends.callback(self._leaving.tidy, what, act)

    def _release_at_end(self, what: str, disconnect: Callable[[], object]) -> None:
        if self._config.camera.release == "disconnect":
            self._at_end(what, disconnect)

    def _leave_devices(self) -> None:
        """Exposure, light, cooler: in this order; a camera or cooler that another program uses is not ours."""
        camera, panel, steps = self._camera, self._observatory.panel, []
        if not self._shared:
            steps.append(Step(name="camera", act=lambda: end_exposure(camera), look=lambda: exposure_left(camera)))
        if panel is not None:
            done = light_words(self.panel_info, "lamp off", "cover closed")
            steps.append(Step(name="flat panel", act=lambda: darken(panel), look=lambda: light_left(panel), done=done))
        if self._ends_cooler:
            as_found = self._thermostat.found_on
            look = partial(cooler_left, camera, as_found=as_found)
            steps.append(Step(name="cooler", act=self._end_cooler, look=look))
        self._leaving.devices(tuple(steps), wait=lambda: None if self._shared else self._recovery.call(camera.state))

    def _warming_s(self) -> float | None:
        """How long warming up will take, None when the sensor is left as it is."""
        return self._thermostat.warming_s if self._ends_cooler else None

    @property
    def _ends_cooler(self) -> bool:
        """Whether the cooler is left as configured; one that is held is the next run's to end, which remembers it."""
        return not (self._skip_warmup or self._shared or self._interlock.holds_cooler)

    def _end_cooler(self) -> None:
        self._thermostat.end(self._hurry)
        if self._memory is not None:
            self._memory.left()

    def _disconnect_camera(self) -> None:
        if not self._shared:
            self._camera.disconnect()


def _server(observatory: Observatory) -> str:
    """Return where the camera is, in words."""
    section = observatory.config.camera.active
    host, port = getattr(section, "host", None), getattr(section, "port", None)
    return "the simulated observatory" if host is None else f"{host}:{port}"
