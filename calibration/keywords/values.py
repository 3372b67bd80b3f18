"""Reading the value of a keyword: numbers written as text, times in many forms, angles, gaps.

Every reader takes any card value and returns None for what it does not understand: a bad card of a foreign file costs
that card, not the file.
"""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from calibration.frames import us

MJD_ZERO = datetime(1858, 11, 17, tzinfo=UTC)
"""Modified Julian Date 0."""

_GAPS = frozenset({"", "n/a", "nan", "none", "null", "unknown", "undefined"})
_NUMBER = re.compile(r"([+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[ed][+-]?\d+)?)\s*([a-zµ°%/']*)", re.IGNORECASE)
_FRACTION = re.compile(r"(\d{1,9})\s*/\s*(\d{1,9})\s*(?:s|sec)?")
_MINUTES = re.compile(r"(\d{1,9})\s*m(?:in)?\s*(\d{1,9}(?:\.\d+)?)\s*s?", re.IGNORECASE)
_PAIR = re.compile(r"(\d{1,9})\s*[x,* ]\s*(\d{1,9})", re.IGNORECASE)
_OLD_DATE = re.compile(r"(\d{2})/(\d{2})/(\d{2})")
_YEARS = range(1900, 2200)  # anything else is no date of a frame, and near year 1 or 9999 arithmetic fails
_LARGEST = 2**53  # up to here every whole number is one float
_EPOCH = (1e9, 1e10)  # seconds since 1970 between 2001 and 2286; smaller numbers count from the start of a run

_UNITS_S = {
    "": 1.0,
    "s": 1.0,
    "sec": 1.0,
    "secs": 1.0,
    "seconds": 1.0,
    "second": 1.0,
    "ms": 1e-3,
    "msec": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
}


def plain(value: object) -> object:
    """Return numpy scalars as Python ones and text without padding; anything else as it is."""
    item = getattr(value, "item", None)
    if callable(item):
        value = item()
    return value.strip(" \t\0'") if isinstance(value, str) else value


def text(value: object) -> str | None:
    """Return text; None for gaps such as 'N/A'. Numbers (a readout mode 0) are written out."""
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    written = f"{value:g}" if isinstance(value, float) else str(value)
    return None if written.lower() in _GAPS else written


def number(value: object) -> float | None:
    """Return a finite number, from '120.00  ', '3,62' or '-10 C' too."""
    value = plain(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value)
        if match is None:
            return None
        value = float(match[1].replace(",", ".").lower().replace("d", "e"))
    if not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def integer(value: object) -> int | None:
    """Return a whole number; None where there is a fraction, or more digits than any setting has."""
    found = number(value)
    return None if found is None or abs(found) >= _LARGEST or abs(found - round(found)) > 1e-6 else round(found)


def positive(value: object) -> float | None:
    """Return a number above 0: zero stands for 'not known' in headers of lengths."""
    found = number(value)
    return found if found is not None and found > 0 else None


def pair_part(index: int) -> Callable[[object], int | None]:
    """Return a reader of one part of '2x2' or '2 2'; a single number serves for both."""

    def read(value: object) -> int | None:
        value = plain(value)
        match = _PAIR.fullmatch(value) if isinstance(value, str) else None
        found = int(match[index + 1]) if match else integer(value)
        return found if found is not None and found >= 1 else None

    return read


def celsius(value: object) -> float | None:
    """Return a believable sensor temperature: drivers without a reading say -273, -300 or NaN."""
    found = number(value)
    return found if found is not None and -100 <= found <= 60 else None


def electrons_per_adu(value: object) -> float | None:
    """Return e-/ADU between 0.001 and 100; 'High', 0 and -1 mean that the program did not know."""
    found = number(value)
    return found if found is not None and 0.001 <= found <= 100 else None


def duration_us(value: object) -> int | None:
    """Return an exposure in microseconds from seconds, '30 ms', '1/60', '0m30s' or '2 min'; never negative."""
    value = plain(value)
    seconds: float | None
    if isinstance(value, str) and (match := _FRACTION.fullmatch(value)) and int(match[2]):
        seconds = int(match[1]) / int(match[2])
    elif isinstance(value, str) and (match := _MINUTES.fullmatch(value)):
        seconds = 60 * int(match[1]) + float(match[2])
    elif isinstance(value, str) and (match := _NUMBER.fullmatch(value)) and match[2].lower() not in _UNITS_S:
        seconds = None
    else:
        seconds = number(value)
        if seconds is not None and isinstance(value, str) and (match := _NUMBER.fullmatch(value)):
            seconds *= _UNITS_S[match[2].lower()]
    return us(seconds) if seconds is not None and 0 <= seconds < 1e7 else None


def microseconds(value: object) -> int | None:
    """Return an exposure that the program wrote in microseconds."""
    found = number(value)
    return round(found) if found is not None and 0 <= found < 1e13 else None


def moment(value: object) -> datetime | None:
    """Return UTC from ISO 8601 with up to nine decimals, or from seconds since 1970; None for a date without time."""
    value = plain(value)
    seconds = number(value)
    if seconds is not None:
        return datetime.fromtimestamp(seconds, UTC) if _EPOCH[0] < seconds < _EPOCH[1] else None
    if not isinstance(value, str) or not re.search(r"\d[T ]\d", value):
        return None
    try:
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value))
    except ValueError:
        return None
    if found.year not in _YEARS:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def date_and_time(date: object, time: object) -> datetime | None:
    """Return UTC from two cards, such as DATE-OBS '2018-08-23' or '23/08/18' and TIME-OBS '08:49:30'."""
    date, time = plain(date), plain(time)
    if not isinstance(date, str) or not isinstance(time, str):
        return None
    if (old := _OLD_DATE.fullmatch(date)) is not None:
        century = 1900 if int(old[3]) >= 70 else 2000
        date = f"{century + int(old[3])}-{old[2]}-{old[1]}"
    return moment(f"{date[:10]}T{time}")


def from_mjd(value: object) -> datetime | None:
    """Return UTC from a Modified Julian Date."""
    found = number(value)
    if found is None or not 30_000 < found < 150_000:
        return None
    return MJD_ZERO + timedelta(milliseconds=round(found * 86_400_000))  # as far as a float's digits go


def to_mjd(at: datetime) -> float:
    """Return the Modified Julian Date (UTC) of a time."""
    return (at - MJD_ZERO) / timedelta(days=1)


def degrees(value: object) -> float | None:
    """Return an angle in degrees from a number or from '-96 27 12', '+46:52:01', '46d52m01s'."""
    value = plain(value)
    found = number(value)
    if found is None and isinstance(value, str):
        parts = re.findall(r"\d+(?:\.\d+)?", value)
        if 2 <= len(parts) <= 3 and re.fullmatch(r"[+-]?[\d\s:.dmsh°'\"]+", value):
            size = sum(float(part) / 60**power for power, part in enumerate(parts))
            found = -size if value.startswith("-") else size
    return found if found is not None and -360 <= found <= 360 else None


def latitude(value: object) -> float | None:
    """Return degrees north."""
    found = degrees(value)
    return found if found is not None and abs(found) <= 90 else None


def longitude(value: object) -> float | None:
    """Return degrees east between -180 and 180."""
    found = degrees(value)
    return found if found is None or -180 <= found <= 180 else (found + 180) % 360 - 180


def flag(value: object) -> bool | None:
    """Return a logical, from 'T', 'yes' or 1 too."""
    value = plain(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"t", "true", "yes", "1"}:
        return True
    if isinstance(value, str) and value.lower() in {"f", "false", "no", "0"}:
        return False
    return bool(value) if isinstance(value, int | float) and value in {0, 1} else None


def ascii_text(value: str) -> str:
    """Return text that a card can hold: printable ASCII, at most 68 characters with quotes counted twice."""
    value = value.replace("µ", "u").replace("°", "deg").replace("α", "a")
    cleaned = "".join(c if " " <= c <= "~" else " " if c.isspace() else "?" for c in value).strip()
    cleaned = cleaned[:68].rstrip()
    while len(cleaned) + cleaned.count("'") > 68:
        cleaned = cleaned[:-1].rstrip()
    return cleaned
