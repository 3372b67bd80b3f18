"""The smooth background of a master, from the sketch of its planes."""

import numpy as np
import pytest

from calibration.combine.recipe import BandPlanes
from calibration.masters.background import background
from calibration.masters.sketch import ENOUGH, clipped, sketch_stride
from tests.support.made_planes import SHAPE, sketch_of


def test_background_follows_a_slope_and_ignores_hot_pixels() -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    truth = (100.0 + 0.05 * y + 0.02 * x).astype(np.float32)
    mean = truth.copy()
    mean[::17, ::13] += 5000.0
    ones = np.ones(SHAPE, np.float32)
    planes = BandPlanes(mean=mean, sigma=ones, count=ones.astype(np.uint16), mask=np.zeros(SHAPE, np.uint8))
    found = background(sketch_of(planes)).rows(0, SHAPE[0])
    inner = (slice(40, -40), slice(40, -40))
    np.testing.assert_allclose(found[inner], truth[inner], atol=0.2)


def test_sketch_of_a_large_image_is_small() -> None:
    assert sketch_stride(SHAPE) == 1
    assert sketch_stride((6388, 9576)) == 7


@pytest.mark.parametrize("k", [2.0, 3.0, 5.0])
def test_thresholds_are_not_lowered_by_what_clipping_cuts_off(k: float) -> None:
    values = np.random.default_rng(8).normal(500.0, 4.0, ENOUGH)
    values[::50] += 3000.0
    median, mean, sigma = clipped(values, k=k)
    assert (median, mean) == (pytest.approx(500.0, abs=0.2), pytest.approx(500.0, abs=0.1))
    assert sigma == pytest.approx(4.0, rel=0.005 if k >= 3 else 0.02)
