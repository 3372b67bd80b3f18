"""Over a hundred detectors: darks of one set whose signals differ are found, and healthy sets never are."""

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.models.within_sets import Parts, factors_of, parts_of
from tests.support.made_darks import BIAS_ADU, GAIN_ADU_E, NOISE, READ_E, STEP_ADU, arrhenius

PIXELS = 48 * 48
SEEDS = [5, pytest.param(100, marks=pytest.mark.long)]


def parts(rng: np.random.Generator, factors: NDArray[np.float64], *, seconds: float, celsius: float) -> Parts | None:
    """Return what a set of darks shows whose dark signals have these factors; cosmic rays hit it, its level drifts."""
    dark = arrhenius(rng, PIXELS, scatter_ev=0.03, hot=12)(celsius) * seconds
    electrons = rng.poisson(dark, (len(factors), PIXELS)) + READ_E * rng.standard_normal((len(factors), PIXELS))
    electrons += np.where(rng.random(electrons.shape) < 1e-3, 800.0, 0.0)
    level = BIAS_ADU + 5 * rng.standard_normal((len(factors), 1))
    adu = np.rint((level + factors[:, None] * GAIN_ADU_E * electrons) / STEP_ADU) * STEP_ADU
    found, errors = factors_of(adu - BIAS_ADU, read_adu2=NOISE.read_adu2, per_adu=NOISE.per_adu)
    return parts_of(found, errors, np.zeros(len(factors)))


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("n", [2, 4, 8])
def test_darks_of_one_signal_whose_temperature_wanders_by_a_tenth_of_a_degree_are_no_alarm(n, seeds):
    alarms = 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        for celsius, seconds in ((-10.0, 1.0), (0.0, 20.0), (20.0, 20.0)):
            wander = 1 + 0.01 * rng.standard_normal(n)
            alarms += parts(rng, wander, seconds=seconds, celsius=celsius) is not None
    assert alarms <= seeds // 100


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("factor", [1.1, 1.3])
@pytest.mark.parametrize("n", [4, 7, 8])
def test_half_of_a_set_of_another_signal_is_found(n, factor, seeds):
    found = 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        odd = np.arange(n) % 2 == 1
        seen = parts(rng, np.where(odd, factor, 1.0), seconds=20.0, celsius=10.0)
        if seen is not None and (seen.odd == odd).all():
            found += abs(seen.ratio / factor - 1) < 0.03 and not seen.is_minority
    assert found >= 0.95 * seeds, found


@pytest.mark.parametrize("seeds", SEEDS)
def test_one_dark_of_five_is_the_wrong_one(seeds):
    found = 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        factors = np.array([1.0, 1.0, 0.8, 1.0, 1.0])
        seen = parts(rng, factors, seconds=20.0, celsius=10.0)
        found += seen is not None and seen.is_minority and bool((seen.odd == (factors < 1)).all())
    assert found >= 0.95 * seeds, found


def test_a_sensor_without_hot_pixels_or_without_samples_shows_no_factor():
    flat = np.full((4, PIXELS), 100.0)
    for signals in (flat, flat * np.nan, flat[:, :5]):
        found, errors = factors_of(signals, read_adu2=1.0, per_adu=0.0)
        assert parts_of(found, errors, np.zeros(4)) is None
