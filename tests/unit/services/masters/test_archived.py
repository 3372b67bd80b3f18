"""Masters and packed frames: the same pixels as before, and nothing is unpacked for a master that is there."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from calibration.frames import FrameKind
from services.catalogue.rows import Origin
from services.events.records import WarningRaised
from services.library.archive import archive, due
from services.masters import Outcome
from tests.support.made_root import START, Root


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    made = Root(tmp_path)
    made.add(FrameKind.BIAS, 0.001, 12)
    made.add(FrameKind.DARK, 1.0, 12)
    made.add(FrameKind.FLAT, 1.0, 12, filter="R")
    yield made
    made.catalogue.close()


def planes(root: Root) -> dict[str, tuple[np.ndarray, ...]]:
    """Return all planes of the masters by name."""
    found = {}
    for master in sorted(root.layout.masters.glob("*.fits")):
        with fits.open(root.layout.planes_path(master)) as units:
            found[master.name] = (fits.getdata(master), *(unit.data for unit in units[:3]))
    return found


def pack(root: Root) -> int:
    packed = list(archive(root.catalogue, root.layout, due(root.catalogue, 0.0, START.replace(year=2030))))
    assert not [p.problem for p in packed if p.problem]
    return len(packed)


def test_masters_of_packed_frames_are_the_same(root: Root, tmp_path: Path) -> None:
    root.build()
    first = planes(root)
    assert pack(root) == 36
    root.layout.masters.rename(tmp_path / "first")
    root.catalogue.remove_masters([row.path for row in root.catalogue.masters()])
    assert {o.status for o in root.build()} == {Outcome.BUILT}
    again = planes(root)
    assert again.keys() == first.keys()
    for name, expected in first.items():
        for plane, other in zip(expected, again[name], strict=True):
            np.testing.assert_array_equal(plane, other)
    assert not list(root.layout.cache.iterdir())


def test_a_master_that_is_there_needs_no_packed_frame_to_be_read(root: Root) -> None:
    root.build()
    pack(root)
    for row in root.catalogue.frames():
        root.layout.absolute(row.path).write_bytes(b"no longer to be read")
    root.heard.clear()
    assert {o.status for o in root.build()} == {Outcome.KEPT}
    assert WarningRaised.name not in [event.name for event in root.heard]


@pytest.mark.parametrize("origin", list(Origin))
@pytest.mark.parametrize("egain", [None, 0.5])
def test_a_small_master_or_one_of_others_darks_that_is_there_needs_none_either(
    tmp_path: Path, origin: Origin, egain: float | None
) -> None:
    root = Root(tmp_path)
    root.add(FrameKind.DARK, 1.0, 6, egain_e_adu=egain)
    rows = root.catalogue.frames()
    root.catalogue.remove_frames([row.path for row in rows])
    root.catalogue.add_frames([replace(row, origin=origin) for row in rows])
    root.build(num_darks=6)
    for row in rows:
        root.layout.absolute(row.path).write_bytes(b"no longer to be read")
    assert [o.status for o in root.build(num_darks=6)] == [Outcome.KEPT]
    root.catalogue.close()


def test_other_settings_still_make_other_masters_of_packed_frames(root: Root) -> None:
    root.build()
    pack(root)
    assert {o.status for o in root.build(sigma=2.5)} == {Outcome.BUILT}
