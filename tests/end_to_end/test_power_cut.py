"""A whole small night recorded step by step on its disk, and what a power cut after any of them would have left.

SQLite's own file lies outside the recording: it is taken as it was when the last event before the cut was written, and
as lost. Journals are never synced before their end: they are taken as they were written, cut in a line, and as lost.
"""

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from astropy.io import fits

from services.config import load
from services.events.bus import JournalFile
from services.files.fits import pixel_hash, read_pixels
from services.files.layout import Layout
from services.indexing.index import adopt, open_catalogue
from services.planning.request import RunOptions
from services.workflow.job import Job
from tests.support.failing_disks import RecordingDisk
from tests.support.small_night import SMALL, Night

FRAMES = 4
SAMPLES = 8
"""Prefixes of the default run; `long` takes all."""


class WatchedDisk(RecordingDisk):
    """A recording that also keeps what the catalogue was at each event."""

    def __init__(self, catalogue: Path) -> None:
        super().__init__()
        self._catalogue = catalogue
        self._reading = threading.Lock()
        self.catalogues: list[tuple[int, bytes]] = []

    def append(self, path: Path) -> JournalFile:
        """Open a journal whose lines are moments of the catalogue."""
        return _WatchedJournal(super().append(path), self)

    def look(self) -> None:
        """Keep the catalogue as it is now."""
        with self._reading, closing(sqlite3.connect(self._catalogue)) as base:
            self.catalogues.append((len(self.steps), base.serialize()))


class _WatchedJournal:
    def __init__(self, file: JournalFile, disk: WatchedDisk) -> None:
        self._file = file
        self._disk = disk

    def write(self, text: str) -> None:
        self._file.write(text)
        if any(f'"{name}"' in text for name in ("frame.stored", "frame.refused", "master.built", "run.finished")):
            self._disk.look()

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The night: where it was, what its disk did, and what every frame's pixels are."""

    layout: Layout
    config: str
    disk: WatchedDisk
    hashes: dict[str, str]
    durations: dict[str, float] = field(default_factory=dict)

    def told(self, steps: int) -> list[str]:
        """Return the paths of all frames that were reported stored within the first `steps` steps."""
        lines = [step.data for step in self.disk.steps[:steps] if step.action == "append"]
        events = [json.loads(line) for line in lines]
        return [event["path"] for event in events if event["name"] == "frame.stored"]

    def catalogue(self, steps: int) -> bytes | None:
        """Return the catalogue as it was at the last event before the cut."""
        return next((content for at, content in reversed(self.disk.catalogues) if at <= steps), None)

    def rebuild(self, root: Path, steps: int, *, names_kept: bool, catalogue: bool, journal: str) -> Layout:
        """Make the folder that a power cut after `steps` steps leaves."""
        files = self.disk.after_power_cut(steps, names_kept=names_kept)
        for path, content in files.items():
            there = root / path.relative_to(self.layout.root)
            if path.suffix != ".jsonl":
                there.parent.mkdir(parents=True, exist_ok=True)
                there.write_bytes(content)
        layout = Layout(root)
        layout.hidden.mkdir(parents=True, exist_ok=True)
        kept = self.catalogue(steps)
        if catalogue and kept is not None:
            layout.catalogue.write_bytes(kept)
        self._write_journal(layout, steps, journal)
        return layout

    def _write_journal(self, layout: Layout, steps: int, how: str) -> None:
        lines = [step for step in self.disk.steps[:steps] if step.action == "append"]
        if not lines or how == "lost":
            return
        content = b"".join(step.data for step in lines)
        path = layout.root / lines[0].path.relative_to(self.layout.root)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if how == "kept" else content[: -len(lines[-1].data) // 2] + bytes(700))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Take a night with all its masters on a disk that remembers."""
    root = tmp_path_factory.mktemp("recorded") / "night"
    root.mkdir()
    document = {name: dict(section) for name, section in SMALL.items()}
    document["dark_capture"] |= {"num_darks": FRAMES, "exposure_factors": [1.0]}
    document["flat_capture"] |= {"num_flats": FRAMES}
    document["camera"]["simulator"] = {"width": 80, "height": 60, "rate": 1000}
    text = yaml.safe_dump(document)
    config = root / "config_calibration_frames.yaml"
    config.write_text(text, encoding="utf-8")
    layout = Layout(root)
    disk = WatchedDisk(layout.catalogue)
    began = time.monotonic()
    result = Job(load(config), RunOptions(), disk=disk).run()
    assert result.exit_code == 0, result.detail
    frames = sorted(path for folder in (layout.darks, layout.flats) for path in folder.rglob("*.fits"))
    hashes = {layout.relative(path): pixel_hash(read_pixels(path)) for path in frames}
    print(
        f"\n{len(disk.steps)} steps, {len(hashes)} frames, "
        f"{len(list(layout.masters.glob('*.fits')))} masters in {time.monotonic() - began:.1f} s"
    )
    return Recorded(layout=layout, config=text, disk=disk, hashes=hashes)


def finals(files: dict[Path, bytes]) -> frozenset[tuple[Path, int]]:
    """Return the files with a final name."""
    return frozenset((path, hash(content)) for path, content in files.items() if not path.name.startswith("."))


def moments(recorded: Recorded, *, names_kept: bool) -> Iterator[int]:
    """Yield prefixes after which the files with final names differ from those one step before."""
    before = None
    for steps in range(len(recorded.disk.steps) + 1):
        now = finals(recorded.disk.after_power_cut(steps, names_kept=names_kept))
        if now != before:
            yield steps
        before = now


def states(recorded: Recorded, *, names_kept: bool) -> Iterator[int]:
    """Yield every prefix that leaves anything else than the one before: hidden files, catalogue, what was reported."""
    before = None
    for steps in range(len(recorded.disk.steps) + 1):
        files = recorded.disk.after_power_cut(steps, names_kept=names_kept)
        contents = {(path, hash(content)) for path, content in files.items() if path.suffix != ".jsonl"}
        now = (contents, recorded.catalogue(steps), recorded.told(steps))
        if now != before:
            yield steps
        before = now


def sampled(steps: list[int], count: int) -> list[int]:
    """Return `count` prefixes, first and last among them."""
    return [steps[round(i * (len(steps) - 1) / (count - 1))] for i in range(count)]


def examine(recorded: Recorded, layout: Layout, steps: int) -> int:
    """Check what is left: whole, known, nothing reported lost; return how many frames there are."""
    with open_catalogue(layout) as catalogue:
        report = adopt(catalogue, layout)
        assert report.problems == ()
        rows = {row.path: row for row in catalogue.frames()}
        masters = catalogue.masters()
    assert not list(layout.root.rglob(".*.part"))
    assert set(recorded.told(steps)) <= set(rows), "a frame that was reported stored is not known"
    for path, row in rows.items():
        assert pixel_hash(read_pixels(layout.absolute(path))) == row.pixel_sha256 == recorded.hashes[path]
    assert {row.path for row in masters} == {layout.relative(path) for path in layout.masters.glob("*.fits")}
    for master in masters:
        path = layout.absolute(master.path)
        assert pixel_hash(read_pixels(path)) == master.pixel_sha256
        assert layout.planes_path(path).is_file()
    for path in layout.root.rglob("*.fits"):
        with fits.open(path, checksum=True) as units:  # a wrong sum warns, and warnings are errors
            assert all(unit.data is not None or unit.header["NAXIS"] == 0 for unit in units)
    for path in (*layout.reports.glob("*.json"), *layout.masters.glob("*.json")):
        json.loads(path.read_text(encoding="utf-8"))
    for path in layout.reports.glob("*.html"):
        assert path.read_text(encoding="utf-8").endswith("</html>\n")
    return len(rows)


def check_all(recorded: Recorded, folder: Path, prefixes: list[int], *, names_kept: bool) -> None:
    for number, steps in enumerate(prefixes):
        for catalogue in (True, False):
            journal = ("kept", "cut", "lost")[number % 3]
            root = folder / f"{steps}-{catalogue}"
            layout = recorded.rebuild(root, steps, names_kept=names_kept, catalogue=catalogue, journal=journal)
            examine(recorded, layout, steps)
            shutil.rmtree(root)


def go_on(recorded: Recorded, folder: Path, steps: int, *, names_kept: bool, catalogue: bool) -> tuple[int, int]:
    """Run again in what is left; return how many frames there were and how many were taken."""
    root = folder / f"again-{steps}-{names_kept}-{catalogue}"
    layout = recorded.rebuild(root, steps, names_kept=names_kept, catalogue=catalogue, journal="cut")
    config = root / "config_calibration_frames.yaml"
    config.write_text(recorded.config, encoding="utf-8")
    night = Night(root=root, config=config)
    before = {path: path.read_bytes() for path in night.frames()}
    result = Job(load(config), RunOptions()).run()
    assert result.exit_code == 0, result.detail
    assert set(night.counts().values()) == {FRAMES}, night.counts()
    assert len(night.frames()) == len(recorded.hashes)
    assert {path: path.read_bytes() for path in before} == before
    journal = layout.events(result.run_id).read_text(encoding="utf-8")
    taken = journal.count('"name": "frame.stored"')
    assert taken == len(recorded.hashes) - len(before)
    assert len(list(layout.masters.glob("*.fits"))) == len(list(recorded.layout.masters.glob("*.fits")))
    return len(before), taken


@pytest.mark.parametrize("names_kept", [True, False])
def test_after_a_power_cut_what_was_reported_is_there_and_what_is_there_is_whole(
    recorded: Recorded, tmp_path: Path, names_kept: bool
) -> None:
    prefixes = sampled(list(range(len(recorded.disk.steps) + 1)), SAMPLES)
    check_all(recorded, tmp_path, prefixes, names_kept=names_kept)


def test_after_a_power_cut_a_new_run_takes_exactly_what_is_missing(recorded: Recorded, tmp_path: Path) -> None:
    total = len(recorded.disk.steps)
    for steps, catalogue in ((total // 7, True), (total // 3, False), (3 * total // 4, True)):
        go_on(recorded, tmp_path, steps, names_kept=catalogue, catalogue=catalogue)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("names_kept", [True, False])
def test_after_a_power_cut_at_every_step_everything_is_there_and_whole(
    recorded: Recorded, tmp_path: Path, names_kept: bool
) -> None:
    prefixes = list(states(recorded, names_kept=names_kept))
    print(f"\n{len(recorded.disk.steps)} steps, {len(prefixes)} different states")
    check_all(recorded, tmp_path, prefixes, names_kept=names_kept)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_after_a_power_cut_in_every_state_a_new_run_takes_exactly_what_is_missing(
    recorded: Recorded, tmp_path: Path
) -> None:
    seen = []
    for number, steps in enumerate(moments(recorded, names_kept=False)):
        seen.append(go_on(recorded, tmp_path, steps, names_kept=False, catalogue=bool(number % 2)))
    print(f"\n{len(seen)} states, from {seen[0]} to {seen[-1]} frames there and taken")
