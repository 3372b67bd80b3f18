"""The tables of a dataset's page: what there is by temperature and exposure, what is wrong, levels."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from services.datasets.faults import Fault
from services.datasets.survey import Group, Part, Survey
from services.datasets.words import exposure, span, temperature
from services.reports.parts import Cell, Column, Mark, Table
from services.words import GAP, count, number

_MOST_ROWS, _MOST_COLUMNS, _MOST_CELLS = 60, 24, 4000
_OPEN_PARTS = 12
_OPEN_ROWS = 40
"""Rows of the table of levels that are seen at once; a longer one is folded away."""
_MOST_LEVELS = 1000
_SEEN, _MOST_PLACES = 8, 200
_Cells = dict[tuple[float | None, int | None], list[Group]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """The frames of one part by temperature and exposure."""

    title: str
    summary: str
    table: Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A fault as the page shows it: its first places, those that are folded away, and how many are left out."""

    title: str
    mark: Mark
    means: str
    first: tuple[tuple[str, str], ...]
    folded: tuple[tuple[str, str], ...]
    rest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrices:
    """The tables of a dataset's parts: those that are seen at once, those that are folded away, what is left out."""

    first: tuple[Matrix, ...]
    folded: tuple[Matrix, ...] = ()
    note: str = ""


def matrices(survey: Survey) -> Matrices:
    """Return a table for each part of a dataset, as far as a page has room for them."""
    shown: list[Matrix] = []
    cells = 0
    for part, groups in survey.parts.items():
        if cells < _MOST_CELLS:
            shown.append(_matrix(part, groups))
            cells += sum(len(row) for row in shown[-1].table.rows)
    rest = len(survey.parts) - len(shown)
    note = f"{count(rest, 'section')} more: the table of levels has their groups." if rest else ""
    return Matrices(first=tuple(shown[:_OPEN_PARTS]), folded=tuple(shown[_OPEN_PARTS:]), note=note)


def _matrix(part: Part, groups: Sequence[Group]) -> Matrix:
    cells: _Cells = defaultdict(list)
    for group in groups:
        cells[group.temperature_c, group.exposure_us].append(group)
    attempts = {each.frame.attempt for group in groups for each in group.frames}
    frames = sum(len(group.frames) for group in groups)
    summary = f"{count(frames, 'frame')} in {count(len(attempts), 'attempt')}"
    return Matrix(title=part.title, summary=summary, table=_cells_table(cells))


def _cells_table(cells: _Cells) -> Table:
    """Return the cells with the longer of temperatures and exposures downwards, so that the table is narrow."""
    warm = sorted({key[0] for key in cells}, key=lambda c: (c is None, c or 0.0))
    long = sorted({key[1] for key in cells}, key=lambda us: (us is None, us or 0))
    lengths_down = len(long) > max(len(warm), 6)
    sides = (_MOST_COLUMNS, _MOST_ROWS) if lengths_down else (_MOST_ROWS, _MOST_COLUMNS)
    some_warm, some_long = warm[: sides[0]], long[: sides[1]]
    note = _note(len(warm) * len(long), len(some_warm) * len(some_long), cells)
    rows: list[tuple[str | Cell | None, ...]]
    if lengths_down:
        columns = (Column(name="Exposure"), *(Column(name=_warmth(c)) for c in some_warm))
        rows = [(_length(us), *(_cell(cells.get((c, us), [])) for c in some_warm)) for us in some_long]
    else:
        columns = (Column(name="Temperature"), *(Column(name=_length(us)) for us in some_long))
        rows = [(_warm_cell(c, cells), *(_cell(cells.get((c, us), [])) for us in some_long)) for c in some_warm]
    return Table(columns=columns, rows=tuple(rows), note=note)


def _note(places: int, shown: int, cells: _Cells) -> str:
    """Return in words what a table does not show, and how many combinations have no frame."""
    said = [f"The table shows {shown} of {places} combinations."] if shown < places else []
    gaps = places - len(cells)
    if gaps:
        has = "has" if gaps == 1 else "have"
        said.append(f"{count(gaps, 'combination')} of temperature and exposure {has} no frame.")
    return " ".join(said)


def _warmth(celsius: float | None) -> str:
    return "not known" if celsius is None else temperature(celsius)


def _warm_cell(celsius: float | None, cells: _Cells) -> Cell:
    """Return a temperature with the range of what was read."""
    groups = [group for (label, _), each in cells.items() if label == celsius for group in each]
    read = [c for group in groups for c in group.temperatures_c]
    is_one = not read or max(read) - min(read) < 0.05
    return Cell(lines=((_warmth(celsius), ""), *(() if is_one else (("", span(read)),))))


def _length(exposure_us: int | None) -> str:
    return "not known" if exposure_us is None else exposure(exposure_us)


def _cell(groups: Sequence[Group]) -> Cell:
    """Return how many frames and attempts there are, and what is wrong with them."""
    if not groups:
        return Cell(marks=(Mark(text="none"),))
    frames = sum(len(group.frames) for group in groups)
    attempts = len({each.frame.attempt for group in groups for each in group.frames})
    bad = frames - sum(group.good for group in groups)
    marks = [Mark(text=f"{bad} bad", look="bad")] if bad else []
    marks += [Mark(text="too few", look="warn")] if any(group.is_small for group in groups) else []
    odd = tuple(f"{len(group.frames)}: {group.form}" for group in groups if group.form)
    return Cell(lines=((count(frames, "frame", GAP), count(attempts, "attempt", GAP)),), notes=odd, marks=tuple(marks))


def listed(faults: Sequence[Fault]) -> tuple[Listed, ...]:
    """Return faults with the first of their places; very many are not all named."""
    return tuple(_listed(fault) for fault in faults)


def _listed(fault: Fault) -> Listed:
    rest = len(fault.places) - _MOST_PLACES
    return Listed(
        title=fault.what,
        mark=Mark(text=count(fault.files, "file"), look="bad" if fault.bad else "warn"),
        means=fault.means,
        first=fault.places[:_SEEN],
        folded=fault.places[_SEEN:_MOST_PLACES],
        rest=f"and {count(rest, 'other')}" if rest > 0 else "",
    )


_COLUMNS = (
    Column(name="Group", meaning="frames of one kind, temperature, exposure and size"),
    Column(name="Frames", meaning="frames that can be used, and in small print how many there are beside them"),
    Column(name="Level", meaning="mean of the levels of the frames that can be used"),
    Column(name="Lowest", meaning="level of the lowest of these frames"),
    Column(name="Highest", meaning="level of the highest of these frames"),
    Column(name="Scatter", meaning="standard deviation of these levels from frame to frame"),
    Column(name="Sensor", meaning="lowest and highest temperature of all frames of the group"),
)


def levels_table(survey: Survey) -> Table:
    """Return level and temperature of each group."""
    rows = [_level_row(group) for group in survey.groups[:_MOST_LEVELS]]
    rest = len(survey.groups) - _MOST_LEVELS
    sources = Counter(group.levels_from for group in survey.groups if group.levels_from)
    of = {source: f" ({count(n, 'group')})" if len(sources) > 1 else "" for source, n in sources.items()}
    said = [f"Levels: {source}{groups}." for source, groups in of.items()]
    said += [f"{count(rest, 'group')} more are not shown."] if rest > 0 else []
    return Table(columns=_COLUMNS, rows=tuple(rows), numbers=frozenset(range(1, 6)), note=" ".join(said))


def is_long(table: Table) -> bool:
    """Whether a table is folded away."""
    return len(table.rows) > _OPEN_ROWS


def _level_row(group: Group) -> tuple[str | Cell | None, ...]:
    levels = [each.level_adu for each in group.frames if each.counts and each.level_adu is not None]
    bad = len(group.frames) - group.good
    frames = Cell(text=number(group.good), notes=(f"{bad}{GAP}bad",) if bad else ())
    return (group.title, frames, *_level_cells(levels), span(group.temperatures_c, 2))


def _level_cells(levels: Sequence[float]) -> Iterator[str | None]:
    if not levels:
        yield from (None,) * 4
        return
    yield number(fmean(levels), 1, "ADU")
    yield number(min(levels), 1)
    yield number(max(levels), 1)
    yield number(stdev(levels), 2) if len(levels) > 1 else None
