"""The whole capture loop against exposure + transfer: what lies idle between two exposures of 61 megapixels.

A server of its own process only hands out ready frames. The transfer is a plain read of the same reply into one
buffer, in the same run; the loop applies settings, exposes, fetches, turns, checks, hashes, writes, syncs and
catalogues. On two cores the server's sending, the reading and the writer share them.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from services.workflow.compiling import compile_all
from tests.benchmarks.bench_imagebytes import plain
from tests.benchmarks.harness import FULL, QUICK, Row, Timing, alternated, in_child
from tests.benchmarks.ready_frames import ready_frames, taken_at

GOAL_S, GOAL_PART = 0.050, 0.05


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield a row an exposure time."""
    shape, count = (QUICK, 6) if quick else (FULL, 12)
    compile_all()
    with tempfile.TemporaryDirectory(prefix="bench-capture-", dir=Path.cwd()) as folder, ready_frames(shape) as port:
        for exposure_s in (0.5, 2.0):
            transfer = alternated({"plain": plain(port, 2 * shape[0] * shape[1] + 44)})["plain"]
            root = Path(folder) / f"{exposure_s}"
            begun, peak = in_child(taken_at, port, root, exposure_s, count)
            periods = np.diff(begun)[2:]
            idle = Timing(runs=tuple(float(p) - exposure_s - transfer.median for p in periods))
            shutil.rmtree(root)
            yield Row(
                figure=f"idle between exposures of {exposure_s:g} s",
                goal="<= 50 ms or 5 %",
                measured=str(idle),
                peer=f"period {np.median(periods):.3f} s, transfer {transfer}",
                ratio=float(np.median(periods)) / (exposure_s + transfer.median),
                met=idle.median <= max(GOAL_S, GOAL_PART * (exposure_s + transfer.median)),
                peak_mb=peak,
            )
