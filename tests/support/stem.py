"""A process that has imported what the command line imports, and forks for each command that is to be started.

Run as a script by `tests.support.started`, which sends orders: the command, its folder and environment, and the files
that become its stdin, stdout and stderr. What is forked goes on as a new interpreter would with the same command, and
ends as one ends. Between it and this process stands another one, its parent, which says how it ended.
"""

import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("calibration", "drivers", "services")
LATE = ("astropy.time", "astropy.wcs", "PIL.Image", "PIL.PngImagePlugin", "scipy.ndimage", "uvicorn.lifespan.off")
"""What our modules import only inside their functions."""


def number(value: int) -> bytes:
    """Return a number as it is sent."""
    return value.to_bytes(8, "little", signed=True)


def read_number(data: bytes) -> int:
    """Return a number that was sent."""
    return int.from_bytes(data, "little", signed=True)


def serve(control: socket.socket) -> None:
    """Fork for each order until the other end is closed; return in each program that is to run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the tests and for the programs
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the parents of programs
    while True:
        length, files, _, _ = socket.recv_fds(control, 8, 4)
        if not length:
            os._exit(0)
        order = json.loads(_all(control, read_number(length)))
        if os.fork() == 0:
            control.close()
            _parent(order, socket.socket(fileno=files[0]), files[1:])
            return
        for file in files:
            os.close(file)


def _all(control: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        data += control.recv(length - len(data))
    return data


def _parent(order: dict[str, Any], report: socket.socket, files: list[int]) -> None:
    """Fork a program, tell its number and how it ends; return in the program."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        report.close()
        _become(order, files)
        return
    for file in files:
        os.close(file)
    with suppress(OSError):  # nobody listens any more
        report.sendall(number(pid))
    status = os.waitpid(pid, 0)[1]
    with suppress(OSError):
        report.sendall(number(status))
    os._exit(0)


def _become(order: dict[str, Any], files: list[int]) -> None:
    """Take on what a new process is given by the one that starts it."""
    if order["new_session"]:
        os.setsid()
    for to, file in enumerate(files):
        os.dup2(file, to)
        os.close(file)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    for file, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        new = open(file, "w" if file else "r", encoding=old.encoding, errors=old.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
    sys.stderr.reconfigure(line_buffering=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv[:] = order["words"]


def run() -> NoReturn:
    """Do what `python WORDS` does."""
    if sys.argv[0] == "-m":
        sys.path[0] = str(Path.cwd())
        module = sys.argv[1]
        del sys.argv[0]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
        runpy.run_path(sys.argv[0], run_name="__main__")
    sys.exit(0)


def preload() -> None:
    """Import every module of ours that is no door, and what they import late."""
    sys.path.insert(0, str(ROOT))
    for room in ROOMS:
        package = importlib.import_module(room)
        for module in pkgutil.walk_packages(package.__path__, f"{room}."):
            if module.name.count(".") > 1 or module.ispkg:
                importlib.import_module(module.name)
    for name in LATE:
        importlib.import_module(name)
    del sys.path[0]
    sys.modules.pop("services.cli.main", None)  # it is run, and not imported
    gc.collect()
    gc.freeze()  # so that programs do not copy what they never change


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as orders:
        preload()
        serve(orders)
    run()
