"""An import that a signal meets in its midst: `python -m tests.support.stopped_import SECTION SIGNAL CALL NUMBER`.

The process sends the signal to itself, at its so-manieth `create` or `replace` of a file: nobody has to hit the moment.
"""

import os
import signal
import sys
import threading
from pathlib import Path

from calibration.frames import FrameKind
from services.datasets.attempts import Section
from services.datasets.conversion import Conversion
from services.datasets.importing import import_raws
from services.files.disk import Disk, Stream


class Stopping(Disk):
    """A disk on which the process gets a signal."""

    def __init__(self, sent: signal.Signals, call: str, number: int) -> None:
        self._sent = sent
        self._call = call
        self._left = number
        self._lock = threading.Lock()

    def create(self, path: Path) -> Stream:
        self._counted("create")
        return super().create(path)

    def replace(self, source: Path, target: Path) -> None:
        self._counted("replace")
        super().replace(source, target)

    def _counted(self, call: str) -> None:
        with self._lock:
            self._left -= call == self._call
            if self._left == 0 and call == self._call:
                os.kill(os.getpid(), self._sent)


if __name__ == "__main__":
    root, name, of, at = sys.argv[1:]
    disk = Stopping(signal.Signals[name], of, int(at))
    try:
        import_raws([Section(root=Path(root), kind=FrameKind.DARK)], Conversion(disk=disk))
    except KeyboardInterrupt:
        sys.exit(130)
