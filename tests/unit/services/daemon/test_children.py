"""Children of the daemon that behave badly: they cost it a thread's time, and nothing else."""

import queue
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.daemon.children import ChildProcess, Gone, how
from services.daemon.limits import Limits
from services.daemon.messages import WorkRequest
from services.daemon.observatory_child import ObservatoryChild
from services.daemon.orders import Order, OrderName, RefusalCode, Refused
from services.daemon.parts import Ended, Secured
from services.daemon.supervisor import Supervisor
from services.daemon.worker_child import Listeners
from services.events.records import Event, RunFinished

RESULT = '{"result": {"run_id": "r", "exit_code": 0, "code": null, "detail": "done"}}'
REQUEST = WorkRequest(config_path=Path("none.yaml"))
SOON_S = 60.0


class Bad:
    """A supervisor whose children run a program of the test; each later child the next program."""

    def __init__(self, folder: Path, *programs: str, **limits: Any) -> None:
        self.ends: queue.Queue[Ended] = queue.Queue()
        self.safe: queue.Queue[Secured] = queue.Queue()
        self.programs = list(programs)
        self.begun: list[subprocess.Popen[bytes]] = []
        listeners = Listeners(event=lambda _: None, ended=self.ends.put, secured=self.safe.put)
        self.supervisor = Supervisor(listeners, logs=folder, limits=lambda: Limits(**limits), start=self.start)

    def start(self, _command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        program = self.programs.pop(0) if len(self.programs) > 1 else self.programs[0]
        self.begun.append(subprocess.Popen([sys.executable, "-S", "-c", program], **options))
        return self.begun[-1]

    def end(self) -> Ended:
        self.supervisor.begin(REQUEST)
        return self.ends.get(timeout=SOON_S)

    def secured(self) -> Secured:
        self.supervisor.secure(REQUEST, "r1")
        return self.safe.get(timeout=SOON_S)


@pytest.mark.parametrize(
    "noise",
    [
        "sys.stdout.write('x' * 20_000_000 + chr(10))",
        "[print('no message', i) for i in range(20_000)]",
        "sys.stdout.buffer.write(bytes(range(256)) * 100 + b'\\n')",
        "print('{' * 5000)",
    ],
)
def test_a_worker_that_floods_its_pipe_is_heard_all_the_same(tmp_path: Path, noise: str) -> None:
    ended = Bad(tmp_path, f"import sys\n{noise}\nsys.stdout.flush()\nprint('''{RESULT}''')").end()
    assert (ended.run_id, ended.exit_code, ended.detail, ended.died) == ("r", 0, "done", False)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (f"import sys; sys.stdout.write('''{RESULT}'''[:40])", "exit code 0, and did not say why"),
        ("import sys; print('out of luck', file=sys.stderr); sys.exit(7)", "exit code 7.*it printed last: out of luck"),
        ("raise MemoryError('61 megapixels')", "MemoryError: 61 megapixels"),
    ],
)
def test_a_worker_that_does_not_say_how_its_run_ended_has_died(tmp_path: Path, program: str, said: str) -> None:
    ended = Bad(tmp_path, program).end()
    assert (ended.died, ended.code, ended.exit_code, ended.run_id) == (True, "worker_died", 1, None)
    assert re.search(said, ended.detail), ended.detail


def test_a_worker_that_has_said_its_result_has_not_died_however_it_ends(tmp_path: Path) -> None:
    ended = Bad(tmp_path, f"import os\nprint('''{RESULT}''', flush=True)\nos.abort()").end()
    assert (ended.died, ended.detail) == (False, "done")


def test_a_worker_that_dies_when_its_run_is_over_has_not_cost_the_run(tmp_path: Path) -> None:
    over = Event(run_id="r9", seq=4, at=datetime(2026, 3, 1, tzinfo=UTC), what=RunFinished(exit_code=4, code="unsafe"))
    ended = Bad(tmp_path, f"import os\nprint({over.to_json()!r}, flush=True)\nos.abort()").end()
    assert (ended.died, ended.run_id, ended.code, ended.exit_code) == (False, "r9", "unsafe", 4)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_a_worker_that_never_ends_is_killed_with_what_it_started(tmp_path: Path) -> None:
    start_another = "import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', 'input()'], stdin=-1)\n"
    bad = Bad(tmp_path, f"{start_another}time.sleep(1000)", abort_s=60.0, hurry_s=0.3)
    worker = bad.supervisor.begin(REQUEST)
    for _ in range(3):
        worker.order(OrderName.ABORT)
    ended = bad.ends.get(timeout=SOON_S)
    assert ended.died
    assert ended.detail.startswith("it did not end within")


ALIVE = """import itertools, json, time
for n in itertools.count():
    print(json.dumps({"alive": {"moved": MOVED}}), flush=True)
    time.sleep(0.02)"""


@pytest.mark.parametrize(
    ("program", "limits", "said"),
    [
        ("import time; time.sleep(1000)", {"silent_s": 0.5}, "no sign of life"),
        (ALIVE.replace("MOVED", "7"), {"still_s": 0.5}, "did not move"),
        (ALIVE.replace("MOVED", "n"), {"eventless_s": 0.5}, "said nothing"),
    ],
)
def test_a_worker_that_hangs_without_any_order_is_killed(
    tmp_path: Path, program: str, limits: dict[str, float], said: str
) -> None:
    ended = Bad(tmp_path, program, look_s=0.05, **limits).end()
    assert (ended.died, ended.code) == (True, "worker_died")
    assert said in ended.detail


def test_a_short_child_that_does_not_answer_is_ended_and_the_order_answered(tmp_path: Path) -> None:
    bad = Bad(tmp_path, HANGS, short_s=0.3)
    answer = bad.supervisor.of_masters(Order(order=OrderName.CERTIFY, names=("m",)), REQUEST, None)
    with pytest.raises(Refused, match="not answered within 0 s, and was killed") as refused:
        answer.result(SOON_S)
    assert (refused.value.code, refused.value.status) == (RefusalCode.NOT_ANSWERED, 504)
    assert bad.begun[0].wait(SOON_S) != 0


def test_a_worker_that_hears_nothing_keeps_nobody_waiting(tmp_path: Path) -> None:
    bad = Bad(tmp_path, "import time; time.sleep(1000)", answer_s=0.3)
    worker = bad.supervisor.begin(REQUEST)
    order = Order(order=OrderName.CERTIFY, names=tuple("x" * 300 for _ in range(200)))
    answers = [worker.of_masters(order) for _ in range(3)]
    for answer in answers:
        with pytest.raises(Refused) as refused:
            answer.result(SOON_S)
        assert refused.value.code is RefusalCode.NOT_ANSWERED
    worker.kill()
    assert bad.ends.get(timeout=SOON_S).died
    with pytest.raises(Refused, match="ended meanwhile"):
        worker.of_masters(order).result(SOON_S)


def test_an_order_is_refused_when_the_worker_ends_before_it_answers(tmp_path: Path) -> None:
    bad = Bad(tmp_path, f"input()\ninput()\nprint('''{RESULT}''')")
    answer = bad.supervisor.begin(REQUEST).of_masters(Order(order=OrderName.CERTIFY, names=("m",)))
    with pytest.raises(Refused, match="ended before it answered"):
        answer.result(SOON_S)


ANSWERED = """print('{"answer": {"id": 1, "ok": true, "detail": "done by another"}}', flush=True)"""


def test_an_order_that_a_worker_left_when_it_ended_is_carried_out_by_a_short_one(tmp_path: Path) -> None:
    bad = Bad(tmp_path, f"input()\ninput()\nprint('''{RESULT}''')", f"input()\ninput()\n{ANSWERED}")
    worker = bad.supervisor.begin(REQUEST)
    answer = bad.supervisor.of_masters(Order(order=OrderName.CERTIFY, names=("m",)), REQUEST, worker)
    assert answer.result(SOON_S).detail == "done by another"


SAFE = """print('{"done": "lamp off"}', flush=True)
print('{"secured": {"done": ["lamp off", "cover closed"], "left": [], "refused": ""}}')"""
HALF = 'import sys\nprint(\'{"done": "exposure aborted"}\', flush=True)\nsys.exit(9)'
HANGS = "import time; time.sleep(1000)"


@pytest.mark.parametrize("first", [HALF, HANGS, "print('{\"secured\": 3}')", "print('[]')"])
def test_a_secure_process_that_fails_is_tried_again(tmp_path: Path, first: str) -> None:
    secured = Bad(tmp_path, first, SAFE, secure_silent_s=1.5, secure_s=10.0, secure_pauses_s=(0.0, 0.05)).secured()
    assert secured.run_id == "r1"
    assert secured.left == ()
    assert set(secured.done) >= {"lamp off", "cover closed"}
    assert ("exposure aborted" in secured.done) is (first is HALF)


def test_what_could_not_be_made_safe_is_told_in_words(tmp_path: Path) -> None:
    bad = Bad(tmp_path, HALF, secure_pauses_s=(0.0, 0.05))
    secured = bad.secured()
    assert len(bad.begun) == 2
    assert secured.done == ("exposure aborted",)
    assert secured.left[0].startswith("the devices could not be made safe (the secure process ended with 9")


def test_a_refusal_and_what_is_left_are_told(tmp_path: Path) -> None:
    said = """print('{"secured": {"done": [], "left": ["lamp: on"], "refused": "a run is at work"}}')"""
    secured = Bad(tmp_path, said).secured()
    assert (secured.left, secured.refused) == (("lamp: on",), "a run is at work")


def test_an_observatory_that_does_not_start_says_why(tmp_path: Path) -> None:
    bad = Bad(tmp_path, 'print(\'{"code": "config_invalid", "detail": "sky.yaml: no such preset"}\')')
    with pytest.raises(OSError, match="no such preset"):
        ObservatoryChild(REQUEST, logs=tmp_path, start=bad.start)
    with pytest.raises(OSError, match="said nothing"):
        ObservatoryChild(REQUEST, logs=tmp_path, start=Bad(tmp_path, "pass").start)


def test_a_child_without_a_log_is_a_child(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    gone: queue.Queue[Gone] = queue.Queue()
    start = Bad(tmp_path, "import sys; sys.exit(3)").start
    ChildProcess("x", log_path=tmp_path / "file" / "x.log", hear=lambda _: None, gone=gone.put, start=start)
    assert gone.get(timeout=SOON_S) == Gone(exit_code=3)


def test_where_no_process_can_be_started_the_worker_has_died(tmp_path: Path) -> None:
    def full(_command: list[str], **_: Any) -> Any:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    ends: queue.Queue[Ended] = queue.Queue()
    safe: queue.Queue[Secured] = queue.Queue()
    listeners = Listeners(event=lambda _: None, ended=ends.put, secured=safe.put)
    supervisor = Supervisor(listeners, logs=tmp_path, limits=lambda: Limits(secure_pauses_s=(0.0, 0.01)), start=full)
    worker = supervisor.begin(REQUEST)
    worker.order(OrderName.ABORT)
    ended = ends.get(timeout=SOON_S)
    assert (ended.died, ended.code) == (True, "worker_died")
    assert ended.detail == "the worker was not started: [Errno 11] Resource temporarily unavailable"
    supervisor.secure(REQUEST, None)
    assert "Resource temporarily unavailable" in safe.get(timeout=SOON_S).left[0]


def test_a_log_does_not_grow_for_ever(tmp_path: Path) -> None:
    (tmp_path / "worker.log").write_bytes(b"x" * 2_000_000)
    Bad(tmp_path, f"import sys; print('new', file=sys.stderr); print('''{RESULT}''')").end()
    assert (tmp_path / "worker.log").read_bytes().strip() == b"new"


def test_how_a_process_ended_is_said_in_words() -> None:
    assert "memory runs out" in how(Gone(exit_code=-9))
    assert how(Gone(exit_code=-11)) == "the worker was killed by signal 11"
