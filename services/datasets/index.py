"""`index.csv`: one row for each FITS frame of a dataset, by its header first, by its folders else."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath

from calibration.frames import FrameKind
from calibration.keywords import sensor_celsius
from calibration.keywords.kinds import kind_of_path, kind_of_word
from services.datasets import SEARCH_DEPTH
from services.datasets.attempts import Section
from services.datasets.files import KEPT_OUT, TOO_DEEP, files_of, frames_in
from services.datasets.fits_index import path_from, table_text, write_table
from services.datasets.frame import DatasetFrame
from services.datasets.names import natural, stage_of, vacuum_of
from services.datasets.of_root import frames_of_root, is_root
from services.datasets.reading import in_words, own_kind, share_of_zeros, single_frame, why_bad
from services.errors import StorageError
from services.files.disk import REAL_DISK, Disk

COLUMNS = ("PATH", "CALTYPE", "STAGE", "VACUUM", "TEMP", "ZEROFRACTION", "BADFITS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """The rows of an index, and files that have none, with the reason in words."""

    rows: tuple[dict[str, str], ...]
    left_out: tuple[tuple[Path, str], ...] = ()
    others: tuple[tuple[Path, FrameKind], ...] = ()
    """Frames whose own header or folder says another kind than the section that they were named as."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing at the depth that was looked into."""
        return not self.rows and all(why == TOO_DEEP for _, why in self.left_out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a call says of all frames: `stage` and `vacuum` hold instead of what folders say."""

    stage: str = ""
    vacuum: str = ""
    depth: int = SEARCH_DEPTH


def discovered(root: Path) -> tuple[Section, ...]:
    """Return the sections below a folder by their names: TestSection1 to 3, or bias, darks, flats in any spelling.

    A section within another one is a part of it. A folder with a catalogue of ours has none: its frames say what they
    are. Hidden folders have none either: a bin of what was deleted is one.
    """
    found: list[Section] = []
    for place, names, _ in os.walk(root):
        names[:] = [] if is_root(Path(place)) else [name for name in names if not name.startswith(".")]
        kinds = {name: _kind_of_folder(name) for name in names}
        found += [Section(root=Path(place) / name, kind=kind) for name, kind in kinds.items() if kind is not None]
        names[:] = [name for name, kind in kinds.items() if kind is None and name.casefold() not in KEPT_OUT]
    return tuple(sorted(found, key=lambda each: (_ORDER.index(each.kind), natural(each.root.as_posix()))))


def with_the_rest(root: Path) -> tuple[Section, ...]:
    """Return the sections below a folder by their names, and what it has beside them: of that, names say the kinds."""
    sections = discovered(root)
    return *sections, Section(root=root, without=tuple(each.root for each in sections))


def fits_outside(root: Path, sections: Sequence[Section], depth: int = SEARCH_DEPTH) -> list[Path]:
    """Return the FITS files below a folder that are in none of the sections; parameters as for `frames_in`."""
    apart = [section.root for section in sections]
    return [p for p in frames_in(Section(root=root), depth) if not any(p.is_relative_to(each) for each in apart)]


_ORDER: list[FrameKind | None] = [FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT]


def _kind_of_folder(name: str) -> FrameKind | None:
    """Return the kind that the name of a folder means: only bias, dark and flat are looked for, not every synonym."""
    if not re.search("bias|dark|flat|testsection", name.casefold()):
        return None
    return kind_of_path(PurePath(name, "frame")) or kind_of_word(name) or _only_kind(name)


def _only_kind(name: str) -> FrameKind | None:
    """Return the one kind that a word of a name means, beside words that mean none: "Darks viejos", "bias_old"."""
    kinds = {kind_of_word(word) for word in re.findall(r"[a-z]+", name.casefold()) if re.match("bias|dark|flat", word)}
    return kinds.pop() if len(kinds) == 1 else None


def index_of(
    sections: Sequence[Section],
    out: Path,
    asked: Asked | None = None,
    *,
    roots: Sequence[Path] = (),
    progress: Callable[[int], object] = lambda _: None,
) -> Indexed:
    """Return the rows of an index; nothing is written, and no frame is changed.

    Parameters
    ----------
    sections : sequence of Section
    out : Path
        Where the index will be: paths are as seen from its folder.
    asked : Asked, optional
    roots : sequence of Path
        Folders with a catalogue of ours: its frames come after those of the sections.
    progress : callable
        Called with the number of frames that were read.
    """
    asked = asked or Asked()
    files: dict[Path, Section] = {}
    left_out: list[tuple[Path, str]] = []
    for section in sections:
        there = files_of(section, asked.depth)
        files |= {path: section for path in there.frames if path not in files}
        left_out += there.passed
    rows: list[dict[str, str]] = []
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
    for root in roots:
        of_root = frames_of_root(root, progress)
        rows += [_row(frame, out, asked) for frame in of_root.frames]
        left_out += of_root.left_out
    return Indexed(rows=tuple(rows), left_out=tuple(left_out), others=tuple(others))


def _read(path: Path, section: Section, out: Path, asked: Asked) -> tuple[dict[str, str], FrameKind | None] | str:
    """Return the row of a frame and what kind it says it is; in words why it has none."""
    within = PurePath(section.root.name) / path.relative_to(section.root)
    try:
        unit, cards = single_frame(path, within)
        zeros = share_of_zeros(path, unit, cards)
        says = own_kind(cards, within)
    except (StorageError, OSError) as error:
        return in_words(error, path)
    kind, folders = section.kind or says, path.parent.parts
    if kind is None:
        return "nothing says what kind of frame it is"
    celsius = sensor_celsius(cards, within)
    row = {
        "PATH": path_from(out, path),
        "CALTYPE": kind.value,
        "STAGE": asked.stage or stage_of(folders),
        "VACUUM": asked.vacuum or vacuum_of(folders),
        "TEMP": "" if celsius is None else f"{celsius:.12g}",
        "ZEROFRACTION": f"{zeros:.12g}",
        "BADFITS": str(bool(why_bad(zeros, cards))),
    }
    return row, says


def _row(frame: DatasetFrame, out: Path, asked: Asked) -> dict[str, str]:
    """Return the row of a frame of ours."""
    celsius, zeros = frame.header.ccd_temp_c, frame.zero_fraction
    return {
        "PATH": path_from(out, frame.path),
        "CALTYPE": frame.header.kind.value,
        "STAGE": asked.stage or frame.stage,
        "VACUUM": asked.vacuum or frame.vacuum,
        "TEMP": "" if celsius is None else f"{celsius:.12g}",
        "ZEROFRACTION": "" if zeros is None else f"{zeros:.12g}",
        "BADFITS": str(bool(frame.bad)),
    }


def write_index(path: Path, found: Indexed, disk: Disk = REAL_DISK) -> None:
    """Write the index in place of an older one; raises `StorageError`."""
    write_table(path, table_text(found.rows, COLUMNS), disk)


def bad_ones(found: Indexed) -> Iterator[dict[str, str]]:
    """Yield the rows of bad frames."""
    yield from (row for row in found.rows if row["BADFITS"] == "True")
