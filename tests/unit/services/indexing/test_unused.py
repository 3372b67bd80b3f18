"""Every file below the folders is a frame, or is named with a reason of its kind."""

import bz2
import errno
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from services.catalogue.catalogue import Catalogue
from services.errors import RunCode
from services.files.layout import Layout
from services.indexing.foreign import index_folder
from services.indexing.index import open_catalogue
from services.indexing.problems import FileProblem, warnings_of
from services.indexing.walk import walk


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.darks.mkdir()
    return layout


@pytest.fixture
def catalogue(layout: Layout):
    with open_catalogue(layout) as opened:
        yield opened


def frame(path: Path, seed: int = 0, **cards: object) -> bytes:
    pixels = np.random.default_rng(seed).normal(500, 8, (16, 24)).round().astype(np.uint16)
    header = fits.Header([("IMAGETYP", "BIAS"), ("EXPTIME", 0.0), ("INSTRUME", "Cam"), *cards.items()])
    fits.writeto(path, pixels, header)
    return path.read_bytes()


def passed(layout: Layout) -> dict[str, RunCode]:
    return {problem.path.removeprefix("darks/"): problem.code for problem in walk((layout.darks,), layout).passed}


@pytest.mark.parametrize("ending", [".fits", ".fit", ".fts", ".FIT"])
@pytest.mark.parametrize(
    ("packed", "pack"), [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".fz", bytes)]
)
def test_frames_are_read_with_every_ending_and_packing(
    layout: Layout, catalogue: Catalogue, ending: str, packed: str, pack: object
) -> None:
    whole = frame(layout.root / "spare.fits")
    (layout.darks / f"x{ending}{packed}").write_bytes(pack(whole))  # type: ignore[operator]
    report = index_folder(catalogue, layout.darks, layout=layout)
    assert (report.indexed, report.problems) == (1, ())
    (row,) = catalogue.frames()
    assert row.level_adu == pytest.approx(500, abs=3)
    assert row.sigma_adu == pytest.approx(8, rel=0.2)


def test_tile_compressed_frames_are_read(layout: Layout, catalogue: Catalogue) -> None:
    pixels = np.random.default_rng(1).normal(500, 8, (16, 24)).round().astype(np.uint16)
    image = fits.CompImageHDU(pixels, fits.Header([("IMAGETYP", "BIAS"), ("EXPTIME", 0.0)]))
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(layout.darks / "x.fit.fz")
    assert index_folder(catalogue, layout.darks, layout=layout).indexed == 1
    assert catalogue.frames()[0].level_adu == pytest.approx(500, abs=3)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("a.xisf", RunCode.FORM_NOT_READ),
        ("a.CR2", RunCode.FORM_NOT_READ),
        ("a.nef", RunCode.FORM_NOT_READ),
        ("a.dng", RunCode.FORM_NOT_READ),
        ("a.tif", RunCode.FORM_NOT_READ),
        ("a.ser", RunCode.FORM_NOT_READ),
        ("a.fits.xz", RunCode.FORM_NOT_READ),
        ("a.fit.zip", RunCode.FORM_NOT_READ),
        ("a.fits.Z", RunCode.FORM_NOT_READ),
        ("notes.txt", RunCode.OTHER_FILE),
        ("README", RunCode.OTHER_FILE),
    ],
)
def test_files_that_are_not_read_are_named_by_their_form(layout: Layout, name: str, code: RunCode) -> None:
    (layout.darks / "night").mkdir()
    (layout.darks / "night" / name).write_bytes(b"x")
    assert passed(layout) == {f"night/{name}": code}


def test_hidden_files_and_those_of_the_system_are_nobodys_frames(layout: Layout) -> None:
    for name in (".hidden.fits", "._a.fits", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (layout.darks / name).write_bytes(b"x")
    assert passed(layout) == {}


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_links_to_folders_and_to_nothing_are_named_and_links_to_files_are_read(layout: Layout) -> None:
    elsewhere = layout.root / "elsewhere"
    elsewhere.mkdir()
    frame(elsewhere / "a.fits")
    (layout.darks / "folder").symlink_to(elsewhere, target_is_directory=True)
    (layout.darks / "gone.fits").symlink_to(elsewhere / "none.fits")
    (layout.darks / "here.fits").symlink_to(elsewhere / "a.fits")
    assert passed(layout) == dict.fromkeys(("folder", "gone.fits"), RunCode.LINK_NOT_FOLLOWED)
    assert list(walk((layout.darks,), layout).frames) == ["darks/here.fits"]


def test_a_folder_that_may_not_be_read_is_named(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    (layout.darks / "closed").mkdir()
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert passed(layout) == {"closed/": RunCode.READ_FAILED}
    monkeypatch.undo()
    assert walk((layout.root / "never made",), layout).passed == ()


def test_a_reason_is_said_without_the_path_and_once_for_all_files_of_its_kind(
    layout: Layout, catalogue: Catalogue
) -> None:
    for i in range(8):
        whole = frame(layout.darks / f"cut{i}.fits", seed=i)
        (layout.darks / f"cut{i}.fits").write_bytes(whole[: 3000 + 10 * i])
        frame(layout.darks / f"star{i}.fits", seed=i, OBJECT="M31")
        fits.setval(layout.darks / f"star{i}.fits", "IMAGETYP", value="Light Frame")
    found = list(warnings_of(index_folder(catalogue, layout.darks, layout=layout).problems))
    assert sorted((each.code, len(each.paths)) for each in found) == [("light_frame", 8), ("read_failed", 8)]
    (cut,) = [each for each in found if each.code == RunCode.READ_FAILED]
    assert cut.detail.startswith("8 files (darks/cut0.fits, darks/cut1.fits,")
    assert "and 2 others): truncated" in cut.detail
    assert cut.detail.count("cut0.fits") == 1


def test_reasons_of_different_kinds_stay_apart() -> None:
    reasons = [
        "truncated, 3 of 9 bytes",
        "truncated, 4 of 9 bytes",
        "EXPTIME = 'long': expected a number",
        "no FITS file",
    ]
    problems = [FileProblem(path=str(i), reason=reason) for i, reason in enumerate(reasons)]
    assert [each.paths for each in warnings_of(problems)] == [("0", "1"), ("2",), ("3",)]
