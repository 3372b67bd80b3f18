"""Dark models: the means of groups in, parameters and predictions out."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.models.dark.fit import Pedestal, Taken, fit_darks
from calibration.models.dark.model import (
    DarkBit,
    DarkModel,
    Family,
    Law,
    Parameters,
    components,
    earlier_form,
    predict,
)
from calibration.models.dark.relation import Relation
from calibration.models.means import Groups, stacked
from tests.support.made_darks import BIAS_ADU, NOISE, SATURATED_ADU, TEMPERATURES_C, arrhenius, made_darks

WIDE = Relation(coefficients=(0.7, 0.0, 0.0), low=0.0, high=8.0, scatter=0.1)


def model_of(law: Law) -> DarkModel:
    return DarkModel(
        law=law,
        coldest_c=-10.0,
        warmest_c=20.0,
        shortest_s=0.0,
        longest_s=20.0,
        noise=NOISE,
        limit_adu=SATURATED_ADU - BIAS_ADU,
    )


def noiseless(signal: np.ndarray, n: int = 4) -> Groups:
    shape = signal.shape
    return Groups(
        mean=signal.astype(np.float64),
        count=np.full(shape, n, np.uint16),
        squares=np.full(shape[1:], NOISE.read_adu2 * (n - 1) * shape[0]),
        freedom=np.full(shape[1:], (n - 1.0) * shape[0]),
    )


def taken_of(temperatures: tuple[float, ...] = TEMPERATURES_C, exposures: tuple[float, ...] = (1.0, 20.0)) -> Taken:
    t, e = np.array([(t, e) for t in temperatures for e in exposures]).T
    return Taken(temperature_c=t, exposure_s=e, frames=np.full(len(t), 4.0), label_c=t)


LAWS = [
    Law(family=Family.ARRHENIUS, reference_c=5.0, relation=replace(WIDE, scatter=5.0)),
    Law(family=Family.EXPONENTIAL, reference_c=5.0, relation=Relation(coefficients=(0.1, 0, 0), scatter=5.0)),
    Law(family=Family.POWER, reference_c=5.0, relation=Relation(coefficients=(0.1, 0, 0), scatter=5.0), exponent=0.9),
    Law(family=Family.TWO_COMPONENT, reference_c=5.0),
    Law(family=Family.TWO_COMPONENT, reference_c=5.0, glow_s=3.0),
    Law(family=Family.SHRUNK, reference_c=5.0, relation=replace(WIDE, scatter=5.0), glow_s=3.0),
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: f"{law.family}{'' if law.glow_s is None else '+glow'}")
def test_what_a_law_says_is_found_again(law):
    rates, taken, model = np.array([3.0, 40.0, 900.0, -1.0]), taken_of(), model_of(law)
    columns = {
        "RATE": rates,
        "SHAPE": np.full(4, 0.11 if "1/deg C" in law.units else 0.65),
        "DIFFUSION": rates,
        "DEPLETION": 2 * rates,
        "GLOW": 5 * rates,
    }
    theta = np.array([columns[name] for name in law.names])
    truth = Parameters(theta=theta, covariance=np.zeros((law.size * (law.size + 1) // 2, 4)))
    at = zip(taken.temperature_c, taken.exposure_s, strict=True)
    groups = noiseless(np.stack([predict(model, truth, t, e).mean for t, e in at]))
    for pedestal in (Pedestal.none(12), Pedestal.free(12)):
        found = fit_darks(model, taken, pedestal, groups)
        # of the faint pixels the pedestal and the relation decide, within their errors, and float32 rounds
        assert found.parameters.theta[:, :3] == pytest.approx(theta[:, :3], rel=2e-3)
        p = predict(model, found.parameters, 3.0, 7.0)
        assert p.mean[:3] == pytest.approx(predict(model, truth, 3.0, 7.0).mean[:3], rel=3e-4)


def test_darks_of_known_truth_are_recovered_and_saturated_groups_are_left_out():
    made = made_darks(np.random.default_rng(1), arrhenius(np.random.default_rng(0), 400))
    law = Law(family=Family.ARRHENIUS, reference_c=5.0, relation=replace(WIDE, coefficients=(0.72, 0, 0)))
    model = model_of(law)
    fit = fit_darks(model, made.taken, Pedestal.none(18), stacked(made.whole))
    assert (fit.mask[:6] & DarkBit.SATURATED).any()
    assert not (fit.mask[6:] & DarkBit.SATURATED).any()
    for celsius, seconds in ((3.0, 20.0), (-7.0, 20.0), (20.0, 2.0)):
        found, truth = predict(model, fit.parameters, celsius, seconds), made.truth(celsius, seconds)
        assert np.median(found.mean / truth) == pytest.approx(1, abs=0.01)
        assert found.mean[:6] == pytest.approx(truth[:6], rel=0.03)
        assert np.sqrt(np.mean(((found.mean - truth) / found.sigma) ** 2)) == pytest.approx(1, abs=0.15)
    far = predict(model, fit.parameters, 20.0, 20.0)
    assert (far.saturated == (far.mean > SATURATED_ADU - BIAS_ADU)).all()


def test_a_wrong_group_is_left_out_and_a_pixel_that_no_model_fits_is_marked():
    rng = np.random.default_rng(2)
    made = made_darks(rng, arrhenius(rng, 50, hot=0))
    groups = stacked(made.whole)
    mean = groups.mean.copy()
    mean[7, 0] += 2000
    mean[:, 1] += 400 * rng.standard_normal(18)
    mean[3, 2:4] = np.nan
    mean[7, 3] += 2000
    count = groups.count.copy()
    count[3, 2:4] = 0
    law = Law(family=Family.ARRHENIUS, reference_c=5.0, relation=WIDE)
    fit = fit_darks(model_of(law), made.taken, Pedestal.none(18), replace(groups, mean=mean, count=count))
    assert fit.mask[0] == DarkBit.OUTLIER
    assert fit.mask[1] & DarkBit.MISFIT
    assert fit.mask[2:4].tolist() == [DarkBit.LOW_COUNT, DarkBit.LOW_COUNT | DarkBit.OUTLIER]
    assert not fit.mask[4:].any()
    assert (fit.groups[0], fit.groups[3]) == (17, 16)
    p = predict(model_of(law), fit.parameters, 7.0, 20.0)
    truth = made.truth(7.0, 20.0)
    assert abs(p.mean[0] - truth[0]) < 5 * p.sigma[0]


def test_pixels_without_samples_are_not_a_number_and_flagged():
    groups = noiseless(np.ones((12, 2)))
    nothing = replace(groups, mean=np.full((12, 2), np.nan), count=np.zeros((12, 2), np.uint16))
    fit = fit_darks(model_of(LAWS[0]), taken_of(), Pedestal.none(12), nothing)
    assert np.isnan(fit.parameters.theta).all()
    assert (fit.mask & DarkBit.NO_DATA).all()


def test_equal_darks_make_a_model_of_no_dark():
    fit = fit_darks(model_of(LAWS[3]), taken_of(), Pedestal.none(12), noiseless(np.zeros((12, 3))))
    assert fit.parameters.theta == pytest.approx(np.zeros((2, 3)), abs=1e-9)
    assert np.isfinite(fit.parameters.covariance).all()


def test_one_temperature_says_nothing_of_another_one():
    taken = taken_of((5.0,))
    model = replace(model_of(Law(family=Family.CONSTANT, reference_c=5.0)), coldest_c=5.0, warmest_c=5.0)
    fit = fit_darks(model, taken, Pedestal.none(2), noiseless(np.outer(taken.exposure_s, [2.0, 30.0])))
    here, there = (predict(model, fit.parameters, t, 10.0) for t in (5.2, 8.0))
    assert here.mean == pytest.approx([20.0, 300.0])
    assert here.inside
    assert np.isfinite(here.sigma).all()
    assert not there.inside
    assert np.isnan(there.sigma).all()


def test_two_components_of_one_temperature_are_not_determined():
    taken = taken_of((5.0,))
    fit = fit_darks(model_of(LAWS[3]), taken, Pedestal.none(2), noiseless(np.outer(taken.exposure_s, [2.0])))
    assert np.isnan(fit.parameters.theta).all()


def test_the_domain_has_temperatures_and_exposures():
    model = replace(model_of(LAWS[0]), shortest_s=1.0)
    assert model.holds_at(20.4, 20.0)
    assert not model.holds_at(20.6, 20.0)
    assert not model.holds_at(0.0, 0.5)
    assert not model.holds_at(0.0, 25.0)
    with pytest.raises(ValueError, match="no dark"):
        predict(model, Parameters(theta=np.ones((2, 1)), covariance=np.zeros((3, 1))), 0.0, -1.0)


def test_the_bias_that_was_taken_off_takes_part_in_the_errors():
    law, taken = Law(family=Family.TWO_COMPONENT, reference_c=5.0), taken_of(exposures=(20.0,))
    groups = noiseless(np.zeros((6, 1)))
    exact, masters, free = (
        fit_darks(model_of(law), taken, each, groups).parameters.covariance[0, 0]
        for each in (Pedestal.none(6), Pedestal.of_masters(np.zeros(6, np.intp), np.array([4.0])), Pedestal.free(6))
    )
    assert exact < masters < free


def test_components_double_as_their_gaps_say():
    diffusion, depletion = components(np.array([5.0, 25.0]), 5.0)
    assert diffusion[0] == depletion[0] == 1.0
    assert diffusion[1] > depletion[1] > 4.0


def test_the_form_of_earlier_programs():
    model = model_of(Law(family=Family.EXPONENTIAL, reference_c=5.0, relation=WIDE))
    parameters = Parameters(theta=np.array([[2.0], [0.1]]), covariance=np.zeros((3, 1)))
    a, b = earlier_form(model, parameters)
    assert a * np.exp(b * (3.0 + 10.0)) == pytest.approx(predict(model, parameters, 3.0, 1.0).mean)
