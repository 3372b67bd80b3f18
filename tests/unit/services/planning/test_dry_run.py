"""`--dry-run` says what is there, what would be taken and what it costs, for whatever steps are asked for."""

from pathlib import Path
from typing import Any

import pytest

from calibration.frames import FrameKind
from services.config import from_dict
from services.files.layout import Layout
from services.indexing.checksums import is_whole
from services.indexing.foreseen import foreseen
from services.planning.dry_run import dry_run
from services.planning.request import ALL_STEPS, RunOptions, Step
from services.root import Place
from tests.support.made_root import Root

N = 6
SECTIONS = {
    "dark_capture": {"num_darks": N, "science_exposure_time": 4.0, "exposure_factors": [1.0]},
    "flat_capture": {"num_flats": N, "filters": ["L", "R"]},
    "filter_wheel": {},
    "reuse": 1_000_000,
}


def planned(
    folder: Path, *steps: Step, wait_s: float = 300.0, fresh: bool = False, dark: Any = None, **more: Any
) -> list[str]:
    """Return the lines of a plan."""
    sections = {**SECTIONS, **more, "dark_capture": {**(dark or SECTIONS["dark_capture"]), "persistence_wait": wait_s}}
    loaded = from_dict(sections, folder / "config_calibration_frames.yaml")
    options = RunOptions(steps=steps or ALL_STEPS, fresh=fresh)
    layout = Layout(folder)
    with foreseen(layout, aliases={}) as catalogue:
        text = dry_run(loaded, Place(layout=layout, catalogue=catalogue), options, is_whole=is_whole)
    return text.splitlines()


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """Return a root with the flats of one filter, their darks, and half of the biases."""
    root = Root(tmp_path)
    root.add(FrameKind.BIAS, 0.001, N // 2)
    root.add(FrameKind.FLAT, 2.0, N, filter="L", panel_brightness=16)
    root.add(FrameKind.DARK, 2.0, N, panel_brightness=0)
    root.catalogue.close()
    return tmp_path


def row(lines: list[str], *words: str) -> str:
    """Return the one line that begins with these words, its cells one space apart."""
    (cells,) = [" ".join(line.split()) for line in lines if line.split()[: len(words)] == list(words)]
    return cells


def test_flats_that_are_there_show_their_exposure_and_others_that_it_is_searched(begun: Path):
    lines = planned(begun)
    assert row(lines, "flat", "2", "s", "L") == "flat 2 s L as is as is 6 6 0 flat, brightness 16"
    assert row(lines, "flat", "searched", "R") == "flat searched R as is as is 6 0 6 flat"
    assert row(lines, "dark", "2", "s") == "dark 2 s - as is as is 6 6 0 flat"
    assert row(lines, "bias") == "bias 0.001 s - as is as is 6 3 3 bias (continued)"
    assert any(line.startswith("15 frames to take (15 there), about ") for line in lines)


def test_the_masters_step_alone_tells_of_masters_and_not_of_frames_to_take(begun: Path):
    lines = planned(begun, Step.MASTERS)
    assert row(lines, "master") == "master exposure filter frames"
    assert row(lines, "flat", "2", "s", "L") == "flat 2 s L 6 to build"
    assert row(lines, "dark", "2", "s") == "dark 2 s - 6 to build"
    assert not any("to take" in line for line in lines)
    root = Root(begun)
    root.build(num_darks=N, num_flats=N)
    root.catalogue.close()
    lines = planned(begun, Step.MASTERS)
    assert row(lines, "dark", "2", "s").endswith(" there")
    assert any(line.startswith("No masters to build: all ") for line in lines)


def test_a_masters_step_before_any_frame_says_that_there_are_none(tmp_path: Path):
    assert planned(tmp_path, Step.MASTERS)[0] == f"No masters to build: there are no frames below {tmp_path}."
    root = Root(tmp_path)
    root.add(FrameKind.BIAS, 0.001, 1)
    root.catalogue.close()
    assert planned(tmp_path, Step.MASTERS)[0] == "No masters to build: there are not enough frames of any kind yet."


@pytest.mark.parametrize(
    ("science", "factors", "dropped"),
    [
        (4.0, [1.0, 30.0], ["30 × 4 s = 120 s"]),
        ([4.0, 50.0], [1.0, 2.0], ["2 × 50 s = 100 s"]),
        ([8.0, 4.0], [10.0, 0.0001], ["10 × 8 s = 80 s", "0.0001 × 8 s = 0.0008 s", "0.0001 × 4 s = 0.0004 s"]),
        (4.0, [0.5, 1.0, 2.0], []),
    ],
)
def test_factors_that_lead_outside_the_range_are_named_before_the_night(tmp_path: Path, science, factors, dropped):
    dark = {**SECTIONS["dark_capture"], "science_exposure_time": science, "exposure_factors": factors}
    for steps in (ALL_STEPS, (Step.DARKS,), (Step.FLATS,)):
        lines = planned(tmp_path, *steps, dark=dark)
        said = [line.removesuffix(" dropped.") for line in lines if line.endswith(" dropped.")]
        named = [each for line in said for each in line.partition("max_exposure: ")[2].split(", ")]
        assert sorted(named) == ([] if steps == (Step.FLATS,) else sorted(dropped))


def test_one_frame_and_one_master_are_no_plurals(tmp_path: Path):
    root = Root(tmp_path)
    root.add(FrameKind.BIAS, 0.001, 1)
    root.catalogue.close()
    dark = {"num_darks": 1, "science_exposure_time": 1.0, "exposure_factors": [1.0]}
    lines = planned(tmp_path, Step.DARKS, dark=dark)
    assert any(line.startswith("1 frame to take (1 there)") for line in lines)


def test_the_wait_between_flats_and_darks_is_part_of_the_minutes(tmp_path: Path):
    def minutes(*steps: Step, wait_s: float) -> int:
        (told,) = [line for line in planned(tmp_path, *steps, wait_s=wait_s) if "about" in line]
        return int(told.partition("about ")[2].split()[0])

    assert minutes(wait_s=3000) - minutes(wait_s=0) == 50
    assert minutes(Step.DARKS, wait_s=3000) == minutes(Step.DARKS, wait_s=0)


def test_a_flat_without_a_dark_may_get_one_of_a_model_that_the_run_fits(tmp_path: Path):
    root = Root(tmp_path)
    root.add(FrameKind.FLAT, 2.0, N, filter="L")
    root.catalogue.close()
    may = "a model that this run fits may give them one"
    by_model = {"master_frames": {"flat_dark": "model"}}
    for steps, more, is_said in (
        ((Step.MASTERS, Step.MODELS), by_model, True),
        ((Step.MASTERS,), by_model, False),
        ((Step.MASTERS, Step.MODELS), {**by_model, "models": "off"}, False),
        ((Step.MASTERS, Step.MODELS), {}, False),
    ):
        (line,) = (line for line in planned(tmp_path, *steps, **more) if line.startswith("No master flat L"))
        assert (may in line) == is_said


def test_the_models_step_alone_says_what_is_fitted(tmp_path: Path):
    assert planned(tmp_path, Step.MODELS)[0].startswith("Models are fitted where frames support them")
    assert planned(tmp_path, Step.MODELS, models="off")[0] == "Models are switched off (models: off)."
