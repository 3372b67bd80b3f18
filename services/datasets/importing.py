"""`nightcal dataset import`: sections or a whole tree of raw frames become FITS frames and `fits_index.csv`."""

import filecmp
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from services.datasets import FRAMES_DIR, SEARCH_DEPTH
from services.datasets.attempts import Attempt, Found, Section, attempts_of
from services.datasets.conversion import Conversion, convert
from services.datasets.described import Converted, Outcome
from services.datasets.fits_index import FILE, path_from, write_rows
from services.errors import RunCode, StorageError, Usage
from services.files.locks import DatasetLock

_MOST_OF_ONE_SUM = 8
"""Files that differ but have one sum: with so many a further one is compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did.

    Attributes
    ----------
    files : tuple of Converted
        Every raw file that was found, in the order of section, temperature and frame.
    outside : tuple of Path
        Raw files that are part of no attempt: they were not read.
    unread : tuple of (Path, str)
        Folders that were not looked into, with the reason in words.
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
    unread: tuple[tuple[Path, str], ...] = ()
    problem: str = ""
    deeper: bool = False

    def counts(self) -> Counter[Outcome]:
        """Return how many files came to each outcome."""
        return Counter(each.outcome for each in self.files)

    @property
    def is_whole(self) -> bool:
        """Whether every raw file that was found has its frame, and the table its rows."""
        lost = self.outside or self.unread
        return not self.problem and not lost and all(each.is_there for each in self.files)


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

    Raises
    ------
    StorageError
        Another import of the same dataset is at work.
    """
    found = [attempts_of(each, frames_dir=frames_dir, depth=depth) for each in sections]
    attempts = _once(found)
    begun(sum(len(each.raws) for each in attempts))
    chosen = [each for each, of in zip(sections, found, strict=True) if not each.without or of.attempts]
    places = [each.root if each.without else each.root.parent for each in chosen]
    base = common_parent(places) if places else None
    index = (how.out or (chosen[0].root if len(chosen) == 1 else base or Path())) / FILE
    with alone(index.parent):
        return _imported(attempts, found, replace(how, base=how.base or base), index, progress)


def _imported(
    attempts: Sequence[Attempt],
    found: Sequence[Found],
    how: Conversion,
    index: Path,
    progress: Callable[[int], object],
) -> Imported:
    files = tuple(_named_copies(convert(attempts, how, progress=progress)))
    outside = tuple(sorted({raw for each in found for raw in each.outside} - {each.raw for each in files}))
    done = Imported(
        files=files,
        outside=outside,
        index=index if files else None,
        unread=tuple({path: why for each in found for path, why in each.unread}.items()),
        deeper=any(each.deeper for each in found),
    )
    if not files:
        return done
    rows = [{**each.row, "PATH": path_from(index, each.fits)} for each in files if each.is_there]
    try:
        write_rows(index, rows, how.disk)
    except StorageError as error:
        return replace(done, problem=error.detail)
    return done


@contextmanager
def alone(folder: Path, lock: type[DatasetLock] = DatasetLock) -> Iterator[None]:
    """Keep others of this machine from the same work on a folder; where there are no locks, each works for itself.

    Raises
    ------
    StorageError
        Another one is at work: `camera_busy`, naming it.
    """
    with ExitStack() as held:
        try:
            held.enter_context(lock(folder))
        except StorageError as error:
            if error.code is RunCode.CAMERA_BUSY:
                raise
        yield


def _named_copies(files: Iterable[Converted]) -> Iterator[Converted]:
    """Yield files, with a note in each whose bytes are those of a file before it."""
    unlike: defaultdict[int, list[Path]] = defaultdict(
        list
    )  # of one sum; frames of a camera have noise, and sums apart
    for each in files:
        alike = [] if each.data_sum is None else unlike[each.data_sum]
        before = next((path for path in alike if _are_equal(path, each.raw)), None)
        if before is None and each.data_sum is not None and len(alike) < _MOST_OF_ONE_SUM:
            alike.append(each.raw)
        copied = () if before is None else (f"its bytes are those of {before}",)
        yield replace(each, notes=(*each.notes, *copied)) if copied else each


def _are_equal(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other) or filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def _once(found: Sequence[Found]) -> list[Attempt]:
    """Return the attempts of all sections, each once, also where one section is a part of another."""
    taken: set[Path] = set()
    attempts: list[Attempt] = []
    for attempt in (attempt for each in found for attempt in each.attempts):
        if (folder := attempt.folder.resolve()) not in taken:
            taken.add(folder)
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
