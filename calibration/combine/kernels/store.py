# ruff: noqa: PLR0917 - numba passes by position
"""Where results leave a tile: whole lanes at once, the others set apart and stored when they are settled."""

from math import inf, nan, sqrt
from typing import Any

import numpy as np
from numba import njit

from calibration.combine import tiles
from calibration.combine.kernels import exact
from calibration.combine.kernels.fast import LOWER, SUM, UPPER, VARIANCE, kept_rows

W = tiles.W
ROW, COLUMN, TOO_BRIGHT, INDEX = range(0, 4 * W, W)  # of `place`
KEPT, MEAN, SIGMA = exact.SIZE, exact.SUM, exact.SQUARES  # of `exact`, once settled


@njit(nogil=True, error_model="numpy")
def count_saturated(tile: Any, n: int, saturation: float, saturated: Any) -> None:
    """Count raw samples that are saturated in a sorted tile: few rows from its top, most often none."""
    saturated[:] = 0
    for i in range(n - 1, -1, -1):
        row = tile[i * W : (i + 1) * W]
        found = np.int64(0)
        for j in range(W):
            bright = np.float32(row[j]) >= saturation
            saturated[j] += np.uint16(bright)
            found += bright
        if found == 0:
            break


@njit(nogil=True, error_model="numpy")
def store_lanes(bench: Any, n: int, p: Any, at: Any, planes: Any) -> None:
    """Store all lanes as if nothing were cut from any; those from which something is are stored again."""
    row, x0, width = at
    tile, fast, single, saturated = bench.tile, bench.fast, bench.single, bench.saturated
    lo, hi = kept_rows(n, p.method)
    m = hi - lo
    mean, sigma = planes.mean[row, x0 : x0 + width], planes.sigma[row, x0 : x0 + width]
    counts, mask = planes.counts[row, x0 : x0 + width], planes.mask[row, x0 : x0 + width]
    if p.method == tiles.MEDIAN:
        for j in range(width):
            mean[j] = (np.float64(fast[LOWER + j]) + np.float64(fast[UPPER + j])) * 0.5
    else:
        share = 1.0 / m
        for j in range(width):
            mean[j] = np.float64(fast[LOWER + j]) + np.float64(fast[SUM + j]) * share
    scale = np.float32(p.factor**2 / m / max(m - 1, 1))
    for j in range(width):
        sigma[j] = sqrt(single[VARIANCE + j] * scale)
    for j in range(width):
        counts[j] = m
    few = np.uint8(tiles.LOW_COUNT if m < p.min_count else 0)
    for j in range(width):
        mask[j] = few | (np.uint8(tiles.SATURATED) if saturated[j] > n - m else np.uint8(0))
    for j in range(min(width, planes.low.shape[1])):  # none when nobody asks for the bounds
        planes.low[row, x0 + j], planes.high[row, x0 + j] = tile[lo * W + j], tile[(hi - 1) * W + j]


@njit(nogil=True, error_model="numpy")
def set_apart(bench: Any, n: int, p: Any, at: Any, filled: int, planes: Any) -> int:
    """Copy the marked lanes to those set apart, settling these when they are full; return how many there are."""
    row, x0, width = at
    place, marked = bench.place, 0
    for j in range(width):
        place[INDEX + marked] = j
        marked += bench.rest[j]
    if filled + marked > W:
        settle_all(bench, n, p, filled, planes)
        filled = 0
    for i in range(n):
        source, target = bench.tile[i * W : (i + 1) * W], bench.apart[i * W + filled : (i + 1) * W]
        for k in range(marked):
            target[k] = source[np.uint64(place[INDEX + k])]
    for k in range(marked):
        j = place[INDEX + k]
        place[ROW + filled + k], place[COLUMN + filled + k] = row, x0 + j
        place[TOO_BRIGHT + filled + k] = bench.saturated[j]
    return filled + marked


@njit(nogil=True, error_model="numpy")
def settle_all(bench: Any, n: int, p: Any, filled: int, planes: Any) -> None:
    """Settle the lanes set apart and store them."""
    v, place, tile = bench.exact, bench.place, bench.apart
    _count_samples(tile, n, filled, v)
    exact.settle(tile, n, p, v)
    _results(p, v)
    for j in range(filled):
        row, x, count = place[ROW + j], place[COLUMN + j], int(v[KEPT + j])
        planes.mean[row, x], planes.sigma[row, x], planes.counts[row, x] = v[MEAN + j], v[SIGMA + j], count
        bits = tiles.LOW_COUNT if count < p.min_count else 0
        bits |= tiles.NO_DATA if count == 0 else 0
        bits |= tiles.SATURATED if place[TOO_BRIGHT + j] > int(v[exact.COUNT + j]) - count else 0
        planes.mask[row, x] = bits
        if planes.low.shape[0] > 0:
            lo, hi = int(v[exact.FIRST + j]), int(v[exact.LAST + j])
            planes.low[row, x] = tile[lo * W + j] if count > 0 else nan
            planes.high[row, x] = tile[(hi - 1) * W + j] if count > 0 else nan


@njit(nogil=True, error_model="numpy")
def _results(p: Any, v: Any) -> None:
    """Put the results of all settled lanes over what is no longer needed of them."""
    for j in range(W):
        count, s, q = v[exact.LAST + j] - v[exact.FIRST + j], v[exact.SUM + j], v[exact.SQUARES + j]
        mean = v[exact.CENTRE + j] if p.method == tiles.MEDIAN else v[exact.CENTRE + j] + s / count
        own = sqrt(exact.variance(count, s, q, 1))
        sigma = own if count > 1.0 else exact.expected(mean, p)
        v[KEPT + j] = count
        v[MEAN + j] = mean if count > 0.0 else nan
        v[SIGMA + j] = p.factor * sigma / sqrt(count) if count > 0.0 else nan


@njit(nogil=True, error_model="numpy")
def _count_samples(tile: Any, n: int, filled: int, v: Any) -> None:
    """Count the samples that are there: the others are infinite, at the end of their column."""
    for j in range(W):
        v[exact.COUNT + j] = n if j < filled else 0.0
    for i in range(n - 1, -1, -1):
        absent = 0
        for j in range(filled):
            gone = np.float32(tile[i * W + j]) == np.float32(inf)
            v[exact.COUNT + j] -= 1.0 if gone else 0.0
            absent += gone
        if absent == 0:
            break
