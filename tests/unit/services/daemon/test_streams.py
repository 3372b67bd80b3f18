"""Events as they come: in order, with what was missed, and never kept open by who is slow or gone."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection, HTTPResponse

import pytest

from services.daemon.security import Limits
from services.daemon.streams import last_heard
from services.events.records import StepFinished, StepStarted
from tests.support.served_api import EARLIER, RUN, Served, serve

Listen = Callable[..., HTTPResponse]


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("streams"), limits=Limits(streams=60)) as found:
        yield found


@pytest.fixture
def listen(served: Served) -> Iterator[Listen]:
    """Return what opens a stream, and has read its first block (`retry`): it listens then."""
    with ExitStack() as stack:

        def opened(last: str | None = None) -> HTTPResponse:
            connection = stack.enter_context(closing(HTTPConnection(*served.address, timeout=20)))
            heard = {} if last is None else {"Last-Event-ID": last}
            connection.request("GET", "/api/events", headers={"Connection": "close"} | heard)
            answer = stack.enter_context(connection.getresponse())
            assert answer.status == 200
            assert answer.readline().startswith(b"retry: ")
            assert answer.readline() == b"\n"
            return answer

        yield opened


def _ids(answer: HTTPResponse, count: int) -> list[str]:
    """Return the ids of so many events, comments left out."""
    found: list[str] = []
    while len(found) < count:
        line = answer.readline().decode()
        assert line, "the stream ended"
        if line.startswith("id: "):
            found.append(line[4:].strip())
    return found


def test_events_are_heard_in_their_order_with_their_ids(served: Served, listen: Listen) -> None:
    answer = listen()
    assert answer.getheader("content-type") == "text/event-stream; charset=utf-8"
    assert answer.getheader("x-accel-buffering") == "no"
    for number in range(5, 8):
        served.publish(RUN, number, StepStarted(step="darks"))
    assert answer.readline() == f"id: {RUN}:5\n".encode()
    data = answer.readline()
    assert data.startswith(b"data: ")
    assert json.loads(data[6:])["step"] == "darks"
    assert _ids(answer, 2) == [f"{RUN}:6", f"{RUN}:7"]


def test_who_comes_back_gets_what_was_missed_in_this_run_and_in_later_ones(served: Served, listen: Listen) -> None:
    assert _ids(listen(f"{EARLIER}:1"), 5) == [
        f"{EARLIER}:2", "serve:1", f"{RUN}:1", f"{RUN}:2", f"{RUN}:3",
    ]  # fmt: skip
    answer = listen(f"{RUN}:2")
    served.publish(RUN, 3, StepFinished(step="darks"))  # heard already from the journal
    served.publish(RUN, 4, StepFinished(step="darks"))
    assert _ids(answer, 2) == [f"{RUN}:3", f"{RUN}:4"]


@pytest.mark.parametrize("last", ["", "nonsense", f"{RUN}:x", "unknown:5", f"{RUN}:999999", "../../x:1", ":", "a:-1"])
def test_an_id_that_is_not_ours_hears_what_comes(served: Served, listen: Listen, last: str) -> None:
    answer = listen(last)
    served.publish("20260106T220000-0001", 1, StepStarted(step="darks"))
    assert _ids(answer, 1) == ["20260106T220000-0001:1"]


def test_ids_are_read_strictly() -> None:
    assert last_heard(" r-1:7 ") == ("r-1", 7)
    assert last_heard("r-1:7:8") is None


def test_who_is_too_slow_is_dropped_and_others_hear_everything(served: Served, listen: Listen) -> None:
    slow, quick = listen(), listen()
    for number in range(1, 301):
        served.publish(RUN, number, StepStarted(step="x" * 100_000))
        assert _ids(quick, 1) == [f"{RUN}:{number}"]
    _until(lambda: len(served.hub._present()) == 1)
    assert len(served.hub._present()) == 1
    slow.close()


def _until(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    end = time.monotonic() + within_s
    while not holds() and time.monotonic() < end:
        time.sleep(0.005)


def test_a_stream_too_many_is_refused_and_one_that_is_gone_makes_room(served: Served, listen: Listen) -> None:
    open_ones = [listen() for _ in range(60)]
    answer, said = served.ask("GET", "/api/events")
    assert (answer.status, said["code"]) == (503, "too_many_clients")
    assert int(answer.getheader("retry-after", "0")) > 0
    assert served.ask("GET", "/api/state")[0].status == 200
    for each in open_ones:
        each.close()
    _until(lambda: not served.hub._present())
    assert served.hub._present() == ()


def test_the_server_ends_with_fifty_open_streams(served: Served, listen: Listen) -> None:
    open_ones = [listen() for _ in range(50)]
    begun = time.monotonic()
    served.server.stop()
    assert time.monotonic() - begun < 5
    assert all(each.read() == b"" for each in open_ones)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(served.address, timeout=5)


def test_streams_end_when_the_hub_does(served: Served, listen: Listen) -> None:
    answer = listen()
    served.hub.close()
    assert answer.read() == b""
