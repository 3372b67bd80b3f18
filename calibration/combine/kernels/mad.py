"""Median absolute deviations of whole lanes: exact for uint16, without sorting the deviations.

The half of a window's samples that are nearest to its median are neighbours in the sorted column. So the r-th smallest
distance from the median is, of all runs of r neighbours, the least of the greater distance of the run's two ends.
"""

from typing import Any

import numpy as np

from calibration.combine.kernels import survey as f
from calibration.combine.kernels import tiles
from calibration.combine.kernels.jit import called, inlined

W = tiles.W
MOST_LOST = 8
"""Lanes that lost more are left to `exact`: every second is a pass more for all."""


@inlined
def variances(n: int, lost: int, step: float, desk: Any) -> None:
    """Put the square of 1.4826 (MAD + step / 2) into SPREAD; a lane lost `lost` samples at most.

    Of rounded samples, all that MAD says is that half of them were at most half a step farther from the median.
    """
    whole, single = desk.whole, desk.single
    if lost == 0:
        _distances(n, n // 2 + 1, desk, f.RANK)
        _distances(n, (n + 1) // 2, desk, f.RANK_BEFORE)
    else:
        for j in range(W):
            many = single[f.LAST + j] - single[f.FIRST + j] < np.float32(n - MOST_LOST)
            single[f.DOUBT + j] = np.float32(1.0) if many else single[f.DOUBT + j]
        lost = min(lost, MOST_LOST)
        for rank in range(max((n - lost + 1) // 2, 1), n // 2 + 2):
            _windowed_distances(n, rank, desk)
    for j in range(W):
        gap = np.float32(whole[f.ABOVE + j]) - np.float32(whole[f.BELOW + j])
        twice = gap + np.float32(whole[f.RANK + j]) + np.float32(whole[f.RANK_BEFORE + j]) + np.float32(step)
        sigma = twice * np.float32(0.5 * tiles.MAD_TO_STD)
        single[f.SPREAD + j] = sigma * sigma


@inlined
def _distances(n: int, rank: int, desk: Any, out: int) -> None:
    """Put the `rank`-th smallest distance from the two middle values, whichever is nearer, into the row `out`."""
    tile, least, number = desk.tile, desk.least, desk.tile.dtype.type
    lower, upper = tile[(n - 1) // 2 * W : (n + 1) // 2 * W], tile[n // 2 * W : (n // 2 + 1) * W]
    top = tile[(n - 1) * W : n * W]
    for j in range(W):
        least[j] = number(top[j] - tile[j])
    for i in range(n - rank + 1):
        low, high = tile[i * W : (i + 1) * W], tile[(i + rank - 1) * W : (i + rank) * W]
        for j in range(W):
            below, above = number(lower[j] - min(low[j], lower[j])), number(max(high[j], upper[j]) - upper[j])
            least[j] = min(least[j], max(below, above))
    for j in range(W):
        desk.whole[out + j] = least[j]


@called
def _windowed_distances(n: int, rank: int, desk: Any) -> None:
    """As `_distances`, of windows: into RANK and RANK_BEFORE of the lanes that have this rank in their middle."""
    tile, whole, single = desk.tile, desk.whole, desk.single
    for j in range(W):
        single[f.SPREAD + j] = np.float32(3e38)
    for i in range(n - rank + 1):
        low, high = tile[i * W : (i + 1) * W], tile[(i + rank - 1) * W : (i + rank) * W]
        first, last, number = np.float32(i), np.float32(i + rank), whole.dtype.type
        for j in range(W):
            below = np.float32(whole[f.BELOW + j]) - np.float32(number(low[j] - whole[f.LOWER + j]))
            above = np.float32(number(high[j] - whole[f.LOWER + j])) - np.float32(whole[f.ABOVE + j])
            far = max(below, above, np.float32(0.0))
            inside = (single[f.FIRST + j] <= first) & (last <= single[f.LAST + j])
            far = far if inside else np.float32(3e38)
            single[f.SPREAD + j] = min(single[f.SPREAD + j], far)
    for j in range(W):
        m = single[f.LAST + j] - single[f.FIRST + j]
        # of m samples the ranks (m + 1) // 2 and m // 2 + 1 are in the middle
        centre = m * np.float32(0.5) - np.float32(rank)
        before = (centre == np.float32(0.0)) | (centre == np.float32(-0.5))
        behind = (centre == np.float32(-1.0)) | (centre == np.float32(-0.5))
        found = (before | behind) & (single[f.SPREAD + j] < np.float32(3e38))
        least = whole.dtype.type(single[f.SPREAD + j] if found else np.float32(0.0))
        whole[f.RANK_BEFORE + j] = least if before else whole[f.RANK_BEFORE + j]
        whole[f.RANK + j] = least if behind else whole[f.RANK + j]
