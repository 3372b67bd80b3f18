"""`nightcal reject`: a bad frame found weeks later; its masters are suspect, built anew, and come back when it does."""

import json
import re
import shutil
from pathlib import Path

import pytest
from astropy.io import fits

from calibration.frames import FrameKind
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import Flag, MasterRow, MasterStatus
from services.files.layout import Layout
from services.indexing.index import adopt, open_catalogue
from tests.support.made_root import Root
from tests.unit.services.cli.test_commands import folder, nightcal

__all__ = ["folder"]

N = 6
WANTED = {"num_darks": N, "num_flats": N}


@pytest.fixture
def library(folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Return a root with darks and flats, their masters certified."""
    text = (folder / "config_calibration_frames.yaml").read_text(encoding="utf-8")
    (folder / "config_calibration_frames.yaml").write_text(text.replace("num_darks: 3", "num_darks: 6"), "utf-8")
    root = Root(folder)
    root.add(FrameKind.DARK, 2.0, N)
    root.add(FrameKind.FLAT, 2.0, N, filter="V")
    root.build(**WANTED)
    root.catalogue.close()
    assert nightcal("certify", "master_*") == 0
    capsys.readouterr()
    return folder


def masters(folder: Path) -> list[MasterRow]:
    with Catalogue(Layout(folder).catalogue, read_only=True) as catalogue:
        return sorted(catalogue.masters(), key=lambda row: (row.kind, row.built_at, row.path))


def states(folder: Path) -> dict[str, list[str]]:
    """Return the states of the masters of each kind, in catalogue and sidecars alike."""
    found: dict[str, list[str]] = {}
    for row in masters(folder):
        sidecar = json.loads((folder / row.path).with_suffix(".json").read_text(encoding="utf-8"))
        assert (sidecar["status"], sidecar["detail"]) == (row.status, row.detail)
        found.setdefault(row.kind, []).append(str(row.status))
    return found


def build(folder: Path) -> None:
    root = Root(folder)
    root.build(**WANTED)
    root.catalogue.close()


def first(folder: Path, kind: str) -> Path:
    return min(folder.rglob(f"{kind}_*_001.fits"))


def test_a_rejected_dark_makes_its_master_and_the_flats_suspect_and_both_are_built_anew(
    library: Path, capsys: pytest.CaptureFixture[str]
):
    bad = first(library, "dark")
    before = bad.read_bytes()
    assert nightcal("reject", bad.name, "--reason", "cover  left open") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"rejected   {bad.relative_to(library).as_posix()}: cover left open"
    assert re.fullmatch(rf"suspect    master_dark_2\.000s_\S+  2\.000 s .*, 6 frames  made with {bad.name} .*", out[1])
    assert "its dark is suspect: master_dark_2.000s" in out[2]
    assert out[3].startswith("5 dark 2 s frames left of set dark_2.0_None: the next run builds its master of these")
    assert states(library) == {"DARK": ["suspect"], "FLAT": ["suspect"]}
    assert bad.read_bytes() == before
    build(library)
    assert states(library) == {"DARK": ["suspect", "partial"], "FLAT": ["suspect", "certified"]}
    _, anew = (row for row in masters(library) if row.kind is FrameKind.DARK)
    assert anew.n == N - 1
    history = "".join(fits.getheader(library / anew.path)["HISTORY"])
    assert f"left out {bad.name}" in history
    assert "cover left open" in history
    capsys.readouterr()
    assert nightcal("library", "list") == 0
    shown = capsys.readouterr().out
    assert "suspect " not in shown
    assert "and 2 masters that others have replaced: --all shows them" in shown
    assert nightcal("library", "list", "--all") == 0
    assert capsys.readouterr().out.count("suspect  ") == 2


def test_taking_it_back_gives_certified_masters_their_state_again(library: Path, capsys: pytest.CaptureFixture[str]):
    bad = first(library, "flat")
    assert nightcal("reject", str(bad), "--reason", "a plane") == 0
    assert states(library) == {"DARK": ["certified"], "FLAT": ["suspect"]}
    build(library)
    assert nightcal("reject") == 0
    assert f"{bad.relative_to(library).as_posix()}: a plane" in capsys.readouterr().out
    assert nightcal("reject", bad.name, "--undo") == 0
    assert "the next run builds its master of these, unless that is there" in capsys.readouterr().out
    assert states(library) == {"DARK": ["certified"], "FLAT": ["certified", "superseded"]}
    build(library)
    assert states(library) == {"DARK": ["certified"], "FLAT": ["certified", "superseded"]}
    assert nightcal("reject") == 0
    assert "no frame is rejected" in capsys.readouterr().out


def test_marks_survive_a_lost_catalogue_and_hold_for_frames_of_other_programs(library: Path):
    root = Root(library)
    foreign = root.add(FrameKind.FLAT, 2.0, N, filter="B", set_id="x")
    root.catalogue.close()
    for path in foreign:
        with fits.open(path, mode="update") as units:
            del units[0].header["SETID"]
    assert nightcal("reject", "dark_*_003.fits", foreign[2].as_posix(), "--reason", "cosmic ray") == 0
    was = states(library)
    shutil.rmtree(library / ".nightcal" / "cache", ignore_errors=True)
    for path in (library / ".nightcal").glob("catalogue*"):
        path.unlink()
    layout = Layout(library)
    with open_catalogue(layout) as catalogue:
        adopt(catalogue, layout)
        assert [(mark.reason, Path(mark.path).name) for mark in catalogue.marks()] == [
            ("cosmic ray", next((library / "darks").rglob("dark_*_003.fits")).name),
            ("cosmic ray", foreign[2].name),
        ]
        assert len(catalogue.frames(kind=FrameKind.DARK, flag=Flag.BAD)) == 1
    assert states(library) == was
    assert nightcal("run", "--step", "masters", "--no-confirm") in {0, 1}
    with Catalogue(layout.catalogue, read_only=True) as catalogue:
        assert [row.path for row in catalogue.frames(kind=FrameKind.FLAT, flag=Flag.BAD)] == [
            layout.relative(foreign[2])
        ]


@pytest.mark.parametrize("above", ["", "./", "the root"])
def test_a_pattern_with_folders_means_the_frames_in_them(library: Path, above: str, capsys: pytest.CaptureFixture[str]):
    folder = first(library, "flat").parent.relative_to(library).as_posix()
    pattern = f"{library.as_posix()}/{folder}/*" if above == "the root" else f"{above}{folder}/*"
    assert nightcal("reject", pattern, "--reason", "cloud") == 0
    with Catalogue(Layout(library).catalogue, read_only=True) as catalogue:
        bad = [row.path for row in catalogue.frames(flag=Flag.BAD)]
        assert sorted(bad) == sorted(row.path for row in catalogue.frames() if row.path.startswith(f"{folder}/"))
        assert 0 < len(bad) < len(list(catalogue.frames()))
    capsys.readouterr()
    assert nightcal("reject", "elsewhere/*", "--reason", "cloud") == 2
    assert "no bias, dark or flat elsewhere/*" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("reject", "dark_*"), "needs --reason TEXT"),
        (("reject", "--reason", "x"), "which frames?"),
        (
            ("reject", "light_9.fits", "--reason", "x"),
            "no bias, dark or flat light_9.fits in the folders darks, flats of",
        ),
        (("reject", "dark_*_004.fits", "--undo"), "_004.fits is not rejected"),
    ],
)
def test_what_reject_is_not_told_is_asked_for(
    library: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
):
    assert nightcal(*words) == 2
    assert said in capsys.readouterr().err
    assert states(library) == {"DARK": ["certified"], "FLAT": ["certified"]}


def test_too_few_frames_left_is_said_and_no_master_serves(library: Path, capsys: pytest.CaptureFixture[str]):
    assert nightcal("reject", "dark_*_00[12].fits", "--reason", "leak") == 0
    assert "4 dark 2 s frames left of set dark_2.0_None: too few for a master, which takes 5" in capsys.readouterr().out
    build(library)
    assert states(library) == {"DARK": ["suspect"], "FLAT": ["suspect"]}
    assert nightcal("library", "list") == 0
    assert capsys.readouterr().out.count("suspect  ") == 2, "nothing better is there"
    assert nightcal("certify", masters(library)[0].path) == 2
    assert "(suspect: made with dark_" in capsys.readouterr().err


def test_a_status_that_nobody_knows_is_not_invented():
    assert {str(status) for status in MasterStatus} == {
        "built", "partial", "certified", "suspect", "superseded", "bad",
    }  # fmt: skip
