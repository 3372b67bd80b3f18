"""Files that are no FITS, or lie: always `Unreadable` or `HeaderError`, soon, and in little memory."""

import gzip
import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits as astropy_fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.errors import HeaderError
from calibration.frames import FrameHeader
from services.catalogue.catalogue import Catalogue
from services.errors import RunCode
from services.files.fits import Unreadable, pixel_location, read_cards, read_frame, read_header, read_pixels
from services.files.layout import Layout
from services.files.units import Unit
from services.indexing import reading
from services.indexing.checksums import check_sum
from services.indexing.index import index_folder
from tests.support.places import SHARED

REAL = SHARED / "data" / "headers"
MEMORY_BYTES = 4_000_000
READERS: tuple[Callable[[Path], object], ...] = (read_header, read_cards, read_pixels, read_frame, pixel_location)

few = partial(settings, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])


@contextmanager
def little_memory(limit: int = MEMORY_BYTES) -> Iterator[None]:
    """Fail when more than `limit` bytes were allocated at once."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak} bytes were allocated"


def read_all(path: Path) -> set[str]:
    """Read a file in every way there is; return which of our errors that gave."""
    seen = set()
    with little_memory():
        for reader in READERS:
            try:
                reader(path)
            except (Unreadable, HeaderError) as error:
                seen.add(type(error).__name__)
    return seen


def card(keyword: str, value: object) -> bytes:
    return f"{keyword:<8}= {value!s:>20}".encode("latin-1").ljust(80)[:80]


def header(**cards: object) -> bytes:
    """Return a header block of plain cards, in the order given; values as they are to stand there."""
    body = b"".join(card(keyword, value) for keyword, value in cards.items()) + b"END".ljust(80)
    return body.ljust(-(-len(body) // 2880) * 2880)


def image(**changes: object) -> bytes:
    """Return a file of 4 x 3 pixels with some of its cards changed."""
    cards: dict[str, object] = {"SIMPLE": "T", "BITPIX": 16, "NAXIS": 2, "NAXIS1": 4, "NAXIS2": 3, "IMAGETYP": "'DARK'"}
    return header(**{**cards, **changes}) + bytes(2880)


def samples() -> list[bytes]:
    """Return honest files: ours, and headers of foreign programs where they are at hand."""
    made = [image(), image(BZERO=32768, EXPTIME=1.5, GAIN=100, **{"DATE-OBS": "'2026-01-01T18:00:00'"})]
    found = sorted(REAL.glob("*.fit")) if REAL.is_dir() else []
    return made + [path.read_bytes()[:17_280] for path in found]


SAMPLES = samples()


def test_the_files_that_are_broken_below_can_be_read_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "dark.fits"
    path.write_bytes(image())
    assert read_all(path) == set()
    assert read_pixels(path).shape == (3, 4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"NAXIS": 10**9}, "NAXIS = 1000000000"),
        ({"NAXIS": -2}, "NAXIS = -2"),
        ({"NAXIS": "1E30"}, "NAXIS = 1000000000000000019884624838656"),
        ({"NAXIS": "'two'"}, "dark.fits: "),
        ({"NAXIS": "1E400"}, "dark.fits: "),
        ({"NAXIS1": 10**9, "NAXIS2": 10**9}, "no camera makes"),
        ({"NAXIS1": 1 << 40, "NAXIS2": 1 << 40}, "no camera makes"),
        ({"NAXIS1": 20_000, "NAXIS2": 20_000}, "truncated"),
        ({"NAXIS1": -4}, "less than no data"),
        ({"NAXIS1": -4, "NAXIS2": -3}, "less than no data"),
        ({"NAXIS1": 0}, "dark.fits: "),
        ({"NAXIS1": "NaN"}, "dark.fits: "),
        ({"NAXIS1": "INF"}, "dark.fits: "),
        ({"BITPIX": 17}, "BITPIX"),
        ({"BITPIX": 1 << 60}, "BITPIX"),
        ({"BITPIX": "1D300"}, "BITPIX"),
        ({"PCOUNT": -(10**9)}, "less than no data"),
        ({"GCOUNT": -1}, "less than no data"),
        ({"GCOUNT": 10**18}, "truncated"),
        ({"PCOUNT": "9" * 60}, "truncated"),
        ({"NAXIS": 3, "NAXIS3": 3}, "3 axes"),
        ({"NAXIS": 999}, "dark.fits: "),
    ],
)
def test_a_lying_structure_is_refused_by_name_and_costs_nothing(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    path = tmp_path / "dark.fits"
    path.write_bytes(image(**changes))
    assert read_all(path) == {"Unreadable"}
    with pytest.raises(Unreadable, match=words):
        read_header(path)


def test_negative_sizes_of_a_unit_before_the_image_do_not_read_in_circles(tmp_path: Path) -> None:
    path = tmp_path / "dark.fits"
    table = {"XTENSION": "'BINTABLE'", "BITPIX": 8, "NAXIS": 2, "NAXIS1": 1, "NAXIS2": 1}
    path.write_bytes(header(SIMPLE="T", BITPIX=8, NAXIS=0) + header(**table, PCOUNT=-2881, GCOUNT=1) + bytes(2880))
    assert read_all(path) == {"Unreadable"}


def test_a_file_of_thousands_of_empty_units_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "dark.fits"
    path.write_bytes(header(SIMPLE="T", BITPIX=8, NAXIS=0) + 2000 * header(XTENSION="'IMAGE'", BITPIX=8, NAXIS=0))
    assert read_all(path) == {"Unreadable"}


def test_a_sparse_file_that_holds_what_no_camera_makes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dark.fits"
    with path.open("wb") as file:
        file.write(image(NAXIS1=200_000, NAXIS2=100_000))
        try:
            file.truncate(40_000_002_880)
        except OSError:
            pytest.skip("no sparse files here")
    assert read_all(path) == {"Unreadable"}
    path.unlink()


def test_one_bad_card_costs_itself_only(tmp_path: Path) -> None:
    path = tmp_path / "dark.fits"
    bad = {
        "OFFSET": "1E300", "EXPTIME": "10.0", "FRAMENO": "1E17", "CCD-TEMP": "NAN",
        "DATE-END": "'9999-12-31T23:59:59-12'", "XBINNING": "0", "SITELAT": "'91 99 99'",
    }  # fmt: skip
    path.write_bytes(image(**bad))
    found = read_header(path)
    kept_apart = FrameHeader(kind=found.kind, shape=(3, 4), exposure_us=10_000_000, unread="OFFSET=1e+300; XBINNING=0")
    assert replace(found, extra={}) == kept_apart


@pytest.mark.parametrize(
    ("keyword", "written"),
    [
        ("DATE-OBS", "'0001-01-01T00:00:00+23:59'"),
        ("EXPOSURE", "'" + "1" * 30 + "/" + "3" * 30 + "'"),
        ("CCD-TEMP", "'minus ten'"),
        ("EXPTIME", "-INF"),
    ],
)
def test_a_fact_that_a_card_states_in_no_known_form_is_not_taken_for_missing(
    tmp_path: Path, keyword: str, written: str
) -> None:
    path = tmp_path / "dark.fits"
    path.write_bytes(image(**{keyword: written}))
    with pytest.raises(HeaderError, match=keyword):
        read_header(path)


def test_settings_in_no_known_form_tell_frames_apart_by_their_text(tmp_path: Path) -> None:
    path = tmp_path / "dark.fits"
    path.write_bytes(image(GAIN="'High'", BINNING="'" + "7" * 20 + "x2'", OFFSET="'low'"))
    assert read_header(path).unread == f"GAIN=High; OFFSET=low; BINNING={'7' * 20}x2"


def test_text_that_goes_on_for_ever_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "dark.fits"
    lines = b"FILTER  = 'L&'".ljust(80) + 10_000 * (b"CONTINUE  '" + b"x" * 66 + b"&'").ljust(80)
    plain = image()
    end = plain.index(b"END  ")
    body = plain[:end] + lines + b"END".ljust(80)
    path.write_bytes(body.ljust(-(-len(body) // 2880) * 2880) + bytes(2880))
    with little_memory(20_000_000):
        found = read_header(path)
    assert found.filter is not None
    assert len(found.filter) < 20_000


def test_a_sum_of_thousands_of_digits_is_none(tmp_path: Path) -> None:
    path = tmp_path / "dark.fits"
    lines = b"DATASUM = '1&'".ljust(80) + 100 * (b"CONTINUE  '" + b"7" * 66 + b"&'").ljust(80)
    plain = image()
    body = plain[: plain.index(b"END  ")] + lines + b"END".ljust(80)
    path.write_bytes(body.ljust(-(-len(body) // 2880) * 2880) + bytes(2880))
    check_sum(path)
    with Catalogue(tmp_path / ".nightcal" / "catalogue.sqlite") as catalogue:
        assert index_folder(catalogue, tmp_path).problems == ()


@pytest.mark.parametrize("content", [b"", b"SIMPLE", b"SIMPLE  =", b"\0" * 2880, b"SIMPLE  =" + b" " * 3_000_000])
def test_what_only_begins_like_a_file_is_refused(tmp_path: Path, content: bytes) -> None:
    for name in ("a.fits", "a.fits.gz", "a.fits.fz"):
        path = tmp_path / name
        path.write_bytes(content)
        with little_memory(12_000_000), pytest.raises(Unreadable):
            read_header(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dark.fits")
    assert read_all(tmp_path / "dark.fits") == {"Unreadable"}
    with Catalogue(tmp_path / ".nightcal" / "catalogue.sqlite") as catalogue:
        (problem,) = index_folder(catalogue, tmp_path).problems
        assert (problem.path, problem.code) == ("dark.fits", RunCode.OTHER_FILE)


# --- compressed -----------------------------------------------------------------------------------------------------


def test_a_small_gzipped_file_cannot_announce_a_large_image(tmp_path: Path) -> None:
    path = tmp_path / "dark.fits.gz"
    path.write_bytes(gzip.compress(image(NAXIS1=20_000, NAXIS2=20_000)))
    assert read_all(path) == {"Unreadable"}


def test_a_gzipped_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "dark.fits.gz"
    path.write_bytes(gzip.compress(image() + bytes(200_000_000), 1))
    assert read_all(path) == set()  # what lies behind the image is of no concern


@pytest.mark.parametrize("cut", [0, 5, 12, 60, 300])
def test_a_truncated_gzipped_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "dark.fits.gz"
    pixels = np.random.default_rng(1).integers(0, 9, (3, 4), dtype=np.int16)
    whole = gzip.compress(image()[:2880] + pixels.tobytes().ljust(2880, b"\1"))
    path.write_bytes(whole[: min(cut, len(whole) - 20)])
    with pytest.raises(Unreadable):
        read_pixels(path)


def packed(tmp_path: Path) -> bytes:
    """Return a tile-compressed frame of 64 x 48 pixels."""
    path = tmp_path / "whole.fits.fz"
    pixels = np.random.default_rng(1).integers(400, 600, (48, 64), dtype=np.uint16)
    unit = astropy_fits.CompImageHDU(pixels, compression_type="RICE_1")
    unit.header["IMAGETYP"] = "DARK"
    astropy_fits.HDUList([astropy_fits.PrimaryHDU(), unit]).writeto(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ZNAXIS1", 20_000), ("ZNAXIS2", 1 << 28), ("ZNAXIS1", -64), ("ZNAXIS", 900), ("ZNAXIS", -1),
        ("ZTILE1", 1 << 30), ("ZTILE2", 0), ("ZBITPIX", 99), ("NAXIS2", 1 << 40), ("PCOUNT", -5),
        ("TFIELDS", 99_999), ("ZBITPIX", -64),
    ],
)  # fmt: skip
def test_a_lying_compressed_image_is_refused(tmp_path: Path, keyword: str, value: int) -> None:
    content = packed(tmp_path)
    at = content.index(f"{keyword:<8}=".encode())
    path = tmp_path / "dark.fits.fz"
    path.write_bytes(content[:at] + card(keyword, value) + content[at + 80 :])
    assert read_all(path) <= {"Unreadable", "HeaderError"}


# --- chance ---------------------------------------------------------------------------------------------------------


def any_bytes(tmp_path: Path, content: bytes) -> None:
    for name in ("dark.fits", "dark.fits.gz"):
        (tmp_path / name).write_bytes(content)
        assert read_all(tmp_path / name) <= {"Unreadable", "HeaderError"}


def mutated(tmp_path: Path, data: st.DataObject) -> None:
    """Change a real file in places, most of them within its header, cut it, and read it."""
    content = bytearray(data.draw(st.sampled_from(SAMPLES)))
    head = min(len(content), 5760)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, head - 1))
        piece = data.draw(st.one_of(st.binary(min_size=1, max_size=12), st.sampled_from(PIECES)))
        content[at : at + len(piece)] = piece
    path = tmp_path / "dark.fits"
    path.write_bytes(content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))])
    assert read_all(path) <= {"Unreadable", "HeaderError"}


PIECES = [b"NAXIS   = ", b"= 9999999999", b"= -1", b"END     ", b"'", b"''", b"&'", b"CONTINUE  ", b"1E999", b"NaN",
          b"/", b"\xff", b"\0\0\0", b"HIERARCH ", b"XTENSION= 'IMAGE   '", b"ZIMAGE  =      T"]  # fmt: skip


@given(st.data())
@few(max_examples=40)
def test_a_damaged_compressed_file_ends_in_our_errors(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "whole.fits.fz"
    content = bytearray(path.read_bytes() if path.exists() else packed(tmp_path))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(2880, len(content) - 1))
        content[at : at + 4] = data.draw(st.binary(min_size=1, max_size=4))
    (tmp_path / "dark.fits.fz").write_bytes(content)
    assert read_all(tmp_path / "dark.fits.fz") <= {"Unreadable", "HeaderError"}


@given(st.one_of(st.binary(max_size=3000), st.binary(max_size=100).map(lambda b: b"SIMPLE  =" + b + image())))
@few(max_examples=60)
def test_random_bytes_end_in_our_errors(tmp_path: Path, content: bytes) -> None:
    any_bytes(tmp_path, content)


@given(st.data())
@few(max_examples=150)
def test_a_damaged_real_file_ends_in_our_errors(tmp_path: Path, data: st.DataObject) -> None:
    mutated(tmp_path, data)


@pytest.mark.long
@pytest.mark.timeout(1800)
@given(st.data())
@few(max_examples=20_000)
def test_many_damaged_real_files_end_in_our_errors(tmp_path: Path, data: st.DataObject) -> None:
    mutated(tmp_path, data)


CARD_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=70)
KEYWORDS = ["EXPTIME", "GAIN", "DATE-OBS", "CCD-TEMP", "XBINNING", "CCDSUM", "FILTER", "SITELAT", "JD", "MJD-OBS",
            "TIME-OBS", "PICTTYPE", "EXPOINUS", "BLKLEVEL", "BZERO", "BSCALE", "SATURATE", "NCOMBINE", "ROWORDER",
            "NIGHT", "SETID", "EGAIN", "SIMULATE", "OBSGEO-L"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(KEYWORDS), CARD_TEXT, max_size=8))
@few(max_examples=120)
def test_any_words_in_known_cards_keep_no_other_file_out(tmp_path: Path, words: dict[str, str]) -> None:
    (tmp_path / "other.fits").write_bytes(image()[:-2880] + b"\1" * 2880)
    (tmp_path / "dark.fits").write_bytes(image(**words))
    base = tmp_path / ".nightcal" / "catalogue.sqlite"
    base.unlink(missing_ok=True)
    with Catalogue(base) as catalogue, little_memory():
        report = index_folder(catalogue, tmp_path, layout=Layout(tmp_path))
        names = {row.path for row in catalogue.frames()}
    assert "other.fits" in names
    if names == {"other.fits"} and not report.problems:
        assert {"PICTTYPE", "NCOMBINE"} & set(words), "only a light frame or a master is left out without a word"
    else:
        assert report.indexed + len(report.problems) == 2
    assert report.indexed == len(names)


# --- folders --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a name be any bytes")
def test_a_name_that_is_no_text_is_reported_and_keeps_no_other_out(tmp_path: Path) -> None:
    (tmp_path / "dark.fits").write_bytes(image())
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/dark_\xff.fits")).write_bytes(image())
    with Catalogue(tmp_path / ".nightcal" / "catalogue.sqlite") as catalogue:
        report = index_folder(catalogue, tmp_path)
        assert [row.path for row in catalogue.frames()] == ["dark.fits"]
    (problem,) = report.problems
    assert problem.path == "dark_\\xff.fits"


def test_folders_deeper_than_any_stack_are_walked(tmp_path: Path) -> None:
    here = tmp_path
    try:
        for _ in range(1200):
            here /= "d"
            here.mkdir()
        (here / "dark.fits").write_bytes(image())
    except OSError:
        here = here.parent  # the system's longest name is shorter: as deep as it goes
    (tmp_path / "dark.fits").write_bytes(image())
    with Catalogue(tmp_path / ".nightcal" / "catalogue.sqlite") as catalogue:
        assert index_folder(catalogue, tmp_path).indexed >= 1
    while here != tmp_path:  # pytest's own tidying up goes down by recursion
        for left in here.glob("*.fits"):
            left.unlink()
        here.rmdir()
        here = here.parent


def test_a_file_that_vanishes_while_it_is_indexed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.fits", "dark.fits"):
        (tmp_path / name).write_bytes(image())
    unit_of = reading.image_unit

    def vanishing(path: Path) -> Unit:
        if path.name == "a.fits":
            path.unlink()
        return unit_of(path)

    monkeypatch.setattr(reading, "image_unit", vanishing)
    with Catalogue(tmp_path / ".nightcal" / "catalogue.sqlite") as catalogue:
        report = index_folder(catalogue, tmp_path)
        assert [row.path for row in catalogue.frames()] == ["dark.fits"]
    assert [problem.path for problem in report.problems] == ["a.fits"]
