"""Compiled loops of the linear models do what the formulas say, across the edges of their tiles."""

import numpy as np
import pytest

from calibration.models.left_out import mix
from calibration.models.linear_kernels import Alike, Fitted, fit_alike, held_sums
from calibration.models.means import group_mean, recipe_for

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("pixels", [1, 511, 512, 1300])
def test_one_matrix_fits_all_pixels_as_least_squares_does(pixels: int) -> None:
    design = np.stack([np.ones(7), np.arange(7.0), np.arange(7.0) ** 2], axis=1)
    weights, mean = RNG.uniform(1, 9, 7), RNG.normal(1000, 5, (7, pixels))
    root = np.sqrt(weights)[:, None]
    theta, *_ = np.linalg.lstsq(design * root, mean * root, rcond=None)
    found = Fitted(np.empty((3, pixels)), np.empty(pixels), np.empty(pixels))
    projector = np.linalg.pinv(design * root) * root[:, 0]
    fit_alike(mean, Alike(design, projector, weights, np.arange(7.0)), found)
    left = mean - design @ theta
    assert found.theta == pytest.approx(theta, rel=1e-9)
    assert found.rest == pytest.approx((left**2 * weights[:, None]).sum(axis=0), rel=1e-6)
    assert found.far == pytest.approx((np.abs(left) * np.arange(7.0)[:, None]).max(axis=0), rel=1e-6)


def test_groups_without_a_share_do_no_harm() -> None:
    mean = RNG.normal(0, 1, (3, 2, 400))
    mean[1, 0, 0] = np.nan
    shares = np.array([[0.5, 0.0, 2.0], [0.0, 1.0, 0.0]])
    found = mix(shares, mean)
    assert found[0] == pytest.approx(0.5 * mean[0] + 2 * mean[2])
    assert np.array_equal(found[1], mean[1], equal_nan=True)


def test_sums_over_predicted_pixels_leave_out_those_without_a_value() -> None:
    measured, predicted = RNG.normal(100, 3, 50), RNG.normal(100, 3, 50)
    variance = RNG.uniform(1, 4, 50)
    measured[0], predicted[1], variance[2] = np.nan, np.nan, 0.0
    found = held_sums(measured, predicted, variance, (1.5, 0.2, 3.0))
    error = (measured - predicted)[2:]
    with np.errstate(divide="ignore"):
        pull = (error - 0.2) ** 2 / (1.5 * variance[2:])
    pull = np.where(np.isfinite(pull), np.minimum(pull, 9), 0)
    terms = [48, error.sum(), np.abs(error).sum(), (error**2).sum(), (np.abs(error) / np.abs(measured[2:])).sum()]
    assert found == pytest.approx([*terms, pull.sum(), 49, measured[1:].sum(), (measured[1:] ** 2).sum()])


def test_levels_that_hardly_differ_are_taken_off_the_mean() -> None:
    """Off each frame or off the mean: the same where nothing is clipped, and next to it where a hit is."""
    frames = np.rint(1000 + 10 * RNG.standard_normal((12, 20, 30))).astype(np.uint16)
    levels = RNG.uniform(-0.2, 0.2, 12)
    recipe = recipe_for(12, noise_adu=10.0, step_adu=1.0)
    found = group_mean(frames, levels, recipe)
    other = group_mean(frames.astype(np.float32) - levels[:, None, None].astype(np.float32), np.zeros(12), recipe)
    same = found.count == other.count  # a sample at the bound of the clipping falls on one side or the other
    assert same.mean() > 0.99
    assert found.mean[same] == pytest.approx(other.mean[same], abs=0.05 * 10 / 12)
    assert found.squares[same] == pytest.approx(other.squares[same], rel=0.05)
    whole = (found.count == 12) & (other.count == 12)
    assert whole.mean() > 0.8
    assert found.mean[whole] == pytest.approx((frames.mean(axis=0) - levels.mean())[whole], abs=1e-3)
    frames[3, 5, 5] = 9000
    hit = group_mean(frames, levels, recipe)
    assert hit.count[5, 5] < 12
    assert hit.mean[5, 5] == pytest.approx(1000, abs=15)


def test_levels_that_differ_are_taken_off_each_frame() -> None:
    levels = np.linspace(-40, 40, 12)
    frames = np.rint(1000 + levels[:, None, None] + 4 * RNG.standard_normal((12, 20, 30))).astype(np.uint16)
    found = group_mean(frames, levels, recipe_for(12, noise_adu=4.0, step_adu=1.0))
    assert found.mean == pytest.approx(1000, abs=6)
    assert np.sqrt(found.squares.sum() / (found.count.astype(int) - 1).sum()) == pytest.approx(4.0, rel=0.03)
