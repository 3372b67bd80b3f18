"""A disk that stops writing when the folder of a run is no longer on the file system on which the run began."""

import errno
from pathlib import Path

from services.events.journal import JournalFile
from services.files.disk import Disk, Stream


class MountedDisk(Disk):
    """Another disk, held to the file systems that its folders were on when it was made.

    A share that is unmounted leaves an empty folder behind: whatever would make a file or a folder below it fails, and
    the run ends by that, instead of filling the disk underneath with frames that nobody will find.

    Parameters
    ----------
    disk : Disk
        What writes.
    folders : Path
        Those of the run that are there.
    """

    def __init__(self, disk: Disk, *folders: Path) -> None:
        self._disk = disk
        self._devices = {folder: folder.stat().st_dev for folder in folders if folder.is_dir()}

    def create(self, path: Path) -> Stream:
        """Create a file that must not exist."""
        self._check(path)
        return self._disk.create(path)

    def append(self, path: Path) -> JournalFile:
        """Open a text file to which whole lines are appended."""
        self._check(path)
        return self._disk.append(path)

    def rename_no_replace(self, source: Path, target: Path) -> None:
        """Rename; refuse when the target is there."""
        self._check(target)
        self._disk.rename_no_replace(source, target)

    def replace(self, source: Path, target: Path) -> None:
        """Rename over the target."""
        self._check(target)
        self._disk.replace(source, target)

    def remove(self, path: Path) -> None:
        """Delete a file."""
        self._disk.remove(path)

    def make_folder(self, folder: Path) -> None:
        """Make a folder with its parents."""
        self._check(folder)
        self._disk.make_folder(folder)

    def fsync_folder(self, folder: Path) -> None:
        """Make the names in a folder durable."""
        self._disk.fsync_folder(folder)

    def free_bytes(self, folder: Path) -> int:
        """Return the space left."""
        return self._disk.free_bytes(folder)

    def free_files(self, folder: Path) -> int | None:
        """Return the number of files left."""
        return self._disk.free_files(folder)

    def _check(self, path: Path) -> None:
        for folder, device in self._devices.items():
            if path.is_relative_to(folder) and _device(folder) != device:
                raise OSError(errno.EIO, f"{folder} is no longer on the disk on which the run began: was it unmounted?")


def _device(folder: Path) -> int | None:
    try:
        return folder.stat().st_dev
    except OSError:
        return None
