"""A flat taken apart: the product is the flat again; the gains scatter as the sensor's do."""

import numpy as np
import pytest

from calibration.models.flat.factors import NAMES, cell_of, factor_band, factorise, medians
from calibration.models.flat.prnu import PrnuSums, limits_of
from calibration.models.flat.shapes import Radial, half_diagonal
from calibration.models.flat.smooth import Cells
from tests.support.made_flats import CENTRE, K1, K2, NOISE, PRNU, SHAPE, grid, made_flat


def prnu_of(gains: np.ndarray, sigma: np.ndarray) -> object:
    sums = PrnuSums(limits_of(gains), gains.shape)
    for start in range(0, len(gains), 13):
        sums.add(start, gains[start : start + 13], sigma[start : start + 13])
    return sums.result()


def test_the_product_of_the_factors_is_the_flat_again():
    flat = made_flat(1)
    factors = factorise(Cells(values=flat.values, size=1, shape=SHAPE))
    values, sigma = flat.values.astype(np.float32), flat.sigma.astype(np.float32)
    bands = [factor_band(factors, y, values[y : y + 20], sigma[y : y + 20]) for y in range(0, 48, 20)]
    product = np.concatenate([band.product for band in bands])
    assert np.abs(product / values - 1).max() <= 2**-23  # one step of float32
    for name, truth in {"VIGNETTE": flat.vignetting, "DUST": flat.dust, "PRNU": flat.gains}.items():
        plane = np.concatenate([band.planes[name] for band in bands])
        error = np.concatenate([band.planes[f"{name}_SIGMA"] for band in bands])
        assert (np.abs(plane - truth) < 6 * error + 1e-4).all(), name


def test_the_given_vignetting_is_taken_as_it_is():
    flat = made_flat(2)
    given = Radial(centre=CENTRE, radius_px=half_diagonal(SHAPE), powers=(2, 4), coefficients=(K1, K2))
    factors = factorise(Cells(values=flat.values, size=1, shape=SHAPE), given)
    planes = factor_band(factors, 0, flat.values, flat.sigma).planes
    np.testing.assert_allclose(planes["VIGNETTE"], flat.vignetting, rtol=1e-6)
    assert not planes["VIGNETTE_SIGMA"].any()


def test_without_vignetting_the_light_takes_what_is_smooth():
    flat = made_flat(3)
    factors = factorise(Cells(values=flat.values, size=1, shape=SHAPE), vignetting=False)
    planes = factor_band(factors, 0, flat.values, flat.sigma).planes
    assert (planes["VIGNETTE"] == 1).all()
    assert "rr" in factors.smooth.illumination.terms


def test_gains_after_a_quadratic_illumination_scatter_as_they_do():
    """Without its removal the total would be many times too large."""
    y, x = grid()
    light = 1 + 0.15 * (x - 31.5) / 40 - 0.2 * ((x - 31.5) / 40) ** 2 + 0.1 * ((y - 23.5) / 40) ** 2
    for seed in range(10):
        rng = np.random.default_rng(seed)
        gains = 1 + PRNU * rng.standard_normal(SHAPE)
        gains[rng.random(SHAPE) < 0.002] = 0.3  # dead pixels
        values = light * gains * (1 + NOISE * rng.standard_normal(SHAPE))
        factors = factorise(Cells(values=values, size=1, shape=SHAPE), vignetting=False)
        planes = factor_band(factors, 0, values, NOISE * values).planes
        found = prnu_of(planes["PRNU"], np.full(SHAPE, NOISE))
        assert abs(found.total - PRNU) < 4 * found.total_sigma
        assert abs(found.pixel - PRNU) < 4 * found.pixel_sigma
        assert found.temporal == pytest.approx(NOISE)
    assert np.std(light) > 5 * PRNU


@pytest.mark.parametrize(("row", "column"), [(0.005, 0.0), (0.0, 0.008), (0.004, 0.006)])
def test_rows_and_columns_are_split_from_pixels(row, column):
    shape, rng = (160, 240), np.random.default_rng(4)
    gains = 1 + PRNU * rng.standard_normal(shape)
    gains += row * rng.standard_normal((shape[0], 1)) + column * rng.standard_normal((1, shape[1]))
    found = prnu_of(gains + NOISE * rng.standard_normal(shape), np.full(shape, NOISE))
    for value, sigma, truth in (
        (found.row, found.row_sigma, row),
        (found.column, found.column_sigma, column),
        (found.pixel, found.pixel_sigma, PRNU),
        (found.total, found.total_sigma, float(np.sqrt(PRNU**2 + row**2 + column**2))),
    ):
        assert abs(value - truth) < 4 * sigma


def test_a_plane_of_noise_alone_has_no_gains():
    rng = np.random.default_rng(5)
    found = prnu_of(1 + NOISE * rng.standard_normal(SHAPE), np.full(SHAPE, NOISE))
    assert found.total < 3 * found.total_sigma
    assert np.isnan(prnu_of(np.full(SHAPE, np.nan), np.full(SHAPE, NOISE)).total)
    assert np.isnan(prnu_of(np.ones(SHAPE), np.full(SHAPE, np.nan)).total)  # the noise of the flat is not known


def test_cells_are_medians_of_pixels():
    assert cell_of((6388, 9576)) == 4
    assert cell_of(SHAPE) == 1
    rows = np.arange(6 * 10, dtype=np.float32).reshape(6, 10)
    rows[0, 0] = np.nan
    found = medians(rows, 3)
    assert found.shape == (2, 3)
    assert found[1, 1] == np.median(rows[3:, 3:6])
    assert np.isfinite(found).all()


def test_names_are_those_of_the_planes():
    flat = made_flat(1)
    planes = factor_band(factorise(Cells(values=flat.values, size=1, shape=SHAPE)), 0, flat.values, flat.sigma).planes
    assert set(planes) == {*NAMES, *(f"{name}_SIGMA" for name in NAMES)}
