"""Over two hundred detectors: what a flat is taken apart into has the errors that it states."""

import numpy as np
import pytest

from calibration.models.flat_dust import Profile
from calibration.models.flat_factors import NAMES, factor_band, factorise
from calibration.models.flat_prnu import PrnuSums, limits_of
from calibration.models.flat_smooth import Cells
from tests.support.made_flats import CENTRE, GRAIN, K1, K2, NOISE, PRNU, SHAPE, made_flat

SEEDS = 200


def within(pulls: dict[str, list[np.ndarray]]) -> None:
    for name, parts in pulls.items():
        pull = np.concatenate([np.ravel(part) for part in parts])
        assert abs(pull.mean()) < 0.3, (name, pull.mean())
        assert 0.85 < np.sqrt((pull**2).mean()) < 1.15, (name, np.sqrt((pull**2).mean()))


@pytest.mark.long
def test_factors_have_the_errors_that_are_stated():
    pulls: dict[str, list[np.ndarray]] = {}
    shadows = []
    for seed in range(SEEDS):
        flat = made_flat(seed)
        factors = factorise(Cells(values=flat.values, size=1, shape=SHAPE))
        planes = factor_band(factors, 0, flat.values, flat.sigma).planes
        truths = dict(zip(NAMES, (flat.vignetting, np.ones(SHAPE), flat.dust, flat.gains), strict=True))
        for name, truth in truths.items():
            sigma = planes[f"{name}_SIGMA"]
            known = sigma > 2e-6
            pulls.setdefault(name, []).append((planes[name] - truth)[known] / sigma[known])
        smooth = factors.smooth
        if len(smooth.vignetting.values) == 4:
            for name, value, real in zip(smooth.names, smooth.vignetting.values, (*CENTRE, K1, K2), strict=False):
                pulls.setdefault(name, []).append(np.array((value - real) / smooth.sigma(name)))
        shadows.append(len(factors.dust))
        grain = factors.dust[0]
        assert grain.profile is Profile.GAUSSIAN
        for i, real in enumerate(GRAIN):
            pulls.setdefault(f"grain {i}", []).append(np.array((grain.values[i] - real) / grain.sigma(i)))
        sums = PrnuSums(limits_of(planes["PRNU"]), SHAPE)
        sums.add(0, planes["PRNU"], flat.sigma / flat.values)
        prnu = sums.result(len(smooth.names) + 5)
        pulls.setdefault("prnu total", []).append(np.array((prnu.total - PRNU) / prnu.total_sigma))
        pulls.setdefault("prnu pixel", []).append(np.array((prnu.pixel - PRNU) / prnu.pixel_sigma))
        assert prnu.temporal == pytest.approx(NOISE, rel=0.2)
    assert shadows.count(1) >= 0.98 * SEEDS
    assert len(pulls["k1"]) >= 0.98 * SEEDS
    within(pulls)
