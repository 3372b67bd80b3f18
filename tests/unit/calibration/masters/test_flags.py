"""Flags, scales, normalisation and statistics of masters: pure arithmetic on simulated planes with known truth."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.combine.engine import combine_band
from calibration.combine.recipe import BandPlanes, MaskBit, Method, NoiseModel, Recipe
from calibration.errors import CombineError
from calibration.frames import FrameKind
from calibration.masters.background import background
from calibration.masters.flags import flag_rows, inherit, thresholds
from calibration.masters.quality import Totals, dust_shadows, judge, pair_counts, pair_sigma, statistics
from calibration.masters.scales import Normalisation, flat_scales, normalisation_factor, with_dark
from calibration.masters.sketch import ENOUGH, Sketch, clipped, sketch_stride

SHAPE = (400, 500)
N, READ_NOISE, GAIN = 40, 4.0, 0.5


def sketch_of(planes: BandPlanes) -> Sketch:
    return Sketch.of(planes)


def dark_truth(rng: np.random.Generator) -> np.ndarray:
    """Amplifier glow, fixed pattern, and a steep tail of warm and hot pixels."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    glow = 40.0 * np.exp(-((y - 0) ** 2 + (x - 500) ** 2) / (2 * 120.0**2))
    warm = np.where(rng.random(SHAPE) < 0.01, rng.exponential(60.0, SHAPE), 0.0)
    return 500.0 + glow + rng.normal(0.0, 0.4, SHAPE) + warm


@pytest.fixture(scope="module")
def dark() -> tuple[np.ndarray, BandPlanes]:
    rng = np.random.default_rng(4)
    truth = dark_truth(rng)
    noise = np.sqrt(READ_NOISE**2 + np.maximum(truth - 500.0, 0) / GAIN)
    noise[300, 100:110] *= 6.0  # telegraph-like pixels
    frames = np.rint(rng.normal(truth, noise, (N, *SHAPE))).astype(np.uint16)
    return truth, combine_band(frames, Recipe())


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


def test_scales_bring_flats_to_their_mean_net_level() -> None:
    scales = flat_scales([1100.0, 2100.0], [100.0, 100.0])
    np.testing.assert_allclose(scales * [1000.0, 2000.0], [1500.0, 1500.0], rtol=1e-6)
    with pytest.raises(CombineError, match="not brighter"):
        flat_scales([90.0], [100.0])


def test_uncertainty_of_the_dark_adds_in_quadrature() -> None:
    one = np.full((2, 2), 3.0, np.float32)
    np.testing.assert_allclose(with_dark(one, [np.full((2, 2), 4.0, np.float32)], [1.0]), 5.0)
    np.testing.assert_allclose(with_dark(one, [one, one], [0.5, 0.5]), np.sqrt(9 + 2.25 + 2.25), rtol=1e-6)


def test_flags_of_a_dark_are_inherited() -> None:
    mask, dark_mask = np.array([[0, 2]], np.uint8), np.array([[MaskBit.HOT, MaskBit.LOW_COUNT]], np.uint8)
    assert inherit(mask, dark_mask).tolist() == [[MaskBit.HOT | MaskBit.INHERITED, 2]]


@pytest.mark.parametrize(("how", "expected"), [("mean", 1000.0), ("median", 1000.0), ("max", 1400.0)])
def test_normalisation_is_robust(how: str, expected: float) -> None:
    mean = np.full(SHAPE, 1000.0, np.float32)
    mean[:20] = 1400.0
    mean[:20, 0] = 600.0
    mean[200, 200:210] = 60000.0  # hot
    mean[201, :50] = np.nan
    mask = np.where(np.isnan(mean), np.uint8(MaskBit.NO_DATA), np.uint8(0)).astype(np.uint8)
    ones = np.ones(SHAPE, np.float32)
    planes = BandPlanes(mean=mean, sigma=ones, count=ones.astype(np.uint16), mask=mask)
    assert normalisation_factor(sketch_of(planes), Normalisation(how)) == pytest.approx(expected, rel=0.03)


def test_dark_flat_cannot_be_normalised() -> None:
    zeros = np.zeros(SHAPE, np.float32)
    planes = BandPlanes(mean=zeros, sigma=zeros, count=zeros.astype(np.uint16), mask=zeros.astype(np.uint8))
    with pytest.raises(CombineError, match="cannot be normalised"):
        normalisation_factor(sketch_of(planes), Normalisation.MEAN)


@pytest.mark.parametrize("k", [2.0, 3.0, 5.0])
def test_thresholds_are_not_lowered_by_what_clipping_cuts_off(k: float) -> None:
    values = np.random.default_rng(8).normal(500.0, 4.0, ENOUGH)
    values[::50] += 3000.0
    median, mean, sigma = clipped(values, k=k)
    assert (median, mean) == (pytest.approx(500.0, abs=0.2), pytest.approx(500.0, abs=0.1))
    assert sigma == pytest.approx(4.0, rel=0.005 if k >= 3 else 0.02)


def test_noise_of_a_pair_ignores_cosmic_hits_and_a_common_offset() -> None:
    rng = np.random.default_rng(2)
    a, b = (rng.normal(1000.0 + offset, 5.0, (50, 2000)).astype(np.float32) for offset in (0.0, 3.0))
    a[rng.random(a.shape) < 0.001] += 3000.0
    assert pair_sigma(pair_counts(a, b)) == pytest.approx(5.0, rel=0.02)
    whole = [np.rint(values).astype(np.uint16) for values in (a, b)]
    np.testing.assert_array_equal(pair_counts(*whole), pair_counts(*(values.astype(np.float32) for values in whole)))
    assert np.isnan(pair_sigma(np.zeros(5, np.int64)))


def flat_planes(shadow: float, corner: float) -> BandPlanes:
    rng = np.random.default_rng(9)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    radius2 = ((y - 200) ** 2 + (x - 250) ** 2) / (200.0**2 + 250.0**2)
    light = 20000.0 * np.maximum(1 - (1 - corner) * radius2, 0.001)
    light *= 1 - shadow * np.exp(-((y - 120) ** 2 + (x - 330) ** 2) / (2 * 14.0**2))
    sigma = np.sqrt(light / GAIN / N)
    return BandPlanes(
        mean=rng.normal(light, sigma).astype(np.float32),
        sigma=sigma.astype(np.float32),
        count=np.full(SHAPE, N, np.uint16),
        mask=np.zeros(SHAPE, np.uint8),
    )


def test_dust_shadow_is_seen_and_vignetting_is_none() -> None:
    assert dust_shadows(sketch_of(flat_planes(0.05, 0.8))) == 1
    assert dust_shadows(sketch_of(flat_planes(0.0, 0.7))) == 0


def mosaic_of(planes: BandPlanes, red: float, blue: float) -> BandPlanes:
    """Return a flat as a colour sensor sees it, RGGB."""
    response = np.ones(SHAPE, np.float32)
    response[::2, ::2], response[1::2, 1::2] = red, blue
    return replace(planes, mean=planes.mean * response, sigma=planes.sigma * np.sqrt(response))


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize(("red", "blue"), [(0.35, 0.6), (0.3, 0.9), (1 / 0.6, 0.5)])
def test_no_colour_of_a_mosaic_is_taken_for_dead_or_hot_pixels(red: float, blue: float, stride: int) -> None:
    planes = mosaic_of(flat_planes(0.05, 0.8), red, blue)
    planes.mean[100, 100] *= 0.3
    planes.mean[251, 201] *= 1.8
    seen = BandPlanes(**{name: getattr(planes, name)[::stride] for name in BandPlanes.__slots__})
    sketch = Sketch.of(seen, stride=stride, height=SHAPE[0])
    limits = thresholds(FrameKind.FLAT, sketch, samples=N, factor=1.0, mosaic=True)
    flags = flag_rows(planes, 0, limits)
    assert [tuple(place) for place in np.argwhere(flags & MaskBit.DEAD)] == [(100, 100)]
    assert [tuple(place) for place in np.argwhere(flags & MaskBit.HOT)] == [(251, 201)]
    assert not (flags & MaskBit.NOISY).any()
    band = BandPlanes(**{name: getattr(planes, name)[71:90] for name in BandPlanes.__slots__})
    np.testing.assert_array_equal(flag_rows(band, 71, limits), flags[71:90])


def test_dust_on_a_colour_sensor_is_counted_as_on_any_other() -> None:
    for stride in (1, 7):
        for shadow, expected in ((0.05, 1), (0.0, 0)):
            planes = mosaic_of(flat_planes(shadow, 0.8), 0.35, 0.6)
            seen = BandPlanes(**{name: getattr(planes, name)[::stride] for name in BandPlanes.__slots__})
            assert dust_shadows(Sketch.of(seen, stride=stride, height=SHAPE[0]), mosaic=True) == expected


def judged(planes: BandPlanes, kind: FrameKind, pair: float, **more: object) -> list[str]:
    sketch = sketch_of(planes)
    limits = thresholds(kind, sketch, samples=N, factor=1.0)
    totals = Totals()
    totals.add_samples(planes.count, planes.mean, N)
    totals.add_mask(flag_rows(planes, 0, limits))
    found = statistics(sketch, limits, totals, pair_noise_adu=pair) | totals.flags() | more
    return [verdict.code for verdict in judge(kind, found)]


def test_healthy_masters_are_not_suspect(dark: tuple[np.ndarray, BandPlanes]) -> None:
    assert judged(dark[1], FrameKind.DARK, READ_NOISE) == []
    assert judged(flat_planes(0.0, 0.7), FrameKind.FLAT, np.sqrt(20000 * 0.9 / GAIN)) == []


def test_what_is_suspect_is_said(dark: tuple[np.ndarray, BandPlanes]) -> None:
    assert judged(dark[1], FrameKind.DARK, 2 * READ_NOISE) == ["noise_off"]
    assert judged(dark[1], FrameKind.DARK, READ_NOISE, temp_min_c=-10.0, temp_max_c=-8.0) == ["temperature_off"]
    assert "illumination" in judged(flat_planes(0.0, -0.6), FrameKind.FLAT, np.sqrt(20000 * 0.6 / GAIN))
    thin = BandPlanes(
        mean=dark[1].mean, sigma=dark[1].sigma, count=(dark[1].count // 2).astype(np.uint16), mask=dark[1].mask
    )
    assert "rejected" in judged(thin, FrameKind.DARK, READ_NOISE / 2**0.5)


def test_minmax_is_not_suspect_for_what_it_always_rejects() -> None:
    rng = np.random.default_rng(1)
    frames = np.rint(rng.normal(500.0, READ_NOISE, (10, 100, 100))).astype(np.uint16)
    recipe = Recipe(method=Method.MINMAX)
    planes = combine_band(frames, recipe)
    sketch = sketch_of(planes)
    limits = thresholds(FrameKind.BIAS, sketch, samples=10, factor=recipe.factor_for(10))
    totals = Totals()
    totals.add_samples(planes.count, planes.mean, 10)
    found = statistics(sketch, limits, totals, pair_noise_adu=READ_NOISE) | totals.flags()
    assert "rejected" not in [v.code for v in judge(FrameKind.BIAS, found, designed=0.2)]
