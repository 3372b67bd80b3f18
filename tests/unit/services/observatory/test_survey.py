"""What devices say before a first night, and that they are left as they were found."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from drivers.alpaca import enquiry
from drivers.alpaca.transport import CameraWire, Endpoint, FilterWheelWire, Wire
from drivers.alpaca.values import flag
from drivers.clock import ScaledClock, SystemClock
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.params import CameraParameters, FilterParameters, ObservatoryParameters, WheelParameters
from drivers.simulator.server import AlpacaServer
from services.cli.failures import run_app
from services.cli.main import app
from services.config.models import Config
from services.observatory import survey as survey_of_devices
from services.observatory.survey import survey

FILTERS = tuple(FilterParameters(name=name) for name in ("Blue", "Black", "Hα"))


@pytest.fixture(scope="module")
def server() -> Iterator[AlpacaServer]:
    parameters = ObservatoryParameters(
        camera=CameraParameters(width=3000, height=2001), wheel=WheelParameters(filters=FILTERS)
    )
    clock = ScaledClock(rate=1000, start=datetime(2026, 1, 1, 18, tzinfo=UTC))
    with AlpacaServer(SimulatedObservatory(parameters, clock)) as serving:
        yield serving


def config_of(port: int, **more: object) -> Config:
    """Return a first night's configuration of a camera, with its wheel."""
    camera = {"alpaca": {"host": "127.0.0.1", "port": port, **more}}
    return Config.model_validate({"camera": camera, "filter_wheel": {"opaque": ["Black"]}})


def test_the_size_and_the_filters_that_pass_light_are_known(server: AlpacaServer) -> None:
    found = survey(config_of(server.port))
    assert (found.pixels, found.filters, found.problems) == (3000 * 2001, ("Blue", "Ha"), ())
    assert survey(config_of(server.port, binning=2)).pixels == 1500 * 1000


@pytest.mark.parametrize("before", [True, False])
def test_devices_stay_as_they_were(server: AlpacaServer, before: bool) -> None:
    """Another program may use them: what is connected stays connected, and nothing else does."""
    there = Endpoint("127.0.0.1", server.port)
    wires: list[Wire] = [CameraWire(there, SystemClock()), FilterWheelWire(there, SystemClock())]
    for wire in wires:
        wire.open() if before else wire.leave()
    survey(config_of(server.port))
    for wire in wires:
        wire.line.reopen()
    assert [wire.ask("Connected", flag) for wire in wires] == [before, before]
    for wire in wires:
        wire.leave()


def test_who_does_not_answer_is_named_once_and_soon() -> None:
    found = survey(config_of(1))
    assert (found.pixels, found.filters) == (None, ())
    (problem,) = found.problems
    assert "127.0.0.1:1" in problem


@pytest.mark.timeout(30)
def test_a_server_that_hangs_costs_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    waited_s = survey_of_devices._BRIEF.read_s + enquiry._TIMES.read_s + enquiry._TLS_S
    assert waited_s < 10, "for an answer, for a page, and for TLS"
    monkeypatch.setattr(survey_of_devices, "_BRIEF", replace(survey_of_devices._BRIEF, read_s=0.3))
    monkeypatch.setattr(enquiry, "_TIMES", replace(enquiry._TIMES, read_s=0.3))
    monkeypatch.setattr(enquiry, "_TLS_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = survey(config_of(silent.getsockname()[1]))
    assert len(found.problems) == 1


def test_a_wheel_that_is_not_there_leaves_the_camera_known(server: AlpacaServer) -> None:
    config = config_of(server.port)
    assert config.filter_wheel is not None
    wheel = config.filter_wheel.model_copy(update={"device_id": 7})
    found = survey(config.model_copy(update={"filter_wheel": wheel}))
    assert (found.pixels, found.filters, len(found.problems)) == (3000 * 2001, (), 1)


def test_the_plan_of_a_first_night_knows_filters_and_gigabytes_and_writes_nothing(
    server: AlpacaServer, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "camera: {alpaca: {host: 127.0.0.1, port: PORT}}\nfilter_wheel: {opaque: [Black]}\n"
    (tmp_path / "config_calibration_frames.yaml").write_text(text.replace("PORT", str(server.port)), encoding="utf-8")
    assert run_app(app, ["run", "--dry-run"], name="nightcal") == 0
    out = capsys.readouterr().out
    flats = [line.split()[2] for line in out.splitlines() if line.startswith("  flat")]
    assert flats == ["Blue", "Ha"]
    assert "The filters are those of the filter wheel." in out
    assert "280 frames to take (0 there), about " in out
    assert ", 3.3 GB.\n" in out
    assert "at most 2 sets of 40 frames (360 frames in all, " in out
    assert "not known" not in out
    assert [path.name for path in tmp_path.iterdir()] == ["config_calibration_frames.yaml"]
    (tmp_path / "config_calibration_frames.yaml").write_text(text.replace("PORT", "1"), encoding="utf-8")
    assert run_app(app, ["run", "--dry-run"], name="nightcal") == 0
    out = capsys.readouterr().out
    assert "The devices have not said what they are: camera 0 at 127.0.0.1:1: " in out
    assert "size not known" in out
