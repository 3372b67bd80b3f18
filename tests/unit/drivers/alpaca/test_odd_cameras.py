"""Cameras that answer as they should not, or not as one expects: late, in whole blocks, with old or strange images."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from drivers.alpaca import crowding
from drivers.alpaca.camera import AlpacaCamera
from drivers.alpaca.imagebytes import as_unsigned
from drivers.alpaca.line import Endpoint, Line, Timeouts
from drivers.alpaca.transfer import Transfer
from drivers.base import CameraSettings, CameraStates, ExposureRequest
from drivers.clock import ManualClock, SystemClock
from drivers.errors import (
    BadImage,
    CameraBusy,
    Cancelled,
    ExposureStalled,
    Refused,
    SettingRefused,
    SizeRefused,
    WrongSize,
)
from tests.support.scripted_alpaca import QUICK, AlpacaFault, Raw, ScriptedAlpaca, ScriptedCamera, Trick, image_bytes

SHORT = ExposureRequest(duration_s=0.02, light=False)
BYTES = "application/imagebytes"
LATE_S = 0.15
PATIENT = replace(QUICK, stale_s=1.0, exposure_s=5.0)
IDLE, EXPOSING, DOWNLOAD = 0, 2, 4


@pytest.fixture
def server() -> Iterator[ScriptedAlpaca]:
    with ScriptedAlpaca() as running:
        yield running


@pytest.fixture(autouse=True)
def opened() -> Iterator[list[AlpacaCamera]]:
    """The cameras of a test, which are closed at its end."""
    OPENED.clear()
    yield OPENED
    for camera in OPENED:
        camera.close()


OPENED: list[AlpacaCamera] = []


def connected(server: ScriptedAlpaca, timeouts: Timeouts = PATIENT) -> AlpacaCamera:
    camera = AlpacaCamera(server.endpoint(), SystemClock(), timeouts=timeouts)
    camera.connect()
    OPENED.append(camera)
    return camera


# --- when an image is believed --------------------------------------------------------------------------------------


class Late:
    """Lets a scripted camera answer for a moment after each start as if the exposure before were this one."""

    def __init__(self, device: ScriptedCamera, state: int) -> None:
        self.until, self.old = 0.0, b""
        own, self._image = device.device.members.copy(), device.encode

        def start(form: dict[str, str] | None) -> Any:
            self.until = time.monotonic() + LATE_S if self.old else 0.0
            return own["startexposure"](form)

        def stale(member: str, value: Any) -> Callable[[Any], Any]:
            return lambda form: value if time.monotonic() < self.until else own[member](form)

        device.device["StartExposure"] = start
        device.device["ImageReady"] = stale("imageready", True)
        device.device["CameraState"] = stale("camerastate", state)
        device.encode = self._encode

    def _encode(self, pixels: np.ndarray[Any, Any]) -> Raw:
        if time.monotonic() < self.until:
            return Raw(self.old, content_type=BYTES)
        self.old = self._image(pixels).body
        return self._image(pixels)


@pytest.mark.parametrize("state", [IDLE, EXPOSING])
def test_the_image_before_is_not_taken_for_the_new_one(server: ScriptedAlpaca, state: int) -> None:
    device = ScriptedCamera(server)
    Late(device, state)
    camera = connected(server)
    last = [int(camera.expose(SHORT).pixels[-1, -1]) for _ in range(3)]
    assert last == [last[0], last[0] + 1, last[0] + 2]


def test_an_exposure_that_cannot_be_over_is_waited_for_and_said_to_be_early(server: ScriptedAlpaca) -> None:
    device = ScriptedCamera(server, imageready=True, camerastate=IDLE)
    device.device["StartExposure"] = lambda _: None
    camera, began = connected(server), time.monotonic()
    exposure = camera.expose(ExposureRequest(duration_s=1.2, light=False))
    assert time.monotonic() - began >= 1.2
    assert exposure.returned_after_s < 1.1  # there all the time: an old image, which the checks refuse


def test_a_state_that_never_ends_is_waited_for_a_while_and_the_image_taken(server: ScriptedAlpaca) -> None:
    ScriptedCamera(server, camerastate=EXPOSING)
    server.devices["camera"]["ImageReady"] = lambda _: True
    camera = connected(server, replace(PATIENT, stale_s=0.4))
    took_s = []
    for _ in range(2):
        began = time.monotonic()
        server.devices["camera"]["StartExposure"] = lambda _: None
        camera.expose(SHORT)
        took_s.append(time.monotonic() - began)
    assert took_s[0] >= 0.4
    assert camera.state().activity is CameraStates.EXPOSING


def test_after_two_equal_saturated_images_an_old_one_is_still_not_taken_for_new(server: ScriptedAlpaca) -> None:
    device = ScriptedCamera(server)
    device.encode = lambda pixels: Raw(
        image_bytes(np.full_like(pixels, 65535) if device.begun in (2, 3) else pixels), content_type=BYTES
    )
    Late(device, IDLE)
    camera = connected(server, replace(PATIENT, stale_s=0.4))
    last = [int(camera.expose(SHORT).pixels[-1, -1]) for _ in range(4)]
    assert last == [last[0], 65535, 65535, last[0] + 3]


def test_a_camera_that_sends_one_image_for_ever_is_not_waited_for_each_time(server: ScriptedAlpaca) -> None:
    device = ScriptedCamera(server)
    device.encode = lambda pixels: Raw(image_bytes(np.full_like(pixels, 7)), content_type=BYTES)
    camera = connected(server, replace(QUICK, stale_s=0.3))
    for _ in range(6):
        camera.expose(SHORT)
    fetched = len(server.sent("GET", "imagearray"))
    assert 9 <= fetched <= 12  # once or twice more for three of them


def test_a_camera_without_a_state_is_waited_for_by_image_ready(server: ScriptedAlpaca) -> None:
    ScriptedCamera(server, camerastate=AlpacaFault(0x400))
    camera = connected(server)
    assert camera.expose(SHORT).pixels.shape == (8, 12)
    assert camera.state().activity is None
    camera.abort()  # there is nothing to wait for


def busy_until(device: ScriptedCamera, moment: list[float]) -> None:
    """Let it be downloading, and refuse a start, until a moment."""
    start, state = device.device["StartExposure"], device.device["CameraState"]
    refused = AlpacaFault(0x40B, "a download is in progress")
    device.device["CameraState"] = lambda form: DOWNLOAD if time.monotonic() < moment[0] else state(form)
    device.device["StartExposure"] = lambda form: refused if time.monotonic() < moment[0] else start(form)


def test_a_camera_that_is_still_busy_with_our_exposure_is_waited_for(server: ScriptedAlpaca) -> None:
    device, moment = ScriptedCamera(server), [0.0]
    busy_until(device, moment)
    camera = connected(server)
    moment[0] = math.inf
    with pytest.raises(CameraBusy):  # it was never started by us
        camera.expose(SHORT)
    moment[0] = 0.0
    device.encode = lambda pixels: (
        moment.__setitem__(0, time.monotonic() + 0.2),
        Raw(image_bytes(pixels[:2]), content_type=BYTES),
    )[1]
    device.device["ImageReady"] = lambda _: device._now() == 0 and (moment.__setitem__(0, time.monotonic() + 5) or True)
    with pytest.raises(BadImage):
        camera.expose(SHORT)
    moment[0] = time.monotonic() + 0.15
    device.encode = lambda pixels: Raw(image_bytes(pixels), content_type=BYTES)
    device.device["ImageReady"] = lambda _: device._now() == 0
    assert camera.expose(SHORT).pixels.shape == (8, 12)


# --- sizes ------------------------------------------------------------------------------------------------------------


def rounding(step: int) -> Callable[[dict[str, str] | None], int]:
    """Return a member that keeps whole steps of what is put."""
    kept = [0]

    def member(form: dict[str, str] | None) -> int:
        if form is not None:
            kept[0] = int(next(value for name, value in form.items() if name.startswith("Num"))) // step * step
        return kept[0]

    return member


def expose(camera: AlpacaCamera, wanted: CameraSettings) -> tuple[int, ...]:
    """Set and expose as the runner does: set anew where the size is refused."""
    for _ in range(12):
        camera.apply(wanted)
        try:
            return camera.expose(SHORT).pixels.shape
        except SizeRefused:
            continue
    raise AssertionError("it goes on for ever")


BINNED = CameraSettings(bin_x=2, bin_y=2)


def test_a_size_that_nobody_asked_for_is_taken_as_the_camera_rounds_it(server: ScriptedAlpaca) -> None:
    device = ScriptedCamera(server, nx=332, ny=242)
    device.device["NumX"], device.device["NumY"] = rounding(8), rounding(2)
    device.device["ImageArray"] = Raw(image_bytes(np.zeros((120, 160), np.uint16)), content_type=BYTES)
    camera = connected(server)
    found = camera.apply(BINNED)
    assert (found.num_x, found.num_y) == (160, 120)
    assert camera.expose(SHORT).pixels.shape == (120, 160)


def test_a_size_that_was_asked_for_is_kept_or_refused(server: ScriptedAlpaca) -> None:
    device = ScriptedCamera(server, nx=332, ny=242)
    device.device["NumX"] = rounding(8)
    with pytest.raises(SettingRefused, match="NumX was set to 164 twice and reads back 160"):
        connected(server).apply(CameraSettings(start_x=0, start_y=0, num_x=164, num_y=100))


def test_a_subframe_of_another_program_is_no_rounding(server: ScriptedAlpaca) -> None:
    ScriptedCamera(server, nx=332, ny=242, numx=lambda _: 100)
    with pytest.raises(SettingRefused, match="NumX"):
        connected(server).apply(BINNED)


@pytest.mark.parametrize(("steps", "size"), [((8, 2), (120, 160)), ((16, 16), (112, 160)), ((2, 1), (121, 166))])
def test_whole_blocks_are_tried_where_a_start_is_refused(
    server: ScriptedAlpaca, steps: tuple[int, int], size: tuple[int, int]
) -> None:
    device = ScriptedCamera(server, nx=332, ny=242)
    start = device.device["StartExposure"]

    def picky(form: dict[str, str] | None) -> Any:
        fits = device.device["NumX"] % steps[0] == 0 and device.device["NumY"] % steps[1] == 0
        return start(form) if fits else AlpacaFault(0x401, "the size does not suit me")

    device.device["StartExposure"] = picky
    assert expose(connected(server), BINNED) == size


def test_whole_blocks_are_tried_where_a_size_is_refused(server: ScriptedAlpaca) -> None:
    device = ScriptedCamera(server, nx=332, ny=242)
    kept = {"NumX": 332}

    def num_x(form: dict[str, str] | None) -> Any:
        if form is not None and int(form["NumX"]) % 16:
            return AlpacaFault(0x401, "a multiple of 16")
        kept["NumX"] = int(form["NumX"]) if form is not None else kept["NumX"]
        return kept["NumX"]

    device.device["NumX"] = num_x
    assert connected(server).apply(BINNED).num_x == 160


@pytest.mark.parametrize("before", [0, 1])
def test_a_refusal_that_passes_changes_no_size(server: ScriptedAlpaca, before: int) -> None:
    device = ScriptedCamera(server, nx=332, ny=242)
    start, refusals = device.device["StartExposure"], [AlpacaFault(0x40B, "not now")]
    camera = connected(server)
    for _ in range(before):
        assert expose(camera, BINNED) == (121, 166)
    device.device["StartExposure"] = lambda form: refusals.pop() if refusals else start(form)
    if before:
        with pytest.raises(Refused, match="not now"):
            expose(camera, BINNED)
    assert expose(camera, BINNED) == (121, 166)


def test_an_exposure_that_is_refused_whatever_its_size_is_refused_at_once_the_next_time(server: ScriptedAlpaca) -> None:
    ScriptedCamera(server, nx=332, ny=242, startexposure=lambda _: AlpacaFault(0x401, "no such exposure"))
    camera = connected(server)
    with pytest.raises(Refused, match="no such exposure"):
        expose(camera, BINNED)
    starts = len(server.sent("PUT", "startexposure"))
    assert camera.apply(BINNED).num_x == 166
    with pytest.raises(Refused, match="no such exposure"):
        camera.expose(SHORT)
    assert len(server.sent("PUT", "startexposure")) == starts + 1


def test_images_in_whole_blocks_are_asked_for_in_their_size(server: ScriptedAlpaca) -> None:
    device = ScriptedCamera(server, nx=332, ny=242)
    device.encode = lambda _: Raw(image_bytes(np.zeros((120, 160), np.uint16)), content_type=BYTES)
    assert expose(connected(server), BINNED) == (120, 160)


@pytest.mark.parametrize(
    ("shape", "told"),
    [((274, 356), "356 x 274 pixels, not 332 x 242 as announced$"), ((332, 242), "242 x 332.*its axes are swapped$")],
)
def test_a_size_that_is_no_rounding_is_named(server: ScriptedAlpaca, shape: tuple[int, int], told: str) -> None:
    device = ScriptedCamera(server, nx=332, ny=242)
    device.encode = lambda _: Raw(image_bytes(np.zeros(shape, np.uint16)), content_type=BYTES)
    camera = connected(server)
    camera.apply(CameraSettings())
    with pytest.raises(WrongSize) as caught:
        camera.expose(SHORT)
    caught.match(told.replace("$", ""))
    assert caught.value.code == "bad_image"


# --- values -----------------------------------------------------------------------------------------------------------


def test_values_above_32767_that_come_as_negative_ones_are_read_as_they_are(server: ScriptedAlpaca) -> None:
    device, true = ScriptedCamera(server), np.linspace(30_000, 65_535, 96).astype(np.uint16).reshape(8, 12)
    device.encode = lambda _: Raw(image_bytes(true.view(np.int16), 1), content_type=BYTES)
    pixels = connected(server).expose(SHORT).pixels
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels, true)


def test_values_that_scatter_around_zero_are_negative() -> None:
    signed = np.random.default_rng(3).normal(0, 9, (40, 40)).astype(np.int32)
    assert as_unsigned(signed, 65535) is signed
    sums = np.array([[-5, 262_140]], np.int32)
    assert as_unsigned(sums, 262_140) is sums
    assert as_unsigned(np.array([[-9000, 20_000]], np.int32), 32_767).min() == -9000
    assert as_unsigned(np.array([[-1, -1, 400]], np.int32), 65_535).tolist() == [[65535, 65535, 400]]


# --- slow lines -------------------------------------------------------------------------------------------------------

NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def transfer(clock: ManualClock, **limits: Any) -> Transfer:
    known = {"expected": 100_000, "most": 300_000, "judged_after_s": 15.0, "longest_s": 40_000.0}
    return Transfer(clock, device="camera", **(known | limits))


def test_a_slow_download_goes_on_as_long_as_it_ends_in_time() -> None:
    clock = ManualClock(NOON)
    slow = transfer(clock, until=NOON + timedelta(hours=3))
    for _ in range(100):
        clock.advance(100)  # 2 h 47 min in all
        slow(1000)


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        ({"until": NOON + timedelta(hours=2)}, Cancelled), ({"longest_s": 7200.0}, ExposureStalled),
        ({"most": 9000}, BadImage),
    ],
)  # fmt: skip
def test_a_download_that_cannot_end_in_time_is_given_up_soon(limits: dict[str, Any], error: type[Exception]) -> None:
    clock = ManualClock(NOON)
    slow = transfer(clock, **limits)

    def crawl() -> None:
        for _ in range(10):
            clock.advance(100)
            slow(1000)

    with pytest.raises(error):
        crawl()


def test_a_pace_is_not_judged_by_its_first_bytes() -> None:
    clock = ManualClock(NOON)
    slow = transfer(clock, until=NOON + timedelta(hours=1))
    clock.advance(10)
    slow(1)  # a day at this pace
    clock.advance(10)
    slow(50_000)


def test_a_download_longer_than_any_time_limit_comes_through(server: ScriptedAlpaca) -> None:
    ScriptedCamera(server, nx=4, ny=2)
    server.tricks["imagearray"].append(Trick("trickle"))
    camera = connected(server, replace(QUICK, image_first_s=0.5, image_stall_s=0.5, image_s=60.0))
    began = time.monotonic()
    assert camera.expose(SHORT).pixels.shape == (2, 4)
    assert time.monotonic() - began > 2.0


# --- a server that serves one connection at a time --------------------------------------------------------------------


class OneAtATime(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 8.0  # idle for so long, a connection is closed

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        pass


class Slow(OneAtATime):
    def do_GET(self) -> None:
        threading.Event().wait(float(self.path.partition("?")[0][1:] or 0))
        super().do_GET()


def test_a_slow_answer_of_a_server_that_serves_many_closes_no_connections_after_calls() -> None:
    """An image whose first byte takes a third of a second made every healthy server one of one connection."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        where = Endpoint("127.0.0.1", server.server_port)
        camera, wheel = (Line(where, device=name, clock=SystemClock(), open_s=2.0) for name in ("camera", "wheel"))
        for _ in range(2):
            wheel.get("/", {}, total_s=5.0)
            with camera.stream("/0.35", {}, accept="*/*", total_s=5.0, wake=threading.Event()) as stream:
                assert stream.reply(10).body == b"{}"
        camera.get("/1.2", {}, total_s=5.0)
        assert not crowding.is_one_at_a_time(where.address)
        camera.close()
        wheel.close()
        server.shutdown()


def test_a_server_that_serves_one_connection_at_a_time_is_not_waited_for_each_time() -> None:
    with HTTPServer(("127.0.0.1", 0), OneAtATime) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        lines = [
            Line(Endpoint("127.0.0.1", server.server_port), device=name, clock=SystemClock(), open_s=2.0)
            for name in ("camera", "wheel", "panel")
        ]
        began = time.monotonic()
        for _ in range(4):
            for line in lines:
                assert line.get("/", {}, total_s=5.0).status == 200
        assert time.monotonic() - began < 4.0
        for line in lines:
            line.close()
        server.shutdown()
        thread.join()
