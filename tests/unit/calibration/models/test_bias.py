"""The bias of a pixel against temperature: families, predictions with their errors, levels and sessions."""

import numpy as np
import pytest

from calibration.models.bias import Basis, BiasModel, Family, Parameters, in_powers, predict
from calibration.models.choosing import Sample, held_out
from calibration.models.levels import LevelFit, fit_levels, levels_of, unlike
from calibration.models.means import Groups
from tests.support.made_biases import SIGMA_ADU, made_biases, modelled

BASES = [
    Basis(family=Family.LINEAR, reference_c=4.0),
    Basis(family=Family.QUADRATIC, reference_c=4.0),
    Basis(family=Family.EXPONENTIAL, reference_c=4.0, doubling_c=6.0),
]


def model_of(basis: Basis, session_sigma_adu: float = float("nan")) -> BiasModel:
    p = basis.size
    level = LevelFit(
        theta=(0.0,) * p,
        covariance=((0.0,) * p,) * p,
        offsets_adu=(0.0,),
        session_sigma_adu=session_sigma_adu,
        frame_sigma_adu=1.0,
        separable=True,
        freedom=10.0,
    )
    return BiasModel(basis=basis, coldest_c=-10.0, warmest_c=20.0, level=level)


@pytest.mark.parametrize("basis", BASES, ids=lambda basis: basis.family)
def test_a_and_b_are_value_and_slope_at_the_reference_in_every_family(basis):
    parameters = Parameters(theta=np.array([[100.0], [2.0], [0.5]])[: basis.size], covariance=np.zeros((6, 1)))
    parameters = Parameters(
        theta=parameters.theta, covariance=parameters.covariance[: basis.size * (basis.size + 1) // 2]
    )
    at = [predict(model_of(basis), parameters, t).mean[0] for t in (3.99, 4.0, 4.01)]
    assert at[1] == 100
    assert (at[2] - at[0]) / 0.02 == pytest.approx(2, rel=1e-2)


@pytest.mark.parametrize("basis", BASES, ids=lambda basis: basis.family)
def test_the_coefficients_of_powers_say_the_same(basis):
    theta = np.array([[100.0], [2.0], [0.5]])[: basis.size]
    powers = in_powers(model_of(basis), theta)[:, 0]
    for t in (-10.0, 0.0, 17.0):
        third = 2 ** (t / 6) if basis.doubling_c else t**2
        wanted = powers[: basis.size] @ np.array([1, t, third])[: basis.size]
        assert basis.design([t])[0] @ theta[:, 0] == pytest.approx(wanted)


def test_the_error_of_a_prediction_is_that_of_its_parameters_and_the_sessions():
    covariance = np.array([[4.0], [0.1], [0.01]])
    parameters = Parameters(theta=np.ones((2, 1)), covariance=covariance)
    found = predict(model_of(BASES[0], session_sigma_adu=3.0), parameters, 14.0)
    assert found.sigma[0] == pytest.approx(np.sqrt(4 + 2 * 10 * 0.1 + 100 * 0.01 + 9))
    assert found.inside
    assert [predict(model_of(BASES[0]), parameters, t).inside for t in (-11, -10.4, 20.5, 20.6)] == [0, 1, 1, 0]


def test_one_temperature_makes_a_constant_that_knows_nothing_of_others():
    made = made_biases(1, temperatures=(5.0,), n=12, sessions=1)
    found = modelled(made)
    assert found.model.basis.family is Family.CONSTANT
    assert "one temperature" in found.choice.reason
    here, there = (predict(found.model, found.parameters, t) for t in (5.0, 15.0))
    pulls = (here.mean - made.a) / here.sigma
    assert np.sqrt((pulls**2).mean()) < 1.4
    assert not there.inside
    assert np.isnan(there.sigma).all()


def test_two_temperatures_make_a_slope_that_nothing_has_checked():
    found = modelled(made_biases(2, temperatures=(0.0, 10.0)))
    assert found.model.basis.family is Family.LINEAR
    assert found.choice.holdout == ()
    assert found.model.level.separable


@pytest.mark.parametrize(("curve", "doubling"), [(0.3, None), (40.0, 6.0)])
def test_a_curved_bias_is_seen_and_predicted(curve, doubling):
    made = made_biases(3, curve=curve, doubling_c=doubling, n=8)
    found = modelled(made)
    assert found.model.basis.family is (Family.QUADRATIC if doubling is None else Family.EXPONENTIAL)
    for t in (-8.0, 4.0, 15.0):
        prediction = predict(found.model, found.parameters, t)
        assert np.sqrt((((prediction.mean - made.truth(t)) / prediction.sigma) ** 2).mean()) < 1.5
    linear = [row for row in found.choice.holdout if row.family is Family.LINEAR]
    chosen = [row for row in found.choice.holdout if row.family is found.model.basis.family]
    assert [row.temperature_c for row in chosen] == [-10.0, -5.0, 0.0, 10.0, 20.0]
    assert [row.inside for row in chosen] == [False, True, True, True, False]
    assert max(row.error_adu for row in linear) > 2 * max(row.error_adu for row in chosen)


def test_a_few_hot_pixels_do_not_decide_for_all():
    made = made_biases(4, n=8)
    hot = made.frames[:, 0, 0] + (300 * 2 ** ((made.temperature_c - 20) / 5)).astype(np.uint16)
    made.frames[:, 0, 0] = hot
    found = modelled(made)
    assert found.model.basis.family is Family.LINEAR
    assert found.fit.chi_square[0, 0] > 5
    assert found.model.excess == 1


def test_scatter_that_noise_does_not_explain_widens_the_errors():
    made = made_biases(5, n=8)
    rng = np.random.default_rng(5)
    drift = 16 * np.rint(2 * rng.standard_normal((10, 8, 8)))
    made.frames[:] = made.frames + drift[made.group].astype(np.int64)
    found = modelled(made)
    assert 3 < found.model.excess < 30


def test_sessions_of_one_temperature_each_hide_the_slope_of_the_level():
    temperature = np.repeat([0.0, 10.0, 20.0], 5)
    session = np.repeat([0, 1, 2], 5)
    level = 1000 + temperature + np.repeat([2.0, -4.0, 2.0], 5)
    levels = levels_of(temperature, level, temperature, session, session)
    fit = fit_levels(BASES[0].design(levels.temperature_c), levels)
    assert not fit.separable
    assert fit.offsets_adu == (0.0, 0.0, 0.0)
    assert fit.covariance[1][1] > 0.03  # the offsets of the sessions are in it


def test_offsets_of_sessions_are_found_where_each_has_several_temperatures():
    temperature = np.tile(np.repeat([0.0, 10.0, 20.0], 4), 3)
    session = np.repeat([0, 1, 2], 12)
    group = np.repeat(np.arange(9), 4)
    rng = np.random.default_rng(1)
    level = 1000 + 1.5 * temperature + np.array([6.0, -2.0, -4.0])[session] + 0.1 * rng.standard_normal(36)
    levels = levels_of(temperature, level, temperature, group, session)
    fit = fit_levels(BASES[0].design(levels.temperature_c), levels)
    assert fit.separable
    np.testing.assert_allclose(fit.offsets_adu, (6, -2, -4), atol=0.15)
    assert fit.theta[1] == pytest.approx(1.5, abs=0.01)
    assert fit.session_sigma_adu == pytest.approx(5.29, abs=0.1)
    assert fit.frame_sigma_adu == pytest.approx(0.1, rel=0.5)


def test_a_lit_frame_is_unlike_the_others_of_its_group():
    levels = np.array([1000.0, 1001, 999, 1000.5, 1400])
    assert unlike(levels).tolist() == [False] * 4 + [True]
    assert not unlike(levels[1:]).any()
    assert not unlike(np.full(6, 1000.0)).any()


def test_the_attainable_error_is_reached():
    """The errors of a and b over those of a fit to the frames whose offsets are known."""
    errors, attainable = [], []
    for seed in range(12):
        made = made_biases(seed)
        found = modelled(made)
        reference = found.model.basis.reference_c
        design = np.stack([np.ones(len(made.frames)), made.temperature_c - reference], axis=1)
        attainable.append(SIGMA_ADU * np.sqrt(np.diagonal(np.linalg.inv(design.T @ design))))
        truth = np.stack([made.truth(reference), made.b])
        errors.append((found.parameters.theta - truth).std(axis=(1, 2)))
    ratio = np.sqrt((np.square(errors)).mean(axis=0)) / np.mean(attainable, axis=0)
    assert (ratio < 1.1).all()


def held_levels(temperature: list[float], session: list[int], level: list[float]) -> dict[float, float]:
    """Return measured minus predicted level of each temperature, for groups of four frames of a linear bias."""
    t, k = np.array(temperature), len(temperature)
    frame = np.repeat(np.arange(k), 4)
    levels = levels_of(t[frame], np.array(level)[frame], t[frame], frame, np.array(session)[frame])
    groups = Groups(
        mean=np.zeros((k, 3)), count=np.full((k, 3), 4, np.uint16), squares=np.ones(3), freedom=np.full(3, 3.0 * k)
    )
    sample = Sample(temperature_c=t, frames=np.full(k, 4.0), label_c=t, groups=groups, levels=levels)
    return {row.temperature_c: row.level_adu for row in held_out(Basis(family=Family.LINEAR, reference_c=5.0), sample)}


def test_a_temperature_that_is_left_out_has_no_part_in_the_offset_of_its_session():
    temperature, session = [-10.0, 0.0, 20.0, 10.0, 20.0], [0, 0, 0, 1, 1]
    truth = [1000 + 2 * t + 5 * s for t, s in zip(temperature, session, strict=True)]
    assert held_levels(temperature, session, truth) == pytest.approx(
        dict.fromkeys((-10.0, 0.0, 10.0, 20.0), 0), abs=1e-6
    )
    off = [level + 4 * (t == 10.0) for t, level in zip(temperature, truth, strict=True)]
    assert held_levels(temperature, session, off)[10.0] == pytest.approx(4.0)


def test_a_level_is_not_predicted_where_no_other_temperature_shows_the_offset_of_its_session():
    found = held_levels([-10.0, 0.0, 20.0, 10.0], [0, 0, 0, 1], [980.0, 1000.0, 1040.0, 1025.0])
    assert np.isnan(found[10.0])
    assert found[0.0] == pytest.approx(0.0, abs=1e-6)
