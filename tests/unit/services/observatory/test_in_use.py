"""Whose a camera is after a run that died: what may be its own is not taken for somebody else's."""

from datetime import UTC, datetime, timedelta

import pytest

from drivers.alpaca.onlooker import CameraLook
from drivers.base import CameraStates
from services.observatory.in_use import LeftBehind, used_by_others

DIED = datetime(2026, 3, 1, 3, tzinfo=UTC)
LEFT = LeftBehind(run_id="r0", exposing_until=DIED + timedelta(minutes=7), connected_until=DIED + timedelta(minutes=20))
EXPOSES = CameraLook(connected=True, activity=CameraStates.EXPOSING, cooler_on=True)
CONNECTED = CameraLook(connected=True, activity=CameraStates.IDLE, cooler_on=True)
FREE = CameraLook(connected=False, activity=None, cooler_on=None)


@pytest.mark.parametrize(
    ("minutes", "look", "is_others"),
    [
        (1, EXPOSES, False),
        (6, EXPOSES, False),
        (8, EXPOSES, True),
        (8, CONNECTED, False),
        (19, CONNECTED, False),
        (21, CONNECTED, True),
        (600, EXPOSES, True),
        (600, FREE, False),
    ],
)
def test_what_a_dead_run_can_still_have_is_its_own_and_what_began_later_is_not(
    minutes: int, look: CameraLook, is_others: bool
) -> None:
    found = LEFT.taken_out_of(look, DIED + timedelta(minutes=minutes))
    assert bool(used_by_others(found, stays_connected=False, cooler_is_ours=True)) is is_others
