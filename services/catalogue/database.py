"""SQLite as the catalogue uses it: opened durable, one transaction at a time, its errors made ours.

One connection, one lock: the writer thread writes, any thread reads. Every change is on disk before the call returns
(WAL, synchronous FULL).
"""

import gc
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog

from services.catalogue.migrations import VERSION, migrate, own_tables, tables_of
from services.errors import RunCode, StorageError, storage_error

_DAMAGE = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}
"""Our queries are right: an SQLITE_ERROR says that a table or column is missing."""

_NO_WAL = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PROTOCOL}
"""What network shares answer that offer no memory shared between programs: there the catalogue has no WAL."""

_PIECE_BYTES = 1 << 20

log = structlog.get_logger(__name__)


@contextmanager
def uncollected() -> Iterator[None]:
    """Make many small records without the cyclic garbage collector, as a context or as a decorator.

    It would look through all of them again and again while they are made, and find nothing: a hundred thousand rows
    take half as long without it. Where threads do so at the same time, it runs again when the first has ended.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class CatalogueDamaged(StorageError):
    """The file is no catalogue any more; `open_catalogue` moves it aside and rebuilds it."""


class Database:
    """The file, its version, and its transactions; the tables stand in the classes built on it.

    An older version is upgraded in place, keeping what only the file knows; a reader upgrades a copy in memory. A file
    of a newer version is refused.

    Closing leaves a checksum of the file beside it. While that fits, the file is as nightcal left it, and need not be
    read through when it is opened (`is_as_closed`). Whoever meets damage in it leaves no checksum.

    Parameters
    ----------
    path : Path
        The SQLite file; made with its folder when it is missing.
    read_only : bool
        For commands that take no lock: nothing is made or changed, a missing file reads as an empty catalogue.
    empty : bool
        With `read_only`: read nothing of the file. What is added stays in memory.

    Raises
    ------
    StorageError
        The file was written by a newer version, is damaged, or cannot be opened.

    Attributes
    ----------
    is_as_closed : bool
        Nothing has changed the file since nightcal closed it, and it was sound then.
    """

    def __init__(self, path: Path, *, read_only: bool = False, empty: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self.is_as_closed = not read_only and _is_sealed(path)
        self._lock = threading.RLock()
        self._is_sound = True
        try:
            self._base = connect(path, read_only=read_only, empty=empty)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise trouble(path, error) from error
        try:
            self._prepare()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            self._base.close()
            raise trouble(path, error) from error
        except BaseException:
            self._base.close()
            raise
        self._change = Change(self._base, self._lock, self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def copied(self) -> Self:
        """Return a copy in memory, which may be changed while the file stays as it is."""
        copy = type(self)(self.path, read_only=True, empty=True)
        try:
            with self._lock:
                self._base.backup(copy._base)  # noqa: SLF001 - a catalogue too
        except (sqlite3.Error, UnicodeDecodeError) as error:
            copy.close()
            raise self.trouble(error) from error
        return copy

    def close(self) -> None:
        """Let go of the file; harmless when done twice."""
        with self._lock:
            is_sound = not self.read_only and self._is_sound and self._is_whole()
            self._is_sound = False
            self._base.close()
            if is_sound:
                _seal(self.path)

    def _is_whole(self) -> bool:
        """Whether the file may be vouched for: what was written in the meantime has left it sound."""
        if self.is_as_closed and not self._base.total_changes:
            return True
        try:
            return bool(self._base.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
        except (sqlite3.Error, UnicodeDecodeError):
            return False

    def at_once(self) -> "Change":
        """Return a context whose changes reach the file together at its end; all or, after a kill, none of them."""
        return self._change

    def _prepare(self) -> None:
        """Bring the tables to our version, and hold them against ours."""
        version = self._base.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise StorageError(
                f"{self.path}: written by a newer nightcal (version {version}, this one knows {VERSION}); "
                "install that one, or move the file away and run `nightcal catalogue rebuild`",
                code=RunCode.READ_FAILED,
            )
        if version < 0 or (version == 0 and tables_of(self._base)):
            raise self._damaged("another program's database")
        if version < VERSION:
            self._upgrade(version)
        else:
            self._hold_against_ours()
        self._base.row_factory = sqlite3.Row

    def _upgrade(self, version: int) -> None:
        if self.read_only:
            copy = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
            with closing(self._base) as base:
                self._base = copy
                base.backup(copy)
        self._base.execute("BEGIN IMMEDIATE")
        try:
            migrate(self._base, version)
            self._hold_against_ours()
        except BaseException:
            self._base.rollback()
            raise
        self._base.execute("COMMIT")
        if version and not self.read_only:
            log.info("catalogue.upgraded", path=str(self.path), version=version, to=VERSION)

    def _hold_against_ours(self) -> None:
        if tables_of(self._base) != own_tables():
            raise self._damaged("its tables are not ours")

    def _damaged(self, what: object) -> CatalogueDamaged:
        self._is_sound = False
        return CatalogueDamaged(f"{self.path}: {what}", code=RunCode.READ_FAILED)

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Call rows that cannot be understood damage."""
        try:
            yield
        except (ValueError, TypeError, LookupError, RecursionError, OverflowError) as error:
            raise self._damaged(f"a row cannot be understood: {error}") from error

    def _write_many(self, query: str, values: Sequence[Sequence[Any]]) -> int:
        if not values:
            return 0
        with self._change as base:
            return base.executemany(query, values).rowcount

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        try:
            with self._lock:
                return self._base.execute(query, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self.trouble(error) from error

    def trouble(self, error: sqlite3.Error | UnicodeDecodeError) -> StorageError:
        """Return an error of SQLite as ours, and remember damage."""
        failure = trouble(self.path, error)
        self._is_sound &= not isinstance(failure, CatalogueDamaged)
        return failure


def _sum_path(path: Path) -> Path:
    return path.with_suffix(".sum")


def _sum_of(path: Path) -> str:
    """Return size and CRC-32 of a file: 0.05 s for a hundred thousand frames."""
    size, value = 0, 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            size, value = size + len(piece), zlib.crc32(piece, value)
    return f"{size} {value:08x}\n"


def _has_log(path: Path) -> bool:
    """Whether changes wait in a write-ahead log: another program has the file open, or was killed."""
    log_path = path.with_name(path.name + "-wal")
    return log_path.exists() and log_path.stat().st_size > 0


def _is_sealed(path: Path) -> bool:
    try:
        return not _has_log(path) and _sum_path(path).read_text(encoding="ascii") == _sum_of(path)
    except (OSError, ValueError):
        return False


def _seal(path: Path) -> None:
    """Leave the checksum of a closed file; where that cannot be written, the file is read through next time."""
    with suppress(OSError):
        if not _has_log(path):
            _sum_path(path).write_text(_sum_of(path), encoding="ascii")


class Change:
    """One transaction under the lock, with SQLite's errors translated; within itself it is a part of the outermost one.

    An error of SQLite, such as a full disk, undoes the whole transaction at once. Then nothing more is changed until
    the outermost one has ended, and that one fails, whoever has swallowed the error.
    """

    def __init__(self, base: sqlite3.Connection, lock: threading.RLock, database: Database) -> None:
        self._base = base
        self._lock = lock
        self._database = database
        self._depth = 0
        self._undone_by = RunCode.WRITE_FAILED

    def __enter__(self) -> sqlite3.Connection:
        self._lock.acquire()
        try:
            self._begin()
        except sqlite3.Error as error:
            self._lock.release()
            raise self._database.trouble(error) from error
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
            elif isinstance(error, sqlite3.Error) and self._base.in_transaction:
                self._base.rollback()
        except sqlite3.Error as failure:
            if self._base.in_transaction:
                self._base.rollback()
            raise self._database.trouble(failure) from failure
        finally:
            self._lock.release()
        if isinstance(error, sqlite3.Error):
            failed = self._database.trouble(error)
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
        return StorageError(
            f"{self._database.path}: a part of the change failed, so all was undone", code=self._undone_by
        )


def connect(path: Path, *, read_only: bool, empty: bool = False) -> sqlite3.Connection:
    """Open a database, made with its folder when it is missing; one that is only read is not (an empty one serves).

    `empty` opens an empty one in memory, whatever the file holds.

    Raises
    ------
    StorageError
        The folder cannot be made.
    sqlite3.Error
        The file cannot be opened; `trouble` says what that means.
    """
    if read_only:
        return _to_read(path) if path.exists() and not empty else _opened(":memory:")
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


def _to_read(path: Path) -> sqlite3.Connection:
    """Open for reading. SQLite makes files beside one in WAL; where it may not, and nobody writes, none are needed."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    base = _opened(address)
    try:
        base.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        if _primary(error) not in _NO_WAL or _has_log(path):
            return base  # whoever reads first meets the error
        base.close()
        return _opened(f"{address}&immutable=1")
    except UnicodeDecodeError:
        pass
    return base


def _opened(address: str) -> sqlite3.Connection:
    return sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None)


def _durable(path: Path, *pragmas: str) -> sqlite3.Connection:
    """Open for writing, and show at once that this can be done: SQLite calls WAL possible before it tried."""
    base = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30.0)
    try:
        for pragma in (*pragmas, "synchronous = FULL", "foreign_keys = ON"):
            base.execute(f"PRAGMA {pragma}").fetchall()
        base.execute("BEGIN IMMEDIATE")
        base.execute("ROLLBACK")
    except (sqlite3.Error, UnicodeDecodeError):
        base.close()
        raise
    return base


def trouble(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> StorageError:
    """Return SQLite's error as ours: `disk_full`, damage, or `write_failed`.

    Damage, too, is a message of SQLite that quotes the file and is no text.
    """
    if isinstance(error, UnicodeDecodeError):
        return CatalogueDamaged(f"{path}: {error}", code=RunCode.READ_FAILED)
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
