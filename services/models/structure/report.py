"""The report of an analysis of structures: an HTML page, and the pictures that earlier programs had."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.files.disk import REAL_DISK, Disk
from services.models.drawing import write_pictures
from services.models.page import ModelPage, Section, Shown, table_of, write_page
from services.models.products import refuse_file
from services.models.records import read_sidecar
from services.models.structure.model import FORM, MAP, SIDECAR
from services.models.structure.pairing import IGNORING
from services.models.structure.plots import Seen, history_plots, map_drawings, sensor_plots, summary_plots
from services.reports.summary import Headline
from services.words import GAP, count, some

_MOST = 200
"""Structures in the table of the page; `structures.ecsv` has all."""

_CHANCE = 0.05
"""Of a slope by noise, corrected for their number: larger ones are in `structures.ecsv` alone."""

_MEANING = (
    "A structure is a group of pixels that differ from the reference by more than noise explains. Its dates are those "
    "of the epochs between which it came or went."
)


def report(found: Path, out: Path, disk: Disk = REAL_DISK, *, command: str = "structure") -> list[Path]:
    """Write the report of an analysis, in place of an older one, and return its files; the page is the last of them.

    Parameters
    ----------
    found : Path
        The folder that the analysis wrote.
    out : Path
        The folder of the report.
    disk : Disk
    command : str
        Which command makes such an analysis: `structure` or `outgassing`.

    Raises
    ------
    Usage
        It is no analysis, or `out` is no folder.
    StorageError
        The disk is full, or a file cannot be read or written.
    """
    refuse_file(out, "name a folder for the report")
    seen = seen_of(found, command)
    return [*write_pictures(map_drawings(seen), out, disk), *write_page(_page(seen), out, disk)]


def seen_of(folder: Path, command: str = "structure") -> Seen:
    """Read an analysis.

    Raises
    ------
    Usage
        It is none, or of another version.
    """
    sidecar, advice = folder / SIDECAR, f"name the folder that `nightcal model {command} fit` wrote"
    if within := sorted(str(path.parent) for path in folder.glob(f"*/{SIDECAR}")):
        advice = f"name one of the analyses in it: {some(within)}"
    said = read_sidecar(folder, sidecar, folder / MAP, form=FORM, what="analysis of structures", advice=advice)
    return Seen(folder=folder, said=said)


def _page(seen: Seen) -> ModelPage:
    rows = seen.structures
    flats = [row for row in seen.said["inputs"] if row["kind"] == "FLAT"]
    return ModelPage(
        title="What changed on the sensor",
        base=seen.folder,
        headline=_headline(seen),
        facts=(
            (str(len(flats)), "flats"),
            (str(len(seen.comparisons)), "comparisons"),
            (str(len(rows)), "structures"),
            (str(sum(bool(row["born"]) for row in rows)), "of them new"),
            (str(sum(bool(row["gone"]) for row in rows)), "of them gone"),
        ),
        notes=tuple(seen.said["notes"]),
        sections=tuple(_sections(seen)),
        left_out=seen.said["left_out"],
    )


def _headline(seen: Seen) -> Headline:
    rows, share = seen.structures, 100 * seen.said["false_share"]
    if not rows:
        return Headline(
            look="ok",
            text="Nothing has changed",
            detail="No pixel differs by more than the noise of the frames explains.",
        )
    return Headline(
        look="warn",
        text=f"{count(len(rows), 'structure')} changed",
        detail=f"Of those listed, {share:.0f} % are expected to be noise.",
        advice=("Look at the difference maps where a structure is new: dust can be blown off, a scratch cannot.",),
    )


def _sections(seen: Seen) -> list[Section]:
    rows = [_in_units(row) for row in seen.structures[:_MOST]]
    compared = [_compared(row) for row in seen.said["comparisons"]]
    sections = []
    if rows:
        sections.append(
            Section(
                title="Structures",
                sentences=(_MEANING, _slopes_said(rows)),
                tables=(table_of(rows, _COLUMNS), *([table_of(_trending(rows), _TRENDS)] if _trending(rows) else [])),
                plots=(*history_plots(seen),),
            )
        )
        sections.append(Section(title="On the sensor", plots=tuple(sensor_plots(seen))))
    sections.append(Section(title="Over time and temperature", plots=tuple(summary_plots(seen))))
    sections.append(Section(title="Comparisons", tables=(table_of(compared, _COMPARED),)))
    return sections


def _in_units(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a structure with its values in words: of flats in percent, of darks in ADU."""
    flat = row["frames"] == "flat"
    slopes = {name: _slope(row, name, flat=flat) for name in ("per_day", "per_degree")}
    dates = {name: _minute(row[name]) for name in ("born", "gone")}
    return {**row, **slopes, **dates, "depth": _amount(row["depth"], flat=flat, decimals=2, sign="+")}


def _amount(value: float | None, *, flat: bool, decimals: int, sign: str = "") -> str | None:
    if value is None:
        return None
    return _unbroken(f"{100 * value:{sign}.{decimals}f} %" if flat else f"{value:{sign}.{max(decimals - 1, 0)}f} ADU")


def _slope(row: Mapping[str, Any], name: str, *, flat: bool) -> str | None:
    slope, sigma = row[name], row[f"{name}_sigma"]
    if slope is None or sigma is None:
        return None
    value, error, unit = (100 * slope, 100 * sigma, "%") if flat else (slope, sigma, "ADU")
    decimals = max(0, 1 - math.floor(math.log10(error))) if error > 0 else 4  # two digits of the error
    return _unbroken(f"{value:+.{decimals}f} ± {error:.{decimals}f} {unit}")


def _unbroken(text: str) -> str:
    """Return a value with its unit as it stays in one line."""
    return text.replace(" ", GAP).replace("-", "\N{MINUS SIGN}")


def _minute(time: str) -> str:
    """Return a time without its seconds; seconds of a camera's clock are called so."""
    if time.endswith(" s"):
        return f"{time} (clock)"
    return time[:16].replace("T", " ") if time[10:11] == "T" else time


def _compared(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a comparison in words."""
    flat = row["frames"] == "flat"
    return {
        **row,
        "with": "the earliest of all" if row["analysis"] == IGNORING else "the earliest of its temperature",
        "epoch": _epoch(row["epoch"], row["time"], row.get("exposure_s")),
        "reference": _epoch(row["reference"], row.get("reference_time", ""), row.get("reference_exposure_s")),
        "smooth_range": _amount(row["smooth_range"], flat=flat, decimals=2),
        "scatter": _amount(row["scatter"], flat=flat, decimals=2),
    }


def _epoch(name: str, time: str, exposure_s: float | None) -> str:
    exposure = "" if exposure_s is None else f", {exposure_s:g} s"
    return f"{name[:3].lstrip('0')}: {_minute(time) or 'no date'}{exposure}"


def _slopes_said(rows: list[dict[str, Any]]) -> str:
    known = sum(row["per_day"] is not None or row["per_degree"] is not None for row in rows)
    real = len(_trending(rows))
    return f"Of {count(known, 'slope')} against time or temperature, noise does not explain {real}."


def _trending(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with a slope that noise does not explain."""
    return [row for row in rows if any(_is_real(row[name]) for name in ("per_day_p", "per_degree_p"))]


def _is_real(p: float | None) -> bool:
    return p is not None and p < _CHANCE


_COLUMNS = (
    Shown(name="structure", head="No.", decimals=0),
    Shown(name="frames", head="in"),
    Shown(name="kind", head="kind"),
    Shown(name="row", head="row", decimals=1),
    Shown(name="column", head="column", decimals=1),
    Shown(name="area", head="pixels", decimals=0),
    Shown(name="depth", head="depth", meaning="mean over its pixels"),
    Shown(name="z", head="sigma", decimals=1, meaning="significance of its most significant pixel or scale"),
    Shown(name="born", head="new in", meaning="UTC, or seconds of the camera's clock"),
    Shown(name="gone", head="gone in", meaning="UTC, or seconds of the camera's clock"),
    Shown(name="course", head="course", meaning="step: at once; trend: little by little; steady: neither is shown"),
)
_TRENDS = (
    Shown(name="structure", head="No.", decimals=0),
    Shown(name="frames", head="in"),
    Shown(name="kind", head="kind"),
    Shown(name="per_day", head="per day", meaning="slope of its strength against time, with 1 sigma"),
    Shown(
        name="per_day_p", head="p", decimals=4, meaning="chance of such a slope by noise, corrected for their number"
    ),
    Shown(name="per_degree", head="per °C", meaning="slope against temperature, fitted at the same time"),
    Shown(name="per_degree_p", head="p", decimals=4),
)
_COMPARED = (
    Shown(name="frames", head="in"),
    Shown(name="with", head="compared with"),
    Shown(name="epoch", head="epoch", meaning="its number in the order of time, its first frame (UTC) and exposure"),
    Shown(name="reference", head="reference"),
    Shown(name="temperature_c", head="°C", decimals=1),
    Shown(name="level_adu", head="level [ADU]", decimals=0),
    Shown(name="smooth_range", head="smooth part", meaning="range over the frame of what is the lamp's"),
    Shown(name="scatter", head="scatter", meaning="standard deviation of the difference of pixels"),
    Shown(name="widened", head="over noise", decimals=2, meaning="scatter over what noise explains, at least 1"),
    Shown(name="structures", head="structures", decimals=0),
)
