"""A new master beside the certified one before it: certified, suspect or noted, and which of them is valid when."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from calibration.combine.recipe import MaskBit
from calibration.frames import FrameKind
from services.catalogue.rows import MasterRow, MasterStatus
from services.events.sentences import sentence
from services.events.standings import MasterCertified, MasterSuperseded, MasterSuspect
from services.library.orders import MasterOrder, MasterWord, obey
from services.masters import Outcome
from services.root import Place
from tests.support.made_root import START, Root

N = 12


@pytest.fixture
def root(tmp_path: Path):
    made = Root(tmp_path)
    yield made
    made.catalogue.close()


def night(root: Root, number: int, kind: FrameKind = FrameKind.BIAS, exposure_s: float = 0.001, **more: object) -> None:
    """Add the frames of another night, and build what there is to build."""
    root.taken = 2880 * number  # frames follow each other by half a minute
    label = f"{START + timedelta(days=number):%Y-%m-%d}"
    root.add(kind, exposure_s, more.pop("count", N), set_id=f"{kind}{exposure_s}{number}", night=label, **more)


def masters(root: Root, kind: FrameKind) -> list[MasterRow]:
    return sorted(root.catalogue.masters(kind=kind), key=lambda row: row.valid_from or START)


def states(root: Root, kind: FrameKind) -> list[str]:
    return [str(row.status) for row in masters(root, kind)]


def heard(root: Root, kind: type) -> list:
    return [event.what for event in root.heard if isinstance(event.what, kind)]


def place(root: Root) -> Place:
    return Place(layout=root.layout, catalogue=root.catalogue)


def test_a_healthy_night_takes_over_at_its_first_frame_and_says_so(root: Root):
    night(root, 0)
    root.build(darks=False)
    assert states(root, FrameKind.BIAS) == ["certified"]
    night(root, 60)
    root.build(darks=False)
    old, new = masters(root, FrameKind.BIAS)
    assert (old.status, new.status, new.valid_until) == (MasterStatus.SUPERSEDED, MasterStatus.CERTIFIED, None)
    assert old.valid_until == new.valid_from
    assert [row.path for row in root.catalogue.masters(at=new.valid_from)] == [new.path]
    first, second = heard(root, MasterCertified)
    assert (first.before, second.before) == (None, old.path)
    assert sentence(first).endswith("is certified: it is the first, and nothing speaks against it")
    assert sentence(second) == f"{Path(new.path).name} is certified: it is like {Path(old.path).name}"
    (gone,) = heard(root, MasterSuperseded)
    assert (gone.path, gone.until) == (old.path, new.valid_from)
    assert not heard(root, MasterSuspect)


def test_a_night_with_another_offset_is_suspect_once_and_the_old_master_serves_on(
    root: Root, monkeypatch: pytest.MonkeyPatch
):
    night(root, 0)
    root.build(darks=False)
    night(root, 60)
    monkeypatch.setattr("tests.support.made_root.BIAS", 540.0)
    root.taken -= N
    night(root, 61)
    (kept, built, differs) = root.build(darks=False)
    assert [o.status for o in (kept, built, differs)] == [Outcome.KEPT, Outcome.BUILT, Outcome.BUILT]
    assert states(root, FrameKind.BIAS) == ["superseded", "certified", "suspect"]
    _, good, bad = masters(root, FrameKind.BIAS)
    assert [each.code for each in differs.suspect] == ["level_changed"]
    assert (bad.code, bad.detail.startswith(f"unlike {Path(good.path).name}: level changed: the level is ")) == (
        "master_differs",
        True,
    )
    (told,) = heard(root, MasterSuspect)
    assert (told.path, told.before) == (bad.path, good.path)
    assert f"{Path(good.path).name} serves on. Look at it: `nightcal certify {Path(bad.path).name}`" in sentence(told)
    assert [o.status for o in root.build(darks=False)] == [Outcome.KEPT] * 3, "it waits; it is not built again"
    assert len(heard(root, MasterSuspect)) == 1, "said once"
    answer = obey(place(root), MasterOrder(order=MasterWord.CERTIFY, masters=(bad.path,)), at=START)
    assert answer.ok
    assert states(root, FrameKind.BIAS) == ["superseded", "superseded", "certified"]
    night(root, 62)
    root.build(darks=False)
    assert states(root, FrameKind.BIAS)[-1] == "certified", "it is like the one that was certified"


def test_pixels_that_changed_are_flagged_and_the_same_in_threads_as_in_bands(root: Root):
    night(root, 0, FrameKind.DARK, 2.0)
    root.build()
    root.hot[30, 40] = 300.0
    night(root, 60, FrameKind.DARK, 2.0)
    root.build(memory_mb=0.1)
    old, new = masters(root, FrameKind.DARK)
    assert new.status is MasterStatus.CERTIFIED, new.detail
    mask = root.planes(root.layout.absolute(new.path))["MASK"]
    assert [tuple(at) for at in np.argwhere(mask & MaskBit.CHANGED)] == [(30, 40)]
    assert new.statistics["changed"] == 1
    assert not (root.planes(root.layout.absolute(old.path))["MASK"] & MaskBit.CHANGED).any()


def test_new_dust_is_certified_with_a_note_and_a_failing_light_is_not(root: Root):
    night(root, 0, FrameKind.DARK, 2.0)
    night(root, 0, FrameKind.FLAT, 2.0, filter="V")
    root.build()
    root.flat[30:34, 10:14] *= 0.9
    night(root, 3, FrameKind.FLAT, 2.0, filter="V", light=26000.0)
    root.build()
    assert states(root, FrameKind.FLAT) == ["superseded", "certified"]
    (note,) = heard(root, MasterCertified)[-1].notes
    assert note.code == "new_dust"
    assert "new dust, or dust that is gone" in sentence(heard(root, MasterCertified)[-1])
    root.flat *= 1.0 + 0.04 * np.arange(64) / 64
    night(root, 5, FrameKind.FLAT, 2.0, filter="V")
    (*_, outcome) = root.build()
    assert [each.code for each in outcome.suspect] == ["gradient_changed"]
    assert states(root, FrameKind.FLAT) == ["superseded", "certified", "suspect"]


def test_of_two_sets_of_flats_of_one_night_the_later_serves_and_neither_is_built_again(root: Root):
    night(root, 0, FrameKind.DARK, 2.0)
    for number in (0, 1):
        root.add(FrameKind.FLAT, 2.0, N, filter="V", set_id=f"flats{number}")
        root.build()
    first, second = sorted(masters(root, FrameKind.FLAT), key=lambda row: row.path)
    assert (first.status, first.may_serve, second.status) == (MasterStatus.SUPERSEDED, False, MasterStatus.CERTIFIED)
    assert first.valid_from == second.valid_from
    assert {outcome.status for outcome in root.build()} == {Outcome.KEPT}


def test_flats_take_no_dark_from_the_other_side_of_an_invalidation(root: Root):
    night(root, 0, FrameKind.DARK, 2.0)
    root.build()
    at = START + timedelta(days=2)
    order = MasterOrder(order=MasterWord.INVALIDATE, kind=FrameKind.DARK, since=at, reason="a new sensor window")
    assert obey(place(root), order, at=at).ok
    night(root, 3, FrameKind.FLAT, 2.0, filter="V")
    (*_, outcome) = root.build()
    assert (outcome.status, outcome.code) == (Outcome.REFUSED, "no_matching_dark")
    night(root, 1, FrameKind.FLAT, 2.0, filter="R")
    night(root, 30, FrameKind.DARK, 2.0)
    root.build()
    old, new = masters(root, FrameKind.DARK)
    assert {row.key.filter: row.darks for row in masters(root, FrameKind.FLAT)} == {"R": (old.path,), "V": (new.path,)}


@pytest.mark.parametrize("longitude_deg", [None, 150.0, -110.0])
def test_a_flat_of_the_dawn_is_valid_from_the_noon_before_its_night(root: Root, longitude_deg: float | None):
    night(root, 0, FrameKind.DARK, 2.0)
    root.taken += 1200  # ten hours later
    root.add(FrameKind.FLAT, 2.0, N, filter="V")
    root.build(longitude_deg=longitude_deg)
    (flat,) = masters(root, FrameKind.FLAT)
    shift = timedelta(hours=(longitude_deg or 0.0) / 15)
    assert flat.valid_from is not None
    assert (flat.valid_from + shift).strftime("%H:%M") == "12:00"
    first = root.catalogue.frames(kind=FrameKind.FLAT)[0].date_obs
    assert timedelta(0) <= first - flat.valid_from < timedelta(days=1)
    assert root.catalogue.masters(kind=FrameKind.FLAT, at=flat.valid_from) == [flat]


def test_a_partial_master_serves_uncertified_unless_it_is_unlike(root: Root, monkeypatch: pytest.MonkeyPatch):
    night(root, 0, count=6)
    (outcome,) = root.build(darks=False)
    assert (outcome.status, states(root, FrameKind.BIAS)) == (Outcome.PARTIAL, ["partial"])
    night(root, 10)
    root.build(darks=False)
    night(root, 20, count=6)
    root.build(darks=False)
    assert states(root, FrameKind.BIAS) == ["superseded", "certified", "partial"]
    assert not masters(root, FrameKind.BIAS)[-1].may_serve, "the certified one is better"
    monkeypatch.setattr("tests.support.made_root.READ_NOISE", 6.5)
    night(root, 30, count=6)
    root.build(darks=False)
    assert states(root, FrameKind.BIAS)[-1] == "suspect"


def test_by_hand_nobody_but_the_observer_certifies(root: Root):
    night(root, 0)
    root.build(darks=False, by_hand=True)
    obey(place(root), MasterOrder(order=MasterWord.CERTIFY, masters=("master_bias_*",)), at=START)
    night(root, 60)
    root.build(darks=False, by_hand=True)
    assert states(root, FrameKind.BIAS) == ["certified", "built"]
    old, new = masters(root, FrameKind.BIAS)
    assert [row.path for row in root.catalogue.masters(at=new.valid_from + timedelta(days=1))] == [old.path]
    assert new.detail == f"{Path(old.path).name} serves"


def test_the_first_after_an_invalidation_is_judged_by_itself_and_older_frames_stay_before_it(
    root: Root, monkeypatch: pytest.MonkeyPatch
):
    night(root, 0)
    root.build(darks=False)
    at = START + timedelta(days=40)
    order = MasterOrder(order=MasterWord.INVALIDATE, kind=FrameKind.BIAS, since=at, reason="another power supply")
    assert obey(place(root), order, at=at).ok
    monkeypatch.setattr("tests.support.made_root.BIAS", 540.0)
    night(root, 60)
    root.build(darks=False)
    assert states(root, FrameKind.BIAS) == ["superseded", "certified"]
    old, new = masters(root, FrameKind.BIAS)
    assert (old.valid_until, new.statistics["compared_with"]) == (at, None)
    night(root, 5, FrameKind.DARK, 2.0)
    root.build()
    assert not [row for row in masters(root, FrameKind.DARK) if row.exposure_us != 1000 and row.invalid]
    night(root, 20, exposure_s=0.001, gain=99)
    root.build(darks=False)
    (other,) = [row for row in masters(root, FrameKind.BIAS) if row.key.gain == 99]
    assert other.valid_until == at, "its frames were taken before the invalidation, whenever it is built"


def test_a_lost_file_of_the_one_before_leaves_its_numbers_to_compare(root: Root, monkeypatch: pytest.MonkeyPatch):
    night(root, 0)
    root.build(darks=False, save_planes=False)
    (old,) = masters(root, FrameKind.BIAS)
    night(root, 60)
    root.layout.absolute(old.path).write_bytes(b"")
    root.build(darks=False)
    assert states(root, FrameKind.BIAS)[-1] == "certified"
    root.layout.absolute(masters(root, FrameKind.BIAS)[-1].path).write_bytes(b"")
    monkeypatch.setattr("tests.support.made_root.BIAS", 540.0)
    night(root, 90)
    root.build(darks=False)
    assert states(root, FrameKind.BIAS)[-1] == "suspect"


def test_masters_of_older_versions_serve_and_give_way(root: Root):
    night(root, 0)
    root.build(darks=False, by_hand=True)
    (row,) = masters(root, FrameKind.BIAS)
    record = row.to_dict()
    for name in ("judged", "certified", "bad", "invalid"):
        del record[name]
    record["statistics"] = {k: v for k, v in row.statistics.items() if k != "compared_with"}
    root.catalogue.add_master(MasterRow.from_dict(record))
    night(root, 60)
    root.build(darks=False)
    assert states(root, FrameKind.BIAS) == ["superseded", "certified"]
    assert masters(root, FrameKind.BIAS)[-1].statistics["compared_with"] == row.path


def test_sets_of_rejected_and_invalidated_masters_are_spent_and_begun_ones_of_before_too(root: Root):
    night(root, 0, FrameKind.DARK, 2.0)
    night(root, 0)
    root.build()
    assert not any(root.catalogue.spent().holds(row) for row in root.catalogue.sets())
    (dark,) = (row for row in masters(root, FrameKind.DARK) if row.exposure_us == 2_000_000)
    obey(place(root), MasterOrder(order=MasterWord.REJECT, masters=(dark.path,), reason="fog"), at=START)
    assert [row.key.kind for row in root.catalogue.sets() if root.catalogue.spent().holds(row)] == [FrameKind.DARK]
    obey(place(root), MasterOrder(order=MasterWord.UNREJECT, masters=(dark.path,)), at=START)
    at = START + timedelta(days=9)
    night(root, 8, count=2)
    night(root, 10)
    order = MasterOrder(order=MasterWord.INVALIDATE, kind=FrameKind.BIAS, since=at, reason="another power supply")
    assert obey(place(root), order, at=at).ok
    spent = root.catalogue.spent()
    assert sorted(row.set_id for row in root.catalogue.sets() if spent.holds(row)) == ["BIAS0.0010", "BIAS0.0018"]
    obey(place(root), MasterOrder(order=MasterWord.REVALIDATE, kind=FrameKind.BIAS), at=at)
    assert not any(root.catalogue.spent().holds(row) for row in root.catalogue.sets())
