"""The sign of life of a worker: a line every few seconds, from a thread of its own, that also shows whether work moves.

While a frame is exposed, a sensor cooled or a master built, the threads that do it look again and again whether it is
done, and by that spend a little of the processor's time. A thread that waits for what never comes spends none.
"""

import threading
from collections.abc import Callable

from services.daemon.messages import Alive
from services.processes import worked_ns

EVERY_S = 5.0
NAME = "nightcal-life"
_NO_WORK = (
    NAME,
    "nightcal-speaker",
    "nightcal-hearing",
    "nightcal-safety",
    "nightcal-events",
    "nightcal-wire-log",
    "simulator-server",
)
"""Threads that have something to do while the work stands still, too: they listen, answer, or watch the weather."""


def sign_of_life() -> Alive:
    """Return a sign of life of this process."""
    working = (each.native_id for each in threading.enumerate() if not each.name.startswith(_NO_WORK))
    return Alive(moved=worked_ns(each for each in working if each is not None))


def show_life(say: Callable[[Alive], None], every_s: float = EVERY_S) -> Callable[[], None]:
    """Say a sign of life at once and every few seconds; return what ends that."""
    over = threading.Event()

    def work() -> None:
        say(sign_of_life())
        while not over.wait(every_s):
            say(sign_of_life())

    threading.Thread(target=work, name=NAME, daemon=True).start()
    return over.set
