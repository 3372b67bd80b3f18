"""What the kernels share with their caller: the tile's width, the recipe in numbers, where results go, the network."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

W = 256
"""Lanes of a tile: 40 frames of it are 20 kB of uint16 and stay in the first cache."""

NONE, MEDIAN, MINMAX, SIGMA_CLIP, MAD, WINSORIZED, NOISE_MODEL = range(7)
SATURATED, LOW_COUNT, NO_DATA = 8, 16, 32
MAD_TO_STD = 1.482602218505602  # 1 / Φ⁻¹(3/4), the digits astropy uses


class Params(NamedTuple):
    """A recipe in numbers."""

    method: int
    k: float
    iterations: int
    floor: float
    read_variance: float
    inverse_gain: float
    pedestal: float
    saturation: float
    min_count: int
    factor: float


class Planes(NamedTuple):
    """Where results go, each of shape (rows, x); `low` and `high` may be empty when nobody asks for them."""

    mean: NDArray[np.float32]
    sigma: NDArray[np.float32]
    counts: NDArray[np.uint16]
    mask: NDArray[np.uint8]
    low: NDArray[np.float32]
    high: NDArray[np.float32]


@lru_cache(maxsize=64)
def network(n: int) -> NDArray[np.int64]:
    """Return the comparators of Batcher's odd-even merge sort of n values, shape (c, 2), row offsets already times W.

    The network of the next power of two, without the comparators that reach beyond n: the missing values count as
    infinite and would never move.
    """
    pairs: list[tuple[int, int]] = []
    p = 1
    while p < n:
        k = p
        while k >= 1:
            for j in range(k % p, n - k, 2 * k):
                pairs.extend(
                    (i + j, i + j + k) for i in range(min(k, n - j - k)) if (i + j) // (2 * p) == (i + j + k) // (2 * p)
                )
            k //= 2
        p *= 2
    return np.array(pairs, dtype=np.int64).reshape(-1, 2) * W
