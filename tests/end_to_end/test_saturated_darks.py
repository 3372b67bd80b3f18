"""Biases and darks tell where their pixels saturate, and their masters tell which pixels did."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from calibration.combine.recipe import MaskBit
from services.planning.request import Step
from tests.support.served_night import served_night

DARKS = {"num_darks": 6, "science_exposure_time": 60.0, "exposure_factors": [1.0]}
HOT = {"hot_fraction": 0.01, "hot_min_e_s": 500.0}


@pytest.mark.parametrize(
    ("camera", "steps", "level_adu"),
    [
        ({"detector": HOT}, (Step.DARKS, Step.MASTERS), 65535),
        ({"detector": HOT | {"saturation_adu": 16000.0}}, (Step.FLATS, Step.DARKS, Step.MASTERS), 16000),
    ],
    ids=["by MaxADU", "as measured before the flats"],
)
def test_pixels_that_saturate_in_a_dark_are_flagged_in_its_master(
    tmp_path: Path, camera: dict[str, Any], steps: tuple[Step, ...], level_adu: int
) -> None:
    with served_night(tmp_path, camera=camera) as night:
        warm = {"target_temperature": 15.0}
        ended = night.run(steps=steps, dark_capture=DARKS, flat_capture={"filters": ["L"]}, cooling=warm)
        assert ended.exit_code == 0
        assert {header["SATURATE"] for header in night.headers("dark_*")} == {level_adu}
    (master,) = (tmp_path / "master_frames").glob("master_dark_60.000s_*.fits")
    with fits.open(master) as units, fits.open(master.parent / "planes" / master.name) as planes:
        mean = units[0].data.astype(np.float64)
        flagged = (planes["MASK"].data & MaskBit.SATURATED) > 0
    clipped = mean >= 0.999 * level_adu
    assert clipped.sum() > 10
    assert flagged[clipped].all()
    assert not flagged[mean < 0.9 * level_adu].any()


def test_a_max_adu_that_the_pixels_disprove_is_not_written_to_darks(tmp_path: Path) -> None:
    with served_night(tmp_path, camera={"reported_max_adu": 255}) as night:
        assert night.run(steps=(Step.DARKS,)).exit_code == 0
        assert all("SATURATE" not in header for header in night.headers())
