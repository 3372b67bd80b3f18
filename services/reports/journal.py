"""The journal of a run, read back line by line: what a power cut damaged costs itself only."""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from services.events import EventName

Record = dict[str, Any]
"""One event with its data, as plain JSON values."""


def read_journal(path: Path) -> tuple[Record, ...]:
    """Return the events of a journal in their order; none when it is missing or cannot be read.

    Lines that are no event (cut off, damaged) are left out. Numbers that are none (NaN, infinite) become None, so that
    what is made of them is JSON for every reader.
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
        if isinstance(record, dict) and isinstance(record.get("name"), str) and isinstance(record.get("at"), str):
            yield plain(record)


def plain(value: Any) -> Any:
    """Return a JSON value with None for every number that is none."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def named(events: Iterable[Record], *names: EventName) -> tuple[Record, ...]:
    """Return the events of some names, without the run's id and the number in the journal."""
    return tuple({k: v for k, v in e.items() if k not in ("run_id", "seq")} for e in events if e["name"] in names)


def numbers(records: Iterable[Record], member: str) -> tuple[float, ...]:
    """Return a member of each record where it is a number."""
    found = (record.get(member) for record in records)
    return tuple(float(v) for v in found if isinstance(v, int | float) and not isinstance(v, bool))
