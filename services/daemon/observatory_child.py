"""The simulated observatory of the daemon, as the daemon sees it."""

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

from services.daemon.children import ChildProcess, Start
from services.daemon.messages import Served, WorkRequest, said_line

MODULE = "services.daemon.observatory"


class ObservatoryChild:
    """The simulated observatory of the daemon, a child that outlives workers.

    Parameters
    ----------
    request : WorkRequest
        Names the configuration.
    logs : Path
    start : callable
    timeout_s : float
        Real seconds for its start.

    Raises
    ------
    OSError
        It did not start, in words.

    Attributes
    ----------
    served : Served
        Where it listens: for the requests of workers.
    utc, rate : str, float
        Its clock when it began: moment and seconds in a real one.
    """

    def __init__(
        self, request: WorkRequest, *, logs: Path, start: Start = subprocess.Popen, timeout_s: float = 60.0
    ) -> None:
        said: list[dict[str, Any]] = []
        begun = threading.Event()

        def hear(line: str) -> None:
            said.append(json.loads(line))
            begun.set()

        self._child = ChildProcess(
            MODULE, log_path=logs / "observatory.log", hear=hear, gone=lambda _: begun.set(), start=start
        )
        self._child.say(said_line(request))
        if not begun.wait(timeout_s) or not said or "port" not in said[0]:
            self._child.kill()
            detail = said[0].get("detail", "") if said else "it said nothing"
            raise OSError(f"the simulated observatory did not start: {detail}")
        self.served = Served(host=said[0]["host"], port=said[0]["port"])
        self.utc, self.rate = str(said[0]["utc"]), float(said[0]["rate"])

    def close(self) -> None:
        """End it."""
        self._child.close()
        if not self._child.wait(10):
            self._child.kill()
