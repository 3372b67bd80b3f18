"""What a dry run says of masters and files the step then does, with the same words; what it cannot know it says so."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from calibration.frames import FrameKind
from services.config import from_dict
from services.events.records import MasterStarted
from services.indexing.checksums import is_whole
from services.indexing.foreseen import foreseen
from services.indexing.index import index_folder
from services.indexing.problems import FileProblem, warnings_of
from services.indexing.reading import cards_of
from services.masters import MasterOutcome, MasterSettings, Outcome
from services.planning.dry_run import dry_run
from services.planning.master_plan import MasterPlan
from services.planning.outlook import PlannedMaster, planned_masters
from services.planning.request import RunOptions, Step
from services.root import Place
from tests.support.foreign_frames import DARK, FLAT, ForeignRoot


@pytest.fixture
def root(tmp_path: Path) -> Iterator[ForeignRoot]:
    made = ForeignRoot(tmp_path)
    yield made
    made.catalogue.close()


def save(root: ForeignRoot, name: str, count: int, level: float, cards: Mapping[str, Any]) -> None:
    for i in range(count):
        root.save(f"{name}_{i}.fits", level * (1 + 0.001 * i if level > 5000 else 1), cards)


def with_every_reason(root: ForeignRoot) -> None:
    """Write groups that become masters, and groups that are refused, each for another reason."""
    save(root, "darks/lit", 6, 500, DARK | {"EXPTIME": 1.0})
    save(root, "darks/fast", 6, 500, DARK | {"EXPTIME": 9.0, "CHIPMOD": "fast"})
    save(root, "darks/slow", 6, 500, DARK | {"EXPTIME": 9.0, "CHIPMOD": "slow"})
    save(root, "darks/few", 3, 500, DARK | {"EXPTIME": 4.0})
    save(root, "darks/low", 6, 500, DARK | {"EXPTIME": 5.0})
    save(root, "darks/high", 6, 900, DARK | {"EXPTIME": 5.0})
    save(root, "flats/L", 6, 20_000, FLAT)
    save(root, "flats/R", 6, 20_000, FLAT | {"FILTER": "R", "EXPTIME": 7.0})
    save(root, "flats/Ha", 6, 20_000, FLAT | {"FILTER": "Ha", "GAIN": 7})


def planned(root: ForeignRoot) -> list[PlannedMaster]:
    place = Place(layout=root.layout, catalogue=root.catalogue)
    plan = MasterPlan(MasterSettings(num_darks=40, num_flats=40), place, is_whole=is_whole)
    return list(planned_masters(plan, partial(cards_of, root.layout)))


def said(root: ForeignRoot) -> list[str]:
    """Return the lines of a dry run of the masters step."""
    loaded = from_dict({}, root.layout.root / "config_calibration_frames.yaml")
    unused: list[FileProblem] = []
    with foreseen(root.layout, aliases={}, problems=unused) as catalogue:
        place = Place(layout=root.layout, catalogue=catalogue)
        options, read = RunOptions(steps=(Step.MASTERS,)), partial(cards_of, root.layout)
        warnings = tuple(warnings_of(unused))
        return dry_run(loaded, place, options, is_whole=is_whole, cards_of=read, unused=warnings).splitlines()


def became(outcome: MasterOutcome) -> tuple[object, ...]:
    return outcome.kind, outcome.exposure_us, outcome.filter, outcome.n, outcome.code


def becomes(each: PlannedMaster) -> tuple[object, ...]:
    group, code = each.group, None if each.refused is None else each.refused.code
    return group.product, group.exposure_us, group.key.filter, each.n, code


def test_each_group_becomes_what_was_planned(root: ForeignRoot) -> None:
    with_every_reason(root)
    root.masters(darks=False, flats=False, bias=False)  # the frames are known, and nothing is built
    before = planned(root)
    assert all(each.is_sure for each in before)
    outcomes = root.masters()
    assert list(map(becomes, before)) == list(map(became, outcomes))
    codes = [outcome.code for outcome in outcomes if outcome.status is Outcome.REFUSED]
    assert sorted(map(str, codes)) == [
        "no_matching_dark", "no_matching_dark", "too_few_frames", "unlike_frames", "unlike_frames",
    ]  # fmt: skip
    assert [each.exists for each in planned(root)] == [outcome.code is None for outcome in outcomes]


def test_by_headers_alone_it_says_that_levels_are_not_measured(root: ForeignRoot) -> None:
    with_every_reason(root)
    lines = said(root)
    (built,) = [line for line in lines if " to build of the frames that are there" in line]
    assert "before the levels of the frames are measured." in lines[lines.index(built) + 1]
    refused = [line for line in lines if line.startswith("No master ")]
    assert any("differ in CHIPMOD: fast (6), slow (6)" in line for line in refused)
    assert any("3 usable frames of 40 wanted" in line and "levels" in line for line in refused)
    assert any(line.startswith("No master flat R: exposure 7 s: ") and "levels" in line for line in refused)
    index_folder(root.catalogue, root.layout.darks, root.layout.flats, layout=root.layout)
    lines = said(root)
    assert not any("levels of the frames are measured" in line for line in lines)
    assert sum(line.startswith("No master ") for line in lines) == 5
    assert any(line.startswith("2 masters to build of the frames that are there (0 there)") for line in lines)


def test_files_that_are_not_used_are_named_as_the_run_names_them(root: ForeignRoot) -> None:
    save(root, "darks/d", 6, 500, DARK)
    root.save("darks/odd.fits", 500, DARK | {"EXPTIME": "long"})
    root.save("darks/what.fits", 500, DARK | {"IMAGETYP": "Sesame"})
    (root.layout.darks / "short.fits").write_bytes((root.layout.darks / "d_0.fits").read_bytes()[:4000])
    (root.layout.darks / "d.nef").write_bytes(b"raw")
    lines = said(root)
    root.masters()
    assert len(root.problems) == 4
    for problem in root.problems:
        assert any(problem.path in line and problem.reason in line for line in lines), problem
    assert any(line.startswith("1 master to build") for line in lines)


def test_a_master_that_is_built_is_counted_among_those_that_are_built(root: ForeignRoot) -> None:
    root.add(FrameKind.DARK, 1.0, 12)
    root.build()
    root.heard.clear()
    root.add(FrameKind.DARK, 2.0, 12)
    root.add(FrameKind.DARK, 3.0, 2)
    root.add(FrameKind.FLAT, 1.0, 12, filter="L")
    root.add(FrameKind.FLAT, 2.0, 12, filter="R")
    root.add(FrameKind.FLAT, 8.0, 12, filter="B")
    statuses = [outcome.status for outcome in root.build()]
    assert sorted(statuses) == ["built", "built", "built", "kept", "refused", "refused"]
    begun = [event.what for event in root.heard if isinstance(event.what, MasterStarted)]
    assert [(what.number, what.of) for what in begun] == [(1, 3), (2, 3), (3, 3)]
