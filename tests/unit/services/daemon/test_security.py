"""Who is let in: host, origin, token, paths and bodies, over real sockets; what is refused is refused in words."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.clock import ManualClock
from services.config import load
from services.daemon.admission import Host, check_host, check_origin, plain_path
from services.daemon.problems import Problem
from services.daemon.security import Limits
from services.daemon.tokens import Guard, Sessions, Tries
from services.errors import ConfigInvalid
from services.observatory.login import token_of
from tests.support.served_api import TOKEN, Served, fill, serve

SMALL = Limits(body_bytes=2000, body_s=0.5)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("open"), limits=SMALL, allowed_hosts=["observatory.lan"]) as found:
        yield found


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("NIGHTCAL_TEST_TOKEN", TOKEN)
    with serve(tmp_path, token_env="NIGHTCAL_TEST_TOKEN", path_prefix="/nightcal") as found:  # noqa: S106 - a name
        yield found


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("LOCALHOST.", 200), ("observatory.lan:99", 200), ("evil.example", 403),
        ("127.0.0.1.evil.example", 403), ("localhost@evil.example", 403), ("", 403), ("192.168.1.9", 403),
        ("127.0.0.1:99999", 403), ("[::1", 403),
    ],
)  # fmt: skip
def test_only_our_own_names_are_answered(served: Served, host: str, status: int) -> None:
    assert served.ask("GET", "/api/state", Host=host)[0].status == status


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "file://", "HTTP://", ""])
def test_pages_of_other_sites_are_not_answered(served: Served, method: str, origin: str) -> None:
    body = {"order": "pause"} if method == "POST" else None
    path = "/api/orders" if method == "POST" else "/api/state"
    answer, said = served.ask(method, path, body, Origin=origin)
    assert (answer.status, said["code"]) == (403, "origin_not_allowed")


def test_our_own_pages_are_answered_also_behind_a_proxy_with_tls(served: Served) -> None:
    for origin in (served.url, "https://observatory.lan"):
        assert served.ask("POST", "/api/orders", {"order": "pause"}, Origin=origin)[0].status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../etc/passwd", "/api/../../etc/passwd", "/api/frames/../../x/preview", "/api/masters/..", "/api/./state",
        "/api/frames/%2e%2e/%2E%2E/etc/passwd/preview", "/api/%2e%2e%2f%2e%2e%2fetc/passwd", "/api/..%5c..%5cboot.ini",
        "/api/%252e%252e/%252e%252e/x", "/api/%c0%ae%c0%ae/x", "/api/masters/%00", "/api/%", "/api/%zz", "/api/%u002e",
        "/api/frames/..;/..;/x/preview", "/api/masters/%ff", "/api\\..\\x", "/api/%0d%0aSet-Cookie:x", "/" + "a" * 5000,
    ],
)  # fmt: skip
def test_paths_that_climb_or_are_spelled_oddly_are_refused(served: Served, path: str) -> None:
    found = served.raw(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    head, _, body = found.partition(b"\r\n\r\n")
    assert head.split()[1] in {b"400", b"404"}
    assert set(json.loads(body)) == {"code", "detail", "advice"}


@pytest.mark.parametrize(
    "path", ["//etc/passwd", "/api/masters/etc", "/api/frames/etc/passwd/preview", "http://evil.example/api/state"]
)
def test_what_the_catalogue_does_not_know_is_not_there(served: Served, path: str) -> None:
    found = served.raw(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    assert found.split()[1] in {b"400", b"404"}


def test_only_json_is_read_and_only_so_much_of_it(served: Served) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer, said = served.ask("POST", "/api/orders", b'{"order": "pause"}', content_type=kind)
        assert (answer.status, said["code"]) == (415, "not_json")
    answer, said = served.ask("POST", "/api/orders", b" " * 2001)
    assert (answer.status, said["code"]) == (413, "body_too_large")
    assert served.ask("POST", "/api/orders", b'{"order": "pause"}' + b" " * 1900)[0].status == 200


_POST = "POST /api/orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


def test_a_body_without_end_ends(served: Served) -> None:
    pieces = b"".join(b"3e8\r\n%s\r\n" % (b" " * 1000) for _ in range(5))
    found = served.raw(f"{_POST}Transfer-Encoding: chunked\r\n\r\n".encode() + pieces)
    assert found.split()[1] == b"413"


def test_a_body_that_does_not_come_is_not_waited_for(served: Served) -> None:
    begun = time.monotonic()
    found = served.raw(f"{_POST}Content-Length: 100\r\n\r\n{{".encode())
    assert found.split()[1] == b"408"
    assert time.monotonic() - begun < 5


def test_a_body_that_ends_early_is_no_order(served: Served) -> None:
    before = len(served.desk.taken)
    with socket.create_connection(served.address, timeout=5) as line:
        line.sendall(f'{_POST}Content-Length: 100\r\n\r\n{{"order": "abort"}}'.encode())
        line.shutdown(socket.SHUT_WR)
        while line.recv(1000):
            pass
    assert len(served.desk.taken) == before


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400", "bad_request"),
        (b"GET /api/state\r\n\r\n", b"400", "bad_request"),
        (b"GET /api/state HTTP/1.1\r\n\r\n", b"400", "bad_request"),
        (b"GET /api/state HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400", "bad_request"),
        (b"GET /\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"400", "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", b"431", "head_too_large"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 40_000, b"431", "head_too_large"),
        (
            b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"400", "bad_request",
        ),
    ],
)  # fmt: skip
def test_what_is_no_request_is_answered_in_words(served: Served, sent: bytes, status: bytes, code: str) -> None:
    head, _, body = served.raw(sent).partition(b"\r\n\r\n")
    assert head.split()[1] == status
    assert json.loads(body)["code"] == code


def test_without_the_token_nothing_is_said(guarded: Served) -> None:
    for path in ("/api/state", "/api/events", "/openapi.json", "/api/nothing"):
        answer, said = guarded.ask("GET", path)
        assert (answer.status, said["code"]) == (401, "token_needed")
    assert guarded.ask("GET", "/healthz")[1]["ok"] is True
    assert guarded.ask("GET", "/api/state", Authorization=f"Bearer {TOKEN}")[0].status == 200
    assert guarded.ask("GET", "/api/state", Authorization=f"Basic {TOKEN}")[0].status == 401
    assert guarded.ask("GET", f"/api/state?token={TOKEN}")[0].status == 401


def test_behind_a_proxy_paths_are_known_with_and_without_the_prefix(guarded: Served) -> None:
    for path in ("/nightcal/api/state", "/api/state"):
        assert guarded.ask("GET", path, Authorization=f"Bearer {TOKEN}")[0].status == 200
    assert guarded.ask("GET", "/nightcal/healthz")[0].status == 200
    assert guarded.ask("GET", "/nightcalapi/state", Authorization=f"Bearer {TOKEN}")[0].status == 404


def test_the_token_becomes_a_cookie_that_scripts_and_other_sites_do_not_get(guarded: Served) -> None:
    answer, _ = guarded.ask("POST", "/api/login", {"token": TOKEN}, Origin=f"https://{guarded.host}")
    cookie = answer.getheader("set-cookie", "")
    assert {"httponly", "samesite=strict", "secure", "path=/nightcal"} <= {
        part.strip().lower() for part in cookie.split(";")
    }
    assert TOKEN not in cookie
    mine = cookie.partition(";")[0]
    assert guarded.ask("GET", "/api/state", Cookie=mine)[0].status == 200
    assert guarded.ask("GET", "/api/state", Cookie=f'other={{"a": [1, 2]}}; a b=c; {mine}')[0].status == 200
    answer, said = guarded.ask("POST", "/api/orders", {"order": "pause"}, Cookie=mine)
    assert (answer.status, said["code"]) == (403, "origin_not_allowed")
    assert guarded.ask("POST", "/api/orders", {"order": "pause"}, Cookie=mine, Origin=guarded.url[:-9])[0].status == 200
    assert guarded.ask("POST", "/api/logout", Cookie=mine, Origin=f"http://{guarded.host}")[0].status == 200
    assert guarded.ask("GET", "/api/state", Cookie=mine)[0].status == 401


def test_wrong_tokens_are_soon_not_looked_at_any_more(guarded: Served) -> None:
    answer, _ = guarded.ask("POST", "/api/login", {"token": TOKEN})
    cookie = answer.getheader("set-cookie", "").partition(";")[0]
    statuses = [guarded.ask("POST", "/api/login", {"token": f"wrong{n}"})[0].status for n in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    answer, said = guarded.ask("GET", "/api/state", Authorization=f"Bearer {TOKEN}")
    assert (answer.status, said["code"]) == (429, "too_many_tries")
    assert int(answer.getheader("retry-after", "0")) > 0
    assert guarded.ask("GET", "/api/state", Cookie=cookie)[0].status == 200  # who is logged in stays so


def test_tries_come_back_with_time_and_are_those_of_a_network() -> None:
    clock = ManualClock()
    tries = Tries(clock, at_once=2, every_s=6.0, most=3)
    for _ in range(2):
        tries.count("2001:db8::1")
    assert tries.wait_s("2001:db8::ffff") > 0
    assert tries.wait_s("2001:db8:0:1::1") == tries.wait_s("192.0.2.1") == 0
    clock.sleep(7.0)
    assert tries.wait_s("2001:db8::1") == 0
    for number in range(4):
        tries.count(f"192.0.2.{number}")
    assert tries.wait_s("2001:db8::1") == 0


def test_sessions_end_with_time_and_the_oldest_when_there_are_too_many() -> None:
    clock = ManualClock()
    sessions = Sessions(clock, lasting_s=100.0, most=2)
    first, second, third = (sessions.begin() for _ in range(3))
    assert [sessions.holds(each) for each in (first, second, third, "")] == [False, True, True, False]
    clock.sleep(101.0)
    assert not sessions.holds(third)


def test_a_guard_without_a_token_lets_everybody_in() -> None:
    Guard(None, ManualClock()).check("", "", "127.0.0.1")


def test_beyond_this_computer_a_token_is_needed(tmp_path: Path) -> None:
    assert token_of(load(fill(tmp_path, listen="127.0.0.1:8642")).config.serve) is None


@pytest.mark.parametrize("content", [None, "", "short", "two words that are long enough"])
def test_a_token_that_is_none_is_an_error_of_the_configuration(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "token").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigInvalid, match="token_file"):
        token_of(load(fill(tmp_path, token_file="token", listen="0.0.0.0:8642")).config.serve)  # noqa: S106 - of the test


def test_a_token_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n", encoding="utf-8")
    assert token_of(load(fill(tmp_path, token_file="token")).config.serve) == TOKEN  # noqa: S106 - a name


@pytest.mark.parametrize(
    ("address", "host", "let_in"),
    [
        ("192.168.1.5", "192.168.1.5:8642", True), ("192.168.1.5", "localhost", False), ("::1", "[::1]:8642", True),
        ("::1", "[0:0:0:0:0:0:0:1]", True), ("::ffff:10.0.0.2", "10.0.0.2", True), ("fe80::1%eth0", "[fe80::1]", True),
        ("192.168.1.5", "obs.lan", True), ("192.168.1.5", "obs.lan:9", True), ("192.168.1.5", "ob.lan:80", False),
        ("192.168.1.5", "port.lan:80", False), ("192.168.1.5", "port.lan:81", True),
    ],
)  # fmt: skip
def test_a_host_is_ours_by_its_address_or_by_name(address: str, host: str, let_in: bool) -> None:
    allowed = ("obs.lan", "PORT.lan:81")
    if let_in:
        check_host([host], address=address, allowed=allowed)
    else:
        with pytest.raises(Problem):
            check_host([host], address=address, allowed=allowed)


def test_an_origin_is_ours_with_its_port() -> None:
    host = Host.parse("10.0.0.2:8642")
    assert host is not None
    check_origin(["http://10.0.0.2:8642"], host=host, allowed=(), needed=True)
    check_origin([], host=host, allowed=(), needed=False)
    for origins in (["http://10.0.0.2"], ["http://10.0.0.2:8643"], [], ["http://10.0.0.2:8642"] * 2):
        with pytest.raises(Problem):
            check_origin(origins, host=host, allowed=("other.lan",), needed=True)


def test_a_plain_path_is_decoded_once() -> None:
    assert plain_path(b"/api/frames/darks%2Fa%20b.fits/preview") == "/api/frames/darks/a b.fits/preview"
