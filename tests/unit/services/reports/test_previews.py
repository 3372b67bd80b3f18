"""Pictures while a run goes on: of the newest frame, never more often than anybody can follow, and never an error."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from calibration.frames import FrameKind
from drivers.clock import ManualClock
from services.events.records import Event, FrameStored
from services.files.layout import Layout
from services.files.previews import previews_of
from services.reports.previews import Previews
from services.reports.tiles import LARGEST_BYTES, preview


def event(path: str) -> Event:
    what = FrameStored(path=path, set_id="s", kind=FrameKind.DARK, filter=None, exposure_us=1_000_000, level_adu=500.0)
    return Event(run_id="r", seq=1, at=datetime(2026, 1, 1, tzinfo=UTC), what=what)


def test_a_frame_has_a_picture_soon_and_the_ones_right_after_it_none(tmp_path: Path) -> None:
    layout, clock = Layout(tmp_path), ManualClock()
    for name in ("a.fits", "b.fits", "c.fits"):
        fits.PrimaryHDU(np.arange(1200, dtype=np.uint16).reshape(30, 40)).writeto(tmp_path / name)
    previews = Previews(layout, clock)
    for name, later_s in (("a.fits", 1.0), ("b.fits", 5.0), ("c.fits", 9.0), ("gone.fits", 0.0)):
        previews.hear(event(name))
        clock.advance(later_s)
    previews.close()
    kept = previews_of(layout)
    assert [bool(kept.read(name)) for name in ("a.fits", "b.fits", "c.fits", "gone.fits")] == [True, False, True, False]


@pytest.mark.parametrize("shape", [(360, 360), (2000, 2000), (40, 4000), (1, 1)])
def test_a_picture_is_small_even_of_noise(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = tmp_path / "noise.fits"
    fits.PrimaryHDU(np.random.default_rng(1).integers(0, 65535, shape).astype(np.uint16)).writeto(path)
    for red in (False, True):
        data = preview(path, red=red)
        assert data is not None
        assert len(data) <= LARGEST_BYTES
