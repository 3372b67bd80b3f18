"""`nightcal serve` as a process over a small night on a fast clock; what it says, and orders to it over the wire."""

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.support import started
from tests.support.small_night import Night

SOON_S = 100.0
"""Real seconds in which everything here happens, also on a busy machine."""
ALWAYS = {"name": "always", "cron": "0 12 * * *", "hours": 25, "takes": ["bias", "darks", "flats"]}


@dataclass(slots=True)
class Daemon:
    """A daemon at work: its lines as they come, its address, and its process."""

    night: Night
    process: "subprocess.Popen[str]"
    lines: "queue.Queue[str | None]" = field(default_factory=queue.Queue)
    said: list[str] = field(default_factory=list)
    url: str = ""

    def until(self, *parts: str) -> str:
        """Return the next line that holds one of some words."""
        while (line := self.lines.get(timeout=SOON_S)) is not None:
            self.said.append(line)
            if any(part in line for part in parts):
                return line
        raise AssertionError(f"the daemon ended before it said {parts}: {self.said}")

    def state(self) -> dict[str, Any]:
        """Return what `/api/state` says."""
        return requests.get(f"{self.url}/api/state", timeout=SOON_S).json()

    def order(self, **said: Any) -> tuple[int, dict[str, Any]]:
        """Give an order; return the status and the answer."""
        answer = requests.post(f"{self.url}/api/orders", json=said, timeout=SOON_S)
        return answer.status_code, answer.json()

    def hear(self) -> None:
        """Take its lines, on a thread."""
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.put(line.rstrip("\n"))
        self.lines.put(None)


def command(night: Night, *options: str) -> list[str]:
    """Return the command of a daemon on a free port."""
    words = ("serve", "--config", str(night.config), "--listen", "127.0.0.1:0", *options)
    return [sys.executable, "-m", "services.cli.main", *words]


@contextmanager
def served(night: Night) -> Iterator[Daemon]:
    """Give a daemon; at the end it is ended in order."""
    pipe = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = started.start(command(night), cwd=night.root, **pipe)
    daemon = Daemon(night, process)
    thread = threading.Thread(target=daemon.hear, daemon=True)
    thread.start()
    try:
        daemon.url = daemon.until("serving").rpartition(" at ")[2]
        yield daemon
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(SOON_S)
        finally:
            process.kill()
            thread.join(5)
