"""What the tables' queries share: filters by column, and the values that SQLite holds."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from services.catalogue.plain import time_text


def where_of(filters: Mapping[str, Any], columns: Collection[str]) -> tuple[str, list[Any]]:
    """Return a WHERE clause and its values; `TypeError` names filters that are no columns."""
    unknown = set(filters) - set(columns)
    if unknown:
        raise TypeError(f"no such column: {', '.join(sorted(unknown))}")
    parts: list[str] = []
    values: list[Any] = []
    for name, wanted in filters.items():
        if wanted is None:
            parts.append(f"{name} IS NULL")
        elif isinstance(wanted, list | tuple | set | frozenset):
            parts.append(f"{name} IN ({', '.join('?' * len(wanted))})")
            values += [stored(value) for value in wanted]
        else:
            parts.append(f"{name} = ?")
            values.append(stored(wanted))
    return (f" WHERE {' AND '.join(parts)}" if parts else ""), values


def stored(value: Any) -> Any:
    """Return a record's value as SQLite holds it: times as text, enumerations as their words."""
    if isinstance(value, datetime):
        return time_text(value)
    return str(value) if isinstance(value, str) else value
