"""The server of the API: bad and many connections, a port in use, and an end that is soon there."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection
from pathlib import Path

import pytest

from services import log
from services.daemon import http_server
from services.daemon.http_server import ApiServer, bound
from services.errors import Exit, StorageError
from tests.support.places import ROOT
from tests.support.served_api import Served, serve

resource = pytest.importorskip("resource", reason="open files are limited elsewhere on this system")
CLIENTS = 1000


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serve(tmp_path) as found:
        yield found


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process, which is server and clients in one, open files for both."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4 * CLIENTS:
        pytest.skip("this system allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4 * CLIENTS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_a_thousand_clients_at_once_do_not_stop_it(served: Served) -> None:
    ask = b"GET /api/state HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    statuses: list[bytes] = []
    with ExitStack() as stack:
        lines = [stack.enter_context(socket.create_connection(served.address, timeout=20)) for _ in range(CLIENTS)]
        for line in lines:
            with_answer = b""
            try:
                line.sendall(ask)
                with_answer = line.recv(100)
            except OSError:  # far too many: not even an answer
                pass
            statuses.append(with_answer[9:12])
        assert statuses.count(b"200") >= 400
        assert set(statuses) <= {b"200", b"503", b""}
    _until_answered(served)


def _until_answered(served: Served) -> None:
    end = time.monotonic() + 10
    while served.ask("GET", "/api/state")[0].status != 200:
        assert time.monotonic() < end


def test_an_answer_bears_the_time_at_which_it_was_asked_for(served: Served) -> None:
    line = HTTPConnection(*served.address, timeout=10)
    for _ in range(2):
        before = datetime.now(UTC).replace(microsecond=0)
        line.request("GET", "/healthz")
        answer = line.getresponse()
        answer.read()
        assert before <= parsedate_to_datetime(answer.headers["Date"]) <= datetime.now(UTC)
    line.close()


def test_who_sends_no_whole_head_is_let_go(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "HEAD_S", 0.2)
    for sent in (b"", b"GET /api/sta", b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX"):
        with socket.create_connection(served.address, timeout=10) as line:
            line.sendall(sent)
            assert line.recv(100) == b""
    with socket.create_connection(served.address, timeout=10) as line:  # also after an answer
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert line.recv(5000).startswith(b"HTTP/1.1 200")
        line.sendall(b"GET /healthz HT")
        while line.recv(5000):
            pass


def test_bad_requests_leave_no_line_in_the_log(tmp_path: Path) -> None:
    log.configure("INFO", tmp_path / "daemon.log", console=False)
    (tmp_path / "root").mkdir()
    try:
        with serve(tmp_path / "root") as served:
            for sent in (b"\x16\x03\x01\r\n\r\n", _UPGRADE, b"GET /../x HTTP/1.1\r\nHost: evil.example\r\n\r\n"):
                with socket.create_connection(served.address, timeout=10) as line:
                    line.sendall(sent)
                    assert line.recv(5000).startswith(b"HTTP/1.1 ")
    finally:
        log.close()
    assert (tmp_path / "daemon.log").read_text() == ""


_UPGRADE = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"


def test_a_port_in_use_is_said_with_what_to_do(served: Served) -> None:
    with pytest.raises(StorageError, match="in use") as error:
        bound(*served.address)
    assert error.value.exit == Exit.CONFIG
    assert "serve.listen" in error.value.advice
    with pytest.raises(StorageError, match="cannot be listened at"):
        bound("192.0.2.1", 8642)


def test_the_api_loads_nothing_heavy() -> None:
    heavy = ("numba", "scipy", "astropy", "photutils", "matplotlib", "PIL", "pandas")
    program = f"import services.daemon.http_server, services.daemon.reading, sys; print({heavy} & sys.modules.keys())"
    program = program.replace(str(heavy), "{" + ", ".join(map(repr, heavy)) + "}")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "set()", done.stderr


def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_head(served: Served) -> None:
    line = HTTPConnection(*served.address, timeout=20)
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        line.request("GET", "/api/state")
        line.getresponse().read()
        times.append(time.perf_counter() - begun)
    line.close()
    assert min(times) < 0.03  # each takes 40 ms where small packets wait for one another


@pytest.mark.parametrize(("host", "everywhere"), [("127.0.0.1", False), ("0.0.0.0", True)])  # noqa: S104 - that is tried
def test_a_server_knows_whether_other_computers_reach_it(served: Served, host: str, everywhere: bool) -> None:
    server = ApiServer(served.api, (host, 0))
    server.start()
    try:
        assert server.is_everywhere is everywhere
        assert server.url.startswith("http://127.0.0.1:")
    finally:
        server.stop()
