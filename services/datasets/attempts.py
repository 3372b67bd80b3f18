"""Attempts: the folders of a dataset that hold equal frames, each found once however many rules it satisfies."""

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from calibration.frames import FrameKind
from calibration.keywords.kinds import kind_of_path
from services.datasets import FITS_DIR, FRAMES_DIR, SEARCH_DEPTH, log, settings
from services.datasets.names import folder_exposure_s, folder_temperature_c, natural

RAW = ".raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a dataset: where it is, and the kind of its frames (None: folders and names say it).

    Folders `without` which it is are sections of their own.
    """

    root: Path
    kind: FrameKind | None = None
    without: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A folder of frames with their settings and their log.

    Attributes
    ----------
    folder : Path
    section : Section
    raws : tuple of Path
        Raw files, in the order of their names as people count.
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
    """The attempts of a section in their order, and raw files that are part of none."""

    attempts: tuple[Attempt, ...]
    outside: tuple[Path, ...] = ()
    deeper: bool = False
    """Whether there are folders below the depth that was searched."""


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
    found: list[Attempt] = []
    seen: set[Path] = set()
    deeper = False
    for folder, names, files in _walk(section, depth, frames_dir):
        deeper |= len(folder.relative_to(section.root).parts) >= depth and bool({*names} - {frames_dir, FITS_DIR})
        raws = [folder / name for name in files if _is_raw(name)]
        if _is_attempt(folder, names, files, frames_dir):
            found.append(_attempt(folder, section, frames_dir, raws))
        seen.update(raws)
    ordered = sorted(found, key=_order)
    taken = {raw for attempt in ordered for raw in attempt.raws}
    return Found(attempts=tuple(ordered), outside=tuple(sorted(seen - taken)), deeper=deeper)


def _walk(section: Section, depth: int, frames_dir: str) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield the folders of a section, those above first, without following links; folders of frames go one deeper."""
    apart: Collection[Path] = frozenset(section.without)
    for place, names, files in os.walk(section.root):
        folder = Path(place)
        names[:] = sorted((name for name in names if folder / name not in apart), key=natural)
        yield folder, list(names), files
        if len(folder.relative_to(section.root).parts) >= depth:
            names[:] = [name for name in names if name == frames_dir] if folder.name != frames_dir else []


def _is_attempt(folder: Path, names: Sequence[str], files: Sequence[str], frames_dir: str) -> bool:
    is_named = folder.name.casefold().startswith("attempt")
    is_described = any(name in files for name in (*settings.NAMES, *log.NAMES))
    return is_named or (is_described and frames_dir in names)


def _attempt(folder: Path, section: Section, frames_dir: str, raws: Sequence[Path]) -> Attempt:
    frames = folder / frames_dir
    if frames.is_dir():
        raws = [each for each in frames.iterdir() if _is_raw(each.name) and each.is_file()]
    return Attempt(
        folder=folder,
        section=section,
        raws=tuple(sorted(raws, key=lambda raw: natural(raw.name))),
        settings=_first(folder, settings.NAMES),
        log=_first(folder, log.NAMES),
    )


def _is_raw(name: str) -> bool:
    """Whether a file is a raw one by its name; hidden ones are what systems leave beside files."""
    return name.lower().endswith(RAW) and not name.startswith(".")


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _order(attempt: Attempt) -> tuple[object, ...]:
    """Return by what attempts of a section are ordered: temperature, those without one last, then their names."""
    celsius = attempt.temperature_c
    return celsius is None, celsius or 0.0, natural(attempt.folder.relative_to(attempt.section.root).as_posix())
