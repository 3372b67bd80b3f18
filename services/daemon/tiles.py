"""The child process that renders pictures of masters and frames: `python -m services.daemon.tiles`.

Requests come in on standard input, one line of JSON each, and are answered in their order on standard output. It goes
at low priority, keeps no picture, and ends with its input.
"""

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

from services.daemon.lines import claim_pipes, hear_terminate_only, lines_of
from services.errors import ServiceError
from services.platform import lower_priority_of_all
from services.reports.tiles import Shown, View, tile


def answer(line: str) -> dict[str, Any]:
    """Return the answer to a request: `id`, and `data` (base64), or why there is no picture, in words."""
    asked: Any = None
    try:
        asked = json.loads(line)
        image = Shown(
            path=Path(asked["path"]),
            planes=None if asked["planes"] is None else Path(asked["planes"]),
            other=None if asked["other"] is None else Path(asked["other"]),
            stamp=str(asked["stamp"]),
        )
        where = {name: int(asked[name]) for name in ("level", "x", "y")}
        data = tile(image, View(asked["view"]), red=bool(asked["red"]), **where)
    except (ServiceError, ValueError, TypeError, LookupError, OSError, MemoryError, RecursionError) as error:
        number = asked.get("id") if isinstance(asked, dict) else None
        return {"id": number, "data": None, "problem": str(error) or type(error).__name__}
    return {"id": asked["id"], "data": None if data is None else base64.b64encode(data).decode("ascii"), "problem": ""}


def main() -> int:
    """Answer until nobody asks any more."""
    source, sink = claim_pipes()
    hear_terminate_only()
    lower_priority_of_all()
    for line in lines_of(source):
        left = memoryview(json.dumps(answer(line)).encode() + b"\n")
        try:
            while left:
                left = left[os.write(sink, left) :]
        except OSError:  # nobody reads any more
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
