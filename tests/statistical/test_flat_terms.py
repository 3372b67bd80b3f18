"""Whether flats change with temperature or exposure: a few bad pixels are no change, and a small one is found."""

import numpy as np
import pytest

from calibration.models.flat.model import FlatModel, terms_for
from calibration.models.flat.significance import Significance, SignificanceSums
from calibration.models.linear import fit_groups
from calibration.models.means import Groups
from tests.support.made_flats import Plane

SEEDS, SHAPE, NOISE, N = 100, (64, 64), 0.002, 4
T, E = np.array([0.0, 10, 20, 0, 10, 20]), np.array([1.0, 1, 1, 9, 9, 9])


def hot(rng: np.random.Generator) -> Plane:
    """A dozen pixels whose charge grows with both."""
    plane = np.zeros(SHAPE)
    plane.ravel()[rng.choice(plane.size, 12, replace=False)] = rng.uniform(0.002, 0.5, 12)
    return plane


def moved_dust(rng: np.random.Generator) -> Plane:
    """A shadow that went, and one of a like grain that came."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    (row, column), (row_2, column_2) = rng.uniform(8, 56, (2, 2))
    return 0.004 * (
        np.exp(-((y - row) ** 2 + (x - column) ** 2) / 8) - np.exp(-((y - row_2) ** 2 + (x - column_2) ** 2) / 8)
    )


def column(rng: np.random.Generator) -> Plane:
    """A column that loses its response little by little."""
    plane = np.zeros(SHAPE)
    plane[:, rng.integers(SHAPE[1])] = -5e-4
    return plane


def seen(seed: int, b: Plane, c: Plane) -> tuple[Significance, Significance]:
    """What the terms of flats are worth; `b` and `c` are their slopes."""
    rng = np.random.default_rng(seed)
    at = T[:, None, None] * b + E[:, None, None] * c
    frames = 1 + 0.02 * rng.standard_normal(SHAPE) + at + NOISE * rng.standard_normal((N, T.size, *SHAPE))
    mean = frames.mean(axis=0)
    groups = Groups(
        mean=mean,
        count=np.full(mean.shape, N, np.uint16),
        squares=((frames - mean) ** 2).sum(axis=(0, 1)),
        freedom=np.full(SHAPE, T.size * (N - 1.0)),
    )
    terms, _ = terms_for(T, E)
    model = FlatModel(
        terms=terms, reference_c=0, reference_s=0, coldest_c=0, warmest_c=20, shortest_s=1, longest_s=9
    )  # fmt: skip
    fit = fit_groups(model.design(T, E), np.full(T.size, float(N)), groups)
    sums = SignificanceSums(terms[1]), SignificanceSums(terms[2])
    for number, place in ((1, 3), (2, 5)):
        sums[number - 1].add(fit.theta[number], fit.covariance[place], fit.freedom)
    return sums[0].result(), sums[1].result()


@pytest.mark.parametrize(
    "bad", [hot, moved_dust, column, lambda _: np.zeros(SHAPE)], ids=["hot", "dust", "column", "none"]
)
def test_a_few_pixels_do_not_make_a_flat_change(bad):
    wrong = 0
    for seed in range(SEEDS):
        plane = bad(np.random.default_rng(1000 + seed))
        wrong += any(each.real for each in seen(seed, plane, plane))
    assert wrong <= 5


@pytest.mark.parametrize("form", ["gains", "slope", "alike"])
def test_a_small_drift_of_the_whole_flat_is_found(form):
    """As large as the error of the slope of a pixel, with a dozen bad pixels in it."""
    error = NOISE / np.sqrt(N * 6 * np.var(T))
    shapes = {
        "gains": lambda rng: rng.standard_normal(SHAPE),
        "slope": lambda _: np.broadcast_to(np.linspace(-1.7, 1.7, SHAPE[1]), SHAPE),
        "alike": lambda _: np.ones(SHAPE),
    }
    found = false = 0
    for seed in range(SEEDS):
        rng = np.random.default_rng(2000 + seed)
        of_t, of_e = seen(seed, error * shapes[form](rng) + hot(rng), np.zeros(SHAPE))
        found, false = found + of_t.real, false + of_e.real
        assert np.hypot(of_t.mean, of_t.spread) == pytest.approx(error, rel=0.2)
    assert found >= 95
    assert false <= 5
