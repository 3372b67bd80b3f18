# ruff: noqa: PLR0917 - numba passes by position
"""Sorting a tile across its rows, 256 lanes at once: blocks of eight rows, each step inside the registers.

Eight rows are sorted, or two sorted blocks merged into a lower and an upper one, while they are in vector registers:
memory is touched once for 19 or 25 comparators. Any comparator network sorts blocks as it sorts numbers when its
comparator is such a merge (Knuth, TAOCP 3, 5.3.4), so one small list of pairs serves every number of rows.
The merges are Batcher's. Rows of a block lie at constant distances: so the compiler knows that they
do not overlap.
"""

from typing import Any

from calibration.combine.kernels import tiles
from calibration.combine.kernels.jit import inlined

W, BLOCK = tiles.W, tiles.BLOCK
Four = tuple[Any, Any, Any, Any]
Eight = tuple[Any, Any, Any, Any, Any, Any, Any, Any]


@inlined
def sort_rows(tile: Any, pairs: Any) -> None:
    """Sort each lane of a tile of whole blocks; `pairs` is the network over its blocks, as offsets."""
    for start in range(0, tile.shape[0], BLOCK * W):
        _sort_block(tile[start : start + BLOCK * W])
    for c in range(pairs.shape[0]):
        lower, upper = pairs[c, 0], pairs[c, 1]
        _merge_blocks(tile[lower : lower + BLOCK * W], tile[upper : upper + BLOCK * W])


@inlined
def _order(a: Any, b: Any) -> tuple[Any, Any]:
    """Compare and exchange; in this form integers and floats both become one minimum and one maximum."""
    return (a if a < b else b), (b if a < b else a)  # noqa: FURB136


@inlined
def _merge_twos(a: Any, b: Any, c: Any, d: Any) -> Four:
    a, c = _order(a, c)
    b, d = _order(b, d)
    b, c = _order(b, c)
    return a, b, c, d


@inlined
def _merge_fours(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Eight:
    a, c, e, g = _merge_twos(a, c, e, g)
    b, d, f, h = _merge_twos(b, d, f, h)
    b, c = _order(b, c)
    d, e = _order(d, e)
    f, g = _order(f, g)
    return a, b, c, d, e, f, g, h


@inlined
def _sort_four(a: Any, b: Any, c: Any, d: Any) -> Four:
    a, b = _order(a, b)
    c, d = _order(c, d)
    return _merge_twos(a, b, c, d)


@inlined
def _sort_block(t: Any) -> None:
    for j in range(W):
        a, b, c, d = _sort_four(t[j], t[W + j], t[2 * W + j], t[3 * W + j])
        e, f, g, h = _sort_four(t[4 * W + j], t[5 * W + j], t[6 * W + j], t[7 * W + j])
        a, b, c, d, e, f, g, h = _merge_fours(a, b, c, d, e, f, g, h)
        t[j], t[W + j], t[2 * W + j], t[3 * W + j] = a, b, c, d
        t[4 * W + j], t[5 * W + j], t[6 * W + j], t[7 * W + j] = e, f, g, h


@inlined
def _merge_blocks(t: Any, u: Any) -> None:
    """Merge two sorted blocks: even rows with even, odd with odd, then neighbours."""
    for j in range(W):
        a, b, c, d = t[j], t[W + j], t[2 * W + j], t[3 * W + j]
        e, f, g, h = t[4 * W + j], t[5 * W + j], t[6 * W + j], t[7 * W + j]
        i, k, m, n = u[j], u[W + j], u[2 * W + j], u[3 * W + j]
        p, q, r, s = u[4 * W + j], u[5 * W + j], u[6 * W + j], u[7 * W + j]
        a, c, e, g, i, m, p, r = _merge_fours(a, c, e, g, i, m, p, r)
        b, d, f, h, k, n, q, s = _merge_fours(b, d, f, h, k, n, q, s)
        b, c = _order(b, c)
        d, e = _order(d, e)
        f, g = _order(f, g)
        h, i = _order(h, i)
        k, m = _order(k, m)
        n, p = _order(n, p)
        q, r = _order(q, r)
        t[j], t[W + j], t[2 * W + j], t[3 * W + j] = a, b, c, d
        t[4 * W + j], t[5 * W + j], t[6 * W + j], t[7 * W + j] = e, f, g, h
        u[j], u[W + j], u[2 * W + j], u[3 * W + j] = i, k, m, n
        u[4 * W + j], u[5 * W + j], u[6 * W + j], u[7 * W + j] = p, q, r, s
