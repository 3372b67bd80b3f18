"""Compiled loops over the bytes of FITS files: encoding with its sum in one pass over memory, and sums alone."""

import numpy as np
from numpy.typing import NDArray

from calibration.compiled_kernels import kept

U32 = NDArray[np.uint32]

_SIGNS = np.uint32(0x80008000)
_LOW_BYTES = np.uint32(0x00FF00FF)
_EIGHT = np.uint32(8)
_SIXTEEN = np.uint32(16)


@kept(nogil=True)
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


@kept(nogil=True)
def encode_words(words: U32, out: U32) -> np.uint64:
    """Store words of 32 bits (float32) big-endian and return their sum; little-endian machines only.

    Parameters
    ----------
    words : ndarray of uint32
        One pixel each.
    out : ndarray of uint32, same length
        Gets the stored bytes.
    """
    total = np.uint64(0)
    for i in range(words.shape[0]):
        word = words[i]
        total += np.uint64(word)
        halves = ((word & _LOW_BYTES) << _EIGHT) | ((word >> _EIGHT) & _LOW_BYTES)
        out[i] = (halves << _SIXTEEN) | (halves >> _SIXTEEN)
    return total


@kept(nogil=True)
def sum_words(words: U32) -> np.uint64:
    """Return the sum of big-endian 32-bit words, read as they lie in memory of a little-endian machine.

    Each of the four bytes is summed by itself and weighted at the end: no word has to be turned round.
    """
    first = np.uint64(0)
    second = np.uint64(0)
    third = np.uint64(0)
    fourth = np.uint64(0)
    for i in range(words.shape[0]):
        word = words[i]
        first += word & np.uint32(0xFF)
        second += (word >> np.uint32(8)) & np.uint32(0xFF)
        third += (word >> np.uint32(16)) & np.uint32(0xFF)
        fourth += word >> np.uint32(24)
    return (first << np.uint64(24)) + (second << np.uint64(16)) + (third << np.uint64(8)) + fourth
