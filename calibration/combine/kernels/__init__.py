"""The numba engine of `combine_band`: a tile of 256 pixels at a time, its n samples sorted by a network.

Lanes of a tile are neighbouring pixels, so that inner loops are vector code. Sorting gives the median and makes every
clipping a window on the sorted column. Most pixels lose nothing and are done after one vector test (`fast`); the others
are copied into a tile of their own and settled there, again 256 at once (`exact`). No threads; the GIL is released.

Only the three functions below are called from outside, and only they are kept in numba's cache. It does not notice
changes in the files of called functions, but what a closure holds is part of a function's key: the entries close over
the sources of all.
"""

from hashlib import sha256
from inspect import getsource
from math import inf
from typing import Any

from numba import njit

from calibration.combine import tiles
from calibration.combine.kernels import exact, fast, load, sort, store, winsor

W = tiles.W


def _combine_u16(sources: str) -> Any:
    @njit(nogil=True, cache=True, error_model="numpy")
    def combine_u16(frames: Any, pairs: Any, p: Any, bench: Any, planes: Any) -> int:
        n, rows, columns = frames.shape
        filled = 0
        for row in range(rows):
            for x0 in range(0, columns, W):
                at = (row, x0, min(W, columns - x0))
                load.load_u16(frames, at, bench.tile)
                sort.sort_rows(bench.tile, pairs)
                if p.saturation < inf:
                    store.count_saturated(bench.tile, n, p.saturation, bench.saturated)
                fast.survey(n, p, bench)
                store.store_lanes(bench, n, p, at, planes)
                filled = store.set_apart(bench, n, p, at, filled, planes)
        store.settle_all(bench, n, p, filled, planes)
        return len(sources)

    return combine_u16


def _combine_f32(sources: str) -> Any:
    @njit(nogil=True, cache=True, error_model="numpy")
    def combine_f32(stack: Any, pairs: Any, p: Any, bench: Any, planes: Any) -> int:
        n, rows, columns = stack[0].shape
        filled = 0
        for row in range(rows):
            for x0 in range(0, columns, W):
                at = (row, x0, min(W, columns - x0))
                load.load_f32(stack, at, p.saturation, bench)
                sort.sort_rows(bench.tile, pairs)
                fast.survey(n, p, bench)
                store.store_lanes(bench, n, p, at, planes)
                filled = store.set_apart(bench, n, p, at, filled, planes)
        store.settle_all(bench, n, p, filled, planes)
        return len(sources)

    return combine_f32


def _decode_u16(sources: str) -> Any:
    @njit(nogil=True, cache=True, error_model="numpy")
    def decode_u16(raw: Any) -> int:
        for i in range(raw.shape[0]):
            v = raw[i]
            raw[i] = ((v >> 8) | (v << 8)) ^ 0x8000
        return len(sources)

    return decode_u16


CALLED = (tiles, sort, load, fast, winsor, exact, store)
_SOURCES = sha256("".join(map(getsource, CALLED)).encode()).hexdigest()

combine_u16 = _combine_u16(_SOURCES)
"""Combine raw frames of uint16, shape (n, rows, x), as they are."""

combine_f32 = _combine_f32(_SOURCES)
"""Combine (frame - dark) * scale; of `stack` = frames, valid, dark, scale the second and third may be empty."""

decode_u16 = _decode_u16(_SOURCES)
"""Turn big-endian signed FITS words with BZERO 32768 into native uint16, in place (1-D, contiguous)."""
