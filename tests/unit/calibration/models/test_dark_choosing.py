"""Which family describes the darks, and what all their pixels have in common."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.models.dark.choosing import choose, sample_from
from calibration.models.dark.fit import Pedestal, fit_darks
from calibration.models.dark.model import Family, components, predict
from calibration.models.dark.noise import hot_limit, noise_from, noise_of_pairs
from calibration.models.dark.relations import DarkSample, merged
from tests.support.made_darks import BIAS_ADU, NOISE, SATURATED_ADU, Darks, Rate, arrhenius, made_darks


def sample_of(made: Darks) -> DarkSample:
    pedestal = Pedestal.none(len(made.taken.frames))
    return sample_from(made.taken, pedestal, made.first, made.second, noise=NOISE, limit_adu=SATURATED_ADU - BIAS_ADU)


def two_components(rng: np.random.Generator, pixels: int) -> Rate:
    depletion = 2 * np.exp(0.4 * rng.standard_normal(pixels))
    depletion[:4] *= 60

    def rate(celsius: float) -> np.ndarray:
        one, other = components(celsius, 0.0)
        return 3.0 * one + depletion * other

    return rate


@pytest.mark.parametrize(
    ("truth", "family"),
    [(arrhenius, Family.SHRUNK), (two_components, Family.TWO_COMPONENT)],
    ids=["arrhenius", "two components"],
)
def test_the_family_that_is_true_is_chosen_and_predicts_what_nobody_measured(truth, family):
    rng = np.random.default_rng(5)
    made = made_darks(rng, truth(rng, 400))
    found = choose(sample_of(made))
    assert found.model.law.family is family
    assert all(abs(r.error) < 0.05 for r in found.holdout if r.family is family and r.inside and r.counts)
    assert {r.family for r in found.holdout} > {Family.EXPONENTIAL, family}
    fit = fit_darks(found.model, made.taken, Pedestal.none(18), sample_of(made).whole)
    p = predict(found.model, fit.parameters, 7.0, 12.0)
    assert np.median(p.mean / made.truth(7.0, 12.0)) == pytest.approx(1, abs=0.01)
    assert (p.mean / made.truth(7.0, 12.0))[:4] == pytest.approx(np.ones(4), abs=0.05)
    assert (fit.mask[:4] & 1).all()
    assert (fit.mask[4:] & 1).sum() <= 4  # the fifth and sixth of one truth are hot


def test_a_glow_is_seen_where_dark_is_not_proportional_to_time():
    rng = np.random.default_rng(6)
    amplifier = np.where(np.arange(400) < 80, 30.0, 0.0)
    rate = arrhenius(rng, 400, hot=0)
    made = made_darks(
        rng, rate, glow=lambda seconds: amplifier * -np.expm1(-seconds / 4), exposures=(1.0, 3.0, 8.0, 20.0)
    )
    found = choose(sample_of(made), (Family.SHRUNK,))
    assert found.model.law.glow_s is not None
    assert "proportional" in found.reason
    plain = choose(sample_of(made_darks(rng, rate)), (Family.SHRUNK,))
    assert plain.model.law.glow_s is None
    assert plain.exponent == pytest.approx(1, abs=5 * plain.exponent_error)


def test_a_glow_in_one_corner_is_seen_though_few_pixels_of_each_level_have_it():
    rng = np.random.default_rng(9)
    corner = 400 * np.exp(-(np.hypot(*np.mgrid[:30, :30]) ** 2) / 50).ravel()
    rate = arrhenius(rng, corner.size, hot=6)
    made = made_darks(rng, rate, glow=lambda seconds: corner * -np.expm1(-seconds / 2), exposures=(1.0, 5.0, 20.0), n=6)
    sample = sample_of(made)
    found = choose(sample, (Family.SHRUNK,))
    assert found.model.law.glow_s is not None
    assert found.model.law.glow_s == pytest.approx(2.0, rel=0.05)
    fit = fit_darks(found.model, made.taken, sample.pedestal, sample.whole)
    p = predict(found.model, fit.parameters, 2.5, 10.0)
    pull = (p.mean - made.truth(2.5, 10.0) - 4.0 * corner * -np.expm1(-10.0 / 2)) / p.sigma
    assert np.sqrt(np.mean(np.minimum(pull[corner > 4] ** 2, 25.0))) < 1.5


def test_one_temperature_has_one_rate():
    rng = np.random.default_rng(7)
    made = made_darks(rng, arrhenius(rng, 100), temperatures=(5.0,))
    found = choose(sample_of(made))
    assert found.model.law.family is Family.CONSTANT
    assert found.holdout == ()
    assert "one temperature" in found.reason


@pytest.mark.parametrize("given", [{"temperatures": (0.0, 10.0)}, {"exposures": (20.0,)}, {"n": 1}, {"n": 2}], ids=str)
def test_few_darks_make_a_model_that_says_how_little_it_knows(given):
    rng = np.random.default_rng(8)
    made = made_darks(rng, arrhenius(rng, 300), **given)
    sample = sample_of(made)
    found = choose(sample)
    fit = fit_darks(found.model, made.taken, sample.pedestal, sample.whole)
    p, truth = predict(found.model, fit.parameters, 5.0, 10.0), made.truth(5.0, 10.0)
    assert np.median(p.mean / truth) == pytest.approx(1, abs=0.03)
    assert np.median(np.abs(p.mean - truth) / p.sigma) < 1.5


def test_a_family_can_be_asked_for():
    rng = np.random.default_rng(9)
    made = made_darks(rng, arrhenius(rng, 200))
    for family in (Family.EXPONENTIAL, Family.POWER, Family.ARRHENIUS, Family.MEYER_NELDEL):
        assert choose(sample_of(made), (family,)).model.law.family is family


def test_a_power_of_the_exposure_is_learned_without_the_temperature_that_is_left_out():
    rng, seconds = np.random.default_rng(3), (1.0, 5.0, 20.0)
    made = made_darks(rng, arrhenius(rng, 600), exposures=tuple(s**0.8 for s in seconds), temperatures=(-10, 0, 10, 20))
    sample = sample_of(replace(made, taken=replace(made.taken, exposure_s=np.tile(seconds, 4))))
    power, plain = (choose(sample, (family,)) for family in (Family.POWER, Family.EXPONENTIAL))
    assert power.model.law.exponent == pytest.approx(0.8, abs=0.01)
    assert (power.model.law.glow_s, power.model.shortest_s, plain.model.shortest_s) == (None, 1.0, 0.0)
    assert not power.model.holds_at(5.0, 0.001)
    errors = [sum(r.error**2 for r in found.holdout if r.inside and not r.glow) for found in (power, plain)]
    assert errors[0] < 0.7 * errors[1]


@pytest.mark.parametrize("family", [Family.EXPONENTIAL, Family.POWER])
def test_a_glow_does_not_mend_a_family_that_was_asked_for_and_is_not_right(family):
    rng = np.random.default_rng(15)
    made = made_darks(rng, arrhenius(rng, 400, hot=12), n=8, temperatures=(-20.0, -10.0, 0.0, 10.0, 20.0))
    found = choose(sample_of(made), (family,))
    assert found.model.law.glow_s is None
    assert found.model.law.exponent == pytest.approx(1.0, abs=0.05)


def test_equal_darks_and_darks_of_nothing_are_no_error():
    rng = np.random.default_rng(10)
    made = made_darks(rng, lambda _: np.zeros(200))
    found = choose(sample_of(made))
    fit = fit_darks(found.model, made.taken, Pedestal.none(18), sample_of(made).whole)
    p = predict(found.model, fit.parameters, 5.0, 10.0)
    assert np.sqrt(np.mean((p.mean / p.sigma) ** 2)) < 1.5
    equal = [replace(each, mean=np.zeros(200), squares=np.zeros(200)) for each in made.first]
    sample = sample_from(made.taken, Pedestal.none(18), equal, equal, noise=NOISE)
    assert np.isfinite(predict(choose(sample).model, fit.parameters, 5.0, 10.0).mean).all()


def test_noise_grows_with_signal():
    rng = np.random.default_rng(11)
    signals = [np.exp(rng.normal(0, 0.4, 3000)) * level for level in (5.0, 50.0, 300.0)]
    stacks = [
        (np.rint((1024 + 4 * (rng.poisson(s, (4, 3000)) + 6 * rng.standard_normal((4, 3000)))) / 16) * 16).astype(
            np.uint16
        )
        for s in signals
    ]
    found = noise_from(stacks, [1024.0] * 3, saturation_adu=65000)
    assert found.read_adu2 == pytest.approx(NOISE.read_adu2, rel=0.05)
    assert found.per_adu == pytest.approx(NOISE.per_adu, rel=0.05)
    assert noise_from([each[:1] for each in stacks], [1024.0] * 3, usual_adu2=600.0).read_adu2 == 600.0


def test_hot_pixels_lie_on_the_bright_side():
    rng = np.random.default_rng(12)
    rates = np.exp(rng.normal(2.0, 0.35, 50_000))
    rates[:20] = 300.0
    rates[20:40] = -300.0
    assert (np.flatnonzero(rates > hot_limit(rates)) == np.arange(20)).all()
    assert hot_limit(np.full(100, 3.0)) == np.inf
    assert hot_limit(np.full(100, np.nan)) == np.inf


def test_halves_make_the_whole():
    rng = np.random.default_rng(13)
    made = made_darks(rng, arrhenius(rng, 50, hot=0))
    for one, other, whole in zip(made.first, made.second, made.whole, strict=True):
        both = merged(one, other)
        assert both.mean == pytest.approx(whole.mean, abs=8)
        assert np.median(both.count) == 4
    assert merged(made.first[0], None) is made.first[0]
    with pytest.raises(ValueError, match="without frames"):
        merged(None, None)


@pytest.mark.parametrize("pedestal", [Pedestal.none(18), Pedestal.free(18)], ids=["less a bias", "with a bias"])
@pytest.mark.parametrize("lost", ["all", "one", "saturated"])
def test_darks_without_samples_are_no_error(lost, pedestal):
    rng = np.random.default_rng(14)
    made = made_darks(rng, (lambda _: np.full(100, 1e5)) if lost == "saturated" else arrhenius(rng, 100))
    halves = [
        [
            replace(each, mean=np.full(100, np.nan), count=np.zeros(100, np.uint16))
            if lost == "all" or (lost == "one" and k == 3)
            else each
            for k, each in enumerate(half)
        ]
        for half in (made.first, made.second)
    ]
    sample = sample_from(made.taken, pedestal, *halves, noise=NOISE, limit_adu=SATURATED_ADU - BIAS_ADU)
    found = choose(sample)
    mean = predict(found.model, sample.fitted(found.model.law, sample.whole).parameters, 5.0, 10.0).mean
    assert np.isfinite(mean).all() == (lost == "one")


def test_two_exposures_of_a_temperature_show_the_gain_where_no_two_darks_are_alike() -> None:
    rng = np.random.default_rng(4)
    rate = arrhenius(rng, 3000)
    label, exposure = [-10.0, -10.0, 0.0, 0.0, 10.0, 10.0], [5.0, 60.0] * 3
    signals = [rate(celsius) * seconds for celsius, seconds in zip(label, exposure, strict=True)]
    means = [0.5 * (rng.poisson(each) + 5 * rng.standard_normal(3000)) for each in signals]
    found = noise_of_pairs(means, label, exposure, read_adu2=6.25)
    assert (found.read_adu2, found.per_adu) == (6.25, pytest.approx(0.5, rel=0.1))
    alone = noise_of_pairs(means[1::2], label[1::2], exposure[1::2], read_adu2=6.25)
    assert (alone.read_adu2, alone.per_adu) == (6.25, 0.0)
