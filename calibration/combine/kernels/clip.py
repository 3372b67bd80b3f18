"""Clipping the lanes of a sorted tile: what is cut from a column leaves at its ends, so a window moves in.

What a lane loses leaves its sums by subtraction, exact for uint16. Bounds are float32: a lane of which a sample lies so
near to its bound that rounding might decide is put in doubt and left to `exact`, as is one that lost most of its
squares, and one of which a sample came back (the last bounds are applied to all samples, as astropy does).
"""

from math import inf, sqrt
from typing import Any

import numpy as np

from calibration.combine.kernels import mad, tiles, winsor
from calibration.combine.kernels import survey as f
from calibration.combine.kernels.jit import called, inlined

W = tiles.W
ROUGH = 4.0
"""A sum of squares this many times the scatter left of it is too rough."""

TURNS = 6
"""Of `winsorized`, which knows no limit: lanes that move still are left to `exact`."""


@inlined
def judge(n: int, p: Any, desk: Any) -> None:
    """Put all lanes in doubt that lose anything, after the `survey`; it errs towards doubt."""
    if p.method < tiles.SIGMA_CLIP:
        return
    if p.method == tiles.WINSORIZED:
        winsor.least_variances(n, p, desk)
    else:
        _spreads(n, 0, p, desk)
    bound = np.float32(p.k * p.k) * (np.float32(1.0) - slack(n))
    _doubt_beyond(bound, np.float32(p.step), desk.tile[:W], desk.tile[(n - 1) * W : n * W], desk)


@inlined
def _doubt_beyond(bound: Any, step: Any, lowest: Any, highest: Any, desk: Any) -> None:
    """Put lanes in doubt of which a sample may be a step and the root of bound times SPREAD from the middle."""
    whole, single, number = desk.whole, desk.single, desk.whole.dtype.type
    for j in range(W):
        half = np.float32(whole[f.ABOVE + j]) * np.float32(0.5)
        below = np.float32(number(whole[f.LOWER + j] - lowest[j])) + half
        above = np.float32(number(highest[j] - whole[f.LOWER + j])) - half
        far = max(max(below, above) - step, np.float32(0.0))
        inside = far * far <= bound * single[f.SPREAD + j]
        single[f.DOUBT + j] = single[f.DOUBT + j] if inside else np.float32(1.0)


@called
def clip(n: int, p: Any, desk: Any) -> None:
    """Move the windows of all lanes to what is kept, after the `survey`."""
    if p.method == tiles.WINSORIZED:
        _winsorize(n, p, desk)
    elif p.method >= tiles.SIGMA_CLIP:
        _clip(n, p, desk)


@called
def _clip(n: int, p: Any, desk: Any) -> None:
    below, above, left = 0, 0, _samples(desk)
    for _ in range(p.iterations):
        _spreads(n, n - _fewest(n, desk), p, desk)
        _bounds(p, desk)
        below, above = _cut(n, desk)
        before, left = left, _samples(desk)
        if left == before:
            break
        _move_on(n, below, above, desk)
    for at in range(below):
        _doubt_low_return(desk.tile[at * W : (at + 1) * W], np.float32(at + 1), slack(n), desk)
    for at in range(above):
        _doubt_high_return(desk.tile[(n - 1 - at) * W : (n - at) * W], np.float32(n - 1 - at), slack(n), desk)


@called
def _winsorize(n: int, p: Any, desk: Any) -> None:
    """Clip as Siril's winsorized method does; lanes that come near to the 4 samples that always stay are in doubt."""
    single, left = desk.single, _samples(desk)
    for turn in range(TURNS):
        winsor.sigmas(n, p, desk)
        _bounds(p, desk)
        if turn == TURNS - 1:
            for j in range(W):
                single[winsor.KEPT + j] = single[f.LAST + j] - single[f.FIRST + j]
        below, above = _cut(n, desk)
        before, left = left, _samples(desk)
        if left == before:
            return
        _move_on(n, below, above, desk)
        for j in range(W):
            few = single[f.LAST + j] - single[f.FIRST + j] < np.float32(winsor.LEAST)
            single[f.DOUBT + j] = np.float32(1.0) if few else single[f.DOUBT + j]
    for j in range(W):
        moved = single[winsor.KEPT + j] > single[f.LAST + j] - single[f.FIRST + j]
        single[f.DOUBT + j] = np.float32(1.0) if moved else single[f.DOUBT + j]


@inlined
def _spreads(n: int, lost: int, p: Any, desk: Any) -> None:
    """Put the square of the sigma that a method clips by into SPREAD; lanes have lost `lost` samples at most."""
    whole, single, least = desk.whole, desk.single, np.float32(p.narrowest * p.narrowest)
    if p.method == tiles.SIGMA_CLIP:
        for j in range(W):
            single[f.SPREAD + j] = max(single[f.VARIANCE + j] * single[f.SHARE + j], least)
    elif p.method == tiles.MAD:
        mad.variances(n, lost, p.step, desk)
    else:
        for j in range(W):
            middle = (np.float64(whole[f.BELOW + j]) + np.float64(whole[f.ABOVE + j])) * 0.5
            # float32 would leave no digits of a faint signal on its pedestal
            signal = np.float32(max(np.float64(whole[f.LOWER + j]) + middle - p.pedestal, 0.0))
            single[f.SPREAD + j] = max(np.float32(p.read_variance) + signal * np.float32(p.inverse_gain), least)


@called
def _bounds(p: Any, desk: Any) -> None:
    """Put how far samples may be from the MIDDLE into REACH: of lanes in doubt anywhere, they lose nothing here."""
    whole, single = desk.whole, desk.single
    k, step = np.float32(p.k), np.float32(p.step)
    for j in range(W):
        middle = np.float32(whole[f.BELOW + j]) + np.float32(whole[f.ABOVE + j])
        single[f.MIDDLE + j] = middle * np.float32(0.5)
        rough = np.float32(whole[f.WHOLE + j]) > np.float32(ROUGH) * single[f.VARIANCE + j]
        rough |= single[f.DOUBT + j] > np.float32(0.0)
        single[f.DOUBT + j] = np.float32(1.0) if rough else np.float32(0.0)
        single[f.REACH + j] = np.float32(inf) if rough else k * np.float32(sqrt(single[f.SPREAD + j])) + step


@called
def _samples(desk: Any) -> int:
    """Return how many samples are left in all windows."""
    single, left = desk.single, np.int32(0)
    for j in range(W):
        left += np.int32(single[f.LAST + j] - single[f.FIRST + j])
    return int(left)


@called
def _fewest(n: int, desk: Any) -> int:
    """Return how many samples are left in the smallest window of those that are not in doubt."""
    single, fewest = desk.single, np.int32(n)
    for j in range(W):
        left = np.int32(single[f.LAST + j] - single[f.FIRST + j])
        fewest = min(fewest, left if single[f.DOUBT + j] == np.float32(0.0) else np.int32(n))
    return int(fewest)


@inlined
def slack(n: int) -> Any:
    """Return the relative error that REACH may have at most: sums of n squares are rounded."""
    return np.float32((n / 8 + 16) * 3e-7)


@called
def _cut(n: int, desk: Any) -> tuple[int, int]:
    """Move the windows in to their bounds; return how many rows were looked at from below and from above."""
    tile = desk.tile
    below, above, more = 0, 0, True
    while more and below < n:
        more = _cut_low(tile[below * W : (below + 1) * W], np.float32(below), slack(n), desk)
        below += 1
    more = True
    while more and above < n:
        last = n - 1 - above
        more = _cut_high(tile[last * W : (last + 1) * W], np.float32(last + 1), slack(n), desk)
        above += 1
    return below, above


@called
def _cut_low(row: Any, at: Any, slack: Any, desk: Any) -> bool:
    """Take the row `at` out of the windows it is too low for; return whether any window begins behind it."""
    whole, single, number = desk.whole, desk.single, desk.whole.dtype.type
    least, most = np.float32(1.0) - slack, np.float32(1.0) + slack
    for j in range(W):
        d = number(row[j] - whole[f.LOWER + j])
        out, reach = single[f.MIDDLE + j] - np.float32(d), single[f.REACH + j]
        ends = single[f.FIRST + j] == at
        goes = ends & (out > reach * most)
        unsure = ends & (out > reach * least) & (not goes)
        single[f.DOUBT + j] = max(single[f.DOUBT + j], np.float32(unsure))
        lost = d if goes else number(0)
        whole[f.SUM + j] = number(whole[f.SUM + j] - lost)
        whole[f.SQUARES + j] = number(whole[f.SQUARES + j] - lost * lost)
        single[f.FIRST + j] += np.float32(goes)
    more = 0
    for j in range(W):
        more |= single[f.FIRST + j] > at
    return more > 0


@called
def _cut_high(row: Any, at: Any, slack: Any, desk: Any) -> bool:
    """Take the row before `at` out of the windows it is too high for; return whether any ends before it."""
    # the twin of `_cut_low`: one function for both ends, with a sign, costs a tenth of the combining
    whole, single, number = desk.whole, desk.single, desk.whole.dtype.type
    least, most = np.float32(1.0) - slack, np.float32(1.0) + slack
    for j in range(W):
        d = number(row[j] - whole[f.LOWER + j])
        out, reach = np.float32(d) - single[f.MIDDLE + j], single[f.REACH + j]
        ends = single[f.LAST + j] == at
        goes = ends & (out > reach * most)
        unsure = ends & (out > reach * least) & (not goes)
        single[f.DOUBT + j] = max(single[f.DOUBT + j], np.float32(unsure))
        lost = d if goes else number(0)
        whole[f.SUM + j] = number(whole[f.SUM + j] - lost)
        whole[f.SQUARES + j] = number(whole[f.SQUARES + j] - lost * lost)
        single[f.LAST + j] -= np.float32(goes)
    more = 0
    for j in range(W):
        more |= single[f.LAST + j] < at
    return more > 0


@called
def _move_on(n: int, below: int, above: int, desk: Any) -> None:
    """Take middle values and variances of the windows anew; lanes with too few samples left are in doubt."""
    tile, whole, single = desk.tile, desk.whole, desk.single
    number = whole.dtype.type
    for at in range(max((n - 1 - above) // 2, 0), min((n + below) // 2 + 1, n)):
        row, here = tile[at * W : (at + 1) * W], np.float32(at)
        for j in range(W):
            centre = (single[f.FIRST + j] + single[f.LAST + j]) * np.float32(0.5) - here
            d = number(row[j] - whole[f.LOWER + j])
            lower = (centre == np.float32(0.5)) | (centre == np.float32(1.0))
            upper = (centre == np.float32(0.5)) | (centre == np.float32(0.0))
            whole[f.BELOW + j] = d if lower else whole[f.BELOW + j]
            whole[f.ABOVE + j] = d if upper else whole[f.ABOVE + j]
    for j in range(W):
        m = single[f.LAST + j] - single[f.FIRST + j]
        single[f.DOUBT + j] = np.float32(1.0) if m < np.float32(2.0) else single[f.DOUBT + j]
        single[f.SHARE + j] = np.float32(1.0) / m
    f.variances(desk)


@called
def _doubt_low_return(row: Any, first: Any, slack: Any, desk: Any) -> None:
    """Put lanes in doubt that lost this row last although it is not beyond their last bounds."""
    whole, single, number = desk.whole, desk.single, desk.whole.dtype.type
    for j in range(W):
        out = single[f.MIDDLE + j] - np.float32(number(row[j] - whole[f.LOWER + j]))
        back = (single[f.FIRST + j] == first) & (out <= single[f.REACH + j] * (np.float32(1.0) + slack))
        single[f.DOUBT + j] = max(single[f.DOUBT + j], np.float32(back))


@called
def _doubt_high_return(row: Any, last: Any, slack: Any, desk: Any) -> None:
    whole, single, number = desk.whole, desk.single, desk.whole.dtype.type
    for j in range(W):
        out = np.float32(number(row[j] - whole[f.LOWER + j])) - single[f.MIDDLE + j]
        back = (single[f.LAST + j] == last) & (out <= single[f.REACH + j] * (np.float32(1.0) + slack))
        single[f.DOUBT + j] = max(single[f.DOUBT + j], np.float32(back))
