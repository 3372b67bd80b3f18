"""One run from beginning to end: lock, catalogue, devices, steps, report. `services.workflow.job` is the way to it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from calibration.grouping import night_label
from drivers.clock import SystemClock
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import RunRow
from services.config import LoadedConfig
from services.errors import storage_error
from services.events.bus import Events
from services.events.records import RunFinished, RunStarted
from services.files.layout import Layout
from services.files.locks import RootLock
from services.files.mounted import MountedDisk
from services.indexing.index import adopt, open_catalogue
from services.masters import MasterSettings
from services.planning.request import RunResult, Step
from services.root import Place, layout_of
from services.version import version
from services.workflow.ending import Ending
from services.workflow.hooks import Facts, call_hook
from services.workflow.steps import file_steps
from services.workflow.unused import warn_of_unused
from services.workflow.work import Asked, Work

if TYPE_CHECKING:
    from services.observatory import Observatory


@contextmanager
def opened_run(loaded: LoadedConfig, asked: Asked) -> Iterator["Run"]:
    """Take the root's lock, open the catalogue, the devices and the journal; let go of all of them in the end.

    Raises
    ------
    ServiceError
        The run cannot even begin: the folder is in use or cannot be written.
    """
    layout = layout_of(loaded)
    _make_root(layout)
    with ExitStack() as stack:
        stack.enter_context(RootLock(layout.root, SystemClock(), asked.run_id))
        disk = MountedDisk(asked.disk, layout.root, layout.darks, layout.flats, layout.masters)
        catalogue = stack.enter_context(open_catalogue(layout))
        adopted = adopt(catalogue, layout, disk)
        ending = Ending(asked.stop)
        observatory = ending.guard(lambda: stack.enter_context(_observatory(loaded, asked, catalogue)))
        clock = SystemClock() if observatory is None else observatory.clock
        events = Events(run_id=asked.run_id, clock=clock, journal=layout.events(asked.run_id), open_journal=disk.append)
        stack.callback(events.close)
        for listener in asked.listeners:
            events.subscribe(listener)
        place = Place(layout=layout, catalogue=catalogue, disk=disk)
        stack.enter_context(asked.beside(place))
        work = Work.of(asked, config=loaded.config, place=place, events=events, clock=clock)
        stack.callback(work.loops.close)
        warn_of_unused(work, adopted.problems, is_ours=lambda path: path not in adopted.strangers)
        yield Run(loaded=loaded, work=work, ending=ending, observatory=observatory)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that has its lock, its catalogue, its journal and, where frames are to be taken, its observatory."""

    loaded: LoadedConfig
    work: Work
    ending: Ending
    observatory: "Observatory | None"

    def go(self) -> RunResult:
        """Do the steps, whatever happens; return how it ended."""
        work, ending = self.work, self.ending
        hooks = self.loaded.config.hooks
        self._start()
        if ending.code is None:
            ending.guard(lambda: call_hook(hooks, "before_run", work.events))
        if self.observatory is not None and ending.code is None:
            self._capture(self.observatory)
        for step in file_steps(work.options.steps):
            if self._may_build():
                ending.guard(partial(step.run, work))
        result = self._finish()
        if not ending.guard(lambda: call_hook(hooks, "after_run", work.events, _facts(result))):
            result = self._finish()  # the report names what went wrong with the hook as well
        return result

    def _start(self) -> None:
        work, site = self.work, self.loaded.config.site
        started, software = work.clock.now(), f"nightcal {version()}"
        steps = tuple(str(step) for step in work.options.steps)
        campaign = None if work.campaign is None else work.campaign.first
        row = RunRow(run_id=work.events.run_id, started_at=started, steps=steps, software=software, campaign=campaign)
        self.ending.guard(lambda: work.place.catalogue.start_run(row))
        work.events.emit(
            RunStarted(
                steps=steps,
                config=str(self.loaded.path),
                root=str(work.place.root),
                simulated=self.observatory is not None and self.observatory.is_simulated,
                software=software,
                night=night_label(started, None if site is None else site.longitude),
                campaign=campaign,
                settings=self.loaded.config.model_dump(mode="json", exclude={"hooks"}),  # a URL may hold a secret
            )
        )

    def _may_build(self) -> bool:
        """Whether masters are worth a try: not after causes that concern the files, nor when capture never began."""
        return self.ending.code is None or (self.ending.spares_masters and bool(self.work.tally.met))

    def _capture(self, observatory: "Observatory") -> None:
        """Take frames, and build masters beside."""
        from services.workflow.builder import MasterBuilder, building_beside
        from services.workflow.night import capture  # with all that takes frames, which no other run needs

        work = self.work
        work.loops.start()
        builder = MasterBuilder(
            MasterSettings.of(work.config),
            place=work.place,
            events=work.events,
            clock=work.clock,
            wake=work.stop.edge,
            loops=work.loops,
        )
        work.events.subscribe(builder.hear)
        with building_beside(builder, wanted=Step.MASTERS in work.options.steps):
            self.ending.guard(lambda: capture(observatory, work))
        self.ending.leave(work.tally.left_unsafe)
        work.tally.masters_built = len(work.built())
        work.tally.taken = len(work.place.catalogue.frames(run_id=work.events.run_id))

    def _finish(self) -> RunResult:
        """Emit how the run ended and write its report; a failure here is the cause only if there was none before."""
        work, ending = self.work, self.ending
        emitted = self._announce_end()
        json_path, html_path = ending.guard(self._report) or (None, None)
        if ending.code != emitted:
            self._announce_end()
        return RunResult(
            run_id=work.events.run_id,
            exit_code=ending.exit_code(work.tally),
            code=ending.code,
            detail=ending.words(work.tally),
            left=ending.left,
            report_json=json_path,
            report_html=html_path,
        )

    def _announce_end(self) -> str | None:
        """Write how the run ended into journal and catalogue; return the code that was written."""
        work, ending = self.work, self.ending
        code, detail, exit_code, now = (
            ending.code,
            ending.words(work.tally),
            ending.exit_code(work.tally),
            work.clock.now(),
        )
        early = ending.until is not None
        finished = RunFinished(exit_code=exit_code, code=code, detail=detail, early=early)
        ending.guard(lambda: work.events.emit(finished))
        ending.guard(
            lambda: work.place.catalogue.finish_run(
                work.events.run_id, finished_at=now, exit_code=exit_code, code=code, detail=detail, early=early
            )
        )
        return code

    def _report(self) -> tuple[Path, Path]:
        from services.reports.page import write_report

        place = self.work.place
        return write_report(place.layout, place.catalogue, self.work.events.run_id, disk=place.disk)


def _facts(result: RunResult) -> Facts:
    """Return what the hook `after_run` is given: how the run ended, and where its report is."""
    return {
        "exit_code": result.exit_code,
        "code": result.code,
        "summary": result.detail,
        "report": None if result.report_html is None else str(result.report_html),
        "report_json": None if result.report_json is None else str(result.report_json),
    }


def _observatory(
    loaded: LoadedConfig, asked: Asked, catalogue: Catalogue
) -> AbstractContextManager["Observatory | None"]:
    """Open what the capture steps need; other steps need no device."""
    if not any(step.takes_frames for step in asked.options.steps):
        return nullcontext()
    from services.observatory import newest_of, open_observatory

    return open_observatory(loaded, newest_obs=newest_of(catalogue), camera=asked.camera, wake=asked.stop)


def _make_root(layout: Layout) -> None:
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(layout.root, error) from None
