"""Fixtures of the small night."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from astropy.io import fits

from drivers.clock import Deadline
from tests.support.small_night import Night


@pytest.fixture
def night(tmp_path: Path) -> Night:
    """Return a new night in an empty folder."""
    root = tmp_path / "night"
    root.mkdir()
    made = Night(root=root, config=root / "config_calibration_frames.yaml")
    made.write()
    return made


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """Return a night that was taken from an empty folder to masters, for tests that only look at it."""
    root = tmp_path_factory.mktemp("played") / "night"
    root.mkdir()
    made = Night(root=root, config=root / "config_calibration_frames.yaml")
    made.write()
    done = made.run("--step", "all")
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture
def soon_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long in real seconds for what never comes: on the fast clock its time is over at once."""
    monkeypatch.setattr(Deadline, "LEAST_REAL_S", 0.3)


@pytest.fixture
def played_copy(played: Night, tmp_path: Path) -> Night:
    """Return a copy of the night that was played, in a folder of its own, for tests that go on with it."""
    root = tmp_path / "night"
    shutil.copytree(played.root, root)
    return Night(root=root, config=root / played.config.name)


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
