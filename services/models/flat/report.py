"""The report of a flat model: an HTML page and its pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from services.files.disk import REAL_DISK, Disk
from services.models.flat.plots import MEANINGS, SeenFlat, factor_plots, held_plots, seen_of, term_plots
from services.models.flat.records import Loaded, term_words
from services.models.misfits import misfit_section, misfits_of
from services.models.page import ModelPage, Section, Shown, sentence, table_of, write_page
from services.models.products import refuse_file
from services.reports.parts import Table
from services.reports.summary import Headline
from services.words import number

_MOST = 50
"""Shadows of dust that are listed; `dust.ecsv` has all."""

_FAR = 2.0
"""Times the error that noise explains, from which on predictions are worth a look."""


def report(model: Path, out: Path, disk: Disk = REAL_DISK) -> list[Path]:
    """Write the report of a model, in place of an older one, and return its files; the page is the last of them.

    Parameters and errors are those of `services.models.bias.report.report`.
    """
    refuse_file(out, "name a folder for the report")
    return write_page(_page(seen_of(Loaded.load(model))), out, disk)


def _page(seen: SeenFlat) -> ModelPage:
    loaded, said = seen.loaded, seen.loaded.said
    terms = loaded.model.terms
    found = misfits_of(loaded.planes, [*terms, "NOISE"])
    values = [Shown(name=term, head=term, decimals=5, meaning=MEANINGS[term]) for term in terms]
    values.append(Shown(name="NOISE", head="noise", decimals=5, meaning="of a frame, relative to its level"))
    dust = said["parts"]["dust"]
    words = tuple(sentence(each) for each in term_words(said["terms"], loaded.model))
    return ModelPage(
        title=f"Flat model: {said['domain']['filter'] or 'no filter'}",
        base=loaded.folder,
        headline=_headline(loaded),
        facts=_facts(seen),
        notes=tuple(said["notes"]),
        sections=(
            Section(
                title="What the flat is made of",
                sentences=(_where(said),),
                tables=(_shape_table(said), _prnu_table(said), *((_dust_table(dust),) if dust else ())),
                plots=tuple(factor_plots(seen)),
            ),
            Section(title="Temperature and exposure", sentences=words, plots=tuple(term_plots(seen))),
            Section(
                title="Flats predicted from the others",
                tables=(_evaluation_table(said),),
                plots=tuple(held_plots(seen)),
            ),
            misfit_section(found, values),
        ),
        left_out=said["left_out"],
    )


def _where(said: Mapping[str, Any]) -> str:
    parts = said["parts"]
    return f"The flat at {parts['temperature_c']:.1f} °C and {parts['exposure_s']:g} s is taken apart."


def _headline(loaded: Loaded) -> Headline:
    """Return where the model holds, and how well it predicts what it has not seen."""
    model = loaded.model
    where = f"{model.coldest_c:.1f} to {model.warmest_c:.1f} °C and {model.shortest_s:g} to {model.longest_s:g} s"
    rows = [row for row in loaded.said["evaluation"] if row["mae"] is not None]
    if not rows:
        text = f"It holds from {where}; no temperature or exposure could be left out to check it"
        return Headline(look="warn", text=text, detail="Flats at three temperatures show how well it predicts.")
    worst = max(rows, key=lambda row: row["mape_pct"])
    text = f"From {where} it predicts flats it has not seen to {worst['mape_pct']:.2f} % or better"
    at = f"{worst['temperature_c']:.1f} °C and {worst['exposure_s']:g} s"
    detail = f"The largest error is that at {at}, {worst['pull_rms']:.1f} times what is stated."
    far = max(row["pull_rms"] for row in rows) > _FAR
    return Headline(look="warn" if far else "ok", text=text, detail=detail)


def _facts(seen: SeenFlat) -> tuple[tuple[str, str], ...]:
    loaded, prnu = seen.loaded, seen.loaded.said["parts"]["prnu"]
    inputs = loaded.said["inputs"]
    return (
        (number(len(inputs)), "frames"),
        (number(len({row["label_c"] for row in inputs})), "temperatures"),
        (number(len({row["exposure_s"] for row in inputs})), "exposures"),
        (f"{seen.shape[1]} x {seen.shape[0]}", "pixels"),
        ("–" if prnu["total"] is None else f"{100 * prnu['total']:.3f} %", "scatter of the gains"),
        (number(len(loaded.said["parts"]["dust"])), "shadows of dust"),
        (number(loaded.model.excess**0.5, 2), "scatter of the groups over noise"),
    )


def _shape_table(said: Mapping[str, Any]) -> Table:
    smooth = said["parts"]["smooth"]
    rows = []
    for part in ("parameters", "illumination"):
        for name, value in smooth[part].items():
            what = "vignetting" if part == "parameters" else "illumination"
            rows.append({"what": what, "name": name, "value": value, "sigma": smooth["sigma"].get(name)})
    return table_of(
        rows,
        [
            Shown(name="what", head="Part"),
            Shown(name="name", head="Parameter", meaning="r and x, y are in half diagonals, centres in pixels"),
            Shown(name="value", head="value", decimals=5),
            Shown(name="sigma", head="1σ", decimals=5, meaning="missing where the vignetting was given"),
        ],
        note=f"Vignetting: {smooth['family']}, {'fitted' if smooth['fitted'] else 'given'}.",
    )


def _prnu_table(said: Mapping[str, Any]) -> Table:
    prnu = said["parts"]["prnu"]
    rows = [
        {
            "part": name,
            "value": None if prnu[name] is None else 100 * prnu[name],
            "sigma": None if prnu[f"{name}_sigma"] is None else 100 * prnu[f"{name}_sigma"],
        }
        for name in ("total", "pixel", "row", "column")
    ]
    noise = "" if prnu["temporal"] is None else f" Noise of {100 * prnu['temporal']:.3f} % was taken off."
    return table_of(
        rows,
        [
            Shown(name="part", head="Gains that differ by"),
            Shown(
                name="value", head="%", decimals=4, meaning="standard deviation, free of noise; 0: no more than noise"
            ),
            Shown(name="sigma", head="1σ", decimals=4),
        ],
        note=f"{prnu['pixels']} pixels; {prnu['left_out']} are too far off to be counted.{noise}",
    )


def _dust_table(rows: Any) -> Table:
    shown = [{**row, "percent": 100 * row["attenuation"], "error": 100 * row["attenuation_sigma"]} for row in rows]
    return table_of(
        shown[:_MOST],
        [
            Shown(name="x", head="x", decimals=1),
            Shown(name="y", head="y", decimals=1),
            Shown(name="radius_px", head="radius, px", decimals=1, meaning="where its depth is half of the greatest"),
            Shown(name="percent", head="depth, %", decimals=2),
            Shown(name="error", head="1σ", decimals=2),
            Shown(name="profile", head="shape"),
            Shown(name="significance", head="sigmas", decimals=0, meaning="how far it stands out of the noise"),
        ],
        note=f"The first {_MOST} of {len(rows)}; dust.ecsv has all." if len(rows) > _MOST else "",
    )


def _evaluation_table(said: Mapping[str, Any]) -> Table:
    rows = [
        {**row, **{k: None if row[k] is None else 100 * row[k] for k in ("bias", "mae", "rms")}}
        for row in said["evaluation"]
    ]
    rows = [{k: np.nan if v is None else v for k, v in row.items()} for row in rows]
    return table_of(
        rows,
        [
            Shown(name="temperature_c", head="°C", decimals=1),
            Shown(name="exposure_s", head="s", decimals=3),
            Shown(name="bias", head="bias, %", decimals=4, meaning="mean of measured less predicted from the others"),
            Shown(name="mae", head="MAE, %", decimals=4, meaning="mean absolute difference, of the level"),
            Shown(name="rms", head="rms, %", decimals=4),
            Shown(name="mape_pct", head="MAPE, %", decimals=4, meaning="mean absolute difference in percent"),
            Shown(name="pull_rms", head="pull", meaning="rms of the differences over their stated errors: near 1"),
        ],
    )
