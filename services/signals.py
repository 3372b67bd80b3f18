"""Signals: how Ctrl-C and its kin stop a program, and what they do when it ends already.

A handler runs between any two steps of the main thread, which may just hold the lock of the event that the handler
wants to set: it would wait for itself, for ever. So handlers only note what was heard; a thread does the rest.
"""

import atexit
import os
import queue
import signal
import threading
from collections.abc import Callable, Mapping
from types import FrameType

from services.stopping import Stop


class _Apart:
    """A thread that does what signals ask for, in their order; `call` never waits, and may interrupt itself."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="nightcal-signals", daemon=True)
        self._thread.start()

    def call(self, act: Callable[[], object]) -> None:
        """Let something be done."""
        self._calls.put(act)

    def close(self) -> None:
        """Do what was heard so far, and end; waits for a moment at most."""
        self._calls.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(_MOMENT_S)

    def _work(self) -> None:
        while (act := self._calls.get()) is not None:
            try:
                act()
            except Exception:  # noqa: BLE001 - it is logged, and stops no other signal
                import structlog  # every command hears signals, and few of them log

                structlog.get_logger(__name__).exception("signal.failed")


_MOMENT_S = 5.0


def hear(meanings: Mapping[str, Callable[[], object]]) -> Callable[[], None]:
    """Let signals call what they mean, by their names, in a thread of its own; return a function that undoes it.

    Names that this system does not know are left out. Only the main thread can install handlers; elsewhere nothing is
    done.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    apart, before = _Apart(), {}
    for name, act in meanings.items():
        if (number := getattr(signal, name, None)) is not None:
            before[number] = signal.signal(number, lambda _number, _frame, act=act: apart.call(act))  # type: ignore[misc]

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)
        apart.close()

    return restore


def install_signal_handlers(wake: threading.Event) -> Callable[[], None]:
    """Let SIGINT, SIGTERM and SIGHUP (Windows: Ctrl-C, Ctrl-Break) set `wake`; return a function that undoes it.

    SIGHUP comes when the terminal goes; where it is ignored (`nohup`) it stays ignored. A `Stop` is asked with every
    signal, and none cuts short how a run leaves its devices: that ends by itself, whatever they do. With another event
    the former handlers are back after a second signal, so that a third one ends a program that hangs. Only the main
    thread can install handlers; elsewhere nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = {number: signal.getsignal(number) for number in _numbers()}
    apart = _Apart()

    def give_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def restore() -> None:
        give_back()
        apart.close()

    heard = 0

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal heard
        heard += 1
        if isinstance(wake, Stop):
            apart.call(wake.ask)
            return
        if heard > 1:
            give_back()
        apart.call(wake.set)

    for number in before:
        signal.signal(number, stop)
    return restore


def interrupt_on_signals() -> None:
    """Let every signal that stops a program raise `KeyboardInterrupt`, as Ctrl-C does: it ends in order, with its code.

    Nothing is done outside the main thread.
    """
    if threading.current_thread() is threading.main_thread():
        for number in _numbers():
            signal.signal(number, signal.default_int_handler)


def keep_exit_code(code: int) -> None:
    """Let no signal change any more with which code the program ends: all that is left of it is to end.

    A signal ends at once what hangs then (a thread that is waited for). Once nothing of ours is left that could hang,
    signals are ignored: the interpreter would turn one into an end by that signal. Nothing is done outside the main
    thread.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    numbers = _numbers()
    for number in numbers:
        signal.signal(number, lambda _number, _frame: os._exit(code))
    atexit.register(lambda: [signal.signal(number, signal.SIG_IGN) for number in numbers])


def _numbers() -> list[int]:
    """Return the signals that stop a program here and are not ignored."""
    names = ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return [n for n in numbers if n != getattr(signal, "SIGHUP", None) or signal.getsignal(n) != signal.SIG_IGN]
