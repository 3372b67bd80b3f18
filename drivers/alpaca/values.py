"""Values as JSON brings them, made into what they must be; anything else is `UnreadableValue`, never guessed."""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


UNUSABLE = (TypeError, ValueError, OverflowError)
"""What conversions of values raise; JSON has numbers that no float holds."""


class UnreadableValue(ValueError):
    """A value is not of the kind its member has."""


def flag(value: Any) -> bool:
    """Return a boolean; takes the words some servers send instead."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise UnreadableValue(f"{value!r} is neither true nor false")


def reading(value: Any) -> float:
    """Return a float that may be NaN: what a sensor says is judged by whoever knows what is plausible."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UnreadableValue(f"{value!r} is no number")
    return float(value)


def number(value: Any) -> float:
    """Return a finite float."""
    result = reading(value)
    if not math.isfinite(result):
        raise UnreadableValue(f"{value!r} is no finite number")
    return result


def whole(value: Any) -> int:
    """Return an integer; a float without a fraction is one."""
    result = number(value)
    if result != int(result):
        raise UnreadableValue(f"{value!r} is no whole number")
    return int(result)


def text(value: Any) -> str:
    """Return a string without surrounding blanks."""
    if not isinstance(value, str):
        raise UnreadableValue(f"{value!r} is no text")
    return value.strip()


def texts(value: Any) -> tuple[str, ...]:
    """Return a tuple of strings; numbers in the list (gains) become text."""
    if not isinstance(value, list | tuple):
        raise UnreadableValue(f"{value!r} is no list")
    return tuple(str(item).strip() for item in value)


def item(items: Mapping[str, Any], member: str, kind: Callable[[Any], T]) -> T | None:
    """Return one member out of DeviceState (names in lower case), None where it is missing or unreadable."""
    try:
        return kind(items[member.lower()])
    except (KeyError, *UNUSABLE):
        return None
