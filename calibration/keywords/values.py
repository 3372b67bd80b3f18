"""Reading the value of a keyword: numbers written as text, times in many forms, angles, gaps.

Every reader takes any card value and returns None for what it does not understand: a bad card of a foreign file costs
that card, not the file.
"""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from calibration.frames import us
from calibration.keywords.letters import unescaped

MJD_ZERO = datetime(1858, 11, 17, tzinfo=UTC)
"""Modified Julian Date 0."""

_GAPS = frozenset(
    {"", "n/a", "n.a.", "na", "nan", "none", "null", "unknown", "undefined", "undef", "unavailable", "not available"}
    | {"-", "--", "---", "?"}
    | {"inf", "+inf", "-inf", "infinity", "-infinity"}
)
_NUMBER = re.compile(r"([+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[ed][+-]?\d+)?)\s*([a-zµ°%/']*)", re.IGNORECASE)
_FRACTION = re.compile(r"(\d{1,9})\s*/\s*(\d{1,9})\s*(?:s|sec)?")
_PARTS = re.compile(
    r"(?:(\d{1,4})\s*h[a-z]*\.?[\s,]*)?(\d{1,9})\s*m(?:in[a-z]*)?\.?[\s,]*(\d{1,9}(?:[.,]\d+)?)\s*s?[a-z]*\.?"
    r"|(\d{1,4})\s*h[a-z]*\.?[\s,]*(\d{1,2})\s*m?[a-z]*\.?",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2}(?:[.,]\d*)?)")
_DEGREES = re.compile(r"([+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:e[+-]?\d+)?)\s*(.*)", re.IGNORECASE)
_SECTION = re.compile(r"\[?\s*(\d{1,6})\s*:\s*(\d{1,6})\s*,\s*(\d{1,6})\s*:\s*(\d{1,6})\s*\]?")
_ELECTRONS = re.compile(r"(\d+(?:[.,]\d*)?|[.,]\d+)\s*e(?:lectrons?|-)?\s*(?:/|per)?\s*(?:adu|dn)?", re.IGNORECASE)
_PAIR = re.compile(r"(\d{1,9})\s*[x,* ]\s*(\d{1,9})", re.IGNORECASE)
_OLD_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{2}|\d{4})")
_DATE = re.compile(r"(\d{4})[-/.:](\d{1,2})[-/.:](\d{1,2})")
_COMPACT = re.compile(r"((?:19|20|21)\d\d)(\d\d)(\d\d)")
_NAMED = re.compile(r"(\d{1,4})[-/ ]([A-Za-z]{3})[a-z]*[-/., ]+(\d{1,4})")
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()  # noqa: SIM905 - twelve quoted words read worse
_MOMENT = re.compile(
    _DATE.pattern + r"(?:\s*T\s*|[\s_]+)(\d{1,2})[:-](\d{1,2})(?:[:-](\d{1,2})(?:[.,](\d*))?)?"
    r"\s*(Z|UTC?|GMT|[+-]\d{2}:?\d{2})?",
    re.IGNORECASE,
)
_MINUS = "\u2212"
_YEARS = range(1900, 2200)  # anything else is no date of a frame, and near year 1 or 9999 arithmetic fails
_LARGEST = 2**53  # up to here every whole number is one float
_EPOCH = (1e9, 1e10)  # seconds since 1970 between 2001 and 2286; smaller numbers count from the start of a run

_UNITS_S = {
    word: seconds
    for seconds, words in {
        1e-9: "ns nsec nsecs nanosec nanosecond nanoseconds",
        1e-6: "us usec usecs µs µsec µsecs microsec microsecs microsecond microseconds mikrosekunden mks",
        1e-3: "ms msec msecs millis millisec millisecs millisecond milliseconds millisekunden msek",
        1.0: "s sec secs second seconds sek sekunde sekunden seconde secondes segundo segundos secondo secondi",
        60.0: "m min mins minute minutes minuten minuto minutos minuti",
        3600.0: "h hr hrs hour hours std stunde stunden heure heures hora horas ora ore",
    }.items()
    for word in words.split()
} | {"": 1.0}
_CELSIUS = {"c": "c", "celsius": "c", "centigrade": "c", "f": "f", "fahrenheit": "f", "k": "k", "kelvin": "k", "": ""}
_KELVIN = 273.15
_JULIAN = 2_400_000
_COLDEST_C, _WARMEST_C = -200.0, 60.0  # of sensors in liquid nitrogen and of uncooled ones in the sun
_GUESSED_K = 150.0
"""The coldest number without a unit that counts as kelvin: -123 degC; below it could be degrees Fahrenheit."""
_PLAIN = frozenset({str, int, float, bool, type(None)})


def plain(value: object) -> object:
    """Return numpy scalars as Python ones and text without padding; anything else as it is."""
    if type(value) not in _PLAIN and callable(item := getattr(value, "item", None)):
        value = item()
    return value.strip(" \t\0'") if isinstance(value, str) else value


def text(value: object) -> str | None:
    """Return text; None for gaps such as 'N/A'. Numbers (a readout mode 0) are written out.

    Letters that `ascii_text` has escaped are themselves again.
    """
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    written = f"{value:g}" if isinstance(value, float) else unescaped(str(value))
    return None if written.lower() in _GAPS else written


def is_unread(value: object) -> bool:
    """Whether a card says something, but no number: text beside a number, or words; gaps and numbers do not."""
    value = plain(value)
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value)
        return value.lower() not in _GAPS and (match is None or match[2] != "")
    return isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether a card holds a number, be it one that cannot be: -1 or NaN."""
    try:
        float(str(plain(value)))
    except ValueError:
        return False
    return True


def number(value: object) -> float | None:
    """Return a finite number, from '120.00  ', '3,62' or '-10 C' too."""
    value = plain(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value.replace(_MINUS, "-"))
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
    """Return a believable sensor temperature, from '-10.0 deg C', '14 F' and kelvin too.

    Drivers without a reading say -273, -300 or NaN. A number without a unit that only kelvin makes believable is one.
    """
    value = plain(value)
    unit = ""
    if isinstance(value, str):
        match = _DEGREES.fullmatch(value.replace(_MINUS, "-"))
        letters = "" if match is None else re.sub(r"deg(?:rees?|s)?|[^a-z]", "", match[2].lower())
        if match is None or letters not in _CELSIUS:
            return None
        unit, value = _CELSIUS[letters], match[1]
    found = number(value)
    if found is None:
        return None
    if unit == "f":
        found = (found - 32) / 1.8
    elif unit == "k" or (unit == "" and _GUESSED_K <= found <= _WARMEST_C + _KELVIN):
        found -= _KELVIN
    return round(found, 9) if _COLDEST_C <= found <= _WARMEST_C else None


def electrons_per_adu(value: object) -> float | None:
    """Return e-/ADU between 0.001 and 100, from '0.82 e-/ADU' too; 0 and -1 mean that the program did not know."""
    written = plain(value)
    match = _ELECTRONS.fullmatch(written) if isinstance(written, str) else None
    found = number(match[1] if match else value)
    return found if found is not None and 0.001 <= found <= 100 else None


def states_electrons(value: object) -> bool:
    """Whether a text gives its number in electrons per ADU."""
    written = plain(value)
    return isinstance(written, str) and _ELECTRONS.fullmatch(written) is not None


def setting(value: object) -> int | None:
    """Return a whole number, from 'ISO 800' too; not from a gain that is given in e-/ADU."""
    written = plain(value)
    if isinstance(written, str):
        if states_electrons(written):
            return None
        written = re.sub(r"^iso[\s:-]*", "", written, flags=re.IGNORECASE)
    return integer(written)


def section_start(value: object) -> tuple[int, int] | None:
    """Return the first column and row, from 0, of a section '[x1:x2,y1:y2]' that counts from 1."""
    written = plain(value)
    match = _SECTION.fullmatch(written) if isinstance(written, str) else None
    if match is None:
        return None
    x1, x2, y1, y2 = (max(int(part), 1) for part in match.groups())
    return min(x1, x2) - 1, min(y1, y2) - 1


def duration_us(value: object) -> int | None:
    """Return an exposure in microseconds; never negative.

    Understood are seconds, '30 ms', '30 [s]', '1/60', '0m30s', '2 min', '1 h 5 min' and '00:05:00'.
    """
    value = plain(value)
    seconds = _seconds_of_text(value) if isinstance(value, str) else number(value)
    return us(seconds) if seconds is not None and 0 <= seconds < 1e7 else None


def _seconds_of_text(value: str) -> float | None:
    value = re.sub(r"[\[\]()]", "", value).replace("\u03bc", "µ").strip(" .")
    if (match := _FRACTION.fullmatch(value)) and int(match[2]):
        return int(match[1]) / int(match[2])
    if match := _PARTS.fullmatch(value):
        hours, minutes, seconds = match[1] or match[4], match[2] or match[5], match[3]
        return 3600 * int(hours or 0) + 60 * int(minutes) + float((seconds or "0").replace(",", "."))
    if match := _CLOCK.fullmatch(value):
        return 3600 * int(match[1] or 0) + 60 * int(match[2]) + float(match[3].replace(",", "."))
    match = _NUMBER.fullmatch(value)
    found = number(value)
    if match is None or found is None or match[2].lower() not in _UNITS_S:
        return None
    return found * _UNITS_S[match[2].lower()]


def microseconds(value: object) -> int | None:
    """Return an exposure that the program wrote in microseconds."""
    found = number(value)
    return round(found) if found is not None and 0 <= found < 1e13 else None


def moment(value: object) -> datetime | None:
    """Return UTC from a date with a time, or from seconds since 1970; None for a date without time.

    Understood are ISO 8601 with any number of decimals, one-digit hours, second 60, and 'UT' or a zone behind.
    """
    value = plain(value)
    seconds = number(value)
    if seconds is not None:
        return datetime.fromtimestamp(seconds, UTC) if _EPOCH[0] < seconds < _EPOCH[1] else None
    if not isinstance(value, str):
        return None
    value = _NAMED.sub(_with_month, value, count=1)
    match = _MOMENT.fullmatch(value)
    try:
        found = _basic(value) if match is None else _built(match)
        return found if found is not None and found.year in _YEARS else None
    except (ValueError, OverflowError):
        return None


def _with_month(match: re.Match[str]) -> str:
    """Return '02-Jan-2024' and '2024-Jan-02' with the number of the month."""
    first, month, last = match[1], match[2].lower(), match[3]
    if month not in _MONTHS or (len(first) < 3) == (len(last) < 3):
        return match[0]
    year, of_month = (first, last) if len(first) > 2 else (last, first)
    return f"{year}-{_MONTHS.index(month) + 1}-{of_month}"


def _built(match: re.Match[str]) -> datetime | None:
    """Return the time of a match of `_MOMENT`: second 60 is the first of the next minute."""
    year, month, day, hour, minute = (int(match[n]) for n in range(1, 6))
    second, zone = int(match[6] or 0), match[8] or "Z"
    if hour > 24 or minute > 59 or second > 60:
        return None
    micro = int((match[7] or "")[:6].ljust(6, "0"))
    found = datetime(year, month, day, tzinfo=UTC)
    found += timedelta(hours=hour, minutes=minute, seconds=second, microseconds=micro)
    if zone[0] not in "+-":
        return found
    east = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return found - east if zone[0] == "+" else found + east


def _basic(value: str) -> datetime | None:
    """Return a time in the other forms of ISO 8601, such as 20240102T200000."""
    if not re.search(r"\d[T ]\d", value):
        return None
    found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value))
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def day(value: object) -> str | None:
    """Return the date of '2024-01-02', 20240102, '2-Jan-2024' or '02/01/24' as YYYY-MM-DD; None with a time behind.

    Of numbers with slashes the day is first, unless only the second can be one.
    """
    value = plain(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    value = _NAMED.sub(_with_month, value, count=1)
    if (old := _OLD_DATE.fullmatch(value)) is not None:
        first, second, year = (int(part) for part in old.groups())
        year += 0 if year > 99 else 1900 if year >= 70 else 2000
        month, of_month = (first, second) if second > 12 else (second, first)
    elif (match := _DATE.fullmatch(value) or _COMPACT.fullmatch(value)) is not None:
        year, month, of_month = (int(part) for part in match.groups())
    else:
        return None
    try:
        found = datetime(year, month, of_month, tzinfo=UTC)
    except ValueError:
        return None
    return found.date().isoformat() if found.year in _YEARS else None


def date_and_time(date: object, time: object) -> datetime | None:
    """Return UTC from two cards, such as DATE-OBS '2018-08-23' or '23/08/18' and TIME-OBS '08:49:30'."""
    of_day, time = day(date) or str(plain(date))[:10], plain(time)
    return moment(f"{of_day}T{time}") if isinstance(time, str) else None


def from_mjd(value: object) -> datetime | None:
    """Return UTC from a Modified Julian Date, or from a Julian one."""
    found = number(value)
    if found is not None and found > _JULIAN:
        found -= _JULIAN + 0.5
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
