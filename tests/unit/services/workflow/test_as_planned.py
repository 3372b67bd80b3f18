"""What a dry run says the run then does: the frames that it counts are those that are taken."""

from pathlib import Path
from typing import Any

import pytest
import structlog

from drivers.clock import SystemClock
from services.config import from_dict
from services.indexing.foreseen import foreseen
from services.planning.forecast import forecast
from services.planning.request import DarkTimes, RunOptions, Step
from services.root import Place, layout_of
from services.workflow.job import Job
from tests.support.fakes import FakeCamera

SCIENCE = {"science_exposure_time": 0.3, "exposure_factors": [1.0]}


@pytest.mark.parametrize("which", DarkTimes)
@pytest.mark.parametrize(
    "dark",
    [
        {},
        {"flat_exposure_time": 0.2},
        {"flat_exposure_time": 0.3},
        {"science_exposure_time": 1.0},
        {"exposure_factors": [0.5, 1.0, 2.0], "max_exposure": 0.4},
    ],
    ids=str,
)
def test_darks_without_flats_are_those_that_were_counted(tmp_path: Path, dark: dict[str, Any], which: DarkTimes):
    structlog.reset_defaults()
    sections = {
        "darkness": "none",
        "dark_capture": {"num_darks": 2, "persistence_wait": 0, **SCIENCE, **dark},
    }
    loaded = from_dict(sections, tmp_path / "config_calibration_frames.yaml")
    options = RunOptions(steps=(Step.DARKS,), dark_times=which)
    layout = layout_of(loaded)
    with foreseen(layout, aliases={}) as catalogue:
        found = forecast(loaded, Place(layout=layout, catalogue=catalogue), options, is_whole=lambda *_: True)
    result = Job(loaded, options, camera=FakeCamera(SystemClock())).run()
    assert result.detail == f"{found.cost.frames} frames taken"
    assert found.assumed is (which is DarkTimes.ALL and "flat_exposure_time" not in dark)
    assert found.total.frames == found.cost.frames
