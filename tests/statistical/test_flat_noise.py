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

SEEDS, SHAPE = 20, (32, 48)
BRIGHT, FAINT = 0.0058, 0.0131


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
        done, sums = flat_band(work_of(plan), Band(start=0, stop=SHAPE[0])), FlatSums(plan.model.terms)
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
