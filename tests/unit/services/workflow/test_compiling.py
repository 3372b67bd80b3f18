"""Loops are compiled in a child process that a run can end at any moment, and never wait for."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.errors import RunStopped
from services.stopping import Stop
from services.workflow import compiling
from services.workflow.compiling import Loops, child_command
from services.workflow.warm_up import Need
from tests.support.places import ROOT

FOREVER = [sys.executable, "-c", "import threading; threading.Event().wait()"]
AT_ONCE = [sys.executable, "-c", "pass"]


class Watched(Loops):
    """Loops whose child can be looked at, and that load nothing."""

    started: threading.Event

    def __init__(self, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(compiling, "warm_up", lambda _need, _over: None)
        super().__init__(command)

    def close(self) -> None:
        """End the thread too: it must not call what the next test puts in its place."""
        super().close()
        if self._thread.ident:
            self._thread.join(10)

    @property
    def child(self) -> subprocess.Popen[bytes]:
        assert self._child is not None
        return self._child


def stopped(stop: Stop) -> None:
    if stop.edge.is_set():
        raise RunStopped("stopped")


def test_a_wait_ends_with_the_run_while_the_child_still_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, loops = Stop(), Watched(FOREVER, monkeypatch)
    announced = []

    def announce(wait_s: float, passed_s: float) -> None:
        announced.append((wait_s, passed_s))
        if len(announced) == 2:
            stop.after_frame("paused")

    monkeypatch.setitem(compiling.COMPILING_S, Need.MASTERS, 0.2)
    monkeypatch.setattr(compiling, "LOADING_S", 0.4)
    with pytest.raises(RunStopped):
        loops.wait(Need.MASTERS, lambda: stopped(stop), announce)
    begun_s = time.monotonic()
    loops.close()
    assert loops.child.wait(timeout=10) != 0
    assert time.monotonic() - begun_s < 5, "a child that never ends by itself was killed"
    assert announced == [(0.2, 0.4), (0.2, pytest.approx(0.6))], "a long wait says so again"


@pytest.mark.skipif(os.name == "nt", reason="process groups are asked for by a POSIX call")
def test_a_key_that_interrupts_the_run_does_not_reach_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be taken for a child that failed, and the run would compile by itself: nothing ends that."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    loops = Watched([sys.executable, "-c", NOTES_FRAMES], monkeypatch)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    loops.wait(Need.FRAMES, lambda: None)
    assert os.getpgid(loops.child.pid) != os.getpgid(0)
    loops.close()


def test_a_child_that_is_done_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    loops = Watched(AT_ONCE, monkeypatch)
    loops.start()
    loops.wait(Need.MASTERS, lambda: None)
    assert loops.child.wait(timeout=10) == 0
    loops.close()


NOTES_FRAMES = """\
import threading
from services.workflow import compiling
compiling._note(compiling.Need.FRAMES).touch()
threading.Event().wait()
"""


def test_frames_wait_for_their_own_loops_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    loops = Watched([sys.executable, "-c", NOTES_FRAMES], monkeypatch)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    loops.wait(Need.FRAMES, lambda: None)
    assert loops.child.poll() is None, "the child still compiles what masters need"
    loops.close()
    assert loops.child.wait(timeout=10) != 0


def test_a_child_that_fails_is_logged_and_the_run_compiles_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Need] = []
    loops = Watched([sys.executable, "-c", "raise SystemExit('no compiler here')"], monkeypatch)
    monkeypatch.setattr(compiling, "warm_up", lambda need, _over: compiled.append(need))
    with capture_logs() as logged:
        loops.wait(Need.MASTERS, lambda: None)
    (failed,) = [line for line in logged if line["event"] == "loops.child_failed"]
    assert "no compiler here" in failed["detail"]
    assert compiled == [Need.FRAMES, Need.MASTERS]
    loops.close()


@pytest.mark.parametrize("command", [["there is no such program"], []], ids=["no program", "none wanted"])
def test_without_a_child_the_run_compiles_its_own(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    loops = Watched(command, monkeypatch)
    loops.wait(Need.MASTERS, lambda: None)
    loops.close()


def test_a_run_that_ends_while_a_loop_is_loaded_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with nothing to take could end by a crash of LLVM, after it had said that all was well."""
    begun, loaded = threading.Event(), []

    def load(need: Need, over: threading.Event) -> None:
        begun.set()
        assert over.wait(10)
        threading.Event().wait(0.3)
        loaded.append(need)

    loops = Watched(AT_ONCE, monkeypatch)
    monkeypatch.setattr(compiling, "warm_up", load)
    loops.start()
    assert begun.wait(10)
    Loops.close(loops)
    assert loaded
    loops.close()


def test_a_run_that_ends_before_the_child_begins_starts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    loops = Watched(FOREVER, monkeypatch)
    loops.close()
    loops.wait(Need.MASTERS, lambda: None)
    with pytest.raises(AssertionError):
        _ = loops.child


def test_without_a_folder_to_keep_them_in_no_child_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert not compiling.is_compiled()
    loops = Watched(FOREVER, monkeypatch)
    loops.wait(Need.MASTERS, lambda: None)
    loops.close()


def test_what_was_compiled_is_noted_until_something_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiling, "warm_up", lambda _need, **_more: None)
    assert not compiling.is_compiled()
    compiling.compile_all()
    assert compiling.is_compiled()
    monkeypatch.setattr(compiling, "version_of", lambda _name: "another")
    assert not compiling.is_compiled()


def test_the_child_finds_the_modules_of_this_process(tmp_path: Path) -> None:
    program = child_command()[-1].replace("; compile_all()", "")
    assert "compile_all()" not in program
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=60)
