"""DATE-OBS: the camera's own start where it says more than our clock, else ours."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from drivers.base import Exposure
from services.capture.acquisition import times_of

OURS = datetime(2026, 3, 1, 22, 10, 5, 437_000, UTC)


def exposed(reported: datetime | None, duration_s: float | None = None) -> Exposure:
    return Exposure(
        pixels=np.zeros((2, 2), np.uint16),
        started_at=OURS,
        ended_at=OURS + timedelta(seconds=2),
        reported_start=reported,
        reported_duration_s=duration_s,
        returned_after_s=2.1,
        download_s=0.1,
        temperature_begin_c=None,
        temperature_end_c=None,
        wire_type="uint16",
    )


@pytest.mark.parametrize(
    ("reported", "start"),
    [
        (OURS.replace(microsecond=0), OURS),  # whole seconds: cut off
        (OURS.replace(second=6, microsecond=0), OURS),  # and rounded up
        (OURS.replace(microsecond=391_000), OURS.replace(microsecond=391_000)),
        (OURS.replace(microsecond=400_000), OURS.replace(microsecond=400_000)),
        (OURS + timedelta(hours=1, microseconds=5), OURS),  # local time called UTC
        (OURS - timedelta(seconds=600), OURS),  # the start of an exposure long ago
        (None, OURS),
    ],
)
def test_the_start_keeps_our_fraction_where_the_driver_gives_none(reported: datetime | None, start: datetime) -> None:
    assert times_of(exposed(reported), 2_000_000) == (start, start + timedelta(seconds=2))
    assert times_of(exposed(reported, 1.98), 2_000_000) == (start, start + timedelta(seconds=1.98))
