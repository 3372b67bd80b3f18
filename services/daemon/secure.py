"""The small process that makes devices safe after a worker has died: `python -m services.daemon.secure`.

A request comes in as one line. What was done goes out, a line for each state as soon as it is reached, and last all of
it together. It is a process of its own, so that a server or a disk that hangs keeps nobody else from ending it.
"""

import json
import sys

from services.capture.secure import Secured, secure
from services.daemon.lines import Speaker, claim_pipes, hear_terminate_only, lines_of
from services.daemon.messages import WorkRequest, said_of
from services.daemon.request import loaded_of
from services.errors import Exit, ServiceError


def main() -> int:
    """Make the devices of the request's configuration safe; return 0 if all is well."""
    source, sink = claim_pipes()
    hear_terminate_only()
    speaker = Speaker(sink)
    try:
        request = said_of(next(lines_of(source), ""))
        if not isinstance(request, WorkRequest):
            return Exit.CONFIG
        secured = secure(
            loaded_of(request),
            left=request.left,
            cooler_held_at=request.options.cooler_held_at,
            say=lambda word: speaker.say(json.dumps({"done": word})),
        )
    except ServiceError as error:
        secured = Secured(refused=error.detail)
    said = {"done": secured.done, "left": secured.left, "refused": secured.refused}
    speaker.say(json.dumps({"secured": said}), must=True)
    speaker.close()
    return Exit.DONE if secured.well else Exit.DEVICE


if __name__ == "__main__":
    sys.exit(main())
