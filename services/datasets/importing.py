"""`nightcal dataset import`: sections or a whole tree of raw frames become FITS frames and `fits_index.csv`."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from services.datasets import FRAMES_DIR, SEARCH_DEPTH
from services.datasets.attempts import Attempt, Found, Section, attempts_of
from services.datasets.conversion import Conversion, Converted, Outcome, convert
from services.datasets.fits_index import FILE, path_from, write_rows
from services.errors import StorageError, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did.

    Attributes
    ----------
    files : tuple of Converted
        Every raw file that was found, in the order of section, temperature and frame.
    outside : tuple of Path
        Raw files that are part of no attempt: they were not read.
    index : Path or None
        The table that was written; None where nothing was found.
    problem : str
        Why the table could not be written; "" where it was.
    deeper : bool
        Whether there are folders below the depth that was searched.
    """

    files: tuple[Converted, ...]
    outside: tuple[Path, ...]
    index: Path | None
    problem: str = ""
    deeper: bool = False

    def counts(self) -> Counter[Outcome]:
        """Return how many files came to each outcome."""
        return Counter(each.outcome for each in self.files)

    @property
    def is_whole(self) -> bool:
        """Whether every raw file that was found has its frame, and the table its rows."""
        return not self.problem and not self.outside and all(each.is_there for each in self.files)


def import_raws(
    sections: Sequence[Section],
    how: Conversion,
    *,
    frames_dir: str = FRAMES_DIR,
    depth: int = SEARCH_DEPTH,
    begun: Callable[[int], object] = lambda _: None,
    progress: Callable[[int], object] = lambda _: None,
) -> Imported:
    """Convert the raw frames of sections, and write the table of their frames.

    Parameters
    ----------
    sections : sequence of Section
    how : Conversion
    frames_dir : str
        Name of the folders of frames.
    depth : int
        Folders below a section that are looked into.
    begun : callable
        Called with the number of raw files that were found.
    progress : callable
        Called, from any thread, with the number of files that were done.
    """
    found = [attempts_of(each, frames_dir=frames_dir, depth=depth) for each in sections]
    attempts = _once(found)
    begun(sum(len(each.raws) for each in attempts))
    chosen = [each for each, of in zip(sections, found, strict=True) if not each.without or of.attempts]
    places = [each.root if each.without else each.root.parent for each in chosen]
    how = replace(how, base=common_parent(places) if places else None)
    files = tuple(convert(attempts, how, progress=progress))
    outside = tuple(sorted({raw for each in found for raw in each.outside} - {each.raw for each in files}))
    deeper = any(each.deeper for each in found)
    if not files:
        return Imported(files=files, outside=outside, index=None, deeper=deeper)
    index = (how.out or (chosen[0].root if len(chosen) == 1 else common_parent(places))) / FILE
    rows = [{**each.row, "PATH": path_from(index, each.fits)} for each in files if each.is_there]
    try:
        write_rows(index, rows, how.disk)
    except StorageError as error:
        return Imported(files=files, outside=outside, index=index, problem=error.detail, deeper=deeper)
    return Imported(files=files, outside=outside, index=index, deeper=deeper)


def _once(found: Sequence[Found]) -> list[Attempt]:
    """Return the attempts of all sections, each once, also where one section is a part of another."""
    taken: set[Path] = set()
    attempts: list[Attempt] = []
    for attempt in (attempt for each in found for attempt in each.attempts):
        if attempt.folder not in taken:
            taken.add(attempt.folder)
            attempts.append(attempt)
    return attempts


def common_parent(folders: Sequence[Path]) -> Path:
    """Return the folder that all folders are, or are in.

    Raises
    ------
    Usage
        They are on different drives.
    """
    try:
        return Path(os.path.commonpath(folders))
    except ValueError as error:
        advice = "convert those of each drive by themselves"
        raise Usage("the sections are on different drives", advice=advice) from error
