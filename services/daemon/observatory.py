"""The simulated observatory of `nightcal serve --simulator`: `python -m services.daemon.observatory`.

It outlives the workers, so that one that dies leaves lamp, cover and cooler as a real death would. A request comes in
as one line; where it listens, and its clock, go out as one line; the end of its input ends it.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack

from services.catalogue.catalogue import Catalogue
from services.daemon.lines import Speaker, claim_pipes, hear_terminate_only, lines_of
from services.daemon.messages import WorkRequest, said_of
from services.daemon.request import loaded_of
from services.errors import Exit, RunCode, ServiceError
from services.files.locks import ObservatoryLock
from services.observatory import newest_of
from services.observatory.embedded import embed
from services.root import layout_of


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
        stack.enter_context(ObservatoryLock(layout.root, f"{simulated.host}:{simulated.port}"))
        now = simulated.clock.now().isoformat()
        said = {"host": simulated.host, "port": simulated.port, "utc": now, "rate": simulated.clock.rate}
        speaker.say(json.dumps(said), must=True)
        for _ in lines:  # nothing is said but that it ends
            continue


if __name__ == "__main__":
    sys.exit(main())
