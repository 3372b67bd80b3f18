"""The one decoder of events: from a line of a journal, or from plain JSON values, to a typed record.

A journal is text that a power cut, a hand or another version may have written. The decoder is strict about types and
gives up as little as possible: members that it does not know are ignored, and one that is missing or of a wrong kind
gets its default, or None. Only a line without a known name and a time is no event.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from services.events import devices, modelled, records, serving, standings
from services.events.records import Event, Record

R = TypeVar("R", bound=Record)

KINDS: dict[str, type[Record]] = {
    kind.name: kind
    for module in (records, devices, serving, standings, modelled)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Record) and "name" in vars(kind)
}
"""Every kind of event by its name."""

_LARGEST = 2**53  # up to here every whole number is one float
_ROUNDS = 20
_ENVELOPE = {"run_id": {"type": "string"}, "seq": {"type": "integer"}, "at": {"type": "string", "format": "date-time"}}


def decode(line: str) -> Event | None:
    """Return the event of a line; None when it holds none. Nothing raises."""
    try:
        found = plain(json.loads(line))
        if not isinstance(found, dict):
            return None
        kind, at = KINDS.get(str(found.get("name"))), _time(found.get("at"))
        if kind is None or at is None:
            return None
        what = record_of(kind, found)
    except (ValueError, RecursionError):
        return None
    run_id, seq = found.get("run_id"), found.get("seq")
    return Event(
        run_id=run_id if isinstance(run_id, str) else "",
        seq=seq if isinstance(seq, int) else 0,
        at=at,
        what=what,
    )


def record_of(kind: type[R], found: dict[str, Any]) -> R:
    """Return a record from plain JSON values (of `plain`) that anybody may have written.

    Raises
    ------
    ValueError
        Nothing can be made of them: JSON of too many levels.
    """
    left = {each.name: found[each.name] for each in fields(kind) if each.name in found}
    for _ in range(_ROUNDS):
        try:
            record: R = _adapter(kind.name).validate_json(json.dumps(left), strict=True)
        except ValidationError as error:
            wrong = {_innermost(left, each["loc"]) for each in error.errors(include_url=False)}
            # the last ones first, so that the places of others in the same list stay what they are
            for way in sorted(wrong, key=_place, reverse=True):
                _leave_out(left, way, kind)
        else:
            return record
    raise ValueError(f"not a record of {kind.name}")


def _innermost(left: dict[str, Any], way: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return the way to what is wrong as far as it leads: pydantic adds the choice of a union that did not fit."""
    held: Any = left
    for step, key in enumerate(way):
        try:
            held = held[key]
        except (KeyError, IndexError, TypeError):
            return way[: max(1, step)]
    return way


def _place(way: Sequence[int | str]) -> list[tuple[str, int]]:
    return [("", step) if isinstance(step, int) else (step, 0) for step in way]


def _leave_out(left: dict[str, Any], way: Sequence[int | str], kind: type[Record]) -> None:
    """Remove what a way leads to; a field without a default becomes None."""
    *outer, last = way
    if not outer and last in _needed(kind.name):
        left[str(last)] = None
        return
    held: Any = left
    for key in outer:
        held = held[key]
    del held[last]


@cache
def _needed(name: str) -> frozenset[str]:
    """Return the fields without a default of a kind of event."""
    return frozenset(f.name for f in fields(KINDS[name]) if f.default is MISSING and f.default_factory is MISSING)


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(KINDS[name])


def plain(value: Any) -> Any:
    """Return a JSON value with None for every number that is none (NaN, infinite), or that no float holds.

    Half of a surrogate pair, which no encoding has, becomes a question mark.
    """
    if isinstance(value, dict):
        return {plain(str(k)): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    lost = isinstance(value, float) and not math.isfinite(value)
    return None if lost or (isinstance(value, int) and abs(value) >= _LARGEST) else value


def _time(value: object) -> datetime | None:
    """Return a moment that a clock can have shown; one without a zone is UTC."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if at is None or not 1900 < at.year < 2200:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def schema() -> dict[str, Any]:
    """Return the JSON schema of a line: one definition per kind of event. Members may be added by later versions."""
    found, document = TypeAdapter.json_schemas(
        [(name, "serialization", _adapter(name)) for name in KINDS], title="An event of nightcal"
    )
    for name, kind in KINDS.items():
        schema = document["$defs"][kind.__name__]
        schema["properties"] = {"name": {"const": name}, **_ENVELOPE, **schema.get("properties", {})}
        schema["required"] = list(schema["properties"])
    return {**document, "oneOf": [found[(name, "serialization")] for name in KINDS]}
