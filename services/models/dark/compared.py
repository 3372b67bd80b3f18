"""The pictures of a dark model that was held against frames, under the names that earlier programs had."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.files.disk import REAL_DISK, Disk
from services.models.dark.evaluate import Evaluated, Seen, by_exposure
from services.models.dark.files import exposure_folder
from services.models.drawing import COLOURS, FAINT, INK, MARK, dress, new_figure, write_pictures
from services.models.products import decimal_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Drawing = tuple[str, Callable[[], Figure]]

_CLASSES = {
    "all": (0.0, np.inf, "all pixels"),
    "mape_less_100": (0.0, 100.0, "pixels that are less than 100 % off"),
    "mape_100_200": (100.0, 200.0, "pixels that are 100 to 200 % off"),
    "mape_over_200": (200.0, np.inf, "pixels that are more than 200 % off"),
}


def compared(evaluated: Evaluated, out: Path, disk: Disk = REAL_DISK) -> list[Path]:
    """Draw a model beside the frames that it was held against; return the files.

    Raises
    ------
    StorageError
        The disk is full, or the folder cannot be written.
    """
    return write_pictures([*one_d(evaluated.exposed), *two_d(evaluated.exposed)], out, disk)


def against_temperature(seen: Sequence[Seen]) -> "Iterator[Drawing]":
    """Yield the dark current against temperature, for each exposure."""
    for exposure_s, some in by_exposure(seen).items():
        yield f"{exposure_folder(exposure_s)}/dark_current_vs_temperature.png", _bound(_against_temperature, some)


def one_d(seen: Sequence[Seen]) -> "Iterator[Drawing]":
    """Yield the pictures of each exposure."""
    for exposure_s, some in by_exposure(seen).items():
        folder = exposure_folder(exposure_s)
        for name in _CLASSES:
            yield f"{folder}/model_evaluation_masks_{name}.png", _bound(_scatter, some, name)
    yield from against_temperature(seen)


def two_d(seen: Sequence[Seen]) -> "Iterator[Drawing]":
    """Yield the pictures of temperatures and exposures together."""
    for name, (title, values) in _HEATED.items():
        yield f"heatmap_{name}_2d.png", _bound(_heatmap, seen, title, values)
    folder = "plots_2d_comparison"
    for exposure_s, some in by_exposure(seen).items():
        yield f"{folder}/line_compare_e{decimal_text(exposure_s, 2)}.png", _bound(_against_temperature, some)
    for celsius in sorted({each.shot.label_c for each in seen}):
        at = tuple(each for each in seen if each.shot.label_c == celsius)
        yield f"{folder}/scatter_t{decimal_text(celsius, 2)}.png", _bound(_scatter, at, "all")


def _bound(draw: "Callable[..., Figure]", *args: object) -> "Callable[[], Figure]":
    return lambda: draw(*args)


def _off(each: Seen) -> NDArray[np.float64]:
    """Return how far pixels are off, in percent."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.abs(each.predicted - each.measured) / np.abs(each.measured) * 100


def _scatter(seen: Sequence[Seen], name: str) -> "Figure":
    """Draw measured against predicted dark currents of pixels."""
    least, most, words = _CLASSES[name]
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 5.4), dpi=110)  # a layout that is worked out takes longer than the rest of it
    axis, total, every = figure.subplots(), 0, 0
    figure.subplots_adjust(left=0.13, right=0.97, bottom=0.1, top=0.93)
    reach = [np.inf, -np.inf]
    for colour, each in zip(_cycled(len(seen)), seen, strict=True):
        known = np.isfinite(each.measured) & np.isfinite(each.predicted)
        off = _off(each)
        at = known & (off >= least) & (off < most) if name != "all" else known
        total, every = total + int(at.sum()), every + int(known.sum())
        label = f"{each.shot.label_c:.1f} °C, {each.shot.exposure_s:g} s"
        axis.plot(each.measured[at], each.predicted[at], ".", color=colour, markersize=2.5, label=label)
        if at.any():
            both = np.concatenate([each.measured[at], each.predicted[at]])
            reach = [min(reach[0], float(both.min())), max(reach[1], float(both.max()))]
    if total:
        _square(axis, reach)
        axis.legend(fontsize=8, frameon=False, markerscale=4)
    else:
        axis.text(0.5, 0.5, "none", ha="center", transform=axis.transAxes, color=FAINT)
    title = f"{words[0].upper()}{words[1:]}: {total} of {every} that are drawn"
    dress(axis, title, "Measured [ADU/s]", "Predicted [ADU/s]")
    return figure


def _square(axis: "Axes", reach: Sequence[float]) -> None:
    """Give both axes one scale that is linear about 0 and logarithmic beyond, with the line of equality."""
    low, high = reach
    near = 10.0 ** np.ceil(np.log10(max(abs(high), abs(low), 1e-6)) - 2)
    axis.set_xscale("symlog", linthresh=near)
    axis.set_yscale("symlog", linthresh=near)
    line = np.array([low, high])
    axis.plot(line, line, color=FAINT, linewidth=1, zorder=0)
    axis.set_xlim(low - 0.2 * near, high * 1.2)
    axis.set_ylim(low - 0.2 * near, high * 1.2)


def _cycled(number: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(number)]


def _against_temperature(seen: Sequence[Seen]) -> "Figure":
    """Draw the median dark current against temperature, measured and predicted, and below it their ratio."""
    figure, axes = new_figure(6.4, 5.6, rows=2)
    top, bottom = axes[0, 0], axes[1, 0]
    celsius = [each.shot.temperature_c for each in seen]
    real, made = np.array([each.real for each in seen]), np.array([each.synthetic for each in seen])
    top.plot(celsius, real, "o", color=MARK, markersize=5, label="frames")
    top.plot(celsius, made, "-" if len(seen) > 1 else "_", color=INK, linewidth=1.2, markersize=14, label="model")
    if len(seen) > 1 and np.nanmin(real, initial=np.inf) > 0 and np.nanmin(made, initial=np.inf) > 0:
        top.set_yscale("log")
    top.legend(fontsize=8, frameon=False)
    dress(top, f"Median dark current of darks of {seen[0].shot.exposure_s:g} s", "", "Dark current [ADU/s]")
    with np.errstate(divide="ignore", invalid="ignore"):
        bottom.plot(celsius, 100 * (made / real - 1), "o-", color=MARK, markersize=4)
    bottom.axhline(0, color=FAINT, linewidth=0.8)
    bottom.margins(y=0.3)
    dress(bottom, "Predicted over measured", "Temperature of the sensor [°C]", "Difference [%]")
    return figure


_HEATED: "dict[str, tuple[str, Callable[[Seen], float]]]" = {
    "mae": ("Mean absolute difference of the pixels [ADU/s]", lambda each: each.mae),
    "mape": ("The same in percent, of pixels that are seen to 3σ", lambda each: each.mape_pct),
    "dark_real": ("Median dark current of the frames [ADU/s]", lambda each: each.real),
    "dark_synthetic": ("Median dark current of the model [ADU/s]", lambda each: each.synthetic),
}


def _heatmap(seen: Sequence[Seen], title: str, value: Callable[[Seen], float]) -> "Figure":
    """Draw a value for each temperature and exposure, with its number."""
    temperatures = sorted({each.shot.label_c for each in seen})
    exposures = sorted({each.shot.exposure_s for each in seen})
    cells = np.full((len(temperatures), len(exposures)), np.nan)
    for each in seen:
        cells[temperatures.index(each.shot.label_c), exposures.index(each.shot.exposure_s)] = value(each)
    figure, axes = new_figure(max(5.0, 2.4 + 0.8 * len(exposures)), max(3.0, 1.6 + 0.45 * len(temperatures)))
    axis = axes[0, 0]
    shown = axis.imshow(cells, cmap="Blues", aspect="auto", origin="lower")
    limits = shown.get_clim()
    for (row, column), number in np.ndenumerate(cells):
        if np.isfinite(number):
            dark = number > 0.5 * (limits[0] + limits[1])
            text = f"{number:.3g}"
            axis.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axis.set_xticks(range(len(exposures)), [f"{e:g}" for e in exposures], fontsize=8)
    axis.set_yticks(range(len(temperatures)), [f"{t:.1f}" for t in temperatures], fontsize=8)
    axis.set_xlabel("Exposure [s]", fontsize=9)
    axis.set_ylabel("Temperature [°C]", fontsize=9)
    axis.set_title(title, loc="left", fontsize=9)
    figure.colorbar(shown, ax=axis).ax.tick_params(labelsize=7)
    return figure
