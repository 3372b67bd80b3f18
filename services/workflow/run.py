"""One run from beginning to end: lock, catalogue, capture, masters, report, exit code.

The command line calls it in the main thread, a daemon in its worker; everything else listens to its events.
"""

import secrets
import threading
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog

from calibration.grouping import night_label
from drivers.clock import Clock, SystemClock
from drivers.errors import DriverError
from services.capture.failures import UntilReached
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import Origin, RunRow
from services.config import LoadedConfig
from services.errors import Exit, RunCode, ServiceError, meaning, storage_error
from services.events.bus import Events
from services.events.records import RunFinished, RunStarted, Waiting, WarningRaised
from services.files.disk import REAL_DISK, Disk
from services.files.layout import Layout
from services.files.locks import RootLock
from services.files.mounted import MountedDisk
from services.indexing.index import adopt, open_catalogue
from services.indexing.integrity import is_whole
from services.observatory import Observatory, open_observatory
from services.planning.dry_run import dry_run
from services.planning.request import RunOptions, RunResult, Step
from services.root import layout_of
from services.stopping import Stop
from services.version import version
from services.words import count
from services.workflow.builder import MasterBuilder, building_beside
from services.workflow.context import Tally
from services.workflow.hooks import call_hook
from services.workflow.masters import build_masters
from services.workflow.night import Place, capture
from services.workflow.warm_up import warm_up_beside

log = structlog.get_logger(__name__)

T = TypeVar("T")

COMPILING_S, LOADING_S = 60.0, 2.0
"""What compiling takes on a usual computer, and loading what was compiled before."""
_ORDERED = {RunCode.INTERRUPTED, RunCode.CANCELLED, RunCode.PAUSED, RunCode.YIELDED}
_NO_MASTERS_AFTER = {*_ORDERED, RunCode.DISK_FULL, RunCode.WRITE_FAILED}
"""Causes after which even the masters of what there is are not built; a lost camera or bad weather is none of them."""


def run(loaded: LoadedConfig, options: RunOptions, wake: Stop | None = None, *, disk: Disk = REAL_DISK) -> RunResult:
    """Take what is missing and build what can be built.

    Parameters
    ----------
    loaded : LoadedConfig
    options : RunOptions
    wake : Stop, optional
        Ends the run (Ctrl-C, SIGTERM, an order), with the devices in a known state.
    disk : Disk
        Where to write (tests give others).

    Returns
    -------
    RunResult
        Also for every failure that an observer can meet; `exit_code` as in `services.errors`.

    Raises
    ------
    ServiceError
        The run could not even begin: the folder is in use or cannot be written.
    """
    wake = wake or Stop()
    layout = layout_of(loaded)
    if options.dry_run:
        return dry_run(loaded, layout, options, is_whole=is_whole)
    _make_root(layout)
    with ExitStack() as stack:
        stack.enter_context(RootLock(layout.root, SystemClock()))
        disk = MountedDisk(disk, layout.root, layout.darks, layout.flats, layout.masters)
        catalogue = stack.enter_context(open_catalogue(layout))
        adopted = adopt(catalogue, layout, disk)
        ending = Ending()
        observatory = ending.guard(lambda: stack.enter_context(_observatory(loaded, options, catalogue, wake)))
        clock: Clock = SystemClock() if observatory is None else observatory.clock
        run_id = f"{clock.now():%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
        events = Events(run_id=run_id, clock=clock, journal=layout.events(run_id), open_journal=disk.append)
        stack.callback(events.close)
        for listener in options.listeners:
            events.subscribe(listener)
        place = Place(layout=layout, catalogue=catalogue, events=events, disk=disk)
        for problem in adopted.problems:
            events.emit(WarningRaised(code=problem.code, detail=f"{problem.path}: {problem.reason}"))
        told = [problem.path for problem in adopted.problems]
        return _Run(loaded, options, place, clock, wake, ending, told).go(observatory)


@dataclass(slots=True)
class Ending:
    """The first cause that stops a run. What comes later is logged and never hides it."""

    code: str | None = None
    detail: str = ""
    until: str | None = None
    left: tuple[str, ...] = ()

    def guard(self, act: Callable[[], T]) -> T | None:
        """Do something; keep what stops it as the cause, if it is the first."""
        try:
            return act()
        except UntilReached as reached:
            self.until = reached.detail
        except DriverError as error:
            self._note(error.code, str(error))
        except ServiceError as error:
            self._note(error.code, error.detail)
        except Exception as error:  # a defect of ours must not cost the night its report
            log.exception("run.defect")
            self._note(RunCode.INTERNAL_ERROR, f"{type(error).__name__}: {error}")
        return None

    @property
    def exit(self) -> int | None:
        """The exit code of the cause; None when the run reached its end."""
        if self.code is None:
            return None
        known = meaning(self.code).exit
        return Exit.DEVICE if known is None else known

    def leave(self, left: tuple[str, ...]) -> None:
        """Note what could not be left in a known state: the cause where nothing went wrong before, told in any case."""
        self.left = left
        if left:
            self._note(RunCode.LEFT_UNSAFE, "")

    def _note(self, code: str, detail: str) -> None:
        if self.code is None:
            self.code, self.detail = str(code), detail
        else:
            log.warning("run.also", code=str(code), detail=detail)


class _Run:
    """One run that has its lock, its catalogue and its events."""

    def __init__(  # noqa: PLR0917 - a private constructor, called once
        self,
        loaded: LoadedConfig,
        options: RunOptions,
        place: Place,
        clock: Clock,
        wake: Stop,
        ending: Ending,
        told: Collection[str] = (),
    ) -> None:
        self._loaded = loaded
        self._options = options
        self._place = place
        self._clock = clock
        self._wake = wake
        self._ending = ending
        self._told = told
        self._tally = Tally()
        self._built: tuple[str, ...] = ()

    def go(self, observatory: Observatory | None) -> RunResult:
        """Do the steps, whatever happens; return how it ended."""
        events, started, software = self._place.events, self._clock.now(), f"nightcal {version()}"
        steps = tuple(str(step) for step in self._options.steps)
        row = RunRow(run_id=events.run_id, started_at=started, steps=steps, software=software)
        self._ending.guard(lambda: self._place.catalogue.start_run(row))
        events.emit(
            RunStarted(
                steps=steps,
                config=str(self._loaded.path),
                root=str(self._place.layout.root),
                simulated=observatory is not None and observatory.is_simulated,
                software=software,
                night=self._night(),
                settings=self._loaded.config.model_dump(mode="json", exclude={"hooks"}),  # a URL may hold a secret
            )
        )
        if self._ending.code is None:
            self._ending.guard(lambda: call_hook(self._loaded.config.hooks, "before_run", events))
        if observatory is not None and self._ending.code is None:
            self._capture(observatory)
        if Step.MASTERS in self._options.steps and self._may_build():
            self._ending.guard(self._masters)
        self._ending.guard(lambda: call_hook(self._loaded.config.hooks, "after_run", events))
        return self._finish()

    def _may_build(self) -> bool:
        """Whether masters are worth a try: not after causes that concern the files, nor when capture never began."""
        code = self._ending.code
        return code is None or (code not in _NO_MASTERS_AFTER and bool(self._tally.met))

    def _night(self) -> str:
        site = self._loaded.config.site
        return night_label(self._clock.now(), None if site is None else site.longitude)

    def _capture(self, observatory: Observatory) -> None:
        """Take frames, and build masters beside."""
        compiling = warm_up_beside(self._wake.edge)
        builder = MasterBuilder(self._loaded.config, self._place, self._clock, self._wake.edge)
        self._place.events.subscribe(builder.hear)
        with building_beside(builder, wanted=Step.MASTERS in self._options.steps):
            self._ending.guard(lambda: capture(observatory, self._place, self._options, self._tally))
            if Step.MASTERS in self._options.steps and self._may_build():
                self._ending.guard(lambda: self._tell_compiling(compiling))
        self._ending.leave(self._tally.left_unsafe)
        self._built = tuple(builder.built)
        self._tally.masters_built += len(self._built)

    def _tell_compiling(self, compiling: threading.Thread) -> None:
        """Say why nothing seems to happen: a first night of few frames ends before the loops are compiled."""
        compiling.join(LOADING_S)
        if compiling.is_alive():
            why = "the masters wait for the fast loops, which are compiled once on this machine"
            self._place.events.emit(Waiting(wait_s=COMPILING_S, at_most=False, detail=why))

    def _masters(self) -> None:
        config = self._loaded.config
        alone = self._options.steps == (Step.MASTERS,)
        build_masters(
            config,
            self._place,
            self._clock,
            self._tally,
            wake=self._wake.edge,
            built=self._built,
            concerned=None if alone else self._tally.met,
            told=self._told,
        )

    def _finish(self) -> RunResult:
        """Tell how the run ended and write its report; what fails here is the cause only if nothing was before it."""
        told = self._tell_end()
        written = self._ending.guard(self._report)
        if self._ending.code != told:
            self._tell_end()
        json_path, html_path = written or (None, None)
        return RunResult(
            run_id=self._place.events.run_id,
            exit_code=self._exit_code(),
            code=self._ending.code,
            detail=self._detail(),
            report_json=json_path,
            report_html=html_path,
        )

    def _tell_end(self) -> str | None:
        """Write how the run ended into journal and catalogue; return the code that was told."""
        events, catalogue, now = self._place.events, self._place.catalogue, self._clock.now()
        code, detail, exit_code = self._ending.code, self._detail(), self._exit_code()
        self._ending.guard(lambda: events.emit(RunFinished(exit_code=exit_code, code=code, detail=detail)))
        self._ending.guard(
            lambda: catalogue.finish_run(events.run_id, finished_at=now, exit_code=exit_code, code=code, detail=detail)
        )
        return code

    def _detail(self) -> str:
        return "; ".join((self._ending.detail or self._summary(), *self._ending.left))

    def _report(self) -> tuple[Path, Path]:
        from services.reports.page import write_report

        return write_report(self._place.layout, self._place.catalogue, self._place.events.run_id, disk=self._place.disk)

    def _exit_code(self) -> int:
        if self._ending.exit is not None:
            return self._ending.exit
        unfinished = self._tally.failed > 0 or self._ending.until is not None
        return Exit.SOME_FAILED if unfinished else Exit.DONE

    def _summary(self) -> str:
        tally, parts = self._tally, []
        if self._ending.until is not None:
            parts.append(f"stopped in time: {self._ending.until}")
        if tally.not_reached:
            sets = count(len(tally.progress), "set")
            parts += [f"{count(tally.taken, 'frame')} taken", f"{tally.not_reached} of {sets} not reached"]
        elif tally.taken == 0 and tally.outcomes == []:
            parts.append(f"nothing to take: {_all_sets(tally.already)}" if tally.already else "")
        else:
            parts.append(f"{count(tally.taken, 'frame')} taken")
        if tally.masters_built:
            parts.append(f"{count(tally.masters_built, 'master')} built")
        if tally.failed:
            parts.append(f"{count(tally.failed, 'group')} incomplete or failed (see the report)")
        return "; ".join(part for part in parts if part) or "nothing to do"


def _observatory(
    loaded: LoadedConfig, options: RunOptions, catalogue: Catalogue, wake: Stop
) -> AbstractContextManager[Observatory | None]:
    """Open what the capture steps need; masters alone need no device."""
    if not {Step.DARKS, Step.FLATS} & set(options.steps):
        return nullcontext()
    ended = (row.finished_at for row in catalogue.runs())  # a simulated night goes on after its last frame, too
    newest = max(filter(None, (catalogue.newest_date_obs(origin=Origin.OWN, simulated=True), *ended)), default=None)
    return open_observatory(
        loaded,
        newest_obs=newest,
        camera=options.camera,
        wake=wake,
    )


def _all_sets(number: int) -> str:
    return "the only set is there" if number == 1 else f"all {number} sets are there"


def _make_root(layout: Layout) -> None:
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(layout.root, error) from None
