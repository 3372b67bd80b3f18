"""Runs whose rows are open: whoever holds the lock next knows that none of them goes on, and closes their rows."""

from contextlib import closing

import structlog

from services.catalogue.catalogue import Catalogue
from services.errors import Exit, RunCode
from services.events.journal import read_journal
from services.events.records import Event, RunFinished
from services.files.disk import REAL_DISK, Disk
from services.files.layout import Layout
from services.words import both_clocks

log = structlog.get_logger(__name__)


def close_killed_runs(catalogue: Catalogue, layout: Layout, disk: Disk = REAL_DISK) -> None:
    """Write into the row of each run that never ended when it was last heard of, and with `worker_died` why it ended.

    Its journal says the same, as its last event, so that a catalogue that is made anew does.

    The last sign of life is the last event in its journal, else the start of its last frame, else its own start. A run
    ended as its journal says, though, where a full disk only kept that from its row.
    """
    for run in catalogue.runs(finished_at=None):
        events = _events(run.run_id, layout)
        if events and isinstance(end := events[-1].what, RunFinished) and end.exit_code is not None:
            catalogue.finish_run(
                run.run_id,
                finished_at=events[-1].at,
                exit_code=end.exit_code,
                code=end.code,
                detail=end.detail,
                early=end.early,
            )
            continue
        newest = catalogue.newest_date_obs(run_id=run.run_id)
        at = max([run.started_at, *(event.at for event in events), *([] if newest is None else [newest])])
        detail = f"the program was killed or lost power before it could end the run; last heard of at {both_clocks(at)}"
        log.warning("run.killed", run=run.run_id, detail=detail)
        died = RunFinished(exit_code=Exit.SOME_FAILED, code=RunCode.WORKER_DIED, detail=detail)
        if events:
            _append(Event(run_id=run.run_id, seq=events[-1].seq + 1, at=at, what=died), layout, disk)
        catalogue.finish_run(
            run.run_id, finished_at=at, exit_code=Exit.SOME_FAILED, code=RunCode.WORKER_DIED, detail=detail
        )


def _append(event: Event, layout: Layout, disk: Disk) -> None:
    """Write the last event of a run into its journal; without room it stands in the row alone."""
    try:
        with closing(disk.append(layout.events(event.run_id))) as journal:
            journal.write(event.to_json() + "\n")
    except OSError as error:
        log.warning("run.killed.journal", run=event.run_id, detail=str(error))


def _events(run_id: str, layout: Layout) -> list[Event]:
    try:
        return list(read_journal(layout.events(run_id)))
    except OSError:
        return []
