"""`nightcal dataset`: frames that other systems took become FITS frames and an index."""

import os
import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.counting import bars
from services.cli.failures import complain
from services.datasets import FRAMES_DIR, SEARCH_DEPTH
from services.errors import Exit, Usage
from services.words import count, some

if TYPE_CHECKING:
    from services.datasets.attempts import Section
    from services.datasets.importing import Imported
    from services.datasets.index import Indexed

_SHOWN = 20
"""Messages of one kind that are printed; `--verbose` prints all."""
Depth = Annotated[int, typer.Option("--search-depth", min=0, help="Folders below a section that are looked into")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print every message, not the first of each kind alone")]


def import_frames(
    sections: Annotated[
        list[Path],
        typer.Argument(metavar="SECTION...", help="One folder with all, or those of biases, darks and flats"),
    ],
    *,
    frames_dir: Annotated[
        str, typer.Option("--frames-dir", metavar="NAME", help="Name of the folders of frames")
    ] = FRAMES_DIR,
    search_depth: Depth = SEARCH_DEPTH,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Make the frames in this folder [default: fits/ in each attempt]"),
    ] = None,
    skip_bias: Annotated[bool, typer.Option("--skip-bias", help="Leave biases out")] = False,
    skip_dark: Annotated[bool, typer.Option("--skip-dark", help="Leave darks out")] = False,
    skip_flat: Annotated[bool, typer.Option("--skip-flat", help="Leave flats out")] = False,
    big_endian: Annotated[
        bool, typer.Option("--big-endian", help="The higher byte of each count comes first in the raw files")
    ] = False,
    verbose: Verbose = False,
) -> int:
    """Convert raw frames with their settings and logs into FITS frames, and write fits_index.csv.

    Frames that are there already are kept, so that a second call goes on where the first one ended.
    """
    from services.datasets.conversion import Conversion
    from services.datasets.importing import import_raws

    chosen = _sections(sections, skipped={"BIAS": skip_bias, "DARK": skip_dark, "FLAT": skip_flat})
    how = Conversion(
        out=None if out is None else out.absolute(), big_endian=big_endian, workers=min(4, os.cpu_count() or 1)
    )
    with counting("raw files") as (begun, progress):
        found = import_raws(chosen, how, frames_dir=frames_dir, depth=search_depth, begun=begun, progress=progress)
    if not found.files and not found.outside:
        looked = [each for each in chosen if not each.is_skipped]
        raise _nothing(looked, "attempts", deeper=found.deeper, depth=search_depth)
    for line in said_of_import(found, verbose=verbose):
        print(line)
    if found.deeper:
        print("there are deeper folders, which were not looked into: a larger --search-depth does")
    if found.problem:
        complain("write_failed", found.problem, advice="see to it, or name a folder with --out DIR")
        return Exit.STORAGE
    return Exit.DONE if found.is_whole else Exit.SOME_FAILED


def _sections(roots: Sequence[Path], skipped: dict[str, bool]) -> tuple["Section", ...]:
    """Return the sections of a call: three folders are biases, darks and flats; else their names say what is what.

    Raises
    ------
    Usage
        A folder is not there.
    """
    from calibration.frames import FrameKind
    from services.datasets.attempts import Section
    from services.datasets.index import with_the_rest

    for root in roots:
        if not root.is_dir():
            raise Usage(f"{root} is no folder", advice="name the folders of the dataset")
    if len(roots) == 3:
        kinds: tuple[FrameKind | None, ...] = (FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT)
        sections = [Section(root=root.absolute(), kind=kind) for root, kind in zip(roots, kinds, strict=True)]
    else:
        sections = [each for root in roots for each in with_the_rest(root.absolute())]
    return tuple(replace(each, is_skipped=each.kind is not None and skipped[each.kind.value]) for each in sections)


_OUTSIDE = "it is part of no attempt, and was not read: --frames-dir names folders of frames that are called otherwise"


def _nothing(sections: Iterable["Section"], what: str, *, deeper: bool, depth: int, also: str = "") -> Usage:
    roots = some(str(each.root) for each in sections) or "the folders that were named"
    more = (
        f"try a larger --search-depth than {depth}{also}"
        if deeper
        else "look whether these are the folders that were meant"
    )
    return Usage(f"no {what} found below {roots}", advice=more)


def said_of_import(found: "Imported", *, verbose: bool) -> Iterator[str]:
    """Yield what an import is to say: each message with its files, then the sums."""
    from services.datasets.described import Outcome

    notes = [(note, each.raw) for each in found.files for note in each.notes]
    for each in found.files:  # one that is lost is named by itself
        place = each.raw if each.outcome is Outcome.NO_SIZE else each.attempt.folder
        notes += [(note, place) for note in each.of_attempt]
    notes += [(_OUTSIDE, raw) for raw in found.outside]
    notes += [(why, folder) for folder, why in found.unread]
    yield from by_kind(notes, most=len(notes) if verbose else _SHOWN)
    counts = found.counts()
    words = {
        Outcome.MADE: "converted",
        Outcome.THERE: "there already",
        Outcome.FOREIGN: "kept as another program made them",
        Outcome.NO_SIZE: "left out: the size of their image is not known",
        Outcome.UNREADABLE: "left out: they cannot be read",
        Outcome.NOT_WRITTEN: "not written",
    }
    said = [f"{counts[outcome]} {words[outcome]}" for outcome in Outcome if counts[outcome]]
    said += [f"{len(found.outside)} not read: part of no attempt"] if found.outside else []
    yield f"{count(len(found.files) + len(found.outside), 'raw file')}: {', '.join(said)}"
    if counts[Outcome.NOT_WRITTEN]:
        yield "What to do: make room, or see to the permissions, then run again; or name another folder with --out DIR"
    if found.index is not None and not found.problem:
        yield f"{found.index}: {count(sum(each.is_there for each in found.files), 'frame')}"


def by_kind(notes: Iterable[tuple[str, Path]], *, most: int, elsewhere: str = "") -> Iterator[str]:
    """Yield messages with what they are of, those of one kind together: they differ in numbers and files alone.

    Parameters
    ----------
    notes : iterable of (str, Path)
    most : int
        Of each kind, how many are yielded.
    elsewhere : str
        Where the others stand beside `--verbose`, in words.
    """
    kinds: defaultdict[str, dict[tuple[str, Path], None]] = defaultdict(dict)  # each once, in order
    for note, path in notes:
        same = re.sub(r"\d+", "#", re.sub(r"(?<= of )(/|\w:\\).*", "", note))
        kinds[same][note, path] = None
    for said in kinds.values():
        first = next(iter(said))[0]
        are_equal = all(note == first for note, _ in said)
        if are_equal:
            yield f"{first}:"
        yield from (f"  {path}" if are_equal else f"{path}: {note}" for note, path in list(said)[:most])
        if len(said) > most:
            yield f"  and {len(said) - most} more (--verbose names them{elsewhere})"


@contextmanager
def counting(what: str) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """Give two functions that show progress on a terminal: how many there are, and how many were done."""
    with bars() as show:
        yield lambda total: show(what, total, 0), lambda done: show(what, None, done)


def index(
    out: Annotated[Path, typer.Argument(metavar="OUTPUT_CSV", help="The table to write")],
    *,
    bias: Annotated[list[Path] | None, typer.Option("--bias", metavar="DIR", help="A folder of biases")] = None,
    dark: Annotated[list[Path] | None, typer.Option("--dark", metavar="DIR", help="A folder of darks")] = None,
    flat: Annotated[list[Path] | None, typer.Option("--flat", metavar="DIR", help="A folder of flats")] = None,
    discover: Annotated[
        list[Path] | None,
        typer.Option("--discover", metavar="DIR", help="Find the folders of biases, darks and flats below"),
    ] = None,
    root: Annotated[
        list[Path] | None,
        typer.Option("--root", metavar="DIR", help="A folder that nightcal has stored frames in, with its catalogue"),
    ] = None,
    stage: Annotated[
        str,
        typer.Option(
            "--stage", metavar="pre|radiating|post", help="The stage of all frames [default: by their folders]"
        ),
    ] = "",
    vacuum: Annotated[
        str, typer.Option("--vacuum", metavar="vacuum|air", help="What surrounded the sensor [default: by the folders]")
    ] = "",
    search_depth: Depth = SEARCH_DEPTH,
    verbose: Verbose = False,
) -> int:
    """Write index.csv: a row for each FITS frame, bad ones marked. No frame is changed."""
    from calibration.frames import FrameKind
    from services.datasets.attempts import Section
    from services.datasets.index import Asked, bad_ones, discovered, fits_outside, index_of, write_index

    named = [(FrameKind.BIAS, bias), (FrameKind.DARK, dark), (FrameKind.FLAT, flat)]
    sections = [Section(root=root.absolute(), kind=kind) for kind, roots in named for root in roots or ()]
    sections += [found for folder in discover or () for found in discovered(folder.absolute())]
    roots = _roots(root or (), discover or ())
    if not sections and not discover and not roots:
        advice = "name folders with --bias, --dark, --flat, or one with --discover or --root"
        raise Usage("no section is named", advice=advice)
    if discover and not sections and not roots:
        where = some(str(folder) for folder in discover)
        raise Usage(f"no folder below {where} is named for biases, darks or flats", advice=_NAME_THEM)
    _refuse(out, sections)
    asked = Asked(stage=_stage(stage), vacuum=_vacuum(vacuum), depth=search_depth)
    with counting("frames") as (_, progress):
        found = index_of(sections, out.absolute(), asked, roots=roots, progress=progress)
    if found.is_empty:
        searched = sections or [Section(root=folder) for folder in roots]
        raise _nothing(searched, "attempts", deeper=True, depth=search_depth, also=_RAW)
    write_index(out.absolute(), found)
    for line in _notes(found, verbose=verbose):
        print(line)
    listed = [*sections, *(Section(root=folder) for folder in roots)]
    for folder in discover or ():
        if strays := fits_outside(folder.absolute(), listed, search_depth):
            print(f"note: {count(len(strays), 'FITS file')} below {folder} in no section, not listed: {_NAME_THEM}")
    bad = sum(1 for _ in bad_ones(found))
    print(
        f"{out}: {count(len(found.rows), 'frame')}, of which {bad} bad; {count(len(found.left_out), 'file')} left out"
    )
    return Exit.SOME_FAILED if found.left_out else Exit.DONE


_RAW = "; raw frames become FITS frames with `nightcal dataset import` first"


def _notes(found: "Indexed", *, verbose: bool) -> Iterator[str]:
    """Yield what is to be said of single files of an index."""
    left = [f"{path}: {why}" for path, why in found.left_out]
    left += [f"{path}: it says that it is a {kind.value.lower()}" for path, kind in found.others]
    yield from (f"note: {line}" for line in (left if verbose else left[:_SHOWN]))
    if len(left) > _SHOWN and not verbose:
        yield f"note: and {count(len(left) - _SHOWN, 'more file')} (--verbose names them)"


_NAME_THEM = (
    "name the folders with --bias, --dark and --flat; --discover knows bias, darks, flats and TestSection1 to 3"
)


def _roots(named: Sequence[Path], discover: Sequence[Path]) -> list[Path]:
    """Return the folders with a catalogue of ours: those that are named, and those that are found.

    Raises
    ------
    Usage
        A folder that is named has none.
    """
    from services.datasets.of_root import is_root, roots_below

    for each in named:
        if not is_root(each):
            advice = "name the folder of the configuration; folders of other frames are named with --discover"
            raise Usage(f"{each} is no folder of nightcal: it has no catalogue", advice=advice)
    found = [each for folder in discover for each in roots_below(folder.absolute())]
    return list(dict.fromkeys([*(each.absolute() for each in named), *found]))


def _refuse(out: Path, sections: Sequence["Section"]) -> None:
    """Refuse a table in place of a frame, and a section of several kinds: its frames would all be taken for one."""
    from services.datasets.index import discovered
    from services.files.fits import FITS_SUFFIXES

    if out.name.lower().endswith((*FITS_SUFFIXES, ".raw")):
        raise Usage(f"{out} is the name of a frame", advice="name the table first: nightcal dataset index index.csv …")
    for section in sections:
        if not section.root.is_dir():
            raise Usage(f"{section.root} is no folder", advice="name the folders of the dataset")
        others = [each for each in discovered(section.root) if each.kind is not section.kind]
        if section.kind is not None and others:
            option, names = section.kind.value.lower(), some(each.root.name for each in others)
            raise Usage(
                f"--{option} {section.root} holds {names}, which would all be taken for {option} frames",
                advice=f"nightcal dataset index OUTPUT_CSV --discover {shlex.quote(str(section.root))}",
            )


def _stage(said: str) -> str:
    known = {"": "", "pre": "pre", "radiating": "radiating", "during": "radiating", "post": "post"}
    if said not in known:
        raise Usage(f"--stage {said!r} is not known", advice="one of pre, radiating, post")
    return known[said]


def _vacuum(said: str) -> str:
    if said not in {"", "vacuum", "air"}:
        raise Usage(f"--vacuum {said!r} is not known", advice="one of vacuum, air")
    return said
