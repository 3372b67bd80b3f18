"""The simulated observatory's server among clients that know no rules: it answers the others, and forgets these."""

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
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote_from_bytes, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.simulator.server import AlpacaServer
from tests.support.simulator_server import SOON_S, no_tracebacks, serving  # noqa: F401 - around each test here

few = partial(settings, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def server() -> Iterator[AlpacaServer]:
    with serving() as running:
        yield running


def honest(server: AlpacaServer) -> None:
    """Ask for a name as an ordinary client does."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=SOON_S)
    try:
        connection.request("GET", "/api/v1/camera/0/name?ClientTransactionID=7")
        reply = connection.getresponse()
        answer = json.loads(reply.read())
    finally:
        connection.close()
    assert reply.status == 200
    assert answer["ClientTransactionID"] == 7


def dialled(server: AlpacaServer) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=SOON_S)


def sent(server: AlpacaServer, raw: bytes) -> bytes:
    """Send bytes, say that this is all, and return what comes back."""
    came = b""
    with dialled(server) as line, contextlib.suppress(OSError):
        line.sendall(raw)
        line.shutdown(socket.SHUT_WR)
        while piece := line.recv(65536):
            came += piece
    return came


def statuses(came: bytes) -> set[bytes]:
    """Return the status codes of all replies on a line."""
    return {part[:3] for part in came.split(b"HTTP/1.1 ")[1:]}


PUT = b"PUT /api/v1/camera/0/gain HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\r\n\r\n", b"\0" * 5000, b"\xff\xfe\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET /api HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 50_000 + b"\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nA" * 1000,
        PUT + b"Content-Length: -1\r\n\r\n", PUT + b"Content-Length: 99999999999999999999\r\n\r\nGain=1",
        PUT + b"Content-Length: 6\r\nContent-Length: 7\r\n\r\nGain=1", PUT + b"Transfer-Encoding: x\r\n\r\n",
        PUT + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nGain=1", PUT + b"Transfer-Encoding: chunked\r\n\r\n6\r\nGain=1",
        PUT + b"Content-Length: 50\r\n\r\nGain=1", b"BREW /api/v1/camera/0/name HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/camera/0/name HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET /api/v1/camera/0/name?ClientID=" + b"9" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/camera/0/name?ClientID=%ff%00%d9%a1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/camera/%30%00/name HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/camera/0/imagearray HTTP/1.1\r\nHost: x\r\nAccept: imagebytes" + b";" * 9000 + b"\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_and_the_next_client_is_served(server: AlpacaServer, raw: bytes) -> None:
    assert b"500" not in statuses(sent(server, raw))
    honest(server)


@given(
    st.binary(max_size=200)
    | st.builds(lambda a, b: PUT + a + b"\r\n\r\n" + b, st.binary(max_size=60), st.binary(max_size=60))
)
@few(max_examples=60)
def test_any_bytes_leave_the_server_serving(server: AlpacaServer, raw: bytes) -> None:
    assert b"500" not in statuses(sent(server, raw))
    honest(server)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_huge_form_is_refused_without_being_kept(server: AlpacaServer, chunked: bool) -> None:
    total, piece = 60_000_000, b"a=1&" * 16_384
    length = b"Transfer-Encoding: chunked\r\n" if chunked else b"Content-Length: %d\r\n" % total
    came = b""
    tracemalloc.start()
    try:
        with dialled(server) as line, contextlib.suppress(OSError):
            line.sendall(PUT + length + b"\r\n")
            for _ in range(total // len(piece)):
                line.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
                if not came:
                    line.setblocking(False)
                    with contextlib.suppress(BlockingIOError):
                        came = line.recv(100)
                    line.settimeout(SOON_S)
            came = came or line.recv(100)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert statuses(came) == {b"400"}
    assert peak < 6_000_000
    honest(server)


# --- requests that are well-formed ------------------------------------------------------------------------------------

TEXTS = st.text(max_size=20) | st.sampled_from(
    ["9" * 5000, "-1", "1e400", "nan", "inf", "-inf", "1_0", "0x10", "", " 5 ", "4294967296", "-4294967297", "true",
     "٣", "1,5", "\0", "\ud7ff", "x" * 20_000]
)  # fmt: skip


def names(server: AlpacaServer) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return device, member and the form's fields of everything that can be put."""
    devices = server.observatory.devices()
    return [(d.kind, m, tuple(name for name, _ in w.fields)) for d in devices for m, w in d.writers.items()]


def ask(server: AlpacaServer, method: str, path: str, fields: dict[str, str]) -> None:
    """Make a request; its answer must be an Alpaca one, or a 400 that says why."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=SOON_S)
    try:
        query = urlencode(fields, errors="replace")
        body = query if method == "PUT" else None
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        connection.request(method, path if body else f"{path}?{query}", body=body, headers=headers)
        reply = connection.getresponse()
        text = reply.read()
    finally:
        connection.close()
    assert reply.status in (200, 400, 404, 405), (path, fields, text)
    if reply.status == 200 and reply.headers["Content-Type"] == "application/json":
        assert isinstance(json.loads(text)["ErrorNumber"], int)


def put_anything(server: AlpacaServer, data: st.DataObject) -> None:
    kind, member, fields = data.draw(st.sampled_from(names(server)))
    known = {name: data.draw(TEXTS) for name in fields if data.draw(st.integers(0, 9))}
    more = data.draw(
        st.dictionaries(st.text(max_size=8) | st.sampled_from(["ClientID", "clientid"]), TEXTS, max_size=2)
    )
    ask(server, "PUT", f"/api/v1/{kind}/0/{member}", {**more, **known})


def get_anything(server: AlpacaServer, data: st.DataObject) -> None:
    members = [(d.kind, m) for d in server.observatory.devices() for m in (*d.readers, "imagearray", "nothing")]
    kind, member = data.draw(st.sampled_from(members))
    place = data.draw(
        st.sampled_from([f"/api/v1/{kind}/0/{member}"] * 3 + [f"/api/v2/{kind}/0/{member}", f"/{member}"])
    )
    extra = data.draw(st.sampled_from([b""] * 3) | st.binary(min_size=1, max_size=6))
    ask(
        server,
        "GET",
        place + quote_from_bytes(extra),
        {data.draw(st.text(max_size=8)): data.draw(TEXTS.filter(lambda t: len(t) < 9000))},
    )


@given(st.data())
@few(max_examples=120)
def test_any_form_and_query_is_answered_as_alpaca_or_refused(server: AlpacaServer, data: st.DataObject) -> None:
    put_anything(server, data)
    get_anything(server, data)


@pytest.mark.long
@pytest.mark.timeout(3600)
@given(st.data())
@few(max_examples=10_000)
def test_many_forms_and_queries_are_answered_as_alpaca_or_refused(server: AlpacaServer, data: st.DataObject) -> None:
    put_anything(server, data)
    get_anything(server, data)


# --- patience ---------------------------------------------------------------------------------------------------------


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_clients_that_never_finish_hold_up_nobody_and_not_the_end() -> None:
    with serving() as server, contextlib.ExitStack() as lines:
        for begun in (b"", b"GET /api", PUT, PUT + b"Content-Length: 9\r\n\r\nGa") * 15:
            line = lines.enter_context(dialled(server))
            line.sendall(begun)
        for _ in range(5):
            honest(server)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 60


def test_a_client_that_never_reads_its_image_holds_up_nobody_and_not_the_end() -> None:
    with serving(2000, 1500) as server, contextlib.ExitStack() as lines:
        for member, form in (
            ("connected", {"Connected": "true"}),
            ("startexposure", {"Duration": "0.01", "Light": "false"}),
        ):
            ask(server, "PUT", f"/api/v1/camera/0/{member}", form)
        ready = threading.Event()
        while not ready.wait(0.02):
            if server.observatory.camera.read("imageready"):
                ready.set()
        for _ in range(5):
            line = lines.enter_context(dialled(server))
            line.sendall(
                b"GET /api/v1/camera/0/imagearray HTTP/1.1\r\nHost: x\r\nAccept: application/imagebytes\r\n\r\n"
            )
        for _ in range(5):
            honest(server)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 60


def test_clients_that_leave_in_the_middle_are_forgotten() -> None:
    with serving() as server:
        for _ in range(40):
            with dialled(server) as line:
                line.sendall(PUT + b"Content-Length: 100\r\n\r\nGain=")
        honest(server)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc, which only Linux has")
def test_hundreds_of_connections_are_served_and_given_back() -> None:
    import resource

    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    count = min(300, (room - open_files()) // 3)
    with serving() as server:
        honest(server)
        gc.collect()
        before, threads = open_files(), threading.active_count()
        with contextlib.ExitStack() as lines:
            for _ in range(count):
                lines.enter_context(dialled(server))
            honest(server)
            assert open_files() >= before + count
        for _ in range(200):
            if open_files() <= before:
                break
            time.sleep(0.02)
        assert open_files() <= before
        assert threading.active_count() <= threads
        honest(server)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows raises its errors of UDP somewhere else")
def test_a_discovery_port_that_hears_noise_still_answers(server: AlpacaServer) -> None:
    assert server.discovery_port is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(SOON_S)
        for noise in (b"", b"\0" * 60_000, os.urandom(500), b"alpacadiscovery", b"ALPACADISCOVERY1"):
            asking.sendto(noise, ("127.0.0.1", server.discovery_port))
        asking.sendto(b"alpacadiscovery1", ("127.0.0.1", server.discovery_port))
        assert json.loads(asking.recv(1000)) == {"AlpacaPort": server.port}
