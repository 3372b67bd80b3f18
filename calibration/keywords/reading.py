"""Cards to records: the table's rows, and the few rules that need more than one card."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePath
from typing import Any

from calibration.errors import HeaderError
from calibration.frames import FrameHeader, FrameKind
from calibration.keywords import paths, values
from calibration.keywords.filters import filter_of_path, filter_of_wheels
from calibration.keywords.kinds import KIND_KEYWORDS, kind_of, kind_of_word
from calibration.keywords.master import MASTER_KEYWORDS, MasterInfo, read_percentiles
from calibration.keywords.normal import NO_ALIASES, Aliases, Cards, normalised, with_aliases
from calibration.keywords.provenance import calibrated, pedestal
from calibration.keywords.table import FRAME_KEYWORDS, Keyword

_RULES = 4
"""Counts the versions of what this package understands, so that older catalogues are read again."""


_NOT_EXTRA = frozenset(
    {"", "SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "EXTEND", "END", "BZERO", "BSCALE", "XTENSION"}
    | {
        "PCOUNT",
        "GCOUNT",
        "EXTNAME",
        "EXTVER",
        "INHERIT",
        "CHECKSUM",
        "DATASUM",
        "HISTORY",
        "COMMENT",
        "BUNIT",
        "TIMESYS",
        "MJD-OBS",
    }
    | {"PICTTYPE", *KIND_KEYWORDS}
)
_NAMED = frozenset({"exposure_us", "date_obs", "ccd_temp_c", "set_temp_c"})
"""Facts that must be understood where a card states them: their text does not show which of them are equal."""

_OF_THE_SKY = re.compile(r"sky|twi(?:light|flat)|dusk|dawn|evening|morning|\b[st]flat")
_TEMPERATURES = frozenset({"ccd_temp_c", "set_temp_c"})
_NO_COOLER = re.compile(
    r"off|false|no|not?[ _-]+\w+|uncooled|un(?:regulated|controlled|supported|set)|ambient|room|warm|passive|free"
    r"|disabled|inactive|idle|standby|disconnected|aus|ungekühlt|(?:umgebung|raum)\w*|arrêt|arret|apagado|spento|ambiante?"
    r"|(?:cooler|tec|cooling|regulation)[ _:=-]+(?:is[ _-]+)?(?:off|disabled|inactive|none|no|false)"
    r"|(?:ambient|room|free|air|passive)[ _-]+\w+",
    re.IGNORECASE,
)
"""What stands for a temperature, or for a set-point, where nothing cools."""

_NOT_KNOWN = frozenset({"egain_e_adu", *_TEMPERATURES})
"""Fields for which programs write numbers that cannot be, such as -273 or 0, where they know none."""

_APART = frozenset({"gain", "offset", "egain_e_adu", "bin_x", "bin_y", "origin_x", "origin_y"})
"""Settings that keep frames apart even by a text that is not understood."""

_STATED = _NAMED | _APART
_ROWS = tuple((row, row.known_as) for row in FRAME_KEYWORDS)
"""The rows of the table with all their keywords: a frame has the cards of few."""

_UNLIKE, _OVERHEAD_US = 0.05, 20_000
"""Two cards for the exposure may differ by so much of it, and by what a driver adds to it."""

_SECONDS = ("EXPTIME", "EXPOSURE", "EXP_TIME", "EXP-TIME", "EXP", "EXPTIME(S)", "EXPOSED", "ITIME")
_REPORTED_SECONDS = ("XPOSURE", "REXPTIME", "ELAPTIME")
_SECTIONS = ("CCDSEC", "DETSEC")


@dataclass(slots=True)
class _Reading:
    """Cards while they are turned into fields: what was understood, and from which cards."""

    known: Mapping[str, object]
    fields: dict[str, Any]
    used: set[str]

    def take(self, field: str, value: object, *keywords: str) -> None:
        """Set a field unless the value is None, and note the cards that it was read from."""
        if value is not None:
            self.fields[field] = value
            self.used.update(keywords)


def from_cards(
    cards: Cards, *, shape: tuple[int, int], path_hint: PurePath | None = None, aliases: Aliases = NO_ALIASES
) -> FrameHeader:
    """Read the header of a frame, ours or another program's.

    Parameters
    ----------
    cards : mapping or iterable
        Keyword → value, or (keyword, value[, comment]) in the order of the file; of repeated keywords the first counts.
    shape : tuple of int
        Rows and columns.
    path_hint : PurePath, optional
        Where the file lies: names the kind, the exposure of an `exp_1.000s` folder, and the filter of a flat, when the
        header does not.
    aliases : mapping
        Keywords that the user has named; they go before those of the table.

    Returns
    -------
    FrameHeader
        Fields of cards that are missing are None. `extra` keeps the cards that no field was read from.

    Raises
    ------
    HeaderError
        The kind of frame is not to be found, or a card states the exposure, the date or the temperature in a form
        that is not understood.
    """
    known = with_aliases(normalised(cards), aliases)
    kind = kind_of(known, path_hint)
    found = _Reading(known=known, fields={}, used=set())
    for row, spellings in _ROWS:
        if not known.keys().isdisjoint(spellings):
            _read_row(row, found)
    for rule in (_exposure, _dates, _gain, _origin):
        rule(found, kind, path_hint)
    _outside(found)
    if kind is FrameKind.FLAT:
        _flat(found, path_hint)
    _refuse_unread(found)
    if path_hint is not None:
        _temperature(found, path_hint)
        _settings(found, path_hint)
    if found.fields.get("row_order"):
        found.fields["row_order"] = found.fields["row_order"].upper()
    left = known.keys() - found.used - _NOT_EXTRA
    extra = {k: v for k, v in known.items() if k in left and isinstance(v, str | int | float | bool)}
    _provenance(found)
    return FrameHeader(kind=kind, shape=shape, extra=extra, **found.fields)


def sensor_celsius(known: Mapping[str, object], path: PurePath) -> float | None:
    """Return the temperature of the sensor as `from_cards` does, without reading anything else of the header.

    Parameters
    ----------
    known : mapping
        Cards that `normalised` has returned.
    path : PurePath
        Where the file lies, as for `from_cards`.

    Returns
    -------
    float or None
        °C; the set-point of the cooler where nothing was measured.
    """
    found = _Reading(known=known, fields={}, used=set())
    for row in _OF_TEMPERATURE:
        _read_row(row, found)
    _outside(found)
    _temperature(found, path)
    celsius: float | None = found.fields.get("ccd_temp_c", found.fields.get("set_temp_c"))
    return celsius


_OF_TEMPERATURE = tuple(row for row in FRAME_KEYWORDS if row.field in {*_TEMPERATURES, "set_id"})


def read_as(aliases: Aliases) -> str:
    """Return the rules by which headers are understood: a frame that was read by others is read again."""
    named = ", ".join(f"{keyword.upper()}={field}" for keyword, field in sorted(aliases.items()))
    return f"{_RULES} {named}".strip()


def master_from_cards(cards: Cards) -> MasterInfo | None:
    """Read what a master's header says of its making; None if it has no NCOMBINE."""
    known = normalised(cards)
    fields = _read(MASTER_KEYWORDS, known)
    if "n_combined" not in fields:
        return None
    return MasterInfo(percentiles_adu=read_percentiles(known), **fields)


def _read(table: tuple[Keyword, ...], known: Mapping[str, object]) -> dict[str, Any]:
    """Return the fields of which some spelling is there and understood."""
    fields: dict[str, Any] = {}
    for row in table:
        for spelling in row.known_as:
            if spelling in known and (value := row.read(known[spelling])) is not None:
                fields[row.field] = value
                break
    return fields


def _read_row(row: Keyword, found: _Reading) -> None:
    """Read a field from the first card that is understood; a twin that says the same is used up with it."""
    for spelling in row.known_as:
        if spelling in found.known and (value := row.read(found.known[spelling])) is not None:
            others = (k for k in (row.keyword, *row.twins) if k in found.known and k != spelling)
            twins = (k for k in others if row.read(found.known[k]) == value)
            found.take(row.field, value, spelling, *twins)
            return


def _refuse_unread(found: _Reading) -> None:
    """Keep what is stated but not understood from counting as missing.

    Raises
    ------
    HeaderError
        It is a fact without which a frame has no group.
    """
    unread = []
    for row, spellings in _ROWS:
        if row.field in found.fields or row.field not in _STATED or found.known.keys().isdisjoint(spellings):
            continue
        if row.field == "set_temp_c" and "ccd_temp_c" in found.fields:  # the sensor itself says how warm it is
            continue
        there = (k for k in spellings if k in found.known and k not in found.used)
        stated = (k for k in there if _is_unread(row, k, found.known[k]))
        keyword = next(stated, None)
        if keyword is None:
            continue
        if row.field in _NAMED:
            raise HeaderError(keyword=keyword, found=found.known[keyword], wanted=f"{row.comment}, in a known form")
        unread.append(f"{keyword}={found.known[keyword]}")
    unread += [f"{k}={found.known[k]}" for k in _other_exposures(found)]
    unread += [f"{k}={found.known[k]}" for k in _SECTIONS if k not in found.used and values.text(found.known.get(k))]
    found.take("unread", "; ".join(dict.fromkeys(unread)) or None)


def _other_exposures(found: _Reading) -> Iterator[str]:
    """Yield the cards that state another exposure than the one that counts: the unit may differ, not the time."""
    taken_us = found.fields.get("exposure_us")
    for keyword in ("EXPOSURE", "EXP_TIME", "EXP-TIME"):
        other_us = None if keyword in found.used else values.duration_us(found.known.get(keyword))
        if not taken_us or not other_us or abs(other_us - taken_us) <= max(_OVERHEAD_US, _UNLIKE * taken_us):
            continue
        thousands = math.log(other_us / taken_us, 1000)
        if abs(thousands - round(thousands)) > _UNLIKE / math.log(1000):  # else milliseconds or microseconds
            yield keyword


def _is_unread(row: Keyword, keyword: str, value: object) -> bool:
    """Whether a card states a fact in no known form, such as an exposure of -1: gaps do not, and a cooler may be off.

    Of numbers only DATE-OBS can be a date, and a reading that cannot be stands for none.
    """
    if row.field in _TEMPERATURES and _NO_COOLER.fullmatch(str(value).strip()):
        return False
    if values.is_unread(value) or row.field in _NOT_KNOWN:
        return values.is_unread(value)
    if row.field == "date_obs":
        return keyword == "DATE-OBS" and bool(values.number(value))
    return values.is_number(value)


def _exposure(found: _Reading, kind: FrameKind, path: PurePath | None) -> None:
    """Know the keyword in microseconds, a zero that another card contradicts, and folders named for the exposure."""
    known, seconds = found.known, found.fields.get("exposure_us")
    if seconds == 0 and kind is not FrameKind.BIAS:
        asked = (k for k in _SECONDS if (values.duration_us(known.get(k)) or 0) > 0)
        reported = (k for k in _REPORTED_SECONDS if (values.duration_us(known.get(k)) or 0) > _OVERHEAD_US)
        keyword = next(chain(asked, reported), None)
        found.take("exposure_us", values.duration_us(known.get(keyword or "")), keyword or "")
    elif "EXPOINUS" in known and not any(k in known for k in _SECONDS):
        found.take("exposure_us", values.microseconds(known["EXPOINUS"]), "EXPOINUS")
    elif seconds is None and path is not None:
        found.take("exposure_us", paths.exposure_us_of(path))


def _outside(found: _Reading) -> None:
    """Know the temperature around a camera that nothing cools: it stands for the sensor's where that is not stated."""
    if found.fields.keys() & _TEMPERATURES:
        return
    for keyword in ("EQTEMP", "EXTTEMP"):
        if (celsius := values.celsius(found.known.get(keyword))) is not None:
            found.take("ccd_temp_c", celsius, keyword)
            return


def _temperature(found: _Reading, path: PurePath) -> None:
    """Know names of the temperature; our own frames say it in their headers, or nothing was measured."""
    if not found.fields.keys() & {*_TEMPERATURES, "set_id"}:
        found.take("ccd_temp_c", paths.celsius_of(path))


def _settings(found: _Reading, path: PurePath) -> None:
    """Know gain and number from a file's name that states them, where the header says nothing of them."""
    for field, value in (("gain", paths.gain_of(path)), ("frame_no", paths.number_of(path))):
        if field not in found.fields:
            found.take(field, value)


def _dates(found: _Reading, _kind: FrameKind, _path: PurePath | None) -> None:
    """Read the start from date and time in two cards, else from MJD-OBS or JD; of a date alone the night is known."""
    known = found.known
    if "date_obs" in found.fields:
        return
    times = [
        known[k] for k in ("TIME-OBS", "TIME_OBS", "UT", "UTSTART", "UTC", "TIME-BEG", "TIME", "EXPSTART") if k in known
    ]
    dates = [known[k] for k in ("DATE-OBS", "DATE_OBS", "DATEOBS", "UTDATE", "DATE") if k in known]
    both = (at for date in dates for time in times if (at := values.date_and_time(date, time)) is not None)
    counted = (at for k in ("MJD-OBS", "MJD", "JD", "DATE-OBS") if (at := values.from_mjd(known.get(k))) is not None)
    at = next(both, None) or next(counted, None)
    found.take("date_obs", at, *(k for k in ("DATE-OBS", "DATE_OBS", "DATEOBS") if k in known))
    day = None if at else next((day for date in dates if (day := values.day(date)) is not None), None)
    if day is not None:
        found.used.update(k for k in ("DATE-OBS", "DATE_OBS", "DATEOBS") if k in known)
        if "night" not in found.fields:
            found.take("night", day)


def _gain(found: _Reading, _kind: FrameKind, _path: PurePath | None) -> None:
    """Take a GAIN that is a fraction, or says so, for e-/ADU: it is no setting."""
    if "gain" not in found.fields and "egain_e_adu" not in found.fields:
        found.take("egain_e_adu", values.electrons_per_adu(found.known.get("GAIN")), "GAIN")
    written = found.known.get("GAIN")
    if "gain" not in found.fields and "GAIN" not in found.used and values.number(written) is not None:
        found.take("unread", f"GAIN={written}", "GAIN")


def _origin(found: _Reading, _kind: FrameKind, _path: PurePath | None) -> None:
    """Read the origin of a subframe from a section of the sensor, which counts unbinned pixels."""
    if "origin_x" in found.fields or "origin_y" in found.fields:
        found.used.update(k for k in _SECTIONS if k in found.known)
        return
    for keyword in _SECTIONS:
        if (start := values.section_start(found.known.get(keyword))) is not None:
            found.take("origin_x", start[0] // found.fields.get("bin_x", 1), *_SECTIONS)
            found.take("origin_y", start[1] // found.fields.get("bin_y", 1))
            return


def _flat(found: _Reading, path: PurePath | None) -> None:
    """Read what only flats have: the light, and a filter that stands in cards of single wheels, or in a name."""
    if "source" not in found.fields:
        found.take("source", _source(found.known))
    if "filter" not in found.fields:
        name, keywords = filter_of_wheels(found.known)
        found.take("filter", name, *keywords)
    if "filter" not in found.fields and path is not None:
        found.take("filter", filter_of_path(path, found.known.get("OBJECT")))


def _provenance(found: _Reading) -> None:
    """Read what another program has done to the pixels."""
    if "set_id" in found.fields:  # our own frames are raw
        return
    found.take("calibrated", calibrated(found.known))
    lifted, _ = pedestal(found.known, found.fields.get("software"))
    found.take("pedestal_adu", lifted or None)
    if lifted is None:
        sign = f"PEDESTAL={found.known['PEDESTAL']}"
        found.take("unread", "; ".join(filter(None, (found.fields.get("unread"), sign))))


def _source(known: Mapping[str, object]) -> str | None:
    """Return `sky` for a flat whose type says so."""
    words = [written for k in KIND_KEYWORDS if (written := values.text(known.get(k))) is not None]
    spoken = " ".join(word.lower() for word in words if kind_of_word(word) is FrameKind.FLAT)
    return "sky" if _OF_THE_SKY.search(spoken) else None
