"""A frame on the wire: ImageBytes with the element types of real servers, or JSON; turned to ASCOM's [x][y] once."""

import struct
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.simulator.envelope import IMAGE_HEAD, Ids, compact, envelope
from drivers.simulator.errors import AscomError
from drivers.simulator.exposing import Pixels
from drivers.simulator.params import Transmission

HEADER = struct.Struct("<iiIIiiiiiii")
"""MetadataVersion, ErrorNumber, ClientTransactionID, ServerTransactionID, DataStart, ImageElementType,
TransmissionElementType, Rank, Dimension1..3."""

_INT32 = 2
_CODES: dict[Any, int] = {np.int16: 1, np.int32: 2, np.uint8: 6, np.uint16: 8}
_TILE = 512


def image_columns(pixels: Pixels, transmission: Transmission) -> NDArray[Any]:
    """Return a frame of shape (y, x) as it travels: [x][y], of the type that a server of that kind sends."""
    turned = np.empty(pixels.shape[::-1], _element_type(pixels, transmission))
    _transpose(pixels, turned)
    return turned


def image_header(columns: NDArray[Any], ids: Ids) -> bytearray:
    """Return what stands before the columns in ImageBytes."""
    code = _CODES[columns.dtype.type]
    return bytearray(HEADER.pack(1, 0, ids.client, ids.server, HEADER.size, _INT32, code, 2, *columns.shape, 0))


def error_bytes(error: AscomError, ids: Ids) -> bytes:
    """Return an error as ImageBytes."""
    head = HEADER.pack(1, error.number, ids.client, ids.server, HEADER.size, 0, 0, 0, 0, 0, 0)
    return head + error.message.encode()


def image_text(pixels: Pixels, _: Transmission) -> NDArray[Any]:
    """Return the columns of a frame as JSON, the slow way of servers without ImageBytes; as an array of its bytes."""
    return np.frombuffer(compact(pixels.T.tolist()), np.uint8)


def around_text(ids: Ids) -> tuple[bytes, bytes]:
    """Return what stands before and behind the columns in JSON."""
    return compact(IMAGE_HEAD)[:-1] + b',"Value":', b"," + compact(envelope(ids))[1:]


class Shared:
    """What an image becomes on the wire, made once however many clients ask for it at a time, and not kept for later.

    Parameters
    ----------
    make : callable
        Turns pixels into what travels.
    """

    def __init__(self, make: Callable[[Pixels, Transmission], NDArray[Any]]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._of: weakref.ref[Pixels] | None = None
        self._made: weakref.ref[NDArray[Any]] | None = None

    def of(self, pixels: Pixels, transmission: Transmission) -> NDArray[Any]:
        """Return what a frame becomes."""
        with self._lock:
            made = None if self._made is None else self._made()
            if made is None or self._of is None or self._of() is not pixels:
                made = self._make(pixels, transmission)
                self._of, self._made = weakref.ref(pixels), weakref.ref(made)
            return made


def _element_type(pixels: Pixels, transmission: Transmission) -> Any:
    if transmission is not Transmission.SHRINK:
        return np.int32 if transmission is Transmission.INT32 else np.uint16
    top = int(pixels.max(initial=0))
    return np.uint8 if top <= 255 else np.int16 if top <= 32_767 else np.uint16


def _transpose(pixels: Pixels, out: NDArray[Any]) -> None:
    """Copy pixels.T to `out` in tiles that stay in the cache: four times faster than at once."""
    height, width = pixels.shape
    for y in range(0, height, _TILE):
        for x in range(0, width, _TILE):
            out[x : x + _TILE, y : y + _TILE] = pixels[y : y + _TILE, x : x + _TILE].T
