"""Saying what happened without ever waiting for a disk: for threads that have something more urgent to do."""

import queue
import threading
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)


class Teller:
    """A thread that emits events and writes to the log for another one, in the order in which it was told to.

    Journal and log are files: a disk that hangs keeps this thread waiting, and nobody else.
    """

    def __init__(self, name: str) -> None:
        self._queue: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def say(self, tell: Callable[[], object]) -> None:
        """Have something told; returns at once."""
        self._queue.put(tell)

    def close(self, timeout_s: float) -> None:
        """Let all be told, for so long at most (real seconds), and end."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while (tell := self._queue.get()) is not None:
            try:
                tell()
            except Exception:
                log.exception("telling.failed")
