"""FITS files of a dataset: each frame once, in the order in which people count."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from services.datasets import FITS_DIR, SEARCH_DEPTH
from services.datasets.attempts import Section
from services.datasets.names import natural
from services.files.fits import FITS_SUFFIXES

KEPT_OUT = frozenset({"master_frames", "masters", "planes", "plots", "comparisons"})
"""Folders of results, which are no part of a dataset."""
_PACKED = (".fz", ".gz", ".bz2")


EVERYWHERE = 1 << 10
"""A depth that no tree of folders has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The FITS files of a section in the order of their names as people count, and what was not looked at, and why."""

    frames: tuple[Path, ...]
    passed: tuple[tuple[Path, str], ...] = ()


def frames_in(section: Section, depth: int = SEARCH_DEPTH) -> list[Path]:
    """Return the FITS files of a section; as `files_of`."""
    return list(files_of(section, depth).frames)


def files_of(section: Section, depth: int = SEARCH_DEPTH) -> Files:
    """Return the FITS files of a section, each once, and files and folders that were passed over, with the reason.

    The packed form of a file that is there itself is no frame of its own. Folders of masters and plots hold no frames,
    and folders without which the section is are not looked into.

    Parameters
    ----------
    section : Section
    depth : int
        Folders below the section that are looked into; the folder `fits` of an attempt does not count.
    """
    found: list[Path] = []
    passed: dict[Path, str] = {}

    def note(error: OSError) -> None:
        passed[Path(error.filename)] = f"it cannot be read: {error.strerror}"

    for place, names, files in os.walk(section.root, onerror=note):
        folder = Path(place)
        there = {name for name in files if name.lower().endswith(FITS_SUFFIXES) and not name.startswith(".")}
        frames = [folder / name for name in there if not _is_twin(name, there)]
        deep = len(folder.relative_to(section.root).parts)
        if deep > depth + (folder.name == FITS_DIR):
            passed |= dict.fromkeys(frames, TOO_DEEP)
        else:
            found += frames
        names[:] = [name for name in names if _is_looked_into(name) and folder / name not in section.without]
        passed |= {folder / name: _LINK for name in names if (folder / name).is_symlink()}
    found.sort(key=lambda path: natural(path.relative_to(section.root).as_posix()))
    return Files(frames=tuple(found), passed=tuple(sorted(passed.items())))


TOO_DEEP = "it lies in a deeper folder than is looked into: a larger --search-depth does"
_LINK = "it is a link to a folder, which is not followed: name the folder itself in the call"


def _is_looked_into(folder: str) -> bool:
    return not folder.startswith(".") and folder.casefold() not in KEPT_OUT


def _is_twin(name: str, there: Collection[str]) -> bool:
    stem, dot, ending = name.rpartition(".")
    return f"{dot}{ending}".lower() in _PACKED and stem in there
