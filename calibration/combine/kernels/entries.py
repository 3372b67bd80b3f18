"""The numba engine of `combine_band`: a tile of 256 pixels at a time, its n samples sorted by a network.

Lanes of a tile are neighbouring pixels, so that inner loops are vector code. Sorting gives the median and makes every
clipping a window on the sorted column. Most pixels lose nothing and are done after one vector test (`survey`,
`clip.judge`). The others are copied into a tile of their own and clipped there, again 256 at once (`clip.clip`, by the
sigmas of `mad` and `winsor` too); of those the few that rounding might decide are settled in float64 (`exact`). No
threads; the GIL is released.

Only the three functions below are called from outside, and only they are kept in numba's cache. It does not notice
changes in the files of called functions, but what a closure holds is part of a function's key: the entries close over
the sources of all.
"""

from hashlib import sha256
from inspect import getsource
from math import inf
from typing import Any

from calibration.combine.kernels import clip, exact, jit, load, mad, sort, store, survey, tiles, winsor
from calibration.combine.kernels.jit import entry

W = tiles.W


def _combine_u16(sources: str) -> Any:
    @entry
    def combine_u16(frames: Any, pairs: Any, p: Any, bench: Any, planes: Any) -> int:
        n, rows, columns = frames.shape
        store.begin(bench)
        for row in range(rows):
            for x0 in range(0, columns, W):
                at = (row, x0, min(W, columns - x0))
                load.load_u16(frames, at, p.stored, bench.all.tile)
                sort.sort_rows(bench.all.tile, pairs)
                if p.saturation < inf:
                    store.count_saturated(bench.all.tile, n, p.saturation, bench.saturated)
                store.take(bench, n, p, at, planes)
        store.settle_all(bench, n, p, planes)
        return len(sources)

    return combine_u16


def _combine_f32(sources: str) -> Any:
    @entry
    def combine_f32(stack: Any, pairs: Any, p: Any, bench: Any, planes: Any) -> int:
        n, (rows, columns) = stack[-1].shape[0], planes.mean.shape
        store.begin(bench)
        for row in range(rows):
            for x0 in range(0, columns, W):
                at = (row, x0, min(W, columns - x0))
                load.load_f32(stack, at, p.saturation, bench)
                sort.sort_rows(bench.all.tile, pairs)
                store.take(bench, n, p, at, planes)
        store.settle_all(bench, n, p, planes)
        return len(sources)

    return combine_f32


def _decode_u16(sources: str) -> Any:
    @entry
    def decode_u16(raw: Any) -> int:
        for i in range(raw.shape[0]):
            raw[i] = load.from_stored(raw[i])
        return len(sources)

    return decode_u16


CALLED = (tiles, jit, sort, load, survey, mad, winsor, clip, exact, store)
_SOURCES = sha256("".join(map(getsource, CALLED)).encode()).hexdigest()

combine_u16 = _combine_u16(_SOURCES)
"""Combine raw frames of uint16, shape (n, rows, x), as they are."""

combine_f32 = _combine_f32(_SOURCES)
"""Combine (frame - dark) * scale of `stack` = words, floats, valid, dark, scale.

Frames are words of uint16 or floats, and the other array is empty, so that one compiled loop serves both: compiling
another one for each kind of frames would take half a minute. `valid` and `dark` may be empty.
"""

decode_u16 = _decode_u16(_SOURCES)
"""Turn big-endian signed FITS words with BZERO 32768 into native uint16, in place (1-D, contiguous)."""
