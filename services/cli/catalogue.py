"""`nightcal catalogue rebuild`."""

from pathlib import Path

from services.cli.parameters import default_config
from services.errors import Exit


def rebuild(path: Path | None, *, simulator: bool) -> int:
    """Rebuild the index below the configuration's root, under its lock."""
    from services.config import load, simulated
    from services.files.locks import RootLock
    from services.indexing import index
    from services.root import layout_of

    loaded = load(path or default_config())
    loaded = simulated(loaded) if simulator else loaded
    layout = layout_of(loaded)
    with RootLock(loaded.root), index.open_catalogue(layout) as catalogue:
        report = index.rebuild(catalogue, layout)
    for problem in report.problems:
        print(f"left out: {problem.path}: {problem.reason}")
    print(f"{layout.catalogue}: {report.adopted} frames and {report.masters} masters from their files")
    return Exit.DONE
