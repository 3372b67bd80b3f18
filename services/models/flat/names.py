"""The names of what is made of single flats: no file overwrites one of another folder."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path


def names_of(paths: Sequence[Path]) -> dict[Path, str]:
    """Return a name without ending for what is made of each file; no two are equal, in whatever case.

    Files of one name in different folders have the names of these folders before it.
    """
    equal: defaultdict[str, list[Path]] = defaultdict(list)
    for path in paths:
        equal[_stem(path).lower()].append(path)
    wished = {}
    for some in equal.values():
        for path in some:
            wished[path] = _stem(path) if len(some) == 1 else "_".join([*_apart(path, some), _stem(path)])
    return _unequal(paths, wished)


def _unequal(paths: Sequence[Path], wished: dict[Path, str]) -> dict[Path, str]:
    taken: set[str] = set()
    for path in paths:
        name = wished[path]
        number, free = 1, name
        while free.lower() in taken:
            number += 1
            free = f"{name}-{number}"
        taken.add(free.lower())
        wished[path] = free
    return {path: wished[path] for path in paths}


def _stem(path: Path) -> str:
    lower = path.name.lower()
    ends = (".fits.fz", ".fits.gz", ".fit.gz", ".fts.gz", ".fits.bz2", ".fits", ".fit", ".fts", ".fz", ".gz")
    end = next((end for end in ends if lower.endswith(end)), "")
    return path.name[: len(path.name) - len(end)]


def _apart(path: Path, others: Sequence[Path]) -> list[str]:
    """Return the folders of a path below what all of the paths have in common."""
    parts = [other.parent.parts for other in others]
    common = 0
    while all(len(p) > common and p[common] == parts[0][common] for p in parts):
        common += 1
    return list(path.parent.parts[common:])
