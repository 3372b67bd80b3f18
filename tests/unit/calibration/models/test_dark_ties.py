"""How far levels of groups wander, and what they are, from what the groups say of them."""

import numpy as np
import pytest

from calibration.models.dark.ties import Left, Levels, Said, Ties, before_of, level_left, levels_of

SESSION = np.repeat(np.arange(8), 3)


def said_of(levels: np.ndarray, sigma_adu: float, rng: np.random.Generator) -> Said:
    precision = np.eye(len(levels)) / sigma_adu**2
    return Said(precision=precision, pull=precision @ (levels + sigma_adu * rng.standard_normal(len(levels))))


def test_levels_that_are_noise_hardly_ever_wander():
    rng = np.random.default_rng(1)
    wandering = 0
    for _ in range(100):
        said = said_of(np.zeros(24), 2.0, rng)
        found = levels_of(before_of(Ties.among(SESSION), said), said)
        wandering += bool(found.before_adu2.any())
        assert found.before_adu2.any() or not (found.value_adu.any() or found.sigma_adu.any())
    assert wandering <= 3


@pytest.mark.parametrize("shared", [True, False])
def test_how_far_levels_wander_and_whether_sessions_share_them_is_seen(shared):
    rng = np.random.default_rng(2)
    levels = 80.0 * (rng.standard_normal(8)[SESSION] if shared else rng.standard_normal(24))
    said = said_of(levels, 2.0, rng)
    before = before_of(Ties.among(SESSION), said)
    assert np.sqrt(np.diag(before).mean()) == pytest.approx(np.sqrt(np.mean(levels**2)), rel=0.3)
    assert (before[0, 1] > 0.8 * before[0, 0]) == shared
    found = levels_of(before, said)
    assert np.abs(found.value_adu - levels).max() < 8.0
    assert (found.sigma_adu < 3.0).all()


def test_what_the_groups_cannot_show_keeps_the_error_that_it_had_before():
    """All levels but for what is proportional to a dark that all pixels have."""
    rng = np.random.default_rng(3)
    dark = np.linspace(1.0, 20.0, 12)
    away = dark / np.linalg.norm(dark)
    precision = (np.eye(12) - np.outer(away, away)) / 4.0
    levels = 50.0 * rng.standard_normal(12)
    said = Said(precision=precision, pull=precision @ levels)
    found = levels_of(before_of(Ties.among(np.arange(12)), said), said)
    assert np.sqrt(away @ found.covariance_adu2 @ away) > 35.0
    across = np.eye(12)[0] - away * away[0]
    assert abs(across @ (found.value_adu - levels)) < 3.0


def test_what_is_known_from_elsewhere_is_believed():
    ties = Ties(known_adu2=np.eye(3) * 100.0, shared=(np.arange(3),))
    said = Said(precision=np.zeros((3, 3)), pull=np.zeros(3))
    found = levels_of(before_of(ties, said), said)
    assert (found.value_adu == 0).all()
    assert (found.sigma_adu >= 10.0).all()


def test_parts_of_levels_keep_what_they_share_and_a_root_is_one_of_the_covariance():
    covariance = np.array([[4.0, 2.0, 0.0], [2.0, 3.0, 0.0], [0.0, 0.0, 1e-9]])
    levels = Levels(value_adu=np.arange(3.0), covariance_adu2=covariance, before_adu2=covariance)
    root = levels.root(0.01)
    assert root.shape == (3, 2)
    np.testing.assert_allclose(root @ root.T, covariance, atol=1e-8)
    twice = levels.part(np.array([0, 0, 1]))
    assert twice.covariance_adu2[0, 1] == 4.0
    assert Levels.none(3).root(0.01).shape == (3, 0)


def test_a_prediction_that_is_wrong_by_a_part_is_no_level_and_a_light_leak_is_one():
    rng = np.random.default_rng(4)
    signal = np.exp(rng.normal(4.0, 1.0, 2000))
    noise = 10.0 * rng.standard_normal(2000)
    variance = np.full(2000, 100.0)
    wrong = level_left(Left(rest=0.05 * signal + noise, signal=signal, variance=variance), 100.0)
    assert abs(wrong.value_adu) < 4 * wrong.sigma_adu
    leak = level_left(Left(rest=30.0 + noise, signal=signal, variance=variance), 100.0)
    assert leak.value_adu == pytest.approx(30.0, abs=4 * leak.sigma_adu)
    assert level_left(Left(rest=30.0 + noise, signal=signal, variance=variance), 0.0).value_adu == 0.0
    nothing = level_left(Left(rest=np.zeros(0), signal=np.zeros(0), variance=np.zeros(0)), 7.0)
    assert (nothing.value_adu, nothing.sigma_adu) == (0.0, pytest.approx(7.0))
