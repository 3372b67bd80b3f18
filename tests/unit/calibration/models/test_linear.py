"""Least squares of all pixels at once: against numpy's, against leaving groups out, and with outlying groups."""

import numpy as np
import pytest

from calibration.models.left_out import leave_out
from calibration.models.linear import ModelBit, fit_groups, flags_of, pairs
from calibration.models.means import Groups, group_mean, recipe_for, stacked

RNG = np.random.default_rng
WEIGHTS = np.array([4.0, 9.0, 2.0, 5.0, 7.0, 3.0])
DESIGN = np.stack([np.ones(6), np.array([-10.0, -4.0, 0.0, 5.0, 11.0, 20.0])], axis=1)


def groups(mean: np.ndarray, sigma: float = 2.0) -> Groups:
    """Return means with the scatter within groups that a noise of `sigma` gives on average."""
    count = np.broadcast_to(WEIGHTS.astype(np.uint16)[:, None, None], mean.shape)
    freedom = (count - 1.0).sum(axis=0)
    return Groups(mean=mean, count=count, squares=freedom * sigma**2, freedom=freedom)


def made(seed: int, shape: tuple[int, int] = (5, 7), sigma: float = 2.0) -> np.ndarray:
    rng = RNG(seed)
    truth = np.einsum("kp,prx->krx", DESIGN, rng.normal(100, 10, (2, *shape)))
    return truth + sigma / np.sqrt(WEIGHTS)[:, None, None] * rng.standard_normal(truth.shape)


def test_a_pixel_is_fitted_as_numpy_fits_it():
    mean = made(1)
    fit = fit_groups(DESIGN, WEIGHTS, groups(mean))
    root = np.sqrt(WEIGHTS)[:, None]
    for y in range(5):
        for x in range(7):
            theta, rest, *_ = np.linalg.lstsq(DESIGN * root, mean[:, y, x] * root[:, 0], rcond=None)
            np.testing.assert_allclose(fit.theta[:, y, x], theta, rtol=1e-10)
            freedom = WEIGHTS.sum() - 2
            assert fit.freedom[y, x] == freedom
            assert fit.variance[y, x] == pytest.approx(((WEIGHTS.sum() - 6) * 4 + rest[0]) / freedom)
            assert fit.chi_square[y, x] == pytest.approx(rest[0] / 4 / 4)
    inverse = np.linalg.inv(DESIGN.T @ (DESIGN * WEIGHTS[:, None]))
    np.testing.assert_allclose(fit.unscaled[:, 0, 0], [inverse[i, j] for i, j in pairs(2)])


def test_groups_that_are_left_out_are_predicted_as_a_fit_to_the_others_does():
    mean = made(2)
    for block in (np.arange(6) == 0, np.isin(np.arange(6), (1, 4))):
        left = leave_out(DESIGN, WEIGHTS, mean, block)
        rest = groups(mean)
        other = fit_groups(
            DESIGN[~block],
            WEIGHTS[~block],
            Groups(mean=mean[~block], count=rest.count[~block], squares=rest.squares, freedom=rest.freedom),
        )
        wanted = mean[block] - np.einsum("kp,prx->krx", DESIGN[block], other.theta)
        np.testing.assert_allclose(left.errors, wanted, rtol=1e-9)
        full = np.array(
            [[other.unscaled[0, 0, 0], other.unscaled[1, 0, 0]], [other.unscaled[1, 0, 0], other.unscaled[2, 0, 0]]]
        )
        np.testing.assert_allclose(
            np.diagonal(left.covariance),
            1 / WEIGHTS[block] + np.einsum("ki,ij,kj->k", DESIGN[block], full, DESIGN[block]),
        )


def test_where_the_others_determine_nothing_there_is_no_error():
    left = leave_out(DESIGN, WEIGHTS, made(3), np.arange(6) > 0)
    assert np.isnan(left.errors).all()
    assert np.isnan(left.covariance).all()


@pytest.mark.parametrize("group", range(6))
def test_one_outlying_group_hardly_moves_a_pixel(group):
    clean, spoilt = made(4), made(4)
    spoilt[group, 2, 3] += 500.0
    fits = [fit_groups(DESIGN, WEIGHTS, groups(each)) for each in (clean, spoilt)]
    assert not fits[0].single.any()
    assert np.argwhere(fits[1].single).tolist() == [[2, 3]]
    sigma = np.sqrt(fits[1].covariance[[0, 2], 2, 3])
    assert (np.abs(fits[1].theta - fits[0].theta)[:, 2, 3] < 3 * sigma).all()
    assert fits[1].groups[2, 3] == 5
    others = np.ones((5, 7), bool)
    others[2, 3] = False
    np.testing.assert_array_equal(fits[1].theta[:, others], fits[0].theta[:, others])


def test_a_group_without_samples_does_not_count():
    mean = made(5)
    whole = groups(mean)
    count = whole.count.copy()
    mean[3, 0, 0], count[3, 0, 0] = np.nan, 0
    fit = fit_groups(DESIGN, WEIGHTS, Groups(mean=mean, count=count, squares=whole.squares, freedom=whole.freedom))
    assert fit.groups[0, 0] == 5
    assert fit.single[0, 0]
    assert np.isfinite(fit.theta).all()
    keep = np.arange(6) != 3
    root = np.sqrt(WEIGHTS[keep])
    theta = np.linalg.lstsq(DESIGN[keep] * root[:, None], mean[keep, 0, 0] * root, rcond=None)[0]
    np.testing.assert_allclose(fit.theta[:, 0, 0], theta, rtol=0.02)  # biweights of groups that agree are near 1


def test_a_pixel_of_too_few_groups_has_no_parameters():
    mean, count = made(6), groups(made(6)).count.copy()
    mean[1:, 1, 1], count[1:, 1, 1] = np.nan, 0
    whole = groups(mean)
    fit = fit_groups(DESIGN, WEIGHTS, Groups(mean=mean, count=count, squares=whole.squares, freedom=whole.freedom))
    assert np.isnan(fit.theta[:, 1, 1]).all()
    assert np.isfinite(fit.theta).sum() == 2 * (35 - 1)


def test_single_frames_have_the_usual_variance():
    mean = made(7)[:2]
    count = np.ones(mean.shape, np.uint16)
    zero = np.zeros(mean.shape[1:])
    fit = fit_groups(
        DESIGN[:2], np.ones(2), Groups(mean=mean, count=count, squares=zero, freedom=zero), usual_variance=9
    )
    assert (fit.variance == 9).all()
    assert (fit.freedom == 0).all()
    assert np.isnan(fit.chi_square).all()


def test_a_design_that_determines_nothing_is_refused():
    with pytest.raises(ValueError, match="rank"):
        fit_groups(np.ones((6, 2)), WEIGHTS, groups(made(8)))


@pytest.mark.parametrize("n", [2, 4, 9, 12, 30])
def test_the_scatter_within_a_group_is_that_of_its_samples(n):
    rng = RNG(n)
    levels = rng.normal(0, 5, n)
    frames = 1000 + levels[:, None, None] + 6.0 * rng.standard_normal((n, 60, 80))
    found = group_mean(frames.astype(np.float32), levels, recipe_for(n, noise_adu=6.0, step_adu=1.0))
    assert np.mean(found.squares) / np.mean(found.count - 1.0) == pytest.approx(36, rel=0.03)
    assert found.mean.mean() == pytest.approx(1000, abs=0.4)
    assert found.mean.std() == pytest.approx(6 / np.sqrt(n), rel=0.05)


@pytest.mark.parametrize("n", [4, 12])
def test_cosmic_hits_and_saturated_samples_are_left_out_of_a_group(n):
    frames = np.full((n, 2, 2), 1000, np.uint16) + np.arange(n, dtype=np.uint16)[:, None, None] % 2
    frames[1, 0, 0] = 9000
    frames[:, 1, 1] = 65520
    found = group_mean(frames, np.zeros(n), recipe_for(n, noise_adu=1.0, step_adu=1.0), saturation_adu=65000)
    assert found.mean[0, 0] == pytest.approx(1000.4, abs=0.3)
    assert found.count[0, 0] == n - 1
    assert (np.isnan(found.mean[1, 1]), found.count[1, 1], found.squares[1, 1]) == (True, 0, 0)
    assert stacked([found, found]).freedom[0, 0] == 2 * (n - 2)


@pytest.mark.parametrize("bias", [1024.0, 8000.0])
@pytest.mark.parametrize("apart", [0.0, 5.0], ids=["equal levels", "levels apart"])
def test_a_hit_in_few_frames_is_seen_whatever_the_pedestal_that_has_no_shot_noise(bias, apart):
    n, noise = 4, 24.0
    levels = bias + apart * np.arange(n)
    frames = levels[:, None, None] + noise * RNG(2).standard_normal((n, 40, 50))
    frames[1] += 300
    recipe = recipe_for(n, noise_adu=noise, step_adu=1.0, gain_e_adu=0.25)
    found = group_mean(np.rint(frames).astype(np.uint16), levels, recipe)
    assert (found.count == n - 1).mean() > 0.9  # five sigma of a signal that is three hits of a fourth
    assert found.mean.mean() == pytest.approx(0.0, abs=8)


def noisy(k: int, n: int, pixels: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, Groups]:
    """Return a line over k groups of n frames in every pixel: design, weights and the groups."""
    samples = RNG(seed).normal(0, 5, (k, n, pixels))
    mean = samples.mean(axis=1)
    return (
        np.stack([np.ones(k), np.linspace(-10, 10, k)], axis=1),
        np.full(k, float(n)),
        Groups(
            mean=mean,
            count=np.full((k, pixels), n, np.uint16),
            squares=((samples - mean[:, None]) ** 2).sum(axis=(0, 1)),
            freedom=np.full(pixels, k * (n - 1.0)),
        ),
    )


def test_a_missing_group_and_an_outlying_one_have_bits_of_their_own():
    design, weights, made = noisy(8, 4, 300)
    made.mean[2, :100], made.count[2, :100] = np.nan, 0
    made.mean[4, 50:200] += 200
    mask = flags_of(fit_groups(design, weights, made), 8)
    low, outlier = (mask & ModelBit.LOW_COUNT) != 0, (mask & ModelBit.OUTLIER) != 0
    assert low.tolist() == [True] * 100 + [False] * 200
    assert outlier[50:200].all()
    assert np.delete(outlier, slice(50, 200)).mean() < 0.01


@pytest.mark.parametrize(("k", "n"), [(5, 2), (4, 3), (10, 2)])
def test_pixels_of_few_frames_are_no_misfits_by_chance(k, n):
    design, weights, made = noisy(k, n, 300_000)
    mask = flags_of(fit_groups(design, weights, made), k)
    assert ((mask & ModelBit.MISFIT) != 0).sum() <= 3  # one in a million: 0.3 are expected


def test_more_than_255_groups_are_counted():
    design, weights, made = noisy(300, 2, 50)
    fit = fit_groups(design, weights, made)
    assert fit.groups.min() > 290
    assert not (flags_of(fit, 300) & ModelBit.LOW_COUNT).any()
