# ruff: noqa: A005 (the design's name; no script ever puts this folder on sys.path)
"""Every call that differs between Windows and POSIX systems, so that no other module asks which one it runs on.

Folder fsync, renaming without replacing, positioned reads and writes, read-ahead, priority, limits, the boot's
identity, numba's cache; what differs of child processes is in `services.processes`. A call that a system lacks does
nothing there, and its docstring says why that is right.
"""

import atexit
import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from drivers.clock import Clock, SystemClock

WINDOWS = sys.platform == "win32"
"""Where a whole function differs, `sys.platform` is asked in place: type checkers follow that."""

_SHARING_ERRORS = frozenset({5, 32})
"""ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION: what Windows says of a name that another program has open."""
_SHARING_PAUSES_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.6)

_READ_AHEAD_BYTES = 1 << 17

_seek_lock = threading.Lock()
"""Guards the seek + read twins: where there is no positioned call, the file's one position is shared by all threads."""


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder` durable.

    Windows cannot open a folder for this; NTFS journals names itself, so nothing is done there. Network file systems
    that refuse (EINVAL) have no such promise to give.
    """
    if WINDOWS:
        return
    handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:
            raise
    finally:
        os.close(handle)


def rename_no_replace(source: Path, target: Path) -> None:
    """Rename a file; a target that exists is refused, never replaced.

    Windows' own rename refuses. On POSIX a hard link refuses atomically, then the old name goes; file systems without
    hard links (exFAT, some network shares) get a check and a rename, safe under the folder's lock.

    Raises
    ------
    FileExistsError
        `target` is there.
    """
    if WINDOWS:
        patiently(lambda: source.rename(target))
        return
    try:
        target.hardlink_to(source)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}:
            raise
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        source.rename(target)
        return
    source.unlink()


def replace(source: Path, target: Path) -> None:
    """Rename a file over `target` in one step."""
    patiently(lambda: source.replace(target))


def remove(path: Path) -> None:
    """Delete a file; one that is gone already is no error."""
    patiently(lambda: path.unlink(missing_ok=True))


def patiently(act: Callable[[], object], clock: Clock | None = None) -> None:
    """Do something with a file's name, again for two seconds while another program on Windows holds the file.

    Virus scanners, indexers, backups and previews open each new file for a moment without sharing it. POSIX systems
    have no such errors: there it is done once.
    """
    clock = clock or SystemClock()
    for pause_s in _SHARING_PAUSES_S:
        try:
            act()
        except OSError as error:
            if getattr(error, "winerror", None) not in _SHARING_ERRORS:
                raise
            clock.sleep(pause_s)
        else:
            return
    act()


def pread(handle: int, size: int, offset: int) -> bytes:
    """Read up to `size` bytes at `offset` without a shared file position; short only at the end of the file."""
    data = _read_bytes(handle, size, offset)
    if len(data) == size or not data:
        return data
    rest = bytearray(size - len(data))
    return data + bytes(rest[: pread_into(handle, rest, offset + len(data))])


def pread_into(handle: int, buffer: bytearray | memoryview, offset: int) -> int:
    """Fill a writable buffer from `offset` and return the number of bytes read; short only at the end of the file."""
    view = memoryview(buffer).cast("B")
    done = _read_some(handle, view, offset)
    if done == 0 or done == len(view):  # nearly always: bands are read in millions of small pieces
        return done
    while done < len(view):
        got = _read_some(handle, view[done:], offset + done)
        if got == 0:
            break
        done += got
    return done


def pwrite(handle: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Write all of `data` at `offset` without a shared file position."""
    view, done = memoryview(data).cast("B"), 0
    while done < len(view):
        done += _write_some(handle, view[done:], offset + done)


def write_behind(handle: int) -> None:
    """Let the system begin to write what of a file is still in memory; where it does not listen, nothing happens.

    Durable is only what was synced: this only spares the sync at the end most of its wait.
    """
    if _sync_file_range is not None:
        _sync_file_range(handle, 0, 0, _SYNC_FILE_RANGE_WRITE)


def _found_sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Return Linux's call, which Python does not offer."""
    if sys.platform != "linux":
        return None
    import ctypes

    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
        call.restype = ctypes.c_int
    return call


_sync_file_range = _found_sync_file_range()
_SYNC_FILE_RANGE_WRITE = 2


def read_ahead(handle: int, offset: int, size: int) -> None:
    """Tell the system that these bytes are wanted soon; where it does not listen, nothing happens.

    In small pieces: of long ones Linux reads no more than by itself. Not what is in memory: looking there is dear.
    """
    if sys.platform != "linux" or _at_hand(handle, (offset, offset + size - 1)):
        return
    with suppress(OSError):
        for start in range(offset, offset + size, _READ_AHEAD_BYTES):
            os.posix_fadvise(handle, start, _READ_AHEAD_BYTES, os.POSIX_FADV_WILLNEED)


def free_files(folder: Path) -> int | None:
    """Return how many more files a file system can hold; None where none are counted (Windows, btrfs, many shares)."""
    found = os.statvfs(folder) if hasattr(os, "statvfs") else None
    return found.f_favail if found is not None and found.f_files else None


def is_open_to_others(path: Path) -> bool:
    """Return whether others than its owner may read a file; False on Windows, whose access lists Python cannot read."""
    return not WINDOWS and bool(path.stat().st_mode & 0o077)


def raise_open_file_limit(wanted: int = 4096) -> int:
    """Raise the number of files this process may hold open and return what it is now.

    A stack of hundreds of frames is read from all of them at once. Windows' handles are not limited this way.
    """
    if sys.platform == "win32":
        return wanted
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    aim = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < aim:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (aim, hard))
            return aim
    return wanted if soft == resource.RLIM_INFINITY else soft


def lower_priority() -> None:
    """Let the camera's thread and other programs go before the thread that calls this (master building).

    Where a system knows priorities of whole programs only, nothing is done: the camera's would sink with it.
    """
    if sys.platform == "win32":
        import ctypes

        this_thread, lowest = ctypes.c_void_p(-2), -2
        ctypes.windll.kernel32.SetThreadPriority(this_thread, lowest)
    elif sys.platform == "linux":
        with suppress(OSError):
            os.nice(10)


def lower_priority_of_all() -> None:
    """Let other programs go before this whole process and all that it starts (a child that only builds masters)."""
    if sys.platform == "win32":
        import ctypes

        this_process, below_normal = ctypes.c_void_p(-1), 0x4000
        ctypes.windll.kernel32.SetPriorityClass(this_process, below_normal)
    else:
        with suppress(OSError):
            os.nice(10)


def boot_id() -> str:
    """Return a text that changes with each start of the machine, "" where the system does not say.

    With the pid it names one process for ever: a lock's record from before a power cut is recognised as stale.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def machine_folder() -> Path:
    """Return a folder that all programs of this machine's users share, made when it is missing (device locks).

    The folder for temporary files is asked last: each user of Windows and macOS, and each service with a private one,
    has its own, in which nobody would meet another user's run. Not sticky on purpose: Linux refuses to open another
    user's lock file for writing in a sticky folder.

    Raises
    ------
    OSError
        No folder can be written.
    """
    for parent in _machine_folders():
        folder = parent / "nightcal-locks"
        if parent.is_dir() and _shared(folder):
            return folder
    folder = Path(tempfile.gettempdir()) / "nightcal-locks"
    folder.mkdir(exist_ok=True)
    return folder


def _machine_folders() -> tuple[Path, ...]:
    """Return the folders in which any user of the machine may make something that all others see."""
    if sys.platform == "win32":
        return (Path(os.environ.get("PROGRAMDATA") or "C:/ProgramData"),)
    return tuple(Path(name) for name in ("/run/lock", "/var/lock", "/tmp"))  # noqa: S108 - another user's folder serves


def _shared(folder: Path) -> bool:
    """Make a folder that every user of the machine may write to; return whether this one may."""
    try:
        folder.mkdir()
    except FileExistsError:
        return folder.is_dir() and os.access(folder, os.W_OK)
    except OSError:
        return False
    with suppress(OSError):
        _open_to_all(folder)
    return True


def prepare_numba_cache(folder: Path | None = None) -> None:
    """Let compiled kernels be kept in `folder` when the package's own folders cannot be written.

    numba reads the setting when kernels are imported: to be called before that. A setting of the user's stands.

    Parameters
    ----------
    folder : Path, optional
        By default the user's cache; where that cannot be written (a service without a home), a folder of this process.
    """
    package = Path(__file__).resolve().parents[1] / "calibration"
    if "NUMBA_CACHE_DIR" in os.environ or os.access(package, os.W_OK):
        return
    folder = folder or _user_cache() / "nightcal" / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        writable = os.access(folder, os.W_OK)
    except (OSError, RuntimeError):
        writable = False
    if not writable:
        try:
            folder = Path(tempfile.mkdtemp(prefix="nightcal-kernels-"))
        except OSError:  # nothing can be kept: each run compiles anew
            return
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = str(folder)


def _user_cache() -> Path:
    """Return where programs of this user keep what may be deleted at any time."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or tempfile.gettempdir())
    return Path(os.environ.get("XDG_CACHE_HOME") or Path(os.path.expanduser("~")) / ".cache")  # noqa: PTH111 - never raises


def _at_hand(handle: int, offsets: tuple[int, ...]) -> bool:
    """Whether these bytes can be read without waiting for a disk; False where the system does not know."""
    try:
        return all(os.preadv(handle, [bytearray(1)], at, os.RWF_NOWAIT) for at in offsets)
    except (AttributeError, OSError):
        return False


if sys.platform != "win32":

    def _open_to_all(folder: Path) -> None:
        folder.chmod(0o777)

    def _read_bytes(handle: int, size: int, offset: int) -> bytes:
        return os.pread(handle, size, offset)

    def _read_some(handle: int, view: memoryview, offset: int) -> int:
        return os.preadv(handle, [view], offset)

    def _write_some(handle: int, view: memoryview, offset: int) -> int:
        return os.pwrite(handle, view, offset)

else:

    def _open_to_all(folder: Path) -> None:
        """Let the group of all users (S-1-5-32-545 in every language) change what anybody makes in a folder."""
        grant = ("icacls", str(folder), "/grant", "*S-1-5-32-545:(OI)(CI)M")
        subprocess.run(grant, check=False, capture_output=True)  # noqa: S603 - our own words

    def _read_bytes(handle: int, size: int, offset: int) -> bytes:
        buffer = bytearray(size)
        return bytes(buffer[: seek_read(handle, memoryview(buffer), offset)])

    def _read_some(handle: int, view: memoryview, offset: int) -> int:
        return seek_read(handle, view, offset)

    def _write_some(handle: int, view: memoryview, offset: int) -> int:
        return seek_write(handle, view, offset)


def seek_read(handle: int, view: memoryview, offset: int) -> int:
    """Read at `offset` by seeking, under a lock: the twin of `preadv` for systems that lack it."""
    with _seek_lock:
        os.lseek(handle, offset, os.SEEK_SET)
        data = os.read(handle, len(view))
    view[: len(data)] = data
    return len(data)


def seek_write(handle: int, view: memoryview, offset: int) -> int:
    """Write at `offset` by seeking, under a lock: the twin of `pwrite` for systems that lack it."""
    with _seek_lock:
        os.lseek(handle, offset, os.SEEK_SET)
        return os.write(handle, view)
