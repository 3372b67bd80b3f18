"""The application of the HTTP API: its routes behind its gate, and what becomes of what goes wrong in them.

Its OpenAPI document, `/openapi.json`, is made of `routes`. The server's thread never waits for a disk: answers about
the present are bytes that were made before, all others are made in threads beside it.
"""

from collections.abc import Callable
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from drivers.clock import Clock
from services.daemon.orders import Refused
from services.daemon.problems import Complaint, Problem, ProblemCode, Reply, complaint
from services.daemon.reading import NotThere
from services.daemon.routes import ALL, Parts
from services.daemon.security import Application, Gate, Policy
from services.daemon.streams import Streams
from services.daemon.threads import Threads
from services.daemon.tokens import Guard
from services.errors import ServiceError
from services.events.records import Event
from services.version import version
from services.words import some

log = structlog.get_logger(__name__)

_MISSED_EVENTS = 5000
_DESCRIPTION = """The daemon that keeps a calibration library fresh: its state, its library, orders to it.

Events are heard as they come from `GET /api/events` (text/event-stream): their data are lines of JSON, whose schema
`nightcal schema events` prints."""
_ANY_ROUTE: dict[int | str, str] = {
    400: "the request is malformed",
    401: "a token is needed, or the one that was sent is wrong",
    403: "the host or the origin of the request is not ours",
    422: "something in the request is not as it must be",
    429: "too many wrong tokens",
    500: "the daemon failed",
    503: "too many clients, or what is asked for cannot be read now",
}
_OF_STATUS = {404: ProblemCode.NOT_FOUND, 405: ProblemCode.METHOD_NOT_ALLOWED}


class Api:
    """The application with what it needs to be ended.

    Parameters
    ----------
    parts : Parts
    policy : Policy
    token : str or None
        None: everybody is let in whom the address that is listened at lets reach it.
    clock : Clock
        Of the world, not of a simulated observatory.

    Attributes
    ----------
    application : callable
        Of ASGI, behind the gate.
    streams : Streams
    """

    def __init__(self, parts: Parts, policy: Policy, *, token: str | None, clock: Clock) -> None:
        self._threads = Threads()
        self._parts = parts
        self.streams = Streams(parts.events, self._missed, most=policy.limits.streams)
        guard = Guard(token, clock)
        app = FastAPI(
            title="nightcal",
            version=version(),
            description=_DESCRIPTION,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            servers=[{"url": policy.prefix or "/"}],
            responses={status: {"model": Complaint, "description": text} for status, text in _ANY_ROUTE.items()},
            exception_handlers=dict.fromkeys(_ANSWERS, _handled),
        )
        for add in ALL:
            add(app, parts, self._threads, self.streams, guard)
        self.document: FastAPI = app
        self.application: Application = Gate(app, policy, guard)

    async def _missed(self, run_id: str, seq: int) -> list[Event]:
        return await self._threads.missed(lambda: self._parts.reader.missed(run_id, seq, limit=_MISSED_EVENTS))

    def close(self) -> None:
        """End the threads beside the server's."""
        self._threads.close()


async def _handled(request: Request, error: Exception) -> Response:
    kind = next(kind for kind in _ANSWERS if isinstance(error, kind))
    reply = _ANSWERS[kind](error)
    if reply.status >= 500:
        log.warning("api.problem", path=request.url.path[:200], status=reply.status, detail=str(error)[:500])
    return Response(reply.body, reply.status, dict(reply.headers), media_type="application/json")


def _of_http(error: HTTPException) -> Reply:
    code = _OF_STATUS.get(error.status_code)
    if code is None:
        return complaint(error.status_code, ProblemCode.BAD_REQUEST, str(error.detail), "see /openapi.json")
    return Problem(code, _DETAILS[code], headers=error.headers).reply()


_ANSWERS: dict[type[Exception], Callable[[Any], Reply]] = {
    Problem: Problem.reply,
    Refused: lambda error: complaint(error.status, error.code, error.detail, error.advice),
    NotThere: lambda error: Problem(ProblemCode.NOT_FOUND, str(error)).reply(),
    ServiceError: lambda error: Problem(ProblemCode.CANNOT_READ, error.detail, advice=error.advice).reply(),
    RequestValidationError: lambda error: Problem(ProblemCode.INPUT_INVALID, some(map(_wrong, error.errors()))).reply(),
    HTTPException: _of_http,
    Exception: lambda _: Problem(ProblemCode.INTERNAL_ERROR, "the daemon could not answer").reply(),
}
"""What is answered to what was raised while a request was answered."""

_DETAILS = {
    ProblemCode.NOT_FOUND: "there is nothing at this path",
    ProblemCode.METHOD_NOT_ALLOWED: "this path does not know the method of the request",
}


def _wrong(error: Any) -> str:
    *_, place = error["loc"]
    return f"{place}: {error['msg']}"
