"""One lock per storage root (held by every writing command), one per device (machine-wide), one per daemon of a root.

The system frees them when a process dies, however it dies. A JSON beside each says who holds it, for the message only:
a stale one misleads nobody, because the lock itself decides.
"""

import errno
import hashlib
import json
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from drivers.clock import Clock, SystemClock
from services import platform, processes
from services.errors import RunCode, StorageError
from services.files.layout import sanitise
from services.words import both_clocks, moment

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


_WORKER = "worker.py"
"""What a run of the daemon is called among processes: `python -m services.daemon.worker`."""
_OF_DAEMON = "wait for the end of the run (`nightcal status`), or end it with `nightcal pause`"


class _Lock:
    """A lock file with a record of its holder beside it. Not shared between threads: one object, one holder.

    `_TAKEN` says in words what the holder does with what is locked.

    Raises
    ------
    StorageError
        On `acquire`: `camera_busy` naming the holder, or `write_failed` when the file cannot be made.
    """

    _TAKEN = "is in use by"

    def __init__(self, path: Path, what: str, clock: Clock | None, run_id: str = "") -> None:
        self.path = path
        self._what = what
        self._run_id = run_id
        self._clock = clock or SystemClock()
        self._record = path.with_name(f"{path.name}.json")
        self._lock = FileLock(path, timeout=0, mode=0o666, thread_local=False)

    def acquire(self) -> Self:
        """Take the lock at once or not at all."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
        except Timeout:
            detail = f"{self._what} {self._TAKEN} {self._holder()}"
            is_daemons = self._read_record().get("command") == _WORKER
            raise StorageError(detail, code=RunCode.CAMERA_BUSY, advice=_OF_DAEMON if is_daemons else "") from None
        except (OSError, NotImplementedError) as error:
            raise StorageError(f"{self.path}: {_reason(error)}") from error
        self._write_record()
        return self

    def release(self) -> None:
        """Let go; harmless when the lock is not held."""
        if self._lock.is_locked:
            with suppress(OSError):  # the lock goes, whatever becomes of a text
                platform.remove(self._record)
            self._lock.release()

    def is_held_by(self, run_id: str) -> bool:
        """Return whether a run holds the lock now: none does that the holder's record does not name."""
        return self._read_record().get("run") == run_id and self.is_held

    def holder(self) -> str:
        """Return in words who holds the lock now; "" where nobody does, as far as the record beside it shows.

        Who begins meanwhile is not hindered: the lock itself is asked only where its record names a living process.
        """
        record = self._read_record()
        return self._holder() if record and not _is_stale(record) and self.is_held else ""

    @property
    def is_held(self) -> bool:
        """Whether anybody holds the lock now."""
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            return True
        except (OSError, NotImplementedError):
            return False
        self._lock.release()
        return False

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _write_record(self) -> None:
        record = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "boot": platform.boot_id(),
            "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "since": self._clock.now().isoformat(timespec="seconds"),
            "run": self._run_id,
        }
        try:
            platform.remove(self._record)  # another user's record can be removed, but not written to
            self._record.write_text(json.dumps(record), encoding="utf-8")
        except OSError:
            return  # the record serves a message; the lock is held without it

    def _read_record(self) -> Mapping[str, Any]:
        """Return what the holder has written of itself; nothing where that cannot be read."""
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return record if isinstance(record, dict) else {}

    def _holder(self) -> str:
        record = self._read_record()
        since = moment(record.get("since"))
        if since is None or not record.keys() >= {"command", "pid", "host"}:
            return "another program"
        command, pid, host = (_shown(record[name]) for name in ("command", "pid", "host"))
        named = "a run of `nightcal serve`" if command == _WORKER else f"`{command}`"
        return f"{named} (pid {pid} on {host}, since {both_clocks(since, '%Y-%m-%d %H:%M:%S')})"


def _is_stale(record: Mapping[str, Any]) -> bool:
    """Whether a record was left by a process that has ended, as far as this machine can know."""
    if record.get("host") != socket.gethostname():
        return False
    pid = record.get("pid")
    return record.get("boot") != platform.boot_id() or not isinstance(pid, int) or not processes.is_alive(pid)


def _reason(error: OSError | NotImplementedError) -> str:
    """Return why there is no lock; some network shares have none for anybody."""
    if isinstance(error, NotImplementedError) or error.errno in _NO_LOCKS:
        return "this file system knows no locks: mount the share with them, or put storage.root on a disk of its own"
    return error.strerror or str(error)


def _shown(value: object) -> str:
    """Return what somebody wrote as part of a message: not too long, and nothing that a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value)[:200])


class RootLock(_Lock):
    """The lock of everything below one root.

    Parameters
    ----------
    root : Path
        The folder; its `.nightcal` is made when it is missing.
    clock : Clock, optional
        Gives the time in the record.
    run_id : str
        The run that takes the lock; "" for any other command.
    """

    def __init__(self, root: Path, clock: Clock | None = None, run_id: str = "") -> None:
        super().__init__(root / ".nightcal" / "lock", f"the folder {root}", clock, run_id)


class ServeLock(_Lock):
    """The lock of the daemon of one root, which leaves `RootLock` to its runs; parameters as there."""

    _TAKEN = "is served already by"

    def __init__(self, root: Path, clock: Clock | None = None) -> None:
        super().__init__(root / ".nightcal" / "serve.lock", f"the folder {root}", clock)


class ObservatoryLock(_Lock):
    """The lock of a simulated observatory that outlives the runs of a root; its record says where it listens.

    Parameters
    ----------
    root : Path
    address : str
        `host:port`, of whoever takes the lock.
    """

    def __init__(self, root: Path, address: str = "") -> None:
        super().__init__(root / ".nightcal" / "observatory.lock", f"the simulated observatory of {root}", None, address)

    def address(self) -> tuple[str, int] | None:
        """Return where the observatory of this root listens; None when there is none now."""
        host, _, port = str(self._read_record().get("run") or "").rpartition(":")
        return (host, int(port)) if host and port.isdecimal() and self.is_held else None


class DeviceLock(_Lock):
    """The lock of one device, for all programs and users of this machine.

    Parameters
    ----------
    unique_id : str
        The server's UniqueID of the device.
    name : str
        What a user calls it, for the message.
    clock : Clock, optional
        Gives the time in the record.
    folder : Path, optional
        Where the machine's locks are (tests).
    """

    def __init__(
        self, unique_id: str, *, name: str = "", clock: Clock | None = None, folder: Path | None = None
    ) -> None:
        digest = hashlib.sha256(unique_id.encode()).hexdigest()[:12]
        file = f"{sanitise(unique_id)}_{digest}.lock"
        super().__init__((folder or platform.machine_folder()) / file, f"the device {name or unique_id}", clock)


class DatasetLock(_Lock):
    """The lock of an import of one dataset, for all programs and users of this machine; nothing is written into it.

    Parameters
    ----------
    folder : Path
        Where the table of its frames is.
    clock : Clock, optional
        Gives the time in the record.

    Raises
    ------
    StorageError
        There is no folder for locks.
    """

    _TAKEN = "is being imported by"

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
        try:
            place = platform.machine_folder()
        except OSError as error:
            raise StorageError(f"{folder}: {_reason(error)}") from error
        super().__init__(place / f"dataset_{digest}.lock", f"the dataset {folder}", clock)


class ResultsLock(DatasetLock):
    """The lock of a folder in which the results of a dataset are made."""

    _TAKEN = "is being processed by"
