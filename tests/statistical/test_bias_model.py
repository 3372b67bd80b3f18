"""Over a hundred detectors: a bias model makes the errors that it states, and its family is the true one."""

import numpy as np
import pytest
from scipy import stats

from calibration.models.bias import Basis, Family, predict
from tests.support.made_biases import SIGMA_ADU, made_biases, modelled

SEEDS = 100


@pytest.mark.parametrize(
    "given",
    [
        {"family": Family.LINEAR},
        pytest.param({}, marks=pytest.mark.long),
        pytest.param({"n": 2}, marks=pytest.mark.long),
        pytest.param({"n": 1}, marks=pytest.mark.long),
        pytest.param({"n": 12, "sessions": 1}, marks=pytest.mark.long),
        pytest.param({"temperatures": (-10.0, 0.0, 10.0, 20.0)}, marks=pytest.mark.long),
        pytest.param({"curve": 0.5, "n": 6}, marks=pytest.mark.long),
    ],
)
def test_errors_are_those_that_are_stated(given):
    """`family`: not chosen, which takes most of the time."""
    pulls, ratios, linear, family = [], [], 0, given.pop("family", None)
    for seed in range(SEEDS):
        made = made_biases(seed, **given)
        found = modelled(made, None if family is None else Basis(family=family, reference_c=made.reference_c))
        linear += found.model.basis.family is Family.LINEAR
        reference, p = found.model.basis.reference_c, found.model.basis.size
        truth = np.stack([made.truth(reference), made.slope(reference)])
        pulls.append((found.parameters.theta[:2] - truth) / np.sqrt(found.parameters.covariance[[0, p]]))
        design = found.model.basis.design(made.temperature_c)
        attainable = SIGMA_ADU * np.sqrt(np.diagonal(np.linalg.inv(design.T @ design))[:2])
        ratios.append((found.parameters.theta[:2] - truth).std(axis=(1, 2)) / attainable)
    of_few = stats.t.std(found.fit.freedom.mean())
    assert np.abs(np.mean(pulls, axis=(0, 2, 3))).max() < 0.3
    rms = np.sqrt(np.square(pulls).mean(axis=(0, 2, 3))) / of_few
    assert ((rms > 0.85) & (rms < 1.15)).all(), rms
    assert (np.sqrt(np.square(ratios).mean(axis=0)) < 1.1).all(), ratios
    assert linear >= 95 or "curve" in given


@pytest.mark.long
@pytest.mark.parametrize("temperatures", [(-10.0, 0.0, 10.0, 20.0), (-10.0, -5.0, 0.0, 5.0, 10.0, 20.0)])
@pytest.mark.parametrize(("doubling", "curves"), [(None, (0.08, 0.2)), (6.0, (12.0, 30.0))])
def test_another_family_than_the_true_one_is_rare_where_it_matters(temperatures, doubling, curves):
    """Cases in which the predictions of the chosen and of the true family differ by more than two sigmas."""
    wrong = 0
    for seed in range(SEEDS):
        made = made_biases(seed, curve=curves[seed % 2], doubling_c=doubling, temperatures=temperatures)
        found = modelled(made)
        family = Family.QUADRATIC if doubling is None else Family.EXPONENTIAL
        if found.model.basis.family is family:
            continue
        truth = modelled(made, Basis(family=family, reference_c=found.model.basis.reference_c, doubling_c=doubling))
        for t in np.linspace(-10, 20, 13):
            one, other = (predict(each.model, each.parameters, t) for each in (found, truth))
            if np.median(np.abs(one.mean - other.mean) / other.sigma) > 2:
                wrong += 1
                break
    assert wrong <= 5
