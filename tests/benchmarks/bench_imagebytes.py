"""What the driver costs beyond receiving the bytes: a 61-megapixel image fetched and turned, against a plain read.

The server is a process of its own; a plain read takes the whole reply into one buffer with http.client. On loopback
both ends share the machine, so that nothing hides behind the line; the other line is throttled to 1 Gbit/s. Room for
the image is made before, as during an exposure.
"""

import http.client
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection

import numpy as np

from drivers.alpaca import imagebytes
from drivers.alpaca.download import Download
from drivers.alpaca.line import Endpoint
from drivers.alpaca.transport import CameraWire
from drivers.clock import SystemClock
from tests.benchmarks.harness import FULL, QUICK, Row, Timing, alternated, in_child
from tests.support.scripted_alpaca import image_bytes

GIGABIT = 118e6
"""Bytes a second that TCP brings over a gigabit line."""

CASES = (
    ("UInt16, loopback", 8, None, "<= 2.0 x", 2.0),
    ("Int32, loopback", 2, None, "<= 2.0 x", 2.0),
    ("UInt16, 1 Gbit/s", 8, GIGABIT, "<= 1.1 x", 1.1),
    ("Int32, 1 Gbit/s", 2, GIGABIT, "<= 1.1 x", 1.1),
)


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield a row a type on the wire and a line."""
    height, width = QUICK if quick else FULL
    for name, element, pace, goal, limit in CASES:
        repeats = 3 if pace else 9
        with _served(width, height, element, pace) as port:
            found, _ = in_child(_fetched, port, width, height, element, repeats)
            _, peak = in_child(_fetch, port, width, height)
            _, plain_peak = in_child(_read, port, width, height, element)
        ratio = found["fetch"] / found["plain"]
        yield Row(
            figure=f"image → [y, x], {name}",
            goal=goal,
            measured=str(found["fetch"]),
            ratio=ratio,
            met=ratio <= limit,
            peak_mb=peak,
            peer=f"plain read {found['plain']}, {plain_peak:.0f} MB",
        )


def plain(port: int, size: int) -> Callable[[], object]:
    """Return what reads the whole reply of `size` bytes into one buffer."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    buffer = memoryview(bytearray(size))

    def read() -> object:
        connection.request("GET", "/api/v1/camera/0/imagearray", headers={"Accept": "application/imagebytes"})
        reply, done = connection.getresponse(), 0
        while count := reply.readinto(buffer[done:]):
            done += count
        assert done == size
        return None

    return read


def _fetched(port: int, width: int, height: int, element: int, repeats: int) -> dict[str, Timing]:
    download = Download(CameraWire(Endpoint("127.0.0.1", port), SystemClock()))

    def fetch() -> float:
        download.prepare(num_x=width, num_y=height)
        start = time.perf_counter()
        download.fetch(num_x=width, num_y=height)
        return time.perf_counter() - start

    return alternated({"fetch": fetch, "plain": plain(port, _size(width, height, element))}, repeats=repeats)


def _fetch(port: int, width: int, height: int) -> None:
    Download(CameraWire(Endpoint("127.0.0.1", port), SystemClock())).fetch(num_x=width, num_y=height)


def _read(port: int, width: int, height: int, element: int) -> None:
    plain(port, _size(width, height, element))()


def _size(width: int, height: int, element: int) -> int:
    return imagebytes.HEADER_BYTES + width * height * imagebytes.ELEMENT_TYPES[element].itemsize


@contextmanager
def _served(width: int, height: int, element: int, pace: float | None) -> Iterator[int]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=_serve, args=(there, width, height, element, pace), daemon=True)
    server.start()
    try:
        yield here.recv()
    finally:
        server.kill()
        server.join()


def _serve(port: Connection, width: int, height: int, element: int, pace: float | None) -> None:
    body = image_bytes(np.random.default_rng(1).integers(300, 60_000, (height, width), dtype=np.uint16), element)
    piece = len(body) if pace is None else 1 << 18

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/imagebytes")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            begun = time.perf_counter()
            for start in range(0, len(body), piece):
                self.wfile.write(body[start : start + piece])
                if pace is not None:
                    time.sleep(max(0.0, begun + (start + piece) / pace - time.perf_counter()))

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_address[1])
    server.serve_forever()
