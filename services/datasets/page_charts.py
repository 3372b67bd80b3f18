"""The charts of a dataset's page: level and temperature of each group, against time as far as it is known."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import fmean

from services.datasets.survey import Group, Part, Seen, Survey, celsius
from services.datasets.words import span
from services.reports.figures import Axis, Curve, Figure, chart, number_axis, thinned, time_axis, whole_axis
from services.words import GAP, count, number

_MOST_CHARTS = 60
_OPEN = 8
"""Charts that are seen at once; the others when they are asked for."""
_POINTS = 120
"""Of one group, where there are many charts."""
_FEW_DOTS = 60
_LEAST_ADU, _LEAST_C = 1.0, 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A group's charts below one another, each with what it shows, and a note."""

    title: str
    figures: tuple[tuple[str, Figure], ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charts:
    """The charts that are seen at once, those that are folded away, and what is not drawn, in words."""

    first: tuple[Drawn, ...] = ()
    folded: tuple[Drawn, ...] = ()
    note: str = ""


def charts_of(survey: Survey) -> Charts:
    """Return a chart for each group of two frames or more; of very many those whose levels vary most."""
    groups = [group for group in survey.groups if len(group.frames) > 1 and _is_known(group)]
    shown = groups
    note = ""
    if len(groups) > _MOST_CHARTS:
        varying = sorted(range(len(groups)), key=lambda place: _variation(groups[place]), reverse=True)
        shown = [groups[place] for place in sorted(varying[:_MOST_CHARTS])]
        note = f"Of {len(groups)} groups the {_MOST_CHARTS} are drawn whose levels vary most."
    first = _of_each_part(shown)
    return Charts(
        first=(*_overview(survey), *(_drawn(group) for place, group in enumerate(shown) if place in first)),
        folded=tuple(_drawn(group) for place, group in enumerate(shown) if place not in first),
        note=note,
    )


def _overview(survey: Survey) -> Iterator[Drawn]:
    """Yield the temperature of all frames against time, where all have one and there is more than one group."""
    frames = [each for each in survey.frames if celsius(each.frame.header) is not None]
    across = _across(frames)
    if len(survey.groups) < 2 or len(frames) < 2 or across.axis is whole_axis:
        return
    points = sorted((across.place(each), celsius(each.frame.header) or 0.0) for each in frames)
    y = number_axis((c for _, c in points), least=_LEAST_C)
    label = f"temperature of all frames, {span([c for _, c in points])}, against {across.words}"
    dots = Curve(points=points, dots=True)
    figure = chart((dots,), across.axis(at for at, _ in points), y, label=label, height=220)
    note = f"{count(len(points), 'frame', GAP)}. Against {across.words}."
    yield Drawn(title="All frames", figures=(("Temperature, °C", figure),), note=note)


def _of_each_part(groups: Sequence[Group]) -> set[int]:
    """Return the places of a few groups, of each part about as many."""
    seen: Counter[Part] = Counter()
    turns = []
    for place, group in enumerate(groups):
        turns.append((seen[group.part], place))
        seen[group.part] += 1
    return {place for _, place in sorted(turns)[:_OPEN]}


def _is_known(group: Group) -> bool:
    return bool(group.temperatures_c) or any(each.level_adu is not None for each in group.frames)


def _variation(group: Group) -> float:
    """Return the range of a group's levels, as a part of their mean."""
    levels = [each.level_adu for each in group.frames if each.level_adu is not None]
    return (max(levels) - min(levels)) / max(1.0, abs(fmean(levels))) if levels else 0.0


_SHORT_S = 240
_UNITS = (("days", 86_400), ("hours", 3600), ("minutes", 60), ("seconds", 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Across:
    """What a group is drawn against: where each of its frames is, and how that is said."""

    place: Callable[[Seen], float]
    axis: Callable[[Iterable[float]], Axis]
    words: str


def _across(frames: Sequence[Seen]) -> _Across:
    times = [each.at_s for each in frames if each.at_s is not None]
    if len(times) == len(frames) > 0:
        return _in_time(min(times), max(times))
    clocks = [each.clock_s for each in frames if each.clock_s is not None]
    if len(clocks) == len(frames) > 0:
        first, span_s = min(clocks), max(clocks) - min(clocks)
        unit, length_s = next((each for each in _UNITS if span_s >= 4 * each[1]), _UNITS[-1])
        words = f"{unit} after the first frame by the camera’s own clock: no date is known"
        return _Across(place=lambda each: ((each.clock_s or 0.0) - first) / length_s, axis=number_axis, words=words)
    words = "frame number within the attempt: no time is known"
    return _Across(place=lambda each: float(each.number), axis=whole_axis, words=words)


def _in_time(first_s: float, last_s: float) -> _Across:
    """Return time of day or date as what is drawn against; of a few minutes the seconds."""
    at = datetime.fromtimestamp(first_s, UTC)
    if last_s - first_s < _SHORT_S:
        words = f"seconds after {at:%Y-%m-%d %H:%M:%S} UTC"
        return _Across(place=lambda each: (each.at_s or 0.0) - first_s, axis=number_axis, words=words)
    words = f"time, UTC, from {at:%Y-%m-%d} on"
    return _Across(place=lambda each: each.at_s or 0.0, axis=time_axis, words=words)


def _drawn(group: Group) -> Drawn:
    across = _across(group.frames)
    bad = sum(not each.counts for each in group.frames)
    said = [f"{count(len(group.frames), 'frame', GAP)} in {count(len(group.attempts), 'attempt', GAP)}"]
    said += [f"{bad} bad (circles)"] if bad else []
    note = f"{', '.join(said)}. Against {across.words}."
    return Drawn(title=group.title, figures=tuple(_figures(group, across)), note=note)


def _figures(group: Group, across: _Across) -> Iterator[tuple[str, Figure]]:
    levels = [each.level_adu for each in group.frames if each.level_adu is not None]
    x = across.axis(across.place(each) for each in group.frames)
    if levels:
        good = [each.level_adu for each in group.frames if each.counts and each.level_adu is not None]
        centre = fmean(good or levels)
        ends = f"{number(min(levels), 1)} to {number(max(levels), 1, 'ADU')}"
        label = f"level of {group.title}, {ends}, against {across.words}"
        curves = _curves(group, across.place, lambda each: None if each.level_adu is None else each.level_adu - centre)
        y = number_axis((value for curve in curves for _, value in curve.points), least=_LEAST_ADU)
        yield f"Level, ADU from {number(centre, 1, 'ADU')}", chart(curves, x, y, label=label, height=120)
    if group.temperatures_c:
        label = f"temperature of {group.title}, {span(group.temperatures_c)}, against {across.words}"
        curves = _curves(group, across.place, lambda each: celsius(each.frame.header))
        y = number_axis(group.temperatures_c, least=_LEAST_C)
        yield "Temperature, °C", chart(curves, x, y, label=label, height=100)


def _curves(group: Group, place: Callable[[Seen], float], value: Callable[[Seen], float | None]) -> tuple[Curve, ...]:
    """Return a line for each attempt, dots where they are few, and circles for bad frames."""
    curves: list[Curve] = []
    bad: list[tuple[float, float]] = []
    size = max(4, _POINTS // len(group.attempts))
    few = len(group.frames) <= _FEW_DOTS
    for index, frames in enumerate(group.attempts.values()):
        known = [(place(each), found, each.counts) for each in frames if (found := value(each)) is not None]
        bad += [(x, y) for x, y, counts in known if not counts]
        points = thinned(sorted((x, y) for x, y, counts in known if counts), size)
        look = "ab"[index % 2]
        curves.append(Curve(points=points, look=look))
        curves += [Curve(points=points, look=look, dots=True)] if few or len(points) == 1 else []
    return (*curves, Curve(points=thinned(bad, _FEW_DOTS), look="bad", dots=True))
