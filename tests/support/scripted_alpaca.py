"""A small Alpaca server for tests, written down member by member, which misbehaves when told to.

Not the simulated observatory: here a test says what is on the wire, down to the bytes. A member is a value, an
`AlpacaFault`, or a function of the form's fields; a trick (drop, stall, raw bytes …) is played once a call.
"""

import contextlib
import json
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from drivers.alpaca.line import Endpoint, Timeouts

QUICK = Timeouts(
    open_s=1, read_s=0.4, poll_s=0.4, put_s=0.4, connect_s=1, move_s=0.4, image_first_s=0.6, image_stall_s=0.3,
    image_s=1, exposure_s=0.3, idle_s=0.3, stale_s=0.1, real_s=0,
)  # fmt: skip
"""Time-outs for tests that wait for them to pass."""


@dataclass(frozen=True)
class AlpacaFault:
    number: int
    message: str = "as scripted"


@dataclass(frozen=True)
class Raw:
    """A reply given byte for byte, status line and headers made around it."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    length: int | None = None
    """Content-Length when it is to differ from the body's; the line is cut after the body."""


@dataclass(frozen=True)
class Trick:
    """What happens to one request: `drop`, `drop_after` (it was carried out), `stall`, `trickle`, `old`."""

    name: str
    seconds: float = 1.0


@dataclass
class Call:
    method: str
    member: str
    fields: dict[str, str]


Member = Any


@dataclass
class Device:
    kind: str
    members: dict[str, Member] = field(default_factory=dict)

    def __setitem__(self, name: str, value: Member) -> None:
        self.members[name.lower()] = value

    def __getitem__(self, name: str) -> Member:
        return self.members[name.lower()]

    def answer(self, method: str, member: str, fields: dict[str, str]) -> Any:
        """Return the member's value, what its function says, or keep the value that was put."""
        value = self.members.get(member, AlpacaFault(0x400, f"{member} is not implemented"))
        if callable(value):
            return value(fields if method == "PUT" else None)
        if method == "PUT" and not isinstance(value, AlpacaFault):
            given = next((text for name, text in fields.items() if name.lower() == member), None)
            if given is not None:
                self[member] = type(value)(json.loads(given.lower()))
        return value


class ScriptedAlpaca:
    """One server with one device of each kind that is added."""

    def __init__(self) -> None:
        self.devices: dict[str, Device] = {}
        self.calls: list[Call] = []
        self.tricks: defaultdict[str, deque[Trick | Raw]] = defaultdict(deque)
        self.management: Member = AlpacaFault(404)
        self.release = threading.Event()
        self.lines: list[socket.socket] = []
        self._answers: dict[str, bytes] = {}
        handler = type("Handler", (_Handler,), {"script": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> "ScriptedAlpaca":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def endpoint(self, number: int = 0) -> Endpoint:
        return Endpoint("127.0.0.1", self.port, number)

    def add(self, kind: str, **members: Member) -> Device:
        device = Device(kind)
        common = {"connected": True, "name": f"Scripted {kind}", "interfaceversion": 2, "description": "for tests"}
        for name, value in (common | members).items():
            device[name] = value
        self.devices[kind] = device
        return device

    def hang_up(self) -> None:
        """Close all connections, as servers do with idle ones."""
        for line in self.lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        self.lines.clear()

    def sent(self, method: str, member: str) -> list[Call]:
        return [call for call in self.calls if call.method == method and call.member == member]

    def respond(self, method: str, path: str, fields: dict[str, str]) -> Raw:
        parts = path.strip("/").split("/")
        if parts[0] == "management":
            value = self.management
            refused = isinstance(value, AlpacaFault)
            return Raw(b"nothing", status=value.number, content_type="text/plain") if refused else _json(fields, value)
        device = self.devices.get(parts[2])
        if device is None or parts[3] != "0":
            return Raw(b"no such device", status=400, content_type="text/plain")
        self.calls.append(Call(method, parts[4], fields))
        value = device.answer(method, parts[4], fields)
        if isinstance(value, Raw):
            return value
        return _json(fields, None, value) if isinstance(value, AlpacaFault) else _json(fields, value)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing: clients here cut their lines on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # header and body are two writes
    script: ScriptedAlpaca

    def setup(self) -> None:
        super().setup()
        self.script.lines.append(self.connection)

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self._serve("GET", url.path, dict(parse_qsl(url.query)))

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._serve("PUT", self.path, dict(parse_qsl(body.decode(), keep_blank_values=True)))

    def _serve(self, method: str, path: str, fields: dict[str, str]) -> None:
        member = path.rsplit("/", 1)[-1]
        waiting = self.script.tricks[member]
        trick = waiting.popleft() if waiting else None
        if isinstance(trick, Trick) and trick.name == "drop":
            return self._cut()
        reply = trick if isinstance(trick, Raw) else self.script.respond(method, path, fields)
        if isinstance(trick, Trick):
            if trick.name == "drop_after":
                return self._cut()
            if trick.name == "stall" and self.script.release.wait(trick.seconds):
                return self._cut()
            if trick.name == "old":
                answer = json.loads(reply.body)
                reply = Raw(json.dumps(answer | {"ClientTransactionID": answer["ClientTransactionID"] - 1}).encode())
        try:
            self._send(reply, slowly=isinstance(trick, Trick) and trick.name == "trickle")
        except OSError:
            self.close_connection = True

    def _send(self, reply: Raw, *, slowly: bool) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body) if reply.length is None else reply.length))
        self.end_headers()
        if slowly:
            for place in range(len(reply.body)):
                self.wfile.write(reply.body[place : place + 1])
                if self.script.release.wait(0.05):
                    break
        else:
            self.wfile.write(reply.body)
        if reply.length is not None and reply.length != len(reply.body):
            self._cut()

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _json(fields: dict[str, str], value: Any, fault: AlpacaFault | None = None) -> Raw:
    answer: dict[str, Any] = {
        "ClientTransactionID": int(fields.get("ClientTransactionID", 0)),
        "ServerTransactionID": 1,
        "ErrorNumber": fault.number if fault else 0,
        "ErrorMessage": fault.message if fault else "",
    }
    if fault is None:
        answer["Value"] = value
    return Raw(json.dumps(answer).encode())


def image_bytes(pixels: np.ndarray[Any, Any], element: int = 8, **changes: int) -> bytes:
    """Encode `[y, x]` pixels as ImageBytes; `changes` overwrite fields of the header."""
    types = {1: "<i2", 2: "<i4", 3: "<f8", 4: "<f4", 5: "<u8", 6: "u1", 7: "<i8", 8: "<u2", 9: "<u4"}
    header = {
        "version": 1, "error": 0, "client": 0, "server": 0, "start": 44, "image": 2, "wire": element, "rank": 2,
        "x": pixels.shape[1], "y": pixels.shape[0], "z": 0,
    } | changes  # fmt: skip
    head = struct.pack("<iiIIiiiiiii", *(header[name] for name in header))
    data = np.ascontiguousarray(pixels.T).astype(types.get(element, "<u2")).tobytes()
    return bytes(head + b"\x00" * max(0, header["start"] - 44) + data)


class ScriptedCamera:
    """A camera on a `ScriptedAlpaca`: settings are kept, exposures take real time, images are `pixels`."""

    def __init__(
        self, server: ScriptedAlpaca, *, interface: int = 3, nx: int = 12, ny: int = 8, **members: Member
    ) -> None:
        self.server = server
        self.interface = interface
        self.nx, self.ny = nx, ny
        self.state = 0
        self.ready = False
        self.fails_with: int | None = None
        self.never_ready = False
        self.rate = 1.0
        self.encode: Callable[[np.ndarray[Any, Any]], Raw] = lambda pixels: Raw(
            image_bytes(pixels), content_type="application/imagebytes"
        )
        self._due = 0.0
        self.device = server.add("camera", **(self._members() | members))

    @property
    def pixels(self) -> np.ndarray[Any, Any]:
        """What the image holds, by the binning and subframe in force; its last pixel counts the exposures."""
        size = self.device["NumY"], self.device["NumX"]
        values = (np.arange(size[0] * size[1], dtype=np.uint16).reshape(size) * 3 + 100).astype(np.uint16)
        values[-1, -1] += self.begun
        return values

    def _members(self) -> dict[str, Member]:
        members: dict[str, Member] = {
            "interfaceversion": self.interface, "sensorname": "IMX0", "sensortype": 0, "cameraxsize": self.nx,
            "cameraysize": self.ny, "pixelsizex": 3.76, "pixelsizey": 3.76, "maxbinx": 2, "maxbiny": 2, "binx": 1,
            "biny": 1, "numx": self.nx, "numy": self.ny, "startx": 0, "starty": 0, "exposuremin": 0.0,
            "exposuremax": 100.0, "exposureresolution": 0.001, "maxadu": 65535, "hasshutter": False,
            "canabortexposure": True, "canstopexposure": True, "cansetccdtemperature": True,
            "cangetcoolerpower": True, "canasymmetricbin": False, "ccdtemperature": 12.5, "setccdtemperature": 0.0,
            "cooleron": False, "coolerpower": 0.0, "gain": 10, "gainmin": 0, "gainmax": 100, "offset": 5,
            "offsetmin": 0, "offsetmax": 50, "readoutmode": 0, "readoutmodes": ["Fast", "Low noise"],
            "startexposure": self._start, "abortexposure": self._abort, "stopexposure": self._abort,
            "camerastate": self._camera_state, "imageready": self._image_ready,
            "imagearray": lambda _: self.encode(self.pixels),
            "lastexposureduration": lambda _: self._duration, "lastexposurestarttime": "2026-01-02T03:04:05.678",
        }  # fmt: skip
        if self.interface >= 4:
            members |= {"connect": lambda _: None, "connecting": False, "disconnect": lambda _: None,
                        "devicestate": self._device_state}  # fmt: skip
        return members

    _duration = 0.0
    begun = 0

    def _start(self, form: dict[str, str] | None) -> Any:
        if self._now() == 2:
            return AlpacaFault(0x40B, "an exposure is in progress")
        self._duration = float((form or {})["Duration"])
        self._due = time.monotonic() + self._duration / self.rate
        self.begun += 1
        self.state = 2
        return None

    def _abort(self, _: object) -> None:
        self.state = 0

    def _now(self) -> int:
        if self.state == 2 and time.monotonic() >= self._due and not self.never_ready:
            self.state = 5 if self.fails_with == 0 else 0
            self.ready = self.fails_with is None
        return self.state

    def _camera_state(self, _: object) -> int:
        return self._now()

    def _image_ready(self, _: object) -> Any:
        if self._now() == 2:
            return False
        return AlpacaFault(self.fails_with, "the shutter jammed") if self.fails_with else self.ready

    def _device_state(self, _: object) -> list[dict[str, Any]]:
        pairs = {"CameraState": self._now(), "CCDTemperature": self.device["CCDTemperature"], "CoolerPower": 0.0}
        if not self.fails_with:
            pairs["ImageReady"] = self._now() == 0 and self.ready
        return [{"Name": name, "Value": value} for name, value in pairs.items()]
