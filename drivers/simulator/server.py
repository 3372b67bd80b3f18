"""The Alpaca server of a simulated observatory: uvicorn in a thread of this process, on a port of its own."""

import asyncio
import socket
import threading
from types import TracebackType

import uvicorn

from drivers.simulator.connections import PatientConnection
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.discovery import DiscoveryResponder
from drivers.simulator.wire import AlpacaApp

_START_S = 30.0


class AlpacaServer:
    """Serves an observatory from `start` to `stop`, or as a context manager.

    The observatory stays its owner's: close it after the server.

    Parameters
    ----------
    observatory : SimulatedObservatory
    host : str
        Loopback by default: whoever reaches the server sees passwords too.
    port : int
        0: any free one; the attribute `port` holds it.
    discovery_port : int, optional
        UDP port of Alpaca discovery (32227 is the standard one; 0: any free one); None: no discovery.
    login : str, optional
        Refuse all requests that do not carry this Authorization header.
    """

    def __init__(
        self,
        observatory: SimulatedObservatory,
        host: str = "127.0.0.1",
        port: int = 0,
        discovery_port: int | None = None,
        login: str | None = None,
    ) -> None:
        self.observatory = observatory
        self._login = login
        self.host = host
        self.port = port
        self.discovery_port = discovery_port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._discovery: DiscoveryResponder | None = None

    def __enter__(self) -> "AlpacaServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Bind, serve, and return when requests are answered.

        Raises
        ------
        OSError
            The port is taken or not allowed.
        """
        listener = _listen(self.host, self.port)
        self.port = listener.getsockname()[1]
        if self.discovery_port is not None:
            try:
                self._discovery = DiscoveryResponder(self.host, self.discovery_port, self.port)
            except OSError:
                listener.close()
                raise
            self.discovery_port = self._discovery.port
        self._server = _Server(AlpacaApp(self.observatory, self._login))
        self._thread = threading.Thread(
            target=_serve, args=(self._server, listener), name="simulator-server", daemon=True
        )
        self._thread.start()
        self._server.ready.wait(_START_S)

    def stop(self) -> None:
        """End the server, cutting what stalls; may be called twice."""
        if self._discovery is not None:
            self._discovery.stop()
            self._discovery = None
        if self._server is not None and self._thread is not None:
            self._server.leave()
            self._thread.join()
            self._server = self._thread = None


def _serve(server: "_Server", listener: socket.socket) -> None:
    with listener:
        asyncio.run(server.run_on(listener))


class _Server(uvicorn.Server):
    """uvicorn's server that says when it serves, and that another thread can end at once."""

    def __init__(self, wire: AlpacaApp) -> None:
        super().__init__(_config(wire))
        self.ready = threading.Event()
        self._wire = wire
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run_on(self, listener: socket.socket) -> None:
        """Serve until `leave` is called."""
        self._loop = asyncio.get_running_loop()
        await self.serve(sockets=[listener])
        while left := list(self.server_state.connections):  # whoever never reads keeps a socket open
            for connection in left:
                connection.transport.abort()
            await asyncio.sleep(0)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        self.ready.set()

    def leave(self) -> None:
        """End serving, from any thread: stalled requests are cut first."""
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wire.stopping.set)


def _listen(host: str, port: int) -> socket.socket:
    """Bind. asyncio sets TCP_NODELAY only on sockets that name TCP: without it each answer would be 40 ms late."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.create_server((host, port), family=family, backlog=128)
    return socket.socket(bound.family, bound.type, socket.IPPROTO_TCP, fileno=bound.detach())


def _config(wire: AlpacaApp) -> uvicorn.Config:
    return uvicorn.Config(
        wire.app,
        interface="asgi3",
        http=PatientConnection,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=600,
        timeout_graceful_shutdown=2,
    )
