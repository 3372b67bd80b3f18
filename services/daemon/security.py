"""The gate before the API: who is let in, how much is read of a request, and what every answer has in common.

It stands between the server and the application (ASGI), so that nothing behind it is reached by a request that is not
allowed: head first (path, Host, Origin, token), then the body, which is read whole within limits.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from starlette.requests import cookie_parser

from services.daemon.admission import check_host, check_origin, plain_path
from services.daemon.problems import Problem, ProblemCode, Reply
from services.daemon.tokens import Guard

log = structlog.get_logger(__name__)

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "nightcal_session"
OPEN_TO_ALL = frozenset({"/healthz", "/api/login"})
"""Paths that are answered without a token."""
_HEAD_BYTES = 16 * 1024
_CLOSE = {"connection": "close"}
_READS = frozenset({"GET", "HEAD"})
_ON_EVERY_ANSWER = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers that an answer gets unless the application gives it one of the same name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a client may ask for; the defaults are far above what pages and programs of an observatory need.

    Attributes
    ----------
    body_bytes : int
    body_s : float
        In which a whole body must have come.
    clients : int
        Requests that are answered at the same time, event streams included.
    streams : int
        Event streams among them.
    """

    body_bytes: int = 1 << 20
    body_s: float = 10.0
    clients: int = 300
    streams: int = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is let in: names of this computer beside its address, the path before all of ours, and how much."""

    allowed_hosts: tuple[str, ...] = ()
    prefix: str = ""
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class _Head:
    """What the gate asks the head of a request."""

    method: str
    path: str
    client: str
    headers: Mapping[str, list[str]]

    @classmethod
    def of(cls, scope: Scope) -> "_Head":
        """Return the head of a request; raises `Problem` where it is too long or its path is not allowed."""
        if sum(len(name) + len(value) for name, value in scope["headers"]) > _HEAD_BYTES:
            detail = f"the headers of the request have more than {_HEAD_BYTES // 1024} kB"
            raise Problem(ProblemCode.HEAD_TOO_LARGE, detail, headers=_CLOSE)
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        client = scope.get("client") or ("", 0)
        return cls(scope["method"], plain_path(scope["raw_path"]), client[0], headers)

    def one(self, name: str) -> str:
        """Return the first header of a name; "" where there is none."""
        return next(iter(self.headers.get(name, ())), "")

    @property
    def bearer(self) -> str:
        """The token of the header Authorization."""
        scheme, _, token = self.one("authorization").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    @property
    def cookie(self) -> str:
        """The cookie of a session."""
        return cookie_of("; ".join(self.headers.get("cookie", ())))


def cookie_of(header: str) -> str:
    """Return the cookie of a session from a header Cookie; "" where it holds none.

    It is read as browsers write it: cookies of other programs on this host may hold whatever they like.
    """
    return cookie_parser(header).get(COOKIE, "")


class Gate:
    """The application behind it, reached only by what is allowed.

    Parameters
    ----------
    application : callable
        Of ASGI; it finds the body already read, and paths without the prefix of the proxy.
    policy : Policy
    guard : Guard
    """

    def __init__(self, application: Application, policy: Policy, guard: Guard) -> None:
        self._application = application
        self._policy = policy
        self._guard = guard
        self._present = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        answer = _Answer(send)
        self._present += 1
        try:
            await self._answer(scope, receive, answer)
        except Problem as problem:
            await answer.give(problem.reply())
        except asyncio.CancelledError:  # the server ends, and has waited long enough for this answer
            await answer.give(Problem(ProblemCode.ENDING, "the daemon ends").reply())
        except Exception as error:
            log.exception("api.failed", path=str(scope.get("path"))[:200], error=type(error).__name__)
            await answer.give(Problem(ProblemCode.INTERNAL_ERROR, "the daemon could not answer").reply())
        finally:
            self._present -= 1

    async def _answer(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        limits = self._policy.limits
        if self._present > limits.clients:
            detail = f"{limits.clients} requests are being answered already"
            raise Problem(ProblemCode.TOO_MANY_CLIENTS, detail, headers={"retry-after": "5"})
        head = _Head.of(scope)
        path = self._without_prefix(head.path)
        self._check(head, path, address=(scope.get("server") or ("", 0))[0])
        if head.method not in _READS:
            body = await _whole_body(head, receive, limits)
            receive = _replayed(body, receive)
        inner = {**scope, "path": path, "raw_path": path.encode(), "root_path": ""}
        inner["state"] = {"prefix": self._policy.prefix}
        await self._application(inner, receive, answer)

    def _without_prefix(self, path: str) -> str:
        """Return a path as the application knows it: a proxy may pass the prefix on, or take it away itself."""
        prefix = self._policy.prefix
        return path.removeprefix(prefix) if prefix and path.startswith(f"{prefix}/") else path

    def _check(self, head: _Head, path: str, *, address: str) -> None:
        """Raise the `Problem` of a request that is not allowed."""
        allowed = self._policy.allowed_hosts
        host = check_host(head.headers.get("host", ()), address=address, allowed=allowed)
        by_cookie = bool(head.cookie) and not head.bearer
        needed = by_cookie and head.method not in _READS
        check_origin(head.headers.get("origin", ()), host=host, allowed=allowed, needed=needed)
        if path not in OPEN_TO_ALL:
            self._guard.check(head.bearer, head.cookie, head.client)


class _Answer:
    """The way back to the client: adds what every answer has, and knows whether one has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._has_begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._has_begun = True
            given = {name.lower() for name, _ in message["headers"]}
            added = [(name.encode(), value.encode()) for name, value in _ON_EVERY_ANSWER.items()]
            message["headers"] = [*message["headers"], *(pair for pair in added if pair[0] not in given)]
        await self._send(message)

    async def give(self, reply: Reply) -> None:
        """Answer, unless an answer has begun: then only its end is left to be made, and it stays incomplete."""
        if self._has_begun:
            return
        headers = {"content-type": "application/json", "content-length": str(len(reply.body)), **reply.headers}
        pairs = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
        await self({"type": "http.response.start", "status": reply.status, "headers": pairs})
        await self._send({"type": "http.response.body", "body": reply.body})


_DRAINED_BYTES = 1 << 22
_DRAIN_S = 2.0


async def _whole_body(head: _Head, receive: Receive, limits: Limits) -> bytes:
    """Return the body of a request.

    Raises
    ------
    Problem
        It is no JSON, too large, or comes too slowly.
    """
    if not head.one("content-length").strip("0") and "transfer-encoding" not in head.headers:
        return b""
    if head.one("content-type").partition(";")[0].strip().lower() != "application/json":
        await _drain(receive)
        raise Problem(ProblemCode.NOT_JSON, "the body of the request is not said to be JSON", headers=_CLOSE)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Problem(ProblemCode.BAD_REQUEST, "the request ended before its body did")
                body += message.get("body", b"")
                is_whole = not message.get("more_body", False)
                if len(body) > limits.body_bytes:
                    break
                if is_whole:
                    return bytes(body)
    except TimeoutError:
        detail = f"the body of the request was not there after {limits.body_s:g} s"
        raise Problem(ProblemCode.BODY_TOO_SLOW, detail, headers=_CLOSE) from None
    if not is_whole:
        await _drain(receive)
    detail = f"the body of the request has more than {limits.body_bytes // 1024} kB"
    raise Problem(ProblemCode.BODY_TOO_LARGE, detail, headers=_CLOSE)


async def _drain(receive: Receive) -> None:
    """Read on for a moment, so that a client that is still sending hears the answer before the line is closed."""
    read = 0
    try:
        async with asyncio.timeout(_DRAIN_S):
            while read < _DRAINED_BYTES:
                message = await receive()
                read += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read already, and then what comes after it."""
    waiting = [body]

    async def again() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return again
