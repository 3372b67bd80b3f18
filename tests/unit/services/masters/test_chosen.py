"""Who asks whether a master exists and who builds it choose the same frames and darks: a second step builds nothing."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from calibration.frames import FrameKind
from services.events.records import MasterStarted, WarningRaised
from services.indexing.checksums import is_whole
from services.indexing.reading import cards_of
from services.masters import MasterOutcome, MasterSettings, Outcome
from services.planning.master_plan import MasterPlan
from services.planning.outlook import PlannedMaster, planned_masters
from services.root import Place
from tests.support.foreign_frames import DARK, FLAT, ForeignRoot
from tests.support.made_root import START


@pytest.fixture
def root(tmp_path: Path) -> Iterator[ForeignRoot]:
    made = ForeignRoot(tmp_path)
    yield made
    made.catalogue.close()


def planned(root: ForeignRoot, frames: int = 12) -> list[PlannedMaster]:
    place = Place(layout=root.layout, catalogue=root.catalogue)
    plan = MasterPlan(MasterSettings(num_darks=frames, num_flats=frames), place, is_whole=is_whole)
    return list(planned_masters(plan, partial(cards_of, root.layout)))


def again(root: ForeignRoot, paths: list[Path], build: Callable[[], tuple[MasterOutcome, ...]]) -> list[str]:
    """Build again with frames that cannot be read any more; return the warnings."""
    for path in paths:
        path.write_bytes(b"")
    heard = len(root.heard)
    assert {outcome.status for outcome in build()} == {Outcome.KEPT}
    new = [event.what for event in root.heard[heard:]]
    assert not any(isinstance(what, MasterStarted) for what in new)
    return [what.code for what in new if isinstance(what, WarningRaised)]


@pytest.mark.parametrize(("exposures", "steps"), [((1.0, 2.0), (0.0, 0.1, 0.2)), ((0.5, 1.0, 2.0), (0.0, 0.0, 0.3))])
def test_flats_of_a_camera_that_grows_warmer_are_built_once(
    root: ForeignRoot, exposures: tuple[float, ...], steps: tuple[float, ...]
) -> None:
    """The middle of the whole set has another dark than the flats of each exposure."""
    paths = []
    for i, exposure in enumerate(exposures):
        warm = 10.0 + 0.9 * i / (len(exposures) - 1)
        for other in (-0.1, 0.5):  # the second is nearer to the middle, of the first exposure at least
            at = START + timedelta(days=round(10 * other))
            paths += root.add(
                FrameKind.DARK, exposure, 12, set_id=f"dark {exposure} {other}", date_obs=at, set_temp_c=None,
                ccd_temp_c=round(warm + other, 2),
            )  # fmt: skip
        for step in steps:
            paths += root.add(
                FrameKind.FLAT, exposure, 4, set_id="flats", set_temp_c=None, ccd_temp_c=round(warm - step / 3, 2)
            )
    outcomes = root.build()
    assert {outcome.status for outcome in outcomes} == {Outcome.BUILT}
    assert [each.exists for each in planned(root)] == [True] * len(outcomes)
    assert again(root, paths, root.build) == []


def foreign_with_an_odd_dark(root: ForeignRoot) -> list[Path]:
    return [root.save(f"darks/d{i:02}.fits", 1020 if i == 6 else 1000, DARK | {"EXPTIME": 1.0}) for i in range(11)]


def test_what_is_left_out_for_its_level_is_not_looked_for_in_the_master(root: ForeignRoot) -> None:
    paths = foreign_with_an_odd_dark(root)
    assert [outcome.n for outcome in root.masters()] == [10]
    assert [(each.n, each.exists) for each in planned(root, 40)] == [(10, True)]
    assert again(root, paths, lambda: root.build(num_darks=40)) == ["level_off"]


def test_another_programs_flats_without_a_dark_and_dim_ones_are_left_out_the_same_way_each_time(
    root: ForeignRoot,
) -> None:
    paths = foreign_with_an_odd_dark(root)
    for i in range(8):
        paths.append(root.save(f"flats/f{i}.fits", 20_000 + 10 * i, FLAT))
        paths.append(root.save(f"flats/g{i}.fits", 20_000 + 10 * i, FLAT | {"EXPTIME": 7.0}))
    paths += [root.save(f"flats/h{i}.fits", 2_000, FLAT) for i in range(2)]
    assert [outcome.n for outcome in root.masters()] == [10, 8]
    assert [(each.n, each.exists) for each in planned(root, 40)] == [(10, True), (8, True)]
    build = lambda: root.build(num_darks=40, num_flats=40)  # noqa: E731
    assert again(root, paths, build) == ["level_off", "no_matching_dark", "level_off"]
