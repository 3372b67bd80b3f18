"""Pictures of FITS images: right at any size, of any type, with little memory; none where there is no image."""

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from services.reports.pictures import WIDEST, Album, picture_of, spectrum_of


def written(path: Path, pixels: np.ndarray) -> Path:
    fits.writeto(path, pixels)
    return path


def seen(path: Path) -> np.ndarray:
    picture = picture_of(path)
    assert picture is not None
    return np.asarray(Image.open(io.BytesIO(picture.jpeg)), float)


def test_a_picture_shows_what_is_where(tmp_path):
    pixels = np.full((600, 1000), 1000, np.uint16)
    pixels[:300, :500] = 3000  # the first row is at the top, as frames are stored
    shown = seen(written(tmp_path / "a.fits", pixels))
    height, width = shown.shape
    assert (height, width) == (150, 250)
    assert shown[: height // 2 - 2, : width // 2 - 2].min() > 230
    assert shown[height // 2 + 2 :].max() < 25


def test_small_images_are_not_made_larger(tmp_path):
    assert seen(written(tmp_path / "a.fits", np.arange(12, dtype=np.float32).reshape(3, 4))).shape == (3, 4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 2), (481, 479)])
def test_images_of_any_shape_have_a_picture(tmp_path, shape):
    picture = picture_of(written(tmp_path / "a.fits", np.ones(shape, np.uint16)))
    assert picture is not None
    assert max(picture.width, picture.height) <= WIDEST


def test_a_bayer_mosaic_of_an_even_light_looks_even(tmp_path):
    pixels = np.tile(np.array([[1000, 2000], [2000, 700]], np.uint16), (501, 751))
    picture = picture_of(written(tmp_path / "a.fits", pixels))
    assert picture is not None
    assert picture.low == picture.high == 1425


def test_pixels_without_data_are_left_out(tmp_path):
    pixels = np.full((500, 500), 7, np.float32)
    pixels[:100] = np.nan
    pixels[200, 200] = np.inf
    picture = picture_of(written(tmp_path / "a.fits", pixels))
    assert picture is not None
    assert picture.low == picture.high == 7
    assert sum(picture.histogram.counts) < pixels.size


def test_nothing_but_nan_has_no_picture(tmp_path):
    assert picture_of(written(tmp_path / "a.fits", np.full((9, 9), np.nan, np.float32))) is None


def test_histograms_of_shifted_numbers_have_no_comb(tmp_path):
    values = (np.random.default_rng(1).normal(2000, 8, (400, 400)).round() * 16).astype(np.uint16)  # 12 bits in 16
    picture = picture_of(written(tmp_path / "a.fits", values))
    assert picture is not None
    counts = np.array(picture.histogram.counts)
    middle = counts[np.argmax(counts) - 5 : np.argmax(counts) + 6]
    assert middle.min() > 0.5 * middle.max()


def test_hot_pixels_do_not_squeeze_the_histogram(tmp_path):
    pixels = np.random.default_rng(1).normal(500, 4, (400, 400)).astype(np.float32)
    pixels.ravel()[::1000] = 60_000
    picture = picture_of(written(tmp_path / "a.fits", pixels))
    assert picture is not None
    assert picture.histogram.edges[-1] < 600


def test_hot_pixels_do_not_hide_the_glow_of_a_dark(tmp_path):
    rng = np.random.default_rng(1)
    pixels = rng.normal(500, 5, (400, 400)) + np.linspace(0, 20, 400)  # brighter to the right
    pixels.ravel()[rng.choice(pixels.size, pixels.size // 100, replace=False)] = 5000
    shown = seen(written(tmp_path / "a.fits", pixels.astype(np.float32)))
    assert np.median(shown[:, -40:]) > np.median(shown[:, :40]) + 50


def test_a_large_image_needs_little_memory(tmp_path):
    shape = (6388, 9576)
    header = fits.Header()
    header["SIMPLE"], header["BITPIX"], header["NAXIS"] = True, -32, 2
    header["NAXIS1"], header["NAXIS2"] = shape[1], shape[0]
    path = tmp_path / "large.fits"
    with path.open("wb") as file:  # a file with a hole: zeros that take no room on disk
        file.write(header.tostring(padding=True).encode())
        file.truncate(file.tell() + (shape[0] * shape[1] * 4 + 2879) // 2880 * 2880)
    tracemalloc.start()
    try:
        picture = picture_of(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert picture is not None
    assert picture.height == 228
    assert peak < 150e6


def test_a_compressed_frame_looks_as_it_did(tmp_path):
    pixels = np.random.default_rng(1).normal(900, 9, (600, 500)).astype(np.uint16)
    packed = tmp_path / "a.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels)]).writeto(packed)
    assert picture_of(packed) == picture_of(written(tmp_path / "a.fits", pixels))


def test_files_that_are_gone_or_damaged_have_none(tmp_path):
    cut = written(tmp_path / "cut.fits", np.ones((100, 100), np.uint16))
    cut.write_bytes(cut.read_bytes()[:9000])
    assert [picture_of(p) for p in (tmp_path / "gone.fits", cut, tmp_path)] == [None] * 3


def test_an_album_stops_before_the_page_grows_too_large(tmp_path):
    rng = np.random.default_rng(2)
    paths = [written(tmp_path / f"{i}.fits", rng.integers(0, 60_000, (300, 300)).astype(np.uint16)) for i in range(4)]
    size = len(picture_of(paths[0]).jpeg)
    album = Album(budget_bytes=int(2.5 * size))
    assert [album.picture(p) is not None for p in paths] == [True, True, False, False]
    assert album.full
    assert album.picture(paths[0]) is album.picture(paths[0])


@pytest.mark.parametrize("shape", [(200, 300), (700, 1500)])
def test_a_pattern_is_a_pair_of_bright_dots_in_the_spectrum(tmp_path, shape):
    y, x = np.indices(shape)
    pixels = 500 + 1.5 * np.sin(2 * np.pi * (x / 10 + y / 25)) + np.random.default_rng(1).normal(0, 0.7, shape)
    pixels[::40, ::41] = 60_000
    picture = spectrum_of(written(tmp_path / "a.fits", pixels.astype(np.float32)))
    assert picture is not None
    assert max(picture.width, picture.height) <= WIDEST
    assert picture.high == pytest.approx(np.log10(1.5), abs=0.15)
    shown = np.asarray(Image.open(io.BytesIO(picture.jpeg)), float)
    bright = {(round(float(v), 2), round(float(u), 2)) for v, u in np.argwhere(shown > 220) / shown.shape - 0.5}
    assert all(min(np.hypot(v - s / 25, u - s / 10) for s in (1, -1)) < 0.02 for v, u in bright)
    assert len({u > 0 for _, u in bright}) == 2


def test_what_has_no_picture_has_no_spectrum(tmp_path):
    tiny = written(tmp_path / "a.fits", np.ones((9, 900), np.float32))
    empty = written(tmp_path / "b.fits", np.full((90, 90), np.nan, np.float32))
    assert [spectrum_of(path) for path in (tiny, empty, tmp_path / "gone.fits")] == [None] * 3


def test_an_album_holds_a_files_picture_and_its_spectrum(tmp_path):
    path = written(tmp_path / "a.fits", np.random.default_rng(3).normal(500, 3, (80, 90)).astype(np.float32))
    album = Album()
    picture, waves = album.picture(path), album.spectrum(path)
    assert picture is not None
    assert waves is not None
    assert picture.jpeg != waves.jpeg
    assert album.spectrum(path) is waves
