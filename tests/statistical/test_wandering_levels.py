"""Over a hundred detectors whose level wanders: rates, energies and levels are known as well as stated."""

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.models.dark.choosing import choose, sample_from
from calibration.models.dark.fit import Pedestal
from calibration.models.dark.model import Family
from calibration.models.dark.offsets import settled
from calibration.models.dark.relations import usual_law
from tests.support.made_darks import (
    BIAS_ADU,
    GAIN_ADU_E,
    NOISE,
    SATURATED_ADU,
    STEP_ADU,
    Darks,
    arrhenius,
    energies,
    lifted,
    made_darks,
)

SEEDS = 100


def wandering(rng: np.random.Generator, made: Darks, shares: str, wander: float) -> NDArray[np.float64]:
    """Return levels in ADU: one for each group, or one for all groups of one temperature, each a session."""
    own = (
        np.arange(len(made.taken.frames))
        if shares == "group"
        else np.unique(made.taken.label_c, return_inverse=True)[1]
    )
    return STEP_ADU * wander * rng.standard_normal(own.max() + 1)[own]


@pytest.mark.parametrize(
    ("shares", "wander", "seeds"),
    [
        ("session", 5.0, 12),
        *(pytest.param("group", wander, SEEDS, marks=pytest.mark.long) for wander in (0.0, 1.0, 5.0)),
        *(pytest.param("session", wander, SEEDS, marks=pytest.mark.long) for wander in (1.0, 5.0)),
    ],
)
def test_rates_energies_and_levels_are_known_as_well_as_stated(shares, wander, seeds):
    """`wander` in steps of a camera of 12 bits."""
    pulls, of_levels = [], []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        rate = arrhenius(rng, 200, scatter_ev=0.03)
        made = made_darks(rng, rate)
        levels = wandering(rng, made, shares, wander)
        made = lifted(made, levels)
        k = len(levels)
        sample = sample_from(
            made.taken, Pedestal.none(k), made.first, made.second, noise=NOISE, limit_adu=SATURATED_ADU - BIAS_ADU
        )
        found = settled(sample, usual_law(Family.SHRUNK, sample.model.law.reference_c))
        fit = found.sample.fitted(found.law, found.sample.whole)
        reference = found.law.reference_c
        truth = np.array([rate(reference) * GAIN_ADU_E, energies(rate, reference)])
        pulls.append((fit.parameters.theta - truth) / np.sqrt(fit.parameters.covariance[[0, 2]]))
        if wander:
            of_levels.append((found.levels.value_adu - levels) / found.levels.sigma_adu)
    means, rms = np.nanmean(pulls, axis=(0, 2)), np.sqrt(np.nanmean(np.square(pulls), axis=(0, 2)))
    assert np.abs(means).max() < 0.3, (means, rms)
    assert ((rms > 0.85) & (rms < 1.15)).all(), (means, rms)
    if wander:
        assert 0.6 < np.sqrt(np.mean(np.square(of_levels))) < 1.2


@pytest.mark.parametrize("seeds", [2, pytest.param(20, marks=pytest.mark.long)])
def test_wandering_levels_are_no_glow_and_no_other_family(seeds):
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        made = made_darks(rng, arrhenius(rng, 200, scatter_ev=0.03))
        made = lifted(made, wandering(rng, made, "group", 5.0))
        sample = sample_from(
            made.taken, Pedestal.none(18), made.first, made.second, noise=NOISE, limit_adu=SATURATED_ADU - BIAS_ADU
        )
        found = choose(sample)
        assert (found.model.law.family, found.model.law.glow_s) == (Family.SHRUNK, None)
        assert "not proportional to time" not in found.reason
        assert found.model.excess < 1.2
        assert found.model.common_sigma_adu(20.0, 20.0) > found.model.common_sigma_adu(-10.0, 1.0) > 0
