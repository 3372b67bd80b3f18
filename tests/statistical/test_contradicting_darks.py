"""Over a hundred detectors: sets of darks that contradict all others are found and named, healthy ones never."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.models.contradictions import Verdict, contradictions
from calibration.models.dark.classes import classes_of, rules_of
from calibration.models.dark.model import components
from calibration.models.means import GroupMean
from tests.support.made_darks import BIAS_ADU, NOISE, SATURATED_ADU, Darks, Rate, arrhenius, made_darks

SIDE = 24
ROWS, COLUMNS = (each.ravel() for each in np.mgrid[0:SIDE, 0:SIDE])
CELLS = (ROWS * 4 // SIDE) * 4 + COLUMNS * 4 // SIDE
AT = {"temperatures": (-10.0, 0.0, 10.0, 20.0), "exposures": (1.0, 5.0, 20.0)}
SEEDS = [3, pytest.param(100, marks=pytest.mark.long)]

Change = Callable[[int, NDArray[np.float64]], NDArray[np.float64]]


def verdict_on(made: Darks, change: Change = lambda _, mean: mean) -> Verdict:
    """Return what contradicts what, where the means of the groups are changed by their number."""

    def changed(means: list[GroupMean]) -> list[GroupMean]:
        return [replace(each, mean=change(k, each.mean)) for k, each in enumerate(means)]

    classes = classes_of(
        changed(made.first), changed(made.second), CELLS, NOISE, limit_adu=SATURATED_ADU - BIAS_ADU, level_variance=1.0
    )  # fmt: skip
    rules, k = rules_of(made.taken, classes, NOISE, known=True), len(made.taken.frames)
    sets = [np.arange(k) == i for i in range(k)] + [made.taken.label_c == t for t in np.unique(made.taken.label_c)]
    return contradictions(rules.predict, classes, sets, rules.parameters)


def two_components(rng: np.random.Generator, pixels: int) -> Rate:
    depletion = 2 * np.exp(0.4 * rng.standard_normal(pixels))
    depletion[:6] *= rng.uniform(30, 120, 6)
    return lambda celsius: 3.2 * components(celsius, 0.0)[0] + depletion * components(celsius, 0.0)[1]


def glow(rng: np.random.Generator) -> Callable[[float], NDArray[np.float64]]:
    amplifier = np.where(rng.random(SIDE**2) < 0.3, rng.uniform(10, 60, SIDE**2), 0.0)
    return lambda seconds: -amplifier * np.expm1(-seconds / 6)


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("case", ["arrhenius", "two components", "a glow", "levels that wander", "one frame each"])
def test_healthy_darks_do_not_contradict_each_other(case, seeds):
    alarms = 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        rate = two_components(rng, SIDE**2) if case == "two components" else arrhenius(rng, SIDE**2, scatter_ev=0.03)
        made = made_darks(
            rng, rate, glow=glow(rng) if case == "a glow" else None, n=2 if case == "one frame each" else 4, **AT
        )
        if case == "one frame each":
            made = replace(made, second=made.first)
        levels = 10 * rng.standard_normal(12) if case == "levels that wander" else np.zeros(12)
        found = verdict_on(made, lambda k, mean, levels=levels: mean + levels[k])
        alarms += bool(found.sets or found.undecided or found.restless)
    assert alarms <= seeds // 100


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("fault", ["gain", "temperature", "all of a temperature", "even light", "light at one side"])
def test_a_faulty_set_is_found_and_named(fault, seeds):
    found = kinds = mistaken = 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        rate = arrhenius(rng, SIDE**2, scatter_ev=0.03)
        made = made_darks(rng, rate, **AT)
        k = int(rng.integers(12))
        celsius, seconds = float(made.taken.label_c[k]), float(made.taken.exposure_s[k])
        while made.truth(celsius, seconds)[6:].mean() < 60:  # a faint dark has no factor
            k = int(rng.integers(12))
            celsius, seconds = float(made.taken.label_c[k]), float(made.taken.exposure_s[k])
        wrong = made.taken.label_c == celsius if fault == "all of a temperature" else np.arange(12) == k
        level = made.truth(celsius, seconds)[6:].mean()
        light = {"even light": np.full(SIDE**2, 0.8 * level), "light at one side": 1.6 * level * COLUMNS / SIDE}
        more = made.truth(celsius + 6, seconds) - made.truth(celsius, seconds)

        def change(i, mean, wrong=wrong, light=light, more=more):
            if not wrong[i]:
                return mean
            if fault == "temperature":
                return mean + more
            return mean + light[fault] if fault in light else 1.6 * mean

        verdict = verdict_on(made, change)
        mistaken += any((each & ~wrong).any() for each in verdict.sets)
        if fault == "all of a temperature" and not verdict.sets and verdict.restless:
            found, kinds = found + 1, kinds + 1  # of four temperatures another one may be wrong as well
        if len(verdict.sets) == 1 and (verdict.sets[0] == wrong).all():
            found += 1
            by_offset, by_factor = verdict.deviations.alone[:, wrong].sum(axis=1)
            shaped = np.sqrt(np.mean(verdict.deviations.pulls[2, wrong] ** 2)) > 5
            kinds += ("light" in fault) == bool(shaped or by_offset < by_factor)
    assert mistaken <= 0.03 * seeds
    assert found >= (0.6 if fault == "all of a temperature" else 0.95) * seeds, found
    assert kinds >= 0.95 * found
