"""Cards: everything we write is read back, and what other programs write is understood or left out."""

import warnings
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from calibration.errors import HeaderError
from calibration.frames import FrameHeader, FrameKind
from calibration.keywords import (
    FRAME_KEYWORDS,
    MASTER_KEYWORDS,
    PERCENTILES,
    MasterInfo,
    PedestalRule,
    from_cards,
    is_master,
    kind_of_path,
    master_from_cards,
    pedestal_to_subtract,
    to_cards,
    values,
)
from tests.support.places import SHARED

SHAPE = (20, 30)
HEADERS = SHARED / "data" / "headers"

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20).filter(
    lambda s: values.text(s) == s  # no gap such as 'n/a', and no letter's code
)
SECONDS_US = st.integers(0, 10**12)
TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def decimals(low, high):
    """Numbers that fit the 20 characters a card has for them."""
    return st.integers(int(low * 1000), int(high * 1000)).map(lambda n: n / 1000)


FINITE = decimals(-1e6, 1e6)
POSITIVE = decimals(1e-3, 1e6)
CELSIUS = decimals(-200, 60)
NO_ROW = {"kind", "shape", "extra", "calibrated", "pedestal_adu", "unread"}
"""Fields that no single card holds."""

SPECIAL = {
    "exposure_us": SECONDS_US,
    "reported_exposure_us": SECONDS_US,
    "asked_exposure_us": SECONDS_US,
    "site_latitude_deg": decimals(-90, 90),
    "site_longitude_deg": decimals(-180, 180),
    "egain_e_adu": decimals(0.001, 100),
    "focal_length_mm": POSITIVE,
    "saturation_adu": POSITIVE,
    "pixel_size_x_um": POSITIVE,
    "pixel_size_y_um": POSITIVE,
    "bin_x": st.integers(1, 16),
    "bin_y": st.integers(1, 16),
    "origin_x": st.integers(0, 10**5),
    "origin_y": st.integers(0, 10**5),
    "row_order": st.sampled_from(["TOP-DOWN", "BOTTOM-UP"]),
    "source": st.sampled_from(["panel", "sky"]),
    "simulated": st.booleans(),
}


def strategy_of(field):
    written = str(field.type)
    if field.name in SPECIAL:
        return SPECIAL[field.name]
    if field.name.endswith("temp_c") or field.name.startswith("temp_"):
        return CELSIUS
    if "datetime" in written:
        return TIMES
    return {"int": st.integers(-(2**31), 2**31), "float": FINITE, "str": WORDS}[written.split(" ", maxsplit=1)[0]]


def headers():
    """Headers in all their fields; no exposure of zero that the camera contradicts, which is not read as it stands."""
    optional = {
        f.name: (st.none() | strategy_of(f)) if "None" in str(f.type) else strategy_of(f)
        for f in fields(FrameHeader)
        if f.name not in NO_ROW
    }
    built = st.builds(FrameHeader, kind=st.sampled_from(FrameKind), shape=st.just(SHAPE), **optional)
    return built.filter(lambda h: h.kind is FrameKind.BIAS or h.exposure_us or not h.reported_exposure_us)


@settings(deadline=None)
@given(headers())
def test_every_field_is_read_back_from_its_cards(header):
    assert from_cards(to_cards(header), shape=SHAPE) == header


@settings(deadline=None, max_examples=30)
@given(headers())
def test_cards_survive_a_fits_file(header):
    texts = [value for field in fields(header) if isinstance(value := getattr(header, field.name), str)]
    assume(not any("'/" in text for text in texts))  # astropy ends a text there; files/test_fits.py reads it with ours
    written = fits.Header()
    for card in to_cards(header):
        written.append(tuple(card))
    again = fits.Header.fromstring(written.tostring())
    assert from_cards(again, shape=SHAPE) == header


def test_every_field_has_one_row_and_every_keyword_fits():
    rows = [*FRAME_KEYWORDS, *MASTER_KEYWORDS]
    assert sorted(row.field for row in FRAME_KEYWORDS) == sorted(
        f.name for f in fields(FrameHeader) if f.name not in NO_ROW
    )
    assert sorted(row.field for row in MASTER_KEYWORDS) == sorted(
        f.name for f in fields(MasterInfo) if f.name != "percentiles_adu"
    )
    written = [keyword for row in rows for keyword in (row.keyword, *row.twins)]
    assert len(set(written)) == len(written)
    assert all(len(keyword) <= 8 and keyword.isupper() for keyword in written)
    assert all(len(row.comment) <= 47 for row in rows)


def test_master_cards_are_read_back():
    info = MasterInfo(
        n_combined=40,
        n_rejected=1234,
        combine_method="mean",
        reject_method="sigma_clip",
        reject_sigma=3.0,
        temp_min_c=-10.1,
        temp_max_c=-9.9,
        percentiles_adu=tuple(float(p) for p in PERCENTILES),
        read_noise_adu=1.5,
        recipe="abcdef0123",
        bias_subtracted=False,
        flat_dark="matched",
        dark_file="darks/master_dark_1.000s.fits",
        dark_sha256="0" * 64,
        flat_norm=20_123.5,
        flat_level_adu=20_100.0,
        sigma_correction=1.011,
        calibration_status="D",
    )
    cards = to_cards(FrameHeader(kind=FrameKind.FLAT, shape=SHAPE), info)
    assert ("IMAGETYP", "MASTER FLAT") in {(card.keyword, card.value) for card in cards}
    assert master_from_cards(cards) == info
    assert from_cards(cards, shape=SHAPE).kind is FrameKind.FLAT
    assert is_master({card.keyword: card.value for card in cards})
    assert master_from_cards(to_cards(FrameHeader(kind=FrameKind.FLAT, shape=SHAPE))) is None


def test_text_of_devices_is_made_fit_for_a_card():
    header = FrameHeader(kind=FrameKind.DARK, shape=SHAPE, instrument="Kamera\n„µ°“ " + "x'" * 60, filter="Hα")
    written = fits.Header()
    for card in to_cards(header):
        written.append(tuple(card))  # astropy warns of a card that does not fit
    assert all(len(line) == 80 for line in map(str, written.cards))
    assert written["FILTER"] == "Ha"


def test_numbers_that_are_not_finite_have_no_card():
    header = FrameHeader(kind=FrameKind.DARK, shape=SHAPE, ccd_temp_c=float("nan"), median_adu=float("inf"))
    assert {"CCD-TEMP", "DATAMED"}.isdisjoint(card.keyword for card in to_cards(header))


def test_mjd_and_time_system_follow_from_the_start():
    header = FrameHeader(kind=FrameKind.DARK, shape=SHAPE, date_obs=datetime(2026, 1, 1, 12, tzinfo=UTC))
    values = {card.keyword: card.value for card in to_cards(header)}
    assert values["MJD-OBS"] == 61041.5
    assert values["TIMESYS"] == "UTC"


def read(path=None, **cards):
    known = {"IMAGETYP": "Dark Frame"} | {k.replace("_", "-"): v for k, v in cards.items()}
    return from_cards(known, shape=SHAPE, path_hint=path)


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("Bias Frame", FrameKind.BIAS),
        ("BIAS", FrameKind.BIAS),
        ("MASTER BIAS", FrameKind.BIAS),
        ("Zero", FrameKind.BIAS),
        ("Dark Frame", FrameKind.DARK),
        ("Master Dark", FrameKind.DARK),
        ("FLATDARK", FrameKind.DARK),
        ("Dark Flat", FrameKind.DARK),
        ("Flat Field", FrameKind.FLAT),
        ("Sky Flat", FrameKind.FLAT),
        ("masterFlat", FrameKind.FLAT),
        ("Light   ", FrameKind.LIGHT),
        ("Master Light", FrameKind.LIGHT),
    ],
)
@pytest.mark.parametrize("keyword", ["IMAGETYP", "CALTYPE", "FRAMETYP", "FRAME_TYPE", "FRAME"])
def test_type_synonyms(written, kind, keyword):
    assert from_cards({keyword: written}, shape=SHAPE).kind is kind


@pytest.mark.parametrize(("number", "kind"), [(1, "LIGHT"), (2, "BIAS"), (3, "DARK"), ("4", "FLAT")])
def test_picttype_numbers(number, kind):
    assert from_cards({"PICTTYPE": number}, shape=SHAPE).kind == kind


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("bias_20260101_000000_001.fits", "BIAS"),
        ("BiasT0_exp0.012sAt0f1.fits", "BIAS"),
        ("dark_02sec_g0100_0016.fits", "DARK"),
        ("darks-expos1.fits", "DARK"),
        ("masterDark_EXPOSURE_1.50.fits", "DARK"),
        ("flatdark_001.fits", "DARK"),
        ("flat_0.5sec_g0100_0013.fits", "FLAT"),
        ("ngc1.FLAT.FIT", "FLAT"),
        ("0001.BIAS.FIT", "BIAS"),
        ("TestSection2/T20/attempt1/fits/frame1.fits", "DARK"),
        ("night/Darks/exp_1.000s/001.fits", "DARK"),
        ("flats/dark/x.fits", "DARK"),
        ("MASTER FLAT/cam/x.fits", "FLAT"),
        ("/home/darko/x.fits", None),
        ("/data/flatland/biased/image.fits", None),
        ("darkness.fits", None),
        ("biastest1.fit", None),
    ],
)
def test_type_from_whole_components_of_the_path_only(path, kind):
    assert kind_of_path(PurePosixPath(path)) == kind
    assert kind_of_path(PureWindowsPath(path.replace("/", "\\"))) == kind


def test_header_beats_path():
    assert read(PurePosixPath("flats/flat_001.fits")).kind is FrameKind.DARK


def test_frame_without_a_type_is_refused_by_name():
    with pytest.raises(HeaderError, match="IMAGETYP = 'Focus'"):
        from_cards({"IMAGETYP": "Focus"}, shape=SHAPE, path_hint=PurePosixPath("/home/darko/x.fits"))
    with pytest.raises(HeaderError, match="IMAGETYP is missing"):
        from_cards({}, shape=SHAPE)


@pytest.mark.parametrize(
    ("value", "microseconds"),
    [
        (120, 120_000_000),
        (0.0, 0),
        (1.2e-05, 12),
        ("120.00  ", 120_000_000),
        ("3.00000000000E+002", 300_000_000),
        ("0,5", 500_000),
        ("30 s", 30_000_000),
        ("30ms", 30_000),
        ("250 us", 250),
        ("0m30s", 30_000_000),
        ("2 min", 120_000_000),
        ("1/60", 16_667),
        (np.float32(2.5), 2_500_000),
        ("N/A", None),
        ("", None),
        ("30 msecs", 30_000),
        ("1.5 Sek.", 1_500_000),
        ("2 Sekunden", 2_000_000),
        ("12 secs", 12_000_000),
        ("3 mins", 180_000_000),
        ("3 Min.", 180_000_000),
        ("500 usecs", 500),
        ("500 \u03bcs", 500),
        ("2 segundos", 2_000_000),
        ("10 [s]", 10_000_000),
        ("10 (sec)", 10_000_000),
        ("5 min 30 s", 330_000_000),
        ("1 h 5 min", 3_900_000_000),
        ("1h05m10s", 3_910_000_000),
        ("2 ms.", 2_000),
        ("5000 ns", 5),
        ("00:05:00", 300_000_000),
        ("0:00:10.5", 10_500_000),
        ("01:30", 90_000_000),
        ("1.5 hours", 5_400_000_000),
        ("10 sec.", 10_000_000),
        ("250 microseconds", 250),
    ],
)
def test_exposures_in_many_forms(value, microseconds):
    assert read(EXPTIME=value).exposure_us == microseconds


@pytest.mark.parametrize(
    "card",
    [
        {"EXPTIME": "bulb"},
        {"EXPTIME": "3 parsec"},
        {"EXPTIME": True},
        {"EXPTIME": -1},
        {"EXPTIME": -0.001},
        {"EXPTIME": "-5 s"},
        {"EXPTIME": float("nan")},
        {"EXPTIME": "inf"},
        {"EXPOSURE": 1e9},
        {"EXPOSURE": -99},
        {"EXPOSURE": "fünf Minuten"},
        {"DATE-OBS": "2018-13-45T99:00:00"},
        {"DATE-OBS": "third of May"},
        {"CCD-TEMP": "14 X"},
        {"SET-TEMP": "cold"},
    ],
)
def test_what_a_card_states_in_no_known_form_is_named_and_never_taken_for_missing(card):
    (keyword,) = card
    with pytest.raises(HeaderError) as caught:
        from_cards({"IMAGETYP": "DARK"} | card, shape=SHAPE)
    assert (caught.value.keyword, caught.value.found) == (keyword, card[keyword])
    understood = {"EXPTIME": 5.0} if keyword == "EXPOSURE" else {"CCDTEMP": -10.0, "DATE-BEG": "2018-05-03T20:00:00"}
    if keyword in {"EXPOSURE", "CCD-TEMP"}:  # another card says it in a known form
        assert from_cards({"IMAGETYP": "DARK"} | card | understood, shape=SHAPE).unread is None


@pytest.mark.parametrize("keyword", ["EXPTIME", "EXPOSURE", "EXP"])
def test_exposure_keywords(keyword):
    assert read(**{keyword: 1.5}).exposure_us == 1_500_000


def test_exposure_that_is_not_understood_falls_back_to_the_next_keyword():
    assert read(EXPTIME="N/A", EXPOSURE="2.0").exposure_us == 2_000_000


def test_exposure_in_microseconds_and_from_the_folder():
    assert read(EXPOINUS=1500).exposure_us == 1500
    assert read(EXPOINUS=1500, EXPTIME=0.0015).exposure_us == 1500
    assert read(PurePosixPath("darks/exp_0.012s/dark_001.fits")).exposure_us == 12_000
    assert read(PurePosixPath("darks/exposures/dark_001.fits")).exposure_us is None


@pytest.mark.parametrize(
    ("cards", "temperature"),
    [
        ({"CCD_TEMP": -10.02}, -10.02),
        ({"TEMP": "-5.0"}, -5.0),
        ({"TEMPERAT": 3}, 3.0),
        ({"EQTEMP": 21.5, "TEMP": "N/A"}, 21.5),
        ({"CCD_TEMP": -300.0}, None),
        ({"CCD_TEMP": -273.15}, None),
        ({"CCD_TEMP": "-10 C"}, -10.0),
        ({}, None),
    ],
)
def test_sensor_temperatures(cards, temperature):
    assert read(**cards).ccd_temp_c == temperature


@pytest.mark.parametrize("keyword", ["SET-TEMP", "SETTEMP", "CCD-TSET", "CCDTSET"])
def test_set_points(keyword):
    assert read(**{keyword: -20.0}).set_temp_c == -20.0


@pytest.mark.parametrize(
    ("cards", "gain", "egain"),
    [
        ({"GAIN": 100}, 100, None),
        ({"GAIN": 100.0, "EGAIN": "3.62    "}, 100, 3.62),
        ({"EXPGAIN": "239"}, 239, None),
        ({"GAIN": 1.39}, None, 1.39),
        ({"GAIN": 1.39, "EGAIN": 0.25}, None, 0.25),
        ({"EGAIN": "High"}, None, None),
        ({"EGAIN": 0.0}, None, None),
        ({"EGAIN": -1.0}, None, None),
        ({"GAIN": "N/A"}, None, None),
        ({}, None, None),
    ],
)
def test_gain_is_the_setting_and_egain_only_what_can_be_true(cards, gain, egain):
    header = read(**cards)
    assert (header.gain, header.egain_e_adu) == (gain, egain)


@pytest.mark.parametrize(
    ("cards", "field", "value"),
    [
        ({"OFFSET": 0}, "offset", 0),
        ({"BLKLEVEL": 30}, "offset", 30),
        ({"READOUT": "High Speed"}, "readout_mode", "High Speed"),
        ({"READMODE": 0}, "readout_mode", "0"),
        ({"READOUTM": "N/A"}, "readout_mode", None),
        ({"CAMERA": "EHD"}, "instrument", "EHD"),
        ({"CAMNAME": "QHY600M"}, "instrument", "QHY600M"),
        ({"XBINNING": "2       "}, "bin_x", 2),
        ({"BINNING": "2x3"}, "bin_y", 3),
        ({"CCDSUM": "2 4"}, "bin_y", 4),
        ({}, "bin_x", 1),
        ({"FILTER": ""}, "filter", None),
        ({"FILTER": "None"}, "filter", None),
        ({"FILT": "Ha"}, "filter", "Ha"),
        ({"ROWORDER": "top-down"}, "row_order", "TOP-DOWN"),
        ({"REXPTIME": 1.01}, "reported_exposure_us", 1_010_000),
        ({"SITELAT": "46 52 01"}, "site_latitude_deg", pytest.approx(46.8669, abs=1e-4)),
        ({"SITELONG": "-96 27 12"}, "site_longitude_deg", pytest.approx(-96.4533, abs=1e-4)),
        ({"SITELONG": "-0:30:00"}, "site_longitude_deg", -0.5),
        ({"SITELONG": 352.5}, "site_longitude_deg", -7.5),
        ({"OBSGEO_B": 12.5}, "site_latitude_deg", 12.5),
        ({"FOCALLEN": 0.0}, "focal_length_mm", None),
        ({"FRAMENUM": 1.0}, "frame_no", 1),
        ({"SIMULATE": True}, "simulated", True),
        ({"PROGRAM": "PixInsight 1.8"}, "software", "PixInsight 1.8"),
    ],
)
def test_other_spellings(cards, field, value):
    assert getattr(read(**cards), field) == value


UTC_START = datetime(2018, 8, 23, 8, 49, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "cards",
    [
        {"DATE_OBS": "2018-08-23T08:49:30"},
        {"DATE_OBS": "2018-08-23T08:49:30.0000000"},
        {"DATE_OBS": "2018-08-23T08:49:30Z"},
        {"DATE_OBS": "2018-08-23T10:49:30+02:00"},
        {"DATE_OBS": "2018-08-23 08:49:30"},
        {"DATE_OBS": "2018-08-23", "TIME_OBS": "08:49:30"},
        {"DATE_OBS": "23/08/18", "UT": "08:49:30"},
        {"DATE_OBS": "2018-08-23", "MJD_OBS": 58353.367708333},
        {"JD": 2458353.8677083333},
        {"CAPTIME": "2018-08-23T08:49:30"},
        {"TIMESTAMP": UTC_START.timestamp()},
    ],
)
def test_starts_in_many_forms(cards):
    assert abs(read(**cards).date_obs - UTC_START) < timedelta(milliseconds=2)


@pytest.mark.parametrize(
    "cards",
    [
        {"DATE_OBS": "N/A"},
        {"TIMESTAMP": 12.5},
        {"DATE_LOC": "2018-08-23T08:49:30"},
    ],
)
def test_start_that_is_not_told_is_not_known(cards):
    assert read(**cards).date_obs is None


@pytest.mark.parametrize(
    ("program", "written", "expected"),
    [
        ("SBIG Win CCDOPS Version 5.47", -100, (100.0, PedestalRule.ADD)),
        ("MaxIm DL Version 6.16", -100, (100.0, PedestalRule.ADD)),
        ("PixInsight 1.8.9", 200, (200.0, PedestalRule.SUBTRACT)),
        ("Somebody's script", 100, (None, PedestalRule.UNKNOWN)),
        ("Somebody's script", 0, (0.0, PedestalRule.UNKNOWN)),
    ],
)
def test_pedestal_means_what_its_program_means(program, written, expected):
    assert pedestal_to_subtract(read(SWCREATE=program, PEDESTAL=written)) == expected


def test_sky_flats_say_their_source():
    assert from_cards({"IMAGETYP": "Sky Flat"}, shape=SHAPE).source == "sky"
    for written in ("TWIFLAT", "FLAT,TWILIGHT", "sflat", "dusk flat", "Morning Flats"):
        assert from_cards({"IMAGETYP": written}, shape=SHAPE).source == "sky", written
    for written in ("FLAT", "DOMEFLAT", "FLAT,LAMP", "dflat", "Flat Field"):
        assert from_cards({"IMAGETYP": written}, shape=SHAPE).source is None, written
    assert from_cards({"IMAGETYP": "FLAT", "FLATSRC": "panel"}, shape=SHAPE).source == "panel"


def test_cards_without_a_field_are_kept_and_structure_is_not():
    header = read(OBJECT="M 31", NAXIS1=30, BZERO=32768, CHECKSUM="abc", DARKCURR=300, COMMENT="x")
    assert header.extra == {"OBJECT": "M 31", "DARKCURR": 300}
    assert ("OBJECT", "M 31") in {(card.keyword, card.value) for card in to_cards(header)}


def test_long_and_repeated_keywords_are_read():
    cards = [
        ("IMAGETYP", "DARK", ""),
        ("hierarch TimeStamp", "2018-08-23T08:49:30", ""),
        ("GAIN", 1, ""),
        ("GAIN", 2, ""),
    ]
    header = from_cards(cards, shape=SHAPE)
    assert header.date_obs == UTC_START
    assert header.gain == 1


@pytest.mark.skipif(not HEADERS.is_dir(), reason="the shared collection of real headers is not here")
def test_real_headers_are_understood():
    found = {}
    for path in sorted(HEADERS.glob("*.fit")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some of them break the standard
            cards = fits.getheader(path)
        shape = (cards["NAXIS2"], cards["NAXIS1"])
        if path.name.startswith("neon"):
            with pytest.raises(HeaderError):  # says nowhere what it is
                from_cards(cards, shape=shape, path_hint=path)
            cards["IMAGETYP"] = "Flat Field"
        found[path.name] = from_cards(cards, shape=shape, path_hint=path)
    assert all(header.date_obs and header.instrument and header.exposure_us is not None for header in found.values())
    assert found["aspen_trimmed.fit"].filter == "R"
    assert found["aspen_trimmed.fit"].kind is FrameKind.FLAT
    assert found["maximdl_6_18_header.fit"].readout_mode == "Monochrome"
    assert found["darktest1.fit"].exposure_us == 30_000_000
    assert found["biastest1.fit"].site_longitude_deg == pytest.approx(-96.4533, abs=1e-3)
    assert found["celestron_nightscape_10100_astro_fx_v106.fit"].bayer_offset_x == 1
    sbig = found["neon-on-dome-10-sec-high-res-though-scope.fit"]
    assert (sbig.egain_e_adu, sbig.filter) == (1.74, None)
    assert pedestal_to_subtract(sbig) == (100.0, PedestalRule.ADD)
