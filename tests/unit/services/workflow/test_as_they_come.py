"""Darks of a camera that nothing cools: a set for each degree that the sensor passes, filled night after night."""

from collections import defaultdict
from pathlib import Path

import structlog
import yaml

from drivers.clock import SystemClock
from services.catalogue.catalogue import Catalogue
from services.catalogue.history import SENSOR_C
from services.config import load
from services.files.layout import Layout
from services.planning.request import RunOptions, RunResult, Step
from services.workflow.job import Job
from tests.support.fakes import FakeCamera

FRAMES = 8
CONFIG = {
    "darkness": "none",
    "programmes": [
        {"name": "warm", "temperatures": "as_they_come", "darks": {"exposures": 0.02, "frames": FRAMES}},
    ],
}


def night(folder: Path, temperatures_c: list[float]) -> RunResult:
    """Take darks while the sensor has one temperature after the other, and stays at the last."""
    path = folder / "config_calibration_frames.yaml"
    path.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    structlog.reset_defaults()
    camera = FakeCamera(SystemClock())
    coming = iter(temperatures_c)

    def pass_on() -> None:
        camera.frozen_c = next(coming, camera.frozen_c)

    pass_on()
    camera.on_expose = pass_on
    return Job(load(path), RunOptions(steps=(Step.DARKS,)), camera=camera).run()


def sets_of(folder: Path) -> list[list[float]]:
    found: defaultdict[str, list[float]] = defaultdict(list)
    with Catalogue(Layout(folder).catalogue, read_only=True) as catalogue:
        for row in catalogue.frames():
            found[str(row.set_id)].append(row.ccd_temp_c or 0.0)
    return sorted((sorted(each) for each in found.values()), reverse=True)


def test_a_set_is_left_when_the_sensor_is_a_degree_colder_and_continued_when_it_is_as_warm_again(
    tmp_path: Path,
) -> None:
    falling = [15.0 - 0.18 * step for step in range(16)]
    first = night(tmp_path, falling)
    assert (first.exit_code, first.code) == (0, None), first
    with Catalogue(Layout(tmp_path).catalogue, read_only=True) as catalogue:
        read_c = [fact.value for fact in catalogue.facts(name=SENSOR_C)]
    assert read_c == [falling[-1], falling[0]]  # at its end and at its beginning
    sets = sets_of(tmp_path)
    assert len(sets[-1]) == FRAMES
    assert all(each[-1] - each[0] <= 1.0 for each in sets)
    assert len(sets) > 2, sets

    begun = len(sets)
    again = night(tmp_path, [14.2])
    assert (again.exit_code, again.code) == (0, None), again
    sets = sets_of(tmp_path)
    assert len(sets) == begun, "the set of the first degree is continued, none is opened"
    assert len(sets[0]) == FRAMES
    assert night(tmp_path, [14.3]).detail == "nothing to take: the only set is there"
