"""A laboratory's whole tree, with both logs and each kind of damage: one row a file, and of each what is right."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from calibration.frames import FrameKind
from services.datasets.attempts import Section
from services.datasets.conversion import Conversion
from services.datasets.described import Converted, Outcome
from services.datasets.frame import DatasetFrame
from services.datasets.frames import frames_of
from services.datasets.importing import import_raws
from services.datasets.index import discovered, index_of, write_index
from services.files.fits import read_cards, read_pixels
from tests.support import laboratory
from tests.support.laboratory import FAULTS, FAULTS_IN, Raw, write_fault, write_tree
from tests.support.raw_tree import HEIGHT, WIDTH

KINDS = (FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT)
LOGS = pytest.mark.parametrize("old_log", [False, True], ids=["new log", "old log"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A tree after import and index: what was said of each raw file, its row in both tables, its frame."""

    files: dict[str, Converted]
    rows: dict[str, dict[str, str]]
    frames: dict[str, DatasetFrame]
    left_out: tuple[str, ...]

    def said(self, name: str) -> str:
        found = self.files[name]
        return " ".join((*found.notes, *found.of_attempt))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def raw_of(path: str) -> str:
    return path.replace("/fits/", "/frames/").replace(".fits", ".raw")


def read(root: Path) -> Read:
    """Import and index a tree; every raw file is reported once, and each frame stands once in both tables."""
    sections = [Section(root=root / f"TestSection{i + 1}", kind=kind) for i, kind in enumerate(KINDS)]
    sections = [each for each in sections if each.root.is_dir()]
    found = import_raws(sections, Conversion())
    paths = [each.raw.relative_to(root).as_posix() for each in found.files]
    assert len(set(paths)) == len(paths)
    assert set(paths) == {path.relative_to(root).as_posix() for path in root.rglob("*.raw")}
    assert found.index is not None
    rows: list[dict[str, str]] = table(found.index) if found.index.is_file() else []
    prefix = found.index.parent.relative_to(root).as_posix()
    listed = [raw_of(row["PATH"] if prefix == "." else f"{prefix}/{row['PATH']}") for row in rows]
    assert listed == [path for path, each in zip(paths, found.files, strict=True) if each.is_there]
    index = root / "index.csv"
    write_index(index, index_of(discovered(root), index))
    frames = frames_of(index)
    assert frames.left_out == ()
    return Read(
        files=dict(zip(paths, found.files, strict=True)),
        rows=dict(zip(listed, rows, strict=True)),
        frames={raw_of(each.path.relative_to(root).as_posix()): each for each in frames.frames},
        left_out=tuple(path for path, each in zip(paths, found.files, strict=True) if not each.is_there),
    )


def check_whole(found: Read, raw: Raw) -> None:
    """A raw file's row and frame say what is true of it."""
    row, frame = found.rows[raw.path], found.frames[raw.path]
    assert (row["CALTYPE"], float(row["EXPTIME"]), float(row["TEMP"]), row["FRAMENUM"]) == (
        raw.kind,
        raw.exposure_s,
        raw.celsius,
        str(raw.number),
    )
    header = frame.header
    assert (header.kind, header.exposure_s, header.ccd_temp_c, header.frame_no) == (
        FrameKind(raw.kind),
        raw.exposure_s,
        raw.celsius,
        raw.number,
    )
    assert (frame.bad, found.said(raw.path)) == ("", "")


@LOGS
def test_a_sound_tree_has_one_row_a_file_in_the_order_of_section_temperature_and_number(
    tmp_path: Path, *, old_log: bool
) -> None:
    raws = write_tree(tmp_path, old_log=old_log, frames=2)
    found = read(tmp_path)
    for raw in raws:
        check_whole(found, raw)
    assert list(found.rows) == [raw.path for raw in raws]
    assert found.left_out == ()


def short_file(found: Read, raws: list[Raw], folder: Path) -> None:
    check_bad_size(found, raws[0], "10 bytes too few")
    pixels = read_pixels(found.files[raws[0].path].fits)
    assert pixels.shape == (HEIGHT, WIDTH)
    assert np.isnan(pixels.reshape(-1)[-5:]).all()
    there = np.fromfile(laboratory.first(folder), "<u2", count=HEIGHT * WIDTH - 5)
    assert np.array_equal(pixels.reshape(-1)[:-5], there)


def long_file(found: Read, raws: list[Raw], _folder: Path) -> None:
    check_bad_size(found, raws[0], "10 bytes too many")
    assert read_pixels(found.files[raws[0].path].fits).shape == (HEIGHT, WIDTH)


def check_bad_size(found: Read, raw: Raw, words: str) -> None:
    assert found.rows[raw.path]["BADSIZE"] == "True"
    assert words in found.said(raw.path)
    assert found.frames[raw.path].bad == "its raw file has too few or too many bytes"


def zeros(found: Read, raws: list[Raw], _folder: Path) -> None:
    assert [found.frames[raw.path].zero_fraction for raw in raws] == [0.0125, 0.01, 0.0, 0.0]
    assert [bool(found.frames[raw.path].bad) for raw in raws] == [True, False, False, False]


def missing_log(found: Read, raws: list[Raw], _folder: Path) -> None:
    for raw in raws:
        assert float(found.rows[raw.path]["EXPTIME"]) == raw.exposure_s  # by its name
        assert found.rows[raw.path].get("TEMP", "") == ""
        assert found.frames[raw.path].header.ccd_temp_c is None
        assert found.said(raw.path) == "there is no log: its temperature is not known"


def inf_and_nan(found: Read, raws: list[Raw], folder: Path) -> None:
    is_old = "temperature" in laboratory.log(folder).read_text(encoding="utf-8")
    keyword = "TEMP" if is_old else "POWCONS"
    cards = [read_cards(found.files[raw.path].fits) for raw in raws]
    assert [each[keyword] for each in cards][:2] == ["INF", "NaN"]
    celsius = [found.frames[raw.path].header.ccd_temp_c for raw in raws]
    assert celsius == [None if is_old and n < 2 else raw.celsius for n, raw in enumerate(raws)]


def duplicate_row(found: Read, raws: list[Raw], _folder: Path) -> None:
    assert found.frames[raws[0].path].header.ccd_temp_c == raws[0].celsius
    assert "twice in the log, with equal rows" in found.said(raws[0].path)


def no_change(found: Read, raws: list[Raw], _folder: Path) -> None:
    for raw in raws:
        check_whole(found, raw)


def no_config(found: Read, raws: list[Raw], _folder: Path) -> None:
    assert found.left_out == tuple(raw.path for raw in raws)
    assert {found.files[raw.path].outcome for raw in raws} == {Outcome.NO_SIZE}
    assert all("size of its image is not known" in found.said(raw.path) for raw in raws)


def no_frame_number(found: Read, raws: list[Raw], _folder: Path) -> None:
    last = f"{FAULTS_IN}/no_frame_number/1s/attempt1/frames/exp_1s_last.raw"
    assert "its name has no frame number: its row of the log cannot be known" in found.said(last)
    assert float(found.rows[last]["EXPTIME"]) == 1.0
    assert found.rows[last]["TEMP"] == ""
    for raw in raws[1:]:
        check_whole(found, raw)


def eight_bit(found: Read, raws: list[Raw], _folder: Path) -> None:
    no_change(found, raws, _folder)
    assert {read_pixels(found.files[raw.path].fits).dtype for raw in raws} == {np.dtype(np.uint8)}


def other_size(found: Read, raws: list[Raw], _folder: Path) -> None:
    no_change(found, raws, _folder)
    assert {found.frames[raw.path].header.shape for raw in raws} == {(HEIGHT // 2, WIDTH)}


RIGHT: dict[str, Callable[[Read, list[Raw], Path], None]] = {
    each.__name__: each
    for each in (
        short_file, long_file, zeros, missing_log, inf_and_nan, duplicate_row, no_config, no_frame_number, eight_bit,
        other_size,
    )
} | dict.fromkeys(("decimal_comma", "bom", "other_column"), no_change)  # fmt: skip


@LOGS
@pytest.mark.parametrize("fault", FAULTS)
def test_each_kind_of_damage_ends_as_is_right(tmp_path: Path, fault: str, *, old_log: bool) -> None:
    raws = write_fault(tmp_path, fault, old_log=old_log)
    found = read(tmp_path)
    RIGHT[fault](found, raws, tmp_path / FAULTS_IN / fault / "1s/attempt1")


def test_damage_in_one_attempt_changes_no_other(tmp_path: Path) -> None:
    whole = write_tree(tmp_path, old_log=False, frames=2)
    for fault in FAULTS:
        write_fault(tmp_path, fault, old_log=False)
    found = read(tmp_path)
    for raw in whole:
        check_whole(found, raw)
    assert len(found.files) == len(whole) + 4 * len(FAULTS)
    assert len(found.rows) == len(found.files) - 4
