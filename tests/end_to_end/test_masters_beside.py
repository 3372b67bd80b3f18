"""Masters appear while the night goes on; a kill in the middle of one costs nothing."""

import json
import subprocess
import sys

from astropy.io import fits

from tests.support.places import ROOT
from tests.support.small_night import FRAMES


def _journal(night):
    (path,) = (night.root / ".nightcal" / "events").glob("*.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_masters_are_there_before_the_night_is_over(night, whole_files):
    # A night of seconds is over before the kernels are compiled: they are compiled first, and the night is slower.
    subprocess.run([sys.executable, "-m", "services.cli.main", "warm-up"], cwd=ROOT, check=True, timeout=100)
    night.write({"camera": {"camera_type": "simulator", "simulator": {"width": 160, "height": 120, "rate": 200}}})
    done = night.run()
    assert done.returncode == 0, done.stdout
    events = _journal(night)
    names = [event["name"] for event in events]
    last_frame = len(names) - 1 - names[::-1].index("frame.stored")
    beside = [e for e in events[:last_frame] if e["name"] == "master.built"]
    assert {"BIAS", "FLAT", "DARK"} <= {e["kind"] for e in beside}
    assert "master.refused" not in names
    built = [e["path"] for e in events if e["name"] == "master.built"]
    assert len(built) == len(set(built)) == len(list((night.root / "master_frames").glob("*.fits")))
    assert f"{len(built)} masters built" in done.stdout
    assert {m["outcome"] for m in night.report()["masters"]} == {"built"}
    whole_files(night)
    assert night.run().returncode == 0
    assert len(list((night.root / "master_frames").glob("*.fits"))) == len(built)


def test_masters_step_alone_builds_the_same(night, tmp_path):
    assert night.run().returncode == 0
    masters = night.root / "master_frames"
    first = _masters(masters)
    masters.rename(tmp_path / "first")
    assert night.run("--step", "masters").returncode == 0
    assert _masters(masters) == first


def test_killed_while_a_master_is_built_beside(night, whole_files):
    run = subprocess.Popen(night.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in run.stdout:
        if "master_" in line:
            run.kill()
            break
    run.communicate(timeout=60)
    done = night.run()
    assert done.returncode == 0, done.stdout
    assert set(night.counts().values()) == {FRAMES}
    assert len(_masters(night.root / "master_frames")) == len(list((night.root / "master_frames").glob("*.fits")))
    whole_files(night)


def _masters(folder):
    """Return the pixels of each master by its recipe, and what its planes hold."""
    found = {}
    for path in sorted(folder.glob("*.fits")):
        header = fits.getheader(path)
        with fits.open(folder / "planes" / path.name) as units:
            planes = [unit.data.tobytes() for unit in units[:3]]
        found[header["RECIPE"], header["IMAGETYP"]] = (fits.getdata(path).tobytes(), planes)
    return found
