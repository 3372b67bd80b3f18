"""Flats whose dark only a model can predict are built in the run that fits it, and what is refused is said once."""

import os
from pathlib import Path

import pytest
from astropy.io import fits

from calibration.frames import FrameKind
from services.config import load
from services.events.records import Event, MasterBuilt, MasterRefused
from services.planning.request import RunOptions, RunResult, Step
from services.reports.masters import masters_of
from services.workflow.job import Job
from tests.support.made_root import Root

CONFIG = """\
camera: {camera_type: alpaca, alpaca: {host: localhost, port: 11111}}
dark_capture: {num_darks: 6}
flat_capture: {num_flats: 6}
storage: {min_free_mb: 10}
master_frames: {flat_dark: model}
"""
BOTH = (Step.MASTERS, Step.MODELS)


class Observer:
    """Somebody whose flats of 3 s have no darks of 3 s."""

    def __init__(self, folder: Path) -> None:
        self.root = Root(folder)
        self.config = folder / "config.yaml"
        self.config.write_text(CONFIG, encoding="utf-8")
        self.heard: list[Event] = []
        self.root.add(FrameKind.BIAS, 0.001, 6)
        self.root.add(FrameKind.FLAT, 3.0, 6, filter="L", light=5000.0)

    def add_darks(self, *exposures_s: float) -> None:
        for exposure_s in exposures_s:
            self.root.add(FrameKind.DARK, exposure_s, 6)

    def run(self, *steps: Step, more: str = "") -> RunResult:
        self.config.write_text(CONFIG + more, encoding="utf-8")
        self.heard.clear()
        return Job(load(self.config), RunOptions(steps=steps), listeners=(self.heard.append,)).run()

    def flats(self, of: type[MasterBuilt | MasterRefused]) -> list[MasterBuilt | MasterRefused]:
        return [e.what for e in self.heard if isinstance(e.what, of) and e.what.kind is FrameKind.FLAT]

    @property
    def steps(self) -> list[str]:
        return [f"{e.what.step} {e.name.rpartition('.')[2]}" for e in self.heard if e.name.startswith("step.")]

    @property
    def dark_of_the_flat(self) -> str:
        (row,) = self.root.catalogue.masters(kind=FrameKind.FLAT)
        return str(fits.getheader(self.root.layout.absolute(row.path))["FLATDARK"])


@pytest.fixture
def observer(tmp_path: Path) -> Observer:
    return Observer(tmp_path)


def test_a_flat_that_waits_for_a_model_is_built_in_the_run_that_fits_it(observer: Observer) -> None:
    observer.add_darks(1.0, 8.0)
    done = observer.run(*BOTH)
    assert done.exit_code == 0, done.detail
    assert "5 masters built; 3 models fitted" in done.detail
    assert observer.dark_of_the_flat == "model"
    assert observer.flats(MasterRefused) == []
    assert observer.steps == [f"{step} {word}" for step in ("masters", "models", "masters", "models")
                              for word in ("started", "finished")]  # fmt: skip
    again = observer.run(*BOTH)
    assert again.detail == "nothing to do: all 5 masters are there"
    assert len(observer.steps) == 4


def test_a_model_that_changes_builds_its_flats_anew_in_the_same_run(observer: Observer) -> None:
    observer.add_darks(1.0, 8.0)
    observer.run(*BOTH)
    observer.add_darks(6.0)
    done = observer.run(*BOTH)
    assert done.exit_code == 0
    assert len(observer.flats(MasterBuilt)) == 1
    kept = [each for each in masters_of(observer.heard, observer.root.catalogue) if each["outcome"] == "kept"]
    paths = [each["path"] for each in kept]
    assert len(paths) == len(set(paths))
    assert observer.run(*BOTH).detail == "nothing to do: all 6 masters are there"


def test_a_flat_that_no_model_can_help_is_refused_once_and_the_reason_is_that_after_the_fit(observer: Observer) -> None:
    observer.add_darks(1.0)
    done = observer.run(*BOTH)
    assert (done.exit_code, "1 group incomplete or failed" in done.detail) == (1, True)
    (refused,) = observer.flats(MasterRefused)
    assert "it was measured at 0 to 1 s, not at 3 s" in refused.detail


def test_a_flat_with_a_dark_of_its_own_waits_for_no_model(observer: Observer) -> None:
    observer.add_darks(1.0, 3.0)
    observer.run(*BOTH)
    assert observer.dark_of_the_flat == "matched"
    assert len(observer.steps) == 4


@pytest.mark.parametrize("more", ["models: off\n", "models: {kinds: [bias]}\n"])
def test_where_no_model_of_the_dark_will_come_the_flat_is_refused_at_once(observer: Observer, more: str) -> None:
    observer.add_darks(1.0, 8.0)
    assert observer.run(*BOTH, more=more).exit_code == 1
    (refused,) = observer.flats(MasterRefused)
    assert "no model serves: there is no model of the dark with these settings" in refused.detail


def test_the_masters_step_alone_refuses_it_and_fails(observer: Observer) -> None:
    observer.add_darks(1.0, 8.0)
    assert observer.run(Step.MASTERS).exit_code == 1
    assert len(observer.flats(MasterRefused)) == 1
    assert observer.run(Step.MODELS).exit_code == 0
    assert observer.run(Step.MASTERS).exit_code == 0


def test_a_damaged_model_is_fitted_anew_and_the_flat_built_in_the_same_run(observer: Observer) -> None:
    observer.add_darks(1.0, 8.0)
    assert observer.run(Step.MODELS).exit_code == 0
    (row,) = observer.root.catalogue.models(kind="dark")
    path = observer.root.layout.absolute(row.path) / str(row.said["planes"]["file"])
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 16
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = observer.run(*BOTH)
    assert done.exit_code == 0, done.detail
    assert "1 model fitted" in done.detail
    assert observer.dark_of_the_flat == "model"
    (warning,) = [e.what for e in observer.heard if getattr(e.what, "code", "") == "model_damaged"]
    assert "(DATASUM)" in warning.detail
