"""Compiled loops over the planes of masters: backgrounds between lines of boxes, and the flags of single pixels."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from calibration.combine.kernels.jit import inlined
from calibration.combine.recipe import MaskBit
from calibration.compiled_kernels import kept
from calibration.masters.neighbours import REACH

U16 = NDArray[np.uint16]
I64 = NDArray[np.int64]
F32 = NDArray[np.float32]


@kept(nogil=True)
def lines_between(lines: F32, low: I64, part: F32) -> F32:
    """Return lines interpolated between neighbours: ``lines[low] (1 - part) + lines[low + 1] part``.

    Parameters
    ----------
    lines : ndarray of float32, shape (n, x)
    low, part : ndarray of int64 and float32, shape (rows,)
        Which line is before, and the way to the next; the last line is its own neighbour.

    Returns
    -------
    ndarray of float32, shape (rows, x)
    """
    found = np.empty((low.size, lines.shape[1]), np.float32)
    for y in range(low.size):
        before, after = lines[low[y]], lines[min(low[y] + 1, lines.shape[0] - 1)]
        first, second = np.float32(1) - part[y], part[y]
        for x in range(lines.shape[1]):
            found[y, x] = before[x] * first + after[x] * second
    return found


class FlagLimits(NamedTuple):
    """The thresholds of `calibration.masters.flags` as numbers for `flag_pixels`.

    A pixel *stands out* when in one of four directions it is above (or below) both its neighbours by more than the
    root of: the square of that direction's member here (`across` rows, `along` columns, `falling`, `rising`), times the
    squared level of flats, and `noise_share` times the variance of a sample nearby; and by `sure` times its SIGMA.

    It is hot when MEAN, less `sure` times its SIGMA, is above ``hot_factor background + hot_offset``, dead when as much
    below ``dead_factor background - hot_offset``; both only if it stands out, where they are defined by an offset. What
    else stands out is warm, or in flats of low response. It is noisy when ``SIGMA² COUNT`` is above `noise` times the
    variance expected of a sample: that of the background, and `shot` times the light above it.
    """

    flat: bool
    sure: np.float32
    hot_factor: np.float32
    dead_factor: np.float32
    hot_offset: np.float32
    across: np.float32
    along: np.float32
    falling: np.float32
    rising: np.float32
    noise_share: np.float32
    noise: np.float32
    shot: np.float32
    hot_judged: bool
    hot: np.uint16 = np.uint16(MaskBit.HOT)
    dead: np.uint16 = np.uint16(MaskBit.DEAD)
    noisy: np.uint16 = np.uint16(MaskBit.NOISY)
    warm: np.uint16 = np.uint16(MaskBit.WARM)
    dull: np.uint16 = np.uint16(MaskBit.LOW_RESPONSE)


@inlined
def _higher(a: Any, b: Any) -> Any:
    return a if a > b else b  # noqa: FURB136 - one instruction, where `max` asks for NaN


@inlined
def _height(value: Any, a: Any, b: Any) -> Any:
    """Return how far a value is above both others, squared; negative where it is not."""
    above = value - _higher(a, b)
    return above * abs(above)


@inlined
def _stand_out(rows: Any, sign: Any, unit: Any, limits: Any, out: Any) -> None:
    """Put by how much the pixels of a row are above their neighbours (below them: `sign` -1), squared, less the grain.

    Parameters
    ----------
    rows : tuple of ndarray
        Rows of MEAN: the one before, the row itself, the one behind.
    sign : float
    unit : ndarray
        What the squares of the grain are multiplied by.
    limits : FlagLimits
    out : ndarray
    """
    before, here, after = rows
    for x in range(here.shape[0]):
        out[x] = _height(sign * here[x], sign * before[x], sign * after[x]) - unit[x] * limits.along
    size = max(0, here.shape[0] - 2 * REACH)
    right = here.shape[0] - size
    before_left, before_right = before[:size], before[right:]
    here_left, here_right, middle = here[:size], here[right:], here[REACH : REACH + size]
    after_left, after_right = after[:size], after[right:]
    scale, found = unit[REACH : REACH + size], out[REACH : REACH + size]
    for x in range(size):
        value, q = sign * middle[x], scale[x]
        across = _height(value, sign * here_left[x], sign * here_right[x]) - q * limits.across
        falling = _height(value, sign * before_left[x], sign * after_right[x]) - q * limits.falling
        rising = _height(value, sign * after_left[x], sign * before_right[x]) - q * limits.rising
        found[x] = _higher(_higher(found[x], across), _higher(falling, rising))
    last = here.shape[0] - 1
    for k in range(min(2 * REACH, here.shape[0])):  # at an end of the row both neighbours are inside
        x, step = (k, REACH) if k < REACH else (last + REACH - k, -REACH)
        near, far = min(max(x + step, 0), last), min(max(x + 2 * step, 0), last)
        across = _height(sign * here[x], sign * here[near], sign * here[far]) - unit[x] * limits.across
        out[x] = _higher(out[x], across)


@kept(nogil=True)
def flag_pixels(  # noqa: PLR0917 - planes of one shape, in the order in which they are kept
    mean: F32, top: int, sigma: F32, count: U16, smooth: F32, noise: F32, limits: FlagLimits, mask: U16
) -> None:
    """Add HOT, DEAD, NOISY, WARM and LOW_RESPONSE to the mask of some rows of a master.

    Parameters
    ----------
    mean : ndarray of float32, shape (more rows, x)
        MEAN of the rows and of those around them, see `neighbours.around`.
    top : int
        Which row of `mean` is the first of the others.
    sigma, count, mask : ndarray, shape (rows, x)
        The other planes; `mask` is changed.
    smooth, noise : ndarray of float32, shape (rows, x)
        Background of MEAN, and of the standard deviation of a sample.
    limits : FlagLimits
    """
    width, last = mean.shape[1], mean.shape[0] - 1
    up, down, unit = np.zeros(width, np.float32), np.zeros(width, np.float32), np.ones(width, np.float32)
    for y in range(sigma.shape[0]):
        before, after = y + top - REACH, y + top + REACH
        if before < 0:  # at an end of the master both neighbours are inside
            before, after = min(after, last), min(after + REACH, last)
        elif after > last:
            before, after = max(before, 0), max(before - REACH, 0)
        rows = (mean[before], mean[y + top], mean[after])
        if limits.flat:
            for x in range(width):
                unit[x] = smooth[y, x] * smooth[y, x]
        else:
            _stand_out(rows, np.float32(1), unit, limits, up)
        _stand_out(rows, np.float32(-1), unit, limits, down)
        _flag_row(rows[1], sigma[y], count[y], smooth[y], noise[y], up, down, limits, mask[y])


@inlined
def _flag_row(  # noqa: PLR0917 - as `flag_pixels`
    mean: Any, sigma: Any, count: Any, smooth: Any, noise: Any, up: Any, down: Any, limits: Any, mask: Any
) -> None:
    for x in range(mask.shape[0]):
        value, error, level = mean[x], sigma[x], smooth[x]
        error = error if error == error else np.float32(0)  # noqa: PLR0124 - NaN: a single frame
        variance = noise[x] * noise[x]
        reach = limits.sure * error
        least = _higher(reach * reach, limits.noise_share * variance)
        above, below = up[x] > least, down[x] > least
        hot = (value - reach > limits.hot_factor * level + limits.hot_offset) & (limits.flat | above)
        dead = (value + reach < limits.dead_factor * level - limits.hot_offset) & (limits.flat | below)
        expected = variance + limits.shot * _higher(value - level, np.float32(0))
        noisy = error * error * np.float32(count[x]) > limits.noise * expected
        noisy = noisy & (limits.hot_judged | (not hot))
        flags = np.uint16(hot) * limits.hot | np.uint16(dead) * limits.dead | np.uint16(noisy) * limits.noisy
        flags |= np.uint16(above & (not hot)) * limits.warm
        flags |= np.uint16(limits.flat & below & (not dead)) * limits.dull
        mask[x] = mask[x] | np.uint16(flags)
