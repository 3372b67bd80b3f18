"""Threads beside that of the server: whatever may wait for a disk, a child or the loop of the daemon is done there."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from services.daemon.problems import Problem, ProblemCode

R = TypeVar("R")

_WAITING = 64
"""So many questions may wait for one kind of thread; whoever comes then is asked to come again."""
_ANSWER_S = 30.0


class _Lane:
    """Threads for one kind of work, with a bounded queue."""

    def __init__(self, name: str, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"api-{name}")
        self._waiting = 0

    async def do(self, work: Callable[[], R], *, within_s: float) -> R:
        """Return what the work returns; raises what it raises, or the `Problem` of too much of it."""
        if self._waiting >= _WAITING:
            detail = "too many questions are waiting for an answer"
            raise Problem(ProblemCode.TOO_MANY_CLIENTS, detail, headers={"retry-after": "5"})
        self._waiting += 1
        try:
            async with asyncio.timeout(within_s):
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except TimeoutError:
            detail = f"there was no answer within {within_s:g} s"
            raise Problem(ProblemCode.CANNOT_READ, detail, headers={"retry-after": "30"}) from None
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Begin nothing more, and wait for nothing."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Threads:
    """One thread that reads, one that reads for event streams, a few that give orders, and one that gets pictures."""

    def __init__(self) -> None:
        self._reading = _Lane("reading", 1)
        self._missed = _Lane("missed", 1)
        self._orders = _Lane("orders", 4)
        self._pictures = _Lane("pictures", 1)

    async def read(self, work: Callable[[], R]) -> R:
        """Do what reads files or the catalogue, one after the other."""
        return await self._reading.do(work, within_s=_ANSWER_S)

    async def missed(self, work: Callable[[], R]) -> R:
        """Do what reads, for an event stream, what was missed: when many come back at once, others need not wait."""
        return await self._missed.do(work, within_s=_ANSWER_S)

    async def order(self, work: Callable[[], R]) -> R:
        """Give an order; the desk has time limits of its own, which end before ours."""
        return await self._orders.do(work, within_s=10 * _ANSWER_S)

    async def picture(self, work: Callable[[], R]) -> R:
        """Get a picture."""
        return await self._pictures.do(work, within_s=_ANSWER_S)

    def close(self) -> None:
        """Begin nothing more; what is being done ends by itself."""
        for lane in (self._reading, self._missed, self._orders, self._pictures):
            lane.close()
