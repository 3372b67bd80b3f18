"""Runs that were killed: the next start holds the lock, so none of them goes on, and closes their rows."""

from datetime import datetime

import structlog

from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import RunRow
from services.errors import Exit, RunCode
from services.events.journal import read_journal
from services.files.layout import Layout

log = structlog.get_logger(__name__)


def close_killed_runs(catalogue: Catalogue, layout: Layout) -> None:
    """Write into the row of each run that never ended when it was last heard of, and with `worker_died` why it ended.

    The last sign of life is the last event in its journal, else the start of its last frame, else its own start.
    """
    for run in catalogue.runs(finished_at=None):
        at = _last_sign(run, catalogue, layout)
        detail = f"the program was killed or lost power before it could end the run; last heard of at {at:%H:%M:%S} UTC"
        log.warning("run.killed", run=run.run_id, detail=detail)
        catalogue.finish_run(
            run.run_id, finished_at=at, exit_code=Exit.SOME_FAILED, code=RunCode.WORKER_DIED, detail=detail
        )


def _last_sign(run: RunRow, catalogue: Catalogue, layout: Layout) -> datetime:
    try:
        told = [event.at for event in read_journal(layout.events(run.run_id))]
    except OSError:
        told = []
    newest = catalogue.newest_date_obs(run_id=run.run_id)
    return max([run.started_at, *told, *([] if newest is None else [newest])])
