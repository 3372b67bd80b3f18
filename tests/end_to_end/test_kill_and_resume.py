"""Killed at random moments, a night goes on with exactly what is missing."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from astropy.io import fits

from tests.support import started
from tests.support.small_night import FRAMES, Night

KILLS = 10
SPAN_S = (0.8, 3.2)
"""Real seconds after which a run is killed: from before the first frame to the building of masters."""


@pytest.mark.timeout(300)
def test_kills_lose_nothing_and_count_nothing_twice(night, whole_files):
    dice = random.Random(20261120)
    night.write({"dark_capture": {"science_exposure_time": [1.0, 2.0, 3.0, 4.0]}})
    for _ in range(KILLS):
        run = started.start(night.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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


MANY_KILLS = 100
MOMENTS = {"start": (0.2, 2.0), "frames": (0.0, 3.0), "masters": (0.0, 0.8)}
"""What is waited for before a kill, and real seconds from there."""


class Killed:
    """Nights of one configuration that are killed again and again; a complete one is checked, and a new one begun."""

    def __init__(self, folder: Path, dice: random.Random, whole_files: Callable[[Night], None]) -> None:
        self.folder = folder
        self.dice = dice
        self.whole_files = whole_files
        self.complete = 0
        self.struck: Counter[str] = Counter()
        self.night = self.new_night()

    def new_night(self) -> Night:
        root = self.folder / f"night{self.complete}"
        root.mkdir()
        night = Night(root=root, config=root / "config_calibration_frames.yaml")
        night.write({"dark_capture": {"science_exposure_time": [1.0, 2.0, 3.0, 4.0]}})
        return night

    def journals(self) -> dict[Path, str]:
        """Return what all runs of the night have written."""
        paths = (self.night.root / ".nightcal" / "events").glob("*.jsonl")
        return {path: path.read_bytes().decode(errors="replace") for path in paths}

    def strike(self) -> None:
        """Run until a random moment."""
        moment = self.dice.choices(list(MOMENTS), weights=[1, 4, 3])[0]
        known = self.journals()
        run = started.start(self.night.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if moment != "start":
            self.wait_for("frame.stored" if moment == "frames" else "master.built", run, known)
        try:
            run.wait(timeout=self.dice.uniform(*MOMENTS[moment]))
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()
        if run.returncode == 0:
            self.finish()
        else:
            assert run.returncode == -signal.SIGKILL or sys.platform == "win32"
            self.struck[self.last_event(known)] += 1
            self.check()

    def wait_for(self, name: str, run: "subprocess.Popen[bytes]", known: dict[Path, str]) -> None:
        while run.poll() is None:
            if any(f'"{name}"' in text for path, text in self.journals().items() if path not in known):
                return
            time.sleep(0.02)

    def last_event(self, known: dict[Path, str]) -> str:
        """Return the name of the last event of the run that was killed."""
        new = "".join(text for path, text in self.journals().items() if path not in known)
        names = re.findall(r'"name": "([a-z._]+)"', new)
        return names[-1] if names else "before its first event"

    def check(self) -> None:
        """Everything that was reported stored is there, and what is there is whole."""
        for text in self.journals().values():
            for line in text.splitlines():
                event = json.loads(line)
                if event["name"] in ("frame.stored", "master.built"):
                    assert (self.night.root / event["path"]).is_file(), event
        for path in self.night.root.rglob("*.fits"):
            if not path.name.startswith("."):
                with fits.open(path, checksum=True) as units:  # a wrong sum warns, and warnings are errors
                    assert all(unit.data is not None or unit.header["NAXIS"] == 0 for unit in units)

    def finish(self) -> None:
        """Check a complete night; the next one is new."""
        counts = self.night.counts()
        assert set(counts.values()) == {FRAMES}, counts
        self.whole_files(self.night)
        stored = sum(text.count('"name": "frame.stored"') for text in self.journals().values())
        assert stored <= len(self.night.frames()), "more frames were taken than are there"
        again = self.night.run()
        assert "nothing to take" in again.stdout, again.stdout
        masters = [json.loads(path.read_text()) for path in (self.night.root / "master_frames").glob("*.json")]
        usable = Counter(json.dumps(m["key"]) for m in masters if m["status"] in ("certified", "built", "partial"))
        twice = [(m["path"], m["recipe"], m["status"]) for m in masters if usable[json.dumps(m["key"])] > 1]
        assert usable.total() > 0
        assert twice == []
        self.complete += 1
        self.night = self.new_night()


@pytest.mark.long
@pytest.mark.timeout(3 * 3600)
def test_a_hundred_kills_lose_nothing_and_count_nothing_twice(tmp_path, whole_files):
    killed = Killed(tmp_path, random.Random(20261121), whole_files)
    while killed.struck.total() < MANY_KILLS:
        killed.strike()
    last = killed.night.run()
    assert last.returncode == 0, last.stdout + last.stderr
    killed.finish()
    print(f"\n{killed.struck.total()} kills, {killed.complete} nights; the last event before a kill:")
    for name, count in killed.struck.most_common():
        print(f"{count:5} {name}")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send to another process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_run_with_130_and_the_next_continues(night, number):
    run = started.start(night.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
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
    assert f"{taken} frames taken; 1 set cut off; " in rest, "those of the set that was being taken count as well"
    report = night.report()
    assert report["run"]["code"] == "interrupted"
    done = night.run()
    assert done.returncode == 0, done.stdout
    assert set(night.counts().values()) == {FRAMES}


def test_two_runs_in_one_folder_are_refused(night):
    first = started.start(night.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
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


class Relay:
    """Runs of one night, each of which begins while the one before is about to be killed."""

    def __init__(self, night: Night) -> None:
        self.night = night

    def start(self) -> "subprocess.Popen[str]":
        return started.start(self.night.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def until_it_takes(self, run: "subprocess.Popen[str]") -> None:
        """Wait until a run has taken a frame, or has ended."""
        known = set(self.night.frames())
        while run.poll() is None and set(self.night.frames()) <= known:
            with suppress(subprocess.TimeoutExpired):
                run.wait(timeout=0.02)

    def hand_over(self, run: "subprocess.Popen[str]", after_s: float) -> "subprocess.Popen[str]":
        """Start another run, kill this one a moment later, and return the one that takes the rest."""
        following = self.start()
        with suppress(subprocess.TimeoutExpired):
            run.wait(timeout=after_s)
        run.kill()
        run.communicate()
        self.until_it_takes(following)
        if following.poll() != 3:
            return following
        assert f"pid {run.pid}" in following.communicate()[0]
        again = self.start()
        self.until_it_takes(again)
        return again


@pytest.mark.parametrize("times", [1, pytest.param(25, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
def test_a_run_that_begins_while_another_is_killed_takes_over_or_is_refused(night, whole_files, times):
    dice = random.Random(20261122)
    night.write({"dark_capture": {"science_exposure_time": [1.0, 2.0, 3.0, 4.0]}})
    relay = Relay(night)
    run = relay.start()
    relay.until_it_takes(run)
    for _ in range(times):  # before, while and after the other one asks for the lock
        run = relay.hand_over(run, dice.uniform(0.3, 1.8))
    told, _ = run.communicate(timeout=100)
    assert run.returncode == 0, told
    assert set(night.counts().values()) == {FRAMES}, night.counts()
    whole_files(night)
