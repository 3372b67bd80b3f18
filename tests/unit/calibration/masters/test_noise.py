"""The noise of one frame from a pair, and the model of it."""

import numpy as np
import pytest

from calibration.frames import FrameKind
from calibration.masters.noise import noise_model, pair_counts, pair_sigma


def test_noise_of_a_pair_ignores_cosmic_hits_and_a_common_offset() -> None:
    rng = np.random.default_rng(2)
    a, b = (rng.normal(1000.0 + offset, 5.0, (50, 2000)).astype(np.float32) for offset in (0.0, 3.0))
    a[rng.random(a.shape) < 0.001] += 3000.0
    assert pair_sigma(pair_counts(a, b)) == pytest.approx(5.0, rel=0.02)
    whole = [np.rint(values).astype(np.uint16) for values in (a, b)]
    np.testing.assert_array_equal(pair_counts(*whole), pair_counts(*(values.astype(np.float32) for values in whole)))
    assert np.isnan(pair_sigma(np.zeros(5, np.int64)))


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
