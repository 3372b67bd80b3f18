"""The commands for datasets, as a laboratory calls them: every call of the table in docs/datasets.md."""

import csv
import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.support import started
from tests.support.places import ROOT
from tests.support.raw_tree import attempt

PAGE = ROOT / "docs" / "datasets.md"
CALLS = re.findall(r"\| `python [^`]+` \| `nightcal ([^`]+)` \|", PAGE.read_text(encoding="utf-8"))


def called(folder: Path, line: str) -> "tuple[int, str, str]":
    command = [sys.executable, "-m", "services.cli.main", *shlex.split(line)]
    done = started.run(command, cwd=folder)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for section, name in (
        ("S1", "BiasT0_exp1.2e-05sAt1f{n}.raw"),
        ("S2", "exp_1s_frame{n}.raw"),
        ("S3", "exp_2s_f{n}.raw"),
    ):
        attempt(tmp_path / section / "T0" / "attempt1", name=name)
    for section in ("B", "D", "F"):
        attempt(tmp_path / section / "attempt1")
    (tmp_path / "ROOT").mkdir()
    attempt(tmp_path / "ROOT" / "Darks" / "attempt1")
    for place in ("DATASET/TestSection1/T20", "DATASET/TestSection2/T20/1s", "CAMPAIGN/Preirradiation/Bias"):
        attempt(tmp_path / place / "attempt1")
    return tmp_path


def test_every_call_of_the_page_does_what_its_page_says(tree: Path) -> None:
    assert len(CALLS) == 11
    for folders in ("B D F", "ROOT", "S1 S2 S3"):
        code, said, wrong = called(tree, f"dataset import {folders}")
        assert (code, wrong) == (0, ""), (said, wrong)
    listed: list[str] = []
    for line in CALLS:
        code, said, wrong = called(tree, line)
        assert (code, wrong) == (0, ""), (line, said, wrong)
        table = tree / ("fits_index.csv" if "import" in line else "index.csv")
        with table.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        listed.append("".join(row["CALTYPE"][0] for row in rows))
    assert listed == ["BBBDDDFFF", "BBBDDD", "BBBDDDFFF", "FFF", "BBBDDDFFF", "BBBBBB", *["DDD"] * 5]
    assert [(row["CALTYPE"], row["STAGE"], row["VACUUM"]) for row in rows] == [("DARK", "pre", "air")] * 3
    assert (tree / "output_dir/masters/darks/master_dark_attempt1_T20.0_E1.0.fits").is_file()
    assert (tree / "output_dir/plots/dark_std_T20.0.png").is_file()
    assert (tree / "output_dir/comparisons/bias_T20.0.png").is_file()
    assert (tree / "CAMPAIGN/Preirradiation/index.csv").is_file()


def test_a_call_that_cannot_be_meant_is_refused_with_what_to_do(tree: Path) -> None:
    refused = {
        "dataset import nowhere": "nowhere is no folder",
        "dataset index i.csv": "no section is named",
        "dataset index i.csv --bias .": "--discover",
        "dataset index i.csv --dark S2 --stage before": "one of pre, radiating, post",
        "dataset index i.csv --root S1": "it has no catalogue",
        "dataset index i.csv --discover S1": "--bias, --dark and --flat",
        "dataset page nowhere p.html": "nowhere is not there",
        "dataset page S1 p.csv": "a file that ends with .html",
        "dataset page S1 p.html --stats S1/T0/attempt1/temperatureLog.csv": "no columns PATH and MEAN",
        "dataset process nowhere out": "nowhere is not there",
        "dataset process S1 S1/T0/attempt1/temperatureLog.csv": "is a file",
        "dataset run other S1 out": "one of standard, irradiation",
        "dataset run irradiation DATASET out": "does not have Preirradiation",
        "dataset import S1 --search-depth 0": "try a larger --search-depth than 0",
    }
    for line, words in refused.items():
        code, said, wrong = called(tree, line)
        assert code == 2, (line, said, wrong)
        assert words in wrong, (line, wrong)
        assert "Traceback" not in wrong
    assert not (tree / "i.csv").exists()
    assert not (tree / "p.html").exists()


def test_the_page_of_a_dataset_is_written_and_a_script_notices_what_cannot_be_used(tree: Path) -> None:
    code, said, wrong = called(tree, "dataset page S1 p.html")
    assert (code, wrong) == (1, "")
    assert "Raw files that are not converted: 3 files" in said
    assert called(tree, "dataset import S1 S2 S3")[0] == 0
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file() and path.suffix != ".html"}
    code, said, wrong = called(tree, "dataset page S1 p.html")
    assert (code, wrong) == (0, "")
    assert "All 3 frames can be used" in (tree / "p.html").read_text(encoding="utf-8")
    assert before == {path: path.read_bytes() for path in tree.rglob("*") if path.is_file() and path.suffix != ".html"}


def test_every_raw_file_of_unknown_size_is_named_and_counted(tree: Path) -> None:
    (tree / "S2/T0/attempt1/configFile.txt").unlink()
    code, said, wrong = called(tree, "dataset import S1 S2 S3")
    assert (code, wrong) == (1, "")
    for n in range(3):
        assert f"S2/T0/attempt1/frames/exp_1s_frame{n}.raw" in said
    assert "9 raw files: 6 converted, 3 left out: the size of their image is not known" in said
