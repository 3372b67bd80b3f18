"""`nightcal dataset process`: the masters, statistics and plots of a dataset."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.counting import counting
from services.datasets import SEARCH_DEPTH
from services.errors import Exit
from services.words import count

if TYPE_CHECKING:
    from services.datasets.processing.processing import Processed, Progress

_SHOWN = 20
"""Names that are printed of one message; `--verbose` prints all."""

Out = Annotated[Path, typer.Argument(metavar="OUT", help="The folder of the results")]


def process(
    base: Annotated[
        Path, typer.Argument(metavar="BASE", help="An index.csv, the folder of a dataset or of frames, a nightcal root")
    ],
    out: Out,
    *,
    search_depth: Annotated[
        int, typer.Option("--search-depth", min=0, help="Folders below BASE that are looked into")
    ] = SEARCH_DEPTH,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print every message, not the first ones alone")
    ] = False,
) -> int:
    """Make masters of the frames of a dataset, with tables of all frames, plots and comparisons.

    Frames that cannot be used are left out and named. What is as it must be is kept: a second call goes on where the
    first one ended.
    """
    with counting() as progress:
        found = processed(base, out, search_depth, progress)
    for line in said_of(found, out, verbose=verbose):
        print(line)
    return Exit.SOME_FAILED if found.failed or not found.masters else Exit.DONE


def processed(base: Path, out: Path, depth: int, progress: "Progress") -> "Processed":
    """Process a dataset: masters, tables, plots and comparisons are in `out` then."""
    from services.datasets.processing.plots import plot_all
    from services.datasets.processing.processing import looked_at, with_masters
    from services.datasets.processing.tables import write_frames, write_masters

    out = out.absolute()
    found = looked_at(base, out, depth=depth, progress=progress)
    write_frames(found, out)
    found = with_masters(found, out, progress=progress)
    write_masters(found, out)
    plot_all(found, out, progress=lambda total, done: progress("plots", total, done))
    return found


def said_of(found: "Processed", out: Path, *, verbose: bool) -> Iterator[str]:
    """Yield what there is to say of a processed dataset: what was left out, what is worth a look, and the sums."""
    wholes = [each for each in found.masters if not each.wanted.attempt or each.state == "failed"]
    notes = [(f"left out: {why}", str(path)) for path, why in found.unused.items()]
    notes += [(remark, name) for name, remark in found.remarks]
    notes += [(remark, each.wanted.path.name) for each in wholes for remark in each.remarks]
    yield from _gathered(notes, verbose=verbose)
    used = sum(len(group.frames) for group in found.groups)
    states = [each.state for each in found.masters]
    words = {"made": "made", "kept": "there already", "failed": "not made"}
    sums = ", ".join(f"{states.count(state)} {words[state]}" for state in words if state in states)
    yield f"{count(len(found.frames), 'frame')}, {used} of them in masters; {count(len(found.unused), 'file')} left out"
    yield f"{count(len(states), 'master')} of {count(len(found.groups), 'group')}: {sums or 'none'}"
    yield f"{out}: masters/, plots/, comparisons/, frame_stats.csv, frames.csv, masters.csv"


def _gathered(notes: Iterable[tuple[str, str]], *, verbose: bool) -> Iterator[str]:
    """Yield each note once, with what it is said of."""
    of: dict[str, list[str]] = {}
    for note, name in notes:
        of.setdefault(note, []).append(name)
    for note, names in of.items():
        yield f"{note}:"
        yield from (f"  {name}" for name in names[: None if verbose else _SHOWN])
        if len(names) > _SHOWN and not verbose:
            yield f"  and {len(names) - _SHOWN} more (--verbose names them; frames.csv and masters.csv hold all)"
