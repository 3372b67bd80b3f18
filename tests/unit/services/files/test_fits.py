"""Frames on disk: astropy agrees with every byte, foreign and broken files end in our own errors."""

import gzip
import hashlib
import subprocess
import sys
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits as astropy_fits
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.errors import CalibrationError
from calibration.frames import Frame, FrameHeader, FrameKind, pixel_sha256
from calibration.keywords import Card
from services.errors import RunCode, StorageError
from services.files import fits, parsing
from services.files.cards import _card_text, add_sums, encode_sum, header_block, sum_of
from services.files.pixels import encode_summed
from tests.support.failing_disks import FullDisk, RecordingDisk
from tests.support.places import ROOT

HEADER = FrameHeader(
    kind=FrameKind.DARK,
    shape=(31, 47),
    exposure_us=1_500_000,
    reported_exposure_us=1_500_123,
    date_obs=datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC),
    set_id="set-1",
    run_id="20260102T030405_abcd",
    frame_no=7,
    instrument="Simulated 'QHY' 600M",
    gain=26,
    offset=0,
    ccd_temp_c=-9.93,
    set_temp_c=-10.0,
    row_order="TOP-DOWN",
    simulated=True,
)


def random_pixels(dtype: str, shape: tuple[int, int] = (31, 47)) -> np.ndarray:
    rng = np.random.default_rng(5)
    if np.dtype(dtype).kind == "f":
        return rng.normal(1000, 50, shape).astype(dtype)
    info = np.iinfo(dtype)
    pixels = rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    pixels[0, :2] = info.min, info.max
    return pixels


def frame(pixels: np.ndarray) -> Frame:
    return Frame(header=HEADER, pixels=pixels)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "f4", "f8"])
@pytest.mark.parametrize("shape", [(31, 47), (1, 1), (720, 4)])
def test_astropy_reads_what_we_write_and_agrees_with_the_sums(
    tmp_path: Path, dtype: str, shape: tuple[int, int]
) -> None:
    pixels = random_pixels(dtype, shape) if shape != (1, 1) else np.array([[7]], dtype)
    path = tmp_path / "x.fits"
    stored = fits.write_frame(path, frame(pixels))
    with astropy_fits.open(path, checksum=True) as units:
        units.verify("exception")
        np.testing.assert_array_equal(units[0].data, pixels)
        assert units[0].data.dtype.newbyteorder("=") == pixels.dtype
        assert units[0].verify_checksum() == units[0].verify_datasum() == 1
    assert stored.size == path.stat().st_size
    assert stored.size % 2880 == 0
    assert stored.mtime_ns == path.stat().st_mtime_ns
    back = fits.read_frame(path)
    np.testing.assert_array_equal(back.pixels, pixels)
    assert back.pixels.dtype == pixels.dtype


def test_a_camera_frame_is_uint16_with_bzero_32768(tmp_path: Path) -> None:
    fits.write_frame(tmp_path / "x.fits", frame(random_pixels("u2")))
    header = astropy_fits.getheader(tmp_path / "x.fits")
    assert (header["BITPIX"], header["BZERO"], header["BSCALE"]) == (16, 32768, 1)
    assert header["INSTRUME"] == "Simulated 'QHY' 600M"
    assert header["SIMULATE"] is True


def test_the_header_comes_back(tmp_path: Path) -> None:
    fits.write_frame(tmp_path / "x.fits", frame(random_pixels("u2")))
    assert fits.read_header(tmp_path / "x.fits") == HEADER


@pytest.mark.parametrize("text", ["0'/", "a'/b", "a'' / b"])
def test_quotes_and_slashes_in_a_text_come_back(tmp_path: Path, text: str) -> None:
    """The reader of astropy ends the first two at the quote."""
    header = replace(HEADER, software=text)
    fits.write_frame(tmp_path / "x.fits", replace(frame(random_pixels("u2")), header=header))
    assert fits.read_header(tmp_path / "x.fits").software == text


def test_the_hash_is_of_values_not_of_files(tmp_path: Path) -> None:
    pixels = random_pixels("u2")
    stored = fits.write_frame(tmp_path / "x.fits", frame(pixels))
    assert stored.pixel_sha256 == hashlib.sha256(pixels.astype("<u2").tobytes()).hexdigest()
    assert stored.pixel_sha256 == pixel_sha256(pixels), "frames are recognised by what was measured on them"
    assert fits.pixel_hash(fits.read_pixels(tmp_path / "x.fits")) == stored.pixel_sha256
    big_endian_view = np.asfortranarray(pixels.astype(">u2"))
    assert fits.pixel_hash(big_endian_view) == stored.pixel_sha256


def test_pixels_that_are_not_contiguous_are_written_in_order(tmp_path: Path) -> None:
    whole = random_pixels("u2", (64, 96))
    fits.write_frame(tmp_path / "x.fits", frame(whole[3::2, ::-3]))
    np.testing.assert_array_equal(fits.read_pixels(tmp_path / "x.fits"), whole[3::2, ::-3])


def test_more_pixels_than_one_piece(tmp_path: Path) -> None:
    pixels = np.arange(2100 * 1001, dtype=np.uint32).astype(np.uint16).reshape(2100, 1001)
    fits.write_frame(tmp_path / "x.fits", frame(pixels))
    with astropy_fits.open(tmp_path / "x.fits", checksum=True) as units:
        np.testing.assert_array_equal(units[0].data, pixels)


def test_pixels_of_a_strange_type_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="complex128"):
        fits.write_frame(tmp_path / "x.fits", frame(np.zeros((2, 2), complex)))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_no_half_frame(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        fits.write_frame(tmp_path / "x.fits", frame(random_pixels("u2")), FullDisk(1000))
    assert caught.value.code is RunCode.DISK_FULL
    assert not list(tmp_path.iterdir())


def test_a_power_cut_while_a_frame_is_written_leaves_it_whole_or_not_at_all(tmp_path: Path) -> None:
    disk, path = RecordingDisk(), tmp_path / "x.fits"
    fits.write_frame(path, frame(random_pixels("u2")), disk)
    whole = path.read_bytes()
    for steps in range(len(disk.steps) + 1):
        for names_kept in (True, False):
            assert disk.after_power_cut(steps, names_kept=names_kept).get(path, whole) == whole


def test_bands_can_be_read_raw(tmp_path: Path) -> None:
    pixels = random_pixels("u2")
    fits.write_frame(tmp_path / "x.fits", frame(pixels))
    where = fits.pixel_location(tmp_path / "x.fits")
    assert where is not None
    assert (where.bitpix, where.bzero, where.shape, where.dtype) == (16, 32768, (31, 47), np.dtype(">i2"))
    with (tmp_path / "x.fits").open("rb") as file:
        file.seek(where.offset + 10 * where.row_bytes)
        raw = file.read(4 * where.row_bytes)
    np.testing.assert_array_equal(fits.decode(raw, where, 4), pixels[10:14])


# --- foreign files ----------------------------------------------------------------------------------------------------


def foreign(path: Path, data: np.ndarray, **cards: object) -> Path:
    unit = astropy_fits.PrimaryHDU(data)
    unit.header["IMAGETYP"] = "Dark Frame"
    unit.header.update(cards)
    unit.writeto(path)
    return path


def test_scaled_pixels_are_decoded_not_read_raw(tmp_path: Path) -> None:
    path = tmp_path / "scaled.fits"
    unit = astropy_fits.PrimaryHDU(np.arange(12, dtype=np.int16).reshape(3, 4))
    unit.header["IMAGETYP"] = "BIAS"
    unit.header["BSCALE"], unit.header["BZERO"] = 0.5, 10.0
    unit.writeto(path)
    with astropy_fits.open(path, mode="update", do_not_scale_image_data=True) as units:
        units[0].header["BSCALE"], units[0].header["BZERO"] = 0.5, 10.0
    assert fits.pixel_location(path) is None
    np.testing.assert_allclose(fits.read_pixels(path), 10 + 0.5 * np.arange(12).reshape(3, 4))


@pytest.mark.parametrize("name", ["x.fits.gz", "x.fits.fz"])
def test_compressed_files_are_read_whole(tmp_path: Path, name: str) -> None:
    pixels = np.random.default_rng(1).poisson(500, (40, 50)).astype(np.uint16)
    path = tmp_path / name
    if name.endswith("gz"):
        plain = foreign(tmp_path / "x.fits", pixels, EXPTIME=2.0)
        path.write_bytes(gzip.compress(plain.read_bytes()))
    else:
        unit = astropy_fits.CompImageHDU(pixels, compression_type="RICE_1")
        unit.header["IMAGETYP"], unit.header["EXPTIME"] = "DARK", 2.0
        unit.writeto(path)
    assert fits.pixel_location(path) is None
    back = fits.read_frame(path)
    np.testing.assert_array_equal(back.pixels, pixels)
    assert (back.header.kind, back.header.exposure_us, back.header.shape) == (FrameKind.DARK, 2_000_000, (40, 50))


def test_a_compressed_image_under_a_plain_name(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).poisson(500, (40, 50)).astype(np.uint16)
    unit = astropy_fits.CompImageHDU(pixels, compression_type="RICE_1")
    unit.header["IMAGETYP"] = "FLAT"
    unit.writeto(tmp_path / "x.fits")
    assert fits.pixel_location(tmp_path / "x.fits") is None
    np.testing.assert_array_equal(fits.read_frame(tmp_path / "x.fits").pixels, pixels)


def test_an_image_in_an_extension_is_found(tmp_path: Path) -> None:
    pixels = random_pixels("u2")
    image = astropy_fits.ImageHDU(pixels)
    image.header["IMAGETYP"] = "Flat Field"
    table = astropy_fits.BinTableHDU.from_columns([astropy_fits.Column("a", "J", array=np.arange(1000))])
    astropy_fits.HDUList([astropy_fits.PrimaryHDU(), table, image]).writeto(tmp_path / "x.fits")
    back = fits.read_frame(tmp_path / "x.fits")
    np.testing.assert_array_equal(back.pixels, pixels)
    assert back.header.kind is FrameKind.FLAT


def test_a_cube_of_one_plane_is_a_frame_and_one_of_three_is_not(tmp_path: Path) -> None:
    one = foreign(tmp_path / "one.fits", np.ones((1, 4, 5), np.int16))
    assert fits.read_frame(one).pixels.shape == (4, 5)
    three = foreign(tmp_path / "three.fits", np.ones((3, 4, 5), np.int16))
    with pytest.raises(fits.Unreadable, match="3 axes"):
        fits.read_frame(three)


def test_headers_padded_with_nuls_and_cards_nobody_understands(tmp_path: Path) -> None:
    path = foreign(tmp_path / "x.fits", np.ones((4, 5), np.int16), EXPTIME=3.0, OBSERVER="A")
    raw = bytearray(path.read_bytes())
    at = raw.index(b"OBSERVER")
    raw[at : at + 80] = b"OBSERVER= 'no end of this text".ljust(40) + b"\0" * 40
    path.write_bytes(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fits.read_header(path).exposure_us == 3_000_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no FITS file|holds no image"),
        (b"not a FITS file, just some text" * 200, "no FITS file"),
        (b"SIMPLE  =                    T".ljust(80) * 36, "no end"),
        (b"\x89PNG\r\n\x1a\n" + bytes(5000), "no FITS file"),
    ],
)
def test_other_files_are_unreadable_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(content)
    for read in (fits.read_header, fits.read_frame, fits.pixel_location, fits.read_pixels):
        with pytest.raises(fits.Unreadable, match=message) as caught:
            read(path)
        assert str(path) in caught.value.detail
        assert caught.value.code is RunCode.READ_FAILED


def test_a_missing_file_and_a_folder_are_unreadable(tmp_path: Path) -> None:
    for path in (tmp_path / "none.fits", tmp_path, tmp_path / "none.fits.gz"):
        with pytest.raises(fits.Unreadable):
            fits.read_frame(path)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 8639))
def test_a_frame_cut_anywhere_is_unreadable_or_whole(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("cut")
    fits.write_frame(folder / "x.fits", frame(random_pixels("u2")))
    whole = (folder / "x.fits").read_bytes()
    (folder / "cut.fits").write_bytes(whole[:cut])
    needed = len(whole) - (-31 * 47 * 2) % 2880
    if cut >= needed:  # only padding is missing
        assert fits.read_frame(folder / "cut.fits").pixels.shape == (31, 47)
        return
    with pytest.raises(fits.Unreadable):
        fits.read_frame(folder / "cut.fits")


@settings(max_examples=80, deadline=None)
@given(st.binary(min_size=1, max_size=80), st.integers(0, 2879))
def test_a_damaged_header_never_ends_in_a_foreign_error(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int
) -> None:
    path = tmp_path_factory.mktemp("noise") / "x.fits"
    fits.write_frame(path, frame(random_pixels("u2")))
    raw = bytearray(path.read_bytes())
    raw[at : at + len(noise)] = noise
    path.write_bytes(raw)
    try:
        fits.read_frame(path)
    except (StorageError, CalibrationError):
        return


@given(
    st.one_of(
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200).map(str.rstrip),
        st.booleans(),
        st.integers(-(2**40), 2**40),
        st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_cards_that_astropy_writes_are_read(value: str | bool | float) -> None:
    header = astropy_fits.Header([("BITPIX", 16), ("SOMETHNG", value, "a comment / with 'marks'"), ("AFTER", 1)])
    cards = parsing.parse(bytearray(header.tostring().encode()))
    assert cards["SOMETHNG"] == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value)
    assert type(cards["SOMETHNG"]) is type(value)
    assert cards["AFTER"] == 1


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("EXPTIME =   3.00000000000D+002 / Fortran", 300.0),
        ("EXPTIME = 2.5/no space", 2.5),
        ("EXPTIME = '120.00  '           /", "120.00"),
        ("EXPTIME =                      / undefined", None),
        ("EXPTIME = 'O''Brien''s'", "O'Brien's"),
        ("EXPTIME = 'never closed", None),
        ("exptime = 7", 7),
        ("EXPTIME  3.0", None),
        ("HIERARCH EXPTIME = 1.5 / hierarchical", 1.5),
    ],
)
def test_cards_of_other_programs(card: str, expected: object) -> None:
    assert parsing.parse(bytearray(card.ljust(80).encode() + b"END".ljust(80))).get("EXPTIME") == expected


# --- sums -------------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=400))
def test_the_sum_is_that_of_astropy(data: bytes) -> None:
    padded = data + bytes(-len(data) % 4)
    unit = astropy_fits.PrimaryHDU()
    expected = unit._compute_checksum(np.frombuffer(padded, np.uint8)) if padded else 0
    assert sum_of(data) == expected


@given(st.lists(st.binary(min_size=4, max_size=64).map(lambda b: b[: len(b) & ~3]), max_size=6))
def test_sums_of_pieces_add_up(pieces: list[bytes]) -> None:
    total = 0
    for piece in pieces:
        total = sum_of(piece, total)
    assert total == sum_of(b"".join(pieces))


@given(st.integers(0, 0xFFFFFFFF))
def test_the_sixteen_characters_bring_any_sum_to_all_ones(total: int) -> None:
    text = encode_sum(total)
    assert text.isalnum()
    # in the card the text starts in the last byte of a word; zeros stand there while the sum is taken
    shifted = text[1:] + text[:1]
    zeros = sum_of(b"0" * 16)
    value = add_sums(sum_of(shifted.encode()), 0xFFFFFFFF - zeros)
    assert add_sums(total, value) in {0xFFFFFFFF, 0}


def test_cards_that_fits_cannot_hold_are_left_out_and_long_ones_fit() -> None:
    cards = [
        Card("SIMPLE", value=True),
        Card("BITPIX", 8),
        Card("NAXIS", 0),
        Card("BAD", float("nan")),
        Card("LONGTEXT", "µ'x" * 40, "a comment that has no room here at all, none whatsoever"),
        Card("COMMENTD", 1.25, "a comment that is so long that a card of eighty characters cannot hold it whole"),
        Card("LONGER_THAN_EIGHT", 5, "a hierarchical keyword with a comment that needs to be cut to fit"),
        Card("HISTORY", "line " * 30),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        block = header_block(cards, datasum=0, size=2880 * 3)
        header = astropy_fits.Header.fromstring(block.decode())
        assert header["LONGTEXT"] == "?'x" * 40
        assert header["LONGER_THAN_EIGHT"] == 5
        assert "BAD" not in header
    assert len(block) == 2880 * 3
    assert sum_of(block) in {0xFFFFFFFF, 0}


TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126))


@settings(max_examples=200, deadline=None)
@given(
    keyword=st.from_regex(r"[A-Z][A-Z0-9_-]{0,7}", fullmatch=True),
    value=st.one_of(TEXTS, st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
    comment=TEXTS,
)
def test_cards_are_those_of_astropy(keyword: str, value: str | float, comment: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a comment that is cut
        expected = str(astropy_fits.Card(keyword, value, comment))
        assert _card_text(keyword, value, comment) == expected


@pytest.mark.parametrize("text", ["", "short", "x" * 72, "a line 'and' more than a line " * 5])
@pytest.mark.parametrize("keyword", ["HISTORY", "COMMENT", ""])
def test_commentary_is_that_of_astropy(keyword: str, text: str) -> None:
    assert _card_text(keyword, text) == str(astropy_fits.Card(keyword, text))


def test_writing_a_frame_does_not_need_astropy(tmp_path: Path) -> None:
    code = "import sys, numpy; from datetime import datetime, UTC; from pathlib import Path; "
    code += (
        "from services.files.fits import write_frame; from calibration.frames import Frame, FrameHeader, FrameKind; "
    )
    code += "header = FrameHeader(kind=FrameKind.DARK, shape=(4, 8), exposure_us=1, set_id='a', gain=1); "
    code += f"write_frame(Path({str(tmp_path / 'a.fits')!r}), Frame(header=header, pixels=numpy.zeros((4, 8), 'u2'))); "
    code += "print('astropy' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    assert said.stdout.strip() == "False"


@pytest.mark.parametrize("size", [0, 2, 7, 4096])
def test_pixels_are_encoded_and_summed_as_the_slow_way_does(size: int) -> None:
    values = np.random.default_rng(size).integers(0, 1 << 16, size, dtype=np.uint16)
    stored, total = encode_summed(values, np.empty(size, np.uint16))
    assert stored.tobytes() == (values.astype(np.int32) - 32768).astype(">i2").tobytes()
    assert total == sum_of(stored.tobytes())


@pytest.mark.parametrize("size", [0, 1, 7, 4096])
def test_real_values_are_encoded_and_summed_as_the_slow_way_does(size: int) -> None:
    values = np.random.default_rng(size).normal(500, 6, size).astype(np.float32)
    values[3:4] = np.nan
    stored, total = encode_summed(values, np.empty(size, np.float32))
    assert stored.tobytes() == values.astype(">f4").tobytes()
    assert total == sum_of(stored.tobytes())


@pytest.mark.parametrize("size", [1 << 16, (1 << 16) + 3, 300_001])
def test_large_data_are_summed_as_small_pieces_of_them_are(size: int) -> None:
    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8).tobytes()
    total = 0
    for start in range(0, size, 4000):
        total = sum_of(data[start : start + 4000], total)
    assert sum_of(data) == total
    assert sum_of(bytearray(data), 12345) == add_sums(total, 12345)
