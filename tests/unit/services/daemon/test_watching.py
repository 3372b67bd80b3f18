"""The surroundings are read over real sockets, each device by itself; the camera is looked at, and nothing is sent."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from drivers.alpaca.camera import AlpacaCamera
from drivers.alpaca.endpoint import Endpoint
from drivers.alpaca.transport import CameraWire
from drivers.clock import ManualClock, ScaledClock
from drivers.simulator.device import PutMember
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.faults import DeviceKind, FaultKind, FaultScript
from drivers.simulator.params import ObservatoryParameters
from drivers.simulator.presets import preset
from drivers.simulator.server import AlpacaServer
from drivers.surroundings import ShutterStatus
from services.catalogue.catalogue import Catalogue
from services.config.models import Config
from services.daemon.conditions import Reading
from services.daemon.watching import Watched, Watching, completed
from services.daemon.windows import OpenWindow
from services.observatory.remembered import CoolerMemory
from tests.support.places import ROOT

SOON_S = 20.0
NOON = datetime(2026, 6, 21, 11, 30, tzinfo=UTC)


class Site:
    """A simulated observatory at ten times the speed, what watches it, and an observer with another client."""

    def __init__(self, observatory: SimulatedObservatory, server: AlpacaServer, folder: Path, stack: ExitStack) -> None:
        self.observatory, self.clock = observatory, observatory.clock
        self.endpoint = Endpoint(server.host, server.port)
        self.orders: list[str] = []
        self._folder, self._stack = folder, stack
        for device in observatory.devices():
            device.writers = {name: self._noted(device.kind, name, each) for name, each in device.writers.items()}

    def _noted(self, kind: DeviceKind, name: str, member: PutMember) -> PutMember:
        def call(*values: object) -> object:
            self.orders.append(f"{kind} {name}")
            return member.call(*values)

        return PutMember(member.fields, call)

    def watching(self, unsafe_at: datetime | None = None, **sections: object) -> Watching:
        folder = self._folder
        config = Config.model_validate({"storage": {"min_free_mb": 0}} | sections)
        catalogue = folder / "catalogue.sqlite"
        watched = completed(Watched(config=config, root=folder, catalogue=catalogue, server=self.endpoint))
        watching = Watching(watched, self.clock, unsafe_at=unsafe_at)
        self._stack.callback(watching.close)
        watching.start()
        return watching

    def observer(self) -> AlpacaCamera:
        camera = AlpacaCamera(self.endpoint, self.clock)
        self._stack.callback(camera.close)
        return camera


@contextmanager
def site_of(folder: Path, *faults: FaultScript, start: datetime = NOON, **changes: object) -> Iterator[Site]:
    params: ObservatoryParameters = replace(preset("qhy600m", width=24, height=16), faults=faults, **changes)  # type: ignore[arg-type]
    clock = ScaledClock(rate=10, start=start)
    with ExitStack() as stack:
        observatory = stack.enter_context(SimulatedObservatory(params, clock))
        server = stack.enter_context(AlpacaServer(observatory))
        yield Site(observatory, server, folder, stack)


def soon(holds: Callable[[], object]) -> bool:
    """Return whether something becomes true within a while; other threads bring it about."""
    end_s = time.monotonic() + SOON_S
    while time.monotonic() < end_s:
        if holds():
            return True
        time.sleep(0.02)
    return False


def all_read(watching: Watching) -> bool:
    found = watching.readings
    return all(r.value is not None for r in (found.safety, found.dome, found.telescope, found.camera, found.free_bytes))


def obstacles(site: Site, watching: Watching) -> list[str]:
    return [str(each.code) for each in watching.obstacles(site.clock.now())]


def test_everything_is_read_and_the_camera_is_sent_nothing(tmp_path: Path) -> None:
    with site_of(tmp_path) as site:
        watching = site.watching()
        assert soon(lambda: all_read(watching))
        found = watching.readings
        assert found.safety.value is True
        assert found.dome.value is not None
        assert found.dome.value.shutter is ShutterStatus.CLOSED
        assert found.telescope.value is not None
        assert found.telescope.value.at_park is True
        assert obstacles(site, watching) == []
        watching.close()
        assert set(site.orders) <= {
            "safetymonitor connect",
            "dome connect",
            "telescope connect",
            "safetymonitor disconnect",
        }


def test_an_observer_who_takes_the_camera_night_after_night_has_it_to_himself(tmp_path: Path) -> None:
    with site_of(tmp_path) as site:
        watching, observer = site.watching(), site.observer()
        assert soon(lambda: all_read(watching))
        for _ in range(3):
            observer.connect()
            before = len(site.orders)
            assert soon(lambda: obstacles(site, watching) == ["camera_in_use"])
            assert not [order for order in site.orders[before:] if order.startswith("camera")]
            assert "has it connected" in watching.obstacles(site.clock.now())[0].detail
            observer.disconnect()
            assert soon(lambda: obstacles(site, watching) == [])


def test_with_release_leave_exposing_and_cooling_say_whose_the_camera_is(tmp_path: Path) -> None:
    with site_of(tmp_path) as site:
        watching, observer = site.watching(camera={"release": "leave"}), site.observer()
        observer.connect()
        assert soon(lambda: all_read(watching))
        assert obstacles(site, watching) == []
        wire = CameraWire(site.endpoint, site.clock)
        wire.StartExposure(100.0, False)
        assert soon(lambda: obstacles(site, watching) == ["camera_in_use"])
        assert "exposes for another program" in watching.obstacles(site.clock.now())[0].detail
        wire.AbortExposure()
        assert soon(lambda: obstacles(site, watching) == [])
        wire.CoolerOn = True
        wire.line.close()
        assert soon(lambda: obstacles(site, watching) == ["camera_in_use"])
        assert watching.obstacles(site.clock.now())[0].detail.endswith("another program cools it")


def test_a_cooler_that_a_run_of_ours_holds_is_ours(tmp_path: Path) -> None:
    with site_of(tmp_path) as site:
        observer = site.observer()
        observer.connect()
        with Catalogue(tmp_path / "catalogue.sqlite") as catalogue:
            CoolerMemory(catalogue, str(observer.info.unique_id), site.clock).found(observer.state())
        observer.set_cooler(on=True)
        watching = site.watching(camera={"release": "leave"})
        assert soon(lambda: all_read(watching))
        assert obstacles(site, watching) == []


def test_a_cooler_that_is_held_for_weeks_is_ours_as_long_as_it_is_held(tmp_path: Path) -> None:
    with site_of(tmp_path) as site:
        observer = site.observer()
        observer.connect()
        began = site.clock.now() - timedelta(days=21)
        with Catalogue(tmp_path / "catalogue.sqlite") as catalogue:
            CoolerMemory(catalogue, str(observer.info.unique_id), ManualClock(began)).found(observer.state())
        observer.set_cooler(on=True)
        watching = site.watching(camera={"release": "leave"})
        assert soon(lambda: obstacles(site, watching) == ["camera_in_use"])
        watching.cooler_held_at = site.clock.now()
        assert soon(lambda: obstacles(site, watching) == [])


def test_while_a_run_of_ours_is_at_work_the_camera_is_not_asked(tmp_path: Path) -> None:
    with site_of(tmp_path) as site:
        watching, observer = site.watching(), site.observer()
        watching.run_is_at_work = True
        observer.connect()
        assert soon(lambda: watching.readings.camera.value is not None and watching.readings.camera.value.ours)
        assert obstacles(site, watching) == []
        watching.run_is_at_work = False
        assert soon(lambda: obstacles(site, watching) == ["camera_in_use"])


def test_a_safety_monitor_that_others_disconnect_is_connected_again(tmp_path: Path) -> None:
    with site_of(tmp_path) as site:
        watching = site.watching()
        assert soon(lambda: all_read(watching))
        assert site.observatory.safety is not None
        for _ in range(2):  # as a run does at its end
            site.observatory.safety.write("connected", {"Connected": "False"})
            at = watching.readings.safety.at
            assert at is not None
            seen: list[Reading[bool]] = []

            def is_read_again(at: datetime = at, seen: list[Reading[bool]] = seen) -> bool:
                seen.append(watching.readings.safety)
                return (seen[-1].at or at) > at + timedelta(seconds=5)

            assert soon(is_read_again)
            assert not [each.problem for each in seen if each.problem]  # not one answer is lost
        assert obstacles(site, watching) == []


HANGS = [DeviceKind.SAFETY, DeviceKind.DOME, DeviceKind.TELESCOPE, DeviceKind.CAMERA]


@pytest.mark.parametrize("hanging", HANGS)
def test_a_server_that_hangs_delays_no_other_reading_and_not_the_end(tmp_path: Path, hanging: DeviceKind) -> None:
    with site_of(tmp_path, FaultScript(kind=FaultKind.STALL, device=hanging)) as site:
        watching = site.watching()
        fields = {"safetymonitor": "safety", "dome": "dome", "telescope": "telescope", "camera": "camera"}
        silent = fields.pop(hanging.value)
        assert soon(lambda: all(getattr(watching.readings, name).value is not None for name in fields.values()))
        assert getattr(watching.readings, silent).value is None
        began_s = time.monotonic()
        watching.close()
        assert time.monotonic() - began_s < 2.0 + 1.0  # the last second is the busy machine's


def test_unsafe_weather_is_an_obstacle_for_orders_too(tmp_path: Path) -> None:
    with site_of(tmp_path, FaultScript(kind=FaultKind.UNSAFE)) as site:
        watching = site.watching()
        assert soon(lambda: watching.readings.safety.value is False)
        assert obstacles(site, watching) == ["unsafe"]


def test_a_restart_does_not_forget_that_it_was_unsafe_a_moment_ago(tmp_path: Path) -> None:
    with site_of(tmp_path) as site:
        watching = site.watching(safety_monitor={}, unsafe_at=site.clock.now() - timedelta(seconds=60))
        assert soon(lambda: all_read(watching))
        (obstacle,) = watching.obstacles(site.clock.now())
        assert "it is safe again" in obstacle.detail
        assert watching.obstacles(site.clock.now() + timedelta(seconds=600))[:1] != (obstacle,)


def test_a_gust_that_only_a_run_has_seen_is_an_obstacle_with_its_end(tmp_path: Path) -> None:
    with site_of(tmp_path) as site:
        watching = site.watching(safety_monitor={})
        assert soon(lambda: all_read(watching))
        now = site.clock.now()
        assert watching.obstacles(now) == ()
        watching.note_unsafe(now)
        (obstacle,) = watching.obstacles(now)
        assert (obstacle.code, obstacle.until) == ("unsafe", now + timedelta(seconds=600))


def test_by_day_an_open_roof_leaves_flats_alone(tmp_path: Path) -> None:
    with site_of(tmp_path) as site:
        watching = site.watching(site={"latitude": 50.0, "longitude": 10.0})
        window = OpenWindow(
            name="midday", opens_at=NOON, closes_at=NOON, takes=("bias", "darks", "flats"), needs=("parked",)
        )
        assert soon(lambda: all_read(watching))
        assert (watching.unmet(window, site.clock.now()), watching.takes(window, site.clock.now())) == (
            "",
            window.takes,
        )
        assert site.observatory.dome is not None
        site.observatory.dome.write("connected", {"Connected": "True"})
        site.observatory.dome.write("openshutter", {})
        assert soon(lambda: watching.takes(window, site.clock.now()) == ("flats",))
        dark = replace(window, takes=("darks",))
        assert "no darks while the sun is up" in watching.unmet(dark, site.clock.now())
        assert site.observatory.telescope is not None
        site.observatory.telescope.write("unpark", {})
        assert soon(lambda: "parked: the mount is not parked" in watching.unmet(window, site.clock.now()))


def test_another_configuration_is_watched_when_it_changes(tmp_path: Path) -> None:
    with site_of(tmp_path) as site:
        watching = site.watching()
        assert soon(lambda: all_read(watching))
        config = watching.config.model_copy(update={"dome": None})
        watching.use(Watched(config=config, root=tmp_path, catalogue=tmp_path / "none", server=site.endpoint))
        assert soon(lambda: watching.readings.safety.value is not None)
        assert watching.readings.dome.value is None


def test_the_daemon_stays_small_with_it() -> None:
    code = (
        "import sys, services.daemon.watching\n"
        "heavy = {'numba', 'scipy', 'astropy', 'matplotlib', 'PIL'} & {m.split('.')[0] for m in sys.modules}\n"
        "ours = [m for m in sys.modules if m.startswith(('services.capture', 'services.masters', 'services.bands'))]\n"
        "sys.exit(f'{heavy} {ours}' if heavy or ours else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
