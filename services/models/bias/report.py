"""The report of a bias model: an HTML page, bias_stats.json, and the pictures that earlier programs had."""

import json
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from services.files.disk import REAL_DISK, Disk, write_text
from services.models.bias.fit import LETTERS
from services.models.bias.plots import (
    UNITS,
    Seen,
    detail_plots,
    evaluated,
    holdout_plots,
    level_plots,
    map_plots,
    seen_of,
)
from services.models.bias.records import Loaded
from services.models.contradicting import alarmed
from services.models.drawing import write_pictures
from services.models.misfits import misfit_section, misfits_of
from services.models.page import ModelPage, Section, Shown, table_of, write_page
from services.models.products import refuse_file
from services.reports.parts import Table
from services.reports.summary import Headline
from services.words import GAP, celsius, number, significant

_FAR = 2.0
"""Times the error that noise explains, from which on the predictions of held-out temperatures are worth a look."""


def report(model: Path, out: Path, disk: Disk = REAL_DISK) -> list[Path]:
    """Write the report of a model, in place of an older one, and return its files; the page is the last of them.

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
    refuse_file(out, "name a folder for the report")
    seen = seen_of(Loaded.load(model))
    stats = out / "bias_stats.json"
    write_text(stats, json.dumps(statistics_of(seen.loaded), indent=1) + "\n", disk, replace=True)
    pictures = write_pictures(chain.from_iterable(evaluated(seen, label) for label in seen.masters), out, disk)
    return [stats, *pictures, *write_page(_page(seen), out, disk)]


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


def _page(seen: Seen) -> ModelPage:
    loaded, said = seen.loaded, seen.loaded.said
    letters = LETTERS[: loaded.model.basis.size]
    found = misfits_of(loaded.planes, [*letters, "NOISE"])
    values = [Shown(name=letter, head=letter, decimals=3, meaning=UNITS[letter]) for letter in letters]
    values.append(Shown(name="NOISE", head="noise, ADU", meaning="of a frame"))
    held = Section(
        title="Temperatures that were left out",
        tables=(_holdout_table(said), _evaluation_table(said)) if said["holdout"] else (_evaluation_table(said),),
        plots=tuple(holdout_plots(seen)),
    )
    return ModelPage(
        title=f"Bias model: {loaded.model.basis.family.value} in temperature",
        base=loaded.folder,
        headline=alarmed(_headline(loaded), said),
        facts=_facts(loaded, seen.shape),
        notes=tuple(said["notes"]),
        sections=(
            Section(title="What the frames show", tables=(_parameters(seen),), plots=tuple(level_plots(seen))),
            held,
            Section(title="Pixels", plots=tuple(map_plots(seen))),
            misfit_section(found, values),
            Section(title="Each temperature", plots=tuple(detail_plots(seen))),
        ),
        left_out=said["left_out"],
    )


def _headline(loaded: Loaded) -> Headline:
    """Return where the model holds, and how well it predicts what it has not seen."""
    model, said = loaded.model, loaded.said
    where = f"{model.coldest_c:.1f} to {model.warmest_c:.1f} °C"
    chosen = [row for row in said["holdout"] if row["family"] == model.basis.family.value]
    rows = [row for row in chosen if row["inside"]]
    if not rows:
        text = f"It holds from {where}; no temperature in between could be left out to check it"
        return Headline(look="warn", text=text, detail="Frames at four temperatures or more show how well it predicts.")
    worst = max(rows, key=_error)
    text = f"It holds from {where}; temperatures in between are predicted by the others to {_error(worst):.2f} ADU"
    noise = f"noise alone explains {worst['expected_adu']:.2f} ADU"
    far = _error(worst) > _FAR * worst["expected_adu"]
    ends = max((_error(row) for row in chosen if not row["inside"]), default=float("nan"))
    detail = (
        f"The largest of these errors is that at {worst['temperature_c']:.1f} °C, where {noise}. The ends of the range "
        f"are predicted from one side to {ends:.2f} ADU."
    )
    return Headline(look="warn" if far else "ok", text=text, detail=detail)


def _error(row: Mapping[str, Any]) -> float:
    """Return the error of a temperature left out; of its pattern alone where no other shows the level there."""
    return float(row["pattern_adu"] if row["error_adu"] is None else row["error_adu"])


def _facts(loaded: Loaded, shape: tuple[int, int]) -> tuple[tuple[str, str], ...]:
    inputs, model = loaded.said["inputs"], loaded.model
    return (
        (number(len(inputs)), "frames"),
        (number(len({row["label_c"] for row in inputs})), "temperatures"),
        (number(len(loaded.said["model"]["sessions"])), "sessions"),
        (f"{shape[1]} x {shape[0]}", "pixels"),
        (celsius(model.basis.reference_c).replace(" ", GAP), "reference temperature"),
        (significant(loaded.said["noise_adu"], 3, "ADU"), "noise of a frame"),
        (number(model.excess**0.5, 2), "scatter of the groups over noise"),
    )


def _parameters(seen: Seen) -> Table:
    """Return the parameters over the pixels, beside those of the level that all of them have in common."""
    model, letters = seen.loaded.model, LETTERS[: seen.loaded.model.basis.size]
    rows = []
    for i, letter in enumerate(letters):
        plane, sigma = seen.planes[letter], np.sqrt(seen.planes[f"COV_{letter}{letter}"])
        low, middle, high = _percentiles(plane, (16, 50, 84))
        rows.append({
            "name": letter, "what": UNITS[letter], "median": middle, "low": low, "high": high,
            "sigma": _percentiles(sigma, (50,))[0], "level": model.level.covariance[i][i] ** 0.5,
        })  # fmt: skip
    return table_of(
        rows,
        [
            Shown(name="name", head="Plane"),
            Shown(name="what", head="is the"),
            Shown(name="median", head="median", decimals=3, meaning="of the pixels"),
            Shown(name="low", head="16 %", decimals=3, meaning="so many of the pixels are below"),
            Shown(name="high", head="84 %", decimals=3, meaning="so many of the pixels are below"),
            Shown(name="sigma", head="1σ", decimals=3, meaning="median of the pixels’ stated errors"),
            Shown(name="level", head="common 1σ", decimals=3, meaning="the part of it that all pixels have in common"),
        ],
    )


def _percentiles(plane: Any, shares: tuple[float, ...]) -> list[float]:
    finite = plane[np.isfinite(plane)]
    return [float(v) for v in np.percentile(finite, shares)] if finite.size else [float("nan")] * len(shares)


def _holdout_table(said: Mapping[str, Any]) -> Table:
    chosen = said["model"]["family"]
    rows = [
        {**row, "family": f"{row['family']}, chosen" if row["family"] == chosen else row["family"]}
        for row in said["holdout"]
    ]
    return table_of(
        rows,
        [
            Shown(name="family", head="Family"),
            Shown(name="temperature_c", head="°C", decimals=1, meaning="temperature that was left out"),
            Shown(name="inside", head="inside", meaning="whether other temperatures are on both sides of it"),
            Shown(name="pattern_adu", head="pixels, ADU", meaning="rms of measured less predicted, without the level"),
            Shown(name="expected_adu", head="noise, ADU", meaning="what that would be by noise alone"),
            Shown(name="level_adu", head="level, ADU", meaning="measured less predicted, common to all pixels"),
            Shown(name="error_adu", head="error, ADU", meaning="of both together: what families are chosen by"),
        ],
    )


def _evaluation_table(said: Mapping[str, Any]) -> Table:
    return table_of(
        said["evaluation"],
        [
            Shown(name="temperature_c", head="°C", decimals=1),
            Shown(name="mean_adu", head="mean, ADU", meaning="of the frames at this temperature"),
            Shown(name="std_adu", head="std, ADU", meaning="of the pixels of their mean"),
            Shown(name="bias_adu", head="bias, ADU", meaning="mean of measured less predicted from the others"),
            Shown(name="mae_adu", head="MAE, ADU", meaning="mean absolute difference"),
            Shown(name="rms_adu", head="rms, ADU"),
            Shown(name="mape_pct", head="MAPE, %", decimals=3, meaning="mean absolute difference in percent"),
            Shown(name="pull_rms", head="pull", meaning="rms of the differences over their stated errors: near 1"),
        ],
        note="Predictions are from the other temperatures alone. A dash: the others determine no model.",
    )
