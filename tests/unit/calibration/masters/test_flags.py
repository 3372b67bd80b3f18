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
    around = (planes.mean[68:95], 68)
    np.testing.assert_array_equal(flag_rows(part, 70, limits, around), whole[70:93])


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
    np.testing.assert_array_equal(flag_rows(band, 71, limits, (planes.mean[69:92], 69)), flags[71:90])


PLANTED = 600
FAINT = {FrameKind.DARK: MaskBit.WARM | MaskBit.HOT, FrameKind.FLAT: MaskBit.LOW_RESPONSE | MaskBit.DEAD}


def _patterns(name: str) -> NDArray[np.float64]:
    rng = np.random.default_rng(6)
    y, x = np.indices((200, 300))
    return {
        "plain": np.zeros(x.shape),
        "glow": 40 * np.exp(-((x / 300) ** 2 + (y / 200) ** 2) / 0.05),
        "ripple": 1.5 * np.sin(2 * np.pi * (x + y) / 25),
        "steep ripple": 3 * np.sin(2 * np.pi * (x - y) / 5),
        "rows": rng.normal(0, 3, (200, 1)) + 0 * x,
        "columns": rng.normal(0, 3, 300) + 0.0 * y,
        "amplifiers": np.where(x < 150, 0.0, 25.0),
    }[name]


def _planted(kind: FrameKind, level: NDArray[np.float64], noise: NDArray[np.float64], n: int) -> tuple[float, float]:
    """Return which part of the planted pixels is flagged, and of the others."""
    rng = np.random.default_rng(8)
    places = rng.choice(level.size, PLANTED, replace=False)
    true = level + (rng.normal(0, 0.5, level.shape) if kind is FrameKind.DARK else level * rng.normal(0, 5e-3))
    if kind is FrameKind.DARK:
        true.ravel()[places] += rng.uniform(5, 15, PLANTED)
    else:
        true.ravel()[places] *= rng.uniform(0.7, 0.9, PLANTED)
    sigma = noise / n**0.5
    planes = BandPlanes(
        mean=rng.normal(true, sigma).astype(np.float32),
        sigma=(sigma * rng.normal(1, (2 * n) ** -0.5, level.shape)).astype(np.float32),
        count=np.full(level.shape, n, np.uint16),
        mask=np.zeros(level.shape, np.uint16),
    )
    limits = thresholds(kind, sketch_of(planes), samples=n, factor=1.0)
    flagged = (flag_rows(planes, 0, limits) & FAINT[kind] > 0).ravel()
    planted = np.isin(np.arange(level.size), places)
    return float(flagged[planted].mean()), float(flagged[~planted].mean())


@pytest.mark.parametrize("pattern", ["plain", "glow", "ripple", "steep ripple", "rows", "columns", "amplifiers"])
def test_warm_pixels_of_a_few_adu_are_seen_whatever_the_sensor_has_besides(pattern: str) -> None:
    level = 500 + _patterns(pattern)
    noise = np.sqrt(9 + (level - 500)) if pattern == "glow" else np.full(level.shape, 3.0)
    found, false = _planted(FrameKind.DARK, level, noise, 30)
    assert found >= 0.95
    assert false <= 0.0005


def test_pixels_of_less_response_are_seen_under_vignetting_and_dust() -> None:
    y, x = (axis / size - 0.5 for axis, size in zip(np.indices((200, 300)), (200, 300), strict=True))
    light = 20_000 * (1 - 1.2 * (x**2 + y**2)) * (1 - 0.1 * np.exp(-((x - 0.2) ** 2 + y**2) / 0.002))
    found, false = _planted(FrameKind.FLAT, light, np.sqrt(light), 20)
    assert found >= 0.95
    assert false <= 0.0005


def test_a_smooth_glow_has_no_hot_pixels() -> None:
    level = 500 + _patterns("glow")
    sigma = np.full(level.shape, 0.5)
    planes = BandPlanes(
        mean=np.random.default_rng(3).normal(level, sigma).astype(np.float32),
        sigma=sigma.astype(np.float32),
        count=np.full(level.shape, 30, np.uint16),
        mask=np.zeros(level.shape, np.uint16),
    )
    flags = flag_rows(planes, 0, thresholds(FrameKind.DARK, sketch_of(planes), samples=30, factor=1.0))
    assert (flags & (MaskBit.HOT | MaskBit.DEAD)).sum() == 0


@pytest.mark.parametrize("kind", [FrameKind.DARK, FrameKind.FLAT])
def test_neighbours_of_a_defect_are_sound(kind: FrameKind) -> None:
    rng = np.random.default_rng(4)
    mean = rng.normal(1000, 1, (60, 80)).astype(np.float32)
    mean[30, 40], mean[10, 0], mean[0, 20], mean[59, 79] = 60_000, 100, 60_000, 100
    planes = BandPlanes(
        mean=mean,
        sigma=np.ones(mean.shape, np.float32),
        count=np.full(mean.shape, 20, np.uint16),
        mask=np.zeros(mean.shape, np.uint16),
    )
    flags = flag_rows(planes, 0, thresholds(kind, sketch_of(planes), samples=20, factor=1.0))
    assert {tuple(place): int(flags[*place]) for place in np.argwhere(flags)} == {
        (30, 40): MaskBit.HOT, (10, 0): MaskBit.DEAD, (0, 20): MaskBit.HOT, (59, 79): MaskBit.DEAD,
    }  # fmt: skip


def test_frames_smaller_than_the_reach_are_flagged_without_neighbours() -> None:
    for shape in ((1, 9), (9, 1), (3, 3), (2, 6), (6, 3)):
        planes = BandPlanes(
            mean=np.full(shape, 500, np.float32),
            sigma=np.full(shape, np.nan, np.float32),
            count=np.ones(shape, np.uint16),
            mask=np.zeros(shape, np.uint16),
        )
        assert not flag_rows(planes, 0, thresholds(FrameKind.DARK, sketch_of(planes), samples=1, factor=1.0)).any()
