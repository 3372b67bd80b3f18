"""Over a hundred detectors: saturation that no header states is seen in the pixels of darks less their bias."""

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.models.dark.noise import still_from
from tests.support.made_darks import BIAS_ADU, GAIN_ADU_E, NOISE, READ_E, arrhenius

FULL_ADU, PIXELS = 65520.0, 2000


def stacks_of(seed: int, *, full_adu: float, n: int = 4, step_adu: float = 0.0) -> list[NDArray[np.float32]]:
    """Return frames less the bias of each pixel, of which hot ones are full at 10 and 20 °C."""
    rng = np.random.default_rng(seed)
    rate, bias = arrhenius(rng, PIXELS, hot=12), BIAS_ADU + 24 * rng.standard_normal(PIXELS)
    found = []
    for celsius in (-10.0, 0.0, 10.0, 20.0):
        for seconds in (1.0, 20.0):
            electrons = rng.poisson(rate(celsius) * seconds, (n, PIXELS)) + READ_E * rng.standard_normal((n, PIXELS))
            adu = np.minimum(bias + GAIN_ADU_E * electrons, full_adu)
            if step_adu:
                adu = np.rint(adu / step_adu) * step_adu
            found.append((adu - bias).astype(np.float32))
    return found


@pytest.mark.parametrize("n", [3, 4, 8])
def test_saturated_pixels_are_seen_by_their_scatter(n):
    for seed in range(100):
        stacks = stacks_of(seed, full_adu=FULL_ADU, n=n)
        assert FULL_ADU - 1500 < still_from(stacks, NOISE.read_adu2) < FULL_ADU - 800


@pytest.mark.parametrize("step_adu", [0.0, 16.0, 256.0])
def test_healthy_pixels_have_no_saturation(step_adu):
    """Of coarse steps too, where many faint pixels have one value in all frames."""
    for seed in range(100):
        stacks = stacks_of(seed, full_adu=np.inf, step_adu=step_adu)
        assert still_from(stacks, NOISE.read_adu2 + step_adu**2 / 12) == np.inf


def test_two_equal_frames_show_nothing():
    assert still_from(stacks_of(1, full_adu=FULL_ADU, n=2), NOISE.read_adu2) == np.inf
    assert still_from([], NOISE.read_adu2) == np.inf
    assert still_from([np.full((4, 50), np.nan, np.float32)], 1.0) == np.inf
