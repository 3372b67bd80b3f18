"""The commands for structures and outgassing: every call of the table in docs/models-structure.md."""

import re
import shlex
from pathlib import Path

import pytest

from services.cli.failures import run_app
from services.cli.main import app
from tests.support.made_structures import Sensor, dust
from tests.support.places import ROOT
from tests.support.structure_frames import write_series

PAGE = ROOT / "docs" / "models-structure.md"
ROWS = re.findall(r"\| `(?:structure|outgasing_destruction)_analysis\.py[^|]*\| (.+) \|", PAGE.read_text("utf-8"))
CALLS = [call for row in ROWS for call in re.findall(r"`nightcal ([^`]+)`", row)]


def test_every_call_of_the_page_does_what_its_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_series(tmp_path / "B", Sensor(11), [{}, {"dust": dust(20, 30, 0.06, 3)}], temperatures=(-10.0, 0.0))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "B").rglob("*")}
    assert len(CALLS) == 8
    for line in CALLS:
        code = run_app(app, shlex.split(line), name="nightcal")
        said = capsys.readouterr()
        assert (code, said.err) == (0, ""), (line, said)
        if " fit " in line:
            assert re.search(r"dust \(disc\) +at row (19|20)\..*, new in 2026-03-11T", said.out)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "B").rglob("*")} == before
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert made >= {
        f"{folder}/{name}"
        for folder in ("OUT", "outgasing_analysis", "analysis_results")
        for name in ("analysis_flats.csv", "analysis_outliers.csv", "structures.fits", "structures.ecsv")
    }
    assert made >= {"analysis_results/suspicious_bias.log", "analysis_results/suspicious_darks.log"}
    assert made >= {
        f"PICTURES/{name}.png"
        for name in (
            "summary_plots/outliers_vs_time", "summary_plots/outliers_vs_temperature",
            "summary_plots/mean_std_vs_time", "summary_plots/mean_std_vs_temp",
            "sensor_plane_outliers/all_outliers_sensor_plane", "sensor_plane_outliers/outliers_T-10.0",
        )
    }  # fmt: skip
    assert sum(name.startswith("PICTURES/analysis_by_temperature/diffmap_2026-03-11T") for name in made) == 2
    assert sum(name.startswith("PICTURES/analysis_by_time_ignore_temp/diffmap_2026") for name in made) == 3
    assert len([name for name in made if re.match(r"analysis_results/flats_norm_reduced/.*_norm\.fits", name)]) == 4


def test_a_call_that_cannot_be_meant_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    refused = {
        "model structure fit nowhere OUT": "nowhere is not there",
        "model outgassing fit empty OUT": "holds no FITS files",
        "model structure report empty OUT": "is no analysis of structures",
        "model outgassing fit empty OUT --output-dir OTHER": "two folders for one analysis",
    }
    for line, words in refused.items():
        code = run_app(app, shlex.split(line), name="nightcal")
        said = capsys.readouterr()
        assert code == 2, (line, said)
        assert words in said.err, (line, said)
