"""The daemon over a month, and over a year with both changes of the clock: its own deciding, runs that only cost time.

Nothing outlives its age for longer than the first windows whose minutes suffice, nothing is taken outside of a window
but by order, no set is taken twice, and each failure is announced once.
"""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.daemon.parts import SCHEDULE
from services.events.serving import ItemFailed, ItemRecovered
from tests.support.simulated_year import World, outside_of_windows, taken_twice

START = datetime(2026, 3, 15, tzinfo=UTC)
WORK_S = 9.3 * 3600.0
"""What all sets take together."""
LOST_S = 3 * (900.0 + 4500.0 + 3900.0)
"""Of each of three days a cooling, the end of the midday window in which no frame of an hour fits, and the evening."""
ENOUGH_S = WORK_S + LOST_S


def lived(folder: Path, days: int, seed: int) -> World:
    world = World(folder, days=days, seed=seed, start=START)
    world.live()
    return world


def check(world: World) -> None:
    assert outside_of_windows(world) == []
    assert taken_twice(world) == []
    assert {key: s / 3600 for key, s in world.longest_overdue.items() if s > ENOUGH_S} == {}
    told: dict[str | None, bool] = {}
    for _, each in world.said:
        if isinstance(each, ItemFailed | ItemRecovered):
            is_new = isinstance(each, ItemFailed)
            for item in (each.item, *each.others):
                assert told.get(item, False) is not is_new, each
                told[item] = is_new


@pytest.mark.timeout(200)
def test_a_month_with_the_change_to_summer_time(tmp_path: Path) -> None:
    world = lived(tmp_path, days=31, seed=1)
    check(world)
    assert {each.by for each in world.taken} == {SCHEDULE, "somebody"}
    assert world.restarts == 6
    assert any(isinstance(each, ItemFailed) for _, each in world.said)
    assert any(isinstance(each, ItemRecovered) for _, each in world.said)
    long = {each.row.set_id for each in world.taken if each.row.exposure_us == 3_600_000_000}
    runs = {(each.row.set_id, each.row.run_id) for each in world.taken if each.row.set_id in long}
    assert len(runs) > len(long)  # sets that are longer than their window were taken in pieces


@pytest.mark.long
@pytest.mark.parametrize("seed", [2, 3])
def test_a_year(tmp_path: Path, seed: int) -> None:
    world = lived(tmp_path, days=366, seed=seed)
    check(world)
    assert world.restarts > 70
