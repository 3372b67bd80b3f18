"""The log of an attempt: a row for each frame, of two columns or of many, as several programs have written it."""

import csv
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from services.words import count

NAMES = ("temperatureLog.csv", "radiationLog.csv", "radiationLogCompleto.csv")
"""Its names; the first that is there counts."""
CardValue = str | int | float
_KNOWN = {
    "framenum": "FRAMENUM", "frame": "FRAMENUM", "timestamp": "TIMESTAMP", "exttemperature": "EQTEMP",
    "exptime": "EXPTIME", "realexptime": "REXPTIME", "expgain": "GAIN", "temperature": "TEMP",
    "initialtemp": "TEMP_0", "deltatemperature": "DELTMP", "powercons": "POWCONS",
    "ccdtemp": "TEMP", "ccd_temp": "TEMP", "ccdtemperature": "TEMP", "chiptemp": "TEMP",
}  # fmt: skip
_MOST_LINES = 5
"""Lines without a number that are named one by one."""
_IN_MICROSECONDS = {"EXPTIME", "REXPTIME"}
_WITH_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLog:
    """What a log says of each frame: cards by frame number.

    Attributes
    ----------
    rows : mapping
        Frame number to keyword and value.
    problems : tuple of str
        In words: rows that have no number, and frames of which it says two different things.
    """

    rows: Mapping[int, Mapping[str, CardValue]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def read_log(text: str, wanted: Collection[int] | None = None) -> FrameLog:
    """Return what a log says.

    The separator is found by the first line, which has the names of the columns; without them two columns are frame and
    temperature, and of more only the frame is known. Commas in numbers are decimal ones where the separator is another.
    Rows that are equal count once; of rows with one number that differ none is believed.

    Parameters
    ----------
    text : str
        With or without a byte order mark.
    wanted : collection of int, optional
        The frames that are asked for; None: all.
    """
    lines = [line for line in text.removeprefix("\ufeff").splitlines() if line.strip()]
    if len(lines) < 2:
        return FrameLog(problems=("the log has no row",))
    separator = max(";\t,", key=lines[0].count)
    try:
        head, *body = csv.reader(lines, delimiter=separator)
    except csv.Error as error:
        return FrameLog(problems=(f"the log cannot be read: {error}",))
    names = [name.strip() for name in head]
    problems: list[str] = []
    if is_headless := _frame_number(names[0]) is not None:
        body, names = [head, *body], ["FrameNum", "Temperature"] if len(names) == 2 else ["FrameNum"]
        problems.append(f"the log has no line of names: its columns are taken for {' and '.join(names)}")
    number_at = _frame_column(names)
    keywords = _keywords(names)
    numbers = [_frame_number(cells[number_at] if number_at < len(cells) else "") for cells in body]
    problems += _unnumbered([place for place, each in enumerate(numbers, 2 - is_headless) if each is None])
    rows: dict[int, dict[str, CardValue]] = {}
    doubtful: set[int] = set()
    for number, cells in zip(numbers, body, strict=True):
        if number is None or (wanted is not None and number not in wanted):
            continue
        found = {"FRAMENUM": number, **_cards(keywords, cells, is_comma_free=separator == ",")}
        if number in rows and rows[number] != found:
            doubtful.add(number)
        elif number in rows:
            problems.append(f"frame {number} is twice in the log, with equal rows: it counts once")
        rows.setdefault(number, found)
    for number in sorted(doubtful):
        del rows[number]
        problems.append(f"frame {number} is twice in the log, with different rows: neither is believed")
    return FrameLog(rows=rows, problems=tuple(problems))


def _unnumbered(places: Sequence[int]) -> Iterator[str]:
    """Yield in words the lines that have no number, the first ones one by one."""
    yield from (f"line {place} of the log has no frame number" for place in places[:_MOST_LINES])
    if len(places) > _MOST_LINES:
        yield f"{count(len(places) - _MOST_LINES, 'more line')} of the log have no frame number"


def _frame_column(names: Sequence[str]) -> int:
    folded = [name.casefold() for name in names]
    return next((folded.index(name) for name in ("framenum", "frame") if name in folded), 0)


def _keywords(names: Sequence[str]) -> list[str]:
    """Return the keyword of each column; "" for one that is a second temperature, or has no name.

    A column whose name is not known but speaks of a temperature is the sensor's where no known one is.
    """
    known = [_KNOWN.get(name.casefold(), "") for name in names]
    taken = set(known)
    found: list[str] = []
    for name, keyword in zip(names, known, strict=True):
        folded = name.casefold()
        if not keyword and "temp" in folded and "time" not in folded and "TEMP" not in taken:
            keyword = "TEMP"  # noqa: PLW2901 - found by its meaning
            taken.add("TEMP")
        found.append(keyword or re.sub(r"[^A-Z0-9_-]", "", name.upper().replace(" ", "_")))
    return ["" if each in found[:place] else each for place, each in enumerate(found)]


def _frame_number(cell: str) -> int | None:
    try:
        value = float(cell.strip().replace(",", "."))
    except ValueError:
        return None
    return int(value) if math.isfinite(value) and value == int(value) and value >= 0 else None


def _cards(keywords: Iterable[str], cells: Iterable[str], *, is_comma_free: bool) -> dict[str, CardValue]:
    found: dict[str, CardValue] = {}
    for keyword, cell in zip(keywords, cells, strict=False):
        written = cell.strip()
        if not keyword or keyword == "FRAMENUM" or not written:
            continue
        value = _value(written, is_comma_free=is_comma_free)
        is_time = keyword in _IN_MICROSECONDS and isinstance(value, float)
        found[keyword] = round(float(value) / 1e6, 12) if is_time else value
    return found


def _value(written: str, *, is_comma_free: bool) -> CardValue:
    """Return a cell as a card holds it: what is no number or not finite stays text."""
    plain = written.replace(",", ".") if not is_comma_free and _WITH_COMMA.fullmatch(written) else written
    try:
        value = float(plain)
    except ValueError:
        return written
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "INF"
    return value
