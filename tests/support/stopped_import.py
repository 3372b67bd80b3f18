"""`nightcal dataset import ROOT` that a signal meets in its midst: `stopped_import ROOT SIGNAL CALL NUMBER`.

The process sends the signal to itself, before its so-manieth `create` or `replace` of a file: nobody has to hit the
moment.
"""

import itertools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from services.cli.main import main
from services.files.disk import Disk


def stopped_at(number: int, sent: signal.Signals, call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that sends a signal to the process before its so-manieth call."""
    calls = itertools.count(1)

    def counted(*arguments: Any) -> Any:
        if next(calls) == number:
            os.kill(os.getpid(), sent)
        return call(*arguments)

    return counted


if __name__ == "__main__":
    root, name, of, at = sys.argv[1:]
    setattr(Disk, of, stopped_at(int(at), signal.Signals[name], getattr(Disk, of)))
    sys.argv[1:] = ["dataset", "import", root]
    sys.exit(main())
