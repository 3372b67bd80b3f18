"""Compiled loops over the planes of masters: backgrounds between lines of boxes, and the flags of single pixels."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from calibration.combine.recipe import MaskBit
from calibration.compiled_kernels import kept

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

    A pixel is hot when MEAN, less `sure` times its SIGMA, is above ``hot_factor background + hot_offset``, dead when
    as much below ``dead_factor background - hot_offset``, and noisy when ``SIGMA² COUNT`` is above `noise` times the
    variance expected of a sample: that of the background, and `shot` times the light above it.
    """

    sure: np.float32
    hot_factor: np.float32
    dead_factor: np.float32
    hot_offset: np.float32
    noise: np.float32
    shot: np.float32
    hot_judged: bool
    hot: np.uint16 = np.uint16(MaskBit.HOT)
    dead: np.uint16 = np.uint16(MaskBit.DEAD)
    noisy: np.uint16 = np.uint16(MaskBit.NOISY)


@kept(nogil=True)
def flag_pixels(  # noqa: PLR0917 - planes of one shape, in the order in which they are kept
    mean: F32, sigma: F32, count: U16, smooth: F32, noise: F32, limits: FlagLimits, mask: U16
) -> None:
    """Add HOT, DEAD and NOISY to the mask of some rows of a master.

    Parameters
    ----------
    mean, sigma, count, mask : ndarray, shape (rows, x)
        Its planes; `mask` is changed.
    smooth, noise : ndarray of float32, shape (rows, x)
        Background of MEAN, and of the standard deviation of a sample.
    limits : FlagLimits
    """
    for y in range(mean.shape[0]):
        for x in range(mean.shape[1]):
            value, error, level = mean[y, x], sigma[y, x], smooth[y, x]
            reach = limits.sure * error if error == error else np.float32(0)  # noqa: PLR0124 - NaN: a single frame
            hot = value - reach > limits.hot_factor * level + limits.hot_offset
            dead = value + reach < limits.dead_factor * level - limits.hot_offset
            expected = noise[y, x] * noise[y, x] + limits.shot * max(value - level, np.float32(0))
            noisy = error * error * np.float32(count[y, x]) > limits.noise * expected
            noisy = noisy & (limits.hot_judged | (not hot))
            flags = np.uint16(hot) * limits.hot | np.uint16(dead) * limits.dead | np.uint16(noisy) * limits.noisy
            mask[y, x] = mask[y, x] | np.uint16(flags)
