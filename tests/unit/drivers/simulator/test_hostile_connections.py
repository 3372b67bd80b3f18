"""Clients of the simulated server that are slow, many, greedy or deaf: they are given up, and others do not wait."""

import contextlib
import gc
import http.client
import json
import os
import socket
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.simulator import connections
from drivers.simulator.server import AlpacaServer
from tests.support.simulator_server import SOON_S, no_tracebacks, serving  # noqa: F401 - around each test here

LONG_S = 60.0
NAME = "/api/v1/camera/0/name"
GET = f"GET {NAME} HTTP/1.1\r\nHost: x\r\n".encode()
PUT = b"PUT /api/v1/camera/0/gain HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n"
IMAGE = b"GET /api/v1/camera/0/imagearray HTTP/1.1\r\nHost: x\r\nAccept: application/imagebytes\r\n\r\n"

needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in Linux' /proc")


@pytest.fixture
def server() -> Iterator[AlpacaServer]:
    with serving() as running:
        yield running


@contextlib.contextmanager
def client(server: AlpacaServer) -> Iterator[Callable[..., bytes]]:
    """Give a client that keeps its connection."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=SOON_S)
    connection.connect()
    connection.auto_open = 0

    def ask(method: str = "GET", path: str = NAME, body: str | None = None) -> bytes:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/imagebytes"}
        connection.request(method, path, body=body, headers=headers)
        reply = connection.getresponse()
        assert reply.status == 200
        return reply.read()

    try:
        yield ask
    finally:
        connection.close()


def request(server: AlpacaServer, method: str, path: str, body: str | None = None) -> bytes:
    with client(server) as ask:
        return ask(method, path, body)


def honest(server: AlpacaServer) -> None:
    assert json.loads(request(server, "GET", f"{NAME}?ClientTransactionID=7"))["ClientTransactionID"] == 7


def dialled(server: AlpacaServer) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=LONG_S)


def until(reached: Callable[[], bool]) -> None:
    """Wait for something that must come."""
    end, pause = time.monotonic() + LONG_S, threading.Event()
    while not reached():
        assert time.monotonic() < end, "it never came"
        pause.wait(0.02)


def is_cut(line: socket.socket) -> bool:
    """Whether the server has closed a line, which may take a while."""
    try:
        while line.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# --- patience ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "begun", [b"G", GET, GET + b"A: b\r\n" * 9, PUT, PUT + b"\r\nGai", PUT + b"Transfer-Encoding: chunked\r\n\r\n1\r\n"]
)
def test_a_request_that_does_not_go_on_is_given_up(
    server: AlpacaServer, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(connections, "REQUEST_S", 0.2)
    with dialled(server) as line:
        line.sendall(begun)
        assert is_cut(line)
    honest(server)


@pytest.mark.parametrize("before", [b"", GET + b"\r\n"])
def test_a_request_that_trickles_is_given_up_though_it_goes_on(
    server: AlpacaServer, monkeypatch: pytest.MonkeyPatch, before: bytes
) -> None:
    monkeypatch.setattr(connections, "REQUEST_S", 0.3)
    with dialled(server) as line:
        line.sendall(before + GET)
        line.settimeout(0.02)
        cut = threading.Event()
        end = time.monotonic() + LONG_S
        while not cut.is_set():
            assert time.monotonic() < end
            with contextlib.suppress(TimeoutError):
                try:
                    line.sendall(b"X")
                    if not line.recv(65536):
                        cut.set()
                except ConnectionError:
                    cut.set()
        honest(server)


def test_a_client_that_waits_between_its_requests_is_kept(
    server: AlpacaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REQUEST_S", 0.1)
    with client(server) as ask, client(server) as ask_late:
        for _ in range(3):
            assert ask()
            with dialled(server) as slow:  # this one is given up meanwhile
                slow.sendall(GET)
                assert is_cut(slow)
        assert ask_late()  # its first


# --- many -------------------------------------------------------------------------------------------------------------


@needs_proc
def test_of_too_many_connections_the_oldest_go_and_the_newest_are_served(
    server: AlpacaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST", 30)
    honest(server)
    gc.collect()
    before, threads = open_files(), threading.active_count()
    with contextlib.ExitStack() as lines:
        ask = lines.enter_context(client(server))
        for number in range(120):
            lines.enter_context(dialled(server)).sendall(b"GET /")
            if number % 10 == 0:
                assert ask(), "who is answered now and then stays"
        honest(server)
        until(lambda: open_files() <= before + 121 + 31)
    until(lambda: open_files() <= before)
    assert threading.active_count() <= threads
    honest(server)


@needs_proc
def test_storms_of_clients_that_come_and_go_leave_nothing(server: AlpacaServer) -> None:
    honest(server)
    gc.collect()
    before, threads = open_files(), threading.active_count()
    endings = (b"", b"\0" * 100, GET, GET + b"\r\n", PUT + b"\r\nGain=1", PUT + b"\r\nGa")

    def storm() -> None:
        for number in range(60):
            with dialled(server) as line, contextlib.suppress(OSError):
                line.sendall(endings[number % len(endings)])
                if number % 3 == 0:  # the line is reset instead of closed
                    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    storms = [threading.Thread(target=storm) for _ in range(4)]
    for each in storms:
        each.start()
    honest(server)
    for each in storms:
        each.join()
    until(lambda: open_files() <= before)
    assert threading.active_count() <= threads
    honest(server)


def test_a_client_that_asks_thousands_of_times_and_never_reads_holds_up_nobody(server: AlpacaServer) -> None:
    with dialled(server) as deaf:
        deaf.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            deaf.sendall((GET + b"\r\n") * 20_000)
        for _ in range(3):
            honest(server)


def exposed(server: AlpacaServer) -> None:
    """Let the camera have an image."""
    request(server, "PUT", "/api/v1/camera/0/connected", "Connected=true")
    request(server, "PUT", "/api/v1/camera/0/startexposure", "Duration=0.01&Light=false")
    until(lambda: bool(server.observatory.camera.read("imageready")))


@pytest.mark.parametrize(
    ("accept", "width", "a_pixel"), [(b"application/imagebytes", 4000, 2), (b"application/json", 1000, 5)]
)
def test_an_image_is_in_memory_once_however_many_ask_for_it(accept: bytes, width: int, a_pixel: int) -> None:
    asked = IMAGE.replace(b"application/imagebytes", accept)
    with serving(width, 800) as server, contextlib.ExitStack() as lines:
        exposed(server)
        with dialled(server) as first:  # the machinery is imported
            first.sendall(asked)
            first.recv(100)
        tracemalloc.start()
        try:
            deaf = [lines.enter_context(dialled(server)) for _ in range(20)]
            for line in deaf:
                line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                line.sendall(asked)
            for line in deaf:
                assert line.recv(12) == b"HTTP/1.1 200"
            honest(server)
            gc.collect()
            held = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        image = 800 * width * a_pixel
        assert held < image + 20 * 1_300_000, "an image and, of each line, what waits to be sent"
        assert len(request(server, "GET", "/api/v1/camera/0/imagearray")) == 44 + 1600 * width


def test_an_image_that_was_sent_is_not_kept() -> None:
    with serving(1000, 800) as server:
        exposed(server)
        bodies = {request(server, "GET", "/api/v1/camera/0/imagearray")[44:] for _ in range(2)}
        assert len(bodies) == 1
        exposed(server)
        assert request(server, "GET", "/api/v1/camera/0/imagearray")[44:] not in bodies


# --- discovery --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows raises its errors of UDP somewhere else")
def test_a_flood_at_the_discovery_port_ends_and_the_next_question_is_answered(server: AlpacaServer) -> None:
    assert server.discovery_port is not None
    there = ("127.0.0.1", server.discovery_port)
    threads = threading.active_count()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
        for number in range(5000):
            noise = (b"alpacadiscovery1", os.urandom(30), b"", b"\xff" * 2000)[number % 4]
            with contextlib.suppress(BlockingIOError):
                flood.sendto(noise, there)
    honest(server)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.5)
        end = time.monotonic() + LONG_S
        answer = b""
        while not answer:  # UDP may lose any question
            assert time.monotonic() < end
            asking.sendto(b"alpacadiscovery1", there)
            with contextlib.suppress(TimeoutError):
                answer = asking.recv(1000)
    assert json.loads(answer) == {"AlpacaPort": server.port}
    assert threading.active_count() == threads
