"""Any tree of raw files, whatever is wrong with it: each file once, in order, and a second import changes nothing."""

import io
import os
import re
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.cli.dataset import import_frames
from services.datasets.attempts import Section
from services.datasets.conversion import Conversion
from services.datasets.described import Converted, Outcome
from services.datasets.importing import Imported, import_raws
from services.datasets.index import with_the_rest
from services.datasets.names import folder_temperature_c, name_facts
from services.errors import Exit
from tests.support.raw_tree import COLUMNS, HEIGHT, WIDTH

BYTES = 2 * HEIGHT * WIDTH
STATES = ("whole", "short", "long", "empty", "copy", "loose", "deep", "taken", *(() if os.name == "nt" else ("gone",)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """A raw file: its number in its name (None: it has none), and what is wrong with it."""

    number: int | None
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder with raw files, and what lies beside them."""

    section: str
    temperature: str
    name: str
    has_settings: bool
    has_log: bool
    raws: tuple[Raw, ...]

    @property
    def place(self) -> Path:
        return Path(self.section, self.temperature, self.name)


RAWS = st.builds(Raw, number=st.none() | st.integers(0, 12), state=st.sampled_from(STATES))
FOLDERS = st.builds(
    Folder,
    section=st.sampled_from(["TestSection1", "TestSection2", "flats", "Lab"]),
    temperature=st.sampled_from(["", "T-10", "T5", "T20"]),
    name=st.sampled_from(["attempt1", "attempt10", "attempt2", "Set1"]),
    has_settings=st.booleans(),
    has_log=st.booleans(),
    raws=st.lists(RAWS, max_size=5).map(tuple),
)


def written(root: Path, folder: Folder) -> None:
    place = root / folder.place
    (place / "frames/deeper").mkdir(parents=True)
    if folder.has_settings:
        (place / "config.txt").write_text(f"HEIGHT={HEIGHT}\nWIDTH={WIDTH}\n", encoding="utf-8")
    if folder.has_log:
        rows = [COLUMNS, *(f"{n},{n},20,1e6,1e6,100,20,20,0,2" for n in range(9))]
        (place / "radiationLog.csv").write_text("\n".join(rows), encoding="utf-8")
    for at, raw in enumerate(folder.raws):
        stem = f"exp_{at}s_last" if raw.number is None else f"exp_{at}s_f{raw.number}"
        within = {"loose": place, "deep": place / "frames/deeper"}.get(raw.state, place / "frames")
        path = within / f"{stem}.raw"
        if raw.state == "gone":
            path.symlink_to("nowhere.raw")
            continue
        size = {"short": BYTES - 3, "long": BYTES + 2, "empty": 0}.get(raw.state, BYTES)
        path.write_bytes(bytes(size) if raw.state == "copy" else os.urandom(size))
        if raw.state == "taken":
            (place / "fits").mkdir(exist_ok=True)
            (place / f"fits/{stem}.fits").write_bytes(b"somebody's")


def in_order(files: tuple[Converted, ...], sections: tuple[Section, ...]) -> bool:
    """Whether files are in the order of section, temperature, attempt and frame number; unknown ones are the last."""

    def place(each: Converted) -> tuple[int, bool, float]:
        celsius = folder_temperature_c(each.attempt.within)
        return [section.root for section in sections].index(each.attempt.section.root), celsius is None, celsius or 0

    def number(each: Converted) -> tuple[bool, int]:
        found = name_facts(each.raw.stem).frame
        return found is None, found or 0

    folders = [list(found) for _, found in groupby(files, key=lambda each: each.attempt.folder)]
    is_each_once = len({found[0].attempt.folder for found in folders}) == len(folders)
    by_number = all(list(found) == sorted(found, key=number) for found in folders)
    return is_each_once and by_number and list(map(place, files)) == sorted(map(place, files))


def state_of(root: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in (root, *root.rglob("*"))}


def check_sums(said: str, found: Imported, raws: int) -> None:
    """Check that the numbers of the last lines add up to the number of raw files."""
    if not raws:
        return
    (line,) = (line for line in said.splitlines() if re.match(r"\d+ raw files?: ", line))
    total, *parts = map(int, re.findall(r"(?<![\w-])\d+(?= )", line))
    assert (total, sum(parts)) == (raws, raws)
    for path in (*(each.raw for each in found.files if not each.is_there), *found.outside):
        assert re.search(rf"^(  )?{re.escape(str(path))}(: |$)", said, re.MULTILINE)


@settings(max_examples=25, deadline=None)
@given(folders=st.lists(FOLDERS, max_size=4, unique_by=lambda folder: folder.place))
def test_each_raw_file_is_once_a_row_or_named_and_a_second_import_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, folders: list[Folder]
) -> None:
    root = tmp_path_factory.mktemp("tree")
    for folder in folders:
        written(root, folder)
    raws = {path for path in root.rglob("*") if path.name.endswith(".raw")}
    sections = with_the_rest(root)
    found = import_raws(sections, Conversion())
    listed = [each.raw for each in found.files]
    assert sorted([*listed, *found.outside]) == sorted(raws)
    assert in_order(found.files, sections)
    frames = [each.fits for each in found.files if each.is_there]
    assert len({str(path).casefold() for path in frames}) == len(frames)
    assert all(path.is_file() for path in frames)
    before = state_of(root)
    if not raws:
        return
    with redirect_stdout(io.StringIO()) as said:
        code = import_frames([root])
    assert state_of(root) == before
    assert code == (Exit.DONE if found.is_whole else Exit.SOME_FAILED)
    check_sums(said.getvalue(), found, len(raws))
    again = import_raws(sections, Conversion())
    kept = {Outcome.MADE: Outcome.THERE}
    assert [each.outcome for each in again.files] == [kept.get(each.outcome, each.outcome) for each in found.files]
    assert [each.row for each in again.files] == [each.row for each in found.files]
    assert state_of(root) == before
