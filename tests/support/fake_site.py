"""An observatory of fakes with a root to write to, for tests of whole sessions."""

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

from calibration.frames import CaptureRequest, Cover, FrameKind, FrameResult, Purpose
from drivers.clock import ManualClock
from services.capture.session import Session
from services.catalogue.catalogue import Catalogue
from services.config.devices import FilterWheel, FlatPanel, SafetyMonitor
from services.config.models import Config, Storage
from services.events.bus import Events
from services.events.records import Event
from services.files.disk import REAL_DISK, Disk
from services.files.layout import Layout
from services.observatory import Interlock, Observatory
from services.root import Place
from tests.support.fakes import INFO, FakeCamera, FakePanel, FakeSafety, FakeWheel, Scene

DARK = CaptureRequest(kind=FrameKind.DARK, purpose=Purpose.KEEP, exposure_us=2_000_000, count=3, set_id="d1")
BIAS = replace(DARK, kind=FrameKind.BIAS, exposure_us=1_000, set_id="b1")
FLAT = CaptureRequest(
    kind=FrameKind.FLAT,
    purpose=Purpose.KEEP,
    exposure_us=1_000_000,
    count=3,
    filter="Ha",
    panel_brightness=200,
    cover=Cover.CLOSED,
    set_id="f1",
)


class Site:
    """An observatory of fakes, a root, and what the run said."""

    def __init__(
        self,
        root: Path,
        *,
        config: Config | None = None,
        disk: Disk = REAL_DISK,
        info=INFO,
        safety: bool = False,
        clock: ManualClock | None = None,
    ) -> None:
        self.clock = clock or ManualClock()
        self.panel = FakePanel(self.clock)
        self.wheel = FakeWheel(self.clock)
        scene = Scene(brightness=lambda: self.panel.brightness / 255)
        self.camera = FakeCamera(self.clock, info=replace(info, unique_id=None), scene=scene)
        self.safety = FakeSafety()
        self.interlock = Interlock()
        base = config or Config(storage=Storage(min_free_mb=0))
        self.config = base.model_copy(
            update={
                "filter_wheel": base.filter_wheel or FilterWheel(),
                "flat_panel": base.flat_panel or FlatPanel(),
                "safety_monitor": SafetyMonitor() if safety else None,
            }
        )
        self.layout = Layout(root)
        self.catalogue = Catalogue(self.layout.catalogue)
        self.disk = disk
        self.heard: list[Event] = []
        self.events = Events(run_id="run1", clock=self.clock)
        self.events.subscribe(self.heard.append)

    def session(self, **options) -> Session:
        observatory = Observatory(
            config=self.config,
            clock=self.clock,
            camera=self.camera,
            interlock=self.interlock,
            wheel=self.wheel,
            panel=self.panel,
            new_safety_monitor=lambda: self.safety if self.config.safety_monitor else None,
            new_panel=lambda: self.panel,
        )
        return Session(
            observatory=observatory,
            events=self.events,
            place=Place(layout=self.layout, catalogue=self.catalogue, disk=self.disk),
            **options,
        )

    def names(self) -> list[str]:
        self.events.close()
        return [event.name for event in self.heard]

    def take(self, *requests: CaptureRequest, **options) -> list[tuple[FrameResult, ...]]:
        with self.session(**options) as session:
            return session.run(plan(*requests))

    def close(self) -> None:
        self.events.close()
        self.catalogue.close()


def plan(
    *requests: CaptureRequest,
) -> Generator[CaptureRequest, tuple[FrameResult, ...], list[tuple[FrameResult, ...]]]:
    taken = []
    for request in requests:
        taken.append((yield request))  # noqa: PERF401 - a comprehension cannot yield
    return taken


def site_at(root: Path) -> Iterator[Site]:
    """Give a site and close it: the body of a fixture."""
    made = Site(root)
    yield made
    made.close()
