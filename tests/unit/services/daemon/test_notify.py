"""Whoever asked for it is called when something has happened; an address that fails keeps nobody waiting."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from drivers.clock import ManualClock
from services.config.serve import Heartbeat as HeartbeatSection
from services.daemon.notify import Call, Heartbeat, Notifier, call_of, notice_of, send
from services.events.devices import SafetySafe, SafetyUnsafe
from services.events.records import Event, Record, RunStarted, WarningRaised
from services.events.serving import ActivityChanged, DevicesSecured, ItemFailed, ItemRecovered, ItemStale, WorkerDied

AT = datetime(2026, 3, 1, 20, tzinfo=UTC)
DIED = WorkerDied(run="r1", detail="killed by signal 9")


@dataclass(frozen=True)
class Hook:
    url_env: str = "NIGHTCAL_TEST_HOOK"
    template: str = "json"
    on: tuple[str, ...] = ("failed", "worker_died")


def _event(what: Record) -> Event:
    return Event(run_id="serve", seq=1, at=AT, what=what)


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        (ItemFailed(item="dark_60s", code="not_dark"), "failed"),
        (ItemRecovered(item="dark_60s"), "recovered"),
        (ItemStale(item="dark_60s", detail="61 days"), "stale"),
        (SafetyUnsafe(), "unsafe"),
        (SafetySafe(), "recovered"),
        (ItemFailed(item="dark_60s", code="worker_died"), None),  # the death is announced
        (ActivityChanged(activity="idle", reason="unsafe", detail="it rains"), None),
        (ActivityChanged(activity="idle", reason="nothing_due"), None),
        (DIED, "worker_died"),
        (DevicesSecured(left=("the lamp may be on",)), "failed"),
        (WarningRaised(code="left_unsafe", detail="flat panel: how it stands is not known"), "failed"),
        (WarningRaised(code="clock_jump"), None),
        (RunStarted(steps=("darks",)), None),
    ],
)
def test_what_is_announced_and_as_what(what: Record, kind: str | None) -> None:
    notice = notice_of(_event(what))
    assert (None if notice is None else notice.kind) == kind


def test_ntfy_is_sent_words_and_others_json() -> None:
    notice = notice_of(_event(DIED))
    assert notice is not None
    words = call_of(notice, "http://x/", "ntfy")
    assert dict(words.headers)["Priority"] == "high"
    assert b"r1" in words.body
    said = json.loads(call_of(notice, "http://x/", "json").body)
    assert said["kind"] == "worker_died"
    assert said["at"] == AT.isoformat()


class _Calls:
    """Takes calls, fails the first so many, and says when one was answered well."""

    def __init__(self, failing: int = 0) -> None:
        self.calls: list[Call] = []
        self.failing = failing
        self.answered = threading.Event()
        self.counted = threading.Semaphore(0)

    def __call__(self, call: Call) -> str:
        self.calls.append(call)
        if len(self.calls) <= self.failing:
            return "it answered 503"
        self.answered.set()
        self.counted.release()
        return ""


def test_only_what_was_asked_for_is_announced_and_a_failed_call_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTCAL_TEST_HOOK", "http://secret/")
    calls = _Calls(failing=2)
    notifier = Notifier([Hook()], send=calls, retries_s=(0.0, 0.0, 0.0))
    notifier.hear(_event(ItemRecovered(item="bias")))
    notifier.hear(_event(DIED))
    assert calls.answered.wait(5)
    notifier.close()
    assert [json.loads(call.body)["kind"] for call in calls.calls] == ["worker_died"] * 3


def test_safety_is_announced_when_it_changes_and_not_by_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTCAL_TEST_HOOK", "http://secret/")
    calls = _Calls()
    notifier = Notifier([Hook(on=("unsafe", "recovered", "worker_died"))], send=calls)
    for what in (SafetySafe(), SafetyUnsafe(), SafetyUnsafe(), SafetySafe(), SafetySafe(), DIED):
        notifier.hear(_event(what))
    assert all(calls.counted.acquire(timeout=5) for _ in range(3))
    notifier.close()
    kinds = [json.loads(call.body)["title"] for call in calls.calls]
    assert kinds == ["nightcal: unsafe", "nightcal: safe again", "nightcal: a run died"]


def test_an_address_that_is_not_in_the_environment_is_named_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NIGHTCAL_TEST_HOOK", raising=False)
    monkeypatch.setenv("NIGHTCAL_OTHER_HOOK", "http://secret/")
    calls = _Calls()
    notifier = Notifier([Hook(), Hook(url_env="NIGHTCAL_OTHER_HOOK")], send=calls)
    notifier.hear(_event(DIED))
    assert calls.answered.wait(5)
    notifier.close()
    assert len(calls.calls) == 1


def test_an_address_that_hangs_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTCAL_TEST_HOOK", "http://hangs/")
    monkeypatch.setenv("NIGHTCAL_OTHER_HOOK", "http://answers/")
    hangs, answered = threading.Event(), threading.Event()

    def call(made: Call) -> str:
        (hangs.wait if "hangs" in made.url else answered.set)()
        return ""

    notifier = Notifier([Hook(), Hook(url_env="NIGHTCAL_OTHER_HOOK")], send=call)
    notifier.hear(_event(DIED))
    assert answered.wait(5)
    hangs.set()
    notifier.close()


def test_a_changed_list_of_webhooks_is_called_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTCAL_TEST_HOOK", "http://one/")
    monkeypatch.setenv("NIGHTCAL_OTHER_HOOK", "http://other/")
    calls = _Calls()
    notifier = Notifier([Hook()], send=calls)
    for hooks in ([Hook(), Hook(url_env="NIGHTCAL_OTHER_HOOK")], [Hook(url_env="NIGHTCAL_OTHER_HOOK")], []):
        notifier.use(hooks)
        notifier.hear(_event(DIED))
        assert all(calls.counted.acquire(timeout=5) for _ in hooks)
    notifier.close()
    assert sorted(call.url for call in calls.calls) == ["http://one/", "http://other/", "http://other/"]


@pytest.fixture
def address() -> Iterator[tuple[str, list[bytes]]]:
    """A server on loopback that takes what is sent."""
    taken: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200 if self.path == "/well" else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_call_goes_over_the_wire(address: tuple[str, list[bytes]]) -> None:
    url, taken = address
    assert send(Call(url=f"{url}/well", body=b"it rains")) == ""
    assert send(Call(url=f"{url}/ill", body=b"it rains")) == "it answered 500"
    assert taken == [b"it rains"] * 2


def test_an_address_that_does_not_answer_is_not_shown() -> None:
    problem = send(Call(url="http://127.0.0.1:1/secret-topic", body=b"x"))
    assert problem
    assert "secret" not in problem


def test_the_heartbeat_calls_while_the_loop_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTCAL_TEST_BEAT", "http://secret/")
    calls, clock = _Calls(failing=1), ManualClock()
    heartbeat = Heartbeat(HeartbeatSection(url_env="NIGHTCAL_TEST_BEAT", every=86_400), clock, send=calls)
    heartbeat.beat()
    assert calls.calls == []  # nothing has been decided yet
    heartbeat.alive()
    heartbeat.beat()
    clock.sleep(200.0)
    heartbeat.beat()
    assert calls.calls == [Call(url="http://secret/")] * 2
    clock.sleep(200.0)
    heartbeat.beat()
    monkeypatch.delenv("NIGHTCAL_TEST_BEAT")
    heartbeat.alive()
    heartbeat.beat()
    assert len(calls.calls) == 2  # the loop hung; then the address was not there
    heartbeat.close()


def test_devices_that_may_not_be_safe_are_announced_once_and_once_when_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NIGHTCAL_TEST_HOOK", "http://secret/")
    calls = _Calls()
    notifier = Notifier([Hook(on=("failed", "recovered"))], send=calls)
    left = WarningRaised(code="left_unsafe", detail="flat panel: how it stands is not known")
    for what in (DevicesSecured(done=("lamp off",)), left, DevicesSecured(left=("flat panel: lamp on",)), left):
        notifier.hear(_event(what))
    for _ in range(2):
        notifier.hear(_event(DevicesSecured(done=("lamp off",))))
    assert all(calls.counted.acquire(timeout=5) for _ in range(2))
    notifier.close()
    titles = [json.loads(call.body)["title"] for call in calls.calls]
    assert titles == ["nightcal: devices may not be safe", "nightcal: devices are safe again"]


def test_without_a_heartbeat_nobody_is_called() -> None:
    calls = _Calls()
    heartbeat = Heartbeat(None, ManualClock(), send=calls)
    heartbeat.alive()
    heartbeat.beat()
    heartbeat.close()
    assert calls.calls == []


def test_the_heartbeat_beats_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTCAL_TEST_BEAT", "http://secret/")
    calls = _Calls()
    often = HeartbeatSection.model_construct(url_env="NIGHTCAL_TEST_BEAT", every=0.01)
    heartbeat = Heartbeat(often, ManualClock(), send=calls)
    heartbeat.alive()
    assert calls.answered.wait(5)
    heartbeat.close()


def test_a_heartbeat_that_is_added_moved_or_taken_away_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTCAL_TEST_BEAT", "http://one/")
    monkeypatch.setenv("NIGHTCAL_OTHER_BEAT", "http://other/")
    calls = _Calls()
    heartbeat = Heartbeat(None, ManualClock(), send=calls)
    heartbeat.alive()
    for name in ("NIGHTCAL_TEST_BEAT", "NIGHTCAL_OTHER_BEAT"):
        heartbeat.use(HeartbeatSection.model_construct(url_env=name, every=0.01))
        before = len(calls.calls)
        assert all(calls.counted.acquire(timeout=5) for _ in range(before + 3))
    assert {call.url for call in calls.calls} == {"http://one/", "http://other/"}
    heartbeat.use(None)
    heartbeat.close()
    calls.calls.clear()
    heartbeat.beat()
    assert calls.calls == []


def test_an_address_that_is_not_answered_is_a_problem_until_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTCAL_TEST_HOOK", "http://secret/")
    monkeypatch.setenv("NIGHTCAL_TEST_BEAT", "http://secret/")
    results = iter(["nothing answers there", "", "it answered 503", ""])
    again, answers = threading.Event(), threading.Event()

    def call(_: Call) -> str:
        if not (result := next(results)):
            again.set()
            answers.wait(5)
        return result

    notifier = Notifier([Hook()], send=call, retries_s=(0.0, 0.0))
    notifier.hear(_event(DIED))
    assert again.wait(5)
    assert notifier.problem == "the webhook NIGHTCAL_TEST_HOOK cannot be called: nothing answers there"
    answers.set()
    notifier.close()
    assert notifier.problem == ""
    heartbeat = Heartbeat(HeartbeatSection(url_env="NIGHTCAL_TEST_BEAT"), ManualClock(), send=call)
    heartbeat.alive()
    heartbeat.beat()
    assert heartbeat.problem == "the heartbeat cannot be called: it answered 503"
    heartbeat.beat()
    assert heartbeat.problem == ""
    heartbeat.close()
