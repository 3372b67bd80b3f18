"""The engine equals its astropy twin mask for mask, and keeps its word at the edges."""

import pkgutil
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calibration.combine import kernels
from calibration.combine.engine import combine_band, decoded, survivors
from calibration.combine.kernels import entries
from calibration.combine.recipe import MaskBit, Method, NoiseModel, Recipe
from calibration.errors import CombineError
from tests.support import reference_combine

ASKED = [m for m in Method if m is not Method.NOISE_MODEL]
NOISE = NoiseModel(read_noise_adu=6.0, gain_e_adu=0.8, pedestal_adu=500.0)


def frames_of(n: int, *, seed: int = 0, shape: tuple[int, int] = (2, 300)) -> np.ndarray:
    """Integers with read noise, a few cosmic hits and cold samples."""
    rng = np.random.default_rng(seed)
    values = rng.normal(500.0, 6.0, (n, *shape))
    values[rng.random(values.shape) < 0.02] += 900.0
    values[rng.random(values.shape) < 0.01] -= 300.0
    return np.clip(np.rint(values), 0, 65535).astype(np.uint16)


def assert_same(frames: np.ndarray, recipe: Recipe, **calibration: np.ndarray) -> None:
    ours = combine_band(frames, recipe, **calibration)
    theirs = reference_combine.combine_band(frames, recipe, **calibration)
    np.testing.assert_array_equal(ours.count, theirs.count)
    np.testing.assert_array_equal(ours.mask, theirs.mask)
    np.testing.assert_allclose(ours.mean, theirs.mean, rtol=3e-7, atol=1e-5)
    np.testing.assert_allclose(ours.sigma, theirs.sigma, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize(("method", "n"), list(product(ASKED, [1, 2, 3, 5, 9, 10, 25, 40])))
def test_every_method_equals_its_twin(method: Method, n: int) -> None:
    assert_same(frames_of(n, seed=n), Recipe(method=method, saturation_adu=1300.0))


@pytest.mark.parametrize(("method", "n"), list(product(ASKED, [8, 16, 41])))
@pytest.mark.parametrize("step", [1, 16])
def test_low_noise_and_pixels_that_jump_equal_the_twin(method: Method, n: int, step: int) -> None:
    rng = np.random.default_rng(n)
    frames = rng.normal(100.3, rng.choice([0.4, 0.8, 2.0], (1, 2, 300)), (n, 2, 300))
    frames[:4, 0, :40] += 30.0
    recipe = Recipe(method=method, step_adu=float(step), sample_adu=0.9 * step)
    assert_same((np.rint(frames) * step).astype(np.uint16), recipe)
    noisy = combine_band((np.rint(frames) * step).astype(np.uint16), recipe).mask & MaskBit.NOISY
    if n > 16 and method in {Method.SIGMA_CLIP, Method.MAD, Method.WINSORIZED}:
        assert noisy[0, :40].all()
    assert not noisy[1].any()


@pytest.mark.parametrize(("method", "n"), list(product(ASKED, [1, 2, 3, 4])))
def test_few_samples_of_known_noise_equal_the_twin(method: Method, n: int) -> None:
    assert_same(frames_of(n, seed=n), Recipe(method=method, noise=NOISE))


def test_minmax_of_three_frames_is_their_median_with_the_noise_it_should_have_and_no_mark() -> None:
    frames = np.random.default_rng(3).normal(500.0, NOISE.read_noise_adu, (3, 20, 500)).round().astype(np.uint16)
    noise = replace(NOISE, pedestal_adu=600.0)  # there is no light in them
    found = combine_band(frames, Recipe(method=Method.MINMAX, noise=noise))
    assert not found.mask.any()
    assert np.median(found.sigma) == pytest.approx(found.mean.std(), rel=0.03)
    thin = combine_band(frames, Recipe(method=Method.MINMAX, noise=noise, min_fraction=1.0))
    assert not thin.mask.any()


@pytest.mark.parametrize(("method", "n"), list(product(ASKED, [2, 7, 30])))
def test_calibrated_samples_equal_the_twin(method: Method, n: int) -> None:
    frames = frames_of(n, seed=90 + n, shape=(3, 270))
    rng = np.random.default_rng(n)
    calibration = {
        "scale": rng.normal(1.0, 0.05, n).astype(np.float32),
        "dark": rng.normal(100.0, 3.0, frames.shape[1:]).astype(np.float32),
        "valid": rng.random(frames.shape) > 0.1,
    }
    recipe = Recipe(method=method, saturation_adu=1300.0, step_adu=1.0)
    assert_same(frames, recipe, **calibration)
    if method is not Method.MINMAX:
        np.testing.assert_array_equal(
            survivors(frames, recipe, **calibration), reference_combine.survivors(frames, recipe, **calibration)
        )


@settings(max_examples=60, deadline=None)
@given(
    frames=hnp.arrays(
        np.uint16, st.tuples(st.integers(1, 24), st.just(1), st.integers(1, 6)), elements=st.integers(0, 9)
    ),
    method=st.sampled_from(ASKED),
    sigma=st.sampled_from([1.5, 2.0, 3.0]),
)
def test_ties_of_small_integers_equal_the_twin(frames: np.ndarray, method: Method, sigma: float) -> None:
    assert_same(frames, Recipe(method=method, sigma=sigma))


@pytest.mark.parametrize("n", [3, 5, 7])
def test_noise_model_rejects_the_outlier_that_clipping_cannot_see(n: int) -> None:
    frames = np.full((n, 1, 4), 500, np.uint16)
    frames[0, 0, 1] = 900
    blind = combine_band(frames, Recipe())
    seeing = combine_band(frames, Recipe(noise=NOISE))
    assert blind.count[0, 1] == n
    assert seeing.count[0].tolist() == [n, n - 1, n, n]
    assert seeing.mean[0, 1] == 500.0
    assert_same(frames_of(n), Recipe(noise=NOISE))


def test_noise_model_serves_only_below_ten_frames() -> None:
    recipe = Recipe(noise=NOISE)
    assert recipe.method_for(9) is Method.NOISE_MODEL
    assert recipe.method_for(10) is Method.SIGMA_CLIP
    assert not recipe.blind_for(9)
    assert Recipe().blind_for(9)
    assert not Recipe(method=Method.MINMAX).blind_for(3)


def test_nan_and_invalid_samples_do_not_exist() -> None:
    frames = frames_of(12).astype(np.float32)
    valid = np.ones(frames.shape, np.bool_)
    frames[3, 0, 5] = np.nan
    frames[4, 0, 5] = np.inf
    valid[5, 0, 5] = False
    result = combine_band(frames, Recipe(method=Method.NONE), valid=valid)
    kept = np.delete(frames[:, 0, 5], [3, 4, 5]).astype(np.float64)
    assert result.count[0, 5] == 9
    assert result.mean[0, 5] == np.float32(kept.mean())
    assert result.sigma[0, 5] == pytest.approx(kept.std(ddof=1) / 3.0, rel=1e-6)


def test_each_frame_may_have_its_own_dark() -> None:
    frames = frames_of(12, shape=(2, 9))
    darks = np.arange(12 * 18, dtype=np.float32).reshape(12, 2, 9)
    assert_same(frames, Recipe(), dark=darks)
    same = np.broadcast_to(darks[:1], darks.shape)
    one, each = (combine_band(frames, Recipe(), dark=d) for d in (darks[0], same))
    np.testing.assert_array_equal(one.mean, each.mean)


def test_pixel_without_samples_is_no_data() -> None:
    frames = np.full((4, 1, 3), np.nan, np.float32)
    frames[:, 0, 0] = 7.0
    result = combine_band(frames, Recipe())
    assert np.isnan(result.mean[0, 1])
    assert np.isnan(result.sigma[0, 1])
    assert result.count[0].tolist() == [4, 0, 0]
    assert result.mask[0].tolist() == [0, MaskBit.NO_DATA | MaskBit.LOW_COUNT, MaskBit.NO_DATA | MaskBit.LOW_COUNT]


def test_single_frame_is_itself_with_the_noise_it_should_have() -> None:
    frames = np.array([[[500, 900]]], np.uint16)
    assert np.isnan(combine_band(frames, Recipe()).sigma).all()
    result = combine_band(frames, Recipe(method=Method.NONE, noise=NOISE))
    assert result.mean.tolist() == [[500.0, 900.0]]
    np.testing.assert_allclose(result.sigma, [[6.0, (36.0 + 500.0) ** 0.5]], rtol=1e-6)


def test_saturation_is_marked_only_when_it_reaches_the_mean() -> None:
    frames = frames_of(20, shape=(1, 3), seed=3)
    frames[:, 0, 1] = 60000
    frames[2, 0, 2] = 60000  # one cosmic hit, clipped
    result = combine_band(frames, Recipe(saturation_adu=60000.0))
    assert (result.mask & MaskBit.SATURATED).astype(bool).tolist() == [[False, True, False]]


def test_a_thousand_frames_of_full_range() -> None:
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 65536, (1000, 1, 33), dtype=np.uint16)
    assert_same(frames, Recipe())
    assert_same(frames, Recipe(method=Method.MEDIAN))


def test_mean_and_spread_of_large_values_keep_their_digits() -> None:
    frames = (np.arange(40, dtype=np.uint16)[:, None, None] % 2 + 65000).astype(np.uint16)
    frames = np.repeat(frames, 5, axis=2)
    result = combine_band(frames, Recipe(method=Method.NONE))
    assert result.mean[0, 0] == np.float32(65000.5)
    assert result.sigma[0, 0] == pytest.approx(np.std([0, 1] * 20, ddof=1) / 40**0.5, rel=1e-6)


@pytest.mark.parametrize("n", [*range(1, 42), 63, 64, 65, 100, 129])
@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_medians_of_any_number_of_frames(n: int, kind: type) -> None:
    values = np.random.default_rng(n).integers(0, 65536, (n, 2, 259))
    frames = values.astype(np.uint16) if kind is np.uint16 else (values - 32768).astype(np.float32) / np.float32(8.0)
    found = combine_band(frames, Recipe(method=Method.MEDIAN, step_adu=0.0))  # not rounded: equal ones are equal
    np.testing.assert_array_equal(found.mean, np.median(frames.astype(np.float64), axis=0).astype(np.float32))


@pytest.mark.parametrize("n", [7, 8, 9, 16, 33, 40])
def test_winsorized_pixels_of_many_kinds_equal_the_twin(n: int) -> None:
    rng = np.random.default_rng(40 + n)
    level = rng.uniform(300.0, 60_000.0, (1, 800))
    spread = rng.choice([0.3, 6.0, 200.0, 3000.0], (1, 800))
    values = rng.normal(level, spread, (n, 1, 800))
    values[rng.random(values.shape) < 0.02] += 3000.0
    frames = np.clip(np.rint(values), 0, 65535).astype(np.uint16)
    for sigma in (2.0, 3.0):
        assert_same(frames, Recipe(method=Method.WINSORIZED, sigma=sigma))
        assert_same(values.astype(np.float32), Recipe(method=Method.WINSORIZED, sigma=sigma))


@pytest.mark.parametrize("method", [Method.SIGMA_CLIP, Method.MAD, Method.WINSORIZED])
def test_faint_floats_on_a_high_level_equal_the_twin(method: Method) -> None:
    rng = np.random.default_rng(8)
    frames = rng.normal(30_000.0, 0.05, (20, 1, 300)).astype(np.float32)
    frames[:, :, 100:200] *= np.float32(1e-9)
    frames[:, :, 200:] *= np.float32(1e12)
    ours, theirs = (c(frames, Recipe(method=method)) for c in (combine_band, reference_combine.combine_band))
    np.testing.assert_array_equal(ours.count, theirs.count)
    np.testing.assert_allclose(ours.mean, theirs.mean, rtol=3e-7)
    np.testing.assert_allclose(ours.sigma, theirs.sigma, rtol=2e-5)


@pytest.mark.parametrize("method", ASKED)
def test_samples_at_both_ends_of_the_range_overflow_nothing(method: Method) -> None:
    frames = np.random.default_rng(2).choice([0, 65535], (40, 1, 300)).astype(np.uint16)
    assert_same(frames, Recipe(method=method))


@pytest.mark.parametrize("method", ASKED)
@pytest.mark.parametrize("n", [2, 10, 40, 400])
def test_pixels_in_two_states_far_apart_overflow_no_sum(method: Method, n: int) -> None:
    apart = (np.sqrt(2**31 / n) * np.linspace(0.4, 2.2, 300)).clip(0, 64_000).astype(np.uint16)
    frames = np.where(np.arange(n)[:, None, None] % 2 == 0, 1000, 1000 + apart[None, None, :]).astype(np.uint16)
    assert_same(frames, Recipe(method=method))


@pytest.mark.parametrize("method", ASKED)
def test_a_pixel_does_not_depend_on_its_neighbours(method: Method) -> None:
    frames = frames_of(20, seed=6, shape=(3, 520))
    whole, part = combine_band(frames, Recipe(method=method)), combine_band(frames[:, 1:2, 77:], Recipe(method=method))
    for name in ("mean", "sigma", "count", "mask"):
        np.testing.assert_array_equal(getattr(whole, name)[1:2, 77:], getattr(part, name))


def test_what_was_saturated_in_one_call_marks_nothing_in_the_next() -> None:
    frames = np.full((4, 1, 300), 65_535, np.uint16)
    assert combine_band(frames, Recipe(saturation_adu=60_000.0)).mask.all()
    assert not combine_band(frames, Recipe()).mask.any()


def test_a_saturation_between_two_values_is_not_reached_by_the_lower() -> None:
    frames = np.full((4, 1, 8), 60_000, np.uint16)
    recipe = Recipe(saturation_adu=60_000.001)
    assert not combine_band(frames, recipe).mask.any()
    assert not combine_band(frames, recipe, scale=np.ones(4, np.float32)).mask.any()


def test_words_of_files_combine_as_the_values_they_stand_for() -> None:
    frames = frames_of(11, seed=4)
    words = (frames ^ np.uint16(0x8000)).byteswap()
    np.testing.assert_array_equal(decoded(words), frames)
    dark = np.full(frames.shape[1:], 100.0, np.float32)
    for calibration in ({}, {"dark": dark}):
        found = combine_band(words, Recipe(), stored=True, **calibration)
        wanted = combine_band(frames, Recipe(), **calibration)
        for name in ("mean", "sigma", "count", "mask"):
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


@pytest.mark.parametrize(
    "samples",
    [[828.1253, 5934.5894, 5954.115, 10252.05], [0, 1735.7614, 2143.627, 3397.483, 4050.6855, 4368.0244, 4726]],
)
def test_samples_that_lie_at_their_bound_stay_as_in_the_twin(samples: list[float]) -> None:
    frames = np.float32(samples).reshape(-1, 1, 1)
    assert_same(frames, Recipe(sigma=1.0))


FAR_PAIR = [
    *[9087.49121094, 9089.80273438, 9091.45898438, 9093.14648438, 9094.01953125, 9095.12011719, 9100.29882812],
    *[65432.73046875, 65432.984375, 65433.859375, 65434.3203125, 65438.62890625, 65439.14453125, 65441.92578125],
]
"""At 1 sigma two are left, 28 000 from the first median and 0.4 from their own."""


def test_a_close_pair_far_from_the_first_median_keeps_its_digits() -> None:
    assert_same(np.float32(FAR_PAIR).reshape(-1, 1, 1), Recipe(sigma=1.0))


def test_equal_samples_far_from_the_first_median_scatter_by_nothing() -> None:
    frames = np.repeat(np.float32([-13366.8, 0.0, 13366.8, 26733.6]), [12, 5, 7, 9]).reshape(-1, 1, 1)
    assert_same(frames, Recipe(sigma=1.0))


@pytest.mark.parametrize(("pedestal", "gain"), [(1000.99998, 0.1), (500.99999, 0.5), (59999.9985, 0.1)])
def test_a_faint_signal_on_its_pedestal_counts_in_the_noise_it_should_have(pedestal: float, gain: float) -> None:
    level = round(pedestal)
    read_variance = 4 / 9 - (level - pedestal) / gain / 2  # 2 ADU are 3 sigma with the signal, more without
    frames = np.array([-1, -1, 0, 0, 0, 1, 1, 2]) + level
    noise = NoiseModel(read_noise_adu=read_variance**0.5, gain_e_adu=gain, pedestal_adu=pedestal)
    assert_same(frames.astype(np.uint16).reshape(-1, 1, 1), Recipe(noise=noise))


def test_lanes_that_fill_every_tile_on_the_way_equal_the_twin() -> None:
    rng = np.random.default_rng(12)
    frames = rng.integers(0, 4, (15, 3, 700)).astype(np.uint16)  # ties without end: most are settled exactly
    frames[rng.random(frames.shape) < 0.1] += 50
    for method in ASKED:
        assert_same(frames, Recipe(method=method, sigma=2.0))


def test_loops_are_compiled_without_counting_references() -> None:
    assert entries.combine_u16.targetoptions["_nrt"] is False  # several times slower with them


def test_no_kernel_is_forgotten_in_the_key_of_the_compiled_ones() -> None:
    there = {m.name for m in pkgutil.iter_modules(kernels.__path__, f"{kernels.__name__}.")}
    assert there <= {m.__name__ for m in entries.CALLED} | {entries.__name__}


@pytest.mark.parametrize(
    ("frames", "calibration"),
    [
        (np.zeros((2, 2), np.uint16), {}),
        (np.zeros((0, 2, 2), np.uint16), {}),
        (np.zeros((1001, 1, 1), np.uint16), {}),
        (np.zeros((2, 2, 2), np.int32), {}),
        (np.zeros((2, 2, 2), np.uint16), {"scale": np.ones(3, np.float32)}),
        (np.zeros((2, 2, 2), np.uint16), {"dark": np.ones((2, 3), np.float32)}),
        (np.zeros((2, 2, 2), np.uint16), {"valid": np.ones((1, 2, 2), np.bool_)}),
    ],
)
def test_arrays_that_do_not_fit_are_refused(frames: np.ndarray, calibration: dict[str, np.ndarray]) -> None:
    with pytest.raises(CombineError):
        combine_band(frames, Recipe(), **calibration)


def test_words_and_floats_are_calibrated_by_one_compiled_loop() -> None:
    words = np.full((4, 2, 300), 500, np.uint16)
    found = []
    for frames in (words, words.astype(np.float32)):
        planes = combine_band(frames, Recipe(), scale=np.full(4, 2, np.float32))
        assert (planes.mean == 1000).all()
        found.append(set(entries.combine_f32.signatures))
    assert found[0] == found[1], "half a minute of compiling for the other type"
