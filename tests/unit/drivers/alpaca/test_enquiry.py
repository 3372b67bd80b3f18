"""Why nothing answers at an address, by its cause, and where a device answers instead."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest

from drivers.alpaca import enquiry
from drivers.alpaca.discovery import ServerAddress, configured_devices
from drivers.alpaca.enquiry import explained, why_not
from drivers.alpaca.line import Endpoint, Timeouts
from drivers.errors import AccessDenied, CameraBusy, DeviceLost, DeviceMissing, DriverError, LoginRefused
from tests.support.scripted_alpaca import ScriptedAlpaca, ScriptedCamera

SHORT = Timeouts(open_s=0.5, read_s=0.3)
ROW = {"DeviceType": "Camera", "DeviceNumber": 0}


@contextlib.contextmanager
def answering(reply: Callable[[socket.socket], object]) -> Iterator[Endpoint]:
    """Serve whatever `reply` does with each connection, on a free port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                with line, contextlib.suppress(OSError):
                    reply(line)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Endpoint("127.0.0.1", listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def sending(data: bytes) -> Callable[[socket.socket], object]:
    """Return what reads a request and sends `data`."""

    def reply(line: socket.socket) -> None:
        line.recv(4096)
        line.sendall(data)

    return reply


def page(status: str, body: str, kind: str = "text/html", *more: str) -> bytes:
    """Return a whole HTTP reply."""
    head = (f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body.encode())}", *more)
    return "\r\n".join((*head, "Connection: close", "", body)).encode()


def cause(endpoint: Endpoint) -> DriverError:
    """Return why nothing answers."""
    found = why_not(endpoint, "camera 0", times=SHORT)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (page("200 OK", "<html><head><title>\n Fritz &amp; Box </title>"), DeviceMissing, "web page 'Fritz & Box'"),
        (page("404 Not Found", "<TITLE lang=de>Router</TITLE>"), DeviceMissing, "the web page 'Router'"),
        (
            page("200 OK", '{"openapi": "3.0"}', "application/json"),
            DeviceMissing,
            'answers with \'{"openapi": "3.0"}\'',
        ),
        (page("200 OK", "It works!", "text/plain"), DeviceMissing, "no Alpaca server: it answers with 'It works!'"),
        (page("204 No Content", ""), DeviceMissing, "it answers with nothing"),
        (
            page("302 Found", "", "text/html", "Location: https://x/"),
            DeviceMissing,
            "sends its callers to another address",
        ),
        (b"SSH-2.0-OpenSSH_9.6\r\n", DeviceMissing, "does not speak HTTP: it answers with 'SSH-2.0-OpenSSH_9.6'"),
        (b"", DeviceLost, "takes the connection and does not answer"),
        (page("401 Unauthorized", "who?"), AccessDenied, "wants a user and a password, and none are named"),
        (page("403 Forbidden", "no"), AccessDenied, "forbids the access"),
        (
            page("401 Unauthorized", "", "text/html", 'WWW-Authenticate: Digest realm="x"'),
            LoginRefused,
            "wants a password by Digest, and nightcal can only give one by Basic",
        ),
    ],
)
def test_what_answers_and_is_no_alpaca_server_is_called_by_what_it_is(
    data: bytes, kind: type[DriverError], words: str
) -> None:
    with answering(sending(data)) as endpoint:
        found = cause(endpoint)
    assert type(found) is kind
    assert words in found.detail


def test_a_port_that_speaks_tls_is_called_so() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # without a certificate it refuses, but in TLS

    def handshake(line: socket.socket) -> None:
        with context.wrap_socket(line, server_side=True):
            pass

    with answering(handshake) as endpoint:
        found = cause(endpoint)
    assert type(found) is DeviceMissing
    assert "speaks TLS (https), and nightcal plain HTTP" in found.detail


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("no-such-host.invalid", "the host name 'no-such-host.invalid' is not known"),
        ("a..b", "the host name 'a..b' is not known"),
        ("127.0.0.1", "nothing answers at 127.0.0.1:1: no server runs on this port"),
    ],
)
def test_a_host_that_is_not_there_is_named_by_its_cause(host: str, words: str) -> None:
    found = cause(Endpoint(host, 1))
    assert type(found) is DeviceLost
    assert words in found.detail


def test_an_alpaca_server_is_one_with_and_without_a_management_api() -> None:
    with ScriptedAlpaca() as server:
        ScriptedCamera(server)
        assert why_not(server.endpoint(), "camera 0", times=SHORT) is None
        server.management = [{**ROW, "DeviceName": "x"}]
        assert why_not(server.endpoint(), "camera 0", times=SHORT) is None


def test_a_miss_names_where_the_device_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = DeviceLost(device="camera 0 at 127.0.0.1:1", detail="no answer")
    with ScriptedAlpaca() as server:
        server.management = [{**ROW, "DeviceName": "ZWO ASI2600MM"}, {**ROW, "DeviceName": "Guider", "DeviceNumber": 1}]
        monkeypatch.setattr(enquiry, "discover", lambda *, port: (ServerAddress("127.0.0.1", server.port),))
        wrong = Endpoint("127.0.0.1", 1)

        def said(error: DriverError, at: Endpoint = wrong, name: str | None = None) -> str:
            found = explained(error, at, device_type="camera", section="camera.alpaca", name=name, port=32227)
            return found.detail

        both = f"'ZWO ASI2600MM' (device 0 at 127.0.0.1:{server.port}), 'Guider' (device 1 at 127.0.0.1:{server.port})"
        assert said(lost).endswith(f"; but camera {both} answers: set host, port and device_id in `camera.alpaca`")
        assert "'ZWO ASI2600MM' (device 0" in said(lost, name="asi 2600")
        assert "Guider" not in said(lost, name="asi 2600")
        assert "Guider" in said(lost, name="QHY")  # nobody has that name: what there is
        missing = DeviceMissing(device="camera 7", detail="there is no camera 7")
        assert said(missing, server.endpoint(7)).startswith(f"there is no camera 7; but camera {both} answers")
        assert said(DeviceLost(device="camera 0", detail="cannot connect: USB"), server.endpoint()) == (
            "cannot connect: USB"  # its server is there: the device fails
        )
        driver = DeviceLost(device="camera 0", detail="cannot connect: in use", number=0x500)
        assert explained(driver, wrong, device_type="camera", section="camera.alpaca", port=32227) is driver
        busy = CameraBusy(device="camera 0", detail="it exposes")
        assert explained(busy, wrong, device_type="camera", section="camera.alpaca", port=32227) is busy


def test_a_server_with_a_password_is_named_where_nothing_else_is_found_and_gets_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bytes] = []

    def refuse(line: socket.socket) -> None:
        asked.append(line.recv(4096))
        line.sendall(page("401 Unauthorized", ""))

    with answering(refuse) as there:
        monkeypatch.setattr(enquiry, "discover", lambda *, port: (ServerAddress("127.0.0.1", there.port),))
        found = explained(
            DeviceLost(device="camera 0", detail="x"),
            Endpoint("127.0.0.1", 1, login=lambda: "Basic c2VjcmV0"),
            device_type="camera",
            section="camera.alpaca",
            port=32227,
        )
    assert f"but an Alpaca server that wants a user and a password answers at 127.0.0.1:{there.port}" in found.detail
    assert asked
    assert not any(b"uthorization" in request for request in asked)


def test_a_redirect_is_not_followed_and_takes_no_password_elsewhere() -> None:
    asked: list[bytes] = []

    def note(line: socket.socket) -> None:
        asked.append(line.recv(4096))

    with answering(note) as other:
        moved = page("307 Temporary Redirect", "", "text/plain", f"Location: http://127.0.0.1:{other.port}/")
        with answering(sending(moved)) as endpoint, pytest.raises(DeviceMissing):
            configured_devices(endpoint.host, endpoint.port, login=lambda: "Basic c2VjcmV0")
    assert asked == []
