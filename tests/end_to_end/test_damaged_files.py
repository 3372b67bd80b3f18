"""What becomes of files that were cut, overwritten or copied between two runs: never used, told once, put right."""

import shutil

import pytest
from astropy.io import fits

from services.config import load
from services.planning.request import RunOptions, Step
from services.workflow.job import Job
from tests.support.small_night import Night

ONE_FLAT = {"flat_capture": {"num_flats": 6, "filters": ["L"]}}


class Heard:
    """Runs a night in this process and keeps what it warned of."""

    def __init__(self, night):
        self.night = night
        self.warnings = []

    def run(self, *steps):
        self.warnings.clear()
        options = RunOptions(steps=steps or tuple(Step))
        return Job(load(self.night.config), options, listeners=(self._hear,)).run()

    def _hear(self, event):
        if event.name == "warning.raised":
            self.warnings.append(event.what)

    def of(self, path):
        return [w.code for w in self.warnings if path.name in w.detail]

    def masters(self, kind):
        found = (fits.getheader(p) for p in (self.night.root / "master_frames").glob("master_*.fits"))
        return sorted(h["NCOMBINE"] for h in found if h["IMAGETYP"] == f"MASTER {kind}")


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    """Return the folder of a night with all its masters, to be copied."""
    root = tmp_path_factory.mktemp("taken") / "night"
    root.mkdir()
    night = Night(root=root, config=root / "config_calibration_frames.yaml")
    night.write(ONE_FLAT)
    assert Heard(night).run().exit_code == 0
    return root


@pytest.fixture
def heard(taken, tmp_path):
    root = tmp_path / "night"
    shutil.copytree(taken, root)
    return Heard(Night(root=root, config=root / "config_calibration_frames.yaml"))


@pytest.mark.parametrize("kept", [0, 20000])
def test_flat_that_was_cut_is_taken_again_instead_of_missing_in_its_master_for_ever(heard, kept):
    cut = heard.night.frames("flat_*")[0]
    cut.write_bytes(cut.read_bytes()[:kept])
    again = heard.run()
    assert (again.exit_code, heard.of(cut)) == (0, ["read_failed"])
    assert "1 frames taken" in again.detail or "1 frame taken" in again.detail
    assert set(heard.masters("FLAT")) == {6}


def test_copied_flat_is_combined_once_and_stands_in_for_no_other(heard):
    first, second = heard.night.frames("flat_*")[:2]
    second.write_bytes(first.read_bytes())
    again = heard.run()
    assert (again.exit_code, heard.of(second)) == (0, ["frame_copied"])
    assert set(heard.masters("FLAT")) == {6}
    inputs = {path: set() for path in heard.night.root.glob("master_frames/planes/master_flat_*.fits")}
    for path, digests in inputs.items():
        digests.update(fits.getdata(path, "INPUTS")["SHA256"])
    assert [len(digests) for digests in inputs.values()] == [6, 6]


def test_master_that_was_overwritten_is_told_and_built_again(heard):
    (bias,) = (heard.night.root / "master_frames").glob("master_bias_*.fits")
    bias.write_bytes(bias.read_bytes()[:-5760] + bytes(5760))
    assert heard.run().exit_code == 0
    assert heard.of(bias) == ["read_failed"]
    assert heard.masters("BIAS") == [6, 6]


def test_masters_step_alone_keeps_the_complete_master_when_a_frame_was_cut(heard):
    cut = heard.night.frames("bias_*")[0]
    cut.write_bytes(b"")
    assert heard.run(Step.MASTERS).exit_code == 0
    assert heard.of(cut) == ["read_failed"]
    assert heard.masters("BIAS") == [6]
