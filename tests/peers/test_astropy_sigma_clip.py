"""Survivors of `sigma_clip` and `mad` are those of astropy's SigmaClip, sample for sample."""

import numpy as np
import pytest
from astropy.stats import SigmaClip

from calibration.combine.engine import combine_band, survivors
from calibration.combine.recipe import Method, Recipe


def stack(n: int, *, seed: int, spread: float, outliers: float) -> np.ndarray:
    """Integers of a sensor with outliers of all sizes on both sides."""
    rng = np.random.default_rng(seed)
    x = rng.normal(1000.0, spread, (n, 4, 700))
    hit = rng.random(x.shape) < outliers
    x[hit] += rng.normal(0.0, 20 * spread, hit.sum())
    return np.clip(np.rint(x), 0, 65535).astype(np.uint16)


def astropy_keeps(frames: np.ndarray, method: Method, k: float, passes: int = 5) -> np.ndarray:
    spread = "std" if method is Method.SIGMA_CLIP else "mad_std"
    clip = SigmaClip(k, maxiters=passes, cenfunc="median", stdfunc=spread)
    return ~np.ma.getmaskarray(clip(frames.astype(np.float64), axis=0))


@pytest.mark.parametrize("method", [Method.SIGMA_CLIP, Method.MAD])
@pytest.mark.parametrize("n", [3, 5, 8, 10, 25, 40, 64])
@pytest.mark.parametrize(("spread", "outliers"), [(0.7, 0.02), (6.0, 0.05), (300.0, 0.4)])
@pytest.mark.parametrize("k", [2.0, 3.0])
def test_survivors_are_the_same(method: Method, n: int, spread: float, outliers: float, k: float) -> None:
    frames = stack(n, seed=n, spread=spread, outliers=outliers)
    recipe = Recipe(method=method, sigma=k, step_adu=0.0)  # no floor: astropy has none
    np.testing.assert_array_equal(survivors(frames, recipe), astropy_keeps(frames, method, k))
    kept = astropy_keeps(frames, method, k)
    np.testing.assert_array_equal(combine_band(frames, recipe).count, kept.sum(axis=0))


@pytest.mark.parametrize(("method", "k"), [(Method.SIGMA_CLIP, 2.0), (Method.MAD, 3.0)])
def test_a_value_rejected_early_comes_back_under_the_final_bounds(method: Method, k: float) -> None:
    frames = np.rint(np.random.default_rng(5).normal(1000, 2.0, (40, 40, 500))).astype(np.uint16)
    kept = survivors(frames, Recipe(method=method, sigma=k, step_adu=0.0))
    np.testing.assert_array_equal(kept, astropy_keeps(frames, method, k))
    came_back = np.zeros(kept.shape, np.bool_)
    for passes in range(1, 5):
        came_back |= kept & ~astropy_keeps(frames, method, k, passes)
    assert came_back.any(), "no sample came back: the rule was not exercised"


@pytest.mark.parametrize("method", [Method.SIGMA_CLIP, Method.MAD])
def test_survivors_of_float_samples_are_the_same(method: Method) -> None:
    rng = np.random.default_rng(3)
    frames = rng.normal(0.0, 1.0, (30, 3, 900)).astype(np.float32)
    frames[rng.random(frames.shape) < 0.03] *= 9.0
    recipe = Recipe(method=method, sigma=2.5, step_adu=0.0)
    np.testing.assert_array_equal(survivors(frames, recipe), astropy_keeps(frames, method, 2.5))


@pytest.mark.parametrize("n", [8, 16, 40])
@pytest.mark.parametrize(("spread", "outliers"), [(0.5, 0.0), (0.9, 0.02), (6.0, 0.05)])
def test_survivors_of_rounded_samples_are_those_of_bounds_a_step_farther_out(
    n: int, spread: float, outliers: float
) -> None:
    frames, k = stack(n, seed=n + 1, spread=spread, outliers=outliers), 3.0

    def widened(values: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(np.maximum(np.nanstd(values, axis=axis), 12**-0.5) + 1 / k)

    clip = SigmaClip(k, maxiters=5, cenfunc="median", stdfunc=widened)
    kept = ~np.ma.getmaskarray(clip(frames.astype(np.float64), axis=0))
    np.testing.assert_array_equal(survivors(frames, Recipe(sigma=k)), kept)
