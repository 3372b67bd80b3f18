"""The frames of a dataset, wherever they are listed: `index.csv`, the catalogue of a root, a folder of FITS files."""

import csv
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath

from calibration.keywords.kinds import kind_of_word
from calibration.keywords.values import celsius, flag, number
from services.datasets import SEARCH_DEPTH
from services.datasets.attempts import Section
from services.datasets.files import files_of
from services.datasets.frame import DatasetFrame, DatasetFrames
from services.datasets.names import STAGES
from services.datasets.of_root import frames_of_root, is_root, roots_below
from services.datasets.reading import NOTHING, Listed, read_dataset_frame
from services.errors import Usage

INDEX = "index.csv"
_WORKERS = min(4, os.cpu_count() or 1)

Progress = Callable[[int], object]
_Listing = Iterable[tuple[Path, PurePath, Listed]]


def frames_of(
    base: Path, *, depth: int = SEARCH_DEPTH, progress: Progress = lambda _: None, by_rows: bool = False
) -> DatasetFrames:
    """Return the frames of a dataset; nothing is written, and no frame is changed.

    Parameters
    ----------
    base : Path
        An index that `nightcal dataset index` wrote (or an earlier program with the same columns), or a folder: the
        root of a nightcal, whose catalogue lists its frames, with an `index.csv`, or of FITS files and such roots.
    depth : int
        Of a folder of FITS files: folders below it that are looked into.
    progress : callable
        Called with the number of frames that were read.
    by_rows : bool
        Where nothing states the share of zeros in a frame, it is counted on some of the rows of a large one
        (`calibration.stats.spread_rows`), which are read in a fraction of the time.

    Returns
    -------
    DatasetFrames
        Files that cannot be read, or are not understood, are in `left_out` with the reason in words.

    Raises
    ------
    Usage
        It is none of these, with what to do.
    StorageError
        The catalogue of a root is damaged, or of a newer version.
    """
    base = base.absolute()
    if base.is_file():
        return _read_all(_listed(base), progress, by_rows=by_rows)
    if not base.is_dir():
        raise Usage(f"{base} is not there", advice="name a folder of frames, or an index of them")
    if is_root(base):
        return frames_of_root(base, progress)
    if (base / INDEX).is_file():
        return _read_all(_listed(base / INDEX), progress, by_rows=by_rows)
    return _of_folder(base, depth, progress, by_rows=by_rows)


def _of_folder(base: Path, depth: int, progress: Progress, *, by_rows: bool) -> DatasetFrames:
    """Return the frames of the roots below a folder, and of its other FITS files."""
    roots = roots_below(base)
    there = files_of(Section(root=base), depth)
    files = [path for path in there.frames if not _is_below(path, roots)]
    passed = [(path, why) for path, why in there.passed if not _is_below(path, roots)]
    if not files and not roots:
        raise Usage(f"{base} holds no FITS files, no {INDEX} and no catalogue", advice=_ADVICE)
    found = [frames_of_root(root, progress) for root in roots]
    listing = [(path, PurePath(base.name) / path.relative_to(base), NOTHING) for path in files]
    found.append(_read_all(listing, progress, by_rows=by_rows))
    return DatasetFrames(
        frames=tuple(frame for each in found for frame in each.frames),
        left_out=(*(left for each in found for left in each.left_out), *passed),
    )


def _is_below(path: Path, roots: Sequence[Path]) -> bool:
    return any(path.is_relative_to(root) for root in roots)


_ADVICE = (
    "name the folder of the frames; raw files become FITS files with `nightcal dataset import`, and a larger "
    "--search-depth looks deeper"
)


def _read_all(listing: _Listing, progress: Progress, *, by_rows: bool) -> DatasetFrames:
    frames: list[DatasetFrame] = []
    left_out: list[tuple[Path, str]] = []
    listed = list(listing)
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="nightcal-dataset") as pool:
        read = pool.map(lambda each: read_dataset_frame(*each, by_rows=by_rows), listed)
        for (path, *_), found in zip(listed, read, strict=True):
            progress(1)
            if isinstance(found, str):
                left_out.append((path, found))
            else:
                frames.append(found)
    return DatasetFrames(frames=tuple(frames), left_out=tuple(left_out))


def _listed(index: Path) -> _Listing:
    """Return the files of an index, each once, with their paths as seen from the dataset and what their rows say."""
    rows: dict[Path, Mapping[str, str]] = {}
    for row in _rows(index):
        rows.setdefault(_place(index, row["PATH"]), row)
    base = _common([index.parent, *(path.parent for path in rows)])
    return [(path, _within(base, path), _said(row)) for path, row in rows.items()]


def _within(base: Path, path: Path) -> PurePath:
    """Return a path as seen from the dataset; one on another drive as it is."""
    return PurePath(base.name) / path.relative_to(base) if path.is_relative_to(base) else path


def _place(index: Path, written: str) -> Path:
    """Return where the file of a row is: as seen from the index, else, as earlier programs wrote it, from this folder.

    Of one that is nowhere, the former; a table that was made on Windows has other slashes.
    """
    names = dict.fromkeys((written, written.replace("\\", "/")))
    places = [Path(os.path.normpath(at / name)) for at in (index.parent, Path.cwd()) for name in names]
    return next((place for place in places if place.is_file()), places[0])


def _common(folders: Sequence[Path]) -> Path:
    """Return the folder that all folders are, or are in; on several drives that of the first."""
    on_drive = [folder for folder in folders if folder.drive == folders[0].drive]
    return Path(os.path.commonpath(on_drive))


def _rows(index: Path) -> list[dict[str, str]]:
    """Return the rows of a table that name a file, by the names of its columns in capitals.

    Raises
    ------
    Usage
        It is no table of frames.
    """
    try:
        text = index.read_text(encoding="utf-8-sig", errors="surrogateescape")  # names of files keep their bytes
        first = text.partition("\n")[0]
        table = csv.reader(io.StringIO(text), delimiter=";" if ";" in first and "," not in first else ",")
        names = [name.strip().upper() for name in next(table, [])]
        rows = [dict(zip(names, cells, strict=False)) for cells in table]
    except csv.Error:
        names, rows = [], []
    except OSError as error:
        raise Usage(f"{index}: {error.strerror or error}", advice="name an index that can be read") from error
    if "PATH" not in names:
        raise Usage(f"{index} is no index of frames: it has no column PATH", advice=_ADVICE)
    return [row for row in rows if row.get("PATH")]


def _said(row: Mapping[str, str]) -> Listed:
    """Return what the row of an index says of its frame; a cell that is empty says nothing."""
    bad = flag(row.get("BADFITS") or row.get("BADSIZE"))
    return Listed(
        kind=kind_of_word(row.get("CALTYPE", "")),
        ccd_temp_c=celsius(row.get("TEMP")),
        stage=STAGES.get(row["STAGE"].casefold(), "") if "STAGE" in row else None,
        vacuum=row.get("VACUUM"),
        zero_fraction=number(row.get("ZEROFRACTION")),
        is_bad=bad,
    )
