"""Servers that answer anything at all: every reply is a value of its kind or an error of the drivers' tree."""

import json
import math
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.keywords.letters import ascii_text
from drivers.alpaca import discovery, replies, values
from drivers.alpaca.camera import AlpacaCamera
from drivers.alpaca.cover_calibrator import AlpacaCoverCalibrator
from drivers.alpaca.filter_wheel import AlpacaFilterWheel
from drivers.alpaca.imagebytes import decode_json
from drivers.alpaca.line import Reply, Timeouts
from drivers.alpaca.safety_monitor import AlpacaSafetyMonitor
from drivers.base import CalibratorStatus, CameraSettings, CameraStates, CoverStatus, ExposureRequest, SensorType
from drivers.clock import ScaledClock, SystemClock
from drivers.errors import BadImage, DriverError
from services.observatory import network
from tests.support.scripted_alpaca import AlpacaFault, Raw, ScriptedAlpaca, ScriptedCamera, image_bytes

HASTY = Timeouts(open_s=1, read_s=1, poll_s=1, put_s=1, connect_s=1, move_s=1, image_first_s=1, image_stall_s=0.5,
                 image_s=1, exposure_s=0.1, idle_s=0.1, stale_s=0.05, real_s=0)  # fmt: skip

LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
    | st.sampled_from([10**400, -(10**400), 1e308, math.inf, -math.inf, math.nan, "NaN", "1e999", "", "x" * 9999,
                       2**63, 4.5, "\ud800", "0001-01-01T00:00:00+23:59", "true"])
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip

few = partial(settings, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(VALUES)
@few(max_examples=300)
def test_a_value_is_of_its_members_kind_or_unusable(value: Any) -> None:
    kinds: dict[Callable[[Any], Any], type] = {
        values.flag: bool, values.reading: float, values.number: float, values.whole: int, values.text: str,
        values.texts: tuple, CameraStates: int, SensorType: int, CoverStatus: int, CalibratorStatus: int,
    }  # fmt: skip
    for kind, expected in kinds.items():
        with suppress(*values.UNUSABLE):
            assert isinstance(kind(value), expected)
        assert isinstance(values.item({"member": value}, "Member", kind), expected | None)


BODIES = st.binary(max_size=60) | VALUES.map(lambda v: json.dumps(v).encode()) | st.sampled_from(
    [b"[" * 100_000, b'{"a":' * 50_000, b"1" * 5000, b'{"Value": 1e99999}', b"\xff\xfe{}", b'{"Value": "\\ud800"}']
)  # fmt: skip
STATUS = st.integers(100, 599)


@given(STATUS, BODIES, VALUES)
@few(max_examples=300)
def test_any_body_is_an_object_or_a_driver_error(status: int, body: bytes, value: Any) -> None:
    reply = Reply(status=status, body=body)
    with suppress(DriverError):
        answer = replies.as_object("d", "member", body)
        number, message = replies.error_of(answer)
        assert isinstance(number, int)
        assert len(message) <= 500
    with suppress(DriverError):
        rows = replies.configured_rows(reply)
        [discovery._from_row(row) for row in rows if discovery._is_device(row)]
    rows = replies.configured_rows(
        Reply(status=200, body=json.dumps({"Value": [value, {"DeviceType": value}]}).encode())
    )
    [discovery._from_row(row) for row in rows if discovery._is_device(row)]
    port = discovery._stated_port(body)
    assert port is None or 0 < port < 65536
    with suppress(DriverError):
        replies.raise_for_status("d", "member", reply)


# --- over the wire --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedAlpaca]:
    with ScriptedAlpaca() as running:
        yield running


def hostile(server: ScriptedAlpaca, data: st.DataObject, kind: str, common: dict[str, Any]) -> None:
    """Let a device of a kind, honest but for a few members, answer anything."""
    device = server.add(kind, **common)
    for member in data.draw(st.lists(st.sampled_from(sorted(device.members)), min_size=1, max_size=4)):
        answer = data.draw(
            VALUES
            | BODIES.map(Raw)
            | st.builds(AlpacaFault, st.integers(-5, 0x600))
            | st.builds(Raw, BODIES, st.integers(200, 599))
        )
        device[member] = answer
    server.management = data.draw(st.just(AlpacaFault(404)) | VALUES)


def quick() -> ScaledClock:
    return ScaledClock(rate=1e5, start=SystemClock().now())


def only_driver_errors(*acts: Callable[[], object], close: Iterable[Callable[[], None]]) -> None:
    with ExitStack() as closing:
        for each in close:
            closing.callback(each)
        for act in acts:
            with suppress(DriverError):
                act()


def use_camera(server: ScriptedAlpaca, data: st.DataObject) -> None:
    scripted = ScriptedCamera(server, interface=data.draw(st.sampled_from([3, 4])))
    scripted.rate = 1e9
    hostile(server, data, "camera", dict(scripted.device.members))
    camera = AlpacaCamera(server.endpoint(), quick(), timeouts=HASTY)
    only_driver_errors(
        camera.connect,
        camera.settings,
        lambda: camera.apply(CameraSettings(bin_x=1, bin_y=1, gain=3)),
        camera.state,
        lambda: camera.expose(ExposureRequest(duration_s=0.001, light=False)),
        camera.abort,
        lambda: camera.set_temperature(-10.0),
        camera.disconnect,
        lambda: network.remote_clock(server.endpoint()),
        close=(camera.close,),
    )


def use_others(server: ScriptedAlpaca, data: st.DataObject) -> None:
    hostile(server, data, "filterwheel", {"names": ["L", "R"], "position": 0, "focusoffsets": [0, 0]})
    panel = {"brightness": 0, "calibratorstate": 1, "coverstate": 1, "maxbrightness": 255, "calibratoron": None,
             "calibratoroff": None, "closecover": None, "opencover": None}  # fmt: skip
    hostile(server, data, "covercalibrator", panel)
    hostile(server, data, "safetymonitor", {"issafe": True})
    wheel = AlpacaFilterWheel(server.endpoint(), quick(), timeouts=HASTY, timeout_s=1)
    lamp = AlpacaCoverCalibrator(server.endpoint(), quick(), timeouts=HASTY, timeout_s=1)
    monitor = AlpacaSafetyMonitor(server.endpoint(), quick(), timeouts=HASTY)
    only_driver_errors(
        wheel.connect, wheel.current, lambda: wheel.select("R"), wheel.disconnect,
        lamp.connect, lamp.state, lambda: lamp.calibrator_on(3), lamp.close_cover, lamp.disconnect,
        monitor.connect, monitor.is_safe, monitor.disconnect,
        lambda: discovery.configured_devices("127.0.0.1", server.port, timeouts=HASTY, clock=quick()),
        close=(wheel.close, lamp.close, monitor.close),
    )  # fmt: skip


def test_a_number_that_no_float_holds_in_any_member_ends_in_driver_errors(server: ScriptedAlpaca) -> None:
    for member in sorted(ScriptedCamera(server, interface=4).device.members):
        for value in (math.inf, 10**400):
            scripted = ScriptedCamera(server, interface=4)
            scripted.device[member] = value
            camera = AlpacaCamera(server.endpoint(), quick(), timeouts=HASTY)
            only_driver_errors(camera.connect, camera.settings, camera.state, close=(camera.close,))


@given(st.data())
@few(max_examples=25)
def test_a_camera_that_answers_anything_ends_in_driver_errors(server: ScriptedAlpaca, data: st.DataObject) -> None:
    use_camera(server, data)


@given(st.data())
@few(max_examples=25)
def test_accessories_that_answer_anything_end_in_driver_errors(server: ScriptedAlpaca, data: st.DataObject) -> None:
    use_others(server, data)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("use", [use_camera, use_others])
@given(data=st.data())
@few(max_examples=2000)
def test_many_devices_that_answer_anything_end_in_driver_errors(
    server: ScriptedAlpaca, use: Callable[[ScriptedAlpaca, st.DataObject], None], data: st.DataObject
) -> None:
    use(server, data)


@pytest.mark.parametrize("told", ['{"rate": NaN, "utc": "2026-01-01"}',
                                  '{"rate": 1e300, "utc": "2026-01-01T00:00:00Z"}',
                                  '{"rate": 10, "utc": "9999-12-31T23:59:59Z"}', '{"rate": 1e999}', "[", "null",
                                  '{"rate": 0, "utc": "2026-01-01T00:00:00+00:00"}', "[" * 100_000])  # fmt: skip
def test_a_remote_clock_that_cannot_be_is_not_taken(server: ScriptedAlpaca, told: str) -> None:
    server.add("camera", supportedactions=[network.CLOCK_ACTION], action=lambda _: told)
    assert network.remote_clock(server.endpoint()) is None


# --- images ---------------------------------------------------------------------------------------------------------

IMAGE_TYPES = st.sampled_from(["application/imagebytes", "application/json", "text/plain", "image/fits", "", "x" * 300])


def fetch(server: ScriptedAlpaca, data: st.DataObject) -> None:
    """Download an image of 12 x 8 pixels that is damaged, cut, lengthened, or sent as something else."""
    scripted = ScriptedCamera(server)
    scripted.rate = 1e9
    pixels = scripted.pixels
    as_json = json.dumps({"Type": 2, "Rank": 2, "Value": pixels.T.tolist()}).encode()
    body = bytearray(data.draw(st.sampled_from([image_bytes(pixels), image_bytes(pixels, 2), as_json])))
    for _ in range(data.draw(st.integers(0, 4))):
        body[data.draw(st.integers(0, min(len(body) - 1, 99)))] = data.draw(st.integers(0, 255))
    body = body[: data.draw(st.integers(0, len(body)))] + data.draw(st.binary(max_size=30))
    length = data.draw(st.none() | st.integers(0, 2 * len(body)) | st.sampled_from([10**9, 10**18]))
    reply = Raw(bytes(body), content_type=data.draw(IMAGE_TYPES), length=length)
    scripted.device["imagearray"] = reply
    camera = AlpacaCamera(server.endpoint(), quick(), timeouts=HASTY)
    camera.connect()
    tracemalloc.start()
    try:
        exposure = camera.expose(ExposureRequest(duration_s=0.001, light=False))
        assert exposure.pixels.shape == pixels.shape
    except DriverError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        camera.close()
    assert peak < 8_000_000, f"{peak} bytes for an image of 96 pixels"


@given(st.data())
@few(max_examples=60)
def test_a_damaged_download_is_an_image_of_the_right_size_or_a_driver_error(
    server: ScriptedAlpaca, data: st.DataObject
) -> None:
    fetch(server, data)


@pytest.mark.long
@pytest.mark.timeout(3600)
@given(st.data())
@few(max_examples=5000)
def test_many_damaged_downloads_are_images_of_the_right_size_or_driver_errors(
    server: ScriptedAlpaca, data: st.DataObject
) -> None:
    fetch(server, data)


def test_one_column_that_holds_the_whole_of_a_json_image_is_not_parsed() -> None:
    body = b'{"Value": [[' + b"1," * 3_000_000 + b"1]]}"
    tracemalloc.start()
    try:
        with pytest.raises(BadImage, match="longer than any"):
            decode_json(body, num_x=1000, num_y=1000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(body) + 4_100_000  # the image's own 4 MB, and the column's text once


def test_a_device_with_an_endless_name_is_cut_at_once_where_it_is_written() -> None:
    assert len(ascii_text("'" * 4_000_000)) <= 34
    assert ascii_text("x" * 4_000_000) == "x" * 68


def test_pixels_that_only_look_like_numbers_are_none() -> None:
    for wrong in ("[[1e400]]", "[[NaN]]", '[["1"]]', "[[true]]", "[[{}]]", "[[" + "9" * 5000 + "]]"):
        with pytest.raises(BadImage):
            decode_json(b'{"Rank": 2, "Value": ' + wrong.encode() + b"}", num_x=1, num_y=1)
    assert decode_json(b'{"Value": [[65535]]}', num_x=1, num_y=1).pixels.dtype == np.uint16
