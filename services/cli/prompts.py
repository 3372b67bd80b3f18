"""Questions to whoever stands at the telescope; asked only on a terminal, and never with `--no-confirm`."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

_YES = frozenset({"", "y", "yes"})
_NO = frozenset({"n", "no", "q", "quit"})


def asker(
    *, no_confirm: bool, wake: threading.Event, quiet: Callable[[], AbstractContextManager[None]]
) -> Callable[[str], bool] | None:
    """Return what asks whether to go on, or None when nobody is there to answer.

    Parameters
    ----------
    no_confirm : bool
    wake : threading.Event
        Set when the run shall end: nothing is asked any more.
    quiet : callable
        Keeps the display still while a question stands on the terminal.
    """
    if no_confirm or not is_terminal(sys.stdin) or not is_terminal(sys.stdout):
        return None

    def ask(text: str) -> bool:
        with quiet(), _interruptible():
            return not wake.is_set() and confirmed(text)

    return ask


def confirmed(text: str) -> bool:
    """Show what to do with the telescope and wait: Enter or `y` goes on; `q`, the end of input or Ctrl-C stops."""
    while True:
        try:
            answer = input(f"\n{text}\n[Enter] go on, [q] stop: ").strip().lower()
        except (EOFError, KeyboardInterrupt):
            print()
            return False
        if answer in _YES | _NO:
            return answer in _YES


def is_terminal(stream: object) -> bool:
    """Whether a person may be at the other end of a stream; it may be None under a service."""
    answers = getattr(stream, "isatty", None)
    return bool(answers is not None and answers())


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end the question: the handler of a run only takes note, and `input` would go on waiting."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
