"""One image over a line: asked for as ImageBytes, taken as what the Content-Type says it is.

The pixels go from the socket into one buffer that is kept between frames. Nothing is allocated before the header was
checked against the announced size. The whole transfer has a deadline in real time.
"""

import numpy as np
from numpy.typing import NDArray

from drivers.alpaca import imagebytes
from drivers.alpaca.imagebytes import HEADER_BYTES, ErrorFrame, Header, Image
from drivers.alpaca.line import Reply, Stream, TimedOut, is_success
from drivers.alpaca.replies import raise_for_status
from drivers.alpaca.transport import CameraWire
from drivers.errors import BadImage, DeviceLost, ExposureFailed, ExposureStalled, Refused

ACCEPT = "application/imagebytes, application/json;q=0.5"
_ERROR_TEXT_BYTES = 4096


class Download:
    """Fetches images of one camera, and keeps their buffer.

    Parameters
    ----------
    wire : CameraWire
    """

    def __init__(self, wire: CameraWire) -> None:
        self._wire = wire
        self._buffer: NDArray[np.uint8] = np.empty(0, np.uint8)

    def fetch(self, *, num_x: int, num_y: int) -> Image:
        """Fetch the image that is ready.

        Raises
        ------
        ExposureStalled
            The transfer stopped, or took longer than its deadline.
        ExposureFailed
            The camera answers with an error instead of an image.
        BadImage, DeviceLost
        """
        wire = self._wire
        imagebytes.check_size(num_x, num_y, device=wire.label)
        path = f"{wire.path}/imagearray"
        try:
            with wire.line.stream(
                path, wire.identification(), accept=ACCEPT, total_s=wire.timeouts.image_first_s
            ) as stream:
                return self._take(stream, num_x, num_y)
        except TimedOut as error:
            raise ExposureStalled(device=wire.label, detail="the download of the image stalled") from error

    def _take(self, stream: Stream, num_x: int, num_y: int) -> Image:
        times, label = self._wire.timeouts, self._wire.label
        if not is_success(stream.status):
            self._refuse(Reply(status=stream.status, body=stream.read(imagebytes.MAX_DATA_START)))
        if stream.content_type == "application/imagebytes":
            stream.allow(stall_s=times.image_stall_s, total_s=times.image_s)
            return self._take_bytes(stream, num_x, num_y)
        if stream.content_type in ("application/json", "text/json", "text/plain", ""):
            json_s = times.image_s + times.json_s_per_mp * num_x * num_y / 1e6
            stream.allow(stall_s=times.image_first_s, total_s=json_s)
            body = stream.read(imagebytes.json_limit(num_x, num_y))
            return imagebytes.decode_json(body, num_x=num_x, num_y=num_y, device=label)
        raise BadImage(device=label, detail=f"the image came as {stream.content_type!r}")

    def _take_bytes(self, stream: Stream, num_x: int, num_y: int) -> Image:
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
        view = self._space(header.payload_bytes)
        got = stream.fill(view)
        if got < len(view):
            raise DeviceLost(device=label, detail=f"the line broke after {got} of {len(view)} bytes of an image")
        if stream.fill(memoryview(bytearray(1))):
            raise BadImage(device=label, detail=f"the image goes on after its {len(view)} bytes of pixels")
        return imagebytes.from_payload(view, header, device=label)

    def _compare(self, stream: Stream, header: Header) -> None:
        """Refuse a reply that is announced shorter or longer than its pixels, before there is room made for them."""
        if stream.left is not None and stream.left != header.payload_bytes:
            detail = f"{stream.left} bytes of pixels are announced for {header.payload_bytes}"
            raise BadImage(device=self._wire.label, detail=detail)

    def _skip(self, stream: Stream, count: int) -> None:
        if stream.fill(memoryview(bytearray(count))) < count:
            raise BadImage(device=self._wire.label, detail="the image ends before its data starts")

    def _space(self, size: int) -> memoryview:
        """Return the buffer's first `size` bytes: it grows, and shrinks when a subframe leaves most of it idle."""
        if not size <= len(self._buffer) <= 4 * size:
            self._buffer = np.empty(size, np.uint8)
        return memoryview(self._buffer.data)[:size]

    def _refuse(self, reply: Reply) -> None:
        try:
            raise_for_status(self._wire.label, "imagearray", reply)
        except Refused as error:
            raise ExposureFailed(device=self._wire.label, detail=error.detail, number=reply.status) from error
