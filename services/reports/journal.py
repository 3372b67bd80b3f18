"""The journal of a run, read back line by line: what a power cut or a hand damaged costs itself only."""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

Record = dict[str, Any]
"""One event with its data, as plain JSON values."""

_LARGEST = 2**53  # up to here every whole number is one float
_UNITS = ("_us", "_s", "_adu", "_c", "_pct", "_mb", "_adu_e")
_NUMBERS = frozenset(
    {"wanted", "have", "taken", "accepted", "refused", "done", "n", "rejected", "frame_no", "attempt", "attempts"}
    | {"gain", "offset", "panel_brightness", "brightness", "exit_code", "seconds", "measured", "limit"}
)
_TEXTS = frozenset(
    {"set_id", "kind", "filter", "path", "code", "detail", "device", "device_name", "unique_id", "status", "step"}
    | {"run_id", "night", "software", "config", "root", "cover", "camera"}
)


def read_journal(path: Path) -> tuple[Record, ...]:
    """Return the events of a journal in their order; none when it is missing or cannot be read.

    Lines that are no event (cut off, damaged) are left out. Members that are not of their kind become None, or an empty
    list or object, and so do numbers that are none (NaN, infinite): what is made of them is JSON for every reader.
    """
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except OSError:
        return ()
    return tuple(_events(text.split("\n")))


def _events(lines: Iterable[str]) -> Iterator[Record]:
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and isinstance(record.get("name"), str) and _is_time(record.get("at")):
            yield _sound(plain(record))


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and 1900 < datetime.fromisoformat(value).year < 2200
    except ValueError:
        return False


def _sound(record: Record) -> Record:
    """Return a record whose members are of the kinds that their names promise."""
    return {name: _as_promised(name, value) for name, value in record.items()}


def _as_promised(name: str, value: Any) -> Any:
    if name in _LISTS:
        return [found for item in value if (found := _LISTS[name](item)) is not None] if isinstance(value, list) else []
    if name == "statistics":
        return sound_statistics(value)
    if name == "settings":
        return value if isinstance(value, dict) else {}
    if name in _TEXTS:
        return value if isinstance(value, str) else None
    if name in _NUMBERS or name.endswith(_UNITS):
        return value if is_number(value) else None
    return value


def sound_statistics(value: object) -> Record:
    """Return a master's statistics: numbers, lists of them, yes or no; and its verdict with the codes of it."""
    found = plain(value) if isinstance(value, dict) else {}
    measured = {name: each for name, each in found.items() if each is None or _is_measured(each)}
    verdicts = _as_promised("codes", found.get("verdicts"))
    return {**measured, "verdict": _text(found.get("verdict")), "verdicts": verdicts}


def _is_measured(value: object) -> bool:
    return isinstance(value, int | float) or (isinstance(value, list) and all(map(is_number, value)))


def _object(value: object) -> Record | None:
    return _sound(value) if isinstance(value, dict) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


_LISTS: dict[str, Callable[[object], object]] = {
    "codes": _text, "kept": _text, "steps": _text, "why": _text, "verdicts": _object, "sets": _object,
}  # fmt: skip


def is_number(value: object) -> bool:
    """Whether a JSON value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def plain(value: Any) -> Any:
    """Return a JSON value with None for every number that is none, or that no float holds."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    lost = isinstance(value, float) and not math.isfinite(value)
    return None if lost or (isinstance(value, int) and abs(value) >= _LARGEST) else value


def named(events: Iterable[Record], *names: str) -> tuple[Record, ...]:
    """Return the events of some names, without the run's id and the number in the journal."""
    return tuple({k: v for k, v in e.items() if k not in ("run_id", "seq")} for e in events if e["name"] in names)


def numbers(records: Iterable[Record], member: str) -> tuple[float, ...]:
    """Return a member of each record where it is a number."""
    found = (record.get(member) for record in records)
    return tuple(float(v) for v in found if isinstance(v, int | float) and is_number(v))
