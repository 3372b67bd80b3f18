"""Masters while the night goes on: the same as those of the masters step, and never in the way of the frames."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from astropy.io import fits

from calibration.frames import FrameKind, GroupStatus
from drivers.clock import ManualClock
from services import platform
from services.catalogue.rows import FactRow, MasterRow
from services.config.models import Config, DarkCapture, FlatCapture
from services.events.bus import Events
from services.events.records import Event, GroupFinished, MasterBuilt, MasterRefused, StepFinished, WarningRaised
from services.files.disk import REAL_DISK, Disk
from services.files.fits import read_pixels
from services.masters import MasterSettings
from services.planning.request import RunOptions, Step
from services.root import Place
from services.stopping import Stop
from services.workflow.builder import MasterBuilder, building_beside
from services.workflow.compiling import Loops
from services.workflow.masters import MastersStep
from services.workflow.work import Asked, Work
from tests.support.failing_disks import FullDisk
from tests.support.made_root import START, Root

N = 12
CONFIG = Config(dark_capture=DarkCapture(num_darks=N), flat_capture=FlatCapture(num_flats=N))


class Night:
    """A run's events with a builder that hears them, on a root whose frames lie there already."""

    def __init__(self, folder: Path, disk: Disk = REAL_DISK) -> None:
        self.root = Root(folder)
        self.clock = ManualClock(START)
        self.events = Events(run_id="run", clock=self.clock)
        self.heard: list[Event] = []
        self.arrived = threading.Semaphore(0)
        self.events.subscribe(self._note)
        self.wake = threading.Event()
        self.builder = MasterBuilder(
            MasterSettings.of(CONFIG),
            place=Place(layout=self.root.layout, catalogue=self.root.catalogue, disk=disk),
            events=self.events,
            clock=self.clock,
            wake=self.wake,
            loops=Loops(),
        )
        self.events.subscribe(self.builder.hear)

    def _note(self, event: Event) -> None:
        self.heard.append(event)
        if isinstance(event.what, MasterBuilt):
            self.arrived.release()

    def take(self, kind: FrameKind, exposure_s: float, count: int = N, *, gain: int = 10, **fields: object) -> None:
        """Store a set and tell that it is finished."""
        set_id = f"{kind.lower()}_{exposure_s}_{fields.get('filter')}"
        self.root.add(kind, exposure_s, count, set_id=set_id, gain=gain, **fields)
        self.finish(kind, exposure_s, set_id, GroupStatus.COMPLETE if count >= N else GroupStatus.PARTIAL, gain=gain)

    def finish(self, kind: FrameKind, exposure_s: float, set_id: str, status: GroupStatus, **data: object) -> None:
        exposure_us = round(exposure_s * 1e6)
        told = {"filter": None, "accepted": None, **data}
        self.events.emit(GroupFinished(kind=kind, exposure_us=exposure_us, set_id=set_id, status=status, **told))

    def wait_for(self, masters: int) -> None:
        for _ in range(masters):
            assert self.arrived.acquire(timeout=100)

    def names(self) -> list[str]:
        self.events.close()
        return [event.name for event in self.heard]

    def masters(self) -> list[MasterRow]:
        return sorted(self.root.catalogue.masters(), key=lambda row: (row.kind, row.exposure_us or 0))

    def close(self) -> None:
        self.events.close()
        self.root.catalogue.close()


class FilledDisk(FullDisk):
    """A full disk that tells when somebody has cleaned up after it."""

    def __init__(self, after_bytes: int) -> None:
        super().__init__(after_bytes)
        self.tried = threading.Event()

    def remove(self, path: Path) -> None:
        super().remove(path)
        if self.left_bytes == 0:
            self.tried.set()


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    made = Night(tmp_path / "beside")
    yield made
    made.close()


def test_each_set_becomes_a_master_when_it_is_finished_and_flats_when_their_dark_is(night: Night) -> None:
    with building_beside(night.builder, wanted=True):
        night.take(FrameKind.BIAS, 0.001)
        night.take(FrameKind.FLAT, 1.0, filter="R")
        night.wait_for(2)
        night.take(FrameKind.DARK, 2.0)
        night.wait_for(1)
        assert [row.kind for row in night.masters()] == [FrameKind.BIAS, FrameKind.DARK, FrameKind.DARK]
        night.take(FrameKind.DARK, 1.0)
        night.wait_for(2)
    assert [row.kind for row in night.masters()].count(FrameKind.FLAT) == 1
    assert len(night.masters()) == 5
    assert MasterRefused.name not in night.names()


def test_masters_built_beside_are_those_of_the_masters_step(night: Night, tmp_path: Path) -> None:
    step = Root(tmp_path / "step")
    with building_beside(night.builder, wanted=True):
        for kind, exposure_s in ((FrameKind.BIAS, 0.001), (FrameKind.FLAT, 1.0), (FrameKind.DARK, 1.0)):
            night.take(kind, exposure_s)
            step.add(kind, exposure_s, N, set_id=f"{kind.lower()}_{exposure_s}_None")
        night.wait_for(4)
    step.build(num_darks=N, num_flats=N)
    others = sorted(step.catalogue.masters(), key=lambda row: (row.kind, row.exposure_us or 0))
    mine = night.masters()
    assert len(mine) == len(others) == 4
    for a, b in zip(mine, others, strict=True):
        same = {"path": "", "built_at": START, "run_id": "", "darks": (), "statistics": {}}
        assert replace(a, **same) == replace(b, **same)
        assert {**a.statistics, "dark": ""} == {**b.statistics, "dark": ""}, "the names of darks have their own times"
        assert (read_pixels(night.root.layout.absolute(a.path)) == read_pixels(step.layout.absolute(b.path))).all()
    assert {o.status.value for o in night.root.build(num_darks=N, num_flats=N)} == {"kept"}
    step.catalogue.close()


def test_biases_know_the_gain_that_is_measured_after_them(night: Night) -> None:
    with building_beside(night.builder, wanted=True):
        night.take(FrameKind.BIAS, 0.001)
        night.take(FrameKind.DARK, 3.0, gain=20)
        night.wait_for(1)
        assert [row.exposure_us for row in night.masters()] == [3_000_000]
        night.root.catalogue.add_fact(FactRow(camera="", name="k_adu_e", value=2.0, at=START, settings={"gain": 10}))
        night.take(FrameKind.DARK, 1.0)
        night.wait_for(3)
    night.events.close()
    built = [event.what for event in night.heard if isinstance(event.what, MasterBuilt)]
    assert built[1].kind is FrameKind.BIAS


def test_a_master_that_was_built_beside_while_its_twin_was_not_is_no_master_that_was_there(night: Night) -> None:
    """Biases make two masters: the frames may all be taken after the first."""
    night.take(FrameKind.BIAS, 0.001)

    def end(event: Event) -> None:
        if isinstance(event.what, MasterBuilt):
            night.wake.set()

    night.events.subscribe(end)
    with building_beside(night.builder, wanted=True):
        night.finish(FrameKind.DARK, 1.0, "no frames yet", GroupStatus.COMPLETE, gain=10)
        night.wait_for(1)
    place = Place(layout=night.root.layout, catalogue=night.root.catalogue)
    asked = Asked(run_id="run", options=RunOptions(steps=(Step.MASTERS,)), stop=Stop())
    work = Work.of(asked, config=CONFIG, place=place, events=night.events, clock=night.clock)
    MastersStep().run(work)
    night.events.close()
    (finished,) = [event.what for event in night.heard if isinstance(event.what, StepFinished)]
    assert work.tally.masters_built == len(night.masters()) == 2
    assert finished.kept == ()


def test_an_incomplete_set_waits_for_the_masters_step(night: Night) -> None:
    with building_beside(night.builder, wanted=True):
        night.take(FrameKind.DARK, 2.0, N - 2)
        night.take(FrameKind.DARK, 1.0)
        night.wait_for(1)
    assert [row.exposure_us for row in night.masters()] == [1_000_000]


def test_flats_of_another_gain_wait_for_their_own_dark(night: Night) -> None:
    with building_beside(night.builder, wanted=True):
        night.take(FrameKind.FLAT, 1.0, gain=20)
        night.take(FrameKind.DARK, 1.0, gain=10)
        night.wait_for(1)
    assert [row.kind for row in night.masters()] == [FrameKind.DARK]


def test_flats_that_were_there_get_their_master_with_a_dark_of_tonight(night: Night) -> None:
    night.root.add(FrameKind.FLAT, 1.0, N, set_id="old")
    with building_beside(night.builder, wanted=True):
        night.finish(FrameKind.FLAT, 1.0, "old", GroupStatus.COMPLETE, gain=10, there=True)
        night.take(FrameKind.DARK, 1.0)
        night.wait_for(2)
    assert [row.kind for row in night.masters()] == [FrameKind.DARK, FrameKind.FLAT]


def test_flats_wait_for_the_master_of_a_dark_that_a_killed_run_left_without_one(night: Night) -> None:
    for kind in (FrameKind.FLAT, FrameKind.DARK):
        night.root.add(kind, 1.0, N, set_id=f"old {kind}")
    night.take(FrameKind.BIAS, 0.001)
    with building_beside(night.builder, wanted=True):
        for kind in (FrameKind.FLAT, FrameKind.DARK):
            night.finish(kind, 1.0, f"old {kind}", GroupStatus.COMPLETE, gain=10, there=True)
        night.wait_for(4)
    assert [row.kind for row in night.masters()].count(FrameKind.FLAT) == 1
    assert len(night.masters()) == 4
    (flat,) = (row for row in night.masters() if row.kind is FrameKind.FLAT)
    assert fits.getheader(night.root.layout.absolute(flat.path))["FLATDARK"] == "matched"


def test_a_build_that_fails_hurts_nobody_and_the_next_is_tried(tmp_path: Path) -> None:
    disk = FilledDisk(10_000)
    night = Night(tmp_path, disk)
    with building_beside(night.builder, wanted=True):
        night.take(FrameKind.DARK, 1.0)
        night.finish(FrameKind.DARK, 3.0, "no such set", GroupStatus.COMPLETE, gain=10)
        assert disk.tried.wait(100)
        disk.free(100_000_000)
        night.take(FrameKind.DARK, 2.0)
        night.wait_for(1)
    assert [row.exposure_us for row in night.masters()] == [2_000_000]
    assert len(list(night.root.layout.masters.glob("*.fits"))) == 1
    assert not list(night.root.layout.masters.rglob("*.part"))
    assert WarningRaised.name not in night.names()
    night.close()


def test_a_stopped_run_stops_it(night: Night) -> None:
    with building_beside(night.builder, wanted=True):
        night.wake.set()
        night.take(FrameKind.DARK, 1.0)
    assert night.masters() == []


def test_without_a_masters_step_nothing_is_built(night: Night) -> None:
    with building_beside(night.builder, wanted=False):
        night.take(FrameKind.DARK, 1.0)
        night.events.close()
    assert night.masters() == []


def test_every_thread_that_builds_beside_lowers_its_own_priority(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads inherit it on Linux only: elsewhere those of the second pass went before the camera's."""
    lowered: set[str] = set()
    monkeypatch.setattr(platform, "lower_priority", lambda: lowered.add(threading.current_thread().name.split("_")[0]))
    with building_beside(night.builder, wanted=True):
        night.take(FrameKind.DARK, 2.0)
        night.wait_for(1)
    assert lowered == {"nightcal-builder", "nightcal-bands", "nightcal-finish"}
