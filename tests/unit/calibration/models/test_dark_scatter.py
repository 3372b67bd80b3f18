"""How much the shapes of pixels scatter beside their errors, and the curve of shapes with its own error."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.models.dark.fit import Pedestal, fit_darks
from calibration.models.dark.model import DarkModel, Family, Law, Parameters, by_relation, predict
from calibration.models.dark.relation import Relation
from calibration.models.dark.scatter import scatter_of
from calibration.models.means import stacked
from tests.support.made_darks import NOISE, arrhenius, made_darks


@pytest.mark.parametrize("scatter", [0.5, 1.0, 3.0])
def test_a_scatter_that_shows_is_found(scatter):
    rng = np.random.default_rng(3)
    found = []
    for _ in range(100):
        error = rng.uniform(0.5, 2.0, 400)
        found.append(scatter_of(np.hypot(error, scatter) * rng.standard_normal(400), error))
    assert np.mean(found) == pytest.approx(scatter**2, rel=0.05)


@pytest.mark.parametrize("n", [20, 200, 2000])
def test_without_scatter_it_is_what_so_many_values_cannot_show(n):
    rng, error = np.random.default_rng(4), np.ones(n)
    found = np.array([scatter_of(rng.standard_normal(n), error) for _ in range(100)])
    assert (found > 0).all()
    assert 0.5 < np.median(found) / np.sqrt(2 / n) < 1.5


def test_few_values_of_another_kind_have_little_part():
    rng, error = np.random.default_rng(5), np.ones(500)
    off = np.hypot(1.0, 1.0) * rng.standard_normal(500)
    usual = scatter_of(off, error)
    off[:5] = 1000.0
    assert scatter_of(off, error) == pytest.approx(usual, rel=0.25)


@pytest.mark.parametrize("off", [np.zeros(30), np.full(30, 1e6), np.array([2.0])])
def test_it_is_a_number_whatever_the_values(off):
    assert np.isfinite(scatter_of(off, np.ones(len(off))))
    assert scatter_of(off, np.ones(len(off))) > 0


def test_the_error_of_a_curve_is_that_of_its_coefficients():
    rng, n = np.random.default_rng(6), 20_000
    covariance = np.array([[4.0, -1.0, 0.1], [-1.0, 1.0, -0.2], [0.1, -0.2, 0.5]]) * 1e-4
    relation = Relation(
        coefficients=(0.7, -0.05, 0.01), low=0.0, high=4.0, covariance=tuple(covariance[np.triu_indices(3)])
    )
    drawn = rng.multivariate_normal(relation.coefficients, covariance, n)
    rates = np.exp([-1.0, 0.5, 2.0, 5.0])
    shapes = np.stack([Relation(coefficients=tuple(each), low=0.0, high=4.0).at(rates) for each in drawn])
    assert relation.common(rates) == pytest.approx(shapes.var(axis=0), rel=0.05)


def test_the_slope_of_a_curve_is_that_of_its_shapes():
    relation = Relation(coefficients=(0.7, -0.05, 0.01), low=0.0, high=4.0)
    rates, step = np.exp([-1.0, 0.5, 2.0, 5.0]), 1e-6
    expected = (relation.at(rates * (1 + step)) - relation.at(rates * (1 - step))) / (2 * step * rates)
    assert relation.slope(rates) == pytest.approx(expected, abs=1e-7)


def test_a_pixel_whose_frames_show_little_shares_the_error_of_the_relation():
    """Fitted anew with another relation, it is predicted as the derivative says."""
    rng = np.random.default_rng(7)
    made = made_darks(rng, arrhenius(rng, 60), n=2)
    relation = Relation(coefficients=(0.924, -0.052, 0.0), low=0.0, high=9.0, scatter=0.004)
    law = Law(family=Family.MEYER_NELDEL, reference_c=5.0, relation=relation)
    model = DarkModel(law=law, coldest_c=-10.0, warmest_c=20.0, shortest_s=0.0, longest_s=20.0, noise=NOISE)

    def predicted(c0: float) -> tuple[np.ndarray, Parameters]:
        changed = replace(model, law=replace(law, relation=replace(relation, coefficients=(c0, -0.052, 0.0))))
        fit = fit_darks(changed, made.taken, Pedestal.none(len(made.taken.frames)), stacked(made.whole))
        return predict(changed, fit.parameters, -10.0, 20.0).mean.astype(np.float64), fit.parameters

    (low, _), (_, parameters), (high, _) = map(predicted, (0.923, 0.924, 0.925))
    shared = by_relation(law, parameters, -10.0, 20.0)
    ratio = (shared[0] / ((high - low) / 0.002))[6:]  # the noise of each pixel is known from its own frames
    assert np.median(ratio) == pytest.approx(1.0, abs=0.1)
    assert shared[1] == pytest.approx(shared[0] * np.log(parameters.theta[0]))
