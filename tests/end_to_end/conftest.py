"""Fixtures of the small night."""

from collections.abc import Callable
from pathlib import Path

import pytest
from astropy.io import fits

from tests.support.small_night import Night


@pytest.fixture
def night(tmp_path: Path) -> Night:
    """Return a new night in an empty folder."""
    root = tmp_path / "night"
    root.mkdir()
    made = Night(root=root, config=root / "config_calibration_frames.yaml")
    made.write()
    return made


@pytest.fixture
def whole_files() -> Callable[[Night], None]:
    """Return a check that no file of a night is broken, left over or counted twice."""

    def check(night: Night) -> None:
        assert not list(night.root.rglob("*.part"))
        seen: set[str] = set()
        for path in night.frames() + sorted((night.root / "master_frames").rglob("*.fits")):
            with fits.open(path, checksum=True) as units:  # a wrong checksum warns, and warnings are errors
                for unit in units:
                    assert unit.data is not None or unit.header["NAXIS"] == 0
        for path in night.frames():
            pixels = fits.getdata(path).tobytes()
            assert pixels not in seen
            seen.add(pixels)

    return check
