"""Servers that serve one connection until it is closed, as small ones in scripts and on microcontrollers do.

Each device has a connection of its own, which is kept open between calls. Where such a server keeps a call waiting, our
other connections to it are closed while they are idle, and none is kept open there any more.
"""

import threading
import weakref
from collections import Counter
from typing import Protocol

CROWDED_S = 1.0
"""Real seconds without an answer after which our other connections to a server may be in its way."""
AT_ONCE_S = 0.1
"""An answer that comes so soon after they were closed was waiting for that, unless it came by chance just then."""
_NO_CHANCE = 2
"""So many such answers are none: a call may take as long by itself."""


class Connected(Protocol):
    """A connection to a server, at an address that is the same for all of its devices."""

    @property
    def address(self) -> str:
        """Host and port."""
        ...

    def hang_up(self) -> bool:
        """Close the connection if no call is on it; return whether there was one."""
        ...


_lock = threading.Lock()
_lines: "weakref.WeakSet[Connected]" = weakref.WeakSet()
_answered_at_once: Counter[str] = Counter()


def join(line: Connected) -> None:
    """Take in a connection that may be in the way of others."""
    with _lock:
        _lines.add(line)


def make_way(line: Connected) -> bool:
    """Close our other connections to the server of a line that are idle; return whether there were any."""
    with _lock:
        others = [each for each in _lines if each is not line and each.address == line.address]
    return sum(each.hang_up() for each in others) > 0


def note_answer_at_once(address: str) -> None:
    """Take in that a server answered as soon as it was given way."""
    with _lock:
        _answered_at_once[address] += 1


def is_one_at_a_time(address: str) -> bool:
    """Return whether connections to a server are closed after each call."""
    return _answered_at_once[address] >= _NO_CHANCE
