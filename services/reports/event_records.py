"""Events of a run as members of the report's document: plain values, as JSON has them."""

from collections.abc import Iterable
from typing import Any

from services.events.records import Event, members
from services.events.records import Record as EventRecord

Record = dict[str, Any]
"""One part of the document, as plain JSON values."""


def document(event: Event) -> Record:
    """Return an event with its name and its time."""
    return {"name": event.name, "at": event.at.isoformat(), **members(event.what)}


def named(events: Iterable[Event], *kinds: type[EventRecord]) -> tuple[Record, ...]:
    """Return the events of some kinds."""
    return tuple(document(event) for event in events if isinstance(event.what, kinds))
