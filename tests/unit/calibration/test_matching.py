"""Matching: the right dark or none, and why not the others."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from calibration.frames import FrameKind, GroupKey
from calibration.matching import Candidate, match_bias, match_dark

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


def dark_for_flat(*candidates, **options):
    return match_dark(FLAT, 1_000_000, candidates, **({"temperature_c": -10.0, "at": NIGHT} | options))


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
        ({"exposure_us": 1_000_001}, "exposure 1 s, wanted 1 s"),
        ({"exposure_us": 2_000_000}, "exposure 2 s, wanted 1 s"),
        ({"exposure_us": None}, "exposure unknown"),
        ({"temperature_c": -8.9}, "temperature -8.9 C, wanted -10 C"),
        ({"temperature_c": None}, "temperature unknown, wanted -10 C"),
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
    assert match_bias(FLAT, [candidate(), bias], temperature_c=-10.2).chosen == bias
    assert match_bias(DARK, [bias]).chosen == bias
    assert match_bias(DARK, [candidate()]).refused[0].reason == "a DARK, no BIAS"
