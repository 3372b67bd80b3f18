"""The simulated observatory on the wire, as the ASCOM Alpaca API reference has it; judged by bytes and by alpyca."""

import http.client
import json
import socket
import struct
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import urlencode

import numpy as np
import pytest
from alpaca.camera import Camera
from alpaca.covercalibrator import CoverCalibrator
from alpaca.exceptions import InvalidOperationException, InvalidValueException, NotImplementedException
from alpaca.filterwheel import FilterWheel
from alpaca.safetymonitor import SafetyMonitor

from drivers.clock import ManualClock, ScaledClock
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.faults import DeviceKind, FaultKind, FaultScript
from drivers.simulator.params import ObservatoryParameters, Transmission
from drivers.simulator.presets import preset
from drivers.simulator.server import AlpacaServer

WIDTH, HEIGHT = 80, 50
BYTES = {"Accept": "application/imagebytes"}


@dataclass
class Answer:
    status: int
    kind: str
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def value(self):
        assert self.status == 200, self.body
        assert self.json["ErrorNumber"] == 0, self.json
        return self.json["Value"]


class Client:
    """HTTP and nothing else."""

    def __init__(self, server):
        self.server = server
        self.clock = server.observatory.clock

    def request(self, method, path, *, body=None, headers=None, timeout=20):
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=timeout)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            reply = connection.getresponse()
            return Answer(reply.status, reply.headers.get_content_type(), reply.read())
        finally:
            connection.close()

    def get(self, member, device="camera", *, headers=None, timeout=20, **query):
        path = f"/api/v1/{device}/0/{member}" + ("?" + urlencode(query) if query else "")
        return self.request("GET", path, headers=headers, timeout=timeout)

    def put(self, member, device="camera", **form):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request("PUT", f"/api/v1/{device}/0/{member}", body=urlencode(form), headers=headers)

    def connect(self):
        for device in self.server.observatory.devices():
            assert self.put("connected", device.kind.value, Connected="True").json["ErrorNumber"] == 0

    def expose(self, seconds=0.01):
        assert self.put("startexposure", Duration=seconds, Light="false").json["ErrorNumber"] == 0
        self.clock.advance(seconds + 1)
        for _ in range(100):
            if self.get("imageready").value:
                return
        raise AssertionError("never ready")


@contextmanager
def serving(name="qhy600m", *, clock=None, faults=(), discovery_port=None, **camera):
    params = preset(name, width=WIDTH, height=HEIGHT)
    params = replace(params, faults=tuple(faults), camera=replace(params.camera, **camera))
    with (
        SimulatedObservatory(params, clock or ManualClock()) as observatory,
        AlpacaServer(observatory, discovery_port=discovery_port) as server,
    ):
        yield server


@contextmanager
def connected(name="qhy600m", **options):
    with serving(name, **options) as server:
        client = Client(server)
        client.connect()
        yield client


@pytest.fixture(scope="module")
def shared():
    with connected() as client:
        yield client


# --- addresses, parameters, ids ---


@pytest.mark.parametrize(
    "path",
    [
        "/api/v2/camera/0/name",
        "/api/v1/Camera/0/name",
        "/api/v1/focuser/0/name",
        "/api/v1/camera/1/name",
        "/api/v1/camera/-1/name",
        "/api/v1/camera/x/name",
        "/api/v1/camera/0/nosuchmember",
        "/api/v1/camera/0/Name",
        "/api/v1/camera/0/startexposure",
        "/api/v1/camera/0/name?ClientID=me",
        "/api/v1/camera/0/name?ClientTransactionID=-5",
        "/api/v1/camera/0/name?clienttransactionid=4294967296",
    ],
)
def test_malformed_requests_are_400_with_a_text(shared, path):
    answer = shared.request("GET", path)
    assert (answer.status, answer.kind) == (400, "text/plain")
    assert len(answer.body) > 10


@pytest.mark.parametrize(
    ("member", "form"),
    [
        ("gain", {}),
        ("gain", {"gain": 3}),
        ("gain", {"GAIN": 3}),
        ("gain", {"Gain": "three"}),
        ("gain", {"Gain": "3.5"}),
        ("gain", {"Gain": ""}),
        ("cooleron", {"CoolerOn": "yes"}),
        ("startexposure", {"Duration": "1"}),
        ("startexposure", {"Duration": "nan", "Light": "true"}),
        ("startexposure", {"Duration": "1,5", "Light": "true"}),
        ("startexposure", {"Duration": "1", "light": "true"}),
        ("gain", {"Gain": 3, "ClientTransactionID": "x"}),
        ("camerastate", {"CameraState": 0}),
        ("nosuch", {}),
    ],
)
def test_malformed_puts_are_400_with_a_text(shared, member, form):
    answer = shared.put(member, **form)
    assert (answer.status, answer.kind) == (400, "text/plain")


@pytest.mark.parametrize("name", ["ClientTransactionID", "clienttransactionid", "CLIENTTRANSACTIONID"])
def test_names_in_a_query_are_read_in_any_case(shared, name):
    assert shared.get("name", **{name: 77, "cLiEnTiD": 5}).json["ClientTransactionID"] == 77


def test_names_in_a_form_are_read_as_written_only(shared):
    assert shared.put("gain", Gain=30, ClientTransactionID=12).json["ClientTransactionID"] == 12
    assert shared.put("gain", Gain=30, clienttransactionid=12).json["ClientTransactionID"] == 0


def test_server_ids_rise_and_missing_client_ids_are_zero(shared):
    first, second = shared.get("name").json, shared.get("name").json
    assert second["ServerTransactionID"] > first["ServerTransactionID"] > 0
    assert first["ClientTransactionID"] == 0


def test_other_methods_and_paths_are_not_served(shared):
    assert shared.request("POST", "/api/v1/camera/0/name").status == 405
    assert shared.request("GET", "/api/v1/camera").status == 404
    assert shared.request("GET", "/setup").status == 200


def test_not_connected_is_0x407():
    with serving() as server:
        client = Client(server)
        for device, member in (("camera", "binx"), ("filterwheel", "position"), ("safetymonitor", "issafe")):
            assert client.get(member, device).json["ErrorNumber"] == 0x407
        assert client.get("interfaceversion").value == 4


def test_ascom_errors_are_http_200(shared):
    assert shared.put("binx", BinX=9).json["ErrorNumber"] == 0x401
    assert shared.get("fastreadout").json["ErrorNumber"] == 0x400
    assert shared.put("action", Action="x", Parameters="").json["ErrorNumber"] == 0x40C
    assert shared.put("commandblind", Command="x", Raw="true").json["ErrorNumber"] == 0x400


# --- management and discovery ---


def test_management_names_every_device(shared):
    assert shared.request("GET", "/management/apiversions").value == [1]
    assert shared.request("GET", "/management/v1/description").value["Manufacturer"] == "nightcal"
    devices = shared.request("GET", "/management/v1/configureddevices?ClientTransactionID=3").value
    kinds = ["Camera", "FilterWheel", "CoverCalibrator", "SafetyMonitor", "Dome", "Telescope"]
    assert [d["DeviceType"] for d in devices] == kinds
    assert len({d["UniqueID"] for d in devices}) == len(kinds)
    assert shared.request("GET", "/management/apiversions?ClientID=x").status == 400


def test_a_server_without_management_says_404():
    with serving("old") as server:
        assert Client(server).request("GET", "/management/v1/configureddevices").status == 404


def test_unique_ids_stay_from_start_to_start():
    def ids():
        with SimulatedObservatory(ObservatoryParameters(), ManualClock()) as observatory:
            return [d.unique_id for d in observatory.devices()]

    assert ids() == ids()


def test_discovery_answers_with_the_port():
    with serving(discovery_port=0) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(5)
        asker.sendto(b"nonsense", ("127.0.0.1", server.discovery_port))
        asker.sendto(b"alpacadiscovery1", ("127.0.0.1", server.discovery_port))
        assert json.loads(asker.recv(100)) == {"AlpacaPort": server.port}


def test_a_taken_port_is_an_error(shared):
    with SimulatedObservatory(shared.server.observatory.params, ManualClock()) as other:
        server = AlpacaServer(other, port=shared.server.port)
        with pytest.raises(OSError, match=r"in use|one usage"):
            server.start()


def test_a_server_comes_back_on_its_port():
    with serving() as server:
        port = server.port
        for _ in range(2):
            assert Client(server).get("name").status == 200
            server.stop()
            with pytest.raises(ConnectionError):
                Client(server).get("name")
            server.start()
            assert server.port == port


# --- images ---


def header(body):
    return struct.unpack_from("<iiIIiiiiiii", body)


@pytest.mark.parametrize(
    ("transmission", "code", "dtype"), [(Transmission.UINT16, 8, "<u2"), (Transmission.INT32, 2, "<i4")]
)
def test_image_bytes_are_x_by_y(transmission, code, dtype):
    with connected(transmission=transmission) as client:
        client.expose()
        answer = client.get("imagearray", headers=BYTES, ClientTransactionID=21)
        assert answer.kind == "application/imagebytes"
        version, error, tx, _, start, element, wire, rank, *size = header(answer.body)
        assert (version, error, tx, start, element, wire, rank) == (1, 0, 21, 44, 2, code, 2)
        assert size == [WIDTH, HEIGHT, 0]
        pixels = np.frombuffer(answer.body, dtype, offset=44).reshape(WIDTH, HEIGHT).T
        np.testing.assert_array_equal(pixels, client.server.observatory.camera.image())


def test_dot_net_shrinks_to_what_the_frame_needs():
    faults = [
        FaultScript(kind=FaultKind.BLACK_FRAME, after_exposures=1, count=1),
        FaultScript(kind=FaultKind.SATURATED_ROW, after_exposures=2, count=1),
    ]
    with connected("old", faults=faults) as client:
        codes = []
        for _ in range(3):
            client.expose()
            codes.append(header(client.get("imagearray", headers=BYTES).body)[6])
        assert codes == [1, 6, 8]


def test_json_where_image_bytes_are_not_asked_for_or_not_offered(shared):
    shared.expose()
    shared_pixels = shared.server.observatory.camera.image()
    reply = shared.get("imagearray").json
    assert (reply["Type"], reply["Rank"], reply["ErrorNumber"]) == (2, 2, 0)
    np.testing.assert_array_equal(np.array(reply["Value"]).T, shared_pixels)
    assert shared.get("imagearrayvariant", headers=BYTES).kind == "application/json"
    with connected(image_bytes=False) as client:
        client.expose()
        assert client.get("imagearray", headers=BYTES).kind == "application/json"


def test_no_image_is_an_error_in_the_language_asked_for():
    with connected() as client:
        assert client.get("imagearray").json["ErrorNumber"] == 0x40B
        body = client.get("imagearray", headers=BYTES).body
        assert header(body)[1] == 0x40B
        assert b"no image" in body[44:]


# --- faults of the wire ---


def wire_fault(kind, member="imagearray", device=DeviceKind.CAMERA, **more):
    return FaultScript(kind=kind, device=device, member=member, count=1, **more)


@pytest.mark.parametrize("kind", [FaultKind.DROP, FaultKind.ANSWER_LOST])
def test_a_cut_connection(kind):
    with connected(faults=[wire_fault(kind, "gain")]) as client:
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            client.put("gain", Gain=44)
        assert client.get("gain").value == (26 if kind is FaultKind.DROP else 44)


def test_a_failing_server_and_a_garbled_answer():
    with connected(faults=[wire_fault(FaultKind.HTTP_500, "gain"), wire_fault(FaultKind.GARBLED, "gain")]) as client:
        assert client.get("gain").status == 500
        with pytest.raises(json.JSONDecodeError):
            _ = client.get("gain").json
        assert client.get("gain").value == 26


def test_a_truncated_image_ends_early():
    with connected(faults=[wire_fault(FaultKind.IMAGE_TRUNCATED)]) as client:
        client.expose()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            client.get("imagearray", headers=BYTES)
        assert len(client.get("imagearray", headers=BYTES).body) == 44 + 2 * WIDTH * HEIGHT


def test_lying_images():
    kinds = (FaultKind.IMAGE_SHORT, FaultKind.IMAGE_LYING_HEADER, FaultKind.IMAGE_BAD_TYPE)
    with connected(faults=[wire_fault(k) for k in kinds]) as client:
        client.expose()
        short, lying, bad, good = (client.get("imagearray", headers=BYTES).body for _ in range(4))
        assert len(short) < len(good)
        assert header(short)[8:] == header(good)[8:]
        assert header(lying)[8] == 1000 * WIDTH
        assert header(bad)[6] == 99


def test_a_hung_safety_monitor_hangs_nobody_else():
    with connected(faults=[FaultScript(kind=FaultKind.SAFETY_HANG)]) as client:
        with pytest.raises(TimeoutError):
            client.get("issafe", "safetymonitor", timeout=0.3)
        assert client.get("binx").value == 1
        assert client.get("name", "safetymonitor").status == 200


def test_a_stall_ends_with_the_server():
    gone = []

    def ask(client):
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            client.get("gain")
        gone.append(True)

    with connected(faults=[wire_fault(FaultKind.STALL, "gain")]) as client:
        asking = threading.Thread(target=ask, args=(client,))
        asking.start()
        while not client.server.observatory.world.faults.happened(FaultKind.STALL):
            client.get("name")
    asking.join(60)
    assert gone


def test_a_short_stall_is_only_late():
    with connected(faults=[wire_fault(FaultKind.STALL, "gain", value=0.05)]) as client:
        assert client.get("gain").value == 26


# --- alpyca, the ASCOM Initiative's client ---


@pytest.fixture(scope="module")
def address():
    clock = ScaledClock(rate=200, start=datetime(2026, 3, 1, 20, tzinfo=UTC))
    with serving(clock=clock) as server:
        yield f"127.0.0.1:{server.port}", server.observatory


def until(condition):
    for _ in range(5_000):
        if condition():
            return
    raise AssertionError("never came true")


def test_alpyca_takes_an_image(address):
    where, observatory = address
    camera = Camera(where, 0)
    camera.Connect()
    until(lambda: not camera.Connecting)
    assert (camera.Connected, camera.InterfaceVersion, camera.SensorName) == (True, 4, "IMX455")
    with pytest.raises(InvalidOperationException):
        _ = camera.LastExposureDuration
    with pytest.raises(NotImplementedException):
        _ = camera.Gains
    camera.NumX, camera.StartY = 60, 7
    camera.NumY = 30
    camera.StartExposure(5.0, False)
    until(lambda: camera.ImageReady)
    assert camera.LastExposureDuration == pytest.approx(5.0)
    pixels = np.array(camera.ImageArray).T
    assert pixels.shape == (30, 60)
    np.testing.assert_array_equal(pixels, observatory.camera.image())
    with pytest.raises(InvalidValueException):
        camera.Gain = 101
    assert {state["Name"] for state in camera.DeviceState} >= {"CameraState", "ImageReady"}


def test_alpyca_moves_the_accessories(address):
    where, _ = address
    wheel, panel, safety = FilterWheel(where, 0), CoverCalibrator(where, 0), SafetyMonitor(where, 0)
    for device in (wheel, panel, safety):
        device.Connected = True
    until(lambda: wheel.Position == 0)
    wheel.Position = 3
    until(lambda: wheel.Position == 3)
    assert wheel.Names[3] == "B"
    panel.CalibratorOn(17)
    until(lambda: int(panel.CalibratorState) == 3 and not panel.CalibratorChanging)
    assert panel.Brightness == 17
    panel.OpenCover()
    until(lambda: int(panel.CoverState) == 3)
    panel.CalibratorOff()
    assert safety.IsSafe
