"""The vector pass: whole lanes of a sorted tile at once, in int32 or float32, and which of them need more than it.

Sums are taken of deviations from the lower median: exact for uint16 while they are below a limit, in float32 otherwise.
A lane of which something might be cut, whose deviations are beyond the limit or which has not all its samples is
marked; `exact` settles those. The test errs towards marking, so that rounding decides nothing here.
"""

from math import inf, sqrt
from typing import Any

import numpy as np
from numba import njit

from calibration.combine import tiles
from calibration.combine.kernels import winsor

W = tiles.W
LOWER, UPPER, SUM, SQUARES, RANK, RANK_BEFORE = range(0, 6 * W, W)
SPREAD, VARIANCE = W, 2 * W  # of `single`; its first row belongs to the winsorized iteration
AT_ONCE = 8


@njit(nogil=True, error_model="numpy")
def kept_rows(n: int, method: int) -> tuple[int, int]:
    """Return the rows first..last-1 of which something is kept at most."""
    return (1, n - 1) if method == tiles.MINMAX and n > 2 else (0, n)


@njit(nogil=True, error_model="numpy")
def survey(n: int, p: Any, bench: Any) -> None:
    """Sum up all lanes of the sorted tile and mark those that are to be settled exactly."""
    tile, fast, single = bench.tile, bench.fast, bench.single
    lo, hi = kept_rows(n, p.method)
    middle, other = tile[(n - 1) // 2 * W : (n + 1) // 2 * W], tile[n // 2 * W : (n // 2 + 1) * W]
    for j in range(W):
        fast[LOWER + j] = middle[j]
        fast[UPPER + j] = other[j]
    _sum_up(tile[lo * W : hi * W], fast)
    m = np.float32(hi - lo)
    for j in range(W):
        s = np.float32(fast[SUM + j])
        single[VARIANCE + j] = max(np.float32(fast[SQUARES + j]) - s * s / m, np.float32(0.0))
    _mark(n, p, bench)


@njit(nogil=True, error_model="numpy")
def _sum_up(rows: Any, fast: Any) -> None:
    for j in range(2 * W):
        fast[SUM + j] = 0
    whole = rows.shape[0] // (AT_ONCE * W) * (AT_ONCE * W)
    for start in range(0, whole, AT_ONCE * W):
        _add_eight(rows[start : start + AT_ONCE * W], fast)
    for start in range(whole, rows.shape[0], W):
        row = rows[start : start + W]
        for j in range(W):
            d = fast.dtype.type(row[j] - fast[LOWER + j])
            fast[SUM + j] += d
            fast[SQUARES + j] += d * d


@njit(nogil=True, error_model="numpy")
def _add_eight(t: Any, fast: Any) -> None:
    """Add eight rows: the sums are loaded and stored once, and rounded less often."""
    number = fast.dtype.type
    for j in range(W):
        c = fast[LOWER + j]
        a, b = number(t[j] - c), number(t[W + j] - c)
        d, e = number(t[2 * W + j] - c), number(t[3 * W + j] - c)
        f, g = number(t[4 * W + j] - c), number(t[5 * W + j] - c)
        h, i = number(t[6 * W + j] - c), number(t[7 * W + j] - c)
        fast[SUM + j] += ((a + b) + (d + e)) + ((f + g) + (h + i))
        fast[SQUARES + j] += ((a * a + b * b) + (d * d + e * e)) + ((f * f + g * g) + (h * h + i * i))


@njit(nogil=True, error_model="numpy")
def _mark(n: int, p: Any, bench: Any) -> None:
    tile, fast, single, rest = bench.tile, bench.fast, bench.single, bench.rest
    lo, hi = kept_rows(n, p.method)
    if hi - lo < 2 or (p.method == tiles.WINSORIZED and n < winsor.LEAST):
        # a single sample has the noise it should have
        rest[:] = 1
        return
    _spreads(n, p, bench)
    least, most = _limits(n, fast)
    slack = 1.0 - (n + 8) * 2.5e-7 - 1e-6
    k2 = np.float32(p.k * p.k * slack)
    top, number = tile[(n - 1) * W : n * W], fast.dtype.type
    for j in range(W):
        half = np.float32(number(fast[UPPER + j] - fast[LOWER + j])) * np.float32(0.5)
        below = np.float32(number(fast[LOWER + j] - tile[j])) + half
        above = np.float32(number(top[j] - fast[UPPER + j])) + half
        d = max(below, above)
        # sums are about the lower median, from which a sample may be half a gap farther than from the median
        rest[j] = (d + half > most) | ((d < least) & (d > np.float32(0.0))) | (not (d * d <= k2 * single[SPREAD + j]))


@njit(nogil=True, error_model="numpy")
def _limits(n: int, fast: Any) -> tuple[Any, Any]:
    """Return between which deviations the sums are good: no overflow, no square lost to underflow."""
    if fast.dtype.type(0.5) == 0:
        return np.float32(0.0), np.float32(sqrt(2.0**31 / n) - 1.0)
    return np.float32(1e-12), np.float32(1e15)


@njit(nogil=True, error_model="numpy")
def _spreads(n: int, p: Any, bench: Any) -> None:
    """Put the square of the sigma of the first clipping pass into `single`; infinite where nothing is clipped."""
    fast, single = bench.fast, bench.single
    if p.method == tiles.SIGMA_CLIP:
        for j in range(W):
            single[SPREAD + j] = single[VARIANCE + j] / np.float32(n)
    elif p.method == tiles.MAD:
        _mad_variances(n, p, bench)
    elif p.method == tiles.NOISE_MODEL:
        for j in range(W):
            level = (np.float32(fast[LOWER + j]) + np.float32(fast[UPPER + j])) * np.float32(0.5)
            signal = max(level - np.float32(p.pedestal), np.float32(0.0))
            single[SPREAD + j] = np.float32(p.read_variance) + signal * np.float32(p.inverse_gain)
    elif p.method == tiles.WINSORIZED:
        winsor.winsorized_sigmas(n, fast[LOWER : LOWER + W], fast[UPPER : UPPER + W], bench)
        for j in range(W):
            sigma, doubtful = single[winsor.SIGMA + j], single[winsor.DOUBT + j] > 0
            single[SPREAD + j] = np.float32(-1.0) if doubtful else sigma * sigma
    else:
        for j in range(W):
            single[SPREAD + j] = np.float32(inf)


@njit(nogil=True, error_model="numpy")
def _mad_variances(n: int, p: Any, bench: Any) -> None:
    fast, single = bench.fast, bench.single
    _ranks(bench.tile, n, n // 2 + 1, fast, RANK)
    _ranks(bench.tile, n, (n + 1) // 2, fast, RANK_BEFORE)
    for j in range(W):
        half = np.float32(fast.dtype.type(fast[UPPER + j] - fast[LOWER + j]))
        mad = (half + np.float32(fast[RANK + j]) + np.float32(fast[RANK_BEFORE + j])) * np.float32(0.5)
        sigma = max(mad * np.float32(tiles.MAD_TO_STD), np.float32(p.floor))
        single[SPREAD + j] = sigma * sigma


@njit(nogil=True, error_model="numpy")
def _ranks(tile: Any, n: int, rank: int, fast: Any, out: int) -> None:
    """Put the `rank`-th smallest distance from the two middle values, whichever is nearer, into the row `out`.

    Of each run of `rank` neighbours take the greater distance of its ends: the least of those.
    """
    number = tile.dtype.type
    for j in range(W):
        fast[out + j] = fast[LOWER + j] - tile[j] + tile[(n - 1) * W + j] - fast[UPPER + j]
    for i in range(n - rank + 1):
        low = tile[i * W : (i + 1) * W]
        high = tile[(i + rank - 1) * W : (i + rank) * W]
        for j in range(W):
            lower, upper = number(fast[LOWER + j]), number(fast[UPPER + j])
            below, above = number(lower - min(low[j], lower)), number(max(high[j], upper) - upper)
            fast[out + j] = min(fast[out + j], fast.dtype.type(max(below, above)))
