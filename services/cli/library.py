"""`nightcal library list|certify|archive`: the masters, their states, and the frames they were made of."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.parameters import ConfigFile, Simulator, loaded_config
from services.errors import Exit, Usage
from services.words import count as counted
from services.words import size

if TYPE_CHECKING:
    from services.catalogue.catalogue import Catalogue
    from services.catalogue.rows import MasterRow
    from services.files.layout import Layout
    from services.library.archive import Keep


def list_masters(config: ConfigFile = None, simulator: Simulator = False) -> int:
    """List the masters that may serve, with their states."""
    from services.catalogue.catalogue import Catalogue
    from services.root import layout_of

    layout = layout_of(loaded_config(config, simulator=simulator))
    if layout.catalogue.exists():  # then a run at work is not disturbed
        with Catalogue(layout.catalogue, read_only=True) as catalogue:
            _print(_usable(layout, catalogue))
    else:
        with _opened(config, simulator=simulator) as (layout, catalogue):
            _print(_usable(layout, catalogue))
    return Exit.DONE


def certify(
    masters: Annotated[
        list[str] | None, typer.Argument(metavar="[MASTER]...", help="Files, or patterns such as 'master_dark_*'")
    ] = None,
    *,
    config: ConfigFile = None,
    simulator: Simulator = False,
) -> int:
    """Mark masters as looked at and found good; without names list them.

    `load_master_dark` and its kin take certified masters before others, and with `storage.keep_raw: until_certified`
    the frames of these may be packed. A flat's own dark stays the nearest in time, certified or not.
    """
    from services.catalogue.rows import MasterStatus
    from services.indexing.checksums import check_pixels
    from services.indexing.sidecar import restate_sidecar

    with _opened(config, simulator=simulator) as (layout, catalogue):
        rows = _usable(layout, catalogue)
        if not masters:
            _print(rows)
        chosen = _chosen(masters or [], rows, layout.root)
        for row in chosen.values():  # none is marked unless all are as they were written
            check_pixels(replace(row, size=None), layout.absolute(row.path))  # read, however unchanged it looks
        for name, row in chosen.items():
            restate_sidecar(layout, replace(row, status=MasterStatus.CERTIFIED))
            catalogue.set_master_status(row.path, MasterStatus.CERTIFIED)
            print(f"certified  {name}{_suspect(row)}")
    return Exit.DONE


def archive(
    *,
    config: ConfigFile = None,
    simulator: Simulator = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many frames there are to pack")] = False,
) -> int:
    """Pack frames whose masters are built (Rice, without loss) as `storage.keep_raw` says."""
    from drivers.clock import SystemClock
    from services.catalogue.catalogue import Catalogue
    from services.library.archive import FOREVER, due
    from services.root import layout_of

    loaded = loaded_config(config, simulator=simulator)
    keep, layout = loaded.config.storage.keep_raw, layout_of(loaded)
    if keep == FOREVER:
        print("storage.keep_raw is `forever`: nothing is packed — allowed: a number of days, or until_certified")
        return Exit.DONE
    if dry_run:
        with Catalogue(layout.catalogue, read_only=True) as catalogue:
            rows = due(catalogue, keep, SystemClock().now())
        print(f"{counted(len(rows), 'frame')} to pack{sized(sum(row.size for row in rows))}")
        return Exit.DONE
    return _pack(layout, keep)


def _pack(layout: "Layout", keep: "Keep") -> int:
    from drivers.clock import SystemClock
    from services.files.locks import RootLock
    from services.indexing.index import adopt, open_catalogue
    from services.library.archive import archive, due
    from services.platform import install_signal_handlers

    wake = threading.Event()
    restore = install_signal_handlers(wake)
    count, left, before, after = 0, 0, 0, 0
    try:
        with RootLock(layout.root), open_catalogue(layout) as catalogue:
            adopt(catalogue, layout)
            for packed in archive(catalogue, layout, due(catalogue, keep, SystemClock().now()), wake=wake):
                if packed.row is None:
                    left += 1
                    print(f"left: {packed.problem}")
                    continue
                count, before, after = count + 1, before + packed.before_bytes, after + packed.row.size
    finally:
        restore()
        print(f"{counted(count, 'frame')} packed{sized(before, after)}")
    return Exit.SOME_FAILED if left else Exit.DONE


def sized(*sizes_bytes: int) -> str:
    """Return sizes as the end of a line: ", 1.3 GB → 640 MB"; nothing where there is nothing."""
    return f", {' → '.join(map(size, sizes_bytes))}" if any(sizes_bytes) else ""


@contextmanager
def _opened(config: Path | None, *, simulator: bool) -> "Iterator[tuple[Layout, Catalogue]]":
    """Open the catalogue of a configuration under the root's lock."""
    from services.files.locks import RootLock
    from services.indexing.index import open_catalogue
    from services.root import layout_of

    layout = layout_of(loaded_config(config, simulator=simulator))
    with RootLock(layout.root), open_catalogue(layout) as catalogue:
        yield layout, catalogue


def _usable(layout: "Layout", catalogue: "Catalogue") -> "dict[str, MasterRow]":
    """Return the masters that may serve and whose files are there, by name."""
    from services.catalogue.rows import USABLE

    there = (row for row in catalogue.masters() if layout.absolute(row.path).is_file())
    return {PurePosixPath(row.path).name: row for row in there if row.status in USABLE}


def _print(rows: "Mapping[str, MasterRow]") -> None:
    if not rows:
        print("no master that may serve: the masters step builds them")
    for name, row in sorted(rows.items()):
        print(f"{row.status:<10} {name}{_suspect(row)}")


def _suspect(row: "MasterRow") -> str:
    """Return what is suspect about a master, as the end of its line."""
    from services.events.records import findings_of
    from services.events.sentences import finding

    found = findings_of(row.statistics)
    return f"  suspect: {'; '.join(map(finding, found))}" if found else ""


def _chosen(names: list[str], rows: "Mapping[str, MasterRow]", root: Path) -> "dict[str, MasterRow]":
    """Return the masters that names or patterns mean; a sidecar means its master: a shell's `master_*` names both."""
    chosen: dict[str, MasterRow] = {}
    for wanted in names:
        path = Path(wanted)
        pattern = path.with_suffix(".fits").name if path.suffix == ".json" else path.name
        found = {name: row for name, row in sorted(rows.items()) if fnmatch(name, pattern)}
        if not found:
            raise Usage(f"no master {wanted} that may serve below {root} — `nightcal library list` lists them")
        chosen |= found
    return chosen
