"""Signals: how Ctrl-C and its kin stop a program, and what they do when it ends already."""

import atexit
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from services.stopping import Stop


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

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    heard = 0

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal heard
        heard += 1
        if isinstance(wake, Stop):
            wake.ask()
            return
        if heard > 1:
            restore()
        wake.set()

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
