"""EGAIN of masters is what the frames state, unless their flats show another gain."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from astropy.io import fits

from calibration.frames import FrameKind
from calibration.keywords import MasterInfo
from services.masters import MasterOutcome
from tests.support.made_root import GAIN, READ_NOISE, Root


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    made = Root(tmp_path)
    yield made
    made.catalogue.close()


def headers(outcomes: tuple[MasterOutcome, ...]) -> list[fits.Header]:
    return [fits.getheader(outcome.path) for outcome in outcomes if outcome.path is not None]


def add_all(root: Root, stated: float | None) -> None:
    for kind, exposure_s in ((FrameKind.BIAS, 0.001), (FrameKind.DARK, 1.0)):
        root.add(kind, exposure_s, 12, egain_e_adu=stated)
    root.add(FrameKind.FLAT, 1.0, 12, filter="R", egain_e_adu=stated)


@pytest.mark.parametrize(
    ("stated", "kept"), [(GAIN, True), (1.04 * GAIN, True), (2 * GAIN, False), (0.5 * GAIN, False)]
)
def test_a_stated_gain_that_flats_contradict_is_replaced_by_the_measured_one(
    root: Root, stated: float, kept: bool
) -> None:
    add_all(root, stated)
    found = headers(root.build())
    assert len(found) == 4
    for header in found:
        assert header["EGAIN"] == (stated if kept else pytest.approx(GAIN, rel=0.1))
        error = header.get("EGAINERR", 0.0)  # of a measured gain alone
        assert error == 0 if kept else 0 < error < 0.05 * GAIN
        assert any("pairs of flats" in line and f"state {stated:g}" in line for line in header["HISTORY"])


def test_a_gain_that_nobody_states_is_the_measured_one(root: Root) -> None:
    add_all(root, None)
    assert [header["EGAIN"] for header in headers(root.build())] == [pytest.approx(GAIN, rel=0.1)] * 4


def test_without_flats_a_stated_gain_stays(root: Root) -> None:
    root.add(FrameKind.BIAS, 0.001, 12, egain_e_adu=3.0)
    assert {header["EGAIN"] for header in headers(root.build())} == {3.0}


def test_read_noise_comes_with_its_error_and_sigma_with_its_degrees_of_freedom(root: Root) -> None:
    root.add(FrameKind.BIAS, 0.001, 12)
    header = headers(root.build())[0]
    assert header["RDNOISE"] == pytest.approx(READ_NOISE, rel=0.04)  # the pattern of the sensor has some light's noise
    assert 0.002 < header["RDNERR"] / READ_NOISE < 0.02
    assert header["SIGDOF"] == pytest.approx(11, abs=0.05)
    assert MasterInfo(n_combined=12).read_noise_error_adu is None
