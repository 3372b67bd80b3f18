"""What the kernels share with their caller: a tile's layout, the recipe in numbers, where results go, the network."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

W = 256
"""Lanes of a tile: 40 frames of it are 20 kB of uint16 and stay in the first cache."""

BLOCK = 8
"""Rows that are sorted and merged inside the registers; a tile has whole blocks."""

NONE, MEDIAN, MINMAX, SIGMA_CLIP, MAD, WINSORIZED, NOISE_MODEL = range(7)
NOISY, SATURATED, LOW_COUNT, NO_DATA = 4, 8, 16, 32
FAR = 5.0
"""A rejected sample so many standard deviations away from what is kept is a jump, not the edge of the noise."""

MAD_TO_STD = 1.482602218505602  # 1 / Φ⁻¹(3/4), the digits astropy uses


class Params(NamedTuple):
    """A recipe in numbers.

    Samples are rounded to a `step` of the converter: bounds lie one farther out than `k` times the spread, which is at
    least `narrowest`, and the variance of what is kept is at least that of rounding, `rounding`. A pixel that jumps
    `jumps` times, by standard deviations of at least a `typical` variance, is NOISY: what is left of few samples may
    scatter by less. `stored` frames are words of FITS files, not yet values.
    """

    method: int
    k: float
    iterations: int
    step: float
    narrowest: float
    rounding: float
    read_variance: float
    inverse_gain: float
    pedestal: float
    saturation: float
    min_count: int
    jumps: int
    typical: float
    factor: float
    stored: bool


class Planes(NamedTuple):
    """Where results go, each of shape (rows, x); `low` and `high` may be empty when nobody asks for them."""

    mean: NDArray[np.float32]
    sigma: NDArray[np.float32]
    counts: NDArray[np.uint16]
    mask: NDArray[np.uint16]
    low: NDArray[np.float32]
    high: NDArray[np.float32]


WHOLE_ROWS, SINGLE_ROWS, EXACT_ROWS, PLACE_ROWS = 8, 17, 16, 6
"""Numbers a lane has: exact ones and float32 ones on a desk, when it is settled exactly, and where it came from."""


class Desk(NamedTuple):
    """A sorted tile and what is known of its lanes: rows of W lanes, one after another in 1-D arrays.

    Rows lie at constant distances in few arrays and begin at cache lines: the compiler proves more about them, and no
    vector spans two lines (half the time of sorting).
    """

    tile: NDArray[np.uint16] | NDArray[np.float32]
    whole: NDArray[np.int32] | NDArray[np.float32]
    single: NDArray[np.float32]
    least: NDArray[np.uint16] | NDArray[np.float32]
    deviations: NDArray[np.float32]


class Bench(NamedTuple):
    """The working memory of one call: all lanes of a place, some that may lose samples, and the last that are in doubt.

    `filled` is how many lanes of `some` and of `last` are taken, `place` and `last_place` say where they came from.
    """

    all: Desk
    some: Desk
    place: NDArray[np.int64]
    last: NDArray[np.uint16] | NDArray[np.float32]
    last_place: NDArray[np.int64]
    exact: NDArray[np.float64]
    saturated: NDArray[np.uint16]
    filled: NDArray[np.int64]


def bench(n: int, *, integers: bool) -> Bench:
    """Return working memory for n frames of uint16, or of float32; rows beyond n hold what sorts to the end."""
    rows = -(-n // BLOCK) * BLOCK
    dtype = np.uint16 if integers else np.float32
    return Bench(
        all=_desk(rows, dtype, deviations=0),
        some=_desk(rows, dtype, deviations=rows),
        place=aligned(PLACE_ROWS, np.int64),
        last=aligned(rows, dtype),
        last_place=aligned(PLACE_ROWS, np.int64),
        exact=aligned(EXACT_ROWS, np.float64),
        saturated=aligned(1, np.uint16),
        filled=np.zeros(2, np.int64),
    )


def _desk(rows: int, dtype: Any, *, deviations: int) -> Desk:
    tile = aligned(rows, dtype)
    tile[:] = np.inf if dtype is np.float32 else np.iinfo(dtype).max
    return Desk(
        tile=tile,
        whole=aligned(WHOLE_ROWS, np.float32 if dtype is np.float32 else np.int32),
        single=aligned(SINGLE_ROWS, np.float32),
        least=aligned(1, dtype),
        deviations=aligned(deviations, np.float32),
    )


def aligned(rows: int, dtype: Any) -> Any:
    """Return zeros for rows of W lanes that begin at a cache line."""
    kind = np.dtype(dtype)
    raw = np.zeros(rows * W * kind.itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + rows * W * kind.itemsize].view(kind)


@lru_cache(maxsize=64)
def network(n: int) -> NDArray[np.int64]:
    """Return the comparators of Batcher's odd-even merge sort of n values, shape (c, 2).

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
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def block_network(n: int) -> NDArray[np.int64]:
    """Return the network over the blocks of n rows, as offsets into a tile."""
    return network(-(-n // BLOCK)) * (BLOCK * W)
