"""Small pictures of frames and masters while a run makes them, for whoever looks from afar.

A listener of the run's events. The file was written a moment ago and is still in memory; a thread of low priority reads
some of its rows. It makes at most one picture of a frame every few
seconds: short frames between them, which nobody can follow, are left to whoever asks for one.
"""

import queue
import threading
from contextlib import suppress

import structlog

from drivers.clock import Clock, SystemClock
from services import platform
from services.events.records import Event, FrameStored, MasterBuilt
from services.files.layout import Layout
from services.files.previews import previews_of

log = structlog.get_logger(__name__)

EVERY_S = 5.0
"""Real seconds at least between two pictures of frames: one of 61 megapixels takes about 0.1 s of one core."""
_ENDS_WITHIN_S = 2.0


class Previews:
    """Makes pictures on a thread of its own; whatever fails costs a picture.

    Parameters
    ----------
    layout : Layout
    clock : Clock
        Of the world.
    """

    def __init__(self, layout: Layout, clock: Clock | None = None) -> None:
        self._layout = layout
        self._clock = clock or SystemClock()
        self._kept = previews_of(layout)
        self._wanted: queue.Queue[str | None] = queue.Queue(maxsize=8)
        self._next_s = 0.0
        self._thread = threading.Thread(target=self._work, name="nightcal-previews", daemon=True)
        self._thread.start()

    def hear(self, event: Event) -> None:
        """Take note of a frame or a master; never waits."""
        match event.what:
            case FrameStored(path=str(path)) if self._clock.monotonic() >= self._next_s:
                self._next_s = self._clock.monotonic() + EVERY_S
            case MasterBuilt(path=str(path)):
                pass
            case _:
                return
        with suppress(queue.Full):  # it is busy: the next one comes soon
            self._wanted.put_nowait(path)

    def close(self) -> None:
        """End after the picture that is being made."""
        with suppress(queue.Full):
            self._wanted.put_nowait(None)
        self._thread.join(_ENDS_WITHIN_S)

    def _work(self) -> None:
        platform.lower_priority()
        while (path := self._wanted.get()) is not None:
            try:
                self._make(path)
            except Exception:
                log.exception("preview.failed", path=path)

    def _make(self, path: str) -> None:
        from services.reports.tiles import preview  # 0.1 s to import

        data = preview(self._layout.absolute(path))
        if data is not None:
            self._kept.keep(path, data)
