"""The simulated observatory of `nightcal serve --simulator`: `python -m services.daemon.observatory`.

It outlives the workers, so that one that dies leaves lamp, cover and cooler as a real death would. A request comes in
as one line; where it listens, and its clock, go out as one line; the end of its input ends it.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from drivers.clock import SystemClock, retry
from services.catalogue.catalogue import Catalogue
from services.daemon.lines import Speaker, claim_pipes, hear_terminate_only, lines_of
from services.daemon.messages import WorkRequest, said_of
from services.daemon.request import loaded_of
from services.errors import Exit, RunCode, ServiceError, StorageError
from services.files.locks import ObservatoryLock, RootLock
from services.observatory import newest_of
from services.observatory.embedded import embed
from services.root import layout_of

LINGER_S = 120.0
"""Real seconds for which an observatory outlasts its daemon at most, while a run is at work."""
BEFORE_S = 40
"""Seconds for which the observatory of the daemon before is waited for."""


def main() -> int:
    """Serve until nobody needs it any more; return the exit code."""
    source, sink = claim_pipes()
    hear_terminate_only()
    speaker, lines = Speaker(sink), lines_of(source)
    try:
        request = said_of(next(lines, ""))
        if not isinstance(request, WorkRequest):
            return Exit.CONFIG
        _serve(request, speaker, lines)
    except ServiceError as error:
        said = {"code": str(error.code), "detail": error.detail}
    except ValueError as error:
        said = {"code": str(RunCode.USAGE), "detail": str(error)}
    else:
        return Exit.DONE
    speaker.say(json.dumps(said), must=True)
    speaker.close()
    return Exit.CONFIG


def _serve(request: WorkRequest, speaker: Speaker, lines: Iterator[str]) -> None:
    """Serve until the end of input.

    The simulated night begins after the newest frame there is, so that no time occurs twice.
    """
    loaded = loaded_of(request)
    layout = layout_of(loaded)
    with Catalogue(layout.catalogue, read_only=True) as catalogue:
        newest = newest_of(catalogue)
    with ExitStack() as stack:
        simulated = embed(loaded, newest)
        stack.callback(simulated.stop)
        lock = ObservatoryLock(layout.root, f"{simulated.host}:{simulated.port}")
        retry(SystemClock(), lock.acquire, delays_s=(1.0,) * BEFORE_S, on=StorageError)
        stack.callback(lock.release)
        now = simulated.clock.now().isoformat()
        said = {"host": simulated.host, "port": simulated.port, "utc": now, "rate": simulated.clock.rate}
        speaker.say(json.dumps(said), must=True)
        for _ in lines:  # nothing is said but that it ends
            continue
        _outlast_the_run(layout.root)


def _outlast_the_run(root: Path) -> None:
    """Wait for the end of a run that the daemon has left behind: it needs devices to leave them in order."""
    clock, run = SystemClock(), RootLock(root)
    until_s = clock.monotonic() + LINGER_S
    while run.is_held and clock.monotonic() < until_s:
        clock.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
