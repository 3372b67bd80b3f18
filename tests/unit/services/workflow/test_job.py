"""A run as a thing: its id, its snapshot, its ends, and waiting for it."""

import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import structlog

from services.config import LoadedConfig, load
from services.errors import ServiceError
from services.planning.request import RunOptions, Step
from services.workflow.job import Job
from services.workflow.snapshot import RunState
from tests.support.places import ROOT

MASTERS = RunOptions(steps=(Step.MASTERS,))


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedConfig:
    """Return the configuration of a root that holds nothing yet; no program has set up a log."""
    structlog.reset_defaults()
    path = tmp_path / "config_calibration_frames.yaml"
    path.write_text("darkness: none\n", encoding="utf-8")
    return load(path)


def test_a_run_has_its_id_before_it_starts_and_keeps_it(loaded: LoadedConfig) -> None:
    job = Job(loaded, MASTERS)
    assert re.fullmatch(r"\d{8}T\d{6}-[0-9a-f]{4}", job.run_id)
    assert (job.snapshot().run_id, job.snapshot().state) == (job.run_id, RunState.WAITING)
    assert job.wait(0) is None
    result = job.run()
    assert result.run_id == job.run_id
    assert (loaded.root / ".nightcal" / "events" / f"{job.run_id}.jsonl").exists()
    assert (job.snapshot().state, job.wait(0)) == (RunState.FINISHED, result)


def test_a_run_is_waited_for_from_another_thread(loaded: LoadedConfig) -> None:
    job = Job(loaded, MASTERS)
    thread = threading.Thread(target=job.run)
    thread.start()
    result = job.wait(30)
    thread.join()
    assert result is not None
    assert result.exit_code == 0


def test_a_run_that_cannot_begin_has_ended_all_the_same(tmp_path: Path, loaded: LoadedConfig) -> None:
    (tmp_path / "file").touch()
    job = Job(load(loaded.path, overrides={"storage.root": ("--root", "file/below")}), MASTERS)
    with pytest.raises(ServiceError):
        job.run()
    with pytest.raises(ServiceError):
        job.wait(0)
    assert (job.snapshot().state, job.snapshot().code) == (RunState.FINISHED, "config_invalid")
    with pytest.raises(RuntimeError, match="make another Job"):
        job.run()


def test_an_end_is_ordered_by_a_code_that_exists(loaded: LoadedConfig) -> None:
    job = Job(loaded, MASTERS)
    for end in (job.end_after_frame, job.end_now):
        with pytest.raises(ValueError, match="tired"):
            end("tired")
    assert job.stop.order is None


@pytest.mark.parametrize(
    ("end", "code"),
    [(lambda job: job.end_after_frame("paused"), "paused"), (lambda job: job.end_now("cancelled"), "cancelled")],
    ids=["after the frame", "now"],
)
def test_an_ordered_end_gives_the_run_its_code(tmp_path: Path, end, code: str) -> None:
    path = tmp_path / "config_calibration_frames.yaml"
    path.write_text(
        "camera: {camera_type: simulator, simulator: {width: 64, height: 64, rate: 1000}}\nstorage: {min_free_mb: 1}\n",
        encoding="utf-8",
    )
    job = Job(load(path), RunOptions(steps=(Step.DARKS,)))
    end(job)
    result = job.run()
    assert (result.exit_code, result.code) == (0, code)
    assert job.snapshot().code == code


def test_to_hurry_ends_nothing_by_itself(loaded: LoadedConfig) -> None:
    job = Job(loaded, MASTERS)
    job.hurry()
    assert job.stop.order is None
    assert job.run().code is None


def test_a_run_that_ends_is_said_to_end_before_it_says_so(loaded: LoadedConfig) -> None:
    seen = []
    job = Job(loaded, MASTERS, listeners=(lambda _event: seen.append(job.snapshot().state),))
    job.end_after_frame("yielded")
    job.run()
    assert seen[0] is RunState.ENDING


def test_the_log_file_is_the_runs_own_affair(loaded: LoadedConfig) -> None:
    job = Job(loaded, MASTERS)
    job.run()
    (path,) = (loaded.root / "logs").glob("*.log")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["event"] for line in lines if line.get("run_id") == job.run_id][-1] == "run.finished"
    assert not structlog.is_configured(), "a program may set it up as it likes afterwards"


def test_the_cache_of_compiled_loops_can_be_prepared_inside() -> None:
    program = "import sys, services.workflow.job, services.cli.doors; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)
