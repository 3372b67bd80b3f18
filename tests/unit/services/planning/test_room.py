"""What sets and their masters take on the disk: at which frame the room ends, and in which night the disk is full."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from calibration.frames import FrameKind
from calibration.plans.sequence import WantedSet
from services.config.models import Reuse
from services.planning.having import NOTHING, Having, Standing
from services.planning.room import (
    Amount,
    PlannedSet,
    Room,
    Sizes,
    as_taken,
    end_of_room,
    nights_until_full,
    upkeep,
    with_flat_darks,
)
from tests.unit.services.planning.test_having import NOW, a_set

FRAME = 1_000 * 2 + 8640
BARE = Sizes(pixels=1_000, masters=False)


def planned(kind: FrameKind, count: int, *, exposure_us: int | None = None, **fields: object) -> PlannedSet:
    """Return a set of which nothing is there."""
    return PlannedSet(
        wanted=WantedSet(kind=kind, count=count, why=(), exposure_us=exposure_us, **fields), there=NOTHING
    )


NIGHT = (
    planned(FrameKind.BIAS, 4, exposure_us=1_000, gain=26, set_temp_c=-7.5),
    planned(FrameKind.FLAT, 3, filter="Ha", gain=26, set_temp_c=-7.5),
    planned(FrameKind.DARK, 5, exposure_us=90_000_000, gain=26, set_temp_c=-7.5),
)


@pytest.mark.parametrize(
    ("frames", "where"),
    [
        (12, ""),
        (11, "dark 90 s (gain 26, -7.5 °C), frame 5 of 5"),
        (5, "flat Ha (gain 26, -7.5 °C), frame 2 of 3"),
        (0, "bias (gain 26, -7.5 °C), frame 1 of 4"),
    ],
)
def test_the_frame_at_which_the_room_ends_is_named(frames: int, where: str):
    assert end_of_room(NIGHT, Amount(bytes=(frames + 1) * FRAME - 1), BARE) == where
    assert end_of_room(NIGHT, Amount(bytes=10**9, files=frames), BARE) == where


def test_what_is_there_takes_no_room_and_a_continued_set_counts_its_frames():
    begun = replace(NIGHT[2], there=Having(standing=Standing.RESUMED, row=a_set(count=3)))
    there = replace(NIGHT[0], there=Having(standing=Standing.COMPLETE, row=a_set(FrameKind.BIAS, count=4)))
    assert end_of_room((there, begun), Amount(bytes=FRAME), BARE).endswith("frame 5 of 5")
    assert end_of_room((there, begun), Amount(bytes=2 * FRAME), BARE) == ""


def test_masters_need_room_as_well():
    room = Amount(bytes=3 * FRAME)
    assert end_of_room(NIGHT[1:2], room, BARE) == ""
    assert end_of_room(NIGHT[1:2], room, Sizes(pixels=1_000)) == "the master of flat Ha (gain 26, -7.5 °C)"


def test_darks_for_new_flats_come_before_the_other_darks_of_their_state():
    warm = [replace(each, wanted=replace(each.wanted, set_temp_c=3.0)) for each in NIGHT]
    asked = as_taken([NIGHT[1], NIGHT[0], NIGHT[2], *reversed(warm)])
    kinds = [each.wanted.kind[0] for each in with_flat_darks(asked, 5)]
    assert "".join(kinds) == "BFDDBFDD"
    assert [each.wanted.kind for each in with_flat_darks(NIGHT, 0)] == ["BIAS", "FLAT", "DARK"]


def serving(reuse: Reuse) -> list[PlannedSet]:
    return [replace(each, reuse=reuse) for each in NIGHT]


def full_in(frames: float, **reuse: float) -> int | None:
    room = Amount(bytes=int(frames * FRAME))
    return nights_until_full(serving(Reuse(**reuse)), room, BARE, now=NOW)


def test_the_night_in_which_the_disk_becomes_full_is_foretold():
    assert full_in(11.5) == 1
    assert full_in(12 + 3 * 7.5) == 9, "flats alone are taken every night"
    assert full_in(12 + 7 * 2.5, bias_hours=18) == 4
    assert full_in(12 + 12 * 1.5, bias_hours=18, dark_hours=18) == 3
    assert full_in(12 + 3 * 60 + 4) == 61, "darks are taken anew after sixty nights"
    assert full_in(1e9) is None


def test_a_set_that_is_there_is_taken_again_when_it_is_too_old():
    old = a_set(FrameKind.BIAS, count=4, hours=24 * 88)
    there = replace(NIGHT[0], there=Having(standing=Standing.COMPLETE, row=old))
    assert nights_until_full([there], Amount(bytes=FRAME), BARE, now=NOW) == 3
    later = NOW + timedelta(days=1)
    assert nights_until_full([there], Amount(bytes=FRAME), BARE, now=later) == 2


def test_what_shorter_ages_cost_is_said_in_words():
    large = Sizes(pixels=60_000_000)
    costs = list(upkeep(serving(Reuse(bias_hours=18, dark_hours=100, flat_hours=18)), large))
    assert costs == [
        "4 biases every night: 1 minute, 480 MB; without `bias_hours` every 90 days",
        "5 darks every 5 nights: 8 minutes, 600 MB; without `dark_hours` every 60 days",
    ]
    assert list(upkeep(NIGHT, large)) == []
    (cost,) = upkeep(serving(Reuse(bias_hours=1)), None)
    assert cost.startswith("4 biases every night: 1 minute, size not known before the camera was seen; without")


def test_room_that_is_small_beside_what_is_to_be_left_free_is_named():
    """61 GB free, 61 GB to be left: nobody saw that 12 MB were left to be used."""
    room = Room(root=Path("/n"), free=Amount(bytes=61_012_000_000, files=None), needed_bytes=19_000_000, floor_bytes=0)
    words = replace(room, floor_bytes=61_000_000_000).words
    assert words == (
        f"61 GB free below {Path('/n')} (12 MB of it to be used), 19 MB needed, "
        "61 GB to be left free (storage.min_free_mb)"
    )
    assert "to be used" not in replace(room, floor_bytes=2_000_000_000).words
