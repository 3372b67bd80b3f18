"""The seam below every file we write: create, write, append, fsync, rename, remove, fsync of a folder, free space.

`Disk` is the system's; disks that fail on purpose are made from it, for the tests. Nothing is ever replaced but small
text files whose whole purpose is to be current (`replace`).
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from services import platform
from services.errors import storage_error
from services.events.journal import JournalFile
from services.files.layout import part_path

Buffer = bytes | bytearray | memoryview
_BEHIND_BYTES = 64 << 20
"""Bytes that the system may buffer before it is asked to write: a sync at the end then waits for few."""


class Stream:
    """A file of the system that is being written, and may be read back before it is finished."""

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        self._handle: int | None = os.open(path, flags, 0o666)
        self._unsent = 0
        self.syncs = True
        """Whether `fsync` waits: of many files that become visible together, all are synced at the end."""

    @property
    def handle(self) -> int:
        """The open file descriptor."""
        if self._handle is None:
            raise ValueError("the file is closed")
        return self._handle

    def write_at(self, data: Buffer, offset: int) -> None:
        """Write all of `data` at `offset`, from any thread; now and then the system is asked to start writing it."""
        platform.pwrite(self.handle, data, offset)
        self._unsent += len(data)
        if self._unsent >= _BEHIND_BYTES:
            self._unsent = 0
            platform.write_behind(self.handle)

    def read_at(self, size: int, offset: int) -> bytes:
        """Read what was written; short only at the end."""
        return platform.pread(self.handle, size, offset)

    def fsync(self) -> None:
        """Make the contents durable; of a file that is synced later, have the system begin to write it."""
        if self.syncs:
            os.fsync(self.handle)
        else:
            platform.write_behind(self.handle)

    def close(self) -> None:
        """Let go of the file; harmless when done twice."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


class Disk:
    """The system's disk. All methods raise `OSError`; `reported` makes a `StorageError` of it."""

    def create(self, path: Path) -> Stream:
        """Create a file that must not exist."""
        return Stream(path)

    def append(self, path: Path) -> JournalFile:
        """Open a text file, made with its folder when it is missing, to which whole lines are appended."""
        return JournalFile(path)

    def rename_no_replace(self, source: Path, target: Path) -> None:
        """Rename; refuse (`FileExistsError`) when the target is there."""
        platform.rename_no_replace(source, target)

    def replace(self, source: Path, target: Path) -> None:
        """Rename over the target in one step."""
        platform.replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name; `OSError` where the file system knows none, or is another one."""
        target.hardlink_to(source)

    def remove(self, path: Path) -> None:
        """Delete a file; one that is gone already is no error."""
        platform.remove(path)

    def make_folder(self, folder: Path) -> None:
        """Make a folder with its parents; each new name is made durable."""
        if folder.is_dir():
            return
        self.make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        platform.fsync_folder(folder.parent)

    def fsync_folder(self, folder: Path) -> None:
        """Make the names in a folder durable."""
        platform.fsync_folder(folder)

    def sync(self, path: Path) -> None:
        """Make the contents of a file durable that was written before."""
        with path.open("rb+") as file:
            os.fsync(file.fileno())

    def free_bytes(self, folder: Path) -> int:
        """Return the space left for an ordinary user where `folder` is, or will be."""
        return shutil.disk_usage(_existing(folder)).free

    def free_files(self, folder: Path) -> int | None:
        """Return how many more files the file system of `folder` can hold; None where it knows no such limit."""
        return platform.free_files(_existing(folder))


def _existing(folder: Path) -> Path:
    return next((each for each in (folder, *folder.parents) if each.exists()), folder)


REAL_DISK = Disk()


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turn the system's errors about `path` into a `StorageError` with the code `disk_full` or `write_failed`."""
    try:
        yield
    except OSError as error:
        raise storage_error(path, error) from error


class Growing:
    """A file that grows under a hidden name and appears whole, durable, or not at all.

    Parameters
    ----------
    path : Path
        The final name; its folder is made.
    disk : Disk
        Where to write.
    replace : bool
        Allow an older file of this name to be replaced in one step; else it is refused.

    Raises
    ------
    StorageError
        `disk_full` or `write_failed`, by every method; nothing is left behind.
    """

    def __init__(self, path: Path, disk: Disk = REAL_DISK, *, replace: bool = False) -> None:
        self.path = path
        self._disk = disk
        self._part = part_path(path)
        self._replace = replace
        with reported(path.parent):
            disk.make_folder(path.parent)
        with reported(path):
            disk.remove(self._part)
            self._stream = disk.create(self._part)

    def write_at(self, data: Buffer, offset: int) -> None:
        """Write all of `data` at `offset`; safe from several threads."""
        with reported(self.path):
            self._stream.write_at(data, offset)

    def read_at(self, size: int, offset: int) -> bytes:
        """Read what was written; short only at the end."""
        with reported(self.path):
            return self._stream.read_at(size, offset)

    def sync(self) -> None:
        """Make what was written durable under the hidden name; `commit` does the rest at once."""
        with reported(self.path):
            self._stream.fsync()
            self._disk.fsync_folder(self.path.parent)

    def commit(self, *, mtime_ns: int | None = None) -> None:
        """Give the file its name, and the time of its last change if that is not now."""
        try:
            with reported(self.path):
                self._stream.fsync()
                self._stream.close()
                if mtime_ns is not None:
                    os.utime(self._part, ns=(mtime_ns, mtime_ns))
                (self._disk.replace if self._replace else self._disk.rename_no_replace)(self._part, self.path)
                self._disk.fsync_folder(self.path.parent)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Leave nothing behind; a disk that fails here as well must not hide the first error."""
        with suppress(OSError):
            self._stream.close()
            self._disk.remove(self._part)


@contextmanager
def atomic(path: Path, disk: Disk = REAL_DISK, *, replace: bool = False) -> Iterator[Growing]:
    """Give a file to write that is committed when the block ends well, and leaves nothing behind otherwise."""
    growing = Growing(path, disk, replace=replace)
    try:
        yield growing
    except BaseException:
        growing.abort()
        raise
    growing.commit()


def write_text(path: Path, text: str, disk: Disk = REAL_DISK, *, replace: bool = False) -> None:
    """Write a small UTF-8 file atomically (`atomic` says how and what it raises); names of files keep their bytes."""
    with atomic(path, disk, replace=replace) as stream:
        stream.write_at(text.encode("utf-8", "surrogateescape"), 0)
