"""`nightcal archive` on a night that was taken: says what it does, keeps what a run needs, and is idle by default."""

import sys

from tests.support import started
from tests.support.places import ROOT


def _archive(night, *options):
    command = [sys.executable, "-m", "services.cli.main", "archive", "--config", str(night.config), *options]
    return started.run(command, cwd=ROOT)


def test_a_packed_night_is_still_a_night_that_is_there(played_copy):
    frames = played_copy.frames()
    idle = _archive(played_copy)
    assert (idle.returncode, played_copy.frames()) == (0, frames)
    assert "forever" in idle.stdout
    played_copy.write({"storage": {"keep_raw": 0}})
    assert f"{len(frames)} frames to pack" in _archive(played_copy, "--dry-run").stdout
    done = _archive(played_copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(frames)} frames packed" in done.stdout
    assert played_copy.frames() == []
    masters = sorted((played_copy.root / "master_frames").rglob("*.fits"))
    again = played_copy.run()
    assert again.returncode == 0, again.stdout
    assert "nothing to take" in again.stdout
    assert sorted((played_copy.root / "master_frames").rglob("*.fits")) == masters
    assert "0 frames packed" in _archive(played_copy).stdout


def _certify(night, *names):
    command = [sys.executable, "-m", "services.cli.main", "certify", "--config", str(night.config), *names]
    return started.run(command, cwd=ROOT)


def test_only_certified_masters_free_their_frames_when_asked(night):
    certify = {"serve": {"certify": "by_hand"}}
    night.write({"storage": {"keep_raw": "until_certified"}, "flat_capture": {"filters": ["L"]}, **certify})
    assert night.run().returncode == 0
    assert _archive(night).stdout.startswith("0 frames packed")
    listed = _certify(night).stdout.splitlines()
    assert listed
    assert all(line.startswith("built ") for line in listed)
    done = _certify(night, "master_dark_2.000s_*")
    assert done.returncode == 0, done.stderr
    assert _archive(night).stdout.startswith("6 frames packed")
    unknown = _certify(night, "master_dark_7*")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "no master master_dark_7*" in unknown.stderr
