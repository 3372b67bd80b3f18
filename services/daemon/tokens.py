"""Who may ask: the token of the configuration, sessions of browsers that have shown it, and tries of wrong ones.

The token is read once, when the daemon starts (`services.observatory.login`). It stands in no message, log or answer.
"""

import hmac
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from drivers.clock import Clock
from services.daemon.problems import Problem, ProblemCode


def is_same(one: str, other: str) -> bool:
    """Return whether two secrets are the same, in a time that does not show how much of them is."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


class Sessions:
    """Browsers that have shown the token; each has a random cookie. They end after days, and with the daemon.

    Parameters
    ----------
    clock : Clock
        Of the world, not of a simulated observatory.
    lasting_s : float
    most : int
        So many at once; one more ends the oldest.
    """

    def __init__(self, clock: Clock, *, lasting_s: float = 30 * 86_400.0, most: int = 200) -> None:
        self._clock = clock
        self._lasting_s = lasting_s
        self._most = most
        self._ends: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def lasting_s(self) -> int:
        """How long a session lasts."""
        return int(self._lasting_s)

    def begin(self) -> str:
        """Return the cookie of a new session."""
        cookie = secrets.token_urlsafe(32)
        with self._lock:
            self._ends[cookie] = self._clock.monotonic() + self._lasting_s
            while len(self._ends) > self._most:
                self._ends.popitem(last=False)
        return cookie

    def holds(self, cookie: str) -> bool:
        """Whether a cookie is that of a session; it is random enough that looking it up gives nothing away."""
        with self._lock:
            ends = self._ends.get(cookie)
            return ends is not None and self._clock.monotonic() < ends

    def end(self, cookie: str) -> None:
        """End a session; harmless when there is none."""
        with self._lock:
            self._ends.pop(cookie, None)


@dataclass(slots=True)
class _Bucket:
    """Tries that an address has left, and when that was counted."""

    left: float
    at: float


class Tries:
    """How often an address may show a wrong token: a few times at once, then once in a while.

    Parameters
    ----------
    clock : Clock
    at_once : int
    every_s : float
        After which one more try is given.
    most : int
        Addresses that are remembered; one more, and the one that tried longest ago is forgotten.
    """

    def __init__(self, clock: Clock, *, at_once: int = 10, every_s: float = 6.0, most: int = 1000) -> None:
        self._clock = clock
        self._at_once = at_once
        self._every_s = every_s
        self._most = most
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, address: str) -> int:
        """Return for how many seconds an address has no try left; 0 when it has."""
        with self._lock:
            bucket = self._buckets.get(_network(address))
            left = self._at_once if bucket is None else self._left(bucket)
        return 0 if left >= 1 else int((1 - left) * self._every_s) + 1

    def count(self, address: str) -> None:
        """Count a wrong token."""
        network = _network(address)
        with self._lock:
            bucket = self._buckets.pop(network, None)
            left = self._at_once if bucket is None else self._left(bucket)
            self._buckets[network] = _Bucket(max(0.0, left - 1), self._clock.monotonic())
            while len(self._buckets) > self._most:
                self._buckets.popitem(last=False)

    def _left(self, bucket: _Bucket) -> float:
        return min(self._at_once, bucket.left + (self._clock.monotonic() - bucket.at) / self._every_s)


def _network(address: str) -> str:
    """Return whose tries an address shares: whoever has one address of IPv6 has 2**64 of them."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(ip_network((int(found), 64), strict=False))
    return str(found)


class Guard:
    """Lets in whoever shows the token, or the cookie of a session that was begun with it.

    Parameters
    ----------
    token : str or None
        None: everybody is let in.
    clock : Clock
        Of the world, not of a simulated observatory.

    Attributes
    ----------
    sessions : Sessions
    """

    def __init__(self, token: str | None, clock: Clock) -> None:
        self._token = token
        self._tries = Tries(clock)
        self.sessions = Sessions(clock)

    @property
    def asks(self) -> bool:
        """Whether a token is asked for at all."""
        return self._token is not None

    def check(self, bearer: str, cookie: str, client: str) -> None:
        """Let a request in by its token, or else by its cookie; raises the `Problem` of one that is not let in."""
        if self._token is None or (not bearer and cookie and self.sessions.holds(cookie)):
            return
        if not bearer:
            headers = {"www-authenticate": "Bearer"}
            raise Problem(ProblemCode.TOKEN_NEEDED, "the daemon answers only who shows its token", headers=headers)
        self.show(bearer, client)

    def show(self, shown: str, client: str) -> None:
        """Accept the right token; raises the `Problem` of a wrong one, or of one try too many."""
        if self._token is None:
            return
        if wait_s := self._tries.wait_s(client):
            headers = {"retry-after": str(wait_s)}
            raise Problem(ProblemCode.TOO_MANY_TRIES, "too many wrong tokens came from this address", headers=headers)
        if not is_same(shown, self._token):
            self._tries.count(client)
            headers = {"www-authenticate": "Bearer"}
            raise Problem(ProblemCode.TOKEN_WRONG, "this is not the token of the daemon", headers=headers)
