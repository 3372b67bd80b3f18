"""Location and scale of values without their outliers."""

import numpy as np
import pytest

from calibration.clipping import ENOUGH, Distribution, clip_distribution, clip_values


@pytest.mark.parametrize("sigmas", [2.0, 3.0, 5.0])
def test_thresholds_are_not_lowered_by_what_clipping_cuts_off(sigmas: float) -> None:
    values = np.random.default_rng(8).normal(500.0, 4.0, ENOUGH)
    values[::50] += 3000.0
    found = clip_values(values, sigmas=sigmas)
    assert (found.median, found.mean) == (pytest.approx(500.0, abs=0.2), pytest.approx(500.0, abs=0.1))
    assert found.sigma == pytest.approx(4.0, rel=0.005 if sigmas >= 3 else 0.02)


def test_clipping_an_empty_distribution_gives_nothing() -> None:
    empty = Distribution(values=np.array([]), counts=np.array([], np.int64))
    assert np.isnan(clip_distribution(empty).median)
    assert np.isnan(empty.mean())
