"""Watches the safety monitor on a thread and connections of its own, so that no hung camera can blind it.

Unsafe, or no reading for too long: the interlock is tripped, lamp off and cover closed over this thread's own
connection, and the camera's sockets closed, which ends whatever call the worker hangs in. The exposure is aborted over
a third connection, which a camera that hangs keeps waiting without keeping the cover. Another thread
reports what happened, because the disk of journal and log may hang as well.
"""

import threading
from collections.abc import Callable

import structlog

from drivers.base import CoverCalibrator, SafetyMonitor
from drivers.clock import Clock, Deadline
from drivers.errors import AccessDenied, DriverError
from services.capture.emergency import Emergency, Narrator
from services.config.devices import SafetyMonitor as SafetySettings
from services.errors import RunCode
from services.events.bus import Events
from services.events.devices import SafetySafe, SafetyStale, SafetyUnsafe
from services.events.records import Record
from services.observatory import Interlock

log = structlog.get_logger(__name__)

LEAST_REAL_POLL_S = 0.2
"""On a fast clock the server is not asked more often than this."""

GRACE_S = 120.0
"""With `on_unsafe: finish_frame`, how long the frame may take to finish before everything is stopped all the same."""

ANSWER_S = 2.0
"""Real seconds that the end of a run gives to a call to the monitor."""
STOP_S = 10.0
"""Real seconds at most that the end of a run waits for a monitor that does not answer, and for the last reports."""


class SafetyWatch:
    """The safety thread.

    Parameters
    ----------
    monitor : SafetyMonitor
        Its own, used by no other thread.
    panel : CoverCalibrator or None
        Its own connection to panel and cover.
    stop_camera : callable
        Closes the worker's camera sockets.
    abort_exposure : callable
        Tells the camera to abort, over a connection of its own.
    clock, events, interlock
    settings : SafetyMonitor of the configuration
        `poll`, `stale_after`, `on_unsafe`.
    """

    def __init__(
        self,
        *,
        monitor: SafetyMonitor,
        panel: CoverCalibrator | None,
        stop_camera: Callable[[], None],
        abort_exposure: Callable[[], None],
        clock: Clock,
        events: Events,
        interlock: Interlock,
        settings: SafetySettings,
    ) -> None:
        self._monitor = monitor
        self._clock = clock
        self._events = events
        self._interlock = interlock
        self._settings = settings
        self._stop = threading.Event()
        self._first = threading.Event()
        self._connected = False
        self._fresh = self._deadline()
        self._said_safe = False
        self._secured = False
        self._grace: Deadline | None = None
        self._narrator = Narrator("nightcal-safety-says")
        self._emergency = Emergency(
            panel=panel, stop_camera=stop_camera, abort_exposure=abort_exposure, events=events, narrator=self._narrator
        )
        self._thread = threading.Thread(target=self._watch, name="nightcal-safety", daemon=True)

    def start(self) -> None:
        """Start watching and wait for the first reading; raises `RunStopped` when it is not safe, or stopped.

        The camera is left alone until `own_camera`: an exposure that is found running may be another program's.
        """
        self._emergency.spare_camera()
        self._fresh = self._deadline()
        self._thread.start()
        while not self._first.wait(LEAST_REAL_POLL_S):
            self._interlock.check_edge()
        if self._interlock.unsafe:
            self._interlock.check_edge()

    def own_camera(self) -> None:
        """From now on what the camera exposes is ours: it is aborted when it gets unsafe."""
        self._emergency.own_camera()

    def spare_camera(self) -> None:
        """From now on nothing is exposed any more: the camera's sockets are left open, whatever is read.

        What ends a session needs them, warming up for a quarter of an hour; lamp and cover are made dark as before.
        """
        self._emergency.spare_camera()

    def stop(self) -> None:
        """End the thread and its connections. Lamp and cover are waited for; a monitor without an answer is not."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(ANSWER_S)
            if self._thread.is_alive() and self._grace is None:
                self._monitor.close()  # ends a call that hangs
            self._thread.join(STOP_S)
            if self._grace is not None:
                self._thread.join()
        self._narrator.close(STOP_S)

    def look(self) -> None:
        """Take one reading and act on it."""
        try:
            safe = self._read()
        except DriverError as error:
            self._narrator.say(log.debug, "safety.no_answer", detail=str(error))
            self._connected = False
            if self._fresh.over or isinstance(error, AccessDenied):  # that does not get better by itself
                since = "" if isinstance(error, AccessDenied) else f" for {self._settings.stale_after:.0f} s"
                self._trip(RunCode.SAFETY_STALE, f"no reading{since}: {error}")
        else:
            self._fresh = self._deadline()
            if safe:
                self._announce_safe()
            else:
                self._trip(RunCode.UNSAFE, "the safety monitor says unsafe")
        self._secure_if_due()

    # --- on the thread ----------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        try:
            self._emergency.get_ready()
            while not self._stop.is_set():
                real_s = self._clock.real()
                self.look()
                if self._said_safe or self._interlock.code is not None:
                    self._first.set()
                self._clock.sleep(self._settings.poll, self._stop)
                self._stop.wait(max(0.0, LEAST_REAL_POLL_S - (self._clock.real() - real_s)))
        except Exception as error:  # noqa: BLE001 - reported, and acted on
            # A watch that has died is a watch that says unsafe.
            self._narrator.say(log.error, "safety.failed", exc_info=error)
            self._trip(RunCode.SAFETY_STALE, f"the safety watch failed: {error}")
            self._narrator.attempt("secure", self._secure)
        finally:
            self._first.set()
            self._narrator.attempt("safety monitor", self._monitor.disconnect)
            self._emergency.close()

    def _read(self) -> bool:
        if not self._connected:
            self._monitor.connect()
            self._connected = True
        return self._monitor.is_safe()

    def _announce_safe(self) -> None:
        if not self._said_safe:
            self._said_safe = True
            self._emit(SafetySafe())

    def _trip(self, code: RunCode, detail: str) -> None:
        if self._grace is not None or self._secured:
            return
        finish = self._settings.on_unsafe == "finish_frame"
        self._interlock.trip(code, detail, at_edge=finish)
        self._grace = Deadline(self._clock, GRACE_S if finish else 0.0)
        self._emit(SafetyUnsafe(detail=detail) if code is RunCode.UNSAFE else SafetyStale(detail=detail))
        self._narrator.say(log.warning, "safety.tripped", code=code.value, detail=detail)

    def _secure_if_due(self) -> None:
        if self._grace is not None and self._grace.over and not self._secured:
            self._secured = True
            self._secure()

    def _secure(self) -> None:
        self._interlock.stop_now()
        self._emergency.act()

    def _emit(self, what: Record) -> None:
        self._narrator.say(self._events.emit, what)

    def _deadline(self) -> Deadline:
        return Deadline(self._clock, self._settings.stale_after, real_s=Deadline.LEAST_REAL_S)
