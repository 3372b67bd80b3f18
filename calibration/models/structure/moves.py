"""Structures that moved: what goes at one place when its like comes at another one, as reflections do."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from calibration.models.structure.shapes import Kind

_MOVABLE = (Kind.DUST_DISC, Kind.DUST_RING, Kind.GHOST)
_LIKE_AREA, _LIKE_LENGTH, _LIKE_DEPTH = 1.6, 1.4, 1.35
"""Ratios below which two structures are alike: their pixels are those that noise lets be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What is compared of a structure.

    Attributes
    ----------
    kind : Kind
    area, length, depth : float
        In pixels; the depth is that of the difference, of either sign.
    born, gone : int or None
        Epochs in which it came and went; None: not seen.
    """

    kind: Kind
    area: float
    length: float
    depth: float
    born: int | None
    gone: int | None


def moves_of(lives: Sequence[Life]) -> dict[int, int]:
    """Return which structures moved: the number of each that went, and of its like that came in the same epoch.

    Alike are structures of one kind, of about equal size, length and depth. Where one that went has several likes, or
    one that came, nothing says which is which: none of them is linked.

    Parameters
    ----------
    lives : sequence of Life
        Of one analysis.
    """
    pairs = [
        (old, new)
        for old, a in enumerate(lives)
        for new, b in enumerate(lives)
        if old != new and a.gone is not None and a.gone == b.born and _alike(a, b)
    ]
    of_old, of_new = defaultdict(list), defaultdict(list)
    for old, new in pairs:
        of_old[old].append(new)
        of_new[new].append(old)
    return {old: new for old, new in pairs if len(of_old[old]) == len(of_new[new]) == 1}


def _alike(a: Life, b: Life) -> bool:
    measures = ((a.area, b.area, _LIKE_AREA), (a.length, b.length, _LIKE_LENGTH), (a.depth, b.depth, _LIKE_DEPTH))
    near = all(max(abs(x), abs(y)) <= ratio * min(abs(x), abs(y)) for x, y, ratio in measures)
    return a.kind is b.kind and a.kind in _MOVABLE and near
