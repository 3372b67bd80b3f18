"""Cards in which the frames of one group differ, though no field of the header says so.

What a header states under a name that nobody knows is not equal only because it is not understood. A card counts when
it divides the frames into few kinds: words, the settings of an instrument, dates months apart. What varies by nature
from frame to frame does not count: times, weather, pointing, focus, file names, counters, checksums.
"""

import math
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
from calibration.keywords.natures import OF_LIGHT, REMARK, SAID_OF_SETTINGS, SETTING, TEMPERATURE, VARIES, nature_of
from calibration.keywords.table import ALIASES, FRAME_KEYWORDS
from calibration.series import Measured, least_shift_adu

Cards = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlike:
    """One card that divides frames: its values, the most frequent first, each with the number of frames."""

    keyword: str
    values: tuple[tuple[str, int], ...]
    means: str | None = None
    """What the card seems to be, in the words of `keywords.ALIASES`; None where its name does not say."""


_DATE = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})|(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})")
_SEXAGESIMAL = re.compile(r"[+-]?\d{1,3}[: ]\d{1,2}([: ]\d{1,2}(\.\d*)?)?")
_MONTHS_APART = 20
_NUMBERS_APART = 0.01
_DEGREES_APART = 3.0
_MOST_VALUES = 6
_A_SERIES = 5
"""Frames that are numbered one after the other, from which on the numbers are those of a counter."""

_LEVELS_APART = 5.0
_PROPORTIONAL, _LEAST_GROWTH, _ENOUGH_TO_FOLLOW = 0.99, 3.0, 3
"""Correlation of levels with numbers, their range in least shifts of a level, and the numbers that it takes."""
_NOISES_ALIKE = 0.05
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
    measured: Sequence[Measured] = (),
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
    measured : sequence of Measured, optional
        Of each frame: a card whose meaning is not known counts or not by what level and noise say of it.
    ignored : collection of str
        Keywords that the user has declared to be of no account.
    """
    keywords = sorted({keyword for each in cards for keyword in each} - set(ignored))
    columns = (_Column(keyword, tuple(each.get(keyword) for each in cards)) for keyword in keywords)
    found = (_difference(column, kind, stated, measured) for column in columns)
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
            return self.is_time and not self.is_counter
        recurs = len(self.distinct) < len(self.written)
        return recurs and (means == "gain" or all(number.is_integer() for number in self.numbers))

    @property
    def is_time(self) -> bool:
        """Whether all values can be durations."""
        return all(values.duration_us(value) is not None for value in self.written)

    @property
    def is_incomplete(self) -> bool:
        """Whether some frames lack the card, or say a time of day in it."""
        return any(value is None or _is_moment(value) for value in self.written)

    def unlike(self, means: str | None = None, shown: Sequence[str] = ()) -> Unlike:
        """Return it as a difference."""
        words = shown or ["nothing" if value is None else str(value).strip() for value in self.written]
        return Unlike(keyword=self.keyword, values=tuple(Counter(words).most_common(_MOST_VALUES)), means=means)


def _canonical(value: object) -> str:
    """Return a value so that two are equal if they mean the same."""
    said = values.flag(value)
    number = values.number(value) if said is None and not values.is_unread(value) else said
    return str(value).strip().casefold() if number is None else str(float(number))


def _difference(
    column: _Column, kind: FrameKind, stated: Collection[str], measured: Sequence[Measured]
) -> Unlike | None:
    """Return a column as a difference, if it is one that counts."""
    keyword, is_flat = column.keyword, kind is FrameKind.FLAT
    if len(column.distinct) < 2 or column.is_compared or (not is_flat and OF_LIGHT.search(keyword)):
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
    is_remark = nature == "" and not column.numbers and _is_remark(column, kind, stated, measured)
    return None if is_remark else _as_setting(column, nature, kind, stated, measured)


def _nature(keyword: str) -> str:
    """Return what a card seems to be, by its name; of one that is known but not understood, a setting."""
    found = nature_of(keyword)
    is_known = keyword in _ROWS and found not in (VARIES, TEMPERATURE)
    return SETTING if is_known else found  # of a known one another name would not help


def _nature_by_values(column: _Column, kind: FrameKind, stated: Collection[str]) -> str:
    """Return what a card may be whose name does not say: a setting, a filter, or a time where darks state none."""
    if any(SAID_OF_SETTINGS.search(str(value)) for value in column.written):
        return SETTING
    if kind is FrameKind.FLAT:
        return "filter" if all(is_filter_name(value) for value in column.written) else ""
    recurs = min(Counter(map(_canonical, column.written)).values()) > 1
    is_exposure = kind is FrameKind.DARK and "exposure" not in stated and recurs and column.is_time
    return "exposure" if is_exposure else ""


def _as_setting(
    column: _Column, nature: str, kind: FrameKind, stated: Collection[str], measured: Sequence[Measured]
) -> Unlike | None:
    """Return a column as a difference if it looks like a setting: by its name, or because it divides the frames."""
    is_setting = nature not in ("", REMARK)
    means = nature if is_setting and nature != SETTING else None
    if means == "exposure" and not column.is_time:
        means = None
    is_few = column.is_alone(means, stated) or column.is_few(is_setting=is_setting)
    if not column.numbers:
        counts = is_few and (is_setting or not column.is_incomplete)
    elif _numbers_apart(column.numbers, jitters=nature == "exposure"):
        may_be_exposure = kind is not FrameKind.BIAS and "exposure" not in stated and means in (None, "exposure")
        if may_be_exposure and _levels_follow(column, measured):
            return column.unlike("exposure")
        counts = is_few if is_setting else _levels_differ(column, measured)
    else:
        counts = False
    return column.unlike(means) if counts else None


def _is_remark(column: _Column, kind: FrameKind, stated: Collection[str], measured: Sequence[Measured]) -> bool:
    """Whether words under a name that says nothing are a remark, which divides no frames.

    They are one unless a fact is left that they could state: of flats, filter and gain; of darks and biases, the
    exposure, or whatever level or noise differ with.
    """
    if kind is FrameKind.FLAT:
        return "filter" in stated and not {"gain", "egain"}.isdisjoint(stated)
    return _all_stated(kind, stated) and _are_alike(column, measured)


def _all_stated(kind: FrameKind, stated: Collection[str]) -> bool:
    return kind is FrameKind.BIAS or ("filter" if kind is FrameKind.FLAT else "exposure") in stated


def _numbers_apart(numbers: Sequence[float], *, jitters: bool) -> bool:
    """Whether some neighbouring values, in order, differ by more than a reading jitters: whole numbers do not."""
    distinct = np.unique(numbers)  # 100 and 100.0 are one
    if not jitters and all(number.is_integer() for number in numbers):
        return len(distinct) > 1
    larger = np.maximum(np.abs(distinct[1:]), np.abs(distinct[:-1]))
    return bool((np.diff(distinct) > _NUMBERS_APART * larger).any())


def _parts(column: _Column, measured: Sequence[Measured]) -> list[list[Measured]]:
    """Return what was measured of the frames of each value, the lowest level first; nothing unless all were."""
    parts: dict[str, list[Measured]] = {}
    if len(measured) == len(column.written) and all(math.isfinite(each.level_adu) for each in measured):
        for value, each in zip(column.written, measured, strict=True):
            parts.setdefault(_canonical(value), []).append(each)
    return sorted(parts.values(), key=lambda part: float(np.mean(_levels(part))))


def _levels(part: Sequence[Measured]) -> list[float]:
    return [each.level_adu for each in part]


def _levels_differ(column: _Column, measured: Sequence[Measured]) -> bool:
    """Whether the levels of frames with one value lie apart from those with another, far more than they scatter."""
    parts = [_levels(part) for part in _parts(column, measured)]
    if not parts or min(map(len, parts)) < 2:
        return False
    within = max(float(np.ptp(part)) for part in parts)
    gaps = [min(high) - max(low) for low, high in pairwise(parts)]
    return min(gaps) > max(1.0, within) * _LEVELS_APART


def _levels_follow(column: _Column, measured: Sequence[Measured]) -> bool:
    """Whether levels grow in proportion to the numbers, each its own: they are exposures, however they are called."""
    numbers = column.numbers
    if len(measured) != len(numbers) or len(set(numbers)) < _ENOUGH_TO_FOLLOW:
        return False
    levels = np.array(_levels(measured))
    if not np.isfinite(levels).all() or np.ptp(levels) < _LEAST_GROWTH * least_shift_adu(measured):
        return False
    return bool(np.corrcoef(np.array(numbers), levels)[0, 1] > _PROPORTIONAL)


def _are_alike(column: _Column, measured: Sequence[Measured]) -> bool:
    """Whether neither level nor noise differs with the values, by more than they do within one of them."""
    parts = _parts(column, measured)
    if not parts:
        return False
    levels = [_levels(part) for part in parts]
    within = max(float(np.ptp(part)) for part in levels)
    noises = [math.log(max(1e-3, float(np.median([each.sigma_adu for each in part])))) for part in parts]
    shift = float(np.mean(levels[-1]) - np.mean(levels[0]))
    return shift <= max(least_shift_adu(measured), within) and max(noises) - min(noises) <= _NOISES_ALIKE


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
