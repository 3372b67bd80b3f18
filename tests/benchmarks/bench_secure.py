"""How long after the death of a worker its devices are safe: killed in the light of the lamp, in real time.

The simulated observatory outlives the worker, and its cover moves as slowly as a real one. What is measured begins with
the kill, and holds the start of the secure process.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drivers.base import CalibratorStatus, CameraStates, CoverStatus
from services.planning.request import Step
from tests.benchmarks.harness import Row, Timing
from tests.support.small_daemon import SmallDaemon, small_daemon

GOAL_S = 10.0
LIT: dict[str, Any] = {
    "camera": {"camera_type": "simulator", "simulator": {"width": 640, "height": 480, "rate": 1}},
    "flat_panel": {"cover_for_flats": "open", "brightness": 1, "open_by_day": True},
    "flat_capture": {"filters": ["L"], "num_flats": 100, "min_exposure": 20.0, "max_exposure": 60.0},
}
"""Flats of 20 s under an open cover."""


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield one row."""
    dark: list[float] = []
    told: list[float] = []
    with tempfile.TemporaryDirectory(prefix="bench-secure-") as folder:
        for turn in range(1 if quick else 5):
            with small_daemon(Path(folder) / str(turn), LIT, start=subprocess.Popen) as daemon:
                safe_s, told_s = _killed(daemon)
            dark.append(safe_s)
            told.append(told_s)
    safe = Timing(runs=tuple(dark))
    yield Row(
        figure="devices safe after the death of a worker",
        goal="<= 10 s",
        measured=str(safe),
        met=max(dark) <= GOAL_S,
        peer=f"told, with the row closed, after {Timing(runs=tuple(told))}",
    )


def _killed(daemon: SmallDaemon) -> tuple[float, float]:
    """Return the seconds from a kill until lamp, cover and exposure are as they should be, and until that was told."""
    worker = daemon.begin(Step.FLATS, skip_cooling=True)
    daemon.connected()
    while not _is_lit(daemon):
        time.sleep(0.1)
    begun_s = time.perf_counter()
    worker.kill()
    ended = daemon.heard.end()
    daemon.supervisor.secure(daemon.request, ended.run_id)
    while not _is_safe(daemon):
        time.sleep(0.02)
    safe_s = time.perf_counter() - begun_s
    secured = daemon.heard.safe.get(timeout=60)
    if secured.left:
        raise RuntimeError(f"not safe: {secured.left}")
    return safe_s, time.perf_counter() - begun_s


def _is_lit(daemon: SmallDaemon) -> bool:
    lit = CalibratorStatus(daemon.read("calibratorstate")) is CalibratorStatus.READY
    return lit and CameraStates(daemon.read("camerastate")) is CameraStates.EXPOSING


def _is_safe(daemon: SmallDaemon) -> bool:
    daemon.connected()
    return (
        CalibratorStatus(daemon.read("calibratorstate")) is CalibratorStatus.OFF
        and CoverStatus(daemon.read("coverstate")) is CoverStatus.CLOSED
        and CameraStates(daemon.read("camerastate")) is CameraStates.IDLE
    )
