"""The daemon killed at random moments, alone or with all of its children, beside an observatory that goes on."""

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.outlived import LATER, SOON, killed_daemons
from tests.support.small_night import Night

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux can wait for another's children"),
    pytest.mark.parametrize("with_children", [False, True], ids=["alone", "with its children"]),
]


@pytest.mark.timeout(200)
def test_a_daemon_that_is_killed_leaves_nothing_unsafe_open_or_lost(tmp_path: Path, with_children: bool) -> None:
    dice = random.Random(4 + with_children)
    with killed_daemons(tmp_path / "night", dice=dice, moments=SOON, with_children=with_children) as killed:
        while killed.strike() and killed.kills < 2:
            pass
        killed.look()
    assert killed.kills == 2


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_hundred_kills_leave_nothing_unsafe_open_lost_or_twice(
    tmp_path: Path, whole_files: Callable[[Night], None], with_children: bool
) -> None:
    dice, met, done, night = random.Random(20261129 + with_children), Counter[str](), 0, 0
    while done < 100:
        root, night = tmp_path / f"night{night}", night + 1
        with killed_daemons(root, dice=dice, moments=LATER, with_children=with_children) as killed:
            while killed.strike() and done + killed.kills < 100:
                pass
            killed.look()
            killed.finish()
            whole_files(killed.night)
        done += killed.kills
        met += killed.met
    print(f"\n{done} kills over {night} nights met {dict(met)}")
