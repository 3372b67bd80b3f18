"""What an Alpaca reply says: HTTP status, JSON object, error number, the management API's rows."""

import html
import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from drivers.alpaca.line import Reply, is_success
from drivers.errors import AccessDenied, DeviceLost, DeviceMissing, DriverError, LoginRefused, Refused

NOT_CONNECTED = 0x407
DENIED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED)
_LONGEST_LOOK, _LONGEST_WORDS = 65536, 80
_LONGEST_MESSAGE = 500  # characters; it goes into logs, reports and notes


def raise_for_status(device: str, what: str, reply: Reply) -> None:
    """Translate an HTTP status that carries no Alpaca reply."""
    if is_success(reply.status):
        return
    if reply.status in DENIED:
        raise _denied(device, reply)
    detail = f"{what}: HTTP {reply.status}: {reply.text or 'no text'}"
    if reply.status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS) or reply.status >= 500:
        raise DeviceLost(device=device, detail=detail, number=reply.status)
    if reply.status == HTTPStatus.NOT_FOUND or reply.status < 400:
        raise DeviceMissing(device=device, detail=detail, number=reply.status)
    raise Refused(device=device, detail=detail, number=reply.status)


def _denied(device: str, reply: Reply) -> AccessDenied:
    """Return why a server does not let us in. Its text is left out: it may repeat what it was sent."""
    schemes = (reply.challenge or "Basic").replace(",", " ").split()
    kind: type[AccessDenied] = LoginRefused
    if not any(word.casefold() == "basic" for word in schemes):
        detail = f"its server wants a password by {schemes[0]}, and nightcal can only give one by Basic"
    elif reply.login:
        detail = f"its server does not accept the user and the password that it is given: {reply.login}"
    elif reply.status == HTTPStatus.UNAUTHORIZED:
        kind, detail = AccessDenied, "its server wants a user and a password, and none are named"
    else:
        kind, detail = AccessDenied, "its server forbids the access; no user and no password are named"
    return kind(device=device, detail=detail, number=reply.status)


def as_object(device: str, what: str, body: bytes) -> dict[str, Any]:
    """Return a reply's JSON object; raises `DeviceLost` for anything else."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DeviceLost(device=device, detail=f"the answer to {what} is no JSON, but {begins(body)}") from error
    if not isinstance(answer, dict):
        raise DeviceLost(device=device, detail=f"the answer to {what} is no JSON object, but {begins(body)}")
    return answer


def begins(body: bytes) -> str:
    """Return in words what a body is that is not what was asked for: the title of a web page, or its first words."""
    text = body[:_LONGEST_LOOK].decode("utf-8", errors="replace")
    title = re.search(r"<title[^>]*>(.*?)</title", text, re.IGNORECASE | re.DOTALL)
    words = " ".join(html.unescape(title[1] if title else text).split())
    shown = "".join(sign if sign.isprintable() else "?" for sign in words[:_LONGEST_WORDS])
    if title:
        return f"the web page '{shown}'"
    return f"'{shown}{'…' if len(words) > _LONGEST_WORDS else ''}'" if shown else "nothing"


def error_of(answer: Mapping[str, Any]) -> tuple[int, str]:
    """Return ErrorNumber and ErrorMessage; a missing number is success (the specification only says SHOULD)."""
    number = answer.get("ErrorNumber") or 0
    return (number if isinstance(number, int) else 0x500), str(answer.get("ErrorMessage") or "")[:_LONGEST_MESSAGE]


def raise_for_number(device: str, what: str, answer: Mapping[str, Any], kind: type[DriverError]) -> None:
    """Raise the error that an answer carries, as `kind`; `DeviceLost` where only connecting again helps."""
    number, message = error_of(answer)
    if number == NOT_CONNECTED:  # the server or the driver was started anew
        raise DeviceLost(device=device, detail=f"{what}: {message or 'not connected'}", number=number)
    if number:
        raise kind(device=device, detail=f"{what}: {message or 'refused without a reason'}", number=number)


def configured_rows(reply: Reply, device: str = "server") -> list[dict[str, Any]]:
    """Return the rows of a `configureddevices` reply; none when the server has no management API (4xx)."""
    if HTTPStatus.BAD_REQUEST <= reply.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return []
    raise_for_status(device, "configureddevices", reply)
    rows = as_object(device, "configureddevices", reply.body).get("Value")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
