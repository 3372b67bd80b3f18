"""SQLite as the catalogue uses it: opened durable, one transaction at a time, its errors made ours."""

import sqlite3
import threading
from pathlib import Path
from types import TracebackType

import structlog

from services.errors import RunCode, StorageError, storage_error

_DAMAGE = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}
"""Our queries are right: an SQLITE_ERROR says that a table or column is missing."""


_NO_WAL = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PROTOCOL}
"""What network shares say that offer no memory shared between programs: the catalogue does without its WAL there."""

log = structlog.get_logger(__name__)


class CatalogueDamaged(StorageError):
    """The file is no catalogue any more; `open_catalogue` moves it aside and rebuilds it."""


class Change:
    """One transaction under the lock, with SQLite's errors translated; within itself it is a part of the outermost one.

    A full disk lets SQLite undo the whole transaction at once. Then nothing more is changed until the outermost one has
    ended, and that one fails, whoever has swallowed the error.
    """

    def __init__(self, base: sqlite3.Connection, lock: threading.RLock, path: Path) -> None:
        self._base = base
        self._lock = lock
        self._path = path
        self._depth = 0
        self._undone_by = RunCode.WRITE_FAILED

    def __enter__(self) -> sqlite3.Connection:
        self._lock.acquire()
        try:
            self._begin()
        except sqlite3.Error as error:
            self._lock.release()
            raise trouble(self._path, error) from error
        except StorageError:
            self._lock.release()
            raise
        self._depth += 1
        return self._base

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._depth -= 1
            if self._depth == 0:
                self._end(well=kind is None)
        except sqlite3.Error as failure:
            if self._base.in_transaction:
                self._base.rollback()
            raise trouble(self._path, failure) from failure
        finally:
            self._lock.release()
        if isinstance(error, sqlite3.Error):
            failed = trouble(self._path, error)
            self._undone_by = failed.code
            raise failed from error

    def _begin(self) -> None:
        if self._depth == 0:
            self._base.execute("BEGIN IMMEDIATE")
        elif not self._base.in_transaction:
            raise self._undone()

    def _end(self, *, well: bool) -> None:
        if self._base.in_transaction:
            self._base.execute("COMMIT" if well else "ROLLBACK")
        elif well:
            raise self._undone()

    def _undone(self) -> StorageError:
        return StorageError(f"{self._path}: a part of the change failed, so all was undone", code=self._undone_by)


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
    try:
        return _durable(path, "journal_mode = WAL")
    except sqlite3.Error as error:
        if _primary(error) not in _NO_WAL:
            raise
        log.info("catalogue.without_wal", path=str(path), detail=str(error))
    return _durable(path, "locking_mode = EXCLUSIVE", "journal_mode = DELETE", "locking_mode = NORMAL")


def _durable(path: Path, *pragmas: str) -> sqlite3.Connection:
    """Open for writing, and show at once that this can be done: SQLite calls WAL possible before it tried."""
    base = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30.0)
    try:
        for pragma in (*pragmas, "synchronous = FULL", "foreign_keys = ON"):
            base.execute(f"PRAGMA {pragma}").fetchall()
        base.execute("BEGIN IMMEDIATE")
        base.execute("ROLLBACK")
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
    primary = _primary(error)
    if primary == sqlite3.SQLITE_FULL:
        return StorageError(f"{path}: {error}", code=RunCode.DISK_FULL)
    is_no_text = primary is None and isinstance(error, sqlite3.OperationalError)  # a column that is no UTF-8
    if primary in _DAMAGE or is_no_text:
        return CatalogueDamaged(f"{path}: {error}", code=RunCode.READ_FAILED)
    return StorageError(f"{path}: {error}", code=RunCode.WRITE_FAILED)


def _primary(error: sqlite3.Error) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
