"""Curves and histograms as shapes of an SVG. Colours are the page's own, so that they follow its light or dark scheme.

A figure is 360 units wide, which is about what it gets on a phone: its texts are then as large as the page's.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from services.words import local

Points = Sequence[tuple[float, float]]
Ticks = tuple[tuple[float, str], ...]

WIDTH = 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 8, 22
_LINE = 13
"""Between two rows of labels."""
_MOST_POINTS = 480


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How many of the pixels that were read lie in each bin; `edges` has one value more than `counts`."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """One element of an SVG: its name, its attributes and the text inside it."""

    name: str
    attributes: Mapping[str, object]
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """An SVG of `width` by `height` units; `label` says what is shown to whoever cannot see it."""

    shapes: tuple[Shape, ...]
    height: int
    label: str
    width: int = WIDTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """From `low` to `high`, with a label at each tick, and those of a second scale below them, if there is one.

    `names` are what the two rows of labels are called at their left end.
    """

    low: float
    high: float
    ticks: Ticks
    below: Ticks = ()
    names: tuple[str, ...] = ()

    def place(self, value: float, start: float, end: float) -> float:
        """Return where a value lies when `low` is at `start` and `high` at `end`; held within them."""
        share = (value - self.low) / (self.high - self.low)
        return start + min(max(share, 0.0), 1.0) * (end - start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Points (x, y) joined by a line, or as dots; `look` is one of the page's classes: `a`, `b`, `bad`, `dash`."""

    points: Points
    look: str = "a"
    dots: bool = False
    name: str = ""


def number_axis(values: Iterable[float], *, least: float = 0.0, show: Callable[[float], str] | None = None) -> Axis:
    """Return an axis around all values, not narrower than `least`, with three to six round ticks.

    `show` gives the label of a tick, by default the number with as many decimals as the ticks' distance needs.
    """
    known = [v for v in values if math.isfinite(v)] or [0.0]
    low, high = min(known), max(known)
    short = max(least, 1e-9 * max(abs(low), abs(high)), 1e-12) - (high - low)
    if short > 0:
        low, high = low - short / 2, high + short / 2
    margin = 0.06 * (high - low)
    low, high = low - margin, high + margin
    step = _round_step((high - low) / 4)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    shown = show or (lambda value: f"{value + 0.0:.{decimals}f}".replace("-", "\u2212"))
    first = math.ceil(low / step - 1e-9)
    return Axis(low=low, high=high, ticks=tuple((i * step, shown(i * step)) for i in _up_to(first, high / step)))


def whole_axis(values: Iterable[float]) -> Axis:
    """Return an axis around whole numbers, such as those of frames, ticks at each or every second, fifth, tenth."""
    known = [v for v in values if math.isfinite(v)] or [0.0]
    low, high = math.floor(min(known)), math.ceil(max(known))
    step = max(1, round(_round_step((high - low) / 6))) if high > low else 1
    margin = 0.04 * max(1, high - low)
    ticks = tuple((float(i * step), str(i * step).replace("-", "\u2212")) for i in _up_to(-(-low // step), high / step))
    return Axis(low=low - margin, high=high + margin, ticks=ticks)


def time_axis(times: Iterable[float]) -> Axis:
    """Return an axis over moments (POSIX seconds), ticks at round times of day, UTC, with the computer's below.

    Where its zone changes, the next label names the new one. Over many days ticks are at days, and over many months at
    dates with their year, UTC alone.
    """
    known = list(times) or [0.0]
    low, high = min(known), max(known)
    high = max(high, low + 60)
    step = next((s for s in _TIME_STEPS if (high - low) / s <= 6), _TIME_STEPS[-1])
    step *= max(1, math.ceil((high - low) / step / (8 if high - low < _MONTHS_S else 4)))
    first = math.ceil(low / step)
    moments = [datetime.fromtimestamp(i * step, UTC) for i in _up_to(first, high / step)]
    if step >= _TIME_STEPS[-1]:
        form = "%m-%d" if high - low < _MONTHS_S else "%Y-%m-%d"
        return Axis(low=low, high=high, ticks=tuple((at.timestamp(), f"{at:{form}}") for at in moments))
    ticks = tuple((at.timestamp(), f"{at:%H:%M}") for at in moments)
    # Where it shows UTC for a part of the night (London, in autumn) UTC is named.
    here = [(local(at, "%H:%M") or f"{at:%H:%M} UTC").split(" ") for at in moments]
    if all(zone == "UTC" for _, zone in here):
        return Axis(low=low, high=high, ticks=ticks)
    before = [here[0][1], *(zone for _, zone in here)]
    below = tuple(
        (at.timestamp(), time if zone == last else f"{time} {zone}")
        for at, (time, zone), last in zip(moments, here, before, strict=False)
    )
    return Axis(low=low, high=high, ticks=ticks, below=below, names=("UTC", here[0][1].removeprefix("UTC")))


_TIME_STEPS = (60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
_MONTHS_S = 300 * 86_400


def chart(
    curves: Sequence[Curve], x: Axis, y: Axis, *, label: str, height: int = 150, band: tuple[float, float] | None = None
) -> Figure:
    """Return curves over a grid.

    Parameters
    ----------
    label : str
        What is shown, for whoever cannot see it.
    height : int
        In units of a figure that is `WIDTH` wide.
    band : tuple of float, optional
        Values of y between which all is well; shaded.
    """
    bottom = height - _BOTTOM
    shapes = [*_band(band, y, bottom), *_rows(y, bottom), *_columns(x, bottom)]
    shapes += [shape for curve in curves for shape in _curve(curve, x, y, bottom)]
    return Figure(shapes=tuple(shapes), height=height + (_LINE if x.below else 0), label=label)


def _band(band: tuple[float, float] | None, y: Axis, bottom: float) -> Iterator[Shape]:
    if band is not None:
        top, low = y.place(band[1], bottom, _TOP), y.place(band[0], bottom, _TOP)
        size = {"x": _LEFT, "y": _f(top), "width": WIDTH - _RIGHT - _LEFT, "height": _f(low - top)}
        yield Shape("rect", {"class": "band", **size})


def _rows(y: Axis, bottom: float) -> Iterator[Shape]:
    """Yield a line across the figure and a label at each tick of the vertical axis."""
    for value, text in y.ticks:
        at = y.place(value, bottom, _TOP)
        yield Shape("line", {"class": "grid", "x1": _LEFT, "x2": WIDTH - _RIGHT, "y1": _f(at), "y2": _f(at)})
        yield Shape("text", {"class": "ty", "x": _LEFT - 5, "y": _f(at + 3.5)}, text)


def _columns(x: Axis, bottom: float) -> Iterator[Shape]:
    """Yield the horizontal axis with a mark and a label at each tick, and the labels of a second scale."""
    right = WIDTH - _RIGHT
    for value, _ in x.ticks:
        at = _f(x.place(value, _LEFT, right))
        yield Shape("line", {"class": "axis", "x1": at, "x2": at, "y1": bottom, "y2": bottom + 3})
    for row, ticks in enumerate((x.ticks, x.below)):
        line = bottom + _BOTTOM - 6 + row * _LINE
        for value, text in ticks:
            yield Shape("text", {"class": "tx", "x": _f(x.place(value, _LEFT, right)), "y": line}, text)
        for name in x.names[row : row + 1]:
            yield Shape("text", {"x": 0, "y": line}, name)
    yield Shape("line", {"class": "axis", "x1": _LEFT, "x2": right, "y1": bottom, "y2": bottom})


def bars(histogram: Histogram, *, label: str, show: Callable[[float], str], height: int = 96) -> Figure:
    """Return a histogram; its counts are on a logarithmic scale, so that single pixels far out can be seen."""
    edges, counts = histogram.edges, histogram.counts
    top = math.log10(max(counts, default=0) + 1) or 1.0
    axis = Axis(low=edges[0], high=edges[-1], ticks=())
    left, right, bottom = 4, WIDTH - 4, height - _BOTTOM
    path = [f"M{left} {bottom}"]
    for count, begin, end in zip(counts, edges, edges[1:], strict=False):
        y = _f(bottom - (bottom - 4) * math.log10(count + 1) / top)
        path.append(f"L{_f(axis.place(begin, left, right))} {y}H{_f(axis.place(end, left, right))}")
    shapes = [
        Shape("path", {"class": "bars", "d": "".join(path) + f"V{bottom}Z"}),
        Shape("line", {"class": "axis", "x1": left, "x2": right, "y1": bottom, "y2": bottom}),
    ]
    ends = ((left, edges[0], "start"), (WIDTH / 2, (edges[0] + edges[-1]) / 2, "middle"), (right, edges[-1], "end"))
    for at, value, anchor in ends:
        shapes.append(Shape("text", {"class": "tx", "x": at, "y": height - 6, "text-anchor": anchor}, show(value)))
    return Figure(shapes=tuple(shapes), height=height, label=label)


def thinned(points: Points, most: int = _MOST_POINTS) -> list[tuple[float, float]]:
    """Return at most so many points: the lowest and highest of equal parts, so that none that stands out is lost."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(len(points) / (most // 2))
    parts = (list(points[i : i + size]) for i in range(0, len(points), size))
    ends = ({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])} for part in parts)
    return [point for pair in ends for point in sorted(pair)]


def _curve(curve: Curve, x: Axis, y: Axis, bottom: float) -> Iterator[Shape]:
    known = [p for p in curve.points if math.isfinite(p[0]) and math.isfinite(p[1])]
    places = [(_f(x.place(px, _LEFT, WIDTH - _RIGHT)), _f(y.place(py, bottom, _TOP))) for px, py in thinned(known)]
    if curve.dots:
        yield from (Shape("circle", {"class": f"dot {curve.look}", "cx": px, "cy": py, "r": 2.2}) for px, py in places)
    elif places:
        yield Shape("polyline", {"class": f"curve {curve.look}", "points": " ".join(f"{px},{py}" for px, py in places)})


def _round_step(about: float) -> float:
    power = 10.0 ** math.floor(math.log10(about))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= about * 0.999)


def _up_to(first: int, last: float) -> range:
    return range(first, math.floor(last + 1e-9) + 1)


def _f(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
