"""The plots of a flat model: vignetting, dust, gains of the pixels, their dependence on temperature and exposure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from calibration.models.flat.model import FlatParameters, Term, predict
from calibration.models.linear import ModelBit
from services.bands import plane_of
from services.files.units import Unreadable
from services.models.drawing import (
    FAINT,
    INK,
    MARK,
    Plot,
    column,
    dress,
    height_for,
    histograms,
    images,
    new_figure,
    residuals,
    show_map,
    thin,
)
from services.models.flat.files import FACTORS, master_name
from services.models.flat.fit import Label, covariance_names
from services.models.flat.records import Loaded
from services.words import count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEANINGS = {
    Term.A: "flat at the reference",
    Term.B: "change with temperature [1/°C]",
    Term.C: "change with exposure [1/s]",
}
"""What the planes of parameters are called."""

_RINGS = 40
_CIRCLES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFlat:
    """A model as it is drawn: planes thinned out by `step`, and the masters of its groups."""

    loaded: Loaded
    planes: Mapping[str, NDArray[Any]]
    masters: Mapping[Label, NDArray[Any]]
    shape: tuple[int, int]

    @property
    def step(self) -> float:
        """Pixels from one that is drawn to the next."""
        return float(np.ceil(self.shape[1] / self.planes["PRNU"].shape[1]))

    def predicted(self, label: Label) -> NDArray[np.float32]:
        """Return the flat that the model predicts, without what was taken off, thinned out."""
        model = self.loaded.model
        theta = np.stack([self.planes[term] for term in model.terms]).astype(np.float64)
        covariance = np.stack([self.planes[name] for name in covariance_names(model.terms)]).astype(np.float64)
        return predict(model, FlatParameters(theta=theta, covariance=covariance), *label).mean


def _masters_of(loaded: Loaded) -> dict[Label, NDArray[Any]]:
    masters = {}
    for row in loaded.said["evaluation"]:
        label = (row["temperature_c"], row["exposure_s"])
        try:
            masters[label] = thin(plane_of(loaded.folder / master_name(loaded.said["domain"]["filter"], label), "MEAN"))
        except Unreadable:  # no masters were made
            continue
    return masters


def seen_of(loaded: Loaded) -> SeenFlat:
    """Read the planes of a model, thinned out."""
    terms = loaded.model.terms
    sources = {
        name: plane_of(loaded.planes, name) for name in [*terms, *covariance_names(terms), "NOISE", "CHI2", "MASK"]
    }
    names = ("VIGNETTE", "VIGNETTE_SIGMA", "ILLUM", "DUST", "PRNU", "PRNU_SIGMA")
    sources |= {name: plane_of(loaded.folder / FACTORS, name) for name in names}
    return SeenFlat(
        loaded=loaded,
        planes={name: thin(source) for name, source in sources.items()},
        masters=_masters_of(loaded),
        shape=sources["PRNU"].location.shape,
    )


def factor_plots(seen: SeenFlat) -> Iterator[Plot]:
    """Yield the plots of what the flat is made of."""
    yield Plot(
        name="vignetting.png",
        draw=lambda: _profile(seen),
        title="Vignetting by distance from the axis",
        caption="Medians of rings of the flat without dust and illumination, and the vignetting; below, what is left.",
    )
    chosen = [
        (seen.planes["VIGNETTE"], "vignetting"),
        (seen.planes["ILLUM"], "illumination"),
        (seen.planes["DUST"], "dust"),
        (seen.planes["PRNU"], "gains of the pixels"),
    ]
    yield Plot(
        name="factors.png",
        draw=lambda: images(chosen, seen.shape),
        title="The factors of the flat",
        caption="Their product is the flat. Nothing smooth and no ring should be left in the gains of the pixels.",
        wide=True,
    )
    yield Plot(
        name="dust.png",
        draw=lambda: _dust(seen),
        title="Dust",
        caption="The flat without its smooth parts; each circle is a shadow, at half of its depth.",
    )
    yield Plot(
        name="prnu.png",
        draw=lambda: _gains(seen),
        title="Gains of the pixels",
        caption="Their map and their distribution, with the normal one of the standard deviation that was found.",
        wide=True,
    )


def _profile(seen: SeenFlat) -> "Figure":
    planes, parts = seen.planes, seen.loaded.said["parts"]["smooth"]
    y, x = np.mgrid[: planes["PRNU"].shape[0], : planes["PRNU"].shape[1]] * seen.step
    row, column_ = (seen.shape[0] - 1) / 2, (seen.shape[1] - 1) / 2
    centre = parts["parameters"].get("centre_y", row), parts["parameters"].get("centre_x", column_)
    radius = np.hypot(y - centre[0], x - centre[1])
    edges = np.linspace(0, radius.max() * 1.0001, min(_RINGS, max(4, int(min(radius.shape) / 2))) + 1)
    ring = np.digitize(radius, edges) - 1
    both = planes["VIGNETTE"] * planes["PRNU"]
    rows = []
    for number in range(len(edges) - 1):
        at = (ring == number) & np.isfinite(both)
        if at.any():
            spread = float(np.std(both[at] / planes["VIGNETTE"][at])) / np.sqrt(at.sum())
            middle, model = float(np.median(both[at])), float(np.median(planes["VIGNETTE"][at]))
            error = float(np.median(planes["VIGNETTE_SIGMA"][at]))
            ratio = float(np.median(both[at] / planes["VIGNETTE"][at])) - 1
            rows.append((float(radius[at].mean()), middle, spread, model, error, ratio))
    r, middle_, spread_, model_, error_, ratio_ = np.array(rows).T
    figure, axes = new_figure(7.2, 6.2, rows=2)
    top, bottom = axes[0, 0], axes[1, 0]
    top.fill_between(r, model_ - error_, model_ + error_, color=FAINT, alpha=0.4, linewidth=0, label="its 1σ error")
    top.plot(r, model_, color=INK, linewidth=1.5, label=f"vignetting ({parts['family']})")
    top.errorbar(r, middle_, yerr=spread_, fmt="o", color=MARK, markersize=3.5, elinewidth=1, label="rings of the flat")
    top.legend(fontsize=8, frameon=False)
    dress(top, "Vignetting", "", "Relative to the axis")
    bottom.axhline(0, color=INK, linewidth=1)
    bottom.fill_between(r, -100 * error_ / model_, 100 * error_ / model_, color=FAINT, alpha=0.4, linewidth=0)
    bottom.errorbar(r, 100 * ratio_, yerr=100 * spread_, fmt="o", color=MARK, markersize=3.5, elinewidth=1)
    dress(bottom, "Residuals", "Distance from the axis [pixels]", "Flat over vignetting − 1 [%]")
    return figure


def _dust(seen: SeenFlat) -> "Figure":
    from matplotlib.patches import Circle

    figure, axes = new_figure(8.4, height_for(seen.shape, 8.4))
    place = axes[0, 0]
    rows: Sequence[Mapping[str, Any]] = seen.loaded.said["parts"]["dust"]
    show_map(figure, place, seen.planes["DUST"] * seen.planes["PRNU"], count(len(rows), "shadow"), seen.shape)
    for row in rows[:_CIRCLES]:
        middle = (row["x"] + 0.5, row["y"] + 0.5)
        place.add_patch(Circle(middle, row["radius_px"], fill=False, edgecolor=MARK, linewidth=1.2))
    return figure


def _gains(seen: SeenFlat) -> "Figure":
    gains, prnu = seen.planes["PRNU"], seen.loaded.said["parts"]["prnu"]
    figure, axes = new_figure(11.0, height_for(seen.shape, 5.2), columns=2)
    show_map(figure, axes[0, 0], gains, "gains of the pixels", seen.shape)
    values = gains[np.isfinite(gains)]
    sigma = float(np.hypot(prnu["total"] or 0.0, prnu["temporal"] or 0.0)) or float(np.std(values)) or 1e-6
    edges = np.linspace(1 - 6 * sigma, 1 + 6 * sigma, 61)
    place = axes[0, 1]
    place.hist(values, bins=edges, color=INK, label="pixels")
    normal = np.exp(-(((edges - 1) / sigma) ** 2) / 2) / (sigma * np.sqrt(2 * np.pi))
    place.plot(edges, normal * values.size * (edges[1] - edges[0]), color=MARK, linewidth=1.5, label="normal")
    place.set_yscale("log")
    place.set_ylim(bottom=0.5)
    place.set_xlabel("gain", fontsize=9)
    place.set_ylabel("pixels", fontsize=9)
    place.tick_params(labelsize=8)
    place.legend(fontsize=8, frameon=False)
    return figure


def term_plots(seen: SeenFlat) -> Iterator[Plot]:
    """Yield the plots of the parameters, and of what is left of each group."""
    model, planes = seen.loaded.model, seen.planes
    chosen = [(planes[term], MEANINGS[term]) for term in model.terms]
    chosen += [(np.sqrt(planes["COV_AA"]), "1σ of A"), (planes["NOISE"], "relative noise of a frame")]
    if np.isfinite(planes["CHI2"]).any():
        chosen.append((planes["CHI2"], "reduced chi-square of the groups"))
    yield Plot(name="maps.png", draw=lambda: images(chosen, seen.shape), title="Maps of the parameters", wide=True)
    bad = (planes["MASK"] & ModelBit.MISFIT) != 0
    pulls = [
        (planes[term] / np.sqrt(planes[f"COV_{term}{term}"]), f"{term} over its error")
        for term in model.terms
        if term is not Term.A
    ]
    if pulls:
        yield Plot(
            name="significance.png",
            draw=lambda: histograms(pulls, bad),
            title="Is it more than noise?",
            caption="Of noise alone, one pixel in 370 is beyond 3.",
        )
    left = {label: master - seen.predicted(label) for label, master in seen.masters.items()}
    for number, (name, words) in enumerate((("temperature", "Temperature [°C]"), ("exposure", "Exposure [s]"))):
        groups: dict[float, list[NDArray[Any]]] = {}
        for label, image in left.items():
            groups.setdefault(label[number], []).append(image.ravel())
        if len(groups) > 1:
            joined = {value: np.concatenate(some) for value, some in groups.items()}
            yield Plot(
                name=f"residuals_{name}.png",
                draw=lambda joined=joined, words=words: residuals(  # type: ignore[misc]
                    joined, "Masters less the model", words, "Relative to the level"
                ),
                title=f"Residuals against {name}",
                caption="What the model leaves of the masters.",
            )


def held_plots(seen: SeenFlat) -> Iterator[Plot]:
    """Yield the plot of the groups that were left out."""
    rows = [row for row in seen.loaded.said["evaluation"] if row["mae"] is not None]
    if rows:
        yield Plot(
            name="holdout.png",
            draw=lambda: _held(rows),
            title="Temperatures and exposures that were left out",
            caption="Each is predicted from the others. The rms of the differences over their errors should be near 1.",
        )


def _held(rows: Sequence[Mapping[str, Any]]) -> "Figure":
    figure, axes = new_figure(8.0, 5.4, rows=2)
    exposures = sorted({row["exposure_s"] for row in rows})
    marks = "osv^Dx+*"
    for name, place, factor in (("mae", axes[0, 0], 100.0), ("pull_rms", axes[1, 0], 1.0)):
        for number, seconds in enumerate(exposures[: len(marks)]):
            some = [row for row in rows if row["exposure_s"] == seconds]
            values = factor * np.array(column(some, name))
            place.plot(column(some, "temperature_c"), values, marks[number], markersize=6, label=f"{seconds:g} s")
        place.margins(y=0.2)
        place.set_ylim(bottom=0)
    axes[0, 0].legend(fontsize=8, frameon=False, ncols=4)
    dress(axes[0, 0], "Mean absolute difference", "", "of the level [%]")
    axes[1, 0].axhline(1, color=FAINT, linewidth=0.8)
    dress(axes[1, 0], "Differences over their errors", "Temperature that was left out [°C]", "rms")
    return figure
