"""A frame on the wire: ImageBytes with the element types of real servers, or JSON; turned to ASCOM's [x][y] once."""

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.simulator.exposing import Pixels
from drivers.simulator.params import Transmission

HEADER = struct.Struct("<iiIIiiiiiii")
"""MetadataVersion, ErrorNumber, ClientTransactionID, ServerTransactionID, DataStart, ImageElementType,
TransmissionElementType, Rank, Dimension1..3."""

_INT32 = 2
_CODES: dict[Any, int] = {np.int16: 1, np.int32: 2, np.uint8: 6, np.uint16: 8}
_TILE = 512


def image_bytes(pixels: Pixels, *, transmission: Transmission, client: int, server: int) -> NDArray[np.uint8]:
    """Return a frame of shape (y, x) as ImageBytes: header and [x][y] pixels, as bytes in one buffer."""
    dtype = _element_type(pixels, transmission)
    height, width = pixels.shape
    buffer = np.empty(HEADER.size + width * height * np.dtype(dtype).itemsize, np.uint8)
    HEADER.pack_into(buffer.data, 0, 1, 0, client, server, HEADER.size, _INT32, _CODES[dtype], 2, width, height, 0)
    _transpose(pixels, buffer[HEADER.size :].view(dtype).reshape(width, height))
    return buffer


def error_bytes(number: int, message: str, *, client: int, server: int) -> bytes:
    """Return an error as ImageBytes."""
    return HEADER.pack(1, number, client, server, HEADER.size, 0, 0, 0, 0, 0, 0) + message.encode()


def image_json(pixels: Pixels, *, client: int, server: int) -> bytes:
    """Return a frame as JSON, the slow way of servers without ImageBytes."""
    ids = {"ClientTransactionID": client, "ServerTransactionID": server, "ErrorNumber": 0, "ErrorMessage": ""}
    return json.dumps({"Type": _INT32, "Rank": 2, "Value": pixels.T.tolist(), **ids}).encode()


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
