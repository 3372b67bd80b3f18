"""The winsorized sigma of whole lanes in float32, with doubt where rounding might decide (see `fast`).

Samples are pulled in to 1.5 sigma again and again until sigma settles. That never reaches the middle rows of the sorted
tile: their sums are taken once, and each iteration looks at the outer rows alone. A lane in which it would, which does
not settle in a few iterations, or whose last change is too near to the tolerance, is left to `exact`.
"""

from math import inf, sqrt
from typing import Any

import numpy as np
from numba import njit

from calibration.combine import tiles

W = tiles.W
FOUR = 4 * W
LEAST = 8
"""Frames below which there is no middle."""

SIGMA, REACH, SUM, SQUARES, MIDDLE_SUM, MIDDLE_SQUARES, MIDDLE_REACH, ITERATING, DOUBT = range(3 * W, 12 * W, W)
MOST_ITERATIONS = 16


@njit(nogil=True, error_model="numpy")
def winsorized_sigmas(n: int, lower: Any, upper: Any, bench: Any) -> None:
    """Put sigma into SIGMA and whether it is in doubt into DOUBT, rows of `single`; n is at least 8."""
    v, d = bench.single, bench.deviations
    outer = (3 * n // 10 + 3) // 4 * 4  # on either side, in fours
    _deviations(bench.tile, n, lower, upper, d)
    _begin(n, outer, d, v)
    for _ in range(MOST_ITERATIONS):
        for j in range(W):
            reach = min(v[REACH + j], np.float32(1.5) * v[SIGMA + j])
            v[REACH + j] = reach if v[ITERATING + j] > 0 else v[REACH + j]
            v[SUM + j], v[SQUARES + j] = v[MIDDLE_SUM + j], v[MIDDLE_SQUARES + j]
        for start in range(0, outer * W, FOUR):
            _pull_in(d[start : start + FOUR], v)
            _pull_in(d[n * W - start - FOUR : n * W - start], v)
        if not _iterate(n, v):
            break
    for j in range(W):
        v[DOUBT + j] += v[ITERATING + j]


@njit(nogil=True, error_model="numpy")
def _deviations(tile: Any, n: int, lower: Any, upper: Any, d: Any) -> None:
    """Take deviations from the median; first from the lower one, for that is exact."""
    number = lower.dtype.type
    for i in range(n):
        x, out = tile[i * W : (i + 1) * W], d[i * W : (i + 1) * W]
        for j in range(W):
            half = np.float32(number(upper[j] - lower[j])) * np.float32(0.5)
            out[j] = np.float32(number(x[j] - lower[j])) - half


@njit(nogil=True, error_model="numpy")
def _begin(n: int, outer: int, d: Any, v: Any) -> None:
    """Sum up the middle rows, and all rows for the first sigma."""
    for j in range(W):
        v[SUM + j], v[SQUARES + j], v[REACH + j] = 0.0, 0.0, inf
        v[ITERATING + j], v[DOUBT + j], v[SIGMA + j] = 1.0, 0.0, inf
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
        v[SIGMA + j] = _deviation(n, v[SUM + j], v[SQUARES + j])


@njit(nogil=True, error_model="numpy")
def _pull_in(d: Any, v: Any) -> None:
    """Add four rows, pulled in to REACH."""
    for j in range(W):
        reach = v[REACH + j]
        a = min(max(d[j], -reach), reach)
        b = min(max(d[W + j], -reach), reach)
        e = min(max(d[2 * W + j], -reach), reach)
        f = min(max(d[3 * W + j], -reach), reach)
        v[SUM + j] += (a + b) + (e + f)
        v[SQUARES + j] += (a * a + b * b) + (e * e + f * f)


@njit(nogil=True, error_model="numpy")
def _deviation(n: int, s: Any, q: Any) -> Any:
    return np.float32(sqrt(max(q - s * s / np.float32(n), np.float32(0.0)) / np.float32(n - 1)))


@njit(nogil=True, error_model="numpy")
def _iterate(n: int, v: Any) -> bool:
    """Take the new sigma where a lane still iterates; return whether any goes on."""
    # equal deviations are rounded the same way each time: errors of a sum grow with n, not with its root
    rounding = np.float32((12.0 + n) * 6e-8)
    for j in range(W):
        before, on = v[SIGMA + j], v[ITERATING + j] > 0
        sigma = np.float32(1.134) * _deviation(n, v[SUM + j], v[SQUARES + j])
        change, least = abs(sigma - before), before * np.float32(0.0005)
        unsure = (abs(change - least) <= before * rounding) & (before > 0)
        unsure |= v[REACH + j] < v[MIDDLE_REACH + j]
        v[SIGMA + j] = sigma if on else before
        v[DOUBT + j] = np.float32(1.0) if on & unsure else v[DOUBT + j]
        v[ITERATING + j] = np.float32(1.0) if on & (change > least) else np.float32(0.0)
    iterating = np.float32(0.0)
    for j in range(W):
        iterating = max(iterating, v[ITERATING + j])
    return bool(iterating > 0)
