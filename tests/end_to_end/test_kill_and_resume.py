"""Killed at random moments, a night goes on with exactly what is missing."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.end_to_end.conftest import FRAMES

KILLS = 10
SPAN_S = (0.8, 3.2)
"""Real seconds after which a run is killed: from before the first frame to the building of masters."""


@pytest.mark.timeout(300)
def test_kills_lose_nothing_and_count_nothing_twice(night, whole_files):
    dice = random.Random(20261120)
    night.write({"dark_capture": {"science_exposure_time": [1.0, 2.0, 3.0, 4.0]}})
    for _ in range(KILLS):
        run = subprocess.Popen(night.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            run.wait(timeout=dice.uniform(*SPAN_S))
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()
    last = night.run()
    assert last.returncode == 0, last.stdout + last.stderr
    counts = night.counts()
    assert set(counts.values()) == {FRAMES}, counts
    whole_files(night)
    again = night.run()
    assert "nothing to take" in again.stdout, again.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send to another process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_run_with_130_and_the_next_continues(night, number):
    run = subprocess.Popen(night.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    seen = ""
    for line in run.stdout:
        seen += line
        if "flat L:" in line:
            os.kill(run.pid, number)
            break
    rest, _ = run.communicate(timeout=60)
    assert run.returncode == 130, seen + rest
    assert "stopped" in rest
    taken = len(night.frames())
    assert taken > 0
    report = night.report()
    assert report["run"]["code"] == "interrupted"
    done = night.run()
    assert done.returncode == 0, done.stdout
    assert set(night.counts().values()) == {FRAMES}


def test_two_runs_in_one_folder_are_refused(night):
    first = subprocess.Popen(night.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    first.stdout.readline()
    lock = night.root / ".nightcal" / "lock"
    deadline = time.monotonic() + 30
    while not lock.exists() and time.monotonic() < deadline:
        first.stdout.readline()
    second = night.run()
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert second.returncode == 3
    assert str(first.pid) in second.stdout + second.stderr
