"""`nightcal certify`: marks masters that somebody has looked at and found good."""

from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from services.cli.parameters import default_config
from services.errors import Exit, Usage


def certify(path: Path | None, names: list[str], *, simulator: bool) -> int:
    """Mark the named masters as certified, in their sidecars and in the index; without names list what there is.

    Raises
    ------
    Usage
        A name fits no master that may serve.
    """
    from services.config import load, simulated
    from services.storage.index import open_catalogue
    from services.storage.locks import RootLock
    from services.storage.roots import layout_of
    from services.storage.rows import USABLE, MasterStatus
    from services.storage.sidecar import restate_sidecar

    loaded = load(path or default_config())
    layout = layout_of(simulated(loaded) if simulator else loaded)
    with RootLock(layout.root), open_catalogue(layout) as catalogue:
        rows = {PurePosixPath(row.path).name: row for row in catalogue.masters() if row.status in USABLE}
        for name, row in sorted(rows.items()) if not names else ():
            print(f"{row.status:<10} {name}")
        for wanted in names:
            found = [name for name in sorted(rows) if fnmatch(name, Path(wanted).name)]
            if not found:
                raise Usage(f"no master {wanted} below {layout.root} — `nightcal certify` without a name lists them")
            for name in found:
                restate_sidecar(layout, replace(rows[name], status=MasterStatus.CERTIFIED))
                catalogue.set_master_status(rows[name].path, MasterStatus.CERTIFIED)
                print(f"certified  {name}")
    return Exit.DONE
