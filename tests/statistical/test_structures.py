"""Structures in series of flats and darks: nothing in a sensor that did not change, everything that was put in."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.models.structure.shapes import Kind, Structure, kind_of, shape_of
from tests.support.made_structures import Analysed, Sensor, analysed, box, donut, dust, scratch

Series = Callable[[Sensor, np.random.Generator], list[NDArray[np.uint16]]]

SHAPE = (32, 40)


def _lamps(sensor: Sensor, rng: np.random.Generator, n: int, spread: float) -> list[NDArray[np.uint16]]:
    lights = 450 * (1 + spread * rng.standard_normal(3))
    return [sensor.frames(n, light=light, drift=0.02 * number) for number, light in enumerate(lights)]


UNCHANGED: dict[str, Series] = {
    "flats of a lamp that wanders": lambda sensor, rng: _lamps(sensor, rng, 4, 0.1),
    "single flats": lambda sensor, rng: _lamps(sensor, rng, 1, 0.02),
    "pairs of flats": lambda sensor, rng: _lamps(sensor, rng, 2, 0.0),
    "many flats": lambda sensor, rng: _lamps(sensor, rng, 12, 0.02),
}


def _found(series: Series, *, flat: bool = True, seeds: int = 100) -> int:
    """Return of how many sensors anything is said to have changed."""
    found = 0
    for seed in range(seeds):
        made = series(Sensor(seed, SHAPE), np.random.default_rng(1000 + seed))
        found += bool(analysed(made, flat=flat).structures)
    return found


def test_nothing_is_found_in_a_sensor_that_did_not_change() -> None:
    assert _found(UNCHANGED["flats of a lamp that wanders"]) <= 5


@pytest.mark.long
@pytest.mark.parametrize("name", UNCHANGED)
def test_nothing_is_found_however_many_flats_there_are(name: str) -> None:
    assert _found(UNCHANGED[name]) <= 5


@pytest.mark.long
@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_nothing_is_found_in_darks_of_a_sensor_that_did_not_change(n: int) -> None:
    assert _found(lambda sensor, _: [sensor.darks(n) for _ in range(3)], flat=False) <= 5


CHANGES = {
    "donut": (donut(20, 20, 0.04, 7), (20, 20), Kind.DUST_RING),
    "scratch": (scratch(40, 30, 24, 30, 0.06), (40, 30), Kind.SCRATCH),
    "faint dust": (dust(50, 75, 0.03, 4.5), (50, 75), Kind.DUST_DISC),
    "ghost": (dust(15, 70, -0.02, 5), (15, 70), Kind.GHOST),
    "dead pixel": (box(30, 50, 31, 51, 0.05), (30, 50), Kind.DEAD),
    "column": (box(0, 85, 64, 86, 0.98), (31.5, 85), Kind.COLUMN),
}


def test_what_was_put_in_is_found_where_it_is_and_called_what_it_is() -> None:
    seen: Counter[str] = Counter()
    others = 0
    for seed in range(5):
        sensor = Sensor(seed, (64, 96))
        changes = [change for change, *_ in CHANGES.values()]
        series = [sensor.frames(5), *(sensor.frames(5, changes=changes, drift=0.02) for _ in range(2))]
        found = analysed(series)
        left = list(found.structures)
        for name, (_, place, kind) in CHANGES.items():
            near = [each for each in left if np.hypot(*np.subtract(each.centre, place)) < 2.5]
            seen[name] += bool(near) and _kind(near[0], found) is kind
            left = [each for each in left if each not in near]
        others += len(left)
    assert all(seen[name] >= 4 for name in CHANGES), seen
    assert others <= 1


def _kind(structure: Structure, found: Analysed) -> Kind:
    shape = shape_of(structure, np.mean([found.values[i] for i in structure.seen], axis=0)[structure.place.slices])
    return kind_of(structure, shape, (64, 96), darker=structure.sign < 0)


def test_a_cluster_that_became_hot_is_found_in_the_darks() -> None:
    for seed in range(5):
        sensor = Sensor(seed, SHAPE)
        more = np.zeros(SHAPE)
        more[10:12, 20:23] = 30.0
        (only,) = analysed([sensor.darks(5), sensor.darks(5, more=more)], flat=False).structures
        assert (only.sign, only.place.top, only.place.left) == (1, 10, 20)
        assert only.area == 6
