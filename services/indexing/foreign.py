"""Frames of other programs: read where they lie, one set for each group and night."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

from calibration.frames import FrameHeader
from calibration.grouping import group
from calibration.keywords import NO_ALIASES, Aliases, read_as
from services.catalogue.catalogue import Catalogue
from services.catalogue.database import uncollected
from services.catalogue.plain import key_to_dict
from services.catalogue.rows import FrameRow, Origin
from services.errors import RunCode
from services.files.layout import Layout
from services.indexing.problems import FileProblem
from services.indexing.reading import foreign_row, row_or_problem, without_copies
from services.indexing.walk import FileStatus, walk

_MOST_AT_ONCE = 16
"""Files read at once at most: a disk gives no more with more."""

_A_PAUSE = timedelta(hours=3)
"""Frames of a series follow each other in less; those of the next night come after a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexReport:
    """What `index_folder` did; `known` counts files that were in the catalogue unchanged."""

    indexed: int = 0
    known: int = 0
    problems: tuple[FileProblem, ...] = ()


@uncollected()
def index_folder(
    catalogue: Catalogue,
    *folders: Path,
    layout: Layout | None = None,
    longitude_deg: float | None = None,
    aliases: Aliases = NO_ALIASES,
    on_new: Callable[[], object] = lambda: None,
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
    aliases : mapping
        Keywords that the user has named (`header_aliases`). When they change, frames are read again.
    on_new : callable
        Called before new files are read: what they are needed for can be made ready meanwhile.

    Returns
    -------
    IndexReport
        Truncated, unreadable and unusable files, and whatever else lies there, are in `problems`, not raised.
    """
    layout = layout or Layout(catalogue.path.absolute().parents[1])
    walked = walk(folders, layout)
    report = index_files(catalogue, walked.frames, layout, longitude_deg, aliases, on_new=on_new)
    return replace(report, problems=(*report.problems, *walked.passed))


def index_files(
    catalogue: Catalogue,
    files: Mapping[str, FileStatus],
    layout: Layout,
    longitude_deg: float | None = None,
    aliases: Aliases = NO_ALIASES,
    *,
    row_of: Callable[..., FrameRow] = foreign_row,
    on_new: Callable[[], object] = lambda: None,
) -> IndexReport:
    """Read files of any program into the catalogue, as `index_folder` does; `row_of` is called as `foreign_row`."""
    known, again = catalogue.known_files(), catalogue.read_otherwise(read_as(aliases))
    changed = sorted(path for path, status in files.items() if path in again or known.get(path) != status)
    new = [path for path in changed if path not in known or not _is_ours(catalogue, path)]
    problems: list[FileProblem] = []
    if new:
        on_new()
    rows = _read_all(new, layout, partial(row_of, longitude_deg=longitude_deg, aliases=aliases), problems)
    rows = list(without_copies(rows, catalogue, (), problems))
    catalogue.remove_frames((again & set(new)) - {row.path for row in rows})
    if rows:  # else the sets are as they were
        paths = {row.path for row in rows}
        before = [row for row in catalogue.frames(origin=Origin.FOREIGN) if row.path not in paths]
        named = set(before)
        catalogue.add_frames(row for row in _with_sets([*before, *rows]) if row not in named)
    return IndexReport(indexed=len(rows), known=len(files) - len(new), problems=tuple(problems))


def _read_all(
    paths: Sequence[str], layout: Layout, row_of: Callable[..., FrameRow], problems: list[FileProblem]
) -> list[FrameRow]:
    """Read files on all cores, each once; rows and problems come in the order of the paths."""

    def read(path: str) -> tuple[FrameRow | None, list[FileProblem]]:
        found: list[FileProblem] = []
        return _read(path, layout, row_of, found), found

    rows: list[FrameRow] = []
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_AT_ONCE), "nightcal-index") as threads:
        for row, found in threads.map(read, paths):
            rows += [] if row is None else [row]
            problems += found
    return rows


def _read(path: str, layout: Layout, row_of: Callable[..., FrameRow], problems: list[FileProblem]) -> FrameRow | None:
    """Return the row of a file; what is not used of it is added to the problems."""

    def beside(image: str) -> None:
        reason = "it is not the frame but stands beside it in the file, and is not used"
        problems.append(FileProblem(path=f"{path}[{image}]", reason=reason, code=RunCode.IMAGE_BESIDE))

    return row_or_problem(partial(row_of, beside=beside), layout.absolute(path), path, problems)


def _is_ours(catalogue: Catalogue, path: str) -> bool:
    there = catalogue.frame(path)
    return there is not None and there.origin is Origin.OWN


def _with_sets(rows: list[FrameRow]) -> list[FrameRow]:
    """Give foreign frames their nights and sets, named by what they are, so that they stay the same."""
    dated = [
        row if row.night == night else replace(row, night=night)
        for members in group(rows, _of_any_night).values()
        for row, night in zip(members, _nights(members), strict=True)
    ]
    named: list[FrameRow] = []
    for key, members in group(dated, FrameRow.header).items():
        for row in members:
            night = row.night or "unknown"
            digest = hashlib.sha256(json.dumps([key_to_dict(key), night]).encode()).hexdigest()[:10]
            named.append(replace(row, set_id=f"foreign_{row.kind.lower()}_{night}_{digest}"))
    return named


def _of_any_night(row: FrameRow) -> FrameHeader:
    return replace(row.header(), night="any")


def _nights(rows: Sequence[FrameRow]) -> list[str | None]:
    """Return the night of each frame of a group; a series that runs over noon has that of its start.

    Noon may be the middle of the night where nobody says where the telescope stands, and flats of a panel are taken by
    day as well.
    """
    nights = [row.night for row in rows]
    dated = [(row.date_obs, i) for i, row in enumerate(rows) if row.date_obs is not None]
    for (before, i), (after, j) in pairwise(sorted(dated)):
        if after - before - timedelta(microseconds=rows[i].exposure_us or 0) < _A_PAUSE:
            nights[j] = nights[i]
    return nights
