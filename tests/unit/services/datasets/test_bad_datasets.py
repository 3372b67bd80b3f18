"""Datasets as they should not be: each bad file has its message, the rest is converted, and a second call goes on."""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from calibration.frames import FrameKind
from services.cli.dataset import import_frames
from services.datasets.attempts import Section
from services.datasets.conversion import Conversion
from services.datasets.described import Converted, Outcome
from services.datasets.frames import frames_of
from services.datasets.importing import Imported, import_raws
from services.datasets.index import index_of, with_the_rest, write_index
from services.datasets.log import read_log
from services.errors import Exit, RunCode, StorageError
from services.files.disk import Disk, Stream
from services.files.fits import read_cards, read_pixels
from services.files.locks import DatasetLock
from tests.support import started
from tests.support.raw_tree import HEIGHT, WIDTH, attempt, rewrite

PIXELS = HEIGHT * WIDTH
NO_LINKS = pytest.mark.skipif(os.name == "nt", reason="links and pipes need rights, or are not known")


def imported(root: Path, disk: Disk | None = None) -> Imported:
    how = Conversion() if disk is None else Conversion(disk=disk, workers=1)
    return import_raws([Section(root=root, kind=FrameKind.DARK)], how)


def named(found: Imported) -> dict[str, Converted]:
    return {each.raw.name: each for each in found.files}


def said(found: Imported, name: str) -> str:
    each = named(found)[name]
    return "; ".join((*each.notes, *each.of_attempt))


def rows(found: Imported) -> list[dict[str, str]]:
    assert found.index is not None
    with found.index.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def changed_at(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (root, *root.rglob("*"))}


def test_the_same_bytes_and_the_same_number_twice_are_named(tmp_path: Path) -> None:
    one, other = (attempt(tmp_path / f"attempt{n}") for n in (1, 2))
    (other / "frames/exp_1s_frame2.raw").write_bytes((one / "frames/exp_1s_frame0.raw").read_bytes())
    (one / "frames/again_f1.raw").write_bytes(os.urandom(2 * PIXELS))
    for _ in range(2):  # a second call says the same
        found = imported(tmp_path)
        copy = found.files[-1]
        assert copy.notes == (f"its bytes are those of {one / 'frames/exp_1s_frame0.raw'}",)
        twice = "frame 1 is there more than once: again_f1.raw, exp_1s_frame1.raw"
        assert [each.raw.name for each in found.files if twice in each.notes] == ["again_f1.raw", "exp_1s_frame1.raw"]
        assert len(rows(found)) == 7


def test_frames_of_one_sum_are_compared(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "attempt1", frames=4)
    values = np.arange(PIXELS, dtype="<u2")
    for n, order in enumerate((values, values[::-1], np.roll(values, 2), values[::-1])):
        order.tofile(folder / f"frames/exp_1s_frame{n}.raw")
    found = imported(tmp_path)
    assert [bool(each.notes) for each in found.files] == [False, False, False, True]
    assert found.files[3].notes == (f"its bytes are those of {folder / 'frames/exp_1s_frame1.raw'}",)


def test_messages_that_differ_in_numbers_alone_are_bounded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = attempt(tmp_path / "attempt1", frames=30)
    (folder / "temperatureLog.csv").write_text("FrameNum,ExpTime\n0,1e6\n", encoding="utf-8")
    import_frames([tmp_path])
    said = capsys.readouterr().out
    raw = folder / "frames/exp_1s_frame1.raw"
    assert f"{raw}: the log has no row that can be believed for frame 1\n" in said
    assert "  and 9 more (--verbose names them)\n" in said
    assert said.count("no row that can be believed") == 20


def test_each_size_says_what_it_looks_like(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "attempt1", frames=5)
    sizes = (0, PIXELS, 2 * PIXELS, 3 * PIXELS // 2, 4 * PIXELS)
    for n, size in enumerate(sizes):
        (folder / f"frames/exp_1s_frame{n}.raw").write_bytes(os.urandom(size))
    found = imported(tmp_path)
    words = ("it is empty", "one byte a pixel", "", "packed 12-bit counts", f"{2 * PIXELS} bytes too many")
    for n, expected in enumerate(words):
        assert expected in said(found, f"exp_1s_frame{n}.raw")
    assert said(found, "exp_1s_frame2.raw") == ""
    assert found.counts() == {Outcome.UNREADABLE: 1, Outcome.MADE: 4}
    assert [row.get("BADSIZE") for row in rows(found)] == ["True", "", "True", "True"]


def test_counts_of_twelve_bits_stay_as_they_are_stored_and_packed_ones_are_refused(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "attempt1", frames=2)
    rewrite(folder / "configFile.txt", lambda text: text.replace("BIT_DEPTH=16", "BIT_DEPTH=12"))
    shifted = np.arange(PIXELS, dtype="<u2") << 4
    shifted.tofile(folder / "frames/exp_1s_frame0.raw")
    (folder / "frames/exp_1s_frame1.raw").write_bytes(bytes(3 * PIXELS // 2))
    found = imported(tmp_path)
    fits = named(found)["exp_1s_frame0.raw"].fits
    assert np.array_equal(read_pixels(fits).reshape(-1), shifted)
    assert read_cards(fits)["RAWBITS"] == 12
    assert "packed counts of 12 bits" in said(found, "exp_1s_frame1.raw")
    assert found.counts() == {Outcome.MADE: 1, Outcome.UNREADABLE: 1}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le with mark"])
def test_settings_and_logs_of_any_encoding_are_read(tmp_path: Path, encoding: str) -> None:
    folder = attempt(tmp_path / "attempt1")
    for name in ("configFile.txt", "temperatureLog.csv"):
        text = (folder / name).read_text(encoding="utf-8")
        marked = encoding.endswith("mark")
        (folder / name).write_bytes(("\ufeff" * marked + text).encode(encoding.removesuffix(" with mark")))
    found = imported(tmp_path)
    assert [row["TEMP"] for row in rows(found)] == ["20", "20.01", "20.02"]
    assert [each.notes + each.of_attempt for each in found.files] == [()] * 3


def test_a_dataset_without_any_temperature_is_converted(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "attempt1")
    (folder / "temperatureLog.csv").write_text("FrameNum,ExpTime\n0,1e6\n1,1e6\n", encoding="utf-8")
    found = imported(tmp_path)
    assert [(row["EXPTIME"], row.get("TEMP", "")) for row in rows(found)] == [("1", "")] * 3
    assert said(found, "exp_1s_frame2.raw") == "the log has no row that can be believed for frame 2"


def test_a_log_without_names_of_columns_is_frame_and_temperature(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "attempt1")
    (folder / "temperatureLog.csv").write_text("0,20.5\n1,21.5\nx,2\n2,22.5\n", encoding="utf-8")
    found = imported(tmp_path)
    assert [row["TEMP"] for row in rows(found)] == ["20.5", "21.5", "22.5"]
    assert "taken for FrameNum and Temperature" in found.files[0].of_attempt[0]
    assert found.files[0].of_attempt[1] == "line 3 of the log has no frame number"
    assert read_log("0,1,2\n1,1,2\n").rows == {0: {"FRAMENUM": 0}, 1: {"FRAMENUM": 1}}


def test_of_a_long_log_only_the_rows_of_frames_are_kept(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "attempt1", frames=10)
    lines = [f"{n},{20 + n / 1e5:.5f}" for n in range(100_000)]
    text = "\n".join(["frame,Temperature", *lines, *["no number"] * 100_000])
    (folder / "temperatureLog.csv").write_text(text, encoding="utf-8")
    found = imported(tmp_path)
    assert [row["TEMP"] for row in rows(found)][-1] == "20.00009"
    assert len(found.files[0].of_attempt) == 6
    assert found.files[0].of_attempt[-1] == "99995 more lines of the log have no frame number"
    assert len(read_log(text, {3, 5}).rows) == 2


def test_a_log_that_no_table_is_stops_nothing(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "attempt1")
    rewrite(folder / "temperatureLog.csv", lambda text: text.replace("20.01", "x" * 200_000))
    found = imported(tmp_path)
    assert found.counts() == {Outcome.MADE: 3}
    assert "the log cannot be read" in said(found, "exp_1s_frame0.raw")


@NO_LINKS
def test_links_loops_and_pipes_are_named_and_stop_nothing(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "T/attempt1")
    frames = folder / "frames"
    (frames / "loop.raw").symlink_to("loop.raw")
    (frames / "gone_f7.raw").symlink_to("nowhere.raw")
    (frames / "linked_f1.raw").symlink_to(frames / "exp_1s_frame0.raw")
    os.mkfifo(frames / "pipe_f8.raw")
    (tmp_path / "T/up").symlink_to(tmp_path)
    (tmp_path / "T/.snapshot").mkdir()
    (frames / "deeper").mkdir()
    (frames / "deeper/lost_f1.raw").write_bytes(b"")
    found = imported(tmp_path)
    assert found.counts() == {Outcome.MADE: 4, Outcome.UNREADABLE: 3}
    assert "symbolic links" in said(found, "loop.raw")
    assert said(found, "pipe_f8.raw") == "it is no file"
    assert [path.name for path, _ in found.unread] == ["up"]
    assert [path.name for path in found.outside] == ["lost_f1.raw"]
    assert not found.is_whole


@NO_LINKS
def test_names_of_every_kind_are_converted(tmp_path: Path) -> None:
    place = tmp_path / os.fsdecode(b"T\xe9")  # Latin-1, as old disks have it
    folder = attempt(place / "attempt1", frames=1)
    names = [
        b"n" * 240 + b"_frame1.raw"[:11], b"m" * 244 + b"_f2.raw", "\u00b2\u00b3_f3.raw".encode(), b"a\xff_f4.raw",
        b"b\xff_f4.raw", b"exp_1e400s_f5.raw", b"exp_-1s_f6.raw", ("\u00fc" * 120 + "_f7.raw").encode(),
    ]  # fmt: skip
    for name in names:
        with open(os.path.join(os.fsencode(folder / "frames"), name), "wb") as file:  # noqa: PTH118, PTH123 - bytes
            file.write(os.urandom(2 * PIXELS))
    found = imported(tmp_path)
    assert found.counts() == {Outcome.MADE: 9}
    assert found.index is not None
    with found.index.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        paths = {found.index.parent / row["PATH"] for row in csv.DictReader(file)}
    assert paths == {each.fits for each in found.files}
    assert all(path.is_file() for path in paths)
    assert set(imported(tmp_path).counts()) == {Outcome.THERE}


@NO_LINKS
def test_a_folder_whose_name_is_no_unicode_goes_through_the_index(tmp_path: Path) -> None:
    attempt(tmp_path / "TestSection2" / os.fsdecode(b"T\xe9") / "attempt1")
    found = import_raws(with_the_rest(tmp_path), Conversion())
    index = tmp_path / "index.csv"
    write_index(index, index_of(with_the_rest(tmp_path), index))
    for table in (found.index, index):
        assert table is not None
        frames = frames_of(table)
        assert [each.path for each in frames.frames] == [each.fits for each in found.files]
        assert frames.left_out == ()


def test_what_lies_in_the_place_of_a_frame_is_kept(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "attempt1")
    fits = folder / "fits"
    fits.mkdir()
    (fits / "exp_1s_frame0.fits").write_text("somebody's notes", encoding="utf-8")
    (fits / "exp_1s_frame1.fits").mkdir()
    for outcome in (Outcome.MADE, Outcome.THERE):
        found = imported(tmp_path)
        assert found.counts() == {Outcome.NOT_WRITTEN: 2, outcome: 1}
        assert "move it away" in said(found, "exp_1s_frame0.raw")
        assert len(rows(found)) == 1
    assert (fits / "exp_1s_frame0.fits").read_text(encoding="utf-8") == "somebody's notes"
    assert (fits / "exp_1s_frame1.fits").is_dir()


def test_settings_and_columns_never_break_a_header(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "attempt1", frames=1)
    keys = ("END", "CHECKSUM", "DATASUM", "BSCALE", "BZERO", "BITPIX", "NAXIS", "SIMPLE", "COMMENT", "", "--", "BLANK")
    more = "\n".join([*(f"{key}=2" for key in keys), f"LONG={'v' * 5000}"])
    rewrite(folder / "configFile.txt", lambda text: text + more)
    log = f"FrameNum,Temperature,ExpTime,ExpGain,END,{'Power' * 30},BZERO\n0,20,1e300,1e300,1,2.5,7\n"
    (folder / "temperatureLog.csv").write_text(log, encoding="utf-8")
    (frame,) = imported(tmp_path).files
    assert frame.outcome is Outcome.MADE
    assert np.array_equal(read_pixels(frame.fits).reshape(-1), np.fromfile(frame.raw, "<u2"))
    cards = read_cards(frame.fits)
    assert (cards["TEMP"], cards["CAMERA"], cards["ZEROFRAC"]) == (20.0, "SimCMOS", 0.0)
    assert imported(tmp_path).counts() == {Outcome.THERE: 1}


def test_a_size_that_no_camera_has_is_no_size(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "attempt1")
    rewrite(folder / "configFile.txt", lambda text: text.replace("=6", "=999999").replace(": 10", ": 999999"))
    found = imported(tmp_path)
    assert found.counts() == {Outcome.NO_SIZE: 3}
    assert "no camera makes images of 999999 x 999999 pixels" in said(found, "exp_1s_frame0.raw")


class FullDisk(Disk):
    """A disk with room for some files."""

    def __init__(self, files: int) -> None:
        self.left = files

    def create(self, path: Path) -> Stream:
        if self.left == 0:
            raise OSError(28, "No space left on device")
        self.left -= 1
        return super().create(path)


class ReadOnlyDisk(Disk):
    """A disk on which nothing new can be made."""

    def make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            raise OSError(30, "Read-only file system")

    def create(self, path: Path) -> Stream:
        raise OSError(30, "Read-only file system")


def test_frames_that_are_there_stay_in_the_table_when_the_disk_is_full(tmp_path: Path) -> None:
    for number in (1, 3):
        attempt(tmp_path / f"attempt{number}")
    assert imported(tmp_path).is_whole
    attempt(tmp_path / "attempt2", frames=4)
    found = imported(tmp_path, FullDisk(3))
    assert found.counts() == {Outcome.THERE: 6, Outcome.MADE: 3, Outcome.NOT_WRITTEN: 1}
    assert found.problem  # the table that was there stays
    assert len(rows(found)) == 6
    again = imported(tmp_path)
    assert again.counts() == {Outcome.THERE: 9, Outcome.MADE: 1}
    assert len(rows(again)) == 10


def test_a_complete_dataset_that_may_only_be_read_is_complete(tmp_path: Path) -> None:
    attempt(tmp_path / "attempt1")
    imported(tmp_path)
    before = changed_at(tmp_path)
    found = imported(tmp_path, ReadOnlyDisk())
    assert found.is_whole
    assert found.counts() == {Outcome.THERE: 3}
    assert changed_at(tmp_path) == before
    attempt(tmp_path / "attempt2")
    found = imported(tmp_path, ReadOnlyDisk())
    assert found.counts() == {Outcome.THERE: 3, Outcome.NOT_WRITTEN: 3}
    assert {each.notes for each in found.files[3:]} == {("it was not written: Read-only file system",)}


def test_a_second_import_waits_for_nobody_and_says_who_is_at_work(tmp_path: Path) -> None:
    attempt(tmp_path / "attempt1")
    with DatasetLock(tmp_path), pytest.raises(StorageError, match="is being imported by") as refused:
        imported(tmp_path)
    assert refused.value.code is RunCode.CAMERA_BUSY
    assert not (tmp_path / "attempt1/fits").exists()
    assert imported(tmp_path).is_whole


def test_what_an_import_left_that_died_is_removed_and_what_another_one_writes_is_not(tmp_path: Path) -> None:
    folder = attempt(tmp_path / "attempt1")
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    ended, living = (folder / f"fits/.importing-{pid}" for pid in (int(dead.stdout), os.getppid()))
    for left in (ended, living):
        left.mkdir(parents=True)
        (left / "half.fits").write_bytes(b"SIMPLE")
    assert imported(tmp_path).is_whole
    assert (ended.exists(), living.exists()) == (False, True)


@pytest.mark.skipif(os.name == "nt", reason="no process can send itself these signals there")
@pytest.mark.parametrize(("sent", "call", "number"), [
    (signal.SIGINT, "create", 4), (signal.SIGINT, "replace", 2), (signal.SIGKILL, "create", 4),
    (signal.SIGKILL, "replace", 2), (signal.SIGTERM, "create", 2),
])  # fmt: skip
def test_an_import_that_is_stopped_leaves_no_half_frame_and_a_second_one_goes_on(
    tmp_path: Path, sent: signal.Signals, call: str, number: int
) -> None:
    folder = attempt(tmp_path / "attempt1", frames=12)
    command = [sys.executable, "-m", "tests.support.stopped_import", str(tmp_path), sent.name, call, str(number)]
    done = started.run(command)
    assert done.returncode == (-sent if sent is signal.SIGKILL else Exit.INTERRUPTED)
    whole = list((folder / "fits").glob("*.fits"))
    assert [read_pixels(path).shape for path in whole] == [(HEIGHT, WIDTH)] * len(whole)
    if sent is not signal.SIGKILL:
        assert "run the same command again to continue" in done.stderr
        assert not list(folder.rglob(".importing*"))
    found = import_raws(with_the_rest(tmp_path), Conversion())
    assert found.counts() == ({Outcome.MADE: 12} if not whole else {Outcome.THERE: 1, Outcome.MADE: 11})
    assert not list(folder.rglob(".importing*"))
    assert len(rows(found)) == 12


@pytest.mark.parametrize("spoil", [
    lambda folder: (folder / "attempt1/fits").write_text("in the way", encoding="utf-8"),
    lambda folder: (folder / "fits_index.csv").mkdir(),
], ids=["frames", "table"])  # fmt: skip
def test_a_dataset_that_cannot_be_written_says_what_to_do(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    attempt(tmp_path / "attempt1")
    spoil(tmp_path)
    command = [sys.executable, "-m", "services.cli.main", "dataset", "import", str(tmp_path)]
    done = started.run(command)
    assert done.returncode in {Exit.SOME_FAILED, Exit.STORAGE}
    assert "--out DIR" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert started.run([*command, "--out", str(tmp_path / "elsewhere")]).returncode == Exit.DONE
