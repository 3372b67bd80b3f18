"""Scales, normalisation and uncertainty of flats."""

from collections.abc import Sequence

import numpy as np
import pytest

from calibration.combine.recipe import BandPlanes, MaskBit
from calibration.errors import CombineError
from calibration.masters.scales import Normalisation, flat_scales, normalisation_factor, with_dark, worth_combining
from tests.support.made_planes import SHAPE, sketch_of


def test_scales_bring_flats_to_their_mean_net_level() -> None:
    scales = flat_scales([1100.0, 2100.0], [100.0, 100.0])
    np.testing.assert_allclose(scales * [1000.0, 2000.0], [1500.0, 1500.0], rtol=1e-6)
    with pytest.raises(CombineError, match="not brighter"):
        flat_scales([90.0], [100.0])


def test_uncertainty_of_the_dark_adds_in_quadrature() -> None:
    one = np.full((2, 2), 3.0, np.float32)
    np.testing.assert_allclose(with_dark(one, [np.full((2, 2), 4.0, np.float32)], [1.0]), 5.0)
    np.testing.assert_allclose(with_dark(one, [one, one], [0.5, 0.5]), np.sqrt(9 + 2.25 + 2.25), rtol=1e-6)


@pytest.mark.parametrize(("how", "expected"), [("mean", 1000.0), ("median", 1000.0), ("max", 1400.0)])
def test_normalisation_is_robust(how: str, expected: float) -> None:
    mean = np.full(SHAPE, 1000.0, np.float32)
    mean[:20] = 1400.0
    mean[:20, 0] = 600.0
    mean[200, 200:210] = 60000.0  # hot
    mean[201, :50] = np.nan
    mask = np.where(np.isnan(mean), MaskBit.NO_DATA, 0).astype(np.uint16)
    ones = np.ones(SHAPE, np.float32)
    planes = BandPlanes(mean=mean, sigma=ones, count=ones.astype(np.uint16), mask=mask)
    assert normalisation_factor(sketch_of(planes), Normalisation(how)) == pytest.approx(expected, rel=0.03)


def test_dark_flat_cannot_be_normalised() -> None:
    zeros = np.zeros(SHAPE, np.float32)
    planes = BandPlanes(mean=zeros, sigma=zeros, count=zeros.astype(np.uint16), mask=zeros.astype(np.uint16))
    with pytest.raises(CombineError, match="cannot be normalised"):
        normalisation_factor(sketch_of(planes), Normalisation.MEAN)


@pytest.mark.parametrize(
    ("levels", "kept"),
    [
        ([20_000] * 8 + [800] * 8, range(8)),
        ([800] * 3 + [20_000] * 9, range(3, 12)),
        ([20_000 * 0.98**i for i in range(20)], range(20)),
        ([40_000, 36_000, 30_000, 24_000, 18_000, 14_000], range(6)),
        ([20_000] + [9_000] * 10, range(11)),
        ([20_000, 20_000, 100, 90, 80, 5], [0, 1, 2, 3, 4]),
        ([20_000] * 6 + [-3.0, 0.0], range(6)),
        ([500.0], [0]),
    ],
    ids=["half dim", "dim first", "fading lamp", "sky", "one bright", "at least five", "no light", "one"],
)
def test_flats_that_add_more_noise_than_they_take_away_are_not_worth_combining(
    levels: list[float], kept: Sequence[int]
) -> None:
    assert worth_combining(levels, least=5) == tuple(kept)
