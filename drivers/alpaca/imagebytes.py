"""Images as Alpaca sends them, decoded into `[y, x]` arrays: ImageBytes, and JSON for servers that have nothing else.

Source: ASCOM Alpaca API Reference v10, "ImageBytes". A header of 44 bytes, little-endian, then the pixels as
[NumX][NumY] with Y varying fastest; the transpose to `[y, x]` happens here and nowhere else.

Wire values can lie: every size is compared with NumX × NumY, which the caller read before, ahead of any allocation.
Servers shrink Int32 to whatever fits the values of *this* frame (Byte, UInt16, Int16), so the wire's type says nothing
of the camera and is normalised: uint16 whenever all values fit, else int32.
"""

import hashlib
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.errors import BadImage, ExposureFailed, WrongSize

HEADER_BYTES = 44
MAX_DATA_START = 1 << 16
MAX_PIXELS = 1 << 29
"""No camera has more; a size beyond it is a lie."""

ELEMENT_TYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<i2"),
    2: np.dtype("<i4"),
    3: np.dtype("<f8"),
    4: np.dtype("<f4"),
    5: np.dtype("<u8"),
    6: np.dtype("u1"),
    7: np.dtype("<i8"),
    8: np.dtype("<u2"),
    9: np.dtype("<u4"),
}

_COLUMNS = 128  # so many columns stay in the cache between the socket and their place; measured best at 61 megapixels
_INT32 = np.iinfo(np.int32)
_JSON_VALUE = re.compile(rb'"Value"\s*:\s*\[')
_JSON_ROW = re.compile(rb"\s*,?\s*\[([^\[\]]*)\]")
_JSON_END = re.compile(rb"\s*\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A decoded image.

    Attributes
    ----------
    pixels : ndarray of uint16 or int32, shape (y, x), contiguous
        Values in ADU.
    wire_type : str
        The type on the wire: "uint16", "int32", … or "json".
    """

    pixels: NDArray[Any]
    wire_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the first 44 bytes said, checked."""

    data_start: int
    dtype: np.dtype[Any]
    num_x: int
    num_y: int

    @property
    def payload_bytes(self) -> int:
        """Bytes of pixels that follow `data_start`."""
        return self.num_x * self.num_y * self.dtype.itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorFrame:
    """A header that announces an error: the message stands from `data_start` to the end, in UTF-8."""

    data_start: int
    number: int


def check_size(num_x: int, num_y: int, *, device: str) -> None:
    """Refuse sizes that no camera has; raises `BadImage`."""
    if not (num_x > 0 and num_y > 0 and num_x * num_y <= MAX_PIXELS):
        raise BadImage(device=device, detail=f"no camera makes images of {num_x} x {num_y} pixels")


def parse_header(head: bytes, *, num_x: int, num_y: int, device: str) -> Header | ErrorFrame:
    """Read and check the header of an ImageBytes reply.

    Parameters
    ----------
    head : bytes
        The first 44 bytes.
    num_x, num_y : int
        The size the camera announced.

    Raises
    ------
    BadImage
        Anything in it is impossible, or does not fit the announced size.
    """
    check_size(num_x, num_y, device=device)
    if len(head) < HEADER_BYTES:
        raise BadImage(device=device, detail=f"the image ends after {len(head)} bytes, within its header")
    version, number, _, _, data_start, _, element, rank, dim_x, dim_y, planes = struct.unpack_from("<iiIIiiiiiii", head)
    if version != 1:
        raise BadImage(device=device, detail=f"ImageBytes version {version} is not known")
    if not HEADER_BYTES <= data_start <= MAX_DATA_START:
        raise BadImage(device=device, detail=f"the image's data cannot start at byte {data_start}")
    if number:
        return ErrorFrame(data_start=data_start, number=number)
    if rank != 2:
        detail = f"an image of rank {rank} ({dim_x} x {dim_y} x {planes}); only raw, two-dimensional images are taken"
        raise BadImage(device=device, detail=detail)
    if (dim_x, dim_y) != (num_x, num_y):
        raise WrongSize(device=device, size=(dim_x, dim_y), announced=(num_x, num_y))
    if element not in ELEMENT_TYPES:
        raise BadImage(device=device, detail=f"element type {element} is not known")
    return Header(data_start=data_start, dtype=ELEMENT_TYPES[element], num_x=num_x, num_y=num_y)


def error_message(message: bytes) -> str:
    """Return the text of an error frame."""
    return message.decode("utf-8", errors="replace").strip("\x00 \r\n") or "no reason given"


def decode(data: bytes | bytearray | memoryview, *, num_x: int, num_y: int, device: str = "camera") -> Image:
    """Decode a whole ImageBytes reply.

    Parameters
    ----------
    data : bytes-like
        Header and pixels.
    num_x, num_y : int
        The size the camera announced.

    Raises
    ------
    ExposureFailed
        It is an error frame.
    BadImage
        It is malformed, of another size, of rank 3, or holds values that are no whole numbers in 32 bits.
    """
    view = memoryview(data)
    header = parse_header(bytes(view[:HEADER_BYTES]), num_x=num_x, num_y=num_y, device=device)
    payload = view[header.data_start :]
    if isinstance(header, ErrorFrame):
        raise ExposureFailed(device=device, detail=error_message(bytes(payload[:4096])), number=header.number)
    return from_payload(payload, header, device=device)


def from_payload(payload: memoryview, header: Header, *, device: str) -> Image:
    """Decode the pixels behind a header; raises `BadImage`."""
    if len(payload) != header.payload_bytes:
        detail = f"the image holds {len(payload)} bytes of pixels, not {header.payload_bytes}"
        raise BadImage(device=device, detail=detail)
    wire = np.frombuffer(payload, header.dtype).reshape(header.num_x, header.num_y)
    return Image(pixels=normalise(wire, device=device), wire_type=header.dtype.name)


def decode_json(body: bytes, *, num_x: int, num_y: int, device: str = "camera") -> Image:
    """Decode a JSON ImageArray reply, a row of pixels at a time: a parsed 61-megapixel list would take 3 GB.

    Raises
    ------
    ExposureFailed
        The reply carries an error number.
    BadImage
        As `decode`.
    """
    check_size(num_x, num_y, device=device)
    start = _JSON_VALUE.search(body)
    if start is None or len(body) < 2 * num_x * num_y:  # a digit and a comma a pixel
        _json_frame(body, device=device)
        raise BadImage(device=device, detail=f"a JSON image of {len(body)} bytes holds no {num_x} x {num_y} pixels")
    wire = np.empty((num_x, num_y), np.int32)
    at = start.end()
    for row in range(num_x):
        found = _JSON_ROW.match(body, at)
        if found is None:
            if len(body) <= MAX_DATA_START:  # short enough to be an error with an empty Value
                _json_frame(body, device=device)
            raise BadImage(device=device, detail=f"the JSON image has {row} columns of plain numbers, not {num_x}")
        if found.end(1) - found.start(1) > json_limit(1, num_y):  # parsed, it would take many times its length
            raise BadImage(device=device, detail=f"column {row} of the JSON image is longer than any of {num_y} pixels")
        wire[row] = _json_row(found[1], num_y, device=device)
        at = found.end()
    end = _JSON_END.match(body, at)
    if end is None:
        raise BadImage(device=device, detail=f"the JSON image has more than {num_x} columns, or no end")
    _json_frame(body[: start.end() - 1] + b"null" + body[end.end() :], device=device)
    return Image(pixels=normalise(wire, device=device), wire_type="json")


def json_limit(num_x: int, num_y: int) -> int:
    """Return the longest JSON image that is read, in bytes: 16 a pixel hold "-2147483648, " and then some."""
    return 16 * num_x * num_y + (1 << 20)


def as_unsigned(pixels: NDArray[Any], max_adu: int | None) -> NDArray[Any]:
    """Return pixels of which those above 32767 were sent as negative numbers, as the unsigned values that they are.

    A camera has no negative values; some servers call its 16 bits signed. Values that scatter around zero are left as
    they are (a program has subtracted something), and so are those of a camera whose `max_adu` fits 15 bits.
    """
    if pixels.dtype != np.int32 or pixels.min() >= 0 or (max_adu is not None and 0 < max_adu < 2**15):
        return pixels
    scatters = pixels.min() > -256 and np.count_nonzero(pixels < 0) <= np.count_nonzero(pixels >> 8 == 0)
    wrapped = pixels.min() >= -(2**15) and pixels.max() < 2**15
    return pixels.astype(np.uint16) if wrapped and not scatters else pixels


def mark_of(pixels: NDArray[Any]) -> bytes:
    """Return what identifies an image: a digest of some hundred thousand of its pixels, which noise changes."""
    step = max(1, pixels.size // 100_000) | 1  # odd, so that it does not follow the columns
    return hashlib.blake2b(pixels.reshape(-1)[::step].tobytes(), digest_size=16).digest()


def room_for(num_x: int, num_y: int) -> NDArray[np.uint16]:
    """Return room for an image, shape (y, x), that the system has really given: that takes as long as turning one."""
    room = np.empty((num_y, num_x), np.uint16)
    room.fill(0)
    return room


class Turning:
    """An image that is turned from `[x][y]` to `[y, x]` while it arrives, a few columns at a time.

    Parameters
    ----------
    num_x, num_y : int
    device : str
        How errors name it.
    room : ndarray of uint16, shape (y, x), optional
        Where the pixels go, when it has the right size.
    """

    def __init__(self, num_x: int, num_y: int, *, device: str, room: NDArray[np.uint16] | None = None) -> None:
        fits = room is not None and room.shape == (num_y, num_x)
        self.pixels: NDArray[Any] = room if room is not None and fits else np.empty((num_y, num_x), np.uint16)
        self._device = device
        self._next = 0

    def pieces(self) -> Iterator[int]:
        """Yield how many columns to `take` next, until the image is whole."""
        while (left := self.pixels.shape[1] - self._next) > 0:
            yield min(_COLUMNS, left)

    def take(self, columns: NDArray[Any]) -> None:
        """Place the next columns, shape (n, y), of any type.

        Raises
        ------
        BadImage
            A value is no whole number or does not fit 32 bits.
        """
        if not _fits(columns, self.pixels.dtype):
            if self.pixels.dtype == np.int32 or not _fits(columns, np.dtype(np.int32)):
                detail = f"pixels of type {columns.dtype.name} that are no whole numbers of 32 bits"
                raise BadImage(device=self._device, detail=detail)
            self.pixels = self.pixels.astype(np.int32)
        self.pixels[:, self._next : self._next + len(columns)] = columns.T
        self._next += len(columns)


def normalise(wire: NDArray[Any], *, device: str) -> NDArray[Any]:
    """Turn `[x][y]` of any type into contiguous `[y, x]` of uint16, or of int32 where a value does not fit.

    Parameters
    ----------
    wire : ndarray, shape (x, y)

    Raises
    ------
    BadImage
        A value is no whole number or does not fit 32 bits.
    """
    turning, at = Turning(*wire.shape, device=device), 0
    for count in turning.pieces():
        turning.take(wire[at : at + count])
        at += count
    return turning.pixels


def _fits(block: NDArray[Any], target: np.dtype[Any]) -> bool:
    if np.can_cast(block.dtype, target, "safe"):
        return True
    limits = np.iinfo(target)
    low, high = block.min(), block.max()
    if not (low >= limits.min and high <= limits.max):  # a NaN is neither
        return False
    return block.dtype.kind != "f" or bool((block == np.floor(block)).all())


def _json_row(text: bytes, num_y: int, *, device: str) -> NDArray[Any]:
    try:
        row = np.array(json.loads(b"[" + text + b"]"))
    except (ValueError, OverflowError) as error:
        raise BadImage(device=device, detail="the JSON image holds what is no number") from error
    if row.shape != (num_y,):
        raise BadImage(device=device, detail=f"a column of the JSON image has {len(row)} pixels, not {num_y}")
    if row.dtype.kind not in "iuf" or not _fits(row, np.dtype(np.int32)):
        raise BadImage(device=device, detail="the JSON image holds what is no whole number of 32 bits")
    return row


def _json_frame(body: bytes, *, device: str) -> None:
    """Check what stands around the pixels of a JSON reply."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadImage(device=device, detail="the image is neither ImageBytes nor JSON") from error
    if not isinstance(answer, dict):
        raise BadImage(device=device, detail="the JSON image is no object")
    number = answer.get("ErrorNumber") or 0
    if number:
        reason = str(answer.get("ErrorMessage") or "no reason given")[:500]
        raise ExposureFailed(device=device, detail=reason, number=number if isinstance(number, int) else None)
    if answer.get("Rank", 2) != 2:
        raise BadImage(device=device, detail=f"an image of rank {answer['Rank']}; only two-dimensional ones are taken")
