"""`nightcal dataset page`: what a dataset has, what is missing or bad, levels and temperatures, as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.dataset import Depth, counting
from services.datasets import SEARCH_DEPTH
from services.errors import Exit, Usage
from services.words import count, size

_STATS = "frame_stats.csv"


def page(
    base: Annotated[
        Path, typer.Argument(metavar="BASE", help="An index.csv, a folder of FITS frames, or the root of a nightcal")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT_HTML", help="The page to write; an older one is replaced")],
    *,
    stats: Annotated[
        Path | None,
        typer.Option(
            "--stats", metavar="CSV", help=f"Table with the means of frames [default: {_STATS} beside BASE or OUT_HTML]"
        ),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Read the pixels of frames of which nothing states the level")
    ] = True,
    search_depth: Depth = SEARCH_DEPTH,
) -> int:
    """Write a page of what a dataset has: by section, temperature and exposure; what is missing or bad, and levels.

    The page is one file that loads nothing. No frame is changed.
    """
    from services.datasets.levels import Levels, table_of
    from services.datasets.page import frames_or_none, page_of, render
    from services.files.disk import write_text

    out = out.absolute()
    if out.suffix.lower() not in {".html", ".htm"}:
        raise Usage(f"{out} is no name of a page", advice="name a file that ends with .html")
    if out.is_dir():
        raise Usage(f"{out} is a folder", advice="name a file in it")
    table = stats or _beside(base.absolute(), out)
    with counting("headers") as (_, read):
        frames = frames_or_none(base, depth=search_depth, progress=read)
    with counting("frames") as (begun, measured):
        means = {} if table is None else table_of(table)
        levels = Levels(table=means, measures=measure, begun=begun, progress=measured)
        found = page_of(base, frames, levels, depth=search_depth)
    text = render(found)
    write_text(out, text, replace=True)
    print(f"{out}: {count(len(found.survey.frames), 'frame')}, {size(len(text.encode()))}")
    for fault in found.faults:
        print(f"  {fault.what}: {count(fault.files, 'file')}")
    return Exit.SOME_FAILED if found.unusable or not found.survey.frames else Exit.DONE


def _beside(base: Path, out: Path) -> Path | None:
    """Return the table of an earlier processing that lies beside the dataset or the page."""
    folders = (base if base.is_dir() else base.parent, out.parent)
    return next((folder / _STATS for folder in folders if (folder / _STATS).is_file()), None)
