"""Cards in which the frames of one group differ, though no field of the header says so.

What a header states under a name that nobody knows is not equal only because it is not understood. A card counts when
it divides the frames into few kinds: words, the settings of an instrument, dates months apart. What varies by nature
from frame to frame does not count: times, weather, pointing, focus, file names, counters, checksums.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from calibration.frames import FrameHeader, FrameKind
from calibration.keywords import values
from calibration.keywords.filters import is_filter_name
from calibration.keywords.table import ALIASES, FRAME_KEYWORDS

Cards = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlike:
    """One card that divides frames: its values, the most frequent first, each with the number of frames."""

    keyword: str
    values: tuple[tuple[str, int], ...]
    means: str | None = None
    """What the card seems to be, in the words of `keywords.ALIASES`; None where its name does not say."""


VARIES, REMARK, SETTING, TEMPERATURE = "varies", "remark", "setting", "temperature"

_SURROUNDINGS = (
    r"(?<![CL])AMB|(?:^|[-_ ])OUT[SDT]|HUM|WIND(?!OW)|PRESS|PRES$|VACU|BAROM|DEW|CLOUD|(?<![DGT])RAIN|SEEING|MPSAS|MOON"
    r"|SUN|BOLT|TUBE|MIRR|ENVIR|GPS|^(?:WEA|WMS|ENC|TCS)"
)
_MOUNT = (
    r"^(?:RA(?=$|[-_HDTOR])|DEC(?=$|[-_DTOR])|OBJCT|ALT|AZ|EL$|PA$|AIR|CENT(?!.*WAV)|AG(?!AIN)|ZD|PARANG|POSANG|GLAT|GLON"
    r"|DOM(?!.*(?:LAMP|FLAT|SCREEN|LIGHT))|TRACK|TRK|SLEW|ROT|M[12](?!\d)|TEL(?!ESC|.*(?:FOC|APT|RATIO))|MOUNT|MNT)"
    r"|PIER|PARKED|ATHOME|SOLV|GUID|DITH|FOC(?!AL|RAT|RED|LEN)"
)
_SUPPLY = r"COOL|POWER|PWR|HEAT|FAN|VOLT|CURRENT|CURR$|AMPERE|(?<!N)AMPS$|BATT|DOWNLOAD"
_EXPOSED = (
    r"(?:EXP(?:OS(?:URE)?)?|INT(?:EG(?:R\w*)?)?|SHU?T(?:TER)?|^ON|^OPEN|^LIVE)[-_ ]?(?:TIME?|TM)[-_ ]?"
    r"(?:[MU]?S|SEC|\d)*$|^ITIME|^TIME?[-_ ]?(?:OF)?[-_ ]?(?:EXP|INT)"
)
_MOMENTS = (
    r"(?<!OP)(?<!ES)TIM(?!.*MOD)|(?:^|[-_ ])TM|(?<!U)TM$|DATE(?!.*MOD)|JD|STAMP"
    r"|^(?:EXP|OBS|INT)[-_ ]?(?:UTC?|ST|MID|DAY)$|SHUT.*(?:OPEN|CLOS)"
    r"|^(?![XY]|.*(?:WIN|ROI|SUBF|ROW|COL)).*(?:START|BEGIN|BEG|(?<!T)END|(?<!F)STOP)$"
    r"|ELAPS|REMAIN|HOURS?$|HRS$"
)
_COUNTERS = (
    r"SEQ|COUNT|CNT|INDEX|IDX$|(?<!SUB)FRAMES?$|^(?:NO|NR|NUM|ID)$|^N(?:UM)?[-_]?(?:EXP|IMG|IMAGE|FRAME|SUB|SHOT)S?$|DATASET"
    r"|(?:EXP(?:OS(?:URE)?)?|IMAGE|IMG|^IM|FRAME?|FRM|OBS|SUB|SHOT|PIC|^SET|GROUP|GRP|BLO?C?K|RUN|LOOP|CYCLE|STEP|REPEAT"
    r"|JOB|TASK|TARG(?:ET)?|SCAN|SERIES|NIGHT|VISIT)[-_ ]?(?:U?ID|NO|NUM(?:BER)?|NR|N)$"
    r"|SCHED|SCRIPT|QUEUE|CAMPAIGN|^PLAN(?!E)|^REQ|PROP(?:OSAL)?[-_ ]?ID|CONDIT|QUALITY|QLTY"
    r"|FILE|FNAME|PATH|FOLDER|DIRECT|UUID|HASH|MD5|CHECKSUM|DATASUM"
)
_MEASURED = (
    r"MEAN|MEDIAN|AVG|AVERAGE|RMS|SIGMA|STD(?:DEV|EV)?$|SKEW|KURT|^(?:DATA|PIX|IM|IMG|IMAGE|FLAT|DARK|BIAS|CCD|DET)[-_]?"
    r"(?:MIN|MAX|MED|AVE|STD|SIG|LEV|LVL|ADU|VAL)|CBLACK|CWHITE|MIPS|FWHM|HFD|HFR|STARS|SNR|ENC$|ENCOD|ERR(?:OR)?S?$"
    r"|^(?!.*(?:LAMP|PANEL|LIGHT|FLAT|COVER|FIL|FLIP|HDR|GAIN|MODE)).*STAT(?:E|US)?\d?$|STRETCH"
    r"|^ESO (?:OBS|TPL|TEL|ADA|GEN|LOG|OCS|QC|INS SENS|INS THER|DET TLM)\d*\b"
)
_FILTERS = r"FIL(?![ELM])|FLT|INSFL|WHEEL|^FW\d?(?:POS|SLOT|NUM)?$|BAND(?:$|P|[-_ ]?(?:ID|NO|NAME|NUM))|PASSB"
_OPTICS = (
    r"(?<!^C)LAMP|PANEL|LIGHT|FLAT|SLIT|(?<!INTE)GRAT|GRISM|DISPER|(?:^|[-_ ])AP(?:T|ERT)|LENS|TELESC"
    r"|FOC(?:AL|RAT|RED|LEN)|F(?:NUM|STOP|[-_]?RATIO)|REDUCER|BARLOW|WAVEL|LAMBDA|POLAR|^HWP"
)
_PARTS_OF_SENSOR = (
    r"WIN(?!D(?!OW))|ROI|CROP|SUBF|SEC\d*$|^[XY][-_]?(?:START|ORI?G|0|BEG|END|OFF)|^(?:START|ORI?G|FRAME)[XY]$"
    r"|(?<!MER)(?<!PIER)FLIP"
)
_READOUT = (
    r"MOD(?!EL|IF|UL)|RDM|READ(?!Y|ER)|SPE?E?D|(?<!IB)(?<!PE)(?<!NE)RATE|AMP|CHAN(?!GE)|PORT|TAP|WELL|HDR|FREQ|[KM]HZ$"
    r"|PIX.*CLO?C?K|COADD|FOWLER|MULTISAM|^NDR|BIT[-_]?DEP|BITS$|CDS$|OVERSC|RBI|FLUSH|PREFL|^[HL]CG|^[HV]SHIFT"
)
_BELONGS_TO_FILE = (
    r"^(?:HISTORY|COMMENT|CONTINUE|HIERARCH|BLANK|EXTEND|SIMPLE|BITPIX|NAXIS|GCOUNT|PCOUNT|BSCALE|BZERO|XTENSION|EXTN"
    r"|INHERIT|LONGSTRN|TIMESYS|BUNIT|Z[A-Z]+\d*$|T(?:TYPE|FORM|FIELDS)\d*|CR(?:VAL|PIX|OTA|DELT)|CD\d|PC\d|CTYPE"
    r"|CUNIT|CDELT|WCS|RADE|SECPIX|PIXSCA|SCALE|EPOCH|EQUINOX|DATA|MIN|MAX|STD|BACKGR|BKG|ADU)"
)
_PEOPLE_AND_PROGRAMS = (
    r"^(?:OBSERV|AUTHOR|USER|OWNER|SITE|LAT|LON|ELEV|OBSGEO|ORIGIN|SW|SOFT|PROG|CREAT|WRITER|DRIVER|SBST|PROJ|PROP|PI$"
    r"|UT|LST|LOCAL|HA$|ST$|RUN)|SKY|USB|CLOCK|VERSION|OPERAT|HOST|NTP|SAFE|LOG$|UPLOAD|BACKUP|ARCHIV"
)
_NAMES = tuple(
    (nature, re.compile(pattern))
    for nature, pattern in (
        (VARIES, rf"{_SURROUNDINGS}|{_MOUNT}|{_SUPPLY}"),  # with their modes, gains and exposures
        (TEMPERATURE, r"(?<!AT)TEMP(?![LOT])|TMP|CELS|KELVIN|^T[-_]?(?:CCD|DET|CHIP|SENS)"),
        ("exposure", _EXPOSED),
        (VARIES, rf"{_MOMENTS}|{_COUNTERS}|{_MEASURED}"),  # of the exposure, of the camera, of the lamp
        (REMARK, r"^(?:OBJECT|OBJNAME|TARGET|TITLE|REMARK|DESCR|LABEL|MEMO|INFO|MSG|STATUS|STATE)|NOTE"),
        ("filter", _FILTERS),
        (
            "exposure",
            r"EXP(?!ER|LOR|ECT|ORT|IR|.*(?:MOD|TYP|NAME))|INTEG|INTTIM|SHUT(?!.*MOD)|^DUR|SECONDS|^SECS?$|^T_?INT",
        ),
        (SETTING, rf"{_OPTICS}|{_PARTS_OF_SENSOR}"),
        ("offset", r"OFFS|BLACK|BLKL|^CLAMP"),
        ("gain", r"GAIN|(?:^|[-_ ])ISO|PREAMP|SENSITIV"),
        ("binning", r"(?<!COM)BIN"),
        ("readout_mode", _READOUT),
        ("camera", r"CCD|CAM(?!PA)|CHIP|DET|SENS|SERIAL|SERNO|SERNUM"),
        ("bayer_pattern", r"BAY|CFA|COLO"),
        (SETTING, r"SET"),
        (VARIES, rf"{_BELONGS_TO_FILE}|{_PEOPLE_AND_PROGRAMS}"),
    )
)
"""What the name of a card says of it: the first row that is found in it decides, so that a setting's name wins over
what stands below it. The words are those of `keywords.ALIASES`, where it seems to be one of these facts."""

_OF_LIGHT = re.compile(rf"{_FILTERS}|{_OPTICS}|OBJECT|COVER")

_DATE = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})|(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})")
_SEXAGESIMAL = re.compile(r"[+-]?\d{1,3}[: ]\d{1,2}([: ]\d{1,2}(\.\d*)?)?")
_MONTHS_APART = 20
_NUMBERS_APART = 0.01
_DEGREES_APART = 3.0
_MOST_VALUES = 6
_A_SERIES = 5
"""Frames that are numbered one after the other, from which on the numbers are those of a counter."""

_LEVELS_APART = 5.0
_CONSTANT = frozenset({
    "gain", "offset", "readout_mode", "bin_x", "bin_y", "origin_x", "origin_y", "row_order", "instrument", "camera_id",
    "detector", "telescope", "focal_length_mm", "bayer_pattern", "filter", "source", "egain_e_adu",
})  # fmt: skip
"""Fields that are the same in all frames of a group: a second card that says otherwise is a difference."""
_ROWS = {spelling: row for row in reversed(FRAME_KEYWORDS) for spelling in row.known_as}


def stated_facts(headers: Iterable[FrameHeader]) -> frozenset[str]:
    """Return the facts, in the words of `keywords.ALIASES`, that are known of every one of some frames."""
    fields = {fact: _ROWS[names[0]].field for fact, names in ALIASES.items() if names and names[0] in _ROWS}
    known = [{fact for fact, field in fields.items() if getattr(header, field) is not None} for header in headers]
    known = [each | {TEMPERATURE} if "set_temperature" in each else each for each in known]
    return frozenset(set.intersection(*known)) if known else frozenset()


def telling_cards(
    kind: FrameKind,
    cards: Sequence[Cards],
    *,
    stated: Collection[str],
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
    stated : collection of str
        Facts that are known of every frame (`stated_facts`). One that is not may stand in any card: temperatures,
        dates, the object.
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
        """The different values, however they are written: in any case of letters, 1 and 1.0, True and T."""
        return {_canonical(value) for value in self.written}

    @property
    def is_compared(self) -> bool:
        """Whether grouping compares it already, within its tolerances, or knows that it varies."""
        row = _ROWS.get(self.keyword)
        if row is None or row.field in _CONSTANT:
            return False
        return all(row.read(value) is not None for value in self.written if value is not None)

    @property
    def numbers(self) -> list[float]:
        """The values as numbers; nothing unless all are, in one unit."""
        found = [values.number(value) for value in self.written]
        units = {re.sub(r"[^a-zµ°%]", "", str(value).lower()) for value in self.written}
        return [] if None in found or len(units) > 1 else [number for number in found if number is not None]

    @property
    def is_counter(self) -> bool:
        """Whether each frame has its own whole number, and none is missing in between."""
        numbers = sorted(self.numbers)
        return len(numbers) >= _A_SERIES and all(after - before == 1 for before, after in pairwise(numbers))

    def is_few(self, *, is_setting: bool) -> bool:
        """Whether values divide the frames into few kinds: of counters and readings there are about as many as frames.

        Settings that are words without a digit are never counters.
        """
        distinct = self.distinct
        words = is_setting and not any(character.isdigit() for value in distinct for character in value)
        return words or len(distinct) <= max(2, len(self.written) // (2 if is_setting else 3))

    def is_alone(self, means: str | None, stated: Collection[str]) -> bool:
        """Whether a fact that no understood card states seems to stand here: then any number of values divides.

        Not so if the values are unlikely for that fact: an exposure is a time, other settings recur and have no
        fraction.
        """
        if means is None or means in stated or means == "filter":
            return means == "filter" and means not in stated
        if means == "exposure":
            return all(values.duration_us(value) is not None for value in self.written) and not self.is_counter
        recurs = len(self.distinct) < len(self.written)
        return recurs and (means == "gain" or all(number.is_integer() for number in self.numbers))

    def unlike(self, means: str | None = None, shown: Sequence[str] = ()) -> Unlike:
        """Return it as a difference."""
        words = shown or ["nothing" if value is None else str(value).strip() for value in self.written]
        return Unlike(keyword=self.keyword, values=tuple(Counter(words).most_common(_MOST_VALUES)), means=means)


def _canonical(value: object) -> str:
    """Return a value so that two are equal if they mean the same."""
    said = values.flag(value)
    number = values.number(value) if said is None and not values.is_unread(value) else said
    return str(value).strip().casefold() if number is None else str(float(number))


def _told(column: _Column, kind: FrameKind, stated: Collection[str], levels_adu: Sequence[float]) -> Unlike | None:
    """Return a column as a difference, if it is one that counts."""
    keyword, is_flat = column.keyword, kind is FrameKind.FLAT
    if len(column.distinct) < 2 or column.is_compared or (not is_flat and _OF_LIGHT.search(keyword)):
        return None
    if "night" not in stated and (months := _months_apart(column.written)):
        return column.unlike("date", months)
    nature = _nature(keyword) or _nature_by_values(column, kind, stated)
    if nature == TEMPERATURE:
        is_known = is_flat or TEMPERATURE in stated
        return None if is_known or not _two_warmths(column) else column.unlike(TEMPERATURE)
    if nature == VARIES or (nature == REMARK and _all_stated(kind, stated)):
        return None
    if nature == "exposure" and is_flat and nature in stated:  # each flat has a dark of its own exposure
        return None
    return _as_setting(column, nature, stated, levels_adu)


def _nature(keyword: str) -> str:
    """Return what a card seems to be, by its name: a row of `_NAMES`; "" where the name does not say."""
    found = next((nature for nature, pattern in _NAMES if pattern.search(keyword)), "")
    is_known = keyword in _ROWS and found not in (VARIES, TEMPERATURE)
    return SETTING if is_known else found  # of a known one another name would not help


def _nature_by_values(column: _Column, kind: FrameKind, stated: Collection[str]) -> str:
    """Return what a card may be whose name does not say: names of filters, or times where darks state none."""
    if kind is FrameKind.FLAT:
        return "filter" if all(is_filter_name(value) for value in column.written) else ""
    recurs = min(Counter(map(_canonical, column.written)).values()) > 1
    is_time = recurs and all(values.duration_us(value) is not None for value in column.written)
    return "exposure" if kind is FrameKind.DARK and "exposure" not in stated and is_time else ""


def _as_setting(column: _Column, nature: str, stated: Collection[str], levels_adu: Sequence[float]) -> Unlike | None:
    """Return a column as a difference if it looks like a setting: by its name, or because it divides the frames."""
    is_setting = nature not in ("", REMARK)
    means = nature if is_setting and nature != SETTING else None
    is_few = column.is_alone(means, stated) or column.is_few(is_setting=is_setting)
    if column.numbers:
        apart = _numbers_apart(column.numbers, jitters=nature == "exposure")
        counts = apart and (is_few if is_setting else _levels_differ(column, levels_adu))
    else:  # a word that some frames lack, or a time of day, is a remark
        counts = is_few and (is_setting or not any(value is None or _is_moment(value) for value in column.written))
    return column.unlike(means) if counts else None


def _all_stated(kind: FrameKind, stated: Collection[str]) -> bool:
    return kind is FrameKind.BIAS or ("filter" if kind is FrameKind.FLAT else "exposure") in stated


def _numbers_apart(numbers: Sequence[float], *, jitters: bool) -> bool:
    """Whether some neighbouring values, in order, differ by more than a reading jitters: whole numbers do not."""
    distinct = np.unique(numbers)  # 100 and 100.0 are one
    if not jitters and all(number.is_integer() for number in numbers):
        return len(distinct) > 1
    larger = np.maximum(np.abs(distinct[1:]), np.abs(distinct[:-1]))
    return bool((np.diff(distinct) > _NUMBERS_APART * larger).any())


def _levels_differ(column: _Column, levels_adu: Sequence[float]) -> bool:
    """Whether the levels of frames with one value lie apart from those with another, far more than they scatter."""
    if len(levels_adu) != len(column.written) or not np.isfinite(levels_adu).all():
        return False
    of_value: dict[str, list[float]] = {}
    for value, level in zip(column.written, levels_adu, strict=True):
        of_value.setdefault(_canonical(value), []).append(level)
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
