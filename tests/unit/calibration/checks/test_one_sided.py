"""Darks that gain on one side: told where noise and the pedestal's own gradient do not explain it."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from calibration.checks.one_sided import Looked, one_sided_adu
from calibration.stats import measure

S = 1_000_000
SHAPE = (120, 160)


def looked(
    seconds: float, leak_adu_s: float = 0.0, *, side: str = "right", seed: int = 3, offset: float = 0.0
) -> Looked:
    """A frame of a sensor with a pedestal that is 6 ADU higher on its left, and light from one side."""
    rng = np.random.default_rng((seed, round(seconds * 1000)))
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]] / np.array(SHAPE)[:, None, None]
    towards = {
        "right": x,
        "left": 1 - x,
        "top": 1 - y,
        "all": np.full(SHAPE, 0.5),
        "centre": 1 - np.hypot(x - 0.5, y - 0.5),
    }
    rows = rng.normal(0, 2, (SHAPE[0], 1))
    clean = 543 + offset + 6 * (1 - x) + leak_adu_s * seconds * towards[side]
    pixels = np.rint(rng.normal(clean + rows, 8)).astype(np.uint16)
    stats = measure(pixels, saturation_adu=None, bayer=False, mid_at=datetime(2026, 1, 1, tzinfo=UTC))
    return Looked(exposure_us=round(seconds * S), stats=stats, shape=SHAPE)


@pytest.mark.parametrize("side", ["right", "left", "top"])
def test_light_from_one_side_is_told_by_the_longest_dark(side: str) -> None:
    darks = [looked(s, 10.0, side=side) for s in (1.0, 2.0, 0.3)]
    found = one_sided_adu(looked(0.001), darks)
    assert found is not None
    assert found[0] == 2 * S
    assert found[1] == pytest.approx(2 * 10.0 * 2 / 3, abs=2.5)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("side", ["all", "centre"])
def test_dark_current_and_the_pedestals_own_gradient_are_no_doubt(side: str, seed: int) -> None:
    darks = [looked(s, 20.0, side=side, seed=seed) for s in (1.0, 2.0, 30.0)]
    assert one_sided_adu(looked(0.001, seed=seed), darks) is None


def test_what_does_not_grow_with_the_exposure_is_no_doubt() -> None:
    assert one_sided_adu(looked(0.001), [looked(1.0, 20.0), looked(2.0, 10.0)]) is None
    assert one_sided_adu(looked(0.001), [looked(2.0, 10.0)]) is not None


def test_a_wandering_pedestal_and_coarse_steps_are_no_doubt() -> None:
    assert one_sided_adu(looked(0.001), [looked(2.0, offset=30.0)]) is None
    faint = looked(2.0, 10.0)
    coarse = replace(faint, stats=replace(faint.stats, step_adu=16))
    assert one_sided_adu(looked(0.001), [coarse]) is None


def test_without_darks_there_is_nothing_to_doubt() -> None:
    assert one_sided_adu(looked(0.001), []) is None
