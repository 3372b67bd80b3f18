"""Events as they come, to whoever keeps a request open (server-sent events, as browsers' EventSource hears them).

Each event is sent with the id `run_id:seq`. Who comes back with the last id that was heard (Last-Event-ID) first gets
from the journals what was missed. A comment every few seconds shows proxies and clients that the line is alive.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from services.daemon.ports import EventsPort, SubscriptionPort
from services.events.records import Event

HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}
COMMENT_EVERY_S = 15.0
_RETRY_MS = 3000
_MISSED = 5000
_LAST_ID = re.compile(r"(?P<run>[A-Za-z0-9_-]{1,80}):(?P<seq>[0-9]{1,15})")

Missed = Callable[[str, int], Awaitable[list[Event]]]


def last_heard(header: str) -> tuple[str, int] | None:
    """Return run and number of the header Last-Event-ID; None where it names none of our ids."""
    found = _LAST_ID.fullmatch(header.strip())
    return None if found is None else (found["run"], int(found["seq"]))


class Streams:
    """The open event streams of one server.

    Parameters
    ----------
    events : EventsPort
    missed : callable
        Reads, in another thread, what a listener has missed since an event.
    most : int
        Streams at once.
    comment_every_s : float
    """

    def __init__(
        self, events: EventsPort, missed: Missed, *, most: int, comment_every_s: float = COMMENT_EVERY_S
    ) -> None:
        self._events = events
        self._missed = missed
        self._most = most
        self._comment_every_s = comment_every_s
        self._open: set[asyncio.Event] = set()
        self._is_ending = False

    @property
    def is_full(self) -> bool:
        """Whether no further stream may be opened."""
        return len(self._open) >= self._most or self._is_ending

    def end(self) -> None:
        """End every stream; in the thread of the server."""
        self._is_ending = True
        for wake in self._open:
            wake.set()

    async def lines(self, last: tuple[str, int] | None) -> AsyncIterator[bytes]:
        """Yield what a new listener hears; `last` is what it heard last, of an earlier stream.

        Nothing where others have come since `is_full` was asked: it may ask again.
        """
        if self.is_full:
            return
        wake = asyncio.Event()
        self._open.add(wake)
        subscription = self._events.subscribe(_waker(wake))
        sent: dict[str, int] = {}
        try:
            yield f"retry: {_RETRY_MS}\n\n".encode()
            if last is not None:
                for event in await self._missed(*last):
                    sent[event.run_id] = max(sent.get(event.run_id, 0), event.seq)
                    yield _block(event.run_id, event.seq, event.to_json())
            async for piece in self._live(subscription, wake, sent):
                yield piece
        finally:
            self._open.discard(wake)
            subscription.close()

    async def _live(
        self, subscription: SubscriptionPort, wake: asyncio.Event, sent: dict[str, int]
    ) -> AsyncIterator[bytes]:
        while not (subscription.is_over or self._is_ending):
            lines = [line for line in subscription.take() if line.seq > sent.get(line.run_id, 0)]
            if lines:
                yield b"".join(_block(line.run_id, line.seq, line.text) for line in lines)
                continue
            try:
                async with asyncio.timeout(self._comment_every_s):
                    await wake.wait()
            except TimeoutError:
                yield b": alive\n\n"
            wake.clear()


def _waker(wake: asyncio.Event) -> Callable[[], None]:
    """Return what sets an event of this thread's loop from any thread; once until it was seen."""
    loop = asyncio.get_running_loop()

    def call() -> None:
        if not wake.is_set():
            with suppress(RuntimeError):  # the loop has ended, and with it whoever listened
                loop.call_soon_threadsafe(wake.set)

    return call


def _block(run_id: str, seq: int, text: str) -> bytes:
    return f"id: {run_id}:{seq}\ndata: {text}\n\n".encode("utf-8", "replace")
