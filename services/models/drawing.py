"""How the pictures of all models are drawn: maps, histograms and curves, of planes thinned out to what a page shows."""

import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from services.bands import Band, Source, read_rows
from services.files.disk import REAL_DISK, Disk, atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GRID, MARK, THIRD = "#1f3a5f", "#7a8a99", "#dddddd", "#c0562f", "#5b8c5a"
COLOURS = (INK, MARK, THIRD, FAINT, "#8a6fb0", "#c9a227")
"""Of lines beside each other."""
_LONGEST = 700
"""Pixels of the longer side of an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A picture of a report and how it is drawn.

    Attributes
    ----------
    name : str
        Path of its file below the folder of the report, e.g. ``maps.png``.
    draw : callable
        Returns the matplotlib figure.
    title : str
        What stands above it on the page.
    caption : str
        Whole sentences: what is seen, and what a reader should look for.
    wide : bool
        Whether it has panels side by side: it then has a row for itself, and can be scrolled sideways on a phone.
    """

    name: str
    draw: "Callable[[], Figure]"
    title: str
    caption: str = ""
    wide: bool = False


def write_pictures(
    drawings: "Iterable[tuple[str, Callable[[], Figure]]]", out: Path, disk: Disk = REAL_DISK
) -> list[Path]:
    """Draw pictures and write them in place of older ones; return their paths.

    Parameters
    ----------
    drawings : iterable of pairs
        The name of each picture below `out`, and what draws it.
    out : Path
    disk : Disk

    Raises
    ------
    StorageError
        The disk is full, or the folder cannot be written.
    """
    made = []
    for name, draw in drawings:
        write_picture(name, draw, out, disk)
        made.append(out / name)
    return made


def write_picture(name: str, draw: "Callable[[], Figure]", out: Path, disk: Disk = REAL_DISK) -> bytes:
    """Draw a picture, write it below a folder in place of an older one, and return the PNG.

    Raises
    ------
    StorageError
        The disk is full, or the folder cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    picture = io.BytesIO()  # savefig draws twice
    FigureCanvasAgg(draw()).print_png(picture)  # type: ignore[no-untyped-call]
    with atomic(out / name, disk, replace=True) as file:
        file.write_at(picture.getvalue(), 0)
    return picture.getvalue()


def thin(source: Source) -> NDArray[Any]:
    """Return every m-th row and column of a plane: single pixels, not means, so that outliers are seen as they are."""
    height, width = source.location.shape
    step = max(1, -(-max(height, width) // _LONGEST))
    rows = [read_rows(source, Band(start=y, stop=y + 1))[:, ::step] for y in range(0, height, step)]
    return np.concatenate(rows)


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> "tuple[Figure, Any]":
    """Return a figure of a size in inches, and its axes, shape (rows, columns)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def dress(axes: "Axes", title: str, x: str, y: str) -> None:
    """Give axes their title, labels and grid."""
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(visible=True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    if axes.get_yscale() == "linear":
        axes.ticklabel_format(axis="y", useOffset=False, style="plain")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def show_map(figure: "Figure", axes: "Axes", image: NDArray[Any], title: str, shape: tuple[int, int]) -> None:
    """Draw a plane that was thinned out from a shape, with the scale of its middle 96 %.

    Of a plane that has one value nearly everywhere, as that of dust, all others are in the scale.
    """
    low, high = scale_of(image[np.isfinite(image)])
    height, width = shape
    shown = axes.imshow(
        image,
        cmap="viridis",
        vmin=low,
        vmax=high,
        extent=(0, width, height, 0),
        interpolation="nearest",
    )
    axes.set_title(title, loc="left", fontsize=9)
    axes.tick_params(labelsize=7)
    figure.colorbar(shown, ax=axes, shrink=0.85).ax.tick_params(labelsize=7)


def scale_of(values: NDArray[Any]) -> tuple[float, float]:
    """Return the least and the largest value of the scale of a map."""
    if not values.size:
        return 0.0, 1.0
    low, middle, high = map(float, np.percentile(values, (2, 50, 98)))
    if middle in {low, high}:
        low, high = float(values.min()), float(values.max())
    around = 0.0 if high > low else 0.01 * abs(low) or 0.5
    return low - around, high + around


def map_alone(image: NDArray[Any], title: str, shape: tuple[int, int]) -> "Figure":
    """Return a picture of one plane."""
    from matplotlib.figure import Figure

    tall = height_for(shape, 6.4)
    figure = Figure(figsize=(6.4, tall), dpi=110)  # a layout that is worked out takes longer than the rest of it
    axes = figure.subplots()
    figure.subplots_adjust(left=0.09, right=0.97, bottom=0.3 / tall, top=1 - 0.35 / tall)
    show_map(figure, axes, image, title, shape)
    return figure


def images(chosen: Sequence[tuple[NDArray[Any], str]], shape: tuple[int, int]) -> "Figure":
    """Return a figure of several images with their titles, two in a row."""
    rows = -(-len(chosen) // 2)
    made, axes = new_figure(10.5, rows * height_for(shape, 5.0), rows=rows, columns=2)
    for place, (image, title) in zip(axes.flat, chosen, strict=False):
        show_map(made, place, image, title, shape)
    for place in axes.flat[len(chosen) :]:
        place.set_axis_off()
    return made


def histograms(chosen: Sequence[tuple[NDArray[Any], str]], bad: NDArray[np.bool_]) -> "Figure":
    """Return a figure of the distributions of several planes, with those pixels apart that the model does not fit.

    Parameters
    ----------
    chosen : sequence of (ndarray, str)
        Each plane, with what its values are called.
    bad : ndarray of bool
        Pixels that the model does not fit, in the shape of the planes.
    """
    made, axes = new_figure(4.0 * len(chosen), 3.2, columns=len(chosen))
    for place, (plane, words) in zip(axes[0], chosen, strict=True):
        values = plane[np.isfinite(plane)]
        low, high = np.percentile(values, (0.1, 99.9)) if values.size else (0.0, 1.0)
        edges = np.linspace(low, high if high > low else low + 1, bins_of(values))
        place.hist(values, bins=edges, color=INK, label="all pixels")
        if bad.any():
            place.hist(plane[bad & np.isfinite(plane)], bins=edges, color=MARK, label="the model does not fit")
        if values.size:
            place.set_yscale("log")
        place.set_xlabel(words, fontsize=9)
        place.tick_params(labelsize=8)
    axes[0, 0].set_ylabel("Pixels", fontsize=9)
    if bad.any():
        handles = axes[0, 0].get_legend_handles_labels()
        made.legend(*handles, loc="outside upper right", ncols=2, fontsize=8, frameon=False)
    return made


def residuals(groups: Mapping[float, NDArray[Any]], title: str, x: str, y: str) -> "Figure":
    """Return a figure of the residuals of pixels against temperature or exposure: median, 68 % and 99 % of them.

    Parameters
    ----------
    groups : mapping of float to ndarray
        Measured minus modelled of a sample of pixels, by the value of the horizontal axis.
    title, x, y : str
        Of the plot and its axes.
    """
    places = sorted(groups)
    bounds = np.array([_percentiles(groups[place]) for place in places]).T
    made, axes = new_figure(6.4, 3.8)
    axis = axes[0, 0]
    for low, high, words in ((0, 4, "99 % of the pixels"), (1, 3, "68 %")):
        span = [bounds[2] - bounds[low], bounds[high] - bounds[2]]
        wide = 1.2 if low == 0 else 5
        colour = FAINT if low == 0 else INK
        axis.errorbar(places, bounds[2], yerr=span, fmt="none", ecolor=colour, elinewidth=wide, label=words)
    axis.plot(places, bounds[2], "o", color=MARK, markersize=5, label="median")
    axis.axhline(0, color=FAINT, linewidth=0.8)
    axis.margins(x=0.1)
    axis.legend(fontsize=8, frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.08))
    dress(axis, title, x, y)
    return made


def _percentiles(values: NDArray[Any]) -> NDArray[np.float64]:
    finite = values[np.isfinite(values)]
    shares = (0.5, 16.0, 50.0, 84.0, 99.5)
    return np.percentile(finite, shares) if finite.size else np.full(len(shares), np.nan)


def height_for(shape: tuple[int, int], width: float) -> float:
    """Return the height in inches of a picture of a plane that is so wide."""
    return min(9.0, max(2.2, 0.82 * width * shape[0] / shape[1] + 0.5))


def bins_of(values: NDArray[Any]) -> int:
    """Return how many bins a histogram is to have."""
    return int(np.clip(np.sqrt(values.size), 10, 80))


def column(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """Return a column of a table of a sidecar; null becomes NaN."""
    return [math.nan if row[name] is None else row[name] for row in rows]
