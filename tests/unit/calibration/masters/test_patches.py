"""Dust that was planted in a flat is found, glow and light that leaked into a dark are seen, and nothing else is."""

import numpy as np
import pytest

from calibration.combine.recipe import BandPlanes
from calibration.masters.patches import bright_patches, dust_shadows
from calibration.masters.sketch import Sketch
from tests.support.made_planes import SHAPE, flat_planes, mosaic_of, sketch_of


def test_dust_shadow_is_seen_and_vignetting_is_none() -> None:
    assert dust_shadows(sketch_of(flat_planes(0.05, 0.8))) == 1
    assert dust_shadows(sketch_of(flat_planes(0.0, 0.7))) == 0


def test_dust_on_a_colour_sensor_is_counted_as_on_any_other() -> None:
    for stride in (1, 7):
        for shadow, expected in ((0.05, 1), (0.0, 0)):
            planes = mosaic_of(flat_planes(shadow, 0.8), 0.35, 0.6)
            assert dust_shadows(Sketch.of(planes, stride=stride), mosaic=True) == expected


PLACES = [(40, 60), (200, 250), (370, 450), (120, 330)]


def dusty(depths: list[float], *, vignetting: float = 0.3, noise: float = 0.003) -> Sketch:
    """Return the sketch of a flat with a shadow of each depth, of the shape of a ring."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    light = 20000.0 * (1 - vignetting * ((y / 200 - 1) ** 2 + (x / 250 - 1) ** 2) / 2)
    for (row, column), depth in zip(PLACES, depths, strict=False):
        radius = np.hypot(y - row, x - column)
        light = light * np.where((radius < 24) & (radius > 8), 1 - depth, 1.0)
    mean = rng.normal(light, noise * light)
    mean[::37, ::41] *= 3.0  # hot
    mean[5::43, 7::29] *= 0.1  # dead
    ones = np.ones(SHAPE, np.float32)
    planes = BandPlanes(
        mean=mean.astype(np.float32), sigma=ones, count=ones.astype(np.uint16), mask=np.zeros(SHAPE, np.uint16)
    )
    return sketch_of(planes)


@pytest.mark.parametrize("vignetting", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("depths", [[], [0.03], [0.02, 0.03, 0.04], [0.03, 0.05, 0.04, 0.03]])
def test_every_planted_shadow_is_found_once(depths: list[float], vignetting: float) -> None:
    assert dust_shadows(dusty(depths, vignetting=vignetting)) == len(depths)


def test_noise_and_shallow_dips_are_no_dust() -> None:
    assert dust_shadows(dusty([0.002], noise=0.003)) == 0
    assert dust_shadows(dusty([], noise=0.03)) == 0


def leaking(height_adu: float, *, scale: float = 50.0, at: tuple[int, int] = (180, 300)) -> Sketch:
    """Return the sketch of a dark with hot pixels and a patch of light."""
    rng = np.random.default_rng(6)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    light = height_adu * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * scale**2))
    mean = 500.0 + light + rng.normal(0.0, 1.0, SHAPE)
    mean[rng.random(SHAPE) < 0.005] += 3000.0
    mean[100:106, 100:106] += 2000.0  # a cluster of hot pixels
    ones = np.ones(SHAPE, np.float32)
    planes = BandPlanes(
        mean=mean.astype(np.float32), sigma=ones, count=ones.astype(np.uint16), mask=np.zeros(SHAPE, np.uint16)
    )
    return sketch_of(planes)


@pytest.mark.parametrize(("height_adu", "expected"), [(0.0, 0), (0.5, 0), (4.0, 1), (60.0, 1)])
def test_leaked_light_is_a_bright_patch_and_hot_pixels_are_none(height_adu: float, expected: int) -> None:
    assert bright_patches(leaking(height_adu)) == expected


def test_amplifier_glow_in_a_corner_is_a_bright_patch() -> None:
    assert bright_patches(leaking(20.0, at=(0, 499))) == 1
