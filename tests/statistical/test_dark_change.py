"""Two models of a detector's dark: one that did not change seems so, and a rate that rises by 2 % is seen."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.models.dark.change import Known, change_of, level_error
from calibration.models.dark.choosing import sample_from
from calibration.models.dark.fit import Pedestal
from calibration.models.dark.model import Family
from calibration.models.dark.relations import learned, usual_law
from tests.support.made_darks import BIAS_ADU, EXPOSURES_S, NOISE, SATURATED_ADU, Rate, arrhenius, made_darks

FAR = 3.0
"""Of its own errors, what counts as moved."""

DRIFT_ADU = 20.0


def known_from(rng: np.random.Generator, rate: Rate, family: Family, drift_adu: float = 0.0) -> Known:
    """Return a model of frames of one campaign, in which the level of each group is that much off."""
    made = made_darks(rng, rate)
    levels = drift_adu * rng.standard_normal(len(made.whole))
    halves = [
        [replace(each, mean=each.mean + level) for each, level in zip(half, levels, strict=True)]
        for half in (made.first, made.second)
    ]
    pedestal = Pedestal.none(len(levels))
    sample = sample_from(made.taken, pedestal, *halves, noise=NOISE, limit_adu=SATURATED_ADU - BIAS_ADU)
    law = learned(sample, usual_law(family, sample.model.law.reference_c))
    parameters = sample.fitted(law, sample.whole).parameters
    times, frames, drift_adu2 = np.array(EXPOSURES_S), np.full(len(EXPOSURES_S), 4.0), 4 * drift_adu**2
    error = level_error(NOISE, times, frames, drift_adu2, float(np.median(made.truth(20.0, 1.0))))
    return Known(model=replace(sample.model, law=law), parameters=parameters, level_adu=error)


@pytest.mark.parametrize(
    ("scatter_ev", "family", "drift_adu", "seeds"),
    [
        (0.02, Family.SHRUNK, 0.0, 12),
        pytest.param(0.02, Family.SHRUNK, 0.0, 100, marks=pytest.mark.long),
        pytest.param(0.0, Family.MEYER_NELDEL, 0.0, 100, marks=pytest.mark.long),
        pytest.param(0.02, Family.SHRUNK, DRIFT_ADU, 100, marks=pytest.mark.long),
    ],
)
def test_a_sensor_seems_to_have_moved_when_it_has(scatter_ev, family, drift_adu, seeds):
    still, changed, shares = [], [], []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        rate = arrhenius(rng, 200, scatter_ev=scatter_ev)
        old, same = (known_from(rng, rate, family, drift_adu) for _ in range(2))
        more = known_from(rng, lambda celsius, r=rate: 1.02 * r(celsius), family, drift_adu)
        one, other = (change_of(old, new, 20.0, 20.0) for new in (same, more))
        still.append((one.after_adu - one.before_adu) / one.sigma_adu)
        changed.append((other.after_adu - other.before_adu) / other.sigma_adu)
        shares.append(other.after_adu / other.before_adu - 1)
    rms, few = np.sqrt(np.mean(np.square(still))), 3 / np.sqrt(2 * seeds)
    assert 0.85 - few < rms < 1.15 + few
    assert np.mean(np.abs(still) > FAR) <= 0.03
    assert np.median(shares) == pytest.approx(0.02, abs=0.003)
    if not drift_adu:
        assert np.mean(np.array(changed) > FAR) > 0.97
