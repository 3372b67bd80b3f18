"""The report of a dark model: an HTML page with its plots and tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from calibration.models.dark.model import DarkBit
from services.bands import bands_of, plane_of, read_rows, rows_for
from services.files.disk import REAL_DISK, Disk
from services.models.contradicting import alarmed
from services.models.dark.levels import table_rows
from services.models.dark.plots import Seen, current_plots, holdout_plots, pixel_plots, seen_of, units_of
from services.models.dark.records import Loaded, held_out_of
from services.models.misfits import misfit_section, misfits_of
from services.models.page import ModelPage, Section, Shown, table_of, write_page
from services.models.products import refuse_file
from services.reports.parts import Table
from services.reports.summary import Headline
from services.words import GAP, celsius, number, significant

_GOOD = 0.05
"""Error of a prediction of a temperature that was left out that is worth no look, at any level."""


def report(model: Path, out: Path, disk: Disk = REAL_DISK) -> list[Path]:
    """Write the report of a model, in place of an older one, and return its files; the page is the last of them.

    Parameters and errors are those of `services.models.bias.report.report`.
    """
    refuse_file(out, "name a folder for the report")
    return write_page(_page(seen_of(Loaded.load(model))), out, disk)


def _page(seen: Seen) -> ModelPage:
    loaded, said = seen.loaded, seen.loaded.said
    law = loaded.model.law
    values = [
        Shown(name=name, head=name.lower(), decimals=3, meaning=unit)
        for name, unit in zip(law.names, units_of(law), strict=True)
    ]
    found = misfits_of(loaded.planes, [*law.names, "NOISE"])
    noise = Shown(name="NOISE", head="noise, ADU", meaning="of a frame without dark")
    return ModelPage(
        title=f"Dark model: {law.family.value.replace('_', ' ')} in temperature",
        base=loaded.folder,
        headline=alarmed(_headline(loaded), said),
        facts=_facts(seen),
        notes=tuple(f"{note[:1].upper()}{note[1:].removesuffix('.')}." for note in said["notes"]),
        sections=(
            Section(
                title="What the frames show",
                tables=(_parameters(seen), _shots(seen)),
                plots=tuple(current_plots(seen)),
            ),
            *_levels(said),
            Section(
                title="Temperatures that were left out",
                tables=(_holdout_table(said),) if said["holdout"] else (),
                plots=tuple(holdout_plots(seen)),
            ),
            Section(title="Pixels", plots=tuple(pixel_plots(seen))),
            misfit_section(found, [*values, noise]),
        ),
        left_out=said["left_out"],
    )


def _headline(loaded: Loaded) -> Headline:
    """Return where the model holds, and how well it predicts what it has not seen."""
    model = loaded.model
    where = f"{model.coldest_c:.1f} to {model.warmest_c:.1f} °C and {model.shortest_s:g} to {model.longest_s:g} s"
    counting = [row for row in held_out_of(loaded.said) if row["counts"]]
    rows = [row for row in counting if row["inside"]]
    if not rows:
        text = f"It holds from {where}; no temperature in between could be left out to check it"
        detail = "Darks with a signal at three temperatures or more show how well it predicts."
        return Headline(look="warn", text=text, detail=detail)
    worst = max(rows, key=lambda row: abs(row["error"]))
    error = 100 * abs(worst["error"])
    text = f"It holds from {where}; temperatures in between are predicted by the others to {error:.1f} % or better"
    far = abs(worst["error"]) > max(_GOOD, 3 * abs(worst["sigma"]))
    return Headline(look="warn" if far else "ok", text=text, detail=_worst_of(worst, counting))


def _worst_of(worst: Mapping[str, Any], counting: Sequence[Mapping[str, Any]]) -> str:
    """Return where the error of a temperature in between is largest, and how well the ends are predicted."""
    detail = (
        f"The largest of these errors is that at {worst['temperature_c']:.1f} °C and {worst['level_adu']:.0f} ADU, "
        f"where noise alone makes {100 * abs(worst['sigma']):.1f} %."
    )
    ends = [row for row in counting if not row["inside"]]
    if not ends:
        return detail
    end = max(ends, key=lambda row: abs(row["error"]))
    return (
        f"{detail} The ends of the range are predicted from one side to {100 * abs(end['error']):.1f} %, where noise "
        f"alone makes {100 * abs(end['sigma']):.1f} %."
    )


def _facts(seen: Seen) -> tuple[tuple[str, str], ...]:
    loaded, model = seen.loaded, seen.loaded.model
    darks = [row for row in loaded.said["inputs"] if row["kind"] == "dark"]
    return (
        (number(len(darks)), "darks"),
        (number(len(loaded.said["inputs"]) - len(darks)), "biases"),
        (number(len({row["label_c"] for row in darks})), "temperatures"),
        (number(len({row["exposure_s"] for row in darks})), "exposures"),
        (f"{seen.shape[1]} x {seen.shape[0]}", "pixels"),
        (number(_hot(loaded)), "hot pixels"),
        (celsius(model.law.reference_c).replace(" ", GAP), "reference temperature"),
        (significant(model.noise.read_adu2**0.5, 3, "ADU"), "noise of a frame without dark"),
        (number(model.excess**0.5, 2), "scatter of the groups over noise"),
    )


def _hot(loaded: Loaded) -> int:
    mask = plane_of(loaded.planes, "MASK")
    height, width = mask.location.shape
    bands = bands_of(height, rows_for(memory_mb=32, frames=2, columns=width, workers=1))
    return sum(int(((read_rows(mask, band) & DarkBit.HOT) != 0).sum()) for band in bands)


def _parameters(seen: Seen) -> Table:
    law = seen.loaded.model.law
    rows = []
    for name, unit in zip(law.names, units_of(law), strict=True):
        low, middle, high = _percentiles(seen.planes[name], (16, 50, 84))
        sigma = _percentiles(np.sqrt(seen.planes[f"COV_{name}_{name}"]), (50,))[0]
        rows.append({"name": name, "unit": unit, "median": middle, "low": low, "high": high, "sigma": sigma})
    return table_of(
        rows,
        [
            Shown(name="name", head="Plane"),
            Shown(name="unit", head="in"),
            Shown(name="median", head="median", decimals=4, meaning="of the pixels"),
            Shown(name="low", head="16 %", decimals=4, meaning="so many of the pixels are below"),
            Shown(name="high", head="84 %", decimals=4, meaning="so many of the pixels are below"),
            Shown(name="sigma", head="1σ", decimals=4, meaning="median of the pixels’ stated errors"),
        ],
    )


def _levels(said: Mapping[str, Any]) -> tuple[Section, ...]:
    """Return the levels that were taken off the groups, where they wander."""
    rows = table_rows(said)
    if not any(row["wander_adu"] for row in rows):
        return ()
    table = table_of(
        rows,
        [
            Shown(name="label_c", head="°C", decimals=1),
            Shown(name="exposure_s", head="s", decimals=2),
            Shown(name="session", head="session"),
            Shown(name="frames", head="frames", decimals=0),
            Shown(name="level_adu", head="level, ADU", decimals=1, meaning="beside that of the bias"),
            Shown(name="error_adu", head="1σ, ADU", decimals=1, meaning="what the frames do not show of it"),
            Shown(name="wander_adu", head="wander, ADU", decimals=1, meaning="how far levels lie apart, 1σ"),
            Shown(name="outlying", head="outside", meaning="whether it lies outside of the others"),
        ],
        note="A uniform light that leaks in, and a dark that all pixels have, look like a level.",
    )
    return (Section(title="Level of each group of darks taken off", tables=(table,)),)


def _percentiles(plane: Any, shares: tuple[float, ...]) -> list[float]:
    finite = plane[np.isfinite(plane)]
    return [float(v) for v in np.percentile(finite, shares)] if finite.size else [float("nan")] * len(shares)


def _shots(seen: Seen) -> Table:
    """Return the darks by temperature and exposure, beside what the model makes of them."""
    rows = []
    for shot, plane in seen.means.items():
        real = _percentiles(plane, (50,))[0]
        made = _percentiles(seen.signal(shot.temperature_c, shot.exposure_s) / shot.exposure_s, (50,))[0]
        pulls = seen.pulls(shot)
        wide = np.diff(_percentiles(pulls, (16, 84)))[0] / 2
        rows.append({
            "label_c": shot.label_c, "exposure_s": shot.exposure_s, "frames": shot.frames, "real": real, "made": made,
            "pull": _percentiles(pulls, (50,))[0], "wide": float(wide),
        })  # fmt: skip
    return table_of(
        rows,
        [
            Shown(name="label_c", head="°C", decimals=1),
            Shown(name="exposure_s", head="s", decimals=2),
            Shown(name="frames", head="frames", decimals=0),
            Shown(name="real", head="frames, ADU/s", decimals=3, meaning="median dark current of the pixels"),
            Shown(name="made", head="model, ADU/s", decimals=3, meaning="the same by the model"),
            Shown(name="pull", head="residual, σ", meaning="median of measured less modelled over its noise"),
            Shown(name="wide", head="scatter, σ", meaning="half the width of 68 % of these: near 1 where it fits"),
        ],
    )


def _holdout_table(said: Mapping[str, Any]) -> Table:
    rows = [
        {**row, "error": _in_percent(row["error"]), "sigma": _in_percent(row["sigma"])} for row in held_out_of(said)
    ]
    return table_of(
        rows,
        [
            Shown(name="temperature_c", head="°C", decimals=1, meaning="temperature that was left out"),
            Shown(name="inside", head="inside", meaning="whether other temperatures are on both sides of it"),
            Shown(name="level_adu", head="level, ADU", decimals=1, meaning="mean dark signal of these pixels"),
            Shown(name="pixels", head="pixels", decimals=0, meaning="of the sample"),
            Shown(name="error", head="error, %", meaning="predicted over measured less 1"),
            Shown(name="sigma", head="1σ, %", meaning="what noise makes of it, of the frames and of the prediction"),
            Shown(name="counts", head="is seen", meaning="whether the signal is three errors of these frames or more"),
        ],
        note="Levels are chosen from one half of the frames and judged on the other.",
    )


def _in_percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
