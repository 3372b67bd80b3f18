"""The noise of one frame from a pair, and the model of it."""

import numpy as np
import pytest

from calibration.frames import FrameKind
from calibration.masters.noise import (
    neighbour_counts,
    noise_model,
    noise_of_pairs,
    pair_counts,
    step_of_pair,
    typical_noise,
)


def frames_of(n: int, sigma: float, *, step: int = 1, wander: float = 0.0) -> np.ndarray:
    """Return frames of whole steps, with a few cosmic hits; each has a level of its own."""
    rng = np.random.default_rng([n, round(100 * sigma), step])
    levels = 1000.3 + rng.normal(0.0, wander, (n, 1, 1))
    frames = rng.normal(levels, sigma, (n, 100, 150))
    frames[rng.random(frames.shape) < 3e-4] += 500.0
    return (np.rint(frames) * step).astype(np.uint16)


def test_noise_of_a_pair_ignores_cosmic_hits_and_a_common_offset() -> None:
    rng = np.random.default_rng(2)
    a, b = (rng.normal(1000.0 + offset, 5.0, (50, 2000)).astype(np.float32) for offset in (0.0, 3.0))
    a[rng.random(a.shape) < 0.001] += 3000.0
    found = noise_of_pairs(neighbour_counts(np.stack((a, b))))
    assert found.sigma_adu == pytest.approx(5.0, rel=0.01)
    assert found.error_adu == pytest.approx(5.0 / np.sqrt(2 * a.size / 2), rel=0.5)
    whole = [np.rint(values).astype(np.uint16) for values in (a, b)]
    np.testing.assert_array_equal(pair_counts(*whole), pair_counts(*(values.astype(np.float32) for values in whole)))


def test_without_a_pair_there_is_no_noise() -> None:
    for frames in (frames_of(1, 5.0), frames_of(2, 5.0)[:, :0]):
        found = noise_of_pairs(neighbour_counts(frames))
        assert np.isnan([found.sigma_adu, found.error_adu]).all()


@pytest.mark.parametrize("sigma", [0.6, 0.9, 1.3, 2.0, 5.0, 12.0, 40.0])
@pytest.mark.parametrize("step", [1, 16])
def test_noise_before_rounding_comes_back_from_all_pairs_with_its_error(sigma: float, step: int) -> None:
    found = noise_of_pairs(neighbour_counts(frames_of(20, sigma, step=step, wander=0.4)), step).before_rounding(step)
    assert 0.0005 < found.error_adu / (step * sigma) < 0.005
    assert found.sigma_adu == pytest.approx(step * sigma, abs=3 * found.error_adu + 0.001 * step * sigma)


def test_pairs_that_scatter_more_than_their_pixels_do_have_a_larger_error() -> None:
    calm = frames_of(20, 5.0).astype(np.float32)
    rng = np.random.default_rng(1)
    rough = calm + rng.normal(0.0, 4.0, (20, 100, 1)).astype(np.float32)  # a row's pixels move together
    errors = [noise_of_pairs(neighbour_counts(frames)).error_adu for frames in (calm, rough)]
    assert errors[1] > 3 * errors[0]


def test_flats_of_a_falling_lamp_are_brought_to_one_level() -> None:
    rng = np.random.default_rng(5)
    pattern = rng.normal(1.0, 0.05, (100, 150))
    light = 10_000.0 * 0.97 ** np.arange(6)
    frames = np.stack([rng.normal(pattern * level, 30.0) for level in light]).astype(np.float32)
    found = noise_of_pairs(neighbour_counts(frames, tuple(light.mean() / light)))
    assert found.sigma_adu == pytest.approx(30.0 * np.mean((1 + 0.97**-2) / 2) ** 0.5, rel=0.01)
    assert noise_of_pairs(neighbour_counts(frames)).sigma_adu > 31.0


@pytest.mark.parametrize("n", [2, 3, 5, 8, 16, 40])
def test_typical_noise_does_not_depend_on_the_number_of_samples(n: int) -> None:
    samples = np.random.default_rng(n).normal(500.0, 7.0, (n, 30_000))
    samples[:, :300] *= 3.0  # noisy pixels
    assert typical_noise(samples.std(axis=0, ddof=1), n) == pytest.approx(7.0, rel=0.015)


@pytest.mark.parametrize("step", [1, 4, 16])
def test_step_is_that_of_the_differences_of_two_frames(step: int) -> None:
    a, b = frames_of(2, 3.0, step=step)
    assert step_of_pair(a, b) == step
    assert step_of_pair(a.astype(np.float32), b.astype(np.float32)) == step


def test_samples_that_are_no_whole_numbers_have_no_step() -> None:
    a, b = frames_of(2, 3.0).astype(np.float32) / np.float32(65_535)
    assert step_of_pair(a, b) == 0.0
    assert step_of_pair(a, a) == 1.0


def test_typical_noise_of_whole_numbers_holds_their_rounding() -> None:
    samples = np.rint(np.random.default_rng(1).normal(10.2, 0.6, (8, 30_000)))
    assert typical_noise(samples.std(axis=0, ddof=1), 8) == pytest.approx(np.hypot(0.6, 12**-0.5), rel=0.02)
    assert np.isnan(typical_noise(np.full(9, np.nan), 8))


def test_a_flat_s_read_noise_is_what_its_shot_noise_leaves() -> None:
    model = noise_model(FrameKind.FLAT, pair_adu=50.0, level_adu=2000.0, gain_e_adu=1.0)
    assert model is not None
    assert model.read_noise_adu == pytest.approx((50.0**2 - 2000.0) ** 0.5)
    assert model.pedestal_adu == 0.0


def test_a_dark_s_noise_is_that_of_its_pair_about_its_level() -> None:
    model = noise_model(FrameKind.DARK, pair_adu=4.0, level_adu=500.0, gain_e_adu=1.5)
    assert model is not None
    assert (model.read_noise_adu, model.pedestal_adu) == (4.0, 500.0)


@pytest.mark.parametrize(("pair_adu", "gain_e_adu"), [(float("nan"), 1.0), (0.0, 1.0), (4.0, None)])
def test_without_noise_or_gain_there_is_no_model(pair_adu: float, gain_e_adu: float | None) -> None:
    assert noise_model(FrameKind.DARK, pair_adu=pair_adu, level_adu=500.0, gain_e_adu=gain_e_adu) is None
