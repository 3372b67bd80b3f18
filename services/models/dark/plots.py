"""The plots of a dark model: its maps, its activation energies, what it leaves, and the temperatures left out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from calibration.models.dark.model import BOLTZMANN_EV_K, ZERO_C_K, DarkBit, Law, Parameters, predict
from services.bands import Source, bands_of, plane_of, read_rows, rows_for
from services.models.dark.bands import Shot, covariance_names
from services.models.dark.files import mask_name
from services.models.dark.records import Loaded, held_out_of
from services.models.drawing import (
    COLOURS,
    FAINT,
    INK,
    MARK,
    Plot,
    bins_of,
    column,
    dress,
    height_for,
    histograms,
    images,
    new_figure,
    residuals,
    thin,
)
from services.words import count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TICKS = (-100, -50, -20, -10, -5, -2, 0, 2, 5, 10, 20, 50, 100)
_MOST_DOTS = 20_000
"""Pixels that are drawn as dots of one colour."""

_LEVELS = (0.0, 50.0, 90.0, 99.0, 100.0)
"""Percentiles of the dark current between which pixels are put together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A model as it is drawn: planes thinned out, and the means of its darks in ADU/s with their errors."""

    loaded: Loaded
    planes: Mapping[str, NDArray[Any]]
    means: Mapping[Shot, NDArray[Any]]
    sigmas: Mapping[Shot, NDArray[Any]]
    shape: tuple[int, int]

    def signal(self, celsius: float, exposure_s: float) -> NDArray[np.float64]:
        """Return the signal that the model predicts, thinned out, in ADU."""
        law = self.loaded.model.law
        theta = np.stack([self.planes[name] for name in law.names]).astype(np.float64)
        covariance = np.stack([self.planes[name] for name in covariance_names(law)]).astype(np.float64)
        found = predict(self.loaded.model, Parameters(theta=theta, covariance=covariance), celsius, exposure_s)
        return found.mean.astype(np.float64)

    def rate(self, celsius: float) -> NDArray[np.float64]:
        """Return the dark current in the longest exposure, in ADU/s."""
        seconds = self.loaded.model.longest_s
        return self.signal(celsius, seconds) / seconds

    def energy(self) -> NDArray[np.float64]:
        """Return the activation energy of each pixel between the ends of the range, in eV; NaN without a slope."""
        model = self.loaded.model
        cold, warm = model.coldest_c + ZERO_C_K, model.warmest_c + ZERO_C_K
        with np.errstate(divide="ignore", invalid="ignore"):
            rise = np.log(self.rate(model.warmest_c) / self.rate(model.coldest_c))
            return np.asarray(rise * BOLTZMANN_EV_K / (1 / np.float64(cold) - 1 / np.float64(warm)))

    def pulls(self, shot: Shot) -> NDArray[np.float64]:
        """Return measured less modelled signal over its error."""
        model = self.signal(shot.temperature_c, shot.exposure_s)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((self.means[shot] * shot.exposure_s - model) / (self.sigmas[shot] * shot.exposure_s))


def seen_of(loaded: Loaded) -> Seen:
    """Read the planes of a model and the means of its darks, thinned out."""
    law = loaded.model.law
    names = [*law.names, *covariance_names(law), "NOISE", "CHI2", "MASK"]
    shots = [shot for shot in loaded.shots if shot.exposure_s > 0]
    files = {shot: loaded.folder / mask_name(shot) for shot in shots}
    return Seen(
        loaded=loaded,
        planes={name: thin(plane_of(loaded.planes, name)) for name in names},
        means={shot: thin(plane_of(path, "MEAN")) for shot, path in files.items()},
        sigmas={shot: thin(plane_of(path, "SIGMA")) for shot, path in files.items()},
        shape=plane_of(loaded.planes, "MASK").location.shape,
    )


def current_plots(seen: Seen) -> Iterator[Plot]:
    """Yield the plots of the dark against temperature and exposure."""
    yield Plot(
        name="arrhenius.png",
        draw=lambda: _arrhenius(seen),
        title="Dark current against temperature",
        caption="Medians of pixels of like dark current: dots are means of frames, lines the model. A line that leaves "
        "its dots shows a dependence on temperature that the family does not have.",
    )
    for name, title, x, of in (
        ("residuals_temperature.png", "Residuals against temperature", "Temperature of the sensor [°C]", "label_c"),
        ("residuals_exposure.png", "Residuals against exposure", "Exposure [s]", "exposure_s"),
    ):
        yield Plot(
            name=name,
            draw=lambda title=title, x=x, of=of: _residuals(seen, title, x, of),  # type: ignore[misc]
            title=title,
            caption="Means of frames less the model, in standard deviations of their noise: medians near 0 and 68 % "
            "within ± 1 where the model is right.",
        )


def _residuals(seen: Seen, title: str, x: str, of: str) -> "Figure":
    groups: dict[float, list[NDArray[np.float64]]] = {}
    for shot in seen.means:
        groups.setdefault(getattr(shot, of), []).append(seen.pulls(shot).ravel())
    pulls = {place: np.concatenate(some) for place, some in groups.items()}
    figure = residuals(pulls, title, x, "Frames less the model [σ]")
    places = np.array(sorted(pulls))
    if of == "exposure_s" and places[0] > 0 and places[-1] > 20 * places[0]:
        figure.axes[0].set_xscale("log")
    return figure


def _crowds(seen: Seen) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield pixels of like dark current, from faint to hot, with their name."""
    rate = seen.rate(seen.loaded.model.warmest_c)
    hot = (seen.planes["MASK"] & DarkBit.HOT) != 0
    usual = np.isfinite(rate) & ~hot
    if usual.any():
        edges = np.percentile(rate[usual], _LEVELS)
        for low, high, first, last in zip(edges[:-1], edges[1:], _LEVELS[:-1], _LEVELS[1:], strict=True):
            at = usual & (rate >= low) & (rate <= high)
            if at.any():
                yield f"{first:g} to {last:g} % of the others" if hot.any() else f"{first:g} to {last:g} %", at
    if (hot & np.isfinite(rate)).any():
        yield "hot pixels", hot & np.isfinite(rate)


def _arrhenius(seen: Seen) -> "Figure":
    """Draw the dark current of crowds of pixels against 1/kT, on a logarithmic scale."""
    model = seen.loaded.model
    figure, axes = new_figure(6.4, 5.0)
    axis = axes[0, 0]
    span = max(model.warmest_c - model.coldest_c, 2.0)
    line = np.linspace(model.coldest_c - 0.1 * span, model.warmest_c + 0.1 * span, 41)
    rates = [seen.rate(float(celsius)) for celsius in line]
    for colour, (name, at) in zip(COLOURS, _crowds(seen), strict=False):
        made = np.array([np.nanmedian(rate[at]) for rate in rates])
        axis.plot(_inverse(line), np.where(made > 0, made, np.nan), color=colour, linewidth=1.3, label=name)
        for shot, plane in seen.means.items():
            values = plane[at]
            if np.isfinite(values).mean() > 0.9 and (middle := float(np.nanmedian(values))) > 0:
                axis.plot(_inverse(shot.temperature_c), middle, "o", color=colour, markersize=4)
    axis.set_yscale("log")
    axis.set_xlim(_inverse(line[0]), _inverse(line[-1]))  # cold at the left, also where nothing is drawn
    above = axis.secondary_xaxis(
        "top", functions=(lambda x: 1 / (BOLTZMANN_EV_K * x) - ZERO_C_K, lambda t: _inverse(np.asarray(t)))
    )
    above.set_xlabel("Temperature of the sensor [°C]", fontsize=9)
    above.tick_params(labelsize=8)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=8, frameon=False)
    dress(axis, "", "1 / kT [1/eV]", "Dark current [ADU/s]")
    axis.spines["top"].set_visible(True)
    return figure


def _inverse(celsius: Any) -> Any:
    return 1 / (BOLTZMANN_EV_K * (celsius + ZERO_C_K))


def holdout_plots(seen: Seen) -> Iterator[Plot]:
    """Yield the plots of how well temperatures are predicted that were left out."""
    if held_out_of(seen.loaded.said):
        yield Plot(
            name="holdout.png",
            draw=lambda: _holdout(seen),
            title="Temperatures predicted from the others, by level of dark",
            caption="Predicted over measured less 1; bars are what noise makes of it. Only levels that the frames show "
            "to three standard deviations. Open: the coldest and the warmest, predicted from one side.",
        )
        yield Plot(
            name="families.png",
            draw=lambda: _families(seen),
            title="All families at the same temperatures and levels",
            caption="Each dot is one temperature and level within the range; bars are means of their absolute values.",
        )


def _holdout(seen: Seen) -> "Figure":
    rows = [row for row in held_out_of(seen.loaded.said) if row["counts"]]
    figure, axes = new_figure(6.4, 4.2)
    axis = axes[0, 0]
    for number, celsius in enumerate(sorted({row["temperature_c"] for row in rows})):
        some = [row for row in rows if row["temperature_c"] == celsius]
        error, sigma = 100 * np.array(column(some, "error")), 100 * np.abs(column(some, "sigma"))
        colour = COLOURS[number % len(COLOURS)]
        face = colour if some[0]["inside"] else "white"
        axis.errorbar(
            column(some, "level_adu"),
            error,
            yerr=sigma,
            fmt="o",
            color=colour,
            markerfacecolor=face,
            markersize=4,
            elinewidth=0.8,
            label=f"{celsius:.1f} °C",
        )
    if not rows:
        axis.text(0.5, 0.5, "no level stands out of the noise", ha="center", transform=axis.transAxes, color=FAINT)
    else:
        axis.set_xscale("log")
        axis.set_yscale("symlog", linthresh=5, linscale=2)  # one faint level must not flatten all others
        shown = axis.get_ylim()
        axis.set_yticks(_TICKS, [f"{each:g}" for each in _TICKS])
        axis.set_ylim(shown)
        axis.legend(fontsize=8, frameon=False, ncols=2)
    axis.axhspan(-5, 5, color=FAINT, alpha=0.12, linewidth=0)
    axis.axhline(0, color=FAINT, linewidth=0.8)
    dress(axis, "Shaded: within 5 %", "Dark signal [ADU]", "Predicted over measured − 1 [%]")
    return figure


def _families(seen: Seen) -> "Figure":
    rows = [row for row in seen.loaded.said["holdout"] if row["counts"] and row["inside"]]
    rows = rows or [row for row in seen.loaded.said["holdout"] if row["counts"]]
    names = list(dict.fromkeys((row["family"], row["glow"]) for row in rows))
    chosen = seen.loaded.said["model"]["law"]
    figure, axes = new_figure(6.4, 1.4 + 0.45 * max(len(names), 1))
    axis = axes[0, 0]
    for place, (family, glows) in enumerate(names):
        some = [row for row in rows if (row["family"], row["glow"]) == (family, glows)]
        error = np.abs(100 * np.array(column(some, "error")))
        is_chosen = family == chosen["family"] and glows == (chosen["glow_s"] is not None)
        axis.plot(np.maximum(error, 0.01), np.full(error.size, place), ".", color=FAINT, markersize=5)
        axis.plot([error.mean()] * 2, [place - 0.35, place + 0.35], color=MARK if is_chosen else INK, linewidth=3)
    labels = [f"{family.replace('_', ' ')}{' with glow' if glows else ''}" for family, glows in names]
    axis.set_xscale("log")
    dress(axis, "Orange: the chosen one", "Predicted over measured − 1, absolute [%]", "")
    axis.set_yticks(range(len(names)), labels, fontsize=8)
    axis.invert_yaxis()
    return figure


def pixel_plots(seen: Seen) -> Iterator[Plot]:
    """Yield the plots of the pixels: maps, dark currents, activation energies."""
    yield Plot(
        name="maps.png",
        draw=lambda: _maps(seen),
        title="Maps",
        caption="Glow shows at edges and corners; a cluster of hot pixels as a spot.",
        wide=True,
    )
    yield Plot(
        name="hot_pixels.png",
        draw=lambda: _marked(seen),
        title="Hot pixels, and pixels that the model does not fit",
        caption="Single pixels lie anywhere; a spot, a column or an edge of them is a defect of the sensor or light.",
    )
    yield Plot(
        name="dark_current_histogram.png",
        draw=lambda: _currents(seen),
        title="Dark currents",
        caption="At the reference temperature. The tail on the right are hot pixels.",
    )
    if seen.loaded.model.warmest_c > seen.loaded.model.coldest_c:
        yield Plot(
            name="activation_energy.png",
            draw=lambda: _energies(seen),
            title="Activation energies",
            caption="Between the coldest and the warmest frames. Faint pixels of silicon lie near 1 eV where diffusion "
            "rules, near 0.6 eV where depletion does; they fall with the dark current.",
        )
    yield Plot(
        name="histograms.png",
        draw=lambda: _histograms(seen),
        title="Noise and chi-square of the pixels",
        caption="Where the model is right the reduced chi-square is near 1.",
        wide=True,
    )


def units_of(law: Law) -> tuple[str, ...]:
    """Return the units of a law's parameters as people write them; FITS has adu."""
    return tuple(unit.replace("adu", "ADU") for unit in law.units)


def _maps(seen: Seen) -> "Figure":
    law = seen.loaded.model.law
    reference = f"{law.reference_c:.1f} °C"
    first = covariance_names(law)[0]
    chosen = [(seen.rate(law.reference_c), f"dark current at {reference} [ADU/s]")]
    units = units_of(law)
    chosen += [(np.sqrt(seen.planes[first]), f"1σ of {law.names[0]} [{units[0]}]")]
    chosen += [(seen.planes[name], f"{name} [{unit}]") for name, unit in zip(law.names[1:], units[1:], strict=True)]
    if np.isfinite(seen.planes["CHI2"]).any():
        chosen.append((seen.planes["CHI2"], "reduced chi-square of the groups"))
    return images(chosen, seen.shape)


def _marked(seen: Seen) -> "Figure":
    """Draw where pixels of the whole mask are marked: as dots, since the image is smaller than the sensor."""
    height, width = seen.shape
    figure, axes = new_figure(6.4, height_for(seen.shape, 6.4) + 0.5)
    axis = axes[0, 0]
    for bit, colour, words in ((DarkBit.HOT, MARK, "hot"), (DarkBit.MISFIT, INK, "not fitted")):
        y, x = _places(plane_of(seen.loaded.planes, "MASK"), bit)
        step = max(1, -(-y.size // _MOST_DOTS))
        shown = f", one in {step} is drawn" if step > 1 else ""
        size = 5 if y.size < 500 else 2
        face = colour if bit is DarkBit.HOT else "none"
        axis.plot(
            x[::step] + 0.5, y[::step] + 0.5, "o", color=colour, markerfacecolor=face,
            markersize=size if bit is DarkBit.HOT else size + 3, markeredgewidth=0.8,
            label=f"{words}: {count(y.size, 'pixel')}{shown}",
        )  # fmt: skip
    axis.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    axis.legend(fontsize=8, frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0.0, 1.0))
    dress(axis, "", "Column [pixels]", "Row [pixels]")
    return figure


def _places(mask: Source, bit: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of the pixels of a mask that have a bit."""
    height, width = mask.location.shape
    rows: list[NDArray[np.intp]] = []
    columns: list[NDArray[np.intp]] = []
    for band in bands_of(height, rows_for(memory_mb=32, frames=2, columns=width, workers=1)):
        y, x = np.nonzero(read_rows(mask, band) & bit)
        rows.append(y + band.start)
        columns.append(x)
    return np.concatenate(rows), np.concatenate(columns)


def _currents(seen: Seen) -> "Figure":
    model = seen.loaded.model
    rate = seen.rate(model.law.reference_c)
    values = rate[np.isfinite(rate)]
    figure, axes = new_figure(6.4, 3.6)
    axis = axes[0, 0]
    near = max(float(np.median(np.abs(values))) / 10, 1e-6) if values.size else 1.0
    if values.size:
        scaled = np.arcsinh(values / near)
        edges = near * np.sinh(np.linspace(scaled.min() - 1e-6, scaled.max() + 1e-6, bins_of(values)))
        axis.hist(values, bins=edges, color=INK)
        axis.set_yscale("log")
        if values.min() > 0:
            axis.set_xscale("log")
        else:
            axis.set_xscale("symlog", linthresh=10 ** np.ceil(np.log10(near)))
    if np.isfinite(model.hot_above):
        axis.axvline(model.hot_above, color=MARK, linewidth=1, label="hot from here on")
        axis.legend(fontsize=8, frameon=False)
    dress(axis, "", f"Dark current at {model.law.reference_c:.1f} °C [ADU/s]", "Pixels")
    return figure


def _energies(seen: Seen) -> "Figure":
    """Draw the activation energies of the pixels, and how they depend on the dark current."""
    model = seen.loaded.model
    energy, rate = seen.energy().ravel(), seen.rate(model.law.reference_c).ravel()
    known = np.isfinite(energy) & (rate > 0)
    figure, axes = new_figure(6.4, 6.0, rows=2)
    top, bottom = axes[0, 0], axes[1, 0]
    values = energy[known]
    if values.size:
        low, high = np.percentile(values, (0.1, 99.9))
        top.hist(values, bins=np.linspace(low - 0.02, high + 0.02, bins_of(values)), color=INK)
        top.set_yscale("log")
        some = slice(None, None, max(1, -(-values.size // _MOST_DOTS)))  # of the whole sensor, not of its first rows
        bottom.plot(rate[known][some], values[some], ".", color=INK, markersize=2)
        bottom.set_xscale("log")
        bottom.set_ylim(low - 0.1, high + 0.1)
    dress(top, "", "Activation energy [eV]", "Pixels")
    dress(bottom, "", f"Dark current at {model.law.reference_c:.1f} °C [ADU/s]", "Activation energy [eV]")
    return figure


def _histograms(seen: Seen) -> "Figure":
    chosen = [(seen.planes["NOISE"], "noise of a frame without dark [ADU]")]
    if np.isfinite(seen.planes["CHI2"]).any():
        chosen.append((seen.planes["CHI2"], "reduced chi-square"))
    return histograms(chosen, (seen.planes["MASK"] & DarkBit.MISFIT) != 0)
