"""How the pictures of all models are drawn: maps, histograms and curves, of planes thinned out to what a page shows."""

import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from services.bands import Band, Source, read_rows
from services.files.disk import REAL_DISK, Disk, atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GRID, MARK = "#1f3a5f", "#7a8a99", "#dddddd", "#c0562f"
_LONGEST = 700
"""Pixels of the longer side of an image."""


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
        picture = io.BytesIO()
        draw().savefig(picture, format="png")
        with atomic(out / name, disk, replace=True) as file:
            file.write_at(picture.getvalue(), 0)
        made.append(out / name)
    return made


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
    axes.ticklabel_format(axis="y", useOffset=False, style="plain")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def show_map(figure: "Figure", axes: "Axes", image: NDArray[Any], title: str, shape: tuple[int, int]) -> None:
    """Draw a plane that was thinned out from a shape, with the scale of its middle 96 %."""
    finite = image[np.isfinite(image)]
    low, high = np.percentile(finite, (2, 98)) if finite.size else (0.0, 1.0)
    height, width = shape
    shown = axes.imshow(
        image,
        cmap="viridis",
        vmin=low,
        vmax=high if high > low else low + 1,
        extent=(0, width, height, 0),
        interpolation="nearest",
    )
    axes.set_title(title, loc="left", fontsize=9)
    axes.tick_params(labelsize=7)
    figure.colorbar(shown, ax=axes, shrink=0.85).ax.tick_params(labelsize=7)


def map_alone(image: NDArray[Any], title: str, shape: tuple[int, int]) -> "Figure":
    """Return a picture of one plane."""
    from matplotlib.figure import Figure

    tall = height_for(shape, 6.4)
    figure = Figure(figsize=(6.4, tall), dpi=110)  # a layout that is worked out takes longer than the rest of it
    axes = figure.subplots()
    figure.subplots_adjust(left=0.09, right=0.97, bottom=0.3 / tall, top=1 - 0.35 / tall)
    show_map(figure, axes, image, title, shape)
    return figure


def height_for(shape: tuple[int, int], width: float) -> float:
    """Return the height in inches of a picture of a plane that is so wide."""
    return min(9.0, max(2.2, 0.82 * width * shape[0] / shape[1] + 0.5))


def bins_of(values: NDArray[Any]) -> int:
    """Return how many bins a histogram is to have."""
    return int(np.clip(np.sqrt(values.size), 10, 80))


def column(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """Return a column of a table of a sidecar; null becomes NaN."""
    return [math.nan if row[name] is None else row[name] for row in rows]
