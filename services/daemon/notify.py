"""Who is called when something has happened: webhooks of the site, and a heartbeat while all is well.

An address is a secret of its own (whoever knows it can write to it), so that it comes from the environment and is never
shown. A call that fails is tried again later and then dropped: nothing of the daemon ever waits for it.
"""

import json
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import singledispatch
from typing import Protocol

import structlog

from drivers.clock import Clock
from services.config.serve import Heartbeat as HeartbeatSection
from services.errors import RunCode
from services.events.devices import SafetySafe, SafetyStale, SafetyUnsafe
from services.events.records import Event, Record, WarningRaised
from services.events.sentences import sentence
from services.events.serving import DevicesSecured, ItemFailed, ItemRecovered, ItemStale, WorkerDied
from services.words import some

log = structlog.get_logger(__name__)

TIMEOUT_S = 15.0
RETRIES_S = (0.0, 30.0, 300.0)
"""Real seconds before each attempt of one call."""
MOST_WAITING = 200
"""Notices that wait for an address that does not answer; then the oldest goes."""
STANDS_STILL_S = 300.0
"""Real seconds without a decision after which the loop counts as hanging: it decides every 30 s."""
_URGENT = {"failed", "unsafe", "worker_died"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What somebody is called for: one of the words of `webhooks.on`, a title, a sentence, and when it happened."""

    kind: str
    title: str
    text: str
    at: datetime


class WebhookLike(Protocol):
    """One of `serve.webhooks`."""

    @property
    def url_env(self) -> str:
        """The environment variable that holds the address."""

    @property
    def template(self) -> str:
        """What is sent: `json` or `ntfy`."""

    @property
    def on(self) -> tuple[str, ...]:
        """What is announced."""


def notice_of(event: Event) -> Notice | None:
    """Return what an event is announced as; None for most."""
    kind = _kind(event.what)
    if kind is None:
        return None
    text = sentence(event.what) or event.name
    title = _title(event.what) or _TITLES[kind]
    return Notice(kind=kind, title=f"nightcal: {title}", text=text, at=event.at)


def _title(what: Record) -> str:
    """Return a title that says more than the kind; "" where there is none."""
    if isinstance(what, SafetySafe):
        return "safe again"
    if isinstance(what, DevicesSecured | WarningRaised):
        return "devices may not be safe" if _is_left(what) else "devices are safe again"
    return ""


def _is_left(what: DevicesSecured | WarningRaised) -> bool:
    return isinstance(what, WarningRaised) or bool(what.left)


_TITLES = {
    "failed": "a master cannot be had",
    "recovered": "a master can be had again",
    "stale": "a master is too old",
    "suspect": "a master is suspect",
    "unsafe": "unsafe",
    "worker_died": "a run died",
}


@singledispatch
def _kind(what: Record) -> str | None:
    return "suspect" if what.name == "master.suspect" else None


_kind.register(ItemFailed, lambda what: None if what.code == RunCode.WORKER_DIED else "failed")  # that is said itself
_kind.register(ItemRecovered, lambda _: "recovered")
_kind.register(ItemStale, lambda _: "stale")
_kind.register(SafetyUnsafe, lambda _: "unsafe")
_kind.register(SafetyStale, lambda _: "unsafe")
_kind.register(SafetySafe, lambda _: "recovered")
_kind.register(WorkerDied, lambda _: "worker_died")
_kind.register(DevicesSecured, lambda what: "failed" if what.left else "recovered")
_kind.register(WarningRaised, lambda what: "failed" if what.code == RunCode.LEFT_UNSAFE else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: its address, what is sent, and its headers. An empty body is a GET."""

    url: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


def call_of(notice: Notice, url: str, template: str) -> Call:
    """Return the request that announces a notice in the way that an address understands."""
    if template == "ntfy":
        priority = "high" if notice.kind in _URGENT else "default"
        headers = (("Title", notice.title), ("Priority", priority), ("Tags", notice.kind))
        return Call(url=url, body=notice.text.encode(), headers=headers)
    said = {"kind": notice.kind, "title": notice.title, "text": notice.text, "at": notice.at.isoformat()}
    return Call(url=url, body=json.dumps(said).encode(), headers=(("Content-Type", "application/json"),))


def send(call: Call) -> str:
    """Make a request; return why it failed, without its address, or ""."""
    import requests  # only who has such an address pays for it

    try:
        with requests.request(
            "POST" if call.body else "GET",
            call.url,
            data=call.body or None,
            headers=dict(call.headers),
            timeout=TIMEOUT_S,
            stream=True,
        ) as answer:
            return "" if answer.ok else f"it answered {answer.status_code}"
    except requests.Timeout:
        return "it does not answer in time"
    except requests.ConnectionError:
        return "nothing answers there"
    except requests.RequestException as error:
        return type(error).__name__


class _Caller:
    """Calls one webhook, on a thread of its own: an address that does not answer delays no other."""

    def __init__(self, hook: WebhookLike, send: Callable[[Call], str], retries_s: tuple[float, ...]) -> None:
        self.hook = hook
        self._send = send
        self._retries_s = retries_s
        self.problem = ""
        self._waiting: deque[Notice] = deque(maxlen=MOST_WAITING)
        self._wake = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="nightcal-notify", daemon=True)
        self._thread.start()

    def announce(self, notice: Notice) -> None:
        """Let a notice be sent; never waits."""
        self._waiting.append(notice)
        self._wake.set()

    def end(self) -> None:
        """Send nothing more; waits for nothing."""
        self._over.set()
        self._wake.set()

    def join(self, timeout_s: float) -> None:
        """Wait for what is under way."""
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while not self._over.is_set():
            self._wake.wait()
            self._wake.clear()
            while self._waiting and not self._over.is_set():
                self._call(self._waiting.popleft())

    def _call(self, notice: Notice) -> None:
        hook = self.hook
        problem = f"the environment has no {hook.url_env}"
        if url := os.environ.get(hook.url_env, ""):
            for delay_s in self._retries_s:
                if self._over.wait(delay_s):
                    return
                problem = self._send(call_of(notice, url, hook.template))
                self.problem = problem and f"the webhook {hook.url_env} cannot be called: {problem}"
                if not problem:
                    return
        self.problem = f"the webhook {hook.url_env} cannot be called: {problem}"
        log.warning("notify.failed", url_env=hook.url_env, kind=notice.kind, detail=problem)


class Notifier:
    """Calls the webhooks of the site, each on a thread of its own.

    Parameters
    ----------
    hooks : iterable of WebhookLike
    send : callable
        Makes one request.
    retries_s : tuple of float
        Real seconds before each attempt.
    """

    def __init__(
        self,
        hooks: Iterable[WebhookLike],
        *,
        send: Callable[[Call], str] = send,
        retries_s: tuple[float, ...] = RETRIES_S,
    ) -> None:
        self._send = send
        self._retries_s = retries_s
        self._callers: tuple[_Caller, ...] = ()
        self._is_unsafe = self._are_left = False
        self._lock = threading.Lock()
        self.use(hooks)

    @property
    def problem(self) -> str:
        """What keeps notices from being sent, in words; "" where nothing does."""
        return some(each.problem for each in self._callers if each.problem)

    def use(self, hooks: Iterable[WebhookLike]) -> None:
        """Call these from now on; what waits for one that stays is still sent, the others are called no more."""
        left, callers = list(self._callers), []
        for hook in hooks:
            known = next((each for each in left if each.hook == hook), None)
            if known is not None:
                left.remove(known)
            callers.append(known or _Caller(hook, self._send, self._retries_s))
        self._callers = tuple(callers)
        for each in left:
            each.end()

    def hear(self, event: Event) -> None:
        """Announce an event, where somebody wants to hear of it; never waits, and may be called by any thread.

        Each run says anew what the safety monitor says: it is announced when that has changed.
        """
        notice = notice_of(event)
        if notice is None or not self._is_news(event.what):
            return
        for caller in self._callers:
            if notice.kind in caller.hook.on:
                caller.announce(notice)

    def _is_news(self, what: Record) -> bool:
        """Whether it is a change, of what is said anew again and again."""
        with self._lock:
            if isinstance(what, SafetySafe | SafetyUnsafe | SafetyStale):
                before, self._is_unsafe = self._is_unsafe, not isinstance(what, SafetySafe)
                return self._is_unsafe is not before
            if isinstance(what, DevicesSecured | WarningRaised):
                before, self._are_left = self._are_left, _is_left(what)
                return self._are_left is not before
        return True

    def close(self, timeout_s: float = 2.0) -> None:
        """End; what is under way may take so many real seconds in all."""
        for caller in self._callers:
            caller.end()
        for caller in self._callers:
            caller.join(timeout_s / len(self._callers))


class Heartbeat:
    """Calls an address while the daemon decides, so that whoever waits for the calls learns when it no longer does.

    Parameters
    ----------
    section : HeartbeatSection or None
        None: nobody is called.
    clock : Clock
        Of the world, not of a simulated observatory.
    send : callable
        Makes one request.
    """

    def __init__(self, section: HeartbeatSection | None, clock: Clock, *, send: Callable[[Call], str] = send) -> None:
        self._section: HeartbeatSection | None = None
        self._clock = clock
        self._send = send
        self._alive_s: float | None = None
        self._problem = ""
        self._over = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self.use(section)

    def use(self, section: HeartbeatSection | None) -> None:
        """Call as this section says from now on; the time to the next call begins anew where it has changed."""
        if section == self._section:
            return
        self._section = section
        self._wake.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="nightcal-heartbeat", daemon=True)
            self._thread.start()

    @property
    def problem(self) -> str:
        """Why the last call failed, in words; "" where it was answered."""
        if self._section is None or not self._problem:
            return ""
        return f"the heartbeat cannot be called: {self._problem}"

    def alive(self) -> None:
        """Note that the daemon has decided something: its loop goes on."""
        self._alive_s = self._clock.monotonic()

    def beat(self) -> None:
        """Call, unless the loop has stood still; a failure is logged once, until a call succeeds again."""
        section = self._section
        stood_still = self._alive_s is None or self._clock.monotonic() - self._alive_s > STANDS_STILL_S
        if section is None or stood_still:
            return
        url, problem = os.environ.get(section.url_env, ""), f"the environment has no {section.url_env}"
        problem = self._send(Call(url=url)) if url else problem
        if problem and problem != self._problem:
            log.warning("heartbeat.failed", url_env=section.url_env, detail=problem)
        self._problem = problem

    def close(self, timeout_s: float = 2.0) -> None:
        """End; a call that is under way may take so many real seconds."""
        self._over.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _work(self) -> None:
        while not self._over.is_set():
            section = self._section
            if self._wake.wait(None if section is None else section.every):
                self._wake.clear()
            else:
                self.beat()
