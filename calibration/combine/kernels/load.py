"""Bringing samples into a tile: neighbouring pixels in its lanes, frames in its rows."""

from math import inf
from typing import Any

import numpy as np

from calibration.combine.kernels import tiles
from calibration.combine.kernels.jit import inlined

W = tiles.W


@inlined
def load_u16(frames: Any, at: Any, stored: Any, tile: Any) -> None:
    """Load raw samples, turned from the words of FITS files when they are `stored` so."""
    row, x0, width = at
    for i in range(frames.shape[0]):
        source = frames[i, row, x0 : x0 + width]
        target = tile[i * W : (i + 1) * W]
        if stored:
            for j in range(width):
                target[j] = from_stored(source[j])
        else:
            for j in range(width):
                target[j] = source[j]


@inlined
def from_stored(word: Any) -> Any:
    """Return the sample that a big-endian int16 with BZERO 32768 stands for, which was read as a native uint16."""
    return np.uint16((np.uint16(word >> 8) | np.uint16(word << 8)) ^ np.uint16(0x8000))


@inlined
def load_f32(stack: Any, at: Any, saturation: float, bench: Any) -> None:
    """Load calibrated samples; what is invalid or not finite becomes +inf, sorts to the end and is not counted."""
    words, floats, valid, dark, scale = stack
    if words.shape[0] > 0:
        _load(words, (valid, dark, scale), at, saturation, bench)
    else:
        _load(floats, (valid, dark, scale), at, saturation, bench)


@inlined
def _load(frames: Any, calibration: Any, at: Any, saturation: float, bench: Any) -> None:
    valid, dark, scale = calibration
    row, x0, width = at
    level = bench.all.single[:W]  # free: the survey begins anew
    fill(np.float32(0.0), level)
    for i in range(frames.shape[0]):
        if dark.shape[0] > 0 and (i == 0 or dark.shape[0] > 1):
            copy(dark[i, row, x0 : x0 + width], level[:width])
        target = bench.all.tile[i * W : i * W + width]
        _calibrate(frames[i, row, x0 : x0 + width], level, scale[i], target)
        if valid.shape[0] > 0:
            _leave_out(valid[i, row, x0 : x0 + width], target)
    if saturation < inf:
        fill(np.uint16(0), bench.saturated)
        for i in range(frames.shape[0]):
            target = bench.all.tile[i * W : i * W + width]
            _count_saturated(frames[i, row, x0 : x0 + width], target, np.float32(saturation), bench.saturated)


@inlined
def fill(value: Any, out: Any) -> None:
    """Put one value into all places."""
    for j in range(out.shape[0]):
        out[j] = value


@inlined
def copy(values: Any, out: Any) -> None:
    """Put values into the places of `out`."""
    for j in range(out.shape[0]):
        out[j] = values[j]


@inlined
def _calibrate(raw: Any, level: Any, factor: Any, out: Any) -> None:
    for j in range(out.shape[0]):
        value = (np.float32(raw[j]) - level[j]) * factor
        out[j] = value if abs(value) < np.float32(inf) else np.float32(inf)


@inlined
def _leave_out(usable: Any, out: Any) -> None:
    for j in range(out.shape[0]):
        out[j] = out[j] if usable[j] else np.float32(inf)


@inlined
def _count_saturated(raw: Any, calibrated: Any, limit: Any, counts: Any) -> None:
    """Count what was saturated before it was calibrated, and is there."""
    for j in range(raw.shape[0]):
        counts[j] += np.uint16((np.float32(raw[j]) >= limit) & (calibrated[j] < np.float32(inf)))
