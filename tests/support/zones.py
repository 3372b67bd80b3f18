"""The zone of this process's clock, for tests of what people read."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

zones_only = pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone of a process cannot be changed there")


@contextmanager
def in_zone(name: str) -> Iterator[None]:
    """Let the computer's clock show the time of a zone: "Europe/Berlin", "CET-1"."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
        time.tzset()
