"""Bringing samples into a tile: neighbouring pixels in its lanes, frames in its rows."""

from math import inf
from typing import Any

import numpy as np
from numba import njit

from calibration.combine import tiles

W = tiles.W


@njit(nogil=True, error_model="numpy")
def load_u16(frames: Any, at: Any, tile: Any) -> None:
    """Load raw samples as they are."""
    row, x0, width = at
    for i in range(frames.shape[0]):
        source = frames[i, row, x0 : x0 + width]
        target = tile[i * W : (i + 1) * W]
        for j in range(width):
            target[j] = source[j]


@njit(nogil=True, error_model="numpy")
def load_f32(stack: Any, at: Any, saturation: float, bench: Any) -> None:
    """Load calibrated samples; what is invalid or not finite becomes +inf, sorts to the end and is not counted."""
    frames, valid, dark, scale = stack
    row, x0, width = at
    level = bench.single[:W]
    level[:] = 0.0
    for i in range(frames.shape[0]):
        if dark.shape[0] > 0 and (i == 0 or dark.shape[0] > 1):
            level[:width] = dark[i, row, x0 : x0 + width]
        source = frames[i, row, x0 : x0 + width]
        target = bench.tile[i * W : (i + 1) * W]
        factor = scale[i]
        for j in range(width):
            value = (np.float32(source[j]) - level[j]) * factor
            target[j] = value if abs(value) < np.float32(inf) else np.float32(inf)
        if valid.shape[0] > 0:
            usable = valid[i, row, x0 : x0 + width]
            for j in range(width):
                target[j] = target[j] if usable[j] else np.float32(inf)
    if saturation < inf:
        _count_saturated(frames, at, saturation, bench)


@njit(nogil=True, error_model="numpy")
def _count_saturated(frames: Any, at: Any, saturation: float, bench: Any) -> None:
    """Count what was saturated before it was calibrated, and is there."""
    row, x0, width = at
    saturated = bench.saturated
    saturated[:] = 0
    limit = np.float32(saturation)
    for i in range(frames.shape[0]):
        source = frames[i, row, x0 : x0 + width]
        target = bench.tile[i * W : (i + 1) * W]
        for j in range(width):
            saturated[j] += np.uint16((np.float32(source[j]) >= limit) & (target[j] < np.float32(inf)))
