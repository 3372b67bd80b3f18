"""Values as an observer reads them: with their unit, and with only the digits that mean something.

The log, the command line and the pages share these words. Sentences use plain spaces; pages use the spaces that keep a
number and its unit on one line (`GAP`).
"""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

NONE = "–"
"""What a page shows where a value is missing."""
GAP = "\u00a0"
"""A space at which a browser does not break the line."""


def count(number: int, noun: str, gap: str = " ") -> str:
    """Return a number with its noun: "1 frame", "40 frames", "40 biases"."""
    return f"{number}{gap}{noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"


def some(names: Iterable[str], most: int = 6, gap: str = " ") -> str:
    """Return names, each once, the first few of many: "a, b and 3 others"."""
    names = tuple(dict.fromkeys(names))
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {count(rest, 'other', gap)}" if rest > 0 else "")


def seconds(exposure_us: object, *, gap: str = " ", unknown: str = "") -> str:
    """Return an exposure in seconds, rounded to the millisecond where it is at least that long: "2.239 s"."""
    if not isinstance(exposure_us, int | float):
        return unknown
    return f"{round(exposure_us / 1e6, 3 if exposure_us >= 1000 else 6):g}{gap}s"


def exposure(exposure_us: object) -> str:
    """Return an exposure as pages show it: a dash where it is missing, and a space that never breaks."""
    return seconds(exposure_us, gap=GAP, unknown=NONE)


def celsius(value: float | None) -> str:
    """Return a temperature: "-10.0 °C"."""
    return "unknown" if value is None else f"{value:.1f} °C"


def digits(value: float) -> str:
    """Return a value as it is read: whole from 100 on, and smaller ones with three significant digits: "0.0126"."""
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.3g}"


def adu(value: float | None) -> str:
    """Return a level: "33036 ADU"."""
    return "unknown" if value is None else f"{value:.0f} ADU"


def wait(length_s: float) -> str:
    """Return how long something is waited for: "90 s", from two minutes on "2.5 min"."""
    return f"{length_s:.0f} s" if length_s < 120 else f"{length_s / 60:.3g} min"


def length(length_s: float) -> str:
    """Return how long a part of the night takes, to the minute: "2 h 05 min", "7 min"."""
    hours, minutes = divmod(round(length_s / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def lasting(length_s: float) -> str:
    """Return how long something lasts, short times to the second: "15 s", "10 min"."""
    return length(length_s) if length_s >= 60 else f"{length_s:.0f} s"


def size(size_bytes: float) -> str:
    """Return an amount of storage, rounded down so that free room is never overstated: "1.3 GB", "640 MB", "8.6 kB"."""
    if not math.isfinite(size_bytes):
        return "unknown"
    unit, name = (1e9, "GB") if size_bytes >= 1e9 else (1e3, "kB") if 0 < size_bytes < 1e5 else (1e6, "MB")
    decimals = 0 if unit == 1e6 and size_bytes >= 10e6 else 1
    shown = math.floor(size_bytes / unit * 10**decimals) / 10**decimals
    return f"{shown:.0f} {name}" if shown == int(shown) else f"{shown:.1f} {name}"


def number(value: object, decimals: int = 0, unit: str = "") -> str:
    """Return a number with thin spaces between thousands and its unit; a dash when there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return NONE
    shown = f"{value:,.{decimals}f}".replace(",", "\u202f").replace("-", "\u2212")
    return f"{shown}{GAP}{unit}" if unit else shown


def significant(value: object, digits: int = 4, unit: str = "") -> str:
    """Return a number with as many decimals as give so many digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return NONE
    whole = len(f"{abs(value):.0f}") if abs(value) >= 1 else 0
    return number(value, min(6, max(0, digits - whole)), unit)


def small_percent(fraction: object, gap: str = GAP) -> str:
    """Return a small fraction in percent, with two digits from the first that is not 0: "0.0073 %"."""
    if not isinstance(fraction, int | float):
        return NONE
    decimals = max(0, 1 - math.floor(math.log10(100 * fraction))) if fraction > 0 else 0
    return f"{number(100 * fraction, decimals)}{gap}%"


def percent(fraction: object, decimals: int = 2) -> str:
    """Return a fraction in percent."""
    return number(fraction * 100, decimals, "%") if isinstance(fraction, int | float) else NONE


def moment(at: object) -> datetime | None:
    """Return the time of an event, UTC; None when it is none."""
    try:
        found = datetime.fromisoformat(str(at))
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def local(at: datetime, form: str = "%H:%M:%S") -> str:
    """Return a moment on the computer's clock: "20:30:00 CET"; "" where that shows UTC.

    The zone is named as it is at that moment, so that the two hours of an autumn night differ: "02:30:00 CEST", later
    "02:30:00 CET". Zones without a short name are named by what they are off: "01:15:00 UTC+05:45".
    """
    shown = at.astimezone()
    if not shown.utcoffset():
        return ""
    name, offset = shown.tzname() or "", f"{shown:%z}"
    is_short = name.isascii() and name.isalpha() and len(name) <= 5
    return f"{shown:{form}} {name if is_short else f'UTC{offset[:3]}:{offset[3:5]}'}"


def both_clocks(at: datetime, form: str = "%H:%M:%S") -> str:
    """Return a moment, UTC, and beside it on the computer's clock where that differs: "19:30 UTC (20:30 CET)"."""
    shown, here = f"{at.astimezone(UTC):{form}} UTC", local(at, form)
    return f"{shown} ({here})" if here else shown


def activity(name: str, detail: str, until: datetime | None) -> str:
    """Return what the daemon does, in words: "running: dark 60 s; ends by 14:18 UTC", "idle: paused until …".

    Parameters
    ----------
    name : str
    detail : str
        Why, or what; where it says the moment itself, that is not said again.
    until : datetime or None
        When it is over: at the latest where a run is at work.
    """
    at = "" if until is None else both_clocks(until, "%Y-%m-%d %H:%M")
    when = "" if not at or at in detail else f" until {at}" if name == "idle" else f"; ends by {at}"
    return f"{': '.join(each for each in (name, detail) if each)}{when}"


def stamp(at: datetime) -> str:
    """Return what a line on the terminal begins with: "19:30:05", beside another zone "19:30:05 (20:30 CET)"."""
    shown, here = f"{at.astimezone(UTC):%H:%M:%S}", local(at, "%H:%M")
    return f"{shown} ({here})" if here else shown


def duration(begin: object, end: object) -> str:
    """Return the time between two events."""
    first, last = moment(begin), moment(end)
    if first is None or last is None:
        return NONE
    minutes, left = divmod(round(max(timedelta(), last - first).total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {left:02d} s"


def title(record: Mapping[str, Any]) -> str:
    """Return the name of a set or a master: "Flat Ha", "Dark 5 s (gain 26)", "Bias = Dark 0.001 s" (`twin`)."""
    kind = str(record.get("kind") or "set").capitalize()
    detail = {"Flat": record.get("filter"), "Dark": exposure(record.get("exposure_us"))}.get(kind)
    name = f"{kind} {detail}" if detail else kind
    name = f"{name} = {record['twin']}" if record.get("twin") else name
    return f"{name} ({record['apart']})" if record.get("apart") else name
