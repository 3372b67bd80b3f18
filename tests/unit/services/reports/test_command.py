"""`nightcal report`: the newest run's report by default, another's by its id, a clear word when there is none."""

import json
from pathlib import Path

import pytest

from services.cli.failures import run_app
from services.cli.main import app
from services.events.records import RunProgress
from services.files.locks import RootLock
from tests.support.recorded_night import BIAS_SET, FLAT_SET, RUN, recorded_night

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
    json_path, html_path, said = capsys.readouterr().out.splitlines()
    assert (json_path, html_path) == (str(html.with_suffix(".json")), str(html))
    assert said == "cut off, its process is gone: 0 of 1 frame; bias: 0 of 1; the same command takes what is missing"
    assert "No end was recorded" in html.read_text(encoding="utf-8")
    assert report(RUN) == 0
    assert len(list((folder / "reports").iterdir())) == 4


def test_a_run_that_goes_on_shows_its_progress_and_a_killed_one_that_it_was_cut_off(folder, capsys):
    """In the middle of a night the report said in red that no end was recorded."""
    for run_id in (RUN, NEWER):
        with recorded_night(folder, run_id=run_id) as night:
            night.start()
            sets = [{**BIAS_SET, "wanted": 3, "have": 0}, {**FLAT_SET, "wanted": 7, "have": 0}]
            night.emit(RunProgress, done=0, wanted=10, sets=sets)
            night.begin(BIAS_SET, f"s{run_id}", wanted=3)
            night.take(BIAS_SET, f"s{run_id}", 1)
            night.take(BIAS_SET, f"s{run_id}", 2)
    with RootLock(folder, run_id=NEWER):
        assert report() == 0
        assert report(RUN) == 0
    *_, newest_json, newest_html, said, _, _, _ = capsys.readouterr().out.splitlines()
    assert said.startswith("still running: 2 of 10 frames; bias: 2 of 3; about ")
    page = Path(newest_html).read_text(encoding="utf-8")
    assert "Still running: 2 of 10 frames so far" in page
    assert "being taken" in page
    assert "to come" in page
    assert "cut off" not in page
    assert "not reached" not in page.lower()
    assert json.loads(Path(newest_json).read_text(encoding="utf-8"))["run"]["running"] is True
    older = (folder / "reports" / f"2026-01-01_{RUN}.html").read_text(encoding="utf-8")
    assert "the run was cut off" in older
    gone = "the run was cut off, its process is gone"
    assert report() == 0  # nobody holds the lock: it was killed
    assert "still running" not in capsys.readouterr().out
    assert gone in Path(newest_html).read_text(encoding="utf-8")


@pytest.mark.parametrize("holder", ["", RUN])
def test_a_killed_run_is_not_taken_for_the_command_that_holds_the_lock(folder, capsys, holder):
    """Beside `nightcal catalogue rebuild` the report of a killed night said that it was still running."""
    with recorded_night(folder, run_id=NEWER) as night:
        night.start()
        night.begin(BIAS_SET, "s1", wanted=3)
    with RootLock(folder, run_id=holder):
        assert report() == 0
    *_, newest_html, said = capsys.readouterr().out.splitlines()
    assert said.startswith("cut off, its process is gone: 0 of 3 frames")
    page = Path(newest_html).read_text(encoding="utf-8")
    assert "Still running" not in page
    assert "its process is gone" in page


def test_a_run_that_goes_on_is_recognised_beside_rejected_frames(folder, capsys):
    """The journal of marks was taken for the newest run."""
    with recorded_night(folder, run_id=NEWER) as night:
        night.start()
    night.layout.events("marks").write_text("", encoding="utf-8")
    with RootLock(folder, run_id=NEWER):
        assert report() == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("still running")


def test_no_run_and_an_unknown_one_are_said(folder, capsys):
    assert report() == 2
    assert "there is no run below" in capsys.readouterr().err
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
