"""Configuration turned into devices, clock and interlock; the sun."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from drivers.alpaca.transport import Endpoint
from drivers.base import SensorType
from drivers.clock import ManualClock, ScaledClock, SystemClock
from drivers.errors import DeviceMissing
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.params import CameraParameters, ObservatoryParameters, PanelParameters
from drivers.simulator.server import AlpacaServer
from services.config import loads
from services.config.models import LoadedConfig
from services.config.simulation import parameters_of
from services.errors import ConfigInvalid
from services.observatory import network, open_observatory
from services.observatory.embedded import start_of, with_devices
from services.observatory.sun import next_sunrise, sun_altitude_deg
from tests.support.fakes import FakeCamera


def loaded(folder: Path, **document: object) -> LoadedConfig:
    return loads(yaml.safe_dump(document), folder / "config.yaml")


def test_filters_named_without_a_wheel_are_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "observatory.yaml").write_text("wheel: null\n", encoding="utf-8")
    camera = {"camera_type": "simulator", "simulator": {"config": "observatory.yaml"}}
    config = loaded(tmp_path, camera=camera, flat_capture={"filters": ["L", "Ha"]})
    with pytest.raises(DeviceMissing, match=r"L, Ha.*filter_wheel"):
        open_observatory(config)


def test_accessories_live_at_the_cameras_server_unless_told_otherwise(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        camera={"camera_type": "alpaca", "alpaca": {"host": "10.0.0.5", "port": 11111, "device_id": 1}},
        filter_wheel={"device_id": 2},
        flat_panel={"host": "10.0.0.6", "port": 4567},
    ).config
    endpoint = network.camera_endpoint(config.camera)
    assert (endpoint.host, endpoint.port, endpoint.device_number) == ("10.0.0.5", 11111, 1)
    wheel = network.endpoint_of(config.filter_wheel, endpoint)
    panel = network.endpoint_of(config.flat_panel, endpoint)
    assert (wheel.host, wheel.port, wheel.device_number) == ("10.0.0.5", 11111, 2)
    assert (panel.host, panel.port, panel.device_number) == ("10.0.0.6", 4567, 0)


def test_a_given_camera_takes_the_place_of_the_configured_one(tmp_path: Path) -> None:
    camera = FakeCamera(ManualClock())
    with open_observatory(loaded(tmp_path, camera={"camera_type": "simulator"}), camera=camera) as observatory:
        assert observatory.camera is camera
        assert observatory.simulator is None
        assert isinstance(observatory.clock, SystemClock)


def test_an_opaque_position_is_known_from_the_wheel_and_from_darkness(tmp_path: Path) -> None:
    camera = FakeCamera(ManualClock())
    config = loaded(tmp_path, darkness="filter:Blank", filter_wheel={"opaque": ["Dark"]})
    with open_observatory(config, camera=camera) as observatory:
        assert observatory.opaque_filters == ("Blank", "Dark")


def test_a_simulated_night_starts_now_or_a_minute_after_the_newest_frame() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert start_of(now, None) == now
    assert start_of(now, now - timedelta(days=1)) == now
    assert start_of(now, now + timedelta(hours=1)) == now + timedelta(hours=1, seconds=60)


def test_a_simulators_own_file_counts_but_what_the_section_names_wins(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("camera: {width: 300, height: 200}\nseed: 5\n", encoding="utf-8")
    section = {"config": "site.yaml", "height": 100}
    config = loaded(tmp_path, camera={"camera_type": "simulator", "simulator": section})
    parameters = parameters_of(config.config.camera.simulator, config)
    assert (parameters.camera.width, parameters.camera.height, parameters.seed) == (300, 100, 5)


def test_a_broken_simulator_file_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("camera: {bits: 99}\n", encoding="utf-8")
    config = loaded(tmp_path, camera={"camera_type": "simulator", "simulator": {"config": "site.yaml"}})
    with pytest.raises(ConfigInvalid):
        open_observatory(config)


def test_simulated_devices_fill_sections_that_are_absent_and_spare_those_that_are_off(tmp_path: Path) -> None:
    config = loaded(tmp_path, camera={"camera_type": "simulator"}, filter_wheel={"enabled": False}).config
    filled = with_devices(config, ObservatoryParameters(panel=PanelParameters()))
    assert filled.filter_wheel is not None
    assert not filled.filter_wheel.enabled
    assert filled.flat_panel is not None
    assert filled.safety_monitor is not None
    bare = with_devices(config, ObservatoryParameters(safety=None))
    assert bare.safety_monitor is None


def test_a_remote_simulator_tells_its_clock_and_a_silent_server_is_left_to_connect(tmp_path: Path) -> None:
    start = datetime(2030, 1, 1, tzinfo=UTC)
    truth = SimulatedObservatory(
        ObservatoryParameters(camera=CameraParameters(width=64, height=48)), ScaledClock(rate=50.0, start=start)
    )
    try:
        with AlpacaServer(truth) as server:
            endpoint = Endpoint(host="127.0.0.1", port=server.port)
            clock = network.remote_clock(endpoint)
            assert isinstance(clock, ScaledClock)
            assert clock.rate == 50.0
            assert start <= clock.now() < start + timedelta(hours=1)
            section = {"camera_type": "alpaca", "alpaca": {"host": "127.0.0.1", "port": server.port}}
            by_runs = network.clock_of_runs(loaded(tmp_path, camera=section).config.camera)
            assert isinstance(by_runs, ScaledClock)
            assert abs(by_runs.now() - clock.now()) < timedelta(minutes=10)
            searched = {"camera_type": "alpaca", "alpaca": {"host": None}}
            assert network.clock_of_runs(loaded(tmp_path, camera=searched).config.camera) is None
        assert network.remote_clock(endpoint) is None
        assert network.clock_of_runs(loaded(tmp_path, camera=section).config.camera) is None
    finally:
        truth.close()


def test_a_panel_that_answers_though_the_configuration_has_no_section_for_it_is_named(tmp_path: Path) -> None:
    # the guide's file has no `flat_panel`: its flats failed as too dim beside a panel that only had to be switched on
    size = CameraParameters(width=64, height=48)
    with AlpacaServer(SimulatedObservatory(ObservatoryParameters(camera=size), ManualClock())) as server:
        camera = {"alpaca": {"host": "127.0.0.1", "port": server.port}}

        def unused(**sections: object) -> tuple[str, ...]:
            with open_observatory(loaded(tmp_path, camera=camera, **sections)) as observatory:
                return observatory.unused_devices()

        told = unused()
        named = {text.partition("`")[2].partition(":")[0] for text in told}
        assert named == {"flat_panel", "filter_wheel", "safety_monitor"}
        assert all(f"answers at 127.0.0.1:{server.port}" in text for text in told)
        assert unused(filter_wheel={}, flat_panel={"enabled": False}, safety_monitor={}) == ()
    with open_observatory(loaded(tmp_path, camera=camera)) as observatory:
        assert observatory.unused_devices() == ()  # a server that is away is no reason to stop here


def test_what_the_owner_says_of_the_sensor_reaches_the_camera(tmp_path: Path) -> None:
    clock = ScaledClock(rate=100.0, start=datetime(2030, 1, 1, tzinfo=UTC))
    size = CameraParameters(width=64, height=48)
    with AlpacaServer(SimulatedObservatory(ObservatoryParameters(camera=size), clock)) as server:
        section = {"alpaca": {"host": "127.0.0.1", "port": server.port}}
        for told, sensor in (
            (None, SensorType.MONOCHROME),
            ("color", SensorType.RGGB),
            ("mono", SensorType.MONOCHROME),
        ):
            with open_observatory(loaded(tmp_path, camera={**section, "type": told})) as observatory:
                observatory.camera.connect()
                assert observatory.camera.info.sensor_type is sensor


@pytest.mark.parametrize(
    ("at", "altitude_deg"),  # astropy.coordinates.get_sun, 48° N 11° E
    [
        (datetime(2026, 1, 1, 18, tzinfo=UTC), -23.435),
        (datetime(2025, 6, 21, 3, 33, tzinfo=UTC), 1.407),
        (datetime(2026, 9, 10, 12, tzinfo=UTC), 45.660),
        (datetime(2030, 3, 1, 5, tzinfo=UTC), -10.358),
    ],
)
def test_the_suns_altitude_agrees_with_astropy(at: datetime, altitude_deg: float) -> None:
    assert sun_altitude_deg(at, latitude_deg=48.0, longitude_deg=11.0) == pytest.approx(altitude_deg, abs=0.02)


def test_sunrise_is_when_the_upper_limb_appears_and_none_in_polar_day() -> None:
    rise = next_sunrise(datetime(2026, 1, 1, 18, tzinfo=UTC), latitude_deg=48.0, longitude_deg=11.0)
    assert rise is not None
    assert sun_altitude_deg(rise, latitude_deg=48.0, longitude_deg=11.0) == pytest.approx(-0.833, abs=0.01)
    assert next_sunrise(datetime(2026, 6, 21, 18, tzinfo=UTC), latitude_deg=70.0, longitude_deg=11.0) is None
