"""Frames that somebody has looked at and found bad: marked in a journal and in the catalogue, never touched."""

from collections.abc import Sequence
from datetime import datetime

from services.catalogue.replay import take_marks
from services.catalogue.rows import FrameRow, MasterRow
from services.events.records import Event, FrameMarked
from services.files.disk import reported
from services.library.standing import settle
from services.root import Place

MARKS = "marks"
"""The journal of marks that no run has made; a lost catalogue gets them back from it."""


def mark_frames(
    place: Place, rows: Sequence[FrameRow], *, rejected: bool, reason: str = "", at: datetime
) -> list[MasterRow]:
    """Reject frames, or take that back; return the masters whose status changed by it.

    The journal is written first: a kill in between leaves a mark that a rebuilt catalogue has, and the same command
    once more gives it to this one.

    Parameters
    ----------
    place : Place
        Under the root's lock.
    rows : sequence of FrameRow
    rejected : bool
        False takes the mark back.
    reason : str
    at : datetime

    Raises
    ------
    StorageError
        Something cannot be written.
    """
    pixels, paths = tuple(row.pixel_sha256 for row in rows), tuple(row.path for row in rows)
    what = FrameMarked(rejected=rejected, pixels=pixels, paths=paths, reason=reason)
    event = Event(run_id=MARKS, seq=0, at=at, what=what)
    path = place.layout.events(MARKS)
    with reported(path):
        journal = place.disk.append(path)
        try:
            journal.write(f"{event.to_json()}\n")
        finally:
            journal.close()
    with place.catalogue.at_once():
        take_marks(place.catalogue, event)
    return settle(place)
