"""What building masters beside the exposures costs them: periods with a builder at work all the time, and without.

The server only hands out ready frames. The builder is the run's own: one thread of low priority, which here combines a
set of 61-megapixel frames from the page cache again and again, so that every exposure has it beside. In a night it
works for seconds once a set.
"""

import queue
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from calibration.frames import FrameKind, GroupStatus
from drivers.clock import SystemClock
from services.catalogue.catalogue import Catalogue
from services.config.models import Config, MasterFrames
from services.events.bus import Events
from services.events.records import Event, GroupFinished, MasterBuilt
from services.files.layout import Layout
from services.masters import MasterSettings
from services.root import Place
from services.workflow.builder import MasterBuilder
from services.workflow.compiling import Loops, compile_all
from tests.benchmarks.harness import FULL, QUICK, Row, Timing, in_child
from tests.benchmarks.ready_frames import ready_frames, taken_at
from tests.benchmarks.stacks import write_set

EXPOSURE_S = 2.0
GOAL = 1.02
LONGEST_S = 300.0
"""A builder that has finished no master after so long has failed."""


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield one row."""
    shape, stack, count, turns = (QUICK, 10, 5, 1) if quick else (FULL, 40, 8, 3)
    compile_all()
    alone: list[float] = []
    beside: list[float] = []
    built = 0
    with tempfile.TemporaryDirectory(prefix="bench-beside-", dir=Path.cwd()) as folder, ready_frames(shape) as port:
        root = Path(folder)
        with Catalogue(Layout(root).catalogue) as catalogue:
            write_set(Layout(root), catalogue, stack, shape)
        for _ in range(turns):
            begun, _ = in_child(taken_at, port, root, EXPOSURE_S, count)
            alone += list(np.diff(begun)[1:])
            (begun, masters), peak = in_child(_with_builder, port, root, count)
            beside += list(np.diff(begun)[1:])
            built += masters
    one, both = Timing(runs=tuple(alone)), Timing(runs=tuple(beside))
    yield Row(
        figure=f"exposures of {EXPOSURE_S:g} s with a builder beside",
        goal="<= 1.02 x alone",
        measured=str(both),
        ratio=both / one,
        met=built > 0 and both / one <= GOAL,
        peak_mb=peak,
        peer=f"alone {one}; {built} masters of {stack} frames built",
    )


def _with_builder(port: int, root: Path, count: int) -> tuple[list[float], int]:
    built: list[str] = []

    @contextmanager
    def beside(place: Place, events: Events) -> Iterator[None]:
        over = threading.Event()
        with ThreadPoolExecutor(1, "bench-builders") as threads:
            work = threads.submit(_build_on_and_on, place, events, over, built)
            try:
                yield
            finally:  # a lost camera or a Ctrl-C too: the process waits for its threads
                over.set()
            work.result()  # a failure there is a failure of the benchmark

    return taken_at(port, root, EXPOSURE_S, count, beside), len(built)


def _build_on_and_on(place: Place, events: Events, over: threading.Event, built: list[str]) -> None:
    """Build the same master again and again until it is over; the last one is not finished."""
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()

    def hear(event: Event) -> None:
        if isinstance(event.what, MasterBuilt):
            heard.put(event.what.path)

    events.subscribe(hear)
    clock = SystemClock()
    said = {"set_id": "stack", "kind": FrameKind.DARK, "exposure_us": 5_000_000, "gain": None}
    finished = GroupFinished(**said, filter=None, accepted=None, status=GroupStatus.COMPLETE)
    finished = Event(run_id="bench", seq=1, at=clock.now(), what=finished)
    while not over.is_set():
        sigma = 3.0 + clock.real() % 1e6 / 1e9  # another recipe, so that the master is not there already
        config = Config(master_frames=MasterFrames(sigma_threshold=sigma))
        settings = MasterSettings.of(config)
        builder = MasterBuilder(settings, place=place, events=events, clock=clock, wake=over, loops=Loops())
        builder.start()
        builder.hear(finished)
        path = _next(heard, over)
        builder.close()
        if path is not None:
            built.append(path)
            master = place.layout.absolute(path)
            master.unlink()
            place.layout.planes_path(master).unlink()


def _next(heard: "queue.SimpleQueue[str]", over: threading.Event) -> str | None:
    """Return the next master that is heard of; None when it is over before."""
    start = time.monotonic()
    while not over.is_set():
        with suppress(queue.Empty):
            return heard.get(timeout=0.1)
        if time.monotonic() - start > LONGEST_S:
            raise TimeoutError(f"the builder finished no master in {LONGEST_S:g} s")
    return None
