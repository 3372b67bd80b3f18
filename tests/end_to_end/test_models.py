"""The commands for models, as users of the earlier programs call them: every call of the table in docs/models.md."""

import re
import shlex
from pathlib import Path

import pytest

from services.cli.failures import run_app
from services.cli.main import app
from tests.support.bias_frames import write_biases
from tests.support.made_biases import made_biases
from tests.support.places import ROOT

PAGE = ROOT / "docs" / "models.md"
ROWS = re.findall(r"\| `(?:run_pipeline|generate_bias|bias_temp_analysis)\.py[^|]*\| (.+) \|", PAGE.read_text("utf-8"))
CALLS = [call for row in ROWS for call in re.findall(r"`nightcal ([^`]+)`", row)]


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_call_of_the_page_does_what_its_page_says(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = made_biases(1, temperatures=(0.0, 10.0), n=2, sessions=1)
    write_biases(in_folder / "B", made)
    write_biases(in_folder / "F", made)
    (in_folder / "F").rename(in_folder / "masks")
    (in_folder / "masks/night0/T0/bias_0000.fits").rename(in_folder / "F")
    assert len(CALLS) == 5
    for line in CALLS:
        code = run_app(app, shlex.split(line), name="nightcal")
        said = capsys.readouterr()
        assert (code, said.err) == (0, ""), (line, said)
    assert (in_folder / "DIR/synthetic_bias_5.0C.fits").is_file()
    assert (in_folder / "bias_temp_analysis/bias_stats.json").is_file()
    assert (in_folder / "bias_temp_analysis/mean_vs_temperature.png").is_file()


def test_a_call_that_cannot_be_meant_is_refused_with_what_to_do(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_folder / "empty").mkdir()
    refused = {
        "model bias fit nowhere OUT": "nowhere is not there",
        "model bias fit empty OUT": "holds no FITS files",
        "model bias synth empty --temperature 5 --out DIR": "is no bias model",
        "model bias report nowhere OUT": "is no bias model",
    }
    for line, words in refused.items():
        code = run_app(app, shlex.split(line), name="nightcal")
        said = capsys.readouterr()
        assert code == 2, (line, said)
        assert words in said.err, (line, said)


def test_each_part_of_the_earlier_programs_is_a_command_on_a_page_that_names_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, table = PAGE.read_text("utf-8").split("## From the parts of the earlier programs")
    commands = re.findall(r"\| `nightcal ([a-z ]+)`.* \| (?:\[[a-z]+\]\((\S+)\)|this page) \|", table)
    assert len(commands) == 9
    for command, page in commands:
        assert f"nightcal {command}" in (PAGE.parent / (page or PAGE.name)).read_text("utf-8").replace(table, "")
        assert run_app(app, [*command.split(), "--help"], name="nightcal") == 0
        assert capsys.readouterr().out
