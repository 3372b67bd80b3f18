"""Matching: the right dark or none, and why not the others."""

import random
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest

from calibration.frames import FrameKind, GroupKey
from calibration.matching import RULES, Candidate, differences, match, question_of, undecided

NIGHT = datetime(2026, 1, 1, tzinfo=UTC)

DARK = GroupKey(
    kind=FrameKind.DARK,
    camera="abc",
    shape=(10, 20),
    binning=(1, 1),
    origin=(0, 0),
    gain=100,
    offset=30,
    readout_mode="Normal",
    row_order="TOP-DOWN",
    exposure_us=1_000_000,
    temperature_c=-10.0,
)
FLAT = replace(DARK, kind=FrameKind.FLAT, exposure_us=None, temperature_c=None, filter="L", night="2026-01-01")


def candidate(name="d", *, n=40, at=NIGHT, own=True, usable=True, **key):
    return Candidate(name=name, key=replace(DARK, **key), n=n, at=at, own=own, usable=usable)


def dark_for_flat(*candidates, temperature_c=-10.0, **options):
    asked = question_of(FLAT, FrameKind.DARK, exposure_us=1_000_000, temperature_c=temperature_c)
    return match(FrameKind.DARK, asked, candidates, **({"at": NIGHT} | options))


def bias_for(key, *candidates, **known):
    return match(FrameKind.BIAS, question_of(key, FrameKind.BIAS, **known), candidates)


def test_equal_dark_is_a_perfect_match():
    report = dark_for_flat(candidate())
    assert report.chosen.name == "d"
    assert report.score == 0
    assert str(report) == "d (score 0.000)"


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"camera": "abc|simulated"}, "camera abc|simulated, wanted abc"),
        ({"shape": (10, 21)}, "shape"),
        ({"binning": (2, 2)}, "binning"),
        ({"origin": (0, 4)}, "origin"),
        ({"gain": 101}, "gain 101, wanted 100"),
        ({"gain": None}, "gain unknown, wanted 100"),
        ({"offset": 0}, "offset 0, wanted 30"),
        ({"readout_mode": None}, "readout_mode unknown"),
        ({"row_order": "BOTTOM-UP"}, "row_order"),
        ({"exposure_us": 1_000_001}, "exposure 1.000001 s, wanted 1 s"),
        ({"exposure_us": 2_000_000}, "exposure 2 s, wanted 1 s"),
        ({"exposure_us": None}, "exposure unknown"),
        ({"temperature_c": -8.9}, "temperature -8.9 °C, wanted -10 °C"),
        ({"temperature_c": None}, "temperature unknown, wanted -10 °C"),
        ({"kind": FrameKind.LIGHT}, "a LIGHT, no DARK"),
        ({"usable": False}, "marked bad"),
    ],
)
def test_anything_else_is_refused_with_its_reason(other, reason):
    report = dark_for_flat(candidate(**other))
    assert report.chosen is None
    assert report.score is None
    assert reason in report.refused[0].reason
    assert reason in str(report)


def test_no_candidates_says_so():
    assert str(dark_for_flat()) == "none: no candidates"


def test_unknown_temperature_fits_only_unknown():
    assert dark_for_flat(candidate(), temperature_c=None).chosen is None
    assert dark_for_flat(candidate(temperature_c=None), temperature_c=None).chosen is not None


def test_foreign_exposures_may_differ_by_half_a_millisecond():
    assert dark_for_flat(candidate(exposure_us=1_000_900)).chosen is None
    assert dark_for_flat(candidate(exposure_us=1_000_900, own=False)).chosen is not None
    assert dark_for_flat(candidate(exposure_us=1_000_900), own=False).chosen is not None
    assert dark_for_flat(candidate(exposure_us=1_001_100, own=False)).chosen is None


def test_bias_of_the_same_exposure_serves_but_a_dark_is_preferred():
    bias, dark = candidate("a", kind=FrameKind.BIAS), candidate("z")
    assert dark_for_flat(bias).chosen == bias
    assert dark_for_flat(bias, dark).chosen == dark


def test_nearest_in_temperature_then_time_then_number_then_name():
    far = candidate("a", temperature_c=-9.2)
    near = candidate("b", temperature_c=-9.9)
    old = candidate("c", at=NIGHT - timedelta(days=30))
    few = candidate("d", n=10)
    best = candidate("e")
    twin = candidate("f")
    everything = [far, near, old, few, best, twin]
    ranking = []
    while everything:
        random.Random(len(everything)).shuffle(everything)
        chosen = dark_for_flat(*everything).chosen
        ranking.append(chosen.name)
        everything.remove(chosen)
    assert ranking == ["e", "f", "d", "b", "c", "a"]


def test_outranked_candidates_are_reported_too():
    report = dark_for_flat(candidate("a"), candidate("b", n=3), candidate("c", gain=0))
    assert [refusal.candidate.name for refusal in report.refused] == ["b", "c"]
    assert "a is preferred" in report.refused[0].reason


def test_bias_is_found_whatever_the_exposure():
    bias = candidate("b", kind=FrameKind.BIAS, exposure_us=1000)
    assert bias_for(FLAT, candidate(), bias, temperature_c=-10.2).chosen == bias
    assert bias_for(DARK, bias).chosen == bias
    assert bias_for(DARK, candidate()).refused[0].reason == "a DARK, no BIAS"


def test_every_difference_is_named_and_the_nearest_candidate_comes_first():
    report = dark_for_flat(candidate("a", gain=0, offset=0, temperature_c=5.0), candidate("b", gain=0))
    assert [refusal.candidate.name for refusal in report.refused] == ["b", "a"]
    assert report.refused[1].reason == (
        "gain 0, wanted 100 and offset 0, wanted 30 and temperature 5 °C, wanted -10 °C"
    )


FREE = {
    FrameKind.BIAS: {"kind", "filter", "night", "source", "rotator_angle_deg"},
    FrameKind.DARK: {"kind", "filter", "night", "source", "rotator_angle_deg"},
    FrameKind.FLAT: {"kind", "exposure_us", "temperature_c"},
}
"""Fields that a kind's rules say nothing of, because its keys do not hold them; the kind itself is looked at apart."""


@pytest.mark.parametrize("kind", list(RULES))
def test_the_rules_name_every_field_of_a_key(kind):
    """A field that is added to the key must be added to the rules, or masters would be chosen in spite of it."""
    assert set(RULES[kind]) | FREE[kind] == {field.name for field in fields(GroupKey)}
    assert not set(RULES[kind]) & FREE[kind]


OTHER = {
    "camera": "xyz",
    "shape": (10, 21),
    "binning": (2, 2),
    "origin": (0, 4),
    "gain": None,
    "offset": 0,
    "readout_mode": None,
    "row_order": None,
    "exposure_us": 2_000_000,
    "temperature_c": -8.9,
    "filter": None,
    "source": "sky",
    "rotator_angle_deg": 91.5,
    "night": "2026-01-02",
    "egain_e_adu": 18.69,
    "bayer_pattern": "GBRG",
    "calibrated": "BD",
    "pedestal_adu": 100.0,
    "unread": "GAIN=High",
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in RULES for name in RULES[kind]])
def test_a_field_that_is_asked_for_refuses_what_differs_in_it_and_decides_unless_it_is_free(kind, name):
    key = replace(DARK, kind=kind, filter="L", source="panel", rotator_angle_deg=90.0, night="2026-01-01")
    key = replace(key, egain_e_adu=0.82, bayer_pattern="RGGB")
    other = replace(key, **{name: OTHER[name]})
    (found,) = differences(kind, {name: getattr(key, name)}, other)
    assert found.name == name
    assert undecided(kind, [key, other]) == ((name,) if RULES[kind][name].decisive else ())
    assert not undecided(kind, [key, key])
    assert not differences(kind, {}, other)


def test_masters_of_older_versions_that_do_not_say_their_mosaic_still_serve_but_not_what_was_calibrated():
    key = replace(DARK, bayer_pattern="RGGB", egain_e_adu=0.82)
    assert not differences(FrameKind.DARK, question_of(key, FrameKind.DARK), DARK)
    assert not differences(FrameKind.DARK, question_of(DARK, FrameKind.DARK), key)
    assert differences(FrameKind.DARK, question_of(key, FrameKind.DARK), replace(key, calibrated="B"))


def test_what_a_kind_does_not_have_cannot_be_asked_for():
    with pytest.raises(TypeError, match="a dark is not chosen by filter, gian, but by camera"):
        differences(FrameKind.DARK, {"filter": "L", "gian": 3}, DARK)


def test_rotator_angles_within_a_degree_are_one_around_the_circle():
    flats = [replace(FLAT, rotator_angle_deg=angle) for angle in (359.7, 0.2)]
    assert not undecided(FrameKind.FLAT, flats)
    assert undecided(FrameKind.FLAT, [*flats, replace(FLAT, rotator_angle_deg=1.0)]) == ("rotator_angle_deg",)
    assert undecided(FrameKind.FLAT, [*flats, FLAT]) == ("rotator_angle_deg",)


def test_a_light_gets_the_flat_of_the_nearest_night():
    def flat(name, days):
        key = replace(FLAT, source="panel", rotator_angle_deg=90.4)
        return Candidate(name=name, key=key, n=40, at=NIGHT + timedelta(days=days))

    light = replace(FLAT, kind=FrameKind.LIGHT, source="panel", rotator_angle_deg=90.0, night="2026-01-05")
    asked = question_of(light, FrameKind.FLAT)
    report = match(FrameKind.FLAT, asked, [flat("old", 0), flat("near", 3)], at=NIGHT + timedelta(days=4))
    assert report.chosen.name == "near"
