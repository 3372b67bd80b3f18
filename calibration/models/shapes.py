"""The planes of models: their type, and where each element of a covariance stands."""

from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float64]


def pairs(p: int) -> list[tuple[int, int]]:
    """Return row and column of each plane of a covariance: the upper triangle of a p x p matrix, row by row."""
    return list(combinations_with_replacement(range(p), 2))
