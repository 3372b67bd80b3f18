"""The slow reference of windows: every minute of two years, asked one by one whether a cron expression fires in it.

The rules are those of Debian's cron: jobs of set hours and minutes that fall into skipped time are run at its end, and
are not run again in repeated time; jobs whose minutes or hours begin with a star follow the clock on the wall.
"""

from datetime import UTC, datetime, timedelta, tzinfo

import numpy as np
import numpy.typing as npt

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTES = 730 * 1440
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


class Minutes:
    """Two years of one time zone."""

    def __init__(self, zone: tzinfo) -> None:
        half_hours = [START + timedelta(minutes=m) for m in range(0, MINUTES, 30)]
        offsets = [int((at.astimezone(zone).utcoffset() or timedelta()).total_seconds() // 60) for at in half_hours]
        self._first = int(START.timestamp() // 60)
        self.local = self._first + np.arange(MINUTES) + np.repeat(offsets, 30)
        self._fields = _fields(self.local)
        steps = np.diff(self.local)
        self._is_repeated = self.local <= np.maximum.accumulate(np.concatenate([[0], self.local[:-1]]))
        self._skipped = [
            (int(i) + 1, np.arange(self.local[i] + 1, self.local[i + 1])) for i in np.flatnonzero(steps > 1)
        ]

    def fires(self, cron: str) -> npt.NDArray[np.int64]:
        """Return the minutes in which an expression fires."""
        found = _matches(cron, self._fields)
        minute, hour, *_ = cron.split()
        if not minute.startswith("*") and not hour.startswith("*"):
            found &= ~self._is_repeated
            for after, skipped in self._skipped:
                found[after] |= bool(_matches(cron, _fields(skipped)).any())
        return np.flatnonzero(found)

    def is_open(self, cron: str, hours: float) -> npt.NDArray[np.bool_]:
        """Return for each minute whether a window of so many hours is open at its beginning."""
        fired, lasts = self.fires(cron), round(hours * 60)
        last = np.searchsorted(fired, np.arange(MINUTES), side="right") - 1
        return (last >= 0) & (np.arange(MINUTES) - fired[np.maximum(last, 0)] < lasts if fired.size else False)


def minute_of(at: datetime) -> int:
    """Return which minute of the two years a moment is in."""
    return int((at - START).total_seconds() // 60)


def _fields(local: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    days = local.astype("datetime64[m]").astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    return [
        local % 60,
        local // 60 % 24,
        (days - months.astype("datetime64[D]")).astype(int) + 1,
        months.astype(int) % 12 + 1,
        (days.astype(int) + 4) % 7,  # 1 January 1970 was a Thursday
    ]


def _matches(cron: str, fields: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.bool_]:
    texts = cron.split()
    each = [np.isin(field, _set(text, *_RANGES[i])) for i, (text, field) in enumerate(zip(texts, fields, strict=True))]
    minute, hour, day, month, weekday = each
    either = texts[2].startswith("*") or texts[4].startswith("*")
    found: npt.NDArray[np.bool_] = minute & hour & month & (day & weekday if either else day | weekday)
    return found


def _set(text: str, low: int, high: int) -> list[int]:
    found: list[int] = []
    for term in text.split(","):
        span, _, step = term.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        found += range(int(first), int(last or first) + 1, int(step or 1))
    return [0 if high == 7 and value == 7 else value for value in found]
