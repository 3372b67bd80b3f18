"""`nightcal catalogue rebuild`."""

from pathlib import Path

from services.cli.parameters import default_config
from services.errors import Exit


def rebuild(path: Path | None, *, simulator: bool) -> int:
    """Rebuild the index below the configuration's root, under its lock."""
    from services.config import load, simulated
    from services.storage.index import open_catalogue
    from services.storage.locks import RootLock
    from services.storage.roots import layout_of

    loaded = load(path or default_config())
    loaded = simulated(loaded) if simulator else loaded
    layout = layout_of(loaded)
    with RootLock(loaded.root), open_catalogue(layout) as catalogue:
        report = catalogue.rebuild(layout)
    for problem in report.problems:
        print(f"left out: {problem.path}: {problem.reason}")
    print(f"{layout.catalogue}: {report.adopted} frames and {report.masters} masters from their files")
    return Exit.DONE
