"""Reading frames for the catalogue: a file's row, or why it has none. One broken file never keeps the rest out."""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from calibration.errors import CalibrationError
from calibration.frames import FrameHeader, FrameKind
from calibration.grouping import night_label
from calibration.keywords import is_master
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import FrameRow, Origin
from services.errors import RunCode, StorageError
from services.files.fits import pixel_hash, read_cards, read_header, read_pixels
from services.indexing.checksums import check_sum


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProblem:
    """A file (or an image in it) that was left out.

    Attributes
    ----------
    path : str
        As the catalogue names files; an image beside the frame as `file.fits[NAME]`.
    reason : str
        Why, for this file: what was found and what to do.
    code : RunCode
        Why, for counting: one code for one kind of reason (`services.errors.MEANINGS` has the words).
    """

    path: str
    reason: str
    code: RunCode = RunCode.READ_FAILED


def row_or_problem(
    row_of: Callable[[Path, str], FrameRow | None], path: Path, name: str, problems: list[FileProblem]
) -> FrameRow | None:
    """Return the row of a file; None when it is not wanted, or when it is broken, which is added to the problems."""
    try:
        name.encode()
        return row_of(path, name)
    except UnicodeEncodeError:
        shown = os.fsencode(name).decode("utf-8", "backslashreplace")
        problems.append(FileProblem(path=shown, reason="its name is no Unicode text"))
    except (StorageError, CalibrationError) as error:
        problems.append(FileProblem(path=name, reason=str(error)))
    except OSError as error:
        problems.append(FileProblem(path=name, reason=error.strerror or str(error)))
    return None


def without_copies(
    new: list[FrameRow], catalogue: Catalogue, gone: Collection[str], problems: list[FileProblem]
) -> list[FrameRow]:
    """Return new rows without copies: the same pixels twice are one frame, whatever the files are called.

    Paths that are gone from the catalogue, or are read anew, hold no pixels any more.
    """
    replaced = {*gone, *(row.path for row in new)}
    holders: dict[tuple[FrameKind, str], str] = {}
    kept = []
    for row in new:
        there = catalogue.frames(kind=row.kind, pixel_sha256=row.pixel_sha256)
        known = next((other.path for other in there if other.path not in replaced), row.path)
        holder = holders.setdefault((row.kind, row.pixel_sha256), known)
        if holder == row.path:
            kept.append(row)
        else:
            reason = f"its pixels are those of {holder}"
            problems.append(FileProblem(path=row.path, reason=reason, code=RunCode.FRAME_COPIED))
    return kept


def own_row(path: Path, name: str) -> FrameRow | None:
    """Return the row of one of our frames; None for a foreign file."""
    header = read_header(path)
    if header.set_id is None:
        return None
    check_sum(path)
    return _row(path, name, header, Origin.OWN)


def foreign_row(path: Path, name: str, *, longitude_deg: float | None) -> FrameRow | None:
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
