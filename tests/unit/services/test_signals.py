"""Signals that stop a program: the first wakes, the second hurries, and none changes how a program ends any more."""

import os
import queue
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from drivers.clock import SystemClock
from services.daemon.inbox import Inbox
from services.signals import hear, install_signal_handlers
from services.stopping import Stop
from tests.support.places import ROOT

posix_only = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX systems")


@posix_only
def test_the_first_signal_wakes_and_the_second_ends(capfd: pytest.CaptureFixture[str]) -> None:
    del capfd
    before = signal.getsignal(signal.SIGTERM)
    wake = threading.Event()
    restore = install_signal_handlers(wake)
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        assert wake.wait(100)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == before
    finally:
        restore()
    assert signal.getsignal(signal.SIGTERM) == before


@posix_only
def test_a_dropped_ssh_connection_ends_the_run_as_ctrl_c_does() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    wake = threading.Event()
    restore = install_signal_handlers(wake)
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        assert wake.wait(100)
    finally:
        restore()
        assert signal.signal(signal.SIGHUP, before) == signal.SIG_DFL


@posix_only
def test_a_run_under_nohup_goes_on_without_its_terminal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    wake = threading.Event()
    restore = install_signal_handlers(wake)
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not wake.is_set()
    finally:
        restore()
        assert signal.signal(signal.SIGHUP, before) == signal.SIG_IGN


@posix_only
def test_a_second_signal_hurries_and_a_first_one_after_bad_weather_does_not() -> None:
    answered: queue.SimpleQueue[int] = queue.SimpleQueue()
    stop = Stop(answered.put)
    restore = install_signal_handlers(stop)
    try:
        stop.halt(at_edge=False)  # the weather
        os.kill(os.getpid(), signal.SIGTERM)
        assert answered.get(timeout=100) == 1
        assert (stop.order is not None, stop.hurry.is_set()) == (True, False)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.hurry.wait(100)
    finally:
        restore()


@posix_only
def test_every_signal_is_answered_at_once_and_none_cuts_the_end_of_a_run_short() -> None:
    heard: list[int] = []
    stop = Stop(heard.append)
    restore = install_signal_handlers(stop)
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(os.getpid(), number)
        assert stop.hurry.wait(100)
    finally:
        restore()
    assert heard[:3] == [1, 2, 3]


@posix_only
@pytest.mark.timeout(60)
@pytest.mark.parametrize("stop", [threading.Event, Stop])
def test_a_signal_in_the_middle_of_a_wait_that_begins_waits_for_nothing(stop: type[threading.Event]) -> None:
    """The main thread holds the lock of the event it is about to wait for, when the signal comes that sets it."""
    wake = stop()
    restore = install_signal_handlers(wake)
    try:
        with wake._cond:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGTERM)
        assert wake.wait(50)
    finally:
        restore()


@posix_only
@pytest.mark.timeout(60)
def test_signals_are_heard_apart_in_their_order_and_one_that_fails_stops_no_other() -> None:
    before = signal.getsignal(signal.SIGTERM)
    inbox, clock, here = Inbox(), SystemClock(), threading.get_ident()
    threads: list[int] = []

    def note() -> None:
        threads.append(threading.get_ident())
        inbox.put(lambda: None)

    restore = hear({"SIGTERM": note, "SIGHUP": lambda: 1 / 0, "SIGNONE": note})
    try:
        with inbox._wake._cond:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
        assert len(inbox.take(clock, 50.0)) == 1
    finally:
        restore()
    assert here not in threads
    assert signal.getsignal(signal.SIGTERM) == before


def test_other_threads_install_no_handlers() -> None:
    before = signal.getsignal(signal.SIGINT)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(install_signal_handlers, threading.Event()).result()()
    assert signal.getsignal(signal.SIGINT) == before


def _stopped(program: "subprocess.Popen[str]", number: signal.Signals) -> int:
    """Send a signal until a program ends, and return its exit code.

    Python hears a signal that comes in the moment before a wait begins only after that wait, or with the next signal.
    """
    while True:
        program.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            return program.wait(2)


_PROGRAM = """
import atexit, sys, threading, typer
from services.cli.failures import run_app

app = typer.Typer()

def end():
    print("ending", flush=True)
    sys.stdin.read()

def end_with_a_thread():
    threading.main_thread().join()
    end()

@app.command()
def command():
    if {thread}:
        threading.Thread(target=end_with_a_thread).start()
    else:
        atexit.register(end)
    return 4

sys.exit(run_app(app, name="x"))
"""


@posix_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("thread", [False, True])
def test_a_signal_at_the_very_end_changes_no_exit_code(number: signal.Signals, thread: bool) -> None:
    """The second Ctrl-C of somebody in a hurry ended the program by that signal, with a traceback."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM.format(thread=thread)],
        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as ending:  # fmt: skip
        assert ending.stdin is not None
        assert ending.stdout is not None
        assert ending.stderr is not None
        assert ending.stdout.readline() == "ending\n"
        if thread:  # what waits in a thread is ended at once
            assert _stopped(ending, number) == 4
        else:  # after all threads signals are ignored
            ending.send_signal(number)
            ending.send_signal(number)
            ending.stdin.close()
            assert ending.wait(60) == 4
        assert ending.stderr.read() == ""


_WAITING = """
import signal, sys, threading, typer
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # where the tests are run by nohup, it is ignored
from services.cli.failures import run_app

app = typer.Typer()

@app.command()
def command():
    print("begun", flush=True)
    threading.Event().wait()

sys.exit(run_app(app, name="x"))
"""


@posix_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_command_that_is_stopped_ends_with_130(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _WAITING], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as waiting:
        assert waiting.stdout is not None
        assert waiting.stderr is not None
        assert waiting.stdout.readline() == "begun\n"
        assert _stopped(waiting, number) == 130
        assert "Traceback" not in waiting.stderr.read()
