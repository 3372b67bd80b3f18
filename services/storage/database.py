"""SQLite as the catalogue uses it: opened durable, one transaction at a time, its errors made ours."""

import sqlite3
import threading
from pathlib import Path
from types import TracebackType

from services.errors import RunCode, StorageError, storage_error

_DAMAGE = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}
"""Our queries are right: an SQLITE_ERROR says that a table or column is missing."""


class CatalogueDamaged(StorageError):
    """The file is no catalogue any more; `open_catalogue` moves it aside and rebuilds it."""


class Change:
    """One transaction under the lock, with SQLite's errors translated."""

    def __init__(self, base: sqlite3.Connection, lock: threading.RLock, path: Path) -> None:
        self._base = base
        self._lock = lock
        self._path = path

    def __enter__(self) -> sqlite3.Connection:
        self._lock.acquire()
        try:
            self._base.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            self._lock.release()
            raise trouble(self._path, error) from error
        return self._base

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._base.execute("COMMIT")
            elif self._base.in_transaction:  # a full disk has ended it already
                self._base.execute("ROLLBACK")
        except sqlite3.Error as failure:
            if self._base.in_transaction:
                self._base.rollback()
            raise trouble(self._path, failure) from failure
        finally:
            self._lock.release()
        if isinstance(error, sqlite3.Error):
            raise trouble(self._path, error) from error


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open a database, made with its folder when it is missing; one that is only read is not (an empty one serves).

    Raises
    ------
    StorageError
        The folder cannot be made.
    sqlite3.Error
        The file cannot be opened; `trouble` says what that means.
    """
    if read_only:
        target = f"{path.absolute().as_uri()}?mode=ro" if path.exists() else ":memory:"
        return sqlite3.connect(target, uri=True, check_same_thread=False, isolation_level=None)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path.parent, error) from error
    base = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30.0)
    try:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            base.execute(f"PRAGMA {pragma}").fetchall()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        base.close()
        if isinstance(error, UnicodeDecodeError):
            raise unreadable(path, error) from error
        raise
    return base


def unreadable(path: Path, error: UnicodeDecodeError) -> CatalogueDamaged:
    """Return the damage that SQLite wanted to tell of in a message that quotes it and is no text itself."""
    return CatalogueDamaged(f"{path}: {error}", code=RunCode.READ_FAILED)


def trouble(path: Path, error: sqlite3.Error) -> StorageError:
    """Return SQLite's error as ours: `disk_full`, damage, or `write_failed`."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        return StorageError(f"{path}: {error}", code=RunCode.DISK_FULL)
    if primary in _DAMAGE or (code is None and isinstance(error, sqlite3.OperationalError)):  # a text that is no UTF-8
        return CatalogueDamaged(f"{path}: {error}", code=RunCode.READ_FAILED)
    return StorageError(f"{path}: {error}", code=RunCode.WRITE_FAILED)
