"""More frames than the engine takes at once are combined in parts, and nobody sees it."""

import numpy as np
import pytest

from calibration.combine.engine import MAX_FRAMES, combine_band
from calibration.combine.parts import combine_parts
from calibration.combine.recipe import MaskBit, Method, Recipe

SHAPE = (3, 8)


def noise(n: int, dtype: type = np.uint16) -> "np.ndarray":
    rng = np.random.default_rng(5)
    return np.rint(1000 + rng.normal(0, 6, (n, *SHAPE))).astype(dtype)


def test_frames_in_parts_give_what_they_give_at_once() -> None:
    frames = noise(240)
    frames[17, 1, 2] = 60_000  # a hit
    at_once, parts = combine_band(frames, Recipe()), combine_parts(frames, Recipe(), most=100)
    assert parts.mean == pytest.approx(at_once.mean, abs=0.2)  # half its uncertainty
    assert parts.sigma == pytest.approx(at_once.sigma, rel=0.05)
    assert np.abs(parts.count.astype(int) - at_once.count).max() <= 6
    assert parts.count[1, 2] < 240
    assert (parts.mask == at_once.mask).all()


def test_more_frames_than_the_engine_takes_are_their_mean() -> None:
    frames = noise(MAX_FRAMES + 1)
    found = combine_parts(frames, Recipe(method=Method.NONE))
    assert found.mean == pytest.approx(frames.mean(axis=0), rel=1e-6)
    assert (found.count == MAX_FRAMES + 1).all()


def test_scales_and_darks_go_with_their_frames_and_what_has_no_sample_has_no_value() -> None:
    frames = noise(6, np.float32)
    frames[:, 0, 0] = np.nan
    frames[:5, 0, 1] = np.nan
    scale, dark = np.arange(1, 7, dtype=np.float32), noise(6, np.float32) / 2
    found = combine_parts(frames, Recipe(method=Method.NONE), scale=scale, dark=dark, most=2)
    expected = np.nanmean((frames - dark)[:, 1:] * scale[:, None, None], axis=0)
    assert found.mean[1:] == pytest.approx(expected, rel=1e-5)
    assert found.mean[0, 1] == pytest.approx((frames - dark)[5, 0, 1] * 6, rel=1e-5)
    assert np.isnan(found.mean[0, 0])
    assert np.isnan(found.sigma[0, 0])
    assert (found.count[0, 0], found.count[0, 1], found.count[1, 0]) == (0, 1, 6)
    assert found.mask[0, 0] & MaskBit.NO_DATA
    assert not found.mask[0, 1] & MaskBit.NO_DATA
