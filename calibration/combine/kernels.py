# ruff: noqa: PLR0917, PLR1714 - numba passes by position, and a set in a hot loop is no constant to it
"""The numba engine of `combine_band`: a tile of 256 pixels at a time, its n samples sorted by a comparator network.

Lanes of a tile are neighbouring pixels, so that every inner loop is one vector instruction over lanes. Sorting gives
the median and makes every clipping a window on the sorted column. Lanes whose first test clips nothing (most) are done
after the vector pass; the others are gathered and clipped one by one. No threads here; the GIL is released.
"""

from functools import lru_cache
from math import inf, nan, sqrt
from typing import Any, NamedTuple

import numpy as np
from numba import njit
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


@njit(nogil=True, cache=True, error_model="numpy")
def _sort(tile: Any, pairs: Any) -> None:
    for c in range(pairs.shape[0]):
        a = tile[pairs[c, 0] : pairs[c, 0] + W]
        b = tile[pairs[c, 1] : pairs[c, 1] + W]
        for j in range(W):
            x = a[j]
            y = b[j]
            a[j] = min(x, y)
            b[j] = max(x, y)


@njit(nogil=True, cache=True, error_model="numpy")
def _load_u16(frames: Any, row: int, x0: int, width: int, saturation: float, tile: Any, saturated: Any) -> None:
    saturated[:] = 0
    limit = np.int32(min(max(np.ceil(saturation), 0.0), 65536.0))
    for i in range(frames.shape[0]):
        source = frames[i, row, x0 : x0 + width]
        target = tile[i * W : (i + 1) * W]
        for j in range(width):
            target[j] = source[j]
        if limit < 65536:
            for j in range(width):
                saturated[j] += np.int32(source[j]) >= limit


@njit(nogil=True, cache=True, error_model="numpy")
def _load_f32(
    frames: Any,
    valid: Any,
    dark: Any,
    scale: Any,
    row: int,
    x0: int,
    width: int,
    saturation: float,
    tile: Any,
    good: Any,
    saturated: Any,
) -> None:
    """Load calibrated samples; what is invalid or not finite becomes +inf, sorts to the end and is not counted.

    One short loop for each step, so that each becomes vector code.
    """
    saturated[:] = 0
    good[:] = 0
    limit = np.float32(saturation)
    for i in range(frames.shape[0]):
        source = frames[i, row, x0 : x0 + width]
        target = tile[i * W : (i + 1) * W]
        for j in range(width):
            target[j] = np.float32(source[j])
        if dark.shape[0] > 0:
            level = dark[i if dark.shape[0] > 1 else 0, row, x0 : x0 + width]
            for j in range(width):
                target[j] -= level[j]
        factor = scale[i]
        for j in range(width):
            target[j] *= factor
        if valid.shape[0] > 0:
            usable = valid[i, row, x0 : x0 + width]
            for j in range(width):
                target[j] = target[j] if usable[j] else np.float32(inf)
        for j in range(width):
            ok = abs(target[j]) < np.float32(inf)
            target[j] = target[j] if ok else np.float32(inf)
            good[j] += ok
            saturated[j] += ok and np.float32(source[j]) >= limit


@njit(nogil=True, cache=True, error_model="numpy")
def _flip(keys: Any) -> None:
    """Go between the bits of float32 and int32 keys of the same order (its own inverse); integers sort in vectors."""
    for i in range(keys.shape[0]):
        keys[i] ^= (keys[i] >> 31) & 0x7FFFFFFF


@njit(nogil=True, cache=True, error_model="numpy")
def _moments(tile: Any, first: int, last: int, centre: Any, s: Any, q: Any) -> None:
    """Sum the deviations from `centre`, and their squares, over the sorted rows first..last-1."""
    s[:] = 0.0
    q[:] = 0.0
    for i in range(first, last):
        values = tile[i * W : (i + 1) * W]
        for j in range(W):
            d = np.float64(values[j]) - centre[j]
            s[j] += d
            q[j] += d * d


@njit(nogil=True, cache=True, error_model="numpy")
def _median(x: Any, lo: int, hi: int) -> float:
    m = lo + hi - 1
    return float((x[m // 2] + x[(m + 1) // 2]) * 0.5)


@njit(nogil=True, cache=True, error_model="numpy")
def _std(x: Any, lo: int, hi: int, ddof: int) -> float:
    n = hi - lo
    mean = 0.0
    for i in range(lo, hi):
        mean += x[i] - x[lo]
    mean = mean / n + x[lo]
    q = 0.0
    for i in range(lo, hi):
        q += (x[i] - mean) * (x[i] - mean)
    return sqrt(q / (n - ddof))


@njit(nogil=True, cache=True, error_model="numpy")
def _mad(x: Any, lo: int, hi: int, centre: float) -> float:
    """Return the median of |x - centre| of a sorted window: walk outwards from the centre to the middle one."""
    n = hi - lo
    right = lo
    while right < hi and x[right] < centre:
        right += 1
    left = right - 1
    before = 0.0
    d = 0.0
    for _ in range(n // 2 + 1):
        before = d
        if right >= hi or (left >= lo and centre - x[left] <= x[right] - centre):
            d = centre - x[left]
            left -= 1
        else:
            d = x[right] - centre
            right += 1
    return d if n % 2 else (before + d) * 0.5


@njit(nogil=True, cache=True, error_model="numpy")
def _spread(x: Any, lo: int, hi: int, centre: float, p: Any) -> float:
    """Return the sigma a clipping method measures in its window; the noise model's is what it should be."""
    if p.method == MAD:
        return max(_mad(x, lo, hi, centre) * MAD_TO_STD, float(p.floor))
    if p.method == NOISE_MODEL:
        return sqrt(p.read_variance + max(centre - p.pedestal, 0.0) * p.inverse_gain)
    return _std(x, lo, hi, 0)


@njit(nogil=True, cache=True, error_model="numpy")
def _clip(x: Any, m: int, p: Any) -> tuple[int, int]:
    """Clip about the median again and again; the last bounds are applied to all samples, as astropy does."""
    lo, hi = 0, m
    lower, upper = -inf, inf
    for _ in range(p.iterations):
        centre = _median(x, lo, hi)
        spread = _spread(x, lo, hi, centre, p)
        lower, upper = centre - p.k * spread, centre + p.k * spread
        before = hi - lo
        while lo < hi and x[lo] < lower:
            lo += 1
        while hi > lo and x[hi - 1] > upper:
            hi -= 1
        if hi - lo == before or hi == lo:
            break
    lo, hi = 0, m
    while lo < hi and x[lo] < lower:
        lo += 1
    while hi > lo and x[hi - 1] > upper:
        hi -= 1
    return lo, hi


@njit(nogil=True, cache=True, error_model="numpy")
def _winsorized_sigma(x: Any, lo: int, hi: int, centre: float) -> float:
    sigma = _std(x, lo, hi, 1)
    for _ in range(50):
        low, high = centre - 1.5 * sigma, centre + 1.5 * sigma
        s = q = 0.0
        for i in range(lo, hi):
            d = min(max(x[i], low), high) - centre
            s += d
            q += d * d
        n = hi - lo
        before = sigma
        sigma = 1.134 * sqrt(max(q - s * s / n, 0.0) / (n - 1))
        if abs(sigma - before) <= before * 0.0005:
            break
    return sigma


@njit(nogil=True, cache=True, error_model="numpy")
def _winsorize(x: Any, m: int, p: Any) -> tuple[int, int]:
    """Clip as Siril's winsorized method does: sigma from samples pulled in to 1.5 sigma; at least 4 stay."""
    lo, hi = 0, m
    changed = True
    while changed and hi - lo > 3:
        centre = _median(x, lo, hi)
        reach = p.k * _winsorized_sigma(x, lo, hi, centre)
        before = hi - lo
        while hi - lo > 4 and centre - x[lo] > reach:
            lo += 1
        while hi - lo > 4 and x[hi - 1] - centre > reach:
            hi -= 1
        changed = hi - lo != before
    return lo, hi


@njit(nogil=True, cache=True, error_model="numpy")
def _window(x: Any, m: int, p: Any) -> tuple[int, int]:
    """Return the first and last+1 surviving sample of a sorted column of m samples."""
    if p.method >= SIGMA_CLIP and m > 0:
        return _winsorize(x, m, p) if p.method == WINSORIZED else _clip(x, m, p)
    if p.method == MINMAX and m > 2:
        return 1, m - 1
    return 0, m


@njit(nogil=True, cache=True, error_model="numpy")
def _column(x: Any, m: int, p: Any) -> tuple[float, float, int, int]:
    """Return mean, standard deviation (ddof 1) and window of one sorted column."""
    lo, hi = _window(x, m, p)
    n = hi - lo
    if n == 0:
        return nan, nan, 0, 0
    total = 0.0
    for i in range(lo, hi):
        total += x[i] - x[lo]
    mean = _median(x, lo, hi) if p.method == MEDIAN else total / n + x[lo]
    return mean, _std(x, lo, hi, 1) if n > 1 else nan, lo, hi


@njit(nogil=True, cache=True, error_model="numpy")
def _vector_pass(tile: Any, n: int, p: Any, centre: Any, s: Any, q: Any, rest: Any) -> None:
    """Put the mean into `s`, the standard deviation into `q` of whole lanes; `rest` marks those to look at alone."""
    lo, hi = (1, n - 1) if p.method == MINMAX and n > 2 else (0, n)
    last = (n - 1) * W
    middle, other = (n - 1) // 2 * W, n // 2 * W
    for j in range(W):
        centre[j] = (np.float64(tile[middle + j]) + np.float64(tile[other + j])) * 0.5
    _moments(tile, lo, hi, centre, s, q)
    m = float(hi - lo)
    for j in range(W):
        excess = max(q[j] - s[j] * s[j] / m, 0.0)
        if p.method == NOISE_MODEL:
            spread = sqrt(p.read_variance + max(centre[j] - p.pedestal, 0.0) * p.inverse_gain)
        else:
            spread = sqrt(excess / m)
        reach = p.k * spread
        rest[j] = ((np.float64(tile[j]) < centre[j] - reach) | (np.float64(tile[last + j]) > centre[j] + reach)) & (
            p.method >= SIGMA_CLIP
        )
        s[j] = centre[j] if p.method == MEDIAN else centre[j] + s[j] / m
        q[j] = sqrt(excess / (m - 1.0))


@njit(nogil=True, cache=True, error_model="numpy")
def _store(planes: Any, row: int, x: int, mean: float, s: float, count: int, p: Any) -> None:
    planes.mean[row, x] = mean
    planes.counts[row, x] = count
    planes.mask[row, x] = NO_DATA | LOW_COUNT if count == 0 else (LOW_COUNT if count < p.min_count else 0)
    if count == 1:
        s = sqrt(p.read_variance + max(mean - p.pedestal, 0.0) * p.inverse_gain)
    planes.sigma[row, x] = p.factor * s / sqrt(count)


@njit(nogil=True, cache=True, error_model="numpy")
def _reduce(
    tile: Any, good: Any, saturated: Any, p: Any, row: int, x0: int, width: int, work: Any, planes: Any
) -> None:
    """Combine the sorted tile into `planes`."""
    n = tile.shape[0] // W
    centre, s, q, column = work
    rest = np.empty(W, np.bool_)
    _vector_pass(tile, n, p, centre, s, q, rest)
    alone = p.method == MAD or p.method == WINSORIZED
    for j in range(width):
        mean, deviation, lo, hi, m = s[j], q[j], 0, n, good[j]
        if alone or rest[j] or m < n or n == 1:
            for i in range(m):
                column[i] = tile[i * W + j]
            mean, deviation, lo, hi = _column(column, m, p)
        elif p.method == MINMAX and n > 2:
            lo, hi = 1, n - 1
        _store(planes, row, x0 + j, mean, deviation, hi - lo, p)
        if saturated[j] > m - (hi - lo):
            planes.mask[row, x0 + j] |= SATURATED
        if planes.low.shape[0] > 0:
            planes.low[row, x0 + j] = tile[lo * W + j] if hi > lo else nan
            planes.high[row, x0 + j] = tile[(hi - 1) * W + j] if hi > lo else nan


@njit(nogil=True, cache=True, error_model="numpy")
def combine_u16(frames: Any, pairs: Any, p: Any, planes: Any) -> None:
    """Combine raw frames of uint16, shape (n, rows, x), as they are."""
    n, rows, columns = frames.shape
    tile = np.zeros(n * W, np.uint16)
    saturated = np.zeros(W, np.int32)
    good = np.full(W, n, np.int32)
    work = (np.empty(W), np.empty(W), np.empty(W), np.empty(n))
    for row in range(rows):
        for x0 in range(0, columns, W):
            width = min(W, columns - x0)
            _load_u16(frames, row, x0, width, p.saturation, tile, saturated)
            _sort(tile, pairs)
            _reduce(tile, good, saturated, p, row, x0, width, work, planes)


@njit(nogil=True, cache=True, error_model="numpy")
def combine_f32(frames: Any, valid: Any, dark: Any, scale: Any, pairs: Any, p: Any, planes: Any) -> None:
    """Combine (frame - dark) * scale; `valid` and `dark` may be empty, `dark` be one or one a frame."""
    n, rows, columns = frames.shape
    tile = np.zeros(n * W, np.float32)
    keys = tile.view(np.int32)
    saturated = np.zeros(W, np.int32)
    good = np.zeros(W, np.int32)
    work = (np.empty(W), np.empty(W), np.empty(W), np.empty(n))
    for row in range(rows):
        for x0 in range(0, columns, W):
            width = min(W, columns - x0)
            _load_f32(frames, valid, dark, scale, row, x0, width, p.saturation, tile, good, saturated)
            _flip(keys)
            _sort(keys, pairs)
            _flip(keys)
            _reduce(tile, good, saturated, p, row, x0, width, work, planes)


@njit(nogil=True, cache=True, error_model="numpy")
def decode_u16(raw: Any) -> None:
    """Turn big-endian signed FITS words with BZERO 32768 into native uint16, in place (1-D, contiguous)."""
    for i in range(raw.shape[0]):
        v = raw[i]
        raw[i] = ((v >> 8) | (v << 8)) ^ 0x8000
