"""Files that hold more than their frame: facts of the primary header, previews, companions, amplifiers; values."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits as astropy_fits

from services.files.fits import pixel_location, read_cards, read_header, read_pixels
from services.files.units import Unreadable, image_unit

FACTS = {"IMAGETYP": "DARK", "EXPTIME": 300.0, "GAIN": 100, "CCD-TEMP": -10.0}


def frame(level: int = 500, shape: tuple[int, int] = (12, 16)) -> np.ndarray:
    return np.random.default_rng(level).normal(level, 5, shape).astype(np.uint16)


def written(path: Path, *units: astropy_fits.ImageHDU, **cards: object) -> Path:
    main = astropy_fits.PrimaryHDU(header=astropy_fits.Header(list((FACTS | cards).items())))
    astropy_fits.HDUList([main, *units]).writeto(path)
    return path


PLAIN: Callable[..., astropy_fits.ImageHDU] = astropy_fits.ImageHDU
PACKED: Callable[..., astropy_fits.ImageHDU] = astropy_fits.CompImageHDU


@pytest.mark.parametrize(("suffix", "image"), [("fits", PLAIN), ("fits.fz", PACKED), ("fits.gz", PLAIN)])
def test_facts_of_the_primary_header_hold_for_an_image_in_an_extension(
    tmp_path: Path, suffix: str, image: Callable[..., astropy_fits.ImageHDU]
) -> None:
    pixels = frame()
    unit = image(pixels, name="SCI")
    unit.header["GAIN"] = 120
    unit.header["HISTORY"] = "of the image"
    path = tmp_path / f"d.{suffix}"
    main = astropy_fits.PrimaryHDU(header=astropy_fits.Header(list(FACTS.items())))
    main.header["HISTORY"] = "of the file"
    astropy_fits.HDUList([main, unit]).writeto(path)
    header = read_header(path)
    assert (header.exposure_us, header.ccd_temp_c, header.gain) == (300_000_000, -10.0, 120), "its own card counts"
    assert header.shape == pixels.shape
    assert np.array_equal(read_pixels(path), pixels)
    assert read_cards(path)["HISTORY"] == "of the file\nof the image"
    assert not {"ZCMPTYPE", "TFORM1", "NAXIS1", "ZBITPIX"} & set(read_cards(path))


@pytest.mark.parametrize("name", ["THUMB", "Preview", "QUICKLOOK", "JPEG", ""])
def test_a_preview_is_never_the_frame_wherever_it_stands(tmp_path: Path, name: str) -> None:
    pixels, preview = frame(), PLAIN(np.full((3, 4), 7, np.uint8), name=name or None)
    for path in (
        written(tmp_path / "before.fits", preview, PLAIN(pixels, name="SCI")),
        written(tmp_path / "behind.fits", PLAIN(pixels), preview.copy()),
    ):
        assert np.array_equal(read_pixels(path), pixels)
        assert len(image_unit(path).beside) == 1


def test_a_preview_that_says_so_may_be_larger_than_a_subframe(tmp_path: Path) -> None:
    path = written(tmp_path / "d.fits", PLAIN(frame(shape=(60, 80)), name="THUMBNAIL"), PLAIN(frame(), name="SCI"))
    assert read_header(path).shape == (12, 16)


@pytest.mark.parametrize("names", [("ERR", "DQ"), ("VAR",), ("MASK", "UNCERT"), ("wht",), ("ERR_1", "DQ_1")])
def test_companions_of_the_frame_are_not_the_frame_and_are_named(tmp_path: Path, names: tuple[str, ...]) -> None:
    beside = [PLAIN(np.zeros((12, 16), np.int16), name=name) for name in names]
    path = written(tmp_path / "d.fits", PLAIN(frame(), name="SCI"), *beside)
    assert image_unit(path).name == "SCI"
    assert image_unit(path).beside == tuple(name.upper() for name in names)


@pytest.mark.parametrize("names", [("AMP1", "AMP2", "AMP3", "AMP4"), ("SCI", "SCI"), ("", "")])
def test_images_that_could_each_be_the_frame_are_refused_by_name(tmp_path: Path, names: tuple[str, ...]) -> None:
    units = [PLAIN(frame(500 + 100 * n), name=name or None, ver=n + 1) for n, name in enumerate(names)]
    path = written(tmp_path / "d.fits", *units)
    with pytest.raises(Unreadable, match=f"holds {len(names)} images") as caught:
        read_header(path)
    assert caught.value.code == "several_images"
    assert image_unit_names(str(caught.value)) == len(names)


def image_unit_names(text: str) -> int:
    return len(text.partition("(")[2].partition(")")[0].split(", "))


def test_what_follows_the_frame_in_no_known_form_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "d.fits"
    astropy_fits.PrimaryHDU(frame(), astropy_fits.Header(list(FACTS.items()))).writeto(path)
    path.write_bytes(path.read_bytes() + b"\0" * 5000 + b"trailing words of a capture program")
    assert np.array_equal(read_pixels(path), frame())


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("stored", "bzero", "bscale"),
    [
        (np.int16, 0, 1),
        (np.int16, 32768, 1),
        (np.int32, 0, 1),
        (np.uint8, 0, 1),
        (np.int16, 100, 2),
        (np.int16, 0, 0.5),
    ],
)
def test_a_stored_number_that_is_blank_is_no_value(
    tmp_path: Path, stored: type[np.integer], bzero: float, bscale: float, packed: bool
) -> None:
    blank = int(np.iinfo(stored).min)
    numbers = np.random.default_rng(1).integers(40, 90, (8, 9)).astype(stored)
    numbers[3, 4] = blank
    unit = (PACKED if packed else PLAIN)(numbers, astropy_fits.Header([("BLANK", blank)]))
    for keyword, value, usual in (("BZERO", bzero, 0), ("BSCALE", bscale, 1)):
        if value != usual:
            unit.header[keyword] = value
    path = tmp_path / "d.fits"
    main = astropy_fits.PrimaryHDU(header=astropy_fits.Header(list(FACTS.items())))
    astropy_fits.HDUList([main, unit]).writeto(path, output_verify="ignore")
    pixels = read_pixels(path)
    assert np.isnan(pixels[3, 4])
    assert np.count_nonzero(np.isnan(pixels)) == 1
    assert pixels[0, 0] == bzero + bscale * int(numbers[0, 0])
    assert pixel_location(path) is None, "raw reads would take the number for a value"


def test_a_blank_card_without_undefined_pixels_leaves_integers(tmp_path: Path) -> None:
    unit = PLAIN((frame() - 32768).astype(np.int16), astropy_fits.Header([("BLANK", -32768)]))
    unit.header["BZERO"] = 32768
    path = tmp_path / "d.fits"
    main = astropy_fits.PrimaryHDU(header=astropy_fits.Header(list(FACTS.items())))
    astropy_fits.HDUList([main, unit]).writeto(path, output_verify="ignore")
    assert read_pixels(path).dtype == np.uint16


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hα".encode(), "Hβ".encode()),
        (b"Gr\xfcn", b"Gr\xf6n"),
        (b"A\x80", b"A\x81"),
        ("Красный".encode(), "Синий".encode()),
    ],
)
def test_texts_of_different_bytes_stay_different(tmp_path: Path, one: bytes, other: bytes) -> None:
    found = []
    for number, text in enumerate((one, other)):
        path = tmp_path / f"{number}.fits"
        filler = "X" * len(text)
        written(path, PLAIN(frame()), IMAGETYP="FLAT", FILTER=filler)
        path.write_bytes(path.read_bytes().replace(filler.encode(), text))
        found.append(read_header(path).filter)
    assert None not in found
    assert found[0] != found[1]
