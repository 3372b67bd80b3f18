"""A session: devices connected, known, watched and, on every way out, left in a known state.

::

    with Session(observatory=…, events=…, place=…) as session:
        outcome = session.run(bias_plan(…))

Ends in this order, whatever happened: the exposure aborted, the lamp off, the cover closed, the cooler as found or
warmed, what is queued written (meanwhile: a disk that hangs keeps no device waiting), the safety watch stopped, devices
released. What fails on the way is reported (`services.capture.leaving`) and never hides the first cause.
"""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import structlog

from calibration.frames import FrameKind
from drivers.base import CameraInfo, CameraSettings, PanelInfo
from drivers.errors import CameraBusy
from services.capture.assembly import Assembly
from services.capture.connections import Connections
from services.capture.cooling import Cooled
from services.capture.leaving import (
    Duty,
    Leaving,
    cooler_left,
    darken,
    end_exposure,
    exposure_left,
    light_left,
    light_words,
)
from services.capture.runner import Plan, Runner
from services.capture.safety import SafetyWatch
from services.capture.shelf import Apart
from services.events.bus import Events
from services.observatory import Observatory
from services.observatory.remembered import CoolerMemory
from services.root import Place

log = structlog.get_logger(__name__)

R = TypeVar("R")


class Session:
    """Everything that is needed to take frames, for the length of a `with` block.

    Beginning and ending are in one class, because each device that was begun is ended in the opposite order.

    Parameters
    ----------
    observatory : Observatory
    events : Events
    place : Place
        Where frames go.
    skip_cooling, skip_warmup : bool
        Leave the cooler as it is at the beginning, or at the end.
    hold_cooler : bool
        A session that reaches its end lets the cooler go on holding its temperature for the next one.
    cooler_held_at : datetime, optional
        When a cooler that was held for this session was last known to be ours.
    only_if_free : bool
        A camera that another program uses is left as it is, before anything is sent to it: `CameraBusy`. Otherwise an
        exposure that is found may be what a killed run left, and is waited for.
    until : datetime, optional
        No exposure is started that would end after it.
    ready : callable
        Called before an exposure is started; returns when frames can be measured, raises when the run must end first.
    apart : Apart
        By what sets are named in the events of their frames.

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
        place: Place,
        skip_cooling: bool = False,
        skip_warmup: bool = False,
        hold_cooler: bool = False,
        cooler_held_at: datetime | None = None,
        only_if_free: bool = False,
        until: datetime | None = None,
        ready: Callable[[], object] = lambda: None,
        apart: Apart = lambda _request: "",
    ) -> None:
        self._observatory = observatory
        self._config = observatory.config
        self._clock = observatory.clock
        self._interlock = observatory.interlock
        self._camera = observatory.camera
        self._events = events
        self._skip_warmup = skip_warmup
        self._hold_cooler = hold_cooler
        self._cooler_held_at = cooler_held_at
        self._only_if_free = only_if_free
        self._until = until
        self._ready = ready
        self._apart = apart
        self._hurry = observatory.interlock.hurry
        self._ends = ExitStack()
        self._leaving = Leaving(events, observatory.server, observatory.interlock.allowance)
        self._shared = False  # by another program: then the camera is not ours to leave
        self._connections = Connections(observatory, events, self._at_end)
        self._assembly = Assembly(observatory=observatory, events=events, place=place)
        self._recovery = self._assembly.recovery()
        self._thermostat = self._assembly.thermostat(self._recovery, skip=skip_cooling, until=until)
        self._runner: Runner | None = None
        self._watch: SafetyWatch | None = None
        self._memory: CoolerMemory | None = None
        self._catalogue = place.catalogue

    # --- use --------------------------------------------------------------------------------------------------------

    def run(self, plan: Plan[R]) -> R:
        """Drive a plan to its end; see `Runner.run` for what it raises."""
        if self._runner is None:
            raise RuntimeError("a session is used inside its `with` block")
        return self._runner.run(plan)

    def temperature_c(self) -> float | None:
        """Return the sensor's temperature, read afresh."""
        return self._thermostat.look().ccd_temperature_c

    def cool_for(self, kind: FrameKind, set_temp_c: float | None) -> Cooled | None:
        """Bring the sensor to the temperature of a set, or where the configuration allows it to another one.

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
        if cooling is None:
            return None
        policy = cooling.on_flat_failure if kind is FrameKind.FLAT else cooling.on_dark_failure
        return self._thermostat.ensure(set_temp_c, policy)

    def has_time(self, exposure_us: int, set_temp_c: float | None, wait_s: float = 0.0) -> bool:
        """Return whether a frame can be finished before the time at which the session is to end.

        Parameters
        ----------
        exposure_us : int
        set_temp_c : float or None
            The sensor is brought to this temperature first.
        wait_s : float
            Waited before the exposure.
        """
        if self._until is None:
            return True
        left_s = (self._until - self._clock.now()).total_seconds()
        return left_s >= wait_s + exposure_us / 1e6 + self._thermostat.reaching_s(set_temp_c)

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
            It asks for settings that the devices cannot have.
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
        if self._watch is not None:
            self._watch.spare_camera()
        self._recovery.end(self._hurry)
        self._interlock.allowance.begin()
        is_shared = isinstance(error, CameraBusy) or self._connections.exposes_for_others()
        self._shared = self._connections.shared = is_shared
        if self._runner is not None:
            doing = light_words(self.panel_info, "switching the lamp off", "closing the cover")
            self._leaving.begin(self._interlock.code, self._warming_s(), doing)
        self._ends.close()

    def _begin(self) -> None:
        self._ends.callback(self._interlock.release)
        if self._only_if_free:
            self._connections.refuse_used_camera(self._catalogue, self._cooler_held_at)
        self.camera_info = self._connections.connect_camera()
        self._connections.release_panel_at_end()
        self._start_safety()
        self.filters = self._connections.connect_wheel()
        self.panel_info = self._connections.connect_panel()
        self._connections.wait_for_leftovers(waits=not self._only_if_free)
        self._own_camera()
        self._note_cooler()
        self._connections.check_settings(self._thermostat.refused)
        self.settings = self._camera.settings()
        writer = self._assembly.writer(self._apart)
        writer.start()
        self._at_end("writer", writer.close)
        self._ends.callback(self._leave_devices)
        self._runner = self._assembly.runner(
            recovery=self._recovery,
            thermostat=self._thermostat,
            writer=writer,
            until=self._until,
            ready=self._ready,
        )

    def _start_safety(self) -> None:
        self._watch = watch = self._assembly.safety_watch()
        if watch is not None:
            self._at_end("safety watch", watch.stop)
            watch.start()

    def _own_camera(self) -> None:
        """From here on what the camera exposes is ours."""
        if self._watch is not None:
            self._watch.own_camera()
        self._interlock.check_edge()

    def _note_cooler(self) -> None:
        """Learn how the cooler is to be left; a run that was killed may have switched it on."""
        state = self._camera.state()
        if self._thermostat.is_ours:
            camera = self.camera_info.unique_id or self.camera_info.name
            self._memory = CoolerMemory(self._catalogue, camera, self._clock, self._cooler_held_at)
            state = self._memory.found(state)
        self._thermostat.note_found(state)

    # --- ending -----------------------------------------------------------------------------------------------------

    def _at_end(self, what: str, act: Callable[[], object]) -> None:
        self._ends.callback(self._leaving.tidy, what, act)

    def _leave_devices(self) -> None:
        """Exposure, light, cooler: in this order; a camera or cooler that another program uses is not ours."""
        camera, panel, duties = self._camera, self._observatory.panel, []
        if not self._shared:
            duties.append(Duty(name="camera", act=lambda: end_exposure(camera), look=lambda: exposure_left(camera)))
        if panel is not None:
            done = light_words(self.panel_info, "lamp off", "cover closed")
            duties.append(Duty(name="flat panel", act=lambda: darken(panel), look=lambda: light_left(panel), done=done))
        if self._ends_cooler:
            as_found = self._thermostat.found_on
            look = partial(cooler_left, camera, as_found=as_found)
            duties.append(Duty(name="cooler", act=self._end_cooler, look=look))
        self._leaving.devices(tuple(duties), wait=lambda: None if self._shared else self._recovery.call(camera.state))

    def _warming_s(self) -> float | None:
        """How long warming up will take, None when the sensor is left as it is."""
        return self._thermostat.warming_s if self._ends_cooler else None

    @property
    def _ends_cooler(self) -> bool:
        """Whether the cooler is left as configured; one that is held is the next run's to end, which remembers it."""
        holds = self._interlock.holds_cooler or (self._hold_cooler and self._interlock.code is None)
        return not (self._skip_warmup or self._shared or holds)

    def _end_cooler(self) -> None:
        self._thermostat.end(self._hurry)
        if self._memory is not None:
            self._memory.left()
