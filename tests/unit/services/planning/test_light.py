"""A dry run is light: whoever only asks what a run would do loads neither compilers nor FITS nor servers."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from calibration.frames import FrameKind
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import FrameRow
from services.files.layout import Layout
from tests.support.places import ROOT

AT = datetime(2026, 1, 1, 18, tzinfo=UTC)

DRY_RUN = """
import sys
from pathlib import Path
from services.config import from_dict
from services.planning.dry_run import dry_run
from services.planning.request import RunOptions
from services.catalogue.catalogue import Catalogue
from services.root import Place, layout_of

loaded = from_dict({SECTIONS}, Path("config.yaml").absolute())
layout = layout_of(loaded)
place = Place(layout=layout, catalogue=Catalogue(layout.catalogue, read_only=True))
text = dry_run(loaded, place, RunOptions(), is_whole=lambda row, path: False)
print(text)
heavy = ("numba llvmlite scipy astropy photutils matplotlib PIL alpaca requests starlette uvicorn").split()
print("loaded:", *(name for name in heavy if name in sys.modules))
"""


def frame(kind: FrameKind, number: int, exposure_us: int) -> FrameRow:
    """Return a catalogued frame of one set per kind."""
    name = f"{kind.lower()}_{number:03d}.fits"
    return FrameRow(
        path=name,
        pixel_sha256=name,
        size=1,
        mtime_ns=1,
        kind=kind,
        camera="cam",
        height=10,
        width=20,
        exposure_us=exposure_us,
        filter="L" if kind is FrameKind.FLAT else None,
        source="panel" if kind is FrameKind.FLAT else None,
        set_id=f"set-{kind.lower()}",
        frame_no=number,
        date_obs=AT + timedelta(seconds=number),
        level_adu=1000.0,
    )


@pytest.mark.parametrize(
    "sections",
    [
        {"reuse": 1_000_000, "flat_capture": {"filters": ["L"], "num_flats": 6}, "filter_wheel": {}},
        {"reuse": 1_000_000, "camera": {"camera_type": "simulator"}, "filter_wheel": {}},
    ],
    ids=["alpaca", "simulator"],
)
@pytest.mark.timeout(60)
def test_a_dry_run_loads_nothing_heavy(tmp_path: Path, sections: dict[str, object]) -> None:
    with Catalogue(Layout(tmp_path).catalogue) as catalogue:
        for kind, exposure_us in ((FrameKind.BIAS, 1000), (FrameKind.DARK, 2_000_000), (FrameKind.FLAT, 2_000_000)):
            catalogue.add_frames(frame(kind, number, exposure_us) for number in range(6))
    code = DRY_RUN.replace("{SECTIONS}", repr(sections))
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    *plan, loaded = done.stdout.splitlines()
    assert any("master" in line and "to build" in line for line in plan), plan
    assert loaded == "loaded:"
