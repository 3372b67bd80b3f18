"""Settling lanes exactly: columns set apart because rounding might decide what is cut, 256 at once, in float64.

What is cut from a sorted column leaves at its ends, so a column is a window FIRST..LAST-1 of its rows and cutting
looks at the few rows where any lane still loses something. All lanes take every step together; one that is done keeps
its bounds and so loses nothing more. The numbers of a lane are rows of one array (see `tiles.Bench`).
"""

from math import inf, sqrt
from typing import Any

import numpy as np

from calibration.combine.kernels import tiles
from calibration.combine.kernels.jit import called
from calibration.combine.kernels.winsor import PULLED_TO, SETTLED, WIDENING

W = tiles.W
COUNT, FIRST, LAST, CENTRE, SUM, SQUARES, LOWER, UPPER, MOVING, SIZE = range(0, 10 * W, W)
SPREAD, MIDDLE, KEPT_A, KEPT_B, REACH, SUMMED = range(10 * W, 16 * W, W)
JUMPS = KEPT_A
"""Once settled: how many samples are far from what is kept."""
AT_THE_BOUND = 1.0 + 1e-8
"""Samples exactly at the bound are kept despite rounding (with n = 2 both lie at 1 sigma)."""


@called
def settle(tile: Any, n: int, p: Any, v: Any) -> None:
    """Find the windows of all lanes and the sums over them about CENTRE; COUNT says how many samples each has."""
    for j in range(W):
        trimmed = p.method == tiles.MINMAX and v[COUNT + j] > 2.0
        v[FIRST + j] = 1.0 if trimmed else 0.0
        v[LAST + j] = v[COUNT + j] - v[FIRST + j]
        v[MOVING + j] = 1.0
    _medians(tile, v)
    _centre(tile, n, v)
    if p.method == tiles.WINSORIZED:
        _winsorize(tile, n, p, v)
    elif p.method >= tiles.SIGMA_CLIP:
        _clip(tile, n, p, v)
    elif p.method == tiles.MEDIAN:
        _group_medians(tile, n, p.step, v)


@called
def count_jumps(tile: Any, n: int, p: Any, v: Any) -> None:
    """Count the samples of all lanes that are FAR from what is kept, after `settle`."""
    for j in range(W):
        m, s = v[LAST + j] - v[FIRST + j], v[SUM + j]
        v[LOWER + j] = v[CENTRE + j] + s / m
        v[REACH + j] = tiles.FAR * sqrt(max(variance(m, s, v[SQUARES + j], 1), p.typical)) + p.step
        v[JUMPS + j] = 0.0
    for i in range(n):
        at = float(i)
        for j in range(W):
            away = abs(np.float64(tile[i * W + j]) - v[LOWER + j])
            v[JUMPS + j] += 1.0 if (away > v[REACH + j]) & (at < v[COUNT + j]) else 0.0


@called
def variance(n: float, s: float, q: float, ddof: int) -> float:
    """Return the variance of n samples from the sums of deviations and of their squares."""
    return max(q - s * s / n, 0.0) / (n - ddof)


@called
def expected(level: float, p: Any) -> float:
    """Return the noise that a sample of this level should have."""
    return sqrt(p.read_variance + max(level - p.pedestal, 0.0) * p.inverse_gain)


@called
def _medians(tile: Any, v: Any) -> None:
    for j in range(W):
        if v[MOVING + j] > 0.0 and v[LAST + j] > v[FIRST + j]:
            m = int(v[FIRST + j] + v[LAST + j]) - 1
            v[MIDDLE + j] = (np.float64(tile[m // 2 * W + j]) + np.float64(tile[(m + 1) // 2 * W + j])) * 0.5


@called
def _sums(tile: Any, n: int, v: Any) -> None:
    """Sum the deviations from CENTRE, and their squares, over the windows."""
    v[SUM : SUM + W] = 0.0
    v[SQUARES : SQUARES + W] = 0.0
    for i in range(n):
        x = tile[i * W : (i + 1) * W]
        at = float(i)
        for j in range(W):
            inside = (v[FIRST + j] <= at) & (at < v[LAST + j])
            d = np.float64(x[j]) - v[CENTRE + j] if inside else 0.0
            v[SUM + j] += d
            v[SQUARES + j] += d * d
    for j in range(W):
        v[SUMMED + j] = v[SQUARES + j]


@called
def _cut(tile: Any, n: int, v: Any) -> None:
    """Move the windows in to LOWER and UPPER and take what leaves them out of the sums."""
    for i in range(n):
        if not _cut_below(tile[i * W : (i + 1) * W], float(i), v):
            break
    for i in range(n - 1, -1, -1):
        if not _cut_above(tile[i * W : (i + 1) * W], float(i), v):
            break
    lost = 0
    for j in range(W):
        lost += v[SQUARES + j] < v[SUMMED + j] * 1e-3
    if lost > 0:  # outliers left too few digits of the rest
        _sums(tile, n, v)


@called
def _cut_below(x: Any, at: float, v: Any) -> bool:
    out = 0
    for j in range(W):
        low = np.float64(x[j]) < v[LOWER + j]
        now = low & (v[FIRST + j] <= at) & (at < v[LAST + j])
        d = np.float64(x[j]) - v[CENTRE + j] if now else 0.0
        v[SUM + j] -= d
        v[SQUARES + j] -= d * d
        v[FIRST + j] += 1.0 if now else 0.0
        out |= low
    return out > 0


@called
def _cut_above(x: Any, at: float, v: Any) -> bool:
    out = 0
    for j in range(W):
        high = np.float64(x[j]) > v[UPPER + j]
        now = high & (v[FIRST + j] <= at) & (at < v[LAST + j])
        d = np.float64(x[j]) - v[CENTRE + j] if now else 0.0
        v[SUM + j] -= d
        v[SQUARES + j] -= d * d
        v[LAST + j] -= 1.0 if now else 0.0
        out |= high
    return out > 0


@called
def _clip(tile: Any, n: int, p: Any, v: Any) -> None:
    """Clip about the median again and again; the last bounds are applied to all samples, as astropy does."""
    for j in range(W):
        v[LOWER + j], v[UPPER + j] = -inf, inf
    for _ in range(p.iterations):
        _medians(tile, v)
        if _is_off_centre(v):
            _centre(tile, n, v)
        _spreads(tile, p, v)
        for j in range(W):
            moving, reach = v[MOVING + j] > 0.0, (p.k * v[SPREAD + j] + p.step) * AT_THE_BOUND
            v[LOWER + j] = v[MIDDLE + j] - reach if moving else v[LOWER + j]
            v[UPPER + j] = v[MIDDLE + j] + reach if moving else v[UPPER + j]
            v[SIZE + j] = v[LAST + j] - v[FIRST + j]
        _cut(tile, n, v)
        if not _still_moving(v):
            break
    for j in range(W):
        v[FIRST + j], v[LAST + j], v[MOVING + j] = 0.0, v[COUNT + j], 1.0
    _cut(tile, n, v)
    _medians(tile, v)
    _centre(tile, n, v)  # whatever neighbours lost on the way


@called
def _group_medians(tile: Any, n: int, step: float, v: Any) -> None:
    """Put medians within their step into MIDDLE, as `survey.group_medians`."""
    for j in range(W):
        v[KEPT_A + j], v[KEPT_B + j] = 0.0, 0.0
    for i in range(n):
        for j in range(W):
            x = np.float64(tile[i * W + j])
            v[KEPT_A + j] += 1.0 if x < v[MIDDLE + j] else 0.0
            v[KEPT_B + j] += 1.0 if x == v[MIDDLE + j] else 0.0
    for j in range(W):
        if v[KEPT_B + j] > 0.0 and v[COUNT + j] > 0.0:
            v[MIDDLE + j] += step * ((v[COUNT + j] * 0.5 - v[KEPT_A + j]) / v[KEPT_B + j] - 0.5)


@called
def _centre(tile: Any, n: int, v: Any) -> None:
    """Sum up the windows anew, about their medians."""
    for j in range(W):
        v[CENTRE + j] = v[MIDDLE + j]
    _sums(tile, n, v)


@called
def _is_off_centre(v: Any) -> bool:
    """Return whether any window is so far from its CENTRE that the difference of its sums keeps too few digits."""
    off = 0
    for j in range(W):
        m, s = v[LAST + j] - v[FIRST + j], v[SUM + j]
        off |= (m > 0.0) & (v[SQUARES + j] - s * s / m < v[SUMMED + j] * 1e-3)
    return off > 0


@called
def _still_moving(v: Any) -> bool:
    moving = 0.0
    for j in range(W):
        size = v[LAST + j] - v[FIRST + j]
        v[MOVING + j] = v[MOVING + j] if (size != v[SIZE + j]) & (size > 0.0) else 0.0
    for j in range(W):
        moving = max(moving, v[MOVING + j])
    return moving > 0.0


@called
def _spreads(tile: Any, p: Any, v: Any) -> None:
    """Put the sigma a clipping method measures in its windows into SPREAD; the noise model's is what it should be."""
    if p.method == tiles.MAD:
        for j in range(W):
            if v[MOVING + j] > 0.0 and v[LAST + j] > v[FIRST + j]:
                mad = _mad(tile[j:], int(v[FIRST + j]), int(v[LAST + j]), v[MIDDLE + j])
                v[SPREAD + j] = (mad + 0.5 * p.step) * tiles.MAD_TO_STD
    elif p.method == tiles.NOISE_MODEL:
        for j in range(W):
            v[SPREAD + j] = max(expected(v[MIDDLE + j], p), p.narrowest)
    else:
        for j in range(W):
            s = sqrt(variance(v[LAST + j] - v[FIRST + j], v[SUM + j], v[SQUARES + j], 0))
            v[SPREAD + j] = max(s, p.narrowest)


@called
def _mad(x: Any, lo: int, hi: int, centre: float) -> float:
    """Return the median of |x - centre| over a window of a column, whose samples lie W apart.

    The half of the samples that are nearest to the centre are neighbours: found where the distances of the ends of such
    a run cross. Its farther end is the upper of the two middle distances, the next one after that the lower.
    """
    n = hi - lo
    run = n // 2  # from the first to the last of n // 2 + 1 samples
    a, left = lo, n - run - 1
    while left > 0:
        half = left >> 1
        short = _at(x, a + half + run) - centre < centre - _at(x, a + half)
        a = a + half + 1 if short else a
        left = left - half - 1 if short else half
    if a > lo and _farther(x, a - 1, run, centre) < _farther(x, a, run, centre):
        a -= 1
    below, above = centre - _at(x, a), _at(x, a + run) - centre
    upper = max(below, above)
    if n % 2:
        return upper
    return (upper + (_farther(x, a + 1, run - 1, centre) if below > above else _farther(x, a, run - 1, centre))) * 0.5


@called
def _farther(x: Any, a: int, run: int, centre: float) -> float:
    return max(centre - _at(x, a), _at(x, a + run) - centre)


@called
def _at(x: Any, i: int) -> float:
    return np.float64(x[np.uint64(i * W)])


@called
def _winsorize(tile: Any, n: int, p: Any, v: Any) -> None:
    """Clip as Siril's winsorized method does; at least 4 samples stay."""
    for j in range(W):
        v[MOVING + j] = 1.0 if v[COUNT + j] > 3.0 else 0.0
    moving = True
    while moving:
        _medians(tile, v)
        _centre(tile, n, v)
        _winsorized_sigmas(tile, n, v)
        moving = False
        for j in range(W):
            if v[MOVING + j] > 0.0:
                moving |= _reject(tile[j:], v[j:], p)
    _sums(tile, n, v)


@called
def _reject(x: Any, v: Any, p: Any) -> bool:
    """Cut one lane's window to its bounds and return whether it is to be looked at again."""
    lo, hi = int(v[FIRST]), int(v[LAST])
    before, centre, reach = hi - lo, v[CENTRE], p.k * max(v[SPREAD], p.narrowest) + p.step
    while hi - lo > 4 and centre - np.float64(x[lo * W]) > reach:
        lo += 1
    while hi - lo > 4 and np.float64(x[(hi - 1) * W]) - centre > reach:
        hi -= 1
    v[FIRST], v[LAST] = lo, hi
    again = 3 < hi - lo < before
    v[MOVING] = 1.0 if again else 0.0
    return again


@called
def _winsorized_sigmas(tile: Any, n: int, v: Any) -> None:
    """Put Siril's sigma into SPREAD: of samples pulled in to 1.5 sigma again and again, never let out again.

    The windows shrink to what is not pulled in, and are put back at the end. SIZE marks lanes that still iterate.
    """
    for j in range(W):
        v[KEPT_A + j], v[KEPT_B + j] = v[FIRST + j], v[LAST + j]
        v[SPREAD + j] = sqrt(variance(v[LAST + j] - v[FIRST + j], v[SUM + j], v[SQUARES + j], 1))
        v[SIZE + j], v[REACH + j] = v[MOVING + j], inf
        v[LOWER + j], v[UPPER + j] = -inf, inf
    for _ in range(50):
        for j in range(W):
            reach = min(v[REACH + j], PULLED_TO * v[SPREAD + j]) if v[SIZE + j] > 0.0 else v[REACH + j]
            v[REACH + j] = reach
            v[LOWER + j] = v[CENTRE + j] - reach
            v[UPPER + j] = v[CENTRE + j] + reach
        _cut(tile, n, v)
        if not _pull_in(v):
            break
    for j in range(W):
        v[FIRST + j], v[LAST + j] = v[KEPT_A + j], v[KEPT_B + j]


@called
def _pull_in(v: Any) -> bool:
    """Take the sigma with everything beyond the windows pulled in to REACH; return whether any lane iterates on."""
    for j in range(W):
        reach, before = v[REACH + j], v[SPREAD + j]
        below, above = v[FIRST + j] - v[KEPT_A + j], v[KEPT_B + j] - v[LAST + j]
        s = v[SUM + j] + ((above - below) * reach if above != below else 0.0)
        q = v[SQUARES + j] + ((above + below) * reach * reach if above + below > 0.0 else 0.0)
        sigma = WIDENING * sqrt(variance(v[KEPT_B + j] - v[KEPT_A + j], s, q, 1))
        on = v[SIZE + j] > 0.0
        v[SPREAD + j] = sigma if on else before
        v[SIZE + j] = 1.0 if on & (abs(sigma - before) > before * SETTLED) else 0.0
    iterating = 0.0
    for j in range(W):
        iterating = max(iterating, v[SIZE + j])
    return iterating > 0.0
