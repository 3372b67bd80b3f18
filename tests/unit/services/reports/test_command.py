"""`nightcal report`: the newest run's report by default, another's by its id, a clear word when there is none."""

from pathlib import Path

import pytest

from services.cli.failures import run_app
from services.cli.main import app
from tests.support.recorded_night import BIAS_SET, RUN, recorded_night

NEWER = "20260102T180000-0001"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config_calibration_frames.yaml").write_text("darkness: none\n", encoding="utf-8")
    return tmp_path


def report(*words: str) -> int:
    return run_app(app, ("report", *words), name="nightcal")


def test_the_newest_run_is_reported_again(folder, capsys):
    for run_id in (RUN, NEWER):
        with recorded_night(folder, run_id=run_id) as night:
            night.start()
            night.begin(BIAS_SET, "s1", wanted=1)
    assert report() == 0
    html = folder / "reports" / f"2026-01-01_{NEWER}.html"
    assert capsys.readouterr().out.splitlines() == [str(html.with_suffix(".json")), str(html)]
    assert "No end was recorded" in html.read_text(encoding="utf-8")
    assert report(RUN) == 0
    assert len(list((folder / "reports").iterdir())) == 4


def test_no_run_and_an_unknown_one_are_said(folder, capsys):
    assert report() == 2
    assert "there was no run below" in capsys.readouterr().err
    with recorded_night(folder) as night:
        night.start()
    assert report("nope") == 2
    assert RUN in capsys.readouterr().err


def test_a_lost_catalogue_does_not_hinder_a_report(folder):
    with recorded_night(folder) as night:
        night.start()
        night.begin(BIAS_SET, "s1", wanted=2)
        night.take(BIAS_SET, "s1", 1)
    for path in (folder / ".nightcal").glob("catalogue*"):
        path.unlink()
    assert report() == 0
    assert not list((folder / ".nightcal").glob("catalogue*")), "looking makes nothing"
