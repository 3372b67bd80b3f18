"""Bringing the catalogue and the files together: at the start of a run, after a crash, from nothing, from elsewhere.

Headers are the truth. What cannot be read is reported, never raised: one broken file must not keep the rest out.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog

from calibration.errors import CalibrationError
from calibration.frames import FrameHeader, FrameKind
from calibration.grouping import group, night_label
from calibration.keywords import is_master
from services import platform
from services.catalogue.catalogue import Catalogue, CatalogueDamaged
from services.catalogue.replay import replay
from services.catalogue.rows import Flag, FrameRow, MasterRow, Origin, is_unchanged, key_to_dict
from services.errors import RunCode, StorageError
from services.files.disk import REAL_DISK, Disk, reported
from services.files.fits import FITS_SUFFIXES, Unreadable, pixel_hash, read_cards, read_header, read_pixels
from services.files.layout import Layout, free_path, is_own_part, is_packed_twin, part_path
from services.indexing.integrity import as_it_lies, check_pixels, check_sum
from services.indexing.sidecar import read_sidecar

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A file that was left out, and why: `read_failed` or `frame_copied`."""

    path: str
    reason: str
    code: RunCode = RunCode.READ_FAILED


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
    """Open a root's catalogue for writing; one that is missing is made from the files, a damaged one moved aside first.

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
    """Return a catalogue that is read through first, unless nothing has touched it since it was closed."""
    try:
        if not catalogue.is_as_closed:
            catalogue.check()
    except StorageError:
        catalogue.close()
        raise
    return catalogue


def adopt(catalogue: Catalogue, layout: Layout, disk: Disk | None = None) -> AdoptReport:
    """Bring index and files together at the start of a run, under the root's lock.

    Masters that a crash kept from their names get them; other hidden `.*.part` files that it left are deleted; finals
    without a row (or changed since) are read and get one; rows of files that are gone, or can no longer be read as they
    were written, are removed: they are missing, and taken again. Foreign files in our folders are left alone.
    """
    _finish_masters(layout, disk or REAL_DISK)
    parts = _delete_parts(layout, disk or REAL_DISK)
    rows = {row.path: row for row in catalogue.frames()}
    stale = {path for path in rows if not _counts(layout.absolute(path))}
    new: list[FrameRow] = []
    problems: list[Problem] = []
    for path in _fits_files((layout.darks, layout.flats)):
        name = layout.relative(path)
        if _unchanged(rows.get(name), path):
            continue
        stale.add(name)
        row = _read(_own, path, name, problems)
        if row is not None:
            new.append(replace(row, flag=rows[name].flag) if name in rows else row)
    new = _once(new, (row for row in rows.values() if row.path not in stale), problems)
    with catalogue.at_once():  # a row that is read again keeps its mark
        catalogue.remove_frames(stale)
        catalogue.add_frames(new)
    gone = (stale & rows.keys()) - {row.path for row in new}
    masters, lost = _adopt_masters(catalogue, layout, problems)
    return AdoptReport(
        adopted=len(new), removed=len(gone) + lost, parts_deleted=parts, masters=masters, problems=tuple(problems)
    )


def rebuild(catalogue: Catalogue, layout: Layout) -> AdoptReport:
    """Empty the index and fill it from headers, sidecars and journals; a kill before its end leaves it as it was.

    Foreign frames are read again where they were; marks of bad frames are kept by their pixels. Both are lost with a
    catalogue that cannot be read.
    """
    with catalogue.at_once():
        bad = {row.pixel_sha256 for row in catalogue.frames(flag=Flag.BAD)}
        foreign = [layout.absolute(row.path) for row in catalogue.frames(origin=Origin.FOREIGN)]
        catalogue.clear()
        report = adopt(catalogue, layout)
        again = _index(catalogue, (path for path in foreign if path.is_file()), layout)
        report = replace(report, adopted=report.adopted + again.indexed, problems=report.problems + again.problems)
        catalogue.set_flag(Flag.BAD, paths=[row.path for row in catalogue.frames() if row.pixel_sha256 in bad])
        for journal in sorted((layout.hidden / "events").glob("*.jsonl")):
            replay(catalogue, journal)
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
        Paths below its root are kept relative to it; by default that of the catalogue's own root.
    longitude_deg : float, optional
        Of the site, east positive, for the night of frames that do not say.

    Returns
    -------
    IndexReport
        Truncated, unreadable and unusable files are in `problems`, not raised.
    """
    layout = layout or Layout(catalogue.path.absolute().parents[1])
    return _index(catalogue, _fits_files((folder,)), layout, longitude_deg)


def _index(
    catalogue: Catalogue, files: Iterable[Path], layout: Layout, longitude_deg: float | None = None
) -> IndexReport:
    known = {row.path: row for row in catalogue.frames()}
    rows: list[FrameRow] = []
    problems: list[Problem] = []
    unchanged = 0
    for path in files:
        name = layout.relative(path)
        if (name in known and known[name].origin is Origin.OWN) or _unchanged(known.get(name), path):
            unchanged += 1
            continue
        row = _read(partial(_foreign, longitude_deg=longitude_deg), path, name, problems)
        if row is not None:
            rows.append(row)
    rows = _once(rows, known.values(), problems)
    new = {row.path for row in rows}
    before = [row for row in known.values() if row.origin is Origin.FOREIGN and row.path not in new]
    catalogue.add_frames(_with_sets([*before, *rows]))
    return IndexReport(indexed=len(rows), known=unchanged, problems=tuple(problems))


def _fits_files(folders: Iterable[Path]) -> Iterator[Path]:
    """Yield the visible FITS files below folders, sorted so that everything that follows is reproducible."""
    seen: set[Path] = set()
    for folder in folders:
        for path in sorted(_files(folder)):
            if path.name.lower().endswith(FITS_SUFFIXES) and path not in seen and _counts(path):
                seen.add(path)
                yield path


def _counts(path: Path) -> bool:
    """Return whether a file is a frame of its own: not the packed form of one that is still there."""
    with reported(path):  # a folder that may not be read is not one whose frames are gone
        return path.is_file() and not is_packed_twin(path)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the visible files below a folder; folders that cannot be read, and links to folders, are left out."""
    waiting = [folder]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif entry.is_file():
                    yield Path(entry.path)


def _finish_masters(layout: Layout, disk: Disk) -> None:
    """Name masters whose sidecar says that they are whole, and which a kill kept from their names."""
    for sidecar in sorted(layout.masters.glob("master_*.json")):
        master = sidecar.with_suffix(".fits")
        if master.exists() or not _is_whole(part_path(master), sidecar):
            continue
        for path in (layout.planes_path(master), master):
            if part_path(path).is_file() and not path.exists():
                with reported(path):
                    disk.rename_no_replace(part_path(path), path)
                    disk.fsync_folder(path.parent)


def _is_whole(part: Path, sidecar: Path) -> bool:
    try:
        return part.is_file() and pixel_hash(read_pixels(part)) == read_sidecar(sidecar).pixel_sha256
    except Unreadable:
        return False


def _delete_parts(layout: Layout, disk: Disk) -> int:
    ours = (layout.darks, layout.flats, layout.masters, layout.refused, layout.reports)
    parts = {part for folder in ours for part in folder.rglob(".*.part") if is_own_part(part)}
    for part in parts:
        with reported(part):
            disk.remove(part)
    return len(parts)


def _unchanged(row: FrameRow | None, path: Path) -> bool:
    return row is not None and is_unchanged(row, path)


def _read(
    row_of: Callable[[Path, str], FrameRow | None], path: Path, name: str, problems: list[Problem]
) -> FrameRow | None:
    """Return the row of a file; None when it is not wanted, or broken, which is noted."""
    try:
        name.encode()
        return row_of(path, name)
    except UnicodeEncodeError:
        shown = os.fsencode(name).decode("utf-8", "backslashreplace")
        problems.append(Problem(path=shown, reason="its name is no Unicode text"))
    except (StorageError, CalibrationError) as error:
        problems.append(Problem(path=name, reason=str(error)))
    except OSError as error:
        problems.append(Problem(path=name, reason=error.strerror or str(error)))
    return None


def _once(new: list[FrameRow], known: Iterable[FrameRow], problems: list[Problem]) -> list[FrameRow]:
    """Return new rows without copies: the same pixels twice are one frame, whatever the files are called."""
    replaced = {row.path for row in new}
    holders = {(row.kind, row.pixel_sha256): row.path for row in known if row.path not in replaced}
    kept = []
    for row in new:
        holder = holders.setdefault((row.kind, row.pixel_sha256), row.path)
        if holder == row.path:
            kept.append(row)
        else:
            reason = f"its pixels are those of {holder}"
            problems.append(Problem(path=row.path, reason=reason, code=RunCode.FRAME_COPIED))
    return kept


def _own(path: Path, name: str) -> FrameRow | None:
    """Return the row of one of our frames; None for a foreign file."""
    header = read_header(path)
    if header.set_id is None:
        return None
    check_sum(path)
    return _row(path, name, header, Origin.OWN)


def _foreign(path: Path, name: str, *, longitude_deg: float | None) -> FrameRow | None:
    """Return the row of a bias, dark or flat of any program; None for masters and light frames."""
    header = read_header(path)
    if header.kind is FrameKind.LIGHT or is_master(read_cards(path), path):
        return None
    if header.set_id is not None:  # nightcal's, from another folder: its sum is true
        check_sum(path)
    if header.night is None and header.date_obs is not None:
        at = header.site_longitude_deg if longitude_deg is None else longitude_deg
        header = replace(header, night=night_label(header.date_obs, at))
    return _row(path, name, header, Origin.FOREIGN)


def _row(path: Path, name: str, header: FrameHeader, origin: Origin) -> FrameRow:
    digest, status = pixel_hash(read_pixels(path)), path.stat()
    return FrameRow.of(
        header, path=name, pixel_sha256=digest, size=status.st_size, mtime_ns=status.st_mtime_ns, origin=origin
    )


def _with_sets(rows: list[FrameRow]) -> list[FrameRow]:
    """Give foreign frames their sets: one a group and night, named by what it is, so that it stays the same."""
    named: list[FrameRow] = []
    for key, members in group(rows, FrameRow.header).items():
        for row in members:
            night = row.night or "unknown"
            digest = hashlib.sha256(json.dumps([key_to_dict(key), night]).encode()).hexdigest()[:10]
            named.append(replace(row, set_id=f"foreign_{row.kind.lower()}_{night}_{digest}"))
    return named


def _adopt_masters(catalogue: Catalogue, layout: Layout, problems: list[Problem]) -> tuple[int, int]:
    """Add masters whose file and sidecar are there, forget those whose file is gone or damaged; return both numbers.

    A damaged one is told as long as its file is there.
    """
    known = {row.path: row for row in catalogue.masters()}
    gone = [path for path in known if not _counts(layout.absolute(path))]
    added = 0
    for name, row in known.items():
        if name not in gone and not is_unchanged(row, layout.absolute(name)):
            checked = _checked_master(row, layout, problems)
            if checked is None:
                gone.append(name)
            else:
                catalogue.add_master(checked)
    catalogue.remove_masters(gone)
    for sidecar in sorted(layout.masters.glob("master_*.json")):
        master = sidecar.with_suffix(".fits")
        name = layout.relative(master)
        if name in known or not master.is_file():
            continue
        try:
            found = replace(read_sidecar(sidecar), path=name)
        except Unreadable as error:
            problems.append(Problem(path=layout.relative(sidecar), reason=str(error)))
            continue
        checked = _checked_master(found, layout, problems)
        if checked is not None:
            catalogue.add_master(checked)
            added += 1
    return added, len(gone)


def _checked_master(row: MasterRow, layout: Layout, problems: list[Problem]) -> MasterRow | None:
    """Return a master's row as its file lies there; None when that is damaged, which is noted."""
    path = layout.absolute(row.path)
    try:
        check_pixels(row, path)
        return as_it_lies(row, path)
    except Unreadable as error:
        problems.append(Problem(path=row.path, reason=error.detail))
    except OSError as error:
        problems.append(Problem(path=row.path, reason=error.strerror or str(error)))
    return None
