"""The frames of a dataset come out the same wherever they are listed: an index, a folder, a root with its catalogue."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from calibration.frames import FrameKind
from services.catalogue.rows import Flag, RefusalRow
from services.cli.dataset import index as index_command
from services.datasets.attempts import Section
from services.datasets.conversion import Conversion
from services.datasets.frame import DatasetFrames
from services.datasets.frames import frames_of
from services.datasets.importing import import_raws
from services.datasets.index import Asked, discovered, index_of, write_index
from services.errors import Usage
from tests.support.made_root import START, Root
from tests.support.raw_tree import attempt


def facts(found: DatasetFrames) -> list[tuple[object, ...]]:
    return [(each.path.name, each.header.kind, each.header.exposure_s, each.header.ccd_temp_c) for each in found.frames]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A dataset of two sections, converted and indexed."""
    attempt(tmp_path / "set/TestSection1/T0/attempt1", name="BiasT0_exp0.012sAt1f{n}.raw", celsius=0.0)
    attempt(tmp_path / "set/TestSection2/PreIrradiation/vac/1s/attempt2", celsius=20.0)
    base = tmp_path / "set"
    sections = discovered(base)
    import_raws(sections, Conversion())
    write_index(base / "index.csv", index_of(sections, base / "index.csv"))
    return base


def test_an_index_its_folder_and_its_files_give_the_same_frames(dataset: Path) -> None:
    by_index, by_folder = frames_of(dataset / "index.csv"), frames_of(dataset)
    assert by_index == by_folder
    (dataset / "index.csv").unlink()
    by_files = frames_of(dataset)
    assert by_files == by_index
    assert [each.attempt for each in by_files.frames] == [
        *["set/TestSection1/T0/attempt1"] * 3,
        *["set/TestSection2/PreIrradiation/vac/1s/attempt2"] * 3,
    ]
    assert [(each.stage, each.vacuum) for each in by_files.frames] == [("", "")] * 3 + [("pre", "vacuum")] * 3
    assert facts(by_files)[1] == ("BiasT0_exp0.012sAt1f1.fits", FrameKind.BIAS, 1.0, 0.01)
    assert facts(by_files)[4] == ("exp_1s_frame1.fits", FrameKind.DARK, 1.0, 20.01)
    assert {each.zero_fraction for each in by_files.frames} == {0.0}


def test_what_an_index_says_holds_and_files_that_are_gone_are_named(dataset: Path) -> None:
    index = dataset / "index.csv"
    lines = index.read_text(encoding="utf-8").splitlines()
    lines[1] = lines[1].replace("BIAS,,,", "FLAT,during,air,").replace("False", "True")
    lines[2] = lines[2].replace(",False", ",")
    lines[3] = lines[3].replace("f2.fits", "f9.fits")
    index.write_text("\ufeff" + "\n".join([*lines, lines[1], ""]) + "\n", encoding="utf-8")
    found = frames_of(index)
    first = found.frames[0]
    assert (first.header.kind, first.stage, first.vacuum) == (FrameKind.FLAT, "radiating", "air")
    assert first.bad == "it is marked as bad in the list of frames"
    assert len(found.frames) == 5  # the row that is there twice counts once
    assert [each.bad for each in found.frames[1:]] == [""] * 4
    ((path, why),) = found.left_out
    assert path.name == "BiasT0_exp0.012sAt1f9.fits"
    assert why


def test_a_table_as_spreadsheets_of_the_continent_write_it_is_read(dataset: Path) -> None:
    index = dataset / "index.csv"
    before = frames_of(index)
    text = index.read_text(encoding="utf-8").replace(".012s", "#").replace(".", ",").replace("#", ".012s")
    index.write_text(text.replace(",fits", ".fits").replace(",", ";"), encoding="utf-8")
    assert facts(frames_of(index)) == facts(before)


def test_hidden_folders_have_no_sections(tmp_path: Path) -> None:
    for folder in ("Darks", ".Trash-1000/files/Darks", ".old_darks"):
        (tmp_path / folder).mkdir(parents=True)
    assert [each.root for each in discovered(tmp_path)] == [tmp_path / "Darks"]


@pytest.mark.parametrize("name", ["dark_1.fits", "DARK.FIT", "dark.fits.fz", "dark.raw"])
def test_a_table_never_takes_the_place_of_a_frame(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"a frame")
    with pytest.raises(Usage, match="the name of a frame"):
        index_command(tmp_path / name, dark=[tmp_path])
    assert (tmp_path / name).read_bytes() == b"a frame"


def test_bad_frames_are_bad_in_a_folder_too(tmp_path: Path) -> None:
    folder = tmp_path / "T-10/0.5s"
    folder.mkdir(parents=True)
    pixels = np.full((10, 20), 7, np.uint16)
    for zeros in (2, 3):  # of 200
        pixels.flat[:zeros] = 0
        fits.writeto(folder / f"dark_{zeros}.fits", pixels)
    fits.writeto(folder / "dark_2.fits.gz", pixels)
    fits.writeto(folder / "master_dark.fits", pixels, fits.Header([("NCOMBINE", 5)]))
    (folder / "broken.fits").write_bytes(b"SIMPLE")
    fits.writeto(folder / "what.fits", pixels)
    found = frames_of(tmp_path)
    assert [(each.path.name, each.bad) for each in found.frames] == [
        ("dark_2.fits", ""),
        ("dark_3.fits", "1.50% of its pixels are 0, more than 1%"),
    ]
    assert {path.name for path, _ in found.left_out} == {"master_dark.fits", "broken.fits", "what.fits"}
    reasons = {path.name: why for path, why in found.left_out}
    assert reasons["master_dark.fits"] == "it is a master or a stack (NCOMBINE = 5)"
    assert str(tmp_path) not in " ".join(reasons.values())


@pytest.mark.parametrize("kind", ["nothing", "empty", "text", "fits", "table"])
def test_what_is_no_dataset_is_refused_with_what_to_do(tmp_path: Path, kind: str) -> None:
    base = tmp_path / "base"
    if kind == "empty":
        base.mkdir()
    elif kind == "text":
        base.write_bytes(b"\xff\xfe\x00PATH")
    elif kind == "fits":
        fits.writeto(base, np.zeros((3, 3)))
    elif kind == "table":
        base.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(Usage) as refused:
        frames_of(base)
    assert str(base) in refused.value.detail
    assert refused.value.advice


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    root = Root(tmp_path / "root")
    root.add(FrameKind.DARK, 2.0, 3, set_id="dark_a", ccd_temp_c=-10.2)
    root.add(FrameKind.BIAS, 0.0, 2, set_id="bias_a", ccd_temp_c=5.1)
    yield root
    root.catalogue.close()


def test_the_catalogue_of_a_root_is_its_index(root: Root) -> None:
    base = root.layout.root
    paths = sorted(base.rglob("*.fits"))
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}
    found = frames_of(base)  # while the catalogue is open for writing
    assert [(each.attempt, each.header.exposure_s, each.header.ccd_temp_c) for each in found.frames] == [
        *[("dark_a", 2.0, -10.2)] * 3,
        *[("bias_a", 0.0, 5.1)] * 2,
    ]
    assert [each.header.frame_no for each in found.frames] == [1, 2, 3, 1, 2]
    assert not any(each.bad for each in found.frames)
    assert found.left_out == ()
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(base.rglob("*.fits"))} == before


def test_rejected_and_refused_frames_of_a_root_are_bad(root: Root) -> None:
    rows = root.catalogue.frames()
    root.catalogue.set_flag(Flag.BAD, paths=(rows[0].path,), reason="a car drove by", at=START)
    root.catalogue.set_flag(Flag.BAD, paths=(rows[1].path,))
    kept = root.layout.refused / "2026-01-01" / "dark_20260101_200000_007.fits"
    kept.parent.mkdir(parents=True)
    root.layout.absolute(rows[2].path).rename(kept)
    root.catalogue.remove_frames((rows[2].path,))
    refused = RefusalRow(run_id="r", at=START, kind=FrameKind.DARK, codes=("too_bright", "jump"))
    root.catalogue.add_refusal(replace(refused, path=root.layout.relative(kept)))
    root.catalogue.add_refusal(replace(refused, path="refused/gone.fits"))
    found = frames_of(root.layout.root)
    assert [each.bad for each in found.frames] == [
        "it was rejected: a car drove by",
        "it was rejected",
        "it was refused: too_bright, jump",
        "",
        "",
    ]
    assert found.left_out == ()


def test_a_catalogue_that_is_out_of_date_loses_no_frame_and_doubles_none(root: Root) -> None:
    base, rows = root.layout.root, root.catalogue.frames()
    root.catalogue.remove_frames((rows[4].path,))  # as after a kill between the file and its row
    copied = base / "darks/copy.fits"
    copied.write_bytes(root.layout.absolute(rows[0].path).read_bytes())
    with fits.open(root.layout.absolute(rows[1].path), mode="update") as changed:
        changed[0].header["CCD-TEMP"] = 3.0
    root.layout.absolute(rows[2].path).unlink()
    found = frames_of(base)
    assert [(each.attempt, each.header.ccd_temp_c) for each in found.frames] == [
        ("dark_a", -10.2),
        ("dark_a", 3.0),
        ("bias_a", 5.1),
        ("bias_a", 5.1),
    ]
    assert dict(found.left_out) == {
        base / rows[2].path: "the catalogue lists it, but it is not there",
        copied: f"its pixels are those of {rows[0].path}",
    }


def test_frames_of_a_root_without_a_date_come_last(root: Root) -> None:
    base = root.layout.root
    fits.writeto(base / "darks/a.fits", np.full((4, 5), 7, np.uint16), fits.Header([("IMAGETYP", "Dark Frame")]))
    assert [each.path.name == "a.fits" for each in frames_of(base).frames] == [False] * 5 + [True]


def test_a_section_by_itself_is_a_dataset(dataset: Path) -> None:
    section = Section(root=dataset / "TestSection2", kind=None)
    assert facts(frames_of(section.root)) == facts(frames_of(dataset))[3:]


def test_a_folder_that_holds_roots_and_other_frames_gives_all_of_them_once(root: Root, tmp_path: Path) -> None:
    rejected = root.catalogue.frames()[0].path
    root.catalogue.set_flag(Flag.BAD, paths=(rejected,), reason="lit")
    (tmp_path / "flats").mkdir()
    fits.writeto(tmp_path / "flats/f1.fits", np.full((4, 5), 7, np.uint16), fits.Header([("TEMP", 3.5)]))
    found = frames_of(tmp_path)
    assert [each.header.kind.value for each in found.frames] == ["DARK"] * 3 + ["BIAS"] * 2 + ["FLAT"]
    assert [each.bad for each in found.frames] == ["it was rejected: lit", "", "", "", "", ""]
    assert [each.root.name for each in discovered(tmp_path)] == ["flats"]  # not the darks of the root, with its biases


def test_a_root_is_listed_in_an_index_and_comes_back_the_same(root: Root, tmp_path: Path) -> None:
    root.catalogue.set_flag(Flag.BAD, paths=(root.catalogue.frames()[0].path,), reason="lit")
    base, index = root.layout.root, tmp_path / "index.csv"
    listed = index_of((), index, Asked(stage="pre"), roots=(base,))
    assert [(row["CALTYPE"], row["TEMP"], row["BADFITS"], row["STAGE"]) for row in listed.rows] == [
        ("DARK", "-10.2", "True", "pre"),
        *[("DARK", "-10.2", "False", "pre")] * 2,
        *[("BIAS", "5.1", "False", "pre")] * 2,
    ]
    write_index(index, listed)
    again, before = frames_of(index), frames_of(base)
    assert facts(again) == facts(before)
    assert [each.attempt for each in again.frames] == [each.attempt for each in before.frames]
    assert [bool(each.bad) for each in again.frames] == [True, False, False, False, False]
    assert {each.zero_fraction for each in again.frames} == {None}  # nobody has counted


def test_files_that_are_not_looked_at_are_named(tmp_path: Path) -> None:
    for place in ("a/b", "a/b/c", "a/b/fits", "master_frames"):
        (tmp_path / "set/D" / place).mkdir(parents=True, exist_ok=True)
        fits.writeto(tmp_path / "set/D" / place / "dark_1.fits", np.full((4, 5), 7, np.uint16))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "set/D/linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    base = tmp_path / "set"
    found = frames_of(base, depth=3)
    assert [each.path.parent.name for each in found.frames] == ["b", "fits"]
    assert {(path.relative_to(base).as_posix(), why.partition(":")[0]) for path, why in found.left_out} == {
        ("D/a/b/c/dark_1.fits", "it lies in a deeper folder than is looked into"),
        ("D/linked", "it is a link to a folder, which is not followed"),
    }
    listed = index_of(
        discovered(base) or (Section(root=base / "D", kind=FrameKind.DARK),), base / "i.csv", Asked(depth=2)
    )
    assert (len(listed.rows), len(listed.left_out)) == (2, 2)


def test_an_index_whose_paths_begin_where_the_program_was_called_is_read(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = frames_of(dataset)
    lines = (dataset / "index.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "results").mkdir()
    index = tmp_path / "results/index.csv"
    lines = [lines[0], *(f"set/{line}".replace("/", "\\") for line in lines[1:])]  # as Windows writes them
    index.write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert [each.path for each in frames_of(index).frames] == [each.path for each in before.frames]
    monkeypatch.chdir(dataset)
    assert len(frames_of(index).left_out) == 6


def test_a_set_point_is_listed_but_is_no_temperature_that_was_measured(tmp_path: Path) -> None:
    (tmp_path / "D").mkdir()
    for name, cards in (("set", {"SET-TEMP": -10.0}), ("nothing", {}), ("both", {"SET-TEMP": -10.0, "CCD-TEMP": -9.8})):
        fits.writeto(tmp_path / f"D/dark_{name}.fits", np.full((4, 5), 7, np.uint16), fits.Header(cards))
    by_folder = frames_of(tmp_path)
    index = tmp_path / "index.csv"
    write_index(index, index_of((Section(root=tmp_path / "D", kind=FrameKind.DARK),), index))
    assert facts(frames_of(index)) == facts(by_folder)
    assert [line.split(",")[4] for line in index.read_text(encoding="utf-8").splitlines()[1:]] == ["-9.8", "", "-10"]
