"""Disks that fail on purpose, for rehearsals: one that runs full, and one that knows what a power cut would leave."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from services.events.journal import JournalFile
from services.files.disk import Buffer, Disk, Stream


class FullDisk(Disk):
    """A disk that has room for `after_bytes` more bytes; removing files gives nothing back until `free` is called."""

    def __init__(self, after_bytes: int) -> None:
        self.left_bytes = after_bytes

    def free(self, room_bytes: int) -> None:
        """Make room."""
        self.left_bytes += room_bytes

    def create(self, path: Path) -> Stream:
        """Create a file whose writes count."""
        return _CountedStream(path, self)

    def append(self, path: Path) -> JournalFile:
        """Open a journal whose lines count."""
        return _CountedJournal(super().append(path), self)

    def take(self, size: int) -> int:
        """Take room for as much of `size` bytes as there is; return how much that was."""
        room = min(size, self.left_bytes)
        self.left_bytes -= room
        return room

    def free_bytes(self, folder: Path) -> int:
        """Return the room left."""
        del folder
        return self.left_bytes


class _CountedStream(Stream):
    def __init__(self, path: Path, disk: FullDisk) -> None:
        super().__init__(path)
        self._disk = disk

    def write_at(self, data: Buffer, offset: int) -> None:
        size = memoryview(data).nbytes
        room = self._disk.take(size)
        super().write_at(memoryview(data).cast("B")[:room], offset)  # a full disk keeps the first part
        if room < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _CountedJournal:
    def __init__(self, file: JournalFile, disk: FullDisk) -> None:
        self._file = file
        self._disk = disk

    def write(self, text: str) -> None:
        data = text.encode()
        room = self._disk.take(len(data))
        self._file.write(data[:room].decode(errors="ignore"))
        if room < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing a `RecordingDisk` did: `create|write|append|fsync|rename|replace|remove|fsync_folder`."""

    action: str
    path: Path
    target: Path | None = None
    data: bytes = b""
    offset: int = 0


class RecordingDisk(Disk):
    """A disk that does everything, and can tell what a power cut would have left.

    Attributes
    ----------
    steps : list of Step
        All that was done, in order.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def create(self, path: Path) -> Stream:
        """Create a file and note what is written to it."""
        stream = _RecordedStream(path, self)
        self.steps.append(Step(action="create", path=path))
        return stream

    def append(self, path: Path) -> JournalFile:
        """Open a journal and note its lines; nothing of it is durable before a power cut."""
        return _RecordedJournal(super().append(path), path, self)

    def rename_no_replace(self, source: Path, target: Path) -> None:
        """Rename and note it."""
        super().rename_no_replace(source, target)
        self.steps.append(Step(action="rename", path=source, target=target))

    def replace(self, source: Path, target: Path) -> None:
        """Replace and note it."""
        super().replace(source, target)
        self.steps.append(Step(action="replace", path=source, target=target))

    def remove(self, path: Path) -> None:
        """Remove and note it."""
        super().remove(path)
        self.steps.append(Step(action="remove", path=path))

    def fsync_folder(self, folder: Path) -> None:
        """Make durable and note it."""
        super().fsync_folder(folder)
        self.steps.append(Step(action="fsync_folder", path=folder))

    def after_power_cut(self, steps: int, *, names_kept: bool) -> dict[Path, bytes]:
        """Return the files that a power cut after the first `steps` steps leaves: unsynced contents are lost.

        Parameters
        ----------
        steps : int
            How many steps were done.
        names_kept : bool
            File systems differ: with True, names reach the disk at once, before the contents they stand for; with
            False, only by `fsync_folder`.
        """
        now: dict[Path, int] = {}
        durable: dict[Path, int] = {}
        written: list[bytearray] = []
        synced: list[bytes] = []
        for step in self.steps[:steps]:
            if step.action == "create":
                now[step.path] = len(written)
                written.append(bytearray())
                synced.append(b"")
            elif step.action == "append":
                if step.path not in now:
                    now[step.path] = len(written)
                    written.append(bytearray())
                    synced.append(b"")
                written[now[step.path]] += step.data
            elif step.action == "write":
                _patch(written[now[step.path]], step.data, step.offset)
            elif step.action == "fsync":
                synced[now[step.path]] = bytes(written[now[step.path]])
            elif step.target is not None:
                now[step.target] = now.pop(step.path)
            elif step.action == "remove":
                now.pop(step.path, None)
            elif step.action == "fsync_folder":
                durable = {p: n for p, n in durable.items() if p.parent != step.path}
                durable |= {p: n for p, n in now.items() if p.parent == step.path}
        return {path: synced[number] for path, number in (now if names_kept else durable).items()}


class _RecordedStream(Stream):
    def __init__(self, path: Path, disk: RecordingDisk) -> None:
        super().__init__(path)
        self._path = path
        self._disk = disk

    def write_at(self, data: Buffer, offset: int) -> None:
        super().write_at(data, offset)
        self._disk.steps.append(Step(action="write", path=self._path, data=bytes(data), offset=offset))

    def fsync(self) -> None:
        super().fsync()
        self._disk.steps.append(Step(action="fsync", path=self._path))


class _RecordedJournal:
    def __init__(self, file: JournalFile, path: Path, disk: RecordingDisk) -> None:
        self._file = file
        self._path = path
        self._disk = disk

    def write(self, text: str) -> None:
        self._file.write(text)
        self._disk.steps.append(Step(action="append", path=self._path, data=text.encode()))

    def close(self) -> None:
        self._file.close()
        self._disk.steps.append(Step(action="fsync", path=self._path))


def _patch(contents: bytearray, data: bytes, offset: int) -> None:
    contents.extend(bytes(max(0, offset + len(data) - len(contents))))
    contents[offset : offset + len(data)] = data
