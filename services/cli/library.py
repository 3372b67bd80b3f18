"""`nightcal library list|publish|archive`: the masters, their states, and the frames they were made of."""

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.parameters import ConfigFile, Simulator, loaded_config
from services.errors import Exit, RunCode, Usage
from services.words import count as counted
from services.words import size

if TYPE_CHECKING:
    from services.catalogue.catalogue import Catalogue
    from services.catalogue.rows import MasterRow
    from services.config import LoadedConfig
    from services.files.layout import Layout
    from services.library.archive import Keep
    from services.root import Place


def list_masters(
    config: ConfigFile = None,
    simulator: Simulator = False,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Suspect and superseded masters too, beside those that may serve")
    ] = False,
) -> int:
    """List the masters that may serve, with their states and settings."""
    print_masters(loaded_config(config, simulator=simulator), everything=everything)
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
    if dry_run or layout.is_unused:
        with Catalogue(layout.catalogue, read_only=True) as catalogue:
            rows = due(catalogue, keep, SystemClock().now())
        print(f"{counted(len(rows), 'frame')} to pack{sized(sum(row.size for row in rows))}")
        return Exit.DONE
    return _pack(loaded, keep)


def publish(
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="The folder [default: serve.publish]")] = None,
    *,
    config: ConfigFile = None,
    simulator: Simulator = False,
) -> int:
    """Put the masters that are valid now into a folder, under names that stay, and take out those that are not."""
    from services.config.rehearsal import FOLDER
    from services.config.serving_rules import taken_folder
    from services.library.publish import publish as published

    loaded = loaded_config(config, simulator=simulator)
    target = folder or (None if loaded.config.serve.publish is None else Path(loaded.config.serve.publish))
    if target is None:
        raise Usage("no folder is named to publish masters to", advice="give one, or name it in serve.publish")
    root = loaded.root
    if root.name == FOLDER and not target.resolve().is_relative_to(root.resolve()):
        root = root.parent  # a rehearsal publishes nothing among real frames
    if (taken := taken_folder(loaded.config, root, target)) is not None:
        raise Usage(f"DIR: found {target} — allowed: a folder of its own, apart from {taken}")
    with opened(loaded) as place:
        done = published(place, target)
    print(f"{target}: {done}")
    for problem in done.problems:
        print(f"warning: {problem}", file=sys.stderr)
    return Exit.SOME_FAILED if done.problems else Exit.DONE


def _pack(loaded: "LoadedConfig", keep: "Keep") -> int:
    from drivers.clock import SystemClock
    from services.indexing.index import adopt
    from services.library.archive import archive, due
    from services.signals import install_signal_handlers

    wake = threading.Event()
    restore = install_signal_handlers(wake)
    count, left, before, after = 0, 0, 0, 0
    try:
        with opened(loaded) as place:
            catalogue = place.catalogue
            adopt(catalogue, place.layout)
            for packed in archive(catalogue, place.layout, due(catalogue, keep, SystemClock().now()), wake=wake):
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
def opened(loaded: "LoadedConfig") -> "Iterator[Place]":
    """Open the root of a configuration under its lock; at the end the masters valid then are published.

    Raises
    ------
    Usage
        There is nothing in it yet, so that nothing is made in it.
    ConfigInvalid
        Nothing can be stored in it.
    StorageError
        It is in use, or its catalogue cannot be opened.
    """
    from services.files.locks import RootLock
    from services.indexing.index import open_catalogue
    from services.library.publish import publish_as_configured
    from services.root import Place, check_folders, layout_of

    check_folders(loaded)
    layout = layout_of(loaded)
    if layout.is_unused:
        raise nothing_there(loaded, "frame and no master")
    with RootLock(layout.root), open_catalogue(layout) as catalogue:
        place = Place(layout=layout, catalogue=catalogue)
        yield place
        for problem in publish_as_configured(place, loaded.config).problems:
            print(f"warning: {problem}", file=sys.stderr)


def nothing_there(loaded: "LoadedConfig", what: str) -> Usage:
    """Return the error of a command that needs what a run makes, in a root in which no run was yet."""
    from services.config.rehearsal import FOLDER

    run = f"`nightcal run{' --simulator' if loaded.root.name == FOLDER else ''}`"
    advice = f"make it by {run}; if it is in another folder, go there, or name the YAML file of that with --config"
    if not loaded.config.camera.is_simulator:
        advice += "; what was made with --simulator is looked at with --simulator"
    return Usage(f"there is no {what} below {loaded.root} yet", code=RunCode.NOTHING_THERE, advice=advice)


def print_masters(loaded: "LoadedConfig", *, everything: bool = False) -> None:
    """Print the masters that are there. Nothing is made, and a run at work is not disturbed."""
    from services.catalogue.catalogue import Catalogue
    from services.indexing.foreseen import foreseen
    from services.root import layout_of

    layout = layout_of(loaded)
    known = layout.catalogue.exists()
    read = Catalogue(layout.catalogue, read_only=True) if known else foreseen(layout, aliases={})
    with read as catalogue:
        _print(_there(layout, catalogue), everything=everything)


def _there(layout: "Layout", catalogue: "Catalogue") -> "dict[str, MasterRow]":
    """Return the masters whose files are there, by name, whatever their status."""
    there = (row for row in catalogue.masters() if layout.absolute(row.path).is_file())
    return {PurePosixPath(row.path).name: row for row in there}


def _print(rows: "Mapping[str, MasterRow]", *, everything: bool = False) -> None:
    """Print masters; of a key with one that may serve only those that do, unless everything is asked for."""
    from services.catalogue.rows import MasterStatus

    over = (MasterStatus.SUPERSEDED, MasterStatus.BAD)
    serving = {row.shelf for row in rows.values() if row.may_serve and row.status not in over}
    open_ = {name for name, row in rows.items() if row.status is MasterStatus.SUSPECT and row.stood_as is None}
    shown = {
        name: row
        for name, row in rows.items()
        if everything or name in open_ or row.shelf not in serving or (row.may_serve and row.status not in over)
    }
    if not shown:
        print("no master that may serve: the masters step builds them")
    for _, row in sorted(shown.items()):
        print(line_of(row))
    if len(shown) < len(rows):
        print(f"and {counted(len(rows) - len(shown), 'master')} that others have replaced: --all shows them")


def line_of(row: "MasterRow") -> str:
    """Return a master as a line: its state, its name, how it was taken, how many frames it has, and what is wrong."""
    from services.library.lookup import describe

    return f"{row.status:<10} {PurePosixPath(row.path).name}  {describe(row)}, {counted(row.n, 'frame')}{_remark(row)}"


def _remark(row: "MasterRow") -> str:
    """Return why a master does not serve, what is suspect about it, and what is new in it, as the end of its line."""
    from services.events.findings import findings_of, notes_of
    from services.events.sentences import finding

    found = "; ".join(map(finding, findings_of(row.statistics)))
    suspect = f"suspect: {found}" if found and found not in row.detail else ""
    new = "; ".join(map(finding, notes_of(row.statistics)))
    return "".join(f"  {part}" for part in (row.detail, suspect, new) if part)
