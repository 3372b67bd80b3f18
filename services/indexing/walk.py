"""Walking the folders: which files are there, with the size and time by which the catalogue knows them."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from services.errors import RunCode
from services.files.disk import reported
from services.files.fits import FITS_SUFFIXES
from services.files.layout import PACKED, Layout, is_own_part, is_packed_twin
from services.indexing.problems import FileProblem

FileStatus = tuple[int, int]
"""Size and time (ns) of a file. A plain tuple, for there are a hundred thousand of them."""

_RAW = (
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".k25", ".kdc", ".mef", ".mos",
    ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
)  # fmt: skip
_PICTURES = (
    ".asdf", ".avi", ".bmp", ".gif", ".h5", ".hdf5", ".heic", ".imt", ".jpeg", ".jpg", ".mkv", ".mov", ".mp4", ".npy",
    ".npz", ".png", ".psd", ".sbig", ".ser", ".st7", ".st8", ".st9", ".st10", ".tif", ".tiff", ".webp",
)  # fmt: skip
_PACKED = (".7z", ".br", ".lz", ".lz4", ".lzma", ".rar", ".tar", ".tgz", ".xz", ".z", ".zip", ".zst")
_LITTER = frozenset({"thumbs.db", "desktop.ini"})

_FORMS: dict[str, str] = (
    dict.fromkeys(_RAW, "raw files of this form are not read")
    | dict.fromkeys(_PICTURES, "pictures of this form are not read")
    | dict.fromkeys(_PACKED, "files packed in this way are not read")
    | {".xisf": "files of this form are not read"}
)
"""Endings of files that may hold frames, and are not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """What lies below some folders.

    Attributes
    ----------
    frames : mapping of path to size and time
        The visible FITS files, without the packed forms of files that are there themselves; paths as the catalogue
        keeps them.
    parts : tuple of Path
        Files that nightcal was writing when it was killed.
    passed : tuple of FileProblem
        Everything else that is visible, each with its reason.
    """

    frames: Mapping[str, FileStatus]
    parts: tuple[Path, ...]
    passed: tuple[FileProblem, ...] = ()


def walk(folders: Iterable[Path], layout: Layout) -> Walked:
    """Look through folders; those that cannot be read hold nothing, and links to folders are not followed."""
    found: dict[str, FileStatus] = {}
    parts: set[Path] = set()
    passed: list[FileProblem] = []
    for prefix, entries in _entries(folders, layout, passed):
        for entry in entries:
            name = entry.name
            if name[0] == ".":
                part = Path(entry.path)
                parts |= {part} if is_own_part(part) else set()
            elif _is_frame(entry):
                try:
                    status = entry.stat()
                except OSError:  # gone in the meantime
                    continue
                found[prefix + name] = (status.st_size, status.st_mtime_ns)
            elif name.lower() not in _LITTER:
                passed.append(_passed(prefix + name, entry))
    for path in _packed_twins(found):
        del found[path]
    return Walked(
        frames=found, parts=tuple(sorted(parts)), passed=tuple(sorted(passed, key=lambda problem: problem.path))
    )


def _passed(path: str, entry: "os.DirEntry[str]") -> FileProblem:
    """Return why something that is no FITS file is passed over."""
    if entry.is_symlink() and not entry.is_file():
        is_folder = entry.is_dir()
        reason = "links to folders are not followed" if is_folder else "the link leads nowhere"
        return FileProblem(path=path, reason=reason, code=RunCode.LINK_NOT_FOLLOWED)
    if not entry.is_file():
        return FileProblem(path=path, reason="it is no file", code=RunCode.OTHER_FILE)
    suffix = os.path.splitext(entry.name.lower())[1]  # noqa: PTH122 - a hundred thousand times
    if suffix in _FORMS:
        return FileProblem(path=path, reason=f"{suffix}: {_FORMS[suffix]}", code=RunCode.FORM_NOT_READ)
    return FileProblem(path=path, reason=f"{suffix or 'no ending'}: it is no FITS file", code=RunCode.OTHER_FILE)


def names(folders: Iterable[Path], layout: Layout, passed: list[FileProblem]) -> set[str]:
    """Return the names of the files that `walk` finds, without asking for their sizes: three times as fast.

    What is passed over is added to `passed`.
    """
    found: set[str] = set()
    for prefix, entries in _entries(folders, layout, passed):
        visible = [entry for entry in entries if entry.name[0] != "."]
        frames = [prefix + entry.name for entry in visible if _is_frame(entry)]
        found.update(frames)
        if len(frames) < len(visible):
            others = (each for each in visible if not _is_frame(each) and each.name.lower() not in _LITTER)
            passed += [_passed(prefix + each.name, each) for each in others]
    return found.difference(_packed_twins(found))


def _is_frame(entry: "os.DirEntry[str]") -> bool:
    return (entry.name.endswith(FITS_SUFFIXES) or entry.name.lower().endswith(FITS_SUFFIXES)) and entry.is_file()


def _packed_twins(paths: Collection[str]) -> list[str]:
    """Return the packed forms of frames that are there themselves."""
    packed = [path for path in paths if path.endswith(".fits" + PACKED)]
    return [path for path in packed if path.removesuffix(PACKED) in paths]


def counts(path: Path) -> bool:
    """Return whether a file is there, and is not the packed form of a frame that is there itself.

    Raises
    ------
    StorageError
        Its folder may not be read: that does not say that its frames are gone.
    """
    with reported(path):
        return path.is_file() and not is_packed_twin(path)


def _entries(
    folders: Iterable[Path], layout: Layout, passed: list[FileProblem]
) -> Iterator[tuple[str, list["os.DirEntry[str]"]]]:
    """Yield what lies in each folder and those below it, but folders, with what the names are added to.

    Hidden folders are left out. Folders that cannot be read are added to what is passed over.
    """
    waiting = [(str(folder), _prefix(layout.relative(folder))) for folder in folders]
    while waiting:
        at, prefix = waiting.pop()
        try:
            with os.scandir(at) as found:
                entries = list(found)
        except FileNotFoundError:
            continue  # nothing was ever put there, or it is gone in the meantime
        except OSError as error:
            reason = f"the folder cannot be read: {error.strerror or error}"
            passed.append(FileProblem(path=prefix or at, reason=reason))
            continue
        below = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        waiting += [(each.path, f"{prefix}{each.name}/") for each in below if not each.name.startswith(".")]
        yield prefix, [entry for entry in entries if not entry.is_dir(follow_symlinks=False)] if below else entries


def _prefix(folder: str) -> str:
    return "" if folder == "." else f"{folder.rstrip('/')}/"
