"""`nightcal model structure` and `model outgassing`: what changed in the flats and darks of one sensor."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.counting import bars
from services.cli.model_words import Base, Refusals, SearchDepth, left_out_lines
from services.datasets import SEARCH_DEPTH
from services.errors import Exit, Usage
from services.words import count

if TYPE_CHECKING:
    from services.models.records import Fitted

Out = Annotated[Path, typer.Argument(metavar="OUT", help="The folder of the results")]
Found = Annotated[Path, typer.Argument(metavar="OUT", help="The folder that `fit` wrote")]
MaybeOut = Annotated[
    Path | None, typer.Argument(metavar="[OUT]", help="The folder of the results; outgasing_analysis by default")
]
OutputDir = Annotated[
    Path | None,
    typer.Option("--output-dir", metavar="OUT", help="OUT, as the earlier program spells it"),
]
Report = Annotated[Path, typer.Argument(metavar="REPORT", help="The folder of the pictures")]

OUTGASSING_FOLDER = Path("outgasing_analysis")
"""Where an analysis is written without another folder: as the earlier program spells it."""

_SHOWN = 20
"""Structures that are named; `structures.ecsv` has all."""


def fit_structure(
    base: Base,
    out: Out,
    *,
    reduce: Annotated[
        bool, typer.Option("--reduce", help="Take biases and darks off first, and compare flats of any exposure")
    ] = False,
    search_depth: SearchDepth = SEARCH_DEPTH,
) -> int:
    """Find what is new or gone in each flat, compared with the earliest of its temperature.

    Dust, scratches, ghosts, columns, dead and hot pixels are named, with the share of false ones under control.
    """
    from services.models.structure.model import STRUCTURE

    return _fitted(base, out, STRUCTURE, search_depth, reduce=reduce)


def fit_outgassing(
    base: Base,
    out: MaybeOut = None,
    *,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Take biases and darks off first, and compare flats of any exposure")
    ] = False,
    output_dir: OutputDir = None,
    search_depth: SearchDepth = SEARCH_DEPTH,
) -> int:
    """Find what changed in each flat at its temperature, and over all temperatures: films, damage, hot pixels.

    It writes the tables of the earlier programs too, and how each structure follows time and temperature.
    """
    from services.models.structure.model import OUTGASSING

    if out is not None and output_dir is not None:
        raise Usage(f"{out} and {output_dir} are two folders for one analysis: give one of them")
    return _fitted(base, out or output_dir or OUTGASSING_FOLDER, OUTGASSING, search_depth, reduce=calibrate)


def report_structure(out: Found, report: Report) -> int:
    """Draw what an analysis of structures has found."""
    return _drawn(out, report, "structure")


def report_outgassing(out: Found, report: Report) -> int:
    """Draw what an analysis of outgassing has found."""
    return _drawn(out, report, "outgassing")


def _drawn(out: Path, report: Path, command: str) -> int:
    from services.models.structure.report import report as drawn

    for path in drawn(out, report, command=command):
        print(path)
    return Exit.DONE


def _fitted(base: Path, out: Path, analyses: tuple[str, ...], depth: int, *, reduce: bool) -> int:
    from services.models.structure.model import Asked, fit

    asked, refusals = Asked(analyses=analyses, reduce=reduce), Refusals()
    with bars() as progress:
        found = fit(base, out.absolute(), asked, depth=depth, progress=progress, refused=refusals.hear)
    for line in left_out_lines(found[0].sidecar["left_out"], found[0].remarks):
        print(line)
    for each in found:
        for line in _said_of(each):
            print(line)
    return refusals.end()


def _at(time: str) -> str:
    """Return when an epoch was: a number of seconds is no duration."""
    return f"at {time} of the camera's clock" if time.endswith(" s") else f"in {time}"


def _said_of(found: "Fitted") -> Iterator[str]:
    said: Mapping[str, Any] = found.sidecar
    rows = said["structures"]
    flats = [row for row in said["comparisons"] if row["frames"] == "flat"]
    yield f"{found.folder}: {count(len(flats), 'comparison')} of flats, {count(len(rows), 'structure')}"
    yield from (f"  note: {note}" for note in said["notes"])
    if not rows:
        yield "  nothing has changed that noise does not explain"
    for row in rows[:_SHOWN]:
        unit = "ADU" if row["frames"] != "flat" else "%"
        depth = row["depth"] * (100 if unit == "%" else 1)
        dates = [f"new {_at(row['born'])}"] if row["born"] else []
        dates += [f"gone {_at(row['gone'])}"] if row["gone"] else []
        dates += [f"moved from structure {row['moved_from']}"] if row["moved_from"] else []
        yield (
            f"  {row['kind']:13} at row {row['row']:.1f}, column {row['column']:.1f}: {count(row['area'], 'pixel')}, "
            f"{depth:+.2f} {unit}, {row['z']:.1f} sigma{', ' if dates else ''}{', '.join(dates)}"
        )
    if len(rows) > _SHOWN:
        yield f"  and {len(rows) - _SHOWN} more"
