"""Who asks what a run would do is answered by the files as they lie there, and nothing is written."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from calibration.frames import FrameKind
from services.catalogue.catalogue import CatalogueDamaged
from services.catalogue.rows import Flag, Origin
from services.files.layout import Layout
from services.indexing.foreign import index_folder
from services.indexing.foreseen import foreseen
from services.indexing.index import open_catalogue
from tests.support.made_root import Root


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return a root with six darks of ours."""
    root = Root(tmp_path)
    root.add(FrameKind.DARK, 2.0, 6)
    root.catalogue.close()
    return root.layout


def state(layout: Layout) -> dict[Path, bytes]:
    """Return all files but those that SQLite itself puts beside a database that is read."""
    files = (path for path in layout.root.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if not path.name.endswith(("-shm", "-wal"))}


def foreign(layout: Layout, name: str, **cards: object) -> None:
    path = layout.darks / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((8, 12), 500 + sum(path.name.encode()), np.uint16)
    fits.PrimaryHDU(pixels, fits.Header({"IMAGETYP": "Dark Frame", "EXPTIME": 30.0, **cards})).writeto(path)


def test_frames_of_another_program_are_counted_before_they_are_indexed(layout: Layout) -> None:
    for number in range(3):
        foreign(layout, f"other/d{number}.fits", NOTE=f"frame {number}")
    foreign(layout, "other/light.fits", IMAGETYP="Light Frame")
    (layout.darks / "other" / "broken.fits").write_bytes(b"SIMPLE  =")
    before = state(layout)
    with foreseen(layout, aliases={}) as catalogue:
        there = catalogue.frames(origin=Origin.FOREIGN)
        assert [row.exposure_us for row in there] == [30_000_000] * 3
        assert {row.set_id for row in there} == {there[0].set_id}
        assert len(catalogue.frames(origin=Origin.OWN)) == 6
    assert state(layout) == before


def test_frames_that_a_run_would_read_again_are_read_by_the_new_aliases(layout: Layout) -> None:
    """After the user had named a keyword, the dry run still showed the groups of before."""
    for number in range(4):
        foreign(layout, f"other/d{number}.fits", MYGAIN=number // 2)
    with open_catalogue(layout) as catalogue:
        index_folder(catalogue, layout.darks, layout=layout)
        catalogue.set_flag(Flag.BAD, paths=["darks/other/d0.fits"])
        before = catalogue.frames(origin=Origin.FOREIGN)
    assert {row.gain for row in before} == {None}
    files = state(layout)
    with foreseen(layout, aliases={"MYGAIN": "gain"}) as catalogue:
        there = catalogue.frames(origin=Origin.FOREIGN)
        assert [row.gain for row in there] == [0, 0, 1, 1]
        assert len({row.set_id for row in there}) == 2
        assert [row.path for row in there if row.flag is Flag.BAD] == ["darks/other/d0.fits"]
        assert [row.level_adu for row in there] == [row.level_adu for row in before]
    with foreseen(layout, aliases={"MYGAIN": "kind"}) as catalogue:
        assert catalogue.frames(origin=Origin.FOREIGN) == [], "their type would not be known"
    assert state(layout) == files


def test_what_is_gone_is_not_counted(layout: Layout) -> None:
    next(layout.darks.rglob("*.fits")).unlink()
    with foreseen(layout, aliases={}) as catalogue:
        assert len(catalogue.frames()) == 5
        assert [each.count for each in catalogue.sets()] == [5]


def test_without_a_catalogue_the_headers_say_what_is_there(layout: Layout) -> None:
    with foreseen(layout, aliases={}) as catalogue:
        known = [row.set_id for row in catalogue.frames()]
    for path in layout.catalogue.parent.glob("catalogue*"):
        path.unlink()
    before = state(layout)
    with foreseen(layout, aliases={}) as catalogue:
        assert [row.set_id for row in catalogue.frames()] == known
    assert state(layout) == before


def test_a_damaged_catalogue_is_named_and_can_be_done_without(layout: Layout) -> None:
    for path in layout.catalogue.parent.glob("catalogue*"):
        path.unlink()
    layout.catalogue.write_bytes(b"no database" * 1000)
    before = state(layout)
    with pytest.raises(CatalogueDamaged), foreseen(layout, aliases={}):
        pass
    with foreseen(layout, aliases={}, ignored=True) as catalogue:
        assert len(catalogue.frames(origin=Origin.OWN)) == 6
    assert state(layout) == before
