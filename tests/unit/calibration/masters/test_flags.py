"""Flags of single pixels, on simulated planes with known truth."""

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.combine.recipe import BandPlanes, MaskBit, NoiseModel, Recipe
from calibration.frames import FrameKind
from calibration.masters.flags import flag_rows, inherit, thresholds
from calibration.masters.sketch import Sketch
from tests.support.made_planes import GAIN, READ_NOISE, SHAPE, N, dark_planes, flat_planes, mosaic_of, sketch_of


@pytest.fixture(scope="module")
def dark() -> tuple[NDArray[np.float64], BandPlanes]:
    return dark_planes()


def test_hot_pixels_well_above_the_threshold_are_found_and_few_others(dark: tuple[np.ndarray, BandPlanes]) -> None:
    truth, planes = dark
    limits = thresholds(FrameKind.DARK, sketch_of(planes), samples=N, factor=Recipe().factor_for(N))
    hot = (flag_rows(planes, 0, limits) & MaskBit.HOT).astype(bool)
    smooth = limits.background.rows(0, SHAPE[0])
    excess = truth - smooth - limits.hot_adu
    sure = excess >= 8 * planes.sigma
    assert sure.sum() > 200
    assert hot[sure].mean() >= 0.99
    assert (hot & (excess < 0)).mean() <= 0.001


def test_glow_is_background_not_hot_pixels(dark: tuple[np.ndarray, BandPlanes]) -> None:
    _, planes = dark
    limits = thresholds(FrameKind.DARK, sketch_of(planes), samples=N, factor=Recipe().factor_for(N))
    corner = flag_rows(planes, 0, limits)[:60, -60:] & MaskBit.HOT
    assert (corner > 0).mean() < 0.02


def test_noisy_pixels_are_found_by_their_scatter(dark: tuple[np.ndarray, BandPlanes]) -> None:
    _, planes = dark
    noise = NoiseModel(read_noise_adu=READ_NOISE, gain_e_adu=GAIN)
    limits = thresholds(FrameKind.DARK, sketch_of(planes), samples=N, factor=Recipe().factor_for(N), noise=noise)
    noisy = (flag_rows(planes, 0, limits) & MaskBit.NOISY).astype(bool)
    assert noisy[300, 100:110].all()
    assert noisy.mean() < 0.001


def test_flags_of_bands_equal_those_of_the_whole(dark: tuple[np.ndarray, BandPlanes]) -> None:
    _, planes = dark
    limits = thresholds(FrameKind.DARK, sketch_of(planes), samples=N, factor=1.0)
    whole = flag_rows(planes, 0, limits)
    part = BandPlanes(
        mean=planes.mean[70:93], sigma=planes.sigma[70:93], count=planes.count[70:93], mask=planes.mask[70:93]
    )
    np.testing.assert_array_equal(flag_rows(part, 70, limits), whole[70:93])


@pytest.mark.parametrize("dtype", [np.uint16, np.uint8])
def test_flags_of_a_dark_are_inherited(dtype: type) -> None:
    mask, dark_mask = np.array([[512, 2]], np.uint16), np.array([[MaskBit.HOT, MaskBit.LOW_COUNT]], dtype)
    found = inherit(mask, dark_mask)
    assert found.dtype == np.uint16
    assert found.tolist() == [[MaskBit.HOT | MaskBit.INHERITED | MaskBit.LOW_RESPONSE, 2]]


def test_what_is_there_for_whoever_looks_is_not_inherited() -> None:
    dark_mask = np.array([[MaskBit.WARM, MaskBit.WARM | MaskBit.NOISY, MaskBit.LOW_RESPONSE]], np.uint16)
    found = inherit(np.zeros((1, 3), np.uint16), dark_mask)
    assert found.tolist() == [[0, MaskBit.NOISY | MaskBit.INHERITED, 0]]


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize(("red", "blue"), [(0.35, 0.6), (0.3, 0.9), (1 / 0.6, 0.5)])
def test_no_colour_of_a_mosaic_is_taken_for_dead_or_hot_pixels(red: float, blue: float, stride: int) -> None:
    planes = mosaic_of(flat_planes(0.05, 0.8), red, blue)
    planes.mean[100, 100] *= 0.3
    planes.mean[251, 201] *= 1.8
    sketch = Sketch.of(planes, stride=stride)
    limits = thresholds(FrameKind.FLAT, sketch, samples=N, factor=1.0, mosaic=True)
    flags = flag_rows(planes, 0, limits)
    assert [tuple(place) for place in np.argwhere(flags & MaskBit.DEAD)] == [(100, 100)]
    assert [tuple(place) for place in np.argwhere(flags & MaskBit.HOT)] == [(251, 201)]
    assert not (flags & MaskBit.NOISY).any()
    band = BandPlanes(**{name: getattr(planes, name)[71:90] for name in BandPlanes.__slots__})
    np.testing.assert_array_equal(flag_rows(band, 71, limits), flags[71:90])
