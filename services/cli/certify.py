"""`nightcal certify`: marks masters that somebody has looked at and found good."""

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from services.cli.parameters import default_config
from services.errors import Exit, Usage

if TYPE_CHECKING:
    from services.catalogue.rows import MasterRow


def certify(path: Path | None, names: list[str], *, simulator: bool) -> int:
    """Mark the named masters as certified, in their sidecars and in the index; without names list what there is.

    Raises
    ------
    Usage
        A name fits no master that is there and may serve; none is marked.
    Unreadable
        A master's pixels are not those that were written; none is marked.
    """
    from services.catalogue.rows import USABLE, MasterStatus
    from services.config import load, simulated
    from services.files.locks import RootLock
    from services.indexing.index import open_catalogue
    from services.indexing.integrity import check_pixels
    from services.indexing.sidecar import restate_sidecar
    from services.root import layout_of

    loaded = load(path or default_config())
    layout = layout_of(simulated(loaded) if simulator else loaded)
    with RootLock(layout.root), open_catalogue(layout) as catalogue:
        there = (row for row in catalogue.masters() if layout.absolute(row.path).is_file())
        rows = {PurePosixPath(row.path).name: row for row in there if row.status in USABLE}
        for name, row in sorted(rows.items()) if not names else ():
            print(f"{row.status:<10} {name}")
        chosen = _chosen(names, rows, layout.root)
        for row in chosen.values():
            check_pixels(replace(row, size=None), layout.absolute(row.path))  # read, however unchanged it looks
        for name, row in chosen.items():
            restate_sidecar(layout, replace(row, status=MasterStatus.CERTIFIED))
            catalogue.set_master_status(row.path, MasterStatus.CERTIFIED)
            print(f"certified  {name}")
    return Exit.DONE


def _chosen(names: list[str], rows: "Mapping[str, MasterRow]", root: Path) -> "dict[str, MasterRow]":
    """Return the masters that names or patterns mean; a sidecar means its master: a shell's `master_*` names both."""
    chosen: dict[str, MasterRow] = {}
    for wanted in names:
        path = Path(wanted)
        pattern = path.with_suffix(".fits").name if path.suffix == ".json" else path.name
        found = {name: row for name, row in sorted(rows.items()) if fnmatch(name, pattern)}
        if not found:
            raise Usage(f"no master {wanted} that may serve below {root} — `nightcal certify` alone lists them")
        chosen |= found
    return chosen
