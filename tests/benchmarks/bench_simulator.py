"""The simulated observatory at full size: how long a 61-megapixel frame takes from its command to the driver's pixels.

A QHY600M takes about 1.5 s from one frame of a millisecond to the next, readout and USB included; a rehearsal at full
size should not be slower. Server, rendering and driver share this process, as in `nightcal run --simulator`.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from drivers.base import ExposureRequest
from services.config import loader
from services.observatory import Observatory, open_observatory
from tests.benchmarks.harness import FULL, QUICK, Row, alternated, in_child

GOAL_S = 1.5


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield a row for a bias and one for a dark of a second."""
    height, width = QUICK if quick else FULL
    for name, exposure_s in (("1 ms", 0.001), ("1 s", 1.0)):
        found, peak = in_child(_frames, width, height, exposure_s)
        yield Row(
            figure=f"simulated frame of {name}, beyond its exposure",
            goal="<= 1.5 s",
            measured=str(found["frame"]),
            met=found["frame"].median <= GOAL_S,
            peak_mb=peak,
            peer="a QHY600M: 1.5 s",
        )


def _frames(width: int, height: int, exposure_s: float) -> object:
    with tempfile.TemporaryDirectory(prefix="bench-simulator-") as folder:
        simulator = {"width": width, "height": height, "rate": 1.0}
        document = {"camera": {"camera_type": "simulator", "simulator": simulator}}
        with open_observatory(loader.from_dict(document, Path(folder) / "config.yaml")) as observatory:
            observatory.camera.connect()
            found = alternated({"frame": _frame(observatory, exposure_s)})
            observatory.camera.disconnect()
    return found


def _frame(observatory: Observatory, exposure_s: float) -> Callable[[], float]:
    request = ExposureRequest(duration_s=exposure_s, light=False)

    def run() -> float:
        start = time.perf_counter()
        observatory.camera.expose(request, None)
        return time.perf_counter() - start - exposure_s

    return run
