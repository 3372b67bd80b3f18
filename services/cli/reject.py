"""`nightcal reject`: frames that are not to be used, and masters that were made with them."""

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.library import line_of, opened
from services.cli.orders import give
from services.cli.parameters import ConfigFile, Simulator, loaded_config
from services.errors import Exit, Usage
from services.words import count, some

if TYPE_CHECKING:
    from services.catalogue.rows import FrameRow
    from services.config import LoadedConfig
    from services.root import Place


def reject(
    frames: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FRAME|MASTER]...", help="Files, or patterns such as 'dark_*_007.fits'"),
    ] = None,
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="What is wrong with them")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take the rejection back")] = False,
    config: ConfigFile = None,
    simulator: Simulator = False,
) -> int:
    """Mark frames or masters as bad.

    Masters made with a rejected frame are suspect, and the next run builds them anew. In the place of a rejected master
    the one before it serves. The files stay where they are, as they are. Without names all that is rejected is listed.
    """
    from services.library.orders import MasterOrder, MasterWord

    loaded = loaded_config(config, simulator=simulator)
    reason = " ".join(reason.split())
    if frames and not undo and not reason:
        raise Usage("reject needs --reason TEXT: what is wrong with the frames — or --undo, to take that back")
    if not frames and (undo or reason):
        raise Usage("reject: which frames? — allowed: files, or patterns such as 'dark_*_007.fits'")
    if not frames:
        _print_marks(loaded)
        return Exit.DONE
    masters = tuple(name for name in frames if PurePosixPath(name.replace("\\", "/")).name.startswith("master_"))
    named = [name for name in frames if name not in masters]
    with opened(loaded) as place:
        chosen = _chosen(named, place, loaded, undo=undo) if named else []
        word = MasterWord.UNREJECT if undo else MasterWord.REJECT
        answer = give(place, MasterOrder(order=word, masters=masters, frames=tuple(row.path for row in chosen),
                                         reason=reason))  # fmt: skip
        for path in (row.path for rows in (chosen, answer.masters) for row in rows):
            print(f"{'restored' if undo else 'rejected'}   {path}{f': {reason}' if reason and not undo else ''}")
        for master in answer.changed:
            if master not in answer.masters or undo:
                print(line_of(master))
        for sentence in _left(place, chosen, loaded, undo=undo):
            print(sentence)
    return Exit.DONE


def _print_marks(loaded: "LoadedConfig") -> None:
    """Print which frames and masters are rejected; a run at work is not disturbed."""
    from services.catalogue.catalogue import Catalogue
    from services.catalogue.rows import MasterStatus
    from services.root import layout_of

    with Catalogue(layout_of(loaded).catalogue, read_only=True) as catalogue:
        marks = catalogue.marks()
        masters = catalogue.masters(status=MasterStatus.BAD, with_inputs=False)
    for mark in marks:
        at = "" if mark.at is None else f" {mark.at:%Y-%m-%d}"
        print(f"rejected{at}  {mark.path}{f': {mark.reason}' if mark.reason else ''}")
    for row in masters:
        at = "" if row.bad is None or row.bad.at is None else f" {row.bad.at:%Y-%m-%d}"
        print(f"rejected{at}  {row.path}{row.detail.removeprefix('rejected')}")
    if not marks and not masters:
        print("no frame is rejected, and no master")


def _left(place: "Place", chosen: "list[FrameRow]", loaded: "LoadedConfig", *, undo: bool) -> "list[str]":
    """Return what is left of the sets of frames, and what becomes of their masters."""
    from services.catalogue.rows import Flag
    from services.events.sentences import title
    from services.planning.master_settings import MasterSettings

    settings, said = MasterSettings.of(loaded.config), []
    for row in {row.set_id: row for row in chosen if row.set_id is not None}.values():
        left = place.catalogue.frames(set_id=row.set_id, kind=row.kind, flag=Flag.OK)
        least = settings.least(row.kind, row.source, row)
        then = "the next run builds its master of these" + (", unless that is there" if undo else "")
        if len(left) < least:
            then = f"too few for a master, which takes {least}"
        said.append(
            f"{count(len(left), f'{title(row)} frame')} {'there' if undo else 'left'} of set {row.set_id}: {then}"
        )
    return said


def _chosen(names: list[str], place: "Place", loaded: "LoadedConfig", *, undo: bool) -> "list[FrameRow]":
    """Return the frames that names or patterns mean; those that the catalogue does not know yet are read.

    With `undo` those of them that are rejected.
    """
    from services.catalogue.rows import Flag
    from services.indexing.foreign import index_files
    from services.indexing.index import adopt

    adopt(place.catalogue, place.layout)
    files = [path for name in names if (path := _file(name, place)) is not None]
    new = {path: (0, 0) for path in files if place.catalogue.frame(path) is None}
    if new:
        site = loaded.config.site
        longitude_deg = None if site is None else site.longitude
        index_files(place.catalogue, new, place.layout, longitude_deg, loaded.config.header_aliases)
    rows = place.catalogue.frames()
    named = {row.path: row for name in names for row in _named(name, rows, place)}
    chosen = [row for row in named.values() if not undo or row.flag is Flag.BAD]
    if not chosen:
        detail = f"reject --undo: {some(named)} {'is' if len(named) == 1 else 'are'} not rejected"
        raise Usage(detail, advice="`nightcal reject` lists the frames that are")
    return chosen


def _named(name: str, rows: "list[FrameRow]", place: "Place") -> "list[FrameRow]":
    """Return the frames of one name: that of a file, a path below the root, or a file name that may be a pattern."""
    exact = {name, _file(name, place)}
    found = [row for row in rows if row.path in exact or row.path.removesuffix(".fz") in exact]
    if found:
        return found
    pattern = _below(name, place.root)
    found = [row for row in rows if PurePosixPath(row.path.removesuffix(".fz")).match(pattern)]
    if not found:
        folders = some(place.layout.relative(each) for each in (place.layout.darks, place.layout.flats))
        detail = f"there is no bias, dark or flat {name} in the folders {folders} of {place.root}"
        raise Usage(detail, advice="name a file that is there, or a pattern such as 'dark_*_007.fits'")
    if len(found) > 1 and not any(sign in pattern for sign in "*?["):
        raise Usage(f"several frames are called {name} — say which: {some(row.path for row in found)}")
    return found


def _below(pattern: str, root: Path) -> str:
    """Return a pattern for paths below the root: with folders it matches whole folders too, from the right."""
    words = pattern.replace("\\", "/").removeprefix("./")
    above = root.as_posix().rstrip("/") + "/"
    return words.removeprefix(above) if words.startswith(above) else words


def _file(name: str, place: "Place") -> str | None:
    """Return the path of a file as the catalogue has it; None where there is no such file in the folders of frames."""
    for path in (Path(name).absolute(), place.root / name):
        if path.is_file() and any(path.is_relative_to(folder) for folder in (place.layout.darks, place.layout.flats)):
            return place.layout.relative(path)
    return None
