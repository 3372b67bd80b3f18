"""Devices connected at the start of a session, with what lets each go at its end."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import structlog

from drivers.base import CameraInfo, CameraStates, PanelInfo
from drivers.clock import Deadline, retry
from drivers.errors import CameraBusy, DeviceLost, DriverError
from services.capture.possible import impossible, namesakes
from services.catalogue.catalogue import Catalogue
from services.errors import ConfigInvalid, RunCode
from services.events.bus import Events
from services.events.devices import DeviceConnected
from services.events.records import WarningRaised
from services.files.locks import DeviceLock
from services.observatory import Observatory
from services.observatory.in_use import in_use
from services.observatory.remembered import CoolerMemory
from services.planning.programmes import views

log = structlog.get_logger(__name__)

CONNECT_DELAYS_S = (1.0,)
"""At the start a device is connected twice at most, each read asked three times: somebody is there to read."""

LEFTOVER_S = 120.0
"""An exposure found running may be what a killed run left; it is waited for so long beyond the longest dark."""


class Connections:
    """Connects camera, wheel and panel of an observatory.

    Parameters
    ----------
    observatory : Observatory
    events : Events
    at_end : callable
        Takes what is to be done at the end of the session, and its name for messages; the last is done first.

    Attributes
    ----------
    shared : bool
        Whether another program turned out to use the camera: then it is left connected.
    """

    def __init__(
        self, observatory: Observatory, events: Events, at_end: Callable[[str, Callable[[], object]], None]
    ) -> None:
        self._observatory = observatory
        self._config = observatory.config
        self._camera = observatory.camera
        self._clock = observatory.clock
        self._interlock = observatory.interlock
        self._events = events
        self._at_end = at_end
        self._looks = False
        self.shared = False

    def refuse_used_camera(self, catalogue: Catalogue, cooler_held_at: datetime | None = None) -> None:
        """Look whether another program uses the camera, before anything is sent to it; raises `CameraBusy` then.

        A camera that does not answer is for `connect_camera` to explain.
        """
        onlooker = self._observatory.onlooker()
        if onlooker is None:
            return
        stays = self._config.camera.release == "leave"
        try:
            used = in_use(
                onlooker,
                stays_connected=stays,
                is_left_on=lambda key: CoolerMemory(catalogue, key, self._clock, cooler_held_at).is_left_on(),
            )
        except DriverError as error:
            log.info("camera.not_looked_at", detail=str(error))
            return
        finally:
            onlooker.close()
        if used:
            raise CameraBusy(device="camera", detail=used)

    def connect_camera(self) -> CameraInfo:
        """Connect the camera and lock it for this machine; return what it says of itself.

        Raises
        ------
        DriverError
            It is lost, missing or wrong.
        StorageError
            Another run has it.
        RunStopped
        """
        if self._observatory.owns_camera:
            self._at_end("camera sockets", self._camera.close)
        self._connect("camera", self._camera.connect)
        info = self._camera.info
        self._observatory.note_camera(info)
        self._lock_camera(info)
        if self._observatory.owns_camera:
            self._release_at_end("camera", self._disconnect_camera)
        self._announce_connected("camera", info.name, info.unique_id)
        self._looks = True
        return info

    def _connect(self, device: str, connect: Callable[[], None]) -> None:
        try:
            retry(self._clock, connect, delays_s=CONNECT_DELAYS_S, on=DeviceLost, wake=self._interlock.edge)
        except DriverError as error:
            self._interlock.check_edge()
            raise self._observatory.explain(device, error) from error

    def _lock_camera(self, info: CameraInfo) -> None:
        """Keep other runs on this machine off the camera; before this nothing was done that they would notice."""
        unique_id = info.unique_id
        if unique_id is not None and self._observatory.simulator is None:
            lock = DeviceLock(unique_id, name=info.name, clock=self._clock)
            lock.acquire()
            self._at_end("lock of the camera", lock.release)

    def connect_wheel(self) -> tuple[str, ...]:
        """Connect the filter wheel; return the names of its filters, none without a wheel.

        Raises
        ------
        DriverError
            It is lost, missing or wrong.
        RunStopped
        """
        wheel = self._observatory.wheel
        if wheel is None:
            return ()
        self._at_end("filter wheel", wheel.close)
        self._connect("filter wheel", wheel.connect)
        self._release_at_end("filter wheel", wheel.disconnect)
        self._announce_connected("filter wheel", ", ".join(wheel.names), None)
        for detail in namesakes(wheel.names, wheel.labels):
            self._events.emit(WarningRaised(code=RunCode.FILTER_NAMES.value, detail=detail))
        return wheel.names

    def release_panel_at_end(self) -> None:
        """Let the panel go at the end, whoever connects it first: the safety watch does, over a line of its own."""
        panel = self._observatory.panel
        if panel is not None:
            self._at_end("flat panel", panel.close)
            self._release_at_end("flat panel", panel.disconnect)

    def connect_panel(self) -> PanelInfo | None:
        """Connect the flat panel; return what it says of itself, None without one. Raises as `connect_camera`."""
        panel = self._observatory.panel
        if panel is None:
            return None
        self._connect("flat panel", panel.connect)
        self._announce_connected("flat panel", panel.info.name, panel.info.unique_id)
        return panel.info

    def check_settings(self, refused_c: Callable[[Sequence[float]], Iterator[str]]) -> None:
        """Hold the configuration against the connected devices, before anything is cooled or exposed.

        Parameters
        ----------
        refused_c : callable
            Says in words which set-points, °C, the camera refuses.

        Raises
        ------
        ConfigInvalid
            They cannot have all that it asks for; its detail names everything at once.
        """
        panel = self._observatory.panel
        info = None if panel is None else panel.info
        if found := impossible(self._observatory, self._camera.info, info, refused_c):
            raise ConfigInvalid("\n".join(found))

    def wait_for_leftovers(self, *, waits: bool = True) -> None:
        """Wait for an exposure that runs already: a killed run's ends soon; another program's is not ours to end.

        Without `waits` any exposure is another program's; raises `CameraBusy`.
        """
        seen = [config for _, config in views(self._config)]
        longest_s = LEFTOVER_S + max(max(c.dark_capture.max_exposure, c.flat_capture.max_exposure) for c in seen)
        deadline = Deadline(self._clock, longest_s, real_s=Deadline.LEAST_REAL_S)
        state = self._camera.state()
        if state.at_work and not waits:
            raise CameraBusy(device=self._camera.info.name, detail="another program has begun to expose with it")
        if state.at_work:
            self._events.announce_wait(longest_s, "an exposure that runs already ends", at_most=True)
        while state.at_work:
            if deadline.over:
                detail = (
                    f"it has been exposing for {longest_s:.0f} s and not for this run — if a run of nightcal was "
                    "killed in this exposure, `nightcal secure` ends it, switches the lamp off and closes the cover"
                )
                raise CameraBusy(device=self._camera.info.name, detail=detail)
            if self._clock.sleep(1.0, self._interlock.edge):
                self._interlock.check_edge()
            state = self._camera.state()
        if state.activity is CameraStates.ERROR:
            self._camera.abort()
        self._looks = False

    def exposes_for_others(self) -> bool:
        """Whether the camera is at work though this session has not exposed yet: to disconnect it would end that."""
        if not self._looks:
            return False
        try:
            return self._camera.state().at_work
        except DriverError:
            return False

    def _release_at_end(self, what: str, disconnect: Callable[[], object]) -> None:
        if self._config.camera.release == "disconnect":
            self._at_end(what, disconnect)

    def _disconnect_camera(self) -> None:
        if not self.shared:
            self._camera.disconnect()

    def _announce_connected(self, device: str, name: str, unique_id: str | None) -> None:
        self._events.emit(DeviceConnected(device=device, device_name=name, unique_id=unique_id))
