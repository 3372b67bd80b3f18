"""Bringing the catalogue and the files together: at the start of a run, after a crash, from nothing, from elsewhere.

Headers are the truth. What cannot be read is reported, never raised: one broken file must not keep the rest out.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from services import platform
from services.catalogue.catalogue import Catalogue, CatalogueDamaged
from services.catalogue.database import uncollected
from services.catalogue.replay import replay
from services.catalogue.rows import FrameRow, Origin
from services.errors import StorageError
from services.files.disk import REAL_DISK, Disk, reported
from services.files.layout import Layout, free_path
from services.indexing.adopting import adopt_exposures, adopt_masters, adopt_models, finish_masters
from services.indexing.foreign import IndexReport, index_files, index_folder
from services.indexing.killed import close_killed_runs
from services.indexing.problems import FileProblem
from services.indexing.reading import own_row, row_or_problem, without_copies
from services.indexing.walk import counts, walk

__all__ = ["AdoptReport", "FileProblem", "IndexReport", "adopt", "index_folder", "open_catalogue", "rebuild"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptReport:
    """What `adopt` and `rebuild` did."""

    adopted: int = 0
    removed: int = 0
    parts_deleted: int = 0
    masters: int = 0
    problems: tuple[FileProblem, ...] = ()
    strangers: frozenset[str] = frozenset()
    """Of the problems, the paths that are no frames or masters of ours."""


def open_catalogue(layout: Layout) -> Catalogue:
    """Open a root's catalogue for writing; one that is missing is made from the files, a damaged one moved aside first.

    It is read through first, unless nothing has touched it since nightcal closed it.

    Raises
    ------
    StorageError
        A newer version wrote it, or it cannot be opened or moved.
    """
    try:
        catalogue = _checked(Catalogue(layout.catalogue))
    except CatalogueDamaged as error:
        _move_aside(layout.catalogue, error)
        catalogue = Catalogue(layout.catalogue)
    if catalogue.is_new:
        try:
            rebuild(catalogue, layout)
        except BaseException:
            catalogue.close()
            raise
    return catalogue


def _move_aside(path: Path, error: CatalogueDamaged) -> None:
    aside = free_path(path.with_suffix(".broken"))
    log.warning("catalogue.damaged", detail=error.detail, moved_to=str(aside))
    with reported(path):
        platform.replace(path, aside)
        for ending in ("-wal", "-shm"):
            platform.remove(path.with_name(path.name + ending))


def _checked(catalogue: Catalogue) -> Catalogue:
    try:
        if not catalogue.is_as_closed:
            catalogue.check()
    except StorageError:
        catalogue.close()
        raise
    return catalogue


@uncollected()
def adopt(catalogue: Catalogue, layout: Layout, disk: Disk = REAL_DISK) -> AdoptReport:
    """Bring index and files together at the start of a run, under the root's lock.

    Masters that a crash kept from their names get them; other hidden `.*.part` files that it left are deleted; finals
    without a row (or changed since) are read and get one; rows of files that are gone, or can no longer be read as they
    were written, are removed: they are missing, and taken again. Foreign files in our folders are left alone. Runs that
    were killed are closed: nobody else holds the lock.
    """
    close_killed_runs(catalogue, layout, disk)
    finish_masters(layout, disk)
    known, walked = catalogue.known_files(), walk((layout.darks, layout.flats), layout)
    parts = {*walked.parts, *walk((layout.masters, layout.refused, layout.reports), layout).parts}
    _delete(parts, disk)
    stale = {path for path in known if path not in walked.frames and not counts(layout.absolute(path))}
    changed = sorted(path for path, status in walked.frames.items() if known.get(path) != status)
    stale.update(changed)
    problems: list[FileProblem] = []
    new = without_copies(_read(changed, catalogue, layout, problems), catalogue, stale, problems)
    strangers = frozenset(each.path for each in problems if not _is_ours(each.path, catalogue))
    with catalogue.at_once():  # a row that is read again keeps its mark
        catalogue.remove_frames(stale)
        catalogue.add_frames(new)
        adopt_exposures(catalogue, layout, new)
    gone = (stale & known.keys()) - {row.path for row in new}
    masters, lost = adopt_masters(catalogue, layout, problems)
    adopt_models(catalogue, layout, problems)
    return AdoptReport(
        adopted=len(new),
        removed=len(gone) + lost,
        parts_deleted=len(parts),
        masters=masters,
        problems=tuple(problems),
        strangers=strangers,
    )


def _is_ours(path: str, catalogue: Catalogue) -> bool:
    """Whether the catalogue knows a file as a frame of ours: what became of it is taken again."""
    row = catalogue.frame(path)
    return row is not None and row.origin is Origin.OWN


def _read(paths: Iterable[str], catalogue: Catalogue, layout: Layout, problems: list[FileProblem]) -> list[FrameRow]:
    """Return the rows of our own frames among files, with the marks that they had."""
    read = (row_or_problem(own_row, layout.absolute(path), path, problems) for path in paths)
    rows = ((row, catalogue.frame(row.path)) for row in read if row is not None)
    return [row if before is None else replace(row, flag=before.flag) for row, before in rows]


def _delete(parts: Iterable[Path], disk: Disk) -> None:
    for part in sorted(parts):
        with reported(part):
            disk.remove(part)


def rebuild(catalogue: Catalogue, layout: Layout) -> AdoptReport:
    """Empty the index and fill it from headers, sidecars and journals; a kill before its end leaves it as it was.

    Foreign frames are read again where they were; that is lost with a catalogue that cannot be read, and the masters
    step finds them again. Rejected frames stay rejected: journals say which they are.
    """
    with catalogue.at_once():
        foreign = [row.path for row in catalogue.frames(origin=Origin.FOREIGN)]
        catalogue.clear()
        report = adopt(catalogue, layout)
        there = {path: (0, 0) for path in foreign if layout.absolute(path).is_file()}
        again = index_files(catalogue, there, layout)
        report = replace(report, adopted=report.adopted + again.indexed, problems=report.problems + again.problems)
        replay(catalogue, sorted((layout.hidden / "events").glob("*.jsonl")))
        close_killed_runs(catalogue, layout)
    return report
