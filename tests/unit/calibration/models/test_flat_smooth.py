"""Vignetting and illumination: what was put into a flat comes out of it, whatever lies on it."""

import numpy as np
import pytest

from calibration.models.flat.shapes import Cos4, Illumination, Mapped, Radial, half_diagonal, middle
from calibration.models.flat.smooth import Cells, fit_smooth
from tests.support.made_flats import CENTRE, K1, K2, SHAPE, dust, grid, made_flat, vignetting

UNIT = half_diagonal(SHAPE)
RADIAL = Radial(centre=CENTRE, radius_px=UNIT, powers=(2, 4), coefficients=(K1, K2))
TILT = Illumination(level=2.0, shape=SHAPE, terms=("x", "y", "xx_minus_yy"), coefficients=(0.1, -0.05, 0.03))


def noisy(values: np.ndarray, seed: int = 1, sigma: float = 0.002) -> Cells:
    rng = np.random.default_rng(seed)
    return Cells(values=values * (1 + sigma * rng.standard_normal(values.shape)), size=1, shape=SHAPE)


@pytest.mark.parametrize("shape", [RADIAL, Cos4(centre=CENTRE, radius_px=UNIT, q=0.2), TILT])
def test_slopes_are_the_derivatives_of_the_logarithm(shape):
    y, x = grid()
    for i, value in enumerate(shape.values):
        step = 1e-5 * max(abs(value), 1)
        ends = [shape.moved([v + s * (i == j) for j, v in enumerate(shape.values)]).at(y, x) for s in (step, -step)]
        numeric = (ends[0] - ends[1]) / (2 * step) / shape.at(y, x)
        np.testing.assert_allclose(shape.slopes(y, x)[i], numeric, atol=1e-7)


def test_vignetting_is_found_with_its_centre():
    found = fit_smooth(noisy(vignetting()))
    assert found.family == "radial"
    for name, value, truth in zip(found.vignetting.names, found.vignetting.values, (*CENTRE, K1, K2), strict=True):
        assert abs(value - truth) < 4 * found.sigma(name), name
    assert found.sigma("centre_y") < 0.05
    assert found.excess == 1.0


def test_natural_vignetting_is_a_cosine():
    truth = Cos4(centre=CENTRE, radius_px=UNIT, q=0.2)
    found = fit_smooth(noisy(truth.at(*grid())))
    assert found.family == "cos4"
    assert abs(found.vignetting.values[2] - 0.2) < 4 * found.sigma("q")


def test_where_there_is_no_vignetting_none_is_found():
    found = fit_smooth(noisy(np.full(SHAPE, 3.0)))
    assert (found.family, found.illumination.terms) == ("none", ())
    assert found.illumination.level == pytest.approx(3.0, abs=1e-3)


def test_a_tenth_of_bad_cells_and_dust_move_nothing():
    rng = np.random.default_rng(3)
    values = vignetting() * dust()
    bad = rng.random(SHAPE) < 0.1
    values = np.where(bad, rng.choice([0.2, 3.0, np.nan], SHAPE), values)
    found = fit_smooth(noisy(values))
    np.testing.assert_allclose(found.planes(*grid()).vignetting, vignetting(), atol=2e-3)


def test_with_a_vignetting_that_is_given_the_light_is_what_is_left():
    found = fit_smooth(noisy(vignetting() * TILT.at(*grid())), RADIAL)
    assert not found.fitted
    np.testing.assert_allclose(found.planes(*grid()).illumination / TILT.at(*grid()), 1.0, atol=1e-3)
    names = found.illumination.names
    assert names[:3] == ("level", "x", "y")
    assert abs(found.illumination.values[1] - 0.1) < 4 * found.sigma("x")


def test_light_that_falls_aslant_is_told_from_vignetting_where_it_cannot_be_its_centre():
    light = 1 + 0.1 * grid()[1] / UNIT * (grid()[0] - middle(SHAPE)[0]) / UNIT
    found = fit_smooth(noisy(vignetting() * light))
    assert "xy" in found.illumination.terms
    np.testing.assert_allclose(found.product(*grid()), vignetting() * light, rtol=2e-3)


def test_a_map_is_stretched_over_the_frame():
    image = vignetting((24, 32), (12.75, 14.25))
    given = Mapped(image=5 * image, shape=SHAPE)
    y, x = grid()
    inner = np.s_[2:-2, 2:-2]
    np.testing.assert_allclose((given.at(y, x) / given.at(y, x).max())[inner], vignetting()[inner], atol=3e-3)
    found = fit_smooth(noisy(vignetting()), given)
    assert (found.family, found.fitted) == ("map", False)


def test_cells_that_vary_together_widen_the_errors():
    rng = np.random.default_rng(5)
    from scipy import ndimage

    texture = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 2) * 0.02
    assert fit_smooth(Cells(values=vignetting() * (1 + texture), size=1, shape=SHAPE)).excess > 3


@pytest.mark.parametrize("values", [np.zeros(SHAPE), np.full(SHAPE, np.nan), -np.ones(SHAPE)])
def test_a_flat_without_light_is_refused(values):
    with pytest.raises(ValueError, match="too few"):
        fit_smooth(Cells(values=values, size=1, shape=SHAPE))


def test_a_flat_of_a_single_value_has_no_shape_and_no_exception():
    found = fit_smooth(Cells(values=np.ones(SHAPE), size=1, shape=SHAPE))
    assert found.family == "none"
    assert np.isfinite(found.product(*grid())).all()


def test_the_errors_of_the_gains_include_those_of_the_smooth_part():
    flat = made_flat(2)
    planes = fit_smooth(Cells(values=flat.values, size=1, shape=SHAPE)).planes(*grid())
    assert (planes.relative_sigma > 0).all()
    assert planes.vignetting_sigma.max() < 0.01
