"""What building masters beside the exposures costs them: periods with a builder at work all the time, and without.

The server only hands out ready frames. The builder is the run's own: one thread of low priority, which here combines a
set of 61-megapixel frames from the page cache again and again, so that every exposure has it beside. In a night it
works for seconds once a set.
"""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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
        met=both / one <= GOAL if built else None,
        peak_mb=peak,
        peer=f"alone {one}; {built} masters of {stack} frames built",
    )


def _with_builder(port: int, root: Path, count: int) -> tuple[list[float], int]:
    built: list[str] = []

    @contextmanager
    def beside(place: Place, events: Events) -> Iterator[None]:
        over, done = threading.Event(), threading.Semaphore(0)
        thread = threading.Thread(target=_build_on_and_on, args=(place, events, over, done, built))
        thread.start()
        try:
            yield
        finally:  # a lost camera or a Ctrl-C too: the process waits for its threads
            over.set()
            done.release()
            thread.join()

    return taken_at(port, root, EXPOSURE_S, count, beside), len(built)


def _build_on_and_on(
    place: Place, events: Events, over: threading.Event, done: threading.Semaphore, built: list[str]
) -> None:
    def hear(event: Event) -> None:
        if isinstance(event.what, MasterBuilt):
            built.append(event.what.path)
            done.release()

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
        done.acquire()
        builder.close()
        master = place.layout.absolute(built[-1])
        master.unlink()
        place.layout.planes_path(master).unlink()
