"""Windows whose run was ended by order: each is over until it closes, and no other one is.

A window is known by its name, and this opening of it by when it closes; both survive a restart. Pure.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from services.daemon.windows import OpenWindow

LONGEST = timedelta(days=1)
"""A window that closes later than that, or never, is over for `REST` only."""
REST = timedelta(hours=12)

Over = Mapping[str, datetime]
"""Names of windows that are over, each with the moment until which it is."""


def ended(over: Over, now: datetime, *, names: Collection[str], closing: Mapping[str, datetime]) -> dict[str, datetime]:
    """Return which windows are over once a run was ended.

    Parameters
    ----------
    over : mapping
        Those that were over before.
    now : datetime
    names : collection of str
        The windows that the run was begun in; none for one that was ordered: then it is all that are open.
    closing : mapping
        When each window closes that is open now.
    """
    new = {name: at for name, at in closing.items() if not names or name in names}
    return still(over, now) | {name: at if at - now <= LONGEST else now + REST for name, at in new.items()}


def still(over: Over, now: datetime) -> dict[str, datetime]:
    """Return which windows are over now."""
    return {name: until for name, until in over.items() if until > now}


def not_over(windows: Iterable[OpenWindow], over: Over, now: datetime) -> tuple[OpenWindow, ...]:
    """Return the windows in which runs may be begun; what was noted by a clock that was wrong holds nobody up."""
    return tuple(each for each in windows if not now < over.get(each.name, now) <= now + LONGEST)
