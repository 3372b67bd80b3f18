"""What a run would know at its start, for who only asks: the catalogue, and files that it would read anew.

Nothing is written, no lock is taken and no pixel is read: headers alone say what the files are. Where the catalogue is
missing or damaged, they say everything.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from calibration.keywords import read_as
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import FrameRow, Origin
from services.files.layout import Layout
from services.indexing.problems import FileProblem
from services.indexing.walk import counts, names


@contextmanager
def foreseen(
    layout: Layout,
    *,
    longitude_deg: float | None = None,
    aliases: Mapping[str, str],
    ignored: bool = False,
    problems: list[FileProblem] | None = None,
) -> Iterator[Catalogue]:
    """Open what a run would know, to be read.

    Parameters
    ----------
    layout : Layout
    longitude_deg, aliases
        As for `index_folder`.
    ignored : bool
        The file of the catalogue is damaged: only the frames and masters themselves are asked.
    problems : list of FileProblem, optional
        Gets the files that a run would not use, each once, as far as their headers say it.

    Raises
    ------
    StorageError
        The catalogue is damaged or was written by a newer version, or a folder cannot be read.
    """
    with Catalogue(layout.catalogue, read_only=True, empty=ignored) as catalogue:
        unused: list[FileProblem] = []
        there, known = names((layout.darks, layout.flats), layout, unused), catalogue.known_paths()
        again = catalogue.read_otherwise(read_as(aliases)) & there
        new = sorted((there - known) | again)
        gone = [path for path in known - there if not counts(layout.absolute(path))]
        is_as_listed = not new and not gone and layout.catalogue.exists()
        with nullcontext(catalogue) if is_as_listed else catalogue.copied() as seen:
            if not is_as_listed:
                seen.remove_frames(gone)
                unused = [*_add(seen, new, layout, longitude_deg, aliases), *unused]
            if problems is not None:
                problems += sorted({each.path: each for each in reversed(unused)}.values(), key=attrgetter("path"))
            yield seen


def _add(
    copy: Catalogue, new: list[str], layout: Layout, longitude_deg: float | None, aliases: Mapping[str, str]
) -> list[FileProblem]:
    """Add what the headers of new files say; return what cannot be used."""
    from services.indexing.adopting import adopt_exposures, adopt_masters  # reading headers takes long to import
    from services.indexing.foreign import index_files
    from services.indexing.reading import own_unseen_row, row_or_problem, unseen_row

    known = {row.path: row for row in copy.frames(origin=Origin.FOREIGN)}

    def row_of(path: Path, name: str, **rules: Any) -> FrameRow:
        row = unseen_row(path, name, **rules)
        return _with_pixels(row, known.get(name))

    problems: list[FileProblem] = []
    read = (row_or_problem(own_unseen_row, layout.absolute(path), path, problems) for path in new)
    ours = {row.path: row for row in read if row is not None}
    copy.add_frames(ours.values())
    foreign = {path: (0, 0) for path in new if path not in ours}
    report = index_files(copy, foreign, layout, longitude_deg, aliases, row_of=row_of)
    adopt_masters(copy, layout, problems)
    adopt_exposures(copy, layout, ours.values())
    return [*problems, *report.problems]


def _with_pixels(row: FrameRow, before: FrameRow | None) -> FrameRow:
    """Return a row with what is known of the pixels of a file that has not changed."""
    if before is None or (row.size, row.mtime_ns) != (before.size, before.mtime_ns):
        return row
    return replace(
        row,
        pixel_sha256=before.pixel_sha256,
        level_adu=before.level_adu,
        sigma_adu=before.sigma_adu,
        step_adu=before.step_adu,
    )
