"""Names that say what a header does not: whole folders and certain file names, the header before them."""

from pathlib import PurePosixPath, PureWindowsPath

import pytest

from calibration.frames import FrameKind
from calibration.keywords import from_cards, master_from_cards
from calibration.keywords.paths import exposure_us_of, folder_celsius

SHAPE = (20, 30)


@pytest.mark.parametrize(
    ("path", "celsius", "seconds"),
    [
        ("TestSection2/T-10/5s/attempt1/fits/dark_1.fits", -10.0, 5.0),
        ("Lab/Set1/T0/0.5s/attempt3/f.fits", 0.0, 0.5),
        ("20Frames/2s/attempt1/f.fits", None, 2.0),
        ("T20/exp_0.04s/f.fits", 20.0, 0.04),
        ("t20C/exp_0.01s/f.fits", 20.0, 0.01),
        ("darks/-5.5C/300s/f.fits", -5.5, 300.0),
        ("darks/20degC/250ms/f.fits", 20.0, 0.25),
        ("Oscuros/Temp -10C/1 s/f.fits", -10.0, 1.0),
        ("Oscuros/T 20/exp 0,5s/f.fits", 20.0, 0.5),
        ("Oscuros/temperatura 20,5/5 min/f.fits", 20.5, 300.0),
        ("dunkel/−/-5 °C/f.fits", -5.0, None),
        ("20 Frames/Temp/10 s total/f.fits", None, None),
        ("darks/0m30s/f.fits", None, 30.0),
        ("darks/2min/f.fits", None, 120.0),
        ("darks-expos1/f.fits", None, 60.0),
        ("x/darks-expos1.FIT", None, 60.0),
        ("x/darks_expos2-003.fit", None, 120.0),
        ("x/dark-0m30s-003.fit", None, 30.0),
        ("dark_02sec_g0100_0016.fits", None, 2.0),
        ("1s/flat_0.5sec_g0100_0013.fits", None, 0.5),
        ("BiasT0_exp0.012sAt0f1.fits", None, 0.012),
        ("FlatT20_exp0.75sf0.fits", None, 0.75),
        ("exp2sframe0.fits", None, 2.0),
        ("T0/exp_1.2e-05s_frame0.fits", 0.0, 12e-6),
        ("T20/T-5/10s/2s/f.fits", -5.0, 2.0),
        ("Set1/attempt3/20Frames/f.fits", None, None),
        ("tmp/pytest-0/disk2samples/frames2s/f.fits", None, None),
        ("Test1/SET1/CT5/T20b/f.fits", None, None),
        ("exp_2s_dome/T1_T2/10/f.fits", None, None),
        ("T300/exports5/f.fits", None, None),
        ("x/sample_0.5s_T-10.fits", None, None),
        ("x/Texp2state.fits", None, None),
        ("/media/me/T7/darks/f.fits", None, None),
        ("/Volumes/T7/1s/f.fits", None, 1.0),
        ("/run/media/me/T5/T-5/f.fits", -5.0, None),
        ("/mnt/T9/f.fits", None, None),
        ("/home/t2/1s/f.fits", None, 1.0),
        ("/Users/T2/T-5/f.fits", -5.0, None),
        ("home/T2/f.fits", 2.0, None),
    ],
)
def test_whole_folders_and_certain_names_count(path: str, celsius: float | None, seconds: float | None) -> None:
    where = PurePosixPath(path)
    found = exposure_us_of(where)
    assert (folder_celsius(where.parent), None if found is None else found / 1e6) == (celsius, seconds)
    header = from_cards({"IMAGETYP": "DARK"}, shape=SHAPE, path_hint=where)
    assert (header.ccd_temp_c, header.exposure_s) == (celsius, seconds)


def test_on_windows_a_user_is_no_temperature_and_a_folder_of_a_drive_is_one() -> None:
    assert folder_celsius(PureWindowsPath(r"C:\Users\T2\darks")) is None
    assert folder_celsius(PureWindowsPath(r"C:\Users\T2\T-5\darks")) == -5.0
    assert folder_celsius(PureWindowsPath(r"D:\T-10\attempt1")) == -10.0
    assert folder_celsius(PureWindowsPath("D:\\")) is None


@pytest.mark.parametrize("keyword", ["TEMP", "CCD-TEMP", "SET-TEMP", "TEMPERAT", "EQTEMP", "EXTTEMP"])
def test_a_temperature_of_the_header_goes_before_every_name(keyword: str) -> None:
    path = PurePosixPath("T-10/dark.fits")
    header = from_cards({"IMAGETYP": "DARK", keyword: 4.5}, shape=SHAPE, path_hint=path)
    assert 4.5 in {header.ccd_temp_c, header.set_temp_c}
    assert header.ccd_temp_c in {4.5, None}


@pytest.mark.parametrize("written", ["N/A", "NaN", "INF", "-inf", "", float("nan"), float("inf"), -273.15])
def test_a_temperature_that_is_none_leaves_it_to_the_folder(written: object) -> None:
    cards = {"IMAGETYP": "DARK", "TEMP": written}
    assert from_cards(cards, shape=SHAPE).ccd_temp_c is None
    assert from_cards(cards, shape=SHAPE, path_hint=PurePosixPath("T-10/dark.fits")).ccd_temp_c == -10.0


def test_an_exposure_of_the_header_goes_before_every_name() -> None:
    path = PurePosixPath("5s/dark_02sec_g0100_0016.fits")
    header = from_cards({"IMAGETYP": "DARK", "EXPTIME(s)": "0.2"}, shape=SHAPE, path_hint=path)
    assert header.exposure_us == 200_000
    assert from_cards({"EXPTIME": "INF"}, shape=SHAPE, path_hint=path).exposure_us == 2_000_000


def test_names_of_camera_control_state_kind_exposure_gain_and_number() -> None:
    header = from_cards({}, shape=SHAPE, path_hint=PurePosixPath("bias_00sec_g1000_0102.fits"))
    assert (header.kind, header.exposure_us, header.gain, header.frame_no) == (FrameKind.BIAS, 0, 1000, 102)
    cards = {"GAIN(%)": "10", "FRAMENUM": 3.0}
    header = from_cards(cards, shape=SHAPE, path_hint=PurePosixPath("flat_0.5sec_g0100_0013.fits"))
    assert (header.kind, header.exposure_us, header.gain, header.frame_no) == (FrameKind.FLAT, 500_000, 10, 3)


def test_folders_say_nothing_of_the_temperature_of_our_own_frames() -> None:
    cards = {"IMAGETYP": "DARK", "SETID": "dark_1", "EXPTIME": 1.0}
    assert from_cards(cards, shape=SHAPE, path_hint=PurePosixPath("T5/darks/exp_1.000s/dark.fits")).ccd_temp_c is None


@pytest.mark.parametrize(
    ("name", "kind", "celsius", "seconds"),
    [
        ("master_bias_attempt1_T-10.1.fits", FrameKind.BIAS, -10.1, None),
        ("master_bias_T20.0.fits", FrameKind.BIAS, 20.0, None),
        ("master_dark_T0.0_E0.5.fits", FrameKind.DARK, 0.0, 0.5),
        ("master_flat_T20_T20.0_E0.8.fits", FrameKind.FLAT, 20.0, 0.8),
        ("master_dark_T0.0_E0.0.fits", FrameKind.DARK, 0.0, None),  # 0.01 s or 0.04 s: the program wrote both so
    ],
)
def test_masters_of_the_earlier_program_say_it_in_their_names(
    name: str, kind: FrameKind, celsius: float, seconds: float | None
) -> None:
    where = PurePosixPath("T5/masters") / name
    header = from_cards({"NSOURCE": 4, "MEAN": 1.0}, shape=SHAPE, path_hint=where)
    assert (header.kind, header.ccd_temp_c, header.exposure_s) == (kind, celsius, seconds)
    cards = {"NSOURCE": 4, "TMIN": 19.8, "TMAX": 20.2, "TAVG": 20.03, "EMIN": 1.0, "EMAX": 1.0, "EAVG": 1.0}
    header = from_cards(cards, shape=SHAPE, path_hint=where)
    assert (header.ccd_temp_c, header.exposure_s) == (20.03, 1.0)
    known = master_from_cards(cards)
    assert known is not None
    assert (known.n_combined, known.temp_min_c, known.temp_max_c) == (4, 19.8, 20.2)


def test_the_temperature_outside_stands_for_the_sensors_only_where_nothing_cools() -> None:
    for keyword in ("EQTEMP", "EXTTEMP"):
        cards = {"IMAGETYP": "DARK", keyword: 21.0, "TEMP": "N/A"}
        assert from_cards(cards, shape=SHAPE).ccd_temp_c == 21.0
        assert from_cards({**cards, "TEMP": 20.5}, shape=SHAPE).ccd_temp_c == 20.5
        cooled = from_cards({**cards, "SET-TEMP": -10.0}, shape=SHAPE, path_hint=PurePosixPath("T5/dark.fits"))
        assert (cooled.ccd_temp_c, cooled.set_temp_c) == (None, -10.0)
