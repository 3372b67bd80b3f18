"""Compiled loops over raw frames: histograms, the extremes of lines, and differences between two frames.

Everything is exact integer arithmetic on uint16; what the numbers mean is decided in `calibration.stats` and
`calibration.masters.quality`.
"""

import numpy as np
from numpy.typing import NDArray

from calibration.compiled_kernels import kept

BINS = 65_536
"""One bin for each value a uint16 can take."""

U16 = NDArray[np.uint16]
I64 = NDArray[np.int64]


@kept(nogil=True)
def histogram(pixels: U16, rows: tuple[int, int, int], columns: tuple[int, int, int]) -> I64:
    """Count the values of a part of a frame.

    Parameters
    ----------
    pixels : ndarray of uint16, shape (y, x)
        The frame.
    rows, columns : tuple of int
        Start, stop and step of the part.

    Returns
    -------
    ndarray of int64, shape (65536,)
        Number of pixels of each value.
    """
    # Four tables in turn: successive equal values would otherwise wait for one another's increment.
    tables = np.zeros((4, BINS), np.uint32)
    a, b, c, d = tables[0], tables[1], tables[2], tables[3]
    one, step = np.uint32(1), columns[2]
    for y in range(rows[0], rows[1], rows[2]):
        x = columns[0]
        while x + 3 * step < columns[1]:
            a[pixels[y, x]] += one
            b[pixels[y, x + step]] += one
            c[pixels[y, x + 2 * step]] += one
            d[pixels[y, x + 3 * step]] += one
            x += 4 * step
        while x < columns[1]:
            a[pixels[y, x]] += one
            x += step
    counts = np.zeros(BINS, np.int64)
    for i in range(BINS):
        counts[i] = np.int64(a[i]) + np.int64(b[i]) + np.int64(c[i]) + np.int64(d[i])
    return counts


@kept(nogil=True)
def survey_lines(pixels: U16, saturated_from: int) -> tuple[I64, I64, I64]:
    """Count saturated pixels by row and by column, and find the rows that hold a single value.

    Parameters
    ----------
    pixels : ndarray of uint16, shape (y, x)
        The frame.
    saturated_from : int
        Values at or above it are saturated; 65536 or more finds none.

    Returns
    -------
    by_row : ndarray of int64, shape (y,)
        Saturated pixels of each row.
    by_column : ndarray of int64, shape (x,)
        Saturated pixels of each column.
    constant : ndarray of int64, shape (y,)
        1 where all pixels of a row are equal.
    """
    height, width = pixels.shape
    by_row = np.zeros(height, np.int64)
    by_column = np.zeros(width, np.int64)
    constant = np.zeros(height, np.int64)
    for y in range(height):
        lowest = pixels[y, 0]
        highest = lowest
        for x in range(width):
            lowest = min(lowest, pixels[y, x])
            highest = max(highest, pixels[y, x])
        constant[y] = lowest == highest
        if highest >= saturated_from:
            for x in range(width):
                if pixels[y, x] >= saturated_from:
                    by_row[y] += 1
                    by_column[x] += 1
    return by_row, by_column, constant


@kept(nogil=True)
def difference_histogram(a: U16, b: U16, rows: tuple[int, int, int], columns: tuple[int, int, int]) -> I64:
    """Count the values of `a - b` over a part of two frames; bin 65535 is a difference of zero.

    Parameters
    ----------
    a, b : ndarray of uint16, shape (y, x)
        The frames.
    rows, columns : tuple of int
        Start, stop and step of the part.

    Returns
    -------
    ndarray of int64, shape (131071,)
        Number of pixels of each difference, from -65535 to 65535.
    """
    counts = np.zeros(2 * BINS - 1, np.int64)
    for y in range(rows[0], rows[1], rows[2]):
        for x in range(columns[0], columns[1], columns[2]):
            counts[np.int64(a[y, x]) - np.int64(b[y, x]) + BINS - 1] += 1
    return counts


@kept(nogil=True)
def count_differences(a: U16, b: U16, counts: I64) -> None:
    """Add the values of `a - b` to `counts`; its middle bin is a difference of zero, its ends hold what is beyond.

    Parameters
    ----------
    a, b : ndarray of uint16, shape (y, x)
        The same part of two frames.
    counts : ndarray of int64, shape (2 * reach + 1,)
        Gets the number of pixels of each difference.
    """
    reach = counts.shape[0] // 2
    for y in range(a.shape[0]):
        for x in range(a.shape[1]):
            difference = np.int64(a[y, x]) - np.int64(b[y, x])
            counts[min(max(difference, -reach), reach) + reach] += 1


@kept(nogil=True)
def identical_rows(a: U16, b: U16) -> int:
    """Count the rows of `a` that repeat those of `b` pixel for pixel and hold more than one value.

    Two independent rows of noise never agree in every pixel; a buffer that was not refilled does.
    """
    height, width = a.shape
    found = 0
    for y in range(height):
        x = 0
        while x < width and a[y, x] == b[y, x]:
            x += 1
        if x < width:
            continue
        x = 1
        while x < width and a[y, x] == a[y, 0]:
            x += 1
        found += x < width
    return found
