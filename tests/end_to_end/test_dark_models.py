"""The commands for dark models, as users of the earlier programs call them: each call in docs/models-dark.md."""

import re
import shlex
from pathlib import Path

import pytest

from services.cli.failures import run_app
from services.cli.main import app
from tests.support.dark_frames import whole_site
from tests.support.places import ROOT

PAGE = (ROOT / "docs" / "models-dark.md").read_text("utf-8")
ROWS = re.findall(r"\| `[^|]*--mode (\w+)[^|]*\| (.+) \|", PAGE)
MODES = {
    "full", "synthetic_only", "evaluation_only", "evaluate_dark_current", "fit_2d_model", "evaluate_2d_model",
    "synthetic_2d", "synthetic_2d_single",
}  # fmt: skip


def test_every_call_of_the_page_does_what_its_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    whole_site(tmp_path / "B", temperatures=(10.0, 20.0), exposures=(10.0,), n=2)
    assert {mode for mode, _ in ROWS} == MODES
    for mode, row in ROWS:
        for line in re.findall(r"`nightcal ([^`]+)`", row):
            code = run_app(app, shlex.split(line), name="nightcal")
            said = capsys.readouterr()
            assert code == 0, (line, said)
            begin = "note: 4 darks less the bias take" if "--corrected-darks" in line else "note: 20.0 degC, "
            assert all(note.startswith(begin) for note in said.err.splitlines()), (mode, said.err)
    for name in (
        "OUT/dark_model/dark_model.fits",
        "OUT/bias_corrected_darks/exp_10p00/dark_corrected_0004.fits",
        "DIR/synthetic_darks/synthetic_dark_20.00.fits",
        "DIR/evaluation/exp_10p00/model_evaluation_masks_all.png",
        "DIR/evaluation/exp_10p00/dark_current_vs_temperature.png",
        "DIR/evaluation/evaluation_model_2d_summary.csv",
        "DIR/dark_model_2d/GAMMA_map_2D.fits",
        "DIR/synthetic_2d_exp_5.00/synthetic_2d_dark_t20.00_e5.00.fits",
        "DIR/synthetic_2d_dark_T20.00_E10.00.fits",
        "DIR/synthetic_dark_t20.00_e10.00.fits",
    ):
        assert (tmp_path / name).is_file(), name
