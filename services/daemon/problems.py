"""What the API answers when it refuses or fails: always JSON with a code, a sentence, and what to do about it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ProblemCode(StrEnum):
    """Why a request gets no other answer; orders have codes of their own (`orders.RefusalCode`)."""

    BAD_REQUEST = "bad_request"
    PATH_NOT_ALLOWED = "path_not_allowed"
    HOST_NOT_ALLOWED = "host_not_allowed"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    TOKEN_NEEDED = "token_needed"  # noqa: S105 - a code, not a secret
    TOKEN_WRONG = "token_wrong"  # noqa: S105 - a code, not a secret
    TOO_MANY_TRIES = "too_many_tries"
    TOO_MANY_CLIENTS = "too_many_clients"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_JSON = "not_json"
    BODY_TOO_LARGE = "body_too_large"
    BODY_TOO_SLOW = "body_too_slow"
    HEAD_TOO_LARGE = "head_too_large"
    INPUT_INVALID = "input_invalid"
    CANNOT_READ = "cannot_read"
    ENDING = "ending"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """The body of every answer that is an error: a code for programs, and two sentences for people."""

    code: str
    detail: str
    advice: str


@dataclass(frozen=True, slots=True)
class _Meaning:
    status: int
    advice: str


_MEANINGS = {
    ProblemCode.BAD_REQUEST: _Meaning(400, "send a request as HTTP/1.1 describes it"),
    ProblemCode.PATH_NOT_ALLOWED: _Meaning(404, "write the path plainly, as /openapi.json lists it"),
    ProblemCode.HOST_NOT_ALLOWED: _Meaning(
        403, "call the daemon by its address, or add the name to serve.allowed_hosts"
    ),
    ProblemCode.ORIGIN_NOT_ALLOWED: _Meaning(
        403, "call the daemon from its own pages, or add the name of the proxy to serve.allowed_hosts"
    ),
    ProblemCode.TOKEN_NEEDED: _Meaning(
        401, "send the header `Authorization: Bearer TOKEN`, or log in with POST /api/login"
    ),
    ProblemCode.TOKEN_WRONG: _Meaning(401, "take the token from where serve.token_file or serve.token_env names it"),
    ProblemCode.TOO_MANY_TRIES: _Meaning(429, "wait as long as Retry-After says, then send the right token"),
    ProblemCode.TOO_MANY_CLIENTS: _Meaning(503, "wait as long as Retry-After says, and close pages that nobody reads"),
    ProblemCode.NOT_FOUND: _Meaning(404, "see /openapi.json for what there is"),
    ProblemCode.METHOD_NOT_ALLOWED: _Meaning(405, "use a method that the header Allow names"),
    ProblemCode.NOT_JSON: _Meaning(415, "send JSON with the header `Content-Type: application/json`"),
    ProblemCode.BODY_TOO_LARGE: _Meaning(413, "send less: an order needs a few hundred bytes"),
    ProblemCode.BODY_TOO_SLOW: _Meaning(408, "send the whole request at once"),
    ProblemCode.HEAD_TOO_LARGE: _Meaning(431, "send fewer headers: cookies of other programs, perhaps"),
    ProblemCode.INPUT_INVALID: _Meaning(422, "correct what is named; /openapi.json says what is allowed"),
    ProblemCode.CANNOT_READ: _Meaning(503, "try again in a moment; if it stays so, see the log of the daemon"),
    ProblemCode.ENDING: _Meaning(503, "look whether the order was carried out when the daemon was started again"),
    ProblemCode.INTERNAL_ERROR: _Meaning(500, "see the log of the daemon, and report it"),
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as bytes: status, body, and headers beside the type of the content."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Problem(Exception):
    """A request that is refused, or cannot be answered: the code, and a sentence that names what is wrong.

    `headers` are added to the answer; `advice` replaces that of the code.
    """

    def __init__(
        self, code: ProblemCode, detail: str, *, advice: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        self.code = code
        self.detail = detail
        self.advice = advice or _MEANINGS[code].advice
        self.headers = dict(headers or {})
        super().__init__(detail)

    @property
    def status(self) -> int:
        """The status over HTTP."""
        return _MEANINGS[self.code].status

    def reply(self) -> Reply:
        """Return the answer."""
        return complaint(self.status, self.code, self.detail, self.advice, self.headers)


def complaint(status: int, code: str, detail: str, advice: str, headers: Mapping[str, str] | None = None) -> Reply:
    """Return the answer with these words."""
    body = json.dumps({"code": code, "detail": detail, "advice": advice}).encode()
    return Reply(status, body, dict(headers or {}))
