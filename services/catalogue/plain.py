"""Records as plain JSON values and back: group keys, and times as UTC texts that sort as times do."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from calibration.frames import FrameKind, GroupKey


def key_to_dict(key: GroupKey) -> dict[str, Any]:
    """Return a group key as plain JSON values."""
    return {f.name: plain(getattr(key, f.name)) for f in fields(key)}


def key_from_dict(record: Mapping[str, Any]) -> GroupKey:
    """Return the group key of plain JSON values."""
    known = {name: record[name] for name in GroupKey.__slots__ if name in record}
    for name in ("shape", "binning", "origin"):
        first, second = known[name]
        known[name] = (int(first), int(second))
    known["kind"] = FrameKind(record["kind"])
    return GroupKey(**known)


def parse_time(text: str | datetime | None) -> datetime | None:
    """Return the aware UTC time of an ISO text; one without a zone is UTC."""
    if text is None or isinstance(text, datetime):
        return text
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def time_text(at: datetime | None) -> str | None:
    """Return a time as it is stored: UTC, so that texts sort as times do."""
    if at is None:
        return None
    utc = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return utc.isoformat(timespec="microseconds")


def plain(value: Any) -> Any:
    """Return a value of a record as JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no such number, and SQLite takes a text with one for damage
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    return {name: plain(each) for name, each in value.items()} if isinstance(value, Mapping) else value
