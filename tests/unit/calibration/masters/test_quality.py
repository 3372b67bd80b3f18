"""What is measured of a master, and what is suspect about it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.combine.engine import combine_band
from calibration.combine.recipe import BandPlanes, MaskBit, Method, Recipe
from calibration.frames import FrameKind
from calibration.masters.flags import flag_rows, thresholds
from calibration.masters.quality import Totals, judge, statistics
from tests.support.made_planes import GAIN, READ_NOISE, N, dark_planes, flat_planes, sketch_of


@pytest.fixture(scope="module")
def dark() -> tuple[NDArray[np.float64], BandPlanes]:
    return dark_planes()


def judged(planes: BandPlanes, kind: FrameKind, pair: float, **more: object) -> list[str]:
    sketch = sketch_of(planes)
    limits = thresholds(kind, sketch, samples=N, factor=1.0)
    totals = Totals()
    totals.add_samples(planes.count, planes.mean, N)
    totals.add_mask(flag_rows(planes, 0, limits))
    found = statistics(sketch, limits, totals, pair_noise_adu=pair) | totals.flags() | more
    return [verdict.code for verdict in judge(kind, found)]


def test_healthy_masters_are_not_suspect(dark: tuple[np.ndarray, BandPlanes]) -> None:
    assert judged(dark[1], FrameKind.DARK, READ_NOISE) == []
    assert judged(flat_planes(0.0, 0.7), FrameKind.FLAT, np.sqrt(20000 * 0.9 / GAIN)) == []


def test_what_is_suspect_is_said(dark: tuple[np.ndarray, BandPlanes]) -> None:
    assert judged(dark[1], FrameKind.DARK, 2 * READ_NOISE) == ["noise_off"]
    assert judged(dark[1], FrameKind.DARK, READ_NOISE, temp_spread_c=2.0) == ["temperature_off"]
    assert "illumination" in judged(flat_planes(0.0, -0.6), FrameKind.FLAT, np.sqrt(20000 * 0.6 / GAIN))
    thin = BandPlanes(
        mean=dark[1].mean, sigma=dark[1].sigma, count=(dark[1].count // 2).astype(np.uint16), mask=dark[1].mask
    )
    assert "rejected" in judged(thin, FrameKind.DARK, READ_NOISE / 2**0.5)


def test_minmax_is_not_suspect_for_what_it_always_rejects() -> None:
    rng = np.random.default_rng(1)
    frames = np.rint(rng.normal(500.0, READ_NOISE, (10, 100, 100))).astype(np.uint16)
    recipe = Recipe(method=Method.MINMAX)
    planes = combine_band(frames, recipe)
    sketch = sketch_of(planes)
    limits = thresholds(FrameKind.BIAS, sketch, samples=10, factor=recipe.factor_for(10))
    totals = Totals()
    totals.add_samples(planes.count, planes.mean, 10)
    found = statistics(sketch, limits, totals, pair_noise_adu=READ_NOISE) | totals.flags()
    assert "rejected" not in [v.code for v in judge(FrameKind.BIAS, found, designed=0.2)]


def test_the_noise_of_a_flat_is_that_of_all_its_colours_as_pairs_of_frames_see_it() -> None:
    """The brightest colour has more than twice the noise of the dimmest: none of them is noisy for that."""
    rng = np.random.default_rng(2)
    level = np.full((100, 150), 22_000.0)
    level[::2, ::2], level[1::2, 1::2] = 9_500.0, 4_000.0
    frames = np.rint(rng.normal(level, np.sqrt(2.0 * level), (N, *level.shape))).astype(np.uint16)
    planes, recipe = combine_band(frames, Recipe()), Recipe()
    sketch, totals = sketch_of(planes), Totals()
    limits = thresholds(FrameKind.FLAT, sketch, samples=N, factor=recipe.factor_for(N), mosaic=True)
    totals.add_samples(planes.count, planes.mean, N)
    expected = float(np.sqrt(2.0 * level.mean()))
    found = statistics(sketch, limits, totals, pair_noise_adu=expected)
    assert found["sample_noise_adu"] == pytest.approx(expected, rel=0.02)
    assert found["master_noise_adu"] == pytest.approx(expected / N**0.5, rel=0.03)


def _verdict(kind: FrameKind, mask: NDArray[np.uint16], dark: tuple[np.ndarray, BandPlanes]) -> bool:
    totals = Totals()
    totals.add_samples(dark[1].count, dark[1].mean, N)
    totals.add_mask(mask)
    limits = thresholds(FrameKind.DARK, sketch_of(dark[1]), samples=N, factor=1.0)
    found = statistics(sketch_of(dark[1]), limits, totals, pair_noise_adu=READ_NOISE) | {"snr": 100.0}
    return "defects" in [v.code for v in judge(kind, found | totals.flags())]


def test_defects_are_suspect_where_a_sound_sensor_has_none(dark: tuple[np.ndarray, BandPlanes]) -> None:
    """A warm sensor has hot pixels in its darks alone; what a flat has from its dark is no defect of the flat."""
    spread = np.random.default_rng(5).random(dark[1].mean.shape)

    def having(part: float, bits: MaskBit) -> NDArray[np.uint16]:
        return np.where(spread < part, bits, 0).astype(np.uint16)

    assert not _verdict(FrameKind.DARK, having(0.06, MaskBit.HOT), dark)
    assert _verdict(FrameKind.DARK, having(0.15, MaskBit.HOT), dark)
    assert _verdict(FrameKind.DARK, having(0.02, MaskBit.DEAD), dark)
    assert _verdict(FrameKind.BIAS, having(0.02, MaskBit.HOT), dark)
    assert not _verdict(FrameKind.FLAT, having(0.05, MaskBit.HOT | MaskBit.INHERITED), dark)
    assert _verdict(FrameKind.FLAT, having(0.02, MaskBit.HOT), dark)
    for kind in (FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT):
        assert not _verdict(kind, having(0.3, MaskBit.WARM | MaskBit.LOW_RESPONSE), dark)


def test_flags_are_counted_by_their_names() -> None:
    totals = Totals()
    totals.add_mask(np.array([[0, 1, 257, 512], [6, 129, 32, 64]], np.uint16))
    assert totals.flags() == {
        "hot": 3, "dead": 1, "noisy": 1, "warm": 1, "low_response": 1, "saturated": 0, "low_count": 0, "no_data": 1,
        "inherited": 1, "changed": 1, "defects": 4,
    }  # fmt: skip
