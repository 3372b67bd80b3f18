"""Frames of other programs against one another: what is off is found, ordinary nights lose nothing."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import stdtr

from calibration.errors import FrameCode
from calibration.frames import FrameKind
from calibration.series import Exposed, Measured, _two_sided, odd_exposures, odd_frames, two_levels


def series(levels, *, noise=7.0, noisy=(), temperatures=None):
    warm = [None] * len(levels) if temperatures is None else temperatures
    return [
        Measured(level_adu=level, sigma_adu=noise * (3 if i in noisy else 1 + 0.003 * (i % 3)), ccd_temp_c=t)
        for i, (level, t) in enumerate(zip(levels, warm, strict=True))
    ]


def wandering(n, wander, seed=1, shifted=None):
    levels = 1000 + np.random.default_rng(seed).normal(0, wander, n)
    for i, shift in (shifted or {}).items():
        levels[i] += shift
    return levels


@pytest.mark.parametrize("kind", [FrameKind.BIAS, FrameKind.DARK])
@pytest.mark.parametrize(
    ("n", "wander", "noise", "shifted"),
    [
        (11, 0.1, 7.0, {6: 5.0}),
        (10, 0.2, 7.0, {0: 4.0}),
        (40, 0.3, 7.0, {39: -3.0}),
        (12, 0.3, 7.0, {3: 5.0, 7: 5.0}),
        (20, 0.3, 7.0, {1: 100.0, 2: 5.0, 11: -6.0}),
        (16, 0.05, 2.0, {4: 1.0}),
        (16, 0.5, 20.0, {15: 12.0}),
    ],
)
def test_frames_of_another_level_are_found_and_no_others(kind, n, wander, noise, shifted):
    found = odd_frames(kind, series(wandering(n, wander, shifted=shifted), noise=noise))
    assert set(found) == set(shifted)
    assert {verdict.code for verdict in found.values()} == {FrameCode.LEVEL_OFF}
    assert all(verdict.limit == pytest.approx(1000, abs=3 * wander) for verdict in found.values())


def test_frames_of_another_noise_are_found():
    found = odd_frames(FrameKind.DARK, series(wandering(12, 0.3), noisy=(4, 7, 10)))
    assert {i: verdict.code for i, verdict in found.items()} == dict.fromkeys((4, 7, 10), FrameCode.NOISE_OFF)


@pytest.mark.parametrize("wander", [0.0, 0.1, 0.3, 1.0, 3.0])
def test_two_thousand_healthy_frames_are_all_kept(wander):
    rng = np.random.default_rng(5)
    for n in (3, 4, 5, 6, 8, 10, 12, 20, 40, 100) * 10:
        temperatures = rng.normal(-10, 0.1, n)
        found = odd_frames(FrameKind.BIAS, series(1000 + rng.normal(0, wander, n), temperatures=temperatures))
        assert not found
        assert two_levels(FrameKind.DARK, series(1000 + rng.normal(0, wander, n))) is None


@pytest.mark.parametrize(("n", "shift"), [(4, 50), (5, 12), (6, 8), (8, 4), (11, 3)])
@pytest.mark.parametrize("noise", [2, 7])
def test_nine_of_ten_shifted_frames_are_found_from_a_shift_on_that_falls_with_their_number(n, shift, noise):
    seen = [odd_frames(FrameKind.DARK, series(wandering(n, 0.3, i, {i % n: shift}), noise=noise)) for i in range(100)]
    assert np.mean([set(found) == {i % n} for i, found in enumerate(seen)]) >= 0.85


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 12, 33, 200])
def test_the_chance_of_a_value_far_off_is_that_of_students_distribution(freedom):
    t = np.array([0.0, 0.5, 3.0, 9.0])
    assert [_two_sided(each, freedom) for each in t] == pytest.approx(2 * stdtr(freedom, -t), rel=1e-6, abs=1e-13)


@pytest.mark.parametrize("drift", [np.linspace(0, 6, 15), 4 * np.exp(-np.arange(15) / 5), np.sqrt(np.arange(15.0))])
def test_a_level_that_drifts_is_no_fault(drift):
    levels = wandering(15, 0.1) + drift
    assert not odd_frames(FrameKind.DARK, series(levels))
    assert two_levels(FrameKind.DARK, series(levels)) is None


def test_a_level_that_follows_the_temperature_is_no_fault():
    temperatures = np.array([16.0, 16.1, 16.2, 16.1, 16.0, 16.2, 16.1, 16.9, 16.0, 16.1])
    levels = wandering(10, 0.1) + 40 * (temperatures - 16)
    assert not odd_frames(FrameKind.DARK, series(levels, temperatures=temperatures))
    levels[3] += 6
    assert set(odd_frames(FrameKind.DARK, series(levels, temperatures=temperatures))) == {3}


def test_flats_are_not_judged_by_their_level_and_two_frames_not_at_all():
    assert not odd_frames(FrameKind.FLAT, series(wandering(12, 0.1, shifted={3: 5000.0})))
    assert not odd_frames(FrameKind.DARK, series(wandering(2, 0.1, shifted={1: 50.0})))


@pytest.mark.parametrize(("low", "high"), [(10, 10), (7, 5), (3, 4), (2, 2)])
def test_two_levels_are_told_apart(low, high):
    rng = np.random.default_rng(2)
    levels = np.concatenate([510 + rng.normal(0, 0.3, low), 900 + rng.normal(0, 0.3, high)])
    order = rng.permutation(low + high)
    parts = two_levels(FrameKind.DARK, series(levels[order]))
    assert parts is not None
    assert [len(part) for part in parts] == [low, high]
    assert max(levels[order][parts[0]]) < 600 < min(levels[order][parts[1]])


def test_flats_of_two_levels_are_told_apart_but_not_those_of_a_fading_lamp():
    levels = np.concatenate([np.linspace(20000, 19600, 10), np.linspace(30000, 29500, 10)])
    assert two_levels(FrameKind.FLAT, series(levels)) is not None
    assert two_levels(FrameKind.FLAT, series(np.linspace(20000, 19600, 20))) is None
    assert two_levels(FrameKind.FLAT, series(np.geomspace(20000, 40000, 20))) is None


def exposed(*pairs):
    return [Exposed(exposure_us=round(seconds * 1e6), level_adu=level) for seconds, level in pairs]


@pytest.mark.parametrize(
    ("levels", "off", "expected"),
    [
        ([(0, 1000), (10, 1001), (60, 1006), (120, 1112)], 3, 1012),
        ([(0, 1000), (10, 1101), (60, 1006), (120, 1012)], 1, 1001),
        ([(0, 1100), (10, 1001), (60, 1006), (120, 1012)], 0, 1000),
        ([(0, 1000), (10, 901)], 1, 1000),
        ([(0, 1000), (60, 906), (120, 1012)], 1, 1006),
        ([(0, 1000), (10, 1001), (120, 1112)], 2, 1012),
        ([(0, 500), (30, 503), (60, 506), (300, 530), (600, 160)], 4, 500),
    ],
)
def test_an_exposure_on_another_pedestal_is_found_with_what_the_others_expect(levels, off, expected):
    found = odd_exposures(exposed(*levels))
    assert list(found) == [off]
    assert found[off].code == FrameCode.PEDESTAL_OFF
    assert found[off].limit == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(
    "levels",
    [
        [(0, 1000), (60, 1300)],
        [(0, 1000), (10, 1500), (60, 4000), (300, 16000)],
        [(0, 1000), (1, 1010), (2, 1009), (60, 1011)],
        [(0, 1000), (1, 1000), (60, 998), (300, 996)],
        [(0, 500), (1, 500), (10, 503), (600, 560)],
        [(0, 1000), (2, 1000.3), (60, 1012), (300, 1055), (600, 1130)],
        [(0, 512), (30, 560), (60, 600), (120, 700)],
        [(30, 700)],
        [],
    ],
)
def test_ordinary_levels_of_biases_and_darks_pass(levels):
    assert not odd_exposures(exposed(*levels))


def test_the_expected_level_does_not_depend_on_the_order():
    levels = exposed((0, 1000), (10, 1001), (60, 1006), (120, 1112))
    turns = [levels[i:] + levels[:i] for i in range(4)]
    found = [odd_exposures(turn) for turn in turns]
    assert all(
        a[min(a)] == pytest.approx(b[min(b)]) or a[min(a)].limit == pytest.approx(b[min(b)].limit)
        for a, b in pairwise(found)
    )
