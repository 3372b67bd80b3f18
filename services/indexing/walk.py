"""Walking the folders: which files are there, with the size and time by which the catalogue knows them."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
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
    for folder in folders:
        for prefix, entry in _entries(folder, layout, passed):
            if entry.name.startswith("."):
                part = Path(entry.path)
                parts |= {part} if is_own_part(part) else set()
            elif entry.name.lower().endswith(FITS_SUFFIXES) and entry.is_file():
                with suppress(OSError):  # gone in the meantime
                    status = entry.stat()
                    found[prefix + entry.name] = (status.st_size, status.st_mtime_ns)
            elif entry.name.lower() not in _LITTER:
                passed.append(_passed(prefix + entry.name, entry))
    for path in [path for path in found if path.endswith(".fits" + PACKED) and path.removesuffix(PACKED) in found]:
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


def names(folders: Iterable[Path], layout: Layout) -> set[str]:
    """Return the names of the files that `walk` finds, without asking for their sizes: three times as fast."""
    found = {
        prefix + name
        for folder in folders
        for prefix, entry in _entries(folder, layout, [])
        if (name := entry.name).lower().endswith(FITS_SUFFIXES) and not name.startswith(".") and entry.is_file()
    }
    packed = {path for path in found if path.endswith(".fits" + PACKED)}
    return found - {path for path in packed if path.removesuffix(PACKED) in found}


def counts(path: Path) -> bool:
    """Return whether a file is there, and is not the packed form of a frame that is there itself.

    Raises
    ------
    StorageError
        Its folder may not be read: that does not say that its frames are gone.
    """
    with reported(path):
        return path.is_file() and not is_packed_twin(path)


def _entries(folder: Path, layout: Layout, passed: list[FileProblem]) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """Yield what lies below a folder, but folders, each with what its name is added to; hidden folders are left out.

    Folders that cannot be read are added to what is passed over.
    """
    waiting = [(str(folder), _prefix(layout.relative(folder)))]
    while waiting:
        at, prefix = waiting.pop()
        try:
            with os.scandir(at) as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False):
                        yield prefix, entry
                    elif not entry.name.startswith("."):
                        waiting.append((entry.path, f"{prefix}{entry.name}/"))
        except FileNotFoundError:
            continue  # nothing was ever put there, or it is gone in the meantime
        except OSError as error:
            reason = f"the folder cannot be read: {error.strerror or error}"
            passed.append(FileProblem(path=prefix or at, reason=reason))


def _prefix(folder: str) -> str:
    return "" if folder == "." else f"{folder.rstrip('/')}/"
