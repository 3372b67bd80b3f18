"""What is done at once when it gets unsafe: camera stopped, lamp off, cover closed. Reporting it never delays it.

Journal and log are files. When the disk hangs, only the thread that writes the reports has to wait.
"""

import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from drivers.base import CoverCalibrator
from drivers.errors import DriverError
from services.capture.panel import make_dark_at_once
from services.errors import RunCode
from services.events.bus import Events
from services.events.devices import CoverChanged, PanelChanged
from services.events.records import ExposureAborted, Record, WarningRaised

log = structlog.get_logger(__name__)

ATTEMPTS_TO_CLOSE = 3


class Narrator:
    """A thread that emits events and writes to the log for another one, in the order of its calls."""

    def __init__(self, name: str) -> None:
        self._queue: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def say(self, call: Callable[..., object], *words: Any, **data: Any) -> None:
        """Queue a call of `call` with the other arguments, and return at once."""
        self._queue.put(partial(call, *words, **data))

    def attempt(self, what: str, act: Callable[[], object]) -> bool:
        """Do in this thread what may fail, and return whether it succeeded; the other thread logs a failure."""
        try:
            act()
        except Exception as error:  # noqa: BLE001 - logged, whatever it is
            self.say(log.error, "ending.step_failed", step=what, exc_info=error)
            return False
        return True

    def close(self, timeout_s: float) -> None:
        """Write what is queued, for at most `timeout_s` real seconds, and end."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while (call := self._queue.get()) is not None:
            try:
                call()
            except Exception:
                log.exception("narration.failed")


class Emergency:
    """Stops the camera and makes it dark, over connections of its own.

    Parameters
    ----------
    panel : CoverCalibrator or None
        Its own connection to panel and cover.
    stop_camera : callable
        Closes the worker's camera sockets.
    abort_exposure : callable
        Tells the camera to abort, over a connection of its own.
    events : Events
    narrator : Narrator
    """

    def __init__(
        self,
        *,
        panel: CoverCalibrator | None,
        stop_camera: Callable[[], None],
        abort_exposure: Callable[[], None],
        events: Events,
        narrator: Narrator,
    ) -> None:
        self._panel = panel
        self._stop_camera = stop_camera
        self._abort_exposure = abort_exposure
        self._events = events
        self._narrator = narrator
        self._panel_connected = False
        self._camera = threading.Lock()
        self._spared = False

    def get_ready(self) -> None:
        """Connect the panel, so that in an emergency only the commands are left to be sent."""
        if self._panel is not None:
            self._panel_connected = self._narrator.attempt("panel of the safety watch", self._panel.connect)

    def spare_camera(self) -> None:
        """Leave the camera alone from now on."""
        with self._camera:
            self._spared = True

    def own_camera(self) -> None:
        """Stop the camera as well from now on: what it exposes is ours."""
        with self._camera:
            self._spared = False

    def act(self) -> None:
        """Close the camera's sockets, abort its exposure in a thread of its own, make it dark, and wait for both."""
        abort = threading.Thread(target=self._abort, name="nightcal-abort", daemon=True)
        with self._camera:
            if not self._spared:
                self._stop_camera()
                abort.start()
        if self._panel is not None:
            self._make_dark(self._panel)
        if abort.ident is not None:
            abort.join()

    def close(self) -> None:
        """Close the connection to the panel."""
        if self._panel is not None:
            self._narrator.attempt("panel of the safety watch", self._panel.close)

    def _abort(self) -> None:
        """Abort the exposure and report whether that succeeded."""
        try:
            self._abort_exposure()
        except Exception as error:  # noqa: BLE001 - reported, whatever it is: nobody hears what a thread raises
            self._narrator.say(log.warning, "exposure.not_aborted", detail=str(error))
            self._emit(ExposureAborted(done=False, detail=str(error)))
        else:
            self._emit(ExposureAborted(done=True))

    def _make_dark(self, panel: CoverCalibrator) -> None:
        problem: DriverError | None = None
        for _ in range(ATTEMPTS_TO_CLOSE):
            try:
                if not self._panel_connected:
                    panel.connect()
                self._panel_connected = True
                make_dark_at_once(panel)
            except DriverError as error:
                problem = problem or error  # later ones may follow from the end of the run
                self._panel_connected = False
                self._narrator.say(log.warning, "safety.cover_not_closed", detail=str(error))
            else:
                self._announce_dark(panel)
                return
        self._emit(WarningRaised(code=RunCode.ENDING_FAILED.value, detail=f"flat panel: {problem}"))

    def _announce_dark(self, panel: CoverCalibrator) -> None:
        if panel.info.has_calibrator:
            self._emit(PanelChanged(brightness=0))
        if panel.info.has_cover:
            self._emit(CoverChanged(cover="closed"))

    def _emit(self, what: Record) -> None:
        self._narrator.say(self._events.emit, what)
