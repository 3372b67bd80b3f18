"""Orders to the daemon from the command line: over real sockets, shown as a local run is, with its exit codes."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import islice
from pathlib import Path

import pytest

from drivers.clock import ManualClock
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import RunRow
from services.cli.daemon_client import Daemon, OrderRefused, daemon_of, served_at
from services.cli.failures import run_app
from services.cli.main import app
from services.cli.plan import plan_now, titles
from services.cli.remote import in_words, span_s
from services.config import load
from services.daemon.board import ActivityNow
from services.daemon.machine import Activity
from services.daemon.orders import Answer, Order, OrderName
from services.daemon.state_file import LastRun
from services.errors import Exit, Usage
from services.events.records import Event, Record, RunStarted, StepStarted, json_value
from services.events.serving import SERVE, ActivityChanged, ServeEnded, ServeStarted
from services.files.layout import Layout
from services.words import both_clocks
from tests.support.served_api import AT, RUN, TOKEN, Served, fill, serve, write_journal

NEW_RUN = "20260106T010000-ef01"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serve(tmp_path) as found:
        yield found


def _call(*words: str) -> int:
    return run_app(app, words, name="nightcal")


def _plays(
    served: Served,
    run_id: str,
    *,
    exit_code: int = 0,
    code: str | None = None,
    detail: str = "",
    last: LastRun | None = None,
) -> None:
    """Let the desk answer that it begins or ends a run, and let that happen then; `last` is shown as the last run."""
    ends = last or LastRun(
        run_id=run_id, finished_at=AT + timedelta(hours=3), exit_code=exit_code, code=code, detail=detail
    )

    def shown(activity: Activity, last: LastRun) -> None:
        served.board.show(replace(served.board.seen, activity=ActivityNow(name=activity), run=None, last_run=last))

    def happens() -> None:
        said: tuple[tuple[str, Record], ...] = (
            (SERVE, ActivityChanged(activity="starting")),
            (run_id, RunStarted()),
            (run_id, StepStarted(step="darks")),
        )
        for number, (who, what) in enumerate(said):
            served.publish(who, 100 + number, what)
        shown(Activity.IDLE, ends)
        served.publish(SERVE, 200, ActivityChanged(activity="idle", reason="nothing_due"))

    def take(order: Order) -> Answer:
        threading.Thread(target=happens).start()
        run = None if order.order is OrderName.RUN else run_id
        return Answer(order=order.order, detail=f"{order.order} it is", run_id=run, is_done=False)

    served.desk.answers = take


def test_the_state_is_said_in_words_and_as_json(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert _call("status", "--remote", served.url) == Exit.DONE
    said = capsys.readouterr().out
    assert said.startswith("idle")
    assert f"run {RUN} by a test\n" in said  # a run without frames is not said to have taken 0 of 0
    assert _call("status", "--remote", served.host, "--json") == Exit.DONE
    assert json.loads(capsys.readouterr().out)["seq"] == served.board.seq


def test_a_run_by_order_is_shown_as_a_local_one_and_ends_as_it_does(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    _plays(served, NEW_RUN, exit_code=1, code="too_dim", detail="filter Ha")
    assert _call("run", "--remote", served.url, "--item", "flat_Ha", "--item", "bias") == 1
    assert served.desk.taken[-1].items == ("flat_Ha", "bias")
    out, err = capsys.readouterr()
    assert "run it is" in out
    assert "darks" in out  # the sentence of the step, as a local run has it
    assert "too dim" in err
    assert "filter Ha" in err


@pytest.mark.parametrize(("exit_code", "code", "said"), [(0, None, "2 masters built"), (1, "disk_full", "no room")])
def test_the_end_of_a_run_that_only_built_masters_is_what_the_catalogue_says(
    served: Served, capsys: pytest.CaptureFixture[str], exit_code: int, code: str | None, said: str
) -> None:
    """The state has the last run for frames, and goes on to have that."""
    before = LastRun(run_id=RUN, finished_at=AT, exit_code=0, code=None, detail="20 frames taken")
    served.board.show(replace(served.board.seen, last_run=before))
    with Catalogue(served.config.parent / ".nightcal" / "catalogue.sqlite") as catalogue:
        catalogue.start_run(RunRow(run_id=NEW_RUN, started_at=AT))
        catalogue.finish_run(NEW_RUN, finished_at=AT, exit_code=exit_code, code=code, detail=said)
    _plays(served, NEW_RUN, last=before)
    assert _call("run", "--remote", served.url) == exit_code
    assert said in "".join(capsys.readouterr())


def test_items_are_named_as_the_table_of_the_plan_does_or_by_their_keys(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    plan = json_value(plan_now(load(fill(tmp_path / "other"))))
    names = dict(zip(titles(plan["masters"]), (each["key"] for each in plan["masters"]), strict=True))
    with serve(tmp_path, plan=plan) as served:
        assert _call("retry", "--remote", served.url, *names, *names.values(), "dark  5 s", "nothing") == Exit.DONE
    assert served.desk.taken[-1].items == (*names.values(), *names.values(), names["dark 5 s"], "nothing")


def test_a_daemon_is_found_when_the_configuration_of_the_folder_is_broken_or_missing(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    _started(served)
    served.config.write_text("serve: {listn: 1}", encoding="utf-8")
    assert _call("status", "--config", str(served.config)) == Exit.DONE
    out, err = capsys.readouterr()
    assert out.startswith("idle")
    assert "serve.listn" in err
    served.config.unlink()
    assert _call("status", "--config", str(served.config)) == Exit.DONE
    assert capsys.readouterr().err == ""
    assert _call("status", "--config", str(served.config.parent / "elsewhere" / "config.yaml")) == Exit.CONFIG


def test_the_state_in_words_says_each_thing_once() -> None:
    at, opens = "2026-01-06T00:00:00+00:00", "2026-01-06T14:18:00+00:00"
    held = {"mode": {"name": "held", "why": "paused", "by": "me"}}
    idle = {"activity": {"name": "idle", "reason": "held", "detail": "paused by me"}}
    assert list(in_words({**held, **idle})) == ["idle: paused by me"]
    window = {"name": "evening", "open": False, "opens_at": opens, "closes_at": at}
    next_one = f"the window evening opens at {both_clocks(datetime.fromisoformat(opens), '%Y-%m-%d %H:%M')}"
    closed = {"activity": {"name": "idle", "detail": next_one, "until": opens}, "windows": [window]}
    opens_words = next_one.partition(" opens at ")[2]
    assert list(in_words(closed)) == [f"idle: {next_one}", f"window evening: closed, opens {opens_words}"]
    running = {"activity": {"name": "running", "detail": "dark 60 s", "until": opens}}
    assert list(in_words(running)) == [f"running: dark 60 s; ends by {opens_words}"]
    waiting = {"activity": {"name": "idle", "reason": "outside_windows", "until": opens}}
    assert list(in_words(waiting)) == [f"idle: outside windows until {opens_words}"]


def test_yield_returns_when_the_camera_is_free(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    served.board.show(replace(served.board.seen, activity=ActivityNow(name=Activity.RUNNING)))
    _plays(served, RUN, code="yielded")
    assert _call("yield", "--remote", served.url, "--for", "90m") == Exit.DONE
    assert served.desk.taken[-1].for_s == 5400.0
    out, err = capsys.readouterr()
    assert "yield it is" in out
    assert err == ""  # that the run ended is what was ordered


@pytest.mark.parametrize("word", ["pause", "cancel", "abort"])
def test_an_order_that_ends_a_run_waits_unless_it_is_not_to(served: Served, word: str) -> None:
    served.board.show(replace(served.board.seen, activity=ActivityNow(name=Activity.RUNNING)))
    assert _call(word, "--remote", served.url, "--no-wait") == Exit.DONE
    _plays(served, RUN)
    assert _call(word, "--remote", served.url) == Exit.DONE
    assert [order.order for order in served.desk.taken] == [word, word]


def test_a_refusal_is_said_with_its_reason(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert _call("resume", "--remote", served.url) == Exit.SOME_FAILED
    assert "nothing is held" in capsys.readouterr().err
    assert _call("cancel", "--remote", served.url, "--run", "another") == Exit.SOME_FAILED
    assert "another does not run" in capsys.readouterr().err
    assert _call("retry", "--remote", served.url, "bias") == Exit.DONE


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("status", "--remote", "http://127.0.0.1:9"), Exit.DEVICE, "no daemon answers"),
        (("status", "--remote", "ftp://x"), Exit.CONFIG, "--remote"),
        (("status", "--remote", "http://user@x"), Exit.CONFIG, "--remote"),
        (("yield", "--remote", "x", "--for", "soon"), Exit.CONFIG, "--for"),
        (("run", "--remote", "x", "--fresh"), Exit.CONFIG, "--remote goes with"),
        (("run", "--item", "bias"), Exit.CONFIG, "give --remote"),
        (("status", "--remote", "x", "--token-file", "/no/such"), Exit.CONFIG, "--token-file"),
        (("status", "--remote", "http://x/\u00e4"), Exit.CONFIG, "--remote"),
    ],
)
def test_what_cannot_be_done_is_said_with_what_to_do(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, text: str
) -> None:
    assert _call(*words) == code
    assert text in capsys.readouterr().err


def test_a_line_that_breaks_is_opened_again_after_what_was_heard_last() -> None:
    event = Event(run_id=RUN, seq=7, at=AT, what=RunStarted()).to_json().encode()
    full = b'{"code": "too_many_clients", "detail": "too many event streams are open", "advice": ""}'
    first = b"retry: 3000\n\nid: " + RUN.encode() + b":7\ndata: " + event + b"\n\n"
    with _scripted((200, first), (503, full), (502, b"a proxy"), (200, b"retry: 3000\n\n: alive\n\n")) as (url, asked):
        stream = Daemon(url, clock=ManualClock()).events()
        heard = list(islice(stream, 3))
        stream.close()
    assert [None if each is None else each.seq for each in heard] == [7, None, None]
    assert asked == [None, f"{RUN}:7", f"{RUN}:7", f"{RUN}:7"]


def test_a_refusal_that_does_not_pass_ends_the_stream() -> None:
    wrong = b'{"code": "token_wrong", "detail": "this is not the token of the daemon", "advice": ""}'
    with _scripted((200, b"retry: 3000\n\n"), (401, wrong)) as (url, asked):
        stream = Daemon(url, clock=ManualClock()).events()
        with pytest.raises(OrderRefused, match="not the token"):
            next(iter(stream))
        stream.close()
    assert len(asked) == 2


@contextmanager
def _scripted(*answers: tuple[int, bytes]) -> Iterator[tuple[str, list[str | None]]]:
    """Serve one answer after the other; give the address, and the ids of the last events that requests name."""
    asked: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content = answers[len(asked)]
            asked.append(self.headers["Last-Event-ID"])
            self.send_response(status)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    with _serving(Handler) as url:
        yield url, asked


@pytest.mark.parametrize(
    ("status", "content", "text"),
    [
        (200, b"<html>a router</html>", "no daemon of nightcal"),
        (200, b"", "no daemon of nightcal"),
        (200, b"[1]", "no daemon of nightcal"),
        (301, b"", "leads to another one"),
        (502, b"bad gateway", "no daemon of nightcal"),
        (404, b'{"detail": "no such page"}', "no such page"),
    ],
)
def test_what_answers_and_is_no_daemon_is_called_so(
    capsys: pytest.CaptureFixture[str], status: int, content: bytes, text: str
) -> None:
    with _other(status, content) as url:
        assert _call("status", "--remote", url) != Exit.DONE
    assert text in capsys.readouterr().err


@contextmanager
def _other(status: int, content: bytes) -> Iterator[str]:
    """Serve something else than a daemon."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    with _serving(Handler) as url:
        yield url


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_token_is_shown_by_no_record_and_has_no_odd_letters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert TOKEN not in repr(Daemon("http://x", TOKEN))
    monkeypatch.setenv("NIGHTCAL_TOKEN", "schl\u00fcssel\u2713")
    assert _call("status", "--remote", "http://127.0.0.1:9") == Exit.CONFIG
    assert "NIGHTCAL_TOKEN" in capsys.readouterr().err


def test_the_token_comes_from_the_variable_the_file_or_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token").write_text(TOKEN, encoding="utf-8")
    with serve(tmp_path, token_file="token") as served:  # noqa: S106 - a name
        assert _call("status", "--remote", served.url) == Exit.DEVICE
        assert "token" in capsys.readouterr().err
        assert _call("status", "--remote", served.url, "--token-file", str(tmp_path / "token")) == Exit.DONE
        monkeypatch.setenv("NIGHTCAL_TOKEN", TOKEN)
        assert _call("status", "--remote", served.url) == Exit.DONE
        monkeypatch.setenv("NIGHTCAL_TOKEN", "another")
        assert _call("status", "--remote", served.url) == Exit.DEVICE
        monkeypatch.delenv("NIGHTCAL_TOKEN")
        _started(served)
        assert _call("status", "--config", str(served.config)) == Exit.DONE


def _started(served: Served) -> None:
    """Let the daemon's journal say where it answers."""
    journal = Layout(served.config.parent).events(SERVE)
    write_journal(journal, SERVE, (ServeStarted(url="http://127.0.0.1:1"), ServeStarted(url=served.url)), AT)


def test_without_an_address_the_daemon_of_the_folder_is_meant(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _call("status", "--config", str(served.config)) == Exit.DEVICE
    assert "no daemon serves the folder" in capsys.readouterr().err
    _started(served)
    assert daemon_of(None, None, served.config).url == served.url
    journal = Layout(served.config.parent).events(SERVE)
    write_journal(journal, SERVE, (ServeEnded(),), AT)
    assert served_at(journal) is None


@pytest.mark.parametrize(("text", "seconds"), [("8h", 28800.0), ("45S", 45.0), ("1.5h", 5400.0), ("2d", 172800.0)])
def test_a_span_is_a_number_with_its_unit(text: str, seconds: float) -> None:
    assert span_s(text) == seconds


@pytest.mark.parametrize("text", ["", "8", "h", "-1h", "0h", "31d", "8 h", "1e9h"])
def test_a_span_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Usage):
        span_s(text)


def test_the_plan_of_a_daemon_is_shown_as_that_of_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    plan = json_value(plan_now(load(fill(tmp_path / "other"))))
    with serve(tmp_path, plan=plan) as served:
        assert _call("plan", "--remote", served.url, "--json") == Exit.DONE
        assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(plan))
        assert _call("plan", "--remote", served.url) == Exit.DONE
        assert "dark" in capsys.readouterr().out
