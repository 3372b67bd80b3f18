"""The daemon as a process: from an empty folder to a library that is complete, and what disturbs it on the way."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from services.catalogue.catalogue import Catalogue
from services.events.journal import read_journal
from services.events.serving import DevicesSecured, WorkerDied
from tests.support import started
from tests.support.served_daemon import ALWAYS, SOON_S, command, served
from tests.support.small_night import Night

SERVE: dict[str, Any] = {"serve": {"windows": [ALWAYS]}, "flat_capture": {"filters": ["Ha"]}}
SLOW: dict[str, Any] = {
    **SERVE,
    "flat_capture": {"num_flats": 1, "filters": ["Ha"]},
    "dark_capture": {"num_darks": 3, "science_exposure_time": 60.0, "exposure_factors": [1.0], "max_exposure": 600.0},
    "camera": {"camera_type": "simulator", "simulator": {"width": 160, "height": 120, "rate": 100}},
    "programmes": [{"name": "dark", "darks": {"exposures": [60]}}],
}
WHOLE = "all that is wanted is there"


@pytest.mark.timeout(300)
def test_a_library_is_completed_without_anybody_and_a_second_start_takes_nothing(night: Night) -> None:
    night.write(SERVE)
    with served(night) as daemon:
        daemon.until(WHOLE)
        state = daemon.state()
        assert (state["activity"]["reason"], state["plan"]["due"], state["plan"]["none"]) == ("nothing_due", [], 0)
        assert state["plan"]["fresh"] == 5  # the bias, the flat, its dark, and darks of 1 s and 2 s
        assert (state["last_run"]["exit_code"], state["last_run"]["code"]) == (0, None)
    frames = night.frames()
    assert len(frames) == 5 * 6
    assert len(list((night.root / "master_frames").glob("*.fits"))) == 6  # the biases are a dark of their time, too
    with served(night) as daemon:
        daemon.until(WHOLE)
        assert not any("starting" in line for line in daemon.said)
        assert_pictures(daemon.url, night)
    assert night.frames() == frames


def assert_pictures(url: str, night: Night) -> None:
    """Hold pictures of a frame and of masters, as they come over HTTP, against what they should be."""
    frame = next((night.root / "darks").rglob("*.fits")).relative_to(night.root).as_posix()
    one, two = sorted(path.name for path in (night.root / "master_frames").glob("master_dark*.fits"))[:2]
    views = [f"masters/{one}/tile/{view}/0/0/0" for view in ("mean", "sigma", "count", "mask")]
    views += [f"masters/{one}/tile/{view}/0/0/0?other={two}" for view in ("difference", "ratio")]
    for path in (f"frames/{frame}/preview", f"masters/{one}/preview?red=true", *views):
        answer = requests.get(f"{url}/api/{path}", timeout=100)
        assert answer.status_code == 200, (path, answer.text)
        assert 0 < len(answer.content) <= 100_000
        assert answer.headers["content-type"] == ("image/jpeg" if "preview" in path else "image/png")
    for path in (f"masters/{one}/tile/mean/0/90/0", "masters/x.fits/preview"):
        assert requests.get(f"{url}/api/{path}", timeout=100).status_code == 404


@pytest.mark.timeout(300)
def test_orders_are_obeyed_and_refused_and_what_was_begun_is_continued(night: Night) -> None:
    night.write(SLOW)
    with served(night) as daemon:
        daemon.until("running")
        status, said = daemon.order(order="run")
        assert (status, said["code"]) == (409, "busy")
        run_id = daemon.state()["run"]["run_id"]
        assert daemon.order(order="pause", run_id="another")[1]["code"] == "other_run"
        status, said = daemon.order(order="pause", run_id=run_id, by="Ann")
        assert (status, said["run_id"]) == (202, run_id)
        daemon.until("idle: paused by Ann")
        assert daemon.state()["mode"]["name"] == "held"
        assert daemon.order(order="resume")[0] == 200
        assert daemon.order(order="explode")[0] == 422
        daemon.until(WHOLE)
    assert len(night.frames("dark*")) == 3
    with Catalogue(night.root / ".nightcal" / "catalogue.sqlite", read_only=True) as catalogue:
        assert "paused" in {run.code for run in catalogue.runs()}


@pytest.mark.timeout(300)
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no signals of this kind")
def test_a_worker_that_is_killed_leaves_devices_safe_and_the_rest_is_taken_later(night: Night) -> None:
    night.write(SLOW)
    with served(night) as daemon:
        daemon.until("running")
        os.kill(_worker_of(daemon.process.pid), signal.SIGKILL)
        daemon.until("devices made safe")
        daemon.until("idle")
        last = daemon.state()["last_run"]
        assert last["code"] == "worker_died"
        daemon.until(WHOLE)  # a quarter of an hour later, by its clock
    told = [event.what for event in read_journal(night.root / ".nightcal" / "events" / "serve.jsonl")]
    assert [each.run for each in told if isinstance(each, WorkerDied)] == [last["run_id"]]
    assert next(each.left for each in told if isinstance(each, DevicesSecured)) == ()
    with Catalogue(night.root / ".nightcal" / "catalogue.sqlite", read_only=True) as catalogue:
        assert [run.code for run in catalogue.runs() if run.run_id == last["run_id"]] == ["worker_died"]
        assert all(run.finished_at is not None for run in catalogue.runs())


def test_what_could_not_be_kept_is_kept_as_soon_as_it_can_be(night: Night) -> None:
    night.write(SLOW, {"serve": {"windows": [{**ALWAYS, "takes": ["flats"]}]}})  # which nobody wants
    kept = night.root / ".nightcal" / "serve.json"
    with served(night) as daemon:
        daemon.until("idle")
        kept.unlink(missing_ok=True)
        kept.mkdir()  # no file can be written there
        assert daemon.order(order="pause", by="Ann")[0] == 200
        daemon.until("idle: paused")
        assert "state_file" in [each["code"] for each in daemon.state()["warnings"]]
        kept.rmdir()
        end_s = time.monotonic() + SOON_S
        while not kept.is_file() and time.monotonic() < end_s:
            time.sleep(0.05)
        assert "paused" in kept.read_text(encoding="utf-8")
        while daemon.state()["warnings"] and time.monotonic() < end_s:
            time.sleep(0.05)
        assert daemon.state()["warnings"] == []


@pytest.mark.timeout(200)
def test_a_second_daemon_is_refused_and_an_end_in_mid_run_is_in_order(night: Night) -> None:
    night.write(SLOW)
    with served(night) as daemon:
        daemon.until("running")
        second = started.run(command(night), cwd=night.root)
        assert second.returncode == 3
        assert str(daemon.process.pid) in second.stderr
        daemon.process.terminate()
        daemon.until("the daemon has ended")
        assert daemon.process.wait(30) == 0
    assert not list(night.root.rglob("*.part"))


def test_a_file_that_is_broken_while_it_serves_changes_nothing(night: Night) -> None:
    night.write({**SLOW, "serve": {"windows": []}, "darkness": "none"})
    with served(night) as daemon:
        daemon.until("by order only")
        night.config.write_text("serve: {", encoding="utf-8")
        assert "night" in daemon.until("cannot be used")
        assert daemon.order(order="reload")[1]["code"] == "config_invalid"
        night.write(SLOW)
        daemon.until("the configuration was read again")
        daemon.until("running")


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("", 2, "the file is empty"),
        ("serve: {listen: '0.0.0.0:0'}", 2, "token"),
        ("serve: {windows: [{name: w, cron: '0 0 30 2 *', hours: 1}]}", 2, "cron"),
        ("serve: {windows: [{name: w, sun: [8, -1]}]}", 2, "site"),
    ],
)
def test_what_cannot_be_served_is_said_before_anything_begins(tmp_path: Path, text: str, code: int, named: str) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(text, encoding="utf-8")
    done = started.run(command(Night(root=tmp_path, config=config))[:-2])
    assert (done.returncode, named in done.stderr) == (code, True), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]


def _worker_of(pid: int) -> int:
    """Return the worker among the children of a daemon."""
    children = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=True
    )
    return next(int(line.split()[0]) for line in children.stdout.splitlines() if "services.daemon.worker" in line)
