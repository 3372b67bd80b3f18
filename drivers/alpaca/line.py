"""One HTTP connection to one Alpaca device, with time-outs that hold and a `close` that works from any thread.

alpyca's own layer shares one lock between all devices of a process and has no time-out on images. `requests` has no
deadline for a whole call (a server that trickles bytes holds it for ever), and its blocked calls cannot be ended from
another thread (docs/decisions/0001). So a device has one `http.client` connection, kept alive between calls, and every
`recv` on it gets the smaller of a stall time and what is left of the whole call.

Sockets live in real time, whatever the observatory's clock does. Nothing here knows ASCOM's errors.
"""

import contextlib
import http.client
import math
import selectors
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from drivers.alpaca import crowding
from drivers.alpaca.allowance import Allowance
from drivers.alpaca.endpoint import Endpoint, Login, Timeouts, unreachable
from drivers.alpaca.patient import Patient
from drivers.clock import Clock
from drivers.errors import DeviceLost

__all__ = ["MAX_REPLY_BYTES", "Endpoint", "Line", "Login", "Reply", "ReplyStream", "TimedOut", "Timeouts", "is_success"]

STOPPED_S = 3.0
"""Real seconds that a stop leaves to a transfer under way: one that still progresses may finish."""
_SLICE_S = 0.25
"""Real seconds between two looks at a stop while bytes are waited for."""

MAX_REPLY_BYTES = 4 * 1024 * 1024
"""Longest reply taken from anything but an image: a list of names is a few kilobytes."""

_PIECE_BYTES = 1 << 16
_IDLE_BEFORE_PUT_S = 1.0
"""A PUT goes over a connection idle for longer only after reconnecting.

Servers close idle connections; one that does so while a request is on its way leaves us not knowing whether the
request was carried out. A GET is simply asked again, a PUT is not.
"""


class TimedOut(DeviceLost):
    """No answer within the time of the call; the only loss after which the other side may still be at work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole reply."""

    status: int
    body: bytes
    challenge: str | None = None
    """WWW-Authenticate of a server that wants a password."""
    login: str = ""
    """Where the user and the password are read that it was given; "" where it was given none."""

    @property
    def text(self) -> str:
        """The beginning of the body, for messages."""
        return " ".join(self.body[:200].decode("utf-8", errors="replace").split())


class ReplyStream:
    """A reply whose body is still on its way."""

    def __init__(self, response: http.client.HTTPResponse, line: "Line") -> None:
        self._response = response
        self._line = line
        self.status = response.status
        self.challenge = response.getheader("WWW-Authenticate")
        self.content_type = (response.getheader("Content-Type") or "").split(";")[0].strip().lower()

    @property
    def left(self) -> int | None:
        """Bytes of the body that are still to come; None where the server did not announce its length."""
        return self._response.length

    @property
    def ended(self) -> bool:
        """Whether the whole body was read, so that the connection can carry another call."""
        return self._response.isclosed()

    def allow(self, *, stall_s: float, watch: Callable[[int], None]) -> None:
        """Let the rest of the body take its time, with never more than `stall_s` real seconds between two bytes.

        `watch` is called with the number of bytes each time some come; it may raise to end the transfer.
        """
        self._line.allow(stall_s=stall_s, watch=watch)

    def fill(self, view: memoryview) -> int:
        """Fill `view` from the body; return how many bytes came, fewer only where the body ends."""
        done = 0
        with self._readable():
            while done < len(view) and (count := self._response.readinto(view[done:])):
                done += count
        return done

    def reply(self, limit: int) -> Reply:
        """Return the whole reply; raises `DeviceLost` when it is longer than `limit` bytes."""
        body, login = self.read(limit), self._line.login
        if login is not None:  # servers that fail may show what they were sent, and we show what they say
            body = body.replace(login.split()[-1].encode("ascii"), b"***")
        return Reply(
            status=self.status, body=body, challenge=self.challenge, login=str(self._line.endpoint.login or "")
        )

    def read(self, limit: int) -> bytes:
        """Return the rest of the body; raises `DeviceLost` when it is longer than `limit` bytes."""
        body = bytearray()
        piece = memoryview(bytearray(min(_PIECE_BYTES, limit + 1)))
        with self._readable():  # not by `read`: for a chunk of -1 bytes that takes whatever comes
            while count := self._response.readinto(piece[: limit + 1 - len(body)]):
                body += piece[:count]
                if len(body) > limit:
                    raise DeviceLost(device=self._line.device, detail=f"a reply is longer than {limit} bytes")
        return bytes(body)

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:  # http.client meets a chunk length that is none
            raise DeviceLost(device=self._line.device, detail=f"an unreadable reply: {error}") from error


class Line:
    """The connection of one driver object: time-outs, stops and `close` concern its one socket, hence in one class.

    Parameters
    ----------
    endpoint : Endpoint
    device : str
        How errors name the device.
    clock : Clock
        Only its real time is used.
    open_s : float
        Real seconds to open a connection.
    """

    def __init__(self, endpoint: Endpoint, *, device: str, clock: Clock, open_s: float) -> None:
        self.endpoint = endpoint
        self.device = device
        self.closed = threading.Event()
        self.allowance = endpoint.allowance or Allowance()
        self.usual_s = 0.0
        """Real seconds that a movement has needed to be answered."""
        self._clock = clock
        self._open_s = open_s
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None
        self.login: str | None = None  # the header that the open connection sends
        self._used_at = 0.0
        self._bounded = True
        self._stall_s = self._end = 0.0
        self._wake: threading.Event | None = None
        self._watch: Callable[[int], None] = lambda _: None
        self._stopped = math.inf
        self._made_way_at = -math.inf
        crowding.join(self)

    @property
    def address(self) -> str:
        """Host and port of the server."""
        return self.endpoint.address

    def reopen(self) -> None:
        """Allow calls again after `close`."""
        self.closed.clear()

    def close(self) -> None:
        """End a call that is blocked, from any thread, and refuse all later ones until `reopen`."""
        self.closed.set()
        connection = self._connection
        sock = None if connection is None else connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        if self._lock.acquire(blocking=False):  # nobody is inside: tidy up for them
            try:
                self._drop()
            finally:
                self._lock.release()

    def allow(
        self, *, stall_s: float, total_s: float = math.inf, watch: Callable[[int], None] = lambda _: None
    ) -> None:
        """Set the time of the call in progress, from now on, and who hears of the bytes that come."""
        self._stall_s = stall_s
        self._end = self._clock.real() + total_s
        self._watch = watch

    def get(self, path: str, query: Mapping[str, Any], *, total_s: float) -> Reply:
        """GET a small reply; raises `DeviceLost`."""
        target = f"{path}?{urlencode(query)}" if query else path
        with self._exchange("GET", target, total_s=total_s) as stream:
            return stream.reply(MAX_REPLY_BYTES)

    def put(self, path: str, form: Mapping[str, Any], *, total_s: float, moves: bool = False) -> Reply:
        """PUT a form, once; raises `DeviceLost`. The time that a movement needs is remembered."""
        begun_s = self._clock.real()
        if self._clock.real() - self._used_at > _IDLE_BEFORE_PUT_S:
            with self._lock:
                self._drop()
        with self._exchange("PUT", path, form=form, total_s=total_s) as stream:
            reply = stream.reply(MAX_REPLY_BYTES)
        if moves:
            self.usual_s = max(self.usual_s, self._clock.real() - begun_s)
        return reply

    @contextlib.contextmanager
    def stream(
        self,
        path: str,
        query: Mapping[str, Any],
        *,
        accept: str,
        total_s: float,
        wake: threading.Event | None = None,
    ) -> Iterator[ReplyStream]:
        """GET something large; the body is read inside the context. Raises `DeviceLost`.

        When `wake` is set the rest gets `STOPPED_S` at most.
        """
        target = f"{path}?{urlencode(query)}"
        self._wake = wake
        try:
            with self._exchange("GET", target, accept=accept, total_s=total_s) as stream:
                yield stream
        finally:
            self._wake = None

    @contextlib.contextmanager
    def _exchange(
        self,
        method: str,
        target: str,
        *,
        total_s: float,
        form: Mapping[str, Any] | None = None,
        accept: str | None = None,
    ) -> Iterator[ReplyStream]:
        """Make one call; `accept` is that of an image, which takes its time and is no matter of the allowance."""
        with self._lock:
            stream, begun_s = None, self._clock.real()
            try:
                stream = ReplyStream(self._ask(method, target, total_s, form, accept), self)
                yield stream
            except TimeoutError as error:
                if self._bounded:
                    self.allowance.spend(begun_s, self._clock.real(), connected=self._connection is not None)
                raise TimedOut(device=self.device, detail=f"no answer in time to {method} {_short(target)}") from error
            except (OSError, UnicodeError, http.client.HTTPException) as error:  # a host such as a..b
                raise DeviceLost(device=self.device, detail=self._reason(method, target, error)) from error
            finally:
                self._after(reusable=stream is not None and stream.ended)

    def _ask(
        self, method: str, target: str, total_s: float, form: Mapping[str, Any] | None, accept: str | None
    ) -> http.client.HTTPResponse:
        self._bounded, self._stopped = accept is None, math.inf
        if self._bounded:
            total_s = self.allowance.of_call(total_s, self.usual_s)
        connection = self._connected()
        self.allow(stall_s=total_s, total_s=total_s)
        sent = {"Host": self.endpoint.address, "Accept": accept or "application/json"}
        body = None
        if form is not None:
            body = urlencode(form).encode("ascii")
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        if self.login is not None:
            sent["Authorization"] = self.login
        connection.sock.settimeout(total_s)
        connection.request(method, target, body=body, headers=sent)
        return connection.getresponse()

    def _connected(self) -> http.client.HTTPConnection:
        self._refuse_when_closed()
        if self._connection is not None and not _is_alive(self._connection):
            self._drop()
        if self._connection is None:
            kind = http.client.HTTPSConnection if self.endpoint.scheme == "https" else http.client.HTTPConnection
            host = "127.0.0.1" if self.endpoint.host == "localhost" else self.endpoint.host  # no detour over ::1
            connection = kind(host, self.endpoint.port, timeout=self.allowance.of_call(self._open_s))
            connection.response_class = self._response  # type: ignore[assignment]
            self.login = None if self.endpoint.login is None else _Hidden(self.endpoint.login())
            connection.connect()
            self._connection = connection
            self._refuse_when_closed()
        return self._connection

    def _response(self, sock: socket.socket, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:
        return http.client.HTTPResponse(Patient(sock, self), *args, **kwargs)  # type: ignore[arg-type]

    def receive(self, sock: socket.socket, buffer: Any) -> int:
        """Take what comes next; raises `TimeoutError` when that, or the whole call, takes too long."""
        left_s, waited_s = min(self._end - self._clock.real(), self._stall_s), 0.0
        while (left_s := self._unless_stopped(left_s)) > 0:
            slice_s = min(left_s, crowding.CROWDED_S if self._wake is None else _SLICE_S)
            sock.settimeout(slice_s)
            try:
                count = sock.recv_into(buffer)
            except TimeoutError:
                left_s, waited_s = left_s - slice_s, waited_s + slice_s
                if waited_s >= crowding.CROWDED_S and crowding.make_way(self):
                    self._made_way_at = self._clock.real()
            else:
                if self._clock.real() - self._made_way_at < crowding.AT_ONCE_S:
                    crowding.note_answer_at_once(self.address)
                self._watch(count)
                return count
        raise TimeoutError

    def hang_up(self) -> bool:
        """Close the connection if no call is on it; return whether there was one."""
        if self._connection is None or not self._lock.acquire(blocking=False):
            return False
        try:
            self._drop()
        finally:
            self._lock.release()
        return True

    def _unless_stopped(self, left_s: float) -> float:
        """Return what is left of a time after a stop, all of it without one."""
        if self._wake is not None and self._wake.is_set():
            rest_s = STOPPED_S
        elif self._bounded and self.allowance.limited:
            rest_s = self.allowance.of_call(math.inf, self.usual_s)
        else:
            return left_s
        now = self._clock.real()
        self._stopped = min(self._stopped, now + rest_s)
        return min(left_s, self._stopped - now)

    def _after(self, *, reusable: bool) -> None:
        self._used_at = self._clock.real()
        if not reusable or self.closed.is_set() or crowding.is_one_at_a_time(self.address):
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()

    def _refuse_when_closed(self) -> None:
        if self.closed.is_set():
            raise DeviceLost(device=self.device, detail="the connection was closed by us")

    def _reason(self, method: str, target: str, error: Exception) -> str:
        if self.closed.is_set():
            return "the connection was closed by us"
        if isinstance(error, (socket.gaierror, UnicodeError, ConnectionRefusedError)):
            return unreachable(self.endpoint, error)
        return f"{method} {_short(target)} got no answer: {str(error) or type(error).__name__}"


class _Hidden(str):
    """Text that no representation shows, in traces with local variables for example."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def _is_alive(connection: http.client.HTTPConnection) -> bool:
    """Whether an idle connection is open: a readable one was closed by the server or holds a stray reply."""
    if connection.sock is None:
        return False
    with selectors.DefaultSelector() as selector:
        selector.register(connection.sock, selectors.EVENT_READ)
        return not selector.select(0)


def _short(target: str) -> str:
    return target.split("?", maxsplit=1)[0].rsplit("/", 1)[-1]


def is_success(status: int) -> bool:
    """Whether an HTTP status carries an Alpaca reply."""
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
