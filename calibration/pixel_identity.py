"""The one identity of a frame whatever its file: the digest of its pixels."""

import hashlib

import numpy as np

from calibration.frames import Pixels


def pixel_sha256(pixels: Pixels) -> str:
    """Return the SHA-256 of the pixels: row by row, little-endian, in the dtype they have, in hexadecimal."""
    little = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    return hashlib.sha256(little.view(np.uint8).data).hexdigest()
