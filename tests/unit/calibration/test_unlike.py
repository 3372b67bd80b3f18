"""Cards that nobody understands: those that divide a group are named, those that vary by nature are not."""

import numpy as np
import pytest

from calibration.frames import FrameHeader, FrameKind
from calibration.keywords import ALIASES, FRAME_KEYWORDS
from calibration.series import Measured
from calibration.unlike import stated_facts, telling_cards

CONSTANT = {"gain", "offset", "readout_mode", "bin_x", "origin_x", "detector", "bayer_pattern", "filter", "telescope"}
DARK, FLAT = FrameKind.DARK, FrameKind.FLAT
ALL = frozenset(ALIASES)


def frames(n=20, **columns):
    """Return the cards of frames: a column is one value for all, a function of the number, or a list."""
    names = {name.replace("__", "-"): column for name, column in columns.items()}
    read = {
        name: (c if callable(c) else (lambda i, c=c: c[i * len(c) // n] if isinstance(c, list) else c))
        for name, c in names.items()
    }
    return [{name: value for name, c in read.items() if (value := c(i)) is not None} for i in range(n)]


def told(kind, cards, stated=ALL, levels=()):
    measured = [Measured(level_adu=float(level), sigma_adu=7.0) for level in levels]
    return {each.keyword: each.means for each in telling_cards(kind, cards, stated=stated, measured=measured)}


@pytest.mark.parametrize(
    ("kind", "keyword", "values", "means"),
    [
        (FLAT, "FILTERX", ["R", "V"], "filter"),
        (FLAT, "FILTPOS", [2, 3], "filter"),
        (FLAT, "MYFILT", ["L", "R", "G", "B"], "filter"),
        (FLAT, "LAMPNAME", ["halogen", "LED"], None),
        (FLAT, "TELESCOP", ["RC12", "Newton"], None),
        (DARK, "EXPLEN", [10.0, 300.0], "exposure"),
        (DARK, "SHUTTIME", ["00:00:10", "00:05:00"], "exposure"),
        (DARK, "ISOVAL", [200, 1600], "gain"),
        (DARK, "PREAMP", ["x1", "x4"], "gain"),
        (DARK, "XRDMODE", ["fast", "slow"], "readout_mode"),
        (DARK, "RDSPEED", [1.0, 5.0], "readout_mode"),
        (DARK, "BLACKLVL", [10, 50], "offset"),
        (DARK, "CHIPID", ["A17", "A18"], "camera"),
        (DARK, "WINDOWX", [1, 1001], None),
        (DARK, "HDRON", [True, False], "readout_mode"),
        (DARK, "XYZ", ["one", "other"], None),
    ],
)
def test_a_setting_that_divides_the_frames_is_named_with_what_it_seems_to_be(kind, keyword, values, means):
    cards = frames(**{keyword: values}, INSTRUME="Cam")
    assert told(kind, cards) == {keyword: means}
    (found,) = telling_cards(kind, cards, stated=ALL)
    assert {value for value, _ in found.values} == {str(value) for value in values}
    assert sum(number for _, number in found.values) == len(cards)


def test_numbers_that_are_written_differently_are_equal():
    assert told(DARK, frames(GAINX=[100, 100.0], PREAMP=[0, -0.0])) == {}


def test_two_short_exposures_do_not_hide_a_long_one():
    """Values near to each other, beside one that is far away, were taken for the jitter of one reading."""
    assert told(DARK, frames(EXPLEN=[0.1, 0.1005, 60.0]), ALL - {"exposure"}) == {"EXPLEN": "exposure"}
    assert told(DARK, frames(PREAMP=[100.0, 100.1, 100.3])) == {}


def test_counters_of_two_templates_of_one_night_are_no_settings():
    cards = [{"ESO TPL EXPNO": 1 + i % 5, "ESO DET EXP NO": 1 + i // 5} for i in range(10)]
    assert told(FrameKind.BIAS, cards) == {}


def test_one_frame_of_twenty_is_enough():
    cards = frames(FILTERX=lambda i: "R" if i == 7 else "V")
    (found,) = telling_cards(FLAT, cards, stated=ALL)
    assert found.values == (("V", 19), ("R", 1))


def test_a_setting_that_some_frames_do_not_state_divides_them():
    assert told(FLAT, frames(FILTERX=["V", None])) == {"FILTERX": "filter"}
    assert told(FLAT, frames(REMARKS=["windy", None])) == {}


def test_a_card_that_is_known_but_not_understood_counts():
    assert told(DARK, frames(GAIN=["High", "Low"])) == {"GAIN": None}
    assert told(DARK, frames(GAIN=[100, 100], EXPTIME=30.0, CCD__TEMP=lambda i: -10 + 0.1 * (i % 2))) == {}


RNG = np.random.default_rng(3)
NATURAL = {
    "DATE-OBS": lambda i: f"2024-01-02T20:{i:02}:04",
    "TIME-OBS": lambda i: f"20:{i:02}:04",
    "UT": lambda i: f"20:{i // 3:02}",
    "MJD": lambda i: 60000 + i / 100,
    "JD": lambda i: 2460000.5 + i // 10,
    "LST": lambda i: f"05:{i:02}:00",
    "FILENAME": lambda i: f"d{i:03}.fits",
    "ORIGFILE": lambda i: f"x{i // 10}",
    "EXPID": lambda i: i,
    "SEQNUM": lambda i: i // 10,
    "FRAMENUM": lambda i: i % 10,
    "OBSNUM": lambda i: i,
    "CHECKSUM": lambda i: f"a{i}",
    "AMBTEMP": lambda i: 8 - 0.1 * (i // 7),
    "OUTTEMP": lambda i: round(5 - i / 10, 1),
    "HUMIDITY": lambda i: 45 + i // 10,
    "WINDSPD": lambda i: 3 + i % 2,
    "PRESSURE": lambda i: 1010 + i // 10,
    "FOCPOS": lambda i: 12_000 + 500 * (i // 10),
    "FOCUSTEM": lambda i: 8.0 + i // 10,
    "OBJCTALT": lambda i: f"{60 + i} 00 00",
    "CENTAZ": lambda i: 10.0 + 80 * (i // 10),
    "AIRMASS": lambda i: 1 + i / 100,
    "RA": lambda i: 10.0 + 50 * (i // 10),
    "DEC": lambda i: 10.0 + 5 * (i // 10),
    "PIERSIDE": lambda i: "EAST" if i < 10 else "WEST",
    "COOLPOWR": lambda i: 40.0 + i % 3,
    "CBLACK": lambda i: 480 + 10 * (i % 2),
    "CWHITE": lambda i: 600 + i % 2,
    "MOONPHSE": lambda i: 0.3 + 0.1 * (i // 10),
    "SWCREATE": lambda i: f"Prog 3.{i // 10}",
    "OBSERVER": lambda i: "A" if i < 3 else "B",
    "DOMEAZ": lambda i: 90.0 * (1 + i // 10),
    "GUIDERMS": lambda i: 0.4 + 0.3 * (i % 2),
    "CCDVOLT": lambda i: 12.0 + 0.5 * (i % 2),
    "SENSOR2": lambda i: 3.0 + 0.01 * (i % 2),
    "OBJECT": lambda i: "M31" if i < 10 else "M33",
    "TITLE": lambda i: "a" if i < 10 else "b",
    "ROTATANG": lambda i: 90 + 0.1 * (i % 3),
    "READING": lambda i: float(RNG.normal()),
    "HISTORY": lambda i: f"{i // 10}",
}


@pytest.mark.parametrize("kind", [FrameKind.BIAS, DARK, FLAT])
@pytest.mark.parametrize("n", [5, 12, 20, 60])
def test_what_varies_by_nature_is_no_difference(kind, n):
    cards = [{name: column(i) for name, column in NATURAL.items()} for i in range(n)]
    assert told(kind, cards, levels=1000 + RNG.normal(0, 0.3, n)) == {}


def test_cards_of_the_light_path_say_nothing_of_darks():
    assert told(DARK, frames(FILTERX=["R", "V"], TELESCOP=["A", "B"], LAMPNAME=["on", "off"])) == {}


def test_exposures_of_flats_may_differ():
    assert told(FLAT, frames(EXPLEN=[1.0, 2.0])) == {}
    assert told(FLAT, frames(EXPLEN=[1.0, 2.0]), ALL - {"exposure"}) == {"EXPLEN": "exposure"}


def test_the_object_counts_only_where_no_card_states_the_filter():
    cards = frames(OBJECT=["flat_R", "flat_V"])
    assert told(FLAT, cards) == {}
    assert "OBJECT" in told(FLAT, cards, ALL - {"filter"})


def test_a_temperature_counts_only_where_that_of_the_sensor_is_not_known():
    cards = frames(CHIPTMP=lambda i: (-20.0 if i < 10 else 5.0) + 0.1 * (i % 3))
    assert told(DARK, cards) == {}
    assert told(DARK, cards, ALL - {"temperature"}) == {"CHIPTMP": "temperature"}
    jitter = frames(CHIPTMP=lambda i: -20.0 + 0.1 * (i % 4), AMBTEMP=[5.0, -20.0])
    assert told(DARK, jitter, ALL - {"temperature"}) == {}


def test_dates_months_apart_count_where_the_night_is_not_known():
    cards = frames(DATE__X=["2024-01-02 evening", "2024-03-02 evening"])
    assert told(FLAT, cards, ALL - {"night"}) == {"DATE-X": "date"}
    assert told(FLAT, cards) == {}
    near = frames(DATE__X=["2024-01-02 evening", "2024-01-03 evening"])
    assert told(FLAT, near, ALL - {"night"}) == {}


def test_an_unknown_number_counts_where_the_levels_differ_with_it():
    cards = frames(DACSET2X=[3, 7], QVAL=[3, 7])
    quiet = 1000 + RNG.normal(0, 0.3, 20)
    assert "QVAL" not in told(DARK, cards, levels=quiet)
    assert "QVAL" in told(DARK, cards, levels=quiet + np.repeat([0, 80], 10))


def test_a_card_that_the_user_ignores_is_no_difference():
    cards = frames(FILTERX=["R", "V"])
    assert telling_cards(FLAT, cards, stated=ALL, ignored={"FILTERX"}) == ()


@pytest.mark.parametrize(
    ("kind", "keyword", "means"),
    [
        (FLAT, "FOCRATIO", None),
        (FLAT, "FOCRED", None),
        (FLAT, "TELFOCAL", None),
        (FLAT, "DOMELAMP", None),
        (DARK, "DATAMODE", "readout_mode"),
        (DARK, "DATARATE", "readout_mode"),
        (DARK, "USBSPEED", "readout_mode"),
        (DARK, "READOUTSPEED", "readout_mode"),
        (DARK, "FRAMERATE", "readout_mode"),
        (DARK, "PIXCLK", "readout_mode"),
        (DARK, "NAMPS", "readout_mode"),
        (DARK, "TIMINGMODE", "readout_mode"),
        (DARK, "SWGAIN", "gain"),
        (DARK, "AGAIN", "gain"),
        (DARK, "ADUGAIN", "gain"),
        (DARK, "USERGAIN", "gain"),
        (DARK, "STDGAIN", "gain"),
        (DARK, "MINGAIN", "gain"),
        (DARK, "CAMBIN", "binning"),
        (DARK, "SITEBIN", "binning"),
        (DARK, "TIMEEXP", "exposure"),
        (DARK, "ONTIME", "exposure"),
        (DARK, "SHUTTERTIME", "exposure"),
        (DARK, "INTEGRATIONTIME", "exposure"),
        (DARK, "INTEGRAT", "exposure"),
        (DARK, "SHUTMODE", "readout_mode"),
        (DARK, "CLOCKSPD", "readout_mode"),
        (DARK, "NCOADDS", "readout_mode"),
        (DARK, "BITDEPTH", "readout_mode"),
        (DARK, "READFREQ", "readout_mode"),
        (DARK, "CLAMP", "offset"),
        (DARK, "XSTART", None),
        (DARK, "SUBFRAME", None),
        (DARK, "FLIPSTAT", None),
        (FLAT, "FWPOS", "filter"),
        (FLAT, "BANDPASS", "filter"),
        (FLAT, "LAMBDA", None),
        (FLAT, "FSTOP", None),
        (FLAT, "LAMPSTAT", None),
        (DARK, "TIME_EXP", "exposure"),
        (DARK, "INT-TIME", "exposure"),
        (DARK, "LONEXP", "exposure"),
        (DARK, "EXPMSEC", "exposure"),
        (DARK, "SWOFFSET", "offset"),
        (DARK, "CCDNUM", "camera"),
        (DARK, "SERIALNUMBER", "camera"),
        (DARK, "SWCAM", "camera"),
        (FLAT, "FILTNUM", "filter"),
        (FLAT, "SWFILT", "filter"),
        (FLAT, "ESO INS FILT1 NO", "filter"),
        (FLAT, "BAND", "filter"),
    ],
)
def test_the_name_of_a_setting_wins_over_what_it_begins_with(kind, keyword, means):
    assert told(kind, frames(**{keyword: [1, 3]})) == {keyword: means}


@pytest.mark.parametrize(
    "keyword",
    [
        *("READTIME", "DETRDTIM", "XFERTIM", "ESO DET EXP RDTTIME", "ESO DET WIN1 DKTM", "CCDUPTIM", "ELAPSED"),
        *("LAMPAMPS", "LAMPVOLT", "LAMPHRS", "LAMPCURR", "CCDPWR", "DETVACUU", "DETPRES", "CCDHUM"),
        *("FLATMEAN", "FLATMED", "BIASMEAN", "IMGSTDEV", "DATAMEAN", "PIXMAX", "CCDRMS", "FLATADU"),
        *("EXPDATE", "EXPST", "EXPMID", "EXPEND", "EXPSTART", "SHUTOPEN", "SHUTCLOS", "READSTRT_TIME"),
        *(
            "ESO DET SHUT TMOPEN",
            "ESO DET SHUT TMCLOS",
            "ESO OBS NAME",
            "ESO OBS TPLNO",
            "ESO TPL NAME",
            "ESO TEL AMBI",
        ),
        *("CAMSTATE", "SHUTSTAT", "EXPSTATE", "DETSTAT", "READSTATUS"),
        *("SUBEXPNO", "EXPOSNR", "FRAMENR", "IMGNUMBER", "NEXP", "NUMFRAMES", "LOOPNO", "VISITID", "CAMFRAMES"),
        *("SHUTCNT", "FILTSEQ", "ESO INS FILT1 ENC", "GRATENC", "CAMERR", "READERRS"),
        *("GUIDGAIN", "GUIDEXP", "GUIDEBIN", "TRKRATE", "WINDSPEED", "DOMEMODE", "ROTMODE", "FOCMODE", "RAOFFSET"),
        *("CSTRETCH", "WMSSTATE", "ENCSTATE", "AGSTATE", "SCHEDNAM", "DTPROPID", "REQNUM", "SKYQLTY", "PROPOSALID"),
        *("COOLMODE", "FANSPEED", "TELMODE", "DITHMODE", "GPSMODE"),
        *(
            "SIDEOFPIER",
            "TELPIER",
            "PLTSOLVD",
            "AGFILTER",
            "AGMODE",
            "ISPARKED",
            "BLKUID",
            "ISSAFE",
            "HOSTNAME",
            "OBSLOG",
        ),
    ],
)
@pytest.mark.parametrize("kind", [FrameKind.BIAS, DARK, FLAT])
@pytest.mark.parametrize("values", [[3, 8], ["first", "second"]])
def test_what_varies_by_nature_varies_though_a_setting_is_named_in_it(kind, keyword, values):
    assert told(kind, frames(**{keyword: values}), frozenset()) == {}


@pytest.mark.parametrize(
    ("kind", "keyword", "values", "means"),
    [
        (FLAT, "MYFILT", ["L", "R", "G", "B", "Ha", "O3", "S2"], "filter"),
        (FLAT, "FILTPOS", [1, 2, 3, 4, 5, 6, 7, 8], "filter"),
        (FLAT, "XYZ", ["L", "R", "G", "B", "Ha", "O3", "S2"], "filter"),
        (DARK, "XYZ", [1.0, 2.0, 5.0, 10.0, 30.0], "exposure"),
        (DARK, "EXPLEN", [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0], "exposure"),
        (DARK, "DURATION", ["5 s", "5 min", "1 s", "2 s", "3 s", "4 s", "10 s", "20 s"], "exposure"),
        (DARK, "ISOVAL", [100, 200, 400, 800, 1600, 3200, 6400], "gain"),
        (DARK, "GAINDB", [0.5, 3.5, 6.5, 9.5, 12.5, 15.5], "gain"),
        (DARK, "BLKLVL2", [1, 2, 3, 4, 5, 6, 7], "offset"),
        (DARK, "RDSPEED", ["m1", "m2", "m3", "m4", "m5", "m6"], "readout_mode"),
    ],
)
@pytest.mark.parametrize("n", [10, 20])
def test_a_fact_that_is_stated_nowhere_else_may_have_many_values(kind, keyword, values, means, n):
    assert told(kind, frames(n, **{keyword: values}), ALL - {means}) == {keyword: means}
    assert told(kind, frames(n, **{keyword: values, "EXPNO": lambda i: i, "CCDSEQ": lambda i: i}), ALL - {means}) == {
        keyword: means
    }


@pytest.mark.parametrize("keyword", ["CAMIMG", "CCDX", "DETX", "EXPX", "GAINX", "READX", "MODX", "OFFSX", "BINX2"])
@pytest.mark.parametrize("n", [5, 12, 40])
def test_what_counts_the_frames_is_no_setting_though_the_setting_is_unknown(keyword, n):
    for start in (0, 1, 4711):
        assert told(DARK, frames(n, **{keyword: lambda i, start=start: start + i}), frozenset()) == {}
    readings = RNG.normal(3.3, 0.3, n)
    if keyword not in ("EXPX", "GAINX"):
        assert told(DARK, frames(n, **{keyword: lambda i: float(readings[i])}), frozenset()) == {}


def test_no_known_keyword_of_a_setting_seems_to_vary():
    cards = [keyword for row in FRAME_KEYWORDS if row.field in CONSTANT for keyword in row.known_as]
    flats = frames(INSTRUME="Cam")
    for keyword in cards:
        divided = [{**card, keyword: f"[{i % 2}"} for i, card in enumerate(flats)]
        assert keyword in told(FLAT, divided, frozenset()), keyword


def test_what_is_known_of_every_frame_is_stated():
    rows = [
        FrameHeader(kind=DARK, shape=(2, 2), gain=1, ccd_temp_c=-10.0, filter="V"),
        FrameHeader(kind=DARK, shape=(2, 2), gain=2, set_temp_c=-10.0),
    ]
    assert stated_facts(rows) == {"gain", "binning", "temperature"}
    assert stated_facts(rows[1:]) == {"gain", "binning", "temperature", "set_temperature"}
    assert stated_facts([]) == frozenset()


@pytest.mark.parametrize(("one", "other"), [(200, 201), (1000.0, 1001.0), ("200", "201"), (12_001, 12_002)])
def test_whole_numbers_near_to_each_other_are_two_and_readings_jitter(one, other):
    assert told(DARK, frames(GAINX=[one, other])) == {"GAINX": "gain"}
    assert told(DARK, frames(GAINX=[200.02, 201.03])) == {}
    assert told(DARK, frames(EXPUS=[300_000_012, 300_000_013])) == {}, "what a camera reports of an exposure"


@pytest.mark.parametrize(
    "same", [[True, 1], [True, "T"], [1, 1.0], ["1", True], ["T", 1.0], ["yes", "YES"], [False, 0]]
)
def test_the_same_written_differently_is_no_difference(same):
    assert told(DARK, frames(HDRON=same, GAINX=same, XYZ=same), frozenset()) == {}


def test_numbers_in_different_units_differ():
    assert told(DARK, frames(EXPLEN=["5 s", "5 min"])) == {"EXPLEN": "exposure"}
    assert told(DARK, frames(SENSREAD=["3.31 V", "3.32 V"])) == {}


HARMLESS = {
    "weather": "SKYQUAL AOCAMBT AOCRAIN TRANSPAR PHOTOM CONDS RAWIQ SQM METEO WETTER BOLTAMBT TWILIGHT",
    "people": "ASTRONOM OPERATOR SUPPORT TELOPS OA PI-COI PINAME NIGHTASS STUDENT CONTACT TAKENBY COPYRIGH CLUB",
    "programs": "SWCREATE SWSERIAL INSTAPP HDRVER CAMVER FIRMWARE PLATFORM COMPUTER DICT PROFILE ARCVER",
    "sequence": "OBSPLAN JOB TASKNAME MOLTYPE BLKTYPE TAGID SESSION EVENTNAM ORIGNAME ASN_ID ROOTNAME SEQNAME",
    "archive": "DTSITE DTPI DTACQNAM KOAID KOAIMTYP PUBDAT GRADE ISSUES SEMESTER QUALCOM1 MEMTYPE PREVIEW",
    "place": "LOCATION LIEU TOWN OBSSITE UTCOFFS TIMEZONE CONSTELL TARGNAME CATSRC DOMESTAT",
}
QUIET = 1000 + RNG.normal(0, 0.3, 20)


@pytest.mark.parametrize("group", HARMLESS)
@pytest.mark.parametrize("kind", [FrameKind.BIAS, DARK, FLAT])
def test_weather_people_programs_and_archives_divide_no_healthy_frames(kind, group):
    for keyword in HARMLESS[group].split():
        cards = frames(**{keyword.replace("-", "__"): ["Anna", "Bert"]})
        assert told(kind, cards, levels=QUIET) == {}, keyword


@pytest.mark.parametrize("words", [["fast", "slow"], ["High gain", "Low gain"], ["1 MHz", "5 MHz"], ["HDR", "linear"]])
def test_words_that_are_said_of_settings_divide_whatever_the_card_is_called(words):
    assert told(DARK, frames(XYZ=words), levels=QUIET) == {"XYZ": None}
    assert told(FLAT, frames(XYZ=words)) == {"XYZ": None}


def test_a_word_of_unknown_meaning_divides_where_it_may_be_what_is_not_stated():
    cards = frames(XYZ=["one", "other"])
    assert told(DARK, cards, levels=QUIET) == {}
    assert told(DARK, cards, ALL - {"exposure"}, levels=QUIET) == {"XYZ": None}
    assert told(DARK, cards, levels=QUIET + np.repeat([0, 4], 10)) == {"XYZ": None}
    assert told(FLAT, cards) == {}
    assert told(FLAT, cards, ALL - {"filter"}) == told(FLAT, cards, ALL - {"gain", "egain"}) == {"XYZ": None}
    noisier = [Measured(level_adu=1000.0, sigma_adu=7.0 + (i >= 10)) for i in range(20)]
    assert telling_cards(DARK, cards, stated=ALL, measured=noisier) != ()


@pytest.mark.parametrize("keyword", ["XYZ", "EXPX", "STEPS"])
@pytest.mark.parametrize("kind", [DARK, FLAT])
@pytest.mark.parametrize("n", [3, 5, 12])
def test_whole_numbers_that_the_levels_follow_are_exposures_and_no_counter(kind, keyword, n):
    cards = frames(n, **{keyword: lambda i: i + 1})
    followed = 1000 + 40 * np.arange(n) + RNG.normal(0, 0.3, n)
    assert told(kind, cards, ALL - {"exposure"}, levels=followed) == {keyword: "exposure"}
    assert told(kind, cards, levels=followed) == {}
    if keyword != "EXPX":  # levels of biases drift
        assert told(FrameKind.BIAS, cards, ALL - {"exposure"}, levels=followed) == {}
    if n > 3:
        assert told(kind, cards, ALL - {"exposure"}, levels=1000 + RNG.normal(0, 0.3, n)) == {}


def test_a_shutter_that_some_darks_call_open_is_no_exposure():
    assert told(DARK, frames(SHUTTER=["OPEN", "CLOSED"])) == {"SHUTTER": None}
