"""Flats of a fainter light among bright ones: errors as they are stated, and no change that is not there."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from calibration.models.flat.model import predict
from services.bands import Band
from services.models.flat.fit import FlatSums, flat_band, work_of
from services.models.flat.plan import FlatType, plan_of
from tests.support.step_flats import step_flats

SEEDS, SHAPE = 12, (32, 48)
BRIGHT, FAINT, SLOPE = 0.0058, 0.0131, 3e-4


@pytest.mark.parametrize(
    ("conditions", "noise"),
    [
        (((10.0, 1.0), (10.0, 5.0)), (FAINT, BRIGHT)),
        (((0.0, 2.0), (10.0, 2.0), (20.0, 2.0)), (FAINT, BRIGHT, BRIGHT / 2)),
    ],
    ids=["exposures", "temperatures"],
)
def test_flats_of_a_fainter_light_weigh_less(tmp_path: Path, conditions, noise):
    pulls: dict[tuple[float, float], list[float]] = {at: [] for at in conditions}
    real, held = 0, []
    for seed in range(SEEDS):
        flat = 1 + 0.01 * np.random.default_rng(1000 + seed).standard_normal(SHAPE)
        frames = step_flats(tmp_path / str(seed), flat, conditions, noise, seed=seed)
        plan = plan_of(frames, tmp_path, FlatType.LAB)
        work = work_of(plan)
        done, sums = flat_band(work, Band(start=0, stop=SHAPE[0])), FlatSums(work)
        sums.add(done)
        real += any(each.real for each in sums.significance())
        held += [row["pull_rms"] for row in sums.rows() if row["pixels"]]
        of_few = stats.t.std(done.freedom)
        for at, found in pulls.items():
            made = predict(plan.model, done.parameters, *at)
            found.append(float(np.mean(np.square((made.mean - flat) / made.sigma / of_few))))
    assert real <= 1
    for at, found in pulls.items():
        assert 0.85 < np.sqrt(np.mean(found)) < 1.15, at
    assert not held or 0.85 < np.sqrt(np.mean(np.square(held))) < 1.15


ALL = tuple((celsius, seconds) for seconds in (1.0, 5.0) for celsius in (0.0, 10.0, 20.0))


@pytest.mark.parametrize("level_error", [0.0, 0.1, 1.0])
def test_errors_of_levels_are_no_change_of_the_flat(tmp_path: Path, level_error: float):
    """The last is that of a flat that is divided by its brightest pixel."""
    real, seen, pulls = 0, [], []
    for seed in range(24):
        flat = 1 + 0.01 * np.random.default_rng(1000 + seed).standard_normal((24, 32))
        frames = step_flats(tmp_path / str(seed), flat, ALL, [BRIGHT] * 6, seed=seed, level_error=level_error)
        plan = plan_of(frames, tmp_path, FlatType.LAB)
        work = work_of(plan)
        done, sums = flat_band(work, Band(start=0, stop=24)), FlatSums(work)
        sums.add(done)
        real += sum(each.real for each in sums.significance())
        seen += [row["pull_rms"] for row in sums.rows()]
        made = predict(plan.model, done.parameters, 5.0, 3.0)
        pulls.append(np.mean(np.square((made.mean - flat) / made.sigma)))
    assert real <= 1
    assert 0.85 < np.sqrt(np.mean(pulls)) < 1.15
    assert 0.85 < np.sqrt(np.mean(np.square(seen))) < 1.15


@pytest.mark.parametrize("alike", [True, False])
def test_a_change_of_all_pixels_or_of_each_is_found(tmp_path: Path, alike: bool):
    """Levels have the errors of a robust one: a change of all pixels is seen where it is larger than these."""
    found = 0
    for seed in range(12):
        rng = np.random.default_rng(1000 + seed)
        slope = np.full((24, 32), SLOPE) if alike else SLOPE * rng.standard_normal((24, 32))
        flat = 1 + 0.01 * rng.standard_normal((24, 32))
        frames = []
        for celsius in (0.0, 10.0, 20.0):
            at, folder = [(celsius, seconds) for seconds in (1.0, 5.0)], tmp_path / f"{seed}_{celsius:g}"
            made = step_flats(
                folder, flat + celsius * slope, at, [BRIGHT] * 2, seed=round(100 * seed + celsius), level_error=0.02
            )
            frames += made
        work = work_of(plan_of(frames, tmp_path, FlatType.LAB))
        sums = FlatSums(work)
        sums.add(flat_band(work, Band(start=0, stop=24)))
        b, c = sums.significance()
        found += b.real and not c.real
        assert np.hypot(b.mean, b.spread) == pytest.approx(SLOPE, rel=0.5)
    assert found >= 11
