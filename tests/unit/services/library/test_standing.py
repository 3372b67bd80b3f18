"""What masters are good for among one another: newer sets, more frames, certified ones, rejected frames."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from calibration.frames import FrameKind, GroupKey
from services.catalogue.rows import Mark, MasterRow, MasterStatus
from services.catalogue.said import Said
from services.library.standing import standing

AT = datetime(2026, 3, 1, 20, tzinfo=UTC)
KEY = GroupKey(
    kind=FrameKind.DARK, camera="cam", shape=(4, 6), binning=(1, 1), origin=(0, 0), gain=7, offset=30,
    readout_mode=None, exposure_us=3_000_000, temperature_c=-12.5,
)  # fmt: skip


def master(name: str, inputs: str, *, days: float = 0.0, status: MasterStatus = MasterStatus.BUILT, **more: object):
    """Return a master of frames that are called by one letter each, taken some days after the first."""
    taken = AT + timedelta(days=days)
    values = {"key": KEY, "n": len(inputs), "recipe": name, "built_at": taken + timedelta(hours=1)}
    return MasterRow(path=name, inputs=tuple(inputs), status=status, valid_from=taken, **{**values, **more})


def told(*rows: MasterRow, bad: str = "") -> list[str]:
    found = standing(rows, [Mark(sha, f"darks/{sha}.fits", "a ghost") for sha in bad])
    assert standing(found, [Mark(sha, "") for sha in bad])[0].status == found[0].status, "once more changes nothing"
    return [str(row.status) for row in found]


def test_a_later_complete_set_takes_the_place_and_ends_the_validity():
    old, new = master("old", "abc"), master("new", "xyz", days=61)
    first, second = standing((old, new), ())
    assert (first.status, first.stood_as, first.valid_until) == (MasterStatus.SUPERSEDED, "built", AT + timedelta(61))
    assert first.may_serve
    seam = AT + timedelta(61)
    for at in (seam - timedelta(microseconds=1), seam, seam + timedelta(microseconds=1)):
        assert [row.holds_at(at) for row in (first, second)] == [at < seam, at >= seam]
    assert first.detail == "replaced by new"
    assert second == new
    assert standing((first,), ()) == [old], "when the newer one is gone, the older one stands again"


def test_what_is_worse_or_unlike_takes_no_place():
    old = master("old", "abc")
    for other in (
        master("new", "xy", days=61, status=MasterStatus.PARTIAL),
        master("new", "xyz", days=61, statistics={"verdicts": [{"code": "noise_off"}]}),
        master("new", "xyz", days=61, statistics={"own": False}),
        master("new", "xyz", days=61, key=replace(KEY, gain=8)),
        master("new", "xyz", days=61, status=MasterStatus.BAD),
        master("new", "xyz", days=-61),
        master("new", "ab", days=0.01),
    ):
        assert told(old, other)[0] == "built", other


def test_a_master_of_all_its_frames_and_more_replaces_one_for_good():
    part, whole = standing((master("part", "ab", status=MasterStatus.PARTIAL), master("whole", "abc")), ())
    assert (part.status, whole.status) == (MasterStatus.SUPERSEDED, MasterStatus.BUILT)
    assert not part.may_serve
    again = master("again", "abc", built_at=AT + timedelta(days=9))
    assert told(master("whole", "abc"), again) == ["superseded", "built"]


def test_a_certified_master_gives_way_to_a_certified_one_alone():
    old = master("old", "abc", status=MasterStatus.CERTIFIED)
    new = master("new", "xyz", days=61)
    assert told(old, new) == ["certified", "built"]
    assert told(old, replace(new, status=MasterStatus.CERTIFIED)) == ["superseded", "certified"]


def test_a_master_with_a_rejected_frame_is_suspect_and_replaces_nothing():
    old, new = master("old", "abc"), master("new", "xyz", days=61)
    assert told(old, new, bad="y") == ["built", "suspect"]
    assert told(old, new, bad="a") == ["suspect", "built"]
    flat = master("flat", "mn", darks=("old",), key=replace(KEY, kind=FrameKind.FLAT, exposure_us=None))
    assert told(flat, old, bad="b") == ["suspect", "suspect"]
    (alone,) = standing((replace(flat, status=MasterStatus.SUSPECT, stood_as=MasterStatus.BUILT, detail="d"),), [])
    assert alone.status is MasterStatus.BUILT
    suspect = standing((old,), [Mark("a", "darks/a.fits", "a ghost")])[0]
    assert suspect.detail == "made with a.fits (rejected: a ghost)"
    assert standing((suspect,), ()) == [old]


FLAT = replace(KEY, kind=FrameKind.FLAT, exposure_us=None, temperature_c=None, filter="Ha", source="panel")


def test_a_flat_gives_way_to_the_next_one_unless_that_one_waits_for_somebody():
    old = master("old", "abc", key=FLAT, status=MasterStatus.CERTIFIED)
    new = master("new", "xyz", days=3, key=FLAT)
    assert told(old, new) == ["superseded", "built"]
    waits = replace(new, statistics={"compared_with": "old"})
    assert told(old, waits) == ["certified", "built"], "`serve.certify: by_hand`"
    assert told(old, replace(waits, status=MasterStatus.PARTIAL)) == ["superseded", "partial"]
    assert told(old, replace(waits, certified=Said(at=AT, by="K"))) == ["superseded", "certified"]


def test_of_two_flats_of_one_night_the_complete_one_serves():
    part = master("part", "ab", key=FLAT, status=MasterStatus.PARTIAL, built_at=AT + timedelta(hours=9))
    whole = master("whole", "xyz", key=FLAT)
    later = replace(whole, built_at=AT + timedelta(hours=19))
    for complete in (whole, later):
        assert [row.may_serve for row in standing((part, complete), ())] == [False, True]


def test_what_older_keys_lack_fits_any_and_what_differs_fits_none():
    older, new = master("older", "abc"), master("new", "xyz", days=61, key=replace(KEY, egain_e_adu=0.5))
    assert told(older, new) == ["superseded", "built"]
    other = master("other", "uvw", days=90, key=replace(KEY, egain_e_adu=0.25))
    assert told(new, other) == ["built", "built"]
