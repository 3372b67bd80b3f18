"""Headers as laboratories and amateurs have left them: every variant that was met, and what it means."""

from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest

from calibration.frames import FrameKind
from calibration.keywords import from_cards

CONVERTED = {
    "HEIGHT": "48", "WIDTH": "64", "BIT_DEPT": "16", "CAMERA": "SimCMOS", "FRAMENUM": 3.0,
    "HIERARCH TIMESTAMP": 1001.5, "EQTEMP": 19.0, "EXPTIME": 0.1, "REXPTIME": 0.1001, "GAIN": 100.0, "TEMP": 20.04,
    "TEMP_0": 20.0, "DELTMP": 0.05, "POWCONS": 2.5, "CALTYPE": "DARK", "FILETEMP": -10.0,
}  # fmt: skip
THERMAL = {
    "EXTTEMP": 21.0, "EXPGAIN": "100", "IMESTAMP": 1690000000.5, "TIME": 12.5, "EXPTIME": 1, "CALTYPE": "OPER",
}  # fmt: skip
CONTROL = {
    "EXPTIME(s)": "2.0", "GAIN(%)": 100, "TEMP": 25.3, "WIDTH": 2048, "HEIGHT": 2048, "BITDEPTH": 12, "CAMERA": "EHD",
    "DATAMEAN": "123.456", "DATAMED": "123.000", "DATASTD": "4.500", "DATAMAX": "4095.000", "DATAMIN": "1.000",
    "CAPTIME": "2024-05-06T07:08:09.5",
}  # fmt: skip
AMATEUR = {
    "IMAGETYP": "Dark Frame", "EXPOSURE": "120.00  ", "XBINNING": "1       ", "EGAIN": "3.62    ", "TEMPERAT": -4.818,
    "BLKLEVEL": 10, "DATE-OBS": "2024-01-02T03:04:05.1234567", "READOUTM": "N/A", "INSTRUME": "ASI Camera (1)",
}  # fmt: skip
NIGHT = datetime(2024, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cards", "path", "expected"),
    [
        (
            CONVERTED,
            "T-10/9s/frame3.fits",
            {"kind": "DARK", "exposure_us": 100_000, "reported_exposure_us": 100_100, "ccd_temp_c": 20.04, "gain": 100,
             "frame_no": 3, "instrument": "SimCMOS", "date_obs": None},
        ),
        (
            THERMAL,
            "T5/frame3.fits",
            {"kind": "LIGHT", "exposure_us": 1_000_000, "ccd_temp_c": 21.0, "gain": 100,
             "date_obs": datetime(2023, 7, 22, 4, 26, 40, 500_000, tzinfo=UTC)},
        ),
        (
            CONTROL,
            "dark_09sec_g0900_0016.fits",
            {"kind": "DARK", "exposure_us": 2_000_000, "ccd_temp_c": 25.3, "gain": 100, "frame_no": 16,
             "instrument": "EHD", "median_adu": 123.0, "std_adu": 4.5, "max_adu": 4095.0, "min_adu": 1.0,
             "date_obs": datetime(2024, 5, 6, 7, 8, 9, 500_000, tzinfo=UTC)},
        ),
        (
            CONTROL | {"TEMP": "N/A"},
            "T-5/flat_0.5sec_g0100_0013.fits",
            {"kind": "FLAT", "exposure_us": 2_000_000, "ccd_temp_c": -5.0, "gain": 100, "frame_no": 13},
        ),
        (
            AMATEUR,
            "T0/9s/x.fits",
            {"kind": "DARK", "exposure_us": 120_000_000, "ccd_temp_c": -4.818, "gain": None, "egain_e_adu": 3.62,
             "offset": 10, "readout_mode": None, "date_obs": NIGHT, "bin_x": 1},
        ),
        ({"EXPTIME": "0m30s", "CCD-TEMP": -5.232}, "x.DARK.FIT", {"kind": "DARK", "exposure_us": 30_000_000}),
        ({"EXPTIME": "3.00000000000E+002"}, "x.BIAS.FIT", {"kind": "BIAS", "exposure_us": 300_000_000}),
        ({}, "darks/darks-expos1.fit", {"kind": "DARK", "exposure_us": 60_000_000}),
        ({"PICTTYPE": 4, "FILTER": "R", "SET-TEMP": -10}, "T5/x.fit", {"kind": "FLAT", "filter": "R",
                                                                       "ccd_temp_c": None, "set_temp_c": -10.0}),
        ({"IMAGETYP": "Flat Field", "EXPTIME": 1.0, "EGAIN": "High"}, "", {"kind": "FLAT", "egain_e_adu": None,
                                                                           "unread": "EGAIN=High"}),
        ({"IMAGETYP": "Light   ", "ISOSPEED": "800", "BLACKLEVEL": 32}, "", {"kind": "LIGHT", "gain": 800,
                                                                             "offset": 32}),
    ],
)  # fmt: skip
def test_every_variant_is_read_as_it_was_meant(
    cards: dict[str, object], path: str, expected: dict[str, object]
) -> None:
    header = from_cards(cards, shape=(48, 64), path_hint=PurePosixPath(path))
    found = {name: getattr(header, name) for name in expected}
    assert found == expected
    assert isinstance(header.kind, FrameKind)


def test_what_has_no_field_is_kept() -> None:
    header = from_cards(CONVERTED, shape=(48, 64))
    kept = {"TIMESTAMP": 1001.5, "EQTEMP": 19.0, "TEMP_0": 20.0, "DELTMP": 0.05, "POWCONS": 2.5, "FILETEMP": -10.0}
    assert kept.items() <= header.extra.items()
