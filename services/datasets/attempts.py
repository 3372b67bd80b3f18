"""Attempts: the folders of a dataset that hold equal frames, each found once however many rules it satisfies."""

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from calibration.frames import FrameKind
from calibration.keywords.kinds import kind_of_path
from services.datasets import FITS_DIR, FRAMES_DIR, SEARCH_DEPTH, log, settings
from services.datasets.names import folder_exposure_s, folder_temperature_c, name_facts, natural

RAW = ".raw"
_LINK = "it is a link to a folder, which is not followed: put the folder itself there, or name it in the call"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a dataset: where it is, and the kind of its frames (None: folders and names say it).

    Folders `without` which it is are sections of their own. One that is skipped is not looked into, but is a part of
    the dataset all the same, by which the places of tables and of trees of frames are found.
    """

    root: Path
    kind: FrameKind | None = None
    without: tuple[Path, ...] = ()
    is_skipped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A folder of frames with their settings and their log.

    Attributes
    ----------
    folder : Path
    section : Section
    raws : tuple of Path
        Raw files, in the order of their numbers, then of their names as people count.
    settings, log : Path or None
        The files that are there.
    """

    folder: Path
    section: Section
    raws: tuple[Path, ...] = ()
    settings: Path | None = None
    log: Path | None = None

    @property
    def within(self) -> PurePath:
        """The folder below its section, the section's own name first."""
        return PurePath(self.section.root.name) / self.folder.relative_to(self.section.root)

    def kind_of(self, raw: Path) -> FrameKind | None:
        """Return the kind of a frame by its section, else by its name and its folders; None where none says it."""
        return self.section.kind or kind_of_path(self.within / raw.name)

    @property
    def exposure_s(self) -> float | None:
        """The exposure that its folders state."""
        return folder_exposure_s(self.within)

    @property
    def temperature_c(self) -> float | None:
        """The temperature that its folders state."""
        return folder_temperature_c(self.within)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The attempts of a section in their order, and what is part of none.

    Attributes
    ----------
    attempts : tuple of Attempt
    outside : tuple of Path
        Raw files that are part of no attempt.
    unread : tuple of (Path, str)
        Folders that were not looked into, with the reason in words.
    deeper : bool
        Whether there are folders below the depth that was searched.
    """

    attempts: tuple[Attempt, ...]
    outside: tuple[Path, ...] = ()
    unread: tuple[tuple[Path, str], ...] = ()
    deeper: bool = False


def attempts_of(section: Section, *, frames_dir: str = FRAMES_DIR, depth: int = SEARCH_DEPTH) -> Found:
    """Return the attempts of a section.

    An attempt is a folder whose name begins with "attempt", or one with a folder of frames beside a settings file or a
    log. Its frames are in its folder of frames, or, without one, in itself. A raw file in no attempt is returned as
    well, so that nobody takes it for read.

    Parameters
    ----------
    section : Section
    frames_dir : str
        Name of the folder of frames.
    depth : int
        Folders below the section that are looked into.
    """
    if section.is_skipped:
        return Found(attempts=())
    found: list[Attempt] = []
    seen: set[Path] = set()
    unread: dict[Path, str] = {}
    deeper = False
    for folder, names, files in _walk(section, depth, frames_dir, unread):
        deeper |= len(folder.relative_to(section.root).parts) >= depth and bool({*names} - {frames_dir, FITS_DIR})
        raws = [folder / name for name in files if _is_raw(name)]
        if _is_attempt(folder, names, files, frames_dir):
            found.append(_attempt(folder, section, frames_dir, raws, unread))
        seen.update(raws)
    ordered = sorted(found, key=_order)
    taken = {raw for attempt in ordered for raw in attempt.raws}
    return Found(
        attempts=tuple(ordered), outside=tuple(sorted(seen - taken)), unread=tuple(unread.items()), deeper=deeper
    )


def _walk(
    section: Section, depth: int, frames_dir: str, unread: dict[Path, str]
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield the folders of a section, those above first, without hidden ones and links; those of frames go one deeper.

    Folders that cannot be read, and links, are noted in `unread`.
    """

    def note(error: OSError) -> None:
        unread[Path(error.filename)] = f"it cannot be read: {error.strerror}"

    apart: Collection[Path] = frozenset(section.without)
    for place, names, files in os.walk(section.root, onerror=note):
        folder = Path(place)
        inside = (name for name in names if not name.startswith(".") and folder / name not in apart)
        names[:] = sorted(inside, key=natural)
        yield folder, list(names), files
        if len(folder.relative_to(section.root).parts) >= depth:
            names[:] = [name for name in names if name == frames_dir] if folder.name != frames_dir else []
        links = (folder / name for name in names if name != frames_dir and (folder / name).is_symlink())
        unread |= dict.fromkeys(links, _LINK)


def _is_attempt(folder: Path, names: Sequence[str], files: Sequence[str], frames_dir: str) -> bool:
    is_named = folder.name.casefold().startswith("attempt")
    is_described = any(name in files for name in (*settings.NAMES, *log.NAMES))
    return is_named or (is_described and frames_dir in names)


def _attempt(folder: Path, section: Section, frames_dir: str, raws: Sequence[Path], unread: dict[Path, str]) -> Attempt:
    frames = folder / frames_dir
    if frames.is_dir():
        try:
            raws = [each for each in frames.iterdir() if _is_raw(each.name) and not each.is_dir()]
        except OSError as error:
            raws = []
            unread[frames] = f"it cannot be read: {error.strerror}"
    return Attempt(
        folder=folder,
        section=section,
        raws=tuple(sorted(raws, key=_number_and_name)),
        settings=_first(folder, settings.NAMES),
        log=_first(folder, log.NAMES),
    )


def _is_raw(name: str) -> bool:
    """Whether a file is a raw one by its name; hidden ones are what systems leave beside files."""
    return name.lower().endswith(RAW) and not name.startswith(".")


def _number_and_name(raw: Path) -> tuple[object, ...]:
    number = name_facts(raw.stem).frame
    return number is None, number or 0, natural(raw.name)


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _order(attempt: Attempt) -> tuple[object, ...]:
    """Return by what attempts of a section are ordered: temperature, those without one last, then their names."""
    celsius = attempt.temperature_c
    return celsius is None, celsius or 0.0, natural(attempt.folder.relative_to(attempt.section.root).as_posix())
