"""`nightcal report`."""

from pathlib import Path

from services.cli.parameters import default_config
from services.errors import Exit, Usage


def make_report(path: Path | None, run_id: str | None, *, simulator: bool) -> int:
    """Make the report of a run again, by default the newest one's, and print where it is.

    No lock is taken: the index is only read, and a report is replaced as a whole. So a night can be looked at while it
    goes on.

    Raises
    ------
    Usage
        There is no such run.
    """
    from services.catalogue.catalogue import Catalogue
    from services.config import load, simulated
    from services.reports import write_report
    from services.root import layout_of

    loaded = load(path or default_config())
    layout = layout_of(simulated(loaded) if simulator else loaded)
    known = sorted(journal.stem for journal in layout.events("any").parent.glob("*.jsonl"))
    if not known:
        raise Usage(
            f"there was no run below {layout.root} yet{'' if simulator else '; --simulator looks at rehearsals'}"
        )
    if run_id is not None and run_id not in known:
        raise Usage(f"no run {run_id} below {layout.root} — the last ones: {', '.join(known[-3:])}")
    with Catalogue(layout.catalogue, read_only=True) as catalogue:
        for written in write_report(layout, catalogue, run_id or known[-1]):
            print(written)
    return Exit.DONE
