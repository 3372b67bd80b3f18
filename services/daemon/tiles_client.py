"""Pictures for the API: those that a run has made, those rendered before, and else by one child, which ends when idle.

Safe to call from any thread. Equal requests are rendered once, at most so many wait, and whoever has waited too long
gets no picture: the child is killed then, and another one is started for the next request.
"""

import base64
import itertools
import json
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLong
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from drivers.clock import Clock, SystemClock
from services.daemon.children import ChildProcess, Gone, after
from services.files.layout import Layout
from services.files.previews import Cache, previews_of

log = structlog.get_logger(__name__)

_MODULE = "services.daemon.tiles"
_WITHIN_S = 25.0
_IDLE_S = 120.0
_WAITING = 32
_REST_S = 5.0
"""After a death no child is started for this time, so that a picture that kills it costs little."""
_MOST_TILES, _MOST_BYTES = 4000, 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A picture, ready to be sent."""

    media_type: str
    data: bytes


class Tiles:
    """The pictures of one root.

    Parameters
    ----------
    layout : Layout
    within_s, idle_s : float
        How long a picture is waited for; after how long without a request the child ends.
    clock : Clock
        Of the world: children do not run faster on a simulated one.
    module : str
        What is run (tests).
    """

    def __init__(
        self,
        layout: Layout,
        *,
        within_s: float = _WITHIN_S,
        idle_s: float = _IDLE_S,
        clock: Clock | None = None,
        module: str = _MODULE,
    ) -> None:
        self._layout = layout
        self._within_s, self._idle_s = within_s, idle_s
        self._clock = clock or SystemClock()
        self._module = module
        self._previews = previews_of(layout)
        self._kept = Cache(layout.cache / "tiles", most=_MOST_TILES, most_bytes=_MOST_BYTES)
        self._lock = threading.Lock()
        self._child: ChildProcess | None = None
        self._waiting: dict[int, Future[bytes | None]] = {}
        self._asked: dict[str, Future[bytes | None]] = {}
        self._numbers = itertools.count(1)
        self._rests_until_s = 0.0
        self._idle: threading.Timer | None = None
        self._is_closed = False

    def preview(self, path: str, *, red: bool = False) -> Rendered | None:
        """Return the small picture of a frame or master, which the catalogue knows by this path."""
        made = None if red else self._previews.read(path)
        found = made or self._get(path, None, view="preview", level=0, x=0, y=0, red=red)
        return None if found is None else Rendered(media_type="image/jpeg", data=found)

    def of_master(
        self, path: str, view: str, *, level: int, x: int, y: int, other: str | None, red: bool = False
    ) -> Rendered | None:
        """Return a tile of a master, as `services.daemon.ports.PicturesPort` says; `red`: in shades of red alone."""
        data = self._get(path, other, view=view, level=level, x=x, y=y, red=red)
        return None if data is None else Rendered(media_type="image/png", data=data)

    def close(self) -> None:
        """End the child; whoever waits gets no picture."""
        with self._lock:
            self._is_closed = True
            child = self._child
            if self._idle is not None:
                self._idle.cancel()
        if child is not None:
            child.close()
            if not child.wait(2.0):
                child.kill()

    def _get(self, path: str, other: str | None, **wanted: Any) -> bytes | None:
        master = self._layout.absolute(path)
        beside = None if other is None else self._layout.absolute(other)
        planes = self._layout.planes_path(master)
        stamp = "|".join(map(_stamp, (master, planes, beside)))
        asked = {**wanted, "stamp": stamp}
        asked |= {"path": str(master), "planes": str(planes), "other": None if beside is None else str(beside)}
        name = json.dumps(asked, sort_keys=True)
        kept = self._kept.read(name)
        if kept is not None:
            return kept
        data = self._rendered(name, asked)
        if data is not None:
            self._kept.keep(name, data)
        return data

    def _rendered(self, name: str, asked: dict[str, Any]) -> bytes | None:
        with self._lock:
            future = self._asked.get(name)
            is_mine = future is None
            if future is None:
                if self._is_closed or len(self._asked) >= _WAITING or self._clock.monotonic() < self._rests_until_s:
                    return None
                future = Future()
                self._ask(future, asked)
                self._asked[name] = future
        try:
            return future.result(self._within_s)
        except TooLong:
            log.warning("tiles.too_slow", asked=name)
            self._kill()
            return None
        finally:
            if is_mine:
                with self._lock:
                    self._asked.pop(name, None)

    def _ask(self, future: "Future[bytes | None]", asked: dict[str, Any]) -> None:
        number = next(self._numbers)
        self._waiting[number] = future
        if self._child is None:
            try:
                self._child = self._started()
            except OSError as error:
                log.warning("tiles.not_started", detail=str(error))
                self._waiting.pop(number)
                future.set_result(None)
                return
        self._child.say(json.dumps({"id": number, **asked}))
        if self._idle is not None:
            self._idle.cancel()
        self._idle = after(self._idle_s, self._rest)

    def _started(self) -> ChildProcess:
        """Return a child that has begun, while the lock is held: one that is gone at once waits for it to be known."""
        made: list[ChildProcess] = []
        log_path = self._layout.logs / "tiles.log"
        made.append(
            ChildProcess(self._module, log_path=log_path, hear=self._heard, gone=lambda end: self._gone(made, end))
        )
        return made[0]

    def _heard(self, line: str) -> None:
        said = json.loads(line)
        with self._lock:
            future = self._waiting.pop(said["id"], None)
        if future is None:
            return
        if said["problem"]:
            log.info("tiles.no_picture", detail=said["problem"])
        future.set_result(None if said["data"] is None else base64.b64decode(said["data"]))

    def _gone(self, made: Sequence[ChildProcess], end: Gone) -> None:
        with self._lock:
            if self._child not in made:
                return
            self._child = None
            left = list(self._waiting.values())
            self._waiting.clear()
            if left and not self._is_closed:
                self._rests_until_s = self._clock.monotonic() + _REST_S
        for future in left:
            future.set_result(None)
        if left:
            log.warning("tiles.died", exit_code=end.exit_code, last_words=end.last_words)

    def _rest(self) -> None:
        """Let the child end: nobody has asked for a while."""
        with self._lock:
            if not self._waiting and self._child is not None:
                self._child.close()
                self._child = None

    def _kill(self) -> None:
        with self._lock:
            child = self._child
        if child is not None:
            child.kill()


def _stamp(path: Path | None) -> str:
    with suppress(OSError):
        if path is not None:
            found = path.stat()
            return f"{found.st_size}.{found.st_mtime_ns}"
    return ""
