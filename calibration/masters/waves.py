"""Waves in a master: a pattern that repeats itself (interference of the supply, fringes of read-out) in any direction.

Rows and columns that differ show in their means; a slanted wave shows in the spectrum alone. Tiles of the master
without its large-scale shape are transformed, and their powers are averaged: noise spreads over all frequencies, a
wave does not.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.clipping import clip_values
from calibration.masters.background import CELL, large_scale
from calibration.masters.neighbours import REACH
from calibration.masters.sketch import F32, Sketch, blocks

SIDE = 512
"""Rows and columns of a tile at most."""

LONGEST = 5
"""Waves of which fewer than this many fit into a tile are shape, not pattern."""

SEEN = 6.0
"""Strongest wave over the typical one from which it is a pattern: of a hundred thousand waves of noise the strongest is
4.1 times the typical one."""

_LOBE = 2
"""A wave lies on this many frequencies on either side of its own (window of Hann)."""

_OUTLIER, _PASSES = 5.0, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """The strongest wave in an image.

    Attributes
    ----------
    amplitude_adu : float
        Half of its range.
    period_x_px, period_y_px : float
        Distance of its crests along rows and along columns; infinite where it does not change.
    significance : float
        Its amplitude over that of a typical wave of the same noise.
    """

    amplitude_adu: float
    period_x_px: float
    period_y_px: float
    significance: float

    @property
    def period_px(self) -> float:
        """Distance of its crests, measured across them."""
        frequency = math.hypot(1.0 / self.period_x_px, 1.0 / self.period_y_px)
        return 1.0 / frequency if frequency > 0 else math.inf


def wave_of(sketch: Sketch, *, mosaic: bool = False) -> Wave | None:
    """Return the strongest wave of a master without its large-scale shape; None of an image too small to have any.

    Parameters
    ----------
    sketch : Sketch
    mosaic : bool
        The sensor has a 2 x 2 colour mosaic: each colour has a shape of its own.
    """
    high, wide = min(SIDE, sketch.height), min(SIDE, sketch.shape[1])
    if min(high, wide) < 4 * LONGEST:
        return None
    window = _window(high, wide)
    powers = [_power(tile, window) for tile in _tiles(sketch, high, wide, mosaic=mosaic)]
    return _strongest(np.mean(powers, axis=0), (high, wide), float((window.astype(np.float64) ** 2).mean()))


def spectrum(tile: F32) -> F32:
    """Return the decimal logarithm of the amplitudes of a tile's waves, of its shape, the longest wave in the middle.

    Outliers are left out, so that they do not hide what repeats itself.
    """
    values = np.array(tile, np.float32)
    _without_shape(values)
    mean_of_window = 0.25
    waves = np.abs(np.fft.fftshift(np.fft.fft2(values * _window(*values.shape)))) * (2.0 / mean_of_window / values.size)
    return np.asarray(np.log10(np.maximum(waves, 1e-6)), np.float32)


def _window(high: int, wide: int) -> F32:
    return np.outer(np.hanning(high + 1)[:-1], np.hanning(wide + 1)[:-1]).astype(np.float32)


def _without_shape(tile: F32) -> None:
    """Subtract from a tile what changes slowly over it (vignetting, a gradient), and bring its outliers to 0.

    Outliers are found by their neighbours, so that a glow is none: where it is cut off there would be waves.
    """
    empty = ~np.isfinite(tile)
    tile[empty] = 0.0 if empty.all() else np.median(tile[~empty])
    for _ in range(_PASSES):  # an outlier beside outliers waits for these
        up, down, left, right = (np.roll(tile, step, axis) for axis in (0, 1) for step in (-REACH, REACH))
        one = np.maximum(np.minimum(up, down), np.minimum(left, right))
        other = np.minimum(np.maximum(up, down), np.maximum(left, right))
        low, high = np.minimum(one, other), np.maximum(one, other)  # the middle two of four neighbours
        middle = (low + high) / 2
        reach = np.float32(_OUTLIER * max(clip_values((tile - middle)[::7, ::7]).sigma, 1e-6))
        bad = (tile > high + reach) | (tile < low - reach)
        if not bad.any():
            break
        tile[bad] = middle[bad]
    tile -= large_scale(tile).astype(np.float32)


def _tiles(sketch: Sketch, high: int, wide: int, *, mosaic: bool) -> Iterator[F32]:
    """Yield two by two tiles of MEAN, or fewer of a small image, without their shape and their outliers."""
    lefts = _places(sketch.shape[1], wide)
    for top in _places(sketch.height, high):
        tiles = np.empty((len(lefts), high, wide), np.float32)
        for first, stop in blocks(high):  # rows of the whole width: few at a time
            rows = sketch.rows(top + first, top + stop)
            for tile, left in zip(tiles, lefts, strict=True):
                tile[first:stop] = rows[:, left : left + wide]
        for tile in tiles:
            for part in [tile[y::2, x::2] for y, x in CELL] if mosaic else [tile]:
                _without_shape(part)
            yield tile


def _places(size: int, part: int) -> list[int]:
    """Return where parts of an image's side begin: at a quarter and at three quarters, where two find room."""
    return [size // 4 - part // 2, 3 * size // 4 - part // 2] if size >= 2 * part else [(size - part) // 2]


def _power(tile: F32, window: F32) -> NDArray[np.float64]:
    found = np.fft.rfft2(tile * window)
    return np.asarray(found.real.astype(np.float64) ** 2 + found.imag.astype(np.float64) ** 2, np.float64)


def _strongest(power: NDArray[np.float64], shape: tuple[int, int], window: float) -> Wave:
    """Return the strongest wave of a spectrum: its amplitude from all frequencies that the window spreads it over."""
    high, wide = shape
    y, x = np.fft.fftfreq(high, 1 / high), np.arange(power.shape[1], dtype=np.float64)
    fitting = np.hypot(y[:, None] / high, x[None, :] / wide) * min(high, wide)
    floor = _floor(power, fitting)
    clear = np.where(fitting < LONGEST, 0.0, power / np.maximum(floor, 1e-300))
    peak_y, peak_x = (int(i) for i in np.unravel_index(np.argmax(clear), power.shape))
    around = np.arange(-_LOBE, _LOBE + 1)
    lobe = np.maximum(_at(power, shape, peak_y + around, peak_x + around) - floor[peak_y, peak_x], 0.0)
    total = max(float(lobe.sum()), 1e-300)
    alone = 2 * peak_y % high == 0 and 2 * peak_x % wide == 0  # else its mirror image has the other half
    return Wave(
        amplitude_adu=(1 if alone else 2) * math.sqrt(total / window) / (high * wide),
        period_x_px=_period(peak_x + float(lobe.sum(axis=0) @ around) / total, wide),
        period_y_px=_period(y[peak_y] + float(lobe.sum(axis=1) @ around) / total, high),
        significance=math.sqrt(float(clear[peak_y, peak_x])),
    )


def _floor(power: NDArray[np.float64], fitting: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean power of noise at each frequency, from the medians of frequencies like it.

    Rows that differ from one another, each in its own way, are noise of the frequencies along columns alone; what is
    left of a glow is noise of long waves in all directions.
    """
    ring = fitting.astype(np.int64)
    order = np.argsort(ring, axis=None)
    parts = np.split(power.ravel()[order], np.cumsum(np.bincount(ring.ravel()))[:-1])
    floor = np.asarray([np.median(part) if part.size else 0.0 for part in parts])[ring]
    floor = np.maximum(floor, np.median(power))
    axis = np.arange(-_LOBE, _LOBE + 1)
    floor[:, : _LOBE + 1] = np.maximum(floor[:, : _LOBE + 1], np.median(power[:, : _LOBE + 1], axis=0))
    floor[axis] = np.maximum(floor[axis], np.median(power[axis], axis=1)[:, None])
    return np.asarray(floor / math.log(2), np.float64)


def _at(
    power: NDArray[np.float64], shape: tuple[int, int], y: NDArray[np.int_], x: NDArray[np.int_]
) -> NDArray[np.float64]:
    """Return the power at some frequencies; half of them are kept as the mirror images of the others."""
    high, wide = shape
    row, column = np.meshgrid(y, x % wide, indexing="ij")
    mirrored = column > wide // 2
    found: NDArray[np.float64] = power[np.where(mirrored, -row, row) % high, np.where(mirrored, wide - column, column)]
    return found


def _period(frequency: float, size: int) -> float:
    return size / abs(frequency) if abs(frequency) > 0.5 else math.inf
