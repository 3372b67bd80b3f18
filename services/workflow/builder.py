"""Masters while the night goes on: a set's master is built as soon as its last frame is stored.

One thread of low priority hears which sets are finished and builds beside the next exposures, from the page cache. It
does what the masters step does, with the same results, and only what needs no second thought: complete sets, flats
once their darks of this run are there, and biases once a set was taken after them, for their noise model needs the gain
that is measured before the flats. The masters step at the end finds them built and does the rest; whatever fails here
is left to it, for building must never hurt capturing.
"""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import structlog

from calibration.frames import FrameKind, GroupStatus
from drivers.clock import Clock
from services import platform
from services.catalogue.rows import Flag
from services.errors import RunStopped
from services.events.bus import Events
from services.events.records import Event, GroupFinished
from services.masters import MasterSettings, build_all
from services.root import Place
from services.workflow.compiling import Loops
from services.workflow.warm_up import Need

log = structlog.get_logger(__name__)

Settings = tuple[int | None, str]
"""Gain, and all in which the states of the run differ (`apart`): by these a flat waits for its dark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A complete set, of this run or of an earlier one, which may have been killed before it built the master."""

    set_id: str
    kind: FrameKind
    exposure_us: int | None
    settings: Settings


class MasterBuilder:
    """Builds the masters of finished sets, one after the other.

    Parameters
    ----------
    settings : MasterSettings
    place : Place
    events : Events
        Hears of each master.
    clock : Clock
        Gives the stamps.
    wake : threading.Event
        Ends the work between two bands when set.
    loops : Loops
        Waited for before the first master.
    """

    def __init__(
        self,
        settings: MasterSettings,
        *,
        place: Place,
        events: Events,
        clock: Clock,
        wake: threading.Event,
        loops: Loops,
    ) -> None:
        self._settings = replace(settings, beside=True, workers=1)
        self._place = place
        self._events = events
        self._clock = clock
        self._wake = wake
        self._loops = loops
        self._over = threading.Event()
        self._finished: queue.SimpleQueue[Finished | None] = queue.SimpleQueue()
        self._biases: list[Finished] = []
        self._flats: list[Finished] = []
        self._darks: set[tuple[int | None, Settings]] = set()
        self._thread = threading.Thread(target=self._work, name="nightcal-builder", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def hear(self, event: Event) -> None:
        """Take note of a finished set: a listener of the run's events."""
        match event.what:
            case GroupFinished(status=GroupStatus.COMPLETE, set_id=str(set_id), kind=FrameKind() as kind) as ended:
                settings = ended.gain, ended.apart
                finished = Finished(set_id=set_id, kind=kind, exposure_us=ended.exposure_us, settings=settings)
                self._finished.put(finished)

    def close(self) -> None:
        """End after the master that is being built; the masters step builds what waits."""
        self._over.set()
        self._finished.put(None)
        self._thread.join()

    # --- on the thread ----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        platform.lower_priority()
        while (finished := self._finished.get()) is not None and not self._over.is_set():
            try:
                self._take(finished)
            except RunStopped:
                return
            except Exception:  # a full disk included: the writer meets it as well, and ends the run by it
                log.exception("builder.failed", set_id=finished.set_id)

    def _take(self, finished: Finished) -> None:
        if finished.kind is FrameKind.BIAS:
            self._biases.append(finished)
            return
        for bias in [bias for bias in self._biases if bias.settings == finished.settings]:
            self._biases.remove(bias)
            self._build_dark(bias)
        if finished.kind is FrameKind.FLAT:
            self._flats.append(finished)
        else:
            self._build_dark(finished)
        for flats in [flats for flats in self._flats if self._is_ready(flats)]:
            self._flats.remove(flats)
            self._build(flats)

    def _build_dark(self, finished: Finished) -> None:
        """Build a bias or a dark, and know that flats may use it."""
        self._build(finished)
        self._darks.add((finished.exposure_us, finished.settings))

    def _is_ready(self, flats: Finished) -> bool:
        """Return whether the darks of all exposures of a flat set were finished in this run, or found complete."""
        if self._settings.flat_dark == "bias":
            return any(settings == flats.settings for _, settings in self._darks)
        rows = self._place.catalogue.frames(set_id=flats.set_id, flag=Flag.OK)
        return all((row.exposure_us, flats.settings) in self._darks for row in rows)

    def _build(self, finished: Finished) -> None:
        if self._over.is_set():
            return
        build_all(
            settings=self._settings,
            place=self._place,
            events=self._events,
            clock=self._clock,
            wake=self._wake,
            ready=lambda: self._loops.wait(Need.MASTERS, self._check),
            sets={finished.set_id},
            quiet=True,
        )

    def _check(self) -> None:
        if self._over.is_set() or self._wake.is_set():
            raise RunStopped("the frames are all taken: the masters step builds what waits")


@contextmanager
def building_beside(builder: MasterBuilder, *, wanted: bool) -> Iterator[None]:
    """Let a builder work for the length of a `with` block, when masters are wanted at all."""
    if not wanted:
        yield
        return
    builder.start()
    try:
        yield
    finally:
        builder.close()
