"""Bringing the catalogue and the files together: at the start of a run, after a crash, from nothing, from elsewhere.

Headers are the truth. What cannot be read is reported, never raised: one broken file must not keep the rest out.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from calibration.errors import CalibrationError
from calibration.frames import FrameHeader, FrameKind
from services.errors import StorageError
from services.storage.catalogue import Catalogue, CatalogueDamaged
from services.storage.disk import REAL_DISK, Disk
from services.storage.fits import FITS_SUFFIXES, Unreadable, pixel_hash, read_cards, read_frame, read_header
from services.storage.layout import Layout, free_path
from services.storage.rows import FactRow, Flag, FrameRow, MasterRow, Origin, RefusalRow, RunRow, parse_time
from services.storage.sidecar import read_sidecar

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A file that was left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptReport:
    """What `adopt` and `rebuild` did."""

    adopted: int = 0
    removed: int = 0
    parts_deleted: int = 0
    masters: int = 0
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexReport:
    """What `index_folder` did; `known` counts files that were in the catalogue unchanged."""

    indexed: int = 0
    known: int = 0
    problems: tuple[Problem, ...] = ()


def open_catalogue(layout: Layout) -> Catalogue:
    """Open a root's catalogue for writing; a damaged one is moved aside and rebuilt from the files, with a warning.

    Raises
    ------
    StorageError
        A newer version wrote it, or it cannot be opened or moved.
    """
    try:
        return Catalogue(layout.catalogue)
    except CatalogueDamaged as error:
        aside = free_path(layout.catalogue.with_suffix(".broken"))
        log.warning("catalogue.damaged", detail=error.detail, moved_to=str(aside))
    layout.catalogue.replace(aside)
    for ending in ("-wal", "-shm"):
        layout.catalogue.with_name(layout.catalogue.name + ending).unlink(missing_ok=True)
    catalogue = Catalogue(layout.catalogue)
    rebuild(catalogue, layout)
    return catalogue


def adopt(catalogue: Catalogue, layout: Layout, disk: Disk | None = None) -> AdoptReport:
    """Bring index and files together at the start of a run, under the root's lock.

    Hidden `.*.part` files that a crash left are deleted; finals without a row (or changed since) are read and get one;
    rows of files that are gone are removed. Foreign files in our folders are left alone.
    """
    parts = _delete_parts(layout, disk or REAL_DISK)
    rows = {row.path: row for row in catalogue.frames()}
    gone = [path for path in rows if not layout.absolute(path).is_file()]
    catalogue.remove_frames(gone)
    new: list[FrameRow] = []
    problems: list[Problem] = []
    for path in _fits_files((layout.darks, layout.flats)):
        name = layout.relative(path)
        if _unchanged(rows.get(name), path):
            continue
        row = _read_own(path, name, problems)
        if row is not None:
            new.append(replace(row, flag=rows[name].flag) if name in rows else row)
    catalogue.add_frames(new)
    masters, lost = _adopt_masters(catalogue, layout, problems)
    return AdoptReport(
        adopted=len(new), removed=len(gone) + lost, parts_deleted=parts, masters=masters, problems=tuple(problems)
    )


def rebuild(catalogue: Catalogue, layout: Layout) -> AdoptReport:
    """Empty the index and fill it from headers, sidecars and journals; marks of bad frames are kept by their pixels.

    Foreign frames outside our folders must be indexed again (`index_folder`).
    """
    bad = {row.pixel_sha256 for row in catalogue.frames(flag=Flag.BAD)}
    catalogue.clear()
    report = adopt(catalogue, layout)
    catalogue.set_flag(Flag.BAD, paths=[row.path for row in catalogue.frames() if row.pixel_sha256 in bad])
    for journal in sorted((layout.hidden / "events").glob("*.jsonl")):
        _replay(catalogue, journal)
    return report


def index_folder(
    catalogue: Catalogue, folder: Path, *, layout: Layout | None = None, longitude_deg: float | None = None
) -> IndexReport:
    """Read the frames of any program below a folder into the catalogue: origin foreign, one set a group and night.

    Parameters
    ----------
    catalogue : Catalogue
        Filled with a row a bias, dark and flat; masters and light frames are left out.
    folder : Path
        Searched with all its subfolders.
    layout : Layout, optional
        With it, paths below its root are kept relative to it; else all are absolute.
    longitude_deg : float, optional
        Of the site, east positive, for the night of frames that do not say.

    Returns
    -------
    IndexReport
        Truncated, unreadable and unusable files are in `problems`, not raised.
    """
    known = {row.path: row for row in catalogue.frames(origin=Origin.FOREIGN)}
    rows: list[FrameRow] = []
    problems: list[Problem] = []
    unchanged = 0
    for path in _fits_files((folder,)):
        name = layout.relative(path) if layout else path.absolute().as_posix()
        if _unchanged(known.get(name), path):
            unchanged += 1
            continue
        row = _read_foreign(path, name, longitude_deg, problems)
        if row is not None:
            rows.append(row)
    catalogue.add_frames(rows)
    return IndexReport(indexed=len(rows), known=unchanged, problems=tuple(problems))


def prune_refused(layout: Layout, keep: int, disk: Disk = REAL_DISK) -> int:
    """Delete the oldest refused frames above `keep` and return how many that were."""
    files = sorted(_fits_files((layout.refused,)), key=lambda path: (path.stat().st_mtime_ns, path.name))
    old = files[: max(0, len(files) - keep)]
    for path in old:
        disk.remove(path)
    return len(old)


def _fits_files(folders: Iterable[Path]) -> Iterator[Path]:
    """Yield the visible FITS files below folders, sorted so that everything that follows is reproducible."""
    seen: set[Path] = set()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            visible = not any(part.startswith(".") for part in path.relative_to(folder).parts)
            if visible and path.name.lower().endswith(FITS_SUFFIXES) and path not in seen and path.is_file():
                seen.add(path)
                yield path


def _delete_parts(layout: Layout, disk: Disk) -> int:
    ours = (layout.darks, layout.flats, layout.masters, layout.refused, layout.reports)
    parts = {part for folder in ours for part in folder.rglob(".*.part")}
    for part in parts:
        disk.remove(part)
    return len(parts)


def _unchanged(row: FrameRow | None, path: Path) -> bool:
    status = path.stat()
    return row is not None and (row.size, row.mtime_ns) == (status.st_size, status.st_mtime_ns)


def _read_own(path: Path, name: str, problems: list[Problem]) -> FrameRow | None:
    try:
        header = read_header(path)
        if header.set_id is None:
            return None
        frame = read_frame(path)
    except (StorageError, CalibrationError) as error:
        problems.append(Problem(path=name, reason=str(error)))
        return None
    status = path.stat()
    return FrameRow.of(
        header,
        path=name,
        pixel_sha256=pixel_hash(frame.pixels),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
    )


def _read_foreign(
    path: Path, name: str, longitude_deg: float | None, problems: list[Problem]
) -> FrameRow | None:
    try:
        header = read_header(path)
        if header.kind is FrameKind.LIGHT or _is_master(path):
            return None
        frame = read_frame(path)
    except (StorageError, CalibrationError) as error:
        problems.append(Problem(path=name, reason=str(error)))
        return None
    header = replace(header, night=header.night or _night(header, longitude_deg))
    status = path.stat()
    row = FrameRow.of(
        header,
        path=name,
        pixel_sha256=pixel_hash(frame.pixels),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        origin=Origin.FOREIGN,
    )
    return replace(row, set_id=row.set_id or _foreign_set(row))
