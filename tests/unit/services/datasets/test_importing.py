"""Raw frames become FITS frames: each once, in their order, whatever is wrong with some of them."""

import csv
import os
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from calibration.frames import FrameKind
from services.datasets.attempts import Section, attempts_of
from services.datasets.conversion import Conversion
from services.datasets.described import Outcome
from services.datasets.importing import Imported, import_raws
from services.datasets.index import Asked, bad_ones, discovered, index_of, with_the_rest
from services.files.disk import Disk, Stream
from services.files.fits import read_cards, read_header, read_pixels
from tests.support.raw_tree import HEIGHT, WIDTH, attempt, rewrite


def dark_section(root: Path) -> Section:
    return Section(root=root / "TestSection2", kind=FrameKind.DARK)


def imported(root: Path, how: Conversion | None = None) -> Imported:
    return import_raws([dark_section(root)], how or Conversion())


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_attempts_are_found_once_by_whatever_rule_and_in_the_order_of_their_temperature(tmp_path: Path) -> None:
    root = tmp_path / "TestSection2"
    for place in ("T10/attempt1", "T-10/attempt10", "T-10/attempt2", "20Frames/1s/attempt1", "T0"):
        attempt(root / place)
    (root / "T0/loose.raw").write_bytes(b"")
    found = attempts_of(dark_section(tmp_path))
    places = [each.folder.relative_to(root).as_posix() for each in found.attempts]
    assert places == ["T-10/attempt2", "T-10/attempt10", "T0", "T10/attempt1", "20Frames/1s/attempt1"]
    assert found.outside == (root / "T0/loose.raw",)
    assert attempts_of(dark_section(tmp_path), depth=1).deeper


def test_a_frame_has_what_log_name_and_settings_say(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "TestSection2/T20/attempt1", name="DarkT20_exp1sf{n}.raw")
    found = imported(tmp_path)
    assert found.is_whole
    fits = folder / "fits/DarkT20_exp1sf1.fits"
    raw = np.fromfile(folder / "frames/DarkT20_exp1sf1.raw", "<u2")
    assert np.array_equal(read_pixels(fits), raw.reshape(HEIGHT, WIDTH))
    assert read_pixels(fits).dtype == np.uint16
    cards = read_cards(fits)
    expected = {
        "CALTYPE": "DARK", "FRAMENUM": 1, "EXPTIME": 1.0, "REXPTIME": 1.001, "GAIN": 100, "TEMP": 20.01, "TEMP_0": 20.0,
        "EQTEMP": 20.0, "FILETEMP": 20.0, "DELTMP": 0.05, "POWCONS": 2.5, "HEIGHT": "6", "CAMERA": "SimCMOS",
        "ZEROFRAC": 0.0,
    }  # fmt: skip
    assert expected.items() <= cards.items()
    header = read_header(fits)
    assert (header.kind, header.exposure_us, header.ccd_temp_c, header.gain) == (FrameKind.DARK, 1_000_000, 20.01, 100)
    (row,) = (row for row in rows(tmp_path / "TestSection2/fits_index.csv") if row["FRAMENUM"] == "1")
    assert row["PATH"] == "T20/attempt1/fits/DarkT20_exp1sf1.fits"
    assert (row["TEMP"], row["EXPTIME"], row["CALTYPE"]) == ("20.01", "1", "DARK")


def test_the_short_log_and_the_name_together_say_exposure_and_temperature(tmp_path: Path) -> None:
    attempt(tmp_path / "TestSection2/T20/attempt1", name="exp_0.2s_frame{n}.raw", old_log=True)
    imported(tmp_path)
    table = rows(tmp_path / "TestSection2/fits_index.csv")
    assert [(row["FRAMENUM"], row["EXPTIME"], row["TEMP"]) for row in table] == [
        ("0", "0.2", "20"), ("1", "0.2", "20.01"), ("2", "0.2", "20.02"),
    ]  # fmt: skip


def test_a_second_call_makes_nothing_again_but_what_has_changed(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "TestSection2/attempt1")
    imported(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (folder / "fits").iterdir()}
    again = imported(tmp_path)
    assert set(again.counts()) == {Outcome.THERE}
    assert {path: path.stat().st_mtime_ns for path in (folder / "fits").iterdir()} == before
    rewrite(folder / "temperatureLog.csv", lambda text: text.replace("20.01", "25.00"))
    assert imported(tmp_path).counts() == {Outcome.THERE: 2, Outcome.MADE: 1}
    assert read_cards(folder / "fits/exp_1s_frame1.fits")["TEMP"] == 25.0


def test_frames_of_another_program_are_kept(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "TestSection2/attempt1")
    imported(tmp_path)
    foreign = folder / "fits/exp_1s_frame0.fits"
    content = foreign.read_bytes().replace(b"RAWSIGN ", b"OTHERKEY")
    foreign.write_bytes(content)
    found = imported(tmp_path)
    assert found.counts() == {Outcome.FOREIGN: 1, Outcome.THERE: 2}
    assert foreign.read_bytes() == content


def test_what_is_missing_is_nan_and_what_is_too_much_is_said(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "TestSection2/attempt1", level=1)
    raws = [folder / f"frames/exp_1s_frame{n}.raw" for n in range(3)]
    raws[0].write_bytes(raws[0].read_bytes()[:-7])
    raws[1].write_bytes(raws[1].read_bytes() + b"\0\0")
    for _ in range(2):  # a second call says the same
        found = imported(tmp_path)
        said = {each.raw.name: " ".join((*each.notes, *each.of_attempt)) for each in found.files}
        assert "7 bytes too few" in said["exp_1s_frame0.raw"]
        assert "2 bytes too many" in said["exp_1s_frame1.raw"]
        assert said["exp_1s_frame2.raw"] == ""
    short, long = (read_pixels(folder / f"fits/exp_1s_frame{n}.fits") for n in range(2))
    assert np.isnan(short.reshape(-1)[-4:]).all()
    assert np.array_equal(short.reshape(-1)[:-4], np.fromfile(raws[0], "<u2", count=56))
    assert np.array_equal(long.reshape(-1), np.fromfile(raws[1], "<u2", count=60))
    assert [row["BADSIZE"] for row in rows(found.index or Path())] == ["True", "True", ""]


def test_nothing_is_guessed_where_there_are_no_settings(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "TestSection2/attempt1")
    attempt(tmp_path / "TestSection2/attempt2")
    (folder / "configFile.txt").unlink()
    found = imported(tmp_path)
    assert found.counts() == {Outcome.NO_SIZE: 3, Outcome.MADE: 3}
    assert not found.is_whole
    assert not (folder / "fits").exists()
    assert len(rows(found.index or Path())) == 3


def test_an_attempt_that_cannot_be_written_stops_no_other(tmp_path: Path) -> None:
    bad, good = (attempt(tmp_path / f"TestSection2/attempt{number}") for number in range(2))
    (bad / "temperatureLog.csv").unlink()
    (bad / "fits").write_text("in the way", encoding="utf-8")
    found = imported(tmp_path)
    assert found.counts() == {Outcome.NOT_WRITTEN: 3, Outcome.MADE: 3}
    assert found.files[0].of_attempt == ("there is no log: its temperature is not known",)
    assert (bad / "fits").read_text(encoding="utf-8") == "in the way"
    assert len(list((good / "fits").iterdir())) == 3


def test_sections_of_one_name_are_mirrored_apart(tmp_path: Path) -> None:
    roots = [tmp_path / night / "Darks" for night in ("night1", "night2")]
    for level, root in enumerate(roots):
        attempt(root / "attempt1", level=1000 * level + 1)
    out = tmp_path / "out"
    for _ in range(2):
        found = import_raws([Section(root=root, kind=FrameKind.DARK) for root in roots], Conversion(out=out))
    assert found.counts() == {Outcome.THERE: 6}
    frames = [out / night / "Darks/attempt1/fits/exp_1s_frame0.fits" for night in ("night1", "night2")]
    assert [read_pixels(frame).mean() for frame in frames] == [30.5, 1030.5]


def test_what_nobody_says_is_said_to_be_unknown(tmp_path: Path) -> None:
    root = tmp_path / "something"
    attempt(root / "2s/attempt1", name="image_f{n}.raw", frames=1, old_log=True)
    (found,) = import_raws([Section(root=root)], Conversion()).files
    assert found.notes == ("neither folders nor its name say of what kind it is: it is marked OPER",)
    assert (found.row["CALTYPE"], found.row["EXPTIME"]) == ("OPER", "2")  # by the folder


def test_a_bad_log_stops_nothing(tmp_path: Path) -> None:
    names = [f"attempt{n}" for n in range(1, 6)]
    none, broken, wide, nan, comma = (attempt(tmp_path / "TestSection2" / name) for name in names)
    (none / "temperatureLog.csv").unlink()
    rewrite(broken / "temperatureLog.csv", lambda text: text.replace("\n1,", "\nx,"))
    log = wide / "temperatureLog.csv"  # as spreadsheets write "Unicode text"
    log.write_text(log.read_text(encoding="utf-8").replace(",", "\t"), encoding="utf-16")
    rewrite(nan / "temperatureLog.csv", lambda text: text.replace("2.5", "NaN"))
    rewrite(comma / "temperatureLog.csv", lambda text: text.replace(",", ";").replace(".", ","))
    found = imported(tmp_path)
    assert found.counts() == {Outcome.MADE: 15}
    by_attempt = {name: [row for row in rows(found.index or Path()) if f"{name}/" in row["PATH"]] for name in names}
    assert [row["TEMP"] for row in by_attempt["attempt1"]] == ["", "", ""]
    assert [row["TEMP"] for row in by_attempt["attempt2"]] == ["20", "", "20.02"]
    for name in names[2:]:
        assert [row["TEMP"] for row in by_attempt[name]] == ["20", "20.01", "20.02"]
    assert read_cards(nan / "fits/exp_1s_frame0.fits")["POWCONS"] == "NaN"


def test_bytes_that_are_no_log_and_names_that_are_no_frames_stop_nothing(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "TestSection2/attempt1")
    (folder / "temperatureLog.csv").write_bytes(bytes(range(256)))
    (folder / "frames/._exp_1s_frame0.raw").write_bytes(b"what a Mac leaves beside a file")
    (folder / "frames/old_frame9.raw").mkdir()
    found = imported(tmp_path)
    assert found.counts() == {Outcome.MADE: 3}
    assert found.outside == ()


def test_a_tree_that_is_only_read_is_mirrored(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "TestSection2/T20/attempt1")
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    out = tmp_path.parent / f"{tmp_path.name}-out"
    found = imported(tmp_path, Conversion(out=out))
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before
    assert found.index == out / "fits_index.csv"
    assert (out / "TestSection2/T20/attempt1/fits/exp_1s_frame0.fits").is_file()
    assert not (folder / "fits").exists()


class FullDisk(Disk):
    """A disk with room for some files."""

    def __init__(self, files: int) -> None:
        self.left = files

    def create(self, path: Path) -> Stream:
        if self.left == 0:
            raise OSError(28, "No space left on device")
        self.left -= 1
        return super().create(path)


def test_a_disk_that_is_full_loses_nothing_and_a_second_call_goes_on(tmp_path: Path) -> None:
    for number in range(3):
        attempt(tmp_path / f"TestSection2/attempt{number}")
    found = imported(tmp_path, Conversion(disk=FullDisk(4), workers=1))
    counts = found.counts()
    assert counts[Outcome.MADE] + counts[Outcome.NOT_WRITTEN] == 9
    assert counts[Outcome.MADE] == 4
    assert found.problem
    assert not list(tmp_path.rglob(".importing"))
    assert imported(tmp_path).counts() == {Outcome.THERE: 4, Outcome.MADE: 5}


def test_frames_whose_names_differ_in_case_alone_stay_apart(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "TestSection2/attempt1", frames=1)
    (folder / "frames/exp_1s_FRAME0.RAW").write_bytes((folder / "frames/exp_1s_frame0.raw").read_bytes())
    if len(list((folder / "frames").iterdir())) == 1:
        return  # a file system that keeps no case has one file
    found = imported(tmp_path)
    assert len({each.fits.name.casefold() for each in found.files}) == 2


def test_sections_are_discovered_by_their_names_and_none_twice(tmp_path: Path) -> None:
    for place in ("TestSection1", "night/flat_darks/flats", "raw_bias", "night/zeros", "plots"):
        (tmp_path / place).mkdir(parents=True)
    found = [(each.root.relative_to(tmp_path).as_posix(), each.kind) for each in discovered(tmp_path)]
    assert found == [
        ("raw_bias", FrameKind.BIAS), ("TestSection1", FrameKind.BIAS), ("night/flat_darks", FrameKind.DARK),
    ]  # fmt: skip


def test_the_index_marks_bad_frames_and_changes_none(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "TestSection2/PreIrradiation/novac/T20/attempt1", level=1)
    pixels = np.arange(HEIGHT * WIDTH)
    for number, zeros in enumerate((0, 1, 2)):  # 60 pixels: one is more than 1 %
        pixels[:zeros] = 0
        (pixels + (0 if zeros else 1)).astype("<u2").tofile(folder / f"frames/exp_1s_frame{number}.raw")
    imported(tmp_path)
    before = {path: path.read_bytes() for path in (folder / "fits").iterdir()}
    found = index_of([dark_section(tmp_path)], tmp_path / "index.csv")
    assert [row["ZEROFRACTION"] for row in found.rows] == ["0", "0.0166666666667", "0.0333333333333"]
    assert len(list(bad_ones(found))) == 2
    assert {(row["STAGE"], row["VACUUM"], row["CALTYPE"]) for row in found.rows} == {("pre", "air", "DARK")}
    assert {path: path.read_bytes() for path in (folder / "fits").iterdir()} == before
    given = index_of([dark_section(tmp_path)], tmp_path / "index.csv", Asked(stage="post", vacuum="vacuum"))
    assert {(row["STAGE"], row["VACUUM"]) for row in given.rows} == {("post", "vacuum")}


def test_a_file_that_is_no_frame_is_named_and_the_rest_is_listed(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "TestSection2/attempt1")
    imported(tmp_path)
    (folder / "fits/exp_1s_frame1.fits").write_bytes(b"no FITS")
    found = index_of([dark_section(tmp_path)], tmp_path / "index.csv")
    assert len(found.rows) == 2
    assert [path.name for path, _ in found.left_out] == ["exp_1s_frame1.fits"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="folders cannot be made read-only for this user")
def test_a_tree_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "TestSection2/attempt1")
    folder.chmod(0o500)
    try:
        assert imported(tmp_path).counts() == {Outcome.NOT_WRITTEN: 3}
    finally:
        folder.chmod(0o700)


def test_a_call_on_nothing_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "TestSection2").mkdir()
    found = imported(tmp_path)
    assert (found.files, found.index) == ((), None)


def test_what_lies_beside_sections_of_known_names_is_not_lost(tmp_path: Path) -> None:
    base = tmp_path / "Mediciones 2024"
    for place in ("Darks viejos/attempt1", "Sesgo/T 20/attempt 1", "Planos/attempt1", "otros/attempt1"):
        attempt(base / place)
    (base / "suelto.raw").write_bytes(b"")
    sections = with_the_rest(base)
    assert [(each.root, each.kind) for each in sections] == [(base / "Darks viejos", FrameKind.DARK), (base, None)]
    found = import_raws(sections, Conversion())
    assert found.index == base / "fits_index.csv"
    table = [(row["PATH"].partition("/")[0], row["CALTYPE"]) for row in rows(found.index)]
    assert sorted(set(table)) == [("Darks viejos", "DARK"), ("Planos", "FLAT"), ("Sesgo", "BIAS"), ("otros", "OPER")]
    assert len(table) == 12
    assert found.outside == (base / "suelto.raw",)
    again = import_raws(sections, Conversion(out=tmp_path / "out"))
    assert (tmp_path / "out/Darks viejos/attempt1/fits").is_dir()
    assert again.index == tmp_path / "out/fits_index.csv"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Darks viejos", FrameKind.DARK), ("mis_flats", FrameKind.FLAT), ("Bias 2024", FrameKind.BIAS),
        ("flat darks", FrameKind.DARK), ("TestSection3", FrameKind.FLAT), ("zeros", None), ("flatness", None),
        ("darks and flats", None), ("biased", None), ("Sesgo", None),
    ],
)  # fmt: skip
def test_sections_are_known_by_one_word_of_their_names(tmp_path: Path, name: str, kind: FrameKind | None) -> None:
    (tmp_path / name).mkdir()
    assert [each.kind for each in discovered(tmp_path)] == ([] if kind is None else [kind])


def test_a_column_of_a_long_name_is_a_card_that_others_read_by_this_name(tmp_path: Path) -> None:
    attempt(tmp_path / "TestSection2/T20/1s/attempt1")
    (written, *_) = (each.fits for each in imported(tmp_path).files)
    cards = [card.decode() for card in re.findall(rb"HIERARCH.{72}", written.read_bytes())]
    assert [card.partition("=")[0].split() for card in cards] == [["HIERARCH", "TIMESTAMP"]]
    with fits.open(written) as (unit,):
        assert "TIMESTAMP" in unit.header
