"""The daemon as a command sees it: its state, orders to it, and its events, over HTTP.

Nothing but the standard library is needed, so that a script's `nightcal yield` answers soon.
"""

import json
import os
import ssl
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from drivers.clock import Clock, SystemClock
from services.cli.parameters import DEFAULT_CONFIG, loaded_config
from services.errors import ConfigInvalid, RunCode, ServiceError, Usage
from services.events.decoder import decode
from services.events.records import Event

TOKEN_VARIABLE = "NIGHTCAL_TOKEN"  # noqa: S105 - the name of a variable
_ANSWER_S = 60.0
_SILENCE_S = 45.0
"""Without a byte on an event stream: the daemon sends a comment every 15 s."""
_TRIES = 10
_BETWEEN_TRIES_S = 3.0

_PASSES = {"too_many_clients", "ending"}
"""Refusals after which an event stream is asked for again: the daemon is full, or ends to be started anew."""

_CODES = {
    "unsafe": RunCode.UNSAFE,
    "camera_in_use": RunCode.CAMERA_BUSY,
    "root_in_use": RunCode.CAMERA_BUSY,
    "config_invalid": RunCode.CONFIG_INVALID,
    "order_invalid": RunCode.USAGE,
    "unknown_item": RunCode.USAGE,
    "unknown_master": RunCode.USAGE,
    "not_found": RunCode.NOTHING_THERE,
    "token_needed": RunCode.ACCESS_DENIED,
    "token_wrong": RunCode.ACCESS_DENIED,
    "too_many_tries": RunCode.ACCESS_DENIED,
    "host_not_allowed": RunCode.ACCESS_DENIED,
}
"""Which reason of a command a refusal of the daemon is; all others are `order_refused`."""
_ADVICE = {
    "token_needed": f"name the file that holds its token with --token-file, or put the token into {TOKEN_VARIABLE}"
}
"""What to do on the command line, where the daemon's own advice is for programs."""


class Unreachable(ServiceError):
    """No daemon answers."""

    code = RunCode.DAEMON_UNREACHABLE


class OrderRefused(ServiceError):
    """The daemon answers that it does not do it: `said` is its own code."""

    def __init__(self, said: str, detail: str, *, advice: str = "") -> None:
        self.said = said
        super().__init__(detail, code=_CODES.get(said, RunCode.ORDER_REFUSED), advice=_ADVICE.get(said, advice))


@dataclass(frozen=True, slots=True)
class Daemon:
    """One daemon.

    Attributes
    ----------
    url : str
        Without a / at its end.
    token : str or None
    clock : Clock
    """

    url: str
    token: str | None = field(default=None, repr=False)
    clock: Clock = SystemClock()  # noqa: RUF009 - it has no state

    def get(self, path: str) -> Mapping[str, Any]:
        """Return the answer to a question.

        Raises
        ------
        Unreachable, OrderRefused
            Nothing answers, or the daemon refuses.
        """
        return self._ask("GET", path)

    def order(self, **order: Any) -> Mapping[str, Any]:
        """Give an order; return its answer. `items` and the like are left out where they are None or empty.

        Raises
        ------
        Unreachable, OrderRefused
            Nothing answers, or the daemon refuses.
        """
        given = {name: value for name, value in order.items() if value not in (None, (), "")}
        return self._ask("POST", "/api/orders", given)

    def _ask(self, method: str, path: str, body: Any = None) -> Mapping[str, Any]:
        connection = self._connection(_ANSWER_S)
        try:
            answer = self._requested(connection, method, path, body)
            return self._good(answer.status, _content(answer))
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _good(self, status: int, content: Any) -> Mapping[str, Any]:
        if 300 <= status < 400:
            raise Unreachable(f"{self.url}: this address leads to another one (status {status}): give that one")
        if not isinstance(content, dict):
            raise Unreachable(f"{self.url}: what answers there is no daemon of nightcal")
        said: Mapping[str, Any] = content
        if status < 400:
            return said
        detail = str(said.get("detail") or f"{self.url} answers with status {status}")
        raise OrderRefused(str(said.get("code", "")), detail, advice=str(said.get("advice", "")).rstrip("."))

    def _connection(self, timeout_s: float) -> HTTPConnection:
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port
        if parts.scheme == "https":
            return HTTPSConnection(host, port, timeout=timeout_s, context=ssl.create_default_context())
        return HTTPConnection(host, port, timeout=timeout_s)

    def _requested(
        self, connection: HTTPConnection, method: str, path: str, body: Any = None, **headers: str
    ) -> HTTPResponse:
        given = dict(headers)
        if self.token is not None:
            given["Authorization"] = f"Bearer {self.token}"
        data = None
        if body is not None:
            data, given["Content-Type"] = json.dumps(body).encode(), "application/json"
        connection.request(method, f"{urlsplit(self.url).path.rstrip('/')}{path}", data, given)
        return connection.getresponse()

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(f"{self.url}: {getattr(error, 'strerror', None) or str(error) or type(error).__name__}")

    def events(self, last: str | None = None) -> "EventStream":
        """Return what is heard from now on; after the event `last` (`run_id:seq`) where it is given."""
        return EventStream(self, last)


class EventStream:
    """Events as they come. A line that breaks is opened again, and what was missed is heard then.

    Parameters
    ----------
    daemon : Daemon
    last : str or None
        The id of the last event that was heard.
    """

    def __init__(self, daemon: Daemon, last: str | None) -> None:
        self._daemon = daemon
        self._last = last
        self._connection, self._answer = self._opened()

    def _opened(self) -> tuple[HTTPConnection, HTTPResponse]:
        daemon = self._daemon
        connection = daemon._connection(_SILENCE_S)  # noqa: SLF001 - a part of it
        headers = {} if self._last is None else {"Last-Event-ID": self._last}
        try:
            answer = daemon._requested(connection, "GET", "/api/events", **headers)  # noqa: SLF001
            if answer.status != 200:
                daemon._good(answer.status, _content(answer))  # noqa: SLF001
            answer.readline()  # the first line says that the daemon listens for us
        except (OSError, HTTPException) as error:
            connection.close()
            raise daemon._unreachable(error) from error  # noqa: SLF001
        except BaseException:
            connection.close()
            raise
        return connection, answer

    def __iter__(self) -> Iterator[Event | None]:
        """Yield events; None whenever a while has passed without one, or the line was opened again."""
        while True:
            try:
                line = self._answer.readline(1 << 20)
            except (OSError, HTTPException):
                line = b""
            if not line:
                self._reopen()
                yield None
            elif line.startswith(b"id: "):
                self._last = line[4:].decode("utf-8", "replace").strip()
            elif line.startswith(b"data: "):
                yield decode(line[6:].decode("utf-8", "replace"))
            elif line.startswith(b":"):
                yield None

    def _reopen(self) -> None:
        self.close()
        for tried in range(_TRIES):
            try:
                self._connection, self._answer = self._opened()
            except (Unreachable, OrderRefused) as error:
                if tried == _TRIES - 1 or (isinstance(error, OrderRefused) and error.said not in _PASSES):
                    raise
                self._daemon.clock.sleep(_BETWEEN_TRIES_S)
            else:
                return

    def close(self) -> None:
        """Let go of the line."""
        self._answer.close()
        self._connection.close()


def _content(answer: HTTPResponse) -> Any:
    """Return the JSON of an answer; None where it is none."""
    try:
        return json.loads(answer.read())
    except (ValueError, RecursionError):
        return None


def daemon_of(remote: str | None, token_file: Path | None, config: Path | None) -> Daemon:
    """Return the daemon that a command is about: that at an address, else that of the configuration's folder.

    The token is that of `--token-file`, of the variable NIGHTCAL_TOKEN, or of this configuration.

    Raises
    ------
    Usage, ConfigInvalid
        The address is none, or there is no configuration.
    Unreachable
        No daemon was started for this folder.
    """
    token = _token(token_file)
    if remote is not None:
        return Daemon(_address(remote), token)
    from services.config import simulated
    from services.events.serving import SERVE
    from services.observatory.login import token_of
    from services.root import layout_of

    try:
        loaded = loaded_config(config)
    except ConfigInvalid as error:
        if (url := _in_spite_of(config)) is None:
            raise
        if (config or Path(DEFAULT_CONFIG)).exists():
            print(f"note: the configuration cannot be used: {error.detail}", file=sys.stderr)
        return Daemon(url, token)
    for each in (loaded, simulated(loaded)):  # with `serve --simulator` it has a folder of its own
        url = served_at(layout_of(each).events(SERVE))
        if url is not None:
            return Daemon(url, token or token_of(each.config.serve))
    raise Unreachable(f"no daemon serves the folder {loaded.root}")


def _in_spite_of(config: Path | None) -> str | None:
    """Return where the daemon of a folder answers whose configuration is broken or missing; None where none does.

    A rehearsal without a file has none, and one that was broken is not what the daemon works with.
    """
    from services.config.rehearsal import FOLDER
    from services.events.serving import SERVE
    from services.files.layout import Layout

    folder = (config or Path(DEFAULT_CONFIG)).absolute().parent
    found = (served_at(Layout(root).events(SERVE)) for root in (folder, folder / FOLDER))
    return next((url for url in found if url is not None), None)


def served_at(journal: Path) -> str | None:
    """Return where the daemon answers by its own journal; None where none was started, or it has ended."""
    from services.daemon.reading import recent
    from services.events.serving import ServeEnded, ServeStarted

    found = [event.what for event in recent(journal, 10_000) if isinstance(event.what, ServeStarted | ServeEnded)]
    last = found[-1] if found else None
    return last.url.rstrip("/") if isinstance(last, ServeStarted) and last.url else None


def _address(text: str) -> str:
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and not parts.username
        good = good and parts.path.isascii()
    except ValueError:
        good = False
    if not good:
        raise Usage(f"--remote: found {text!r} — allowed: an address such as http://observatory:8642")
    return url.rstrip("/")


def _token(file: Path | None) -> str | None:
    if file is None:
        return _plain(TOKEN_VARIABLE, os.environ.get(TOKEN_VARIABLE, ""))
    try:
        return _plain(f"--token-file: {file}", file.read_text(encoding="utf-8").strip())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise Usage(f"--token-file: {file} cannot be read: {reason} — allowed: a file that holds the token") from None


def _plain(where: str, token: str) -> str | None:
    """Return a token that can be sent in a header; None for an empty one."""
    if not token.isascii() or (token and not token.isprintable()):
        raise Usage(f"{where} holds no token — allowed: letters and digits, on one line")
    return token or None
