"""Over a hundred detectors: a dark model makes the errors that it states, and predicts what nobody measured."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from calibration.models.dark.choosing import choose, held_out, sample_from
from calibration.models.dark.fit import DarkFit, Pedestal
from calibration.models.dark.model import Family, components, predict
from calibration.models.dark.relations import DarkSample, bins_of, learned, usual_law
from tests.support.made_darks import (
    BIAS_ADU,
    GAIN_ADU_E,
    NOISE,
    SATURATED_ADU,
    Darks,
    Rate,
    arrhenius,
    energies,
    made_darks,
)

SEEDS = 100
FIVE_C = (-10.0, -3.0, 4.0, 11.0, 18.0)
GLOW_S = 6.0


def sample_of(made: Darks) -> DarkSample:
    pedestal = Pedestal.none(len(made.taken.frames))
    return sample_from(made.taken, pedestal, made.first, made.second, noise=NOISE, limit_adu=SATURATED_ADU - BIAS_ADU)


def fitted(sample: DarkSample, family: Family, glow_s: float | None = None) -> DarkFit:
    """Return the fit of a family that is not chosen, which takes most of the time."""
    return sample.fitted(learned(sample, usual_law(family, sample.model.law.reference_c, glow_s=glow_s)), sample.whole)


@pytest.mark.parametrize(
    "given",
    [
        {"temperatures": FIVE_C},
        {"glow": True},
        pytest.param({"family": Family.MEYER_NELDEL, "scatter_ev": 0.0}, marks=pytest.mark.long),
        pytest.param({"scatter_ev": 0.06}, marks=pytest.mark.long),
        pytest.param({"scatter_ev": 0.01}, marks=pytest.mark.long),
        pytest.param({"n": 1}, marks=pytest.mark.long),
        pytest.param({"n": 2}, marks=pytest.mark.long),
        pytest.param({"n": 12, "temperatures": FIVE_C}, marks=pytest.mark.long),
        pytest.param({"exposures": (20.0,)}, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_rates_energies_and_glow_are_known_as_well_as_stated(given):
    scatter, shines = given.pop("scatter_ev", 0.03), given.pop("glow", False)
    pulls, freedom, family = [], [], given.pop("family", Family.SHRUNK)
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        rate = arrhenius(rng, 200, scatter_ev=scatter)
        amplifier = np.where(rng.random(200) < 0.3, rng.uniform(10, 60, 200), 0.0)
        light = (lambda s, a=amplifier: -a * np.expm1(-s / GLOW_S)) if shines else None
        made = made_darks(rng, rate, glow=light, **given)
        sample = sample_of(made)
        fit = fitted(sample, family, GLOW_S if shines else None)
        reference = sample.model.law.reference_c
        truth = [rate(reference) * GAIN_ADU_E, energies(rate, reference), *([amplifier * GAIN_ADU_E] if shines else [])]
        at = [0, 3, 5] if shines else [0, 2]
        pulls.append((fit.parameters.theta - truth) / np.sqrt(fit.parameters.covariance[at]))
        freedom.append(np.nanmedian(fit.freedom))
    pulls = np.array(pulls)
    assert np.isfinite(pulls).mean() > 0.99
    means, rms = np.nanmean(pulls, axis=(0, 2)), np.sqrt(np.nanmean(pulls**2, axis=(0, 2)))
    rms /= stats.t.std(np.mean(freedom))
    assert np.abs(means).max() < 0.3, (means, rms)
    assert ((rms > 0.85) & (rms < 1.15)).all(), (means, rms)


@pytest.mark.parametrize("seeds", [4, pytest.param(SEEDS, marks=pytest.mark.long)])
def test_unseen_temperatures_are_predicted_within_five_percent_at_every_level(seeds):
    """Each from the others; bins are chosen from one half of the frames and judged on the other, over all detectors."""
    errors: dict[tuple[float, int], list[tuple[float, float]]] = {}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        sample = sample_of(made_darks(rng, arrhenius(rng, 200, scatter_ev=0.02), temperatures=FIVE_C))
        for row in held_out(usual_law(Family.SHRUNK, sample.model.law.reference_c), sample):
            if row.counts and row.inside:
                errors.setdefault((row.temperature_c, row.bin), []).append((row.error, row.sigma))
    assert len({number for _, number in errors}) > 4
    for place, found in errors.items():
        error, sigma = np.array(found).T
        assert abs(np.average(error, weights=sigma**-2)) < 0.05, place


@pytest.mark.parametrize("seeds", [15, pytest.param(SEEDS, marks=pytest.mark.long)])
def test_no_level_is_predicted_worse_than_by_a_line_through_logarithms(seeds):
    """A exp(B (T - Tmin)) of each pixel through its positive means, as earlier programs fitted it."""
    beyond, found = 23.0, []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        made = made_darks(rng, arrhenius(rng, 200, scatter_ev=0.02), temperatures=FIVE_C)
        sample = sample_of(made)
        for celsius in (*FIVE_C[1:-1], beyond):
            others = sample.without(celsius)
            law = learned(others, usual_law(Family.SHRUNK, sample.model.law.reference_c))
            parameters = others.fitted(law, others.whole).parameters
            prediction = predict(replace(sample.model, law=law), parameters, celsius, 20.0)
            assert prediction.inside == (celsius != beyond)
            truth, line = made.truth(celsius, 20.0), line_of_logarithms(others, celsius)
            truth[np.isnan(line)] = np.nan
            for number, members in enumerate(bins_of(truth)):
                total = truth[members].sum()
                errors = [x[members].sum() / total - 1 for x in (prediction.mean, line)]
                found.append((celsius, number, *errors))
    table = np.array(found)
    for celsius, number in np.unique(table[:, :2], axis=0):
        ours, earlier = table[(table[:, :2] == (celsius, number)).all(axis=1), 2:].T
        bound = 0.1 if celsius == beyond else 0.05
        assert abs(ours.mean()) < bound / 2, (celsius, number)  # what all detectors share
        assert np.abs(ours).max() < bound, (celsius, number)
        rms = np.sqrt(np.mean(ours**2))
        assert rms * (1 - 1 / np.sqrt(2 * seeds)) < np.sqrt(np.mean(earlier**2)), (celsius, number)


def line_of_logarithms(sample: DarkSample, celsius: float) -> np.ndarray:
    """Return what a line through the logarithms of each pixel's positive means of the longest exposure predicts.

    NaN where a pixel has only one, because it is saturated at all other temperatures.
    """
    longest = sample.taken.exposure_s == sample.taken.exposure_s.max()
    t, mean = sample.taken.temperature_c[longest], sample.whole.mean[longest]
    good = mean > 0
    values = np.where(good, np.log(np.where(good, mean, 1.0)), 0.0)
    number = good.sum(axis=0)
    middle_t, middle = (t @ good) / np.maximum(number, 1), values.sum(axis=0) / np.maximum(number, 1)
    away = np.where(good, t[:, None] - middle_t, 0.0)
    slope = (away * (values - middle)).sum(axis=0) / np.where(number > 1, (away**2).sum(axis=0), np.nan)
    return np.exp(middle + slope * (celsius - middle_t))


def two_components(rng: np.random.Generator, pixels: int) -> Rate:
    """Return rates of diffusion and depletion current, six pixels with much of the latter."""
    depletion = 2 * np.exp(0.4 * rng.standard_normal(pixels))
    depletion[:6] *= rng.uniform(30, 120, 6)

    def rate(celsius: float) -> np.ndarray:
        one, other = components(celsius, 0.0)
        return 3.2 * one + depletion * other

    return rate


def exponential(rng: np.random.Generator, pixels: int) -> Rate:
    at_0 = 4 * np.exp(0.35 * rng.standard_normal(pixels))
    at_0[:6] *= rng.uniform(30, 120, 6)
    slope = 0.1 - 0.006 * np.log(at_0 / 4) + 0.004 * rng.standard_normal(pixels)
    return lambda celsius: at_0 * np.exp(slope * celsius)


@pytest.mark.long
@pytest.mark.parametrize(
    ("truth", "family"),
    [(arrhenius, Family.SHRUNK), (two_components, Family.TWO_COMPONENT), (exponential, Family.EXPONENTIAL)],
    ids=["arrhenius", "two components", "exponential"],
)
def test_another_family_than_the_true_one_is_rare_where_it_matters(truth, family):
    """Where more than one pixel in twenty is predicted otherwise by more than two sigmas."""
    wrong = 0
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        sample = sample_of(made_darks(rng, truth(rng, 300)))
        found = choose(sample).model
        if found.law.family is family:
            continue
        right = choose(sample, (family,)).model
        for celsius in np.linspace(-10, 20, 7):
            one, other = (
                predict(each, sample.fitted(each.law, sample.whole).parameters, celsius, 20.0)
                for each in (found, right)
            )
            if np.mean(np.abs(one.mean - other.mean) > 2 * one.sigma) > 0.05:
                wrong += 1
                break
    assert wrong <= 0.05 * SEEDS


@pytest.mark.long
def test_where_no_family_is_true_the_errors_are_those_of_the_holdout():
    """Light that leaks in at a rate of its own, and a third current: an unseen temperature between two others."""
    ratios = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        dark, light = arrhenius(rng, 300, scatter_ev=0.02), rng.uniform(0.5, 3, 300)
        made = made_darks(rng, lambda c, d=dark, e=light: d(c) + e * (1 + 0.02 * c))
        sample = sample_of(made)
        found = choose(sample)
        law = found.model.law
        rows = [r for r in found.holdout if r.family is law.family and r.inside and r.counts]
        bound = max(abs(r.error) + 2 * abs(r.sigma) for r in rows if r.glow == (law.glow_s is not None))
        fit = sample.fitted(law, sample.whole)
        truth = made.truth(2.5, 20.0)
        prediction = predict(found.model, fit.parameters, 2.5, 20.0).mean
        ratios += [abs(prediction[m].sum() / truth[m].sum() - 1) / bound for m in bins_of(truth)]
    assert np.mean(np.array(ratios) < 1) > 0.95
