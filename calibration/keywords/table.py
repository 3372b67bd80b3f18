"""The one table of keywords: field of `FrameHeader`, keyword, unit and comment, and every other spelling met.

A reader that needs more than one card (the kind, times in two cards, a GAIN that is e-/ADU) stands in
`calibration.keywords.reading`. The order is the order in the file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from calibration.keywords import letters, values

CardValue = str | int | float | bool


def _as_is(value: Any) -> CardValue:
    result: CardValue = value
    return result


def _seconds(value: int) -> float:
    return value / 1e6


def iso(at: datetime) -> str:
    """Return UTC as FITS writes it, with microseconds and without zone."""
    return at.replace(tzinfo=None).isoformat(timespec="microseconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyword:
    """One row of the table.

    Attributes
    ----------
    field : str
        Field of the record.
    keyword : str
        What is written, and what is looked for first.
    comment : str
        With the unit in brackets.
    read, write : callable
        From a card's value (None: not understood) and to it.
    spellings : tuple of str
        Other keywords, in the order in which they are looked for.
    twins : tuple of str
        Keywords under which the same value is written as well.
    """

    field: str
    keyword: str
    comment: str
    read: Callable[[object], Any]
    write: Callable[[Any], CardValue] = _as_is
    spellings: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()

    @property
    def known_as(self) -> tuple[str, ...]:
        """All keywords it is read from, best first."""
        return (self.keyword, *self.twins, *self.spellings)


def text_row(field: str, keyword: str, comment: str, *spellings: str) -> Keyword:
    """Return a row of text."""
    return Keyword(
        field=field, keyword=keyword, comment=comment, read=values.text, write=letters.ascii_text, spellings=spellings
    )


def integer_row(field: str, keyword: str, comment: str, *spellings: str) -> Keyword:
    """Return a row of a whole number."""
    return Keyword(field=field, keyword=keyword, comment=comment, read=values.integer, spellings=spellings)


def number_row(field: str, keyword: str, comment: str, *spellings: str) -> Keyword:
    """Return a row of a number."""
    return Keyword(field=field, keyword=keyword, comment=comment, read=values.number, write=float, spellings=spellings)


def celsius_row(field: str, keyword: str, comment: str, *spellings: str) -> Keyword:
    """Return a row of a sensor temperature."""
    return Keyword(field=field, keyword=keyword, comment=comment, read=values.celsius, write=float, spellings=spellings)


def length_row(field: str, keyword: str, comment: str, *spellings: str) -> Keyword:
    """Return a row of a number above 0."""
    return Keyword(
        field=field, keyword=keyword, comment=comment, read=values.positive, write=float, spellings=spellings
    )


def moment_row(field: str, keyword: str, comment: str, *spellings: str) -> Keyword:
    """Return a row of a time in UTC."""
    return Keyword(field=field, keyword=keyword, comment=comment, read=values.moment, write=iso, spellings=spellings)


FRAME_KEYWORDS: tuple[Keyword, ...] = (
    Keyword(
        field="exposure_us",
        keyword="EXPTIME",
        comment="[s] exposure asked for",
        read=values.duration_us,
        write=_seconds,
        twins=("EXPOSURE",),
        spellings=(
            *(
                "EXP_TIME",
                "EXP-TIME",
                "EXP",
                "EXPTIME(S)",
                "EXPOSED",
                "EXPOS",
                "EXPOTIME",
                "EXPTIM",
                "ITIME",
                "INTTIME",
            ),
            *("INT_TIME", "INTEGTIM", "TEXP", "EXPT", "ELAPTIME", "ESO DET WIN1 DIT1", "ESO DET DIT", "EXPOINUS"),
            *("DARKTIME", "EAVG"),
        ),
    ),
    Keyword(
        field="reported_exposure_us",
        keyword="XPOSURE",
        comment="[s] exposure the camera reported",
        read=values.duration_us,
        write=_seconds,
        spellings=("REXPTIME",),
    ),
    Keyword(
        field="asked_exposure_us",
        keyword="EXPASKED",
        comment="[s] of which the camera makes EXPTIME",
        read=values.duration_us,
        write=_seconds,
    ),
    moment_row(
        *("date_obs", "DATE-OBS", "UTC start of the exposure", "DATE-BEG", "DATE_OBS", "DATEOBS", "UTC-OBS", "CAPTIME"),
        *("TIMESTAMP", "IMESTAMP"),
    ),
    moment_row("date_avg", "DATE-AVG", "UTC middle of the exposure"),
    moment_row("date_end", "DATE-END", "UTC end of the exposure"),
    text_row("night", "NIGHT", "night, from noon to noon"),
    text_row("run_id", "RUNID", "run that took the frame"),
    text_row("set_id", "SETID", "set the frame belongs to"),
    integer_row("frame_no", "FRAMENO", "number within the set, from 1", "FRAMENUM"),
    text_row("instrument", "INSTRUME", "camera", "CAMERA", "CAMNAME"),
    text_row("camera_id", "CAMERAID", "unique id of the camera"),
    text_row("detector", "DETECTOR", "sensor"),
    text_row("telescope", "TELESCOP", "telescope"),
    length_row("focal_length_mm", "FOCALLEN", "[mm] focal length"),
    Keyword(
        field="site_latitude_deg",
        keyword="SITELAT",
        comment="[deg] latitude, north positive",
        read=values.latitude,
        write=float,
        spellings=("OBSGEO-B", "LAT-OBS"),
    ),
    Keyword(
        field="site_longitude_deg",
        keyword="SITELONG",
        comment="[deg] longitude, east positive",
        read=values.longitude,
        write=float,
        spellings=("OBSGEO-L", "LONG-OBS"),
    ),
    Keyword(
        field="gain",
        keyword="GAIN",
        comment="gain setting of the driver",
        read=values.setting,
        spellings=("EXPGAIN", "GAIN(%)", "GAINSET", "GAIN_SET", "CAMGAIN", "ISOSPEED", "ISO", "ISO_SPEED", "ISORATIN"),
    ),
    integer_row(
        "offset", "OFFSET", "offset setting of the driver", "BLKLEVEL", "BLACKLEV", "BLACKLEVEL", "BLK_LVL", "CAMOFFS"
    ),
    text_row(
        *(
            "readout_mode",
            "READOUTM",
            "readout mode",
            "READOUT",
            "READMODE",
            "RDMODE",
            "RDOUTM",
            "READ-MOD",
            "READ_MODE",
        ),
        *("ROMODE", "CCDMODE", "READOUTMODE", "ESO DET READ CLOCK"),
    ),
    Keyword(
        field="egain_e_adu",
        keyword="EGAIN",
        comment="[e-/adu] electrons per ADU",
        read=values.electrons_per_adu,
        write=float,
    ),
    length_row("saturation_adu", "SATURATE", "[adu] saturation level"),
    integer_row("step_adu", "BITSTEP", "[adu] greatest common divisor of the values"),
    Keyword(
        field="bin_x",
        keyword="XBINNING",
        comment="binning in x",
        read=values.pair_part(0),
        spellings=("CCDXBIN", "XBIN", "BINX", "BINNING", "CCDSUM"),
    ),
    Keyword(
        field="bin_y",
        keyword="YBINNING",
        comment="binning in y",
        read=values.pair_part(1),
        spellings=("CCDYBIN", "YBIN", "BINY", "BINNING", "CCDSUM"),
    ),
    integer_row("origin_x", "XORGSUBF", "[pixel] subframe origin in x, binned"),
    integer_row("origin_y", "YORGSUBF", "[pixel] subframe origin in y, binned"),
    length_row("pixel_size_x_um", "XPIXSZ", "[um] pixel width, binned", "PIXSIZE1", "XPIXELSZ"),
    length_row("pixel_size_y_um", "YPIXSZ", "[um] pixel height, binned", "PIXSIZE2", "YPIXELSZ"),
    text_row("row_order", "ROWORDER", "order of the rows in the file"),
    text_row("bayer_pattern", "BAYERPAT", "colour mosaic", "BAYRPAT", "BAYERPATTERN", "CFAPAT", "CFA_PAT"),
    integer_row("bayer_offset_x", "XBAYROFF", "x offset of the mosaic", "BAYOFFX"),
    integer_row("bayer_offset_y", "YBAYROFF", "y offset of the mosaic", "BAYOFFY"),
    celsius_row(
        *("ccd_temp_c", "CCD-TEMP", "[deg C] sensor, mean", "CCDTEMP", "CCD_TEMP", "CCDTMP", "TEMPCCD", "DETTEMP"),
        *("DET-TEMP", "DET_TEMP", "DETECTEM", "SENSTEMP", "CHIPTEMP", "CAMTEMP", "CAM-TEMP", "SENSORT", "TEMP"),
        *("TEMPERAT", "TAVG"),
    ),
    celsius_row("temp_begin_c", "TEMPBEG", "[deg C] sensor before the exposure"),
    celsius_row("temp_end_c", "TEMPEND", "[deg C] sensor after the exposure"),
    celsius_row(
        *("set_temp_c", "SET-TEMP", "[deg C] set-point of the cooler", "SETTEMP", "SET_TEMP", "CCD-TSET", "CCDTSET"),
        *("CCD-SET", "CCDSETP", "TEMPSET", "TEMP_SET", "SETPOINT", "DETTSET", "COOLSET"),
    ),
    number_row("cooler_power_pct", "COOLPOWR", "[percent] cooler power", "COOLPOW"),
    text_row(
        *("filter", "FILTER", "filter", "FILT", "FILTNAM", "FILTNAME", "FILTERNM", "FILTRNAM", "FLTNAME", "INSFLNAM"),
        *(
            "INSFILTE",
            "FILTERS",
            "FILTERNA",
            "FILTERID",
            "FILTRE",
            "WFFBAND",
            "ESO INS FILT1 NAME",
            "ESO INS FILT NAME",
        ),
    ),
    Keyword(
        field="filter_label",
        keyword="FILTORIG",
        comment="filter as its wheel names it",
        read=values.text,
        write=letters.escaped_text,
    ),
    number_row("rotator_angle_deg", "ROTATANG", "[deg] rotator", "ROTATOR", "ROTANGLE"),
    integer_row("panel_brightness", "PANELLVL", "brightness of the flat panel"),
    text_row("source", "FLATSRC", "light of a flat: panel or sky"),
    text_row("cover", "COVER", "state of the cover"),
    number_row("median_adu", "DATAMED", "[adu] clipped median of the centre"),
    number_row("std_adu", "DATASTD", "[adu] robust sigma of the centre"),
    number_row("min_adu", "DATAMIN", "[adu] lowest value"),
    number_row("max_adu", "DATAMAX", "[adu] highest value"),
    Keyword(field="simulated", keyword="SIMULATE", comment="taken by a simulated camera", read=values.flag),
    text_row("software", "SWCREATE", "program that wrote the file", "PROGRAM", "CREATOR", "SOFTWARE"),
)
"""Every field of `FrameHeader` but `kind`, `shape`, `extra` and those that `reading` finds in several cards."""


ALIASES: dict[str, tuple[str, ...]] = {
    "ignore": (),
    "kind": ("IMAGETYP",),
    "filter": ("FILTER",),
    "exposure": ("EXPTIME",),
    "date": ("DATE-OBS",),
    "night": ("NIGHT",),
    "camera": ("INSTRUME",),
    "gain": ("GAIN",),
    "egain": ("EGAIN",),
    "offset": ("OFFSET",),
    "readout_mode": ("READOUTM",),
    "binning": ("XBINNING", "YBINNING"),
    "temperature": ("CCD-TEMP",),
    "set_temperature": ("SET-TEMP",),
    "rotator_angle": ("ROTATANG",),
    "bayer_pattern": ("BAYERPAT",),
}
"""What a user may say that a keyword of another program stands for, and the keywords under which it is read then."""
