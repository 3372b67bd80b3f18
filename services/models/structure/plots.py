"""The pictures of an analysis of structures: difference maps, the plane of the sensor, time and temperature."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from calibration.clipping import clip_values
from calibration.models.structure.differences import cell_side, cells_of, difference, drift_of, without
from services.bands import plane_of
from services.files.layout import sanitise
from services.models.drawing import FAINT, INK, MARK, THIRD, Plot, dress, height_for, new_figure, thin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUMMARY, SENSOR = "summary_plots", "sensor_plane_outliers"
_MOST_CURVES = 8
_MOST_NAMED = 12
_BEHIND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
"""Of a name that would be crossed by the ring of another structure."""

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An analysis as it is drawn: its folder and its sidecar."""

    folder: Path
    said: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the frames."""
        height, width = self.said["shape"]
        return height, width

    @property
    def comparisons(self) -> Rows:
        """Those of flats."""
        return [row for row in self.said["comparisons"] if row["frames"] == "flat"]

    @property
    def structures(self) -> Rows:
        """Those of flats that the first analysis found, and those of darks."""
        rows = self.said["structures"]
        first = self.comparisons[0]["analysis"] if self.comparisons else ""
        return [row for row in rows if row["frames"] != "flat" or row["analysis"] == first]

    def mean(self, epoch: str) -> NDArray[np.float64]:
        """Return the mean of the flats of an epoch, thinned out."""
        folder = "flats_norm_reduced" if self.said["reduced"] else "flats_norm"
        return thin(plane_of(self.folder / folder / f"{epoch}_norm.fits", "MEAN")).astype(np.float64)


def map_name(row: Mapping[str, Any], rows: Rows) -> str:
    """Return the path of the difference map of a comparison, by its time, as earlier programs had it."""
    alike = sum(other["time"] == row["time"] and other["analysis"] == row["analysis"] for other in rows)
    time = sanitise(str(row["time"])[:19].replace(":", ""))
    return f"{row['analysis']}/diffmap_{time if time and alike == 1 else row['epoch']}.png"


def map_drawings(seen: Seen) -> Iterator[tuple[str, Any]]:
    """Yield the difference map of each comparison."""
    rows = seen.comparisons
    for row in rows:
        mine = [s for s in seen.said["structures"] if s["analysis"] == row["analysis"] and s["frames"] == "flat"]
        yield map_name(row, rows), lambda row=row, mine=mine: _map(seen, row, mine)


def _map(seen: Seen, row: Mapping[str, Any], structures: Rows) -> "Figure":
    """Draw a ratio without its smooth part, from -3 to 3 sigma, with the structures of the analysis."""
    new, old = seen.mean(row["epoch"]), seen.mean(row["reference"])
    found = difference(new, np.ones(new.shape), old, np.ones(old.shape))
    value = without(found, drift_of(cells_of(found.value, cell_side(new.shape)), new.shape)).value
    sigma = clip_values(value).sigma or 1.0
    figure, axes = new_figure(7.2, height_for(seen.shape, 6.0) + 0.3)
    axis, (height, width) = axes[0, 0], seen.shape
    shown = axis.imshow(
        100 * value, cmap="RdBu_r", vmin=-300 * sigma, vmax=300 * sigma, extent=(0, width, height, 0),
        interpolation="nearest",
    )  # fmt: skip
    figure.colorbar(shown, ax=axis, shrink=0.85, label="difference [%]")
    _mark(axis, structures, names=False)
    when = str(row["time"])[:16].replace("T", " ") or row["epoch"]
    axis.set_title(f"{when}, {row['temperature_c']:.1f} °C, against {_when(row['reference'])}", loc="left", fontsize=9)
    axis.tick_params(labelsize=7)
    return figure


def _when(epoch: str) -> str:
    return f"epoch {epoch[:3].lstrip('0')}"


_COLOURS = {"dust": INK, "scratch": MARK, "ghost": THIRD, "hot": "#b02020", "film": "#8a5fa8"}


def _colour(kind: str) -> str:
    return next((colour for word, colour in _COLOURS.items() if kind.startswith(word)), FAINT)


def _mark(axis: "Axes", structures: Rows, *, names: bool) -> None:
    """Draw a ring around each structure, and name the most significant ones."""
    from matplotlib.patches import Circle

    for number, row in enumerate(structures):
        size = max(row["length"], row["width"], 3.0) * 1.4
        axis.add_patch(
            Circle((row["column"] + 0.5, row["row"] + 0.5), size / 2, fill=False, color=_colour(row["kind"]))
        )
        if names and number < _MOST_NAMED:
            words = f"{row['structure']} {row['kind']}"
            axis.annotate(
                words, (row["column"] + 0.5, row["row"] - size / 2), fontsize=7, ha="center", va="bottom",
                color=_colour(row["kind"]), annotation_clip=True, bbox=_BEHIND,
            )  # fmt: skip


def sensor_plots(seen: Seen) -> list[Plot]:
    """Return where the structures are, of all temperatures and of each."""
    labels = sorted({t for row in seen.structures for t in row["temperatures"].split(";") if t}, key=float)
    plots = [
        Plot(
            name=f"{SENSOR}/all_outliers_sensor_plane.png",
            draw=lambda: _plane(seen, seen.structures, "All structures"),
            title="Where they are",
            caption="Each ring is a structure, at its place on the sensor; the most significant ones are named.",
        )
    ]
    for label in labels:
        some = [row for row in seen.structures if label in row["temperatures"].split(";")]
        plots.append(
            Plot(
                name=f"{SENSOR}/outliers_T{float(label):.1f}.png",
                draw=lambda some=some, label=label: _plane(seen, some, f"Structures at {label} °C"),  # type: ignore[misc]
                title=f"At {label} °C",
                caption="Structures that flats or darks of this temperature show.",
            )
        )
    return plots


def _plane(seen: Seen, rows: Rows, title: str) -> "Figure":
    figure, axes = new_figure(6.8, height_for(seen.shape, 6.8) + 0.2)
    axis, (height, width) = axes[0, 0], seen.shape
    axis.set_xlim(0, width)
    axis.set_ylim(height, 0)
    axis.set_aspect("equal")
    _mark(axis, rows, names=True)
    dress(axis, title, "Column", "Row")
    return figure


def summary_plots(seen: Seen) -> list[Plot]:
    """Return how the number of changed pixels, and the levels, follow time and temperature."""
    rows = seen.comparisons
    counts = [row["pixels"] for row in rows]
    flats = [row for row in seen.said["inputs"] if row["kind"] == "FLAT"]
    levels = [(row["mean_adu"], row["std_adu"]) for row in flats]
    warm = [row["temperature_c"] for row in rows]
    times = [_date(row["time"]) for row in flats]
    when = [_date(row["time"]) for row in rows]
    return [
        Plot(
            name=f"{SUMMARY}/outliers_vs_time.png",
            draw=lambda: _points(
                _axis(when), counts, "Pixels of structures in each epoch", _label(when, "Epochs"), "Pixels"
            ),
            title="Changed pixels against time",
            caption="A step is something that came or went; a slope is something that grows.",
        ),
        Plot(
            name=f"{SUMMARY}/outliers_vs_temperature.png",
            draw=lambda: _points(warm, counts, "Pixels of structures in each epoch", "Temperature [°C]", "Pixels"),
            title="Changed pixels against temperature",
            caption="What is on the glass does not depend on temperature; what is in the silicon may.",
        ),
        Plot(
            name=f"{SUMMARY}/mean_std_vs_time.png",
            draw=lambda: _levels(_axis(times), levels, _label(times, "Flats")),
            title="Level and scatter of the flats against time",
            caption="Of each flat as it was taken, nothing taken off.",
        ),
        Plot(
            name=f"{SUMMARY}/mean_std_vs_temp.png",
            draw=lambda: _levels([row["temperature_c"] for row in flats], levels, "Temperature [°C]"),
            title="Level and scatter of the flats against temperature",
            caption="Of each flat as it was taken, nothing taken off.",
        ),
    ]


def _date(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # seconds of a camera's clock, or nothing
        return None


def _axis(times: Sequence[datetime | None]) -> list[Any]:
    """Return times where all are known, else their order."""
    return list(times) if all(times) else list(range(1, len(times) + 1))


def _label(times: Sequence[datetime | None], what: str) -> str:
    return "" if all(times) else f"{what}, numbered in the order of time"


def _points(x: Sequence[Any], y: Sequence[float], title: str, across: str, up: str) -> "Figure":
    figure, axes = new_figure(6.4, 3.4)
    axes[0, 0].plot(x, y, "o", color=MARK, markersize=5)
    axes[0, 0].margins(0.08)
    axes[0, 0].set_ylim(bottom=0, top=None if any(y) else 1)
    axes[0, 0].locator_params(axis="y", integer=True)
    dress(axes[0, 0], title, across, up)
    _turn(figure, x)
    return figure


def _turn(figure: "Figure", x: Sequence[Any]) -> None:
    """Turn the labels of dates, which are long."""
    if x and isinstance(x[0], datetime):
        figure.autofmt_xdate(rotation=20)


def _levels(x: Sequence[Any], levels: Sequence[tuple[float, float]], across: str) -> "Figure":
    figure, axes = new_figure(6.4, 4.6, rows=2)
    for place, (number, words, colour) in zip(
        axes[:, 0], ((0, "Mean [ADU]", INK), (1, "Std [ADU]", MARK)), strict=True
    ):
        place.plot(x, [each[number] for each in levels], "o", color=colour, markersize=4)
        place.margins(0.08)
        dress(place, "", across if number else "", words)
    _turn(figure, x)
    return figure


def history_plots(seen: Seen) -> list[Plot]:
    """Return how strong the most significant structures were in each epoch."""
    if not seen.structures:
        return []
    return [
        Plot(
            name="history.png",
            draw=lambda: _history(seen),
            title="Their strength over time",
            caption=(
                "The mean difference over the pixels of each structure, relative to its own largest one, with 1 sigma. "
                "Zero is the reference; a structure that the reference has and that went goes up from zero, too."
            ),
            wide=True,
        )
    ]


def _history(seen: Seen) -> "Figure":
    figure, axes = new_figure(9.0, 4.2)
    axis = axes[0, 0]
    for row in sorted(seen.structures, key=lambda row: -row["z"])[:_MOST_CURVES]:
        mine = [
            h for h in seen.said["history"]
            if (h["analysis"], h["frames"], h["structure"]) == (row["analysis"], row["frames"], row["structure"])
            and h["strength"] is not None
        ]  # fmt: skip
        largest = max((abs(h["strength"]) for h in mine), default=1.0) or 1.0
        times = _axis([_date(h["time"]) for h in mine])
        axis.errorbar(
            times, [h["strength"] / largest for h in mine], [h["sigma"] / largest for h in mine], fmt="o-",
            markersize=4,
            linewidth=1,
            label=f"{row['structure']} {row['kind']}",
        )  # fmt: skip
    axis.axhline(0, color=FAINT, linewidth=0.8)
    axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    dress(axis, "Strength of the most significant structures", "", "Over the largest")
    figure.autofmt_xdate(rotation=20)
    return figure
