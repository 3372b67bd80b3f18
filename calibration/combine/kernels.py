# ruff: noqa: PLR0917 - numba passes by position
"""The numba engine of `combine_band`: a tile of 256 pixels at a time, its n samples sorted by a comparator network.

Lanes of a tile are neighbouring pixels, so that inner loops are vector code. Sorting gives the median and makes every
clipping a window on the sorted column. Lanes of which nothing is clipped (most) are done after the vector pass, the
others one by one. No threads here; the GIL is released. All in one file: numba's cache does not see changes in others.
"""

from math import inf, nan, sqrt
from typing import Any

import numpy as np
from numba import njit

from calibration.combine import tiles

W = tiles.W
Window = tuple[int, int, float, float]  # first and last+1 sample of a column, sums about its centre


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
def _load_f32(stack: Any, row: int, x0: int, width: int, saturation: float, lanes: Any) -> None:
    """Load calibrated samples; what is invalid or not finite becomes +inf, sorts to the end and is not counted."""
    frames, valid, dark, scale = stack
    tile, good, saturated = lanes
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
    return (float(x[m // 2]) + float(x[(m + 1) // 2])) * 0.5


@njit(nogil=True, cache=True, error_model="numpy")
def _sums(x: Any, lo: int, hi: int, c: float) -> tuple[float, float]:
    """Return the sums of deviations from c and of their squares over a window."""
    s = q = 0.0
    for i in range(lo, hi):
        d = float(x[i]) - c
        s += d
        q += d * d
    return s, q


@njit(nogil=True, cache=True, error_model="numpy")
def _variance(n: int, s: float, q: float, ddof: int) -> float:
    return max(q - s * s / n, 0.0) / (n - ddof)


@njit(nogil=True, cache=True, error_model="numpy")
def _trim(x: Any, lo: int, hi: int, lower: float, upper: float, c: float, s: float, q: float) -> Window:
    """Shrink a window to the bounds and take what leaves it out of its sums."""
    before = q
    while lo < hi and float(x[lo]) < lower:
        d = float(x[lo]) - c
        s -= d
        q -= d * d
        lo += 1
    while hi > lo and float(x[hi - 1]) > upper:
        d = float(x[hi - 1]) - c
        s -= d
        q -= d * d
        hi -= 1
    if q < before * 1e-9:  # an absurd outlier left no digits of the rest
        s, q = _sums(x, lo, hi, c)
    return lo, hi, s, q


@njit(nogil=True, cache=True, error_model="numpy")
def _rank(x: Any, lo: int, hi: int, centre: float, rank: int) -> float:
    """Return the `rank`-th smallest |x - centre| of a sorted window.

    Of each run of `rank` neighbours take the greater end deviation; the least of them, found where the ends cross.
    """
    a, b = lo, hi - rank
    while a < b:
        i = (a + b) // 2
        if float(x[i + rank - 1]) - centre >= centre - float(x[i]):
            b = i
        else:
            a = i + 1
    d = max(centre - float(x[a]), float(x[a + rank - 1]) - centre)
    if a > lo:
        d = min(d, max(centre - float(x[a - 1]), float(x[a + rank - 2]) - centre))
    return d


@njit(nogil=True, cache=True, error_model="numpy")
def _mad(x: Any, lo: int, hi: int, centre: float) -> float:
    n = hi - lo
    upper = _rank(x, lo, hi, centre, n // 2 + 1)
    return upper if n % 2 else (_rank(x, lo, hi, centre, n // 2) + upper) * 0.5


@njit(nogil=True, cache=True, error_model="numpy")
def _expected(level: float, p: Any) -> float:
    return sqrt(p.read_variance + max(level - p.pedestal, 0.0) * p.inverse_gain)


@njit(nogil=True, cache=True, error_model="numpy")
def _spread(x: Any, lo: int, hi: int, centre: float, s: float, q: float, p: Any) -> float:
    """Return the sigma a clipping method measures in its window; the noise model's is what it should be."""
    if p.method == tiles.MAD:
        return max(_mad(x, lo, hi, centre) * tiles.MAD_TO_STD, float(p.floor))
    if p.method == tiles.NOISE_MODEL:
        return _expected(centre, p)
    return sqrt(_variance(hi - lo, s, q, 0))


@njit(nogil=True, cache=True, error_model="numpy")
def _clip(x: Any, m: int, p: Any, c: float, s0: float, q0: float) -> Window:
    """Clip about the median again and again; the last bounds are applied to all samples, as astropy does."""
    lo, hi, s, q, lower, upper = 0, m, s0, q0, -inf, inf
    for _ in range(p.iterations):
        centre = _median(x, lo, hi)
        reach = p.k * _spread(x, lo, hi, centre, s, q, p)
        lower, upper = centre - reach, centre + reach
        before = hi - lo
        lo, hi, s, q = _trim(x, lo, hi, lower, upper, c, s, q)
        if hi - lo == before or hi == lo:
            break
    return _trim(x, 0, m, lower, upper, c, s0, q0)


@njit(nogil=True, cache=True, error_model="numpy")
def _winsorized_sigma(x: Any, lo: int, hi: int, centre: float) -> float:
    """Return Siril's sigma: of samples pulled in to 1.5 sigma again and again, never let out again."""
    n = hi - lo
    first, last, reach = lo, hi, inf
    s, q = _sums(x, lo, hi, centre)
    sigma = sqrt(_variance(n, s, q, 1))
    for _ in range(50):
        reach = min(reach, 1.5 * sigma)
        first, last, s, q = _trim(x, first, last, centre - reach, centre + reach, centre, s, q)
        below, above = first - lo, hi - last
        before = sigma
        sigma = 1.134 * sqrt(_variance(n, s + (above - below) * reach, q + (above + below) * reach * reach, 1))
        if abs(sigma - before) <= before * 0.0005:
            break
    return sigma


@njit(nogil=True, cache=True, error_model="numpy")
def _winsorize(x: Any, m: int, p: Any, c: float, s: float, q: float) -> Window:
    """Clip as Siril's winsorized method does; at least 4 samples stay."""
    lo, hi, before = 0, m, m + 1
    while 3 < hi - lo < before:
        centre = _median(x, lo, hi)
        reach = p.k * _winsorized_sigma(x, lo, hi, centre)
        before = hi - lo
        while hi - lo > 4 and centre - float(x[lo]) > reach:
            lo += 1
        while hi - lo > 4 and float(x[hi - 1]) - centre > reach:
            hi -= 1
    return _trim(x, 0, m, float(x[lo]), float(x[hi - 1]), c, s, q)


@njit(nogil=True, cache=True, error_model="numpy")
def _column(x: Any, m: int, p: Any) -> tuple[float, float, int, int]:
    """Return mean, standard deviation (ddof 1) and window of one sorted column of m samples."""
    if m == 0:
        return nan, nan, 0, 0
    c = _median(x, 0, m)
    lo, hi = (1, m - 1) if p.method == tiles.MINMAX and m > 2 else (0, m)
    s, q = _sums(x, lo, hi, c)
    if p.method == tiles.WINSORIZED:
        lo, hi, s, q = _winsorize(x, m, p, c, s, q)
    elif p.method >= tiles.SIGMA_CLIP:
        lo, hi, s, q = _clip(x, m, p, c, s, q)
    n = hi - lo
    if n == 0:
        return nan, nan, 0, 0
    return c if p.method == tiles.MEDIAN else c + s / n, sqrt(_variance(n, s, q, 1)) if n > 1 else nan, lo, hi


@njit(nogil=True, cache=True, error_model="numpy")
def _lane_ranks(tile: Any, n: int, rank: int, centre: Any, out: Any) -> None:
    """Put the `rank`-th smallest |x - centre| of each lane into `out`, as `_rank` does for one."""
    out[:] = inf
    for i in range(n - rank + 1):
        low = tile[i * W : (i + 1) * W]
        high = tile[(i + rank - 1) * W : (i + rank) * W]
        for j in range(W):
            d = max(centre[j] - np.float64(low[j]), np.float64(high[j]) - centre[j])
            out[j] = min(out[j], d)


@njit(nogil=True, cache=True, error_model="numpy")
def _lane_spreads(tile: Any, n: int, p: Any, centre: Any, s: Any, q: Any, out: Any) -> None:
    """Put the sigma of the first clipping pass into `out`, for whole lanes."""
    if p.method == tiles.MAD:
        upper = np.empty(W)
        _lane_ranks(tile, n, n // 2 + 1, centre, upper)
        _lane_ranks(tile, n, (n + 1) // 2, centre, out)
        for j in range(W):
            out[j] = max((out[j] + upper[j]) * 0.5 * tiles.MAD_TO_STD, p.floor)
    elif p.method == tiles.NOISE_MODEL:
        for j in range(W):
            out[j] = _expected(centre[j], p)
    else:
        for j in range(W):
            out[j] = sqrt(max(q[j] - s[j] * s[j] / n, 0.0) / n)


@njit(nogil=True, cache=True, error_model="numpy")
def _vector_pass(tile: Any, n: int, p: Any, work: Any) -> None:
    """Do whole lanes: sums about the median, mean, deviation; `rest` marks lanes that something is cut from."""
    centre, s, q, mean, deviation, spread, rest = work
    lo, hi = (1, n - 1) if p.method == tiles.MINMAX and n > 2 else (0, n)
    middle, other = (n - 1) // 2 * W, n // 2 * W
    for j in range(W):
        centre[j] = (np.float64(tile[middle + j]) + np.float64(tile[other + j])) * 0.5
    _moments(tile, lo, hi, centre, s, q)
    m = float(hi - lo)
    for j in range(W):
        mean[j] = centre[j] if p.method == tiles.MEDIAN else centre[j] + s[j] / m
        deviation[j] = sqrt(max(q[j] - s[j] * s[j] / m, 0.0) / (m - 1.0))
    rest[:] = p.method == tiles.WINSORIZED
    if p.method in (tiles.SIGMA_CLIP, tiles.MAD, tiles.NOISE_MODEL):
        _lane_spreads(tile, n, p, centre, s, q, spread)
        top = tile[(n - 1) * W :]
        for j in range(W):
            reach = p.k * spread[j]
            rest[j] = (np.float64(tile[j]) < centre[j] - reach) | (np.float64(top[j]) > centre[j] + reach)


@njit(nogil=True, cache=True, error_model="numpy")
def _store(planes: Any, row: int, x: int, mean: float, s: float, count: int, p: Any) -> None:
    planes.mean[row, x] = mean
    planes.counts[row, x] = count
    few = tiles.LOW_COUNT if count < p.min_count else 0
    planes.mask[row, x] = few | (tiles.NO_DATA if count == 0 else 0)
    if count == 1:
        s = _expected(mean, p)
    planes.sigma[row, x] = p.factor * s / sqrt(count)


@njit(nogil=True, cache=True, error_model="numpy")
def _store_lanes(tile: Any, saturated: Any, p: Any, row: int, x0: int, width: int, work: Any, planes: Any) -> None:
    """Store all lanes as if nothing were cut from any; those from which something is are stored again."""
    n = tile.shape[0] // W
    _, _, _, means, deviations, _, _ = work
    lo, hi = (1, n - 1) if p.method == tiles.MINMAX and n > 2 else (0, n)
    count = hi - lo
    scale = p.factor / sqrt(count)
    few = np.uint8(tiles.LOW_COUNT if count < p.min_count else 0)
    mean, sigma = planes.mean[row, x0 : x0 + width], planes.sigma[row, x0 : x0 + width]
    counts, mask = planes.counts[row, x0 : x0 + width], planes.mask[row, x0 : x0 + width]
    for j in range(width):
        mean[j] = means[j]
        sigma[j] = deviations[j] * scale
    counts[:] = count
    for j in range(width):
        mask[j] = few | (np.uint8(tiles.SATURATED) if saturated[j] > n - count else np.uint8(0))
    for j in range(min(width, planes.low.shape[1])):  # none when nobody asks for the bounds
        planes.low[row, x0 + j], planes.high[row, x0 + j] = tile[lo * W + j], tile[(hi - 1) * W + j]


@njit(nogil=True, cache=True, error_model="numpy")
def _reduce(lanes: Any, p: Any, row: int, x0: int, width: int, work: Any, planes: Any) -> None:
    """Combine the sorted tile into `planes`."""
    tile, good, saturated = lanes
    n = tile.shape[0] // W
    _vector_pass(tile, n, p, work)
    _store_lanes(tile, saturated, p, row, x0, width, work, planes)
    centre, s, q, _, _, _, rest = work
    for j in range(width):
        m = good[j]
        if m < n or n == 1 or (n == 3 and p.method == tiles.MINMAX) or p.method == tiles.WINSORIZED:
            mean, deviation, lo, hi = _column(tile[j::W], m, p)
        elif rest[j]:
            lo, hi, total, squares = _clip(tile[j::W], n, p, centre[j], s[j], q[j])
            mean = centre[j] + total / (hi - lo)
            deviation = sqrt(_variance(hi - lo, total, squares, 1)) if hi - lo > 1 else nan
        else:
            continue
        _store(planes, row, x0 + j, mean, deviation, hi - lo, p)
        if saturated[j] > m - (hi - lo):
            planes.mask[row, x0 + j] |= tiles.SATURATED
        if planes.low.shape[0] > 0:
            planes.low[row, x0 + j] = tile[lo * W + j] if hi > lo else nan
            planes.high[row, x0 + j] = tile[(hi - 1) * W + j] if hi > lo else nan


@njit(nogil=True, cache=True, error_model="numpy")
def _workspace() -> tuple[Any, Any, Any, Any, Any, Any, Any]:
    return np.empty(W), np.empty(W), np.empty(W), np.empty(W), np.empty(W), np.empty(W), np.empty(W, np.bool_)


@njit(nogil=True, cache=True, error_model="numpy")
def combine_u16(frames: Any, pairs: Any, p: Any, planes: Any) -> None:
    """Combine raw frames of uint16, shape (n, rows, x), as they are."""
    n, rows, columns = frames.shape
    tile = np.zeros(n * W, np.uint16)
    saturated = np.zeros(W, np.int32)
    good = np.full(W, n, np.int32)
    work = _workspace()
    for row in range(rows):
        for x0 in range(0, columns, W):
            width = min(W, columns - x0)
            _load_u16(frames, row, x0, width, p.saturation, tile, saturated)
            _sort(tile, pairs)
            _reduce((tile, good, saturated), p, row, x0, width, work, planes)


@njit(nogil=True, cache=True, error_model="numpy")
def combine_f32(frames: Any, valid: Any, dark: Any, scale: Any, pairs: Any, p: Any, planes: Any) -> None:
    """Combine (frame - dark) * scale; `valid` and `dark` may be empty, `dark` be one or one a frame."""
    n, rows, columns = frames.shape
    tile = np.zeros(n * W, np.float32)
    keys = tile.view(np.int32)
    saturated = np.zeros(W, np.int32)
    good = np.zeros(W, np.int32)
    work = _workspace()
    for row in range(rows):
        for x0 in range(0, columns, W):
            width = min(W, columns - x0)
            _load_f32((frames, valid, dark, scale), row, x0, width, p.saturation, (tile, good, saturated))
            _flip(keys)
            _sort(keys, pairs)
            _flip(keys)
            _reduce((tile, good, saturated), p, row, x0, width, work, planes)


@njit(nogil=True, cache=True, error_model="numpy")
def decode_u16(raw: Any) -> None:
    """Turn big-endian signed FITS words with BZERO 32768 into native uint16, in place (1-D, contiguous)."""
    for i in range(raw.shape[0]):
        v = raw[i]
        raw[i] = ((v >> 8) | (v << 8)) ^ 0x8000
