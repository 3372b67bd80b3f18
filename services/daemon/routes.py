"""Every path of the API, with what answers it and what the OpenAPI document says of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import FastAPI, Header, Path, Query, Request, Response
from pydantic import TypeAdapter, ValidationError
from starlette.responses import StreamingResponse

from calibration.frames import FrameKind
from services.catalogue.rows import Flag, MasterStatus
from services.daemon import answers as seen
from services.daemon.board import Seen
from services.daemon.orders import Answer, Order, order_of_json
from services.daemon.ports import BoardPort, DeskPort, EventsPort, Picture, PicturesPort
from services.daemon.problems import Complaint, Problem, ProblemCode
from services.daemon.reading import NotThere, Reader, encoded
from services.daemon.security import COOKIE, cookie_of
from services.daemon.streams import HEADERS, Streams, last_heard
from services.daemon.threads import Threads
from services.daemon.tokens import Guard
from services.version import version

_FILE = r"^[A-Za-z0-9+-][A-Za-z0-9._+-]{0,199}$"
_TEXT = r"^[^\x00-\x1f\x7f]{1,100}$"
Limit = Annotated[int, Query(ge=1, le=1000, description="so many at most")]
RunId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,80}$", description="the id of a run, or `serve`")]
Name = Annotated[str, Path(pattern=_FILE, description="the name of a master's file")]
Kind = Annotated[FrameKind | None, Query(description="of this kind only")]
Red = Annotated[bool, Query(description="in shades of red alone, for eyes that are used to the dark")]
Plane = Annotated[str, Path(pattern="^(mean|sigma|count|mask)$", description="of the master")]
Level = Annotated[int, Path(ge=0, le=16, description="0: each pixel; 1: two by two are one; and so on")]
Column = Annotated[int, Path(ge=0, le=10_000, description="number of the tile from the left, from 0")]
Row = Annotated[int, Path(ge=0, le=10_000, description="number of the tile from the first row, from 0")]
Other = Annotated[str, Query(pattern=_FILE, description="the name of the other master's file")]
Words = Annotated[str | None, Query(pattern=_TEXT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the API is built on. `pictures` None: there are none."""

    board: BoardPort
    desk: DeskPort
    events: EventsPort
    reader: Reader
    pictures: PicturesPort | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What is sent to log in."""

    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A sentence that says what was done."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The daemon answers; nothing else is said of it without a token."""

    ok: bool
    version: str


_DESCRIPTIONS = {
    202: "the order is being carried out",
    304: "nothing has changed",
    404: "it is not there",
    408: "the body came too slowly",
    409: "the order is refused",
    413: "the body is too large",
    415: "the body is no JSON",
    504: "nobody has answered in time",
}
_MODELS: dict[int, dict[str, Any]] = {202: {"model": Answer}, 304: {}}
_WITH_BODY = (408, 413, 415)


def _described(model: Any, *more: int, content: str = "application/json") -> dict[str, Any]:
    """Return what a route says of itself: the schema of its answer, or only its type, and the statuses beside."""
    good: dict[str, Any] = {"description": "the answer"}
    good |= {"content": {content: {"schema": {"type": "string"}}}} if model is None else {"model": model}
    others = {each: {"description": _DESCRIPTIONS[each], **_MODELS.get(each, {"model": Complaint})} for each in more}
    return {"responses": {200: good, **others}, "response_class": Response, "response_model": None}


def _body(kind: Any) -> dict[str, Any]:
    """Return what OpenAPI says of a body that is read by hand."""
    schema = TypeAdapter(kind).json_schema()
    schema = _inlined(schema, schema.pop("$defs", {}))
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _inlined(schema: Any, named: Mapping[str, Any]) -> Any:
    """Return a schema with what it refers to in the place of the references."""
    if isinstance(schema, dict):
        found = named.get(str(schema.get("$ref", "")).rpartition("/")[2])
        return found or {key: _inlined(each, named) for key, each in schema.items()}
    return [_inlined(each, named) for each in schema] if isinstance(schema, list) else schema


def _json(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")


def _add_present(app: FastAPI, parts: Parts, threads: Threads, streams: Streams, _guard: Guard) -> None:
    @app.get("/healthz", **_described(Health))
    async def health() -> Response:
        """Return that the daemon answers; no token is needed."""
        return _json(encoded(Health(ok=True, version=version())))

    @app.get("/api/state", **_described(Seen, 304))
    async def state(if_none_match: Annotated[str | None, Header()] = None) -> Response:
        """Return what the daemon does, knows and will do. The ETag changes with the snapshot, and with each start."""
        tag = f'"{parts.board.tag}"'
        if if_none_match == tag:
            return Response(status_code=304, headers={"etag": tag})
        return _json(parts.board.state(), headers={"etag": tag})

    @app.get("/api/events", **_described(None, content="text/event-stream"))
    async def events(last_event_id: Annotated[str | None, Header()] = None) -> Response:
        """Hear events as they come, without an end: each has the id `run_id:seq`, and one line of JSON as its data.

        Who sends the id that was heard last as `Last-Event-ID` gets first, from the journals, what was missed since.
        """
        if streams.is_full:
            raise Problem(
                ProblemCode.TOO_MANY_CLIENTS, "too many event streams are open", headers={"retry-after": "30"}
            )
        return StreamingResponse(streams.lines(last_heard(last_event_id or "")), headers=HEADERS)

    @app.post("/api/orders", **_described(Answer, 202, 404, 409, 504, *_WITH_BODY), openapi_extra=_body(Order))
    async def order(request: Request) -> Response:
        """Give an order. 202: it is being carried out, and events say what becomes of it."""
        given = order_of_json(await request.body())
        by = given.by or f"somebody at {request.client.host if request.client else 'an unknown address'}"
        answer = await threads.order(lambda: parts.desk.take(replace(given, by=by)))
        return _json(encoded(answer), 200 if answer.is_done else 202)


def _add_library(app: FastAPI, parts: Parts, threads: Threads, _streams: Streams, _guard: Guard) -> None:
    async def read(work: Callable[[Reader], Any]) -> Response:
        return _json(await threads.read(lambda: encoded(work(parts.reader))))

    @app.get("/api/plan", **_described(Mapping[str, Any], 404))
    async def plan() -> Response:
        """Return the last comparison of what is wanted and what is there: every wanted master, and what is due."""
        return await read(Reader.plan)

    @app.get("/api/library", **_described(seen.LibraryPage))
    async def library() -> Response:
        """Return the masters that must exist, and those that are there and may serve."""
        return await read(Reader.library)

    @app.get("/api/masters", **_described(seen.MastersPage))
    async def masters(
        limit: Limit = 200, kind: Kind = None, status: Annotated[MasterStatus | None, Query()] = None
    ) -> Response:
        """Return masters, the newest first."""
        return await read(lambda reader: reader.masters(limit=limit, kind=kind, status=status))

    @app.get("/api/masters/{name}", **_described(seen.MasterDetail, 404))
    async def master(name: Name) -> Response:
        """Return one master."""
        return await read(lambda reader: reader.master(name))

    @app.get("/api/trends", **_described(seen.TrendsPage))
    async def trends(kind: Kind = None, filter: Words = None) -> Response:  # noqa: A002 - the field's word
        """Return level, noise and temperature of masters against time."""
        return await read(lambda reader: reader.trends(kind=kind, filter=filter))


def _add_history(app: FastAPI, parts: Parts, threads: Threads, _streams: Streams, _guard: Guard) -> None:
    async def read(work: Callable[[Reader], Any]) -> Response:
        return _json(await threads.read(lambda: encoded(work(parts.reader))))

    @app.get("/api/runs", **_described(seen.RunsPage))
    async def runs(limit: Limit = 50, before: Annotated[str | None, Query(pattern=_TEXT)] = None) -> Response:
        """Return runs, the newest first."""
        return await read(lambda reader: reader.runs(limit=limit, before=before))

    @app.get("/api/runs/{run_id}", **_described(seen.RunDetail, 404))
    async def run(run_id: RunId) -> Response:
        """Return one run."""
        return await read(lambda reader: reader.run(run_id))

    @app.get("/api/runs/{run_id}/events", **_described(seen.EventsPage, 404))
    async def run_events(
        run_id: RunId, after: Annotated[int, Query(ge=0, le=2**53)] = 0, limit: Limit = 500
    ) -> Response:
        """Return events of a run in their order; `serve` names those of the daemon itself."""
        return await read(lambda reader: reader.events(run_id, after=after, limit=limit))

    @app.get("/api/frames", **_described(seen.FramesPage))
    async def frames(
        *,
        limit: Limit = 100,
        before: Annotated[int | None, Query(ge=0, le=2**53)] = None,
        kind: Kind = None,
        filter: Words = None,  # noqa: A002 - the field's word
        night: Words = None,
        set_id: Words = None,
        run_id: Words = None,
        flag: Annotated[Flag | None, Query()] = None,
    ) -> Response:
        """Return frames, those that were recorded last first."""
        given = {"kind": kind, "filter": filter, "night": night, "set_id": set_id, "run_id": run_id, "flag": flag}
        return await read(lambda reader: reader.frames(limit=limit, before=before, **given))

    @app.get("/api/nights", **_described(seen.NightsPage))
    async def nights(limit: Limit = 100) -> Response:
        """Return nights with their frames and reports, the newest first."""
        return await read(lambda reader: reader.nights(limit=limit))

    @app.get("/api/log", **_described(seen.LogTail))
    async def log_tail(lines: Annotated[int, Query(ge=1, le=2000)] = 200) -> Response:
        """Return the last lines of the newest log."""
        return await read(lambda reader: reader.log(lines=lines))

    @app.get("/api/config", **_described(seen.ConfigSeen))
    async def config() -> Response:
        """Return the configuration in force, without secrets."""
        return await read(Reader.config)


def _add_session(app: FastAPI, _parts: Parts, _threads: Threads, _streams: Streams, guard: Guard) -> None:
    token_of = TypeAdapter(Token)

    @app.post("/api/login", **_described(Said, *_WITH_BODY), openapi_extra=_body(Token))
    async def login(request: Request) -> Response:
        """Log a browser in: the token becomes a cookie that scripts cannot read."""
        try:
            shown = token_of.validate_json(await request.body(), strict=True)
        except ValidationError:
            raise Problem(ProblemCode.INPUT_INVALID, 'the body is not of the form {"token": TEXT}') from None
        guard.show(shown.token, request.client.host if request.client else "")
        response = _json(encoded(Said(detail="logged in")))
        response.set_cookie(COOKIE, guard.sessions.begin(), max_age=guard.sessions.lasting_s, **_cookie_form(request))
        return response

    @app.post("/api/logout", **_described(Said, *_WITH_BODY))
    async def logout(request: Request) -> Response:
        """Log a browser out."""
        guard.sessions.end(cookie_of(request.headers.get("cookie", "")))
        response = _json(encoded(Said(detail="logged out")))
        response.delete_cookie(COOKIE, **_cookie_form(request))
        return response


def _cookie_form(request: Request) -> dict[str, Any]:
    """Return how the cookie is kept: out of reach of scripts, other sites, other programs, and lines without TLS."""
    said = (request.url.scheme, request.headers.get("x-forwarded-proto"), request.headers.get("origin", "")[:5])
    return {"httponly": True, "samesite": "strict", "secure": "https" in said, "path": request.state.prefix or "/"}


@dataclass(frozen=True, slots=True)
class _Pictures:
    """Pictures as answers; both are got in threads that may wait."""

    parts: Parts
    threads: Threads

    async def paths(self, *names: str) -> tuple[str, ...]:
        """Return the paths of masters by the names of their files."""
        return await self.threads.read(lambda: tuple(self.parts.reader.master(name).master.path for name in names))

    async def answer(self, get: Callable[[PicturesPort], Picture | None]) -> Response:
        """Return the picture that `get` gets."""
        pictures = self.parts.pictures
        found = None if pictures is None else await self.threads.picture(lambda: get(pictures))
        if found is None:
            raise NotThere("there is no picture of it")
        return Response(found.data, media_type=found.media_type, headers={"cache-control": "private, max-age=3600"})


def _add_previews(app: FastAPI, parts: Parts, threads: Threads, _streams: Streams, _guard: Guard) -> None:
    pictures = _Pictures(parts, threads)

    @app.get("/api/frames/{path:path}/preview", **_described(None, 404, content="image/*"))
    async def preview(
        path: Annotated[str, Path(pattern=r"^[^\x00-\x1f\x7f]{1,500}$", description="as GET /api/frames has it")],
        *,
        red: Red = False,
    ) -> Response:
        """Return the small picture of a frame."""
        if not await threads.read(lambda: parts.reader.has_frame(path)):
            raise NotThere(f"there is no frame {path}")
        return await pictures.answer(lambda port: port.preview(path, red=red))

    @app.get("/api/masters/{name}/preview", **_described(None, 404, content="image/*"))
    async def preview_of_master(name: Name, *, red: Red = False) -> Response:
        """Return the small picture of a master."""
        (path,) = await pictures.paths(name)
        return await pictures.answer(lambda port: port.preview(path, red=red))


def _add_tiles(app: FastAPI, parts: Parts, threads: Threads, _streams: Streams, _guard: Guard) -> None:
    pictures = _Pictures(parts, threads)

    @app.get("/api/masters/{name}/tile/difference/{level}/{x}/{y}", **_described(None, 404, content="image/*"))
    async def difference(name: Name, level: Level, x: Column, y: Row, other: Other, *, red: Red = False) -> Response:
        """Return a tile, 256 x 256 at most, of the difference of a master from another one."""
        return await compared("difference", name, other, level=level, x=x, y=y, red=red)

    @app.get("/api/masters/{name}/tile/ratio/{level}/{x}/{y}", **_described(None, 404, content="image/*"))
    async def ratio(name: Name, level: Level, x: Column, y: Row, other: Other, *, red: Red = False) -> Response:
        """Return a tile, 256 x 256 at most, of the ratio of a master to another one."""
        return await compared("ratio", name, other, level=level, x=x, y=y, red=red)

    async def compared(view: str, name: str, other: str, **where: Any) -> Response:
        path, beside = await pictures.paths(name, other)
        return await pictures.answer(lambda port: port.of_master(path, view, other=beside, **where))

    @app.get("/api/masters/{name}/tile/{view}/{level}/{x}/{y}", **_described(None, 404, content="image/*"))
    async def tile(name: Name, view: Plane, level: Level, x: Column, y: Row, *, red: Red = False) -> Response:
        """Return a tile of a plane of a master, 256 x 256 at most."""
        (path,) = await pictures.paths(name)
        return await pictures.answer(
            lambda port: port.of_master(path, view, level=level, x=x, y=y, other=None, red=red)
        )


ALL = (_add_present, _add_library, _add_history, _add_session, _add_previews, _add_tiles)
"""What adds the routes to an application."""
