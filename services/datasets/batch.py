"""Frames that become durable and visible together: written without syncing each, then synced and renamed.

What is under way lies in a hidden folder beside the frames, named after the process that writes it. An end in its midst
leaves that folder; the next import that writes there removes it.
"""

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from services import processes
from services.files.disk import Disk, Stream, reported

_UNDER_WAY = ".importing-"


class Batch(Disk):
    """Files that become visible in a folder when all of them are durable; a disk for whoever writes them.

    Parameters
    ----------
    folder : Path
        Where they become visible. Nothing is made there before the first file.
    disk : Disk
    """

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._target = folder
        self._folder = folder / f"{_UNDER_WAY}{os.getpid()}"
        self._disk = disk
        self._lock = threading.Lock()
        self._is_open = False
        self._written: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove what has not become visible."""
        if self._is_open:
            shutil.rmtree(self._folder, ignore_errors=True)

    def place(self, name: str) -> Path:
        """Return where a file is written until all are; raises `StorageError`."""
        with self._lock:
            if not self._is_open:
                self._open()
        return self._folder / name

    def _open(self) -> None:
        with suppress(OSError):
            for left in self._target.glob(f"{_UNDER_WAY}*"):
                if _is_left(left):
                    shutil.rmtree(left, ignore_errors=True)
        with reported(self._target):
            self._disk.make_folder(self._folder)
        self._is_open = True

    def wrote(self, path: Path) -> None:
        """Note that a file is whole."""
        with self._lock:
            self._written.append(path)

    def create(self, path: Path) -> Stream:
        """Create a file that is synced with all others."""
        stream = self._disk.create(path)
        stream.syncs = False
        return stream

    def rename_no_replace(self, source: Path, target: Path) -> None:
        """As the disk."""
        self._disk.rename_no_replace(source, target)

    def remove(self, path: Path) -> None:
        """As the disk."""
        self._disk.remove(path)

    def make_folder(self, folder: Path) -> None:
        """As the disk."""
        self._disk.make_folder(folder)

    def fsync_folder(self, folder: Path) -> None:
        """Do nothing: the folder is synced when all are there."""

    def commit(self, pool: ThreadPoolExecutor) -> None:
        """Make all that was written durable, several at a time, then visible under their names.

        Raises
        ------
        StorageError
            None of them counts as written then; a second import makes them again.
        """
        if not self._written:
            return
        with reported(self._target):
            list(pool.map(self._disk.sync, self._written))
            for path in self._written:
                self._disk.replace(path, self._target / path.name)
            self._disk.fsync_folder(self._target)


def _is_left(folder: Path) -> bool:
    """Whether a folder of what is under way was left by a process that has ended, or by this one."""
    number = folder.name.removeprefix(_UNDER_WAY)
    return number == str(os.getpid()) or not (number.isdecimal() and processes.is_alive(int(number)))
