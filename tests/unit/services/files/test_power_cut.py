"""Power cuts and kills: whatever the moment, what is there is whole, known, and not counted twice."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from calibration.frames import Frame, FrameHeader, FrameKind
from services.catalogue.rows import FrameRow, MasterRow
from services.files import fits
from services.files.disk import Disk
from services.files.layout import Layout, MasterName
from services.indexing.index import adopt, open_catalogue
from services.indexing.sidecar import write_sidecar
from tests.support.failing_disks import RecordingDisk
from tests.support.places import ROOT

AT = datetime(2026, 1, 1, 18, tzinfo=UTC)
SHAPE = (12, 17)


def header(number: int) -> FrameHeader:
    return FrameHeader(
        kind=FrameKind.DARK, shape=SHAPE, exposure_us=1_000_000, date_obs=AT + timedelta(seconds=number), set_id="s",
        run_id="r", frame_no=number, instrument="Camera",
    )  # fmt: skip


def a_night(layout: Layout, disk: Disk) -> None:
    """Two frames and the master of them, in the order in which a run writes them."""
    for number in (1, 2):
        pixels = np.full(SHAPE, number, np.uint16)
        path = layout.frame_path(header(number), wheel=False)
        stored = fits.write_frame(path, Frame(header=header(number), pixels=pixels), disk)
    path = layout.master_path(MasterName(kind=FrameKind.DARK, stamp=AT))
    row = FrameRow.of(header(1), path="x", pixel_sha256=stored.pixel_sha256, size=1, mtime_ns=1)
    master = MasterRow(path=layout.relative(path), key=row.key(), n=2, recipe="r", built_at=AT)
    with (
        fits.create_planes(layout.planes_path(path), [fits.Plane(name="SIGMA")], SHAPE, disk) as planes,
        fits.create_planes(path, [fits.Plane(name="MEAN")], SHAPE, disk) as mean,
    ):
        mean.write("MEAN", 0, np.ones(SHAPE))
        planes.seal()
        write_sidecar(layout, replace(master, pixel_sha256=mean.seal()), disk=disk)
        planes.commit()
        mean.commit()


def left_by(files: dict[Path, bytes], before: Path, after: Path) -> Layout:
    for path, contents in files.items():
        there = after / path.relative_to(before)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(contents)
    return Layout(after)


@pytest.mark.parametrize("names_kept", [True, False])
def test_after_a_power_cut_at_any_step_of_a_night_everything_there_is_whole(tmp_path: Path, names_kept: bool) -> None:
    disk, before = RecordingDisk(), tmp_path / "night"
    a_night(Layout(before), disk)
    frames_seen, masters_seen = set(), set()
    for steps in range(len(disk.steps) + 1):
        layout = left_by(disk.after_power_cut(steps, names_kept=names_kept), before, tmp_path / str(steps))
        with open_catalogue(layout) as catalogue:
            report = adopt(catalogue, layout)
            assert report.problems == (), disk.steps[:steps]
            for row in catalogue.frames():
                assert (fits.read_pixels(layout.absolute(row.path)) == row.frame_no).all()
            for master in catalogue.masters():
                assert (fits.read_pixels(layout.absolute(master.path)) == 1).all()
                fits.read_pixels(layout.planes_path(layout.absolute(master.path)))
            frames_seen.add(len(catalogue.frames()))
            masters_seen.add(len(catalogue.masters()))
        assert not list(layout.root.rglob(".*.part"))
    assert frames_seen == {0, 1, 2}
    assert masters_seen == {0, 1}


TAKE = """
import sys
import numpy as np
sys.path.insert(0, "tests/unit/services/files")
from pathlib import Path
from calibration.frames import Frame
from services.files import fits
from services.indexing.index import adopt, open_catalogue
from services.files.layout import Layout
from services.files.locks import RootLock
from services.catalogue.rows import FrameRow
from test_power_cut import SHAPE, header

layout = Layout(Path(sys.argv[1]))
with RootLock(layout.root), open_catalogue(layout) as catalogue:
    adopt(catalogue, layout)
    have = {row.frame_no for row in catalogue.frames()}
    assert len(have) == len(catalogue.frames())
    print("have", len(have), flush=True)
    for number in sorted(set(range(1, 201)) - have):
        pixels = np.random.default_rng(number).integers(0, 9, SHAPE, dtype=np.uint16)
        frame = Frame(header=header(number), pixels=pixels)
        stored = fits.write_frame(layout.frame_path(frame.header, wheel=False), frame)
        print("written", flush=True)
        catalogue.add_frame(
            FrameRow.of(
                frame.header, path=layout.relative(stored.path), pixel_sha256=stored.pixel_sha256, size=stored.size,
                mtime_ns=stored.mtime_ns,
            )
        )
print("complete", flush=True)
"""


def test_killed_again_and_again_a_series_ends_complete_with_no_frame_twice(tmp_path: Path) -> None:
    before = 0
    for lines in (1, 30, 47, None):
        with subprocess.Popen(
            [sys.executable, "-c", TAKE, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            have = int(child.stdout.readline().split()[1])
            assert have >= before, "what was stored is kept"
            seen = sum(1 for _, line in zip(range(lines or 1000), child.stdout, strict=False) if line == "written\n")
            before = have + seen
            if lines is not None:
                child.kill()
    assert child.returncode == 0
    layout = Layout(tmp_path)
    with open_catalogue(layout) as catalogue:
        rows = catalogue.frames()
    assert [row.frame_no for row in rows] == list(range(1, 201))
    assert len(list(layout.darks.rglob("*.fits"))) == 200
    for row in rows:
        assert fits.pixel_hash(fits.read_pixels(layout.absolute(row.path))) == row.pixel_sha256
