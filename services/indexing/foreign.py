"""Frames of other programs: read where they lie, one set for each group and night."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from calibration.grouping import group
from services.catalogue.catalogue import Catalogue
from services.catalogue.database import uncollected
from services.catalogue.rows import FrameRow, Origin, key_to_dict
from services.errors import RunCode
from services.files.layout import Layout
from services.indexing.reading import FileProblem, foreign_row, row_or_problem, without_copies
from services.indexing.walk import FileStatus, walk

_MOST_AT_ONCE = 16
"""Files read at once at most: a disk gives no more with more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexReport:
    """What `index_folder` did; `known` counts files that were in the catalogue unchanged."""

    indexed: int = 0
    known: int = 0
    problems: tuple[FileProblem, ...] = ()


@uncollected()
def index_folder(
    catalogue: Catalogue, *folders: Path, layout: Layout | None = None, longitude_deg: float | None = None
) -> IndexReport:
    """Read the frames of any program below folders into the catalogue: origin foreign, a set for each group and night.

    Parameters
    ----------
    catalogue : Catalogue
        Gets a row for each bias, dark and flat; masters and light frames are left out.
    *folders : Path
        Searched with all their subfolders; those that are missing hold nothing.
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
    return index_files(catalogue, walk(folders, layout).frames, layout, longitude_deg)


def index_files(
    catalogue: Catalogue, files: Mapping[str, FileStatus], layout: Layout, longitude_deg: float | None = None
) -> IndexReport:
    """Read files of any program into the catalogue, as `index_folder` does."""
    known = catalogue.known_files()
    changed = sorted(path for path, status in files.items() if known.get(path) != status)
    new = [path for path in changed if path not in known or not _is_ours(catalogue, path)]
    problems: list[FileProblem] = []
    rows = _read_all(new, layout, longitude_deg, problems)
    rows = without_copies(rows, catalogue, (), problems)
    if rows:  # else the sets are as they were
        paths = {row.path for row in rows}
        before = [row for row in catalogue.frames(origin=Origin.FOREIGN) if row.path not in paths]
        named = set(before)
        catalogue.add_frames(row for row in _with_sets([*before, *rows]) if row not in named)
    return IndexReport(indexed=len(rows), known=len(files) - len(new), problems=tuple(problems))


def _read_all(
    paths: Sequence[str], layout: Layout, longitude_deg: float | None, problems: list[FileProblem]
) -> list[FrameRow]:
    """Read files on all cores, each once; rows and problems come in the order of the paths."""

    def read(path: str) -> tuple[FrameRow | None, list[FileProblem]]:
        found: list[FileProblem] = []
        return _read(path, layout, longitude_deg, found), found

    rows: list[FrameRow] = []
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_AT_ONCE), "nightcal-index") as threads:
        for row, found in threads.map(read, paths):
            rows += [] if row is None else [row]
            problems += found
    return rows


def _read(path: str, layout: Layout, longitude_deg: float | None, problems: list[FileProblem]) -> FrameRow | None:
    """Return the row of a file; what is not used of it is added to the problems."""

    def beside(image: str) -> None:
        reason = "it is not the frame but stands beside it in the file, and is not used"
        problems.append(FileProblem(path=f"{path}[{image}]", reason=reason, code=RunCode.IMAGE_BESIDE))

    row_of = partial(foreign_row, longitude_deg=longitude_deg, beside=beside)
    return row_or_problem(row_of, layout.absolute(path), path, problems)


def _is_ours(catalogue: Catalogue, path: str) -> bool:
    there = catalogue.frame(path)
    return there is not None and there.origin is Origin.OWN


def _with_sets(rows: list[FrameRow]) -> list[FrameRow]:
    """Give foreign frames their sets, named by what they are, so that they stay the same."""
    named: list[FrameRow] = []
    for key, members in group(rows, FrameRow.header).items():
        for row in members:
            night = row.night or "unknown"
            digest = hashlib.sha256(json.dumps([key_to_dict(key), night]).encode()).hexdigest()[:10]
            named.append(replace(row, set_id=f"foreign_{row.kind.lower()}_{night}_{digest}"))
    return named
