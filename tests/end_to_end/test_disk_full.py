"""The disk fills while masters, reports or the journal are written: exit code 5, nothing half done, on with room."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from services.catalogue.catalogue import Catalogue
from services.config import load
from services.config.models import LoadedConfig
from services.errors import StorageError
from services.events.bus import JournalFile
from services.files.disk import Disk
from services.files.layout import Layout
from services.planning.request import RunOptions, Step
from services.root import layout_of
from services.workflow.job import Job
from tests.support.failing_disks import FullDisk
from tests.support.small_night import SMALL

FRAMES = 4
ROOM = 10**9
TAKE = RunOptions(steps=(Step.FLATS, Step.DARKS))
BUILD = RunOptions(steps=(Step.MASTERS,))


class MeteredDisk(FullDisk):
    """A disk with room enough that notes after how many bytes each write was begun."""

    def __init__(self) -> None:
        super().__init__(ROOM)
        self.begun: list[int] = []

    def take(self, size: int) -> int:
        self.begun.append(ROOM - self.left_bytes)
        return super().take(size)


class Taken:
    """A night's frames without masters, to be copied."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        document = {name: dict(section) for name, section in SMALL.items()}
        document["dark_capture"] |= {"num_darks": FRAMES, "exposure_factors": [1.0]}
        document["flat_capture"] |= {"num_flats": FRAMES}
        document["camera"]["simulator"] = {"width": 80, "height": 60, "rate": 1000}
        document["storage"] = {"min_free_mb": 0}
        (root / "config.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
        assert Job(load(root / "config.yaml"), TAKE).run().exit_code == 0
        metered, copy = MeteredDisk(), self.copy(root.parent / "metered")
        assert Job(load(copy.root / "config.yaml"), BUILD, disk=metered).run().exit_code == 0
        self.begun = metered.begun
        self.total = ROOM - metered.left_bytes
        self.masters = len(list(copy.masters.glob("*.fits")))
        print(f"\n{len(self.begun)} writes of {self.total} bytes make {self.masters} masters and the report")

    def copy(self, to: Path) -> Layout:
        """Return a fresh copy."""
        shutil.copytree(self.root, to)
        return Layout(to)


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Taken:
    return Taken(tmp_path_factory.mktemp("taken") / "night")


def whole(layout: Layout) -> int:
    """Check that every master that has its name has its planes, sidecar and row; return how many there are."""
    assert not list(layout.root.rglob(".*.part"))
    paths = sorted(layout.masters.glob("*.fits"))
    assert sorted(layout.planes.glob("*.fits")) == [layout.planes_path(path) for path in paths]
    assert sorted(layout.masters.glob("*.json")) == [layout.sidecar_path(path) for path in paths]
    with Catalogue(layout.catalogue, read_only=True) as catalogue:
        assert sorted(row.path for row in catalogue.masters()) == [layout.relative(path) for path in paths]
    for path in (*layout.reports.glob("*.html"), *layout.reports.glob("*.json")):
        assert path.read_text(encoding="utf-8").rstrip().endswith(("</html>", "}"))
    return len(paths)


def ended(loaded: LoadedConfig, options: RunOptions, disk: Disk) -> tuple[str | None, int]:
    """Return code and exit code of a run, also of one that could not even write its journal's first line."""
    try:
        result = Job(loaded, options, disk=disk).run()
    except StorageError as error:
        return error.code, error.exit
    with Catalogue(layout_of(loaded).catalogue, read_only=True) as catalogue:
        row = next(row for row in catalogue.runs() if row.run_id == result.run_id)
    assert (row.code, row.exit_code) == (result.code, result.exit_code)
    return result.code, result.exit_code


def fill(taken: Taken, to: Path, room: int) -> int:
    """Build masters with so much room, then with enough; return how many were there after the first time."""
    layout, disk = taken.copy(to), FullDisk(room)
    loaded = load(layout.root / "config.yaml")
    assert ended(loaded, BUILD, disk) == ("disk_full", 5)
    built = whole(layout)
    disk.free(ROOM)
    again = Job(loaded, BUILD, disk=disk).run()
    assert again.exit_code == 0, again
    assert whole(layout) == taken.masters
    assert not list(layout.masters.glob("*_2.fits"))
    shutil.rmtree(to)
    return built


def test_masters_stop_on_a_full_disk_with_5_and_are_all_there_when_there_is_room(taken: Taken, tmp_path: Path) -> None:
    places = [taken.begun[round(i * (len(taken.begun) - 1) / 5)] for i in range(6)]
    built = [fill(taken, tmp_path / str(n), room) for n, room in enumerate((*places, taken.total - 1))]
    assert built == sorted(built)
    assert built[0] == 0
    assert built[-1] == taken.masters


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_masters_stop_on_a_disk_that_is_full_at_any_write(taken: Taken, tmp_path: Path) -> None:
    rooms = sorted({room + more for room in taken.begun for more in (0, 1) if room + more < taken.total})
    for n, room in enumerate(rooms):
        fill(taken, tmp_path / str(n), room)
    print(f"\nfull at {len(rooms)} places")


# --- the journal, while devices are at work ---------------------------------------------------------------------------


class FullJournal(Disk):
    """A disk whose journal is full after so many lines, and which has room for everything else."""

    def __init__(self, lines: int) -> None:
        self.lines = lines

    def append(self, path: Path) -> JournalFile:
        return _Counted(super().append(path), self)


class _Counted:
    def __init__(self, file: JournalFile, disk: FullJournal) -> None:
        self._file = file
        self._disk = disk

    def write(self, text: str) -> None:
        self._disk.lines -= 1
        if self._disk.lines < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._file.write(text)

    def close(self) -> None:
        self._file.close()


def stopped(root: Path, lines: int, make: Callable[[Path], Path]) -> None:
    """Take a night whose journal is full after so many lines, then take the rest."""
    config = make(root)
    layout = Layout(root)
    assert ended(load(config), RunOptions(), FullJournal(lines)) == ("disk_full", 5)
    frames = len(list(layout.darks.rglob("*.fits"))) + len(list(layout.flats.rglob("*.fits")))
    again = Job(load(config), RunOptions()).run()
    assert again.exit_code == 0, again
    journal = layout.events(again.run_id).read_text(encoding="utf-8")
    assert frames + journal.count('"name": "frame.stored"') == 6 * FRAMES
    whole(layout)


def test_a_journal_that_is_full_ends_a_run_with_5_at_any_moment(taken: Taken, tmp_path: Path) -> None:
    def make(root: Path) -> Path:
        root.mkdir()
        return Path(shutil.copy(taken.root / "config.yaml", root))

    for lines in (0, 40):
        stopped(tmp_path / str(lines), lines, make)
