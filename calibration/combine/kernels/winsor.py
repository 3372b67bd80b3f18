"""Siril's winsorized sigma of whole lanes: samples are pulled in to 1.5 sigma again and again, until sigma settles.

Whether a lane loses nothing needs no iteration. Let L be its greatest distance from the median, less a step, over k.
The reach only shrinks, and the sigma of samples pulled in less is never smaller. So when the first sigma is at least L,
and the one of the samples pulled in to 1.5 L as well, then no later one is smaller either: nothing is beyond k of them.

The others are iterated in float32. That never reaches the middle rows of the tile: their sums are taken once, and each
turn looks at the outer rows alone. A lane in which it would, which does not settle, or whose last change is too near to
the tolerance, is in doubt.
"""

from math import inf, sqrt
from typing import Any

import numpy as np

from calibration.combine.kernels import survey as f
from calibration.combine.kernels import tiles
from calibration.combine.kernels.jit import called, inlined

W = tiles.W
FOUR = 4 * W
LEAST = 8
"""Samples below which there is no middle."""

WIDENING = 1.134
"""What makes up for the pulling in, of samples of normal noise."""

PULLED_TO, SETTLED = 1.5, 0.0005
"""Samples are pulled in to so many sigma, until sigma changes by no more than this part of it."""

KEPT, SIGMA, LIMIT, SUM, SQUARES, MIDDLE_SUM, MIDDLE_SQUARES, MIDDLE_REACH, ITERATING = range(8 * W, 17 * W, W)
"""Of `single`."""
MOST_ITERATIONS = 24


@inlined
def least_variances(n: int, p: Any, desk: Any) -> None:
    """Put a square of sigma into SPREAD that no later one is below where no sample is beyond k of it; not elsewhere."""
    tile, whole, v = desk.tile, desk.whole, desk.single
    number, share, step = whole.dtype.type, np.float32(PULLED_TO / p.k), np.float32(p.step)
    top = tile[(n - 1) * W : n * W]
    for j in range(W):
        half = np.float32(whole[f.ABOVE + j]) * np.float32(0.5)
        below = np.float32(number(whole[f.LOWER + j] - tile[j])) + half
        above = np.float32(number(top[j] - whole[f.LOWER + j])) - half
        v[f.MIDDLE + j], v[LIMIT + j] = half, max(max(below, above) - step, np.float32(0.0)) * share
        v[SUM + j], v[SQUARES + j] = 0.0, 0.0
    fours = n // 4 * FOUR
    for start in range(0, fours, FOUR):
        _pull_in_four(tile[start : start + FOUR], whole, v)
    for start in range(fours, n * W, W):
        row = tile[start : start + W]
        for j in range(W):
            d = np.float32(number(row[j] - whole[f.LOWER + j])) - v[f.MIDDLE + j]
            a = min(max(d, -v[LIMIT + j]), v[LIMIT + j])
            v[SUM + j] += a
            v[SQUARES + j] += a * a
    size, widening, least = np.float32(n), np.float32(WIDENING**2), np.float32(p.narrowest * p.narrowest)
    for j in range(W):
        pulled = widening * max(v[SQUARES + j] - v[SUM + j] * v[SUM + j] / size, np.float32(0.0))
        v[f.SPREAD + j] = max(min(v[f.VARIANCE + j], pulled) / np.float32(n - 1), least)
    if n < LEAST:
        v[f.DOUBT : f.DOUBT + W] = 1.0


@inlined
def _pull_in_four(t: Any, whole: Any, v: Any) -> None:
    number = whole.dtype.type
    for j in range(W):
        c, half, reach = whole[f.LOWER + j], v[f.MIDDLE + j], v[LIMIT + j]
        a, b = np.float32(number(t[j] - c)) - half, np.float32(number(t[W + j] - c)) - half
        d, e = np.float32(number(t[2 * W + j] - c)) - half, np.float32(number(t[3 * W + j] - c)) - half
        a, b = min(max(a, -reach), reach), min(max(b, -reach), reach)
        d, e = min(max(d, -reach), reach), min(max(e, -reach), reach)
        v[SUM + j] += (a + b) + (d + e)
        v[SQUARES + j] += (a * a + b * b) + (d * d + e * e)


@called
def sigmas(n: int, p: Any, desk: Any) -> None:
    """Put the square of sigma into SPREAD, of at least LEAST samples, and lanes in doubt where it is unsure."""
    d, v, least = desk.deviations, desk.single, np.float32(p.narrowest * p.narrowest)
    outer = (3 * n // 10 + 3) // 4 * 4  # on either side, in fours
    if n < 2 * outer:
        v[f.DOUBT : f.DOUBT + W] = 1.0
        return
    _deviations(n, desk)
    _begin(n, outer, d, v)
    for _ in range(MOST_ITERATIONS):
        for j in range(W):
            limit = min(v[LIMIT + j], np.float32(PULLED_TO) * v[SIGMA + j])
            v[LIMIT + j] = limit if v[ITERATING + j] > 0 else v[LIMIT + j]
            v[SUM + j], v[SQUARES + j] = v[MIDDLE_SUM + j], v[MIDDLE_SQUARES + j]
        for start in range(0, outer * W, FOUR):
            _pull_in(d[start : start + FOUR], v)
            _pull_in(d[n * W - start - FOUR : n * W - start], v)
        if not _iterate(n, v):
            break
    for j in range(W):
        v[f.DOUBT + j] = max(v[f.DOUBT + j], v[ITERATING + j])
        v[f.SPREAD + j] = max(v[SIGMA + j] * v[SIGMA + j], least)


@called
def _deviations(n: int, desk: Any) -> None:
    """Take deviations from the windows' medians, 0 outside; first from the lower one of all, for that is exact."""
    tile, whole, v, number = desk.tile, desk.whole, desk.single, desk.whole.dtype.type
    for j in range(W):
        v[f.MIDDLE + j] = (np.float32(whole[f.BELOW + j]) + np.float32(whole[f.ABOVE + j])) * np.float32(0.5)
    for i in range(n):
        row, out, at = tile[i * W : (i + 1) * W], desk.deviations[i * W : (i + 1) * W], np.float32(i)
        for j in range(W):
            inside = (v[f.FIRST + j] <= at) & (at < v[f.LAST + j])
            d = np.float32(number(row[j] - whole[f.LOWER + j])) - v[f.MIDDLE + j]
            out[j] = d if inside else np.float32(0.0)


@called
def _begin(n: int, outer: int, d: Any, v: Any) -> None:
    """Sum up the middle rows, and all rows for the first sigma."""
    for j in range(W):
        v[SUM + j], v[SQUARES + j], v[LIMIT + j] = 0.0, 0.0, inf
        v[ITERATING + j], v[SIGMA + j] = 1.0, inf
    for start in range(outer * W, (n - outer) * W, W):
        row = d[start : start + W]
        for j in range(W):
            v[SUM + j] += row[j]
            v[SQUARES + j] += row[j] * row[j]
    first, last = d[outer * W : (outer + 1) * W], d[(n - outer - 1) * W : (n - outer) * W]
    for j in range(W):
        v[MIDDLE_SUM + j], v[MIDDLE_SQUARES + j] = v[SUM + j], v[SQUARES + j]
        v[MIDDLE_REACH + j] = max(-first[j], last[j]) if n > 2 * outer else np.float32(0.0)
    for start in range(0, outer * W, FOUR):
        _pull_in(d[start : start + FOUR], v)
        _pull_in(d[n * W - start - FOUR : n * W - start], v)
    for j in range(W):
        v[SIGMA + j] = _deviation(v[f.LAST + j] - v[f.FIRST + j], v[SUM + j], v[SQUARES + j])


@called
def _pull_in(d: Any, v: Any) -> None:
    """Add four rows, pulled in to LIMIT."""
    for j in range(W):
        reach = v[LIMIT + j]
        a = min(max(d[j], -reach), reach)
        b = min(max(d[W + j], -reach), reach)
        e = min(max(d[2 * W + j], -reach), reach)
        f = min(max(d[3 * W + j], -reach), reach)
        v[SUM + j] += (a + b) + (e + f)
        v[SQUARES + j] += (a * a + b * b) + (e * e + f * f)


@called
def _deviation(m: Any, s: Any, q: Any) -> Any:
    return np.float32(sqrt(max(q - s * s / m, np.float32(0.0)) / (m - np.float32(1.0))))


@called
def _iterate(n: int, v: Any) -> bool:
    """Take the new sigma where a lane still iterates; return whether any goes on."""
    # equal deviations are rounded the same way each time: errors of a sum grow with n, not with its root
    rounding = np.float32((12.0 + n) * 6e-8)
    for j in range(W):
        before, on = v[SIGMA + j], v[ITERATING + j] > 0
        m = v[f.LAST + j] - v[f.FIRST + j]
        sigma = np.float32(WIDENING) * _deviation(m, v[SUM + j], v[SQUARES + j])
        change, least = abs(sigma - before), before * np.float32(SETTLED)
        unsure = (abs(change - least) <= before * rounding) & (before > 0)
        unsure |= v[LIMIT + j] < v[MIDDLE_REACH + j]
        v[SIGMA + j] = sigma if on else before
        v[f.DOUBT + j] = np.float32(1.0) if on & unsure else v[f.DOUBT + j]
        v[ITERATING + j] = np.float32(1.0) if on & (change > least) else np.float32(0.0)
    going = 0
    for j in range(W):
        going |= (v[ITERATING + j] > np.float32(0.0)) & (v[f.DOUBT + j] == np.float32(0.0))
    return going > 0
