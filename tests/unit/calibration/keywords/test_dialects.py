"""Dialects of other programs: filters, temperatures, gains, dates, types, and what was done to a file before."""

from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest

from calibration.errors import HeaderError
from calibration.frames import FrameKind
from calibration.grouping import group_key
from calibration.keywords import (
    ALIASES,
    from_cards,
    is_of_other_use,
    kind_of_path,
    kind_of_word,
    letters,
    master_evidence,
    values,
)
from calibration.keywords.provenance import calibrated

SHAPE = (20, 30)


def read(path=None, aliases=None, kind="FLAT", **cards):
    """Read cards; a name may have two underscores for a hyphen."""
    known = {"IMAGETYP": kind} | {name.replace("__", "-"): value for name, value in cards.items()}
    hint = None if path is None else PurePosixPath(path)
    return from_cards(known, shape=SHAPE, path_hint=hint, aliases=aliases or {})


@pytest.mark.parametrize(
    ("cards", "name"),
    [
        ({"FILTER1": "V"}, "V"),
        ({"FILTER1": "clear S", "FILTER2": "Clear"}, "clear S"),
        ({"FILTER1": "Clear", "FILTER2": "R"}, "R"),
        ({"FILTER1": "open", "FILTER2": "ND1", "FILTER3": "B"}, "ND1+B"),
        ({"FILTER1": "none", "FILTER2": "Air"}, "Air"),
        ({"FILTNAM": "SDSS-r"}, "SDSS-r"),
        ({"INSFLNAM": "Ks"}, "Ks"),
        ({"FILTERS": "I"}, "I"),
        ({"INSFILTE": "OIII"}, "OIII"),
        ({"FILTER": "L", "FILTER1": "V"}, "L"),
        ({"FILTER": "n/a"}, None),
    ],
)
def test_filters_of_other_instruments(cards, name):
    assert read(**cards).filter == name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("flats/V/f_001.fits", "V"),
        ("flats/2024-01-02_20-00-00_R_-10.00_1.00s_0001.fits", "R"),
        ("flats/FILTER_Ha_GAIN_100/x_1.fits", "Ha"),
        ("flats/night1/FLAT_filter-OIII_3.fit", "OIII"),
        ("flats/Red/flat_R_3.fits", "R"),
        ("flats/SkyFlat_sdss_g_0003.fits", "g"),
        ("flats/Ha7nm_12.fits", "Ha"),
        ("flats/lum/f.fits.gz", "L"),
        ("flats/Hα/f_3.fits", "Ha"),
        ("flats/Flat_H-alpha_1.fits", "Ha"),
        ("flats/domeflatB.001.fits", "B"),
        ("flats/flatV012.fits", "V"),
        ("flats/flatsky_1.fits", None),
        ("flats/V/flat_R_1.fits", None),
        ("flats/flat_B_V_1.fits", None),
        ("/data/R/flats/flat_1.fits", None),
        ("flats/Bin1x1_flat_0007.fits", None),
        ("flats/Rosette_flats/f_1.fits", None),
        ("flats/Red Cat 51/f_1.fits", None),
        ("flats/Red_Cat_51_flat_1.fits", None),
        ("flats/telescope B/f_1.fits", None),
        ("flats/telescope_B_flat_1.fits", None),
        ("flats/night_z/f_1.fits", None),
        ("flats/Baader/f_1.fits", None),
        ("flats/H20 project/f_1.fits", None),
        ("flats/Camera R/f_1.fits", None),
        ("flats/L and R/f_1.fits", None),
        ("flats/Blue Mountains/f_1.fits", None),
        ("flats/green house/f_1.fits", None),
        ("flats/group-i/f_1.fits", None),
        ("flats/Plan B/flat_1.fits", None),
        ("flats/observer_V_flat_1.fits", None),
        ("flats/filter wheel B/f_1.fits", None),
        ("flats/filter_flats/f_1.fits", None),
        ("flats/flat_filter_0001.fits", None),
        ("flats/R_filter_001.fits", "R"),
        ("flats/R filter flats/f_1.fits", "R"),
        ("flats/filter_3/f_1.fits", "3"),
        ("flats/V_10s/f_1.fits", "V"),
        ("flats/2024-01-02_V_bin2/f_1.fits", "V"),
        ("flats/Ha_300s_-20C/f_1.fits", "Ha"),
        ("flats/Johnson_V/f_1.fits", "V"),
        ("flats/Baader R flats/f_1.fits", "R"),
        ("flats/M31_L_flat_001.fits", "L"),
        ("flats/AutoFlat-PANoRot-R-Bin1-001-NoFilt.fit", "R"),
        ("flats/c_R_flat.fits", "R"),
        ("flats/unit U 3/x.fits", None),
        ("flats/I love flats/x.fits", None),
        ("flats/2024 R project/x.fits", None),
        ("flats/dome_flat_B_0003.fits.fz", "B"),
        ("flats/Halpha/f_1.fits", "Ha"),
        ("flats/sdss_i/f_1.fits", "i"),
        ("flats/Flat_1.0s_Bin1_Ha_gain100_20240102-200000_-10.0C_0001.fits", "Ha"),
        ("flats/OIII 7nm/f_1.fits", "OIII"),
    ],
)
def test_the_filter_of_a_flat_in_file_and_folder_names_where_it_can_be_no_other(path, name):
    assert read(path).filter == name
    assert read(path, FILTER="X").filter == "X", "a card goes before a name"
    assert read(path, kind="DARK").filter is None


@pytest.mark.parametrize(("subject", "name"), [("flat_V", "V"), ("Sky Flat B", "B"), ("NGC 7000 R", None), ("V", None)])
def test_a_flats_object_may_name_its_filter(subject, name):
    assert read("flats/f1.fits", OBJECT=subject).filter == name


@pytest.mark.parametrize(
    ("written", "celsius"),
    [
        ("-10.0 deg C", -10.0),
        ("5.0 deg. C", 5.0),
        ("14 F", -10.0),
        ("-4°F", -20.0),
        ("50 Fahrenheit", 10.0),
        ("14 C", 14.0),
        ("-10.0 °C", -10.0),
        ("-10,5 degrees Celsius", -10.5),
        ("-10 Â°C", -10.0),
        ("\u221210.0 C", -10.0),
        (253.15, -20.0),
        ("278.15 K", 5.0),
        (-110.0, -110.0),
        ("-196 C", -196.0),
        ("77.15 K", -196.0),
        (153.15, -120.0),
        (77.0, None),
        (-273.15, None),
        (999.0, None),
        ("N/A", None),
        (float("nan"), None),
    ],
)
def test_temperatures_with_units_in_words(written, celsius):
    assert read(kind="DARK", CCD__TEMP=written).ccd_temp_c == (None if celsius is None else pytest.approx(celsius))


@pytest.mark.parametrize("keyword", ["DETTEMP", "CCD_TEMP", "DET_TEMP", "CCDTMP", "SENSTEMP"])
def test_keywords_of_the_sensors_temperature(keyword):
    assert read(kind="DARK", **{keyword: -21.5}).ccd_temp_c == -21.5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"ISOSPEED": 200}, {"ISOSPEED": 1600}),
        ({"ISOSPEED": "ISO 200"}, {"ISOSPEED": "ISO 1600"}),
        ({"GAIN": 0.82}, {"GAIN": 18.69}),
        ({"GAIN": 0.82}, {"GAIN": 1}),
        ({"GAIN": "2.5 e-/ADU"}, {"GAIN": "2 e-/ADU"}),
        ({"GAIN": 0.00005}, {"GAIN": 0.00007}),
        ({"GAIN": "High"}, {"GAIN": "Low"}),
        ({"GAIN": "High"}, {}),
        ({"EGAIN": 0.25}, {"EGAIN": 1.0}),
        ({"OFFSET": "low"}, {"OFFSET": "high"}),
        ({"RDMODE": "Low Noise"}, {"RDMODE": "High Gain"}),
        ({"CCDSEC": "[1:64,1:48]"}, {"CCDSEC": "[1001:1064,1:48]"}),
        ({"CCDSEC": "left"}, {"CCDSEC": "right"}),
        ({"BAYERPAT": "RGGB"}, {"BAYERPAT": "GBRG"}),
        ({"XBINNING": "two"}, {"XBINNING": "three"}),
        ({"DETTEMP": -20.0}, {"DETTEMP": 5.0}),
        ({"CALSTAT": "B"}, {}),
        ({"PEDESTAL": -100}, {"PEDESTAL": 0}),
    ],
)
def test_frames_that_differ_in_a_setting_have_different_keys(one, other):
    assert group_key(read(kind="DARK", **one)) != group_key(read(kind="DARK", **other))


def test_a_gain_in_electrons_is_no_setting_and_a_setting_hides_it():
    assert read(GAIN=0.82).gain is None
    assert (read(GAIN=0.82).egain_e_adu, read(GAIN="1.74 e-/ADU").egain_e_adu) == (0.82, 1.74)
    assert group_key(read(kind="DARK", GAIN=120, EGAIN=0.2501)) == group_key(read(kind="DARK", GAIN=120, EGAIN=0.2502))


def test_the_origin_of_a_subframe_is_counted_in_binned_pixels_from_zero():
    header = read(CCDSEC="[1001:1064,49:96]", XBINNING=2, YBINNING=2)
    assert (header.origin_x, header.origin_y) == (500, 24)
    assert read(CCDSEC="[64:1,1:48]").origin_x == 0
    assert read(CCDSEC="[1001:1064,1:48]", XORGSUBF=7).origin_x == 7


@pytest.mark.parametrize(
    ("written", "at"),
    [
        ("2024-01-02T20:00:00UT", datetime(2024, 1, 2, 20, tzinfo=UTC)),
        ("2024-01-02T20:00:00.123456789 UTC", datetime(2024, 1, 2, 20, 0, 0, 123456, tzinfo=UTC)),
        ("2024-01-02T20:00:60", datetime(2024, 1, 2, 20, 1, tzinfo=UTC)),
        ("2024-12-31T23:59:60.5", datetime(2025, 1, 1, 0, 0, 0, 500000, tzinfo=UTC)),
        ("2024-03-02T8:00:00", datetime(2024, 3, 2, 8, tzinfo=UTC)),
        ("2024/3/2 8:05", datetime(2024, 3, 2, 8, 5, tzinfo=UTC)),
        ("2024-01-02T20:00:00+02:00", datetime(2024, 1, 2, 18, tzinfo=UTC)),
        ("2024-01-02T20:00:00-0230", datetime(2024, 1, 2, 22, 30, tzinfo=UTC)),
        ("20240102T200000", datetime(2024, 1, 2, 20, tzinfo=UTC)),
        ("2024-01-02T24:00:00", datetime(2024, 1, 3, tzinfo=UTC)),
        ("2024-01-02_20:00:00", datetime(2024, 1, 2, 20, tzinfo=UTC)),
        ("2024-01-02T20-00-00", datetime(2024, 1, 2, 20, tzinfo=UTC)),
        ("2024:01:02 20:00:00", datetime(2024, 1, 2, 20, tzinfo=UTC)),
        ("02-Jan-2024 20:00:00", datetime(2024, 1, 2, 20, tzinfo=UTC)),
        ("2024-January-02T20:00:00", datetime(2024, 1, 2, 20, tzinfo=UTC)),
        (60311.5, datetime(2024, 1, 2, 12, tzinfo=UTC)),
        ("2460312.0", datetime(2024, 1, 2, 12, tzinfo=UTC)),
    ],
)
def test_dates_in_forms_that_are_met(written, at):
    assert read(DATE__OBS=written).date_obs == at


@pytest.mark.parametrize(
    "written", ["2024-01-02", "2024/1/2", "02/01/24", "02/01/2024", "01/22/2024", 20240102, "20240102", "2-Jan-2024"]
)
def test_a_date_without_a_time_is_the_night_and_no_moment(written):
    header = read(DATE__OBS=written)
    assert (header.date_obs, header.night) == (None, "2024-01-22" if written == "01/22/2024" else "2024-01-02")
    with_time = read(DATE__OBS=written, UT="08:49:30")
    assert with_time.date_obs is not None
    assert with_time.night is None


def test_a_cooler_that_is_off_has_no_set_point_and_a_date_that_is_a_number_must_be_one():
    assert read(kind="DARK", SET__TEMP="OFF", CCD__TEMP=15.0).set_temp_c is None
    with pytest.raises(HeaderError, match="DATE-OBS = 12345"):
        read(DATE__OBS=12345)


@pytest.mark.parametrize(
    "written",
    [
        *(
            "off",
            "Ambient",
            "none",
            "unregulated",
            "uncontrolled",
            "no cooling",
            "not regulated",
            "Not used",
            "disabled",
        ),
        *("cooler off", "TEC: off", "regulation off", "n/a", "free running", "room temperature", "aus", "warm", False),
    ],
)
def test_where_nothing_cools_there_is_no_set_point(written):
    header = read(kind="DARK", SET__TEMP=written)
    assert (header.set_temp_c, header.unread) == (None, None)


@pytest.mark.parametrize("written", ["cold", "level 3", "-10 degrees or so", True])
def test_a_set_point_that_is_not_understood_is_no_loss_where_the_sensor_says_how_warm_it_is(written):
    header = read(kind="DARK", SET__TEMP=written, CCD__TEMP=-10.0)
    assert (header.set_temp_c, header.ccd_temp_c, header.unread) == (None, -10.0, None)
    with pytest.raises(HeaderError, match="SET-TEMP"):
        read(kind="DARK", SET__TEMP=written)


@pytest.mark.parametrize("card", [{"OFFSET": 10.5}, {"XORGSUBF": 7.5}, {"XBINNING": 0}, {"XBINNING": -1}])
def test_a_number_that_no_setting_can_have_keeps_frames_apart(card):
    assert read(kind="DARK", **card).unread == "{}={}".format(*next(iter(card.items())))
    assert read(kind="DARK", EGAIN=-1, CCD__TEMP=-273.15).unread is None, "so a program says that it knows none"


def test_of_an_exposure_of_zero_and_another_the_other_is_true_but_for_a_bias():
    assert read(kind="DARK", EXPTIME=0.0, EXPOSURE=10.0).exposure_us == 10_000_000
    assert read(kind="DARK", EXPTIME=0, EXP_TIME="300").exposure_us == 300_000_000
    assert read(kind="BIAS", EXPTIME=0.0, EXPOSURE=10.0).exposure_us == 0
    assert read(kind="DARK", EXPTIME=0.0, XPOSURE=10.0).exposure_us == 10_000_000
    assert read(kind="DARK", EXPTIME=0.0, XPOSURE=0.015).exposure_us == 0  # what a driver adds is no exposure
    assert read(kind="DARK", EXPTIME=0.0, DARKTIME=2.0).exposure_us == 0


@pytest.mark.parametrize(
    ("exposure", "unread"),
    [(300.0, "EXPOSURE=300.0"), (10.0, None), (10.015, None), (10.4, None), (10_000.0, None), (1e7, None), (0.0, None)],
)
def test_a_second_exposure_that_contradicts_the_first_keeps_frames_apart(exposure, unread):
    header = read(kind="DARK", EXPTIME=10.0, EXPOSURE=exposure)
    assert (header.exposure_us, header.unread) == (10_000_000, unread)


@pytest.mark.parametrize("keyword", ["EXP_TIME", "ITIME", "EXPOSED", "INTTIME", "TEXP"])
def test_exposure_keywords_of_other_instruments(keyword):
    assert read(kind="DARK", **{keyword: "00:05:00"}).exposure_us == 300_000_000


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("Offset", FrameKind.BIAS),
        ("OFFSETS", FrameKind.BIAS),
        ("Nullbild", FrameKind.BIAS),
        ("Noir", FrameKind.DARK),
        ("Dunkelbild", FrameKind.DARK),
        ("Toma oscura", FrameKind.DARK),
        ("Buio", FrameKind.DARK),
        ("DARK,FLAT", FrameKind.DARK),
        ("Noir de PLU", FrameKind.DARK),
        ("Dark for flat", FrameKind.DARK),
        ("PLU", FrameKind.FLAT),
        ("Weißbild", FrameKind.FLAT),
        ("Hellbild", FrameKind.FLAT),
        ("Campo plano", FrameKind.FLAT),
        ("FLAT,LAMP", FrameKind.FLAT),
        ("FLAT,SKY", FrameKind.FLAT),
        ("Dome Flat", FrameKind.FLAT),
        ("DOMEFLAT", FrameKind.FLAT),
        ("Lumière", FrameKind.LIGHT),
        ("FOCUS", None),
        ("ACQUISITION", None),
        ("SKYVIEW", None),
        ("LAMP", None),
        ("LAMP,WAVE", None),
        ("STD,FLUX", None),
        ("BIAS or DARK", None),
    ],
)
def test_types_of_other_observatories_and_languages(written, kind):
    assert kind_of_word(written) == kind


@pytest.mark.parametrize(
    ("written", "other"),
    [
        *((word, True) for word in ("FOCUS", "Test", "ACQUISITION", "POINTING", "ARC", "STANDARD", "SKYVIEW", "COMP")),
        *((word, True) for word in ("STD,FLUX", "LAMP,WAVE", "Focus Frame", "plate solve", "guider", "arc lamp")),
        *((word, False) for word in ("LAMP", "nobody knows", "BIAS test", "Standard dark", "calibration", "", "SUPER")),
    ],
)
def test_types_of_frames_that_nobody_calibrates_with(written, other):
    assert is_of_other_use(written) == other


def test_a_type_that_is_there_but_not_known_is_not_overruled_by_the_folder():
    with pytest.raises(HeaderError) as caught:
        read("darks/dark_1.fits", kind="FOCUS")
    assert (caught.value.keyword, caught.value.found) == ("IMAGETYP", "FOCUS")
    hint = PurePosixPath("darks/x.fits")
    assert from_cards({"HIERARCH ESO DPR TYPE": "BIAS"}, shape=SHAPE, path_hint=hint).kind is FrameKind.BIAS
    assert from_cards({"ESO DPR CATG": "CALIB"}, shape=SHAPE, path_hint=hint).kind is FrameKind.DARK
    assert from_cards({"IMAGETYP": "N/A", "FRAME": "FK5"}, shape=SHAPE, path_hint=hint).kind is FrameKind.DARK


@pytest.mark.parametrize(
    "cards",
    [
        {"STACKCNT": 20},
        {"SNAPSHOT": 5},
        {"DARK_CNT": 20},
        {"NCOMBINE": 2},
        {"ESO PRO CATG": "MASTER_BIAS"},
        {"IMCMB001": "b1.fits"},
        {"COMBINED": True},
        {"IMAGETYP": "Master Dark"},
        {"IMAGETYP": "SuperFlat"},
        {"COMMENT": "Master dark: mean of 20 frames, sigma clipped"},
        {"COMMENT": "Average of 12 images"},
        {"COMMENT": "16 exposures averaged"},
        {"HISTORY": "Integration with PixInsight 1.8\nImageIntegration.numberOfImages: 20"},
        {"HISTORY": "ImageIntegration.pixelRejection: Winsorized sigma clipping"},
        {"HISTORY": "Mean stacking with winsorized rejection, 20 images"},
        {"HISTORY": "median combine of 9 darks"},
        {"HISTORY": "Rejection stacking complete"},
        {"SOFTWARE": "DeepSkyStacker 5.1"},
        {"SOFTWARE": "Astro Pixel Processor by Aries Productions 2.0"},
        {"BIAS_CNT": 50},
        {"FLAT_CNT": "12"},
        {"NCOMBINE": 8, "IMAGETYP": "Bias Frame"},
        {"HISTORY": "Integration with ImageIntegration process\nImageIntegration.pixelCombination: Average"},
        {"HISTORY": "stacking with mean, winsorized rejection (3.000/3.000), no normalization"},
        {"HISTORY": "Stacking result"},
        {"HISTORY": "imcombine combine=average, scale=none, zero=none, weight=none"},
        {"HISTORY": "Median of 9 darks, without rejection"},
        {"HISTORY": "Stacked 20 frames"},
        {"HISTORY": "Number of stacked frames: 30"},
        {"HISTORY": "Frames stacked: 12"},
        {"HISTORY": "Live stack of 30 frames"},
        {"HISTORY": "imcombine: dark1.fits, dark2.fits"},
        {"HISTORY": "Combined from 12 files"},
        {"HISTORY": "Combined 18 of 20 frames, sigma clipping"},
        {"HISTORY": "Averaged 10 images"},
        {"COMMENT": "Master Bias"},
        {"COMMENT": "superflat"},
        {"COMMENT": "Master dark made of darks of one night"},
        {"HISTORY": "Kappa-sigma stacking"},
        {"HISTORY": "Winsorized sigma clip, 3.0"},
        {"HISTORY": "coadded"},
        {"HISTORY": "Master flat created by ASTAP"},
        {"HISTORY": "median combine: nframes=25"},
        {"HISTORY": "25 darks averaged, no clipping"},
        {"HISTORY": "superbias made from 50 biases"},
        {"HISTORY": "Combined 20 frames with sigma clipping, not normalized"},
        {"HISTORY": "Stacked 20 raw frames"},
        {"COMMENT": "Mean of 30 raw bias frames"},
        {"HISTORY": "Created from 25 raw images"},
        {"HISTORY": "Combined 15 frames, sigma clipping enabled"},
        {"HISTORY": "median combine of 11 images, ready for use"},
        {"HISTORY": "Stacked"},
        {"HISTORY": "2024-01-02 20:04 Averaged"},
        {"HISTORY": "Stacked dark frame"},
        {"HISTORY": "median stacked"},
        {"HISTORY": "Combined with ccdproc.combine, method average"},
        {"HISTORY": "AstroImageJ 5.1: median combined"},
        {"HISTORY": "Stacked by DeepSkyStacker"},
    ],
)
def test_masters_of_other_programs_say_so_somewhere(cards):
    assert master_evidence({"IMAGETYP": "DARK"} | cards, PurePosixPath("darks/x.fits")) is not None


@pytest.mark.parametrize(
    "cards",
    [
        {"SNAPSHOT": 1, "NCOMBINE": 1, "STACKCNT": 1},
        {"COMBINED": False},
        {"COMMENT": "Frame 3 of 20 in the sequence"},
        {"COMMENT": "Integration time 10 s, 3 frames"},
        {"HISTORY": "Dark corrected with master dark mdark60.fits"},
        {"HISTORY": "Average of 10 bias frames subtracted"},
        {"COMMENT": "not stacked, 1 image"},
        {"COMMENT": "live stacking is possible"},
        {"COMMENT": "Frame 3 of 20 for master dark"},
        {"COMMENT": "Raw frame, goes into master bias"},
        {"HISTORY": "live stacking enabled"},
        {"HISTORY": "Live stacking"},
        {"HISTORY": "frame 3 of 20 darks for stacking"},
        {"HISTORY": "Exposure 7/20 of the dark stack"},
        {"HISTORY": "stacked in camera: 1 frame"},
        {"HISTORY": "Stacked frames: 1"},
        {"HISTORY": "stack of 1 image"},
        {"HISTORY": "stacking mode: off"},
        {"HISTORY": "Stacking: disabled"},
        {"HISTORY": "Stacking mode: single"},
        {"HISTORY": "Frames to stack: 20"},
        {"HISTORY": "20 darks are planned to be combined"},
        {"HISTORY": "part of a stack of 20 frames"},
        {"HISTORY": "suitable for median combining of 20 frames"},
        {"HISTORY": "sigma clipping recommended for these frames"},
        {"HISTORY": "Captured before stacking"},
        {"HISTORY": "raw, not yet stacked"},
        {"HISTORY": "Stacked 1 of 1"},
        {"HISTORY": "stacked CMOS sensor"},
        {"HISTORY": "Stacked BSI CMOS sensor"},
        {"HISTORY": "Sensor: Sony IMX571, back-illuminated, stacked"},
        {"HISTORY": "Stacked image sensor with DRAM"},
        {"HISTORY": "Stacked Exmor RS"},
        {"HISTORY": "Stacked filters: ND2 and V"},
        {"HISTORY": "coadded readout, four reads"},
        {"HISTORY": "Combined dual gain readout"},
        {"HISTORY": "headers of 2 files combined"},
        {"HISTORY": "Raw frame 12 of a stack of 20 frames"},
        {"COMMENT": "live stacking active, 20 frames"},
        {"COMMENT": "20 raw frames, stacking enabled"},
        {"HISTORY": "raw frame, sigma clipping enabled"},
        {"COMMENT": "Combine with mean, 3 sigma clipping"},
        {"COMMENT": "stack these 20 frames with median"},
        {"COMMENT": "Master Dark library"},
        {"COMMENT": "Master dark library: D:/darks"},
        {"COMMENT": "Master flat folder is empty"},
        {"COMMENT": "Use master dark: yes"},
        {"COMMENT": "Master dark = mdark20.fits"},
        {"COMMENT": "Master bias: none"},
        {"COMMENT": "master flat found in the catalogue"},
        {"COMMENT": "FITS format, Astronomy and Astrophysics, volume 376, page 359; bibcode 2001A&A...376..359H"},
    ],
)
def test_raw_frames_are_no_masters_whatever_they_are_called(cards):
    for name in ("darks/x.fits", "darks/MASTER_x_dark_0.fits", "darks/masterson_bias_3.fits"):
        assert master_evidence({"IMAGETYP": "DARK"} | cards, PurePosixPath(name)) is None


def test_a_name_makes_a_master_only_of_pixels_that_no_camera_writes():
    path = PurePosixPath("darks/master_dark.fits")
    assert master_evidence({"IMAGETYP": "DARK"}, path, is_float=True) is not None
    assert master_evidence({"IMAGETYP": "DARK"}, PurePosixPath("darks/d.fits"), is_float=True) is None


@pytest.mark.parametrize(
    ("cards", "letters"),
    [
        ({"CALSTAT": "BD"}, "BD"),
        ({"CALSTAT": "DFB"}, "BDF"),
        ({"CALSTAT": "Uncalibrated"}, None),
        ({"CALSTAT": "RAW"}, None),
        ({"HISTORY": "Auto-Dark Subtraction"}, "D"),
        ({"HISTORY": "Previous name x.fit\nBias corrected with mbias.fits\nDark corrected with mdark60.fits"}, "BD"),
        ({"COMMENT": "Flat field correction applied"}, "F"),
        ({"HISTORY": "Subtracted master dark frame"}, "D"),
        ({"HISTORY": "No dark subtraction"}, None),
        ({"HISTORY": "DATE-OBS corrected for dark sequence"}, None),
        ({"HISTORY": "Corrected timestamps for dark frames"}, None),
        ({"HISTORY": "applied gain 100 to dark sequence"}, None),
        ({"HISTORY": "temperature corrected for dark series"}, None),
        ({"COMMENT": "Bias correction level 1000"}, None),
        ({"HISTORY": "Overscan corrected, bias frame"}, None),
        ({"HISTORY": "Header keyword FILTER corrected (flat)"}, None),
        ({"COMMENT": "dark subtracted = F"}, None),
        ({"COMMENT": "DARK: 0 subtracted"}, None),
        ({"COMMENT": "In-camera dark subtraction N"}, None),
        ({"COMMENT": "Will subtract dark later"}, None),
        ({"HISTORY": "dark current has been corrected with mdark.fits"}, "D"),
        ({"HISTORY": "calibrated with the master flat"}, "F"),
        ({"HISTORY": "Auto-dark: off"}, None),
        ({"ZEROCOR": "Jan 2 8:15 Zero level correction image is Zero.fits"}, "B"),
        ({"AUTODARK": True}, "D"),
        ({"AUTODARK": False}, None),
        ({"COMMENT": "Dark sky, no moon"}, None),
        ({"COMMENT": "Flat field calibration frame"}, None),
        ({"COMMENT": "Dark frame, to be subtracted from the science frames"}, None),
        ({"HISTORY": "Dark Subtraction (Dark 3.fit)\nFlat Fielding Correction"}, "DF"),
        ({}, None),
    ],
)
def test_what_another_program_has_done_to_the_pixels(cards, letters):
    assert calibrated(cards) == letters
    assert read(**cards).calibrated == letters


@pytest.mark.parametrize(
    ("cards", "pedestal", "unread"),
    [
        ({"PEDESTAL": -100}, 100.0, None),
        ({"PEDESTAL": 100, "PROGRAM": "PixInsight 1.8.9"}, 100.0, None),
        ({"PEDESTAL": -100, "SWCREATE": "MaxIm DL Version 6"}, 100.0, None),
        ({"PEDESTAL": 0}, None, None),
        ({"PEDESTAL": 100}, None, "PEDESTAL=100"),
    ],
)
def test_a_pedestal_is_what_was_added_to_the_values(cards, pedestal, unread):
    header = read(**cards)
    assert (header.pedestal_adu, header.unread) == (pedestal, unread)


def test_a_user_may_say_what_a_keyword_stands_for():
    assert read(aliases={"WHEEL": "filter"}, WHEEL="V", FILTER="slot 3").filter == "V"
    assert read(aliases={"myexp": "exposure"}, MYEXP="5 min").exposure_us == 300_000_000
    assert read(aliases={"MYBIN": "binning"}, MYBIN="2x3").bin_y == 3
    assert read(aliases={"WHAT": "kind"}, WHAT="Dark").kind is FrameKind.DARK
    assert read(aliases={"WHEEL": "filter"}, FILTER="R").filter == "R", "where the card is missing, others count"
    assert all(read(aliases={"X": field}, X=None) for field in ALIASES)


@pytest.mark.parametrize("name", ["Hα", "Hβ", "Grün", "Rouge foncé", "Синий", "λ 656 nm"])
def test_letters_outside_ascii_are_written_in_ascii_and_differ(name):
    written = letters.ascii_text(name)
    assert written.isascii()
    assert len({letters.ascii_text(other) for other in ("Hα", "Hβ", "Grün", "Grön", "Rouge foncé", "Rouge foncè")}) == 6
    assert (written == "Ha", written == "Hb") == (name == "Hα", name == "Hβ")
    assert values.text(written) in (name, "Ha", "Hb")


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("darks-expos1", FrameKind.DARK),
        ("flats_V_10s", FrameKind.FLAT),
        ("Bias T-10", FrameKind.BIAS),
        ("sky flats Ha 2024-01-02", FrameKind.FLAT),
        ("dark_300s_-10C", FrameKind.DARK),
        ("flat_darks_2s", FrameKind.DARK),
        ("dark_side_2", None),
        ("M31_flat_earth", None),
        ("2024", None),
        ("dark-matter", None),
        ("darks_and_flats_2", None),
    ],
)
def test_a_folder_names_its_kind_beside_settings_alone(directory, kind):
    assert kind_of_path(PurePosixPath("set") / directory / "x1.fits") == kind
