"""Plots of a processed dataset: levels against temperature and exposure, and each master beside its noisiest frame."""

import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from calibration.frames import FrameKind
from services.bands import Band, Source, read_rows
from services.datasets.names import natural
from services.datasets.processing.groups import ProcessGroup
from services.datasets.processing.processing import Processed
from services.datasets.processing.wanted import Wanted
from services.files.disk import REAL_DISK, Disk, atomic
from services.files.fits import pixel_location, read_pixels
from services.files.units import Unreadable
from services.words import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEASURES = {"mean": "Mean", "median": "Median", "std": "Standard deviation"}
_WIDEST = 700
"""Pixels of an image's longer side in a comparison."""
_MOST_IN_LEGEND = 12
_WIDE = 1000
"""Exposures whose range is so wide are drawn on a logarithmic axis."""
_INK, _FAINT = "#1f3a5f", "#7a8a99"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Frames that are compared: of each the place on the x-axis and the value; and the means of each group."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    middles: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A picture that is to be there: what it shows, as text that changes with it, and how it is drawn."""

    path: Path
    shows: str
    draw: "Callable[[], Figure]"

    @property
    def is_there(self) -> bool:
        """Whether the file shows just that."""
        from PIL import Image

        try:
            with Image.open(self.path) as picture:
                return bool(picture.info.get(_SHOWS) == self._digest)
        except (OSError, ValueError, SyntaxError):
            return False

    def write(self, disk: Disk) -> None:
        """Draw it in place of an older one; raises `StorageError`."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        picture = io.BytesIO()  # savefig draws twice
        FigureCanvasAgg(self.draw()).print_png(picture, metadata={_SHOWS: self._digest})  # type: ignore[no-untyped-call]
        with atomic(self.path, disk, replace=True) as file:
            file.write_at(picture.getvalue(), 0)

    @property
    def _digest(self) -> str:
        return hashlib.sha256(f"{_VERSION} {self.shows}".encode()).hexdigest()


_SHOWS = "Shows"
"""What a picture shows, in its own metadata."""
_VERSION = 2
"""To be raised when the same numbers give another picture."""


def plot_all(
    found: Processed,
    out: Path,
    *,
    progress: Callable[[int | None, int], object] = lambda *_: None,
    disk: Disk = REAL_DISK,
) -> None:
    """Draw all plots and comparisons below a folder, in place of older ones; those that show the same are kept.

    Raises
    ------
    StorageError
        The disk is full, or the folder cannot be written.
    """
    drawings = list(_drawings(found, out))
    progress(len(drawings), 0)
    for drawing in drawings:
        if not drawing.is_there:
            with suppress(Unreadable):  # a frame that is gone meanwhile
                drawing.write(disk)
        progress(None, 1)


def _drawings(found: Processed, out: Path) -> Iterator[Drawing]:
    groups = {kind: [group for group in found.groups if group.kind is kind] for kind in FrameKind}
    biases = [group for group in groups[FrameKind.BIAS] if group.temperature_c is not None]
    for measure in MEASURES:
        if biases:
            lines = _series(biases, found, measure, lambda _, celsius: celsius or 0.0)
            path = out / "plots" / f"bias_{measure}_vs_temp.png"
            yield _against(path, lines, "Biases", measure, "Sensor temperature [°C]")
        for kind, word in ((FrameKind.DARK, "Darks"), (FrameKind.FLAT, "Flats")):
            yield from _by_group_temperature(groups[kind], found, measure, word, out)
    for each in found.masters:
        if not each.wanted.attempt and each.state != "failed":
            yield _comparison(each.wanted, out)


def _by_group_temperature(
    groups: Sequence[ProcessGroup], found: Processed, measure: str, word: str, out: Path
) -> Iterator[Drawing]:
    """Yield a plot against exposure for each temperature of the groups."""
    warmths: defaultdict[float | None, list[ProcessGroup]] = defaultdict(list)
    for group in groups:
        if group.exposure_us is not None:
            warmths[group.temperature_c].append(group)
    for celsius, members in warmths.items():
        name = f"{members[0].kind.lower()}_{measure}" + ("" if celsius is None else f"_T{celsius:.1f}")
        title = f"{word}, sensor temperature not known" if celsius is None else f"{word} at {_celsius(celsius)}"
        lines = _series(members, found, measure, lambda group, _: (group.exposure_us or 0) / 1e6)
        yield _against(out / "plots" / f"{name}.png", lines, title, measure, "Exposure [s]")


def _celsius(value: float) -> str:
    return f"{value:.1f} °C".replace("-", "\N{MINUS SIGN}")


def _series(
    groups: Sequence[ProcessGroup],
    found: Processed,
    measure: str,
    place: Callable[[ProcessGroup, float | None], float],
) -> list[Series]:
    """Return the frames of groups as one series for each kind of settings."""
    lines: defaultdict[tuple[str, ...], list[list[tuple[float, float]]]] = defaultdict(list)
    for group in groups:
        warmths = [frame.header.ccd_temp_c for frame in group.frames]
        places = [place(group, group.temperature_c if celsius is None else celsius) for celsius in warmths]
        values = [getattr(found.numbers[frame.path], measure) for frame in group.frames]
        lines[_settings(group)].append(list(zip(places, values, strict=True)))
    differing = [i for i, values in enumerate(zip(*lines, strict=True)) if len(set(values)) > 1]
    return [
        Series(
            label=", ".join(words[i] for i in differing if words[i]) or "not stated",
            x=tuple(x for points in parts for x, _ in points),
            y=tuple(y for points in parts for _, y in points),
            middles=tuple(sorted(_mean(points) for points in parts)),
        )
        for words, parts in sorted(lines.items(), key=lambda each: _order(each[0]))
    ]


def _order(words: tuple[str, ...]) -> tuple[object, ...]:
    """Return what lines are sorted by: the stages in time, all else as people count."""
    stages = ("", "pre", "radiating", "post")
    return tuple(stages.index(word) if word in stages else len(stages) for word in words), natural(" ".join(words))


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def _settings(group: ProcessGroup) -> tuple[str, ...]:
    """Return in words what keeps the frames of one temperature and exposure apart."""
    key = group.key
    return (
        group.filter,
        group.stage,
        group.step,
        group.vacuum,
        "" if key.gain is None else f"gain {key.gain}",
        "" if key.offset is None else f"offset {key.offset}",
        key.readout_mode or "",
        f"{key.binning[0]} x {key.binning[1]} binned",
        f"{key.shape[1]} x {key.shape[0]} pixels",
        "8 bits" if group.numbers else "16 bits",
        key.camera,
    )


def _against(path: Path, lines: Sequence[Series], title: str, measure: str, x_label: str) -> Drawing:
    """Return a plot of frames as points, and of the means of their groups as a line."""
    n = sum(len(line.x) for line in lines)
    title = f"{title}: {MEASURES[measure].lower()} of {count(n, 'frame')}"
    labels = (x_label, f"{MEASURES[measure]} [ADU]")
    return Drawing(path=path, shows=repr((title, labels, lines)), draw=lambda: _drawn(lines, title, labels))


def _drawn(lines: Sequence[Series], title: str, labels: tuple[str, str]) -> "Figure":
    figure, axes = _empty(7.0, 4.5)
    many = len(lines) > 1
    for number, line in enumerate(lines):
        colour = f"C{number % 10}" if many else _INK
        axes.plot(line.x, line.y, "o", color=colour, markersize=4, alpha=0.45, markeredgewidth=0)
        label = _shown(line.label) if many and number < _MOST_IN_LEGEND else None
        middles = zip(*line.middles, strict=True)
        axes.plot(*middles, "-s", color=colour, linewidth=1.2, markersize=6, markerfacecolor="none", label=label)
    axes.set_title(_shown(title), loc="left", fontsize=11)
    figure.supxlabel("dots: frames as they were taken; squares: mean of a group", fontsize=7, color=_FAINT)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.ticklabel_format(axis="y", useOffset=False, style="plain")
    _stretch_of_exposures(axes, [x for line in lines for x in line.x], labels[0])
    if many:
        axes.legend(fontsize=8, frameon=False)
    return figure


def _shown(text: str) -> str:
    """Return text with names as it is drawn: `$` begins no formula, and what is no letter becomes a question mark."""
    return text.encode("utf-8", "replace").decode().replace("$", r"\$")


def _stretch_of_exposures(axes: "Axes", x: Sequence[float], label: str) -> None:
    """Draw exposures over a thousandfold range and more on a logarithmic axis."""
    if label.startswith("Exposure") and min(x) > 0 and max(x) >= _WIDE * min(x):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")


def _empty(width: float, height: float, columns: int = 1) -> "tuple[Figure, Any]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    axes = figure.subplots(1, columns)
    if columns == 1:
        axes.grid(visible=True, color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return figure, axes


def _comparison(wanted: Wanted, out: Path) -> Drawing:
    """Return a master beside the frame of the greatest standard deviation among those that it was made of."""
    group, numbers = wanted.group, wanted.numbers
    noisiest = max(wanted.frames, key=lambda frame: numbers[frame.path].std)
    shows = repr((group.name, sorted(numbers[frame.path].sha256 for frame in wanted.frames), noisiest.path.name))
    path = out / "comparisons" / f"{group.name.removeprefix('master_')}.png"
    return Drawing(path=path, shows=shows, draw=lambda: _compared(wanted, noisiest.path))


def _compared(wanted: Wanted, noisiest: Path) -> "Figure":
    height, width = wanted.group.key.shape
    figure, axes = _empty(10.0, min(7.0, max(2.6, 4.6 * height / width + 1.0)), columns=2)
    titles = (
        f"{wanted.group.name}\n{count(len(wanted.frames), 'frame')}",
        f"{noisiest.name}\nthe frame of the greatest standard deviation",
    )
    for each, path, title in zip(axes, (wanted.path, noisiest), titles, strict=True):
        image = _small(path)
        low, high = np.nanpercentile(image, (5, 95)) if np.isfinite(image).any() else (0.0, 1.0)
        shown = each.imshow(
            image,
            cmap="gray",
            vmin=low,
            vmax=max(high, low + 1e-6),
            extent=(0, width, height, 0),
            interpolation="nearest",
        )
        each.set_title(_shown(title), fontsize=9)
        each.set_xlabel("Column [px]")
        figure.colorbar(shown, ax=each, label="ADU, 5 % to 95 %", shrink=0.85)
    axes[0].set_ylabel("Row [px]")
    return figure


def _small(path: Path) -> NDArray[np.float32]:
    """Return an image as means of its rows, thinned to what a plot shows."""
    location = pixel_location(path)
    if location is None:
        pixels = read_pixels(path)
        step = max(1, -(-max(pixels.shape) // _WIDEST))
        return pixels[::step, ::step].astype(np.float32)
    height, width = location.shape
    step = max(1, -(-max(height, width) // _WIDEST))
    source = Source(path=path, location=location)
    rows = [read_rows(source, Band(start=y, stop=y + 1))[:, ::step].astype(np.float32) for y in range(0, height, step)]
    return np.concatenate(rows)
