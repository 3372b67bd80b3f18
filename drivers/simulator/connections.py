"""A connection to the simulated server whose patience ends: with clients that never finish, and with too many at once.

uvicorn waits for ever for the rest of a request. Such clients would hold a file handle each of the program that serves,
which is the run itself when the simulator is embedded.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S = 20.0
"""Real seconds in which a request that was begun must be whole: it is a few hundred bytes."""

MOST = 500
"""Connections at once. Of more, the one that was answered longest ago goes: an honest client opens another."""


class PatientConnection(H11Protocol):
    """One connection: uvicorn's, with an end to its patience."""

    answered_at = 0.0
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; the first request may be as long in coming as any other."""
        super().connection_made(transport)
        self.answered_at = self.loop.time()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        there = cast("set[PatientConnection]", self.connections)
        if len(there) > MOST:  # many may come before one that was cut is gone
            left = [each for each in there if not each.transport.is_closing()]
            if len(left) > MOST:
                min(left, key=lambda each: each.answered_at).transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request: from the first of them on it has so long to become whole."""
        super().data_received(data)
        if not self._is_waiting():
            self._hurry(None)
        elif self._late is None:
            self._hurry(REQUEST_S)

    def on_response_complete(self) -> None:
        """Note that the client was answered."""
        self.answered_at = self.loop.time()
        self._hurry(None)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._hurry(None)
        super().connection_lost(exc)

    def _is_waiting(self) -> bool:
        """Whether it is the client's turn."""
        cycle: Any = self.cycle
        return cycle is None or cycle.response_complete or cycle.more_body

    def _hurry(self, seconds: float | None) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)
