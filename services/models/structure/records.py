"""The tables of an analysis of structures: those of the earlier programs, and what is known of each structure."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from services.files.disk import REAL_DISK, Disk, write_text
from services.models.records import ecsv
from services.models.structure.bands import Compared
from services.models.structure.epochs import Plan, time_of
from services.models.structure.measure import Measured

_MOST_PIXELS = 200_000
"""Rows of the table of pixels; the map of structures has them all."""

FLATS_CSV, OUTLIERS_CSV = "analysis_flats.csv", "analysis_outliers.csv"
FLATS_COLUMNS = (
    "analysis_type", "approx_temp", "file_path", "time_header", "n_outliers", "std_diff", "mean_flat", "std_flat",
)  # fmt: skip
OUTLIERS_COLUMNS = (
    "pixel", "num_occurrences", "temp_labels", "times", "classification", "structure", "kind",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """One analysis of one kind of frames: its comparisons and its structures."""

    analysis: str
    plan: Plan
    compared: tuple[Compared, ...]
    found: tuple[Measured, ...]


def flats_rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return a row for each flat of each analysis, with the columns of the earlier programs."""
    rows = []
    for result in results:
        if not result.plan.is_flat:
            continue
        by_new = {each.pair.new: (i, each) for i, each in enumerate(result.compared)}
        for number, epoch in enumerate(result.plan.epochs):
            i, each = by_new.get(number, (-1, None))
            outliers = sum(m.structure.area for m in result.found if i in m.structure.seen)
            rows += [
                dict(
                    zip(
                        FLATS_COLUMNS,
                        (
                            result.analysis, epoch.label_c, str(member.frame.path), time_of(member), outliers,
                            0.0 if each is None else each.scatter, member.numbers.mean, member.numbers.std,
                        ),
                        strict=True,
                    )
                )
                for member in epoch.members
            ]  # fmt: skip
    return rows


def outlier_rows(results: Sequence[Result]) -> Iterator[dict[str, Any]]:
    """Yield a row for each pixel of a structure of flats, with the columns of the earlier programs, each pixel once."""
    seen: set[tuple[int, int]] = set()
    for result in results:
        if not result.plan.is_flat:
            continue
        for each in result.found:
            epochs = [result.plan.epochs[result.compared[i].pair.new] for i in each.structure.seen]
            labels = sorted({epoch.label_c for epoch in epochs})
            place = each.structure.place
            for y, x in zip(*np.nonzero(each.structure.pixels), strict=True):
                pixel = (int(place.top + y), int(place.left + x))
                if pixel in seen or len(seen) >= _MOST_PIXELS:
                    continue
                seen.add(pixel)
                yield {
                    "pixel": f"({pixel[0]}, {pixel[1]})",
                    "num_occurrences": len(epochs),
                    "temp_labels": ";".join(f"{label:g}" for label in labels),
                    "times": ";".join(epoch.time for epoch in epochs),
                    "classification": _classification(len(labels), len(epochs)),
                    "structure": each.number,
                    "kind": each.kind.value,
                }


def _classification(temperatures: int, times: int) -> str:
    """Return the words of the earlier programs."""
    if temperatures > 1:
        return "Sensor Damage"
    return "Likely Sensor" if times > 1 else "Temperature"


def structure_rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return a row for each structure: where and what it is, when it came and went, and its trends."""
    rows = []
    for result in results:
        for each in result.found:
            y, x = each.structure.centre
            born, gone = (_dates(result.plan, each, edge) for edge in (each.history.born, each.history.gone))
            rows.append({
                "analysis": result.analysis,
                "frames": result.plan.kind.lower(),
                "structure": each.number,
                "kind": each.kind.value,
                "row": y,
                "column": x,
                "area": each.structure.area,
                "length": each.shape.length,
                "width": each.shape.width,
                "depth": each.shape.depth,
                "extreme": each.shape.extreme,
                "z": each.structure.peak_z,
                "false_share": each.structure.adjusted_p,
                "epochs": len(each.structure.seen),
                "temperatures": ";".join(f"{t:g}" for t in each.temperatures),
                "course": each.history.course.value,
                "not_before": born[0],
                "born": born[1],
                "last_seen": gone[0],
                "gone": gone[1],
                "per_day": each.by_day.slope,
                "per_day_sigma": each.by_day.sigma,
                "per_day_p": each.adjusted[0],
                "per_degree": each.by_degree.slope,
                "per_degree_sigma": each.by_degree.sigma,
                "per_degree_p": each.adjusted[1],
                "moved_from": each.moved_from,
                "moved_to": each.moved_to,
            })  # fmt: skip
    return rows


def _dates(plan: Plan, each: Measured, edge: int | None) -> tuple[str, str]:
    """Return the times of the epochs on both sides of an edge."""
    if edge is None:
        return "", ""
    before, after = each.epochs[edge - 1], each.epochs[edge]
    return _called(plan, before), _called(plan, after)


def _called(plan: Plan, number: int) -> str:
    return plan.epochs[number].time or plan.epochs[number].name


def history_rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return a row for each structure and epoch: its strength there."""
    return [
        {
            "analysis": result.analysis,
            "frames": result.plan.kind.lower(),
            "structure": each.number,
            "epoch": result.plan.epochs[epoch].name,
            "time": result.plan.epochs[epoch].time,
            "temperature_c": result.plan.epochs[epoch].celsius,
            "strength": float(strength),
            "sigma": float(sigma),
        }
        for result in results
        for each in result.found
        for epoch, strength, sigma in zip(each.epochs, each.strength, each.sigma, strict=True)
    ]


def comparison_rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return a row for each comparison: the light, what is common to all pixels, and what scatters."""
    rows = []
    for result in results:
        for number, each in enumerate(result.compared):
            new, old = result.plan.epochs[each.pair.new], result.plan.epochs[each.pair.old]
            mine = [m for m in result.found if number in m.structure.seen]
            rows.append({
                "analysis": result.analysis,
                "frames": result.plan.kind.lower(),
                "epoch": new.name,
                "reference": old.name,
                "time": new.time,
                "temperature_c": new.celsius,
                "level_adu": new.level_adu,
                "reference_adu": old.level_adu,
                "smooth_range": each.drift.range,
                "scatter": each.scatter,
                "widened": each.widened,
                "structures": len(mine),
                "pixels": sum(m.structure.area for m in mine),
                "reference_time": old.time,
                "exposure_s": new.exposure_s,
                "reference_exposure_s": old.exposure_s,
            })  # fmt: skip
    return rows


def write_tables(results: Sequence[Result], out: Path, disk: Disk = REAL_DISK) -> list[str]:
    """Write all tables in place of older ones and return their names.

    Raises
    ------
    StorageError
        The disk is full, or the folder cannot be written.
    """
    tables: dict[str, tuple[Sequence[str], list[dict[str, Any]]]] = {
        FLATS_CSV: (FLATS_COLUMNS, flats_rows(results)),
        OUTLIERS_CSV: (OUTLIERS_COLUMNS, list(outlier_rows(results))),
    }
    others = {
        "structures": structure_rows(results),
        "history": history_rows(results),
        "comparisons": comparison_rows(results),
    }
    names = []
    for name, (columns, rows) in tables.items():
        write_text(out / name, _csv(columns, rows), disk, replace=True)
        names.append(name)
    for stem, rows in others.items():
        if rows:
            write_text(out / f"{stem}.ecsv", ecsv(rows), disk, replace=True)
            names.append(f"{stem}.ecsv")
    return names


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()
