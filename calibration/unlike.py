"""Cards in which the frames of one group differ, though no field of the header says so.

What a header states under a name that nobody knows is not equal only because it is not understood. A card counts when
it divides the frames into few kinds: words, the settings of an instrument, dates months apart. What varies by nature
from frame to frame does not count: times, weather, pointing, focus, file names, counters, checksums.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from calibration.frames import FrameKind
from calibration.keywords import values
from calibration.keywords.table import FRAME_KEYWORDS

Cards = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlike:
    """One card that divides frames: its values, the most frequent first, each with the number of frames."""

    keyword: str
    values: tuple[tuple[str, int], ...]
    means: str | None = None
    """What the card seems to be, in the words of `keywords.ALIASES`; None where its name does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """Which facts the headers of a group state in cards that are understood."""

    exposure: bool = True
    filter: bool = True
    temperature: bool = True
    night: bool = True


_VARIES = re.compile(
    # times, and names and numbers of files
    r"(?:TIME|TM-|UT|LST|LOCAL|.*JD|EPOCH|EQUINOX|.*STAMP|.*CLOCK|HA$|ST$)"
    r"|.*(?:FILE|FNAME|PATH|FOLDER|DIRECT|UUID|GUID|HASH|MD5|CHECKSUM|DATASUM|SEQ|COUNT|INDEX|NUMBER|VERSION)"
    r"|(?:(?:IMAGE|IMG|IM|FRAME|FRM|OBS|EXP|SET|GROUP|BLOCK|RUN|PIC)[-_]?(?:ID|NO|NUM|NR)$|RUN|ID$|NO$|NR$)"
    # statistics of the pixels, and how they are shown
    r"|(?:DATA(?!SEC)|MEAN|MEDIAN|STD|SIGMA|RMS|MIN|MAX|AVG|BACKGR|BKG|CBLACK|CWHITE|MIPS|FWHM|HFD|HFR|STARS|SNR|ADU)"
    # weather and surroundings
    r"|.*(?:AMB|OUTS|OUTD|OUTT|ENV|TUBE|MIRR|HUM|WIND(?!OW)|PRESS|BAROM|DEW|CLOUD|RAIN|SEEING|MPSAS|SKY|BOLT|MOON|SUN)"
    # pointing, tracking, focus
    r"|(?:RA(?=$|[-_HDT])|DEC(?=$|[-_DT])|OBJCT|ALT|AZ|EL$|AIR|CENT|CR(?:VAL|PIX|OTA|DELT)|CD\d|PC\d|CTYPE|CUNIT|CDELT"
    r"|WCS|RADE|PIER|ZD|PARANG|GLAT|GLON|DOM|TRACK|GUID|DITH|FOC(?!AL)|ROT|M[12]|TEL(?!ESCOP)|MOUNT|SECPIX|PIXSCA|SCALE"
    r"|PA$|POSANG)"
    # the cooler and the supply
    r"|.*(?:COOL|POWER|PWR|HEAT|FAN|VOLT|AMPERE|BATT|USB|DOWNLOAD)"
    # people, places, programs, and what belongs to the file
    r"|(?:OBSERV|AUTHOR|USER|OWNER|SITE|LAT|LON|ELEV|OBSGEO|ORIGIN|SW|SOFT|PROG|CREAT|WRITER|DRIVER|SBST|PROJ|PROP|PI$)"
    r"|(?:HISTORY|COMMENT|CONTINUE|HIERARCH|BLANK|EXTEND|SIMPLE|BITPIX|NAXIS|GCOUNT|PCOUNT|BSCALE|BZERO|XTENSION|EXTN"
    r"|INHERIT|LONGSTRN|TIMESYS|BUNIT|Z[A-Z]+\d*$|T(?:TYPE|FORM|FIELDS)\d*)",
)
_NUMBERED = re.compile(r" (?:EXP)?(?:NO|NUM|NR)$")
"""Counters under a name of several words, as ESO has them."""
_WARMTH = re.compile(r".*(?:TEMP|TMP|CELS|KELVIN)|T[-_]?(?:CCD|DET|CHIP|SENS)")
_LOOSE = re.compile(r"(?:OBJECT|OBJNAME|TARGET|TITLE|NOTE|REMARK|DESCR|LABEL|MEMO|INFO|MSG|STATUS|STATE)")
_OF_LIGHT = re.compile(
    r".*(?:FIL(?!E)|FLT|INSFL|WHEEL|LAMP|PANEL|LIGHT|FLAT|TELESC|FOCAL|FOCRAT|APT|OBJECT|COVER|GRAT|GRISM|SLIT|LENS)"
)
_MEANINGS = (
    (None, r".*(?:WIN|ROI|SUBF|SEC$|LAMP|PANEL|LIGHT|FLAT|SLIT|GRAT|GRISM|APT|LENS|TELESC|FOCAL)"),
    ("filter", r".*(?:FIL(?!E)|FLT|INSFL|WHEEL)"),
    ("exposure", r".*(?:EXP|INTEG|INTTIM|ITIME|SHUT|DURAT)"),
    ("offset", r".*(?:OFFS|BLACK|BLKL)"),
    ("gain", r".*(?:GAIN|ISO|PREAMP|SENSITIV)"),
    ("binning", r".*BIN"),
    ("readout_mode", r".*(?:MOD(?!EL)|RDM|READ|SPEED|RATE|AMP|CHAN|PORT|TAP|WELL|HDR)"),
    ("camera", r".*(?:CCD|CAM|CHIP|DET|SENS|SERIAL|SERNO)"),
    ("bayer_pattern", r".*(?:BAY|CFA|COLO)"),
    (None, r".*SET"),
)
"""What the names of settings look like, and what each seems to be."""

_DATE = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})|(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})")
_SEXAGESIMAL = re.compile(r"[+-]?\d{1,3}[: ]\d{1,2}([: ]\d{1,2}(\.\d*)?)?")
_MONTHS_APART = 20
_NUMBERS_APART = 0.01
_DEGREES_APART = 3.0
_MOST_VALUES = 6
_LEVELS_APART = 5.0
_CONSTANT = frozenset({
    "gain", "offset", "readout_mode", "bin_x", "bin_y", "origin_x", "origin_y", "row_order", "instrument", "camera_id",
    "detector", "telescope", "focal_length_mm", "bayer_pattern", "filter", "source", "egain_e_adu",
})  # fmt: skip
"""Fields that are the same in all frames of a group: a second card that says otherwise is a difference."""
_ROWS = {spelling: row for row in reversed(FRAME_KEYWORDS) for spelling in row.known_as}


def telling_cards(
    kind: FrameKind,
    cards: Sequence[Cards],
    *,
    stated: Stated,
    levels_adu: Sequence[float] = (),
    ignored: Collection[str] = (),
) -> tuple[Unlike, ...]:
    """Return the cards that divide the frames of one group.

    Parameters
    ----------
    kind : FrameKind
        Of darks and biases, cards of the light path say nothing.
    cards : sequence of mapping
        Keyword to value, of each frame.
    stated : Stated
        Facts that are known of every frame. One that is not may stand in any card: temperatures, dates, the object.
    levels_adu : sequence of float, optional
        Of each frame: numbers whose meaning is not known count where the levels differ with them.
    ignored : collection of str
        Keywords that the user has declared to be of no account.
    """
    keywords = sorted({keyword for each in cards for keyword in each} - set(ignored))
    columns = (_Column(keyword, tuple(each.get(keyword) for each in cards)) for keyword in keywords)
    found = (_told(column, kind, stated, levels_adu) for column in columns)
    return tuple(each for each in found if each is not None)


class _Column(NamedTuple):
    """One keyword and what each frame says under it; None where the card is missing."""

    keyword: str
    written: tuple[object, ...]

    @property
    def distinct(self) -> set[str]:
        """The different values, whatever the case of their letters."""
        return {str(value).strip().casefold() for value in self.written}

    @property
    def is_compared(self) -> bool:
        """Whether grouping compares it already, within its tolerances, or knows that it varies."""
        row = _ROWS.get(self.keyword)
        if row is None or row.field in _CONSTANT:
            return False
        return all(row.read(value) is not None for value in self.written if value is not None)

    @property
    def numbers(self) -> list[float]:
        """The values as numbers; nothing unless all are."""
        found = [values.number(value) for value in self.written]
        return [] if None in found else [number for number in found if number is not None]

    def is_few(self, *, is_setting: bool) -> bool:
        """Whether values divide the frames into few kinds: of counters and readings there are about as many as frames.

        Settings that are words without a digit are never counters.
        """
        distinct = self.distinct
        words = is_setting and not any(character.isdigit() for value in distinct for character in value)
        return words or len(distinct) <= max(2, len(self.written) // (2 if is_setting else 3))

    def unlike(self, means: str | None = None, shown: Sequence[str] = ()) -> Unlike:
        """Return it as a difference."""
        words = shown or ["nothing" if value is None else str(value).strip() for value in self.written]
        return Unlike(keyword=self.keyword, values=tuple(Counter(words).most_common(_MOST_VALUES)), means=means)


def _told(column: _Column, kind: FrameKind, stated: Stated, levels_adu: Sequence[float]) -> Unlike | None:
    """Return a column as a difference, if it is one that counts."""
    keyword = column.keyword
    if len(column.distinct) < 2 or column.is_compared or (kind is not FrameKind.FLAT and _OF_LIGHT.match(keyword)):
        return None
    if not stated.night and (months := _months_apart(column.written)):
        return column.unlike("date", months)
    varies = _VARIES.match(keyword) is not None or _NUMBERED.search(keyword) is not None
    if _WARMTH.match(keyword) and not varies:
        return None if stated.temperature or not _two_warmths(column) else column.unlike("temperature")
    if varies or (_LOOSE.match(keyword) and _all_stated(kind, stated)):
        return None
    return _as_setting(column, kind, stated, levels_adu)


def _as_setting(column: _Column, kind: FrameKind, stated: Stated, levels_adu: Sequence[float]) -> Unlike | None:
    """Return a column as a difference if it looks like a setting: by its name, or because it divides the frames."""
    means, is_setting = _meaning(column.keyword)
    exposure_of_flats = kind is FrameKind.FLAT and means == "exposure" and stated.exposure
    if exposure_of_flats or not column.is_few(is_setting=is_setting):  # each flat has a dark of its own exposure
        return None
    if column.numbers:
        counts = _numbers_apart(column.numbers) and (is_setting or _levels_differ(column.written, levels_adu))
    else:  # a word that some frames lack, or a time of day, is a remark
        counts = is_setting or not any(value is None or _is_moment(value) for value in column.written)
    return column.unlike(means) if counts else None


def _all_stated(kind: FrameKind, stated: Stated) -> bool:
    return stated.filter if kind is FrameKind.FLAT else (stated.exposure or kind is FrameKind.BIAS)


def _meaning(keyword: str) -> tuple[str | None, bool]:
    """Return what a card seems to be, and whether its name is that of a setting at all."""
    if keyword in _ROWS:
        return None, True  # it is known: another name would not help
    return next(((field, True) for field, pattern in _MEANINGS if re.match(pattern, keyword)), (None, False))


def _numbers_apart(numbers: Sequence[float]) -> bool:
    """Whether some neighbouring values, in order, differ by more than a reading jitters."""
    distinct = np.unique(numbers)  # 100 and 100.0 are one
    larger = np.maximum(np.abs(distinct[1:]), np.abs(distinct[:-1]))
    return bool((np.diff(distinct) > _NUMBERS_APART * larger).any())


def _levels_differ(written: Sequence[object], levels_adu: Sequence[float]) -> bool:
    """Whether the levels of frames with one value lie apart from those with another, far more than they scatter."""
    if len(levels_adu) != len(written) or not np.isfinite(levels_adu).all():
        return False
    of_value: dict[str, list[float]] = {}
    for value, level in zip(written, levels_adu, strict=True):
        of_value.setdefault(str(value), []).append(level)
    parts = sorted((np.array(part) for part in of_value.values()), key=lambda part: float(part.mean()))
    within = max(float(np.ptp(part)) for part in parts)
    gaps = [float(high.min() - low.max()) for low, high in pairwise(parts)]
    return min(len(part) for part in parts) > 1 and min(gaps) > max(1.0, within) * _LEVELS_APART


def _two_warmths(column: _Column) -> bool:
    """Whether temperatures, where that of the sensor is not known, fall into two with a wide gap."""
    numbers = sorted(column.numbers)
    if not numbers:
        return column.is_few(is_setting=True)
    gaps = np.diff(numbers)
    widest = int(np.argmax(gaps))
    inside = max(numbers[widest] - numbers[0], numbers[-1] - numbers[widest + 1])
    return bool(gaps[widest] >= max(_DEGREES_APART, 2 * inside))


def _months_apart(written: Sequence[object]) -> list[str]:
    """Return dates as months, where all values are dates and some lie weeks apart; else nothing."""
    days = [_day(value) for value in written]
    known = [day for day in days if day is not None]
    if len(known) < len(days) or (max(known) - min(known)).days < _MONTHS_APART:
        return []
    return [day.isoformat() for day in known]


def _day(value: object) -> date | None:
    match = _DATE.match(str(value).strip())
    if match is None:
        return None
    year, month, day = match.groups()[:3] if match[1] else match.groups()[5:2:-1]
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


def _is_moment(value: object) -> bool:
    text = str(value).strip()
    return _DATE.match(text) is not None or _SEXAGESIMAL.fullmatch(text) is not None
