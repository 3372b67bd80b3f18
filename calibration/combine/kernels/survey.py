"""The vector pass over the lanes of a sorted tile, in int32 or float32: medians and sums.

Sums are taken of deviations from the lower median: exact for uint16 while they are below a limit, in float32 otherwise.
A lane whose deviations are beyond the limit, or that lacks samples, is in doubt: what is here says nothing about it.
"""

from math import sqrt
from typing import Any

import numpy as np

from calibration.combine.kernels import tiles
from calibration.combine.kernels.jit import inlined

W = tiles.W
LOWER, SUM, SQUARES, WHOLE, BELOW, ABOVE, RANK, RANK_BEFORE = range(0, 8 * W, W)
"""Of `whole`: the lower median; sums of the window's deviations from it, of their squares, of all squares; the window's
middle values as deviations; the distances of `mad`."""

FIRST, LAST, SHARE, DOUBT, VARIANCE, SPREAD, MIDDLE, REACH = range(0, 8 * W, W)
"""Of `single`: rows FIRST..LAST-1 of a lane are kept, each a SHARE of them; 1 for lanes in doubt; the sum of squares
about the window's mean; the square of the sigma that a method clips by, and its bounds as MIDDLE ± REACH."""

AT_ONCE = 8
_EQUAL = 1024
"""More than there are frames."""


@inlined
def kept_rows(n: int, method: int) -> tuple[int, int]:
    """Return the rows first..last-1 of which something is kept at most."""
    return (1, n - 1) if method == tiles.MINMAX and n > 2 else (0, n)


@inlined
def survey(n: int, p: Any, desk: Any) -> None:
    """Begin with windows of all samples (`minmax`: of all but the extremes) and sum them up."""
    tile, whole, single = desk.tile, desk.whole, desk.single
    lo, hi = kept_rows(n, p.method)
    middle, other = tile[(n - 1) // 2 * W : (n + 1) // 2 * W], tile[n // 2 * W : (n // 2 + 1) * W]
    number = whole.dtype.type
    for j in range(W):
        whole[LOWER + j] = middle[j]
        whole[BELOW + j] = 0
        whole[ABOVE + j] = number(number(other[j]) - number(middle[j]))
    share = np.float32(1.0) / np.float32(hi - lo)
    for j in range(W):
        single[FIRST + j], single[LAST + j], single[SHARE + j] = lo, hi, share
    _sum_up(tile[lo * W : hi * W], whole)
    variances(desk)
    _doubt(n, desk)
    if hi - lo < 2:  # a single sample has the noise it should have
        single[DOUBT : DOUBT + W] = 1.0


@inlined
def _sum_up(rows: Any, whole: Any) -> None:
    for j in range(W):
        whole[SUM + j], whole[SQUARES + j] = 0, 0
    blocks = rows.shape[0] // (AT_ONCE * W) * (AT_ONCE * W)
    for start in range(0, blocks, AT_ONCE * W):
        _add_eight(rows[start : start + AT_ONCE * W], whole)
    for start in range(blocks, rows.shape[0], W):
        row = rows[start : start + W]
        for j in range(W):
            d = whole.dtype.type(row[j] - whole[LOWER + j])
            whole[SUM + j] += d
            whole[SQUARES + j] += d * d
    for j in range(W):
        whole[WHOLE + j] = whole[SQUARES + j]


@inlined
def _add_eight(t: Any, whole: Any) -> None:
    """Add eight rows: the sums are loaded and stored once, and rounded less often."""
    number = whole.dtype.type
    for j in range(W):
        c = whole[LOWER + j]
        a, b = number(t[j] - c), number(t[W + j] - c)
        d, e = number(t[2 * W + j] - c), number(t[3 * W + j] - c)
        f, g = number(t[4 * W + j] - c), number(t[5 * W + j] - c)
        h, i = number(t[6 * W + j] - c), number(t[7 * W + j] - c)
        whole[SUM + j] += ((a + b) + (d + e)) + ((f + g) + (h + i))
        whole[SQUARES + j] += ((a * a + b * b) + (d * d + e * e)) + ((f * f + g * g) + (h * h + i * i))


@inlined
def variances(desk: Any) -> None:
    """Put the sum of squares about the mean of the window into VARIANCE."""
    whole, single = desk.whole, desk.single
    for j in range(W):
        s = np.float32(whole[SUM + j])
        single[VARIANCE + j] = max(np.float32(whole[SQUARES + j]) - s * s * single[SHARE + j], np.float32(0.0))


@inlined
def group_medians(n: int, p: Any, desk: Any) -> None:
    """Put medians into MIDDLE, as deviations from the lower one, where equal samples are spread over their step.

    Samples were rounded, so those that equal the median lie anywhere within a step; how many there are below it says
    where in it the median is (`statistics.median_grouped`). It moves only where samples are equal.
    """
    tile, whole, single = desk.tile, desk.whole, desk.single
    for j in range(W):
        whole[RANK + j] = 0
    fours = n // 4 * 4 * W
    for start in range(0, fours, 4 * W):
        _count_four(tile[start : start + 4 * W], whole)
    for start in range(fours, n * W, W):
        row = tile[start : start + W]
        for j in range(W):
            whole[RANK + j] += _place(row[j], whole[LOWER + j], whole)
    half, step = np.float32(n) * np.float32(0.5), np.float32(p.step)
    for j in range(W):
        equal = np.int32(whole[RANK + j]) // _EQUAL
        below = np.int32(whole[RANK + j]) - equal * _EQUAL
        inside = (half - np.float32(below)) / np.float32(equal) - np.float32(0.5)
        two = whole[ABOVE + j] > 0
        single[MIDDLE + j] = np.float32(whole[ABOVE + j]) * np.float32(0.5) if two else step * inside


@inlined
def _count_four(t: Any, whole: Any) -> None:
    """Count four rows at once: the counts are loaded and stored once."""
    for j in range(W):
        c = whole[LOWER + j]
        first = _place(t[j], c, whole) + _place(t[W + j], c, whole)
        whole[RANK + j] += first + (_place(t[2 * W + j], c, whole) + _place(t[3 * W + j], c, whole))


@inlined
def _place(x: Any, middle: Any, whole: Any) -> Any:
    """Return 1 for a sample below the middle one, _EQUAL for one that equals it: both counts in one number."""
    number = whole.dtype.type
    return number(x < middle) + number(x == middle) * number(_EQUAL)


@inlined
def _doubt(n: int, desk: Any) -> None:
    """Put those lanes in doubt whose sums overflow, lose squares to underflow, or lack samples (infinite ones)."""
    tile, whole, single = desk.tile, desk.whole, desk.single
    number = whole.dtype.type
    least, most = _limits(n, number)
    top = tile[(n - 1) * W : n * W]
    for j in range(W):
        below = np.float32(number(whole[LOWER + j] - tile[j]))
        above = np.float32(number(top[j] - whole[LOWER + j]))
        d = max(below, above)
        good = (d <= most) & ((d >= least) | (d == np.float32(0.0)))
        single[DOUBT + j] = np.float32(0.0) if good else np.float32(1.0)


@inlined
def _limits(n: int, number: Any) -> tuple[Any, Any]:
    """Return between which deviations the sums are good."""
    if number(0.5) == 0:
        return np.float32(0.0), np.float32(sqrt(2.0**31 / n) - 1.0)
    return np.float32(1e-12), np.float32(1e15)
