"""Finding servers and devices: answers over UDP, the management API, and names that fit twice."""

import socket
import threading
from collections.abc import Iterator

import pytest

from drivers.alpaca import discovery
from drivers.alpaca.discovery import ConfiguredDevice, ServerAddress, configured_devices, discover, find_by_name
from drivers.errors import DeviceLost, DeviceMissing
from tests.support.scripted_alpaca import QUICK, AlpacaFault, Raw, ScriptedAlpaca, ScriptedCamera

ROW = {"DeviceName": "QHY600M", "DeviceType": "Camera", "DeviceNumber": 0, "UniqueID": "u-1"}


@pytest.fixture
def server() -> Iterator[ScriptedAlpaca]:
    with ScriptedAlpaca() as running:
        yield running


class Responder:
    """Answers discovery questions on 127.0.0.1 with the given datagrams."""

    def __init__(self, *answers: bytes) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.questions: list[bytes] = []
        self._answers = answers
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "Responder":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            question, sender = self._socket.recvfrom(1024)
            if not question:
                return
            self.questions.append(question)
            for answer in self._answers:
                self._socket.sendto(answer, sender)


def test_servers_that_answer_are_found_and_junk_is_not() -> None:
    junk = (b"", b"{", b"[1]", b'{"AlpacaPort": "x"}', b'{"AlpacaPort": 0}', b'{"AlpacaPort": 70000}', b"\xff")
    with Responder(*junk, b'{"AlpacaPort": 4567}', b'{"AlpacaPort":4567}', b'{"AlpacaPort": 11111}\n\0') as there:
        found = discover(port=there.port, timeout_s=0.4, addresses=("127.0.0.1",))
        assert there.questions == [b"alpacadiscovery1"]
    assert found == (ServerAddress("127.0.0.1", 4567), ServerAddress("127.0.0.1", 11111))


def test_nobody_answers_and_that_is_no_error() -> None:
    with Responder() as silent:
        assert discover(port=silent.port, timeout_s=0.1, addresses=("127.0.0.1",)) == ()


def test_the_question_goes_to_every_network_of_this_machine() -> None:
    with Responder(b'{"AlpacaPort": 4567}') as there:
        assert ServerAddress("127.0.0.1", 4567) in discover(port=there.port, timeout_s=0.3)


def test_a_server_of_this_machine_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "_own_addresses", lambda: {"127.0.0.1", "10.1.2.3"})
    here, again, other = ServerAddress("127.0.0.1", 5), ServerAddress("10.1.2.3", 5), ServerAddress("10.9.9.9", 5)
    assert discovery._without_doubles({here, again, other}) == (other, here)
    assert discovery._without_doubles({again, other}) == (again, other)


def test_devices_are_those_of_the_management_api(server: ScriptedAlpaca) -> None:
    server.management = [ROW, {"DeviceName": "no type"}, "junk"]
    found = configured_devices("127.0.0.1", server.port, timeouts=QUICK)
    assert found == (ConfiguredDevice(name="QHY600M", type="camera", number=0, unique_id="u-1"),)


def test_without_a_management_api_the_first_numbers_are_asked(server: ScriptedAlpaca) -> None:
    ScriptedCamera(server, name="Peer camera")
    server.add("filterwheel", name=AlpacaFault(0x407, "not connected"))
    server.add("safetymonitor", name=AlpacaFault(0x400, "there is none"))
    found = configured_devices("127.0.0.1", server.port, timeouts=QUICK)
    assert [(device.type, device.number, device.name) for device in found] == [
        ("camera", 0, "Peer camera"),
        ("filterwheel", 0, ""),
    ]


def test_a_server_that_is_gone_is_lost() -> None:
    with ScriptedAlpaca() as gone:
        port = gone.port
    with pytest.raises(DeviceLost):
        configured_devices("127.0.0.1", port, timeouts=QUICK)


@pytest.mark.parametrize("name", ["QHY600M", "qhy600m", " QHY600M ", "600"])
def test_a_camera_is_found_by_its_name(server: ScriptedAlpaca, name: str) -> None:
    server.management = [ROW | {"DeviceName": "Guider", "DeviceNumber": 1}, ROW, ROW | {"DeviceType": "Focuser"}]
    endpoint = find_by_name(name, servers=(ServerAddress("127.0.0.1", server.port),))
    assert endpoint == server.endpoint(0)


def test_an_equal_name_wins_over_one_that_contains_it(server: ScriptedAlpaca) -> None:
    server.management = [ROW | {"DeviceName": "QHY600M guider", "DeviceNumber": 1, "UniqueID": "u-2"}, ROW]
    assert find_by_name("QHY600M", servers=(ServerAddress("127.0.0.1", server.port),)).device_number == 0


def test_two_cameras_of_a_name_are_both_named(server: ScriptedAlpaca) -> None:
    server.management = [ROW, ROW | {"DeviceName": "QHY600M (2)", "DeviceNumber": 1, "UniqueID": "u-2"}]
    with pytest.raises(
        DeviceMissing, match=r"'600m' fits more than one camera: 'QHY600M' .*'QHY600M \(2\)'.*device_id"
    ):
        find_by_name("600m", servers=(ServerAddress("127.0.0.1", server.port),))


def test_one_camera_at_two_addresses_is_one(server: ScriptedAlpaca) -> None:
    server.management = [ROW]
    both = (ServerAddress("127.0.0.1", server.port), ServerAddress("localhost", server.port))
    assert find_by_name("QHY600M", servers=both) == server.endpoint(0)


def test_a_camera_that_is_not_there_names_what_is(server: ScriptedAlpaca) -> None:
    server.management = [ROW]
    dead = ServerAddress("127.0.0.1", 9)
    with pytest.raises(DeviceMissing, match="no camera is called 'ASI'; found on 2 servers: 'QHY600M'"):
        find_by_name("ASI", servers=(dead, ServerAddress("127.0.0.1", server.port)))
    with pytest.raises(DeviceMissing, match="found on 1 server: 'QHY600M'"):
        find_by_name("", servers=(ServerAddress("127.0.0.1", server.port),))


def test_without_a_name_the_only_camera_is_taken_and_of_several_none() -> None:
    twins = [{**ROW, "DeviceNumber": n, "UniqueID": f"u-{n}"} for n in (0, 1)]
    with ScriptedAlpaca() as one, ScriptedAlpaca() as two:
        one.management, two.management = [ROW, {**ROW, "DeviceType": "FilterWheel"}], twins
        here, there = ServerAddress("127.0.0.1", one.port), ServerAddress("127.0.0.1", two.port)
        assert find_by_name(None, servers=(here,)).port == one.port
        assert find_by_name(None, servers=(there,), number=1).device_number == 1
        with pytest.raises(DeviceMissing) as caught:
            find_by_name(None, servers=(there,))
        assert "more than one camera answers" in caught.value.detail
        assert all(f"(device {n} at 127.0.0.1:{two.port})" in caught.value.detail for n in (0, 1))
        with pytest.raises(DeviceMissing, match=r"no camera answers; found on 0 servers: none"):
            find_by_name(None, servers=())


def test_names_are_compared_without_case_and_blanks(server: ScriptedAlpaca) -> None:
    server.management = [{**ROW, "DeviceName": "ZWO ASI 2600MM\tPro"}, {**ROW, "DeviceName": "x", "DeviceNumber": 1}]
    for name in ("zwo asi2600mm pro", " ZWO ASI 2600MM Pro ", "ASI2600"):
        assert find_by_name(name, servers=(ServerAddress("127.0.0.1", server.port),)).device_number == 0


def test_a_server_that_shows_what_it_was_sent_shows_it_to_nobody(server: ScriptedAlpaca) -> None:
    server.tricks["configureddevices"].extend([Raw(b"got Basic c2VjcmV0 from you", status=500)] * 3)
    with pytest.raises(DeviceLost) as caught:
        configured_devices("127.0.0.1", server.port, login=lambda: "Basic c2VjcmV0")
    assert "got Basic *** from you" in caught.value.detail
