"""The demands on the flat search over random sensors and lamps, on a sample that fits into the suite."""

import pytest

from tests.benchmarks.bench_flat_search import Trial, trial
from tests.benchmarks.flat_lamps import LampKind, random_cameras


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    return [trial(camera) for camera in random_cameras(60, seed=90_210)]


def test_steady_lamps_converge_within_ten_frames(trials: list[Trial]) -> None:
    steady = [t for t in trials if t.kind == LampKind.STEADY]
    assert len(steady) > 25
    assert all(t.converged and t.steps <= 10 for t in steady)


def test_series_stay_in_tolerance_and_the_rest_is_named(trials: list[Trial]) -> None:
    series = [t for t in trials if t.converged]
    assert sum(t.kept for t in series) >= 0.95 * len(series)
    assert all(t.code is not None for t in trials if not t.complete)


def test_levels_are_half_the_true_range_whatever_maxadu_says(trials: list[Trial]) -> None:
    assert all(abs(t.aimed_off) < 0.1 for t in trials if t.complete)


def test_dimmable_panels_keep_to_exposures_of_a_second_or_so(trials: list[Trial]) -> None:
    times = [t.exposure_us for t in trials if t.adjustable and t.complete and t.exposure_us is not None]
    assert len(times) > 15
    assert min(times) >= 200_000
    assert sum(t <= 5_000_000 for t in times) >= 0.7 * len(times)
