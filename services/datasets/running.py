"""A dataset from its raw frames to its masters: the stages and sections of a layout, imported and indexed.

What a dataset that may only be read cannot take goes below the folder of results instead, in a tree of the same names.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from services.datasets import FITS_DIR, FRAMES_DIR, SEARCH_DEPTH
from services.datasets.attempts import Section, attempts_of
from services.datasets.conversion import Conversion
from services.datasets.files import frames_in
from services.datasets.importing import Imported, import_raws
from services.datasets.index import Asked, Indexed, discovered, index_of, write_index
from services.datasets.names import natural, stage_of
from services.errors import Usage
from services.files.disk import REAL_DISK, Disk

INDEX = "index.csv"
COPY = "dataset"
"""Below the folder of results: the frames and tables of a dataset that may only be read."""


class Arrangement(StrEnum):
    """How a dataset is laid out."""

    STANDARD = "standard"
    IRRADIATION = "irradiation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A folder with sections: a standard dataset itself, or one of the stages or doses of an irradiation."""

    root: Path
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A dataset that can be processed: what was imported (None: there were no raw frames), and its indexes."""

    imported: Imported | None
    index: Path
    indexed: Indexed
    of_stages: tuple[Path, ...] = ()
    beside: tuple[Path, ...] = ()
    """Files of frames, raw or converted, that are in no stage."""


def stages_of(base: Path, arrangement: Arrangement, out: Path) -> tuple[Stage, ...]:
    """Return the stages of a dataset, in the order of time; folders of results are none.

    Raises
    ------
    Usage
        Nothing is there that the layout has, with what it has.
    """
    if not base.is_dir():
        raise Usage(f"{base} is no folder", advice="name the folder of the dataset")
    roots = [base] if arrangement is Arrangement.STANDARD else list(_stage_folders(base))
    found = [Stage(root=root, sections=_sections(root, out)) for root in roots]
    found = [stage for stage in found if stage.sections]
    if not found:
        standard = "TestSection1, TestSection2 and TestSection3, or folders of biases, darks and flats"
        stages = "Preirradiation, Irradiation and Postirradiation, with Bias, Darks and Flats in each (or each dose)"
        is_standard = arrangement is Arrangement.STANDARD
        advice = "`nightcal dataset process BASE OUT` takes FITS frames in any folders"
        advice += "; an irradiation is another layout" if is_standard else "; `standard` is the other layout"
        raise Usage(f"{base} does not have {standard if is_standard else stages}", advice=advice)
    return tuple(found)


def _sections(root: Path, out: Path) -> tuple[Section, ...]:
    """Return the sections of a stage by their names, and what it has beside them; none where nothing has such a name.

    Results that lie below a dataset are no part of it.
    """
    results = (out,) if out != root and out.is_relative_to(root) else ()
    named = [each for each in discovered(root) if not any(each.root.is_relative_to(place) for place in results)]
    rest = Section(root=root, without=(*(each.root for each in named), *results))
    return (*named, rest) if named else ()


def _stage_folders(base: Path) -> list[Path]:
    """Return the folders of stages: those of before and after, and those of each dose in between."""
    order = ("pre", "radiating", "post")
    named = sorted((p for p in base.iterdir() if p.is_dir()), key=lambda p: natural(p.name))
    staged = sorted(
        ((stage_of((p.name,)), p) for p in named if stage_of((p.name,))), key=lambda each: order.index(each[0])
    )
    found: list[Path] = []
    for _, folder in staged:
        own = [each for each in discovered(folder) if each.root.parent == folder]
        doses = [] if own else sorted((p for p in folder.iterdir() if p.is_dir()), key=lambda p: natural(p.name))
        found += doses or [folder]
    return found


def made_ready(
    base: Path,
    stages: Sequence[Stage],
    out: Path,
    *,
    frames_dir: str = FRAMES_DIR,
    depth: int = SEARCH_DEPTH,
    progress: Callable[[str, int | None, int], object] = lambda *_: None,
    disk: Disk = REAL_DISK,
) -> Ready:
    """Import what is raw and index what is there: a table in each stage, and one of all.

    Attempts that have FITS frames beside them already are not converted where they cannot be beside them again.

    Raises
    ------
    Usage
        There is no frame, raw or converted.
    StorageError
        A table cannot be written, or another import is at work.
    """
    home = base if _can_write(base) else out / COPY
    sections = [section for stage in stages for section in stage.sections]
    elsewhere = home != base
    raw = [_unconverted(each, frames_dir, depth) for each in sections] if elsewhere else sections
    how = Conversion(out=home if elsewhere else None, base=base, disk=disk)
    imported = import_raws(
        raw,
        how,
        frames_dir=frames_dir,
        depth=depth,
        begun=lambda total: progress("raw files", total, 0),
        progress=lambda done: progress("raw files", None, done),
    )
    everywhere = [*sections, *(_moved(each, base, home) for each in sections)] if elsewhere else sections
    of_stages = []
    for stage in stages if len(stages) > 1 or stages[0].root != base else ():
        of = [each for each in everywhere if each.root.is_relative_to(stage.root)]
        of += [each for each in everywhere if elsewhere and each.root.is_relative_to(_at(stage.root, base, home))]
        of_stages.append(_at(stage.root, base, home) / INDEX)
        write_index(of_stages[-1], index_of(of, of_stages[-1], Asked(depth=depth)), disk)
    index = home / INDEX
    indexed = index_of(
        everywhere, index, Asked(depth=depth), progress=lambda done: progress("frames listed", None, done)
    )
    if not indexed.rows:
        more = "try a larger --search-depth" if imported.deeper else "raw frames are .raw files beside their settings"
        raise Usage(f"there is no frame below {base}", advice=more)
    write_index(index, indexed, disk)
    had_raws = imported.files or imported.outside
    return Ready(
        imported=imported if had_raws else None,
        index=index,
        indexed=indexed,
        of_stages=tuple(of_stages),
        beside=_beside(base, stages, out, frames_dir, depth),
    )


def _beside(base: Path, stages: Sequence[Stage], out: Path, frames_dir: str, depth: int) -> tuple[Path, ...]:
    """Return the files of frames that are in no stage, raw ones first."""
    if any(stage.root == base for stage in stages):
        return ()
    rest = Section(root=base, without=(*(stage.root for stage in stages), out))
    found = attempts_of(rest, frames_dir=frames_dir, depth=depth)
    raws = [raw for each in found.attempts for raw in each.raws]
    return (*raws, *found.outside, *frames_in(rest, depth))


def _can_write(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _at(folder: Path, base: Path, home: Path) -> Path:
    return home / folder.relative_to(base)


def _moved(section: Section, base: Path, home: Path) -> Section:
    without = (_at(each, base, home) for each in section.without if each.is_relative_to(base))
    return replace(section, root=_at(section.root, base, home), without=tuple(without))


def _unconverted(section: Section, frames_dir: str, depth: int) -> Section:
    """Return a section without the attempts that have FITS frames already."""
    attempts = attempts_of(section, frames_dir=frames_dir, depth=depth).attempts
    has_frames = [each.folder for each in attempts if frames_in(Section(root=each.folder / FITS_DIR), depth=0)]
    return replace(section, without=(*section.without, *has_frames))
