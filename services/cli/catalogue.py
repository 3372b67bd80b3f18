"""`nightcal catalogue rebuild` and `nightcal report`: what is known of frames, masters and runs."""

from collections.abc import Iterable
from functools import reduce
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.library import nothing_there, opened
from services.cli.parameters import ConfigFile, Simulator, loaded_config
from services.errors import Exit, Usage
from services.words import count, length

if TYPE_CHECKING:
    from services.events.records import Event


def rebuild(config: ConfigFile = None, simulator: Simulator = False) -> int:
    """Rebuild the index from the headers of the files: they are the truth."""
    from services.indexing import index
    from services.library.standing import settle

    loaded = loaded_config(config, simulator=simulator)
    with opened(loaded) as place:
        found = index.rebuild(place.catalogue, place.layout)
        settle(place)
    for problem in found.problems:
        print(f"left out: {problem.path}: {problem.reason}")
    made = f"{count(found.adopted, 'frame')} and {count(found.masters, 'master')}"
    print(f"{place.layout.catalogue}: {made} from their files")
    return Exit.DONE


def report(
    run_id: Annotated[str | None, typer.Argument(metavar="RUN_ID", help="The run [default: the newest]")] = None,
    *,
    config: ConfigFile = None,
    simulator: Simulator = False,
) -> int:
    """Make the report of a run again, also while it goes on, and print where it is."""
    # No lock is taken: the index is only read, and a report is replaced as a whole.
    from services.catalogue.catalogue import Catalogue
    from services.events.journal import read_journal
    from services.library.rejecting import MARKS
    from services.reports.night import still_runs
    from services.reports.page import write_report
    from services.root import layout_of

    loaded = loaded_config(config, simulator=simulator)
    layout = layout_of(loaded)
    known = sorted(journal.stem for journal in layout.events("any").parent.glob("*.jsonl") if journal.stem != MARKS)
    if not known:
        raise nothing_there(loaded, "run")
    if run_id is not None and run_id not in known:
        detail = f"there is no run {run_id} below {layout.root}; the last ones: {', '.join(known[-3:])}"
        raise Usage(detail, advice="name one of these runs, or none for the newest")
    with Catalogue(layout.catalogue, read_only=True) as catalogue:
        newest = next((run.run_id for run in catalogue.runs() if run.run_id in known), known[-1])
        for written in write_report(layout, catalogue, run_id or newest):
            print(written)
    print(
        _progress(read_journal(layout.events(run_id or newest)), goes_on=still_runs(layout, run_id or newest)), end=""
    )
    return Exit.DONE


def _progress(events: "Iterable[Event]", *, goes_on: bool) -> str:
    """Return how far a run without an end is: frames, the set in hand, and, of one that goes on, the time to come.

    Nothing of a run that has ended.
    """
    from services.events.records import GroupStarted
    from services.events.sentences import title
    from services.workflow.snapshot import RunState, Snapshot, advance

    events = tuple(events)
    now = reduce(advance, events, Snapshot(run_id=""))
    begun = [event.what for event in events if isinstance(event.what, GroupStarted)]
    parts = [f"{now.done} of {count(now.wanted, 'frame')}"]
    if now.group is not None:
        parts.append(f"{title(begun[-1])}: {now.frame} of {now.frames}")
    if now.state is RunState.FINISHED:
        return ""
    if not goes_on:
        return f"cut off, its process is gone: {'; '.join(parts)}; the same command takes what is missing\n"
    if now.waiting:
        parts.append(f"waiting: {now.waiting}")
    if now.remaining_s:
        parts.append(f"about {length(now.remaining_s)} of exposures to go")
    return f"still running: {'; '.join(parts)}\n"
