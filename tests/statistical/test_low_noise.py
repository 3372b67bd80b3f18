"""Where the noise is hardly larger than a step of the converter, MEAN is unbiased and SIGMA is its scatter.

Two halves of a set differ as their SIGMA promise: √(var(a - b) / ⟨SIGMA_a² + SIGMA_b²⟩) is 1 within 2 % and the error
of so many pixels. The levels lie anywhere between two whole numbers.
"""

from itertools import product

import numpy as np
import pytest

from calibration.combine.engine import combine_band
from calibration.combine.recipe import Method, NoiseModel, Recipe

PIXELS = 20_000
LEVELS = (100.0, 100.32, 100.5)
CLIPPING = (Method.SIGMA_CLIP, Method.MAD, Method.WINSORIZED)


def halves(recipe: Recipe, n: int, sigma: float, level: float, *, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return MEAN and SIGMA, shape (2, pixels), of two sets of n frames of one level, rounded to a step."""
    rng = np.random.default_rng([n, round(100 * sigma), round(100 * level)])
    means, sigmas = [], []
    for _ in range(2):
        values = level + sigma * rng.standard_normal((n, 1, PIXELS), dtype=np.float32)
        frames = (np.rint(values) * step).astype(np.uint16)
        found = combine_band(frames, recipe)
        means.append(found.mean[0])
        sigmas.append(found.sigma[0])
    return np.array(means, np.float64), np.array(sigmas, np.float64)


def pulls(means: np.ndarray, sigmas: np.ndarray) -> float:
    return float(np.sqrt(np.var(means[0] - means[1]) / np.mean((sigmas**2).sum(axis=0))))


def assert_right(recipe: Recipe, n: int, sigma: float, level: float, *, step: int = 1) -> None:
    means, sigmas = halves(recipe, n, sigma, level, step=step)
    assert (sigmas > 0).all()
    assert means.mean() / step == pytest.approx(level, abs=0.005 + 4 * sigma / np.sqrt(2 * n * PIXELS))
    error = 1 / np.sqrt(2 * PIXELS)
    assert 0.98 - 3 * error <= pulls(means, sigmas) <= 1.02 + 3 * error


def rounded(sigma: float) -> float:
    """Return the noise of samples that are rounded to whole numbers."""
    return float(np.hypot(sigma, 12**-0.5))


@pytest.mark.parametrize(("method", "n"), list(product([Method.NONE, *CLIPPING], [8, 13, 16, 40, 84])))
@pytest.mark.parametrize("sigma", [0.5, 0.7, 0.9, 1.4, 2.0, 3.0, 5.0, 10.0])
def test_halves_differ_as_their_sigma_promise(method: Method, n: int, sigma: float) -> None:
    level = LEVELS[(n + round(10 * sigma)) % len(LEVELS)]
    assert_right(Recipe(method=method, sample_adu=rounded(sigma)), n, sigma, level)


@pytest.mark.parametrize("n", [8, 9, 16, 17, 40, 41, 84, 85])
@pytest.mark.parametrize("sigma", [2.0, 3.0, 6.0])
def test_a_median_within_its_step_does_so_from_two_steps_on(n: int, sigma: float) -> None:
    assert_right(Recipe(method=Method.MEDIAN, sample_adu=rounded(sigma)), n, sigma, LEVELS[n % len(LEVELS)])


@pytest.mark.parametrize("method", CLIPPING)
@pytest.mark.parametrize("k", [2.5, 4.0])
def test_other_thresholds_do_so_as_well(method: Method, k: float) -> None:
    for n, sigma in product([12, 40], [0.6, 2.5, 8.0]):
        assert_right(Recipe(method=method, sigma=k, sample_adu=rounded(sigma)), n, sigma, 100.32)


@pytest.mark.parametrize("sigma", [0.6, 1.0, 3.0])
def test_a_converter_of_fewer_bits_has_larger_steps(sigma: float) -> None:
    recipe = Recipe(step_adu=16.0, sample_adu=16 * rounded(sigma))
    assert_right(recipe, 16, sigma, 100.3, step=16)


@pytest.mark.parametrize("sigma", [0.6, 1.5, 5.0])
def test_few_frames_of_known_noise_do_so_too(sigma: float) -> None:
    noise = NoiseModel(read_noise_adu=rounded(sigma), gain_e_adu=1e6)
    assert_right(Recipe(noise=noise, sample_adu=rounded(sigma)), 8, sigma, 100.32)


@pytest.mark.parametrize("method", CLIPPING)
def test_outliers_are_still_rejected(method: Method) -> None:
    frames = np.rint(np.random.default_rng(3).normal(10.3, 0.8, (20, 1, 2000))).astype(np.uint16)
    frames[7] += 12
    assert (combine_band(frames, Recipe(method=method)).count == 19).mean() > 0.99
