"""FITS files of a dataset: each frame once, in the order in which people count."""

import os
from collections.abc import Collection
from pathlib import Path

from services.datasets import FITS_DIR, SEARCH_DEPTH
from services.datasets.attempts import Section
from services.datasets.names import natural
from services.files.fits import FITS_SUFFIXES

KEPT_OUT = frozenset({"master_frames", "masters", "planes", "plots", "comparisons"})
"""Folders of results, which are no part of a dataset."""
_PACKED = (".fz", ".gz", ".bz2")


def frames_in(section: Section, depth: int = SEARCH_DEPTH) -> list[Path]:
    """Return the FITS files of a section in the order of their names as people count, each once.

    The packed form of a file that is there itself is no frame of its own.

    Parameters
    ----------
    section : Section
    depth : int
        Folders below the section that are looked into; the folder `fits` of an attempt does not count.
    """
    found: list[Path] = []
    for place, names, files in os.walk(section.root):
        folder = Path(place)
        there = {name for name in files if name.lower().endswith(FITS_SUFFIXES) and not name.startswith(".")}
        found += [folder / name for name in there if not _is_twin(name, there)]
        is_deep = len(folder.relative_to(section.root).parts) >= depth
        names[:] = [name for name in names if _is_looked_into(name) and (not is_deep or name == FITS_DIR)]
    return sorted(found, key=lambda path: natural(path.relative_to(section.root).as_posix()))


def _is_looked_into(folder: str) -> bool:
    return not folder.startswith(".") and folder.casefold() not in KEPT_OUT


def _is_twin(name: str, there: Collection[str]) -> bool:
    stem, dot, ending = name.rpartition(".")
    return f"{dot}{ending}".lower() in _PACKED and stem in there
