"""What checks found in frames and masters, as events and the statistics of masters hold it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found in a frame or a master: a code, and `measured` against `limit`, in the unit of the check."""

    code: str
    measured: float | None = None
    limit: float | None = None
    detail: str = ""


def findings_of(statistics: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Return what made a master suspect, from its statistics; those of older versions hold codes alone."""
    return _findings(statistics.get("verdicts"))


def notes_of(statistics: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Return what is new in a master since the one before it, and no reason to doubt it."""
    return _findings(statistics.get("notes"))


def _findings(listed: Any) -> tuple[Finding, ...]:
    found = []
    for each in listed or ():
        if isinstance(each, Finding):
            found.append(each)
        elif isinstance(each, Mapping) and isinstance(each.get("code"), str):
            found.append(Finding(**{f.name: each[f.name] for f in fields(Finding) if f.name in each}))
        elif isinstance(each, str):
            found.append(Finding(code=each))
    return tuple(found)


Measured = bool | int | float | str | tuple[float, ...] | tuple[Finding, ...] | None
Statistics = Mapping[str, Measured]
"""What was measured of a master: numbers and lists of them; `verdict` (a word) and `verdicts` (findings)."""
