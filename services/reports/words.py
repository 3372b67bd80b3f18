"""Values as an observer reads them: with their unit, and no more digits than mean something."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

NONE = "–"


def seconds(exposure_us: object) -> str:
    """Return an exposure in seconds."""
    if not isinstance(exposure_us, int | float):
        return NONE
    return f"{round(exposure_us / 1e6, 3 if exposure_us >= 1000 else 6):g}\u00a0s"


def number(value: object, decimals: int = 0, unit: str = "") -> str:
    """Return a number with thin spaces between thousands and its unit; a dash when there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return NONE
    shown = f"{value:,.{decimals}f}".replace(",", "\u202f").replace("-", "\u2212")
    return f"{shown}\u00a0{unit}" if unit else shown


def significant(value: object, digits: int = 4, unit: str = "") -> str:
    """Return a number with as many decimals as give so many digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return NONE
    whole = len(f"{abs(value):.0f}") if abs(value) >= 1 else 0
    return number(value, min(6, max(0, digits - whole)), unit)


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


def clock(at: object, *, date: bool = False) -> str:
    """Return a time of day, UTC, with its date when wanted."""
    found = moment(at)
    return NONE if found is None else f"{found:%Y-%m-%d %H:%M:%S}" if date else f"{found:%H:%M:%S}"


def duration(begin: object, end: object) -> str:
    """Return the time between two events."""
    first, last = moment(begin), moment(end)
    if first is None or last is None:
        return NONE
    minutes, left = divmod(round(max(timedelta(), last - first).total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {left:02d} s"


def title(record: Mapping[str, Any]) -> str:
    """Return the name of a set or a master: "Flat Ha", "Dark 5 s", "Bias", "Bias = Dark 0.001 s" (`twin`)."""
    kind = str(record.get("kind") or "set").capitalize()
    detail = {"Flat": record.get("filter"), "Dark": seconds(record.get("exposure_us"))}.get(kind)
    name = f"{kind} {detail}" if detail else kind
    return f"{name} = {record['twin']}" if record.get("twin") else name


def plural(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count}\u00a0{noun}{'' if count == 1 else 's'}"
