"""Leaves the devices of a configuration safe without a session: after a run that died, or when an observer asks.

The exposure is aborted, the lamp switched off, the cover closed, and a cooler that a killed run left on is brought to
where that run found it. Nothing is touched while another run of ours may own the camera, whose lock is taken first; a
panel that two configurations with different cameras share is under no lock. Panel and camera are seen to side by side
and every step has a time limit, so that a server that hangs keeps neither the other device nor the caller waiting. What
fails is collected in words; nothing is raised.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

import structlog

from drivers.base import CoverCalibrator
from drivers.clock import SystemClock
from drivers.errors import DriverError
from services.capture.approach import WARM_UP_LIMIT_S
from services.capture.cooler import Cooler
from services.capture.cooling import Thermostat
from services.capture.leaving import UNKNOWN, cooler_left, darken, end_exposure, exposure_left, light_left, light_words
from services.capture.recovery import Recovery, quietly
from services.catalogue.catalogue import Catalogue
from services.config.devices import Cooling, FlatPanel
from services.config.models import LoadedConfig
from services.errors import RunCode, ServiceError, StorageError
from services.events.bus import Events
from services.files.locks import DeviceLock, ObservatoryLock, RootLock
from services.indexing.killed import close_killed_runs
from services.observatory import Observatory, network, open_observatory
from services.observatory.in_use import LeftBehind, used_since
from services.observatory.remembered import CoolerMemory
from services.root import layout_of
from services.stopping import Stop

log = structlog.get_logger(__name__)

T = TypeVar("T")

LIMIT_S = 60.0
"""Real seconds that a step may take; warming up has its own limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secured:
    """What was done, and what could not be, in words.

    Attributes
    ----------
    done : tuple of str
        The states that the devices were brought to.
    left : tuple of str
        What could not be left in a known state, and why.
    refused : str
        Who owns the devices, when nothing was touched; else "".
    """

    done: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    refused: str = ""

    @property
    def well(self) -> bool:
        """Whether all is as it should be."""
        return not self.left and not self.refused


def secure(
    loaded: LoadedConfig,
    *,
    left: LeftBehind | None = None,
    cooler_held_at: datetime | None = None,
    limit_s: float = LIMIT_S,
    say: Callable[[str], object] = lambda _: None,
) -> Secured:
    """Leave the devices of a configuration safe, and close the rows of runs that were killed.

    A simulated observatory is secured where another process serves it; others have ended with their runs.

    Parameters
    ----------
    loaded : LoadedConfig
    left : LeftBehind, optional
        What a run that died some time ago may have left: a camera that somebody else uses by now is not touched, nor
        is the panel, which may be part of what he does. By default everything is made safe, whoever uses it.
    cooler_held_at : datetime, optional
        When a cooler that was held for a next run was last known to be ours.
    limit_s : float
        Real seconds that a step may take.
    say : callable
        Called with each state that a device was brought to, from any thread, as soon as it is.

    Returns
    -------
    Secured
        Also for everything that fails.
    """
    if loaded.config.camera.is_simulator and loaded.served is None:
        served = ObservatoryLock(layout_of(loaded).root).address()
        if served is None:
            return Secured(done=("a simulated observatory ends with its run: there is nothing to secure",))
        loaded = loaded.model_copy(update={"served": served})
    return _Securing(loaded, left, cooler_held_at, limit_s, say).run()


class _Securing:
    """One attempt, in one class because what is done and what is left come from the threads of both devices."""

    def __init__(
        self,
        loaded: LoadedConfig,
        behind: LeftBehind | None,
        held_at: datetime | None,
        limit_s: float,
        say: Callable[[str], object],
    ) -> None:
        self._held_at = held_at
        self._loaded = loaded
        self._behind = behind
        self._layout = layout_of(loaded)
        self._limit_s = limit_s
        self._say = say
        self._done: list[str] = []
        self._left: list[str] = []
        self._owns_root = False

    def run(self) -> Secured:
        """Lock, make safe, and return what came of it; see `secure`."""
        with ExitStack() as stack:
            observatory = self._step("camera", self._open)
            if observatory is not None:
                stack.callback(observatory.close)
            try:
                is_locked = within(self._limit_s, lambda: self._lock_camera(observatory, stack))
                self._lock_root(stack, decides=not is_locked)
            except Exception as error:  # noqa: BLE001 - returned in words, whatever it is
                return Secured(refused=_words(error))
            if observatory is not None and (words := _used_by_others(observatory, self._behind, self._limit_s)):
                self._end_runs()
                return Secured(refused=f"the camera is not ours now: {words}")
            self._side_by_side(observatory)
        return Secured(done=tuple(self._done), left=tuple(self._left))

    def _open(self) -> Observatory:
        stop = Stop()
        stop.set()  # there is no run: a device that is away is waited for no longer than at the end of one
        return open_observatory(self._loaded, wake=stop)

    def _lock_camera(self, observatory: Observatory | None, stack: ExitStack) -> bool:
        """Lock the camera as a run of ours would; return whether its server reports the id by which it is locked."""
        unique_id = None
        if observatory is not None:
            with suppress(DriverError):
                unique_id = observatory.unique_id()
        if unique_id is not None:
            stack.enter_context(DeviceLock(unique_id, name="camera"))
        return unique_id is not None

    def _lock_root(self, stack: ExitStack, *, decides: bool) -> None:
        """Lock the root, where the cooler's memory is; it `decides` where no lock of the camera says what runs.

        Otherwise work that touches no device may hold it. A disk that fails or does not answer holds no lock: it must
        not keep a lamp on.
        """

        def lock() -> None:
            if self._layout.catalogue.is_file():  # else no run was ever here
                stack.enter_context(RootLock(self._layout.root))
                self._owns_root = True

        try:
            within(self._limit_s, lock)
        except StorageError as error:
            if decides and error.code is RunCode.CAMERA_BUSY:
                raise
        except (OSError, TimeoutError) as error:
            _log("root", error)

    def _side_by_side(self, observatory: Observatory | None) -> None:
        panel = self._panel() if observatory is None else observatory.panel
        chains: list[Callable[[], None]] = []
        if panel is not None:
            chains.append(partial(self._secure_panel, panel))
        if observatory is not None:
            chains.append(partial(self._secure_camera, observatory))
        threads = [threading.Thread(target=chain, name="nightcal-secure", daemon=True) for chain in chains]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()  # every step of theirs has its limit
        self._end_runs()  # last: by an open row the next start knows of devices, if this ends before it is done

    def _end_runs(self) -> None:
        if not self._owns_root:
            return
        quietly("rows of killed runs", lambda: within(self._limit_s, self._close_runs))

    def _close_runs(self) -> None:
        with Catalogue(self._layout.catalogue) as catalogue:
            close_killed_runs(catalogue, self._layout)

    # --- panel ------------------------------------------------------------------------------------------------------

    def _panel(self) -> CoverCalibrator | None:
        """Return the panel where the camera was not found by its name: the panel may have a server of its own."""
        section, camera = self._loaded.config.flat_panel, self._loaded.config.camera
        if section is None or not section.enabled or camera.is_simulator:
            return None
        return network.panel(network.endpoint_of(section, network.home(camera), "flat_panel"), SystemClock(), section)

    def _secure_panel(self, panel: CoverCalibrator) -> None:
        def dark() -> tuple[str, ...]:
            panel.connect()
            darken(panel)
            return light_words(panel.info, "lamp off", "cover closed")

        section = self._loaded.config.flat_panel or FlatPanel()
        moving_s = 2 * section.timeout  # lamp and cover
        self._leave("flat panel", dark, lambda: light_left(panel), panel.close, moving_s)
        self._release("flat panel", panel.disconnect)

    # --- camera -----------------------------------------------------------------------------------------------------

    def _secure_camera(self, observatory: Observatory) -> None:
        camera = observatory.camera

        def quiet() -> tuple[str, ...]:
            try:
                camera.connect()
                return ("exposure aborted" if end_exposure(camera) else "no exposure was running",)
            except DriverError:
                observatory.abort_exposure()  # over a connection of its own, which asks for nothing else
                raise

        self._leave("camera", quiet, lambda: exposure_left(camera), camera.close)
        cooling = self._loaded.config.cooling
        if cooling is not None and cooling.mode != "off" and cooling.enable_cooling:
            warming_s = WARM_UP_LIMIT_S if cooling.warmup_at_end else 0.0
            ended = partial(self._end_cooler, observatory, cooling)
            self._leave("cooler", ended, lambda: cooler_left(camera, as_found=False), camera.close, warming_s)
        self._release("camera", camera.disconnect)

    def _end_cooler(self, observatory: Observatory, cooling: Cooling) -> tuple[str, ...]:
        """Bring the cooler to where a run that never ended has found it; one that nobody of ours left on stays."""
        camera, clock = observatory.camera, observatory.clock
        camera.connect()
        if not camera.info.can_set_temperature:
            return ()
        found = camera.state()
        name = camera.info.unique_id or camera.info.name
        with Catalogue(self._layout.catalogue, read_only=True) as catalogue:
            before = CoolerMemory(catalogue, name, clock, self._held_at).before(found)
        if before is None:
            return ("the cooler is left as it is: no run of ours has left it on",)
        events = Events(run_id="secure", clock=clock)
        try:
            recovery = Recovery(camera=camera, clock=clock, events=events, interlock=observatory.interlock)
            recovery.end(observatory.interlock.hurry)
            cooler = Cooler(
                camera=camera,
                clock=clock,
                events=events,
                interlock=observatory.interlock,
                recovery=recovery,
                settings=cooling,
            )
            thermostat = Thermostat(cooler, active=True)
            thermostat.note_found(before)
            thermostat.end()
        finally:
            events.close()
        if self._owns_root:
            with Catalogue(self._layout.catalogue) as catalogue:
                CoolerMemory(catalogue, name, clock).left()
        if cooler.stays_on:
            return ("the sensor is warm, its cooler cannot be switched off",)
        return ("the cooler is as the run found it" if thermostat.found_on else "cooler off",)

    # --- steps ------------------------------------------------------------------------------------------------------

    def _leave(
        self,
        name: str,
        act: Callable[[], tuple[str, ...]],
        look: Callable[[], str],
        close: Callable[[], None],
        more_s: float = 0.0,
    ) -> None:
        """Do a step within its time; if it fails, note the state of the device unless that is safe anyway."""
        try:
            for word in within(self._limit_s + more_s, act):
                self._done.append(word)
                self._say(word)
        except Exception as error:  # noqa: BLE001 - returned in words, whatever it is
            _log(name, error)
            close()  # what hangs in a call of this device ends it
            try:
                stands = within(self._limit_s, look)
            except Exception:  # noqa: BLE001 - then nobody knows
                stands = UNKNOWN
            if stands:
                self._left.append(f"{name}: {stands} ({_words(error)})")

    def _step(self, name: str, act: Callable[[], T]) -> T | None:
        try:
            return within(self._limit_s, act)
        except Exception as error:  # noqa: BLE001 - returned in words, whatever it is
            _log(name, error)
            self._left.append(f"{name}: {UNKNOWN} ({_words(error)})")
            return None

    def _release(self, name: str, disconnect: Callable[[], None]) -> None:
        if self._loaded.config.camera.release == "disconnect":
            quietly(name, lambda: within(self._limit_s, disconnect))


def _used_by_others(observatory: Observatory, behind: LeftBehind | None, limit_s: float) -> str:
    """Return in words how another program uses the camera since our run died; "" where none does, or none says."""
    onlooker = observatory.onlooker()
    if behind is None or onlooker is None:
        return ""
    stays = observatory.config.camera.release == "leave"
    with suppress(DriverError, TimeoutError), closing(onlooker):
        now = observatory.clock.now()
        return within(limit_s, lambda: used_since(onlooker, behind, now=now, stays_connected=stays))
    return ""


def within(limit_s: float, act: Callable[[], T]) -> T:
    """Return what `act` returns, or raise what it raises; raises `TimeoutError` after so many real seconds.

    What hangs goes on in a thread that ends with the program.
    """
    done: Future[T] = Future()

    def work() -> None:
        try:
            done.set_result(act())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            done.set_exception(error)

    threading.Thread(target=work, name="nightcal-secure-step", daemon=True).start()
    return done.result(limit_s)


def _log(step: str, error: Exception) -> None:
    """Log what failed; the trace of what nobody foresaw, too."""
    foreseen = isinstance(error, (DriverError, ServiceError, TimeoutError))
    log.warning("secure.step_failed", step=step, detail=_words(error), exc_info=None if foreseen else error)


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.detail if isinstance(error, ServiceError) else str(error) or type(error).__name__
