"""Frames by the settings of their camera: settings of which nothing can be made do not end the others."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from calibration.frames import FrameKind
from services.errors import Usage
from services.models.gathering import Gathered, gather, of_each
from services.models.products import decimal_text
from tests.support.bias_frames import write_bias

FOUND = tuple(Gathered(name=name) for name in ("gain_1", "gain_2", "gain_3"))


def make(gathered: Gathered, folder: Path) -> Path:
    if gathered.name == "gain_1":
        raise Usage("all is saturated", advice="expose for less time")
    return folder


def test_the_others_are_made_and_the_refused_one_is_heard_of(tmp_path: Path):
    heard: list[tuple[str, str]] = []
    made = of_each(FOUND, tmp_path, make, lambda name, error: heard.append((name, error.detail)))
    assert made == (tmp_path / "gain_2", tmp_path / "gain_3")
    assert heard == [("gain_1", "all is saturated")]


@pytest.mark.parametrize("found", [FOUND, FOUND[:1]])
def test_where_nobody_hears_or_nothing_is_made_it_raises_after_the_others(found: tuple[Gathered, ...], tmp_path: Path):
    begun: list[str] = []

    def noted(gathered: Gathered, folder: Path) -> Path:
        begun.append(gathered.name)
        return make(gathered, folder)

    with pytest.raises(Usage, match="gain_1: all is saturated") as refused:
        of_each(found, tmp_path, noted)
    assert (refused.value.advice, begun) == ("expose for less time", [each.name for each in found])
    with pytest.raises(Usage, match="gain_1: all is saturated"):
        of_each(FOUND[:1], tmp_path, make, lambda *_: pytest.fail("it is raised"))


def test_one_setting_has_no_folder_of_its_own(tmp_path: Path):
    assert of_each([Gathered()], tmp_path, lambda _, folder: folder) == (tmp_path,)


def test_set_points_that_stand_for_temperatures_are_said(tmp_path: Path):
    rng = np.random.default_rng(1)
    for number in range(4):
        path = tmp_path / "frames" / f"bias_{number}.fits"
        write_bias(path, np.rint(1000 + 5 * rng.standard_normal((20, 30))).astype(np.uint16), 0.0)
        if number:
            with fits.open(path, mode="update") as units:
                units[0].header.rename_keyword("CCD-TEMP", "SET-TEMP")
    (found,) = gather(tmp_path / "frames", tmp_path / "out", FrameKind.BIAS)
    assert len(found.members) == 4
    assert any("3 frames state what the cooler was asked for" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("value", "least", "text"),
    [
        (5.0, 1, "5.0"),
        (5.04, 1, "5.04"),
        (-0.0, 1, "0.0"),
        (-1e-7, 2, "0.00"),
        (2.0, 0, "2"),
        (0.000032, 2, "0.000032"),
    ],
)
def test_a_number_in_a_name_has_the_decimals_that_it_needs(value: float, least: int, text: str):
    assert decimal_text(value, least) == text
