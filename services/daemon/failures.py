"""What failed, and when it is tried again: after 15 minutes, after an hour, then once a window.

A failure is announced when it is new, and when it is over: whoever compares the keys before and after sees both.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError

from services.planning.wanted_master import Failure

LADDER = (timedelta(minutes=15), timedelta(hours=1))
"""Waits after the first failures; after the others the next window is waited for."""

Failures = Mapping[str, Failure]
"""The items that fail, by their keys."""

_ADAPTER = TypeAdapter(Failure)


def failures_from(said: Mapping[str, Any]) -> dict[str, Failure]:
    """Return the failures of plain JSON values; what cannot be understood is forgotten, and tried again."""
    found = {}
    for key, value in said.items():
        try:
            failure = _ADAPTER.validate_python(value)
        except ValidationError:
            continue
        if all(at is None or at.tzinfo is not None for at in (failure.at, failure.again_at)):
            found[key] = failure
    return found


def failures_as_json(failures: Failures) -> dict[str, Any]:
    """Return plain JSON values; `failures_from` gives the failures back."""
    return {key: _ADAPTER.dump_python(failure, mode="json") for key, failure in failures.items()}


def failed(failures: Failures, item: str, now: datetime, *, code: str, detail: str = "") -> dict[str, Failure]:
    """Return the failures after an item has failed, once more."""
    tries = failures[item].tries + 1 if item in failures else 1
    again_at = now + LADDER[tries - 1] if tries <= len(LADDER) else None
    return {**failures, item: Failure(code=code, detail=detail, tries=tries, at=now, again_at=again_at)}


def recovered(failures: Failures, items: Collection[str]) -> dict[str, Failure]:
    """Return the failures without those of items that could be had."""
    return {key: failure for key, failure in failures.items() if key not in items}


def tried_again(failures: Failures, items: Collection[str], now: datetime) -> dict[str, Failure]:
    """Return the failures when some items are tried again at once; all where none is named.

    They stay known until they can be had, so that a second failure is not announced again.
    """
    named = items or failures.keys()
    return {k: replace(each, tries=0, again_at=now) if k in named else each for k, each in failures.items()}
