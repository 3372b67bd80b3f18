"""One image over a line: asked for as ImageBytes, taken as what the Content-Type says it is.

The pixels go from the socket, a few columns at a time, to their place in the image. Nothing is allocated for what a
header says before it was checked against the announced size. A transfer that goes on may take its time (`transfer`).
"""

import threading
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.alpaca import imagebytes
from drivers.alpaca.imagebytes import HEADER_BYTES, ErrorFrame, Header, Image
from drivers.alpaca.line import Reply, ReplyStream, TimedOut, is_success
from drivers.alpaca.replies import raise_for_status
from drivers.alpaca.transfer import Transfer
from drivers.alpaca.transport import CameraWire
from drivers.errors import BadImage, DeviceLost, ExposureFailed, ExposureStalled, Refused

ACCEPT = "application/imagebytes, application/json;q=0.5"
_ERROR_TEXT_BYTES = 4096


class Download:
    """Fetches images of one camera.

    Parameters
    ----------
    wire : CameraWire
    """

    def __init__(self, wire: CameraWire) -> None:
        self._wire = wire
        self._room: NDArray[np.uint16] | None = None

    def prepare(self, *, num_x: int, num_y: int) -> None:
        """Make room for the next image, while its exposure lasts; `fetch` says what is wrong with a size."""
        possible = num_x > 0 and num_y > 0 and num_x * num_y <= imagebytes.MAX_PIXELS
        if possible and (self._room is None or self._room.shape != (num_y, num_x)):
            self._room = imagebytes.room_for(num_x, num_y)

    def fetch(
        self, *, num_x: int, num_y: int, wake: threading.Event | None = None, until: datetime | None = None
    ) -> Image:
        """Fetch the image that is ready; one that is not there soon after `wake` was set is given up.

        Raises
        ------
        ExposureStalled
            The transfer stopped, or would take longer than an image is waited for.
        Cancelled
            It would end after `until`.
        ExposureFailed
            The camera answers with an error instead of an image.
        BadImage, DeviceLost
        """
        wire = self._wire
        imagebytes.check_size(num_x, num_y, device=wire.label)
        path = f"{wire.path}/imagearray"
        try:
            with wire.line.stream(
                path, wire.identification(), accept=ACCEPT, total_s=wire.timeouts.image_first_s, wake=wake
            ) as stream:
                return self._take(stream, num_x, num_y, until)
        except TimedOut as error:
            detail = f"the download of the image stalled: {error.detail}"
            raise ExposureStalled(device=wire.label, detail=detail) from error

    def _take(self, stream: ReplyStream, num_x: int, num_y: int, until: datetime | None) -> Image:
        times, label = self._wire.timeouts, self._wire.label
        if not is_success(stream.status):
            self._refuse(stream.reply(imagebytes.MAX_DATA_START))
        transfer = Transfer(
            self._wire.clock,
            device=label,
            expected=stream.left or 2 * num_x * num_y,
            most=2 * imagebytes.json_limit(num_x, num_y),
            judged_after_s=times.image_stall_s,
            longest_s=times.image_s,
            until=until,
        )
        stream.allow(stall_s=times.image_stall_s, watch=transfer)
        if stream.content_type == "application/imagebytes":
            return self._take_bytes(stream, num_x, num_y)
        if stream.content_type in ("application/json", "text/json", "text/plain", ""):
            body = stream.read(imagebytes.json_limit(num_x, num_y))
            return imagebytes.decode_json(body, num_x=num_x, num_y=num_y, device=label)
        raise BadImage(device=label, detail=f"the image came as {stream.content_type!r}")

    def _take_bytes(self, stream: ReplyStream, num_x: int, num_y: int) -> Image:
        label = self._wire.label
        head = bytearray(HEADER_BYTES)
        got = stream.fill(memoryview(head))
        header = imagebytes.parse_header(bytes(head[:got]), num_x=num_x, num_y=num_y, device=label)
        self._skip(stream, header.data_start - HEADER_BYTES)
        if isinstance(header, ErrorFrame):
            message = bytearray(_ERROR_TEXT_BYTES)
            got = stream.fill(memoryview(message))
            raise ExposureFailed(
                device=label, detail=imagebytes.error_message(bytes(message[:got])), number=header.number
            )
        self._compare(stream, header)
        pixels = self._turned(stream, header)
        if stream.fill(memoryview(bytearray(1))):
            raise BadImage(device=label, detail=f"the image goes on after its {header.payload_bytes} bytes of pixels")
        return Image(pixels=pixels, wire_type=header.dtype.name)

    def _turned(self, stream: ReplyStream, header: Header) -> NDArray[Any]:
        room, self._room = self._room, None
        turning = imagebytes.Turning(header.num_x, header.num_y, device=self._wire.label, room=room)
        column, got = header.num_y * header.dtype.itemsize, 0
        buffer = np.empty(0, np.uint8)
        for count in turning.pieces():
            buffer = buffer[: count * column] if buffer.size else np.empty(count * column, np.uint8)
            came = stream.fill(memoryview(buffer.data))
            got += came
            if came < buffer.size:
                detail = f"the line broke after {got} of {header.payload_bytes} bytes of an image"
                raise DeviceLost(device=self._wire.label, detail=detail)
            turning.take(buffer.view(header.dtype).reshape(count, header.num_y))
        return turning.pixels

    def _compare(self, stream: ReplyStream, header: Header) -> None:
        """Refuse a reply that is announced shorter or longer than its pixels, before there is room made for them."""
        if stream.left is not None and stream.left != header.payload_bytes:
            detail = f"{stream.left} bytes of pixels are announced for {header.payload_bytes}"
            raise BadImage(device=self._wire.label, detail=detail)

    def _skip(self, stream: ReplyStream, count: int) -> None:
        if stream.fill(memoryview(bytearray(count))) < count:
            raise BadImage(device=self._wire.label, detail="the image ends before its data starts")

    def _refuse(self, reply: Reply) -> None:
        try:
            raise_for_status(self._wire.label, "imagearray", reply)
        except Refused as error:
            raise ExposureFailed(device=self._wire.label, detail=error.detail, number=reply.status) from error
