"""Mean and uncertainty equal ccdproc's, after its uncertainty (ddof 0, no truncation factor) is converted to ours.

ccdproc knows nothing of a converter's step, so that these recipes have none.
"""

import warnings

import numpy as np
import pytest
from astropy.nddata import CCDData

from calibration.combine.engine import combine_band
from calibration.combine.recipe import Method, Recipe

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own dependencies, at import
    from ccdproc import Combiner


def frames_of(n: int) -> np.ndarray:
    rng = np.random.default_rng(n)
    x = rng.normal(800.0, 7.0, (n, 40, 60))
    x[rng.random(x.shape) < 0.02] += 500.0
    return np.rint(x).astype(np.uint16)


def combiner(frames: np.ndarray) -> Combiner:
    return Combiner([CCDData(frame.astype(np.float64), unit="adu") for frame in frames])


def converted(sigma: np.ndarray, count: np.ndarray, factor: float) -> np.ndarray:
    """Our SIGMA as ccdproc would give it: c s / √n with ddof 1 becomes s / √n with ddof 0."""
    return sigma / factor * np.sqrt((count - 1.0) / count)


@pytest.mark.parametrize("n", [12, 40])
def test_plain_mean_and_uncertainty(n: int) -> None:
    frames = frames_of(n)
    recipe = Recipe(method=Method.NONE, step_adu=0.0)
    ours, theirs = combine_band(frames, recipe), combiner(frames).average_combine()
    np.testing.assert_allclose(ours.mean, theirs.data, rtol=1e-6)
    mine = converted(ours.sigma, ours.count, recipe.factor_for(n))
    np.testing.assert_allclose(mine, theirs.uncertainty.array, rtol=1e-5)


@pytest.mark.parametrize("n", [12, 40])
def test_clipped_mean_and_uncertainty(n: int) -> None:
    frames = frames_of(n)
    recipe = Recipe(method=Method.SIGMA_CLIP, sigma=3.0, max_iterations=1, step_adu=0.0)  # ccdproc: one pass a call
    stack = combiner(frames)
    stack.sigma_clipping(low_thresh=3.0, high_thresh=3.0, func="median", dev_func="std")
    ours, theirs = combine_band(frames, recipe), stack.average_combine()
    np.testing.assert_allclose(ours.mean, theirs.data, rtol=1e-6)
    mine = converted(ours.sigma, ours.count, recipe.factor_for(n))
    np.testing.assert_allclose(mine, theirs.uncertainty.array, rtol=1e-5)


def test_median() -> None:
    frames = frames_of(15)
    ours, theirs = combine_band(frames, Recipe(method=Method.MEDIAN, step_adu=0.0)), combiner(frames).median_combine()
    np.testing.assert_array_equal(ours.mean, theirs.data.astype(np.float32))


def test_scaled_frames_minus_a_dark() -> None:
    frames = frames_of(20)
    scale = np.linspace(0.9, 1.1, 20).astype(np.float32)
    dark = np.full(frames.shape[1:], 100.0, np.float32)
    recipe = Recipe(method=Method.SIGMA_CLIP, max_iterations=1, step_adu=0.0)
    calibrated = [CCDData((f - dark).astype(np.float32) * s, unit="adu") for f, s in zip(frames, scale, strict=True)]
    stack = Combiner(calibrated, dtype=np.float64)
    stack.sigma_clipping(low_thresh=3.0, high_thresh=3.0, func="median", dev_func="std")
    ours, theirs = combine_band(frames, recipe, scale=scale, dark=dark), stack.average_combine()
    np.testing.assert_allclose(ours.mean, theirs.data, rtol=1e-6)
