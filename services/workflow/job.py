"""A run as an object: it has its id before it starts; any thread can look at it, end it and wait for it."""

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace

import structlog

from drivers.base import Camera
from drivers.clock import SystemClock
from drivers.errors import DriverError
from services import log
from services.config.models import LoadedConfig
from services.errors import RunCode, ServiceError, storage_error
from services.events.bus import Listener
from services.events.records import Event
from services.events.to_log import ToLog
from services.files.disk import REAL_DISK, Disk
from services.planning.request import RunOptions, RunResult
from services.platform import prepare_numba_cache
from services.root import Place, check_folders, check_root, layout_of
from services.stopping import Stop
from services.workflow.snapshot import RunState, Snapshot, advance
from services.workflow.work import Asked


class Job:
    """One run.

    Parameters
    ----------
    loaded : LoadedConfig
    options : RunOptions
        What is asked for.
    disk : Disk
        Where to write.
    camera : drivers.base.Camera, optional
        Take this camera instead of the configured one.
    listeners : tuple of callables
        Hear every event of the run (displays), on one thread beside it.
    ask : callable, optional
        Shows a prompt and returns whether to go on; without one nothing is ever asked.
    stop : Stop, optional
        Ends the run; the job makes its own by default.
    beside : callable
        Makes what is entered when the root is open and left while its lock is still held: others write there as well.
    log_level : str
    log_console : bool
        The least level that is written to the log file, and whether plain lines go to standard error too. A program
        that has configured structlog itself finds the run's lines there, and no file is opened.

    Attributes
    ----------
    run_id : str
        UTC of its making, by the system's clock, and four random characters.
    stop : Stop
    """

    def __init__(
        self,
        loaded: LoadedConfig,
        options: RunOptions,
        *,
        disk: Disk = REAL_DISK,
        camera: Camera | None = None,
        listeners: tuple[Listener, ...] = (),
        ask: Callable[[str], bool] | None = None,
        stop: Stop | None = None,
        beside: Callable[[Place], AbstractContextManager[object]] = nullcontext,
        log_level: str = "INFO",
        log_console: bool = False,
    ) -> None:
        self.run_id = f"{SystemClock().now():%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
        self.stop = stop or Stop()
        self._loaded = loaded
        self._asked = Asked(
            run_id=self.run_id,
            options=options,
            stop=self.stop,
            disk=disk,
            camera=camera,
            listeners=(self._hear, ToLog(), *listeners),
            ask=ask,
            beside=beside,
        )
        self._log_level = log_level
        self._log_console = log_console
        self._snapshot = Snapshot(run_id=self.run_id)
        self._over = threading.Event()
        self._is_begun = False
        self._hearing = threading.Lock()
        self._result: RunResult | None = None
        self._error: BaseException | None = None

    def run(self) -> RunResult:
        """Take what is missing and build what can be built, in the thread that calls; once.

        Returns
        -------
        RunResult
            Also for every failure that an observer can meet; `exit_code` as in `services.errors`.

        Raises
        ------
        ServiceError
            The run could not even begin: the folder is in use, cannot be written, or is the program's own.
        RuntimeError
            It was run before.
        """
        if self._is_begun:
            raise RuntimeError(f"run {self.run_id} was run before: make another Job")
        self._is_begun = True
        try:
            if any(step.takes_frames for step in self._asked.options.steps):
                check_root(self._loaded)
            check_folders(self._loaded)
            with self._logged():
                self._result = self._run()
                return self._result
        except BaseException as error:
            self._error = error
            code = error.code if isinstance(error, ServiceError | DriverError) else RunCode.INTERNAL_ERROR
            self._snapshot = replace(self._snapshot, code=str(code))
            raise
        finally:
            with self._hearing:
                self._snapshot = replace(self._snapshot, state=RunState.FINISHED)
                self._over.set()

    def snapshot(self) -> Snapshot:
        """Return what the run is doing."""
        now = self._snapshot
        ending = now.state is RunState.RUNNING and self.stop.order is not None
        return replace(now, state=RunState.ENDING) if ending else now

    def end_after_frame(self, code: str, *, hold_cooler: bool = False, at_most_s: float | None = None) -> None:
        """End when the frame that is being taken is stored; other waits end at once.

        Parameters
        ----------
        code : str
            The reason that the run reports: a `RunCode`.
        hold_cooler : bool
            The cooler goes on holding its temperature, for the run that continues this one.
        at_most_s : float, optional
            A frame of which more seconds are left is given up.

        Raises
        ------
        ValueError
            There is no such code.
        """
        self.stop.after_frame(RunCode(code), hold_cooler=hold_cooler, at_most_s=at_most_s)

    def end_now(self, code: str) -> None:
        """End now: a frame that is being taken is given up. `code` as for `end_after_frame`."""
        self.stop.now(RunCode(code))

    def hurry(self) -> None:
        """Cut short what an ending run still waits for, such as warming up."""
        self.stop.hurry.set()

    def wait(self, timeout_s: float | None = None) -> RunResult | None:
        """Wait for the end of the run.

        Returns
        -------
        RunResult or None
            None when it has not ended within `timeout_s`.

        Raises
        ------
        BaseException
            What `run` raised.
        """
        self._over.wait(timeout_s)
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self) -> RunResult:
        prepare_numba_cache()  # before anything that compiles is imported
        from services.workflow.run import opened_run

        with opened_run(self._loaded, self._asked) as run:
            return run.go()

    def _hear(self, event: Event) -> None:
        with self._hearing:
            if not self._over.is_set():  # an event that comes late changes nothing
                self._snapshot = advance(self._snapshot, event)

    @contextmanager
    def _logged(self) -> Iterator[None]:
        """Open the log file, unless the program that calls us has a log of its own."""
        if structlog.is_configured():
            yield
            return
        path = layout_of(self._loaded).log_path(SystemClock().now())
        try:
            log.configure(self._log_level, path, console=self._log_console)
        except OSError as error:
            raise storage_error(path, error) from None
        try:
            yield
        finally:
            log.close()
            structlog.reset_defaults()
