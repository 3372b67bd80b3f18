"""Over a hundred detectors: sets of biases that contradict all others are found, healthy ones never."""

import numpy as np
import pytest

from calibration.models.bias_sets import BiasRules, bias_classes
from calibration.models.contradictions import contradictions
from calibration.models.means import Groups

SIDE, NOISE_ADU, FRAMES = 24, 24.0, 10
SEEDS = pytest.mark.parametrize("seeds", [4, pytest.param(100, marks=pytest.mark.long)])
ROWS, COLUMNS = (each.ravel() for each in np.mgrid[0:SIDE, 0:SIDE])
CELLS = (ROWS * 4 // SIDE) * 4 + COLUMNS * 4 // SIDE
LIGHT = 150 * np.exp(-((ROWS - 4) ** 2 + (COLUMNS - 18) ** 2) / 40)
FAULTS = {"gain": lambda b: 512 + 1.5 * b, "offset": lambda b: b + 200, "light": lambda b: b + LIGHT}


def named(seed: int, celsius: np.ndarray, *, night_adu: float, fault: str = "") -> tuple[int, list[list[int]], bool]:
    """Return which group has a fault, the groups of each set that was named, and whether all contradict each other."""
    rng, k = np.random.default_rng(seed), len(celsius)
    pattern, slope, wrong = 24 * rng.standard_normal(SIDE**2), 1.6 + 0.3 * rng.standard_normal(SIDE**2), rng.integers(k)
    means = 1024 + pattern + slope * celsius[:, None] + night_adu * rng.standard_normal((k, 1))
    means += NOISE_ADU / np.sqrt(FRAMES) * rng.standard_normal(means.shape)
    if fault:
        means[wrong] = FAULTS[fault](means[wrong])
    levels = np.median(means, axis=1)
    groups = Groups(
        mean=means - levels[:, None],
        count=np.full(means.shape, FRAMES, np.uint16),
        squares=np.zeros(SIDE**2),
        freedom=np.zeros(SIDE**2),
    )
    level_variance = (NOISE_ADU / 2) ** 2
    classes = bias_classes(groups, levels, CELLS, noise_adu=NOISE_ADU, level_variance=level_variance)
    rules = BiasRules(temperature_c=celsius, classes=classes)
    verdict = contradictions(rules.predict, classes, [np.arange(k) == i for i in range(k)], rules.parameters)
    return int(wrong), [np.flatnonzero(each).tolist() for each in verdict.sets], verdict.restless


FOUR, EIGHT = np.array([-10.0, 0.0, 10.0, 20.0]), np.repeat([-10.0, 0.0, 10.0, 20.0], 2)


@SEEDS
@pytest.mark.parametrize("night_adu", [0.0, 2.0, 8.0])
@pytest.mark.parametrize("celsius", [FOUR, EIGHT, np.zeros(5)], ids=["four", "eight", "one temperature"])
def test_healthy_biases_do_not_contradict_each_other(celsius, night_adu, seeds):
    found = [named(seed, celsius, night_adu=night_adu) for seed in range(seeds)]
    assert sum(bool(sets or restless) for _, sets, restless in found) <= seeds // 100


@SEEDS
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("celsius", [FOUR, EIGHT], ids=["four", "eight"])
def test_a_faulty_set_of_biases_is_found(celsius, fault, seeds):
    found = [named(seed, celsius, night_adu=2.0, fault=fault) for seed in range(seeds)]
    assert sum(sets == [[wrong]] for wrong, sets, _ in found) >= 0.95 * seeds
