"""The report of a bias model: bias_stats.json, and pictures of its levels, its maps and the held-out temperatures."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from calibration.models.bias import Parameters, predict
from calibration.models.linear import ModelBit
from services.bands import plane_of
from services.errors import Usage
from services.files.disk import REAL_DISK, Disk, write_text
from services.models.bias_files import EVALUATION, master_name
from services.models.bias_fit import LETTERS, covariance_names
from services.models.bias_records import Loaded, load
from services.models.drawing import (
    FAINT,
    INK,
    MARK,
    bins_of,
    column,
    dress,
    height_for,
    map_alone,
    new_figure,
    show_map,
    thin,
    write_pictures,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_UNITS = {"A": "bias at the reference [ADU]", "B": "slope [ADU / °C]", "C": "third parameter"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A model as it is drawn: planes thinned out, with the number of pixels that each one stands for."""

    loaded: Loaded
    planes: Mapping[str, NDArray[Any]]
    masters: Mapping[float, NDArray[Any]]
    shape: tuple[int, int]

    def predicted(self, celsius: float) -> NDArray[np.float32]:
        """Return the bias that the model predicts, thinned out."""
        p = self.loaded.model.basis.size
        theta = np.stack([self.planes[letter] for letter in LETTERS[:p]]).astype(np.float64)
        covariance = np.stack([self.planes[name] for name in covariance_names(p)]).astype(np.float64)
        return predict(self.loaded.model, Parameters(theta=theta, covariance=covariance), celsius).mean


def report(model: Path, out: Path, disk: Disk = REAL_DISK) -> list[Path]:
    """Write the report of a model, in place of an older one, and return its files.

    Parameters
    ----------
    model : Path
        As for `load`.
    out : Path
        The folder of the report.
    disk : Disk

    Raises
    ------
    Usage
        It is no model, or `out` is no folder.
    StorageError
        The disk is full, or a file cannot be read or written.
    """
    if out.exists() and not out.is_dir():
        raise Usage(f"{out} is a file", advice="name a folder for the report")
    seen = _seen(load(model))
    stats = out / "bias_stats.json"
    write_text(stats, json.dumps(statistics_of(seen.loaded), indent=1) + "\n", disk, replace=True)
    return [stats, *write_pictures(_drawings(seen), out, disk)]


def statistics_of(loaded: Loaded) -> list[dict[str, Any]]:
    """Return a row for each temperature, with the names that earlier programs had; `values` are the frames' levels."""
    rows, evaluated = loaded.said["inputs"], {row["temperature_c"]: row for row in loaded.said["evaluation"]}
    found = []
    for label in sorted({row["label_c"] for row in rows}):
        some = [row for row in rows if row["label_c"] == label]
        celsius = [row["temperature_c"] for row in some]
        found.append({
            "temperature": label,
            "temperature_mean": float(np.mean(celsius)),
            "temperature_std": float(np.std(celsius)),
            "mean_adu": evaluated[label]["mean_adu"],
            "std_adu": evaluated[label]["std_adu"],
            "frames": len(some),
            "values": [row["level_adu"] for row in some],
        })  # fmt: skip
    return found


def _seen(loaded: Loaded) -> _Seen:
    p = loaded.model.basis.size
    names = [*LETTERS[:p], *covariance_names(p), "NOISE", "CHI2", "MASK"]
    sources = {name: plane_of(loaded.planes, name) for name in names}
    labels = sorted({row["label_c"] for row in loaded.said["inputs"]})
    masters = {t: plane_of(loaded.folder / master_name(t), "MEAN") for t in labels}
    return _Seen(
        loaded=loaded,
        planes={name: thin(source) for name, source in sources.items()},
        masters={t: thin(source) for t, source in masters.items()},
        shape=sources["A"].location.shape,
    )


def _drawings(seen: _Seen) -> "Iterator[tuple[str, Callable[[], Figure]]]":
    yield "mean_vs_temperature.png", lambda: _levels(seen)
    yield "maps.png", lambda: _maps(seen)
    yield "histograms.png", lambda: _histograms(seen)
    if seen.loaded.said["holdout"]:
        yield "holdout.png", lambda: _holdout(seen)
    for label in seen.masters:
        yield f"detail_T{label:.1f}.png", lambda label=label: _detail(seen, label)  # type: ignore[misc]
    yield from chain.from_iterable(_evaluated(seen, label) for label in seen.masters)
    yield f"{EVALUATION}/evaluation_summary.png", lambda: _summary(seen)


def _evaluated(seen: _Seen, label: float) -> "Iterator[tuple[str, Callable[[], Figure]]]":
    """Yield the pictures of a temperature that earlier programs had."""
    real, made = seen.masters[label], seen.predicted(label)
    away = np.abs(real - made)
    relative = 100 * away / np.maximum(np.abs(real), 1e-8)
    pictures = {
        "real_bias": (real, "measured [ADU]"),
        "synthetic_bias": (made, "by the model [ADU]"),
        "mae": (away, "absolute difference [ADU]"),
        "mape": (relative, "absolute difference [%]"),
    }
    for name, (image, words) in pictures.items():
        title = f"{label:.1f} °C: {words}"

        def draw(image: NDArray[Any] = image, title: str = title) -> "Figure":
            return map_alone(image, title, seen.shape)

        yield f"{EVALUATION}/{name}_{label:.1f}C.png", draw


def _levels(seen: _Seen) -> "Figure":
    """Draw the frames' levels with the model, and below what is left of them."""
    loaded = seen.loaded
    model, rows = loaded.model, loaded.said["inputs"]
    celsius = np.array([row["temperature_c"] for row in rows])
    level = np.array([row["level_adu"] for row in rows])
    sessions = list(loaded.said["model"]["sessions"])
    offsets = np.array([model.level.offsets_adu[sessions.index(row["session"])] for row in rows])
    theta = np.array(model.level.theta)
    span = max(model.warmest_c - model.coldest_c, 2.0)
    line = np.linspace(model.coldest_c - 0.1 * span, model.warmest_c + 0.1 * span, 200)
    figure, axes = new_figure(8.0, 6.4, rows=2)
    top, bottom = axes[0, 0], axes[1, 0]
    inside = (line >= model.coldest_c) & (line <= model.warmest_c)
    top.plot(line, model.basis.design(line) @ theta, color=FAINT, linewidth=1, linestyle="--", label="extrapolated")
    top.plot(line[inside], (model.basis.design(line) @ theta)[inside], color=INK, linewidth=1.5, label="model")
    top.plot(celsius, level, ".", color=MARK, markersize=5, label="frames")
    top.legend(fontsize=8, frameon=False)
    dress(top, f"Level of the biases: {model.basis.family.value} in temperature", "", "Level [ADU]")
    rest = level - model.basis.design(celsius) @ theta
    bottom.axhline(0, color=INK, linewidth=1)
    bottom.margins(y=0.25)  # room for the legend
    if len(sessions) > 1:
        bottom.plot(celsius, rest, ".", color=FAINT, markersize=5, label="frames less the model")
        bottom.plot(
            celsius, rest - offsets, ".", color=MARK, markersize=5, label="and less the offset of their session"
        )
        bottom.legend(fontsize=8, frameon=False)
    else:
        bottom.plot(celsius, rest, ".", color=MARK, markersize=5)
    bottom.set_xlim(top.get_xlim())
    dress(bottom, "Residuals", "Temperature of the sensor [°C]", "Frames less the model [ADU]")
    return figure


def _maps(seen: _Seen) -> "Figure":
    p = seen.loaded.model.basis.size
    chosen = [(seen.planes[letter], _UNITS[letter]) for letter in LETTERS[:p]]
    chosen += [(np.sqrt(seen.planes["COV_AA"]), "1σ of A [ADU]"), (seen.planes["NOISE"], "noise of a frame [ADU]")]
    if np.isfinite(seen.planes["CHI2"]).any():
        chosen.append((seen.planes["CHI2"], "reduced chi-square of the groups"))
    rows = -(-len(chosen) // 2)
    figure, axes = new_figure(10.5, rows * height_for(seen.shape, 5.0), rows=rows, columns=2)
    for place, (image, title) in zip(axes.flat, chosen, strict=False):
        show_map(figure, place, image, title, seen.shape)
    for place in axes.flat[len(chosen) :]:
        place.set_axis_off()
    return figure


def _histograms(seen: _Seen) -> "Figure":
    p, planes = seen.loaded.model.basis.size, seen.planes
    chosen = [(planes[letter], _UNITS[letter]) for letter in LETTERS[:p]]
    chosen.append((planes["NOISE"], "noise of a frame [ADU]"))
    figure, axes = new_figure(4.0 * len(chosen), 3.2, columns=len(chosen))
    bad = (planes["MASK"] & ModelBit.MISFIT) != 0
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
        figure.legend(
            *axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2, fontsize=8, frameon=False
        )
    return figure


def _holdout(seen: _Seen) -> "Figure":
    """Draw how each family predicts the temperatures that were left out, with what noise makes of it."""
    figure, axes = new_figure(8.0, 6.0, rows=2)
    rows = seen.loaded.said["holdout"]
    chosen = seen.loaded.model.basis.family.value
    colours = {"linear": INK, "quadratic": MARK, "exponential": "#5b8c5a"}
    for family in dict.fromkeys(row["family"] for row in rows):
        some = [row for row in rows if row["family"] == family]
        celsius = [row["temperature_c"] for row in some]
        label = f"{family}, chosen" if family == chosen else family
        style = {"color": colours.get(family, FAINT), "linewidth": 2.0 if family == chosen else 1.0}
        axes[0, 0].plot(celsius, column(some, "pattern_adu"), "o-", markersize=4, label=label, **style)
        axes[0, 0].plot(celsius, column(some, "expected_adu"), ":", **style)
        axes[1, 0].plot(celsius, column(some, "level_adu"), "o-", markersize=4, label=label, **style)
    dress(axes[0, 0], "Each temperature predicted from the others: pixels (dotted: by noise alone)", "", "rms [ADU]")
    axes[0, 0].legend(fontsize=8, frameon=False)
    axes[1, 0].axhline(0, color=FAINT, linewidth=0.8)
    dress(axes[1, 0], "and level", "Temperature left out [°C]", "Measured less predicted [ADU]")
    return figure


def _detail(seen: _Seen, label: float) -> "Figure":
    """Draw a temperature: the mean of its frames, the model less it, and how the differences are distributed."""
    real = seen.masters[label]
    away = real - seen.predicted(label)
    figure, axes = new_figure(13.0, height_for(seen.shape, 4.2), columns=3)
    show_map(figure, axes[0, 0], real, f"{label:.1f} °C: mean of the frames [ADU]", seen.shape)
    show_map(figure, axes[0, 1], away, "less the model [ADU]", seen.shape)
    values = away[np.isfinite(away)]
    reach = float(np.percentile(np.abs(values), 99.5)) if values.size else 1.0
    axes[0, 2].hist(values, bins=np.linspace(-reach or -1, reach or 1, bins_of(values)), color=INK)
    if values.size:
        axes[0, 2].set_yscale("log")
    axes[0, 2].set_title("differences of single pixels", loc="left", fontsize=9)
    axes[0, 2].set_xlabel("ADU", fontsize=9)
    axes[0, 2].tick_params(labelsize=8)
    return figure


def _summary(seen: _Seen) -> "Figure":
    """Draw the errors of all temperatures: of the model itself, and of predictions from the other temperatures."""
    labels = list(seen.masters)
    own = [float(np.nanmean(np.abs(seen.masters[t] - seen.predicted(t)))) for t in labels]
    held = {row["temperature_c"]: row for row in seen.loaded.said["evaluation"]}
    figure, axes = new_figure(8.0, 4.0)
    axes[0, 0].plot(labels, own, "o-", color=INK, markersize=4, label="the model, which has seen them")
    left_out = [math.nan if held[t]["mae_adu"] is None else held[t]["mae_adu"] for t in labels]
    if np.isfinite(left_out).any():
        axes[0, 0].plot(labels, left_out, "s-", color=MARK, markersize=4, label="predicted from the other temperatures")
    axes[0, 0].set_ylim(bottom=0)
    dress(axes[0, 0], "Mean absolute difference", "Temperature of the sensor [°C]", "MAE [ADU]")
    axes[0, 0].legend(fontsize=8, frameon=False)
    return figure
