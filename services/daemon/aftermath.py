"""What a daemon finds at its start of a run that died with the daemon before it: killed both, or without power."""

from datetime import datetime, timedelta

from services.catalogue.catalogue import Catalogue
from services.errors import StorageError
from services.files.layout import Layout
from services.files.locks import RootLock

RECENT = timedelta(days=1)
"""A run that began longer ago has left nothing that nobody has seen since: its devices are no longer touched for it."""


def run_left_behind(layout: Layout, now: datetime) -> str | None:
    """Return the run that is open in the catalogue although nobody is at work, if it may have left devices so.

    Parameters
    ----------
    layout : Layout
    now : datetime
        By the clock of the runs.
    """
    try:
        with Catalogue(layout.catalogue, read_only=True) as catalogue:
            open_runs = catalogue.runs(finished_at=None)
    except StorageError:
        return None  # whoever opens it for writing says what is wrong with it
    recent = [run for run in open_runs if abs(now - run.started_at) < RECENT]
    if not recent or RootLock(layout.root).is_held:
        return None
    return max(recent, key=lambda run: run.started_at).run_id
