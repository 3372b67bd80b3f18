"""The parts of the analysis of structures: law of the noise, smooth part, shapes, histories, trends."""

from itertools import combinations

import numpy as np
import pytest

from calibration.models.structure.differences import additive_sigma, cell_side, cells_of, drift_of
from calibration.models.structure.finding import candidates
from calibration.models.structure.history import Course, adjusted, history_of, trends_of
from calibration.models.structure.moves import Life, moves_of
from calibration.models.structure.noise import UNKNOWN, as_normal, fit_law
from calibration.models.structure.shapes import Kind, merged, significant, structures_of


def test_the_law_of_the_noise_is_that_of_the_camera_whatever_a_few_pixels_do() -> None:
    rng = np.random.default_rng(1)
    level = rng.uniform(100, 1000, 20_000)
    squares = (300 + 4 * level) * rng.chisquare(3, level.size)
    squares[:20] *= 1e4  # cosmic hits
    law = fit_law(level, squares, np.full(level.size, 3.0))
    assert law.variance(np.array([550.0])) == pytest.approx(2500, rel=0.03)
    assert np.isinf(law.prior) or law.prior > 20


def test_pixels_of_different_noise_have_a_share_in_their_own_variance() -> None:
    rng = np.random.default_rng(2)
    own = 100 * 8 / rng.chisquare(8, 20_000)  # a prior of 8 degrees of freedom
    law = fit_law(np.full(own.size, 500.0), own * rng.chisquare(6, own.size), np.full(own.size, 6.0))
    assert law.prior == pytest.approx(8, rel=0.25)
    z = as_normal(np.array([1.0, -6.0, 6.0]), np.full(3, 14.0))
    assert z[0] == 1.0
    assert z[2] == -z[1] == pytest.approx(4.155, abs=0.001)


def test_without_any_scatter_there_is_no_scale_of_noise() -> None:
    assert fit_law(np.ones(5), np.zeros(5), np.zeros(5)) is UNKNOWN


def test_the_smooth_part_of_a_difference_is_that_of_the_lamp_and_not_of_dust() -> None:
    y, x = np.mgrid[:60, :80] / 80
    dust = np.zeros((60, 80))
    dust[20:30, 40:50] = -0.3
    value = 0.02 + 0.05 * x - 0.03 * x * y + dust
    smooth = drift_of(cells_of(value, cell_side(value.shape)), value.shape).at(0, 60)
    np.testing.assert_allclose(smooth, value - dust, atol=1e-5)


def test_a_band_has_the_smooth_part_of_its_rows() -> None:
    rng = np.random.default_rng(3)
    drift = drift_of(rng.standard_normal((20, 30)), (100, 150))
    np.testing.assert_allclose(drift.at(40, 60), drift.at(0, 100)[40:60])


def test_a_hot_pixel_may_differ_where_the_lamp_is_another_one() -> None:
    old = np.ones((9, 9))
    old[4, 4] = 1.5
    assert additive_sigma(old, 1.0).max() == 0
    found = additive_sigma(old, 1.1)
    assert found[4, 4] == pytest.approx((1 / 3) * (1 - 1 / 1.1))
    assert np.count_nonzero(found) == 1


def test_pixels_that_are_not_known_are_no_candidates() -> None:
    z = np.random.default_rng(4).standard_normal((40, 40))
    z[10:20, 10:20] = np.nan
    found = candidates(z, np.ones(z.shape))
    assert not found.z[10:20, 10:20].any()
    nothing = candidates(np.full((40, 40), np.nan), np.ones((40, 40)))
    assert nothing.tests == 80  # its lines
    assert significant(structures_of(nothing), nothing.tests) == []


def test_one_place_in_several_comparisons_is_one_structure() -> None:
    def seen(sign: int, number: int) -> list[object]:
        z = np.random.default_rng(number).standard_normal((40, 40))
        z[10:14, 10:14] = 20 * sign
        return structures_of(candidates(z, np.ones(z.shape)), number)  # type: ignore[return-value]

    (only,) = significant(merged([*seen(-1, 1), *seen(-1, 2)]), 5000)  # type: ignore[list-item]
    assert only.seen == (1, 2)
    assert only.centre == (11.5, 11.5)
    assert len(significant(merged([*seen(-1, 1), *seen(1, 2)]), 5000)) == 2  # type: ignore[list-item]


SIGMA = np.full(6, 0.002)


@pytest.mark.parametrize(
    ("strength", "contrast", "born", "gone", "darker"),
    [
        ([0, 0, 0, -0.03, -0.03, -0.03], 0.0, 3, None, True),
        ([0, -0.03, -0.03, 0, 0, 0], 0.0, 1, 3, True),
        ([0, 0, 0.03, 0.03, 0.03, 0.03], 0.0, 2, None, False),
        ([0, 0, 0.03, 0.03, 0.03, 0.03], -0.03, None, 2, True),  # dust of the reference
        ([0, 0, 0, 0, 0, -0.02], 0.0, 5, None, True),
        ([-0.03, -0.03, 0, 0, -0.03, -0.03], 0.0, 4, None, True),
    ],
)
def test_births_and_deaths_are_those_of_the_strengths(
    strength: list[float], contrast: float, born: int | None, gone: int | None, darker: bool
) -> None:
    noise = 0.001 * np.random.default_rng(5).standard_normal(6)
    found = history_of(np.array(strength) + noise, SIGMA, contrast=contrast)
    assert (found.course, found.born, found.gone, found.darker) == (Course.STEP, born, gone, darker)


@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_the_edges_are_those_that_leave_least_of_all(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(20):
        y, s = 5.0 + rng.standard_normal(n), rng.uniform(0.5, 2.0, n)
        y[n // 2 :] += rng.uniform(-4, 4)
        y[2 * n // 3 :] += rng.uniform(-4, 4)
        tried = {}
        for number in range(min(3, n)):
            for edges in combinations(range(1, n), number):
                parts = list(zip(np.split(y, edges), np.split(s, edges), strict=True))
                means = [np.average(part, weights=error**-2) for part, error in parts]
                chi = sum((((p - m) / e) ** 2).sum() for (p, e), m in zip(parts, means, strict=True))
                tried[edges] = chi + (2 * number + 1) * np.log(max(n, 2))
        assert history_of(y, s).edges == min(tried, key=tried.__getitem__)


def test_a_structure_of_a_thousand_epochs_has_a_history() -> None:
    noise = 0.01 * np.random.default_rng(3).standard_normal(1000)
    strength = noise - 0.03 * ((np.arange(1000) >= 400) & (np.arange(1000) < 900))
    found = history_of(strength, np.full(1000, 0.01))
    assert (found.course, found.darker) == (Course.STEP, True)
    assert abs(found.born - 400) < 5
    assert abs(found.gone - 900) < 5


def test_a_strength_that_grows_little_by_little_is_a_trend() -> None:
    time = np.arange(8.0)
    noise = 0.002 * np.random.default_rng(6).standard_normal(8)
    found = history_of(-0.01 * time + noise, np.full(8, 0.002))
    assert found.course is Course.TREND
    (trend,) = trends_of(-0.01 * time + noise, np.full(8, 0.002), [time])
    assert abs(trend.slope + 0.01) < 4 * trend.sigma
    assert trend.p < 1e-6


def test_time_and_temperature_are_told_apart_where_the_epochs_can() -> None:
    time, celsius = np.arange(8.0), np.array([-10.0, 0, 10, -10, 0, 10, -10, 0])
    strength = 0.001 * time - 0.0005 * celsius
    by_time, by_temperature = trends_of(strength, np.full(8, 1e-4), [time, celsius])
    assert by_time.slope == pytest.approx(0.001)
    assert by_temperature.slope == pytest.approx(-0.0005)
    together = trends_of(strength, np.full(8, 1e-4), [time, 3 * time])
    assert np.isnan(together[1].slope)
    unknown = trends_of(strength, np.full(8, 1e-4), [time, np.full(8, np.nan)])
    assert np.isnan(unknown[1].slope)
    assert np.isfinite(unknown[0].slope)


def test_slopes_of_nothing_are_significant_as_rarely_as_stated() -> None:
    rng = np.random.default_rng(7)
    time = np.arange(6.0)
    p = [trends_of(rng.standard_normal(6), np.ones(6), [time])[0].p for _ in range(1000)]
    assert 0.015 <= np.mean(np.array(p) < 0.05) <= 0.06
    assert adjusted([0.01, float("nan"), 0.04])[0] == pytest.approx(0.02)


@pytest.mark.parametrize("nu", [1.0, 3.0])
def test_pixels_whose_samples_are_equal_but_for_rounding_are_no_noisy_pixels(nu: float) -> None:
    rng = np.random.default_rng(8)
    squares = 20_000 * rng.chisquare(nu, 60_000)
    squares[rng.random(squares.size) < 0.003] = 1e-9
    assert np.isinf(fit_law(rng.uniform(25_000, 30_000, squares.size), squares, np.full(squares.size, nu)).prior)


def test_what_moved_is_linked_where_one_pair_alone_is_alike() -> None:
    def life(kind: Kind, depth: float, born: int | None, gone: int | None, area: float = 100) -> Life:
        return Life(kind=kind, area=area, length=12, depth=depth, born=born, gone=gone)

    went, came = life(Kind.DUST_DISC, 0.05, None, 3), life(Kind.DUST_DISC, -0.05, 3, None)
    assert moves_of([came, went]) == {1: 0}
    others = [
        life(Kind.DUST_DISC, -0.05, 4, None), life(Kind.DUST_DISC, -0.1, 3, None), life(Kind.SCRATCH, -0.05, 3, None),
        life(Kind.GHOST, 0.05, 3, None), life(Kind.DUST_DISC, -0.05, 3, None, 300),
    ]  # fmt: skip
    assert moves_of([went, *others]) == {}
    assert moves_of([went, came, *others]) == {0: 1}
    assert moves_of([went, came, came]) == {}
    assert moves_of([life(Kind.SCRATCH, 0.05, 1, 3), others[2]]) == {}
