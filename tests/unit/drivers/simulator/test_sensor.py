"""Detector physics: what is drawn is what the truth says, and nothing repeats."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from drivers.simulator.detector_parameters import DetectorParameters
from drivers.simulator.maps import build_maps
from drivers.simulator.params import CameraParameters
from drivers.simulator.sensor import Conditions, Sensor, dark_factors

WIDTH, HEIGHT = 240, 160
QUIET = DetectorParameters(cosmic_rays_per_cm2_min=0, telegraph_fraction=0, row_noise_adu=0, frame_noise_adu=0)
BASE = Conditions(
    started_us=1_000,
    exposure_s=0.0,
    temperature_c=-10.0,
    light_e=0.0,
    leak_e=0.0,
    filter=None,
    e_per_adu=0.5,
    read_noise_e=2.0,
    full_well_e=51_000.0,
    saturation_adu=65_535.0,
    pedestal_adu=500.0,
    extra_adu=0.0,
    bin_x=1,
    bin_y=1,
    start_x=0,
    start_y=0,
    num_x=WIDTH,
    num_y=HEIGHT,
)


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(2) as executor:
        yield executor


def sensor(pool, detector=QUIET, *, seed=1, **camera):
    params = CameraParameters(width=WIDTH, height=HEIGHT, detector=detector, **camera)
    return Sensor(params, build_maps(detector, height=HEIGHT, width=WIDTH, seed=seed, pool=pool), seed)


def stack(made, pool, conditions, n=40):
    frames = [made.render(replace(conditions, started_us=10_000 + i), pool) for i in range(n)]
    return np.stack(frames).astype(np.float64)


def chi2(frames, expected):
    mean, sigma2 = frames.mean(0), frames.var(0, ddof=1) / len(frames)
    return ((mean - expected) ** 2).sum() / sigma2.sum()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="bias"),
        pytest.param({"exposure_s": 60.0, "temperature_c": 5.0}, id="dark"),
        pytest.param({"exposure_s": 1.0, "light_e": 16_000.0, "filter": "Ha"}, id="flat"),
        pytest.param({"light_e": 16_000.0, "bin_x": 2, "bin_y": 2, "num_x": 100, "num_y": 60}, id="binned"),
    ],
)
def test_mean_of_many_frames_is_the_truth(pool, change):
    made = sensor(pool, DetectorParameters(cosmic_rays_per_cm2_min=0))
    conditions = replace(BASE, **change)
    expected = made.expected(conditions)
    plain = made.expected(replace(conditions, light_e=0.0)) < 700  # a few hot pixels would make up the sums
    frames = stack(made, pool, conditions)
    assert 0.9 < chi2(frames[:, plain], expected[plain]) < 1.1


def test_temporal_noise_is_read_noise_and_shot_noise(pool):
    made = sensor(pool)
    for light_e in (0.0, 500.0, 20_000.0):
        conditions = replace(BASE, light_e=light_e)
        frames = stack(made, pool, conditions, n=20)
        signal_e = (made.expected(conditions) - made.expected(BASE)) * BASE.e_per_adu
        wanted = (made.read_noise_e(2.0).astype(np.float64) ** 2 + signal_e) / BASE.e_per_adu**2
        assert frames.var(0, ddof=1).mean() == pytest.approx(wanted.mean() + 1 / 12, rel=0.02)


def test_same_start_same_frame_whatever_the_threads(pool):
    made = sensor(pool)
    with ThreadPoolExecutor(1) as alone:
        np.testing.assert_array_equal(made.render(BASE, pool), made.render(BASE, alone))


def test_other_start_other_noise_and_other_seed_other_detector(pool):
    made, other = sensor(pool), sensor(pool, seed=2)
    first, second = (made.render(replace(BASE, started_us=us), pool).astype(float) for us in (1, 2))
    assert np.corrcoef((first - made.expected(BASE)).ravel(), (second - made.expected(BASE)).ravel())[0, 1] < 0.02
    assert not np.array_equal(made.maps.bias, other.maps.bias)
    assert not np.array_equal(made.maps.hot.index, other.maps.hot.index)


def test_a_subframe_is_a_piece_of_the_full_frames_truth(pool):
    made = sensor(pool)
    lit = replace(BASE, light_e=9_000.0, filter="L", exposure_s=30.0)
    piece = replace(lit, start_x=30, start_y=17, num_x=101, num_y=53)
    np.testing.assert_allclose(made.expected(piece), made.expected(lit)[17:70, 30:131], rtol=1e-6)


def test_binning_averages_or_sums(pool):
    lit = replace(BASE, light_e=3_000.0)
    half = replace(lit, bin_x=2, bin_y=2, num_x=WIDTH // 2, num_y=HEIGHT // 2)
    mean, summed = sensor(pool), sensor(pool, bin_sum=True)
    cells = mean.expected(lit).reshape(HEIGHT // 2, 2, WIDTH // 2, 2)
    np.testing.assert_allclose(mean.expected(half), cells.mean((1, 3)), rtol=1e-6)
    np.testing.assert_allclose(summed.expected(half), cells.sum((1, 3)), rtol=1e-6)
    assert summed.render(replace(half, light_e=20_000.0), pool).max() == 65_535


def test_dark_current_falls_as_two_components_with_the_varshni_gap(pool):
    assert dark_factors(20.0) == pytest.approx((1.0, 1.0))
    diffusion, depletion = dark_factors(-10.0)
    assert diffusion < depletion**1.9 < depletion < 0.1
    rate = sensor(pool).dark_rate(-10.0)
    assert np.median(rate) == pytest.approx(0.011, rel=0.15)  # published for this sensor
    made = sensor(pool)
    grown = made.expected(replace(BASE, exposure_s=100.0)) - made.expected(BASE)
    np.testing.assert_allclose(grown, 100 * rate / BASE.e_per_adu, rtol=0.01, atol=5.0)


def test_hot_pixels_are_where_the_mask_says(pool):
    made = sensor(pool)
    hot, rate = made.mask(made.maps.hot), made.dark_rate(0.0)
    assert 0 < hot.sum() < 40
    assert rate[hot].min() > 5 * np.median(rate[~hot])


def test_bias_drifts_with_temperature_pixel_by_pixel(pool):
    made = sensor(pool, replace(QUIET, readout_dark_s=0.0))
    slope = (made.expected(replace(BASE, temperature_c=10.0)) - made.expected(BASE)) / 20
    assert slope.mean() == pytest.approx(QUIET.drift_adu_per_c, abs=1e-3)
    assert slope.std() == pytest.approx(QUIET.drift_spread_adu_per_c, rel=0.1)


def test_telegraph_pixels_jump_between_three_levels(pool):
    detector = replace(QUIET, telegraph_fraction=0.01, telegraph_e=30.0)
    made = sensor(pool, detector)
    frames = stack(made, pool, BASE)
    jumping = made.mask(made.maps.telegraph)
    sigma = frames.std(0)
    assert np.median(sigma[jumping]) > 3 * np.median(sigma[~jumping])


def test_glow_saturates_with_time(pool):
    made = sensor(pool, replace(QUIET, glow_e=100.0, dark_depletion_e_s=0.0, dark_diffusion_e_s=0.0, hot_fraction=0.0))
    corner = [made.expected(replace(BASE, exposure_s=t))[0, -1] - made.expected(BASE)[0, -1] for t in (300.0, 3000.0)]
    assert corner[0] == pytest.approx(200 * (1 - np.exp(-1)), rel=0.02)
    assert corner[1] < 1.7 * corner[0]


def test_light_is_bent_and_ends_at_the_full_well(pool):
    made = sensor(pool)
    level = [made.expected(replace(BASE, light_e=e)).max() - 500 for e in (5_000.0, 10_000.0)]
    assert 1.99 < level[1] / level[0] < 2.0
    full = made.expected(replace(BASE, light_e=1e6, e_per_adu=1.0))
    assert full.max() == pytest.approx(51_000 * (1 - QUIET.nonlinearity) + 500, abs=10)


@pytest.mark.parametrize(
    ("bits", "shift", "step", "top"), [(12, True, 16, 65_520), (14, False, 1, 16_383), (16, True, 1, 65_535)]
)
def test_converter_steps_and_top(pool, bits, shift, step, top):
    detector = replace(QUIET, bits=bits, left_shift=shift)
    made = sensor(pool, detector)
    lit = replace(BASE, light_e=3_000.0, saturation_adu=detector.full_scale_adu)
    assert np.gcd.reduce(made.render(lit, pool).ravel()) == step
    assert made.render(replace(lit, light_e=1e5), pool).min() == top == detector.full_scale_adu


def test_driver_clips_below_its_range(pool):
    clipped = replace(BASE, light_e=1e5, saturation_adu=52_000.0)
    assert sensor(pool).render(clipped, pool).max() == 52_000


def test_bayer_mosaic_has_its_colours_where_the_offsets_say(pool):
    made = sensor(pool, replace(QUIET, dust=0), colour=True, bayer_offset_x=1)
    light = made.expected(replace(BASE, light_e=8_000.0)) - 500
    red, green, blue = light[0::2, 1::2].mean(), light[0::2, 0::2].mean(), light[1::2, 0::2].mean()
    assert (red / green, blue / green) == pytest.approx(QUIET.colour_throughput[::2], rel=0.02)
    shifted = replace(BASE, light_e=8_000.0, start_x=1, num_x=100)
    np.testing.assert_allclose(made.expected(shifted) - 500, light[:, 1:101], rtol=1e-5, atol=1e-2)


def test_dust_belongs_to_its_filter(pool):
    made = sensor(pool)
    lit = replace(BASE, light_e=16_000.0, filter="L")
    ratio = made.expected(lit) / made.expected(replace(lit, filter="R"))
    assert ratio.min() < 0.99
    assert ratio.max() > 1.01
    assert np.median(ratio) == pytest.approx(1.0, abs=1e-4)


def test_cosmic_rays_come_with_time(pool):
    detector = replace(QUIET, cosmic_rays_per_cm2_min=1000.0, hot_fraction=0.0, dark_diffusion_e_s=0.0)
    made = sensor(pool, detector)
    area_cm2 = WIDTH * HEIGHT * 3.76e-4**2
    hits = [(made.render(replace(BASE, exposure_s=600.0, started_us=i), pool) > 700).sum() for i in range(5)]
    assert np.mean(hits) == pytest.approx(1000 * area_cm2 * 10 * 2.5, rel=0.4)  # a track crosses 1/0.35 pixels


def test_rows_share_noise_within_a_frame(pool):
    made = sensor(pool, replace(QUIET, row_noise_adu=5.0))
    residual = made.render(BASE, pool) - made.expected(BASE)
    assert residual.mean(1).std() == pytest.approx(5.0, rel=0.2)
    assert residual.mean(0).std() < 1.0


def test_a_leak_grows_along_x(pool):
    made = sensor(pool)
    leak = (made.expected(replace(BASE, leak_e=50.0)) - made.expected(BASE)) * BASE.e_per_adu
    assert leak.mean() == pytest.approx(50.0, rel=0.02)
    assert leak[:, -1].mean() > 5 * leak[:, 0].mean()
