"""`nightcal dataset process` and `run`: the masters, statistics and plots of a dataset, also from its raw frames."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.counting import bars
from services.cli.dataset import by_kind, said_of_import
from services.datasets import FRAMES_DIR, SEARCH_DEPTH
from services.errors import Exit, Usage
from services.words import count

if TYPE_CHECKING:
    from services.datasets.processing.processing import Processed, Progress
    from services.datasets.running import Ready

_SHOWN = 20
"""Names that are printed of one message; `--verbose` prints all."""
_TABLES = "; frames.csv and masters.csv hold all"

Depth = Annotated[int, typer.Option("--search-depth", min=0, help="Folders that are looked into")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Name every file, not the first ones alone")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="The folder of the results")]


def process(
    base: Annotated[
        Path, typer.Argument(metavar="BASE", help="An index.csv, the folder of a dataset or of frames, a nightcal root")
    ],
    out: Out,
    *,
    search_depth: Depth = SEARCH_DEPTH,
    verbose: Verbose = False,
) -> int:
    """Make masters of the frames of a dataset, with tables of all frames, plots and comparisons.

    Frames that cannot be used are left out and named. What is as it must be is kept: a second call goes on where the
    first one ended.
    """
    with bars() as progress:
        found = processed(base, out, search_depth, progress)
    for line in said_of(found, out, verbose=verbose):
        print(line)
    return Exit.DONE if _is_whole(found) else Exit.SOME_FAILED


def processed(base: Path, out: Path, depth: int, progress: "Progress") -> "Processed":
    """Process a dataset: masters, tables, plots and comparisons are in `out` then."""
    from services.datasets.importing import alone
    from services.datasets.processing.plots import plot_all
    from services.datasets.processing.processing import looked_at, with_masters
    from services.datasets.processing.tables import write_frames, write_masters
    from services.files.locks import ResultsLock

    out = out.absolute()
    with alone(out, ResultsLock):
        found = looked_at(base, out, depth=depth, progress=progress)
        write_frames(found, out)
        found = with_masters(found, out, progress=progress)
        write_masters(found, out)
        plot_all(found, out, progress=lambda total, done: progress("plots", total, done))
    return found


def said_of(found: "Processed", out: Path, *, verbose: bool) -> Iterator[str]:
    """Yield what there is to say of a processed dataset: what was left out, what is worth a look, and the sums."""
    wholes = [each for each in found.masters if not each.wanted.attempt or each.state == "failed"]
    notes = [(f"left out: {why}", path) for path, why in found.unused.items()]
    notes += [(remark, Path(name)) for name, remark in found.remarks]
    notes += [(remark, Path(each.wanted.path.name)) for each in wholes for remark in each.remarks]
    yield from by_kind(notes, most=len(notes) if verbose else _SHOWN, elsewhere=_TABLES)
    files = {frame.path for frame in found.frames} | found.unused.keys()
    used = sum(len(group.frames) for group in found.groups)
    states = [each.state for each in found.masters]
    words = {"made": "made", "kept": "there already", "failed": "not made"}
    sums = ", ".join(f"{states.count(state)} {words[state]}" for state in words if state in states)
    yield f"{count(len(files), 'file')}: {used} in masters, {len(found.unused)} left out"
    yield f"{count(len(states), 'master')} of {count(len(found.groups), 'group')}: {sums or 'none'}"
    yield f"{out}: masters/, plots/, comparisons/, frame_stats.csv, frames.csv, masters.csv"


def run(
    layout: Annotated[str, typer.Argument(metavar="standard|irradiation", help="How the dataset is laid out")],
    base: Annotated[Path, typer.Argument(metavar="BASE", help="The folder of the dataset")],
    out: Out,
    *,
    frames_dir: Annotated[
        str, typer.Option("--frames-dir", metavar="NAME", help="Name of the folders of raw frames")
    ] = FRAMES_DIR,
    search_depth: Depth = SEARCH_DEPTH,
    verbose: Verbose = False,
) -> int:
    """Import, index and process a dataset in one go: TestSection1 to 3, or the stages of an irradiation.

    Raw frames that were converted before are kept. Of a dataset that may only be read everything goes below OUT.
    """
    from services.datasets.running import Arrangement, made_ready, stages_of

    if layout not in set(Arrangement):
        raise Usage(f"{layout!r} is no layout of a dataset", advice=f"one of {', '.join(Arrangement)}")
    base, out = base.absolute(), out.absolute()
    with bars() as progress:
        stages = stages_of(base, Arrangement(layout), out)
        ready = made_ready(base, stages, out, frames_dir=frames_dir, depth=search_depth, progress=progress)
        found = processed(ready.index, out, search_depth, progress)
    if ready.imported is not None:
        for line in said_of_import(ready.imported, verbose=verbose):
            print(line)
    for line in _said_of_index(ready, most=len(ready.indexed.left_out) if verbose else _SHOWN):
        print(line)
    for line in said_of(found, out, verbose=verbose):
        print(line)
    lost = ready.beside or ready.indexed.left_out or (ready.imported is not None and not ready.imported.is_whole)
    return Exit.SOME_FAILED if lost or not _is_whole(found) else Exit.DONE


def _said_of_index(ready: "Ready", *, most: int) -> Iterator[str]:
    """Yield what there is to say of the index of a dataset, and of what is in none of its stages."""
    notes = [(f"not in the index: {why}", path) for path, why in ready.indexed.left_out]
    notes += [("it is in no stage of the irradiation, and was not read", path) for path in ready.beside]
    yield from by_kind(notes, most=most)
    yield f"{ready.index}: {count(len(ready.indexed.rows), 'frame')}"


def _is_whole(found: "Processed") -> bool:
    return bool(found.masters) and not found.failed
