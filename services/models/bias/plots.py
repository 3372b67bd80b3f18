"""The plots of a bias model: its levels, its maps, the temperatures that were held out, and what is left of each."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from calibration.models.bias import Parameters, predict
from calibration.models.linear import ModelBit
from services.bands import plane_of
from services.models.bias.files import EVALUATION, master_name
from services.models.bias.fit import LETTERS, covariance_names
from services.models.bias.records import Loaded
from services.models.drawing import (
    FAINT,
    INK,
    MARK,
    THIRD,
    Plot,
    bins_of,
    column,
    dress,
    height_for,
    histograms,
    images,
    map_alone,
    new_figure,
    residuals,
    show_map,
    thin,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNITS = {"A": "bias at the reference [ADU]", "B": "slope [ADU / °C]", "C": "third parameter"}
"""What the planes of parameters are called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
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


def seen_of(loaded: Loaded) -> Seen:
    """Read the planes of a model, thinned out."""
    p = loaded.model.basis.size
    names = [*LETTERS[:p], *covariance_names(p), "NOISE", "CHI2", "MASK"]
    sources = {name: plane_of(loaded.planes, name) for name in names}
    labels = sorted({row["label_c"] for row in loaded.said["inputs"]})
    masters = {t: plane_of(loaded.folder / master_name(t), "MEAN") for t in labels}
    return Seen(
        loaded=loaded,
        planes={name: thin(source) for name, source in sources.items()},
        masters={t: thin(source) for t, source in masters.items()},
        shape=sources["A"].location.shape,
    )


def level_plots(seen: Seen) -> Iterator[Plot]:
    """Yield the plots of what the frames show of temperature: levels, residuals, sessions."""
    yield Plot(
        name="mean_vs_temperature.png",
        draw=lambda: _levels(seen),
        title="Level against temperature",
        caption="What all pixels of a frame have in common, and below it what the model leaves of it.",
    )
    yield Plot(
        name="residuals.png",
        draw=lambda: residuals(
            {label: real - seen.predicted(label) for label, real in seen.masters.items()},
            "Pixels: mean of the frames less the model",
            "Temperature of the sensor [°C]",
            "Residual [ADU]",
        ),
        title="Residuals of the pixels against temperature",
        caption="A curve in the medians is a dependence on temperature that the family does not have; long bars are "
        "pixels that it does not fit.",
    )
    if len(seen.loaded.said["model"]["sessions"]) > 1:
        yield Plot(
            name="sessions.png",
            draw=lambda: _sessions(seen),
            title="Residuals of the levels by session",
            caption="Lines: the offset that the model gives to the session. Steps and trends are those of the camera’s "
            "electronics, not of temperature.",
        )


def holdout_plots(seen: Seen) -> Iterator[Plot]:
    """Yield the plots of how well temperatures are predicted."""
    if seen.loaded.said["holdout"]:
        yield Plot(
            name="holdout.png",
            draw=lambda: _holdout(seen),
            title="Temperatures predicted from the others",
            caption="The chosen family is the one with the smallest error at temperatures that it has not seen.",
        )
    yield Plot(
        name=f"{EVALUATION}/evaluation_summary.png",
        draw=lambda: _summary(seen),
        title="Mean absolute difference",
        caption="Of frames that the model has seen, and of those that it has not.",
    )


def map_plots(seen: Seen) -> Iterator[Plot]:
    """Yield maps and histograms of the planes."""
    yield Plot(name="maps.png", draw=lambda: _maps(seen), title="Maps", wide=True)
    yield Plot(name="histograms.png", draw=lambda: _histograms(seen), title="Histograms", wide=True)


def detail_plots(seen: Seen) -> Iterator[Plot]:
    """Yield a plot for each temperature."""
    for label in seen.masters:
        yield Plot(
            name=f"detail_T{label:.1f}.png",
            draw=lambda label=label: _detail(seen, label),  # type: ignore[misc]
            title=f"{label:.1f} °C",
            wide=True,
        )


def evaluated(seen: Seen, label: float) -> "Iterator[tuple[str, Callable[[], Figure]]]":
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


def _levels(seen: Seen) -> "Figure":
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
    made, axes = new_figure(6.4, 6.0, rows=2)
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
    return made


def _sessions(seen: Seen) -> "Figure":
    """Draw what the model leaves of the frames' levels, session after session, with the offsets of the sessions."""
    model, rows = seen.loaded.model, seen.loaded.said["inputs"]
    rest = np.array([row["level_adu"] for row in rows])
    rest -= model.basis.design([row["temperature_c"] for row in rows]) @ np.array(model.level.theta)
    made, axes = new_figure(6.4, 3.8)
    axis, start = axes[0, 0], 0
    names = list(seen.loaded.said["model"]["sessions"])
    middles = []
    for name, offset in zip(names, model.level.offsets_adu, strict=True):
        here = rest[[row["session"] == name for row in rows]]
        places = np.arange(start, start + here.size)
        axis.plot(places, here, ".", color=MARK, markersize=5)
        axis.plot([start - 0.4, start + here.size - 0.6], [offset, offset], color=INK, linewidth=1.5)
        middles.append(start + (here.size - 1) / 2)
        start += here.size + 1
    shown = slice(None, None, max(1, -(-len(names) // 8)))
    dress(axis, "Frames less the model, in the order of their sessions", "Session", "Level [ADU]")
    axis.set_xticks(middles[shown], names[shown], fontsize=7, rotation=20)
    axis.grid(visible=False, axis="x")
    return made


def _maps(seen: Seen) -> "Figure":
    p = seen.loaded.model.basis.size
    chosen = [(seen.planes[letter], UNITS[letter]) for letter in LETTERS[:p]]
    chosen += [(np.sqrt(seen.planes["COV_AA"]), "1σ of A [ADU]"), (seen.planes["NOISE"], "noise of a frame [ADU]")]
    if np.isfinite(seen.planes["CHI2"]).any():
        chosen.append((seen.planes["CHI2"], "reduced chi-square of the groups"))
    return images(chosen, seen.shape)


def _histograms(seen: Seen) -> "Figure":
    chosen = [(seen.planes[letter], UNITS[letter]) for letter in LETTERS[: seen.loaded.model.basis.size]]
    chosen.append((seen.planes["NOISE"], "noise of a frame [ADU]"))
    return histograms(chosen, (seen.planes["MASK"] & ModelBit.MISFIT) != 0)


def _holdout(seen: Seen) -> "Figure":
    """Draw how each family predicts the temperatures that were left out, with what noise makes of it."""
    made, axes = new_figure(6.4, 6.0, rows=2)
    rows = seen.loaded.said["holdout"]
    chosen = seen.loaded.model.basis.family.value
    colours = {"linear": INK, "quadratic": MARK, "exponential": THIRD}
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
    return made


def _detail(seen: Seen, label: float) -> "Figure":
    """Draw a temperature: the mean of its frames, the model less it, and how the differences are distributed."""
    real = seen.masters[label]
    away = real - seen.predicted(label)
    made, axes = new_figure(13.0, height_for(seen.shape, 4.2), columns=3)
    show_map(made, axes[0, 0], real, f"{label:.1f} °C: mean of the frames [ADU]", seen.shape)
    show_map(made, axes[0, 1], away, "less the model [ADU]", seen.shape)
    values = away[np.isfinite(away)]
    reach = float(np.percentile(np.abs(values), 99.5)) if values.size else 1.0
    axes[0, 2].hist(values, bins=np.linspace(-reach or -1, reach or 1, bins_of(values)), color=INK)
    if values.size:
        axes[0, 2].set_yscale("log")
    axes[0, 2].set_title("differences of single pixels", loc="left", fontsize=9)
    axes[0, 2].set_xlabel("ADU", fontsize=9)
    axes[0, 2].tick_params(labelsize=8)
    return made


def _summary(seen: Seen) -> "Figure":
    """Draw the errors of all temperatures: of the model itself, and of predictions from the other temperatures."""
    labels = list(seen.masters)
    own = [float(np.nanmean(np.abs(seen.masters[t] - seen.predicted(t)))) for t in labels]
    held = {row["temperature_c"]: row for row in seen.loaded.said["evaluation"]}
    made, axes = new_figure(6.4, 3.8)
    axes[0, 0].plot(labels, own, "o-", color=INK, markersize=4, label="the model, which has seen them")
    left_out = column([held[t] for t in labels], "mae_adu")
    if np.isfinite(left_out).any():
        axes[0, 0].plot(labels, left_out, "s-", color=MARK, markersize=4, label="predicted from the other temperatures")
    axes[0, 0].set_ylim(bottom=0)
    dress(axes[0, 0], "Mean absolute difference", "Temperature of the sensor [°C]", "MAE [ADU]")
    axes[0, 0].legend(fontsize=8, frameon=False)
    return made
