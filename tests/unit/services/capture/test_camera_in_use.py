"""A session of the daemon and an observer at the same camera, over the real wire: who is first keeps it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drivers.alpaca.camera import AlpacaCamera
from drivers.alpaca.endpoint import Endpoint
from drivers.alpaca.transport import CameraWire
from drivers.clock import ManualClock, SystemClock
from drivers.errors import CameraBusy
from drivers.simulator.device import PutMember
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.presets import preset
from drivers.simulator.server import AlpacaServer
from services.capture.session import Session
from services.catalogue.catalogue import Catalogue
from services.config import from_dict
from services.events.bus import Events
from services.observatory import open_observatory
from services.observatory.remembered import CoolerMemory
from services.root import Place, layout_of


class Shared:
    """A camera, what was sent to it, an observer's client, and sessions of ours."""

    def __init__(self, server: AlpacaServer, folder: Path, stack: ExitStack) -> None:
        self.clock = SystemClock()
        self.endpoint = Endpoint(server.host, server.port)
        self.camera = server.observatory.camera
        self.orders: list[str] = []
        self.camera.writers = {name: self._noted(name, each) for name, each in self.camera.writers.items()}
        self._stack, self._folder = stack, folder
        self.observer = AlpacaCamera(self.endpoint, self.clock)
        stack.callback(self.observer.close)

    def _noted(self, name: str, member: PutMember) -> PutMember:
        def call(*values: object) -> Any:
            if name != "action":  # that asks a simulated camera for its clock
                self.orders.append(name)
            return member.call(*values)

        return PutMember(member.fields, call)

    def session(self, cooler_held_at: datetime | None = None, **camera: object) -> Session:
        alpaca = {"host": self.endpoint.host, "port": self.endpoint.port}
        data = {"camera": {"camera_type": "alpaca", "alpaca": alpaca, **camera}, "storage": {"min_free_mb": 0}}
        loaded = from_dict(data, self._folder / "night.yaml")
        layout = layout_of(loaded)
        self.catalogue = self._stack.enter_context(Catalogue(layout.catalogue))
        events = Events(run_id="run1", clock=self.clock)
        self._stack.callback(events.close)
        observatory = self._stack.enter_context(open_observatory(loaded))
        place = Place(layout=layout, catalogue=self.catalogue)
        return Session(
            observatory=observatory, events=events, place=place, cooler_held_at=cooler_held_at, only_if_free=True
        )


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    with sharing(tmp_path) as found:
        yield found


@contextmanager
def sharing(folder: Path) -> Iterator[Shared]:
    params = preset("camera_only", width=24, height=16)
    params = replace(params, camera=replace(params.camera, connect_s=0.0))
    with ExitStack() as stack:
        observatory = stack.enter_context(SimulatedObservatory(params, SystemClock()))
        server = stack.enter_context(AlpacaServer(observatory))
        yield Shared(server, folder, stack)


def test_a_camera_that_an_observer_has_connected_is_sent_nothing(shared: Shared) -> None:
    shared.observer.connect()
    shared.orders.clear()
    with pytest.raises(CameraBusy, match="another program has it connected"), shared.session():
        pass
    assert shared.orders == []
    assert shared.observer.state().activity is not None


def test_one_that_is_left_connected_is_the_observers_while_it_exposes(shared: Shared) -> None:
    shared.observer.connect()
    theirs = CameraWire(shared.endpoint, shared.clock)
    theirs.StartExposure(60.0, False)
    theirs.line.close()
    shared.orders.clear()
    with pytest.raises(CameraBusy, match="exposes for another program"), shared.session(release="leave"):
        pass
    assert shared.orders == []


def test_an_exposure_that_begins_while_we_connect_is_theirs(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = shared.camera.on_connect

    def another_is_quicker(waited_s: float) -> None:
        begin(waited_s)
        shared.camera.writers["startexposure"].call(60.0, False)

    monkeypatch.setattr(shared.camera, "on_connect", another_is_quicker)
    with pytest.raises(CameraBusy, match="has begun to expose"), shared.session():
        pass
    assert set(shared.orders) <= {"connect", "connected", "startexposure"}
    assert shared.camera.read("camerastate") == 2  # it goes on


def test_a_free_camera_is_used_and_free_again_afterwards(shared: Shared) -> None:
    with shared.session():
        assert shared.camera.read("connected") is True
    assert shared.camera.read("connected") is False
    shared.observer.connect()
    assert shared.observer.state().cooler_on is False


def test_a_cooler_that_we_have_left_on_is_no_observer(shared: Shared) -> None:
    session = shared.session(release="leave")
    shared.observer.connect()
    memory = CoolerMemory(shared.catalogue, str(shared.observer.info.unique_id), shared.clock)
    memory.found(shared.observer.state())
    shared.observer.set_cooler(on=True)
    with session:
        pass
    memory.left()
    with pytest.raises(CameraBusy, match="another program cools it"), shared.session(release="leave"):
        pass


def test_a_cooler_that_a_pause_has_held_for_weeks_is_no_observer(shared: Shared) -> None:
    now = shared.clock.now()
    session = shared.session(release="leave")
    shared.observer.connect()
    name, began = str(shared.observer.info.unique_id), now - timedelta(days=21)
    CoolerMemory(shared.catalogue, name, ManualClock(began)).found(shared.observer.state())
    shared.observer.set_cooler(on=True)
    with pytest.raises(CameraBusy, match="another program cools it"), session:
        pass
    with shared.session(cooler_held_at=now - timedelta(hours=1), release="leave"):
        pass
