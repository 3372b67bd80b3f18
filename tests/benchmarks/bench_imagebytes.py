"""What the driver costs beyond receiving the bytes: a 61-megapixel image over loopback, decoded, against a plain read.

Run ``python tests/benchmarks/bench_imagebytes.py [width height]``. The server is a process of its own. Printed: real
seconds of a plain read of the whole reply (http.client into one buffer), of a fetch into a turned array, of the decode
alone; their ratio; and the peak memory of each beyond the interpreter's.
"""

import http.client
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from drivers.alpaca import imagebytes
from drivers.alpaca.download import Download
from drivers.alpaca.line import Endpoint
from drivers.alpaca.transport import CameraWire
from drivers.clock import SystemClock
from tests.scripted_alpaca import image_bytes

REPEATS = 7


def serve(port: Connection, width: int, height: int, element: int) -> None:
    body = image_bytes(np.random.default_rng(1).integers(300, 60_000, (height, width), dtype=np.uint16), element)

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
            self.wfile.write(body)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_address[1])
    server.serve_forever()


def plain(port: int, size: int) -> Callable[[], object]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    buffer = memoryview(bytearray(size))

    def read() -> object:
        connection.request("GET", "/api/v1/camera/0/imagearray", headers={"Accept": "application/imagebytes"})
        reply, done = connection.getresponse(), 0
        while count := reply.readinto(buffer[done:]):
            done += count
        return done

    return read


def fetching(port: int, width: int, height: int) -> Callable[[], object]:
    download = Download(CameraWire(Endpoint("127.0.0.1", port), SystemClock()))
    return lambda: download.fetch(num_x=width, num_y=height)


def decoding(width: int, height: int, element: int) -> Callable[[], object]:
    pixels = np.random.default_rng(1).integers(300, 60_000, (height, width), dtype=np.uint16)
    wire = np.ascontiguousarray(pixels.T).astype(imagebytes.ELEMENT_TYPES[element])
    return lambda: imagebytes.normalise(wire, device="bench")


def measured(answer: Connection, make: Callable[..., Callable[[], object]], *arguments: int) -> None:
    """Run in a process of its own, so that its peak of memory is its own."""
    before_mb = peak_mb()
    run = make(*arguments)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    answer.send((statistics.median(times), peak_mb() - before_mb))


def peak_mb() -> float:
    """Return the peak of this process's memory; NaN where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_its_own_process(make: Callable[..., Callable[[], object]], *arguments: int) -> tuple[float, float]:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=measured, args=(there, make, *arguments))
    process.start()
    result: tuple[float, float] = here.recv()
    process.join()
    return result


def main() -> None:
    width, height = (int(word) for word in sys.argv[1:3]) if len(sys.argv) > 2 else (9576, 6388)
    print(f"{width} x {height}, median of {REPEATS}; receiving over loopback")
    for element, size in ((8, 2), (2, 4)):
        here, there = multiprocessing.Pipe()
        server = multiprocessing.Process(target=serve, args=(there, width, height, element), daemon=True)
        server.start()
        port = here.recv()
        read_s, read_mb = in_its_own_process(plain, port, width * height * size + 44)
        fetch_s, fetch_mb = in_its_own_process(fetching, port, width, height)
        decode_s, _ = in_its_own_process(decoding, width, height, element)
        server.kill()
        server.join()
        name = imagebytes.ELEMENT_TYPES[element].name
        print(f"{name:7} plain read {read_s * 1e3:5.0f} ms, peak +{read_mb:4.0f} MB")
        print(f"        fetch+turn {fetch_s * 1e3:5.0f} ms, peak +{fetch_mb:4.0f} MB")
        print(f"        turning alone {decode_s * 1e3:.0f} ms")
        print(f"        fetch+turn / plain read = {fetch_s / read_s:.2f}")


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
