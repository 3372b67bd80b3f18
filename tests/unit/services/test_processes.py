"""Other processes: what a child has started is killed with it, on either kind of system, and who is alive is known."""

import ntpath
import os
import subprocess
import sys

import pytest

from services import processes

ANOTHER = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
input()
"""


def test_what_a_child_has_started_is_killed_with_it() -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-S", "-c", ANOTHER], **pipes, **processes.own_group()) as child:  # type: ignore[call-overload]
        inner = int(child.stdout.readline())
        assert processes.is_alive(inner)
        processes.kill_group(child)
        assert child.stdout.read() == b""  # the other one has inherited the pipe: it has ended, too
        child.wait()
    processes.kill_group(child)  # harmless


def test_windows_kills_a_tree_by_a_command_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTEMROOT", "D:\\Windows")
    program, *options = processes.kill_tree_command(4711)
    assert ntpath.split(program) == ("D:\\Windows\\System32", "taskkill.exe")
    assert options == ["/F", "/T", "/PID", "4711"]
    monkeypatch.delenv("SYSTEMROOT")
    assert ntpath.isabs(processes.kill_tree_command(1)[0])


def test_who_is_alive_is_known() -> None:
    assert processes.is_alive(os.getpid())
    assert processes.is_alive(os.getppid())
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as done:
        pass
    assert not processes.is_alive(done.pid)
    for strange in (0, -1):
        assert not processes.is_alive(strange)
    assert processes.is_alive(2**70)  # no number of this system: nothing is known
