"""The commands for flats, as users of the earlier program call them: every call of the table in docs/models-flat.md."""

import json
import re
import shlex
from pathlib import Path

import pytest

from services.cli.failures import run_app
from services.cli.main import app
from tests.support.flat_frames import write_flats
from tests.support.made_flats import CENTRE, K1, K2, vignetting
from tests.support.places import ROOT

PAGE = (ROOT / "docs" / "models-flat.md").read_text("utf-8")
ROWS = re.findall(r"\| `(?:flat_pipeline/)?run_pipeline\.py[^|]*\| (.+) \|", PAGE)
CALLS = [call for row in ROWS for call in re.findall(r"`nightcal ([^`]+)`", row)]


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_call_of_the_page_does_what_its_page_says(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_flats(in_folder / "B", conditions=((0.0, 2.0), (10.0, 2.0)), n=2)
    centre = {"centre_y": CENTRE[0], "centre_x": CENTRE[1]}
    said = {
        "D": [{"original_path": "B/darks/T0_E2/dark_0.fits", "temperature": 5, "exposure": 2}],
        "L": {"k1": K1, "k2": K2, **centre},
        "R": {"coefficients": [1, 0, K1], **centre},
        "E": {"map": vignetting().tolist()},
    }
    for name, value in said.items():
        (in_folder / name).write_text(json.dumps(value), encoding="utf-8")
    assert len(CALLS) == 12
    assert len(ROWS) == 10
    for line in CALLS:
        code = run_app(app, shlex.split(line), name="nightcal")
        said_of = capsys.readouterr()
        assert (code, said_of.err) == (0, ""), (line, said_of)
    assert (in_folder / "OUT/sky_median/master_flat_sky_median_normalized.fits").is_file()
    assert (in_folder / "OUT/flat_model_fits/flat_B_map.fits").is_file()
    assert {"report.html", "vignetting.png", "dust.png", "prnu.png"} <= {
        p.name for p in (in_folder / "report").iterdir()
    }
    assert "predicted from the others" in said_of.out


def test_a_call_that_cannot_be_meant_is_refused_with_what_to_do(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_folder / "empty").mkdir()
    refused = {
        "model flat fit nowhere OUT": "nowhere is not there",
        "model flat fit empty OUT": "holds no FITS files",
        "model flat fit empty empty --mode half": "--mode half is not known",
        "model flat fit empty empty --flat-type moon": "name sky, lab or satellite",
        "model flat fit empty empty --mode fit_model": "--mode normalize_only",
        "model flat fit empty nowhere --mode make_master": "nowhere",
        "model flat synth empty --temperature 5 --exposure 1 --out DIR": "is no flat model",
        "model flat evaluate empty": "holds no folder",
        "model flat report nowhere OUT": "is no flat model",
    }
    for line, words in refused.items():
        code = run_app(app, shlex.split(line), name="nightcal")
        said = capsys.readouterr()
        assert code == 2, (line, said)
        assert words in said.err, (line, said)


def test_an_extrapolation_is_named(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_flats(in_folder / "B", conditions=((10.0, 2.0),), n=2)
    assert run_app(app, shlex.split("model flat fit B OUT --no-save-plots"), name="nightcal") == 0
    capsys.readouterr()
    line = "model flat synth OUT --temperature 30 --exposure 2 --out DIR"
    assert run_app(app, shlex.split(line), name="nightcal") == 0
    assert "SIGMA is NaN" in capsys.readouterr().err
