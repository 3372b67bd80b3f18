"""No healthy night is suspected, and what is wrong is found: pairs of masters as nights make them.

The default run takes a few pairs of each kind; the long one 3,000 healthy pairs of each, and 300 of each fault.
"""

import pytest

from calibration.comparing.judging import compare
from calibration.errors import MasterCode
from calibration.frames import FrameKind
from tests.statistical.made_nights import HEALTHY, Fault, pair

DARK_FAULTS = {
    MasterCode.LEVEL_CHANGED: Fault(level_adu=20.0),
    MasterCode.NOISE_CHANGED: Fault(noise=1.2),
    MasterCode.STRUCTURE_CHANGED: Fault(leak_adu=10.0),
    MasterCode.PIXELS_CHANGED: Fault(new_per_megapixel=200.0),
    "gain": Fault(gain=1.1),
}
FLAT_FAULTS = {
    MasterCode.GRADIENT_CHANGED: Fault(gradient=0.03),
    MasterCode.NOISE_CHANGED: Fault(noise=1.2),
    MasterCode.GAIN_CHANGED: Fault(gain=1.1),
}
KINDS = {FrameKind.BIAS: DARK_FAULTS, FrameKind.DARK: DARK_FAULTS, FrameKind.FLAT: FLAT_FAULTS}
EACH = [(kind, name) for kind, faults in KINDS.items() for name in faults]


def refused(kind: FrameKind, seed: int, fault: Fault = HEALTHY) -> set[str]:
    return {verdict.code for verdict in compare(*pair(kind, seed, fault=fault))[0] if verdict.refuses}


@pytest.mark.parametrize("kind", KINDS)
def test_healthy_nights_are_not_suspected(kind: FrameKind) -> None:
    suspected = {seed: found for seed in range(5) if (found := refused(kind, seed))}
    assert not suspected


def test_hot_pixels_of_few_frames_on_a_warmer_night_are_not_new() -> None:
    """Of five frames the SIGMA of some hot pixels comes out far below their shot noise."""
    assert not refused(FrameKind.DARK, 3050)


@pytest.mark.parametrize(("kind", "name"), EACH)
def test_what_is_wrong_is_found(kind: FrameKind, name: str) -> None:
    found = refused(kind, 11, KINDS[kind][name])
    assert (MasterCode.NOISE_CHANGED if name == "gain" else name) in found


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_of_3000_healthy_pairs_none_is_suspected(kind: FrameKind) -> None:
    suspected = {seed: found for seed in range(1000, 4000) if (found := refused(kind, seed))}
    assert not suspected


@pytest.mark.long
@pytest.mark.parametrize(("kind", "name"), EACH)
def test_of_300_faults_of_each_sort_297_are_found(kind: FrameKind, name: str) -> None:
    missed = [seed for seed in range(101_000, 101_300) if not refused(kind, seed, KINDS[kind][name])]
    assert len(missed) <= 3
