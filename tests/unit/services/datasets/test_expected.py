"""What users of the earlier programs expect of raw frames and their index, one test for each expectation, by number."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from calibration.frames import FrameKind
from services.datasets.attempts import Section, attempts_of
from services.datasets.conversion import Conversion
from services.datasets.frames import frames_of
from services.datasets.importing import Imported, import_raws
from services.datasets.index import Asked, discovered, index_of, write_index
from services.datasets.names import name_facts
from services.datasets.settings import format_of, parse_settings
from services.files.fits import read_cards, read_pixels
from tests.support.raw_tree import attempt, rewrite


def converted(root: Path) -> Imported:
    return import_raws([Section(root=root, kind=FrameKind.DARK)], Conversion())


def cards(root: Path, name: str) -> dict[str, object]:
    """Convert a section, and return the cards of one of its frames."""
    converted(root)
    (path,) = root.rglob(f"{name}.fits")
    return read_cards(path)


def test_1_settings_are_read_with_both_separators_and_comments_are_not() -> None:
    settings = parse_settings("HEIGHT=2\nWIDTH: 3\n# x\n\n")
    image = format_of(settings)
    assert (image.height, image.width, len(settings)) == (2, 3, 2)


def test_2_names_of_raw_files_state_number_exposure_and_temperature() -> None:
    first, second = name_facts("BiasT0_exp0.012sAt0f1"), name_facts("exp_1.2e-05s_frame0")
    assert (first.frame, first.exposure_s, first.temperature_c) == (1, 0.012, 0.0)
    assert (second.frame, second.exposure_s, second.temperature_c) == (0, 1.2e-5, None)


def test_3_the_exposure_of_the_log_goes_before_that_of_the_name(tmp_path: Path) -> None:
    attempt(tmp_path / "new/attempt1", name="exp0.2s_frame{n}.raw", exposure_s=0.1)
    attempt(tmp_path / "old/attempt1", name="exp0.2s_frame{n}.raw", old_log=True)
    assert cards(tmp_path / "new", "exp0.2s_frame1")["EXPTIME"] == 0.1
    assert cards(tmp_path / "old", "exp0.2s_frame1")["EXPTIME"] == 0.2


@pytest.mark.parametrize("column", ["CCDTemp", "CCD_Temp", "CCDTemperature", "ChipTemp"])
def test_4_the_temperature_is_found_under_each_of_its_names(tmp_path: Path, column: str) -> None:
    folder = attempt(tmp_path / "D/attempt1", celsius=25.0, old_log=True)
    rewrite(folder / "temperatureLog.csv", lambda text: text.replace("temperature", column))
    assert cards(tmp_path / "D", "exp_1s_frame0")["TEMP"] == 25.0


@pytest.mark.parametrize("name", ["radiationLog.csv", "radiationLogCompleto.csv"])
def test_5_logs_of_irradiations_are_read_in_the_same_way(tmp_path: Path, name: str) -> None:
    folder = attempt(tmp_path / "D/attempt1", celsius=25.0)
    (folder / "temperatureLog.csv").rename(folder / name)
    assert cards(tmp_path / "D", "exp_1s_frame1")["TEMP"] == 25.01


def test_6_a_file_that_is_too_short_is_marked_and_its_missing_pixels_are_no_zeros(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "D/attempt1")
    raw = folder / "frames/exp_1s_frame0.raw"
    raw.write_bytes(raw.read_bytes()[:-20])
    assert cards(tmp_path / "D", "exp_1s_frame0")["BADSIZE"] is True
    pixels = read_pixels(folder / "fits/exp_1s_frame0.fits")
    assert np.isnan(pixels).sum() == 10
    assert len(list((folder / "fits").iterdir())) == 3


def test_7_each_attempt_is_found_once(tmp_path: Path) -> None:
    for place in ("T0/attempt1", "20Frames/1s/attempt1", "T20"):
        attempt(tmp_path / "D" / place)
    found = attempts_of(Section(root=tmp_path / "D", kind=FrameKind.DARK)).attempts
    assert {each.folder.relative_to(tmp_path / "D").as_posix() for each in found} == {
        "T0/attempt1",
        "20Frames/1s/attempt1",
        "T20",
    }
    assert len(found) == 3
    assert len(converted(tmp_path / "D").files) == 9


def saved(path: Path, zeros: int = 0) -> None:
    """Save a frame of 400 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((20, 20), 100, np.uint16)
    pixels.flat[:zeros] = 0
    fits.writeto(path, pixels)


@pytest.mark.parametrize(
    ("word", "vacuum"),
    [
        *[(word, "air") for word in ("novac", "no_vac", "novacuum", "atm", "air")],
        *[(word, "vacuum") for word in ("vac", "vacuum")],
        ("elsewhere", ""),
    ],
)
def test_8_a_folder_says_what_surrounded_the_sensor(tmp_path: Path, word: str, vacuum: str) -> None:
    saved(tmp_path / "D" / word / "attempt1/fits/a.fits")
    (row,) = index_of([Section(root=tmp_path / "D", kind=FrameKind.DARK)], tmp_path / "index.csv").rows
    assert row["VACUUM"] == vacuum


def test_9_the_deepest_folder_says_the_stage(tmp_path: Path) -> None:
    base = tmp_path / "tests_duringradiation_novacuum"
    for stage in ("PreIrradiation", "PostIrradiation", "DuringIrradiation"):
        saved(base / stage / "Bias/attempt1/fits/a.fits")
    rows = index_of(discovered(base), tmp_path / "index.csv").rows
    stages = {Path(row["PATH"]).parts[1]: (row["STAGE"], row["CALTYPE"]) for row in rows}
    assert stages == {
        "PreIrradiation": ("pre", "BIAS"),
        "PostIrradiation": ("post", "BIAS"),
        "DuringIrradiation": ("radiating", "BIAS"),
    }
    assert {row["VACUUM"] for row in rows} == {"air"}  # the folder above them all


def test_10_more_than_one_zero_in_a_hundred_makes_a_frame_bad_and_changes_no_file(tmp_path: Path) -> None:
    for zeros in (4, 5):  # of 400: exactly 1 %, and more
        saved(tmp_path / f"D/attempt1/fits/{zeros}.fits", zeros)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*.fits")}
    rows = index_of([Section(root=tmp_path / "D", kind=FrameKind.DARK)], tmp_path / "index.csv").rows
    assert [row["BADFITS"] for row in rows] == ["False", "True"]
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*.fits")} == before


def test_11_a_frame_that_the_index_calls_bad_counts_for_nothing(tmp_path: Path) -> None:
    for zeros in (0, 5):
        saved(tmp_path / f"D/attempt1/fits/{zeros}.fits", zeros)
    index = tmp_path / "index.csv"
    write_index(index, index_of([Section(root=tmp_path / "D", kind=FrameKind.DARK)], index, Asked(stage="pre")))
    assert [(each.path.stem, bool(each.bad)) for each in frames_of(index).frames] == [("0", False), ("5", True)]


def test_a_section_that_is_skipped_moves_neither_the_table_nor_the_frames_of_the_others(tmp_path: Path) -> None:
    for section in ("S1", "S2", "S3"):
        attempt(tmp_path / section / "attempt1")
    whole = [Section(root=tmp_path / name) for name in ("S1", "S2", "S3")]
    alone = [replace(each, is_skipped=each.root.name != "S3") for each in whole]
    for out in (None, tmp_path / "out"):
        of_all = import_raws(whole, Conversion(out=out))
        of_one = import_raws(alone, Conversion(out=out))
        assert of_one.index == of_all.index == (out or tmp_path) / "fits_index.csv"
        assert [each.fits for each in of_one.files] == [each.fits for each in of_all.files[-3:]]
