"""Alpaca's rules of the wire: addresses, parameters, transaction ids, envelopes. One route, tables behind it."""

import asyncio
import html
import itertools
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import wait
from hmac import compare_digest
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from drivers.simulator.camera import SimulatedCamera
from drivers.simulator.device import Device
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.envelope import DEFAULTS, IMAGE_HEAD, Ids, compact, envelope
from drivers.simulator.errors import AscomError, BadRequest
from drivers.simulator.faults import DeviceKind, FaultKind, FaultScript
from drivers.simulator.images import HEADER, Shared, around_text, error_bytes, image_columns, image_header, image_text

IMAGE_BYTES = "application/imagebytes"
_CHUNK = 1 << 20
_LONGEST_FORM = 1 << 16
_IMAGES = {"imagearray", "imagearrayvariant"}
_ANSWERING = {"action", "commandbool", "commandstring"}
"""The methods that have a Value."""
_AFTER_A_FRAME = {"imageready", "camerastate", "devicestate"}
_RENDER_WAIT_S = 0.2
_IMAGE_FAULTS = (
    FaultKind.IMAGE_TRUNCATED,
    FaultKind.IMAGE_SHORT,
    FaultKind.IMAGE_LYING_HEADER,
    FaultKind.IMAGE_BAD_TYPE,
    FaultKind.IMAGE_COLOUR,
    FaultKind.IMAGE_SLOW,
)


class AlpacaApp:
    """The server's application: `app` is ASGI.

    Parameters
    ----------
    observatory : SimulatedObservatory
    login : str, optional
        The Authorization header without which everything is refused (401).
    """

    def __init__(self, observatory: SimulatedObservatory, login: str | None = None) -> None:
        self._observatory = observatory
        self._login = None if login is None else login.encode("ascii")
        self._devices: dict[str, Device] = {d.kind.value: d for d in observatory.devices()}
        self._server_ids = itertools.count(1)
        self._columns, self._texts = Shared(image_columns), Shared(image_text)
        self.stopping = asyncio.Event()
        routes = [
            Route("/api/{version}/{device}/{number}/{member}", self._api, methods=["GET", "PUT"]),
            Route("/setup", self._setup),
            Route("/setup/{version}/{device}/{number}/setup", self._setup),
            Route("/{root}/{version}/{device}/{number}/{member}", self._elsewhere),
        ]
        if observatory.params.management:
            routes += [
                Route("/management/apiversions", self._answerer(lambda: [1])),
                Route("/management/v1/description", self._answerer(self._description)),
                Route("/management/v1/configureddevices", self._answerer(self._configured)),
            ]
        self._starlette = Router(routes, redirect_slashes=False)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; faults of the connection need the transport below uvicorn's `send`."""
        cycle = getattr(send, "__self__", None)
        scope["nightcal.transport"] = getattr(cycle, "transport", None)
        if self._login is not None and not compare_digest(
            dict(scope["headers"]).get(b"authorization", b""), self._login
        ):
            challenge = {"WWW-Authenticate": 'Basic realm="simulated observatory", charset="UTF-8"'}
            await PlainTextResponse("A user and a password are needed.", 401, challenge)(scope, receive, send)
            return
        await self._starlette(scope, receive, send)

    # --- management -------------------------------------------------------------------------------------------------

    def _answerer(self, value: Callable[[], Any]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            try:
                ids = self._ids(_lowered(request.query_params), "clienttransactionid", "clientid")
            except BadRequest as error:
                return PlainTextResponse(str(error), 400)
            return _json({"Value": value()} | envelope(ids))

        return answer

    def _description(self) -> dict[str, str]:
        return {
            "ServerName": "nightcal simulated observatory",
            "Manufacturer": "nightcal",
            "ManufacturerVersion": "1.0",
            "Location": "simulated",
        }

    def _configured(self) -> list[dict[str, Any]]:
        types = {
            DeviceKind.CAMERA: "Camera",
            DeviceKind.WHEEL: "FilterWheel",
            DeviceKind.PANEL: "CoverCalibrator",
            DeviceKind.SAFETY: "SafetyMonitor",
            DeviceKind.DOME: "Dome",
            DeviceKind.TELESCOPE: "Telescope",
        }
        return [
            {"DeviceName": d.name, "DeviceType": types[d.kind], "DeviceNumber": 0, "UniqueID": d.unique_id}
            for d in self._devices.values()
        ]

    async def _setup(self, request: Request) -> Response:
        """Return the page of the server or of a device, HTTP 403 for a device that is not here."""
        name, status = "This observatory", 200
        try:
            if request.path_params:
                name = self._addressed(request.path_params | {"member": "setup"})[0].name
            text = f"{name} is simulated: its set-up is the YAML that the observatory was started with."
        except BadRequest as error:
            text, status = str(error), 403
        return _page(text, self._description(), status)

    async def _elsewhere(self, request: Request) -> Response:
        return PlainTextResponse(f"{request.url.path} is not an address of Alpaca: those begin with /api/v1", 400)

    # --- devices ----------------------------------------------------------------------------------------------------

    async def _api(self, request: Request) -> Response:
        try:
            device, member = self._addressed(request.path_params)
            broken = await self._broken(request, device.kind, member)
            if broken is not None:
                return broken
            served = await self._served(request, device, member)
            return _Cut() if self._strike(device.kind, member, (FaultKind.ANSWER_LOST,)) else served
        except BadRequest as error:
            return PlainTextResponse(str(error), 400)
        except ClientDisconnect:
            return _Cut()

    def _addressed(self, path: Mapping[str, str]) -> tuple[Device, str]:
        if path["version"] != "v1":
            raise BadRequest(f"there is no version {path['version']} of the Alpaca API here: the only one is v1")
        device = self._devices.get(path["device"])
        if device is None:
            raise BadRequest(f"there is no {path['device']} here")
        if path["number"] != "0":
            raise BadRequest(f"there is no {path['device']} number {path['number']} here: the only one is number 0")
        return device, path["member"]

    async def _served(self, request: Request, device: Device, member: str) -> Response:
        if request.method == "PUT":
            form = dict(parse_qsl((await _form(request)).decode("utf-8", "replace"), keep_blank_values=True))
            ids = self._ids(form, "ClientTransactionID", "ClientID")
            default = DEFAULTS[member] if member in _ANSWERING else None
            return _answered(ids, lambda: device.write(member, form), default)
        ids = self._ids(_lowered(request.query_params), "clienttransactionid", "clientid")
        if isinstance(device, SimulatedCamera):
            if member in _IMAGES:
                return await self._image(request, device, member, ids)
            if member in _AFTER_A_FRAME:
                late = device.rendering()
                if late is not None:
                    await asyncio.to_thread(wait, (late,), _RENDER_WAIT_S)
        return _answered(ids, lambda: device.read(member), DEFAULTS.get(member))

    def _ids(self, fields: Mapping[str, str], transaction: str, client: str) -> Ids:
        _unsigned(fields, client)
        return Ids(_unsigned(fields, transaction), next(self._server_ids))

    # --- images -----------------------------------------------------------------------------------------------------

    async def _image(self, request: Request, camera: SimulatedCamera, member: str, ids: Ids) -> Response:
        params = self._observatory.params.camera
        wanted = IMAGE_BYTES in request.headers.get("accept", "").lower()
        as_bytes = wanted and params.image_bytes and member == "imagearray"
        try:
            pixels = camera.image()
        except AscomError as error:
            if not as_bytes:
                return _json(IMAGE_HEAD | {"Value": DEFAULTS[member]} | envelope(ids, error=error))
            return Response(error_bytes(error, ids), media_type=IMAGE_BYTES)
        if not as_bytes or self._strike(DeviceKind.CAMERA, member, (FaultKind.IMAGE_JSON,)):
            text = await asyncio.to_thread(self._texts.of, pixels, params.transmission)
            before, behind = around_text(ids)
            return _ImageResponse("application/json", before, text.data, behind)
        columns = await asyncio.to_thread(self._columns.of, pixels, params.transmission)
        head = image_header(columns, ids)
        fault = self._strike(DeviceKind.CAMERA, member, _IMAGE_FAULTS)
        if fault is None:
            return _ImageResponse(IMAGE_BYTES, head, columns.data)
        return _BrokenImage(head, columns, fault, self._stopped_within)

    # --- faults -----------------------------------------------------------------------------------------------------

    def _strike(self, kind: DeviceKind, member: str, faults: tuple[FaultKind, ...]) -> FaultScript | None:
        world = self._observatory.world
        struck = (world.faults.strikes(f, world.t_s(), device=kind, member=member) for f in faults)
        return next((s for s in struck if s is not None), None)

    async def _broken(self, request: Request, kind: DeviceKind, member: str) -> Response | None:
        """Return the response of a fault of the wire, None when all goes well (perhaps late)."""
        stall = self._strike(kind, member, (FaultKind.STALL,))
        if stall is None and member == "issafe":
            stall = self._strike(kind, member, (FaultKind.SAFETY_HANG,))
        if stall is not None and await self._stopped_within(stall.amount):
            return _Cut()
        if self._strike(kind, member, (FaultKind.DROP,)):
            return _Cut()
        if self._strike(kind, member, (FaultKind.HTTP_500,)):
            return PlainTextResponse(f"simulated failure of {request.url.path}", 500)
        if self._strike(kind, member, (FaultKind.GARBLED,)):
            return Response('{"Value": 12', media_type="application/json")
        return None

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True


async def _form(request: Request) -> bytes:
    """Return a request's body; what is longer than any form is not kept."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LONGEST_FORM:
            raise BadRequest(f"the form is longer than {_LONGEST_FORM} bytes")
    return body


def _lowered(query: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in query.items()}


def _unsigned(fields: Mapping[str, str], name: str) -> int:
    text = fields.get(name, "0").strip()
    digits = text.lstrip("0")
    if not (text.isascii() and text.isdecimal()) or len(digits) > 10 or int(digits or "0") >= 2**32:
        raise BadRequest(f"{name} = {text[:40]!r} is not a number from 0 to 4294967295")
    return int(digits or "0")


def _answered(ids: Ids, call: Callable[[], Any], default: Any) -> Response:
    """Return what a member answers; an error carries `default` as its Value (None: no Value)."""
    try:
        value, error = call(), None
    except AscomError as raised:
        value, error = default, raised
    return _json(({} if value is None else {"Value": value}) | envelope(ids, error=error))


def _json(content: dict[str, Any]) -> Response:
    return Response(compact(content), media_type="application/json")


def _page(text: str, description: Mapping[str, str], status: int) -> Response:
    title = html.escape(description["ServerName"])
    by = html.escape(f"{description['Manufacturer']}, version {description['ManufacturerVersion']}")
    head = f'<!DOCTYPE html><html lang="en"><head><title>{title}</title></head>'
    return HTMLResponse(f"{head}<body><h1>{title}</h1><p>{html.escape(text)}</p><p>{by}</p></body></html>", status)


class _Cut(Response):
    """No answer: the connection is cut."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        await _cut(scope, flush=False)


class _ImageResponse(Response):
    """An image in pieces without a copy of the whole."""

    def __init__(self, media_type: str, *parts: bytes | bytearray | memoryview) -> None:
        self._views = [memoryview(part).cast("B") for part in parts]  # they hold what they show
        length = sum(len(view) for view in self._views)
        super().__init__(b"", headers={"content-length": str(length)}, media_type=media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for view in self._views:
            for first in range(0, len(view), _CHUNK):
                await self._send(send, view[first : first + _CHUNK])
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    @staticmethod
    async def _send(send: Send, piece: memoryview) -> None:
        await send({"type": "http.response.body", "body": piece, "more_body": True})


class _BrokenImage(_ImageResponse):
    """An image that is malformed, cut or slow on purpose."""

    def __init__(
        self, head: bytearray, columns: NDArray[Any], fault: FaultScript, pause: Callable[[float], Awaitable[bool]]
    ) -> None:
        self._fault = fault
        self._pause = pause
        whole = np.concatenate((np.frombuffer(head, np.uint8), columns.reshape(-1).view(np.uint8)))
        super().__init__(IMAGE_BYTES, _malformed(whole, fault).data)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        (view,) = self._views
        cut, slow = self._when(FaultKind.IMAGE_TRUNCATED), self._when(FaultKind.IMAGE_SLOW)
        last = len(view) if cut is None else int(len(view) * cut.amount)
        quick = last if slow is None else last // 4
        for first in range(0, quick, _CHUNK):
            await self._send(send, view[first : min(quick, first + _CHUNK)])
        for at in range(quick, last):
            if slow is None or await self._pause(slow.amount) or scope["nightcal.transport"].is_closing():
                break
            await self._send(send, view[at : at + 1])
        if cut is None:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await _cut(scope, flush=True)

    def _when(self, kind: FaultKind) -> FaultScript | None:
        return self._fault if self._fault.kind is kind else None


async def _cut(scope: Scope, *, flush: bool) -> None:
    """Cut the connection, after what was written or at once, and let the server notice."""
    transport = scope["nightcal.transport"]
    (transport.close if flush else transport.abort)()
    while not transport.is_closing():
        await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)


def _malformed(buffer: NDArray[np.uint8], fault: FaultScript) -> NDArray[np.uint8]:
    header = list(HEADER.unpack_from(buffer.data))
    if fault.kind is FaultKind.IMAGE_LYING_HEADER:
        header[8] = int(header[8] * fault.amount)
    elif fault.kind is FaultKind.IMAGE_BAD_TYPE:
        header[6] = 99
    elif fault.kind is FaultKind.IMAGE_COLOUR:
        header[7], header[10] = 3, 3
        buffer = np.concatenate((buffer, *2 * (buffer[HEADER.size :],)))
    elif fault.kind is FaultKind.IMAGE_SHORT:
        buffer = buffer[: HEADER.size + (len(buffer) - HEADER.size) // 2]
    HEADER.pack_into(buffer.data, 0, *header)
    return buffer
