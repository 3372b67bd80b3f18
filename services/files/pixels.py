"""Pixel values as FITS stores them: byte order, BZERO, and the hash that names a frame whatever its file."""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.frames import Pixels, pixel_sha256
from services.errors import StorageError
from services.files.cards import add_sums, sum_of
from services.files.units import STORED


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelLocation:
    """Where the pixels of an uncompressed image lie in its file, big-endian, row after row.

    A value is `bzero` + what is stored; `dtype` is what is stored (`>i2` for a camera's frame), shape (y, x).
    """

    offset: int
    bitpix: int
    bzero: int
    shape: tuple[int, int]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values."""
        return np.dtype(STORED[self.bitpix])

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.shape[1] * self.dtype.itemsize

    @property
    def size(self) -> int:
        """Bytes of all pixels."""
        return self.shape[0] * self.row_bytes


UNSIGNED: dict[tuple[int, int], type[np.integer[Any]]] = {
    (16, 1 << 15): np.uint16, (32, 1 << 31): np.uint32, (64, 1 << 63): np.uint64, (8, -128): np.int8,
}  # fmt: skip
"""BITPIX and BZERO of the integer types that FITS stores with their highest bit flipped."""

_ENCODINGS: dict[str, tuple[int, int]] = {
    "u1": (8, 0), "i2": (16, 0), "u2": (16, 1 << 15), "i4": (32, 0), "u4": (32, 1 << 31), "f4": (-32, 0),
    "f8": (-64, 0),
}  # fmt: skip


def encoding(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Return BITPIX and BZERO for pixels of a type.

    Raises
    ------
    StorageError
        FITS has no form for it that we write.
    """
    name = f"{dtype.kind}{dtype.itemsize}"
    if name not in _ENCODINGS:
        raise StorageError(f"pixels of type {dtype} cannot be written")
    return _ENCODINGS[name]


def encode(values: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return values as they are stored: big-endian, unsigned ones moved by BZERO (their highest bit flipped)."""
    bzero = encoding(values.dtype)[1]
    stored = np.empty(values.shape, values.dtype.newbyteorder("=")) if out is None else out[: len(values)]
    if bzero:
        np.bitwise_xor(values, values.dtype.type(bzero), out=stored)
    else:
        stored[...] = values
    if stored.dtype.newbyteorder(">") != stored.dtype.newbyteorder("="):
        stored.byteswap(inplace=True)
    return stored


def encode_summed(values: NDArray[Any], out: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Return values as `encode` does, and the FITS sum of the stored bytes, in one pass for uint16 and float32.

    Parameters
    ----------
    values, out : ndarray, shape (n,), contiguous
        Of uint16 an even n, but for the last piece of an image.
    """
    if values.dtype.str not in {"<u2", "<f4"} or sys.byteorder != "little" or values.nbytes % 4:
        stored = encode(values, out)
        return stored, sum_of(stored.data)
    from services.files import byte_kernels as kernels  # numba takes 0.2 s to import: only who writes images pays

    stored = out[: values.size]
    words, target = values.view(np.uint32), stored.view(np.uint32)
    if values.dtype.itemsize == 4:
        return stored, add_sums(int(kernels.encode_words(words, target)), 0)
    low_first = add_sums(int(kernels.encode_pairs(words, target)), 0)
    return stored, (low_first >> 16) | (low_first & 0xFFFF) << 16


def decode(raw: bytes | bytearray | memoryview, location: PixelLocation, rows: int) -> Pixels:
    """Return `rows` rows of stored bytes as values in this machine's byte order, shape (rows, x)."""
    stored = np.frombuffer(raw, dtype=location.dtype).reshape(rows, location.shape[1])
    return values_of(stored.astype(stored.dtype.newbyteorder("=")), location)  # copied and swapped in one pass


def scaled_values(stored: NDArray[Any], *, bscale: float, bzero: float, blank: int | None) -> Pixels:
    """Return stored numbers as what they stand for: BZERO + BSCALE * stored, NaN where the stored number is BLANK.

    Integers stay integers where they can: without undefined pixels, BSCALE 1, and BZERO 0 or that of an unsigned type.
    Otherwise 8 and 16 bits become float32, more become float64, as astropy does it.

    Parameters
    ----------
    stored : ndarray, shape (y, x)
        In this machine's byte order; may be changed.
    bscale, bzero : float
    blank : int, optional
        None: every stored number is a value.
    """
    bitpix = (-8 if stored.dtype.kind == "f" else 8) * stored.dtype.itemsize
    undefined = None if blank is None else stored == blank
    if undefined is not None and not undefined.any():
        undefined = None
    if undefined is None and bscale == 1 and bzero == int(bzero):
        if bzero == 0:
            return stored
        if (bitpix, int(bzero)) in UNSIGNED:
            location = PixelLocation(offset=0, bitpix=bitpix, bzero=int(bzero), shape=(0, 0))
            return values_of(stored, location)
    values: NDArray[Any] = stored.astype(np.float64 if abs(bitpix) > 32 or bitpix == 32 else np.float32)
    if bscale != 1:
        np.multiply(values, bscale, out=values)
    if bzero:
        np.add(values, bzero, out=values)
    if undefined is not None:
        values[undefined] = np.nan
    return values


def values_of(stored: NDArray[Any], location: PixelLocation) -> Pixels:
    """Return stored values as what they stand for, in place: `stored` must not be used afterwards."""
    native = stored.dtype.newbyteorder("=")
    if stored.dtype != native:
        stored = stored.byteswap(inplace=True).view(native)
    unsigned = UNSIGNED.get((location.bitpix, location.bzero))
    if unsigned is None:
        return stored
    bits = stored.view(np.dtype(f"u{stored.dtype.itemsize}"))
    bits ^= bits.dtype.type(1 << (8 * bits.dtype.itemsize - 1))
    return bits.view(unsigned)


pixel_hash = pixel_sha256
"""The identity of a frame, whatever its file."""
