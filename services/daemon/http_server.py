"""The HTTP server in a thread of its own: uvicorn, without its signal handlers, with limits for bad connections.

A connection that sends no whole head, or does not read its answer, is closed after a while, and so is each one beyond
a number that the open files of a process allow; everybody else goes on being answered.
"""

import asyncio
import socket
import sys
import threading
from email.utils import formatdate
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, cast

import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from services.daemon.api import Api
from services.daemon.problems import Problem, ProblemCode, Reply
from services.errors import RunCode, StorageError
from services.platform import raise_open_file_limit

log = structlog.get_logger(__name__)

HEAD_S = 10.0
"""In which a whole head must have come."""
STALL_S = 30.0
"""For which a client may leave its answer unread."""
GRACE_S = 2
"""Requests that are being answered when the server ends get so many seconds."""
MOST_HEAD_BYTES = 16 * 1024
_FILES_FOR_OTHERS = 200
_MOST_CONNECTIONS = 500


class ApiServer:
    """The server of one API.

    Parameters
    ----------
    api : Api
    address : tuple of str and int
        Address and port to listen at; port 0 takes a free one.
    prefix : str
        Of the paths, behind a proxy.

    Raises
    ------
    StorageError
        The address cannot be listened at.
    """

    def __init__(self, api: Api, address: tuple[str, int], *, prefix: str = "") -> None:
        self._api = api
        self._socket = bound(*address)
        self.url = f"http://{_reached(*self._socket.getsockname()[:2])}{prefix}"
        """Where it answers programs of this computer."""
        self.is_everywhere = ip_address(self._socket.getsockname()[0].partition("%")[0]).is_unspecified
        """Whether it listens at all addresses of this computer."""
        connections = min(_MOST_CONNECTIONS, max(20, raise_open_file_limit() - _FILES_FOR_OTHERS))
        config = uvicorn.Config(
            api.application,
            http=_connection_class(connections),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="error",  # its warnings name each bad request: whoever sends many would fill the disk
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,  # the server would renew it in its tick; each connection does it here
            h11_max_incomplete_event_size=MOST_HEAD_BYTES,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=GRACE_S,
        )
        self._server = _Server(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End the open streams, answer what was asked, and let go of the address; waits a few seconds at most."""
        self._server.should_exit = True
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._api.streams.end)
            self._loop.call_soon_threadsafe(self._server.ending.set)
        self._thread.join(GRACE_S + 3)
        self._api.close()
        self._socket.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception:
            log.exception("api.ended")

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.serve([self._socket])  # outside of the main thread it handles no signals


class _Server(uvicorn.Server):
    """The library's server without its tick of 0.1 s, which would be most of what an idle daemon costs.

    `ending` ends it.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ending = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait until it is to end."""
        if not self.should_exit:
            await self.ending.wait()


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises
    ------
    StorageError
        It is in use, or not one of this computer.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        made = socket.socket(*found[:3])  # with its protocol, without which asyncio leaves out TCP_NODELAY
    except OSError as error:
        raise _not_bound(f"{host}:{port}", error) from error
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # on Windows SO_REUSEADDR lets two programs share a port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(found[4])
        made.listen(1024)
        made.setblocking(False)  # noqa: FBT003 - as the library has it
    except OSError as error:
        made.close()
        raise _not_bound(f"{host}:{port}", error) from error
    return made


def _reached(host: str, port: int) -> str:
    """Return how this computer itself reaches an address; that of all its networks is not one to call."""
    found = ip_address(host.partition("%")[0])
    if found.is_unspecified:
        return f"127.0.0.1:{port}" if found.version == 4 else f"[::1]:{port}"
    return f"{host}:{port}" if found.version == 4 else f"[{host}]:{port}"


def _not_bound(where: str, error: OSError) -> StorageError:
    detail = f"serve.listen: {where} cannot be listened at: {error.strerror or error}"
    advice = "end the program that uses the port (a daemon that runs already?), or name another one in serve.listen"
    return StorageError(detail, code=RunCode.CONFIG_INVALID, advice=advice)


def _connection_class(most: int) -> type[H11Protocol]:
    """Return the class of connections of which so many are answered at once."""
    return cast("type[H11Protocol]", type("Connection", (_Connection,), {"most": most}))


class _Connection(H11Protocol):
    """One connection, closed when it is one too many, silent, or stuck; all it hears is JSON."""

    most = _MOST_CONNECTIONS

    def connection_made(self, transport: Any) -> None:
        """Refuse what is too much: by an answer, and far beyond that at once."""
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        if len(self.connections) > 2 * self.most:
            transport.abort()
        elif len(self.connections) > self.most:
            self.app = cast("Any", _crowded)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        super().connection_lost(exc)
        for timer in (self._head_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Take what came, and watch whether the rest of a head follows; the answer bears the date of now."""
        self.server_state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        super().data_received(data)
        self._watch_head()

    def pause_writing(self) -> None:
        """Wait for the client to read on, but not for ever."""
        super().pause_writing()
        self._stall_timer = self.loop.call_later(STALL_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Forget the stall: the client reads on."""
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the library's words
        """Answer what is no request of HTTP as everything else that is wrong."""
        problem = Problem(ProblemCode.BAD_REQUEST, "this is no request of HTTP/1.1")
        if getattr(sys.exception(), "error_status_hint", None) == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            problem = Problem(ProblemCode.HEAD_TOO_LARGE, f"the head has more than {MOST_HEAD_BYTES // 1024} kB")
        if self._is_waiting:
            self.transport.write(_raw(problem.reply()))
        self.transport.close()

    @property
    def _is_waiting(self) -> bool:
        """Whether no request is being answered."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.response_complete

    def _watch_head(self) -> None:
        if not self._is_waiting:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_S, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._is_waiting:
            self.transport.close()


_CROWDED = Problem(
    ProblemCode.TOO_MANY_CLIENTS, "too many connections are open", headers={"retry-after": "5", "connection": "close"}
).reply()


async def _crowded(_scope: Any, _receive: Any, send: Any) -> None:
    """Answer on a connection that is one too many, and close it."""
    headers = {"content-type": "application/json", "content-length": str(len(_CROWDED.body)), **_CROWDED.headers}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": _CROWDED.status, "headers": pairs})
    await send({"type": "http.response.body", "body": _CROWDED.body})


def _raw(reply: Reply) -> bytes:
    """Return an answer as it goes over the line, for where there is no request to answer."""
    phrase = HTTPStatus(reply.status).phrase
    head = f"HTTP/1.1 {reply.status} {phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(reply.body)}"
    return f"{head}\r\nconnection: close\r\n\r\n".encode() + reply.body
