"""Dust: shadows are found with their centre, radius and attenuation; noise, bad pixels and slopes are none."""

import numpy as np
import pytest

from calibration.models.flat.dust import Profile, Shadow, dust_at, find_dust
from calibration.models.flat.smooth import Cells
from tests.support.made_flats import GRAIN, SHAPE, dust

RING = Shadow(profile=Profile.RING, y=60.0, x=80.0, radius_px=14.0, attenuation=0.05, hole=0.35, edge_px=1.5)
WIDE = Shadow(profile=Profile.GAUSSIAN, y=100.0, x=150.0, radius_px=25.0, attenuation=0.01)
LARGE = (128, 192)


def cells(values: np.ndarray, seed: int = 1, sigma: float = 0.003, size: int = 1) -> Cells:
    rng = np.random.default_rng(seed)
    noisy = values * (1 + sigma * rng.standard_normal(values.shape))
    return Cells(values=noisy, size=size, shape=(values.shape[0] * size, values.shape[1] * size))


def test_a_grain_is_found_as_it_is():
    (found,) = find_dust(cells(dust()))
    assert found.profile is Profile.GAUSSIAN
    for i, truth in enumerate(GRAIN):
        assert abs(found.values[i] - truth) < 4 * found.sigma(i)
    assert found.significance > 20


def test_donuts_and_wide_shadows_are_found_together():
    factor, _ = dust_at((RING, WIDE), (0, LARGE[0]), LARGE[1])
    found = {each.profile: each for each in find_dust(cells(factor))}
    assert len(found) == 2
    for truth in (RING, WIDE):
        one = found[truth.profile]
        for i, value in enumerate(truth.values[:4]):
            assert abs(one.values[i] - value) < 4 * one.sigma(i), (truth.profile, i)
    rest, _ = dust_at(tuple(found.values()), (0, LARGE[0]), LARGE[1])
    np.testing.assert_allclose(rest, factor, atol=3e-3)


def test_a_shadow_keeps_its_size_in_pixels_where_cells_are_large():
    factor, _ = dust_at((WIDE,), (0, LARGE[0]), LARGE[1])
    small = factor.reshape(LARGE[0] // 4, 4, LARGE[1] // 4, 4).mean(axis=(1, 3))
    (found,) = find_dust(cells(small, size=4, sigma=0.001))
    assert abs(found.y - WIDE.y) < 0.5
    assert abs(found.radius_px - WIDE.radius_px) < 1


def test_noise_has_no_dust():
    assert sum(len(find_dust(cells(np.ones(SHAPE), seed, 0.01))) for seed in range(30)) == 0


def test_dead_and_hot_pixels_are_no_dust():
    rng = np.random.default_rng(7)
    values = np.ones(LARGE)
    values[rng.random(LARGE) < 0.003] = 0.0
    values[rng.random(LARGE) < 0.003] = 5.0
    values[rng.random(LARGE) < 0.003] = np.nan
    assert find_dust(cells(values)) == ()


def test_bad_rows_and_columns_are_no_dust():
    values = np.ones(LARGE)
    values[:, 60:62] *= 0.9
    values[:, 100:105] *= 1.05
    values[40] *= 0.8
    values *= 1 + 0.004 * np.random.default_rng(2).standard_normal((1, LARGE[1]))
    assert find_dust(cells(values)) == ()
    (found,) = find_dust(cells(values * dust_at((WIDE,), (0, LARGE[0]), LARGE[1])[0], sigma=0.001))
    assert abs(found.radius_px - WIDE.radius_px) < 2


def test_a_grain_at_the_edge_is_found():
    factor, _ = dust_at((Shadow(profile=Profile.GAUSSIAN, y=1.0, x=30.0, radius_px=4, attenuation=0.1),), (0, 48), 64)
    (found,) = find_dust(cells(factor))
    assert abs(found.x - 30) < 0.3


def test_bands_together_are_the_whole():
    whole = dust_at((RING, WIDE), (0, LARGE[0]), LARGE[1])
    parts = [dust_at((RING, WIDE), rows, LARGE[1]) for rows in ((0, 50), (50, 61), (61, 128))]
    for i in (0, 1):
        np.testing.assert_array_equal(np.concatenate([part[i] for part in parts]), whole[i])


@pytest.mark.parametrize("shape", [(4, 100), (100, 3)])
def test_an_image_of_few_cells_has_no_dust(shape):
    assert find_dust(cells(np.ones(shape))) == ()


def test_an_image_of_one_value_has_no_dust():
    assert find_dust(Cells(values=np.ones(SHAPE), size=1, shape=SHAPE)) == ()
