"""Pixels that jump are flagged although clipping rejects their jumps; the edge of the noise and cosmic hits are not."""

from itertools import product

import numpy as np
import pytest

from calibration.combine.engine import combine_band
from calibration.combine.recipe import MaskBit, Method, Recipe

PIXELS, PLANTED = 20_000, 400
CLIPPING = (Method.SIGMA_CLIP, Method.MAD, Method.WINSORIZED)


def flagged(
    method: Method, n: int, jumps: int, height: float, sigma: float = 5.0, hits: float = 3e-4
) -> tuple[float, float]:
    """Return which part of the planted pixels, and of the others, is NOISY; cosmic hits are everywhere."""
    rng = np.random.default_rng([n, jumps, round(10 * sigma)])
    frames = rng.normal(1000.3, sigma, (n, 1, PIXELS))
    frames[rng.random(frames.shape) < hits] += rng.exponential(100 * sigma)
    for x in range(PLANTED):
        frames[rng.choice(n, jumps, replace=False), 0, x] += height * sigma
    found = combine_band(np.rint(frames).clip(0, 65535).astype(np.uint16), Recipe(method=method, sample_adu=sigma))
    noisy = (found.mask[0] & MaskBit.NOISY) != 0
    return float(noisy[:PLANTED].mean()), float(noisy[PLANTED:].mean())


@pytest.mark.parametrize("method", CLIPPING)
@pytest.mark.parametrize("sigma", [2.0, 5.0, 60.0])
def test_pixels_that_jump_in_four_of_a_hundred_frames_are_noisy(method: Method, sigma: float) -> None:
    found, wrong = flagged(method, 100, 4, 9.0 if sigma < 5 else 8.0, sigma)
    assert found >= 0.95
    assert wrong <= 1e-4


@pytest.mark.parametrize(("n", "jumps"), [(50, 4), (84, 5), (200, 8), (300, 15)])
def test_so_are_those_of_fewer_and_of_more_frames(n: int, jumps: int) -> None:
    found, wrong = flagged(Method.SIGMA_CLIP, n, jumps, 8.0)
    assert found >= 0.95
    assert wrong <= 1e-3


@pytest.mark.parametrize(
    ("method", "n"), list(product([Method.SIGMA_CLIP, Method.MAD, Method.WINSORIZED], [12, 40, 100]))
)
def test_two_cosmic_hits_are_ordinary(method: Method, n: int) -> None:
    found, wrong = flagged(method, n, 2, 40.0, hits=0.0)
    assert found == 0
    assert wrong <= 1e-4
