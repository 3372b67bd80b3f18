"""`index.csv`: one row for each FITS frame of a dataset, by its header first, by its folders else."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from calibration.errors import CalibrationError
from calibration.frames import FrameKind
from calibration.keywords.kinds import kind_of, kind_of_path, kind_of_word
from calibration.keywords.values import number
from services.datasets import FITS_DIR, SEARCH_DEPTH
from services.datasets.attempts import Section
from services.datasets.fits_index import path_from, table_text
from services.datasets.names import natural, stage_of, vacuum_of
from services.files.disk import REAL_DISK, Disk, write_text
from services.files.fits import FITS_SUFFIXES, Unreadable, read_cards, read_pixels

COLUMNS = ("PATH", "CALTYPE", "STAGE", "VACUUM", "TEMP", "ZEROFRACTION", "BADFITS")
MOST_ZEROS = 0.01
"""A larger share of zeros than this makes a frame a bad one."""
_KEPT_OUT = frozenset({"master_frames", "masters", "planes", "plots", "comparisons"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """The rows of an index, and files that have none, with the reason in words."""

    rows: tuple[dict[str, str], ...]
    left_out: tuple[tuple[Path, str], ...] = ()
    others: tuple[tuple[Path, FrameKind], ...] = ()
    """Frames whose own header or folder says another kind than the section that they were named as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a call says of all frames: `stage` and `vacuum` hold instead of what folders say."""

    stage: str = ""
    vacuum: str = ""
    depth: int = SEARCH_DEPTH


def frames_in(section: Section, depth: int = SEARCH_DEPTH) -> list[Path]:
    """Return the FITS files of a section in the order of their names as people count, each once.

    Parameters
    ----------
    section : Section
    depth : int
        Folders below the section that are looked into; the folder `fits` of an attempt does not count.
    """
    found: list[Path] = []
    for place, names, files in os.walk(section.root):
        folder = Path(place)
        found += [folder / name for name in files if name.lower().endswith(FITS_SUFFIXES) and not name.startswith(".")]
        is_deep = len(folder.relative_to(section.root).parts) >= depth
        names[:] = [name for name in names if _is_looked_into(name) and (not is_deep or name == FITS_DIR)]
    return sorted(found, key=lambda path: natural(path.relative_to(section.root).as_posix()))


def _is_looked_into(folder: str) -> bool:
    return not folder.startswith(".") and folder.casefold() not in _KEPT_OUT


def discovered(root: Path) -> tuple[Section, ...]:
    """Return the sections below a folder by their names: TestSection1 to 3, or bias, darks, flats in any spelling.

    A section within another one is a part of it.
    """
    found: list[Section] = []
    for place, names, _ in os.walk(root):
        kinds = {name: _kind_of_folder(name) for name in names}
        found += [Section(root=Path(place) / name, kind=kind) for name, kind in kinds.items() if kind is not None]
        names[:] = [name for name, kind in kinds.items() if kind is None]
    return tuple(sorted(found, key=lambda each: (_ORDER.index(each.kind), natural(each.root.as_posix()))))


_ORDER: list[FrameKind | None] = [FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT]


def _kind_of_folder(name: str) -> FrameKind | None:
    """Return the kind that the name of a folder means: only bias, dark and flat are looked for, not every synonym."""
    if not re.search("bias|dark|flat|testsection", name.casefold()):
        return None
    return kind_of_path(PurePath(name, "frame")) or kind_of_word(name)


def index_of(
    sections: Sequence[Section],
    out: Path,
    asked: Asked | None = None,
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> Indexed:
    """Return the rows of an index; nothing is written, and no frame is changed.

    Parameters
    ----------
    sections : sequence of Section
    out : Path
        Where the index will be: paths are as seen from its folder.
    asked : Asked, optional
    progress : callable
        Called with the number of frames that were read.
    """
    asked = asked or Asked()
    files: dict[Path, Section] = {}
    for section in sections:
        for path in frames_in(section, asked.depth):
            files.setdefault(path, section)
    rows: list[dict[str, str]] = []
    left_out: list[tuple[Path, str]] = []
    others: list[tuple[Path, FrameKind]] = []
    with ThreadPoolExecutor(2, thread_name_prefix="nightcal-index") as pool:
        for path, found in zip(files, pool.map(lambda path: _read(path, files[path], out, asked), files), strict=True):
            progress(1)
            if isinstance(found, str):
                left_out.append((path, found))
                continue
            row, says = found
            rows.append(row)
            if says is not None and says is not files[path].kind and files[path].kind is not None:
                others.append((path, says))
    return Indexed(rows=tuple(rows), left_out=tuple(left_out), others=tuple(others))


def _read(path: Path, section: Section, out: Path, asked: Asked) -> tuple[dict[str, str], FrameKind | None] | str:
    """Return the row of a frame and what kind it says it is; in words why it has none."""
    try:
        cards = read_cards(path)
        zeros = number(cards.get("ZEROFRAC"))
        if zeros is None:
            zeros = _zeros(path)
    except Unreadable as error:
        return error.detail
    within = (section.root.name, *path.relative_to(section.root).parent.parts)
    says = _kind(cards, path, within)
    kind = section.kind or says
    temperature = number(cards.get("TEMP", cards.get("CCD-TEMP", cards.get("EQTEMP"))))
    is_bad = zeros > MOST_ZEROS or cards.get("BADSIZE") is True
    row = {
        "PATH": path_from(out, path),
        "CALTYPE": "" if kind is None else kind.value,
        "STAGE": asked.stage or stage_of(within),
        "VACUUM": asked.vacuum or vacuum_of(within),
        "TEMP": "" if temperature is None else f"{temperature:.12g}",
        "ZEROFRACTION": f"{zeros:.12g}",
        "BADFITS": str(is_bad),
    }
    return row, says


def _kind(cards: dict[str, object], path: Path, within: Sequence[str]) -> FrameKind | None:
    """Return what a frame says it is: its header, else its name, else its folders."""
    with suppress(CalibrationError):
        return kind_of(cards, PurePath(*within, path.name))
    return None


def _zeros(path: Path) -> float:
    """Return the share of zeros in a frame that was converted by another program, which has not counted them."""
    pixels = read_pixels(path)
    return 1.0 - float(np.count_nonzero(pixels)) / pixels.size


def write_index(path: Path, found: Indexed, disk: Disk = REAL_DISK) -> None:
    """Write the index in place of an older one; raises `StorageError`."""
    write_text(path, table_text(found.rows, COLUMNS), disk, replace=True)


def bad_ones(found: Indexed) -> Iterator[dict[str, str]]:
    """Yield the rows of bad frames."""
    yield from (row for row in found.rows if row["BADFITS"] == "True")
