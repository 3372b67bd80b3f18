"""Where results leave a tile: whole lanes at once; those that may lose something are set apart and stored when settled.

A lane goes from `all` to `some` when it may lose something, and from there to `exact` when rounding might decide it.
"""

from math import inf, nan, sqrt
from typing import Any

import numpy as np

from calibration.combine.kernels import clip, exact, tiles
from calibration.combine.kernels import survey as f
from calibration.combine.kernels.jit import called, inlined
from calibration.combine.kernels.load import copy, fill

W = tiles.W
ROW, COLUMN, TOO_BRIGHT, INDEX, COUNT, BITS = range(0, 6 * W, W)  # of `place`
KEPT, MEAN, SIGMA = exact.SIZE, exact.SUM, exact.SQUARES  # of `exact`, once settled


@inlined
def begin(bench: Any) -> None:
    """Forget what another call left."""
    fill(np.uint16(0), bench.saturated)
    fill(0, bench.filled)


@inlined
def take(bench: Any, n: int, p: Any, at: Any, planes: Any) -> None:
    """Store the sorted tile's lanes; those that may lose something are set apart, and settled when there are enough."""
    f.survey(n, p, bench.all)
    clip.judge(n, p, bench.all)
    store_lanes(bench, n, p, at, planes)
    marked = mark(bench, at[2])
    if bench.filled[0] + marked > W:
        settle_some(bench, n, p, planes)
    set_apart(bench, n, at, marked)


@inlined
def settle_all(bench: Any, n: int, p: Any, planes: Any) -> None:
    """Settle what is still set apart."""
    if bench.filled[0] > 0:
        settle_some(bench, n, p, planes)
    if bench.filled[1] > 0:
        settle_last(bench, n, p, planes)


@inlined
def count_saturated(tile: Any, n: int, saturation: float, saturated: Any) -> None:
    """Count raw samples that are saturated in a sorted tile: few rows from its top, most often none."""
    fill(np.uint16(0), saturated)
    for i in range(n - 1, -1, -1):
        row = tile[i * W : (i + 1) * W]
        found = np.int64(0)
        for j in range(W):
            bright = np.float32(row[j]) >= saturation
            saturated[j] += np.uint16(bright)
            found += bright
        if found == 0:
            break


@inlined
def store_lanes(bench: Any, n: int, p: Any, at: Any, planes: Any) -> None:
    """Store all lanes as if nothing were cut from any; those from which something is are stored again."""
    row, x0, width = at
    lo, hi = f.kept_rows(n, p.method)
    m = hi - lo
    if p.method == tiles.MEDIAN:
        f.group_medians(n, p, bench.all)
        _put_medians(bench.all.whole, bench.all.single, planes.mean[row, x0 : x0 + width])
    else:
        _put_means(bench.all.whole, 1.0 / m, planes.mean[row, x0 : x0 + width])
    scale = np.float32(p.factor**2 / m / max(m - 1, 1))
    _put_sigmas(bench.all.single, np.float32(p.rounding * (m - 1)), scale, planes.sigma[row, x0 : x0 + width])
    fill(np.uint16(m), planes.counts[row, x0 : x0 + width])
    few = np.uint16(tiles.LOW_COUNT if m < p.min_count else 0)
    _put_masks(bench.saturated, few, np.uint16(n - m), planes.mask[row, x0 : x0 + width])
    if planes.low.shape[0] > 0:  # most often nobody asks for the bounds
        copy(bench.all.tile[lo * W : (lo + 1) * W], planes.low[row, x0 : x0 + width])
        copy(bench.all.tile[(hi - 1) * W : hi * W], planes.high[row, x0 : x0 + width])


@inlined
def _put_medians(whole: Any, single: Any, out: Any) -> None:
    for j in range(out.shape[0]):
        out[j] = np.float64(whole[f.LOWER + j]) + np.float64(single[f.MIDDLE + j])


@inlined
def _put_means(whole: Any, share: float, out: Any) -> None:
    for j in range(out.shape[0]):
        out[j] = np.float64(whole[f.LOWER + j]) + np.float64(whole[f.SUM + j]) * share


@inlined
def _put_sigmas(single: Any, least: Any, scale: Any, out: Any) -> None:
    for j in range(out.shape[0]):
        out[j] = sqrt(max(single[f.VARIANCE + j], least) * scale)


@inlined
def _put_masks(saturated: Any, few: Any, lost: Any, out: Any) -> None:
    for j in range(out.shape[0]):
        out[j] = few | (np.uint16(tiles.SATURATED) if saturated[j] > lost else np.uint16(0))


@inlined
def mark(bench: Any, width: int) -> int:
    """Note which lanes are in doubt; return how many."""
    single, place, marked = bench.all.single, bench.place, 0
    for j in range(width):
        place[INDEX + marked] = j
        marked += single[f.DOUBT + j] > np.float32(0.0)
    return marked


@inlined
def set_apart(bench: Any, n: int, at: Any, marked: int) -> None:
    """Copy the marked lanes to `some`."""
    row, x0, _ = at
    source, tile, place, start = bench.all.tile, bench.some.tile, bench.place, bench.filled[0]
    for i in range(n):
        here, there = np.uint64(i * W), np.uint64(i * W + start)
        for k in range(marked):
            tile[there + np.uint64(k)] = source[here + np.uint64(place[INDEX + k])]
    for k in range(marked):
        j = place[INDEX + k]
        place[ROW + start + k], place[COLUMN + start + k] = row, x0 + j
        place[TOO_BRIGHT + start + k] = bench.saturated[j]
    bench.filled[0] = start + marked


@called
def settle_some(bench: Any, n: int, p: Any, planes: Any) -> None:
    """Clip the lanes set apart and store them; those in doubt go on to `exact`."""
    desk, place = bench.some, bench.place
    single = desk.single
    f.survey(n, p, desk)
    clip.clip(n, p, desk)
    _finish(n, p, bench)
    if planes.low.shape[0] > 0:
        for j in range(bench.filled[0]):
            lo, hi = int(single[f.FIRST + j]), int(single[f.LAST + j])
            planes.low[place[ROW + j], place[COLUMN + j]] = desk.tile[lo * W + j]
            planes.high[place[ROW + j], place[COLUMN + j]] = desk.tile[(hi - 1) * W + j]
    doubtful = 0
    for j in range(bench.filled[0]):
        row, x = place[ROW + j], place[COLUMN + j]
        planes.mean[row, x], planes.sigma[row, x] = single[f.MIDDLE + j], single[f.REACH + j]
        planes.counts[row, x], planes.mask[row, x] = place[COUNT + j], place[BITS + j]
        doubtful += single[f.DOUBT + j] > np.float32(0.0)
    if bench.filled[1] + doubtful > W:
        settle_last(bench, n, p, planes)
    for j in range(bench.filled[0]):
        if single[f.DOUBT + j] > np.float32(0.0):
            _hand_on(bench, n, j)
    bench.filled[0] = 0


@called
def _finish(n: int, p: Any, bench: Any) -> None:
    """Put the results of the lanes set apart over what is no longer needed of them."""
    whole, single, place, v = bench.some.whole, bench.some.single, bench.place, bench.exact
    if whole.dtype.type(0.5) == 0:
        for j in range(W):
            v[exact.SUM + j], v[exact.SQUARES + j] = whole[f.SUM + j], whole[f.SQUARES + j]
    else:
        _sum_anew(n, bench.some.tile, whole, single, v)
    factor = p.factor
    _count_jumps(n, p, bench.some, v)
    for j in range(W):
        m, s, q = np.float64(single[f.LAST + j] - single[f.FIRST + j]), v[exact.SUM + j], v[exact.SQUARES + j]
        single[f.REACH + j] = factor * sqrt(max(exact.variance(m, s, q, 1), p.rounding) / m)
        single[f.MIDDLE + j] = np.float64(whole[f.LOWER + j]) + s / m
    for j in range(W):
        count = np.int64(single[f.LAST + j] - single[f.FIRST + j])
        bits = tiles.LOW_COUNT if count < p.min_count else 0
        bits |= tiles.NOISY if single[f.SHARE + j] >= p.jumps else 0
        place[COUNT + j] = count
        place[BITS + j] = bits | (tiles.SATURATED if place[TOO_BRIGHT + j] > n - count else 0)


@called
def _count_jumps(n: int, p: Any, desk: Any, v: Any) -> None:
    """Put the number of samples FAR from what is kept into SHARE: they are at the ends, outside the windows."""
    tile, whole, single, number = desk.tile, desk.whole, desk.single, desk.whole.dtype.type
    below, above = np.float32(0.0), np.float32(n)
    for j in range(W):
        m, s, q = np.float64(single[f.LAST + j] - single[f.FIRST + j]), v[exact.SUM + j], v[exact.SQUARES + j]
        single[f.MIDDLE + j] = s / m
        single[f.REACH + j] = tiles.FAR * sqrt(max(exact.variance(m, s, q, 1), p.typical)) + p.step
        single[f.SHARE + j] = 0.0
        below, above = max(below, single[f.FIRST + j]), min(above, single[f.LAST + j])
    for i in range(n):
        if np.float32(i) >= below and np.float32(i) < above:
            continue
        row = tile[i * W : (i + 1) * W]
        for j in range(W):
            away = abs(np.float32(number(row[j] - whole[f.LOWER + j])) - single[f.MIDDLE + j])
            single[f.SHARE + j] += np.float32(away > single[f.REACH + j])


@called
def _sum_anew(n: int, tile: Any, whole: Any, single: Any, v: Any) -> None:
    """Sum up windows in float64: what was taken out of sums in float32 took digits with it."""
    for j in range(W):
        v[exact.SUM + j], v[exact.SQUARES + j] = 0.0, 0.0
    for i in range(n):
        row, at = tile[i * W : (i + 1) * W], np.float32(i)
        for j in range(W):
            inside = (single[f.FIRST + j] <= at) & (at < single[f.LAST + j])
            d = np.float64(row[j]) - np.float64(whole[f.LOWER + j]) if inside else 0.0
            v[exact.SUM + j] += d
            v[exact.SQUARES + j] += d * d


@inlined
def _hand_on(bench: Any, n: int, j: int) -> None:
    """Copy a lane of `some` to those that are settled exactly."""
    k = bench.filled[1]
    for i in range(n):
        bench.last[i * W + k] = bench.some.tile[i * W + j]
    for at in (ROW, COLUMN, TOO_BRIGHT):
        bench.last_place[at + k] = bench.place[at + j]
    bench.filled[1] = k + 1


@called
def settle_last(bench: Any, n: int, p: Any, planes: Any) -> None:
    """Settle the lanes that were in doubt and store them."""
    v, place, tile, filled = bench.exact, bench.last_place, bench.last, bench.filled[1]
    _count_samples(tile, n, filled, v)
    exact.settle(tile, n, p, v)
    exact.count_jumps(tile, n, p, v)
    _results(p, v)
    for j in range(filled):
        row, x, count = place[ROW + j], place[COLUMN + j], int(v[KEPT + j])
        planes.mean[row, x], planes.sigma[row, x], planes.counts[row, x] = v[MEAN + j], v[SIGMA + j], count
        bits = tiles.LOW_COUNT if count < p.min_count else 0
        bits |= tiles.NO_DATA if count == 0 else 0
        bits |= tiles.NOISY if v[exact.JUMPS + j] >= p.jumps else 0
        bits |= tiles.SATURATED if place[TOO_BRIGHT + j] > int(v[exact.COUNT + j]) - count else 0
        planes.mask[row, x] = bits
        if planes.low.shape[0] > 0:
            lo, hi = int(v[exact.FIRST + j]), int(v[exact.LAST + j])
            planes.low[row, x] = tile[lo * W + j] if count > 0 else nan
            planes.high[row, x] = tile[(hi - 1) * W + j] if count > 0 else nan
    bench.filled[1] = 0


@called
def _results(p: Any, v: Any) -> None:
    """Put the results of all settled lanes over what is no longer needed of them."""
    for j in range(W):
        count, s, q = v[exact.LAST + j] - v[exact.FIRST + j], v[exact.SUM + j], v[exact.SQUARES + j]
        mean = v[exact.MIDDLE + j] if p.method == tiles.MEDIAN else v[exact.CENTRE + j] + s / count
        own = sqrt(max(exact.variance(count, s, q, 1), p.rounding))
        sigma = own if count > 1.0 else exact.expected(mean, p)
        v[KEPT + j] = count
        v[MEAN + j] = mean if count > 0.0 else nan
        v[SIGMA + j] = p.factor * sigma / sqrt(count) if count > 0.0 else nan


@called
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
