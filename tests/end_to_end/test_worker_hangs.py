"""Workers that hang although nobody has ordered anything: they are noticed, killed, and their devices made safe."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from services.daemon.limits import Limits
from services.events.records import RunStarted
from services.planning.request import Step
from tests.support.small_daemon import SOON_S, SmallDaemon, small_daemon

LONG: dict[str, Any] = {
    "dark_capture": {
        "num_darks": 2,
        "science_exposure_time": 3600.0,
        "exposure_factors": [1.0],
        "max_exposure": 4000.0,
    },
    "camera": {"camera_type": "simulator", "simulator": {"width": 160, "height": 120, "rate": 100}},
}
"""Darks of 36 s of real time each."""
NEVER_ENDS = {"command": [sys.executable, "-S", "-c", "import time; time.sleep(1000)"], "timeout": 29.0}
"""A hook that ends by its time limit, later than the work of a run may stand still in these tests."""


def assert_secured(daemon: SmallDaemon, why: str) -> None:
    ended = daemon.heard.end()
    assert (ended.died, ended.code) == (True, "worker_died")
    assert why in ended.detail
    daemon.supervisor.secure(daemon.request, ended.run_id)
    assert daemon.heard.safe.get(timeout=SOON_S).left == ()
    daemon.assert_safe()
    assert [row.code for row in daemon.rows()] == ["worker_died"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGSTOP")
def test_a_worker_that_is_frozen_is_killed_and_its_devices_made_safe(tmp_path: Path) -> None:
    with small_daemon(tmp_path / "night", LONG, limits=lambda: Limits(look_s=0.5, silent_s=9.0)) as daemon:
        worker = daemon.begin(Step.DARKS)
        daemon.wait_for_set(3_600_000_000)
        os.kill(worker.pid, signal.SIGSTOP)
        assert_secured(daemon, "it gave no sign of life")


@pytest.mark.skipif(sys.platform != "linux", reason="no other system says how long a thread has worked")
def test_a_worker_whose_work_stands_still_is_killed_although_it_gives_signs_of_life(tmp_path: Path) -> None:
    hook = {"hooks": {"before_darks": NEVER_ENDS}}
    limits = Limits(look_s=0.5, still_s=9.0)
    with small_daemon(tmp_path / "night", hook, start=subprocess.Popen, limits=lambda: limits) as daemon:
        daemon.begin(Step.DARKS)
        daemon.heard.until(lambda event: isinstance(event.what, RunStarted))
        assert_secured(daemon, "its work did not move")


@pytest.mark.long
def test_long_exposures_cooling_and_masters_are_no_hang(tmp_path: Path) -> None:
    """Two exposures of 36 s of real time, a slow ramp before them, and the masters after them."""
    slow = {
        "cooling": {"target_temperature": -20.0, "ramp_rate": 0.5, "cooling_timeout": 7200.0, "warmup_at_end": True}
    }
    limits = Limits(look_s=0.5, silent_s=30.0, still_s=25.0)
    with small_daemon(tmp_path / "night", LONG, slow, start=subprocess.Popen, limits=lambda: limits) as daemon:
        daemon.begin(Step.DARKS, Step.MASTERS)
        ended = daemon.heard.ends.get(timeout=250)
        assert (ended.died, ended.exit_code, ended.code) == (False, 0, None), ended
        daemon.assert_safe()
