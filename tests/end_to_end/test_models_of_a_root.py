"""Models that follow the masters of a night by themselves: by the command, and in the child of the daemon."""

from pathlib import Path

from services.daemon.messages import WorkKind, WorkRequest
from services.daemon.orders import Order, OrderName
from services.events.modelled import ModelFitted
from services.events.records import StepStarted
from services.planning.request import Step
from tests.support.small_daemon import SOON_S, small_daemon
from tests.support.small_night import FRAMES, Night

AUTO = {"models": "auto"}


def models_of(night: Night) -> list[Path]:
    return sorted(path.parent for path in (night.root / "models").glob("*/model.json"))


def test_a_whole_run_fits_what_its_frames_support_and_a_second_one_does_nothing(night: Night) -> None:
    night.write(AUTO, {"temperatures": [5.0, 8.0], "flat_capture": {"filters": ["L"]}})
    done = night.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 models fitted" in done.stdout
    model, dark, flat = models_of(night)
    assert dark.name.startswith("dark_")
    assert {path.name for path in flat.iterdir()} == {".measured.jsonl", "flat_model_fits", "model.json"}
    row, of_darks, of_flats = night.report()["models"]
    assert (of_flats["outcome"], of_flats["kind"], of_flats["temperatures"]) == ("fitted", "flat", 1)
    assert any("one temperature" in words for words in of_flats["words"]), of_flats["words"]
    assert (of_darks["outcome"], of_darks["kind"], of_darks["temperatures"]) == ("fitted", "dark", 2)
    assert (row["outcome"], row["kind"], row["n"], row["temperatures"]) == ("fitted", "bias", 2 * FRAMES, 2)
    assert any("two temperatures" in words for words in row["words"]), row["words"]
    assert model.name in (night.root / "reports" / f"{_newest_report(night)}.html").read_text(encoding="utf-8")
    files = {path: path.stat().st_mtime_ns for path in model.rglob("*")}
    again = night.run("--step", "models")
    assert again.returncode == 0, again.stdout
    assert "all 3 models are there" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in model.rglob("*")} == files


def _newest_report(night: Night) -> str:
    return max((night.root / "reports").glob("*.json"), key=lambda path: path.stat().st_mtime_ns).stem


def test_the_step_alone_works_before_any_master_and_says_what_is_lacking(night: Night) -> None:
    night.write(AUTO)
    nothing = night.run("--step", "models")
    assert nothing.returncode == 0
    assert "no model of the bias: there are no biases" in nothing.stdout
    assert night.run("--darks-only").returncode == 0
    alone = night.run("--step", "models")
    assert "2 models fitted" in alone.stdout
    assert "no model of the flat: there are no flats" in alone.stdout
    assert not (night.root / "master_frames").exists()
    night.write({"models": "off"})
    assert "models are switched off (models: off)" in night.run("--step", "models").stdout


def test_models_follow_the_masters_in_the_child_of_the_daemon(tmp_path: Path) -> None:
    with small_daemon(tmp_path / "night", AUTO) as daemon:
        daemon.begin(Step.DARKS)
        assert daemon.heard.end().exit_code == 0
        assert models_of(daemon.night) == []
        for fitted in (True, False):
            daemon.supervisor.begin(WorkRequest(kind=WorkKind.MASTERS, config_path=daemon.night.config))
            assert daemon.heard.end().exit_code == 0
            said = [event.what for event in daemon.heard.events if isinstance(event.what, ModelFitted)]
            assert [each.kept for each in said[-2:]] == 2 * [not fitted]
        assert len(models_of(daemon.night)) == 2
        assert list((daemon.night.root / "master_frames").glob("master_bias_*.fits"))


def test_an_order_is_answered_beside_a_fit_and_one_that_is_killed_is_done_by_the_next_run(tmp_path: Path) -> None:
    with small_daemon(tmp_path / "night", AUTO) as daemon:
        daemon.begin(Step.DARKS)
        assert daemon.heard.end().exit_code == 0
        request = WorkRequest(kind=WorkKind.MASTERS, config_path=daemon.night.config)
        worker = daemon.supervisor.begin(request)
        daemon.heard.until(lambda event: isinstance(event.what, StepStarted) and event.what.step == Step.MODELS)
        frame = daemon.night.frames("dark*")[0].relative_to(daemon.night.root).as_posix()
        order = Order(order=OrderName.REJECT, names=(frame,), reason="light", by="me")
        assert "suspect" in daemon.supervisor.of_masters(order, request, worker).result(SOON_S).detail
        worker.kill()
        daemon.heard.end()
        daemon.supervisor.begin(request)
        assert daemon.heard.end().exit_code == 0
        assert len(models_of(daemon.night)) == len(list((daemon.night.root / "models").iterdir())) == 2
        fitted = [event.what for event in daemon.heard.events if isinstance(event.what, ModelFitted)]
        assert fitted[-1].n is not None
        assert fitted[-1].n % FRAMES == FRAMES - 1, "the model of the dark is made without the frame that was rejected"
