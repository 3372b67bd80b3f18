"""Over two hundred detectors: what a flat is taken apart into has the errors that it states."""

import numpy as np
import pytest
from scipy import stats

from calibration.models.flat.dust import Profile
from calibration.models.flat.factors import NAMES, factor_band, factorise
from calibration.models.flat.prnu import PrnuSums, limits_of
from calibration.models.flat.shapes import Cos4, Illumination, Radial, half_diagonal
from calibration.models.flat.smooth import Cells, fit_smooth
from calibration.models.linear import pairs
from tests.support.fitted_flats import fitted_flats
from tests.support.made_flats import CENTRE, GRAIN, K1, K2, NOISE, PRNU, SHAPE, grid, made_flat

SEEDS = 200
NAMED = {"none": "r^0 flat", "cos4": "cos4 flat", "plane": "r^0 plane", "r6": "r^6 flat"}
"""What the families of vignetting and light are called."""


def within(pulls: dict[str, list[np.ndarray]]) -> None:
    for name, parts in pulls.items():
        pull = np.concatenate([np.ravel(part) for part in parts])
        assert abs(pull.mean()) < 0.3, (name, pull.mean())
        assert 0.85 < np.sqrt((pull**2).mean()) < 1.15, (name, np.sqrt((pull**2).mean()))


@pytest.mark.parametrize(
    ("temperatures", "exposures"),
    [((0, 10, 20), (2, 2, 2)), ((0, 10, 20, 0, 10, 20), (1, 1, 1, 5, 5, 5)), ((-10, 20), (2, 2))],
)
def test_terms_have_the_errors_that_are_stated(temperatures, exposures):
    pulls: dict[str, list[np.ndarray]] = {}
    freedom = []
    for seed in range(SEEDS):
        model, parameters, fit, _, truth = fitted_flats(temperatures, exposures, b=1e-3, n=4, seed=seed, shape=(8, 8))
        places = {pair: number for number, pair in enumerate(pairs(len(model.terms)))}
        for i, term in enumerate(model.terms):
            real = truth["ABC".index(term)] + (truth[2] * exposures[0] if term == "A" and "C" not in model.terms else 0)
            error = np.sqrt(parameters.covariance[places[i, i]])
            pulls.setdefault(term, []).append((parameters.theta[i] - real) / error)
        freedom.append(fit.freedom)
    of_few = stats.t.std(np.mean(freedom))
    within({term: [pull / of_few for pull in some] for term, some in pulls.items()})


@pytest.mark.long
@pytest.mark.parametrize("truth", ["none", "cos4", "plane", "r6"])
def test_another_family_than_the_true_one_is_rare_where_it_matters(truth):
    """Cases in which the chosen one differs from the truth by more than two of its errors in the median pixel."""
    (y, x), unit = grid(), half_diagonal(SHAPE)
    values = {
        "none": np.ones(SHAPE),
        "cos4": Cos4(centre=CENTRE, radius_px=unit, q=0.15).at(y, x),
        "plane": Illumination(level=1.0, shape=SHAPE, terms=("x", "y"), coefficients=(0.03, 0.02)).at(y, x),
        "r6": Radial(centre=CENTRE, radius_px=unit, powers=(2, 4, 6), coefficients=(K1, K2, -0.1)).at(y, x),
    }[truth]
    wrong = 0
    for seed in range(SEEDS):
        noise = PRNU * np.random.default_rng(seed).standard_normal(SHAPE)
        found = fit_smooth(Cells(values=values * (1 + noise), size=1, shape=SHAPE))
        planes = found.planes(y, x)
        away = np.abs(found.product(y, x) / values - 1) / planes.relative_sigma
        chosen = min(found.criterion, key=lambda name: found.criterion[name])
        wrong += chosen != NAMED[truth] and bool(np.median(away) > 2)
    assert wrong <= 0.05 * SEEDS


@pytest.mark.long
def test_factors_have_the_errors_that_are_stated():
    pulls: dict[str, list[np.ndarray]] = {}
    shadows = []
    for seed in range(SEEDS):
        flat = made_flat(seed)
        factors = factorise(Cells(values=flat.values, size=1, shape=SHAPE))
        planes = factor_band(factors, 0, flat.values, flat.sigma).planes
        truths = dict(zip(NAMES, (flat.vignetting, np.ones(SHAPE), flat.dust, flat.gains), strict=True))
        for name, truth in truths.items():
            sigma = planes[f"{name}_SIGMA"]
            known = sigma > 2e-6
            pulls.setdefault(name, []).append((planes[name] - truth)[known] / sigma[known])
        smooth = factors.smooth
        if len(smooth.vignetting.values) == 4:
            for name, value, real in zip(smooth.names, smooth.vignetting.values, (*CENTRE, K1, K2), strict=False):
                pulls.setdefault(name, []).append(np.array((value - real) / smooth.sigma(name)))
        shadows.append(len(factors.dust))
        grain = factors.dust[0]
        assert grain.profile is Profile.GAUSSIAN
        for i, real in enumerate(GRAIN):
            pulls.setdefault(f"grain {i}", []).append(np.array((grain.values[i] - real) / grain.sigma(i)))
        sums = PrnuSums(limits_of(planes["PRNU"]), SHAPE)
        sums.add(0, planes["PRNU"], flat.sigma / flat.values)
        prnu = sums.result(len(smooth.names) + 5)
        pulls.setdefault("prnu total", []).append(np.array((prnu.total - PRNU) / prnu.total_sigma))
        pulls.setdefault("prnu pixel", []).append(np.array((prnu.pixel - PRNU) / prnu.pixel_sigma))
        assert prnu.temporal == pytest.approx(NOISE, rel=0.2)
    assert shadows.count(1) >= 0.98 * SEEDS
    assert len(pulls["k1"]) >= 0.98 * SEEDS
    within(pulls)
