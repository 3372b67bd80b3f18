"""The smooth background of a master, from the sketch of its planes."""

import numpy as np

from calibration.combine.recipe import BandPlanes
from calibration.masters.background import background
from calibration.masters.sketch import sketch_stride
from tests.support.made_planes import SHAPE, sketch_of


def test_background_follows_a_slope_and_ignores_hot_pixels() -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    truth = (100.0 + 0.05 * y + 0.02 * x).astype(np.float32)
    mean = truth.copy()
    mean[::17, ::13] += 5000.0
    ones = np.ones(SHAPE, np.float32)
    planes = BandPlanes(mean=mean, sigma=ones, count=ones.astype(np.uint16), mask=np.zeros(SHAPE, np.uint16))
    found = background(sketch_of(planes)).rows(0, SHAPE[0])
    inner = (slice(40, -40), slice(40, -40))
    np.testing.assert_allclose(found[inner], truth[inner], atol=0.2)


def test_sketch_of_a_large_image_is_small() -> None:
    assert sketch_stride(SHAPE) == 1
    assert sketch_stride((6388, 9576)) == 7
