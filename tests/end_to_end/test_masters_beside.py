"""Masters appear while the night goes on; a kill in the middle of one costs nothing."""

import subprocess
import threading
from pathlib import Path

from astropy.io import fits

from services.events.records import Event
from services.files.disk import Disk, Stream
from tests.support import started
from tests.support.served_night import served_night
from tests.support.small_night import FRAMES


class PatientDisk(Disk):
    """A disk that takes no frame of the last set before a master of each kind is there: nobody wins a race."""

    LAST_SET = "exp_2.000s"

    def __init__(self) -> None:
        self.missing = {"BIAS", "DARK", "FLAT"}
        self.was_asked = False
        self._all_there = threading.Event()

    def hear(self, event: Event) -> None:
        if event.name == "master.built":
            self.missing.discard(event.what.kind)
            if not self.missing:
                self._all_there.set()

    def create(self, path: Path) -> Stream:
        if path.parent.name == self.LAST_SET:
            self.was_asked = True
            assert self._all_there.wait(90), f"no master of {self.missing} is built while frames are taken"
        return super().create(path)


def test_masters_are_there_before_the_night_is_over(night, whole_files):
    disk, folder = PatientDisk(), night.root / "master_frames"
    # waiting for masters is hours of this clock on a busy machine: neither age nor a warmer evening may count
    steady = {"cooling": {"target_temperature": 5.0}, "reuse": {"bias_hours": 1000, "dark_hours": 1000}}
    with served_night(night.root) as served:
        ended = served.run(hear=disk.hear, disk=disk, **steady)
        built = [e["path"] for e in ended.said("master.built")]
        assert ended.exit_code == 0
        assert disk.was_asked
        assert [e["path"] for e in ended.said("frame.stored")][-1].startswith(f"darks/{disk.LAST_SET}/")
        assert not ended.said("master.refused")
        assert len(built) == len(set(built)) == len(list(folder.glob("*.fits")))
        assert {m["outcome"] for m in ended.report["masters"]} == {"built"}
        whole_files(night)
        assert served.run(**steady).exit_code == 0
        assert len(list(folder.glob("*.fits"))) == len(built)


def test_masters_step_alone_builds_the_same(played_copy, tmp_path):
    masters = played_copy.root / "master_frames"
    first = _masters(masters)
    masters.rename(tmp_path / "first")
    again = played_copy.run("--step", "masters")
    assert again.returncode == 0
    assert f"{len(first)} masters built" in again.stdout
    assert _masters(masters) == first


def test_killed_while_a_master_is_built_beside(night, whole_files):
    run = started.start(night.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
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
