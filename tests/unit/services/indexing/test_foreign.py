"""Frames of other programs as the catalogue takes them in: what is left out, and why; sets; aliases; reading again."""

import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits as astropy_fits

from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import Flag, Origin
from services.files.layout import Layout
from services.indexing.index import index_folder, open_catalogue

AT = datetime(2024, 1, 2, 11, 41, tzinfo=UTC)


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    with open_catalogue(Layout(tmp_path)) as opened:
        yield opened


def write(path: Path, kind: str | None = "DARK", pixels: np.ndarray | None = None, **cards: object) -> Path:
    """Write a frame of another program; a name may have two underscores for a hyphen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(str(path).encode())
    if pixels is None:
        pixels = np.random.default_rng(seed).integers(480, 520, (6, 8)).astype(np.uint16)
    known = {"IMAGETYP": kind, "INSTRUME": "Cam", "EXPTIME": 5.0, "DATE__OBS": "2024-01-02T20:00:00"} | cards
    unit = astropy_fits.PrimaryHDU(pixels)
    for name, value in known.items():
        if value is not None:
            unit.header[name.replace("__", "-")] = value
    unit.writeto(path)
    return path


def left_out(catalogue: Catalogue, folder: Path, **options: object) -> dict[str, str]:
    report = index_folder(catalogue, folder, **options)  # type: ignore[arg-type]
    return {Path(problem.path).name: str(problem.code) for problem in report.problems}


def sets(catalogue: Catalogue) -> list[int]:
    return sorted(found.count for found in catalogue.sets())


def test_each_file_that_is_not_used_has_the_code_of_its_reason(tmp_path: Path, catalogue: Catalogue) -> None:
    folder = tmp_path / "darks"
    write(folder / "good.fits")
    write(folder / "stack.fits", STACKCNT=20)
    write(folder / "light.fits", "LIGHT")
    write(folder / "focus.fits", "FOCUS")
    write(folder / "wave.fits", "LAMP,WAVE")
    write(folder / "odd.fits", "nobody knows")
    write(folder / "test.fits", "BIAS test")
    write(folder / "minus.fits", EXPTIME=-1)
    write(folder / "text.fits", EXPTIME="for long")
    write(folder / "dark_of_dark.fits", CALSTAT="D")
    write(folder / "bias_of_bias.fits", "BIAS", HISTORY="Bias subtracted")
    write(folder / "flat_of_flat.fits", "FLAT", CALSTAT="BDF")
    write(folder / "which_sign.fits", "FLAT", CALSTAT="D", PEDESTAL=100)
    write(folder / "unit.fits", pixels=np.random.default_rng(1).uniform(0, 1, (6, 8)).astype(np.float32))
    amplifiers = [astropy_fits.ImageHDU(np.full((6, 8), n, np.uint16)) for n in range(2)]
    astropy_fits.HDUList([astropy_fits.PrimaryHDU(), *amplifiers]).writeto(folder / "amps.fits")
    main = astropy_fits.PrimaryHDU(np.arange(48, dtype=np.uint16).reshape(6, 8))
    main.header.update({"IMAGETYP": "DARK", "INSTRUME": "Cam"})
    astropy_fits.HDUList([main, astropy_fits.ImageHDU(np.zeros((6, 8), np.uint8), name="DQ")]).writeto(
        folder / "with_dq.fits"
    )
    assert left_out(catalogue, folder) == {
        "stack.fits": "foreign_master",
        "light.fits": "light_frame",
        "focus.fits": "light_frame",
        "wave.fits": "light_frame",
        "odd.fits": "type_unknown",
        "test.fits": "type_unknown",
        "minus.fits": "card_unknown",
        "text.fits": "card_unknown",
        "dark_of_dark.fits": "already_calibrated",
        "bias_of_bias.fits": "already_calibrated",
        "flat_of_flat.fits": "already_calibrated",
        "which_sign.fits": "already_calibrated",
        "unit.fits": "not_raw",
        "amps.fits": "several_images",
        "with_dq.fits[DQ]": "image_beside",
    }
    assert sorted(Path(row.path).name for row in catalogue.frames()) == ["good.fits", "with_dq.fits"]


@pytest.mark.parametrize("kind", ["DARK", "BIAS"])
def test_noon_cuts_no_series_of_darks_but_the_next_night_is_another_set(
    tmp_path: Path, catalogue: Catalogue, kind: str
) -> None:
    for night in range(2):
        for n in range(8):
            at = AT + timedelta(days=night, minutes=5.2 * n)
            write(tmp_path / "f" / f"d{night}{n}.fits", kind, EXPTIME=300.0, DATE__OBS=at.strftime("%Y-%m-%dT%H:%M:%S"))
    index_folder(catalogue, tmp_path / "f")
    assert sets(catalogue) == [8, 8]
    write(tmp_path / "f" / "late.fits", kind, EXPTIME=300.0, DATE__OBS="2024-01-02T12:30:00")
    index_folder(catalogue, tmp_path / "f")
    assert sets(catalogue) == [8, 9]


def test_flats_of_two_nights_stay_two_in_every_form_of_the_date(tmp_path: Path, catalogue: Catalogue) -> None:
    for n, date in enumerate(("2024-01-02", "2024-03-02", "2024-01-02T20:00:00UT", "2024-03-02T8:00:00")):
        for i in range(2):
            write(tmp_path / "f" / f"f{n}{i}.fits", "FLAT", FILTER="V", DATE__OBS=date)
    index_folder(catalogue, tmp_path / "f")
    assert {row.night for row in catalogue.frames()} == {"2024-01-02", "2024-03-02", "2024-03-01"}
    assert sets(catalogue) == [2, 2, 4]


def test_folders_above_the_root_say_nothing_of_a_frame(tmp_path: Path) -> None:
    root = tmp_path / "R" / "FILTER_V"
    write(root / "flats" / "f1.fits", "FLAT")
    write(root / "flats" / "B" / "f2.fits", "FLAT")
    with open_catalogue(Layout(root)) as catalogue:
        index_folder(catalogue, root / "flats")
        assert {row.path: row.filter for row in catalogue.frames()} == {"flats/f1.fits": None, "flats/B/f2.fits": "B"}


def test_frames_are_read_again_when_the_users_aliases_change_and_keep_their_marks(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    folder = tmp_path / "flats"
    for wheel in ("V", "R"):
        for n in range(3):
            write(folder / f"{wheel.lower()}x{n}.fits", "FLAT", WHEELPOS=wheel)
    assert index_folder(catalogue, folder).indexed == 6
    assert sets(catalogue) == [6]
    catalogue.set_flag(Flag.BAD, paths=["flats/vx0.fits"])
    aliases = {"wheelpos": "filter"}
    assert index_folder(catalogue, folder, aliases=aliases).indexed == 6
    assert sets(catalogue) == [2, 3]
    assert [row.path for row in catalogue.frames(flag=Flag.BAD)] == ["flats/vx0.fits"]
    assert index_folder(catalogue, folder, aliases=aliases).indexed == 0
    assert left_out(catalogue, folder, aliases={"wheelpos": "kind"}) == {
        f"{name}x{n}.fits": "type_unknown" for name in "vr" for n in range(3)
    }
    assert catalogue.frames(origin=Origin.FOREIGN) == []


def test_calibrated_frames_are_groups_of_their_own(tmp_path: Path, catalogue: Catalogue) -> None:
    for n in range(3):
        write(tmp_path / "f" / f"raw{n}.fits", "FLAT", FILTER="V")
        write(tmp_path / "f" / f"auto{n}.fits", "FLAT", FILTER="V", HISTORY="Auto-Dark Subtraction", PEDESTAL=-100)
        write(tmp_path / "f" / f"bd{n}.fits", "FLAT", FILTER="V", CALSTAT="BD")
    index_folder(catalogue, tmp_path / "f")
    assert sorted((s.key.calibrated or "", s.key.pedestal_adu or 0, s.count) for s in catalogue.sets()) == [
        ("", 0, 3), ("BD", 0, 3), ("D", 100, 3)
    ]  # fmt: skip


@pytest.mark.parametrize("longitude", [None, 0.0, 150.0])
def test_flats_of_one_session_are_one_set_whatever_the_clock_says(
    tmp_path: Path, catalogue: Catalogue, longitude: float | None
) -> None:
    """Panel flats about noon UTC, and about noon at 150 degrees east; the next day's are another set."""
    for start in (AT, AT + timedelta(hours=14), AT + timedelta(days=1)):
        for n in range(8):
            at = (start + timedelta(minutes=5 * n)).strftime("%Y-%m-%dT%H:%M:%S")
            write(tmp_path / "f" / f"{at}.fits".replace(":", ""), "FLAT", FILTER="V", DATE__OBS=at)
    index_folder(catalogue, tmp_path / "f", longitude_deg=longitude)
    assert sets(catalogue) == [8, 16]
    assert len({row.night for row in catalogue.frames()}) == 2
