"""Frame statistics: exact on what can be counted, stable where a camera is coarse."""

import hashlib
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from calibration import stats
from calibration.frames import pixel_sha256
from calibration.stats import compare, measure

AT = datetime(2026, 1, 1, tzinfo=UTC)


def measured(pixels, *, saturation_adu=65535.0, bayer=False):
    return measure(pixels, saturation_adu=saturation_adu, bayer=bayer, mid_at=AT)


def normal(level, sigma, shape=(300, 400), seed=1, step=1):
    values = np.random.default_rng(seed).normal(level, sigma, shape)
    return (np.rint(values / step) * step).clip(0, 65535).astype(np.uint16)


@settings(deadline=None)  # the first call may compile
@given(arrays(np.uint16, st.tuples(st.integers(4, 40), st.integers(4, 40))))
def test_extremes_mean_and_fractions_are_exact(pixels):
    found = measured(pixels, saturation_adu=60_000)
    assert (found.min_adu, found.max_adu) == (pixels.min(), pixels.max())
    assert found.mean_adu == pytest.approx(pixels.astype(float).mean())
    assert found.saturated_fraction == pytest.approx(np.mean(pixels >= 0.98 * 60_000))
    assert found.zero_fraction == pytest.approx(np.mean(pixels == 0))


@settings(deadline=None)  # the first call may compile
@given(arrays(np.uint16, st.tuples(st.integers(4, 30), st.integers(4, 30))))
def test_uint16_and_generic_road_agree(pixels):
    assert_both_roads_agree(pixels)


def test_they_agree_on_frames_so_large_that_compiled_loops_count_the_values():
    pixels = normal(33_000, 150, shape=(800, 800))
    pixels[0, :3], pixels[400, 400:403] = (0, 65535, 1), (65534, 65535, 0)
    assert_both_roads_agree(pixels)
    later = normal(33_000, 150, shape=(800, 800), seed=2)
    assert compare(pixels, later) == compare(pixels.astype(np.float64), later.astype(np.float64))


def assert_both_roads_agree(pixels):
    fast = measured(pixels, saturation_adu=50_000)
    slow = measured(pixels.astype(np.float64), saturation_adu=50_000)
    for name in fast.__slots__:
        if name not in {"pixel_sha256", "mid_at"}:
            assert getattr(fast, name) == pytest.approx(getattr(slow, name), nan_ok=True), name


@pytest.mark.parametrize("sigma", [0.6, 1.0, 3.0, 50.0])
@pytest.mark.parametrize("level", [500.0, 500.3, 500.5])
def test_level_and_noise_of_normal_noise(level, sigma):
    found = measured(normal(level, sigma, shape=(600, 800)))
    assert found.level_adu == pytest.approx(level, abs=5 * 1.25 * sigma / np.sqrt(120_000) + 0.05)
    assert found.sigma_adu == pytest.approx(np.hypot(sigma, 1 / np.sqrt(12)), rel=0.02)


def test_hot_pixels_and_cosmic_rays_do_not_move_the_level():
    pixels = normal(1000, 5)
    clean = measured(pixels)
    pixels[::7, ::11] = 60_000
    spoiled = measured(pixels)
    assert spoiled.level_adu == pytest.approx(clean.level_adu, abs=0.2)
    assert spoiled.sigma_adu == pytest.approx(clean.sigma_adu, rel=0.03)
    assert spoiled.mean_adu > 1500


def test_noise_below_one_step_is_not_clipped_to_nothing():
    pixels = normal(512, 0.3 * 16, step=16)
    assert measured(pixels).sigma_adu == pytest.approx(np.std(pixels.astype(float)), rel=0.05)


@pytest.mark.parametrize(("shift", "step"), [(1, 1), (4, 4), (16, 16)])
def test_step_of_left_shifted_cameras(shift, step):
    assert measured(normal(1000, 40, step=shift)).step_adu == step


def test_step_survives_a_clip_level_that_is_no_multiple():
    pixels = normal(1000, 40, step=16)
    pixels[0, :3] = 65535
    assert measured(pixels).step_adu == 16


def test_step_of_a_constant_frame_is_one():
    assert measured(np.full((20, 30), 1000, np.uint16)).step_adu == 1


def test_colour_sensor_is_measured_on_its_brightest_plane():
    pixels = normal(5000, 10)
    pixels[0::2, 1::2] += 20_000
    pixels[1::2, 0::2] += 3_000
    assert stats.brightest_plane(pixels) == (0, 1)
    assert measured(pixels, bayer=True).level_adu == pytest.approx(25_000, abs=1)
    assert measured(pixels, bayer=True).sigma_adu == pytest.approx(10, rel=0.05)
    assert measured(pixels, bayer=True).jump_adu < 100


def test_gradient_sees_a_leak_through_the_noise():
    y, x = np.mgrid[-1:1:600j, -1:1:800j]
    dark = np.random.default_rng(4).normal(500, 5, (600, 800))
    clean, leaking = dark.round().astype(np.uint16), (dark + 6 * np.hypot(x, y)).round().astype(np.uint16)
    assert measured(clean).gradient_adu < 0.4
    assert measured(leaking).gradient_adu > 2.5


def test_saturated_lines_are_counted_and_saturated_pixels_are_not():
    pixels = normal(1000, 5)
    pixels[:, 33] = 65000
    pixels[17] = 65535
    pixels[200, :150] = 65535
    assert measured(pixels).saturated_lines == 2
    assert measured(pixels, saturation_adu=None).saturated_lines == 0
    assert measured(pixels).constant_rows == 1


def test_vignetting_and_bad_lines_make_no_jump_and_a_missing_half_does():
    y, x = np.mgrid[-1:1:300j, -1:1:400j]
    flat = np.random.default_rng(2).normal(30_000 * (1 - 0.4 * (x**2 + y**2)), 150).astype(np.uint16)
    flat[:, 77], flat[120] = 65535, 0
    assert measured(flat).jump_adu < 1000
    flat[:, 200:] = normal(500, 5)[:, 200:]
    assert measured(flat).jump_adu > 10_000


def test_values_that_are_not_finite_are_left_out():
    pixels = np.full((20, 30), 7.5)
    pixels[3, 4], pixels[10, 11] = np.nan, np.inf
    found = measured(pixels)
    assert (found.level_adu, found.mean_adu, found.max_adu) == (7.5, 7.5, 7.5)


def test_frame_without_a_finite_pixel_has_no_level():
    found = measured(np.full((9, 9), np.nan))
    assert np.isnan([found.level_adu, found.sigma_adu, found.mean_adu, found.min_adu]).all()
    assert found.gradient_adu == 0


def test_int32_frames_of_uint16_values_are_the_same_frame():
    pixels = normal(1000, 5)
    assert measured(pixels.astype(np.int32)) == measured(pixels)
    assert measured(pixels.byteswap().view(">u2")) == measured(pixels)
    assert measured(np.asfortranarray(pixels)) == measured(pixels)


def test_digest_is_of_little_endian_rows():
    pixels = normal(1000, 5, shape=(6, 5))
    expected = hashlib.sha256(pixels.astype("<u2").tobytes()).hexdigest()
    assert pixel_sha256(pixels) == pixel_sha256(pixels.astype(">u2")) == pixel_sha256(np.asfortranarray(pixels))
    assert pixel_sha256(pixels) == measured(pixels).pixel_sha256 == expected


@pytest.mark.parametrize("sigma", [0.5, 1.0, 4.0, 30.0])
def test_difference_sigma_is_the_temporal_noise(sigma):
    rng = np.random.default_rng(5)
    pattern = rng.normal(1000, 20, (600, 800))
    a, b = ((pattern + shift + rng.normal(0, sigma, pattern.shape)).round().astype(np.uint16) for shift in (0, 30))
    expected = np.hypot(sigma, 1 / np.sqrt(12))
    found = compare(a, b).difference_sigma_adu
    assert found == pytest.approx(expected, rel=0.02)
    assert found == pytest.approx(compare(b, a).difference_sigma_adu, rel=1e-3)
    assert found == pytest.approx(compare(a.astype(float), b.astype(float)).difference_sigma_adu, rel=1e-6)


def test_identical_rows_count_stale_buffers_only():
    a, b = normal(1000, 0.4, seed=1), normal(1000, 0.4, seed=2)
    assert compare(a, b).identical_rows == 0
    b[:100] = a[:100]
    b[:40], a[:40] = 65535, 65535  # rows of one value prove nothing
    assert compare(a, b).identical_rows == pytest.approx(60 / 300)
    assert compare(a.astype(float), b).identical_rows == pytest.approx(60 / 300)


def test_frames_of_different_shapes_cannot_be_compared():
    with pytest.raises(ValueError, match="different shapes"):
        compare(np.zeros((4, 4), np.uint16), np.zeros((4, 5), np.uint16))
