"""Processes and threads, as far as systems differ: a group for each child, its end, who is alive, and who works."""

import ntpath
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

_KILLED_WITHIN_S = 10.0
_THREADS = Path("/proc/self/task")


def own_group() -> dict[str, Any]:
    """Return the options of `subprocess.Popen` that put a child into a group of its own, without a window.

    A Ctrl-C in our terminal, and a signal to our group, are then not heard by the child a second time.
    """
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def kill_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill a child of `own_group` with all that it has started; where the system knows groups, also after its end."""
    if sys.platform == "win32":
        if process.poll() is None:  # the number of one that has ended may be another program's by now
            with suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(  # noqa: S603 - our own words
                    kill_tree_command(process.pid),
                    check=False,
                    capture_output=True,
                    timeout=_KILLED_WITHIN_S,
                    creationflags=subprocess.CREATE_NO_WINDOW,
                )
        process.kill()  # whatever became of that; harmless after its end
        return
    with suppress(ProcessLookupError, PermissionError):  # macOS refuses a group of which only the dead are left
        os.killpg(process.pid, signal.SIGKILL)


def kill_tree_command(pid: int) -> list[str]:
    """Return the command with which Windows kills a process and all that descends from it."""
    program = ntpath.join(os.environ.get("SYSTEMROOT", "C:\\Windows"), "System32", "taskkill.exe")
    return [program, "/F", "/T", "/PID", str(pid)]


def is_alive(pid: int) -> bool:
    """Return whether there is a process of this number on this machine; True where that cannot be known."""
    if pid <= 0:
        return False
    if sys.platform == "win32":
        return _is_alive_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True


def _is_alive_on_windows(pid: int) -> bool:
    """Ask for a handle of the process: there, signal 0 would end it."""
    if sys.platform != "win32":
        return True
    import ctypes

    synchronize, invalid_parameter, timed_out = 0x0010_0000, 87, 0x102
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(synchronize, False, ctypes.c_ulong(pid))  # noqa: FBT003 - by position in C
    if not handle:
        return ctypes.get_last_error() != invalid_parameter  # access denied: another user's
    try:
        return bool(kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0) == timed_out)
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))


def worked_ns(threads: Iterable[int]) -> int:
    """Return how long threads of this process, by their native ids, have worked: it does not change while they wait.

    Where the system does not say that of single threads, it is the time of all of them.
    """
    found = [time_ns for each in threads if (time_ns := _worked_ns(each)) is not None]
    return sum(found) if found else round(sum(os.times()[:2]) * 1e9)


def _worked_ns(thread: int) -> int | None:
    try:
        return int((_THREADS / str(thread) / "schedstat").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):  # another system, or it has just ended
        return None
