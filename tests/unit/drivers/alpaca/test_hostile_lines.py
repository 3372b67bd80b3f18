"""Servers whose HTTP itself is broken, endless or a lie, and networks full of servers: soon an error of the drivers."""

import contextlib
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.alpaca import discovery
from drivers.alpaca.discovery import ServerAddress
from drivers.alpaca.download import Download
from drivers.alpaca.line import MAX_REPLY_BYTES, Endpoint, Line, Timeouts
from drivers.alpaca.transport import CameraWire
from drivers.clock import SystemClock
from drivers.errors import DeviceLost, DeviceMissing, DriverError
from tests.support.scripted_alpaca import ScriptedAlpaca

LIMIT_S = 0.4
HASTY = Timeouts(image_first_s=LIMIT_S, image_stall_s=LIMIT_S, image_s=LIMIT_S)
SOON_S = 20.0
"""More than enough for the time limit above on a loaded machine; far less than for ever."""

few = partial(settings, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Endless:
    """A server that answers every request with some bytes, then others again and again as long as somebody listens."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.once = self.again = b""

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> "Endless":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError):
                line, _ = self._listener.accept()
                with line:
                    self._answer(line)

    def _answer(self, line: socket.socket) -> None:
        line.settimeout(5)
        line.recv(65536)
        line.sendall(self.once)
        while self.again and not self._stop.is_set():
            line.sendall(self.again)


@pytest.fixture(scope="module")
def server() -> Iterator[Endless]:
    with Endless() as running:
        yield running


def little(act: Callable[[], object], limit: int = MAX_REPLY_BYTES + 2_000_000) -> None:
    """Do something that is allowed little memory and little time, and no errors but those of drivers."""
    began = time.monotonic()
    tracemalloc.start()
    try:
        with contextlib.suppress(DriverError):
            act()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak} bytes"
    assert time.monotonic() - began < SOON_S


def read(server: Endless) -> None:
    line = Line(Endpoint("127.0.0.1", server.port), device="d", clock=SystemClock(), open_s=5)
    try:
        line.get("/api/v1/camera/0/name", {}, total_s=LIMIT_S)
    finally:
        line.close()


def fetch(server: Endless) -> None:
    wire = CameraWire(Endpoint("127.0.0.1", server.port), SystemClock(), timeouts=HASTY)
    try:
        Download(wire).fetch(num_x=12, num_y=8)
    finally:
        wire.line.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BYTES = CHUNKED.replace(b"application/json", b"application/imagebytes")


@pytest.mark.parametrize("use", [read, fetch])
@pytest.mark.parametrize(
    ("once", "again"),
    [
        (CHUNKED + b"-1\r\n", b"x" * 65536), (CHUNKED + b"-2\r\n", b"x" * 65536), (BYTES + b"-1\r\n", b"x" * 65536),
        (CHUNKED + b"FFFFFFFFFFFF\r\n", b"x" * 65536), (BYTES + b"FFFFFFFFFFFF\r\n", b"\0" * 65536),
        (CHUNKED, b"1" * 65536), (CHUNKED + b"5;", b"x" * 65536), (CHUNKED + b"0\r\n", b"A: b\r\n" * 9999),
        (CHUNKED, b"1\r\nx\r\n" * 9999), (CHUNKED + b"0x5\r\n", b"x" * 9), (CHUNKED + b" 1_0\r\n", b"x" * 9),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 999), (b"HTTP/1.1 100 Continue\r\n", b"A: b\r\n" * 9999),
        (OK, b"A: b\r\n" * 9999), (OK + b"A: ", b"x" * 65536), (OK + b"\r\n", b"x" * 65536), (b"HTTP/1.1 ", b"2" * 99),
        (OK + b"Content-Length: -5\r\n\r\n", b"x" * 65536), (OK + b"Content-Length: 9999999999\r\n\r\n", b"[" * 9999),
        (OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", b"x" * 999), (b"\xff\xfe", b"\0" * 65536),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\n\x1f\x8b" + b"x" * 7, b""),
        (b"HTTP/1.1 302 Found\r\nLocation: /api/v1/camera/0/name\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"x" * 999), (b"", b""), (b"HTTP/1.1 9999999 x\r\n\r\n", b""),
    ],
)  # fmt: skip
def test_a_reply_that_never_ends_or_lies_costs_little_memory_and_time(
    server: Endless, use: Callable[[Endless], None], once: bytes, again: bytes
) -> None:
    server.once, server.again = once, again
    little(lambda: use(server))


PIECES = [b"\r\n", b"\n", b"\r\n\r\n", b"Content-Length: 5", b"Content-Length: -1", b"Transfer-Encoding: chunked",
          b"Transfer-Encoding: gzip", b"Connection: keep-alive", b"HTTP/1.1 200 OK", b"HTTP/1.1 100 C", b"HTTP/0.9",
          b"-1\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b"\0", b"\xff", b": ", b"A" * 300, b'{"Value": 1}',
          b"Content-Type: application/imagebytes"]  # fmt: skip


def broken(server: Endless, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([OK + b"Content-Length: 12\r\n\r\n", CHUNKED + b"c\r\n", BYTES + b"c\r\n"]))
    content = bytearray(whole + b'{"Value": 1}\r\n0\r\n\r\n')
    for _ in range(data.draw(st.integers(1, 4))):
        at, cut = data.draw(st.integers(0, len(content))), data.draw(st.integers(0, 20))
        content[at : at + cut] = data.draw(st.sampled_from(PIECES) | st.binary(max_size=5))
    server.once, server.again = bytes(content), b""
    little(lambda: read(server))
    little(lambda: fetch(server))


@given(st.data())
@few(max_examples=100)
def test_a_damaged_reply_ends_in_driver_errors(server: Endless, data: st.DataObject) -> None:
    broken(server, data)


@pytest.mark.long
@pytest.mark.timeout(3600)
@given(st.data())
@few(max_examples=20_000)
def test_many_damaged_replies_end_in_driver_errors(server: Endless, data: st.DataObject) -> None:
    broken(server, data)


# --- discovery --------------------------------------------------------------------------------------------------------


def answering(answers: Callable[[int], bytes], count: int) -> tuple[socket.socket, threading.Thread]:
    """Answer the first discovery that is asked with so many datagrams."""
    heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    heard.bind(("127.0.0.1", 0))
    heard.settimeout(SOON_S)

    def run() -> None:
        _, asker = heard.recvfrom(64)
        for number in range(count):
            heard.sendto(answers(number), asker)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return heard, thread


def test_a_network_full_of_servers_is_not_asked_for_hours() -> None:
    heard, thread = answering(lambda n: json.dumps({"AlpacaPort": 1000 + n}).encode(), 3000)
    with heard:
        found = discovery.discover(port=heard.getsockname()[1], timeout_s=1.0, addresses=("127.0.0.1",))
        thread.join()
    assert 0 < len(found) <= 64


def test_junk_answers_to_discovery_are_no_servers() -> None:
    junk = (b"", b"\0" * 9000, b"[" * 9000, b'{"AlpacaPort": 1e99}', b'{"AlpacaPort": 99999}', b"{}", b"\xff\xfe")
    heard, thread = answering(lambda n: junk[n % len(junk)], 50)
    with heard:
        found = discovery.discover(port=heard.getsockname()[1], timeout_s=0.5, addresses=("127.0.0.1",))
        thread.join()
    assert found == ()


def test_a_server_with_endless_devices_of_endless_names_is_told_in_a_few_words() -> None:
    with ScriptedAlpaca() as scripted:
        row = {"DeviceName": "x" * 900, "DeviceType": "Camera", "DeviceNumber": 0}
        scripted.management = [{**row, "UniqueID": str(number)} for number in range(3000)]
        with pytest.raises(DeviceMissing) as caught:
            discovery.find_by_name("x", servers=(ServerAddress("127.0.0.1", scripted.port),))
        assert len(caught.value.detail) < 10_000
        assert "44 more" in caught.value.detail


def test_servers_that_are_silent_do_not_add_up(server: Endless) -> None:
    with ScriptedAlpaca() as scripted, contextlib.ExitStack() as silent:
        scripted.management = [{"DeviceName": "mine", "DeviceType": "Camera", "DeviceNumber": 2, "UniqueID": "u"}]
        ports = [silent.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(8)]
        servers = tuple(ServerAddress("127.0.0.1", port) for port in (*ports, scripted.port))
        began = time.monotonic()
        assert discovery.find_by_name("mine", servers=servers, timeouts=Timeouts(read_s=1)).device_number == 2
        assert time.monotonic() - began < 8 * 1, "what it would take one after the other"


def test_a_line_that_was_closed_says_so(server: Endless) -> None:
    line = Line(Endpoint("127.0.0.1", server.port), device="d", clock=SystemClock(), open_s=5)
    line.close()
    with pytest.raises(DeviceLost, match="closed by us"):
        line.get("/", {}, total_s=LIMIT_S)
