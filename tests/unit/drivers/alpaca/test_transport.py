"""Our own transport under alpyca's device classes: what is sent, what is retried, what every bad answer becomes."""

import ast
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import alpaca.camera
import alpaca.covercalibrator
import alpaca.filterwheel
import alpaca.safetymonitor
import pytest

import drivers.alpaca
from drivers.alpaca.device import AlpacaDevice
from drivers.alpaca.transport import (
    CameraWire,
    CoverCalibratorWire,
    Endpoint,
    FilterWheelWire,
    SafetyMonitorWire,
)
from drivers.alpaca.values import flag, text, texts, whole
from drivers.clock import ManualClock, ScaledClock, SystemClock
from drivers.errors import AccessDenied, DeviceLost, DeviceMissing, NotOffered, Refused
from tests.support.scripted_alpaca import QUICK, AlpacaFault, Raw, ScriptedAlpaca, ScriptedCamera, Trick


@pytest.fixture
def server() -> Iterator[ScriptedAlpaca]:
    with ScriptedAlpaca() as running:
        ScriptedCamera(running)
        yield running


@pytest.fixture
def wire(server: ScriptedAlpaca) -> Iterator[CameraWire]:
    wire = CameraWire(server.endpoint(), ManualClock(), timeouts=QUICK, client_id=77)
    yield wire
    wire.line.close()


def test_every_call_carries_the_client_and_a_number_of_its_own(server: ScriptedAlpaca, wire: CameraWire) -> None:
    for _ in range(3):
        wire.ask("NumX", whole)
        wire.NumX = 5
    numbers = [int(call.fields["ClientTransactionID"]) for call in server.calls]
    assert len(set(numbers)) == 6
    assert all(0 < number < 2**31 for number in numbers)
    assert {call.fields["ClientID"] for call in server.calls} == {"77"}


def test_put_fields_have_their_exact_names_and_no_exponents(server: ScriptedAlpaca, wire: CameraWire) -> None:
    wire.StartExposure(0.00001, False)
    wire.SetCCDTemperature = -10.0
    wire.CoolerOn = True
    start, point, cooler = (call.fields for call in server.calls)
    assert (start["Duration"], start["Light"]) == ("0.00001", "False")
    assert point["SetCCDTemperature"] == "-10"
    assert cooler["CoolerOn"] == "True"


def test_a_reply_without_an_error_number_is_a_success(server: ScriptedAlpaca, wire: CameraWire) -> None:
    server.tricks["numx"].append(Raw(b'{"Value": 9}'))
    assert wire.ask("NumX", whole) == 9


@pytest.mark.parametrize("trick", [Trick("drop"), Raw(b"oops", status=500), Raw(b"{", status=200), Raw(b"[1]")])
def test_a_read_is_asked_again_twice(server: ScriptedAlpaca, wire: CameraWire, trick: Trick | Raw) -> None:
    clock = wire.clock
    server.tricks["numx"].extend([trick, trick])
    assert wire.ask("NumX", whole) == 12
    assert clock.monotonic() == pytest.approx(2.5)
    server.tricks["numx"].extend([trick] * 3)
    with pytest.raises(DeviceLost):
        wire.ask("NumX", whole)


@pytest.mark.parametrize("trick", [Trick("drop"), Trick("drop_after"), Raw(b"oops", status=500)])
def test_a_put_is_never_sent_twice(server: ScriptedAlpaca, wire: CameraWire, trick: Trick | Raw) -> None:
    server.tricks["numx"].append(trick)
    with pytest.raises(DeviceLost):
        wire.NumX = 6
    assert len(server.sent("PUT", "numx")) <= 1


def test_a_server_that_closes_idle_connections_is_no_loss(server: ScriptedAlpaca) -> None:
    wire = CameraWire(server.endpoint(), ManualClock(), timeouts=QUICK, retries=False)
    for _ in range(3):
        assert wire.ask("NumX", whole) == 12
        server.hang_up()
    wire.NumX = 6
    assert len(server.sent("PUT", "numx")) == 1
    wire.line.close()


@pytest.mark.parametrize("number", [0x400, 0x40C, 1, 0x500, 0xFFF])
def test_any_error_number_on_an_optional_member_is_not_offered(
    server: ScriptedAlpaca, wire: CameraWire, number: int
) -> None:
    server.devices["camera"]["Gains"] = AlpacaFault(number)
    assert wire.offered("Gains", texts) is None
    with pytest.raises(NotOffered) as caught:
        _ = wire.Gains
    assert caught.value.number == number


@pytest.mark.parametrize(
    ("trick", "error"),
    [
        (Trick("drop"), DeviceLost),
        (Trick("stall"), DeviceLost),
        (Raw(b"no", status=500), DeviceLost),
        (Raw(b"no", status=503), DeviceLost),
        (Raw(b"no", status=400), Refused),
        (Raw(b"no", status=401), AccessDenied),
        (Raw(b"no", status=403), AccessDenied),
        (Raw(b"no", status=404), DeviceMissing),
        (Raw(b"", status=302), DeviceMissing),
        (Raw(b"<html>"), DeviceLost),
        (Raw(b'{"ErrorNumber": 0}'), DeviceLost),
        (Raw(b"[" * 100_000), DeviceLost),
    ],
)
def test_only_an_error_number_turns_a_feature_off(
    server: ScriptedAlpaca, trick: Trick | Raw, error: type[Exception]
) -> None:
    wire = CameraWire(server.endpoint(), ManualClock(), timeouts=QUICK, retries=False)
    server.tricks["gainmin"].append(trick)
    with pytest.raises(error):
        wire.offered("GainMin", whole)
    wire.line.close()


def test_a_server_that_forgot_the_connection_is_lost_not_refusing(server: ScriptedAlpaca, wire: CameraWire) -> None:
    server.devices["camera"]["Gain"] = AlpacaFault(0x407, "not connected")
    with pytest.raises(DeviceLost) as caught:
        wire.offered("Gain", whole)
    assert caught.value.number == 0x407
    with pytest.raises(DeviceLost):
        wire.Gain = 3


def test_an_answer_that_was_given_before_is_none(server: ScriptedAlpaca, wire: CameraWire) -> None:
    wire.ask("NumX", whole)
    server.tricks["numx"].extend([Trick("old")] * 3)
    with pytest.raises(DeviceLost, match="old answer"):
        wire.ask("NumX", whole)


def test_a_trickling_answer_has_a_total_deadline(server: ScriptedAlpaca) -> None:
    wire = CameraWire(server.endpoint(), SystemClock(), timeouts=QUICK, retries=False)
    server.tricks["numx"].append(Trick("trickle"))
    with pytest.raises(DeviceLost, match="in time"):  # byte after byte, the answer would be there in the end
        wire.ask("NumX", whole)
    wire.line.close()


def test_an_endless_answer_is_not_read_to_its_end(server: ScriptedAlpaca) -> None:
    wire = CameraWire(server.endpoint(), ManualClock(), timeouts=QUICK, retries=False)
    server.tricks["numx"].append(Raw(b" " * 5_000_000))
    with pytest.raises(DeviceLost, match="longer than"):
        wire.ask("NumX", whole)
    wire.line.close()


def answering_once(reply: bytes) -> tuple[Endpoint, threading.Thread]:
    """Take one connection, read a request, send these bytes, close."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as taken:
            taken.recv(65536)
            taken.sendall(reply)

    thread = threading.Thread(target=serve)
    thread.start()
    return Endpoint("127.0.0.1", int(listener.getsockname()[1])), thread


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"Value": 3',
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        CHUNKED,
        CHUNKED + b"zz\r\n{}\r\n",
        CHUNKED + b"-5\r\n{}\r\n",
        CHUNKED + b"ffffffffff\r\n{}\r\n",
        CHUNKED + b'5\r\n{"Val',
    ],
)
def test_bytes_that_are_no_http_are_a_loss(reply: bytes) -> None:
    endpoint, thread = answering_once(reply)
    wire = CameraWire(endpoint, ManualClock(), timeouts=QUICK, retries=False)
    with pytest.raises(DeviceLost):
        wire.ask("NumX", whole)
    wire.line.close()
    thread.join(60)


def test_a_chunked_reply_is_read() -> None:
    endpoint, thread = answering_once(CHUNKED + b'5\r\n{"Val\r\n7\r\nue": 3}\r\n0\r\n\r\n')
    wire = CameraWire(endpoint, ManualClock(), timeouts=QUICK, retries=False)
    assert wire.ask("NumX", whole) == 3
    wire.line.close()
    thread.join(60)


def test_nobody_at_the_port_is_lost() -> None:
    with ScriptedAlpaca() as gone:
        endpoint = gone.endpoint()
    wire = CameraWire(endpoint, ManualClock(), timeouts=QUICK)
    with pytest.raises(DeviceLost, match="nothing answers"):
        wire.open()


def test_close_from_another_thread_ends_a_blocked_call(server: ScriptedAlpaca) -> None:
    wire = CameraWire(server.endpoint(), SystemClock())
    server.tricks["numx"].append(Trick("stall", 300))
    threading.Timer(0.2, wire.line.close).start()
    with pytest.raises(DeviceLost, match="closed by us"):
        wire.ask("NumX", whole)
    with pytest.raises(DeviceLost, match="closed by us"):  # and stays closed: no retry brings it back
        wire.ask("NumY", whole)
    wire.line.reopen()
    assert wire.ask("NumY", whole) == 8
    wire.line.close()


def _expect_loss(camera: CameraWire) -> None:
    with pytest.raises(DeviceLost):
        camera.ask("NumX", whole)


def test_a_device_that_hangs_does_not_hold_up_another() -> None:
    with ScriptedAlpaca() as server:
        ScriptedCamera(server)
        server.add("safetymonitor", issafe=True)
        server.tricks["numx"].append(Trick("stall", 300))
        camera = CameraWire(server.endpoint(), SystemClock(), retries=False)
        safety = SafetyMonitorWire(server.endpoint(), SystemClock(), retries=False)
        hanging = threading.Thread(target=_expect_loss, args=(camera,))
        hanging.start()
        assert safety.ask("IsSafe", flag) is True
        assert hanging.is_alive()
        camera.line.close()
        hanging.join(60)
        assert not hanging.is_alive()
        safety.line.close()


# --- connecting ------------------------------------------------------------------------------------------------------


def test_below_platform_7_connected_is_set(server: ScriptedAlpaca, wire: CameraWire) -> None:
    wire.open()
    assert [call.fields["Connected"] for call in server.sent("PUT", "connected")] == ["True"]
    assert not server.sent("PUT", "connect")
    wire.leave()
    assert server.sent("PUT", "connected")[-1].fields["Connected"] == "False"


def test_from_platform_7_on_connect_is_waited_for(server: ScriptedAlpaca) -> None:
    camera = ScriptedCamera(server, interface=4)
    left = iter([True, True, False])
    camera.device["connecting"] = lambda _: next(left)
    wire = CameraWire(server.endpoint(), ManualClock(), timeouts=QUICK)
    wire.open()
    assert len(server.sent("GET", "connecting")) == 3
    assert not server.sent("PUT", "connected")
    wire.leave()
    assert server.sent("PUT", "disconnect")


def test_a_driver_without_connect_in_spite_of_its_version(server: ScriptedAlpaca) -> None:
    ScriptedCamera(server, interface=4).device["connect"] = AlpacaFault(0x400)
    wire = CameraWire(server.endpoint(), ManualClock(), timeouts=QUICK)
    wire.open()
    assert server.sent("PUT", "connected")
    wire.line.close()


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [
        ("connecting", AlpacaFault(0x500, "no camera on USB"), "no camera on USB"),
        ("connecting", True, "still connecting"),
        ("connected", False, "does not say why"),
    ],
)
def test_a_connection_that_fails_says_why(server: ScriptedAlpaca, member: str, value: object, words: str) -> None:
    ScriptedCamera(server, interface=4).device[member] = value
    wire = CameraWire(server.endpoint(), ManualClock(), timeouts=QUICK)
    with pytest.raises(DeviceLost, match=words):
        wire.open()
    wire.line.close()


def test_a_wrong_device_number_is_missing(server: ScriptedAlpaca) -> None:
    wire = CameraWire(server.endpoint(3), ManualClock(), timeouts=QUICK)
    with pytest.raises(DeviceMissing, match="no such device"):
        wire.open()
    wire.line.close()


def test_a_server_that_says_it_with_an_error_number_has_no_such_device_either(server: ScriptedAlpaca) -> None:
    for member in ("interfaceversion", "connected"):
        server.devices["camera"][member] = AlpacaFault(0x400, "camera 0 not found")
    wire = CameraWire(server.endpoint(), ManualClock(), timeouts=QUICK)
    with pytest.raises(DeviceMissing, match="not found"):
        wire.open()
    wire.line.close()


def test_a_time_out_is_not_interface_version_1(server: ScriptedAlpaca) -> None:
    wire = CameraWire(server.endpoint(), ManualClock(), timeouts=QUICK, retries=False)
    server.tricks["interfaceversion"].append(Trick("stall"))
    with pytest.raises(DeviceLost):
        _ = wire.InterfaceVersion
    assert wire.InterfaceVersion == 3
    wire.line.close()


def test_leaving_a_device_that_is_gone_is_quiet() -> None:
    with ScriptedAlpaca() as server:
        ScriptedCamera(server)
        wire = CameraWire(server.endpoint(), ScaledClock(rate=1000, start=ManualClock().now()), timeouts=QUICK)
        wire.open()
    wire.leave()


def test_the_unique_id_is_the_management_apis(server: ScriptedAlpaca, wire: CameraWire) -> None:
    assert AlpacaDevice(wire).read_unique_id() is None
    server.management = [
        {"DeviceName": "other", "DeviceType": "Camera", "DeviceNumber": 1, "UniqueID": "b"},
        {"DeviceName": "this", "DeviceType": "Camera", "DeviceNumber": 0, "UniqueID": "a"},
    ]
    assert AlpacaDevice(wire).read_unique_id() == "a"


@pytest.mark.parametrize(
    ("host", "address"), [("fe80::1%eth0", "[fe80::1]:80"), ("10.0.0.1", "10.0.0.1:80"), ("obs.local", "obs.local:80")]
)
def test_addresses_as_urls_have_them(host: str, address: str) -> None:
    assert Endpoint(host, 80).address == address


# --- alpyca's members ------------------------------------------------------------------------------------------------

WIRES = {
    CameraWire: alpaca.camera.Camera,
    FilterWheelWire: alpaca.filterwheel.FilterWheel,
    CoverCalibratorWire: alpaca.covercalibrator.CoverCalibrator,
    SafetyMonitorWire: alpaca.safetymonitor.SafetyMonitor,
}


class _NoHttp:
    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"alpyca went to HTTP by itself ({name})")


def used_members() -> set[str]:
    """Names in capitals that our modules take from an object, plus those they name in a string."""
    found = set()
    for path in Path(drivers.alpaca.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    for stem in ("Gain", "Offset"):
        found |= {f"{stem}s", f"{stem}Min", f"{stem}Max"}
    return found


def members_of(kind: type) -> list[str]:
    used = used_members()
    names = [name for name in dir(kind) if name[0].isupper() and name in used]
    return [name for name in names if name not in ("Connect", "Disconnect", "Connecting")]


@pytest.mark.parametrize("wire_type", WIRES)
def test_every_member_of_alpyca_that_is_used_goes_through_our_get_and_put(
    wire_type: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[str] = []

    def note(_: object, attribute: str, tmo: float | None = None, **data: object) -> object:
        reached.append(attribute)
        return 0

    monkeypatch.setattr(wire_type, "_get", note)
    monkeypatch.setattr(wire_type, "_put", note)
    wire = wire_type(Endpoint("127.0.0.1", 9), ManualClock())
    wire.rqs = _NoHttp()
    monkeypatch.setattr("requests.get", _NoHttp())
    members = members_of(WIRES[wire_type])
    assert len(members) >= {CameraWire: 45, FilterWheelWire: 3, CoverCalibratorWire: 9, SafetyMonitorWire: 1}[wire_type]
    for name in members:
        reached.clear()
        member = getattr(WIRES[wire_type], name)
        if isinstance(member, property):
            getattr(wire, name)
            if member.fset is not None:
                setattr(wire, name, 1)
        else:
            getattr(wire, name)(*[1] * (member.__code__.co_argcount - 1))
        if name != "InterfaceVersion":  # overridden as a whole
            assert set(reached) == {name.lower()}, name


def test_names_are_read_without_surrounding_blanks(server: ScriptedAlpaca, wire: CameraWire) -> None:
    server.devices["camera"]["Name"] = " QHY600M \n"
    assert wire.ask("Name", text) == "QHY600M"
