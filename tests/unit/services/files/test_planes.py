"""Planes: written band by band from any thread, changed in a second pass, whole at the end."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits as astropy_fits

from calibration.keywords import Card
from services.errors import RunCode, StorageError
from services.files import fits
from services.files.fits import FitsTable, Plane, create_planes
from tests.support.failing_disks import FullDisk, RecordingDisk

SHAPE = (101, 53)
RNG = np.random.default_rng(3)
SIGMA = RNG.normal(3, 1, SHAPE).astype(np.float32)
COUNT = RNG.integers(0, 41, SHAPE).astype(np.int16)
MASK = RNG.integers(0, 1024, SHAPE).astype(np.uint16)
PLANES = (
    Plane(name="SIGMA", cards=(Card("BUNIT", "adu", "unit"),)),
    Plane(name="COUNT", dtype=np.int16),
    Plane(name="MASK", dtype=np.uint16),
)


def fill(file: fits.PlanesFile) -> None:
    def band(y: int) -> None:
        for name, plane in (("SIGMA", SIGMA), ("COUNT", COUNT), ("MASK", MASK)):
            file.write(name, y, plane[y : y + 7])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(band, reversed(range(0, SHAPE[0], 7))))


def test_planes_and_tables_are_as_astropy_expects_them(tmp_path: Path) -> None:
    path = tmp_path / "planes" / "x.fits"
    table = FitsTable(
        name="INPUTS",
        columns={"PATH": ["darks/a.fits", "darks/bb µ.fits"], "LEVEL": np.array([1.5, 2.5]), "N": [3, 4]},
    )
    with create_planes(path, PLANES, SHAPE) as file:
        fill(file)
        stored = file.finish({"SIGMA": [Card("NCOMBINE", 40, "frames combined")]}, [table])
    with astropy_fits.open(path, checksum=True) as units:
        units.verify("exception")
        assert [unit.name for unit in units] == ["SIGMA", "COUNT", "MASK", "INPUTS"]
        for unit in units:
            assert unit.verify_checksum() == unit.verify_datasum() == 1
        np.testing.assert_array_equal(units["SIGMA"].data, SIGMA)
        np.testing.assert_array_equal(units["COUNT"].data, COUNT)
        np.testing.assert_array_equal(units["MASK"].data, MASK)
        assert units["SIGMA"].header["NCOMBINE"] == 40
        assert units["SIGMA"].header["BUNIT"] == "adu"
        assert list(units["INPUTS"].data["PATH"]) == ["darks/a.fits", "darks/bb ?.fits"]
        assert list(units["INPUTS"].data["LEVEL"]) == [1.5, 2.5]
        assert list(units["INPUTS"].data["N"]) == [3, 4]
    assert stored.size == path.stat().st_size
    assert stored.pixel_sha256 == fits.pixel_hash(SIGMA)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("bands", [(0, 4, 8, 100), (0, 4, 8, 99), (0, 8, 100), (8, 0, 100, 4), (0, 50, 25, 75)])
@pytest.mark.parametrize("again", [4, 7, 25])
def test_sums_are_right_however_bands_were_cut_and_written_again(
    tmp_path: Path, bands: tuple[int, ...], again: int
) -> None:
    path = tmp_path / "x.fits"
    with create_planes(path, PLANES, SHAPE) as file:
        for y in bands:  # some overlap, some leave gaps that the next pass fills
            for name in ("SIGMA", "COUNT", "MASK"):
                file.write(name, y, np.ones((min(25, SHAPE[0] - y), SHAPE[1])))
        file.sum_up()
        for y in range(0, SHAPE[0], again):
            for name, plane in (("SIGMA", SIGMA), ("COUNT", COUNT), ("MASK", MASK)):
                file.write(name, y, plane[y : y + again])
        stored = file.finish()
    with astropy_fits.open(path, checksum=True) as units:
        assert all(unit.verify_checksum() == unit.verify_datasum() == 1 for unit in units)
        np.testing.assert_array_equal(units["MASK"].data, MASK)
    assert stored.pixel_sha256 == fits.pixel_hash(SIGMA)


def test_a_master_is_one_image_that_reads_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "master.fits"
    with create_planes(path, [Plane(name="MEAN")], SHAPE) as file:
        file.write("MEAN", 0, SIGMA)
        file.finish({"MEAN": [Card("IMAGETYP", "MASTER DARK"), Card("EXPTIME", 1.0)]})
    with astropy_fits.open(path) as units:
        assert len(units) == 1
    assert fits.read_header(path).exposure_us == 1_000_000
    np.testing.assert_array_equal(fits.read_pixels(path), SIGMA)


def test_a_second_pass_may_change_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "flat.fits"
    with create_planes(path, [Plane(name="MEAN")], SHAPE) as file:
        file.write("MEAN", 0, SIGMA)
        for y in range(0, SHAPE[0], 10):
            rows = file.read("MEAN", y, min(10, SHAPE[0] - y))
            file.write("MEAN", y, rows / np.float32(2))
        file.write("MEAN", 50, SIGMA[50:60])  # of what was hashed in order, and summed, some is written once more
        stored = file.finish()
    wanted = SIGMA / np.float32(2)
    wanted[50:60] = SIGMA[50:60]
    with astropy_fits.open(path, checksum=True) as units:
        assert units[0].verify_checksum() == units[0].verify_datasum() == 1
        np.testing.assert_array_equal(units[0].data, wanted)
    assert stored.pixel_sha256 == fits.pixel_hash(wanted)


def test_no_data_stays_nan_and_rows_never_written_are_zero(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    with create_planes(path, [Plane(name="MEAN")], SHAPE) as file:
        file.write("MEAN", 1, np.full((1, SHAPE[1]), np.nan))
        assert not file.read("MEAN", 50, 3).any()
        file.finish()
    pixels = fits.read_pixels(path)
    assert np.isnan(pixels[1]).all()
    assert not pixels[2:].any()


def test_an_error_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with create_planes(tmp_path / "x.fits", PLANES, SHAPE) as file:
            fill(file)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("room_bytes", [0, 20_000, 45_000, 70_000])
def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path, room_bytes: int) -> None:
    def build() -> None:
        with create_planes(tmp_path / "x.fits", PLANES, SHAPE, FullDisk(room_bytes)) as file:
            fill(file)
            file.finish()

    with pytest.raises(StorageError) as caught:
        build()
    assert caught.value.code is RunCode.DISK_FULL
    assert not list(tmp_path.iterdir())


def test_a_power_cut_leaves_the_whole_file_or_none(tmp_path: Path) -> None:
    disk, path = RecordingDisk(), tmp_path / "x.fits"
    with create_planes(path, PLANES, SHAPE, disk) as file:
        fill(file)
        file.finish()
    whole = path.read_bytes()
    lengths = range(len(disk.steps) - 8, len(disk.steps) + 1)
    left = [disk.after_power_cut(steps, names_kept=kept) for steps in lengths for kept in (True, False)]
    assert all(files.get(path, whole) == whole for files in left)
    assert left[-1] == {path: whole}


def test_a_master_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "x.fits").write_text("precious")
    with pytest.raises(StorageError), create_planes(tmp_path / "x.fits", PLANES, SHAPE) as file:
        file.finish()
    assert (tmp_path / "x.fits").read_text() == "precious"


def test_rows_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with create_planes(tmp_path / "x.fits", PLANES, SHAPE) as file:
        for y, rows in ((100, np.zeros((2, 53))), (0, np.zeros((2, 54))), (-1, np.zeros((1, 53))), (0, np.zeros(53))):
            with pytest.raises(ValueError, match="do not fit"):
                file.write("MASK", y, rows)
        with pytest.raises(KeyError):
            file.write("MEAN", 0, np.zeros((1, 53)))


def test_a_history_too_long_for_its_room_is_cut_and_other_cards_are_not(tmp_path: Path) -> None:
    with create_planes(tmp_path / "x.fits", [Plane(name="MEAN")], SHAPE, spare_cards=10) as file:
        file.finish({"MEAN": [*(Card("HISTORY", f"frame {n}") for n in range(500)), Card("NCOMBINE", 500)]})
    header = astropy_fits.getheader(tmp_path / "x.fits")
    assert header["NCOMBINE"] == 500
    assert list(header["HISTORY"]) == ["left out: longer than the room that was kept for it"]
    with create_planes(tmp_path / "y.fits", [Plane(name="MEAN")], SHAPE, spare_cards=0) as file:
        cards = [Card(f"KEY{n}", n) for n in range(60)]
        with pytest.raises(ValueError, match="spare_cards"):
            file.finish({"MEAN": cards})
    assert not list(tmp_path.glob(".*"))
