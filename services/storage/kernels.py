"""The compiled loop that turns a camera's pixels into FITS bytes and sums them on the way: one pass over memory."""

import numba
import numpy as np
from numpy.typing import NDArray

U32 = NDArray[np.uint32]

_SIGNS = np.uint32(0x80008000)
_LOW_BYTES = np.uint32(0x00FF00FF)
_EIGHT = np.uint32(8)


@numba.njit(cache=True, nogil=True)
def encode_pairs(pairs: U32, out: U32) -> np.uint64:
    """Store pairs of uint16 as int16 with BZERO 32768, big-endian, and return their sum; little-endian machines only.

    Parameters
    ----------
    pairs : ndarray of uint32
        Two neighbouring pixels each.
    out : ndarray of uint32, same length
        Gets the stored bytes.

    Returns
    -------
    uint64
        Sum of `pairs` with flipped signs, before the bytes were swapped: the first pixel counts as the low half, so
        that a turn by 16 bits gives the sum of the stored big-endian words.
    """
    total = np.uint64(0)
    for i in range(pairs.shape[0]):
        word = pairs[i] ^ _SIGNS
        total += np.uint64(word)
        out[i] = ((word & _LOW_BYTES) << _EIGHT) | ((word >> _EIGHT) & _LOW_BYTES)
    return total
