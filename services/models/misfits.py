"""The pixels that a model does not fit: how many, where, and the worst of them with their values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from calibration.models.linear import ModelBit
from services.bands import Band, bands_of, plane_of, read_rows, rows_for
from services.models.drawing import MARK, Plot, height_for, new_figure
from services.models.page import Section, Shown, table_of
from services.words import number, small_percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELLS = 48
"""Along the longer side of the map."""
_WORST = 20
_BITS = {
    ModelBit.HOT: ("Named by the mask of hot pixels", "They have a model, but no values in the maps."),
    ModelBit.LOW_COUNT: ("With a group that has no sample", ""),
    ModelBit.NO_DATA: ("Without a model", "Too few groups have samples that can be used."),
    ModelBit.OUTLIER: ("With a group that is not what the others say", "It hardly counts in the fit."),
    ModelBit.MISFIT: ("Not fitted by the model", "Their groups scatter about it as noise never makes them."),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Misfits:
    """What the mask of a model says.

    Attributes
    ----------
    pixels : int
        All pixels.
    counts : mapping of ModelBit to int
        Pixels that have each bit.
    cells : ndarray, shape (y, x)
        Pixels with MISFIT in each cell of the map.
    cell : int
        Rows and columns of a cell.
    worst : tuple of mapping
        A row for each of the pixels with the largest chi-square: x, y, chi_square, and their values by plane.
    shape : tuple of int
    """

    pixels: int
    counts: Mapping[ModelBit, int]
    cells: NDArray[np.int_]
    cell: int
    worst: tuple[Mapping[str, float], ...]
    shape: tuple[int, int]


def misfits_of(planes: Path, names: Sequence[str]) -> Misfits:
    """Read the mask of a model, band by band.

    Parameters
    ----------
    planes : Path
        A file with the planes MASK and CHI2.
    names : sequence of str
        Planes whose values are wanted of the worst pixels.
    """
    mask, chi_square = plane_of(planes, "MASK"), plane_of(planes, "CHI2")
    (height, width) = shape = mask.location.shape
    cell = max(1, -(-max(shape) // _CELLS))
    counts = dict.fromkeys(_BITS, 0)
    cells = np.zeros((-(-height // cell), -(-width // cell)), np.int_)
    worst: list[tuple[float, int, int]] = []
    for band in bands_of(height, rows_for(memory_mb=32, frames=4, columns=width, workers=1)):
        bits = read_rows(mask, band)
        for bit in counts:
            counts[bit] += int(((bits & bit) != 0).sum())
        y, x = np.nonzero((bits & ModelBit.MISFIT) != 0)
        np.add.at(cells, ((y + band.start) // cell, x // cell), 1)
        if y.size:
            far = read_rows(chi_square, band)[y, x]
            some = np.argsort(far)[::-1][:_WORST]
            worst += [(float(far[i]), int(y[i]) + band.start, int(x[i])) for i in some]
            worst = sorted(worst, reverse=True)[:_WORST]
    return Misfits(
        pixels=height * width,
        counts=counts,
        cells=cells,
        cell=cell,
        worst=tuple(_row(planes, names, *each) for each in worst),
        shape=shape,
    )


def _row(planes: Path, names: Sequence[str], chi_square: float, y: int, x: int) -> dict[str, float]:
    band = Band(start=y, stop=y + 1)
    values = {name: float(read_rows(plane_of(planes, name), band)[0, x]) for name in names}
    return {"x": x, "y": y, "chi_square": chi_square, **values}


def misfit_section(found: Misfits, columns: Sequence[Shown], *, name: str = "misfits.png") -> Section:
    """Return the part of a page on the pixels that the model does not fit.

    Parameters
    ----------
    found : Misfits
    columns : sequence of Shown
        How the values of the worst pixels are shown.
    name : str
        File of the map.
    """
    misfit = found.counts[ModelBit.MISFIT]
    said = [
        f"{words}: {number(n)} of {number(found.pixels)} pixels ({small_percent(n / found.pixels)}). {more}".strip()
        for bit, n in found.counts.items()
        for words, more in [_BITS[bit]]
        if n or bit is ModelBit.MISFIT
    ]
    if not misfit:
        return Section(title="Pixels that the model does not fit", sentences=tuple(said))
    first = [
        Shown(name="x", head="x", decimals=0, meaning="column, counted from 0"),
        Shown(name="y", head="y", decimals=0, meaning="row, counted from 0"),
        Shown(name="chi_square", head="χ²", decimals=1, meaning="reduced chi-square of the groups; 1 where it fits"),
    ]
    note = f"The {len(found.worst)} with the largest chi-square; the plane MASK of the model has all of them."
    plot = Plot(
        name=name,
        draw=lambda: _map(found),
        title="Where they are",
        caption="Pixels that the model does not fit in each cell of the frame; rings: the worst ones.",
    )
    table = table_of(found.worst, [*first, *columns], note=note)
    return Section(title="Pixels that the model does not fit", sentences=tuple(said), tables=(table,), plots=(plot,))


def _map(found: Misfits) -> "Figure":
    from matplotlib.ticker import MaxNLocator

    height, width = found.shape
    made, axes = new_figure(6.4, height_for(found.shape, 6.4))
    axis = axes[0, 0]
    right, bottom = (n * found.cell for n in found.cells.shape[::-1])
    most = max(1, int(found.cells.max()))
    shown = axis.imshow(
        found.cells, cmap="Greys", vmin=0, vmax=most, extent=(0, right, bottom, 0), interpolation="nearest"
    )
    axis.set_xlim(0, width)
    axis.set_ylim(height, 0)
    x, y = ([row[name] + 0.5 for row in found.worst] for name in ("x", "y"))
    axis.plot(x, y, "o", markersize=7, markerfacecolor="none", markeredgecolor=MARK)
    axis.set_title(
        f"Pixels that the model does not fit, per {found.cell} x {found.cell} pixels", loc="left", fontsize=9
    )
    axis.tick_params(labelsize=7)
    bar = made.colorbar(shown, ax=axis, shrink=0.85, ticks=MaxNLocator(integer=True))
    bar.ax.tick_params(labelsize=7)
    return made
