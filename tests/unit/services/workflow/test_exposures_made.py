"""A camera that makes other exposures than it is asked for: its darks serve in the next night as any others do."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from drivers.clock import SystemClock
from services.catalogue.catalogue import Catalogue
from services.config import load
from services.files.fits import read_cards
from services.files.layout import Layout
from services.indexing.foreseen import foreseen
from services.planning.dry_run import dry_run
from services.planning.request import RunOptions, RunResult, Step
from services.root import Place
from services.workflow.job import Job
from tests.support.fakes import INFO, FakeCamera

DARKS = RunOptions(steps=(Step.DARKS,))


def night(folder: Path, makes_s) -> tuple[RunResult, list[int]]:
    """Take darks with a camera that makes of exposures what it likes; return the exposures that were asked for."""
    structlog.reset_defaults()
    camera = FakeCamera(SystemClock())
    camera.makes_s = makes_s
    result = Job(load(folder / "config_calibration_frames.yaml"), DARKS, camera=camera).run()
    return result, [round(1e6 * each.duration_s) for each in camera.exposed]


def in_steps(asked_s: float) -> float:
    """A camera of old: its exposures are tenths of a second, but the shortest."""
    return asked_s if asked_s < 0.01 else 0.1 * max(1, round(asked_s / 0.1))


def longer(asked_s: float) -> float:
    """A shutter that takes its time to close: each exposure is as much longer."""
    return asked_s if asked_s < 0.01 else asked_s + 0.06


@pytest.mark.parametrize(("makes_s", "made_us"), [(in_steps, 100_000), (longer, 130_000)])
def test_adopted_darks_are_not_taken_again_the_next_night(tmp_path: Path, makes_s, made_us: int) -> None:
    """The next night took darks of the exposure that was asked for again, and so did every night."""
    path = tmp_path / "config_calibration_frames.yaml"
    path.write_text(
        "darkness: none\n"
        "dark_capture: {num_darks: 3, science_exposure_time: 0.07, exposure_factors: [1], persistence_wait: 0,"
        " flat_exposure_time: 0.07}\n",
        encoding="utf-8",
    )
    first, asked = night(tmp_path, makes_s)
    assert (first.exit_code, first.detail) == (0, "6 frames taken")
    assert 70_000 in asked
    layout = Layout(tmp_path)
    with Catalogue(layout.catalogue, read_only=True) as catalogue:
        assert sorted({row.exposure_us for row in catalogue.frames()}) == [1_000, made_us]
        planned = dry_run(load(path), Place(layout=layout, catalogue=catalogue), DARKS, is_whole=lambda *_: True)
    assert "Nothing to take: all 6 frames are there." in planned
    second, asked = night(tmp_path, makes_s)
    assert (second.detail, asked) == ("nothing to take: all 2 sets are there", [])
    cards = [read_cards(dark) for dark in layout.darks.rglob("*.fits")]
    assert {(card["EXPTIME"], card.get("EXPASKED")) for card in cards} == {(0.001, None), (made_us / 1e6, 0.07)}

    shutil.rmtree(layout.hidden)  # journals and all: headers alone say it
    with foreseen(layout, aliases={}) as catalogue:
        planned = dry_run(load(path), Place(layout=layout, catalogue=catalogue), DARKS, is_whole=lambda *_: True)
    assert "Nothing to take: all 6 frames are there." in planned
    third, asked = night(tmp_path, makes_s)
    assert (third.detail, asked) == ("nothing to take: all 2 sets are there", [])

    shutil.rmtree(layout.hidden)
    away = layout.darks.rename(tmp_path / "away")
    Job(load(path), RunOptions(steps=(Step.MASTERS,))).run()  # a catalogue, in which the darks come later
    away.rename(layout.darks)
    fourth, asked = night(tmp_path, makes_s)
    assert (fourth.detail, asked) == ("nothing to take: all 2 sets are there", [])


def test_a_plan_asks_for_the_exposures_that_the_camera_can_make_once_it_has_been_seen(tmp_path: Path) -> None:
    """A plan that went by the file alone would find something due for ever, and the run nothing to take."""
    path = tmp_path / "config_calibration_frames.yaml"
    path.write_text(
        "darkness: none\n"
        "dark_capture: {num_darks: 3, science_exposure_time: 0.07, exposure_factors: [1], min_exposure: 0.001,"
        " flat_exposure_time: 0.07}\n",
        encoding="utf-8",
    )
    structlog.reset_defaults()
    camera = FakeCamera(SystemClock(), info=replace(INFO, exposure_min_s=0.02, exposure_resolution_s=0.02))
    assert Job(load(path), DARKS, camera=camera).run().exit_code == 0
    layout = Layout(tmp_path)
    with Catalogue(layout.catalogue, read_only=True) as catalogue:
        assert min(row.exposure_us for row in catalogue.frames()) == 20_000
        planned = dry_run(load(path), Place(layout=layout, catalogue=catalogue), DARKS, is_whole=lambda *_: True)
    assert "Nothing to take: all 6 frames are there." in planned


def test_an_interrupted_set_of_them_is_continued(tmp_path: Path) -> None:
    (tmp_path / "config_calibration_frames.yaml").write_text(
        "darkness: none\ndark_capture: {num_darks: 3, science_exposure_time: 0.07, exposure_factors: [1]}\n",
        encoding="utf-8",
    )
    structlog.reset_defaults()
    camera = FakeCamera(SystemClock())
    camera.makes_s = in_steps
    job = Job(load(tmp_path / "config_calibration_frames.yaml"), DARKS, camera=camera)
    camera.on_expose = lambda: job.end_after_frame("paused") if len(camera.exposed) == 8 else None
    assert job.run().code == "paused"
    with Catalogue(Layout(tmp_path).catalogue, read_only=True) as catalogue:
        before = len(catalogue.frames())
    assert 0 < before - 3 < 6
    second, _ = night(tmp_path, in_steps)
    assert second.exit_code == 0
    with Catalogue(Layout(tmp_path).catalogue, read_only=True) as catalogue:
        assert sorted(row.count for row in catalogue.sets()) == [3] * len(catalogue.sets())
