"""What a daemon finds at its start of a run that died with the daemon before it: killed both, or without power."""

from contextlib import suppress
from datetime import datetime, timedelta

import structlog

from drivers.clock import Clock
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import RunRow
from services.errors import StorageError
from services.events.journal import read_journal
from services.files.layout import Layout
from services.files.locks import RootLock
from services.indexing.killed import close_killed_runs
from services.observatory.in_use import LeftBehind
from services.observatory.remembered import is_any_left_on
from services.planning.request import Step

log = structlog.get_logger(__name__)

RECENT = timedelta(days=1)
"""A run that began longer ago has left nothing that nobody has seen since: its devices are no longer touched for it."""
READOUT = timedelta(minutes=2)
"""So long after its exposure a camera is done with the frame."""
RESTART = timedelta(minutes=15)
"""A computer is back by then after a power cut: until then a camera that stands connected is the dead run's."""


def run_left_behind(layout: Layout, now: datetime) -> LeftBehind | None:
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
    recent = [run for run in open_runs if abs(now - run.started_at) < RECENT and _touches_devices(run)]
    if not recent or RootLock(layout.root).is_held:
        return None
    return _left(layout, max(recent, key=lambda run: run.started_at))


def close_rows(layout: Layout) -> None:
    """Close the rows of runs that were killed and have left no devices: nothing is to say that it runs.

    The row of one that has left them is closed by the process that makes them safe, when they are: until then it is
    what the next start of the daemon knows of them.
    """
    try:
        with Catalogue(layout.catalogue, read_only=True) as catalogue:
            if not catalogue.runs(finished_at=None):
                return
        with RootLock(layout.root), Catalogue(layout.catalogue) as catalogue:
            close_killed_runs(catalogue, layout)
    except StorageError as error:
        log.warning("serve.rows_not_closed", detail=error.detail)  # whoever is at work closes them, or the next run


def is_cooler_held(layout: Layout, clock: Clock) -> bool:
    """Return whether a run has left a cooler on for a next one, as the catalogue knows although nobody is at work.

    The daemon before may have been killed when it had not heard yet, or not written down, that its run was over.
    """
    try:
        with Catalogue(layout.catalogue, read_only=True) as catalogue:
            return is_any_left_on(catalogue, clock) and not RootLock(layout.root).is_held
    except StorageError:
        return False


def _touches_devices(run: RunRow) -> bool:
    """Whether a run was to take frames; one that only builds masters has touched no device."""
    frames = {str(step) for step in Step if step.takes_frames}
    return not frames.isdisjoint(run.steps)


def _left(layout: Layout, run: RunRow) -> LeftBehind:
    """Return what a run may have left: its last exposure began when it last said something, or soon after."""
    last, longest_us = run.started_at, 0
    with suppress(OSError):
        for event in read_journal(layout.events(run.run_id)):
            last = max(last, event.at)
            longest_us = max(longest_us, getattr(event.what, "exposure_us", None) or 0)
    ended = last + timedelta(microseconds=longest_us)
    return LeftBehind(run_id=run.run_id, exposing_until=ended + READOUT, connected_until=ended + RESTART)
